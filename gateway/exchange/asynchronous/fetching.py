"""What we fetch: getMessages for a service whose messages are not pushed, and the notification that they are safe.

The gateway signs the whole answer, so every message in it is its word as a push is (docs/decisions/0022). Each is
notified only after the transaction that holds the answer and all inbox rows; what is lost on the way comes again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from sqlalchemy import Engine

from gateway import telemetry
from gateway.database import writing
from gateway.errors import GatewayError, MalformedMessage, PeerError, StoreError
from gateway.exchange import inbox
from gateway.exchange.asynchronous.admitting import Door
from gateway.exchange.calls import Called, Caller, fault_of
from gateway.exchange.inbox import Arrival, Arrived, ReplayRefused
from gateway.exchange.refusals import NamedRefusal, shown_id
from gateway.shep import async_channel
from gateway.shep.async_messages import (
    AsyncMessage,
    DeliveryNotification,
    Messages,
    MessagesQuery,
    ReceiveStatus,
    Resend,
)
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo
from gateway.telemetry import Flow, step

_LOG: Final = structlog.get_logger()
_FLOW: Final[Flow] = "in.poll"
#: refusals that time may mend: the message is asked for again
_LATER: Final = frozenset({"from_the_future", "not_stored"})


@dataclass(frozen=True, slots=True)
class Source:
    """One service whose messages are fetched."""

    service_id: str
    #: how many at once; 0 leaves it to the gateway
    amount: int = 0


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What one getMessages brought."""

    received: int = 0
    first: int = 0
    duplicates: int = 0
    refused: int = 0
    #: notifications that the gateway confirmed
    notified: int = 0


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is to be told about one message. `code` "" : it is safe."""

    message_id: str
    code: str = ""
    why: str = field(default="", repr=False)


class Fetcher:
    """Fetches and notifies. Safe to use from several threads."""

    def __init__(
        self,
        *,
        engine: Engine,
        gateway: Caller,
        door: Door,
        clock: Callable[[], dt.datetime],
        new_message_id: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._gateway = gateway
        self._door = door
        self._clock = clock
        self._new_message_id = new_message_id

    def fetch(self, source: Source) -> FetchReport:
        """Fetch once, make it safe, tell the gateway.

        Raises as Caller.call, and PeerFault; a notification that fails costs a duplicate later and raises
        nothing.
        """
        definition = self._door.system_of(source.service_id)
        system = "" if definition is None else definition.slug
        with telemetry.message(_FLOW, system=system, service_id=source.service_id):
            return self._fetch(source, system)

    def _fetch(self, source: Source, system: str) -> FetchReport:
        query = MessagesQuery(
            source.service_id, request_date=self._clock(), sender=self._gateway.policy.sender, amount=source.amount
        )
        called = self._gateway.call(
            async_channel.build_get_messages(query),
            flow=_FLOW,
            system=system,
            service_id=source.service_id,
            trusted_as=self._door.trusted_as(source.service_id),
            message_id=self._new_message_id(),
        )
        try:
            with step(12, _FLOW):
                content = async_channel.read_get_messages_reply(called.message.body)
                if isinstance(content, ErrorInfo):
                    raise fault_of(content)
                self._gateway.check_made_now(called, content.response_date)
                arrived, verdicts = self._sort(content, source, called)
        except PeerError as error:
            self._gateway.refuse(called.entry, called.entry_id, called.evidence, error)
            raise
        try:
            with step(13, _FLOW):
                safe, report = self._keep(called, arrived, verdicts)
        except StoreError:
            # what could not be stored is asked for again; if even that cannot be journalled, it comes again by itself
            self._notify(
                source, [_Verdict(one.message_id, "not_stored", "not stored; send it again") for one in arrived]
            )
            raise
        notified = self._notify(source, [*safe, *verdicts])
        _LOG.info(
            "exchange",
            action="fetched",
            service_id=source.service_id,
            received=report.received,
            first=report.first,
            refused=report.refused,
        )
        return replace(report, notified=notified)

    # ------------------------------------------------------------ what came

    def _sort(self, content: Messages, source: Source, called: Called) -> tuple[list[Arrived], list[_Verdict]]:
        """Which messages may enter, and the refusals of the others."""
        arrived: list[Arrived] = []
        refused = [_Verdict(bad.message_id, bad.code, bad.why) for bad in content.unreadable]
        for message in content.messages:
            try:
                arrived.append(self._admit(message, source, called))
            except (NamedRefusal, ReplayRefused) as error:
                refused.append(_Verdict(message.info.message_id, error.verdict, error.message))
            except MalformedMessage as error:
                refused.append(_Verdict(message.info.message_id, error.code, error.message))
        return arrived, refused

    def _admit(self, message: AsyncMessage, source: Source, called: Called) -> Arrived:
        if message.info.service_id != source.service_id:
            raise NamedRefusal(
                FaultCode.SERVICE_UNAVAILABLE, "the message is for another service than was asked for", "wrong_service"
            )
        return self._door.admit(
            message,
            called.message.certificate,
            at=called.received_at,
            flow="poll",
            request_journal_id=called.entry_id,
        )

    def _keep(
        self, called: Called, arrived: list[Arrived], refused: list[_Verdict]
    ) -> tuple[list[_Verdict], FetchReport]:
        """All inbox rows and the verdict of the answer, in one transaction."""
        with writing(self._engine) as connection:
            # the answer's own row was committed before: these rows name it, and the verdict goes last
            registered = inbox.register_many(connection, arrived)
            verdicts = []
            for one, row in zip(arrived, registered, strict=True):
                clash = row.arrival is Arrival.CLASH
                verdicts.append(
                    _Verdict(one.message_id, "id_reused", inbox.clash().message) if clash else _Verdict(one.message_id)
                )
            kinds = [row.arrival for row in registered]
            report = FetchReport(
                received=len(arrived) + len(refused),
                first=kinds.count(Arrival.FIRST),
                duplicates=kinds.count(Arrival.DUPLICATE),
                refused=kinds.count(Arrival.CLASH) + len(refused),
            )
            codes = sorted({verdict.code for verdict in (*verdicts, *refused) if verdict.code})
            note = f"{report.received} messages: {report.first} first, {report.duplicates} again"
            if codes:
                note += f", {report.refused} refused ({', '.join(codes)})"
            self._gateway.accept(connection, called, note=note)
        return verdicts, report

    # ------------------------------------------------------------ what is told

    def _notify(self, source: Source, verdicts: list[_Verdict]) -> int:
        """Tell the gateway about each message; how many times it confirmed."""
        confirmed = 0
        for verdict in verdicts:
            if not verdict.message_id:
                continue  # without an id there is nothing to tell about
            try:
                self._notify_one(source, verdict)
                confirmed += 1
            except GatewayError as error:
                _LOG.warning(
                    "exchange",
                    action="notification_lost",
                    service_id=source.service_id,
                    message_id=shown_id(verdict.message_id),
                    code=error.code,
                )
                if isinstance(error, StoreError):
                    break
        return confirmed

    def _notify_one(self, source: Source, verdict: _Verdict) -> None:
        now = self._clock()
        definition = self._door.system_of(source.service_id)
        notification = DeliveryNotification(
            message_id=verdict.message_id,
            service_id=source.service_id,
            notification_date=now,
            receive_status=ReceiveStatus.NOT_ACCEPTED if verdict.code else ReceiveStatus.ACCEPTED,
            status_date=now,
            resend=Resend.RESEND if verdict.code in _LATER else Resend.NOT_RESEND,
            request_date=now,
            error=ErrorInfo(verdict.code, verdict.why, now) if verdict.code else None,
            sender=self._gateway.policy.sender,
        )
        called = self._gateway.call(
            async_channel.build_send_delivery_notification(notification),
            flow=_FLOW,
            system="" if definition is None else definition.slug,
            service_id=source.service_id,
            trusted_as=self._door.trusted_as(source.service_id),
            message_id=verdict.message_id,
        )
        try:
            with step(12, _FLOW):
                content = async_channel.read_send_delivery_notification_ack(called.message.body)
                if isinstance(content, ErrorInfo):
                    raise fault_of(content)
                self._gateway.check_made_now(called, content.response_date)
        except PeerError as error:
            self._gateway.refuse(called.entry, called.entry_id, called.evidence, error)
            raise
        with step(13, _FLOW), writing(self._engine) as connection:
            self._gateway.accept(connection, called)
