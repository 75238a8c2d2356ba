"""Like messages of one transaction are compressed by the first of them, and none is lost with it."""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select, update

from gateway.database import reading, writing
from gateway.errors import StoreError
from gateway.exchange.journal import BodySeal, Journal, JournalEntry, JournalWriter, MessageDirection, Signer, bodies
from gateway.exchange.journal.bodies import WINDOW_BYTES, StoredBody, compress
from gateway.exchange.journal.stored_bodies import REACH
from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.retention import RetentionPolicy, prune
from gateway.exchange.tables import JOURNAL_BODY
from tests.exchange.test_journal import KEY, OTHER_KEY, WRITER, entry, stored
from tests.exchange.world import NOW

#: what all messages of a sender have in common and no compression makes smaller: his certificate
FRAME = hashlib.shake_256(b"certificate").hexdigest(1_500).encode()
DAY = dt.timedelta(days=1)


def alike(number: int, **changes: Any) -> JournalEntry:
    return entry(message_id=f"m-{number}", body=b"<a>%b<b>%d</b></a>" % (FRAME, number), **changes)


def bases(engine: Engine) -> dict[int, int | None]:
    with reading(engine) as connection:
        rows = connection.execute(select(JOURNAL_BODY.c.journal_id, JOURNAL_BODY.c.base_id))
        return {row.journal_id: row.base_id for row in rows}


def read(engine: Engine, seal: BodySeal, *numbers: int) -> list[bytes | None]:
    return [getattr(Journal(engine, seal).get(number), "body", None) for number in numbers]


@pytest.mark.parametrize("sealed", [False, True])
def test_like_messages_of_one_transaction_take_the_room_of_one(engine: Engine, sealed: bool) -> None:
    seal = BodySeal.of(KEY if sealed else None)
    new = [alike(number) for number in range(10)]
    numbers = stored(engine, *new, writer=JournalWriter(seal))
    assert bases(engine) == {1: None} | dict.fromkeys(numbers[1:], 1)
    assert read(engine, seal, *numbers) == [one.body for one in new]
    with reading(engine) as connection:
        sizes = [len(content) for content in connection.execute(select(JOURNAL_BODY.c.content)).scalars()]
    assert max(sizes) > len(FRAME) // 2
    assert sum(sizes) < 1.6 * max(sizes)
    report = verify_journal(engine, seal)
    assert (report.broken, report.bodies) == (None, 10)


def test_messages_of_others_for_others_and_later_ones_stand_alone(engine: Engine) -> None:
    out, signer = MessageDirection.OUT, Signer("CN=X", "2")
    stored(engine, alike(1), alike(2, system="cbdi"), alike(3, service_id="S"), alike(4, direction=out))
    stored(engine, alike(5), alike(6, signer=signer), entry(body=None), alike(7), entry(body=b""), alike(8))
    assert bases(engine) == dict.fromkeys((1, 2, 3, 4, 5, 6)) | {8: 5, 9: 5, 10: 5}
    assert read(engine, BodySeal(), 7, 8, 9) == [None, alike(7).body, b""]


def test_what_deflate_cannot_look_back_over_has_no_base_and_is_none(store: Engine) -> None:
    large = [entry(body=FRAME * 11 + b"x" * number) for number in range(2)]
    assert len(large[0].body or b"") > WINDOW_BYTES
    new = [large[0], alike(1), large[1], alike(2), entry(body=(FRAME * 11)[:WINDOW_BYTES])]
    numbers = stored(store, *new)
    assert bases(store) == {1: None, 2: None, 3: None, 4: 2, 5: 2}
    assert read(store, BodySeal(), *numbers) == [one.body for one in new]


def test_a_base_is_never_farther_than_retention_looks(store: Engine) -> None:
    stored(store, alike(0), *(entry(body=None) for _ in range(REACH - 2)), alike(1), alike(2), alike(3))
    assert bases(store) == {1: None, REACH: 1, REACH + 1: None, REACH + 2: REACH + 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(new=st.lists(st.one_of(st.none(), st.binary(max_size=40), st.just(FRAME)), max_size=8), sealed=st.booleans())
def test_whatever_is_written_together_comes_back_exactly(store: Engine, new: list[bytes | None], sealed: bool) -> None:
    seal = BodySeal.of(KEY if sealed else None)
    numbers = stored(store, *(entry(body=body) for body in new), writer=JournalWriter(seal))
    assert read(store, seal, *numbers) == new


# ---------------------------------------------------------------- damage


def set_body(engine: Engine, number: int, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(JOURNAL_BODY).where(JOURNAL_BODY.c.journal_id == number).values(**values))


def content_of(engine: Engine, number: int) -> bytes:
    with reading(engine) as connection:
        return bytes(
            connection.execute(select(JOURNAL_BODY.c.content).where(JOURNAL_BODY.c.journal_id == number)).scalar_one()
        )


def no_base(engine: Engine) -> None:
    set_body(engine, 2, base_id=None)


def another_base(engine: Engine) -> None:
    set_body(engine, 2, base_id=4)


def a_base_that_has_one(engine: Engine) -> None:
    set_body(engine, 3, content=content_of(engine, 2), base_id=2)


def a_base_that_is_gone(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(delete(JOURNAL_BODY).where(JOURNAL_BODY.c.journal_id == 1))


def a_base_for_what_stands_alone(engine: Engine) -> None:
    set_body(engine, 4, base_id=1)


def half_of_it(engine: Engine) -> None:
    packed = content_of(engine, 2)[4:-9]
    set_body(engine, 2, content=bodies.checked(packed))


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        (no_base, 2),
        (another_base, 2),
        (a_base_that_has_one, 3),
        (a_base_that_is_gone, 2),
        (a_base_for_what_stands_alone, 4),
        (half_of_it, 2),
    ],
)
def test_a_body_whose_base_was_changed_by_hand_is_not_handed_out_and_is_found(
    engine: Engine, damage: Callable[[Engine], None], number: int
) -> None:
    stored(engine, alike(1), alike(2), alike(3), alike(4, service_id="S"))
    damage(engine)
    with pytest.raises(StoreError, match=f"entry {number} ") as caught:
        Journal(engine).get(number)
    assert caught.value.code == "journal_damaged"
    broken = verify_journal(engine).broken
    assert broken is not None
    assert (broken.id, broken.what) == (1 if damage is a_base_that_is_gone else number, "body")


def test_any_byte_changed_of_a_body_with_a_base_is_found(store: Engine) -> None:
    for seal in (BodySeal(), BodySeal.of(KEY)):
        _, number = stored(store, alike(1), alike(2), writer=JournalWriter(seal))
        content = content_of(store, number)
        for place in range(len(content)):
            set_body(store, number, content=content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            broken = verify_journal(store, BodySeal.of(KEY)).broken
            assert broken is not None, place
            assert (broken.id, broken.what) == (number, "body")
        set_body(store, number, content=content)


def test_a_damaged_base_is_named_for_all_that_rest_on_it() -> None:
    first, second = alike(1).body or b"", alike(2).body or b""
    base = StoredBody(1, "", compress(first)[:-1])
    with pytest.raises(StoreError, match="entry 1 "):
        BodySeal().open(StoredBody(2, "", compress(second, first), 1, base), "")


def test_any_zlib_reads_what_is_stored() -> None:
    first, second = alike(1).body or b"", alike(2).body or b""
    packed = compress(second, first)[4:]
    assert zlib.decompressobj(zdict=first).decompress(packed) == second
    assert len(packed) < 100


# ---------------------------------------------------------------- retention


def test_what_rests_on_a_body_that_goes_stands_alone_from_then_on(engine: Engine) -> None:
    new = [alike(0, at=NOW - 9 * DAY), alike(1, at=NOW), alike(2, at=NOW - 9 * DAY), alike(3, at=NOW)]
    stored(engine, *new)
    assert prune(engine, WRITER, RetentionPolicy(bodies_before=NOW - DAY), at=NOW).bodies == 2
    assert bases(engine) == {2: None, 4: None}
    assert read(engine, BodySeal(), 1, 2, 3, 4) == [None, new[1].body, None, new[3].body]
    assert verify_journal(engine).broken is None


def test_what_rests_on_a_row_that_is_cut_off_stands_alone_from_then_on(engine: Engine) -> None:
    new = [alike(0, at=NOW - 9 * DAY), alike(1, at=NOW), alike(2, at=NOW)]
    stored(engine, *new)
    assert prune(engine, WRITER, RetentionPolicy(rows_before=NOW - DAY), at=NOW).rows == 1
    assert bases(engine) == {2: None, 3: None}
    assert read(engine, BodySeal(), 2, 3) == [new[1].body, new[2].body]
    assert verify_journal(engine).broken is None


def test_what_comes_to_stand_alone_is_sealed_with_the_key_of_today(store: Engine) -> None:
    new = [alike(0, at=NOW - 9 * DAY), alike(1, at=NOW)]
    stored(store, *new, writer=JournalWriter(BodySeal.of(KEY)))
    both = BodySeal.of(OTHER_KEY, (KEY,))
    prune(store, JournalWriter(both), RetentionPolicy(bodies_before=NOW - DAY), at=NOW)
    assert read(store, BodySeal.of(OTHER_KEY), 2) == [new[1].body]


def test_without_the_key_of_what_would_stay_nothing_goes(store: Engine) -> None:
    stored(store, alike(0, at=NOW - 9 * DAY), alike(1, at=NOW), writer=JournalWriter(BodySeal.of(KEY)))
    with pytest.raises(StoreError) as caught:
        prune(store, WRITER, RetentionPolicy(bodies_before=NOW - DAY), at=NOW)
    assert caught.value.code == "journal_key_missing"
    assert bases(store) == {1: None, 2: 1}
