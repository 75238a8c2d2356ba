from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select, text

from gateway.database import engine_for, reading, upgrade, writing
from gateway.errors import ConfigurationError, MalformedMessage, StoreError
from gateway.model import Iin
from gateway.registry.imports import applying, compare, run, stretches
from gateway.registry.imports.feeds import RecordKind, Scope, feed_named, feeds_of
from gateway.registry.imports.keeping import alone
from gateway.registry.imports.telling import feed_of_file
from gateway.registry.store import standing_of
from gateway.registry.tables import CATEGORY_RECORD, STANDING_TOUCHED
from tests.registry.imports.lists import (
    LAW,
    at,
    codes,
    contents,
    csv,
    ndjson,
    pensioner,
    person,
    removed,
    take,
    xml,
)


def told(engine: Engine, number: int = 1) -> list[tuple[int, str | None]]:
    with reading(engine) as connection:
        query = select(CATEGORY_RECORD).where(CATEGORY_RECORD.c.iin == person(number)).order_by("version")
        return [(row.version, row.removed_reason) for row in connection.execute(query)]


def touched(engine: Engine) -> set[str]:
    with writing(engine) as connection:
        found = set(connection.execute(select(STANDING_TOUCHED.c.iin)).scalars())
        connection.execute(delete(STANDING_TOUCHED))
    return found


def test_a_list_makes_consumers_with_the_list_as_evidence(engine: Engine, tmp_path: Path) -> None:
    result = take(engine, csv(tmp_path / "list.csv", [pensioner(1), pensioner(2)]))
    assert (result.read, result.applied, result.unchanged, result.refused, result.absent) == (2, 2, 0, (), 0)
    with reading(engine) as connection:
        answer = standing_of(connection, Iin(person(1)), as_of=dt.date(2026, 3, 2), known_at=at(2), law=LAW)
        before = standing_of(connection, Iin(person(1)), as_of=dt.date(2026, 3, 2), known_at=at(0), law=LAW)
    assert (answer.insured, answer.category, answer.evidence) == (True, "pension_recipient", ("list.csv",))
    assert not before.insured


def test_a_large_list_tells_the_planner_what_became_of_the_tables(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "_MANY_ROWS", 2)
    engine = engine_for(postgresql_url)
    upgrade(engine)

    def analyzed() -> set[str]:
        with reading(engine) as connection:
            query = "SELECT tablename FROM pg_stats WHERE tablename IN ('category_record', 'standing_touched')"
            return set(connection.execute(text(query)).scalars())

    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    assert analyzed() == set()
    take(engine, csv(tmp_path / "2.csv", [pensioner(number) for number in range(1, 6)]))
    assert analyzed() == {"category_record", "standing_touched"}
    engine.dispose()


def test_only_what_differs_is_written_and_touches_its_person(engine: Engine, tmp_path: Path) -> None:
    people = [pensioner(number) for number in range(1, 50)]
    take(engine, csv(tmp_path / "1.csv", people))
    assert touched(engine) == {one["iin"] for one in people}
    people[6] = removed(people[6], "2026-03-01")
    result = take(engine, csv(tmp_path / "2.csv", [*people, pensioner(50)]), day=2)
    assert (result.read, result.applied, result.unchanged) == (50, 2, 48)
    assert told(engine, 7) == [(1, None), (2, "left")]
    assert touched(engine) == {person(7), person(50)}


def test_the_same_file_again_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    file = csv(tmp_path / "list.csv", [pensioner(1), removed(pensioner(2), "2026-02-01")])
    take(engine, file)
    before = contents(engine)
    result = take(engine, file, day=2)
    assert (result.read, result.applied, result.unchanged) == (2, 0, 2)
    after = contents(engine)
    assert len(after.pop("import")) == len(before.pop("import")) + 1
    assert after == before


def test_a_record_that_a_full_list_no_longer_names_is_counted_and_stays(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1), pensioner(2), removed(pensioner(3), "2026-01-01")]))
    result = take(engine, csv(tmp_path / "2.csv", [pensioner(2)]), day=2)
    assert (result.applied, result.absent) == (0, 1)
    with reading(engine) as connection:
        assert standing_of(connection, Iin(person(1)), as_of=dt.date(2026, 3, 3), known_at=at(3), law=LAW).insured
    # and when it comes back, nothing was said
    assert take(engine, csv(tmp_path / "3.csv", [pensioner(1), pensioner(2)]), day=3).applied == 0


@pytest.mark.parametrize("lose", ["list", "refused", "other bytes", "changes between"])
def test_a_kept_list_that_does_not_fit_is_not_believed(engine: Engine, tmp_path: Path, lose: str) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1), pensioner(2)]))
    kept = tmp_path / "lists" / "republican_categories" / "1.csv"
    expected = 1
    match lose:
        case "list":
            kept.unlink()
        case "refused":
            kept.with_suffix(".refused").unlink()
        case "other bytes":
            csv(kept, [removed(pensioner(1), "2026-01-01"), pensioner(2)])
        case _:
            change = csv(tmp_path / "change.csv", [removed(pensioner(2), "2026-03-01")])
            assert take(engine, change, day=2, scope=Scope.CHANGES).applied == 1
            expected = 2  # the full list takes the removal back
    result = take(engine, csv(tmp_path / "2.csv", [removed(pensioner(1), "2026-01-01"), pensioner(2)]), day=3)
    assert (result.applied, result.absent) == (expected, 0)


def test_every_refused_line_is_told_by_its_number_and_reason_each_time(engine: Engine, tmp_path: Path) -> None:
    wrong = [
        pensioner(1),
        pensioner(2, iin="123456789012"),
        pensioner(3, assigned_date="2020-02-30", assigned_source=""),
        pensioner(4, category="registered_unemployed"),
        pensioner(5, removed_date="2026-01-01"),
        removed(pensioner(6), "2019-01-01"),
        pensioner(7, iin="nobody"),
        pensioner(8, assigned_source="x" * 65),
        pensioner(9, category="friends"),
    ]
    expected = [
        (3, "iin_invalid"),
        (4, "assigned_date_invalid"),
        (4, "assigned_source_missing"),
        (5, "category_not_of_feed"),
        (6, "removed_reason_missing"),
        (6, "removed_source_missing"),
        (7, "removed_before_assigned"),
        (8, "iin_invalid"),
        (9, "assigned_source_too_long"),
        (10, "category_not_of_feed"),
    ]
    result = take(engine, csv(tmp_path / "1.csv", wrong))
    assert (result.read, result.applied, result.unchanged) == (9, 1, 0)
    assert codes(result) == expected
    again = take(engine, csv(tmp_path / "2.csv", wrong), day=2)
    assert (again.read, again.applied, again.unchanged) == (9, 0, 1)
    assert codes(again) == expected
    tables = contents(engine)
    assert [row[1:3] for row in tables["refused_line"] if row[0] == 2] == expected
    values = {value for record in wrong for value in record.values() if len(value) > 8}
    assert not any(value in message for *_, message in tables["refused_line"] for value in values)


def test_refused_lines_leave_the_registry_as_if_they_were_not_there(
    engine: Engine, tmp_path: Path, sqlite_url: str
) -> None:
    good = [pensioner(number) for number in range(20)]
    take(engine, csv(tmp_path / "clean.csv", good), folder=tmp_path / "clean")
    clean = contents(engine)["category_record"]
    with writing(engine) as connection:
        connection.execute(delete(CATEGORY_RECORD))
    take(engine, csv(tmp_path / "dirty.csv", [*good[:9], pensioner(99, iin="1"), *good[9:]]), folder=tmp_path / "x")
    dirty = contents(engine)["category_record"]
    assert [row[:8] for row in dirty] == [row[:8] for row in clean]


def test_a_record_that_is_told_twice_differently_is_refused_both_times(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1), pensioner(2)]))
    twice = [pensioner(1), pensioner(2), removed(pensioner(1), "2026-03-01")]
    result = take(engine, csv(tmp_path / "2.csv", twice), day=2)
    assert codes(result) == [(2, "repeated_record"), (4, "repeated_record")]
    assert told(engine) == [(1, None)]
    again = take(engine, csv(tmp_path / "3.csv", twice), day=3)
    assert codes(again) == codes(result)
    corrected = take(engine, csv(tmp_path / "4.csv", twice[1:]), day=4)
    assert (corrected.refused, corrected.applied) == ((), 1)
    # the same line twice is the same said twice
    same = take(engine, csv(tmp_path / "5.csv", [*twice[1:], twice[1], twice[1]]), day=5)
    assert (same.read, same.applied, same.unchanged, same.refused) == (4, 0, 4, ())


def test_the_order_and_the_format_of_a_list_say_nothing(engine: Engine, tmp_path: Path) -> None:
    people = [pensioner(number) for number in range(200)]
    people[3]["assigned_source"] = 'Еңбекмині, "АЖ" \\ \t'.strip()
    take(engine, ndjson(tmp_path / "1.ndjson", people))
    before = contents(engine)["category_record"]
    random.Random(5).shuffle(people)
    for number, file in enumerate((ndjson(tmp_path / "2.ndjson", people), xml(tmp_path / "3.xml", people)), 2):
        result = take(engine, file, day=number)
        assert (result.read, result.applied, result.unchanged, result.absent) == (200, 0, 200, 0)
    assert contents(engine)["category_record"] == before


def test_a_list_over_the_registers_answers(engine: Engine, tmp_path: Path) -> None:
    """Decision 0005: once a list of the category was taken in, the list says who is of it."""
    from gateway.model import Answer, Fact, Outcome, Provenance
    from gateway.registry.store import record_answer

    child = Iin("120314599013")
    born = Fact("person", child, "1", None, None, {"birth_date": "2012-03-14", "life_status": "alive"})
    with writing(engine) as connection:
        message = Provenance("m1", "gbdfl", "CN=TEST invented register", "0a1b", at(1))
        record_answer(connection, child, Answer(Outcome.FOUND, (born,), ("person",)), message, law=LAW)
    assert touched(engine) == {child.value}
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]), day=3)
    assert touched(engine) == {child.value, person(1)}
    with reading(engine) as connection:
        day = dt.date(2026, 3, 9)
        assert standing_of(connection, child, as_of=day, known_at=at(2), law=LAW).insured
        assert not standing_of(connection, child, as_of=day, known_at=at(9), law=LAW).insured


def test_large_lists_are_compared_in_stretches_by_two_processes(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.database import engine_for, upgrade

    engine = engine_for(sqlite_url)
    upgrade(engine)
    monkeypatch.setattr(run, "_ALONE_BYTES", 1_000)
    people = sorted((pensioner(number) for number in range(300)), key=lambda record: record["iin"])
    phases: list[str] = []
    take(engine, csv(tmp_path / "1.csv", people), progress=lambda phase, *_: phases.append(phase))
    assert phases.count("compare") == 16
    people[0] = removed(people[0], "2026-03-01")
    people[150]["assigned_source"] = "x" * 65
    gone = people.pop()
    result = take(engine, csv(tmp_path / "2.csv", people), day=2)
    assert (result.read, result.applied, result.unchanged, result.absent) == (299, 1, 297, 1)
    assert codes(result) == [(152, "assigned_source_too_long")]
    random.Random(2).shuffle(people)
    result = take(engine, csv(tmp_path / "3.csv", [*people, gone]), day=3)
    assert (result.applied, result.unchanged, len(result.refused)) == (0, 299, 1)
    engine.dispose()


def test_a_file_that_is_mostly_wrong_is_refused_as_a_whole(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "MAX_REFUSED_LINES", 3)
    wrong = [pensioner(number, assigned_source="") for number in range(5)]
    before = contents(engine)
    with pytest.raises(MalformedMessage) as refused:
        take(engine, csv(tmp_path / "1.csv", [pensioner(9), *wrong]))
    assert refused.value.code == "too_many_refused"
    assert contents(engine) == before


def test_a_list_of_another_kind_is_refused_by_its_header(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "1.csv"
    file.write_text("iin,wage\n1,2\n")
    with pytest.raises(MalformedMessage) as refused:
        take(engine, file)
    assert refused.value.code == "header"
    assert "wage" not in refused.value.message


def test_two_imports_of_one_feed_do_not_run_at_once(engine: Engine, tmp_path: Path) -> None:
    file = csv(tmp_path / "1.csv", [pensioner(1)])
    with alone(tmp_path / "lists", "republican_categories"), pytest.raises(StoreError, match="another import"):
        take(engine, file)
    assert take(engine, file).applied == 1


def test_payments_have_no_full_list(engine: Engine, tmp_path: Path) -> None:
    file = csv(tmp_path / "1.csv", [], RecordKind.PAYMENTS)
    with pytest.raises(MalformedMessage) as refused:
        take(engine, file, feed="payments")
    assert refused.value.code == "no_full_list"


def test_every_feed_is_one_whose_frequency_the_law_gives() -> None:
    assert {feed.watched_as for feed in feeds_of(LAW).values()} <= set(LAW.feeds)
    with pytest.raises(ConfigurationError, match="there are: republican_categories"):
        feed_named("friends", LAW)


def test_a_file_tells_its_feed_by_its_columns(tmp_path: Path) -> None:
    unemployed = pensioner(1, category="registered_unemployed")
    assert feed_of_file(csv(tmp_path / "1", [pensioner(1)]), LAW).name == "republican_categories"
    assert feed_of_file(xml(tmp_path / "2", [unemployed]), LAW).name == "registered_unemployed"
    assert feed_of_file(ndjson(tmp_path / "3", [unemployed]), LAW).name == "registered_unemployed"
    assert feed_of_file(csv(tmp_path / "4", [], RecordKind.PAYMENTS), LAW).name == "payments"
    assert feed_of_file(csv(tmp_path / "5", [], RecordKind.TREATY), LAW).name == "treaty_foreigner"
    for number, content in enumerate(("iin,listed_as\n", "", "{", "<a", "<a><b/></a>", '{"iin": 1}')):
        file = tmp_path / f"x{number}"
        file.write_text(content)
        with pytest.raises(ConfigurationError, match="--feed"):
            feed_of_file(file, LAW)


def test_the_window_is_larger_than_what_must_lie_in_it() -> None:
    assert compare._WINDOW_BYTES > compare._LONGEST_STRETCH_BYTES + 2 * compare._MARGIN_BYTES
