"""The inbox: the first of a kind, the same again, and another text under the same id."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from gateway.database import reading, writing
from gateway.exchange.inbox import (
    _FIND,
    Arrival,
    Arrived,
    InboxState,
    ReplayRefused,
    ReplayWindow,
    body_digest,
    find_many,
    forget,
    inbox_key,
    is_taken,
    register_many,
    registering,
)
from gateway.prepared import run_together
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from tests.exchange.test_serve import request_body
from tests.exchange.world import NOW, Keys

HOUR = dt.timedelta(hours=1)


def arrived(message_id: str = "m-1", text: str = "a", **changes: object) -> Arrived:
    made = Arrived("clinic", "ECHO", message_id, text * 64, NOW, "sync", request_journal_id=1, reply_journal_id=2)
    return replace(made, **changes)


def register(engine: Engine, *arrivals: Arrived) -> list[Arrival]:
    with writing(engine) as connection:
        return [one.arrival for one in register_many(connection, arrivals)]


def test_a_message_is_the_first_once_and_a_duplicate_afterwards(engine: Engine) -> None:
    assert register(engine, arrived()) == [Arrival.FIRST]
    assert register(engine, arrived(), arrived("m-2")) == [Arrival.DUPLICATE, Arrival.FIRST]


def test_the_row_of_the_first_is_told_with_a_duplicate(engine: Engine) -> None:
    register(engine, arrived())
    with writing(engine) as connection:
        (again,) = register_many(connection, [arrived(request_journal_id=7, reply_journal_id=8)])
    assert (again.row.request_journal_id, again.row.reply_journal_id, again.row.state) == (1, 2, InboxState.DONE)
    assert again.row.received_at == NOW


def test_another_text_under_the_same_id_is_a_clash(engine: Engine) -> None:
    register(engine, arrived())
    assert register(engine, arrived(text="b")) == [Arrival.CLASH]


def test_a_sender_known_to_use_ids_again_is_judged_by_its_text(engine: Engine) -> None:
    first, other = arrived(by_body=True), arrived(text="b", by_body=True)
    assert register(engine, first, other, first) == [Arrival.FIRST, Arrival.FIRST, Arrival.DUPLICATE]


def test_within_one_group_the_first_is_the_first(engine: Engine) -> None:
    found = register(engine, arrived("z"), arrived(), arrived(), arrived(text="b"))
    assert found == [Arrival.FIRST, Arrival.FIRST, Arrival.DUPLICATE, Arrival.CLASH]


@pytest.mark.parametrize("changes", [{"sender": "other"}, {"service_id": "OTHER"}, {"message_id": "m-9"}])
def test_sender_service_and_id_tell_messages_apart(engine: Engine, changes: dict[str, str]) -> None:
    assert register(engine, arrived(), replace(arrived(), **changes)) == [Arrival.FIRST, Arrival.FIRST]


def test_ids_that_differ_after_their_columns_end_are_told_apart(engine: Engine) -> None:
    long = "ғ" * 5_000
    assert register(engine, arrived(long + "1"), arrived(long + "2")) == [Arrival.FIRST, Arrival.FIRST]
    with reading(engine) as connection:
        rows = find_many(connection, [arrived(long + "1").key])
    assert {len(row.message_id) for row in rows.values()} == {256}


def test_of_new_messages_all_rows_are_written_or_none(postgresql: Engine) -> None:
    with writing(postgresql) as connection:
        run_together(connection, (registering([arrived("b"), arrived("a")]),), commit=True)

    def again() -> None:
        with writing(postgresql) as connection:
            run_together(connection, (registering([arrived("c"), arrived("a")]),), commit=True)

    with pytest.raises(IntegrityError) as caught:
        again()
    assert is_taken(caught.value)
    with reading(postgresql) as connection:
        assert len(find_many(connection, [arrived(name).key for name in "abc"])) == 2


def test_another_clash_is_no_sign_of_a_taken_row() -> None:
    assert not is_taken(IntegrityError("statement", {}, Exception("another")))


def test_keys_are_looked_up_in_the_index_whatever_the_size_of_the_table(postgresql: Engine) -> None:
    """A plan is kept, and the first one is made while there is nothing yet."""
    with reading(postgresql) as connection:
        plan = connection.exec_driver_sql("EXPLAIN " + _FIND.text.replace("$1", "'{a,b}'")).scalars().all()
    assert any("Index Scan" in line for line in plan)


def test_nothing_asked_is_nothing_found(engine: Engine) -> None:
    with writing(engine) as connection:
        assert find_many(connection, []) == {}
        assert register_many(connection, []) == ()


def test_only_old_rows_that_are_done_are_forgotten_and_no_more_than_asked(engine: Engine) -> None:
    waiting = arrived("w", state=InboxState.RECEIVED, due_at=NOW, received_at=NOW - 3 * HOUR)
    register(engine, waiting, *(arrived(f"m-{n}", received_at=NOW - n * HOUR) for n in range(4)))
    with writing(engine) as connection:
        assert forget(connection, before=NOW - HOUR, limit=1) == 1
        assert forget(connection, before=NOW - HOUR, limit=10) == 1
        assert forget(connection, before=NOW - HOUR, limit=10) == 0
    assert register(engine, arrived("m-1"), arrived("m-2"), waiting) == [
        Arrival.DUPLICATE,
        Arrival.FIRST,
        Arrival.DUPLICATE,
    ]


@given(st.tuples(*[st.text(max_size=4)] * 3), st.tuples(*[st.text(max_size=4)] * 3))
def test_keys_are_equal_exactly_when_their_parts_are(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (inbox_key(*one) == inbox_key(*other)) == (one == other)


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_the_same_message_signed_again_has_the_same_digest(keys: Keys, form: KeyInfoForm) -> None:
    store = {"certificates": _Known(keys)}
    signed = [verify_envelope(sign_body(request_body(), keys["client"], form=form), **store) for _ in range(2)]
    assert signed[0].canonical != signed[1].canonical
    assert body_digest(signed[0].canonical) == body_digest(signed[1].canonical)


def test_another_message_has_another_digest(keys: Keys) -> None:
    bodies = [request_body(), request_body(message_id="req-2")]
    signed = [verify_envelope(sign_body(body, keys["client"], form=KeyInfoForm.KEY_IDENTIFIER)) for body in bodies]
    assert body_digest(signed[0].canonical) != body_digest(signed[1].canonical)


def test_nothing_but_the_bodys_own_id_is_left_out_of_the_digest() -> None:
    plain = b'<s:Body xmlns:s="s" xmlns:w="w" w:Id="a>b"><a Id="1" xmlns=""></a></s:Body>'
    assert body_digest(plain) == body_digest(plain.replace(b"a>b", b"c"))
    for other in (plain.replace(b'Id="1"', b'Id="2"'), plain.replace(b'"s"', b'"t"'), plain.replace(b"w=", b"v=")):
        assert body_digest(plain) != body_digest(other)


class _Known:
    """An index of the client's certificate alone."""

    def __init__(self, keys: Keys) -> None:
        self._certificate = keys["client"].certificate

    def find(self, issuer_key: object, serial: int) -> object:
        return self._certificate


# ---------------------------------------------------------------- the replay window

WINDOW = ReplayWindow(max_age=72 * HOUR, max_skew=dt.timedelta(minutes=65))


@pytest.mark.parametrize("age", [dt.timedelta(0), 72 * HOUR, 73 * HOUR, -HOUR, dt.timedelta(minutes=-65)])
def test_a_date_inside_the_window_is_taken_with_the_clock_of_before_the_change_of_zone(age: dt.timedelta) -> None:
    WINDOW.check(NOW - age, at=NOW)


@pytest.mark.parametrize(
    ("age", "verdict"),
    [(74 * HOUR, "too_old"), (dt.timedelta(minutes=-66), "from_the_future"), (-48 * HOUR, "from_the_future")],
)
def test_a_date_outside_the_window_is_refused_by_name(age: dt.timedelta, verdict: str) -> None:
    with pytest.raises(ReplayRefused) as refused:
        WINDOW.check(NOW - age, at=NOW)
    assert refused.value.verdict == verdict
    assert refused.value.code == "SCE001"
