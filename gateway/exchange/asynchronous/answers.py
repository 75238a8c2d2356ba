"""An answer, or something on the way to one, for a question of ours: found, judged, applied.

It closes a row only when everything fits: the chain or the business key, the system, the person, the message it says
that it answers. Whatever does not fit stays in the inbox and closes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine

from gateway.database import reading, writing
from gateway.errors import MalformedMessage, PeerError
from gateway.exchange import inbox_work, outbox
from gateway.exchange.asynchronous.message import key_in
from gateway.exchange.asynchronous.reopening import Reopened
from gateway.exchange.business import read_payload
from gateway.exchange.ending import schedule_next
from gateway.exchange.inbox import InboxRow, InboxState
from gateway.exchange.outbox import Exchange, State
from gateway.exchange.question import AskPolicy
from gateway.exchange.understanding import Asked, check_answers_our_question, read_answer
from gateway.exchange.verification import TrustPolicy
from gateway.model import Answer, Provenance
from gateway.registry.store import record_answer
from gateway.regulation.law import Law
from gateway.shep.async_messages import MessageType
from gateway.signing.keys import SigningKey
from gateway.systems.definition import SystemDefinition
from gateway.telemetry import Flow, step

_LOG: Final = structlog.get_logger()

#: codes of inbox rows
UNMATCHED: Final = "unmatched"
NOT_AWAITED: Final = "not_awaited"


class AnswerDesk:
    """Works on what registers send. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        policy: AskPolicy,
        law: Law,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._engine = engine
        self._key = key
        self._trust = trust
        self._policy = policy
        self._law = law
        self._clock = clock

    def take(self, row: InboxRow, opened: Reopened, definition: SystemDefinition, flow: Flow) -> InboxState:
        """Steps 12 and 13 for a leased inbox row.

        Raises PeerError and Undecided for what must not be applied, StoreError; then nothing was changed.
        """
        info = opened.message.info
        with step(12, flow):
            question = self._find(row, opened, definition)
            answer = None
            if (
                question is not None
                and question.state not in outbox.CLOSED
                and info.message_type is MessageType.RESPONSE
            ):
                answer = self._read(row, opened, definition, question)
        with step(13, flow), writing(self._engine) as connection:
            if question is None:
                # it may have overtaken the acknowledgement that names its chain: tried again, then for the operator
                return inbox_work.put_off(connection, row, now=self._clock(), code=UNMATCHED)
            current = outbox.get(connection, question.message_id, lock=True)
            if current is None or current.state in outbox.CLOSED:
                inbox_work.finish(connection, row, code=NOT_AWAITED)
            elif answer is not None:
                self._apply(connection, row, opened, current, definition, answer)
            else:
                self._note(connection, row, opened, current, definition)
        _LOG.info(
            "exchange",
            action="answer_taken",
            type=str(info.message_type),
            message_id=question.message_id,
            system=definition.slug,
            outcome="" if answer is None else str(answer.outcome),
        )
        return InboxState.DONE

    # ------------------------------------------------------------ whose answer it is

    def _find(self, row: InboxRow, opened: Reopened, definition: SystemDefinition) -> Exchange | None:
        """The question: by its chain first, then by the key in the payload."""
        with reading(self._engine) as connection:
            found = outbox.find_by_correlation(connection, opened.message.info.correlation_id)
        if found is not None:
            return found if _is_question_to(found, definition) else None
        key = self._key_of(row, opened, definition)
        with reading(self._engine) as connection:
            found = outbox.find_waiting_by_business_key(connection, definition.slug, key)
        if found is None or not _is_question_to(found, definition):
            return None
        # a question that knows its chain is answered in its chain
        known = found.correlation_id
        return None if known and known != opened.message.info.correlation_id else found

    def _key_of(self, row: InboxRow, opened: Reopened, definition: SystemDefinition) -> str:
        try:
            payload = self._payload(row, opened, definition)
            if definition.business_key is not None:
                return key_in(definition, payload)
            return definition.mapper.read_response(payload).answers_message_id
        except PeerError:
            if opened.message.info.message_type is MessageType.RESPONSE:
                raise
            return ""  # what stands between question and answer may have any form
        except Exception as error:  # a folder's own code
            raise MalformedMessage(f"mapper.py failed with {type(error).__name__}", code="mapper_failed") from error

    def _payload(self, row: InboxRow, opened: Reopened, definition: SystemDefinition) -> etree._Element:
        if opened.message.data is None:
            raise MalformedMessage("the message carries no data", code="no_payload")
        return read_payload(
            opened.message.data,
            opened.verified,
            definition,
            trust=self._trust,
            at=row.received_at,
            ours=self._key().certificate,
            bounds=self._policy.bounds,
        )

    # ------------------------------------------------------------ what it says

    def _read(self, row: InboxRow, opened: Reopened, definition: SystemDefinition, question: Exchange) -> Answer:
        if question.subject is None:
            raise MalformedMessage("the question was about nobody", code="wrong_subject")
        asked = Asked(definition, question.message_id, question.subject, question.asked_at, self._key().certificate)
        data = opened.message.data
        answer = read_answer(data, opened.verified, asked, self._trust, self._policy, row.received_at)
        check_answers_our_question(answer, asked)
        return answer

    def _apply(
        self,
        connection: Connection,
        row: InboxRow,
        opened: Reopened,
        question: Exchange,
        definition: SystemDefinition,
        answer: Answer,
    ) -> None:
        """Facts into the registry, the outcome into the row, the message done: one transaction."""
        outbox.settle(
            connection,
            question.message_id,
            state=State.ANSWERED,
            outcome=answer.outcome,
            code="" if answer.rejection is None else answer.rejection.code,
            at=self._clock(),
            reply_journal_id=row.request_journal_id,
        )
        assert question.subject is not None  # noqa: S101
        record_answer(
            connection,
            subject=question.subject,
            answer=answer,
            provenance=Provenance(
                message_id=question.message_id,
                system=definition.slug,
                signer_subject=opened.signer.subject,
                signer_serial=opened.signer.serial,
                received_at=row.received_at,
            ),
            law=self._law,
        )
        schedule_next(connection, question, definition, answered_at=row.received_at, law=self._law)
        inbox_work.finish(connection, row)

    def _note(
        self,
        connection: Connection,
        row: InboxRow,
        opened: Reopened,
        question: Exchange,
        definition: SystemDefinition,
    ) -> None:
        """A NOTIFICATION or an UPDATE: it says that the question is on its way, and what the chain is called."""
        info = opened.message.info
        if question.state is not State.ACKNOWLEDGED:
            now = self._clock()
            outbox.acknowledge(
                connection,
                question.message_id,
                wire_message_id=question.wire_message_id,
                correlation_id=info.correlation_id or question.correlation_id,
                session_id=question.session_id,
                at=now,
                answer_due_at=now + dt.timedelta(seconds=definition.timeouts.answer_s),
            )
        inbox_work.finish(connection, row, code=str(info.message_type).lower())


def _is_question_to(row: Exchange, definition: SystemDefinition) -> bool:
    """Whether a row is a question of ours to this very system. Pure."""
    return row.system == definition.slug and row.message_type == MessageType.REQUEST
