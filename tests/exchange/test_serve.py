"""Requests to us: a signed answer, or the right fault, and both messages in the journal before it leaves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from sqlalchemy import Connection, Engine, delete, text
from structlog.testing import capture_logs

from gateway.database import engine_for, writing
from gateway.errors import ConfigurationError, InvalidIdentifier, MalformedMessage, RequestRefused
from gateway.exchange.journal import EntryKind, Journal, JournalRecord, JournalWriter, MessageDirection
from gateway.exchange.refusals import failure_of
from gateway.exchange.serve import ServedReply, Server, ServiceAnswer, ServicePolicy
from gateway.exchange.verification import TrustPolicy
from gateway.model import Iin
from gateway.shep import sync_channel
from gateway.shep.envelope import build_envelope, split
from gateway.shep.faults import SUCCESS, FaultCode
from gateway.shep.messages import ErrorInfo, Sender, SyncRequest, SyncResponse
from gateway.shep.payload import PayloadCodec
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SoftwareKey
from gateway.signing.wss import sign_body, verify_envelope
from gateway.trust.store import TrustStore
from gateway.trust.verdict import RevocationMode
from gateway.xml import XmlBounds, parse
from tests.exchange.world import NOW, PERSON, Keys, message_ids, request_info, trust

SERVICE = "ECHO"
BOUNDS = XmlBounds(max_bytes=20_000)


class Echo:
    """A service that answers with the payload it was given, or does what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[SyncRequest] = []

    def read(self, request: SyncRequest, *, at: dt.datetime) -> SyncRequest:
        assert at == NOW
        return request

    def load(self, connection: Connection, questions: Sequence[SyncRequest]) -> Sequence[int]:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        return range(len(questions))

    def answer(self, question: SyncRequest, found: int) -> ServiceAnswer:
        self.asked.append(question)
        if self.error is not None:
            raise self.error
        assert question.data is not None
        return ServiceAnswer(SUCCESS, deepcopy(question.data[0]), PayloadCodec.ELEMENT)


def server(engine: Engine, keys: Keys, service: Echo | None = None, **changes: Any) -> Server:
    settings = {
        "engine": engine,
        "journal": JournalWriter(),
        "services": {SERVICE: service or Echo()},
        "key": lambda: keys["gateway"],
        "trust": trust(keys.pki),
        "new_message_id": message_ids(),
        "bounds": BOUNDS,
        **changes,
    }
    return Server(**settings)


def question(keys: Keys, signer: str = "client", form: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER, **info: Any) -> bytes:
    return sign_body(request_body(**info), keys[signer], form=form)


def request_body(**info: Any) -> etree._Element:
    payload = etree.Element("{urn:test}question")
    etree.SubElement(payload, "iin").text = PERSON.value
    return sync_channel.build_request(request_info(**{"service_id": SERVICE, **info}), payload, PayloadCodec.ELEMENT)


def handle(target: Server, data: bytes) -> ServedReply:
    return target.handle(data, received_at=NOW, peer="192.0.2.7")


def reply_of(keys: Keys, served: ServedReply) -> SyncResponse | ErrorInfo:
    """The content of what was served, after the check that every caller makes."""
    verified = verify_envelope(served.body)
    assert verified.certificate == keys["gateway"].certificate
    return sync_channel.read_reply(verified.body)


def fault_of(keys: Keys, served: ServedReply) -> ErrorInfo:
    fault = reply_of(keys, served)
    assert isinstance(fault, ErrorInfo)
    assert served.status == 500
    assert fault.date == NOW
    return fault


def entries(engine: Engine) -> tuple[JournalRecord, JournalRecord]:
    """The two rows of the only exchange: what came, what went."""
    journal = Journal(engine)
    out, came = (journal.get(record.id) for record in journal.list_entries())
    assert came is not None
    assert out is not None
    assert (came.direction, out.direction) == (MessageDirection.IN, MessageDirection.OUT)
    return came, out


# ---------------------------------------------------------------- an answer


def test_a_request_is_answered_signed_and_both_are_journalled(engine: Engine, keys: Keys) -> None:
    data = question(keys)
    served = handle(server(engine, keys), data)

    assert (served.status, served.message_id) == (200, "req-1")
    reply = reply_of(keys, served)
    assert isinstance(reply, SyncResponse)
    assert (reply.info.message_id, reply.info.correlation_id) == ("ours-1", "req-1")
    assert (reply.info.status, reply.info.response_date) == (SUCCESS, NOW)
    assert reply.data is not None
    assert reply.data[0][0].text == PERSON.value

    came, out = entries(engine)
    assert (came.body, out.body) == (data, served.body)
    assert (came.step, came.kind, came.verdict) == (10, EntryKind.REQUEST, "accepted")
    assert (out.step, out.kind, out.verdict) == (8, EntryKind.REPLY, "signed")
    assert (came.message_id, came.service_id, came.peer) == ("req-1", SERVICE, "192.0.2.7")
    assert (out.message_id, out.correlation_id, out.service_id) == ("ours-1", "req-1", SERVICE)
    assert came.signer.serial == str(keys["client"].certificate.serial)
    assert out.signer.serial == str(keys["gateway"].certificate.serial)
    assert came.revocation.status == "good"


def test_a_chain_id_is_given_back(store: Engine, keys: Keys) -> None:
    reply = reply_of(keys, handle(server(store, keys), question(keys, correlation_id="chain-1")))
    assert isinstance(reply, SyncResponse)
    assert reply.info.correlation_id == "chain-1"


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_every_form_of_key_info_is_read(store: Engine, keys: Keys, form: KeyInfoForm) -> None:
    assert handle(server(store, keys), question(keys, "shep", form)).status == 200


@pytest.mark.parametrize("form", [KeyInfoForm.KEY_IDENTIFIER, KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE])
def test_the_configured_form_is_written(store: Engine, keys: Keys, form: KeyInfoForm) -> None:
    served = handle(server(store, keys, key_info=form), question(keys))
    assert verify_envelope(served.body).key_info_form is form


def test_issuer_and_serial_alone_may_be_written(store: Engine, keys: Keys) -> None:
    served = handle(server(store, keys, key_info=KeyInfoForm.ISSUER_SERIAL), question(keys))
    assert verify_envelope(served.body, certificates=trust(keys.pki).store).certificate == keys["gateway"].certificate


def test_the_senders_password_is_in_the_journal_and_in_no_log(store: Engine, keys: Keys) -> None:
    with capture_logs() as logs:
        handle(server(store, keys), question(keys, message_id=f"9{PERSON.value}1"))
        handle(server(store, keys), question(keys, message_id="123456789012", service_id="?"))
    came = Journal(store).get(1)
    assert came is not None
    assert b"sender-password" in (came.body or b"")
    for secret in (PERSON.value, "sender-password", "Envelope"):
        assert secret not in repr(logs)
    assert [line["action"] for line in logs] == ["served", "refused"]
    assert [line["message_id"] for line in logs] == ["************", "123456789012"]


# ---------------------------------------------------------------- bad input: the right fault


def _wrapped(data: bytes) -> bytes:
    root = etree.fromstring(data)
    header, body = root
    lie = deepcopy(body)
    for key in lie.attrib:
        del lie.attrib[key]
    header.append(body)
    root.append(lie)
    return etree.tostring(root)


def _twice(data: bytes) -> bytes:
    root = etree.fromstring(data)
    root.append(deepcopy(root[1]))
    return etree.tostring(root)


BadInput = tuple[Callable[[Keys], bytes], FaultCode, str]

BAD_INPUT: dict[str, BadInput] = {
    "unsigned": (lambda _: build_envelope(request_body()), FaultCode.NOT_SIGNED, "unsigned"),
    "signed by a stranger": (
        lambda keys: question(keys, "stranger"),
        FaultCode.TRANSPORT_CERTIFICATE,
        "untrusted_issuer",
    ),
    "signed by somebody whose certificate nobody has": (
        lambda keys: question(keys, "client", KeyInfoForm.ISSUER_SERIAL),
        FaultCode.TRANSPORT_CERTIFICATE,
        "certificate_unknown",
    ),
    "expired": (lambda keys: question(keys, "expired"), FaultCode.TRANSPORT_CERTIFICATE, "expired"),
    "revoked": (lambda keys: question(keys, "revoked"), FaultCode.TRANSPORT_CERTIFICATE, "revoked"),
    "changed after signing": (
        lambda keys: question(keys).replace(b"req-1", b"req-2"),
        FaultCode.TRANSPORT_SIGNATURE,
        "digest",
    ),
    "wrapped": (lambda keys: _wrapped(question(keys)), FaultCode.TRANSPORT_SIGNATURE, "not_the_body"),
    "two bodies": (lambda keys: _twice(question(keys)), FaultCode.TRANSPORT_SIGNATURE, "structure"),
    "not XML": (lambda _: b"hello", FaultCode.MESSAGE_FORMAT, "not_xml"),
    "empty": (lambda _: b"", FaultCode.MESSAGE_FORMAT, "not_xml"),
    "cut": (lambda keys: question(keys)[:-10], FaultCode.MESSAGE_FORMAT, "not_xml"),
    "not UTF-8": (lambda keys: question(keys).decode().encode("utf-16"), FaultCode.MESSAGE_FORMAT, "encoding"),
    "with a DOCTYPE": (lambda keys: b"<!DOCTYPE a>" + question(keys), FaultCode.MESSAGE_FORMAT, "doctype"),
    "no envelope": (lambda _: b"<a/>", FaultCode.MESSAGE_FORMAT, "not_an_envelope"),
    "another operation": (
        lambda keys: sign_body(sync_channel.build_fault(ErrorInfo("A", "b", NOW)), keys["client"], form=_FORM),
        FaultCode.MESSAGE_FORMAT,
        "unknown_operation",
    ),
    "an unknown service": (
        lambda keys: question(keys, service_id="NOBODY"),
        FaultCode.SERVICE_UNAVAILABLE,
        "no_service",
    ),
}
_FORM = KeyInfoForm.KEY_IDENTIFIER


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gets_its_fault_and_is_journalled(store: Engine, keys: Keys, name: str) -> None:
    make, code, verdict = BAD_INPUT[name]
    data, echo = make(keys), Echo()
    with capture_logs() as logs:
        served = handle(server(store, keys, echo), data)
    fault = fault_of(keys, served)
    assert fault.code == code
    assert fault.message.startswith(code.meaning) or fault.code == FaultCode.SERVICE_UNAVAILABLE
    assert echo.asked == []
    came, out = entries(store)
    assert (came.body, came.verdict) == (data, verdict)
    assert (out.body, out.kind, out.correlation_id) == (served.body, EntryKind.FAULT, served.message_id)
    assert [(line["action"], line["verdict"]) for line in logs] == [("refused", verdict)]
    for secret in (PERSON.value, "sender-password"):
        assert secret not in repr(logs) + fault.message


def test_a_fault_is_journalled_on_either_store(engine: Engine, keys: Keys) -> None:
    served = handle(server(engine, keys), b"hello")
    assert entries(engine)[1].body == served.body


def test_what_is_too_large_is_not_kept_but_its_size_is(engine: Engine, keys: Keys) -> None:
    served = handle(server(engine, keys), b" " * 20_001)
    fault = fault_of(keys, served)
    assert (fault.code, fault.message) == (FaultCode.MESSAGE_FORMAT, "the request is larger than 20000 bytes")
    came, _ = entries(engine)
    assert (came.body, came.body_bytes, came.verdict) == (None, 20_001, "too_large")


def test_reading_may_stop_at_the_bound(store: Engine, keys: Keys) -> None:
    target = server(store, keys)
    (served,) = target.answer_many([target.too_large(20_001, received_at=NOW, peer="192.0.2.7")])
    assert fault_of(keys, served).code == FaultCode.MESSAGE_FORMAT
    assert entries(store)[0].peer == "192.0.2.7"


def test_unknown_revocation_is_not_good(store: Engine, keys: Keys) -> None:
    material = trust(keys.pki).store.material
    blind = TrustPolicy(TrustStore.of(material.anchors | material.intermediates), RevocationMode.REQUIRE)
    served = handle(server(store, keys, trust=blind), question(keys))
    fault = fault_of(keys, served)
    assert fault.code == FaultCode.TRANSPORT_CERTIFICATE
    assert "revocation_unknown" in fault.message
    assert "CRL" not in fault.message
    assert entries(store)[0].verdict == "revocation_unknown"


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize("sender_id", ["clinic-test", "another"])
def test_senders_may_be_named(store: Engine, keys: Keys, sender_id: str) -> None:
    policies = {SERVICE: ServicePolicy(senders=frozenset({"clinic-test"}))}
    served = handle(server(store, keys, policies=policies), question(keys, sender=Sender(sender_id)))
    if sender_id == "clinic-test":
        assert served.status == 200
    else:
        assert fault_of(keys, served).code == FaultCode.SERVICE_UNAVAILABLE
        assert entries(store)[0].verdict == "sender_not_allowed"


@pytest.mark.parametrize("signer", ["client", "shep"])
def test_organisations_may_be_named(store: Engine, keys: Keys, signer: str) -> None:
    client = keys["client"].certificate.bin
    assert client is not None
    policies = {SERVICE: ServicePolicy(bins=frozenset({client}))}
    served = handle(server(store, keys, policies=policies), question(keys, signer))
    if signer == "client":
        assert served.status == 200
    else:
        assert fault_of(keys, served).code == FaultCode.SERVICE_UNAVAILABLE
        assert entries(store)[0].verdict == "bin_not_allowed"


# ---------------------------------------------------------------- what a service may say, and how it may fail


def _invalid_iin() -> InvalidIdentifier:
    with pytest.raises(InvalidIdentifier) as caught:
        Iin("1")
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "verdict"),
    [
        (MalformedMessage("<iin> is missing", code="missing_field"), "SCE001", "missing_field"),
        (_invalid_iin(), "SCE001", "invalid_identifier"),
        (RequestRefused("not at night", code="SCE004"), "SCE004", "SCE004"),
        (RequestRefused("no"), "SCE909", "SCE909"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_a_clear_text(
    store: Engine, keys: Keys, error: Exception, code: str, verdict: str
) -> None:
    fault = fault_of(keys, handle(server(store, keys, Echo(error)), question(keys)))
    assert fault.code == code
    assert str(error) in fault.message
    assert entries(store)[0].verdict == verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(KeyError(PERSON.value), "internal"), (ConfigurationError("see /etc/secret"), "configuration")],
)
def test_our_own_failure_tells_nothing_outside_and_its_place_inside(
    store: Engine, keys: Keys, error: Exception, verdict: str
) -> None:
    with capture_logs() as logs:
        fault = fault_of(keys, handle(server(store, keys, Echo(error)), question(keys)))
    assert (fault.code, fault.message, fault.data) == (FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, "")
    came, _ = entries(store)
    assert came.verdict == verdict
    assert came.note.startswith(f"{type(error).__name__} at test_serve.py:")
    assert PERSON.value not in repr(logs) + came.note


def test_a_failure_without_a_place_is_told_too(store: Engine, keys: Keys) -> None:
    assert failure_of(KeyError(PERSON.value)) == "KeyError"


def test_an_answer_that_the_journal_cannot_take_does_not_leave(sqlite_url: str, keys: Keys) -> None:
    unmigrated = engine_for(sqlite_url)
    with capture_logs() as logs:
        fault = fault_of(keys, handle(server(unmigrated, keys), question(keys)))
    assert (fault.code, fault.message) == (FaultCode.INTERNAL, FaultCode.INTERNAL.meaning)
    assert [line["action"] for line in logs] == ["refused", "journal_failed"]
    unmigrated.dispose()


def test_a_refusal_that_the_journal_cannot_take_does_not_leave_either(sqlite_url: str, keys: Keys) -> None:
    unmigrated = engine_for(sqlite_url)
    fault = fault_of(keys, handle(server(unmigrated, keys), b"hello"))
    assert fault.code == FaultCode.INTERNAL
    unmigrated.dispose()


def test_without_a_usable_key_an_unsigned_fault_leaves(store: Engine, keys: Keys) -> None:
    mixed = SoftwareKey(keys["shep"].certificate, keys["gateway"].algorithm, keys["gateway"]._private_key)
    with capture_logs() as logs:
        served = handle(server(store, keys, key=lambda: mixed), question(keys))
    assert served.status == 500
    _, body = split(parse(served.body))
    assert sync_channel.is_fault(body)
    assert "signing_failed" in [line["action"] for line in logs]
    came, out = entries(store)
    assert came.body is not None
    assert (out.body, out.signer.subject, out.verdict) == (served.body, "", "unsigned")


def test_the_process_lives_on_after_bad_input(store: Engine, keys: Keys) -> None:
    target = server(store, keys)
    for make, _, _ in BAD_INPUT.values():
        assert handle(target, make(keys)).status == 500
    assert handle(target, question(keys)).status == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(where=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_request_with_one_byte_changed_is_never_answered_differently(
    store: Engine, keys: Keys, where: int, byte: int
) -> None:
    echo = Echo()
    genuine = question(keys)
    data = bytearray(genuine)
    data[where % len(data)] = byte
    served = handle(server(store, keys, echo), bytes(data))
    for request in echo.asked:  # a byte outside of what is signed and read may change
        assert request.data is not None
        assert request.data[0][0].text == PERSON.value
        assert request.info == request_info(SERVICE)
    assert (served.status == 200) == bool(echo.asked)
    with writing(store) as connection:
        connection.execute(delete(_journal()))


def _journal() -> Any:
    from gateway.exchange.tables import JOURNAL

    return JOURNAL
