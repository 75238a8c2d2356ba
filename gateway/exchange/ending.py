"""Step 13, and how a row goes on when there is nothing to apply. Everything here is fenced by the row's lease."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from gateway.database import reading, writing
from gateway.errors import GatewayError, LeaseLost, StoreError, Undecided
from gateway.exchange import circuit, due, outbox
from gateway.exchange.circuit import CircuitPolicy
from gateway.exchange.journal import JournalEntry, JournalWriter, Verdict, verdict_about
from gateway.exchange.outbox import Exchange, State
from gateway.exchange.results import step_of
from gateway.exchange.retry import Again, Quarantine, Reconcile, RetryPolicy, class_of, decide, is_outage
from gateway.exchange.sending import StoredReply
from gateway.exchange.understanding import Understood
from gateway.exchange.verification import Evidence
from gateway.model import Outcome, Provenance
from gateway.registry.store import Arrived, Heard, next_changes_of, record_answers
from gateway.regulation.law import Law
from gateway.systems.definition import Retry, SystemDefinition
from gateway.telemetry import Flow, step

#: verdict of a reply that came when its row was closed already: never applied
NOT_AWAITED = "not_awaited"
#: questions that a person ended, or that were given up, are asked anew after a day
_TOMORROW = Retry(attempts=1, first_delay_s=0.0, factor=1.0)


@dataclass(frozen=True, slots=True)
class Tried:
    """How one message was tried: what a decision about it needs."""

    retry: RetryPolicy
    circuit: CircuitPolicy
    #: it found out whether the service is back
    trial: bool = False
    #: it was posted just now; a reply that lay in the journal says nothing about the service of today
    posted: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """How the row stands now."""

    state: State
    due_at: dt.datetime | None = None


def go_on_after(
    connection: Connection,
    row: Exchange,
    error: GatewayError,
    tried: Tried,
    *,
    now: dt.datetime,
    jitter: float,
    reply_journal_id: int | None = None,
) -> Ended:
    """Write into a leased row, and into its service's circuit, what follows an `error` without a usable answer.

    The same for every channel. Raises LeaseLost when the row does not obey; let the transaction roll back then.
    """
    counts = not (tried.trial and is_outage(error))
    decision = decide(
        attempt=row.attempts, error=class_of(error), policy=tried.retry, now=now, jitter=jitter, counts=counts
    )
    ended: Ended
    if isinstance(decision, Again):
        attempts = row.attempts if counts else row.attempts - 1
        obeyed = outbox.wait(
            connection, row.message_id, due_at=decision.at, code=error.code, lease=row.lease, attempts=attempts
        )
        ended = Ended(State.WAITING, decision.at)
    elif isinstance(decision, Quarantine):
        obeyed = outbox.quarantine(connection, row.message_id, code=error.code, lease=row.lease)
        ended = Ended(State.QUARANTINED)
    else:
        ended = Ended(State.UNKNOWN, decision.at if isinstance(decision, Reconcile) else None)
        obeyed = outbox.doubt(
            connection,
            row.message_id,
            due_at=ended.due_at,
            code=error.code,
            lease=row.lease,
            reply_journal_id=reply_journal_id,
        )
    if not obeyed:
        raise LeaseLost(f"the lease on {row.message_id} ended before its post did; whoever took it over goes on")
    if ended.state is State.QUARANTINED:
        release_wish(connection, row, now)
    report(connection, row, tried, now, outage=is_outage(error))
    return ended


def report(connection: Connection, row: Exchange, tried: Tried, now: dt.datetime, *, outage: bool) -> None:
    """What the post says about the service."""
    if tried.posted:
        circuit.report(connection, row.service_id, tried.circuit, now, outage=outage, trial=tried.trial)


def release_wish(connection: Connection, row: Exchange, now: dt.datetime) -> None:
    """The question is over without an answer, and no machine goes on with it: the person is asked about anew in a day,
    under an id of its own."""
    if row.subject is not None:
        due.put_off(connection, row.subject, row.system, message_id=row.message_id, retry=_TOMORROW, now=now)


@dataclass(frozen=True, slots=True)
class Answered:
    """A leased row with a reply that held in every respect, and what it was believed by."""

    row: Exchange
    definition: SystemDefinition
    reply: StoredReply
    understood: Understood
    evidence: Evidence
    tried: Tried


class Endings:
    """How synchronous questions end. Safe to share between threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        journal: JournalWriter,
        law: Law,
        clock: Callable[[], dt.datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._law = law
        self._clock = clock
        self._jitter = jitter

    def without_reply(self, row: Exchange, error: GatewayError, tried: Tried, *, flow: Flow = "out.sync") -> Ended:
        """Nothing came back. Raises LeaseLost, StoreError."""
        with step(13, flow), storing(self._engine) as connection:
            return go_on_after(connection, row, error, tried, now=self._clock(), jitter=self._jitter())

    def refused(
        self,
        row: Exchange,
        definition: SystemDefinition,
        reply: StoredReply,
        error: GatewayError,
        evidence: Evidence,
        tried: Tried,
    ) -> Ended:
        """Something came back that must not be used, or of which nobody knows whether it may be.

        Raises LeaseLost, StoreError.
        """
        now = self._clock()
        with self._closing(row, reply), step(13, "out.sync"), storing(self._engine) as connection:
            if isinstance(error, Undecided):
                ended = go_on_after(
                    connection, row, error, tried, now=now, jitter=self._jitter(), reply_journal_id=reply.entry_id
                )
            else:
                outbox.settle(
                    connection,
                    row.message_id,
                    state=State.REFUSED,
                    outcome=Outcome.UNKNOWN,
                    code=error.code,
                    at=now,
                    reply_journal_id=reply.entry_id,
                    lease=row.lease,
                )
                ended = Ended(State.REFUSED)
                if row.subject is not None:
                    due.put_off(
                        connection,
                        row.subject,
                        row.system,
                        message_id=row.message_id,
                        retry=definition.retry,
                        now=now,
                    )
                report(connection, row, tried, now, outage=is_outage(error))
            self._journal.append_verdict(
                connection,
                reply.entry_id,
                reply.entry,
                at=now,
                step=11,
                verdict=error.code,
                signer=evidence.signer,
                revocation=evidence.revocation,
                deciding=evidence.deciding,
                note=f"{reply.entry.note}; refused at {step_of(error)}",
            )
        return ended

    def answered(self, one: Answered) -> Ended:
        """Facts into the registry and the outcome into the row, in one transaction.

        Raises MappingError (the registry found that the answer contradicts itself: nothing was kept), LeaseLost,
        StoreError.
        """
        with self._closing(one.row, one.reply):
            self.answered_together([one])
        return Ended(State.ANSWERED)

    def answered_together(self, group: Sequence[Answered]) -> None:
        """The same for several answers, in one transaction: all of them, or none.

        Raises what `answered` raises, and StoreError (`exchange_settled`) where a row was closed or leased by somebody
        else meanwhile; which one is then to be found by `answered`.
        """
        now = self._clock()
        with step(13, "out.sync"), storing(self._engine) as connection:
            outbox.settle_all(connection, [_closing_of(one, now) for one in group])
            record_answers(connection, [_arrived(one) for one in group], law=self._law)
            schedule_all(connection, [(one.row, one.definition, one.reply.entry.at) for one in group], law=self._law)
            for one in {one.row.service_id: one for one in group}.values():
                report(connection, one.row, one.tried, now, outage=False)
            self._journal.append_many(connection, [_accepted(one, now) for one in group])

    @contextmanager
    def _closing(self, row: Exchange, reply: StoredReply) -> Iterator[None]:
        """Nothing is applied by a holder whose lease was lost. When the row is closed, its reply is not awaited any
        more and that is journalled; while it is open the reply stays unread, for whoever goes on with the row."""
        try:
            yield
        except StoreError as error:
            if error.code != "exchange_settled":
                raise
        except LeaseLost:
            pass
        else:
            return
        with reading(self._engine) as connection:
            current = outbox.get(connection, row.message_id)
        if current is not None and current.state in outbox.CLOSED and current.reply_journal_id != reply.entry_id:
            # whoever has judged the same reply meanwhile has said it already
            with contextlib.suppress(IntegrityError), writing(self._engine) as connection:
                self._journal.append_verdict(
                    connection, reply.entry_id, reply.entry, at=self._clock(), step=13, verdict=NOT_AWAITED
                )
        raise LeaseLost(f"somebody else went on with {row.message_id} meanwhile; see `gateway exchange show`")


def schedule_next(
    connection: Connection, row: Exchange, definition: SystemDefinition, *, answered_at: dt.datetime, law: Law
) -> None:
    """When the register is asked about the person next. A consent is for one call: nobody asks again by it."""
    schedule_all(connection, [(row, definition, answered_at)], law=law)


def schedule_all(
    connection: Connection, answered: Sequence[tuple[Exchange, SystemDefinition, dt.datetime]], *, law: Law
) -> None:
    """`schedule_next` for several answers: each with its row and when it came."""
    asked_again = [
        (row.subject, definition, at)
        for row, definition, at in answered
        if row.subject is not None and not carries_consent(definition, row.service_id)
    ]
    changes = next_changes_of(connection, [Heard(iin, system.slug, at) for iin, system, at in asked_again], law=law)
    dues = []
    for (iin, definition, at), change in zip(asked_again, changes, strict=True):
        due_at, reason = due.next_due(refresh_days=definition.refresh_days, answered_at=at, next_change=change)
        dues.append(due.Due(iin, definition.slug, due_at, reason))
    due.put_all(connection, dues)


def _closing_of(one: Answered, now: dt.datetime) -> outbox.Closing:
    answer = one.understood.answer
    return outbox.Closing(
        one.row.message_id,
        State.ANSWERED,
        answer.outcome,
        now,
        code=answer.rejection.code if answer.rejection is not None else "",
        reply_journal_id=one.reply.entry_id,
        lease=one.row.lease,
    )


def _arrived(one: Answered) -> Arrived:
    row, signer = one.row, one.evidence.signer
    if row.subject is None:
        raise TypeError("a question without a person has no place in the registry")
    return Arrived(
        row.subject,
        one.understood.answer,
        Provenance(
            message_id=row.message_id,
            system=row.system,
            signer_subject=signer.subject,
            signer_serial=signer.serial,
            received_at=one.reply.entry.at,
        ),
    )


def _accepted(one: Answered, now: dt.datetime) -> JournalEntry:
    return verdict_about(
        one.reply.entry_id,
        one.reply.entry,
        at=now,
        step=11,
        verdict=Verdict.ACCEPTED,
        signer=one.evidence.signer,
        revocation=one.evidence.revocation,
        deciding=one.evidence.deciding,
        note=one.reply.entry.note,
    )


def carries_consent(definition: SystemDefinition, service_id: str) -> bool:
    """Whether messages to a service of the system carry a citizen's consent."""
    return any(service.consent for service in definition.services if service.service_id == service_id)


@contextmanager
def storing(engine: Engine) -> Iterator[Connection]:
    """A transaction in which every clash of keys is a mistake of ours."""
    try:
        with writing(engine) as connection:
            yield connection
    except IntegrityError as error:
        raise StoreError(
            "the database holds another row under this message id; nothing was overwritten", code="clash"
        ) from error
