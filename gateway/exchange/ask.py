"""One question to one register: steps 1 to 13 of DESIGN.md, "How a message travels".

What is stored before the post is what makes the rest honest: a reply that never comes, or that must not be used,
leaves a row that says so. Whoever goes on with the row later, after a retry's delay or after a crash, sends the same
bytes under the same id, and takes the reply as it is taken here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import Connection, Engine

from gateway import telemetry
from gateway.errors import (
    GatewayError,
    LeaseLost,
    MappingError,
    PeerError,
    StoreError,
    Undecided,
)
from gateway.exchange import circuit, due, outbox
from gateway.exchange.circuit import Admission
from gateway.exchange.due import Due
from gateway.exchange.ending import Answered, Ended, Endings, Tried, carries_consent, storing
from gateway.exchange.journal import JournalWriter
from gateway.exchange.limits import DEFAULT_LIMITS, ExchangeLimits, circuit_policy, lease_of, retry_policy
from gateway.exchange.outbox import URGENT, Exchange, NewExchange, State
from gateway.exchange.question import AskPolicy, Question, prepare
from gateway.exchange.results import AskResult
from gateway.exchange.sending import StoredReply, Wire
from gateway.exchange.transport import Transport
from gateway.exchange.understanding import Asked, understand
from gateway.exchange.verification import Evidence, TrustPolicy
from gateway.model import Consent, Iin, Outcome
from gateway.regulation.law import Law
from gateway.signing.keys import SigningKey
from gateway.systems.definition import Channel, SystemDefinition
from gateway.systems.finding import find_system
from gateway.telemetry import Flow, step
from gateway.trust.verdict import RevocationState

_LOG: Final = structlog.get_logger()
_ADMITTED: Final = Admission(True)


@dataclass(frozen=True, slots=True)
class _Sending:
    """A leased row and its bytes."""

    row: Exchange
    body: bytes = field(repr=False)
    trial: bool


class _Taken(Exception):
    """Somebody else took a wish meanwhile."""


def _result_or_raise(result: AskResult | Exception) -> AskResult:
    if isinstance(result, Exception):
        raise result
    return result


class Questions(Protocol):
    """Who asks on the asynchronous channel: `ask` and `ask_due` as Asker has them, answered by an acknowledgement."""

    def ask(
        self, system: str, subject: Iin, *, facts: Sequence[str] = (), consent: Consent | None = None
    ) -> AskResult: ...

    def ask_due(self, wish: Due, *, holder: str) -> AskResult | None: ...


class Asker:
    """Asks registers, each on its channel; the way of a row below is the synchronous one's.

    Safe to use from several threads when its ports are.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        journal: JournalWriter,
        transport: Transport,
        systems: Mapping[str, SystemDefinition],
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        law: Law,
        policy: AskPolicy,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
        asynchronous: Questions | None = None,
        limits: ExchangeLimits = DEFAULT_LIMITS,
        holder: str = "one question",
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """`jitter` gives a random number from 0 to 1 (gateway.exchange.retry)."""
        self._engine = engine
        self._systems = systems
        self._key = key
        self._trust = trust
        self._policy = policy
        self._clock = clock
        self._new_message_id = new_message_id
        self._journal = journal
        self._asynchronous = asynchronous
        self._limits = limits
        self._holder = holder
        self.wire: Final = Wire(engine=engine, transport=transport, journal=self._journal, clock=clock)
        self._endings = Endings(engine=engine, journal=self._journal, law=law, clock=clock, jitter=jitter)

    def system(self, name: str) -> SystemDefinition:
        """A system by slug or alias. Raises OperatorError (`unknown_system`)."""
        return find_system(self._systems, name)

    def systems_asked_through(self, service_ids: Collection[str]) -> frozenset[str]:
        """The systems whose questions without a consent go to one of these services."""
        if not service_ids:
            return frozenset()
        return frozenset(
            system.slug
            for system in self._systems.values()
            for service in system.services
            if service.service_id in service_ids and not service.consent
        )

    def ask(self, system: str, subject: Iin, *, facts: Sequence[str] = (), consent: Consent | None = None) -> AskResult:
        """Ask one register about one person, now, whatever its circuit says: a person waits for it.

        What could not be delivered is tried again by the workers, and the result says so. Raises only for what is wrong
        on our side: before the post OperatorError (nothing was sent), after it StoreError (the row stays `asked` until
        its lease ends; the reply, if one came, is in the journal or nowhere). Everything that the other side can do to
        us is an AskResult.
        """
        definition = self.system(system)
        if definition.channel is Channel.ASYNC and self._asynchronous is not None:
            return self._asynchronous.ask(system, subject, facts=facts, consent=consent)
        with telemetry.message(self.flow, system=definition.slug) as this:
            question = self._prepared(definition, subject, facts=facts, consent=consent)
            this.about(message_id=question.query.message_id, service_id=question.service_id)
            with step(8, "out.sync"), storing(self._engine) as connection:
                (row,) = self._record(
                    connection, [question], holder=self._holder, admissions=[_ADMITTED], priority=URGENT
                )
            return self.send(row, question.signed)

    def ask_due(self, wish: Due, *, holder: str) -> AskResult | None:
        """Make a question of a row of `due` and post it, if its service may be asked now; if not, it waits as a row of
        its own. None when the wish was taken by somebody else meanwhile. Raises as `ask`."""
        definition = self.system(wish.system)
        if definition.channel is Channel.ASYNC and self._asynchronous is not None:
            return self._asynchronous.ask_due(wish, holder=holder)
        (result,) = self.ask_all_due([wish], holder=holder)
        if isinstance(result, Exception):
            raise result
        return result

    def ask_all_due(self, wishes: Sequence[Due], *, holder: str) -> tuple[AskResult | Exception | None, ...]:
        """`ask_due` for several wishes of synchronous systems, whose questions share their transactions.

        For each wish what `ask_due` would answer, or raise before anything was sent. Raises StoreError.
        """
        prepared: list[Question | Exception] = []
        for wish in wishes:
            try:
                prepared.append(self._question_for(wish))
            except Exception as error:  # one wish must not keep the others from being asked
                prepared.append(error)
        asked = [
            (wish, question) for wish, question in zip(wishes, prepared, strict=True) if isinstance(question, Question)
        ]
        results = iter(self._ask_together(asked, holder=holder))
        return tuple(next(results) if isinstance(one, Question) else one for one in prepared)

    def _question_for(self, wish: Due) -> Question:
        definition = self.system(wish.system)
        with telemetry.message(self.flow, system=definition.slug):
            return self._prepared(definition, wish.iin)

    def _ask_together(
        self, asked: Sequence[tuple[Due, Question]], *, holder: str
    ) -> Sequence[AskResult | Exception | None]:
        """Steps 8 to 13. A group is one transaction; where it does not hold as a whole, each question has its own."""
        if not asked:
            return []
        questions = [question for _, question in asked]
        try:
            with step(8, "out.sync"), storing(self._engine) as connection:
                if not due.link_all(connection, [(wish, question.query.message_id) for wish, question in asked]):
                    raise _Taken
                admissions = circuit.ask_leave_for_all(
                    connection,
                    [(one.service_id, circuit_policy(one.definition, self._limits)) for one in questions],
                    questions[0].query.created_at,
                )
                rows = self._record(connection, questions, holder=holder, admissions=admissions)
        except _Taken:
            if len(asked) == 1:
                return [None]
            return [result for one in asked for result in self._ask_together([one], holder=holder)]
        results: dict[int, AskResult | Exception] = {
            place: self._result(row, Ended(State.WAITING, row.due_at))
            for place, row in enumerate(rows)
            if row.state is State.WAITING
        }
        sent = [place for place in range(len(rows)) if place not in results]
        sendings = [_Sending(rows[place], questions[place].signed, admissions[place].trial) for place in sent]
        results |= dict(zip(sent, self._send(sendings), strict=True))
        return [results[place] for place in range(len(rows))]

    # ------------------------------------------------------------ the way of a row (gateway.exchange.workers.Road)

    def lease_of(self, row: Exchange) -> dt.timedelta:
        """How long the row is held while it is posted."""
        target = self._policy.target(self.system(row.system))
        return lease_of(
            connect_timeout_s=target.connect_timeout_s, reply_timeout_s=target.reply_timeout_s, limits=self._limits
        )

    @property
    def flow(self) -> Flow:
        return "out.sync"

    def tried(self, row: Exchange, *, trial: bool = False, posted: bool = True) -> Tried:
        """By what the row is retried. Raises OperatorError (`unknown_system`)."""
        definition = self.system(row.system)
        consent = carries_consent(definition, row.service_id)
        retry = retry_policy(definition, self._limits, consent=consent)
        return Tried(retry, circuit_policy(definition, self._limits), trial, posted)

    def can_ask(self, row: Exchange) -> bool:  # noqa: ARG002 - the port's signature
        """No synchronous service can be asked about a message."""
        return False

    def reconcile(self, row: Exchange) -> bool:
        """The same bytes may go again though they may have arrived only where that has no second effect; otherwise the
        row waits for the operator."""
        if self.tried(row).retry.repeatable:
            return True
        with storing(self._engine) as connection:
            outbox.doubt(connection, row.message_id, due_at=None, code=row.code, lease=row.lease)
        return False

    def send(self, row: Exchange, body: bytes, *, trial: bool = False) -> AskResult:
        """Steps 9 to 13 for a row that is leased: its bytes, once."""
        return _result_or_raise(self._send([_Sending(row, body, trial)])[0])

    def take_reply(self, row: Exchange, reply: StoredReply, *, trial: bool = False, posted: bool = True) -> AskResult:
        """Steps 11 to 13 for a row that is leased and a reply that is stored."""
        judged = self._judge(row, reply, self.tried(row, trial=trial, posted=posted))
        return self._close([judged])[0] if isinstance(judged, Answered) else judged

    def _send(self, sendings: Sequence[_Sending]) -> list[AskResult | Exception]:
        """Steps 9 to 13 for rows that are leased: posted at the same time, and closed together where that holds.

        An exception in the place of a result is a mistake of ours; its row is recovered when its lease ends.
        """
        if not sendings:
            return []
        replies = self.wire.post_many(
            [(one.row, one.body, self._policy.target(self.system(one.row.system))) for one in sendings], "out.sync"
        )
        judged: list[AskResult | Answered | Exception] = []
        for one, reply in zip(sendings, replies, strict=True):
            row, tried = one.row, self.tried(one.row, trial=one.trial)
            with telemetry.message(self.flow, message_id=row.message_id, system=row.system, service_id=row.service_id):
                try:
                    if isinstance(reply, StoredReply):
                        judged.append(self._judge(row, reply, tried))
                    else:
                        judged.append(self._without_reply(row, reply, tried))
                except StoreError:
                    raise
                except Exception as error:  # one reply must not keep the others from being read
                    judged.append(error)
        closed = iter(self._close([one for one in judged if isinstance(one, Answered)]))
        return [next(closed) if isinstance(one, Answered) else one for one in judged]

    def _judge(self, row: Exchange, reply: StoredReply, tried: Tried) -> Answered | AskResult:
        """Steps 11 and 12, and 13 where there is nothing to apply."""
        definition, evidence = self.system(row.system), Evidence()
        if row.subject is None:
            raise TypeError("a question on the synchronous channel is about a person")
        asked = Asked(definition, row.message_id, row.subject, row.asked_at, self._key().certificate)
        try:
            understood = understand(reply, asked, trust=self._trust, policy=self._policy, evidence=evidence)
        except (PeerError, Undecided) as error:
            return self._refused(row, definition, reply, error, evidence, tried)
        if understood.message.revocation.status is RevocationState.UNKNOWN:
            _LOG.warning("trust", action="unknown_revocation_accepted", system=row.system, message_id=row.message_id)
        return Answered(row, definition, reply, understood, evidence, tried)

    def _close(self, group: Sequence[Answered]) -> list[AskResult]:
        """Step 13. A group is one transaction; where it does not hold as a whole, each answer has its own."""
        if len(group) > 1:
            try:
                self._endings.answered_together(group)
            except MappingError:
                pass
            except StoreError as error:
                if error.code not in {"exchange_settled", "clash"}:
                    raise
            else:
                return [self._answered(one, Ended(State.ANSWERED)) for one in group]
        return [self._close_one(one) for one in group]

    def _close_one(self, one: Answered) -> AskResult:
        try:
            ended = self._endings.answered(one)
        except MappingError as error:
            return self._refused(one.row, one.definition, one.reply, error, one.evidence, one.tried)
        except LeaseLost as error:
            return self._lost(one.row, error)
        return self._answered(one, ended)

    def _refused(
        self,
        row: Exchange,
        definition: SystemDefinition,
        reply: StoredReply,
        error: GatewayError,
        evidence: Evidence,
        tried: Tried,
    ) -> AskResult:
        return self._ended(
            row,
            error,
            lambda: self._endings.refused(row, definition, reply, error, evidence, tried),
            reply_journal_id=reply.entry_id,
        )

    def _without_reply(self, row: Exchange, error: GatewayError, tried: Tried) -> AskResult:
        return self._ended(row, error, lambda: self._endings.without_reply(row, error, tried))

    # ------------------------------------------------------------ steps 2 to 8

    def _prepared(
        self,
        definition: SystemDefinition,
        subject: Iin,
        *,
        facts: Sequence[str] = (),
        consent: Consent | None = None,
    ) -> Question:
        return prepare(
            definition,
            subject,
            message_id=self._new_message_id(),
            at=self._clock(),
            key=self._key(),
            policy=self._policy,
            facts=facts,
            consent=consent,
        )

    def _record(
        self,
        connection: Connection,
        questions: Sequence[Question],
        *,
        holder: str,
        admissions: Sequence[Admission],
        priority: int = outbox.DEFAULT_PRIORITY,
    ) -> tuple[Exchange, ...]:
        """Step 8: exact bytes and rows, committed before the post."""
        numbers = self._journal.append_many(connection, [question.entry for question in questions])
        beginnings = []
        for question, number, admission in zip(questions, numbers, admissions, strict=True):
            query, target = question.query, self._policy.target(question.definition)
            lease = lease_of(
                connect_timeout_s=target.connect_timeout_s, reply_timeout_s=target.reply_timeout_s, limits=self._limits
            )
            new = NewExchange(
                message_id=query.message_id,
                system=question.definition.slug,
                service_id=question.service_id,
                asked_at=query.created_at,
                request_journal_id=number,
                subject=query.subject,
                priority=priority,
            )
            if admission.admitted:
                beginnings.append(outbox.Beginning(new, holder=holder, leased_until=query.created_at + lease))
            else:
                beginnings.append(outbox.Beginning(new, due_at=admission.retry_at))
        return outbox.record_all(connection, beginnings)

    # ------------------------------------------------------------ results

    def _ended(
        self,
        row: Exchange,
        error: GatewayError,
        end: Callable[[], Ended],
        *,
        reply_journal_id: int | None = None,
    ) -> AskResult:
        try:
            ended = end()
        except LeaseLost as lost:
            return self._lost(row, lost)
        return self._result(row, ended, error=error, reply_journal_id=reply_journal_id)

    def _answered(self, one: Answered, ended: Ended) -> AskResult:
        answer, message = one.understood.answer, one.understood.message
        return self._result(
            one.row,
            ended,
            outcome=answer.outcome,
            facts=answer.facts,
            rejection=answer.rejection,
            signer=message.certificate,
            revocation=message.revocation,
            reply_journal_id=one.reply.entry_id,
        )

    def _lost(self, row: Exchange, error: LeaseLost) -> AskResult:
        return self._result(row, Ended(State.UNKNOWN), error=error)

    def _result(
        self,
        row: Exchange,
        ended: Ended,
        *,
        outcome: Outcome = Outcome.UNKNOWN,
        error: GatewayError | None = None,
        **known: Any,
    ) -> AskResult:
        _LOG.info(
            "exchange",
            action=f"ask_{ended.state}",
            message_id=row.message_id,
            system=row.system,
            outcome=str(outcome),
            code="" if error is None else error.code,
        )
        return AskResult(
            message_id=row.message_id,
            system=row.system,
            service_id=row.service_id,
            state=ended.state,
            outcome=outcome,
            asked_at=row.asked_at,
            finished_at=self._clock(),
            request_journal_id=row.request_journal_id,
            error=error,
            due_at=ended.due_at,
            **known,
        )
