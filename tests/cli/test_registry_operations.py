"""`gateway registry feeds`, `lists`, `failure`, `stop`, `provisional`, `forget`, `simulate`; `db backup` and kin."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway import database
from gateway.database import engine_for
from gateway.registry.imports.feeds import Scope
from tests.cli.conftest import NOW, Ran, Run
from tests.registry.imports.lists import csv, pensioner, person, removed
from tests.registry.imports.test_parts import parts_of, send


@pytest.fixture
def config(tmp_path: Path, run: Run) -> Path:
    """A configuration of which only the database is used, migrated."""
    file = tmp_path / "gateway.toml"
    shipped = Path(__file__).parents[2] / "config" / "gateway.toml"
    file.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    assert run("db", "upgrade", "-c", file).code == 0
    return file


@pytest.fixture
def registry(run: Run, config: Path) -> object:
    """`gateway registry … -c config`."""

    def command(*arguments: object) -> Ran:
        # the log goes to stderr, which these tests leave unconfigured
        with capture_logs():
            return run("registry", *arguments, "-c", config)

    return command


def store(config: Path) -> Engine:
    return engine_for(f"sqlite:///{config.parent / 'gateway.sqlite'}")


def test_feeds_are_shown_with_their_age(registry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry("import", csv(tmp_path / "1.csv", [pensioner(1)]), "--full")
    told = registry("feeds")
    assert told.code == 0
    assert "republican_categories: in time · last 2026-11-21 17:00 · daily" in told.stdout
    assert "payments: not connected · last never · daily" in told.stdout
    monkeypatch.setattr("tests.cli.conftest.NOW", NOW + dt.timedelta(days=3))
    late = registry("feeds", "--json")
    assert late.code == 1
    assert late.document["feeds"][0] == {
        "feed": "republican_categories",
        "frequency": "daily",
        "cites": ["004 p.6", "004 p.19"],
        "last_received": NOW.isoformat(),
        "overdue": True,
    }
    assert "overdue" in registry("feeds").stdout


def test_lists_in_parts_are_shown_and_applied(registry: Run, config: Path) -> None:
    engine = store(config)
    first, second = parts_of([pensioner(1), pensioner(2)], 1)
    send(engine, first)
    # that part came in March
    waiting = registry("lists", "--json")
    (one,) = waiting.document["lists"]
    assert (waiting.code, one["state"], one["missing"], one["late"]) == (1, "open", [2], True)
    assert "late, missing 2" in registry("lists").stdout
    send(engine, second)
    applied = registry("lists", "--apply")
    assert applied.code == 0
    assert "applied · 2 of 2 parts · import 1 · list-1" in applied.stdout
    for part in parts_of([pensioner(3, iin="1")], list_id="wrong", scope=Scope.CHANGES):
        send(engine, part)
    assert registry("lists", "--apply").code == 1
    engine.dispose()


def test_a_failure_is_declared_and_closed_with_a_reason(registry: Run) -> None:
    declared = registry("failure", "declare", "mem_corp", "--from", "2026-11-20", "--reason", "outage", "--by", "Ann")
    assert declared.code == 0
    assert "mem_corp@2026-11-20 · Ann: outage · open" in declared.stdout
    again = registry("failure", "declare", "mem_corp", "--from", "2026-11-20", "--reason", "outage")
    assert again.code == 2
    closed = registry(
        "failure", "close", "mem_corp@2026-11-20", "--fixed", "2026-11-21", "--reason", "restored", "--json"
    )
    (found,) = closed.document["failures"]
    assert found == registry("failure", "list", "--json").document["failures"][0]
    assert (found["id"], found["fixed"], found["declared"]["by"], found["closed"]["reason"]) == (
        "mem_corp@2026-11-20",
        "2026-11-21",
        "Ann",
        "restored",
    )
    assert registry("failure", "close", "x", "--fixed", "today", "--reason", "r").code == 2


def test_a_stop_of_the_state_s_payments_is_declared_closed_and_explained(registry: Run, tmp_path: Path) -> None:
    registry("import", csv(tmp_path / "1.csv", [pensioner(1)]))
    said = ("--from", "2026-11-10", "--reason", "nothing came", "--by", "Ann")
    declared = registry("stop", "declare", "republican", *said, "--evidence", "letter 7")
    assert declared.code == 0
    assert "republican@2026-11-10 · Ann: nothing came · open" in declared.stdout
    assert registry("stop", "declare", "republican", *said).code == 2
    assert registry("stop", "declare", "federal", *said).code == 2
    why = registry("explain", person(1)).stdout
    assert "the state stopped paying 2026-11-10" in why
    assert "a declaration letter 7; republican" in why
    assert "declared by Ann: nothing came" in why
    (proof,) = registry("explain", person(1), "--json").document["proofs"]["letter 7"]
    assert (proof["kind"], proof["declared_by"], proof["reason"]) == ("declaration", "Ann", "nothing came")
    closed = registry(
        "stop", "close", "republican@2026-11-10", "--resumed", "2026-11-20", "--reason", "it came", "--json"
    )
    (found,) = closed.document["stops"]
    assert found == registry("stop", "list", "--json").document["stops"][0]
    assert (found["budget"], found["from"], found["resumed"], found["declared"]["evidence"]) == (
        "republican",
        "2026-11-10",
        "2026-11-20",
        "letter 7",
    )
    assert found["closed"]["evidence"] == "end of stop republican@2026-11-10"
    assert "paid again 2026-11-20" in registry("stop", "list").stdout
    assert registry("stop", "close", "x", "--resumed", "2026-11-20", "--reason", "r").code == 2


def test_a_mistaken_stop_is_shown_as_withdrawn(registry: Run) -> None:
    registry("stop", "declare", "local", "--from", "2026-11-10", "--reason", "a slip")
    withdrawn = registry("stop", "close", "local@2026-11-10", "--resumed", "2026-11-10", "--reason", "not so")
    assert "· withdrawn, " in withdrawn.stdout
    opened = registry("stop", "declare", "local", "--from", "2026-11-11", "--reason", "so", "--json")
    assert opened.document["stops"][0]["closed"] is None


def test_an_application_is_decided(registry: Run) -> None:
    asked = ("provisional", person(1), "--category", "children", "--applied", "2026-11-20", "--reference", "17-04")
    refused = registry(*asked)
    assert (refused.code, "refused: documents_incomplete · 004 p.21" in refused.stdout) == (1, True)
    assert registry(*asked, "--document", "birth_certificate", "--json").document == {
        "accepted": True,
        "first": "2026-11-20",
        "last": "2026-12-20",
        "reason": None,
        "because": ["004 p.21", "004 p.21(1)"],
        "readings": ["provisional_end"],
    }
    assert "accepted: 2026-11-20 to 2026-12-20" in registry(*asked, "--document", "birth_certificate").stdout
    named = registry(*asked[:-1], f"application of {person(1)}")
    assert named.code == 2
    assert person(1) not in named.stderr


def test_nothing_is_forgotten_before_the_fund_said_how_long_it_keeps(
    registry: Run, config: Path, tmp_path: Path
) -> None:
    registry("import", csv(tmp_path / "1.csv", [removed(pensioner(1), "2025-01-01", "death")]))
    asked = ("forget", person(1), "--reason", "request 44")
    undecided = registry(*asked)
    assert undecided.code == 2
    assert "registry.keep_facts_days" in undecided.stderr
    config.write_text(config.read_text(encoding="utf-8") + "\n[registry]\nkeep_facts_days = 1\n", encoding="utf-8")
    kept = registry(*asked, "--json")
    assert (kept.code, kept.document["error"]["code"]) == (1, "still_kept")


def test_what_is_known_is_erased_on_a_word(
    registry: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        file = csv(tmp_path / f"{number}.csv", [removed(pensioner(number), "2025-01-01", "death")])
        registry("import", file)
    config.write_text(config.read_text(encoding="utf-8") + "\n[registry]\nkeep_facts_days = 1\n", encoding="utf-8")
    monkeypatch.setattr("tests.cli.conftest.NOW", NOW + dt.timedelta(days=3))
    assert registry("forget", person(1), "--reason", "request 44", "--json").document["forgotten"] == 1
    assert "forgotten 2: 2 rows erased" in registry("forget", person(2), "--reason", "request 45").stdout
    assert registry("standing", person(1)).code == 3


def test_a_simulation_tells_whom_it_moves_and_not_who(registry: Run, tmp_path: Path) -> None:
    registry(
        "import", csv(tmp_path / "1.csv", [removed(pensioner(1), "2026-08-20"), removed(pensioner(2), "2026-08-22")])
    )
    changed = ("simulate", "--reading", "state_retention_unit=whole_calendar_months")
    found = registry(*changed, "--json").document
    move = {
        "from": "none",
        "to": "retention_state:pension_recipient",
        "people": 1,
    }
    (moved,) = found["moved"]
    assert {name: moved[name] for name in move} == move
    assert [list(example) for example in moved["examples"]] == [["case"]]
    shown = registry(*changed, "--show-people", "--json").document["moved"][0]["examples"]
    assert [example["iin"] for example in shown] == [person(1)]
    words = registry(*changed, "--sample", "2", "--seed", "1")
    assert "2 people · 1 would stand elsewhere" in words.stdout
    assert "1: none → retention_state:pension_recipient · case" in words.stdout
    assert person(1) not in words.stdout
    assert person(1) in registry(*changed, "--show-people").stdout
    assert "1: retention_state:pension_recipient, until another day" in words.stdout
    assert registry(*changed, "--on", "2026-12-01", "--json").document["moved"] == []
    assert registry("simulate").code == 2
    assert registry("simulate", "--reading", "x").code == 2


def test_everything_is_backed_up_restored_and_moved(
    run: Run, registry: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry("import", csv(tmp_path / "1.csv", [pensioner(1)]))
    backup = run("db", "backup", tmp_path / "all.zip", "-c", config, "--json")
    rows = {table["name"]: table["rows"] for table in backup.document["tables"]}
    assert (rows["category_record"], rows["import"]) == (1, 1)
    assert "written to" in run("db", "backup", tmp_path / "more.zip", "-c", config).stdout

    other = tmp_path / "other"
    other.mkdir()
    rehearsal = other / "gateway.toml"
    rehearsal.write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    restored = run("db", "restore", tmp_path / "all.zip", "--verify", "-c", rehearsal, "--json")
    assert restored.document == backup.document
    assert run("registry", "standing", person(1), "-c", rehearsal).code == 0
    assert run("db", "restore", tmp_path / "all.zip", "-c", rehearsal).code == 2

    target = f"sqlite:///{tmp_path / 'moved.sqlite'}"
    moved = run("db", "move", "--to", target, "--verify", "-c", config)
    assert (moved.code, "set database.url" in moved.stdout) == (0, True)
    engine = engine_for(target)
    assert database.current_revision(engine) == database.expected_revision()
    engine.dispose()
    itself = run("db", "move", "--to", f"sqlite:///{config.parent / 'gateway.sqlite'}", "-c", config)
    assert (itself.code, "itself" in itself.stderr) == (2, True)
