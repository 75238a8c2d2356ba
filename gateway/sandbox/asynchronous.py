"""The gateway's side of AsyncChannel v10 (IAsyncChannel), simulated: ids, acknowledgements, delivery by push or poll.

What the public record leaves open is decided here and said in docs/reference/sandbox.md: an id given twice with the
same content is one message; what is fetched is handed out until it is confirmed; an unknown id is NOT_DELIVERED.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog
from lxml import etree

from gateway.errors import MalformedMessage
from gateway.sandbox.dispatch import Dispatch
from gateway.sandbox.gate import Gate, RequestRefused
from gateway.sandbox.mailbox import TellDue
from gateway.sandbox.misbehaviour import Misbehaviour, Occasion, Orders, Point
from gateway.sandbox.received import Received, ReceivedLog, digests, forget_oldest
from gateway.sandbox.registers import Question, Registers
from gateway.sandbox.replies import LOST, OUT_OF_SERVICE, Replier, Reply, session_id
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessage,
    AsyncMessageInfo,
    DeliveryNotificationAck,
    MessageAck,
    Messages,
    MessageState,
    MessageStatus,
    MessageStatusInfo,
    MessageType,
    Operation,
    ReceiveStatus,
    Resend,
)
from gateway.shep.faults import FaultCode

_LOG: Final = structlog.get_logger()
#: an id that is never given
_NOBODYS_ID: Final = "1"


@dataclass(frozen=True, slots=True)
class _Known:
    """A message that came with an id of its sender's."""

    content_sha256: str
    ack: MessageAck


@dataclass(frozen=True, slots=True)
class _Understood:
    operation: Operation
    received: Received
    #: makes the reply Body and says how the request ended
    act: Callable[[dt.datetime], tuple[etree._Element, Received]]
    occasion: Occasion


class AsynchronousGateway:
    """Safe to use from several threads."""

    def __init__(
        self,
        *,
        gate: Gate,
        replier: Replier,
        registers: Registers,
        orders: Orders,
        received: ReceivedLog,
        dispatch: Dispatch,
    ) -> None:
        self._gate = gate
        self._replier = replier
        self._registers = registers
        self._orders = orders
        self._received = received
        self._dispatch = dispatch
        self.clear()

    def clear(self) -> None:
        """Forget every message, as at the start."""
        with self._dispatch.lock:
            self._known: dict[tuple[str, str], _Known] = {}
            #: of messages that participants sent, by their id
            self._state_of: dict[str, MessageState] = {}
            self._dispatch.clear()

    # ------------------------------------------------------------ what is posted to /bip-async/

    def answer(self, data: bytes, *, now: dt.datetime) -> Reply:
        """The reply to one POST. Never raises for what came from outside."""
        operation, body = Operation.SEND_MESSAGE, None
        try:
            body = self._gate.pass_in(data, now=now).body
            try:
                operation = async_channel.operation_of(body)
            except MalformedMessage as error:
                raise RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
            with self._dispatch.lock:
                return self._answer(operation, data, body, now)
        except RequestRefused as refused:
            _LOG.info("sandbox", action="refused", code=refused.code.value, why=refused.why)
            entry = self._entry(operation, data, body, now)
            self._received.add(replace(entry, end=f"fault {refused.code}: {refused.why}"))
            return self._fault(operation, refused.code.value, refused.why, now)

    def refuse_too_large(self, *, now: dt.datetime) -> Reply:
        return self._fault(Operation.SEND_MESSAGE, FaultCode.MESSAGE_FORMAT.value, "too_large", now)

    def _fault(self, operation: Operation, code: str, why: str, now: dt.datetime) -> Reply:
        return self._replier.fault(lambda error: async_channel.build_fault(operation, error), code, now, why=why)

    def _entry(self, operation: Operation, data: bytes, body: etree._Element | None, now: dt.datetime) -> Received:
        message_sha256, content_sha256 = digests(data, body)
        return Received(
            at=now,
            channel="async",
            operation=operation.value,
            message_sha256=message_sha256,
            content_sha256=content_sha256,
            size_bytes=len(data),
        )

    def _answer(self, operation: Operation, data: bytes, body: etree._Element, now: dt.datetime) -> Reply:
        entry = self._entry(operation, data, body, now)
        readers: Mapping[Operation, Callable[[etree._Element, Received, dt.datetime], _Understood]] = {
            Operation.SEND_MESSAGE: self._send_message,
            Operation.SEND_DELIVERY_NOTIFICATION: self._delivery_notification,
            Operation.GET_MESSAGE_STATUS: self._message_status,
            Operation.GET_MESSAGES: self._get_messages,
        }
        read = readers.get(operation)
        if read is None:  # the participants' operation
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, "not_for_the_gateway")
        try:
            understood = read(body, entry, now)
        except MalformedMessage as error:
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None

        arrival = self._orders.take(replace(understood.occasion, point=Point.ARRIVAL), now=now)
        if arrival is not None:
            outage = arrival.kind is Misbehaviour.OUTAGE
            end = "out of service" if outage else "lost on arrival"
            self._received.add(replace(understood.received, end=end, misbehaviour=arrival.kind.value))
            return OUT_OF_SERVICE if outage else LOST

        order = self._orders.take(understood.occasion, now=now)
        clock = now + dt.timedelta(seconds=order.seconds) if order and order.kind is Misbehaviour.SKEW else now
        refusal = self._replier.ordered_fault(order, lambda error: async_channel.build_fault(operation, error), now)
        if refusal is not None and order is not None:
            self._received.add(replace(understood.received, end="fault on order", misbehaviour=order.kind.value))
            return refusal
        reply_body, done = understood.act(clock)
        if order is not None:
            done = replace(done, misbehaviour=order.kind.value)
        self._received.add(done)
        _LOG.info(
            "sandbox",
            action=done.end,
            operation=operation.value,
            service_id=done.service_id,
            message_id=done.message_id,
            misbehaviour=done.misbehaviour,
        )
        if order is not None and order.kind is Misbehaviour.CHANGED_IDS:
            reply_body = self._with_other_ids(operation, reply_body, clock)
        return self._replier.reply(reply_body, order, lie=lambda: self._with_other_ids(operation, reply_body, clock))

    def _with_other_ids(self, operation: Operation, body: etree._Element, now: dt.datetime) -> etree._Element:
        """An acknowledgement of something else; what is no acknowledgement stays as it is."""
        if operation is not Operation.SEND_MESSAGE:
            return body
        return async_channel.build_send_message_ack(MessageAck(_NOBODYS_ID, _NOBODYS_ID, now, session_id()))

    # ------------------------------------------------------------ sendMessage

    def _send_message(self, body: etree._Element, entry: Received, now: dt.datetime) -> _Understood:
        message = async_channel.read_send_message(body)
        info = message.info
        entry = replace(
            entry,
            service_id=info.service_id,
            message_type=info.message_type.value,
            sender_id=info.sender.sender_id,
            message_id=info.message_id,
            correlation_id=info.correlation_id,
        )
        question: Question | None = None
        if info.message_type is MessageType.REQUEST:
            question = self._registers.understand(info.service_id, info.message_id, message.data)
        elif not self._dispatch.is_open(info.correlation_id):
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, "unknown_correlation")
        occasion = Occasion(
            operation=Operation.SEND_MESSAGE.value,
            system=question.system.slug if question else "",
            service_id=info.service_id,
            message_type=info.message_type.value,
            iin=question.iin if question else "",
        )

        def act(clock: dt.datetime) -> tuple[etree._Element, Received]:
            ack, end = self._take_in(message, question, entry, now)
            given = replace(entry, end=end, given_message_id=ack.message_id, given_correlation_id=ack.correlation_id)
            return async_channel.build_send_message_ack(replace(ack, response_date=clock)), given

        self._check_id_is_free(info, entry)
        return _Understood(Operation.SEND_MESSAGE, entry, act, occasion)

    def _check_id_is_free(self, info: AsyncMessageInfo, entry: Received) -> None:
        known = self._known.get((info.sender.sender_id, info.message_id)) if info.message_id else None
        if known is not None and known.content_sha256 != entry.content_sha256:
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, "id_used_for_another_message")

    def _take_in(
        self, message: AsyncMessage, question: Question | None, entry: Received, now: dt.datetime
    ) -> tuple[MessageAck, str]:
        info = message.info
        sender = info.sender.sender_id
        known = self._known.get((sender, info.message_id)) if info.message_id else None
        if known is not None:
            return known.ack, "duplicate"
        message_id = info.message_id or self._dispatch.new_id()
        correlation_id = info.correlation_id or self._dispatch.new_id()
        ack = MessageAck(message_id, correlation_id, now, session_id())
        if info.message_id:
            self._known[sender, info.message_id] = _Known(entry.content_sha256, ack)
            forget_oldest(self._known)
        if question is not None:
            self._dispatch.open(correlation_id)
            self._dispatch.answer_later(replace(question, message_id=message_id), correlation_id, sender, now)
        self._arrived(message_id, sender, info.service_id, now)
        return ack, "acknowledged"

    def _arrived(self, message_id: str, sender: str, service_id: str, now: dt.datetime) -> None:
        """The system behind has it at once; its sender is told."""
        self._state_of[message_id] = MessageState.DELIVERED
        forget_oldest(self._state_of)
        self._dispatch.tell(TellDue(sender, service_id, message_id, MessageState.DELIVERED), now)

    # ------------------------------------------------------------ the other three operations

    def _delivery_notification(self, body: etree._Element, entry: Received, now: dt.datetime) -> _Understood:
        told = async_channel.read_send_delivery_notification(body)
        entry = replace(
            entry,
            service_id=told.service_id,
            message_id=told.message_id,
            sender_id=told.sender.sender_id if told.sender else "",
        )
        parcel = self._dispatch.mailbox.find(told.message_id)
        if parcel is None:
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, "unknown_message")

        def act(clock: dt.datetime) -> tuple[etree._Element, Received]:
            accepted = told.receive_status is ReceiveStatus.ACCEPTED
            again = told.resend is Resend.RESEND
            if accepted:
                self._dispatch.finish(parcel, MessageState.DELIVERED, "accepted")
            elif again:
                self._dispatch.again(parcel, now)
            else:
                self._dispatch.finish(parcel, MessageState.NOT_DELIVERED, "not accepted")
            end = "accepted" if accepted else "asked for again" if again else "not accepted"
            ack = DeliveryNotificationAck(self._dispatch.new_id(), clock, session_id())
            return async_channel.build_send_delivery_notification_ack(ack), replace(entry, end=end)

        occasion = Occasion(operation=Operation.SEND_DELIVERY_NOTIFICATION.value, service_id=told.service_id)
        return _Understood(Operation.SEND_DELIVERY_NOTIFICATION, entry, act, occasion)

    def _message_status(self, body: etree._Element, entry: Received, _: dt.datetime) -> _Understood:
        query = async_channel.read_get_message_status(body)
        entry = replace(entry, message_id=query.message_id, sender_id=query.sender.sender_id)

        def act(clock: dt.datetime) -> tuple[etree._Element, Received]:
            parcel = self._dispatch.mailbox.find(query.message_id)
            state = parcel.state if parcel else self._state_of.get(query.message_id)
            code = "MESSAGE_NOT_FOUND" if state is None else state.value
            status = MessageStatus(
                state or MessageState.NOT_DELIVERED,
                MessageStatusInfo(code, "sandbox", clock),
                clock,
                session_id(),
            )
            return async_channel.build_get_message_status_reply(status), replace(entry, end=code)

        occasion = Occasion(operation=Operation.GET_MESSAGE_STATUS.value)
        return _Understood(Operation.GET_MESSAGE_STATUS, entry, act, occasion)

    def _get_messages(self, body: etree._Element, entry: Received, now: dt.datetime) -> _Understood:
        query = async_channel.read_get_messages(body)
        to = query.sender.sender_id if query.sender else ""
        entry = replace(entry, service_id=query.service_id, sender_id=to)

        def act(clock: dt.datetime) -> tuple[etree._Element, Received]:
            messages: list[AsyncMessage] = []
            limit = min(query.amount or self._dispatch.policy.batch_messages, async_channel.MAX_MESSAGES)
            for parcel in self._dispatch.mailbox.waiting_for(to, query.service_id, now=now):
                if query.message_id not in ("", parcel.info.message_id):
                    continue
                if query.correlation_id not in ("", parcel.info.correlation_id):
                    continue
                if len(messages) + len(parcel.contents) > limit and messages:
                    break
                parcel.attempts += 1
                parcel.outcomes.append("fetched")
                messages.extend(AsyncMessage(parcel.info, content) for content in parcel.contents)
            reply = Messages(clock, session_id(), tuple(messages))
            return async_channel.build_get_messages_reply(reply), replace(entry, end=f"{len(messages)} messages")

        system = self._registers.system_of(query.service_id)
        occasion = Occasion(
            operation=Operation.GET_MESSAGES.value, service_id=query.service_id, system=system.slug if system else ""
        )
        return _Understood(Operation.GET_MESSAGES, entry, act, occasion)
