"""One message with everything that proves it, in one file that `gateway verify` reads: docs/reference/journal.md.

The file proves what its bytes and signatures prove. That its rows are of our journal is proven by the chain, of which
it holds the links of these rows only.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from gateway.errors import MalformedMessage, OperatorError
from gateway.exchange.journal.bodies import PLAIN, BodySeal
from gateway.exchange.journal.chain import COLUMNS, canonical, link
from gateway.exchange.journal.entries import EntryKind
from gateway.exchange.journal.walking import Ends, Link, ends_of, one_moment, walk
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_EVIDENCE
from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust.crl import CertificateRevocationList, read_crls
from gateway.trust.evidence import OcspAnswer

FORMAT: Final = "shep-gateway-evidence/1"
_BEGINNING: Final = f'{{"format":"{FORMAT}"'.encode()
_AT: Final = COLUMNS.index("at")
_BODY_SHA256: Final = COLUMNS.index("body_sha256")
_EVIDENCE: Final = COLUMNS.index("evidence")


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """What an evidence file holds, its rows and digests found right; nothing of it is trusted for that."""

    body: bytes = field(repr=False)
    #: when the message came or was sent
    at: dt.datetime
    certificates: tuple[Certificate, ...]
    crls: tuple[CertificateRevocationList, ...]
    ocsp: tuple[OcspAnswer, ...]


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of the journal with its verdict, as an evidence file takes it."""

    body: bytes = field(repr=False)
    #: when it came or was sent
    at: dt.datetime
    #: canonical values, hash, and the hash before: of the message, and of its verdict where that is a row of its own
    rows: tuple[tuple[list[object], bytes, bytes], ...]
    evidence: tuple[tuple[str, bytes], ...] = field(repr=False)


def stored_message(engine: Engine, entry_id: int, seal: BodySeal = PLAIN) -> StoredMessage:
    """Raises OperatorError (`no_such_entry`, `not_kept`), and StoreError as `Journal.get`."""
    with one_moment(engine) as connection:
        ends = ends_of(connection)
        message = next(walk(connection, first_id=entry_id, last_id=entry_id), None)
        if message is None or message.row["kind"] in (EntryKind.VERDICT, EntryKind.NOTE):
            raise OperatorError(
                f"the journal has no message {entry_id}; see `gateway journal list`", code="no_such_entry"
            )
        if message.body is None:
            raise OperatorError(
                f"the bytes of entry {entry_id} are not kept (any more): nothing proves it but its row", code="not_kept"
            )
        body = seal.open(message.body, message.row["body_sha256"])
        verdict_id = connection.execute(select(JOURNAL.c.id).where(JOURNAL.c.about_id == entry_id)).scalar()
        links = [message]
        if verdict_id is not None:
            links += walk(connection, first_id=verdict_id, last_id=verdict_id)
        kept = (
            select(EVIDENCE.c.sha256, EVIDENCE.c.content)
            .join(JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.sha256 == EVIDENCE.c.sha256)
            .where(JOURNAL_EVIDENCE.c.journal_id.in_([one.row["id"] for one in links]))
            .distinct()
            .order_by(EVIDENCE.c.sha256)
        )
        evidence = tuple((row.sha256, row.content) for row in connection.execute(kept))
        rows = tuple((one.values, one.row_sha256, _before(connection, ends, one)) for one in links)
    return StoredMessage(body, message.row["at"], rows, evidence)


def _before(connection: Connection, ends: Ends, one: Link) -> bytes:
    number = one.row["id"]
    if number == ends.before_id + 1:
        return ends.before
    found = connection.execute(select(JOURNAL.c.row_sha256).where(JOURNAL.c.id == number - 1)).scalar()
    return found or b""


def write_evidence_file(message: StoredMessage, certificates: Sequence[Certificate], crls: Sequence[bytes]) -> bytes:
    """The file. `certificates`: the signer's and those above it; `crls`: lists of their authorities, DER or PEM."""
    document = {
        "format": FORMAT,
        "columns": COLUMNS,
        "rows": [
            {"before": before.hex(), "row": values, "sha256": row_sha256.hex()}
            for values, row_sha256, before in message.rows
        ],
        "body": _text(message.body),
        "evidence": {sha256: _text(content) for sha256, content in message.evidence},
        "certificates": [_text(certificate.der) for certificate in certificates],
        "crls": [_text(crl) for crl in crls],
    }
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def is_evidence_file(data: bytes) -> bool:
    return data.startswith(_BEGINNING)


def read_evidence_file(data: bytes) -> EvidenceFile:
    """Raises MalformedMessage: `bad_evidence_file` for what is no such file, `evidence_damaged` when a hash of it does
    not fit what it speaks for."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT or document["columns"] != list(COLUMNS):
            raise ValueError("format")
        rows: list[list[Any]] = [_checked_row(row) for row in document["rows"]]
        body = _bytes(document["body"])
        message = rows[0]
        _check(hashlib.sha256(body).hexdigest() == message[_BODY_SHA256], "the bytes are not those of the row")
        contents = {sha256: _bytes(content) for sha256, content in document["evidence"].items()}
        at = dt.datetime.fromisoformat(message[_AT])
        ocsp = []
        for sha256, kind, source, _as_of in (piece for row in rows for piece in row[_EVIDENCE]):
            content = contents[sha256]
            _check(hashlib.sha256(content).hexdigest() == sha256, "a piece of evidence is not the one that was used")
            if kind == "ocsp":
                ocsp.append(OcspAnswer(content, source, at))
        certificates = tuple(one for der in document["certificates"] for one in read_certificates(_bytes(der)))
        crls = tuple(one for der in document["crls"] for one in read_crls(_bytes(der)))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, binascii.Error):
        raise MalformedMessage(
            "this is no evidence file that can be read; write it again with `gateway journal export`",
            code="bad_evidence_file",
        ) from None
    return EvidenceFile(body, at, certificates, crls, tuple(ocsp))


def _checked_row(row: dict[str, Any]) -> list[Any]:
    values: list[Any] = row["row"]
    computed = link(bytes.fromhex(row["before"]), canonical(values)).hex()
    _check(len(values) == len(COLUMNS) and computed == row["sha256"], "a row does not fit its hash")
    return values


def _check(holds: bool, why: str) -> None:
    if not holds:
        raise MalformedMessage(f"the evidence file was changed: {why}", code="evidence_damaged")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
