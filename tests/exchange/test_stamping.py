"""Time stamps over the end of the chain, made by a real stamping authority in both families."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine, select, update

from gateway.daemon import token_check
from gateway.database import reading, writing
from gateway.errors import PeerUnavailable, RevocationUnknown, TrustRefused
from gateway.exchange.journal import JournalWriter
from gateway.exchange.journal.verifying import verify_journal
from gateway.exchange.retention import RetentionPolicy, prune
from gateway.exchange.stamping import stamp_once, stamps, statement_of
from gateway.exchange.tables import JOURNAL
from gateway.sandbox.authority import Authority
from gateway.trust.store import TrustStore
from gateway.trust.timestamp import Imprint, TimeStamp, TimestampRules, build_request, read_reply, verify_token
from gateway.trust.verdict import RevocationMode
from tests.exchange.test_journal import entry, stored
from tests.exchange.world import NOW, Keys, trust

LATER = NOW + dt.timedelta(minutes=2)
RULES = TimestampRules(RevocationMode.PREFER)
WRITER = JournalWriter()


def stamped_by(keys: Keys):
    """A stamper without a network: the sandbox's authority makes the token, our own code verifies it."""
    authority = Authority(keys.pki.directory)

    def stamp(statement: bytes) -> TimeStamp:
        imprint = Imprint.of(statement)
        reply = authority.stamp(build_request(imprint, nonce=7), now=LATER)
        material = trust(keys.pki).store.material
        return verify_token(read_reply(reply), imprint=imprint, material=material, rules=RULES, at=LATER, nonce=7)

    return stamp


def test_one_stamp_speaks_for_all_rows_and_the_next_one_waits_for_new_rows(engine: Engine, keys: Keys) -> None:
    stamp = stamped_by(keys)
    assert stamp_once(engine, stamp, WRITER) is None
    stored(engine, entry(), entry())
    first = stamp_once(engine, stamp, WRITER)
    assert first is not None
    assert first.last_id == 2
    assert stamp_once(engine, stamp, WRITER) is None  # only the note of the stamp came after it
    stored(engine, entry())
    second = stamp_once(engine, stamp, WRITER)
    assert second is not None
    assert second.last_id == 4
    assert stamps(engine) == (first, second)
    report = verify_journal(engine, check_stamp=token_check(trust(keys.pki).store, lambda: LATER))
    assert (report.broken, report.stamps, report.undecided) == (None, 2, 0)


def test_a_stamp_is_over_the_hash_of_the_row_and_over_nothing_else(store: Engine, keys: Keys) -> None:
    stored(store, entry())
    head = stamp_once(store, stamped_by(keys), WRITER)
    assert head is not None
    check = token_check(trust(keys.pki).store, lambda: LATER)
    check(head.last_id, head.row_sha256, head.token)
    with pytest.raises(TrustRefused) as caught:
        check(head.last_id, bytes(32), head.token)
    assert caught.value.code == "imprint_mismatch"
    assert statement_of(1, b"\x01" * 32) == b"shep-gateway journal 1 1 " + b"01" * 32


def test_a_stamp_of_an_authority_that_is_not_trusted_here_is_undecided(store: Engine, keys: Keys) -> None:
    stored(store, entry())
    stamp_once(store, stamped_by(keys), WRITER)
    stranger = token_check(TrustStore.of(()), lambda: LATER)
    report = verify_journal(store, check_stamp=stranger)
    assert (report.broken, report.undecided) == (None, 1)
    with pytest.raises(RevocationUnknown):
        stranger(1, stamps(store)[0].row_sha256, stamps(store)[0].token)


def test_a_chain_written_anew_does_not_fit_its_stamp(store: Engine, keys: Keys) -> None:
    """Who rewrites every hash still cannot have the old ones stamped: the note of the stamp names the old hash."""
    stored(store, entry())
    head = stamp_once(store, stamped_by(keys), WRITER)
    assert head is not None

    def forged(_: int, row_sha256: bytes, token: bytes) -> None:
        token_check(trust(keys.pki).store, lambda: LATER)(1, row_sha256[::-1], token)

    report = verify_journal(store, check_stamp=forged)
    assert report.broken is not None
    assert report.broken.what == "stamp"


def test_a_note_that_names_another_row_is_no_stamp(store: Engine, keys: Keys) -> None:
    stored(store, entry())
    stamp_once(store, stamped_by(keys), WRITER)
    with reading(store) as connection:
        note = connection.execute(select(JOURNAL.c.note).where(JOURNAL.c.id == 2)).scalar_one()
    with writing(store) as connection:
        connection.execute(update(JOURNAL).where(JOURNAL.c.id == 2).values(note="2" + note[1:]))
    broken = verify_journal(store).broken
    assert broken is not None
    assert broken.id == 2


def test_stamps_over_rows_that_were_cut_off_ask_for_nothing(store: Engine, keys: Keys) -> None:
    stored(store, entry(at=NOW - dt.timedelta(days=9)), entry(at=NOW - dt.timedelta(days=8)))
    stamp_once(store, stamped_by(keys), WRITER)
    for before, known in ((NOW - dt.timedelta(days=8.5), 1), (NOW - dt.timedelta(days=7), 1)):
        prune(store, WRITER, RetentionPolicy(rows_before=before), at=NOW)
        report = verify_journal(store, check_stamp=token_check(trust(keys.pki).store, lambda: LATER))
        assert (report.broken, report.stamps) == (None, known)


def test_a_stamp_that_cannot_be_had_leaves_the_rows_for_the_next_time(store: Engine, keys: Keys) -> None:
    def silent(_: bytes) -> TimeStamp:
        raise PeerUnavailable("the stamping authority does not answer")

    stored(store, entry())
    with pytest.raises(PeerUnavailable):
        stamp_once(store, silent, WRITER)
    assert stamp_once(store, stamped_by(keys), WRITER) is not None
