"""Step 9: bytes to the other side and bytes back, and an honest account of what is known when that fails.

The question that every failure has to answer is whether the request may have arrived. Only what happened before
the first byte of the request was written is PeerUnavailable; everything later is OutcomeUnknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import OutcomeUnknown, PeerUnavailable


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, unread. `body` is exact."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Post:
    """One message to send: where, what, and what its reply may cost."""

    url: str
    #: may hold a person's data
    content: bytes = field(repr=False)
    connect_timeout_s: float
    reply_timeout_s: float
    max_reply_bytes: int


#: what became of one of several messages
Outcome = Reply | PeerUnavailable | OutcomeUnknown


class Transport(Protocol):
    """The port behind which HTTP is."""

    def post(
        self, url: str, content: bytes, *, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply:
        """Send once. Raises PeerUnavailable (surely nothing was sent), OutcomeUnknown (anything later)."""
        ...

    def post_many(self, posts: Sequence[Post]) -> tuple[Outcome, ...]:
        """Send each once, all at the same time; for each, in their order, its reply or what `post` would raise.

        What becomes of one never touches another. Raises ConfigurationError, before anything is sent, when one of
        the addresses is none.
        """
        ...


class _OnePost(Protocol):
    def post(
        self, url: str, content: bytes, *, connect_timeout_s: float, reply_timeout_s: float, max_reply_bytes: int
    ) -> Reply: ...


def one_by_one(transport: _OnePost, posts: Sequence[Post]) -> tuple[Outcome, ...]:
    """`post_many` for a transport that can only `post`."""

    def outcome_of(one: Post) -> Outcome:
        try:
            return transport.post(
                one.url,
                one.content,
                connect_timeout_s=one.connect_timeout_s,
                reply_timeout_s=one.reply_timeout_s,
                max_reply_bytes=one.max_reply_bytes,
            )
        except (PeerUnavailable, OutcomeUnknown) as error:
            return error

    return tuple(outcome_of(one) for one in posts)
