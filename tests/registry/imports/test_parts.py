"""Lists in parts: in any order, repeated, missing, changed, killed in between; applied once, as one file would be."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from structlog.testing import capture_logs

from gateway.database import engine_for, reading, upgrade, writing
from gateway.errors import MalformedMessage
from gateway.model import Provenance
from gateway.registry.imports import parts, run
from gateway.registry.imports.feeds import RecordKind, Scope, feed_named
from gateway.registry.imports.lines import LAYOUTS, line_of
from gateway.registry.imports.parts import (
    IncomingList,
    ListOutcome,
    ListPart,
    ListState,
    PartOutcome,
    PartResult,
    apply_complete,
    incoming_lists,
    late_lists,
    take_part,
    warn_of_late,
)
from gateway.registry.tables import CATEGORY_RECORD, LIST_PART
from tests.registry.imports.lists import LAW, Line, at, contents, csv, pensioner, person, removed, take

CATEGORIES = "republican_categories"


def lines_of(records: Sequence[Line], kind: RecordKind = RecordKind.CATEGORIES) -> tuple[bytes, ...]:
    lines = [line_of([record.get(name, "") for name in LAYOUTS[kind].columns]) for record in records]
    return tuple(line for line in lines if line is not None)


def parts_of(
    records: Sequence[Line],
    size: int = 2,
    *,
    list_id: str = "list-1",
    feed: str = CATEGORIES,
    scope: Scope = Scope.FULL,
    made_on: dt.date = dt.date(2026, 3, 1),
) -> list[ListPart]:
    lines = lines_of(records, feed_named(feed, LAW).kind)
    cut = [lines[first : first + size] for first in range(0, len(lines), size)] or [()]
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    return [
        ListPart(list_id, feed_named(feed, LAW), scope, made_on, number, len(cut), digest, some)
        for number, some in enumerate(cut, 1)
    ]


def send(engine: Engine, part: ListPart, day: int = 1, sender: str = "mem_corp") -> PartResult:
    provenance = Provenance(f"message-{part.list_id}-{part.number}", sender, "CN=X", "0f", at(day))
    with writing(engine) as connection:
        return take_part(connection, part, provenance)


def apply(engine: Engine, folder: Path, day: int = 1) -> list[ListOutcome]:
    return list(apply_complete(engine, law=LAW, at=at(day), folder=folder))


def known(engine: Engine) -> tuple[IncomingList, ...]:
    with reading(engine) as connection:
        return incoming_lists(connection)


def states(engine: Engine) -> dict[str, tuple[ListState, str]]:
    return {one.list_id: (one.state, one.problem) for one in known(engine)}


PEOPLE = [pensioner(number) for number in range(7)]


def test_parts_in_any_order_are_the_list_as_one_file(engine: Engine, tmp_path: Path) -> None:
    shuffled = parts_of(PEOPLE)
    random.Random(3).shuffle(shuffled)
    outcomes = [send(engine, part).outcome for part in shuffled]
    assert outcomes == [PartOutcome.TAKEN] * 3 + [PartOutcome.COMPLETE]
    # nothing is there before all of it is
    assert contents(engine)["category_record"] == []
    (applied,) = apply(engine, tmp_path / "lists")
    assert applied.result is not None
    assert (applied.state, applied.result.applied) == (ListState.APPLIED, 7)
    by_parts = contents(engine)
    assert len(by_parts["category_record"]) == 7
    assert by_parts["import"][0][3] == "list list-1"
    assert {row[0] for row in by_parts["standing_touched"]} == {person(number) for number in range(7)}
    # and the same as a file says nothing new
    again = take(engine, csv(tmp_path / "file.csv", PEOPLE), day=2, folder=tmp_path / "lists")
    assert (again.applied, again.unchanged) == (0, 7)
    assert apply(engine, tmp_path / "lists") == []


def test_a_part_that_comes_again_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    first, *others = parts_of(PEOPLE)
    assert send(engine, first) == PartResult(PartOutcome.TAKEN, 1, 4)
    assert send(engine, first, day=2) == PartResult(PartOutcome.DUPLICATE, 1, 4)
    for part in others:
        send(engine, part)
    assert send(engine, first, day=2).outcome is PartOutcome.DUPLICATE
    apply(engine, tmp_path)
    assert send(engine, first, day=3).outcome is PartOutcome.DUPLICATE
    assert apply(engine, tmp_path) == []
    with reading(engine) as connection:
        evidence = connection.execute(select(LIST_PART).where(LIST_PART.c.part == 1)).mappings().one()
    # the message stays named, its content is the journal's
    assert (evidence["message_id"], evidence["received_at"], evidence["lines_zlib"]) == (
        "message-list-1-1",
        at(1),
        None,
    )


def test_a_part_with_other_records_is_an_incident_and_the_first_one_stays(engine: Engine, tmp_path: Path) -> None:
    first, second = parts_of(PEOPLE, 4)
    send(engine, first)
    other = replace(first, lines=lines_of([pensioner(99)]))
    with capture_logs() as logged:
        assert send(engine, other).outcome is PartOutcome.PART_CHANGED
    assert [(line["log_level"], line["action"]) for line in logged] == [("error", "part_changed")]
    assert states(engine) == {"list-1": (ListState.OPEN, "part_changed")}
    send(engine, second)
    apply(engine, tmp_path)
    assert len(contents(engine)["category_record"]) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"feed": feed_named("treaty_foreigner", LAW)},
        {"scope": Scope.CHANGES},
        {"made_on": dt.date(2026, 3, 2)},
        {"of": 9},
        {"digest": "0" * 64},
    ],
)
def test_a_part_that_speaks_otherwise_of_its_list_is_not_taken(engine: Engine, change: dict[str, object]) -> None:
    first, second = parts_of(PEOPLE, 4)
    send(engine, first)
    assert send(engine, replace(second, **change)) == PartResult(PartOutcome.LIST_CHANGED, 1, 2)  # type: ignore[arg-type]
    assert states(engine) == {"list-1": (ListState.OPEN, "list_changed")}


def test_a_list_id_belongs_to_its_sender(engine: Engine, tmp_path: Path) -> None:
    first, second = parts_of(PEOPLE, 4)
    send(engine, first, sender="one")
    assert send(engine, second, sender="other").outcome is PartOutcome.TAKEN
    assert apply(engine, tmp_path) == []


@pytest.mark.parametrize("number", [0, 5])
def test_a_part_has_a_number_that_can_be(engine: Engine, number: int) -> None:
    with pytest.raises(MalformedMessage) as refused:
        send(engine, replace(parts_of(PEOPLE)[0], number=number))
    assert refused.value.code == "part_number"
    assert known(engine) == ()


def test_missing_parts_are_named_when_they_are_late(engine: Engine) -> None:
    sent = parts_of(PEOPLE)
    send(engine, sent[0])
    send(engine, sent[2])
    day = dt.timedelta(days=1)
    assert late_lists(known(engine), at(2), day) == ()
    (late,) = late_lists(known(engine), at(3), day)
    assert (late.received, late.of, late.missing) == (2, 4, (2, 4))
    with capture_logs() as logged:
        warn_of_late([late])
    assert [(line["action"], line["received"], line["parts"]) for line in logged] == [("list_parts_missing", 2, 4)]


def test_a_list_that_is_not_what_its_digest_says_is_refused_whole(engine: Engine, tmp_path: Path) -> None:
    wrong = [replace(part, digest="0" * 64) for part in parts_of(PEOPLE)]
    for part in wrong:
        send(engine, part)
    with capture_logs() as logged:
        (outcome,) = apply(engine, tmp_path)
    assert (outcome.state, outcome.problem) == (ListState.REFUSED, "digest")
    assert [(line["log_level"], line["action"]) for line in logged] == [("error", "list_refused")]
    assert contents(engine)["category_record"] == []
    # it was seen; anything new needs a new list
    assert send(engine, wrong[0]).outcome is PartOutcome.DUPLICATE


def test_a_list_of_which_nothing_can_be_taken_is_refused(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MAX_REFUSED_LINES", 1)
    for part in parts_of([pensioner(number, iin=f"{number}") for number in range(3)]):
        send(engine, part)
    (outcome,) = apply(engine, tmp_path)
    assert outcome.problem == "too_many_refused"
    assert contents(engine)["import"] == []


def test_refused_records_are_told_and_the_others_applied(engine: Engine, tmp_path: Path) -> None:
    for part in parts_of([pensioner(1), pensioner(2, iin="12")]):
        send(engine, part)
    (outcome,) = apply(engine, tmp_path)
    assert outcome.result is not None
    assert [one.code for one in outcome.result.refused] == ["iin_invalid"]
    assert len(contents(engine)["category_record"]) == 1


def test_a_feed_that_the_law_no_longer_has_is_refused(engine: Engine, tmp_path: Path) -> None:
    strange = replace(feed_named(CATEGORIES, LAW), name="of_before")
    send(engine, replace(parts_of([])[0], feed=strange))
    (outcome,) = apply(engine, tmp_path)
    assert outcome.problem == "no_such_feed"


def test_a_list_made_before_the_last_full_one_says_nothing_any_more(engine: Engine, tmp_path: Path) -> None:
    old = parts_of([removed(pensioner(1), "2026-03-01")], list_id="old", made_on=dt.date(2026, 3, 1))
    new = parts_of(PEOPLE, list_id="new", made_on=dt.date(2026, 3, 2))
    for part in (*new, *old):
        send(engine, part)
    outcomes = {one.list_id: one.state for one in apply(engine, tmp_path)}
    assert outcomes == {"new": ListState.APPLIED, "old": ListState.SUPERSEDED}
    assert send(engine, replace(old[0], number=1)).outcome is PartOutcome.DUPLICATE
    with reading(engine) as connection:
        assert connection.execute(select(func.max(CATEGORY_RECORD.c.version))).scalar_one() == 1


def test_nothing_more_is_taken_into_a_list_that_is_closed(engine: Engine, tmp_path: Path) -> None:
    first, _ = parts_of(PEOPLE, 4)
    send(engine, first)
    with writing(engine) as connection:
        parts._closed(connection, "mem_corp", "list-1", ListState.SUPERSEDED, None, "by_hand")
    assert send(engine, replace(first, number=2)).outcome is PartOutcome.LIST_CLOSED


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["_next_number", "apply_rows", "_record", "keep"])
def test_killed_while_it_is_applied_it_is_applied_by_the_next_run(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    for part in parts_of(PEOPLE):
        send(engine, part)

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(run, when, kill)
        with pytest.raises(Killed):
            apply(engine, tmp_path)
    assert contents(engine)["category_record"] == contents(engine)["import"] == []
    assert states(engine)["list-1"][0] is ListState.COMPLETE
    (outcome,) = apply(engine, tmp_path)
    assert outcome.state is ListState.APPLIED
    assert len(contents(engine)["category_record"]) == 7


def test_killed_between_parts_the_others_may_come_later(engine: Engine, tmp_path: Path) -> None:
    first, second = parts_of(PEOPLE, 4)
    send(engine, first)

    def killed_before_the_commit() -> None:
        with writing(engine) as connection:
            take_part(connection, second, Provenance("m", "mem_corp", "", "", at(1)))
            raise Killed

    with pytest.raises(Killed):
        killed_before_the_commit()
    assert apply(engine, tmp_path) == []
    assert send(engine, second, day=2).outcome is PartOutcome.COMPLETE
    assert [one.state for one in apply(engine, tmp_path, day=2)] == [ListState.APPLIED]


def test_a_submission_of_a_body_in_parts_ends_whom_it_does_not_name(engine: Engine, tmp_path: Path) -> None:
    absent = []
    for number, people in enumerate(([1, 2, 3], [2, 3]), 1):
        records = [{"iin": person(one)} for one in people]
        made_on = dt.date(2026, 3, number)
        for part in parts_of(records, 1, list_id=f"mod-{number}", feed="military_mod", made_on=made_on):
            send(engine, part, day=number)
        (outcome,) = apply(engine, tmp_path, day=number)
        assert outcome.result is not None
        absent.append(outcome.result.absent)
    assert absent == [0, 1]


def test_a_hundred_thousand_records_in_fifty_parts_are_never_held_at_once(sqlite_url: str, tmp_path: Path) -> None:
    engine = engine_for(sqlite_url)
    upgrade(engine)
    iins = [person(number) for number in range(500)]
    days = [f"20{year:02}-01-{day:02}" for year in range(10, 20) for day in range(1, 21)]
    lines = sorted(f"{iin},pension_recipient,{day},enbek_is,,,".encode() for iin in set(iins) for day in days)
    count = len(lines)
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    size = -(-count // 50)
    feed = feed_named(CATEGORIES, LAW)
    for number in range(1, 51):
        some = tuple(lines[(number - 1) * size : number * size])
        send(engine, ListPart("big", feed, Scope.FULL, dt.date(2026, 3, 1), number, 50, digest, some))
    del lines
    tracemalloc.start()
    with (tmp_path / "lines").open("wb") as file:
        assert parts._write_lines(engine, "mem_corp", "big", 50, file) == digest
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # a part has some 90 kB
    assert peak < 1_000_000
    (outcome,) = apply(engine, tmp_path / "lists")
    assert outcome.result is not None
    assert (count, outcome.result.applied) == (100_000, 100_000)
    engine.dispose()
