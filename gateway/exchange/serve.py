"""One request to us: steps 10 to 12, the decision, and the answer by steps 3 to 9 of DESIGN.md.

Whatever comes in, something signed goes out: an answer, or a fault with the channel's detail and a code of
SHEP.md 1.8. Both messages are in the journal before the answer leaves.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine

from gateway.database import reading, writing
from gateway.errors import (
    GatewayError,
    InvalidIdentifier,
    MalformedMessage,
    OperatorError,
    RequestRefused,
    RevocationUnknown,
    SignatureRefused,
    TrustRefused,
)
from gateway.exchange.journal import NOBODY, EntryKind, JournalEntry, MessageDirection, Signer, Verdict, append
from gateway.exchange.verification import Evidence, TrustPolicy, check_for_service, check_own_signature, verify_message
from gateway.model import Iin
from gateway.shep import envelope, sync_channel
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo, RequestInfo, ResponseInfo, StatusInfo, SyncRequest
from gateway.shep.payload import PayloadCodec
from gateway.signing.certificate import Certificate
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.wss import sign_body
from gateway.trust.verdict import RevocationState
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

_LOG: Final = structlog.get_logger()

#: a signature that may hold, of a signer whom we do not know or whose certificate we cannot read
_UNKNOWN_SIGNER: Final = frozenset({"certificate_unknown", "bad_certificate"})
_DIGITS: Final = re.compile(r"[0-9]{12,}")


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service decided. A negative answer is an answer; only what cannot be answered is a fault."""

    status: StatusInfo
    payload: etree._Element | None
    codec: PayloadCodec


class Service(Protocol):
    """One serviceId of ours."""

    def answer(self, connection: Connection, request: SyncRequest, *, at: dt.datetime) -> ServiceAnswer:
        """Read the payload, decide. `connection` only reads; `at` is when the request came.

        Raises RequestRefused (its code is the fault's), and MalformedMessage or InvalidIdentifier for a payload that
        does not match the contract.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """Who may ask a service. Empty sets: whoever signs with a certificate that we trust."""

    #: senderId of the request
    senders: frozenset[str] = frozenset()
    #: BIN in the signer's certificate
    bins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServedReply:
    """What goes back. `message_id` is the request's, "" when none was verified."""

    status: int
    body: bytes
    message_id: str


@dataclass(slots=True)
class _Handling:
    """What is known of the request that is being served, for its two rows in the journal."""

    received_at: dt.datetime
    peer: str
    evidence: Evidence = field(default_factory=Evidence)
    info: RequestInfo | None = None


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """What goes out, and by whose signature: nobody's when our key could not be used for a fault."""

    data: bytes
    signer: Signer
    verdict: str


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: FaultCode | str
    message: str
    #: for the journal and the log: what exactly it was
    verdict: str
    note: str = ""


class Server:
    """Serves the provider side of SyncChannel. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        services: Mapping[str, Service],
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        new_message_id: Callable[[], str],
        policies: Mapping[str, ServicePolicy] | None = None,
        key_info: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER,
        bounds: XmlBounds = DEFAULT_BOUNDS,
    ) -> None:
        self._engine = engine
        self._services = services
        self._key = key
        self._trust = trust
        self._new_message_id = new_message_id
        self._policies = policies or {}
        self._key_info = key_info
        self._bounds = bounds

    def handle(self, data: bytes, *, received_at: dt.datetime, peer: str = "") -> ServedReply:
        """Answer one request given by its exact bytes. Raises nothing that a request can cause."""
        if len(data) > self._bounds.max_bytes:
            return self.refuse_too_large(len(data), received_at=received_at, peer=peer)
        handling = _Handling(received_at, peer)
        try:
            # 11 bounds, structure, signature, path, revocation
            message = verify_message(
                data, trust=self._trust, bounds=self._bounds, at=received_at, evidence=handling.evidence
            )
            # 12 only what was signed is read
            request = sync_channel.read_request(message.body)
            handling.info = request.info
            check_for_service(message, self._trust, request.info.service_id)
            answer = self._decide(request, message.certificate, received_at)
            # 5, 6, 7 of the answer
            response_id = self._new_message_id()
            outgoing = self._sign(
                sync_channel.build_response(
                    ResponseInfo(
                        message_id=response_id,
                        response_date=received_at,
                        status=answer.status,
                        # an asker without a chain of its own finds its message id there
                        correlation_id=request.info.correlation_id or request.info.message_id,
                    ),
                    answer.payload,
                    answer.codec,
                )
            )
            # 8 both messages, before the answer leaves
            self._journal(handling, data, len(data), Verdict.ACCEPTED, outgoing, EntryKind.REPLY, response_id)
        except Exception as error:  # the process lives on, whatever a request does to it
            return self._refuse(_refusal(error), handling, data, len(data))
        if handling.evidence.revocation.status == RevocationState.UNKNOWN:
            _LOG.warning(
                "trust",
                action="unknown_revocation_accepted",
                service_id=request.info.service_id,
                message_id=_shown(request.info.message_id),
            )
        _LOG.info("exchange", action="served", message_id=_shown(request.info.message_id), code=answer.status.code)
        return ServedReply(200, outgoing.data, request.info.message_id)

    def refuse_too_large(self, body_bytes: int, *, received_at: dt.datetime, peer: str = "") -> ServedReply:
        """The fault for a request of which reading stopped at the bound, after `body_bytes`; only the size is kept."""
        text = f"the request is larger than {self._bounds.max_bytes} bytes"
        refusal = _Refusal(FaultCode.MESSAGE_FORMAT, text, "too_large")
        return self._refuse(refusal, _Handling(received_at, peer), None, body_bytes)

    def _decide(self, request: SyncRequest, certificate: Certificate, at: dt.datetime) -> ServiceAnswer:
        info = request.info
        service = self._services.get(info.service_id)
        if service is None:
            raise _refused(FaultCode.SERVICE_UNAVAILABLE, "there is no such service here; see serviceId", "no_service")
        policy = self._policies.get(info.service_id, ServicePolicy())
        if policy.senders and info.sender.sender_id not in policy.senders:
            raise _refused(
                FaultCode.SERVICE_UNAVAILABLE, "the service is not available to this sender", "sender_not_allowed"
            )
        if policy.bins and certificate.bin not in policy.bins:
            raise _refused(
                FaultCode.SERVICE_UNAVAILABLE, "the service is not available to this organisation", "bin_not_allowed"
            )
        with reading(self._engine) as connection:
            return service.answer(connection, request, at=at)

    def _sign(self, body: etree._Element) -> _Outgoing:
        key = self._key()
        signed = sign_body(body, key, form=self._key_info)
        check_own_signature(signed, key.certificate, self._bounds)
        return _Outgoing(signed, Signer.of(key.certificate), Verdict.SIGNED)

    def _refuse(self, refusal: _Refusal, handling: _Handling, data: bytes | None, body_bytes: int) -> ServedReply:
        message_id = handling.info.message_id if handling.info is not None else ""
        _LOG.warning(
            "exchange",
            action="refused",
            message_id=_shown(message_id),
            code=str(refusal.code),
            verdict=refusal.verdict,
            note=refusal.note,
        )
        error = ErrorInfo(str(refusal.code), refusal.message, handling.received_at)
        fault = self._sign_fault(sync_channel.build_fault(error))
        try:
            self._journal(handling, data, body_bytes, refusal.verdict, fault, EntryKind.FAULT, "", refusal.note)
        except Exception as unstored:
            # nothing may leave that the journal does not know, except the word that we cannot serve
            _LOG.error("exchange", action="journal_failed", message_id=_shown(message_id), code=_kind(unstored))
            if refusal.code != FaultCode.INTERNAL:
                own = ErrorInfo(FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, handling.received_at)
                fault = self._sign_fault(sync_channel.build_fault(own))
        return ServedReply(500, fault.data, message_id)

    def _sign_fault(self, body: etree._Element) -> _Outgoing:
        try:
            return self._sign(body)
        except Exception as error:
            # without a key the caller gets at least an unsigned fault, which nobody has to trust
            _LOG.error("exchange", action="signing_failed", code=_kind(error))
            return _Outgoing(envelope.build_envelope(body), NOBODY, "unsigned")

    def _journal(
        self,
        handling: _Handling,
        data: bytes | None,
        body_bytes: int,
        verdict: str,
        sent: _Outgoing,
        kind: EntryKind,
        response_id: str,
        note: str = "",
    ) -> None:
        info = handling.info
        incoming = JournalEntry(
            at=handling.received_at,
            direction=MessageDirection.IN,
            step=10,
            kind=EntryKind.REQUEST,
            service_id=info.service_id if info is not None else "",
            message_id=info.message_id if info is not None else "",
            correlation_id=info.correlation_id if info is not None else "",
            peer=handling.peer,
            body=data,
            body_bytes=body_bytes,
            signer=handling.evidence.signer,
            verdict=verdict,
            revocation=handling.evidence.revocation,
            deciding=handling.evidence.deciding,
            note=note,
        )
        outgoing = JournalEntry(
            at=handling.received_at,
            direction=MessageDirection.OUT,
            step=8,
            kind=kind,
            service_id=incoming.service_id,
            message_id=response_id,
            correlation_id=incoming.message_id,
            peer=handling.peer,
            body=sent.data,
            signer=sent.signer,
            verdict=sent.verdict,
        )
        with writing(self._engine) as connection:
            append(connection, incoming)
            append(connection, outgoing)


# ---------------------------------------------------------------- decisions (pure)


def _refused(code: FaultCode, message: str, verdict: str) -> RequestRefused:
    return _NamedRefusal(code, message, verdict)


class _NamedRefusal(RequestRefused):
    """A refusal of ours that the journal calls by a name of its own."""

    def __init__(self, code: FaultCode, message: str, verdict: str) -> None:
        super().__init__(message, code=code)
        self.verdict = verdict


def _refusal(error: Exception) -> _Refusal:
    """Which fault the caller gets (SHEP.md 1.8). What is ours to mend is never told outside."""
    match error:
        case _NamedRefusal():
            return _Refusal(error.code, error.message, error.verdict)
        case RequestRefused():
            return _Refusal(error.code, error.message, error.code)
        case SignatureRefused(code="unsigned"):
            return _Refusal(FaultCode.NOT_SIGNED, FaultCode.NOT_SIGNED.meaning, error.code)
        case SignatureRefused(code=code) if code in _UNKNOWN_SIGNER:
            return _Refusal(FaultCode.TRANSPORT_CERTIFICATE, _told(FaultCode.TRANSPORT_CERTIFICATE, error), code)
        case SignatureRefused():
            return _Refusal(FaultCode.TRANSPORT_SIGNATURE, _told(FaultCode.TRANSPORT_SIGNATURE, error), error.code)
        case TrustRefused() | RevocationUnknown():
            # which list or authority it was is our configuration: the journal's business
            text = f"{FaultCode.TRANSPORT_CERTIFICATE.meaning} ({error.code})"
            return _Refusal(FaultCode.TRANSPORT_CERTIFICATE, text, error.code)
        case MalformedMessage() | InvalidIdentifier():
            return _Refusal(FaultCode.MESSAGE_FORMAT, _told(FaultCode.MESSAGE_FORMAT, error), error.code)
        case OperatorError():
            return _Refusal(FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, error.code, _kind(error))
        case _:
            return _Refusal(FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, "internal", _kind(error))


def _told(code: FaultCode, error: GatewayError) -> str:
    return f"{code.meaning}: {error.message}"


def _kind(error: Exception) -> str:
    """Kind and place of a failure; never its text, which may quote the request."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return f"{type(error).__name__}{place}"


def _shown(message_id: str) -> str:
    """A message id for the log: whoever makes an id of an IIN must not bring it there."""
    return _DIGITS.sub(lambda run: "*" * 12 if _holds_iin(run[0]) else run[0], message_id)


def _holds_iin(digits: str) -> bool:
    for start in range(len(digits) - 11):
        try:
            Iin(digits[start : start + 12])
        except InvalidIdentifier:
            continue
        return True
    return False
