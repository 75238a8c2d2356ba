"""FUND_LIST_INTAKE over signed SOAP: a part, its message and its answer are there together, or nothing of them is."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, func, select
from structlog.testing import capture_logs

from gateway.database import engine_for, reading, upgrade
from gateway.exchange import serve
from gateway.exchange.import_notes import noting
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.serve import Opened, ServedReply, Server, ServicePolicy
from gateway.exchange.tables import INBOX, JOURNAL
from gateway.fund import intake, intake_service
from gateway.fund.intake_service import ListIntakeService
from gateway.model import Provenance
from gateway.prepared import Call, Prepared
from gateway.registry.imports.parts import ListPart, ListState, PartResult, apply_complete, incoming_lists, take_part
from gateway.registry.tables import CATEGORY_RECORD, INCOMING_LIST, LIST_PART, PROVISIONAL_ENTRY, TECHNICAL_FAILURE
from gateway.shep import sync_channel
from gateway.shep.faults import SUCCESS, FaultCode
from gateway.shep.messages import ErrorInfo, Sender, SyncResponse
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from tests.exchange.world import NOW, Keys, message_ids, request_info, trust
from tests.fund.test_intake import APPLICATION, EVERYTHING, FAILURE, contract, part, request, texts
from tests.registry.imports.lists import LAW, Line, pensioner, person

#: what a message of the service may change
EFFECTS = (INCOMING_LIST, LIST_PART, TECHNICAL_FAILURE, PROVISIONAL_ENTRY)


def server(engine: Engine, keys: Keys, may_send: Mapping[str, frozenset[str]] = EVERYTHING, **changes: Any) -> Server:
    return Server(
        engine=engine,
        journal=JournalWriter(),
        services={intake.SERVICE_ID: ListIntakeService(LAW, may_send=may_send)},
        key=lambda: keys["gateway"],
        trust=trust(keys.pki),
        new_message_id=message_ids("served"),
        **changes,
    )


def signed(
    keys: Keys, said: Mapping[str, Any], message_id: str, *, sender: str = "memcorp", signer: str = "client"
) -> bytes:
    info = request_info(intake.SERVICE_ID, message_id, sender=Sender(sender, "password"))
    payload = request(said)
    contract().assertValid(payload)
    body = sync_channel.build_request(info, payload, PayloadCodec.ELEMENT)
    return sign_body(body, keys[signer], form=KeyInfoForm.KEY_IDENTIFIER)


def handle(target: Server, data: bytes) -> ServedReply:
    return target.handle(data, received_at=NOW, peer="192.0.2.7")


def answer_of(keys: Keys, reply: ServedReply) -> tuple[str, dict[str, str | None]]:
    """Code of the status, and what the answer says: it is signed by us and fits the contract."""
    verified = verify_envelope(reply.body)
    assert verified.certificate == keys["gateway"].certificate
    content = sync_channel.read_reply(verified.body)
    assert isinstance(content, SyncResponse)
    payload = decode(content.data, PayloadCodec.ELEMENT, root_name=intake.RESPONSE)
    contract().assertValid(payload)
    return content.info.status.code, texts(payload)


def fault_of(keys: Keys, reply: ServedReply) -> ErrorInfo:
    assert reply.status == 500
    verified = verify_envelope(reply.body)
    assert verified.certificate == keys["gateway"].certificate
    fault = sync_channel.read_reply(verified.body)
    assert isinstance(fault, ErrorInfo)
    return fault


def count(engine: Engine, table: Table) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def effects(engine: Engine) -> int:
    return sum(count(engine, table) for table in EFFECTS)


def verdicts(engine: Engine) -> list[str]:
    """Of everything that came, oldest first."""
    return [one.verdict for one in reversed(Journal(engine).list_entries()) if one.direction == "in"]


def parts(people: Sequence[Line], *, list_id: str = "list-1") -> list[dict[str, Any]]:
    """A list of one person a part."""
    whole = hashlib.sha256(
        "".join(
            f"{one['iin']},{one['category']},{one['assigned_date']},{one['assigned_source']},,,\n" for one in people
        ).encode()
    ).hexdigest()
    of = str(len(people))
    return [
        {"listPart": part([one], listId=list_id, number=str(number), of=of, digest=whole)}
        for number, one in enumerate(people, 1)
    ]


PEOPLE = sorted((pensioner(number) for number in range(3)), key=lambda one: one["iin"])


# ---------------------------------------------------------------- a part comes


def test_a_part_its_messages_and_its_inbox_row_are_there_together(engine: Engine, keys: Keys) -> None:
    first = parts(PEOPLE)[0]
    data = signed(keys, first, "m1")
    code, said = answer_of(keys, handle(server(engine, keys), data))
    assert (code, said) == (SUCCESS.code, {"result": "TAKEN", "received": "1", "of": "3"})
    with reading(engine) as connection:
        stored = connection.execute(select(LIST_PART)).mappings().one()
        row = connection.execute(select(INBOX)).mappings().one()
    assert (stored["sender"], stored["list_id"], stored["part"], stored["message_id"]) == ("memcorp", "list-1", 1, "m1")
    assert (stored["signer_serial"], stored["received_at"]) == (str(keys["client"].certificate.serial), NOW)
    assert (row["message_id"], row["service_id"], row["state"]) == ("m1", intake.SERVICE_ID, "done")
    journal = Journal(engine)
    came, went = journal.get(row["request_journal_id"]), journal.get(row["reply_journal_id"])
    assert came is not None
    assert went is not None
    assert (came.body, came.verdict, went.verdict) == (data, "accepted", "signed")
    assert came.signer.serial == stored["signer_serial"]


def test_the_same_message_again_gets_the_same_bytes_and_stores_nothing_anew(engine: Engine, keys: Keys) -> None:
    target, first = server(engine, keys), parts(PEOPLE)[0]
    data = signed(keys, first, "m1")
    reply = handle(target, data)
    # as it was, and signed once more
    for again in (data, signed(keys, first, "m1")):
        assert handle(target, again).body == reply.body
    assert (count(engine, INCOMING_LIST), count(engine, LIST_PART), count(engine, INBOX)) == (1, 1, 1)
    assert verdicts(engine) == ["accepted", "duplicate", "duplicate"]
    # under another id it is another message about the same part
    assert answer_of(keys, handle(target, signed(keys, first, "m2")))[1]["result"] == "DUPLICATE"
    assert (count(engine, LIST_PART), count(engine, INBOX)) == (1, 2)


def test_another_part_under_an_id_that_was_used_is_a_fault_and_changes_nothing(engine: Engine, keys: Keys) -> None:
    target, (first, second, _) = server(engine, keys), parts(PEOPLE)
    handle(target, signed(keys, first, "m1"))
    assert "messageId was used before" in fault_of(keys, handle(target, signed(keys, second, "m1"))).message
    assert count(engine, LIST_PART) == 1
    assert verdicts(engine) == ["accepted", "id_reused"]


def test_all_parts_of_a_list_in_one_group_are_each_taken(engine: Engine, keys: Keys) -> None:
    target = server(engine, keys)
    requests = [
        target.open(signed(keys, said, f"m{number}"), received_at=NOW) for number, said in enumerate(parts(PEOPLE))
    ]
    answers = [answer_of(keys, reply)[1] for reply in target.answer_many(requests)]
    assert [one["result"] for one in answers] == ["TAKEN", "TAKEN", "COMPLETE"]
    assert [one["received"] for one in answers] == ["1", "2", "3"]


def test_with_the_last_part_the_list_is_applied_once(engine: Engine, keys: Keys, tmp_path: Path) -> None:
    target = server(engine, keys)
    said = parts(PEOPLE)
    for number in (2, 0):
        assert answer_of(keys, handle(target, signed(keys, said[number], f"m{number}")))[1]["result"] == "TAKEN"
    assert apply_complete(engine, law=LAW, at=NOW, folder=tmp_path) == ()
    assert count(engine, CATEGORY_RECORD) == 0
    last = signed(keys, said[1], "m1")
    reply = handle(target, last)
    assert answer_of(keys, reply)[1] == {"result": "COMPLETE", "received": "3", "of": "3"}
    (applied,) = apply_complete(engine, law=LAW, at=NOW, folder=tmp_path)
    assert (applied.sender, applied.list_id, applied.state) == ("memcorp", "list-1", ListState.APPLIED)
    with reading(engine) as connection:
        people = set(connection.execute(select(CATEGORY_RECORD.c.iin)).scalars())
    assert people == {one["iin"] for one in PEOPLE}
    # whoever did not hear the answer asks again: the same bytes, and nothing is applied a second time
    assert handle(target, last).body == reply.body
    assert apply_complete(engine, law=LAW, at=NOW, folder=tmp_path) == ()


def test_parts_that_contradict_each_other_are_noted_when_their_list_is_applied(
    engine: Engine, keys: Keys, tmp_path: Path
) -> None:
    target = server(engine, keys)
    for number, said in enumerate(parts([PEOPLE[0], {**PEOPLE[0], "assigned_source": "mem_corp"}, PEOPLE[1]])):
        handle(target, signed(keys, said, f"m{number}"))
    journal = JournalWriter()
    (applied,) = apply_complete(engine, law=LAW, at=NOW, folder=tmp_path, contradicted=noting(journal))
    assert applied.result is not None
    assert (applied.result.applied, len(applied.result.refused)) == (1, 2)
    last = Journal(engine).list_entries()[0]
    assert (last.kind, last.verdict) == ("note", "records_contradict")
    with reading(engine) as connection:
        assert connection.execute(select(CATEGORY_RECORD.c.iin)).scalar_one() == PEOPLE[1]["iin"]


def test_a_part_that_contradicts_an_earlier_one_is_told_and_both_messages_are_in_the_journal(
    engine: Engine, keys: Keys
) -> None:
    target, (first, *_) = server(engine, keys), parts(PEOPLE)
    handle(target, signed(keys, first, "m1"))
    changed = {"listPart": {**first["listPart"], "records": [("record", pensioner(9))]}}
    with capture_logs() as logs:
        code, said = answer_of(keys, handle(target, signed(keys, changed, "m2")))
    assert (code, said["result"]) == ("PART_CHANGED", "PART_CHANGED")
    assert [line["action"] for line in logs if line["log_level"] == "error"] == ["part_changed"]
    with reading(engine) as connection:
        (there,) = incoming_lists(connection)
        kept = connection.execute(select(LIST_PART.c.message_id)).scalar_one()
    assert (there.received, there.problem, kept) == (1, "part_changed", "m1")
    journal = Journal(engine)
    bodies = [journal.get(number) for number in (1, 3, 4)]
    assert [one is not None and one.body is not None for one in bodies] == [True] * 3
    assert person(9) not in repr(logs)


@pytest.mark.parametrize(
    ("said", "result", "table"),
    [
        ({"failure": FAILURE}, "DECLARED", TECHNICAL_FAILURE),
        ({"application": APPLICATION}, "ACCEPTED", PROVISIONAL_ENTRY),
    ],
)
def test_what_else_is_said_is_done_once(
    engine: Engine, keys: Keys, said: dict[str, Any], result: str, table: Table
) -> None:
    target, data = server(engine, keys), signed(keys, said, "m1")
    reply = handle(target, data)
    assert answer_of(keys, reply)[1]["result"] == result
    assert handle(target, data).body == reply.body
    assert count(engine, table) == 1


# ---------------------------------------------------------------- who may not


def test_a_stranger_gets_a_signed_fault_and_nothing_is_stored(engine: Engine, keys: Keys) -> None:
    data = signed(keys, parts(PEOPLE)[0], "m1", signer="stranger")
    assert fault_of(keys, handle(server(engine, keys), data)).code == FaultCode.TRANSPORT_CERTIFICATE
    assert (effects(engine), count(engine, INBOX), count(engine, JOURNAL)) == (0, 0, 2)


def test_a_part_that_was_changed_on_its_way_is_a_fault_and_nothing_is_stored(engine: Engine, keys: Keys) -> None:
    data = signed(keys, parts(PEOPLE)[0], "m1").replace(PEOPLE[0]["iin"].encode(), person(9).encode())
    assert fault_of(keys, handle(server(engine, keys), data)).code == FaultCode.TRANSPORT_SIGNATURE
    assert (effects(engine), count(engine, INBOX)) == (0, 0)


@pytest.mark.parametrize("said", [parts(PEOPLE)[0], {"failure": FAILURE}, {"application": APPLICATION}])
@pytest.mark.parametrize("sender", ["mod", "nobody"])
def test_a_sender_whom_the_configuration_does_not_let_changes_nothing(
    engine: Engine, keys: Keys, sender: str, said: dict[str, Any]
) -> None:
    target = server(engine, keys, {**EVERYTHING, "mod": frozenset({"military_mod"})})
    with capture_logs() as logs:
        code, answer = answer_of(keys, handle(target, signed(keys, said, "m1", sender=sender)))
    assert (code, answer) == ("SENDER_NOT_ALLOWED", {"result": "SENDER_NOT_ALLOWED"})
    assert effects(engine) == 0
    assert "sender_not_allowed" in [line["action"] for line in logs]
    # it is an answer, and so in the journal like every other
    assert (verdicts(engine), count(engine, INBOX)) == (["accepted"], 1)


def test_a_sender_is_taken_at_its_word_only_by_the_certificates_that_the_operator_names(
    engine: Engine, keys: Keys
) -> None:
    policies = {intake.SERVICE_ID: ServicePolicy(bins=frozenset({"000000000000"}))}
    fault = fault_of(keys, handle(server(engine, keys, policies=policies), signed(keys, parts(PEOPLE)[0], "m1")))
    assert fault.code == FaultCode.SERVICE_UNAVAILABLE
    assert (effects(engine), verdicts(engine)) == (0, ["bin_not_allowed"])


# ---------------------------------------------------------------- it fails in between


class Died(Exception):
    pass


def died(*_: object, **__: object) -> None:
    raise Died


def fails_on_the_server(*_: object) -> Call:
    """In place of the row of the inbox: PostgreSQL has written the journal in the same exchange by then."""
    return Prepared("test_fails", "SELECT 1 / length($1::text)"), ("",)


@pytest.mark.parametrize("said", [parts(PEOPLE)[0], {"failure": FAILURE}, {"application": APPLICATION}])
@pytest.mark.parametrize("at", ["answer", "inbox"])
def test_what_dies_after_the_effect_leaves_nothing_and_may_come_again(
    engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch, at: str, said: dict[str, Any]
) -> None:
    target, data = server(engine, keys), signed(keys, said, "m1")
    with monkeypatch.context() as patched:
        if at == "answer":  # between the effect and its answer
            patched.setattr(intake_service, "build_response", died)
        else:  # between the journal and the inbox; each store has its own way
            patched.setattr(serve, "register_many", died)
            patched.setattr(serve, "registering", fails_on_the_server)
        assert fault_of(keys, handle(target, data)).code == FaultCode.INTERNAL
    assert (effects(engine), count(engine, INBOX)) == (0, 0)
    assert handle(target, data).status == 200
    assert (effects(engine) > 0, count(engine, INBOX)) == (True, 1)


def test_a_process_that_dies_before_the_commit_has_stored_nothing(
    engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    target, data = server(engine, keys), signed(keys, parts(PEOPLE)[0], "m1")
    with monkeypatch.context() as patched:
        # each store has its own way
        patched.setattr(serve, "register_many", killed)
        patched.setattr(serve, "registering", killed)
        with pytest.raises(Killed):
            handle(target, data)
    assert (effects(engine), count(engine, INBOX), count(engine, JOURNAL)) == (0, 0, 0)
    assert answer_of(keys, handle(target, data))[1]["result"] == "TAKEN"


# ---------------------------------------------------------------- two at once


@dataclass
class Meeting:
    """Two groups of requests, each of which has taken its first part before the other takes its second."""

    barrier: threading.Barrier
    met: threading.local

    def take(self, connection: Connection, said: ListPart, provenance: Provenance) -> PartResult:
        result = take_part(connection, said, provenance)
        if not getattr(self.met, "yes", False):
            self.met.yes = True
            self.barrier.wait(timeout=30)
        return result


def test_two_groups_with_parts_of_the_same_two_lists_are_answered_although_they_wait_for_each_other(
    postgresql_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(postgresql_url)
    upgrade(engine)
    target = server(engine, keys)
    one, two = parts(PEOPLE[:2], list_id="one"), parts(PEOPLE[:2], list_id="two")
    messages = [[one[0], two[0]], [two[1], one[1]]]
    groups = [
        [target.open(signed(keys, said, f"m{number}{place}"), received_at=NOW) for place, said in enumerate(group)]
        for number, group in enumerate(messages)
    ]
    meeting = Meeting(threading.Barrier(2), threading.local())
    monkeypatch.setattr(intake_service, "take_part", meeting.take)
    replies: list[ServedReply] = []

    def answer(group: list[Opened]) -> None:
        replies.extend(target.answer_many(group))

    threads = [threading.Thread(target=answer, args=(group,)) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    results = sorted(str(answer_of(keys, reply)[1]["result"]) for reply in replies)
    assert results == ["COMPLETE", "COMPLETE", "TAKEN", "TAKEN"]
    engine.dispose()
