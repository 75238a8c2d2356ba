"""The wheel works outside the checkout: wsdl/, config/ and mappers/ travel with it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.end_to_end.program import environment

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the unpacked wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(folder),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(site: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=folder,
        env=environment({"PYTHONPATH": str(site)}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_carries_its_data_and_no_key(installed: Path) -> None:
    data = (
        "wsdl/shep/sync_channel.wsdl",
        "config/regulation/004.yaml",
        "config/gateway.toml",
        "certs/authorities.toml",
    )
    for path in (*(f"gateway/_data/{name}" for name in data), "mappers/gbdfl/system.toml"):
        assert (installed / path).is_file(), path
    assert not [path for path in installed.rglob("*") if path.suffix in (".key", ".p12", ".pfx")]


def test_an_installed_program_reads_an_answer_and_makes_keys(installed: Path, tmp_path: Path) -> None:
    sample = ROOT / "mappers" / "gbdfl" / "samples" / "real_answer_shape" / "envelope.xml"
    read = run(installed, "read", "gbdfl", str(sample), "--json", folder=tmp_path)
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["facts"]
    made = run(installed, "pki", "init", "pki", folder=tmp_path)
    assert made.returncode == 0, made.stderr


def test_an_installed_program_finds_a_system_of_ones_own(installed: Path, tmp_path: Path) -> None:
    own = tmp_path / "systems" / "cbdi_of_ours"
    (tmp_path / "config").mkdir()
    shipped = ROOT / "mappers" / "cbdi"
    for file in shipped.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = own / file.relative_to(shipped)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    definition = (own / "system.toml").read_text(encoding="utf-8")
    definition = definition.replace('slug = "cbdi"', 'slug = "cbdi_of_ours"').replace("CBDI_DISABILITY_DRAFT", "OURS")
    (own / "system.toml").write_text(definition, encoding="utf-8")
    assert run(installed, "pki", "init", "var/pki", folder=tmp_path).returncode == 0
    config = (ROOT / "config" / "gateway.toml").read_text(encoding="utf-8")
    (tmp_path / "config" / "gateway.toml").write_text(
        config + '\n[systems]\npaths = ["../systems"]\n', encoding="utf-8"
    )
    checked = run(installed, "config", "check", "--json", folder=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["systems"] == ["cbdi", "cbdi_of_ours", "eguardianship", "gbdfl", "zags"]
