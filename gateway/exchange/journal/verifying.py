"""Is the journal what was once written? Every hash, every body, every stamp and every signature, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, exists, func, select
from sqlalchemy.exc import OperationalError

from gateway.apart import mark_in
from gateway.errors import PeerError, StoreError, Undecided
from gateway.exchange.journal.bodies import PLAIN, BodySeal
from gateway.exchange.journal.chain import BODIES_REMOVED, CUT, STAMPED, Removal, canonical, cut_note, link
from gateway.exchange.journal.entries import EntryKind, Verdict
from gateway.exchange.journal.walking import Ends, Link, ends_of, one_moment, walk
from gateway.exchange.tables import EVIDENCE, JOURNAL, JOURNAL_BODY, JOURNAL_EVIDENCE

SignatureCheck = Callable[[bytes, str], None]
"""Checks the signature of exact bytes and that the certificate's serial number is the one given.

Raises PeerError when it does not hold, Undecided when it cannot be checked because the certificate is not at hand.
"""

StampCheck = Callable[[int, bytes, bytes], None]
"""Checks a token over the chain's end (number, hash, token); raises as SignatureCheck does."""


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the journal is not what was written."""

    #: row; None where it is no row of the journal
    id: int | None
    #: chain, head, cut, body, evidence, stamp or signature
    what: str
    message: str


@dataclass(slots=True)
class JournalReport:
    """What `gateway journal verify` tells."""

    before_id: int = 0
    last_id: int = 0
    head_sha256: str = ""
    rows: int = 0
    bodies: int = 0
    #: taken away by retention, as a note says
    bodies_removed: int = 0
    signatures: int = 0
    #: signatures that hold over a file which the journal does not have: all but its digest was checked
    files_apart: int = 0
    #: what was to be checked and could not be: certificates are not at hand
    undecided: int = 0
    stamps: int = 0
    evidence: int = 0
    broken: Break | None = None

    def as_dict(self) -> dict[str, Any]:
        broken = self.broken
        return {
            "valid": False if broken is not None else None if self.undecided else True,
            "first_id": self.before_id + 1,
            "last_id": self.last_id,
            "head_sha256": self.head_sha256,
            "rows": self.rows,
            "bodies": self.bodies,
            "bodies_removed": self.bodies_removed,
            "signatures": self.signatures,
            "files_apart": self.files_apart,
            "stamps": self.stamps,
            "evidence": self.evidence,
            "undecided": self.undecided,
            "broken": None if broken is None else {"id": broken.id, "what": broken.what, "message": broken.message},
        }


class _Broken(Exception):
    def __init__(self, number: int | None, what: str, message: str) -> None:
        super().__init__(message)
        self.place = Break(number, what, message)


def verify_journal(
    engine: Engine,
    seal: BodySeal = PLAIN,
    *,
    check_signature: SignatureCheck | None = None,
    check_stamp: StampCheck | None = None,
) -> JournalReport:
    """Compute everything again from the first row to the head. None for a check leaves it out.

    Raises StoreError when the store cannot be read, or a body is sealed with a key that is not configured.
    """
    report = JournalReport()
    with one_moment(engine) as connection:
        try:
            _Verification(connection, seal, check_signature, check_stamp, report).run()
        except _Broken as found:
            report.broken = found.place
        except StoreError as error:
            if error.code != "journal_damaged":
                raise
            report.broken = Break(None, "head", error.message)
    return report


class _Verification:
    def __init__(
        self,
        connection: Connection,
        seal: BodySeal,
        check_signature: SignatureCheck | None,
        check_stamp: StampCheck | None,
        report: JournalReport,
    ) -> None:
        self._connection = connection
        self._seal = seal
        self._check_signature = check_signature
        self._check_stamp = check_stamp
        self._report = report
        self._removals: list[tuple[int, Removal]] = []

    def run(self) -> None:
        ends = ends_of(self._connection)
        report = self._report
        report.before_id, report.last_id, report.head_sha256 = ends.before_id, ends.last_id, ends.last.hex()
        self._removals = _removals(self._connection)
        number, previous = ends.before_id, ends.before
        for one in _readable(walk(self._connection), report):
            number += 1
            self._check_link(number, previous, one)
            previous = one.row_sha256
            if one.row["kind"] == EntryKind.NOTE:
                self._check_note(one, ends)
            else:
                self._check_body(one)
            report.rows += 1
        if (number, previous) != (ends.last_id, ends.last):
            raise _Broken(number, "head", f"the chain ends at row {number} and journal_head says {ends.last_id}")
        if ends.cut_note_id is not None and not ends.before_id < ends.cut_note_id <= number:
            raise _Broken(ends.cut_note_id, "cut", "rows were cut off and no row says so")
        self._check_evidence()
        _check_orphans(self._connection)

    def _check_link(self, number: int, previous: bytes, one: Link) -> None:
        found = one.row["id"]
        if found != number:
            raise _Broken(number, "chain", f"row {number} is missing; the next one is {found}")
        if link(previous, canonical(one.values)) != one.row_sha256:
            raise _Broken(number, "chain", f"row {number}, or its hash, is not what was written after row {number - 1}")

    def _check_note(self, one: Link, ends: Ends) -> None:
        row, number = one.row, one.row["id"]
        if one.body is not None:
            raise _Broken(number, "body", f"row {number} has bytes and is a note")
        if number == ends.cut_note_id and (row["verdict"], row["note"]) != (CUT, cut_note(ends.before_id, ends.before)):
            raise _Broken(number, "cut", f"row {number} does not say that the rows up to {ends.before_id} were cut off")
        if row["verdict"] == STAMPED:
            self._check_stamped(one, ends)

    def _check_stamped(self, one: Link, ends: Ends) -> None:
        number = one.row["id"]
        stamped, _, row_sha256 = one.row["note"].partition(" ")
        about = int(stamped) if stamped.isdecimal() else number
        if about < ends.before_id:
            return  # it speaks for rows that were cut off
        if about == ends.before_id:
            hashed: bytes | None = ends.before
        else:
            hashed = self._connection.execute(select(JOURNAL.c.row_sha256).where(JOURNAL.c.id == about)).scalar()
        if about >= number or hashed is None or hashed.hex() != row_sha256:
            raise _Broken(number, "stamp", f"the time stamp of row {number} is not about row {about} of this chain")
        self._report.stamps += 1
        if self._check_stamp is not None:
            query = (
                select(EVIDENCE.c.content)
                .join(JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.sha256 == EVIDENCE.c.sha256)
                .where(JOURNAL_EVIDENCE.c.journal_id == number)
            )
            token = self._connection.execute(query).scalar()
            try:
                self._check_stamp(about, hashed, token or b"")
            except Undecided:
                self._report.undecided += 1
            except PeerError as error:
                raise _Broken(number, "stamp", f"row {number}: {error.message}") from None

    def _check_body(self, one: Link) -> None:
        row, number, report = one.row, one.row["id"], self._report
        if one.body is None:
            if row["body_sha256"]:
                if not any(note > number and removal.covers(one.values) for note, removal in self._removals):
                    raise _Broken(number, "body", f"the bytes of row {number} are missing and no note says why")
                report.bodies_removed += 1
            return
        try:
            body = self._seal.open(one.body, row["body_sha256"])
        except StoreError as error:
            if error.code != "journal_damaged":
                raise
            raise _Broken(number, "body", error.message) from None
        if len(body) != row["body_bytes"]:
            raise _Broken(number, "body", f"row {number} has {len(body)} bytes and says {row['body_bytes']}")
        report.bodies += 1
        if self._check_signature is not None:
            serial = self._signer_of(one)
            if serial is not None:
                self._check_signed(number, body, serial, self._check_signature)

    def _signer_of(self, one: Link) -> str | None:
        """Whose signature was found good when the message came, or was made by us; None where there is none."""
        if one.row["verdict"] in _SIGNED:
            return str(one.row["signer_serial"])
        if one.row["verdict"] != Verdict.NONE:
            return None
        later = select(JOURNAL.c.verdict, JOURNAL.c.signer_serial).where(JOURNAL.c.about_id == one.row["id"])
        verdict = self._connection.execute(later).first()
        return None if verdict is None or verdict.verdict not in _SIGNED else str(verdict.signer_serial)

    def _check_signed(self, number: int, body: bytes, serial: str, check: SignatureCheck) -> None:
        try:
            check(body, serial)
        except Undecided:
            self._report.undecided += 1
        except PeerError as error:
            if error.code == "digest" and mark_in(body) is not None:
                # the signature holds, over a text that is not here: `gateway storage prove` takes the file
                self._report.files_apart += 1
                return
            raise _Broken(number, "signature", f"row {number}: {error.message}") from None
        else:
            self._report.signatures += 1

    def _check_evidence(self) -> None:
        after = ""
        query = select(EVIDENCE.c.sha256, EVIDENCE.c.content).order_by(EVIDENCE.c.sha256).limit(_BATCH)
        while rows := self._connection.execute(query.where(EVIDENCE.c.sha256 > after)).all():
            for sha256, content in rows:
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise _Broken(None, "evidence", f"the evidence {sha256} is not what was stored")
                self._report.evidence += 1
            after = rows[-1].sha256


def _readable(links: Iterator[Link], report: JournalReport) -> Iterator[Link]:
    """A row that was changed so that it cannot even be read is a break as well."""
    while True:
        try:
            one = next(links)
        except StopIteration:
            return
        except (ValueError, TypeError, OperationalError):
            number = report.before_id + report.rows + 1
            raise _Broken(number, "chain", f"row {number}, or one soon after it, cannot be read any more") from None
        yield one


_BATCH: Final = 200
_SIGNED: Final = frozenset({Verdict.ACCEPTED, Verdict.SIGNED})


def _removals(connection: Connection) -> list[tuple[int, Removal]]:
    """What notes say of bodies taken away, with the number of the note; one that says less than another is left out."""
    query = (
        select(JOURNAL.c.id, JOURNAL.c.note)
        .where(JOURNAL.c.kind == EntryKind.NOTE, JOURNAL.c.verdict == BODIES_REMOVED)
        .order_by(JOURNAL.c.id.desc())
    )
    kept: list[tuple[int, Removal]] = []
    for number, note in connection.execute(query):
        try:
            removal = Removal.read(note)
        except ValueError:
            raise _Broken(number, "body", f"row {number} says that bodies were removed and not which") from None
        if not any(
            one.service == removal.service and one.last_id >= removal.last_id and one.before >= removal.before
            for _, one in kept
        ):
            kept.append((number, removal))
    return kept


def _check_orphans(connection: Connection) -> None:
    """Nothing lies beside the chain that no row of it speaks for."""
    for table, key, other, what in (
        (JOURNAL_BODY, JOURNAL_BODY.c.journal_id, JOURNAL.c.id, "body"),
        (JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.journal_id, JOURNAL.c.id, "evidence"),
        (EVIDENCE, EVIDENCE.c.sha256, JOURNAL_EVIDENCE.c.sha256, "evidence"),
        (JOURNAL_EVIDENCE, JOURNAL_EVIDENCE.c.sha256, EVIDENCE.c.sha256, "evidence"),
    ):
        found = connection.execute(select(func.min(key)).where(~exists().where(other == key))).scalar()
        if found is not None:
            raise _Broken(None, what, f"table {table.name} has {found}, of which no row of the chain speaks")
