"""A call of the gateway that has no row in the outbox: getMessages, getMessageStatus, a notification, the file storage.

Such a call changes nothing that could be lost: without an answer it is made again. Both envelopes are journalled like
any other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lxml import etree
from sqlalchemy import Connection, Engine

from gateway.apart import Parting, TextApart
from gateway.database import writing
from gateway.errors import GatewayError, MalformedMessage, PeerError, PeerFault, Undecided
from gateway.exchange.journal import EntryKind, JournalEntry, JournalWriter, MessageDirection, Signer, Verdict
from gateway.exchange.question import AskPolicy, check_fits_channel
from gateway.exchange.sending import shown_address
from gateway.exchange.streaming import StreamingTransport
from gateway.exchange.transport import Transport
from gateway.exchange.understanding import check_signer, shown_code
from gateway.exchange.verification import Evidence, TrustPolicy, VerifiedMessage, verify_message
from gateway.shep.messages import ErrorInfo
from gateway.signing.keys import SigningKey
from gateway.signing.own import check_made, check_own
from gateway.signing.wss import sign_body
from gateway.telemetry import Flow, step

CHANNEL: Final = "async"


@dataclass(frozen=True, slots=True)
class Called:
    """A verified reply, journalled; its verdict is not written yet."""

    message: VerifiedMessage
    asked_at: dt.datetime
    received_at: dt.datetime
    entry: JournalEntry
    entry_id: int
    evidence: Evidence
    #: the long text of the reply, where it has one
    apart: TextApart | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What the journal says about a call, and by whose rules its reply is judged."""

    system: str
    service_id: str
    #: slug of a register, or a serviceId
    trusted_as: str
    message_id: str


class Caller:
    """Calls the gateway on one channel. Safe to use from several threads when its ports are."""

    def __init__(
        self,
        *,
        engine: Engine,
        journal: JournalWriter,
        transport: Transport,
        key: Callable[[], SigningKey],
        trust: TrustPolicy,
        policy: AskPolicy,
        clock: Callable[[], dt.datetime],
        channel: str = CHANNEL,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._transport = transport
        self._key = key
        self._trust = trust
        self.policy = policy
        self._clock = clock
        self._channel = channel

    def call(
        self,
        body: etree._Element,
        *,
        flow: Flow,
        system: str,
        service_id: str,
        trusted_as: str,
        message_id: str,
        note: str = "",
    ) -> Called:
        """Steps 5 to 11 of one call. `trusted_as` names whose rules the signer is judged by: a slug, or our serviceId.

        Raises PeerUnavailable and OutcomeUnknown from the post, PeerError and Undecided for a reply that must not be
        used (its verdict is in the journal then), OperatorError for what is ours to mend.
        """
        signed = self.sign(body, flow=flow)
        about = About(system, service_id, trusted_as, message_id)
        with step(8, flow), writing(self._engine) as connection:
            self.journal_request(connection, signed, about, note=note)
        return self.post(signed, about, flow=flow)

    def sign(self, body: etree._Element, *, flow: Flow, apart: TextApart | None = None) -> bytes:
        """Steps 5 to 7; of a Body with a text `apart` the short message."""
        with step(5, flow):
            check_fits_channel(body)
        with step(6, flow):
            key = self._key()
            signed = sign_body(body, key, form=self.policy.key_info, apart=apart)
        with step(7, flow):
            if apart is None:
                check_made(signed, key.certificate, self.policy.bounds)
            else:
                check_own(signed, key.certificate, self.policy.bounds, apart=apart)
        return signed

    def journal_request(self, connection: Connection, signed: bytes, about: About, *, note: str = "") -> int:
        """Step 8 in the caller's transaction, whose last lock it is; its number."""
        entry = JournalEntry(
            at=self._clock(),
            direction=MessageDirection.OUT,
            step=8,
            kind=EntryKind.REQUEST,
            channel=self._channel,
            system=about.system,
            service_id=about.service_id,
            message_id=about.message_id,
            peer=shown_address(self.policy.url),
            body=signed,
            signer=Signer.of(self._key().certificate),
            verdict=Verdict.SIGNED,
            note=note,
        )
        return self._journal.append(connection, entry)

    def post(self, signed: bytes, about: About, *, flow: Flow) -> Called:
        """Steps 9 to 11 of bytes that are in the journal. Raises as `call`."""
        asked_at = self._clock()
        with step(9, flow):
            reply = self._transport.post(
                self.policy.url,
                signed,
                connect_timeout_s=self.policy.connect_timeout_s,
                reply_timeout_s=self.policy.reply_timeout_s,
                max_reply_bytes=self.policy.max_reply_bytes,
            )
        return self._judged(reply.status, reply.body, about, asked_at, flow)

    def post_streamed(
        self,
        signed: bytes,
        apart: TextApart | None,
        about: About,
        *,
        flow: Flow,
        streams: StreamingTransport,
        reply: Parting,
        transfer_timeout_s: float,
    ) -> Called:
        """The same of a message with a text `apart`, or whose reply may have one; `reply` takes it as it comes.

        Raises as `call`, and what `reply` and the pieces of the text raise: nothing of the reply is journalled then.
        """
        asked_at = self._clock()
        with step(9, flow):
            status = streams.post(
                self.policy.url,
                (signed,) if apart is None else apart.whole(signed),
                len(signed) if apart is None else apart.size_with(signed),
                reply.feed,
                connect_timeout_s=self.policy.connect_timeout_s,
                transfer_timeout_s=transfer_timeout_s,
            )
        body, came_apart = reply.ended()
        return self._judged(status, body, about, asked_at, flow, came_apart)

    def _judged(
        self,
        status: int,
        body: bytes,
        about: About,
        asked_at: dt.datetime,
        flow: Flow,
        apart: TextApart | None = None,
    ) -> Called:
        """Steps 10 and 11."""
        received_at = self._clock()
        entry = JournalEntry(
            at=received_at,
            direction=MessageDirection.IN,
            step=10,
            kind=EntryKind.REPLY,
            channel=self._channel,
            system=about.system,
            service_id=about.service_id,
            message_id=about.message_id,
            peer=shown_address(self.policy.url),
            body=body,
            note=f"HTTP {status}",
        )
        with step(10, flow), writing(self._engine) as connection:
            entry_id = self._journal.append(connection, entry)
        evidence = Evidence()
        try:
            with step(11, flow):
                refuse_redirect(status)
                message = verify_message(
                    body,
                    trust=self._trust,
                    bounds=self.policy.bounds,
                    at=received_at,
                    evidence=evidence,
                    service=about.trusted_as,
                    apart=apart,
                )
                check_signer(message.certificate, self._key().certificate, self.policy.signer_bins)
                return Called(message, asked_at, received_at, entry, entry_id, evidence, apart)
        except (PeerError, Undecided) as error:
            self.refuse(entry, entry_id, evidence, error)
            raise

    def check_made_now(self, called: Called, response_date: dt.datetime | None) -> None:
        """See the function of that name."""
        check_made_now(
            response_date,
            asked_at=called.asked_at,
            received_at=called.received_at,
            tolerance=self.policy.clock_tolerance,
        )

    def accept(self, connection: Connection, called: Called, *, note: str = "") -> None:
        """Write the verdict of a reply that was read, in the caller's transaction: the last thing in it."""
        self._verdict(connection, called.entry, called.entry_id, called.evidence, Verdict.ACCEPTED, note)

    def refuse(self, entry: JournalEntry, entry_id: int, evidence: Evidence, error: GatewayError) -> None:
        """Write the verdict of a reply that must not be used, in a transaction of its own."""
        with writing(self._engine) as connection:
            self._verdict(connection, entry, entry_id, evidence, error.code, "")

    def _verdict(
        self,
        connection: Connection,
        entry: JournalEntry,
        entry_id: int,
        evidence: Evidence,
        verdict: str,
        note: str,
    ) -> None:
        self._journal.append_verdict(
            connection,
            entry_id,
            entry,
            at=self._clock(),
            step=11,
            verdict=verdict,
            signer=evidence.signer,
            revocation=evidence.revocation,
            deciding=evidence.deciding,
            note=f"{entry.note}; {note}" if note else entry.note,
        )


# ---------------------------------------------------------------- decisions (pure)


def fault_of(error: ErrorInfo) -> PeerFault:
    """A signed fault as an error; its code is shown only where it can name nobody."""
    return PeerFault(error.code, f"the gateway answered with the fault {shown_code(error.code)}", signed=True)


def check_made_now(
    response_date: dt.datetime | None, *, asked_at: dt.datetime, received_at: dt.datetime, tolerance: dt.timedelta
) -> None:
    """Time and replay of a reply that repeats no id of its call: an old one, sent again, is not taken for the new.

    Raises MalformedMessage (`stale_reply`).
    """
    if response_date is None or not asked_at - tolerance <= response_date <= received_at + tolerance:
        raise MalformedMessage(
            "the reply has no date, or was not made in the time of this exchange", code="stale_reply"
        )


def refuse_redirect(status: int) -> None:
    """Raises MalformedMessage (`redirected`)."""
    if 300 <= status < 400:
        raise MalformedMessage(
            f"the gateway answered with a redirect (HTTP {status}), which is never followed; "
            "put the true address into shep.async_url",
            code="redirected",
        )
