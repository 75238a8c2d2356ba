"""Facts in the database, on both stores."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from gateway.database import reading, writing
from gateway.errors import EditionNotInForce, MappingError
from gateway.model import Answer, Fact, FactValue, Iin, Outcome, Provenance, Rejection
from gateway.registry.standing import Standing
from gateway.registry.store import RecordedCounts, facts_of, history_of, next_change_of, record_answer, standing_of
from gateway.registry.tables import FACT, MAX_KEY_CHARACTERS
from gateway.regulation.reading import load_law

LAW = load_law(Path(__file__).parents[2] / "config" / "regulation")
MOTHER = Iin("751120499036")
CHILD = Iin("120314599013")
day = dt.date.fromisoformat


def at(number: int) -> dt.datetime:
    """The noon of the n-th day of March 2026."""
    return dt.datetime(2026, 3, 1, 12, tzinfo=LAW.timezone) + dt.timedelta(days=number - 1)


def message(number: int, system: str = "cbdi") -> Provenance:
    return Provenance(f"m{number}", system, "CN=TEST invented register", "0a1b", at(number))


def disability(key: str = "77", valid_to: str | None = None, subject: Iin = MOTHER, **says: FactValue) -> Fact:
    return Fact("disability", subject, key, day("2024-05-01"), day(valid_to) if valid_to else None, says)


def answer(*facts: Fact, complete_for: Sequence[str] = ("disability",)) -> Answer:
    return Answer(Outcome.FOUND if facts else Outcome.NOT_FOUND, facts, tuple(complete_for))


def take(
    engine: Engine, number: int, *facts: Fact, complete_for: Sequence[str] = ("disability",), system: str = "cbdi"
) -> RecordedCounts:
    with writing(engine) as connection:
        return record_answer(
            connection, MOTHER, answer(*facts, complete_for=complete_for), message(number, system), law=LAW
        )


def rows(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(FACT)).scalar_one()


def said(engine: Engine, number: int) -> list[tuple[str, object, bool, str]]:
    with reading(engine) as connection:
        return [
            (one.fact.key, one.fact.attributes.get("group"), one.present, one.provenance.message_id)
            for one in facts_of(connection, MOTHER, at(number))
        ]


def test_a_fact_comes_back_with_all_that_was_said_and_who_said_it(engine: Engine) -> None:
    fact = disability(valid_to="2026-05-01", group="2", indefinite=False, percent=60, note=None, reason="Сырқат")
    assert take(engine, 1, fact) == RecordedCounts(new=1)
    with reading(engine) as connection:
        (found,) = facts_of(connection, MOTHER, at(1))
    assert found.fact == fact
    assert found.provenance == message(1)
    assert found.present


def test_a_record_that_did_not_change_costs_no_row(engine: Engine) -> None:
    take(engine, 1, disability(group="2"))
    assert take(engine, 2, disability(group="2")) == RecordedCounts(unchanged=1)
    assert rows(engine) == 1
    assert said(engine, 2) == [("77", "2", True, "m1")]


@pytest.mark.parametrize(
    "changed",
    [
        disability(group="1"),
        disability(group="2", valid_to="2026-05-01"),
        disability(group="2", reason=None),
        disability(group=True),
    ],
)
def test_a_changed_record_is_a_new_row_and_the_old_one_stays(engine: Engine, changed: Fact) -> None:
    take(engine, 1, disability(group="2"))
    assert take(engine, 2, changed) == RecordedCounts(changed=1)
    assert rows(engine) == 2
    assert said(engine, 1) == [("77", "2", True, "m1")]
    assert said(engine, 2) == [("77", changed.attributes["group"], True, "m2")]


def test_true_is_not_one(engine: Engine) -> None:
    take(engine, 1, disability(group=1))
    assert take(engine, 2, disability(group=True)).changed == 1


def test_a_record_that_a_complete_answer_no_longer_lists_is_gone(engine: Engine) -> None:
    take(engine, 1, disability("77", group="2"), disability("78", group="3"))
    assert take(engine, 2, disability("78", group="3")) == RecordedCounts(unchanged=1, gone=1)
    assert said(engine, 2) == [("77", "2", False, "m2"), ("78", "3", True, "m1")]
    assert take(engine, 3, disability("78", group="3")) == RecordedCounts(unchanged=1)


def test_an_answer_that_is_not_complete_takes_nothing_away(engine: Engine) -> None:
    take(engine, 1, disability(group="2"))
    assert take(engine, 2, complete_for=()) == RecordedCounts()
    assert take(engine, 3, complete_for=("marriage",)) == RecordedCounts()
    assert said(engine, 3) == [("77", "2", True, "m1")]


def test_a_rejected_question_changes_nothing(engine: Engine) -> None:
    take(engine, 1, disability(group="2"))
    with writing(engine) as connection:
        rejected = Answer(Outcome.REJECTED, rejection=Rejection("7", "no"))
        assert record_answer(connection, MOTHER, rejected, message(2), law=LAW) == RecordedCounts()


def test_a_record_that_comes_back_is_new_again(engine: Engine) -> None:
    take(engine, 1, disability(group="2"))
    take(engine, 2)
    assert take(engine, 3, disability(group="2")) == RecordedCounts(new=1)
    assert said(engine, 3) == [("77", "2", True, "m3")]
    with reading(engine) as connection:
        assert [one.present for one in history_of(connection, MOTHER, at(3))] == [True, False, True]


def test_registers_do_not_take_away_each_other_s_records(engine: Engine) -> None:
    take(engine, 1, disability(group="2"))
    assert take(engine, 2, system="elsewhere") == RecordedCounts()
    assert said(engine, 2) == [("77", "2", True, "m1")]


def test_a_fact_about_another_person_is_kept_with_that_person(engine: Engine) -> None:
    other = disability(group="child", subject=CHILD)
    assert take(engine, 1, disability(group="2"), other) == RecordedCounts(new=2)
    assert take(engine, 2, disability(group="2")) == RecordedCounts(unchanged=1)
    with reading(engine) as connection:
        (found,) = facts_of(connection, CHILD, at(2))
    assert found.present


def test_an_answer_that_arrived_earlier_is_compared_with_what_was_known_then(engine: Engine) -> None:
    take(engine, 3, disability(group="1"))
    assert take(engine, 2, disability(group="1")) == RecordedCounts(new=1)
    assert said(engine, 2) == [("77", "1", True, "m2")]
    assert said(engine, 3) == [("77", "1", True, "m3")]


def test_what_was_known_before_does_not_change_with_what_is_heard_later(engine: Engine) -> None:
    steps = [(disability(group="2"),), (), (disability(group="2", valid_to="2026-03-02"),), (disability(group="1"),)]

    def standings(up_to: int) -> list[Standing]:
        with reading(engine) as connection:
            return [
                standing_of(connection, MOTHER, as_of=day("2026-03-05"), known_at=at(number), law=LAW)
                for number in range(up_to + 1)
            ]

    asked = standings(0)
    for number, facts in enumerate(steps, start=1):
        take(engine, number, *facts)
        now = standings(number)
        assert now[:number] == asked
        asked = now
    assert len({one.basis for one in asked}) > 1


def test_two_answers_about_one_person_at_once_are_both_kept(engine: Engine) -> None:
    ready = threading.Barrier(2)
    failures: list[Exception] = []

    def one(number: int) -> None:
        try:
            ready.wait()
            take(engine, number, disability("77", group=str(number)), complete_for=())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert said(engine, 2) == [("77", "2", True, "m2")]


def test_standing_names_the_message_that_it_rests_on(engine: Engine) -> None:
    take(engine, 1, disability(group="2"))
    with reading(engine) as connection:
        got = standing_of(connection, MOTHER, as_of=day("2026-03-01"), known_at=at(1), law=LAW)
        before = standing_of(connection, MOTHER, as_of=day("2026-03-01"), known_at=at(0), law=LAW)
        with pytest.raises(EditionNotInForce):
            standing_of(connection, MOTHER, as_of=day("2025-12-31"), known_at=at(1), law=LAW)
    assert (got.insured, got.category, got.evidence) == (True, "person_with_disability", ("m1",))
    assert not before.insured


def test_hearing_an_unchanged_person_after_the_coming_of_age_is_recorded_once(engine: Engine) -> None:
    person = Fact("person", MOTHER, "person", None, None, {"birth_date": "2008-03-05", "life_status": "alive"})
    counts = [take(engine, number, person, complete_for=("person",), system="gbdfl") for number in (1, 4, 6, 8)]
    assert counts == [
        RecordedCounts(new=1),
        RecordedCounts(unchanged=1),
        RecordedCounts(changed=1),
        RecordedCounts(unchanged=1),
    ]
    with reading(engine) as connection:
        got = standing_of(connection, MOTHER, as_of=day("2026-03-08"), known_at=at(8), law=LAW)
    assert (got.basis, got.valid_until, got.evidence) == ("retention_state", day("2026-06-05"), ("m1", "m6"))


@pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_CHARACTERS + 1)])
def test_a_key_that_cannot_be_kept_is_refused(engine: Engine, key: str) -> None:
    with pytest.raises(MappingError, match="the key of a disability record"):
        take(engine, 1, disability(key))
    assert rows(engine) == 0


def test_two_different_records_under_one_key_are_refused(engine: Engine) -> None:
    with pytest.raises(MappingError, match="two different disability records"):
        take(engine, 1, disability(group="1"), disability(group="2"))
    assert take(engine, 1, disability(group="1"), disability(group="1")) == RecordedCounts(new=1)


def test_a_person_is_next_of_interest_when_a_period_ends_or_the_standing_changes(engine: Engine) -> None:
    with reading(engine) as connection:
        assert next_change_of(connection, MOTHER, system="cbdi", after=at(1), law=LAW) is None
    take(engine, 1, disability(valid_to="2026-09-10"))
    with reading(engine) as connection:
        assert next_change_of(connection, MOTHER, system="cbdi", after=at(2), law=LAW) == day("2026-09-10")
        # another register says nothing new on that day; the right itself turns into retention then
        assert next_change_of(connection, MOTHER, system="zags", after=at(2), law=LAW) == day("2026-09-10")
        assert next_change_of(connection, MOTHER, system="zags", after=at(250), law=LAW) == day("2026-12-11")


def test_a_day_that_no_edition_judges_has_no_standing_that_could_change(engine: Engine) -> None:
    take(engine, 1, disability())
    before = dt.datetime(2025, 6, 1, tzinfo=LAW.timezone)
    with reading(engine) as connection:
        assert next_change_of(connection, MOTHER, system="cbdi", after=before, law=LAW) is None
