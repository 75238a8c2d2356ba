"""What we send on the asynchronous channel: steps 1 to 13, of which the last reads an acknowledgement and no answer.

A row is acknowledged when the gateway says so under its signature. An acknowledgement that must not be used is none:
the outcome is unknown, and found out by getMessageStatus where ids are ours; otherwise a later push finds its question
by the payload's business key, or the row waits for the operator (docs/decisions/0023).
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog
from sqlalchemy import Connection, Engine

from gateway.errors import (
    GatewayError,
    LeaseLost,
    OperatorError,
    OutcomeUnknown,
    PeerError,
    PeerFault,
    PeerUnavailable,
    Undecided,
)
from gateway.exchange import circuit, due, outbox
from gateway.exchange.asynchronous.acknowledgement import read_acknowledgement
from gateway.exchange.asynchronous.delivery import Fate, fate_of
from gateway.exchange.asynchronous.message import SignedMessage, prepare_question
from gateway.exchange.asynchronous.status import StatusReader
from gateway.exchange.asynchronous.terms import RowTerms
from gateway.exchange.calls import CHANNEL
from gateway.exchange.circuit import Admission
from gateway.exchange.due import Due
from gateway.exchange.ending import Ended, Tried, go_on_after, report, storing
from gateway.exchange.journal import JournalWriter, Verdict
from gateway.exchange.limits import DEFAULT_LIMITS, ExchangeLimits, circuit_policy
from gateway.exchange.outbox import URGENT, Exchange, NewExchange, State
from gateway.exchange.question import AskPolicy
from gateway.exchange.results import AskResult, step_of
from gateway.exchange.retry import is_outage
from gateway.exchange.sending import StoredReply, Wire
from gateway.exchange.transport import Transport
from gateway.exchange.verification import Evidence, TrustPolicy
from gateway.model import Consent, Iin, Outcome
from gateway.shep.async_messages import MessageType
from gateway.signing.keys import SigningKey
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_system
from gateway.telemetry import Flow, step

_LOG: Final = structlog.get_logger()
_FLOW: Final[Flow] = "out.async"
_ADMITTED: Final = Admission(True)
#: code of a row that ends with the gateway's word that it has the message: nothing answers it
ACKNOWLEDGED: Final = "acknowledged"


class AsyncRoad:
    """Sends messages. Safe to use from several threads when its ports are."""

    def __init__(
        self,
        *,
        engine: Engine,
        transport: Transport,
        systems: Mapping[str, SystemDefinition],
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        policy: AskPolicy,
        status: StatusReader,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
        journal: JournalWriter,
        limits: ExchangeLimits = DEFAULT_LIMITS,
        holder: str = "one message",
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._engine = engine
        self._systems = systems
        self._key = key
        self._trust = trust
        self._policy = policy
        self._status = status
        self._clock = clock
        self._new_message_id = new_message_id
        self._journal = journal
        self._limits = limits
        self._holder = holder
        self._jitter = jitter
        self._terms = RowTerms(systems, policy, limits)
        self.wire: Final = Wire(engine=engine, transport=transport, journal=journal, clock=clock)

    # ------------------------------------------------------------ steps 1 to 8

    def ask(self, system: str, subject: Iin, *, facts: Sequence[str] = (), consent: Consent | None = None) -> AskResult:
        """Ask one register about one person, now. The result is the acknowledgement: its answer comes by push or poll.

        Raises only for what is wrong on our side, as Asker.ask does.
        """
        message = self._prepared(find_system(self._systems, system), subject, facts=facts, consent=consent)
        with step(8, _FLOW), storing(self._engine) as connection:
            row = self.record(
                connection, message, subject=subject, holder=self._holder, admission=_ADMITTED, priority=URGENT
            )
        return self.send(row, message.signed)

    def ask_due(self, wish: Due, *, holder: str) -> AskResult | None:
        """Make a question of a row of `due` and post it, if its service may be asked now; if not, it waits as a row of
        its own. None when the wish was taken by somebody else meanwhile. Raises as `ask`."""
        definition = find_system(self._systems, wish.system)
        message = self._prepared(definition, wish.iin)
        with step(8, _FLOW), storing(self._engine) as connection:
            if not due.link(connection, wish, message.message_id):
                return None
            policy = circuit_policy(definition, self._limits)
            admission = circuit.ask_leave(connection, message.service_id, policy, message.entry.at)
            row = self.record(connection, message, subject=wish.iin, holder=holder, admission=admission)
        if row.state is State.WAITING:
            return self._result(row, Ended(State.WAITING, row.due_at))
        return self.send(row, message.signed, trial=admission.trial)

    def record(
        self,
        connection: Connection,
        message: SignedMessage,
        *,
        subject: Iin | None = None,
        holder: str = "",
        admission: Admission | None = None,
        priority: int = outbox.DEFAULT_PRIORITY,
    ) -> Exchange:
        """Step 8: the bytes into the journal and the row beside them, in the caller's transaction, whose last locks
        these are. With an admission the row is leased at once; without one a worker posts it when it is due."""
        asked_at = message.entry.at
        new = NewExchange(
            message_id=message.message_id,
            channel="async",
            message_type=message.message_type,
            system=message.system,
            service_id=message.service_id,
            asked_at=asked_at,
            request_journal_id=self._journal.append(connection, message.entry),
            subject=subject,
            business_key=message.business_key,
            correlation_id=message.correlation_id,
            priority=priority,
        )
        if admission is not None and admission.admitted:
            until = asked_at + self._terms.lease(message.system)
            return outbox.record(connection, new, holder=holder, leased_until=until)
        return outbox.record(connection, new, due_at=None if admission is None else admission.retry_at)

    def _prepared(
        self,
        definition: SystemDefinition,
        subject: Iin,
        *,
        facts: Sequence[str] = (),
        consent: Consent | None = None,
    ) -> SignedMessage:
        if not self._policy.url:
            raise OperatorError(
                f"{definition.slug} is asked on the asynchronous channel and shep.async_url is not set; "
                "write the address of the gateway's IAsyncChannel there",
                code="no_async_url",
            )
        return prepare_question(
            definition,
            subject,
            message_id=self._new_message_id(),
            at=self._clock(),
            key=self._key(),
            policy=self._policy,
            facts=facts,
            consent=consent,
        )

    # ------------------------------------------------------------ the way of a row (gateway.exchange.workers.Road)

    def lease_of(self, row: Exchange) -> dt.timedelta:
        """How long the row is held while it is posted."""
        return self._terms.lease(row.system)

    @property
    def flow(self) -> Flow:
        return _FLOW

    def tried(self, row: Exchange, *, trial: bool = False, posted: bool = True) -> Tried:
        """By what the row is retried. Raises OperatorError (`unknown_system`)."""
        return self._terms.tried(row, trial=trial, posted=posted)

    def can_ask(self, row: Exchange) -> bool:
        """Whether the gateway knows the message by an id that we know."""
        return bool(self._terms.name_of(row))

    def reconcile(self, row: Exchange) -> bool:
        """Ask what became of a leased row that may have arrived. True: it went nowhere, the same bytes may go again.

        False: the row is acknowledged, or asked about again later, or waits for its answer or the operator.
        """
        name, tried = self._terms.name_of(row), self.tried(row, posted=False)
        if not name:
            with step(13, _FLOW), storing(self._engine) as connection:
                outbox.doubt(connection, row.message_id, due_at=None, code=row.code, lease=row.lease)
            return False
        try:
            state = self._status.state_of(name, system=row.system, service_id=row.service_id)
        except (PeerError, Undecided) as error:
            if isinstance(error, PeerFault) and error.signed and tried.retry.repeatable:
                return True  # the gateway does not know it, and twice has no second effect
            self._ask_again_later(row, tried, error)
            return False
        if fate_of(state) is Fate.NOT_SENT:
            return True
        now = self._clock()
        with step(13, _FLOW), storing(self._engine) as connection:
            outbox.acknowledge(
                connection,
                row.message_id,
                wire_message_id=name,
                correlation_id=row.correlation_id,
                session_id=row.session_id,
                at=now,
                answer_due_at=self._terms.answer_due(row, now),
                lease=row.lease,
            )
        return False

    def _ask_again_later(self, row: Exchange, tried: Tried, error: GatewayError) -> None:
        unknown = OutcomeUnknown(error.message, code=error.code)
        tried = replace(tried, retry=replace(tried.retry, answers_for_status=True))
        with contextlib.suppress(LeaseLost), step(13, _FLOW), storing(self._engine) as connection:
            go_on_after(connection, row, unknown, tried, now=self._clock(), jitter=self._jitter())

    def send(self, row: Exchange, body: bytes, *, trial: bool = False) -> AskResult:
        """Steps 9 to 13 for a row that is leased: its bytes, once; nothing when its lease was lost on the way here."""
        if not self._holds(row):
            lost = LeaseLost(f"the lease on {row.message_id} ended before its post began; whoever took it over goes on")
            return self._result(row, Ended(State.UNKNOWN), error=lost)
        try:
            reply = self.wire.post(row, body, self._terms.target(row.system), _FLOW)
        except (PeerUnavailable, OutcomeUnknown) as error:
            return self._without_ack(row, error, self.tried(row, trial=trial))
        return self.take_reply(row, reply, trial=trial)

    def take_reply(self, row: Exchange, reply: StoredReply, *, trial: bool = False, posted: bool = True) -> AskResult:
        """Steps 11 to 13 for a row that is leased and an acknowledgement that is stored."""
        tried, evidence = self.tried(row, trial=trial, posted=posted), Evidence()
        try:
            ack = read_acknowledgement(
                reply,
                service=row.system or row.service_id,
                trust=self._trust,
                policy=self._policy,
                own_certificate=self._key().certificate,
                evidence=evidence,
            )
        except (PeerError, Undecided) as error:
            return self._without_ack(row, error, tried, reply=reply, evidence=evidence)
        now = self._clock()
        answered = row.message_type == MessageType.REQUEST
        with step(13, _FLOW), storing(self._engine) as connection:
            obeyed = outbox.acknowledge(
                connection,
                row.message_id,
                wire_message_id=ack.message_id,
                correlation_id=ack.correlation_id or row.correlation_id,
                session_id=ack.session_id,
                at=now,
                answer_due_at=self._terms.answer_due(row, now) if answered else None,
                lease=row.lease,
            )
            if obeyed and not answered:
                outbox.settle(
                    connection,
                    row.message_id,
                    state=State.ANSWERED,
                    outcome=Outcome.UNKNOWN,
                    code=ACKNOWLEDGED,
                    at=now,
                    reply_journal_id=reply.entry_id,
                )
            report(connection, row, tried, now, outage=False)
            self._verdict(connection, reply, evidence, Verdict.ACCEPTED, reply.entry.note)
        if not obeyed:
            # its answer came first, or somebody else sent the same bytes: either way the gateway has them
            return self._result(row, Ended(State.UNKNOWN), error=LeaseLost("the row went on without this post"))
        return self._result(row, Ended(State.ACKNOWLEDGED if answered else State.ANSWERED))

    # ------------------------------------------------------------ without one

    def _without_ack(
        self,
        row: Exchange,
        error: GatewayError,
        tried: Tried,
        *,
        reply: StoredReply | None = None,
        evidence: Evidence | None = None,
    ) -> AskResult:
        """A signed fault is the gateway's own word that it does not have the message; all else is not knowing."""
        now = self._clock()
        refused = isinstance(error, PeerFault) and error.signed
        reply_id = None if reply is None else reply.entry_id
        try:
            with step(13, _FLOW), storing(self._engine) as connection:
                if refused:
                    ended = self._close_refused(connection, row, error, tried, reply_id, now)
                else:
                    ended = go_on_after(
                        connection, row, error, tried, now=now, jitter=self._jitter(), reply_journal_id=reply_id
                    )
                if reply is not None:
                    note = f"{reply.entry.note}; refused at {step_of(error)}"
                    self._verdict(connection, reply, evidence or Evidence(), error.code, note)
        except LeaseLost as lost:
            if reply is not None:
                with storing(self._engine) as connection:
                    self._verdict(connection, reply, evidence or Evidence(), error.code, reply.entry.note)
            return self._result(row, Ended(State.UNKNOWN), error=lost)
        return self._result(row, ended, error=error)

    def _close_refused(
        self,
        connection: Connection,
        row: Exchange,
        error: GatewayError,
        tried: Tried,
        reply_id: int | None,
        now: dt.datetime,
    ) -> Ended:
        current = outbox.get(connection, row.message_id, lock=True)
        if current is None or current.state is not State.ASKED or current.lease != row.lease:
            raise LeaseLost(f"somebody else went on with {row.message_id} meanwhile; see `gateway exchange show`")
        outbox.settle(
            connection,
            row.message_id,
            state=State.REFUSED,
            outcome=Outcome.UNKNOWN,
            code=error.code,
            at=now,
            reply_journal_id=reply_id,
            lease=row.lease,
        )
        if row.subject is not None:
            definition = find_system(self._systems, row.system)
            due.put_off(connection, row.subject, row.system, message_id=row.message_id, retry=definition.retry, now=now)
        report(connection, row, tried, now, outage=is_outage(error))
        return Ended(State.REFUSED)

    def _verdict(self, connection: Connection, reply: StoredReply, evidence: Evidence, verdict: str, note: str) -> None:
        self._journal.append_verdict(
            connection,
            reply.entry_id,
            reply.entry,
            at=self._clock(),
            step=11,
            verdict=verdict,
            signer=evidence.signer,
            revocation=evidence.revocation,
            deciding=evidence.deciding,
            note=note,
        )

    # ------------------------------------------------------------ small things

    def _holds(self, row: Exchange) -> bool:
        """Whether nobody else begins with the row while it is posted. A lease of which too much went by on the way (a
        stall, a gateway that was slow to say what it knows) is prolonged, if it is still there (decision 0065)."""
        now, lease = self._clock(), self._terms.lease(row.system)
        post = lease - dt.timedelta(seconds=self._limits.lease_margin_s)
        if row.leased_until is not None and now + post <= row.leased_until:
            return True
        with storing(self._engine) as connection:
            return outbox.renew(connection, row, leased_until=now + lease)

    def _result(self, row: Exchange, ended: Ended, *, error: GatewayError | None = None) -> AskResult:
        _LOG.info(
            "exchange",
            action=f"sent_{ended.state}",
            channel=CHANNEL,
            message_id=row.message_id,
            system=row.system,
            code="" if error is None else error.code,
        )
        return AskResult(
            message_id=row.message_id,
            system=row.system,
            service_id=row.service_id,
            state=ended.state,
            outcome=Outcome.UNKNOWN,
            asked_at=row.asked_at,
            finished_at=self._clock(),
            request_journal_id=row.request_journal_id,
            error=error,
            due_at=ended.due_at,
        )
