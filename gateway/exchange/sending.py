"""Steps 9 and 10, the same on every channel: the bytes of a row go out, and what comes back is stored unread."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import Engine

from gateway.database import writing
from gateway.errors import OutcomeUnknown, PeerUnavailable
from gateway.exchange.journal import EntryKind, Journal, JournalEntry, JournalWriter, MessageDirection, Verdict
from gateway.exchange.outbox import Exchange
from gateway.exchange.transport import Post, Reply, Transport
from gateway.telemetry import Flow, step

_HTTP_NOTE: Final = re.compile(r"HTTP ([0-9]{3})\b")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes, and what its reply may cost."""

    url: str
    connect_timeout_s: float
    reply_timeout_s: float
    max_reply_bytes: int


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as the journal has it, unread."""

    entry_id: int
    #: without its bytes: what a verdict about it repeats
    entry: JournalEntry
    status: int
    body: bytes = field(repr=False)


class Wire:
    """Posts rows and stores replies. Safe to share between threads when its ports are."""

    def __init__(
        self, *, engine: Engine, transport: Transport, journal: JournalWriter, clock: Callable[[], dt.datetime]
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._journal = journal
        self._reading = Journal(engine, journal.seal)
        self._clock = clock

    def bytes_of(self, row: Exchange) -> bytes | None:
        """The exact bytes that were journalled for the row; None when retention took them. Raises StoreError."""
        record = self._reading.get(row.request_journal_id)
        return None if record is None else record.body

    def post(self, row: Exchange, body: bytes, target: Target, flow: Flow) -> StoredReply:
        """Steps 9 and 10. Raises PeerUnavailable, OutcomeUnknown (nothing came back) and StoreError."""
        (reply,) = self.post_many([(row, body, target)], flow)
        if isinstance(reply, StoredReply):
            return reply
        raise reply

    def post_many(
        self, messages: Sequence[tuple[Exchange, bytes, Target]], flow: Flow
    ) -> tuple[StoredReply | PeerUnavailable | OutcomeUnknown, ...]:
        """Steps 9 and 10 for several rows at the same time; for each its stored reply or why there is none.

        Replies are stored together, when the last one is there or given up. Raises StoreError.
        """
        with step(9, flow):
            posts = [
                Post(target.url, body, target.connect_timeout_s, target.reply_timeout_s, target.max_reply_bytes)
                for _, body, target in messages
            ]
            outcomes = self._transport.post_many(posts)
        at = self._clock()
        entries = {
            place: _entry_of(row, outcome, target, at)
            for place, ((row, _, target), outcome) in enumerate(zip(messages, outcomes, strict=True))
            if isinstance(outcome, Reply)
        }
        numbers: dict[int, int] = {}
        if entries:
            with step(10, flow), writing(self._engine) as connection:
                numbers = dict(zip(entries, self._journal.append_many(connection, list(entries.values())), strict=True))
        return tuple(
            StoredReply(numbers[place], entries[place], outcome.status, outcome.body)
            if isinstance(outcome, Reply)
            else outcome
            for place, outcome in enumerate(outcomes)
        )

    def unread_reply(self, row: Exchange) -> StoredReply | None:
        """A reply to the row that was stored and never judged: whoever stored it did not come further."""
        for record in self._reading.list_entries(
            message_id=row.message_id, direction=MessageDirection.IN, verdict=Verdict.NONE
        ):
            found = self._reading.get(record.id)
            noted = _HTTP_NOTE.match(record.note)
            # what was pushed or fetched is not a reply to a post, and has its own row in the inbox
            if found is None or found.body is None or noted is None or found.kind is not EntryKind.REPLY:
                continue
            entry = JournalEntry(
                at=found.at,
                direction=found.direction,
                step=found.step,
                kind=found.kind,
                channel=found.channel,
                system=found.system,
                service_id=found.service_id,
                message_id=found.message_id,
                correlation_id=found.correlation_id,
                peer=found.peer,
                note=found.note,
            )
            return StoredReply(found.id, entry, int(noted[1]), found.body)
        return None


def _entry_of(row: Exchange, reply: Reply, target: Target, at: dt.datetime) -> JournalEntry:
    return JournalEntry(
        at=at,
        direction=MessageDirection.IN,
        step=10,
        kind=EntryKind.REPLY,
        channel=row.channel,
        system=row.system,
        service_id=row.service_id,
        message_id=row.message_id,
        peer=shown_address(target.url),
        body=reply.body,
        note=f"HTTP {reply.status}",
    )


@lru_cache(maxsize=64)
def shown_address(url: str) -> str:
    """Scheme, host, port and path of an address: no credentials, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
