"""The journal: every message in and out with its exact bytes, and what came of reading it. Append-only, one hash chain.

Exact bytes are the evidence, so they are kept whole, the sender's password in them too: who may read the journal
may read that. Nothing of a body ever goes into `note`, a log or an error.
"""

from __future__ import annotations

from gateway.exchange.journal.bodies import PLAIN, BodySeal
from gateway.exchange.journal.entries import (
    NOBODY,
    NOT_LOOKED_AT,
    EntryKind,
    JournalEntry,
    JournalRecord,
    MessageDirection,
    Revocation,
    Signer,
    Verdict,
)
from gateway.exchange.journal.reading import DEFAULT_LIMIT, Journal
from gateway.exchange.journal.writing import JournalWriter, verdict_about

__all__ = [
    "DEFAULT_LIMIT",
    "NOBODY",
    "NOT_LOOKED_AT",
    "PLAIN",
    "BodySeal",
    "EntryKind",
    "Journal",
    "JournalEntry",
    "JournalRecord",
    "JournalWriter",
    "MessageDirection",
    "Revocation",
    "Signer",
    "Verdict",
    "verdict_about",
]
