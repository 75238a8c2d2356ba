"""A participant of the asynchronous channel for tests: it sends, fetches, and is pushed to on a real socket."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import queue
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
from lxml import etree

from gateway.model import Iin, Query
from gateway.sandbox.server import RunningSandbox
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessage,
    AsyncMessageInfo,
    DeliveryNotification,
    DeliveryNotificationAck,
    MessageAck,
    Messages,
    MessagesQuery,
    MessageStatus,
    MessageStatusQuery,
    MessageType,
    Operation,
    ReceiveStatus,
    Resend,
    StatusChange,
    StatusChangeAck,
)
from gateway.shep.messages import ErrorInfo, Sender
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.wss import sign_body, verify_envelope
from gateway.trust.store import TrustStore
from tests.sandbox.integrator import NOW

SENDER = Sender("fund-test", "hush")
GUID = "{0f8fad5b-d9cb-469f-a165-70867728950e}"


@dataclass
class Pushed:
    """One push as the participant got it, verified."""

    data: bytes
    told: AsyncMessage | StatusChange
    operation: Operation


@dataclass
class Participant:
    sandbox: RunningSandbox
    key: SigningKey
    trust: TrustStore
    pushes: queue.Queue[Pushed] = field(default_factory=queue.Queue)
    #: what the next pushes are answered with instead of an acknowledgement: an HTTP status
    answers: list[int] = field(default_factory=list)

    # ------------------------------------------------------------ sending

    def sign(self, body: etree._Element) -> bytes:
        return sign_body(body, self.key, form=KeyInfoForm.KEY_IDENTIFIER)

    def question(self, slug: str, subject: Iin, *, message_id: str = "", at: dt.datetime = NOW) -> bytes:
        system = self.sandbox.simulator.systems[slug]
        query = Query(subject, message_id or str(uuid.uuid4()), at, requester="FUND")
        info = AsyncMessageInfo(
            system.service_for(query).service_id, MessageType.REQUEST, at, SENDER, message_id=message_id
        )
        payload = system.mapper.build_request(query)
        return self.sign(async_channel.build_send_message(info, payload, PayloadCodec(system.codec)))

    def post(self, data: bytes) -> httpx.Response:
        return httpx.post(self.sandbox.async_url, content=data, trust_env=False, timeout=60)

    def body(self, response: httpx.Response) -> etree._Element:
        return verify_envelope(response.content, certificates=self.trust).body

    def send(self, data: bytes) -> MessageAck:
        ack = async_channel.read_send_message_ack(self.body(self.post(data)))
        assert isinstance(ack, MessageAck)
        return ack

    def ask(self, slug: str, subject: Iin, *, message_id: str = "") -> MessageAck:
        return self.send(self.question(slug, subject, message_id=message_id))

    def refused(self, data: bytes) -> ErrorInfo:
        response = self.post(data)
        assert response.status_code == 500
        fault = async_channel.read_send_message_ack(self.body(response))
        assert isinstance(fault, ErrorInfo)
        return fault

    def status(self, message_id: str) -> MessageStatus:
        query = async_channel.build_get_message_status(MessageStatusQuery(message_id, NOW, SENDER))
        status = async_channel.read_get_message_status_reply(self.body(self.post(self.sign(query))))
        assert isinstance(status, MessageStatus)
        return status

    def fetch(self, slug: str, *, amount: int = 0, correlation_id: str = "") -> Messages:
        service_id = self.sandbox.simulator.systems[slug].service_ids[0]
        query = MessagesQuery(service_id, amount=amount, correlation_id=correlation_id, sender=SENDER)
        body = self.body(self.post(self.sign(async_channel.build_get_messages(query))))
        messages = async_channel.read_get_messages_reply(body)
        assert isinstance(messages, Messages)
        return messages

    def confirm(
        self,
        message: AsyncMessage,
        status: ReceiveStatus = ReceiveStatus.ACCEPTED,
        resend: Resend = Resend.NOT_RESEND,
    ) -> None:
        notification = DeliveryNotification(
            message.info.message_id, message.info.service_id, NOW, status, NOW, resend, NOW, sender=SENDER
        )
        sent = self.sign(async_channel.build_send_delivery_notification(notification))
        ack = async_channel.read_send_delivery_notification_ack(self.body(self.post(sent)))
        assert isinstance(ack, DeliveryNotificationAck)

    def answer(self, slug: str, message: AsyncMessage) -> set[Iin]:
        """Whom the records of a RESPONSE are about."""
        system = self.sandbox.simulator.systems[slug]
        assert message.data is not None
        payload = decode(message.data, PayloadCodec(system.codec), root_name=system.root_response)
        return {fact.subject for fact in system.mapper.read_response(payload).facts}

    # ------------------------------------------------------------ being pushed to

    def take_push(self, data: bytes) -> tuple[int, bytes]:
        body = verify_envelope(data, certificates=self.trust).body
        operation = async_channel.operation_of(body)
        if operation is Operation.SEND_MESSAGE:
            told: AsyncMessage | StatusChange = async_channel.read_send_message(body)
            assert isinstance(told, AsyncMessage)
            ack = async_channel.build_send_message_ack(
                MessageAck(told.info.message_id, told.info.correlation_id, NOW, told.info.session_id)
            )
        else:
            told = async_channel.read_change_status_notification(body)
            ack = async_channel.build_change_status_notification_ack(StatusChangeAck(NOW, told.session_id))
        self.pushes.put(Pushed(data, told, operation))
        status = self.answers.pop(0) if self.answers else 200
        return status, self.sign(ack) if status == 200 else b"no"

    def next_message(self) -> AsyncMessage:
        """The next message pushed, news of our own messages passed over."""
        while True:
            pushed = self.pushes.get(timeout=60)
            if isinstance(pushed.told, AsyncMessage):
                return pushed.told

    def next_news(self) -> StatusChange:
        while True:
            pushed = self.pushes.get(timeout=60)
            if isinstance(pushed.told, StatusChange):
                return pushed.told

    @contextlib.contextmanager
    def listening(self) -> Iterator[str]:
        """An address on which pushes are taken."""
        participant = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    status, reply = participant.take_push(data)
                except Exception:
                    status, reply = 500, b"refused"
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/shep/async"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
