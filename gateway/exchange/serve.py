"""Requests to us: steps 10 to 12, the decision, and the answer by steps 3 to 9 of DESIGN.md, for a group at a time.

Whatever comes in, something signed goes out: an answer, or a fault with the channel's detail and a code of
SHEP.md 1.8. Both messages are in the journal before the answer leaves. Requests that are in hand together share one
read of what they ask about and one transaction that makes them durable (docs/decisions/0025); each of them is still
judged, answered, refused and journalled for itself.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import structlog
from lxml import etree
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway import telemetry
from gateway.database import reading, writing
from gateway.errors import MalformedMessage
from gateway.exchange import quota
from gateway.exchange.inbox import (
    Arrival,
    Arrived,
    InboxRow,
    ReplayWindow,
    body_digest,
    clash,
    find_many,
    inbox_key,
    is_taken,
    judge,
    register_many,
    registering,
)
from gateway.exchange.journal import (
    EntryKind,
    Journal,
    JournalEntry,
    JournalWriter,
    MessageDirection,
    Verdict,
)
from gateway.exchange.outgoing import Outgoing, SignedFaults, Unchecked, check, sign, sign_and_check
from gateway.exchange.quota import UNLIMITED, Quotas
from gateway.exchange.refusals import NamedRefusal, Refusal, failure_of, refusal_of, shown_id
from gateway.exchange.verification import Evidence, TrustPolicy, VerifiedMessage, check_for_service, verify_message
from gateway.model import Provenance
from gateway.prepared import run_together
from gateway.shep import sync_channel
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo, RequestInfo, ResponseInfo, StatusInfo, SyncRequest
from gateway.shep.payload import PayloadCodec, WrittenPayload
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.telemetry import step
from gateway.trust.verdict import RevocationState
from gateway.xml import DEFAULT_BOUNDS, XmlBounds

_LOG: Final = structlog.get_logger()
_FLOW: Final = "in.sync"

#: 72 hours outlast a long weekend of ours and of the gateway's own retries (docs/decisions/0026)
DEFAULT_WINDOW: Final = ReplayWindow(dt.timedelta(hours=72), dt.timedelta(minutes=65))
#: how often a group is tried that lost a race for a message id; each race has one winner, so each round ends one
_MAX_RACES: Final = 5
#: SQLSTATE of a transaction that PostgreSQL broke off because it and another one waited for each other
_DEADLOCK: Final = "40P01"

Question = TypeVar("Question")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service decided. A negative answer is an answer; only what cannot be answered is a fault."""

    status: StatusInfo
    payload: etree._Element | WrittenPayload | None
    codec: PayloadCodec

    @property
    def element(self) -> etree._Element | None:
        """The payload as a tree, however it was made."""
        return self.payload.element if isinstance(self.payload, WrittenPayload) else self.payload


class Service(Protocol[Question, Found]):
    """One serviceId of ours. It reads for many requests at once, and answers each for itself."""

    def read(self, request: SyncRequest, *, at: dt.datetime) -> Question:
        """What is asked; `at` is when the request came.

        Raises RequestRefused (its code is the fault's), and MalformedMessage or InvalidIdentifier for a payload that
        does not match the contract.
        """
        ...

    def load(self, connection: Connection, questions: Sequence[Question]) -> Sequence[Found]:
        """What is needed to answer each question, in their order. `connection` only reads."""
        ...

    def answer(self, question: Question, found: Found) -> ServiceAnswer:
        """Decide. Pure. Raises as `read` does."""
        ...


@runtime_checkable
class WritingService(Protocol[Question]):
    """One serviceId of ours whose requests change something: a Service that has `apply` and no `answer`."""

    def read(self, request: SyncRequest, *, at: dt.datetime) -> Question:
        """As Service.read."""
        ...

    def load(self, connection: Connection, questions: Sequence[Question]) -> Sequence[Any]:
        """As Service.load; what is found may be old by the time of `apply`, and may be nothing."""
        ...

    def apply(self, connection: Connection, question: Question, provenance: Provenance) -> ServiceAnswer:
        """Do it and decide, in the transaction that journals the request and its answer: all of it stays, or nothing.

        `provenance.system` is the senderId. It must be quick: the answer is signed and the transaction is committed
        after it, and on SQLite nobody else writes meanwhile. Raises as `read` does; then nothing of it stays, and the
        request is answered with a fault.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """Who may ask a service. Empty sets: whoever signs with a certificate that we trust."""

    #: senderId of the request
    senders: frozenset[str] = frozenset()
    #: BIN in the signer's certificate
    bins: frozenset[str] = frozenset()
    #: senders known to use a message id again for another message: theirs are told apart by what they say
    reusing_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServedReply:
    """What goes back. `message_id` is the request's, "" when none was verified."""

    status: int
    body: bytes
    message_id: str


@dataclass(slots=True)
class Opened:
    """A request as far as it was read without the database: verified, or refused. Made by `Server.open`."""

    received_at: dt.datetime
    peer: str
    #: the exact bytes; None when reading stopped at the bound
    data: bytes | None = field(repr=False)
    body_bytes: int
    evidence: Evidence = field(default_factory=Evidence)
    info: RequestInfo | None = None
    key: str = ""
    by_body: bool = False
    body_sha256: str = ""
    question: Any = field(default=None, repr=False)
    refusal: Refusal | None = None

    @property
    def message_id(self) -> str:
        return "" if self.info is None else self.info.message_id


@dataclass(slots=True)
class _Work:
    """One request while its group is answered; made anew whenever the group is tried again."""

    opened: Opened
    refusal: Refusal | None
    #: the message was answered before: its row
    earlier: InboxRow | None = None
    found: Any = None
    counters: tuple[quota.Counter, ...] = ()
    #: the Body of the answer, or what stands in it
    body: etree._Element | bytes | None = field(default=None, repr=False)
    key: SigningKey | None = None
    signed: Unchecked | None = None
    made: Outgoing | None = None
    response_id: str = ""
    #: code of the status, for the log
    code: str = ""
    note: str = ""
    is_journalled: bool = True

    @property
    def is_new(self) -> bool:
        """To be answered for the first time."""
        return self.refusal is None and self.earlier is None

    @property
    def outgoing(self) -> Outgoing:
        """What goes back, once it is composed."""
        if self.made is None:
            raise RuntimeError("a reply leaves before it was composed")
        return self.made

    def refuse(self, error: Exception) -> None:
        self.refusal = refusal_of(error)
        self.body = self.signed = self.made = None


class _Raced(Exception):
    """Another process of the fleet accepted one of the messages meanwhile."""


class Server:
    """Serves the provider side of SyncChannel. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        journal: JournalWriter,
        services: Mapping[str, Service[Any, Any] | WritingService[Any]],
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        new_message_id: Callable[[], str],
        policies: Mapping[str, ServicePolicy] | None = None,
        key_info: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER,
        bounds: XmlBounds = DEFAULT_BOUNDS,
        window: ReplayWindow = DEFAULT_WINDOW,
        quotas: Quotas = UNLIMITED,
    ) -> None:
        self._engine = engine
        self._services = services
        #: those that are asked about a request before it is written, and those that write; told apart once
        self._writing = frozenset(name for name, one in services.items() if isinstance(one, WritingService))
        self._key = key
        self._trust = trust
        self._new_message_id = new_message_id
        self._policies = policies or {}
        self._key_info = key_info
        self._bounds = bounds
        self._writer = journal
        self._journal = Journal(engine, self._writer.seal)
        self._window = window
        self._meter = quota.Meter(quotas)
        self._faults = SignedFaults(self._sign)

    def handle(self, data: bytes, *, received_at: dt.datetime, peer: str = "") -> ServedReply:
        """Answer one request given by its exact bytes. Raises nothing that a request can cause."""
        return self.answer_many((self.open(data, received_at=received_at, peer=peer),))[0]

    # ------------------------------------------------------------ each for itself: 10, 11, 12

    def open(self, data: bytes, *, received_at: dt.datetime, peer: str = "") -> Opened:
        """Verify and read one request. Needs no database; may fetch revocation evidence where that is switched on."""
        with telemetry.message(_FLOW) as this:
            opened = self._open(data, received_at=received_at, peer=peer)
            if opened.info is not None:
                this.about(message_id=opened.info.message_id, service_id=opened.info.service_id)
        return opened

    def _open(self, data: bytes, *, received_at: dt.datetime, peer: str) -> Opened:
        with step(10, _FLOW):
            if len(data) > self._bounds.max_bytes:
                return self.too_large(len(data), received_at=received_at, peer=peer)
            opened = Opened(received_at, peer, data, len(data))
        try:
            with step(11, _FLOW):  # bounds, structure, signature, path, revocation
                message = verify_message(
                    data, trust=self._trust, bounds=self._bounds, at=received_at, evidence=opened.evidence
                )
            with step(12, _FLOW):  # only what was signed is read
                self._read(opened, message)
        except Exception as error:  # the process lives on, whatever a request does to it
            opened.refusal = refusal_of(error)
        return opened

    def too_large(self, body_bytes: int, *, received_at: dt.datetime, peer: str = "") -> Opened:
        """A request of which reading stopped at the bound, after `body_bytes`; only the size is kept."""
        text = f"the request is larger than {self._bounds.max_bytes} bytes"
        refusal = Refusal(FaultCode.MESSAGE_FORMAT, text, "too_large")
        return Opened(received_at, peer, None, body_bytes, refusal=refusal)

    def overloaded(self, *, at: dt.datetime) -> ServedReply:
        """The word that nothing more can be taken in. Signed once a second, not journalled: nothing was read."""
        error = ErrorInfo(FaultCode.SERVICE_UNAVAILABLE, "too many requests are in hand; ask again in a moment", at)
        return ServedReply(500, self._faults.fault(error).data, "")

    def _read(self, opened: Opened, message: VerifiedMessage) -> None:
        request = sync_channel.read_request(message.body)
        info = opened.info = request.info
        check_for_service(message, self._trust, info.service_id)
        service = self._services.get(info.service_id)
        if service is None:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "there is no such service here; see serviceId", "no_service"
            )
        policy = self._policies.get(info.service_id, ServicePolicy())
        if policy.senders and info.sender.sender_id not in policy.senders:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "the service is not available to this sender", "sender_not_allowed"
            )
        if policy.bins and message.certificate.bin not in policy.bins:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "the service is not available to this organisation", "bin_not_allowed"
            )
        self._window.check(info.message_date, at=opened.received_at)
        opened.body_sha256 = body_digest(message.canonical)
        opened.by_body = info.sender.sender_id in policy.reusing_ids
        opened.key = inbox_key(
            info.sender.sender_id,
            info.service_id,
            info.message_id,
            body_sha256=opened.body_sha256 if opened.by_body else "",
        )
        opened.question = service.read(request, at=opened.received_at)

    # ------------------------------------------------------------ together: 3 to 8

    def answer_many(self, requests: Sequence[Opened]) -> tuple[ServedReply, ...]:
        """Answer requests that are in hand together, in their order. Raises nothing that a request can cause.

        What fails for the group as a whole is tried for each alone, so that one request cannot fail the others.
        """
        replies: dict[int, ServedReply] = {}
        waiting = list(enumerate(requests))
        while waiting:
            group: dict[str, tuple[int, Opened]] = {}
            later = []
            for number, opened in waiting:
                # the same message twice at once: the second one is judged when the first one is answered
                name = opened.key if opened.refusal is None else f"{number}"
                if name in group:
                    later.append((number, opened))
                else:
                    group[name] = number, opened
            numbers, members = zip(*group.values(), strict=True)
            replies.update(zip(numbers, self._answer(members), strict=True))
            waiting = later
        return tuple(replies[number] for number in range(len(requests)))

    def _answer(self, requests: Sequence[Opened]) -> list[ServedReply]:
        for _ in range(_MAX_RACES):
            group = [_Work(opened, opened.refusal) for opened in requests]
            try:
                failed = self._work_on(group)
            except _Raced:
                continue
            if failed is None:
                break
            if len(group) > 1 and not _is_down(failed):
                return [reply for opened in requests for reply in self._answer((opened,))]
            self._fail(group, failed)
            break
        else:
            group = [_Work(opened, opened.refusal) for opened in requests]
            self._fail(group, _Raced())
        # bound once: that costs as much as a line
        log = _LOG.bind()
        return [self._reply(work, log) for work in group]

    def _work_on(self, group: Sequence[_Work]) -> Exception | None:
        """Ask the database, compose, make it durable; the error when the database could not be used. Raises _Raced."""
        try:
            with contextlib.ExitStack() as transaction:
                # a transaction that may write locks the whole of SQLite, and signing takes its time
                if self._engine.dialect.name == "postgresql":
                    # nothing is locked until something is written: one connection and one transaction cost half of two
                    connection = transaction.enter_context(writing(self._engine))
                    self._load(connection, group)
                    self._compose(group)
                    with step(8, _FLOW):
                        self._write(connection, group)
                        transaction.close()
                    return None
            with reading(self._engine) as connection:
                self._load(connection, group)
            self._compose(group)
            return self._commit(group)
        except _Raced:
            raise
        except Exception as error:
            return error

    def _load(self, connection: Connection, group: Sequence[_Work]) -> None:
        """What the database has to say before anything is decided."""
        waiting = [work for work in group if work.refusal is None]
        if not waiting:
            return
        with step(3, _FLOW):
            rows = find_many(connection, [work.opened.key for work in waiting])
            for work in waiting:
                self._compare(work, rows.get(work.opened.key))
            self._check_quotas(connection, [work for work in waiting if work.is_new])
            by_service: dict[str, list[_Work]] = {}
            for work in waiting:
                if work.is_new:
                    by_service.setdefault(_info(work).service_id, []).append(work)
            for service_id, asking in by_service.items():
                found = self._services[service_id].load(connection, [work.opened.question for work in asking])
                for work, one in zip(asking, found, strict=True):
                    work.found = one

    def _compare(self, work: _Work, row: InboxRow | None) -> None:
        if row is None:
            return
        work.note = f"first came as journal entry {row.request_journal_id}"
        if judge(row, work.opened.body_sha256) is Arrival.DUPLICATE:
            work.earlier = row
        else:
            work.refuse(clash())

    def _check_quotas(self, connection: Connection, asking: Sequence[_Work]) -> None:
        asked = [(_info(work).sender.sender_id, work.opened.received_at) for work in asking]
        for work, judged in zip(asking, self._meter.judge(connection, asked), strict=True):
            if isinstance(judged, NamedRefusal):
                work.refuse(judged)
            else:
                work.counters = judged

    def _compose(self, group: Sequence[_Work]) -> None:
        """The bytes of every reply. What cannot be answered becomes a fault, each for itself."""
        # one thing after another for all of them: a signature finds its code and tables in the processor's cache,
        # which is a quarter of its cost
        for act in (self._answer_one, self._sign_one, self._check_one):
            for work in group:
                if work.refusal is None:
                    try:
                        act(work)
                    except Exception as error:
                        work.refuse(error)
        for work in group:
            if work.refusal is not None:
                work.made = self._fault(work, work.refusal)

    def _answer_one(self, work: _Work) -> None:
        if work.earlier is not None:
            self._repeat(work, work.earlier)
            return
        service_id = _info(work).service_id
        # what changes something is answered in the transaction that does it
        if service_id not in self._writing:
            service: Service[Any, Any] = self._services[service_id]  # type: ignore[assignment]
            with step(4, _FLOW):
                answer = service.answer(work.opened.question, work.found)
            self._build(work, answer)

    def _sign_one(self, work: _Work) -> None:
        if work.body is not None:
            work.key = self._key()
            work.signed = sign(work.body, work.key, form=self._key_info, flow=_FLOW)

    def _check_one(self, work: _Work) -> None:
        if work.signed is not None and work.key is not None:
            work.made = check(work.signed, work.key, bounds=self._bounds, flow=_FLOW)

    def _apply(self, connection: Connection, group: Sequence[_Work]) -> None:
        """The effects of those that have one, and their answers. What fails leaves nothing behind, each for itself."""
        for work in group:
            if not work.is_new or _info(work).service_id not in self._writing:
                continue
            opened, signer = work.opened, work.opened.evidence.signer
            info = _info(work)
            service: WritingService[Any] = self._services[info.service_id]  # type: ignore[assignment]
            provenance = Provenance(
                info.message_id, info.sender.sender_id, signer.subject, signer.serial, opened.received_at
            )
            try:
                with connection.begin_nested():
                    with step(4, _FLOW):
                        answer = service.apply(connection, opened.question, provenance)
                    self._build(work, answer)
                    self._sign_one(work)
                    self._check_one(work)
            except DBAPIError:
                # the store, not the request: the whole group is tried again or fails
                raise
            except Exception as error:
                work.refuse(error)
                work.made = self._fault(work, refusal_of(error))

    def _build(self, work: _Work, answer: ServiceAnswer) -> None:
        """The Body of an answer."""
        info = _info(work)
        with step(5, _FLOW):
            response_id = self._new_message_id()
            said = ResponseInfo(
                message_id=response_id,
                response_date=work.opened.received_at,
                status=answer.status,
                # an asker without a chain of its own finds its message id there
                correlation_id=info.correlation_id or info.message_id,
            )
            payload = answer.payload
            if isinstance(payload, WrittenPayload) and answer.codec is PayloadCodec.ELEMENT:
                work.body = sync_channel.write_response(said, payload)
            else:
                work.body = sync_channel.build_response(said, answer.element, answer.codec)
        work.response_id, work.code = response_id, answer.status.code

    def _repeat(self, work: _Work, row: InboxRow) -> None:
        """The stored answer again, the same bytes. Raises RequestRefused when they are no longer kept."""
        record = None if row.reply_journal_id is None else self._journal.get(row.reply_journal_id)
        if record is None or record.body is None:
            raise NamedRefusal(
                FaultCode.MESSAGE_FORMAT, "this message was answered before; ask with a new messageId", "answer_gone"
            )
        work.made = Outgoing(record.body, record.signer, Verdict.SIGNED, record.id)
        work.response_id, work.code = record.message_id, "repeated"

    def _sign(self, body: etree._Element) -> Outgoing:
        return sign_and_check(body, self._key(), form=self._key_info, bounds=self._bounds, flow=_FLOW)

    def _fault(self, work: _Work, refusal: Refusal) -> Outgoing:
        return self._faults.fault(ErrorInfo(str(refusal.code), refusal.message, work.opened.received_at))

    def _commit(self, group: Sequence[_Work]) -> Exception | None:
        """Effects, both messages of everybody, the inbox and the quotas, in one transaction; the error when it failed.

        Raises _Raced.
        """
        try:
            with step(8, _FLOW), writing(self._engine) as connection:
                self._write(connection, group)
        except _Raced:
            raise
        except Exception as error:
            return error
        return None

    def _write(self, connection: Connection, group: Sequence[_Work]) -> None:
        """Raises _Raced."""
        self._apply(connection, group)
        entries = [entry for work in group for entry in _entries(work)]
        counted: dict[quota.Counter, int] = {}
        for work in group:
            if work.is_new:
                for counter in work.counters:
                    counted[counter] = counted.get(counter, 0) + 1
        quota.add(connection, counted)
        if connection.dialect.name == "postgresql":
            self._store(connection, group, entries)
            return
        registered = register_many(connection, _arrivals(group, self._writer.append_many(connection, entries)))
        if any(one.arrival is not Arrival.FIRST for one in registered):
            raise _Raced

    def _store(self, connection: Connection, group: Sequence[_Work], entries: Sequence[JournalEntry]) -> None:
        """Both messages of everybody, the inbox and the commit in one exchange with the server. Raises _Raced."""
        ids, appending = self._writer.appending(connection, entries)
        try:
            run_together(connection, (appending, registering(_arrivals(group, ids))), commit=True)
        except IntegrityError as error:
            if is_taken(error):
                raise _Raced from None
            raise

    def _fail(self, group: Sequence[_Work], error: Exception) -> None:
        """Nobody of the group can be answered: faults, in the journal if it can take them."""
        for work in group:
            work.refusal = work.refusal or refusal_of(error)
            work.made = self._fault(work, work.refusal)
        unstored = self._commit(group)
        if unstored is None:
            return
        for work in group:
            # nothing may leave that the journal does not know, except the word that we cannot serve
            work.is_journalled = False
            work.note = failure_of(unstored)
            own = ErrorInfo(FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, work.opened.received_at)
            work.made = self._faults.fault(own)

    def _reply(self, work: _Work, log: structlog.typing.FilteringBoundLogger) -> ServedReply:
        """What leaves, told in the log."""
        opened, outgoing = work.opened, work.outgoing
        message_id = shown_id(opened.message_id)
        if work.refusal is None:
            if work.is_new and opened.evidence.revocation.status == RevocationState.UNKNOWN:
                log.warning(
                    "trust",
                    action="unknown_revocation_accepted",
                    flow=_FLOW,
                    service_id=_info(work).service_id,
                    message_id=message_id,
                )
            log.info(
                "exchange",
                action="served",
                flow=_FLOW,
                service_id=_info(work).service_id,
                message_id=message_id,
                code=work.code,
            )
            return ServedReply(200, outgoing.data, opened.message_id)
        refusal = work.refusal
        tell = log.error if refusal.verdict == "id_reused" else log.warning
        tell(
            "exchange",
            action="refused",
            flow=_FLOW,
            service_id="" if opened.info is None else shown_id(opened.info.service_id),
            message_id=message_id,
            code=str(refusal.code),
            verdict=refusal.verdict,
            note=refusal.note,
        )
        if not work.is_journalled:
            log.error("exchange", action="journal_failed", message_id=message_id, code=work.note)
        return ServedReply(500, outgoing.data, opened.message_id)


# ---------------------------------------------------------------- decisions (pure)


def _info(work: _Work) -> RequestInfo:
    info = work.opened.info
    if info is None:
        raise MalformedMessage("a request without requestInfo is not answered", code="no_request_info")
    return info


def _is_down(error: Exception) -> bool:
    """The database cannot be used at all: trying again for each request would only make them wait one by one."""
    cause = error.__cause__
    # two groups whose writing services lock the same things crosswise: one of them was broken off, and may go on
    if isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) == _DEADLOCK:
        return False
    return isinstance(cause, (OperationalError, InterfaceError, PoolTimeoutError))


def _entries(work: _Work) -> tuple[JournalEntry, JournalEntry]:
    opened, outgoing = work.opened, work.outgoing
    info = opened.info
    if work.refusal is not None:
        verdict, kind, note = work.refusal.verdict, EntryKind.FAULT, work.refusal.note or work.note
    else:
        verdict, kind, note = Verdict.ACCEPTED if work.earlier is None else "duplicate", EntryKind.REPLY, work.note
    incoming = JournalEntry(
        at=opened.received_at,
        direction=MessageDirection.IN,
        step=10,
        kind=EntryKind.REQUEST,
        service_id=info.service_id if info is not None else "",
        message_id=info.message_id if info is not None else "",
        correlation_id=info.correlation_id if info is not None else "",
        peer=opened.peer,
        body=opened.data,
        body_bytes=opened.body_bytes,
        signer=opened.evidence.signer,
        verdict=verdict,
        revocation=opened.evidence.revocation,
        deciding=opened.evidence.deciding,
        note=note,
    )
    reply = JournalEntry(
        at=opened.received_at,
        direction=MessageDirection.OUT,
        step=8,
        kind=kind,
        service_id=incoming.service_id,
        message_id=work.response_id if work.refusal is None else "",
        correlation_id=incoming.message_id,
        peer=opened.peer,
        body=outgoing.data,
        signer=outgoing.signer,
        verdict=outgoing.verdict,
        note="" if outgoing.repeats is None else f"the bytes of journal entry {outgoing.repeats}",
    )
    return incoming, reply


def _arrivals(group: Sequence[_Work], ids: Sequence[int]) -> list[Arrived]:
    """`ids`: of both journal rows of everybody."""
    return [_arrived(work, ids[2 * number], ids[2 * number + 1]) for number, work in enumerate(group) if work.is_new]


def _arrived(work: _Work, request_journal_id: int, reply_journal_id: int) -> Arrived:
    opened, info = work.opened, _info(work)
    return Arrived(
        sender=info.sender.sender_id,
        service_id=info.service_id,
        message_id=info.message_id,
        body_sha256=opened.body_sha256,
        received_at=opened.received_at,
        flow="sync",
        request_journal_id=request_journal_id,
        reply_journal_id=reply_journal_id,
        correlation_id=info.correlation_id,
        by_body=opened.by_body,
    )
