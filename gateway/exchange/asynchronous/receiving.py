"""What the gateway pushes to us: POST /shep/async, the participant's side of AsyncChannel (IAsyncChannelClient).

A push is verified like a synchronous request. It is acknowledged when it is safe and not when it is understood: its
bytes, its verdict, its inbox row and our acknowledgement are committed together, and only then the acknowledgement
leaves (docs/decisions/0024). What it means is worked out afterwards: gateway.exchange.asynchronous.working.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine

from gateway import telemetry
from gateway.database import reading, writing
from gateway.errors import RequestRefused
from gateway.exchange import inbox, quota
from gateway.exchange.asynchronous import delivery
from gateway.exchange.asynchronous.admitting import Door
from gateway.exchange.calls import CHANNEL
from gateway.exchange.inbox import Arrival, Arrived
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection, Verdict
from gateway.exchange.outgoing import Outgoing, SignedFaults, sign_and_check
from gateway.exchange.question import check_fits_channel
from gateway.exchange.quota import UNLIMITED, Meter, Quotas
from gateway.exchange.refusals import NamedRefusal, Refusal, failure_of, refusal_of, shown_id
from gateway.exchange.serve import ServedReply
from gateway.exchange.understanding import check_signer
from gateway.exchange.verification import (
    Evidence,
    TrustPolicy,
    VerifiedMessage,
    check_for_service,
    verify_message,
)
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessage,
    MessageAck,
    Operation,
    StatusChange,
    StatusChangeAck,
)
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo
from gateway.shep.writing import GUID
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.telemetry import Flow, step
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

_LOG: Final = structlog.get_logger()
_FLOW: Final[Flow] = "in.push"
_OURS: Final = (Operation.SEND_MESSAGE, Operation.CHANGE_STATUS_NOTIFICATION)
#: verdict of a message that is here already
DUPLICATE: Final = "duplicate"


@dataclass(frozen=True, slots=True)
class ReceiverPolicy:
    """Who may push to us, and what a push may cost."""

    #: BINs whose certificates may sign a push about a register, and a change of state; empty: any trusted but our own
    signer_bins: frozenset[str] = frozenset()
    key_info: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER
    bounds: XmlBounds = DEFAULT_BOUNDS


@dataclass(slots=True)
class _Push:
    """What is known of the push that is being taken, for its two rows in the journal."""

    received_at: dt.datetime
    peer: str
    data: bytes | None
    body_bytes: int
    evidence: Evidence = field(default_factory=Evidence)
    operation: Operation = Operation.SEND_MESSAGE
    system: str = ""
    service_id: str = ""
    message_id: str = ""
    correlation_id: str = ""


class Receiver:
    """Takes pushes. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        journal: JournalWriter,
        door: Door,
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        policy: ReceiverPolicy,
        new_session_id: Callable[[], str],
        quotas: Quotas = UNLIMITED,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._door = door
        self._key = key
        self._trust = trust
        self._policy = policy
        self._new_session_id = new_session_id
        self._meter = Meter(quotas)
        self._faults = {
            operation: SignedFaults(self._sign, partial(async_channel.build_fault, operation)) for operation in _OURS
        }

    def handle(self, data: bytes, *, received_at: dt.datetime, peer: str = "") -> ServedReply:
        """Take one push given by its exact bytes. Raises nothing that a push can cause."""
        if len(data) > self._policy.bounds.max_bytes:
            return self.refuse_too_large(len(data), received_at=received_at, peer=peer)
        push = _Push(received_at, peer, data, len(data))
        with telemetry.message(_FLOW) as this:
            return self._handle(push, data, this)

    def _handle(self, push: _Push, data: bytes, this: telemetry.message) -> ServedReply:
        try:
            with step(11, _FLOW):
                message = verify_message(
                    data, trust=self._trust, bounds=self._policy.bounds, at=push.received_at, evidence=push.evidence
                )
            with step(12, _FLOW):
                push.operation = async_channel.operation_of(message.body)
                match push.operation:
                    case Operation.SEND_MESSAGE:
                        content: AsyncMessage | StatusChange = async_channel.read_send_message(message.body)
                    case Operation.CHANGE_STATUS_NOTIFICATION:
                        content = async_channel.read_change_status_notification(message.body)
                    case _:
                        raise RequestRefused(
                            "a participant takes sendMessage and changeMassageStatusNotification; the other operations "
                            "are the gateway's",
                            code=FaultCode.MESSAGE_FORMAT,
                        )
            if isinstance(content, AsyncMessage):
                this.about(message_id=content.info.message_id, service_id=content.info.service_id)
                return self._take(push, message, content)
            this.about(message_id=content.message_id)
            return self._take_status(push, message, content)
        except Exception as error:  # the process lives on, whatever a push does to it
            return self._refuse(refusal_of(error), push)

    def refuse_too_large(self, body_bytes: int, *, received_at: dt.datetime, peer: str = "") -> ServedReply:
        """The fault for a push of which reading stopped at the bound, after `body_bytes`; only the size is kept."""
        text = f"the message is larger than {self._policy.bounds.max_bytes} bytes"
        refusal = Refusal(FaultCode.MESSAGE_FORMAT, text, "too_large")
        return self._refuse(refusal, _Push(received_at, peer, None, body_bytes))

    def overloaded(self, *, at: dt.datetime) -> ServedReply:
        """The word that nothing more can be taken in: a fault, so that the gateway does not think we have the message.
        Signed once a second, not journalled: nothing was read."""
        text = "too many messages are in hand; deliver it again in a moment"
        error = ErrorInfo(FaultCode.SERVICE_UNAVAILABLE, text, at)
        return ServedReply(500, self._faults[Operation.SEND_MESSAGE].fault(error).data, "")

    # ------------------------------------------------------------ sendMessage

    def _take(self, push: _Push, verified: VerifiedMessage, message: AsyncMessage) -> ServedReply:
        info = message.info
        with step(12, _FLOW):
            push.service_id, push.message_id = info.service_id, info.message_id
            push.correlation_id = info.correlation_id
            trusted_as = self._door.trusted_as(info.service_id)
            check_for_service(verified, self._trust, trusted_as)
            definition = self._door.system_of(info.service_id)
            push.system = "" if definition is None else definition.slug
            bins = frozenset[str]() if definition is None else self._policy.signer_bins
            check_signer(verified.certificate, self._key().certificate, bins)
            arrived = self._door.admit(message, verified.certificate, at=push.received_at, flow="push")
            # an answer to a question of ours was asked for, however many there are
            counters = self._check_quota(arrived) if definition is None else ()
        with step(5, _FLOW):
            body = async_channel.build_send_message_ack(
                MessageAck(
                    message_id=info.message_id,
                    correlation_id=info.correlation_id or info.message_id,
                    response_date=push.received_at,
                    session_id=info.session_id,
                )
            )
            check_fits_channel(body)
        outgoing = self._sign(body)
        with step(8, _FLOW), writing(self._engine) as connection:
            arrival = self._register(connection, push, arrived, outgoing, counters)
        _LOG.info(
            "exchange", action="pushed", arrival=str(arrival), message_id=shown_id(info.message_id), system=push.system
        )
        return ServedReply(200, outgoing.data, info.message_id)

    def _check_quota(self, arrived: Arrived) -> Sequence[quota.Counter]:
        """The counters that the message is to be counted in; none where no quota applies, or it came before.

        Raises NamedRefusal (`quota_used_up`): it is not acknowledged, and the gateway delivers it again.
        """
        if not self._meter.counts(arrived.sender, arrived.received_at):
            return ()
        with reading(self._engine) as connection:
            if inbox.find_many(connection, (arrived.key,)):
                return ()
            (judged,) = self._meter.judge(connection, ((arrived.sender, arrived.received_at),))
        if isinstance(judged, NamedRefusal):
            raise judged
        return judged

    def _register(
        self,
        connection: Connection,
        push: _Push,
        arrived: Arrived,
        outgoing: Outgoing,
        counters: Sequence[quota.Counter],
    ) -> Arrival:
        known = inbox.find_many(connection, (arrived.key,))
        verdict: str = Verdict.ACCEPTED
        if arrived.key in known:
            if inbox.judge(known[arrived.key], arrived.body_sha256) is Arrival.CLASH:
                raise inbox.clash()
            verdict = DUPLICATE
        else:
            quota.add(connection, dict.fromkeys(counters, 1))
        request_id, reply_id = self._journal.append_many(
            connection, (self._incoming(push, verdict), self._answer(push, outgoing, EntryKind.REPLY))
        )
        if verdict == DUPLICATE:
            # its row is left alone: whoever works on it locks the row first and the journal afterwards
            return Arrival.DUPLICATE
        (registered,) = inbox.register_many(
            connection, (replace(arrived, request_journal_id=request_id, reply_journal_id=reply_id),)
        )
        if registered.arrival is Arrival.CLASH:
            raise inbox.clash()
        return registered.arrival

    # ------------------------------------------------------------ changeMassageStatusNotification

    def _take_status(self, push: _Push, verified: VerifiedMessage, change: StatusChange) -> ServedReply:
        with step(12, _FLOW):
            push.message_id = change.message_id
            check_signer(verified.certificate, self._key().certificate, self._policy.signer_bins)
            self._door.window.check(change.request_date, at=push.received_at)
        with step(5, _FLOW):
            session_id = change.session_id if GUID.fullmatch(change.session_id) else self._new_session_id()
            body = async_channel.build_change_status_notification_ack(
                StatusChangeAck(response_date=push.received_at, session_id=session_id)
            )
            check_fits_channel(body)
        outgoing = self._sign(body)
        with step(8, _FLOW), writing(self._engine) as connection:
            row = delivery.find_sent(connection, change.message_id)
            if row is not None:
                push.system, push.service_id = row.system, row.service_id
                check_for_service(verified, self._trust, row.system or row.service_id)
                delivery.note_state(connection, row, change.state, at=push.received_at)
            note = f"state {change.state}" + ("" if row is not None else "; no message of ours has this id")
            self._journal.append_many(
                connection,
                (
                    replace(self._incoming(push, Verdict.ACCEPTED), note=note),
                    self._answer(push, outgoing, EntryKind.REPLY),
                ),
            )
        _LOG.info("exchange", action="state_changed", message_id=shown_id(change.message_id), state=str(change.state))
        return ServedReply(200, outgoing.data, change.message_id)

    # ------------------------------------------------------------ what goes back

    def _sign(self, body: etree._Element) -> Outgoing:
        return sign_and_check(body, self._key(), form=self._policy.key_info, bounds=self._policy.bounds, flow=_FLOW)

    def _refuse(self, refusal: Refusal, push: _Push) -> ServedReply:
        _LOG.warning(
            "exchange",
            action="refused",
            message_id=shown_id(push.message_id),
            code=str(refusal.code),
            verdict=refusal.verdict,
            note=refusal.note,
        )
        fault = self._fault(push, refusal.code, refusal.message)
        try:
            with step(8, _FLOW), writing(self._engine) as connection:
                self._journal.append_many(
                    connection,
                    (
                        replace(self._incoming(push, refusal.verdict), note=refusal.note),
                        self._answer(push, fault, EntryKind.FAULT),
                    ),
                )
        except Exception as unstored:
            # nothing may leave that the journal does not know, except the word that we cannot take it
            _LOG.error(
                "exchange", action="journal_failed", message_id=shown_id(push.message_id), code=failure_of(unstored)
            )
            if refusal.code != FaultCode.INTERNAL:
                fault = self._fault(push, FaultCode.INTERNAL, FaultCode.INTERNAL.meaning)
        return ServedReply(500, fault.data, push.message_id)

    def _fault(self, push: _Push, code: str, message: str) -> Outgoing:
        return self._faults[_on_our_side(push.operation)].fault(ErrorInfo(str(code), message, push.received_at))

    def _incoming(self, push: _Push, verdict: str) -> JournalEntry:
        return JournalEntry(
            at=push.received_at,
            direction=MessageDirection.IN,
            step=10,
            kind=EntryKind.REQUEST,
            channel=CHANNEL,
            system=push.system,
            service_id=push.service_id,
            message_id=push.message_id,
            correlation_id=push.correlation_id,
            peer=push.peer,
            body=push.data,
            body_bytes=push.body_bytes,
            signer=push.evidence.signer,
            verdict=verdict,
            revocation=push.evidence.revocation,
            deciding=push.evidence.deciding,
        )

    def _answer(self, push: _Push, sent: Outgoing, kind: EntryKind) -> JournalEntry:
        return JournalEntry(
            at=push.received_at,
            direction=MessageDirection.OUT,
            step=8,
            kind=kind,
            channel=CHANNEL,
            system=push.system,
            service_id=push.service_id,
            message_id=push.message_id,
            correlation_id=push.correlation_id,
            peer=push.peer,
            body=sent.data,
            signer=sent.signer,
            verdict=sent.verdict,
        )


def _on_our_side(operation: Operation) -> Operation:
    """Whose fault element a refusal has: an operation that is the gateway's has none here. Pure."""
    return operation if operation in _OURS else Operation.SEND_MESSAGE
