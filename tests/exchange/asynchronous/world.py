"""The gateway's side of the asynchronous channel, as a Transport and as who pushes: it verifies and signs for real."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lxml import etree
from sqlalchemy import Engine

from gateway import resources
from gateway.exchange.ask import Asker
from gateway.exchange.asynchronous.participant import Participant, participant
from gateway.exchange.asynchronous.receiving import ReceiverPolicy
from gateway.exchange.journal import Journal, JournalWriter
from gateway.exchange.outbox import Exchange
from gateway.exchange.tables import EXCHANGE, INBOX
from gateway.exchange.transport import Reply, one_by_one
from gateway.exchange.workers import Worker
from gateway.fund.consumer import SERVICE_ID, ConsumerStatusService
from gateway.model import Household
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
    StatusChange,
)
from gateway.shep.messages import ErrorInfo, Sender
from gateway.shep.payload import PayloadCodec, decode, encode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_systems
from gateway.xml import parse
from tests.exchange.world import HOUSEHOLD, NOW, URL, Keys, Register, body_of, law, message_ids, policy, trust

SYSTEM = "cbdi"
SERVICE = "CBDI_DISABILITY_DRAFT"
SESSION = "{3c59dc04-8e88-4502-ab1f-0000000000aa}"
ASYNC_URL = URL.replace("/bip-sync-wss/", "/bip-async/")


def async_folder(
    target: Path, *, message_id: str = "gateway", delivery: str = "push", idempotent: bool = True, extra: str = ""
) -> Mapping[str, SystemDefinition]:
    """A shipped mapper copied into a folder of its own, with nothing changed but its system.toml."""
    folder = target / SYSTEM
    shutil.copytree(resources.mappers_path() / SYSTEM, folder)
    file = folder / "system.toml"
    text = file.read_text(encoding="utf-8")
    for old, new in (
        ('channel = "sync"', f'channel = "async"\ndelivery = "{delivery}"'),
        ('message_id = "ours"', f'message_id = "{message_id}"'),
        ("idempotent = true", f"idempotent = {str(idempotent).lower()}"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    if extra:
        with (folder / "mapper.py").open("a", encoding="utf-8") as mapper:
            mapper.write(extra)
    return find_systems([target])


class Clock:
    """Stands still until it is told."""

    def __init__(self, now: dt.datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now

    def move(self, **span: float) -> dt.datetime:
        self.now += dt.timedelta(**span)
        return self.now


@dataclass
class Shep:
    """The gateway. Everything it may be told to do differently is an attribute."""

    keys: Keys
    systems: Mapping[str, SystemDefinition]
    clock: Clock
    household: Household = HOUSEHOLD
    signer: str = "shep"
    form: KeyInfoForm = KeyInfoForm.ISSUER_SERIAL
    #: raised instead of an answer, once the request was taken (None: nothing of it is lost)
    lose: Exception | None = None
    #: raised before anything arrives
    unreachable: Exception | None = None
    fault: ErrorInfo | None = None
    change: Callable[[bytes], bytes] = lambda data: data
    change_ack: Callable[[MessageAck], MessageAck] = lambda ack: ack
    states: dict[str, MessageState] = field(default_factory=dict)
    #: what getMessages gives, until it is notified
    waiting: list[AsyncMessage] = field(default_factory=list)
    #: every message that arrived, by our own bytes
    taken: list[tuple[AsyncMessage, bytes]] = field(default_factory=list)
    notified: list[Any] = field(default_factory=list)
    asked: list[Operation] = field(default_factory=list)
    http_status: int = 200

    def __post_init__(self) -> None:
        self._numbers = itertools.count(7_000_001)
        self.acks: list[MessageAck] = []

    post_many = one_by_one

    def post(self, url: str, content: bytes, **_: object) -> Reply:
        assert url == ASYNC_URL
        if self.unreachable is not None:
            raise self.unreachable
        body = body_of(content, self.keys["gateway"])
        operation = async_channel.operation_of(body)
        self.asked.append(operation)
        reply = self._reply(operation, body, content)
        if self.lose is not None:
            raise self.lose
        if self.fault is not None:
            reply = async_channel.build_fault(operation, self.fault)
        return Reply(self.http_status, "text/xml", self.change(self.sign(reply)))

    def _reply(self, operation: Operation, body: etree._Element, content: bytes) -> etree._Element:
        now = self.clock()
        if operation is Operation.SEND_MESSAGE:
            message = async_channel.read_send_message(body)
            if self.fault is None:
                self.taken.append((message, content))
            number = str(next(self._numbers))
            ack = MessageAck(
                message.info.message_id or number, message.info.correlation_id or f"c{number}", now, SESSION
            )
            self.acks.append(ack)
            return async_channel.build_send_message_ack(self.change_ack(ack))
        if operation is Operation.GET_MESSAGE_STATUS:
            query = async_channel.read_get_message_status(body)
            state = self.states.get(query.message_id)
            if state is None:
                return async_channel.build_fault(operation, ErrorInfo("SCE001", "no such message", now))
            return async_channel.build_get_message_status_reply(
                MessageStatus(state, MessageStatusInfo("S", "state", now), now, SESSION)
            )
        if operation is Operation.GET_MESSAGES:
            asked = async_channel.read_get_messages(body)
            found = tuple(m for m in self.waiting if m.info.service_id == asked.service_id)
            return async_channel.build_get_messages_reply(
                Messages(now, SESSION, found[: asked.amount] if asked.amount else found)
            )
        notification = async_channel.read_send_delivery_notification(body)
        self.notified.append(notification)
        self.waiting = [m for m in self.waiting if m.info.message_id != notification.message_id]
        return async_channel.build_send_delivery_notification_ack(DeliveryNotificationAck("n1", now, SESSION))

    def sign(self, body: etree._Element, signer: str = "") -> bytes:
        return sign_body(body, self.keys[signer or self.signer], form=self.form)

    # ------------------------------------------------------------ what it delivers

    def answer(
        self,
        *,
        message_id: str = "9000001",
        number: int = -1,
        message_type: MessageType = MessageType.RESPONSE,
        change_payload: Callable[[etree._Element], etree._Element] = lambda payload: payload,
        **info: Any,
    ) -> AsyncMessage:
        """The register's answer to a REQUEST of ours that arrived."""
        asked, _ = self.taken[number]
        definition = next(one for one in self.systems.values() if asked.info.service_id in one.service_ids)
        codec = PayloadCodec(definition.codec)
        payload = decode(asked.data, codec, root_name=definition.root_request)
        payload = change_payload(definition.simulator.answer_request(payload, self.household, now=NOW))
        correlation_id = self.acks[number].correlation_id
        return self.message(
            payload,
            codec,
            message_id=message_id,
            correlation_id=correlation_id,
            service_id=asked.info.service_id,
            message_type=message_type,
            **info,
        )

    def message(
        self, payload: etree._Element, codec: PayloadCodec, *, service_id: str, message_type: MessageType, **info: Any
    ) -> AsyncMessage:
        values = {
            "message_id": "9000001",
            "correlation_id": "c9000001",
            "message_date": self.clock(),
            "sender": Sender("shep-register", "p"),
            "session_id": SESSION,
            **info,
        }
        return AsyncMessage(
            AsyncMessageInfo(service_id=service_id, message_type=message_type, **values), parse(encode(payload, codec))
        )

    def push(self, message: AsyncMessage, *, signer: str = "", namespace: str = "") -> bytes:
        """The signed envelope that brings a message."""
        body = push_body(message)
        if namespace:
            text = etree.tostring(body).replace(b"AsyncChannel/v10/Types", namespace.encode())
            body = parse(text)
        return self.sign(body, signer)

    def change_of_state(self, message_id: str, state: MessageState, **changes: Any) -> bytes:
        now = self.clock()
        values = {
            "notification_id": "n7",
            "message_id": message_id,
            "notification_date": now,
            "state": state,
            "status": MessageStatusInfo("S", "state", now),
            "request_date": now,
            "session_id": SESSION,
            **changes,
        }
        return self.sign(async_channel.build_change_status_notification(StatusChange(**values)))


def push_body(message: AsyncMessage) -> etree._Element:
    """As gateway.shep.async_channel builds it, with `data` given ready-made."""
    reply = async_channel.build_get_messages_reply(Messages(NOW, SESSION, (message,)))
    (holder,) = reply.iter("messages")
    inner = b"".join(etree.tostring(part, with_tail=False) for part in holder)
    inner = inner.replace(b' xmlns:async="http://bip.bee.kz/AsyncChannel/v10/Types"', b"")
    return parse(
        b'<soap:Body xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
        b'<a:sendMessage xmlns:a="http://bip.bee.kz/AsyncChannel/v10/Types"><request>'
        + inner
        + b"</request></a:sendMessage></soap:Body>"
    )


@dataclass
class World:
    """A participant, its database, and the gateway on the other side."""

    engine: Engine
    keys: Keys
    shep: Shep
    clock: Clock
    side: Participant
    worker: Worker

    def push(self, message: AsyncMessage, **how: Any) -> Any:
        return self.side.receiver.handle(self.shep.push(message, **how), received_at=self.clock(), peer="10.0.0.1")

    def work(self) -> int:
        """Work on the inbox until nothing is due."""
        worker = self.side.make_worker("w1")
        return next(count for count in itertools.count() if not worker.work_once())

    def send_due(self) -> int:
        """Let the outbox' worker do what is due."""
        return next(count for count in itertools.count() if not self.worker.work_once().worked)

    def exchanges(self) -> list[Exchange]:
        from gateway.exchange import outbox

        with self.engine.connect() as connection:
            return list(outbox.find(connection))

    def exchange(self) -> Exchange:
        (row,) = self.exchanges()
        return row

    def inbox(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(INBOX.select().order_by(INBOX.c.received_at, INBOX.c.message_id)).mappings())

    def set_exchange(self, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(EXCHANGE.update().values(**values))

    @property
    def journal(self) -> Journal:
        return Journal(self.engine)


def make_world(
    engine: Engine,
    keys: Keys,
    systems: Mapping[str, SystemDefinition],
    *,
    shep_class: type[Shep] = Shep,
    **changes: Any,
) -> World:
    clock = Clock()
    shep = shep_class(keys, systems, clock)
    ids = message_ids()
    settings = {
        "engine": engine,
        "transport": shep,
        "systems": systems,
        "services": {SERVICE_ID: ConsumerStatusService(law())},
        "key": lambda: keys["gateway"],
        "law": law(),
        "policy": replace(policy(), url=ASYNC_URL),
        "receiver_policy": ReceiverPolicy(),
        "clock": clock,
        "new_message_id": ids,
        "journal": JournalWriter(),
        **changes,
    }
    if "trust" not in settings:
        settings["trust"] = trust(keys.pki)
    side = participant(**settings)
    asker = Asker(
        engine=engine,
        journal=settings["journal"],
        transport=Register(keys),
        systems=systems,
        key=settings["key"],
        trust=settings["trust"],
        law=law(),
        asynchronous=side.road,
        policy=policy(),
        clock=clock,
        new_message_id=ids,
    )
    worker = Worker(
        engine=engine, asker=asker, roads={"async": side.road}, wire=side.road.wire, clock=clock, holder="outbox-1"
    )
    return World(engine, keys, shep, clock, side, worker)


def new_guid() -> str:
    return str(uuid.uuid4())
