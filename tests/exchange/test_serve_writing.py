"""Services that change something: effect, journal, inbox and answer are one transaction, each request for itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from lxml import etree
from sqlalchemy import Connection, Engine, insert, select

from gateway.database import reading
from gateway.errors import MalformedMessage
from gateway.exchange import serve
from gateway.exchange.journal import Journal
from gateway.exchange.serve import ServiceAnswer
from gateway.model import Provenance
from gateway.registry.tables import FACT
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import SyncRequest, SyncResponse
from gateway.shep.payload import PayloadCodec
from tests.exchange.test_serve import handle, question, reply_of, server
from tests.exchange.test_serve_groups import together, verdicts
from tests.exchange.world import Keys


class Writer:
    """Writes one fact for each request; refuses after writing the ones whose message id says so."""

    def read(self, request: SyncRequest, *, at: dt.datetime) -> str:
        return request.info.message_id

    def load(self, connection: Connection, questions: Sequence[str]) -> Sequence[None]:
        return [None] * len(questions)

    def apply(self, connection: Connection, question: str, provenance: Provenance) -> ServiceAnswer:
        row = {
            "iin": "1",
            "system": provenance.system,
            "kind": "effect",
            "key": question,
            "version": 1,
            "present": True,
            "attributes": {},
            "message_id": provenance.message_id,
            "signer_subject": provenance.signer_subject,
            "signer_serial": provenance.signer_serial,
            "received_at": provenance.received_at,
        }
        connection.execute(insert(FACT), row)
        if question.startswith("bad"):
            raise MalformedMessage("it is not what it must be", code="bad")
        return ServiceAnswer(SUCCESS, etree.Element("done"), PayloadCodec.ELEMENT)


def effects(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(FACT.c.key).order_by(FACT.c.key)).scalars())


def test_an_effect_and_its_messages_are_there_together(engine: Engine, keys: Keys) -> None:
    target = server(engine, keys, Writer())  # type: ignore[arg-type]
    answer = reply_of(keys, handle(target, question(keys, message_id="one")))
    assert isinstance(answer, SyncResponse)
    assert answer.info.status.code == SUCCESS.code
    assert (effects(engine), verdicts(engine)) == (["one"], ["accepted"])
    with reading(engine) as connection:
        row = connection.execute(select(FACT)).mappings().one()
    assert (row["message_id"], row["system"]) == ("one", "clinic-test")
    assert row["signer_subject"]


def test_a_repeated_request_has_no_second_effect(engine: Engine, keys: Keys) -> None:
    target, data = server(engine, keys, Writer()), question(keys, message_id="one")  # type: ignore[arg-type]
    first = handle(target, data)
    assert handle(target, data).body == first.body
    assert [reply.body for reply in together(target, data, data)] == [first.body] * 2
    assert effects(engine) == ["one"]


def test_what_is_refused_leaves_nothing_and_harms_nobody(engine: Engine, keys: Keys) -> None:
    target = server(engine, keys, Writer())  # type: ignore[arg-type]
    replies = together(target, *(question(keys, message_id=name) for name in ("one", "bad", "two")))
    assert [reply.status for reply in replies] == [200, 500, 200]
    assert effects(engine) == ["one", "two"]
    assert verdicts(engine) == ["accepted", "bad", "accepted"]
    # a refused request may come again
    assert handle(target, question(keys, message_id="bad")).status == 500


def test_what_cannot_be_journalled_has_no_effect(engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    target = server(engine, keys, Writer())  # type: ignore[arg-type]

    def fail(*_: object) -> object:
        raise RuntimeError("between the effect and the end of the transaction")

    with monkeypatch.context() as patched:
        # each store has its own way
        patched.setattr(serve, "register_many", fail)
        patched.setattr(serve, "registering", fail)
        assert handle(target, question(keys, message_id="one")).status == 500
    assert effects(engine) == []
    assert handle(target, question(keys, message_id="one")).status == 200
    assert effects(engine) == ["one"]
    assert Journal(engine).get(1) is not None
