"""`gateway storage`: a file up, down, confirmed, asked about and proven, against the sandbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.database import engine_for, upgrade
from gateway.sandbox.server import make_simulator, running_sandbox
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cli.conftest import NOW, Run
from tests.end_to_end.program import CONFIG
from tests.registry.imports.lists import csv, pensioner, person

SMALL = "Тізім. Список.".encode()
LARGE = bytes(range(256)) * 8_000


@pytest.fixture(scope="module")
def sync_url(pki: ThrowawayPki) -> Iterator[str]:
    simulator = make_simulator(people=1, seed=1, pki_dir=pki.directory)
    with running_sandbox(simulator, now=lambda: NOW, delivers=False) as sandbox:
        yield sandbox.sync_url
    simulator.storage.clear()


@pytest.fixture
def config(tmp_path: Path, pki: ThrowawayPki, sync_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    database = f"sqlite:///{tmp_path / 'store.sqlite'}"
    upgrade(engine_for(database))
    (tmp_path / "pki").symlink_to(pki.directory)
    file = tmp_path / "gateway.toml"
    file.write_text(
        CONFIG.format(database_url=database, sync_url=sync_url) + '[storage]\nsender_id = "sandbox-storage"\n'
    )
    monkeypatch.setenv("GATEWAY_STORAGE__PASSWORD", "sandbox-storage-password")
    # the sandbox of this process logs where the commands write
    with capture_logs():
        yield file


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_file_goes_up_comes_down_and_is_confirmed(run: Run, config: Path, tmp_path: Path, content: bytes) -> None:
    file, copy = tmp_path / "list.csv", tmp_path / "copy.csv"
    file.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    up = run("storage", "upload", file, "--name", "list.csv", "-c", config, "--json").document
    assert (up["reference"], up["state"], up["sha256"]) == (f"sha256:{sha256}", "stored", sha256)
    # the same again says the same, and nothing is sent
    assert run("storage", "upload", file, "-c", config, "--json").document == up
    told = ("-c", config, "--json")
    down = run("storage", "download", up["file_identifier"], "-o", copy, "--sha256", sha256, "--confirm", *told)
    assert down.document == {
        "file_identifier": up["file_identifier"],
        "file": str(copy),
        "sha256": sha256,
        "size_bytes": len(content),
        "name": "list.csv",
        "confirmed": True,
    }
    assert copy.read_bytes() == content
    known = run("storage", "info", up["file_identifier"], *told).document
    assert (known["name"], known["size_bytes"], known["confirmed"]) == ("list.csv", len(content), True)
    assert known["deleted_at"] is None
    assert run("storage", "confirm", up["file_identifier"], "-c", config).stdout.endswith("True\n")


def test_nothing_is_overwritten_and_no_other_file_is_taken(run: Run, config: Path, tmp_path: Path) -> None:
    file, copy = tmp_path / "list.csv", tmp_path / "copy.csv"
    file.write_bytes(SMALL)
    file_identifier = run("storage", "upload", file, "-c", config, "--json").document["file_identifier"]
    other = run("storage", "download", file_identifier, "-o", copy, "--sha256", "0" * 64, "-c", config, "--json")
    assert (other.code, other.document["error"]["code"]) == (1, "other_content")
    assert not copy.exists()
    copy.write_bytes(b"mine")
    there = run("storage", "download", file_identifier, "-o", copy, "-c", config)
    assert (there.code, "name another file" in there.stderr) == (2, True)
    assert copy.read_bytes() == b"mine"


def test_a_list_is_fetched_taken_in_and_confirmed_after_that(run: Run, config: Path, tmp_path: Path) -> None:
    file = csv(tmp_path / "list.csv", [pensioner(1), pensioner(2)])
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    told = ("-c", config, "--json")
    file_identifier = run("storage", "upload", file, *told).document["file_identifier"]
    other = run("storage", "import", file_identifier, "--sha256", "0" * 64, *told)
    assert (other.code, other.document["error"]["code"]) == (1, "other_content")
    assert run("storage", "info", file_identifier, *told).document["confirmed"] is False
    done = run("storage", "import", file_identifier, "--sha256", sha256.upper(), *told)
    assert (done.code, done.document["confirmed"], done.document["applied"]) == (0, True, 2)
    assert run("storage", "info", file_identifier, *told).document["confirmed"] is True
    # whoever was killed before the confirmation does it again
    again = run("storage", "import", file_identifier, "--sha256", sha256, *told).document
    assert (again["applied"], again["unchanged"], again["confirmed"]) == (0, 2, True)
    assert "2 unchanged" in run("storage", "import", file_identifier, "--sha256", sha256, "-c", config).stdout
    standing = run("registry", "standing", person(1), *told)
    assert standing.document["evidence"] == [f"storage {file_identifier}"]
    assert [path.name for path in (tmp_path / "registry-lists").iterdir() if path.name.startswith("fetched")] == []


def test_a_list_with_refused_lines_is_confirmed_and_a_no(run: Run, config: Path, tmp_path: Path) -> None:
    file = csv(tmp_path / "list.csv", [pensioner(3), pensioner(4, iin="12")])
    told = ("-c", config, "--json")
    up = run("storage", "upload", file, *told).document
    done = run("storage", "import", up["file_identifier"], "--sha256", up["sha256"], *told)
    assert (done.code, done.document["confirmed"], len(done.document["refused"])) == (1, True, 1)


def test_what_the_storage_does_not_know_is_a_no(run: Run, config: Path, tmp_path: Path) -> None:
    for words in (("confirm", "file-404"), ("info", "file-404"), ("download", "file-404", "-o", tmp_path / "copy")):
        ran = run("storage", *words, "-c", config, "--json")
        assert (ran.code, ran.document["error"]["code"]) == (1, "storage_refused")


def test_a_file_that_is_not_there_and_a_reference_that_is_too_long_are_wrong_use(
    run: Run, config: Path, tmp_path: Path
) -> None:
    missing = run("storage", "upload", tmp_path / "none", "-c", config)
    assert (missing.code, "cannot be read" in missing.stderr) == (2, True)
    assert run("storage", "upload", tmp_path / "none", "--reference", "x" * 201, "-c", config).code == 2


def test_the_file_of_a_journalled_message_is_proven_and_another_one_is_not(
    run: Run, config: Path, tmp_path: Path
) -> None:
    file, copy, other = tmp_path / "list.csv", tmp_path / "copy.csv", tmp_path / "other.csv"
    file.write_bytes(LARGE)
    other.write_bytes(LARGE[:-1] + b"!")
    told = ("-c", config, "--json")
    up = run("storage", "upload", file, *told).document
    run("storage", "download", up["file_identifier"], "-o", copy, *told)
    messages = [line for line in run("journal", "list", *told).stdout.splitlines() if '"id"' in line]
    assert len(messages) == 4
    verified = run("journal", "verify", *told)
    assert verified.document["broken"] is None
    assert (verified.document["files_apart"], verified.document["signatures"]) == (2, 2)
    assert "over a file" in run("journal", "verify", "-c", config).stdout
    # the first row is our upload, the fourth is the gateway's answer to the download; verdicts are rows too
    proven = [run("storage", "prove", number, file, *told) for number in range(1, 7)]
    answers = [one.document.get("valid", one.document.get("error", {}).get("code")) for one in proven]
    assert answers.count(True) == 2
    assert set(answers) == {True, "whole_message", "no_such_entry"}
    exported = run("journal", "export", answers.index(True) + 1, "-c", config)
    assert (exported.code, "gateway storage prove" in exported.stderr) == (0, True)
    large = [number for number, answer in enumerate(answers, 1) if answer is True]
    for number in large:
        assert run("storage", "prove", number, copy, "-c", config).stdout.startswith("yes")
        no = run("storage", "prove", number, other, *told)
        assert (no.code, no.document["code"]) == (1, "digest")
        assert "no (digest)" in run("storage", "prove", number, other, "-c", config).stdout
