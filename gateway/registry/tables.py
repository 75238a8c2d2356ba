"""Tables of the registry. Rows are only inserted, never changed.

Every key begins with the IIN, so that the whole can be spread over machines by it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Boolean, Column, Date, Index, Integer, String, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from gateway.database import UtcDateTime, metadata

MAX_KIND_CHARACTERS: Final = 64
MAX_KEY_CHARACTERS: Final = 200

FACT: Final = Table(
    "fact",
    metadata,
    Column("iin", String(12), primary_key=True),
    #: slug of the register that said it
    Column("system", String(64), primary_key=True),
    #: gateway.model.Fact.kind and .key: which record of the register
    Column("kind", String(MAX_KIND_CHARACTERS), primary_key=True),
    Column("key", String(MAX_KEY_CHARACTERS), primary_key=True),
    #: 1 for the first thing heard of the record; each change of it is the next
    Column("version", Integer(), primary_key=True, autoincrement=False),
    #: false: a complete answer no longer listed the record; the other columns repeat what was last said
    Column("present", Boolean(), nullable=False),
    #: first day on which it holds; NULL: always before
    Column("valid_from", Date(), nullable=True),
    #: first day on which it no longer holds; NULL: open
    Column("valid_to", Date(), nullable=True),
    Column("attributes", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    #: the signed message that it rests on, and who signed it
    Column("message_id", String(256), nullable=False),
    Column("signer_subject", Text(), nullable=False),
    Column("signer_serial", String(64), nullable=False),
    #: when we knew: the second time
    Column("received_at", UtcDateTime(), nullable=False),
    Index("ix_fact_iin_received_at", "iin", "received_at"),
)
