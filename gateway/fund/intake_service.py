"""The service FUND_LIST_INTAKE: each message has its effect in the transaction that journals it and its answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

import structlog
from sqlalchemy import Connection

from gateway.errors import ConfigurationError, MalformedMessage
from gateway.exchange.serve import ServiceAnswer
from gateway.fund.intake import (
    REQUEST,
    Application,
    FailureDeclared,
    FailureEnded,
    ForbiddenMarking,
    Reply,
    Said,
    build_response,
    read_request,
)
from gateway.model import Provenance
from gateway.registry.applications import apply_for_entry
from gateway.registry.imports.parts import ListPart, PartOutcome, take_part
from gateway.registry.incidents import close_failure, declare_failure
from gateway.regulation.law import Law
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import StatusInfo, SyncRequest
from gateway.shep.payload import PayloadCodec, decode
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

_LOG: Final = structlog.get_logger()
CODEC: Final = PayloadCodec.ELEMENT

#: results that are answers; every other one is the code of the status too
_ANSWERS: Final = frozenset({"TAKEN", "COMPLETE", "DUPLICATE", "DECLARED", "ENDED", "ACCEPTED", "REFUSED"})
_MEANINGS: Final = {
    "PART_CHANGED": "A part of this number came before with other records; that one stays",
    "LIST_CHANGED": "The parts before this one speak of the list otherwise; nothing was taken",
    "LIST_CLOSED": "The list was refused or is superseded; send it anew, under a new listId",
    "MARKING_REFUSED": "What is so marked is not exchanged (004 p.5); what was there before stays in force",
    "SENDER_NOT_ALLOWED": "This does not come from this sender",
    "NOT_POSSIBLE": "It is known already, or its day cannot be; nothing changed",
}


@dataclass(frozen=True, slots=True)
class IntakeQuestion:
    """What a message says, and who sends it."""

    said: Said = field(repr=False)
    sender: str


#: what a sender may be allowed beside the feeds of lists
FAILURES: Final = "failures"
APPLICATIONS: Final = "applications"


class ListIntakeService:
    """The handler. It writes: see `apply`. `may_send`: feeds, FAILURES and APPLICATIONS by senderId; nobody else may
    send anything."""

    def __init__(self, law: Law, *, may_send: Mapping[str, frozenset[str]], bounds: XmlBounds = DEFAULT_BOUNDS) -> None:
        self._law = law
        self._may_send = may_send
        self._bounds = bounds

    def read(self, request: SyncRequest, *, at: dt.datetime) -> IntakeQuestion:  # noqa: ARG002
        """See gateway.exchange.serve.Service."""
        if request.data is None:
            raise MalformedMessage("<data> is missing", code="no_payload")
        payload = decode(request.data, CODEC, root_name=REQUEST, bounds=self._bounds)
        return IntakeQuestion(read_request(payload, self._law), request.info.sender.sender_id)

    def load(self, connection: Connection, questions: Sequence[IntakeQuestion]) -> Sequence[None]:  # noqa: ARG002
        """Nothing: what is there is looked at in the transaction that writes."""
        return [None] * len(questions)

    def apply(self, connection: Connection, question: IntakeQuestion, provenance: Provenance) -> ServiceAnswer:
        """Write what the message says, in the caller's transaction, and answer.

        `provenance.system` is the senderId. An answer that is not a success may have written that it was not.
        """
        reply = self._done(connection, question.said, provenance)
        status = SUCCESS if reply.result in _ANSWERS else StatusInfo(reply.result, _MEANINGS[reply.result])
        return ServiceAnswer(status, build_response(reply), CODEC)

    def _done(self, connection: Connection, said: Said, provenance: Provenance) -> Reply:
        needed = _needed(said)
        if needed is not None and needed not in self._may_send.get(provenance.system, frozenset()):
            _LOG.error("registry", action="sender_not_allowed", what=needed)
            return Reply("SENDER_NOT_ALLOWED")
        try:
            match said:
                case ForbiddenMarking():
                    _LOG.error("registry", action="marking_refused", code=said.marking)
                    return Reply("MARKING_REFUSED")
                case ListPart():
                    return self._take(connection, said, provenance)
                case FailureDeclared():
                    declare_failure(
                        connection,
                        said.system,
                        said.start,
                        reason=said.reason,
                        by=provenance.signer_subject,
                        at=provenance.received_at,
                        law=self._law,
                        evidence=provenance.message_id,
                    )
                    return Reply("DECLARED")
                case FailureEnded():
                    close_failure(
                        connection,
                        f"{said.system}@{said.start.isoformat()}",
                        said.fixed,
                        reason=said.reason,
                        by=provenance.signer_subject,
                        at=provenance.received_at,
                        law=self._law,
                        evidence=provenance.message_id,
                    )
                    return Reply("ENDED")
                case Application():
                    return self._apply_for_entry(connection, said, provenance)
                case _:  # pragma: no cover - mypy proves it
                    assert_never(said)
        except ConfigurationError:
            # worded for an operator; nothing was written
            return Reply("NOT_POSSIBLE")

    def _take(self, connection: Connection, part: ListPart, provenance: Provenance) -> Reply:
        result = take_part(connection, part, provenance)
        if result.outcome in (PartOutcome.LIST_CHANGED, PartOutcome.LIST_CLOSED):
            return Reply(result.outcome.value.upper())
        return Reply(result.outcome.value.upper(), result.received, result.of)

    def _apply_for_entry(self, connection: Connection, said: Application, provenance: Provenance) -> Reply:
        decision = apply_for_entry(
            connection,
            said.iin,
            said.category,
            said.applied,
            documents=said.documents,
            evidence=provenance.message_id,
            at=provenance.received_at,
            law=self._law,
        )
        return Reply(
            "ACCEPTED" if decision.accepted else "REFUSED",
            first=decision.first,
            last=decision.last,
            reason=decision.reason or "",
            because=decision.because,
        )


def _needed(said: Said) -> str | None:
    """What the sender must be allowed; None for what is refused from everybody. Pure."""
    match said:
        case ListPart():
            return said.feed.name
        case FailureDeclared() | FailureEnded():
            return FAILURES
        case Application():
            return APPLICATIONS
        case ForbiddenMarking():
            return None
        case _:  # pragma: no cover - mypy proves it
            assert_never(said)
