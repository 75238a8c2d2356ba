"""What the simulated gateway brings to participants: answers of the systems behind it, messages of others, news of
what became of their own. It decides and signs; a postman does the posting.
"""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from lxml import etree

from gateway.errors import MalformedMessage, OperatorError
from gateway.sandbox.gate import Gate, RequestRefused
from gateway.sandbox.mailbox import AnswerDue, Job, Mailbox, Parcel, TellDue
from gateway.sandbox.misbehaviour import Misbehaviour, Occasion, Order, Orders, Point
from gateway.sandbox.participants import Participants
from gateway.sandbox.received import forget_oldest
from gateway.sandbox.registers import Question, Registers
from gateway.sandbox.replies import Replier, session_id
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessage,
    AsyncMessageInfo,
    MessageAck,
    MessageState,
    MessageStatusInfo,
    MessageType,
    Operation,
    StatusChange,
    StatusChangeAck,
)
from gateway.shep.messages import ErrorInfo, Sender
from gateway.shep.payload import OUR_OWN, PayloadCodec, encode
from gateway.xml import parse

_LOG: Final = structlog.get_logger()
#: ids are decimal strings (SHEP.md 2.3)
_FIRST_ID: Final = 10_000_001
#: these need a plausible untruth beside the true content
_LIARS: Final = frozenset({Misbehaviour.WRAPPED_FORGERY, Misbehaviour.WRONG_SIGNATURE, Misbehaviour.OTHER_BYTES})
#: due after `seconds`, or as soon as another message overtakes it
_PUT_OFF: Final = frozenset({Misbehaviour.LATE, Misbehaviour.REORDER})


@dataclass(frozen=True, slots=True)
class AsyncPolicy:
    """How the simulated gateway goes about delivering. Nothing of it is public (SHEP.md 2.3)."""

    #: between the acknowledgement of a REQUEST and its answer
    answer_after_s: float = 1.0
    #: between the attempts to push one message; after the last the delivery is stopped
    push_intervals_s: tuple[float, ...] = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
    #: messages of one getMessages when no amount is asked for
    batch_messages: int = 10
    #: tell senders who are pushed to what became of their messages
    tells_senders: bool = True


DEFAULT_POLICY: Final = AsyncPolicy()


@dataclass(frozen=True, slots=True)
class Push:
    """One HTTP request to a participant."""

    url: str
    message: bytes
    job: Parcel | TellDue


class Dispatch:
    """Safe to use from several threads; `lock` is held by whoever changes more than one thing at once."""

    def __init__(
        self,
        *,
        gate: Gate,
        replier: Replier,
        registers: Registers,
        orders: Orders,
        participants: Participants,
        policy: AsyncPolicy = DEFAULT_POLICY,
        seed: int = 1,
    ) -> None:
        self.participants = participants
        self.policy = policy
        self.lock = threading.RLock()
        #: set when something new may be due
        self.news = threading.Event()
        self._gate = gate
        self._replier = replier
        self._registers = registers
        self._orders = orders
        self._first_id = _FIRST_ID + seed % 1_000 * 10_000_000
        self.clear()

    def clear(self) -> None:
        """Forget everything, as at the start."""
        with self.lock:
            self._ids = itertools.count(self._first_id)
            self.mailbox = Mailbox()
            #: correlation ids of exchanges that were opened, the newest
            self._correlations: dict[str, None] = {}

    def new_id(self) -> str:
        return str(next(self._ids))

    def open(self, correlation_id: str) -> None:
        self._correlations[correlation_id] = None
        forget_oldest(self._correlations)

    def is_open(self, correlation_id: str) -> bool:
        return correlation_id in self._correlations

    def answer_later(self, question: Question, correlation_id: str, to: str, now: dt.datetime) -> None:
        """The register's answer to a REQUEST is due after a while."""
        due_at = now + dt.timedelta(seconds=self.policy.answer_after_s)
        self.mailbox.put(AnswerDue(question, correlation_id, to), due_at)
        self.news.set()

    def again(self, parcel: Parcel, now: dt.datetime) -> None:
        """The receiver asks for it once more."""
        parcel.outcomes.append("asked for again")
        self.mailbox.release(parcel, now)
        self.news.set()

    # ------------------------------------------------------------ what is due

    def next_due(self) -> dt.datetime | None:
        """When there is something to be done next, None when nothing is under way."""
        with self.lock:
            return self.mailbox.next_due()

    def next_push(self, *, now: dt.datetime) -> Push | None:
        """Make the answers that are due, and hand on the next message to be pushed. None when nothing is due."""
        with self.lock:
            while (job := self.mailbox.take_due(now)) is not None:
                push = self._work(job, now)
                if push is not None:
                    return push
            return None

    def _work(self, job: Job, now: dt.datetime) -> Push | None:
        if isinstance(job, AnswerDue):
            self._make_answer(job, now)
            return None
        if isinstance(job, TellDue):
            return self._change(job, now)
        if job.finished or job.due_at > now:  # it was put off, or brought forward and done
            return None
        return Push(job.push_to, self._push_message(job), job)

    def _push_message(self, parcel: Parcel) -> bytes:
        return self._replier.message(
            async_channel.build_forwarded_message(AsyncMessage(parcel.info, parcel.contents[0])),
            parcel.kind,
            lambda: async_channel.build_forwarded_message(AsyncMessage(parcel.info, parcel.lie)),
        )

    def _make_answer(self, due: AnswerDue, now: dt.datetime) -> None:
        """The register's answer becomes a RESPONSE on its way, as an order says it should."""
        question = due.question
        occasion = Occasion(
            Point.DELIVERY,
            Operation.SEND_MESSAGE.value,
            question.system.slug,
            question.service_id,
            MessageType.RESPONSE.value,
            question.iin,
        )
        order = self._orders.take(occasion, now=now)
        kind = order.kind if order else None
        payload = (
            self._registers.about_another(question, now)[1]
            if kind is Misbehaviour.OTHER_PERSON
            else self._registers.answer(question, now)
        )
        info = AsyncMessageInfo(
            service_id=question.service_id,
            message_type=MessageType.RESPONSE,
            message_date=now,
            sender=Sender(question.system.slug),
            message_id=self.new_id(),
            correlation_id=self.new_id() if kind is Misbehaviour.WRONG_CORRELATION else due.correlation_id,
        )
        lie = self._content(self._registers.untruth(question, now), question) if kind in _LIARS else None
        self._post(info, due.to, self._content(payload, question), order, now, lie=lie)

    def _content(self, payload: etree._Element, question: Question) -> etree._Element:
        payload, sign_data = self._registers.signed(payload, question, self._replier.key)
        data = encode(payload, question.codec)
        return parse(data if sign_data is None else sign_data(data), OUR_OWN)

    def _post(
        self,
        info: AsyncMessageInfo,
        to: str,
        content: etree._Element | None,
        order: Order | None,
        now: dt.datetime,
        *,
        lie: etree._Element | None = None,
    ) -> Parcel:
        kind = order.kind if order else None
        shift = dt.timedelta(seconds=order.seconds if order else 0)
        parcel = Parcel(
            info=replace(info, message_date=now + shift) if kind is Misbehaviour.SKEW else info,
            to=to,
            push_to=self.participants.push_to(to, info.service_id),
            due_at=now + shift if kind in _PUT_OFF else now,
            contents=[content],
            kind=kind,
            lie=content if lie is None else lie,
            held=kind is Misbehaviour.REORDER,
        )
        if kind is Misbehaviour.TWICE:
            parcel.contents.append(content)
        if kind is Misbehaviour.OTHER_BYTES:
            parcel.contents.append(parcel.lie)
        if kind is Misbehaviour.LOSE_MESSAGE:
            parcel.state = MessageState.NOT_DELIVERED
            parcel.outcomes.append("lost")
        self.mailbox.post(parcel)
        self.news.set()
        return parcel

    # ------------------------------------------------------------ what became of a push

    def pushed(self, push: Push, status: int | None, reply: bytes, *, now: dt.datetime) -> None:
        """The participant's reply to a push; `status` None: it was not reached or did not reply."""
        why = "unreachable" if status is None else self._refusal(push, status, reply, now)
        with self.lock:
            if isinstance(push.job, TellDue):
                self._told(push.job, why, now)
            elif not push.job.finished:
                self._delivered(push.job, why, now)

    def _refusal(self, push: Push, status: int, reply: bytes, now: dt.datetime) -> str:
        """Why a participant's reply is no acknowledgement; "" when it is one."""
        try:
            body = self._gate.pass_in(reply, now=now).body
            ack: MessageAck | StatusChangeAck | ErrorInfo
            if isinstance(push.job, TellDue):
                ack = async_channel.read_change_status_notification_ack(body)
            else:
                ack = async_channel.read_send_message_ack(body)
        except RequestRefused as refused:
            return f"HTTP {status}, {refused.why}"
        except MalformedMessage as error:
            return f"HTTP {status}, {error.code}"
        if isinstance(ack, ErrorInfo):
            return f"fault {ack.code}"
        return "" if status == 200 else f"HTTP {status}"

    def _delivered(self, parcel: Parcel, why: str, now: dt.datetime) -> None:
        parcel.attempts += 1
        parcel.outcomes.append(why or "acknowledged")
        _LOG.info("sandbox", action="pushed", message_id=parcel.info.message_id, outcome=parcel.outcomes[-1])
        if not why and len(parcel.contents) > 1:
            del parcel.contents[0]
            self.mailbox.release(parcel, now)
        elif not why:
            self.finish(parcel, MessageState.DELIVERED)
        elif (pause_s := self._pause_s(parcel.attempts)) is not None:
            self.mailbox.release(parcel, now + dt.timedelta(seconds=pause_s))
        else:
            self.finish(parcel, MessageState.DELIVERY_STOPPED)

    def _pause_s(self, attempts: int) -> float | None:
        intervals = self.policy.push_intervals_s
        return intervals[attempts - 1] if attempts <= len(intervals) else None

    def finish(self, parcel: Parcel, state: MessageState, outcome: str = "") -> None:
        if outcome:
            parcel.outcomes.append(outcome)
        parcel.state = state

    # ------------------------------------------------------------ changeMassageStatusNotification

    def tell(self, told: TellDue, now: dt.datetime) -> None:
        if self.policy.tells_senders and self.participants.push_to(told.to, told.service_id):
            self.mailbox.put(told, now)
            self.news.set()

    def _change(self, told: TellDue, now: dt.datetime) -> Push | None:
        url = self.participants.push_to(told.to, told.service_id)
        if not url:  # nobody is pushed to any longer
            return None
        body = async_channel.build_change_status_notification(
            StatusChange(
                notification_id=self.new_id(),
                message_id=told.message_id,
                notification_date=now,
                state=told.state,
                status=MessageStatusInfo(told.state.value, "sandbox", now),
                request_date=now,
                session_id=session_id(),
            )
        )
        return Push(url, self._replier.message(body, None, lambda: body), told)

    def _told(self, told: TellDue, why: str, now: dt.datetime) -> None:
        attempts = told.attempts + 1
        pause_s = self._pause_s(attempts) if why else None
        if pause_s is not None:
            self.mailbox.put(replace(told, attempts=attempts), now + dt.timedelta(seconds=pause_s))

    # ------------------------------------------------------------ others who ask us

    def send(self, document: Any, *, now: dt.datetime) -> dict[str, str]:
        """A message of another participant to ours, from parsed JSON. Raises OperatorError (`bad_message`).

        Keys: `data` (the payload, XML), `service_id`, `to`, and if need be `from`, `message_type`, `codec`,
        `correlation_id`, `message_id`.
        """
        values = _read_message(document)
        codec = PayloadCodec(values["codec"])
        try:
            content = parse(encode(parse(values["data"].encode()), codec), OUR_OWN)
        except MalformedMessage as error:
            raise _bad_message(f"'data' is not usable: {error.message}") from None
        with self.lock:
            kind = MessageType(values["message_type"])
            correlation_id = values["correlation_id"] or self.new_id()
            info = AsyncMessageInfo(
                service_id=values["service_id"],
                message_type=kind,
                message_date=now,
                sender=Sender(values["from"]),
                message_id=values["message_id"] or self.new_id(),
                correlation_id=correlation_id,
            )
            if kind is MessageType.REQUEST:
                self.open(correlation_id)
            occasion = Occasion(Point.DELIVERY, Operation.SEND_MESSAGE.value, "", info.service_id, kind.value)
            parcel = self._post(info, values["to"], content, self._orders.take(occasion, now=now), now)
            return {"message_id": parcel.info.message_id, "correlation_id": parcel.info.correlation_id}

    def deliveries(self) -> list[dict[str, Any]]:
        """Every message for a participant and what became of it, oldest first."""
        with self.lock:
            return [parcel.as_dict() for parcel in self.mailbox.parcels()]


_MESSAGE_KEYS: Final = {
    "data": None,
    "service_id": None,
    "to": "",
    "from": "another-participant",
    "message_type": MessageType.REQUEST.value,
    "codec": PayloadCodec.ELEMENT.value,
    "correlation_id": "",
    "message_id": "",
}


def _read_message(document: Any) -> dict[str, str]:
    if not isinstance(document, Mapping) or not all(isinstance(value, str) for value in document.values()):
        raise _bad_message("write a JSON object of texts with 'service_id' and 'data'")
    unknown = sorted(set(document) - set(_MESSAGE_KEYS))
    if unknown:
        raise _bad_message(f"the key {unknown[0]!r} is not known; there are {', '.join(_MESSAGE_KEYS)}")
    values = {key: document.get(key, default) for key, default in _MESSAGE_KEYS.items()}
    for key in ("data", "service_id", "from"):
        if not values[key]:
            raise _bad_message(f"{key!r} is missing")
    for key, among in (("message_type", MessageType), ("codec", PayloadCodec)):
        if values[key] not in set(among):
            raise _bad_message(f"{key!r} is one of {', '.join(among)}")
    return {key: str(value) for key, value in values.items()}


def _bad_message(why: str) -> OperatorError:
    return OperatorError(why, code="bad_message")
