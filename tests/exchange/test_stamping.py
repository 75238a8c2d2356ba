"""Time stamps over what the journal archives, made by a real stamping authority in both families."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine, select, update

from gateway.database import reading, writing
from gateway.errors import PeerUnavailable, TrustRefused
from gateway.exchange.stamping import SETTLED, runs, stamp_once, statement_of
from gateway.exchange.tables import JOURNAL
from gateway.trust.timestamp import Imprint, TimeStamp, TimestampRules, verify_token
from gateway.trust.verdict import RevocationMode
from tests.exchange.world import NOW, PERSON, Keys, Register, asker, message_ids, trust

LATER = NOW + SETTLED
RULES = TimestampRules(RevocationMode.PREFER)


def stamped_by(keys: Keys, statements: list[bytes]):
    """A stamper without a network: the sandbox's authority makes the token, our own code verifies it."""
    from gateway.sandbox.authority import Authority
    from gateway.trust.timestamp import build_request, read_reply

    authority = Authority(keys.pki.directory)

    def stamp(statement: bytes) -> TimeStamp:
        statements.append(statement)
        imprint = Imprint.of(statement)
        reply = authority.stamp(build_request(imprint, nonce=7), now=LATER)
        return verify_token(
            read_reply(reply),
            imprint=imprint,
            material=trust(keys.pki).store.material,
            rules=RULES,
            at=LATER,
            nonce=7,
        )

    return stamp


def test_every_settled_row_gets_one_stamp_and_no_row_two(engine: Engine, keys: Keys, register: Register) -> None:
    statements: list[bytes] = []
    stamp = stamped_by(keys, statements)
    assert stamp_once(engine, stamp, at=LATER) is None
    asker(engine, keys, register).ask("cbdi", PERSON)
    assert stamp_once(engine, stamp, at=LATER - dt.timedelta(seconds=1)) is None  # not settled yet
    run = stamp_once(engine, stamp, at=LATER)
    assert run is not None
    assert stamp_once(engine, stamp, at=LATER) is None
    asker(engine, keys, register, new_message_id=message_ids("second")).ask("zags", PERSON)
    following = stamp_once(engine, stamp, at=LATER)
    assert following is not None
    assert following.first_id > run.last_id
    with reading(engine) as connection:
        ids = connection.execute(select(JOURNAL.c.id).order_by(JOURNAL.c.id)).scalars().all()
    assert (ids[0], ids[-1]) == (run.first_id, following.last_id)
    assert [kept.token for kept in runs(engine)] == [run.token, following.token]


def test_a_row_that_was_changed_no_longer_fits_its_stamp(engine: Engine, keys: Keys, register: Register) -> None:
    asker(engine, keys, register).ask("cbdi", PERSON)
    run = stamp_once(engine, stamped_by(keys, []), at=LATER)
    assert run is not None

    def fits() -> bool:
        with reading(engine) as connection:
            imprint = Imprint.of(statement_of(connection, run.first_id, run.last_id))
        try:
            verify_token(
                run.token, imprint=imprint, material=trust(keys.pki).store.material, rules=RULES, at=LATER, nonce=7
            )
        except TrustRefused as error:
            assert error.code == "imprint_mismatch"  # noqa: PT017
            return False
        return True

    assert fits()
    with writing(engine) as connection:
        connection.execute(update(JOURNAL).where(JOURNAL.c.id == run.first_id).values(body_sha256="0" * 64))
    assert not fits()


def test_a_stamp_that_cannot_be_had_leaves_the_rows_for_the_next_time(
    store: Engine, keys: Keys, register: Register
) -> None:
    def silent(_: bytes) -> TimeStamp:
        raise PeerUnavailable("the stamping authority does not answer")

    asker(store, keys, register).ask("cbdi", PERSON)
    with pytest.raises(PeerUnavailable):
        stamp_once(store, silent, at=LATER)
    assert stamp_once(store, stamped_by(keys, []), at=LATER) is not None
