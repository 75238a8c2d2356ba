"""`gateway journal` as an operator and an auditor use it, on messages that were signed for real."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from gateway.database import engine_for, upgrade, writing
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection, Signer, Verdict
from gateway.exchange.tables import JOURNAL
from gateway.shep import sync_channel
from gateway.shep.messages import ErrorInfo
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cli.conftest import NOW, Run
from tests.end_to_end.program import CONFIG
from tests.exchange.world import Keys

DAY = dt.timedelta(days=1)


@dataclass
class Place:
    """A configured program with three messages in its journal: ours, the gateway's, and one that was refused."""

    config: Path
    engine: Engine
    pki: ThrowawayPki
    keys: Keys

    def message(self, name: str, at: dt.datetime, **changes: Any) -> JournalEntry:
        body = sync_channel.build_fault(ErrorInfo("SCE004", "there is no such service", at))
        key = self.keys[name]
        form = KeyInfoForm.ISSUER_SERIAL if name == "gateway" else KeyInfoForm.KEY_IDENTIFIER
        values: dict[str, Any] = {
            "at": at,
            "direction": MessageDirection.OUT if name == "gateway" else MessageDirection.IN,
            "step": 8,
            "kind": EntryKind.REPLY,
            "system": "cbdi",
            "message_id": f"m-{name}",
            "body": sign_body(body, key, form=form),
            "signer": Signer.of(key.certificate),
            "verdict": Verdict.SIGNED if name == "gateway" else Verdict.ACCEPTED,
            **changes,
        }
        return JournalEntry(**values)


@pytest.fixture
def place(pki: ThrowawayPki, tmp_path: Path) -> Place:
    url = f"sqlite:///{tmp_path / 'gateway.sqlite'}"
    config = tmp_path / "gateway.toml"
    text = CONFIG.format(database_url=url, sync_url="http://127.0.0.1:9/")
    config.write_text(text.replace("pki/", f"{pki.directory}/"))
    engine = engine_for(url)
    upgrade(engine)
    place = Place(config, engine, pki, Keys(pki))
    with writing(engine) as connection:
        JournalWriter().append_many(
            connection,
            [
                place.message("gateway", NOW),
                place.message("shep", NOW),
                place.message("shep", NOW, body=b"not XML at all", verdict="malformed"),
            ],
        )
    return place


def test_verify_says_that_it_holds_and_names_the_head(place: Place, run: Run) -> None:
    told = run("journal", "verify", "-c", place.config, "--json")
    assert told.code == 0
    assert told.document["valid"] is True
    assert (told.document["rows"], told.document["signatures"], told.document["undecided"]) == (3, 2, 0)
    assert told.document["head_sha256"] in run("journal", "verify", "-c", place.config).stdout


def test_verify_names_the_first_place_where_it_breaks(place: Place, run: Run) -> None:
    with writing(place.engine) as connection:
        connection.execute(update(JOURNAL).where(JOURNAL.c.id == 2).values(message_id="another"))
    told = run("journal", "verify", "-c", place.config, "--json")
    assert told.code == 1
    assert told.document["valid"] is False
    assert (told.document["broken"]["id"], told.document["broken"]["what"]) == (2, "chain")
    assert "at row 2" in run("journal", "verify", "-c", place.config).stdout


def test_verify_finds_a_message_that_its_signer_did_not_sign(place: Place, run: Run) -> None:
    forged = place.message("shep", NOW, body=place.message("shep", NOW).body.replace(b"SCE004", b"SCE005"))  # type: ignore[union-attr]
    another = place.message("shep", NOW, signer=Signer("CN=A", "1"))
    for entry, number in ((forged, 4), (another, 4)):
        with writing(place.engine) as connection:
            JournalWriter().append(connection, entry)
        told = run("journal", "verify", "-c", place.config, "--json")
        assert (told.code, told.document["broken"]["id"], told.document["broken"]["what"]) == (1, number, "signature")
        assert run("journal", "verify", "-c", place.config, "--no-signatures").code == 0
        with writing(place.engine) as connection:
            connection.exec_driver_sql("DELETE FROM journal WHERE id = 4")
            connection.exec_driver_sql("DELETE FROM journal_body WHERE journal_id = 4")
            connection.exec_driver_sql(
                "UPDATE journal_head SET last_id = 3, row_sha256 = (SELECT row_sha256 FROM journal WHERE id = 3)"
            )


def test_verify_is_undecided_where_a_certificate_is_not_at_hand(place: Place, run: Run, tmp_path: Path) -> None:
    strangers = tmp_path / "empty"
    strangers.mkdir()
    (strangers / "other.pem").write_bytes(place.pki.certificate("shep").read_bytes())
    text = place.config.read_text()
    place.config.write_text(
        text.replace(f"{place.pki.directory}/anchors", str(strangers)).replace("gateway.key", "nothing.key")
    )
    told = run("journal", "verify", "-c", place.config, "--json")
    assert (told.code, told.document["valid"], told.document["undecided"]) == (3, None, 1)


@pytest.mark.parametrize("number", [1, 2])
def test_an_exported_message_is_valid_by_itself(place: Place, run: Run, tmp_path: Path, number: int) -> None:
    file = tmp_path / "evidence.json"
    assert run("journal", "export", number, "-c", place.config, "-o", file).code == 0
    trust = tmp_path / "anchors-only"
    trust.mkdir()
    for anchor in place.pki.anchors.glob("root*"):
        (trust / anchor.name).write_bytes(anchor.read_bytes())
    told = run("verify", file, "--trust", trust, "-c", place.config, "--json")
    assert (told.code, told.document["valid"]) == (0, True), told.stdout
    assert told.document["revocation"]["status"] == "good"
    shown = run("journal", "export", number, "-c", place.config)
    assert shown.stdout.encode() == file.read_bytes()


def test_an_evidence_file_that_was_changed_is_not_valid(place: Place, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    run("journal", "export", 2, "-c", place.config, "-o", file)
    document = json.loads(file.read_text())
    document["rows"][0]["row"][9] = "another id"
    for changed, code in ((document, "evidence_damaged"), ({"format": document["format"]}, "bad_evidence_file")):
        file.write_text(json.dumps(changed, separators=(",", ":"), ensure_ascii=False))
        told = run("verify", file, "--trust", place.pki.anchors, "-c", place.config, "--json", "--explain")
        assert (told.code, told.document["code"]) == (1, code)
        assert told.document["verdict"]["kk"]


def test_what_is_no_message_has_no_evidence(place: Place, run: Run) -> None:
    assert "no message 99" in run("journal", "export", 99, "-c", place.config).stderr
    with writing(place.engine) as connection:
        number = JournalWriter().append(connection, place.message("shep", NOW, body=None, body_bytes=9))
    assert "not kept" in run("journal", "export", number, "-c", place.config).stderr
    for wrong in ((), (1, "--all")):
        assert run("journal", "export", *wrong, "-c", place.config).code == 2


def test_a_message_that_nobody_signed_is_exported_with_its_bytes(place: Place, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    assert run("journal", "export", 3, "-c", place.config, "-o", file).code == 0
    told = run("verify", file, "--trust", place.pki.anchors, "-c", place.config, "--json")
    assert (told.code, told.document["valid"]) == (1, False)


def test_the_chain_is_exported_whole_or_in_part(place: Place, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    assert run("journal", "export", "--all", "-c", place.config, "-o", file).code == 0
    assert [next(iter(json.loads(line))) for line in file.read_text().splitlines()] == [
        "format",
        "row",
        "row",
        "row",
        "end",
    ]
    part = run("journal", "export", "--from", 2, "--to", 2, "--no-bodies", "-c", place.config)
    lines = part.stdout.splitlines()
    assert (len(lines), json.loads(lines[1])["body"]) == (3, None)
    assert run("journal", "export", "--all", "-c", place.config, "-o", tmp_path / "no" / "where").code == 2


def test_prune_says_what_goes_and_what_it_frees(place: Place, run: Run) -> None:
    with writing(place.engine) as connection:
        JournalWriter().append(connection, place.message("shep", NOW + DAY))
    later = (NOW + DAY / 2).isoformat()
    told = run("journal", "prune", "--before", later, "--dry-run", "-c", place.config, "--json")
    assert (told.code, told.document["bodies"]) == (0, 3)
    told = run("journal", "prune", "--before", later, "--service", "cbdi", "--compact", "-c", place.config)
    assert "3 bodies" in told.stdout
    told = run("journal", "prune", "--before", later, "--rows", "-c", place.config, "--json")
    assert told.document["rows"] == 3
    assert run("journal", "verify", "-c", place.config).code == 0
    assert run("journal", "show", 4, "-c", place.config, "--body").code == 0


def test_prune_without_an_age_goes_by_the_settings(place: Place, run: Run) -> None:
    assert run("journal", "prune", "-c", place.config, "--json").document["bodies"] == 0
    place.config.write_text(place.config.read_text() + "\n[journal]\nkeep_bodies_days = 1\nkeep_rows_days = 2\n")
    with writing(place.engine) as connection:
        JournalWriter().append(connection, place.message("shep", NOW - 3 * DAY))
    told = run("journal", "prune", "-c", place.config, "--json")
    assert (told.document["bodies"], told.document["rows"], told.document["needed"]) == (1, 0, 0)
    for wrong in (
        ("--rows",),
        ("--before", NOW.isoformat(), "--older-than", 3),
        ("--older-than", 3, "--rows", "--service", "S"),
    ):
        assert run("journal", "prune", *wrong, "-c", place.config).code == 2


def test_bodies_are_sealed_with_the_configured_key_and_a_bad_key_file_says_what_belongs_there(
    place: Place, run: Run, tmp_path: Path
) -> None:
    key = tmp_path / "journal.key"
    key.write_text("ab" * 32 + "\n")
    plain = place.config.read_text()
    place.config.write_text(plain + '\n[journal]\nkey_file = "journal.key"\n')
    assert run("journal", "show", 1, "-c", place.config, "--body").code == 0  # from before the key
    key.write_text("ab" * 31)
    told = run("journal", "show", 1, "-c", place.config)
    assert (told.code, "openssl rand -hex 32" in told.stderr) == (2, True)
    place.config.write_text(plain + '\n[journal]\nold_key_files = ["nowhere.key"]\n')
    assert "nowhere.key" in run("journal", "show", 1, "-c", place.config).stderr
