"""One question to one register: steps 1 to 13 of DESIGN.md, "How a message travels", in one place.

What is stored before the post is what makes the rest honest: a reply that never comes, or that must not be used,
leaves a row that says so, and the question is never sent again by itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from gateway.database import writing
from gateway.errors import (
    GatewayError,
    MalformedMessage,
    MappingError,
    OperatorError,
    OutcomeUnknown,
    PeerError,
    PeerFault,
    PeerUnavailable,
    SignatureRefused,
    StoreError,
    TrustRefused,
    Undecided,
)
from gateway.exchange import due, outbox
from gateway.exchange.business import read_payload, signed_payload
from gateway.exchange.journal import EntryKind, JournalEntry, MessageDirection, Signer, Verdict, append, append_verdict
from gateway.exchange.outbox import State
from gateway.exchange.transport import Reply, Transport
from gateway.exchange.verification import (
    Evidence,
    TrustPolicy,
    VerifiedMessage,
    check_own_signature,
    verify_message,
)
from gateway.model import Answer, Consent, Fact, Iin, Outcome, Provenance, Query, Rejection
from gateway.registry.store import next_change_of, record_answer
from gateway.regulation.law import Law
from gateway.shep import envelope, sync_channel
from gateway.shep.contract import envelope_schema
from gateway.shep.messages import ErrorInfo, RequestInfo, ResponseInfo, Sender, SyncResponse
from gateway.shep.payload import PayloadCodec
from gateway.signing.certificate import Certificate
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.wss import sign_body
from gateway.systems import RequestPayloadSignature, SystemDefinition, find_system
from gateway.trust.verdict import RevocationState, RevocationStatus
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, parse

_LOG: Final = structlog.get_logger()

#: names a fault code that may be shown: anything else could be anything
_SHOWN_CODE_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class AskPolicy:
    """Where and as whom we ask, and what a reply may cost. The daemon makes it from the settings."""

    url: str
    sender: Sender
    #: participant code for registers whose system.toml names none
    requester: str = ""
    key_info: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER
    #: upper bounds; a system's own shorter ones win
    connect_timeout_s: float = 5.0
    reply_timeout_s: float = 60.0
    max_reply_bytes: int = 2_000_000
    bounds: XmlBounds = DEFAULT_BOUNDS
    #: BINs whose certificates may sign a reply; empty: any trusted certificate but our own
    signer_bins: frozenset[str] = frozenset()
    #: how far a peer's clock and time zone may be off. It matters only for replies that repeat none of our ids:
    #: nothing else tells them from an old answer about the same person. An hour: the zone change of 2024 is still
    #: missing in some systems (SHEP.md 1.5 shows both +05:00 and +06:00)
    clock_tolerance: dt.timedelta = dt.timedelta(minutes=65)


@dataclass(frozen=True, slots=True)
class AskResult:
    """What came of one question. `outcome` UNKNOWN is never NOT_FOUND; then `error` says why, typed by who must act."""

    message_id: str
    system: str
    service_id: str
    state: State
    outcome: Outcome
    asked_at: dt.datetime
    finished_at: dt.datetime
    request_journal_id: int
    facts: tuple[Fact, ...] = ()
    rejection: Rejection | None = None
    signer: Certificate | None = None
    revocation: RevocationStatus | None = None
    reply_journal_id: int | None = None
    error: GatewayError | None = None

    def as_dict(self) -> dict[str, Any]:
        """The result of `gateway query --json` (docs/reference/contract.md)."""
        document: dict[str, Any] = {
            "message_id": self.message_id,
            "system": self.system,
            "service_id": self.service_id,
            "outcome": str(self.outcome),
            "state": str(self.state),
            "facts": [_fact_as_dict(fact) for fact in self.facts],
            "signer": None if self.signer is None else _signer_as_dict(self.signer),
            "revocation": None if self.revocation is None else _revocation_as_dict(self.revocation),
        }
        if self.rejection is not None:
            document["rejection"] = {"code": self.rejection.code, "message": self.rejection.message}
        if self.error is not None:
            document["error"] = {
                "code": self.error.code,
                "step": step_of(self.error),
                "message": self.error.message,
            }
        return document


@dataclass(frozen=True, slots=True)
class _Question:
    """What steps 3 to 9 settled and steps 10 to 13 need."""

    definition: SystemDefinition
    service_id: str
    query: Query
    codec: PayloadCodec
    key: SigningKey
    request_entry_id: int


@dataclass(frozen=True, slots=True)
class _Understood:
    """A reply that held in every respect."""

    answer: Answer
    message: VerifiedMessage


class Asker:
    """Asks registers. Safe to use from several threads when its ports are."""

    def __init__(
        self,
        *,
        engine: Engine,
        transport: Transport,
        systems: Mapping[str, SystemDefinition],
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        law: Law,
        policy: AskPolicy,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._systems = systems
        self._key = key
        self._trust = trust
        self._law = law
        self._policy = policy
        self._clock = clock
        self._new_message_id = new_message_id

    def system(self, name: str) -> SystemDefinition:
        """A system by slug or alias. Raises OperatorError (`unknown_system`)."""
        return find_system(self._systems, name)

    def ask(self, system: str, subject: Iin, *, facts: Sequence[str] = (), consent: Consent | None = None) -> AskResult:
        """Ask one register about one person, once.

        Raises only for what is wrong on our side: before the post OperatorError (nothing was sent), after it
        StoreError (the row stays `asked`; the reply, if one came, is in the journal or nowhere). Everything that the
        other side can do to us is an AskResult.
        """
        # 1, 2: the caller decided whom, where and why
        definition = self.system(system)
        kinds = _kinds(definition, facts)
        asked_at = self._clock()
        query = Query(
            subject=subject,
            message_id=self._new_message_id(),
            created_at=asked_at,
            facts=kinds,
            requester=definition.requester or self._policy.requester,
            consent=consent,
        )
        service = definition.service_for(query)

        # 3 payload · 4 against its contract
        payload = definition.mapper.build_request(query)
        service.request.validate(payload)

        # 5 envelope · 6 signature
        codec = PayloadCodec(definition.codec)
        info = RequestInfo(
            message_id=query.message_id,
            service_id=service.service_id,
            message_date=asked_at,
            sender=self._policy.sender,
        )
        key = self._key()
        sign_data = None
        if definition.request_payload_signature is RequestPayloadSignature.ENVELOPED:
            payload, sign_data = signed_payload(payload, codec, key)
        body = sync_channel.build_request(info, payload, codec, sign_data=sign_data)
        _check_fits_channel(body)
        signed = sign_body(body, key, form=self._policy.key_info)

        # 7 our own signature, as the other side will see it
        check_own_signature(signed, key.certificate, self._policy.bounds)

        # 8 exact bytes and the row, committed before the post
        with _writing(self._engine) as connection:
            request_entry_id = append(
                connection,
                JournalEntry(
                    at=asked_at,
                    direction=MessageDirection.OUT,
                    step=8,
                    kind=EntryKind.REQUEST,
                    system=definition.slug,
                    service_id=service.service_id,
                    message_id=query.message_id,
                    peer=shown_address(self._policy.url),
                    body=signed,
                    signer=Signer.of(key.certificate),
                    verdict=Verdict.SIGNED,
                ),
            )
            outbox.record_asked(
                connection,
                message_id=query.message_id,
                system=definition.slug,
                service_id=service.service_id,
                subject=subject,
                asked_at=asked_at,
                request_journal_id=request_entry_id,
            )
        question = _Question(definition, service.service_id, query, codec, key, request_entry_id)

        # 9 post, once
        try:
            reply = self._transport.post(
                self._policy.url,
                signed,
                connect_timeout_s=min(definition.timeouts.connect_s, self._policy.connect_timeout_s),
                reply_timeout_s=min(definition.timeouts.reply_s, self._policy.reply_timeout_s),
                max_reply_bytes=self._policy.max_reply_bytes,
            )
        except (PeerUnavailable, OutcomeUnknown) as error:
            return self._close_without_reply(question, error)

        # 10 exact bytes of the reply, committed before anything of it is read
        received_at = self._clock()
        entry = JournalEntry(
            at=received_at,
            direction=MessageDirection.IN,
            step=10,
            kind=EntryKind.REPLY,
            system=definition.slug,
            service_id=service.service_id,
            message_id=query.message_id,
            peer=shown_address(self._policy.url),
            body=reply.body,
            note=f"HTTP {reply.status}",
        )
        with _writing(self._engine) as connection:
            entry_id = append(connection, entry)

        # 11 verify · 12 read only what was signed
        evidence = Evidence()
        try:
            understood = self._understand(reply, question, received_at, evidence)
        except (PeerError, Undecided) as error:
            return self._close_refused(question, entry, entry_id, error, evidence)

        # 13 facts into the registry, outcome into the row, in one transaction
        try:
            return self._close_answered(question, entry, entry_id, understood, evidence)
        except MappingError as error:  # the registry found that the answer contradicts itself: nothing was kept
            return self._close_refused(question, entry, entry_id, error, evidence)

    # ------------------------------------------------------------ steps 11 and 12

    def _understand(
        self, reply: Reply, question: _Question, received_at: dt.datetime, evidence: Evidence
    ) -> _Understood:
        policy = self._policy
        if 300 <= reply.status < 400:
            raise MalformedMessage(
                f"the gateway answered with a redirect (HTTP {reply.status}), which is never followed; "
                "put the true address into shep.sync_url",
                code="redirected",
            )
        try:
            message = verify_message(
                reply.body,
                trust=self._trust,
                bounds=policy.bounds,
                at=received_at,
                evidence=evidence,
                service=question.definition.slug,
            )
        except SignatureRefused as error:
            if error.code == "unsigned":
                raise _unsigned_fault(reply.body, policy.bounds) or error from None
            raise
        _check_signer(message.certificate, question.key.certificate, policy.signer_bins)

        content = sync_channel.read_reply(message.body)
        if isinstance(content, ErrorInfo):
            raise PeerFault(
                content.code, f"the gateway answered with the fault {_shown_code(content.code)}", signed=True
            )
        tied = _check_correlation(content.info, question.query)
        if content.info.status.code not in question.definition.success_codes:
            answer = _rejected(content.info)
        else:
            answer = self._read_answer(content, message, question, received_at)
            tied = _check_answers_our_question(answer, question.query) or tied
        if not tied:
            _check_recent(content.info, question.query, received_at, policy.clock_tolerance)
        return _Understood(answer, message)

    def _read_answer(
        self, content: SyncResponse, message: VerifiedMessage, question: _Question, received_at: dt.datetime
    ) -> Answer:
        definition = question.definition
        if content.data is None:
            raise MalformedMessage("the answer says that it was processed and carries no data", code="no_payload")
        payload = read_payload(
            content.data,
            message,
            definition,
            trust=self._trust,
            at=received_at,
            ours=question.key.certificate,
            bounds=self._policy.bounds,
        )
        try:
            if definition.validate_response:
                definition.response_contract.validate(payload)
            return definition.mapper.read_response(payload)
        except PeerError:
            raise
        except Exception as error:  # a folder's own code: its fault must not take the process or the row with it
            raise MappingError(
                f"mapper.py of {definition.slug} failed with {type(error).__name__}; "
                "try the recorded reply with `gateway read`",
                code="mapper_failed",
            ) from error

    # ------------------------------------------------------------ how a row ends

    def _close_without_reply(self, question: _Question, error: PeerUnavailable | OutcomeUnknown) -> AskResult:
        state = State.UNREACHABLE if isinstance(error, PeerUnavailable) else State.UNKNOWN
        finished_at = self._clock()
        with _writing(self._engine) as connection:
            outbox.settle(
                connection,
                question.query.message_id,
                state=state,
                outcome=Outcome.UNKNOWN,
                code=error.code,
                at=finished_at,
            )
        return self._result(question, state, finished_at, error=error)

    def _close_refused(
        self, question: _Question, entry: JournalEntry, entry_id: int, error: GatewayError, evidence: Evidence
    ) -> AskResult:
        state = State.UNKNOWN if isinstance(error, Undecided) else State.REFUSED
        finished_at = self._clock()
        with _writing(self._engine) as connection:
            append_verdict(
                connection,
                entry_id,
                entry,
                at=finished_at,
                step=11,
                verdict=error.code,
                signer=evidence.signer,
                revocation=evidence.revocation,
                deciding=evidence.deciding,
                note=f"{entry.note}; refused at {step_of(error)}",
            )
            outbox.settle(
                connection,
                question.query.message_id,
                state=state,
                outcome=Outcome.UNKNOWN,
                code=error.code,
                at=finished_at,
                reply_journal_id=entry_id,
            )
        return self._result(question, state, finished_at, reply_journal_id=entry_id, error=error)

    def _close_answered(
        self, question: _Question, entry: JournalEntry, entry_id: int, understood: _Understood, evidence: Evidence
    ) -> AskResult:
        answer, message, query = understood.answer, understood.message, question.query
        if message.revocation.status is RevocationState.UNKNOWN:
            _LOG.warning(
                "trust",
                action="unknown_revocation_accepted",
                system=question.definition.slug,
                message_id=query.message_id,
            )
        finished_at = self._clock()
        with _writing(self._engine) as connection:
            append_verdict(
                connection,
                entry_id,
                entry,
                at=finished_at,
                step=11,
                verdict=Verdict.ACCEPTED,
                signer=evidence.signer,
                revocation=evidence.revocation,
                deciding=evidence.deciding,
                note=entry.note,
            )
            record_answer(
                connection,
                subject=query.subject,
                answer=answer,
                provenance=Provenance(
                    message_id=query.message_id,
                    system=question.definition.slug,
                    signer_subject=evidence.signer.subject,
                    signer_serial=evidence.signer.serial,
                    received_at=entry.at,
                ),
                law=self._law,
            )
            outbox.settle(
                connection,
                query.message_id,
                state=State.ANSWERED,
                outcome=answer.outcome,
                code=answer.rejection.code if answer.rejection is not None else "",
                at=finished_at,
                reply_journal_id=entry_id,
            )
            self._schedule_next(connection, question, entry.at)
        return self._result(
            question,
            State.ANSWERED,
            finished_at,
            outcome=answer.outcome,
            facts=answer.facts,
            rejection=answer.rejection,
            signer=message.certificate,
            revocation=message.revocation,
            reply_journal_id=entry_id,
        )

    def _schedule_next(self, connection: Connection, question: _Question, answered_at: dt.datetime) -> None:
        if question.query.consent is not None:
            return  # a consent is for one call: nobody can ask again without the person
        subject = question.query.subject
        change = next_change_of(connection, subject, system=question.definition.slug, after=answered_at, law=self._law)
        due_at, reason = due.next_due(
            refresh_days=question.definition.refresh_days, answered_at=answered_at, next_change=change
        )
        due.put(connection, due.Due(subject, question.definition.slug, due_at, reason))

    def _result(
        self,
        question: _Question,
        state: State,
        finished_at: dt.datetime,
        *,
        outcome: Outcome = Outcome.UNKNOWN,
        error: GatewayError | None = None,
        **known: Any,
    ) -> AskResult:
        _LOG.info(
            "exchange",
            action=f"ask_{state}",
            message_id=question.query.message_id,
            system=question.definition.slug,
            outcome=str(outcome),
            code="" if error is None else error.code,
        )
        return AskResult(
            message_id=question.query.message_id,
            system=question.definition.slug,
            service_id=question.service_id,
            state=state,
            outcome=outcome,
            asked_at=question.query.created_at,
            finished_at=finished_at,
            request_journal_id=question.request_entry_id,
            error=error,
            **known,
        )


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """A transaction in which every clash of keys is a mistake of ours."""
    try:
        with writing(engine) as connection:
            yield connection
    except IntegrityError as error:
        raise StoreError(
            "the database holds another row under this message id; nothing was overwritten", code="clash"
        ) from error


# ---------------------------------------------------------------- decisions (pure)


def step_of(error: GatewayError) -> str:
    """Which check an error came from, for people and the journal."""
    if isinstance(error, SignatureRefused | TrustRefused):
        return error.step
    steps: tuple[tuple[type[GatewayError], str], ...] = (
        (MappingError, "reading"),
        (PeerFault, "fault"),
        (MalformedMessage, "format"),
        (PeerUnavailable, "post"),
        (OutcomeUnknown, "post"),
        (Undecided, "revocation"),
    )
    return next((step for kind, step in steps if isinstance(error, kind)), "reply")


def _kinds(definition: SystemDefinition, facts: Sequence[str]) -> tuple[str, ...]:
    kinds: list[str] = []
    for fact in facts:
        given = definition.kinds_for(fact)
        if not given:
            known = ", ".join(definition.fact_kinds)
            raise OperatorError(f"{definition.slug} does not give {fact!r}; it gives: {known}", code="unknown_fact")
        kinds += [kind for kind in given if kind not in kinds]
    return tuple(kinds)


def _check_fits_channel(body: etree._Element) -> None:
    """Step 5: what we send fits the channel's schema. What does not is ours to mend."""
    try:
        envelope_schema()(body)
    except MalformedMessage as error:
        raise OperatorError(error.message, code=error.code) from error


def _check_signer(certificate: Certificate, ours: Certificate, bins: frozenset[str]) -> None:
    """Step 11: trusted is not enough, the reply has to come from the other side."""
    # keys are compared: KeyInfo is not signed, and one key may come in another certificate
    if certificate.spki_der == ours.spki_der:
        raise TrustRefused("own_signature", "the reply is signed with our own key", step="signer")
    if bins and certificate.bin not in bins:
        raise TrustRefused(
            "unexpected_signer",
            "the reply is signed by an organisation that does not answer for this gateway; "
            "see `gateway journal show`, and the list of signers in the settings",
            step="signer",
        )


def _check_correlation(info: ResponseInfo, query: Query) -> bool:
    """Step 11: a chain id that is given must be ours. Whether the reply repeats any id of ours."""
    if info.correlation_id and info.correlation_id != query.message_id:
        raise MalformedMessage("the reply belongs to another chain of messages", code="wrong_correlation")
    return query.message_id in (info.correlation_id, info.message_id)


def _check_answers_our_question(answer: Answer, query: Query) -> bool:
    """Step 12: the payload's own word for which question and whom it is about. Whether it named our question."""
    if answer.answers_message_id and answer.answers_message_id != query.message_id:
        raise MalformedMessage("the payload answers another question", code="wrong_correlation")
    named = {fact.subject for fact in answer.facts} | ({answer.about} if answer.about is not None else set())
    if named - {query.subject}:
        raise MalformedMessage("the answer is about another person than the one asked about", code="wrong_subject")
    return bool(answer.answers_message_id)


def _check_recent(info: ResponseInfo, query: Query, received_at: dt.datetime, tolerance: dt.timedelta) -> None:
    """Step 11, time and replay, for a reply that repeats no id of ours."""
    if not query.created_at - tolerance <= info.response_date <= received_at + tolerance:
        raise MalformedMessage(
            "the reply repeats no id of the question and was not made in the time of this exchange", code="stale_reply"
        )


def _rejected(info: ResponseInfo) -> Answer:
    return Answer(Outcome.REJECTED, rejection=Rejection(info.status.code, info.status.message))


def _unsigned_fault(data: bytes, bounds: XmlBounds) -> PeerFault | None:
    """A fault in an unsigned envelope: reported, never trusted. None when it is none."""
    try:
        _, body = envelope.split(parse(data, bounds))
        content = sync_channel.read_reply(body) if sync_channel.is_fault(body) else None
    except MalformedMessage:
        return None
    if not isinstance(content, ErrorInfo):
        return None
    fault = PeerFault(content.code, f"unsigned fault, not trusted: {_shown_code(content.code)}", signed=False)
    fault.code = "unsigned_fault"
    return fault


def _shown_code(code: str) -> str:
    plain = code.replace("_", "").replace("-", "")
    return code if plain.isascii() and plain.isalnum() and len(code) <= _SHOWN_CODE_CHARS else "(unreadable code)"


def shown_address(url: str) -> str:
    """Scheme, host, port and path of an address: no credentials, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


# ---------------------------------------------------------------- for --json


def _fact_as_dict(fact: Fact) -> dict[str, Any]:
    return {
        "kind": fact.kind,
        "subject": fact.subject.value,
        "key": fact.key,
        "valid_from": None if fact.valid_from is None else fact.valid_from.isoformat(),
        "valid_to": None if fact.valid_to is None else fact.valid_to.isoformat(),
        "attributes": dict(fact.attributes),
    }


def _signer_as_dict(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "serial": str(certificate.serial),
        "iin": certificate.iin,
        "bin": certificate.bin,
        "roles": list(certificate.roles),
    }


def _revocation_as_dict(revocation: RevocationStatus) -> dict[str, Any]:
    return {
        "status": str(revocation.status),
        "source": revocation.source,
        "as_of": None if revocation.as_of is None else revocation.as_of.isoformat(),
    }
