"""When to ask again, and that nobody asks twice."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from gateway.database import reading, writing
from gateway.exchange import due
from gateway.exchange.due import LEASE, Due, Reason
from gateway.exchange.tables import DUE
from gateway.systems.definition import Retry
from tests.exchange.world import NOW, OTHER, PERSON

DAY = dt.timedelta(days=1)
RETRY = Retry(attempts=3, first_delay_s=30.0, factor=2.0)


def test_an_answer_is_due_again_when_it_gets_too_old() -> None:
    assert due.next_due(refresh_days=30, answered_at=NOW) == (NOW + 30 * DAY, Reason.REFRESH)


def test_a_change_of_standing_before_that_comes_first() -> None:
    # midnight in Kazakhstan is 19:00 UTC of the day before
    expected = dt.datetime(2026, 6, 9, 19, 0, tzinfo=dt.UTC)
    assert due.next_due(refresh_days=30, answered_at=NOW, next_change=dt.date(2026, 6, 10)) == (
        expected,
        Reason.STANDING,
    )


@pytest.mark.parametrize("change", [dt.date(2026, 6, 1), dt.date(2025, 1, 1), dt.date(2027, 1, 1)])
def test_a_change_that_is_over_or_far_does_not_matter(change: dt.date) -> None:
    assert due.next_due(refresh_days=30, answered_at=NOW, next_change=change)[1] is Reason.REFRESH


@given(
    refresh_days=st.integers(1, 400),
    next_change=st.none() | st.dates(dt.date(2020, 1, 1), dt.date(2040, 1, 1)),
)
def test_the_next_time_is_always_later_and_never_after_the_refresh(
    refresh_days: int, next_change: dt.date | None
) -> None:
    at, _ = due.next_due(refresh_days=refresh_days, answered_at=NOW, next_change=next_change)
    assert NOW < at <= NOW + refresh_days * DAY


def test_attempts_without_an_answer_are_spaced_out() -> None:
    delays = [(due.retry_at(RETRY, failures=number, now=NOW) - NOW).total_seconds() for number in (1, 2, 3, 99)]
    assert delays == [30, 60, 86_400, 86_400]


@given(failures=st.integers(1, 10_000), factor=st.floats(1, 10), first=st.floats(0, 1e6))
def test_a_delay_is_never_longer_than_a_day(failures: int, factor: float, first: float) -> None:
    retry = Retry(attempts=50, first_delay_s=first, factor=factor)
    assert NOW <= due.retry_at(retry, failures=failures, now=NOW) <= NOW + DAY


def put(engine: Engine, *rows: Due) -> None:
    with writing(engine) as connection:
        for row in rows:
            due.put(connection, row)


def take(engine: Engine, now: dt.datetime = NOW, limit: int = 10) -> list[tuple[str, str]]:
    with writing(engine) as connection:
        return [(row.iin.value, row.system) for row in due.take_due(connection, now, limit)]


def test_rows_that_are_due_are_taken_longest_due_first(engine: Engine) -> None:
    put(
        engine,
        Due(PERSON, "cbdi", NOW - DAY, Reason.REFRESH),
        Due(PERSON, "zags", NOW, Reason.REFRESH),
        Due(OTHER, "cbdi", NOW - 2 * DAY, Reason.REFRESH),
        Due(OTHER, "zags", NOW + DAY, Reason.REFRESH),
    )
    assert take(engine, limit=2) == [(OTHER.value, "cbdi"), (PERSON.value, "cbdi")]
    assert take(engine) == [(PERSON.value, "zags")]
    assert take(engine) == []


def test_a_taken_row_comes_back_when_its_lease_ends(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.REFRESH, failures=2))
    assert take(engine) == [(PERSON.value, "cbdi")]
    assert take(engine, NOW + LEASE - dt.timedelta(seconds=1)) == []
    with writing(engine) as connection:
        (again,) = due.take_due(connection, NOW + LEASE, 1)
    assert (again.iin, again.reason, again.failures, again.due_at) == (PERSON, Reason.REFRESH, 2, NOW)


def test_putting_a_row_replaces_it_and_lets_it_go(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.REFRESH))
    take(engine)
    put(engine, Due(PERSON, "cbdi", NOW, Reason.RETRY, failures=1))
    with reading(engine) as connection:
        row = connection.execute(select(DUE)).mappings().one()
    assert (row["reason"], row["failures"], row["leased_until"]) == ("retry", 1, None)


def test_wanting_a_person_twice_changes_nothing(engine: Engine) -> None:
    with writing(engine) as connection:
        due.want(connection, PERSON, "cbdi", at=NOW)
        due.want(connection, PERSON, "cbdi", at=NOW - DAY)
    with reading(engine) as connection:
        row = connection.execute(select(DUE)).mappings().one()
    assert (row["reason"], row["due_at"]) == (Reason.WANTED, NOW)


def test_two_programs_never_take_the_same_row(postgresql_url: str) -> None:
    from gateway.database import engine_for, upgrade

    engine = engine_for(postgresql_url)
    upgrade(engine)
    put(engine, Due(PERSON, "cbdi", NOW, Reason.REFRESH), Due(OTHER, "cbdi", NOW, Reason.REFRESH))
    with writing(engine) as one, writing(engine) as two:
        first, second = due.take_due(one, NOW, 1), due.take_due(two, NOW, 2)
    assert {row.iin for row in first} | {row.iin for row in second} == {PERSON, OTHER}
    assert len(first) == len(second) == 1
    engine.dispose()


def row_of(engine: Engine) -> dict[str, object]:
    with reading(engine) as connection:
        return dict(connection.execute(select(DUE)).mappings().one())


def test_a_row_whose_question_is_on_its_way_is_not_due_and_the_question_is_made_once(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.WANTED))
    with writing(engine) as connection:
        (wish,) = due.take_due(connection, NOW, 1, holder="me")
    with writing(engine) as connection:
        assert due.link(connection, wish, "m-1")
        assert not due.link(connection, wish, "m-2")
        assert due.question_of(connection, PERSON, "cbdi") == "m-1"
    assert take(engine, NOW + 400 * DAY) == []


def test_a_wish_that_somebody_else_took_makes_no_question(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.WANTED))
    with writing(engine) as connection:
        (mine,) = due.take_due(connection, NOW, 1, holder="me")
    with writing(engine) as connection:
        (theirs,) = due.take_due(connection, NOW + LEASE, 1, holder="them")
        assert not due.link(connection, mine, "m-1")
        due.give_back(connection, mine, retry=RETRY, now=NOW)
        due.let_go(connection, [mine])
        assert due.link(connection, theirs, "m-2")


def test_a_question_without_an_answer_is_followed_by_a_new_one_later(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.REFRESH, failures=1))
    with writing(engine) as connection:
        (wish,) = due.take_due(connection, NOW, 1, holder="me")
        due.link(connection, wish, "m-1")
        due.put_off(connection, PERSON, "cbdi", message_id="another", retry=RETRY, now=NOW)
    assert row_of(engine)["message_id"] == "m-1"
    with writing(engine) as connection:
        due.put_off(connection, PERSON, "cbdi", message_id="m-1", retry=RETRY, now=NOW)
    row = row_of(engine)
    assert (row["message_id"], row["reason"], row["failures"]) == (None, Reason.RETRY, 2)
    assert row["due_at"] == NOW + dt.timedelta(seconds=60)


def test_a_wish_of_which_no_question_could_be_made_is_due_later_and_one_not_begun_as_before(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.REFRESH), Due(OTHER, "cbdi", NOW, Reason.REFRESH))
    with writing(engine) as connection:
        taken = {wish.iin: wish for wish in due.take_due(connection, NOW, 2, holder="me")}
        due.give_back(connection, taken[PERSON], retry=RETRY, now=NOW)
        due.let_go(connection, [taken[OTHER]])
    assert take(engine) == [(OTHER.value, "cbdi")]
    assert take(engine, NOW + dt.timedelta(seconds=30)) == [(PERSON.value, "cbdi")]


def test_a_question_that_a_person_sends_again_keeps_others_from_being_made(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW, Reason.RETRY))
    with writing(engine) as connection:
        due.claim(connection, PERSON, "cbdi", "m-1")
        due.claim(connection, PERSON, "cbdi", "m-2")
        assert due.question_of(connection, PERSON, "cbdi") == "m-1"
        assert due.question_of(connection, OTHER, "cbdi") is None
    assert take(engine) == []


def test_rows_of_a_system_that_is_held_back_are_passed_over(engine: Engine) -> None:
    put(engine, Due(PERSON, "cbdi", NOW - DAY, Reason.REFRESH), Due(PERSON, "zags", NOW, Reason.REFRESH))
    with writing(engine) as connection:
        (only,) = due.take_due(connection, NOW, 10, without=["cbdi"])
    assert only.system == "zags"


def test_an_iin_stays_out_of_repr() -> None:
    assert PERSON.value not in repr(Due(PERSON, "cbdi", NOW, Reason.REFRESH))
