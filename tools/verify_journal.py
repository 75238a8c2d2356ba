#!/usr/bin/env python3
# ruff: noqa: T201 - it speaks to whoever runs it
"""Verifies an export of the gateway's journal (`gateway journal export --all`) without the gateway.

Standard library only, and no code of the gateway: it was written from docs/reference/journal.md, "The export". Checked
are the chain from its beginning or its cut to its head, every body and piece of evidence against its digest, what
retention took away against the notes that say so, time stamps against the rows that they name, and the file itself.
Not checked are the signatures of messages and of stamping authorities: that is for `gateway journal verify`.

    python3 tools/verify_journal.py journal.jsonl [--head SHA256]

Exit codes: 0 it holds · 1 it is broken, and where · 2 wrong use · 3 it is only a part, and bodies are missing whose
note lies outside of it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys

FORMAT = "shep-gateway-journal/1"
# fmt: off
COLUMNS = [
    "id", "at", "direction", "step", "kind", "about_id", "channel", "system", "service_id", "message_id",
    "correlation_id", "peer", "body_bytes", "body_sha256", "signer_subject", "signer_serial", "verdict",
    "revocation_status", "revocation_source", "revocation_as_of", "note", "evidence",
]
# fmt: on


class Broken(Exception):
    """The first place where the export is not what it says."""


def main(arguments=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Verifies an export of the gateway's journal.")
    parser.add_argument("file", help="what `gateway journal export --all -o FILE` wrote")
    parser.add_argument("--head", metavar="SHA256", help="the head that is known from elsewhere: it must be this one")
    options = parser.parse_args(arguments)
    try:
        with open(options.file, "rb") as lines:
            export = Export(lines)
            export.verify(options.head)
    except OSError as error:
        print(f"{options.file}: cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except Broken as error:
        print(f"broken: {error}")
        return 1
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        print("broken: the file is not an export that can be read")
        return 1
    print(
        f"holds: rows {export.first} to {export.last}, {export.bodies} bodies, {export.removed} removed by retention, "
        f"{export.stamps} time stamps, {export.evidence} pieces of evidence"
    )
    print(f"head {export.end_sha256}" + ("" if export.to_head else " (the chain goes on behind this part)"))
    if export.unexplained:
        print(f"undecided: {export.unexplained} bodies are missing and this part of the chain does not say why")
        return 3
    return 0


class Export:
    """One file, read twice: first its notes, then everything. Memory holds the notes and one line."""

    def __init__(self, lines):
        self.lines = lines
        self.bodies = self.removed = self.unexplained = self.stamps = self.evidence = 0
        self.first_unexplained = None
        #: (row of the note, last row, before, service) of bodies that retention took away
        self.removals = []
        #: rows that time stamps speak for → their hashes, once they came by
        self.stamped = {}
        #: evidence that rows name and that has not come by yet
        self.named = set()
        #: evidence that is a token → digest that must be inside it
        self.tokens = {}

    def verify(self, head):
        self.read_notes()
        self.lines.seek(0)
        digest = hashlib.sha256()
        number = previous = None
        closed = False
        for place, raw in enumerate(self.lines, 1):
            line = parsed(raw, f"line {place}")
            need(not closed, f"line {place} comes after the end")
            keys = list(line)
            if place == 1:
                self.header(line)
                number, previous = self.first - 1, self.before
            elif keys == ["row", "sha256", "body"] and not self.evidence:
                number += 1
                previous = self.row(number, previous, line)
            elif keys == ["evidence", "content"]:
                self.one_evidence(line, place)
            elif keys == ["end", "rows", "file_sha256"]:
                closed = True
                self.end(line, number, previous, digest.hexdigest())
            else:
                raise Broken(f"line {place} is none that an export has, or stands in the wrong place")
            digest.update(raw)
        need(closed, "the file ends without its last line" + (f", after row {number}" if number else ""))
        if head is not None:
            need(previous.hex() == head.lower(), f"the head is {previous.hex()} and not the one given")

    def read_notes(self):
        """First pass. Nothing is believed of it until the second has found the same bytes right."""
        for place, raw in enumerate(self.lines, 1):
            if b'"note"' not in raw or not raw.startswith(b'{"row":['):
                continue
            values = parsed(raw, f"line {place}")["row"]
            row = dict(zip(COLUMNS, values, strict=False))
            if row.get("kind") != "note":
                continue
            if row.get("verdict") == "bodies_removed":
                rule = parsed(str(row["note"]).encode(), f"line {place}: its note", list)
                need([type(one) for one in rule] == [int, str, str], f"line {place} does not say which bodies went")
                self.removals.append((row["id"], *rule))
            elif row.get("verdict") == "stamped":
                self.stamped[stamped_row(row)] = None

    def header(self, line):
        need(
            list(line) == ["format", "columns", "bodies", "before", "cut", "head"] and line["format"] == FORMAT,
            f"line 1 is not the beginning of a file of the format {FORMAT}",
        )
        need(line["columns"] == COLUMNS, "line 1 names other columns than the format has")
        need(isinstance(line["bodies"], bool), "line 1 does not say whether the file has bodies")
        self.with_bodies = line["bodies"]
        before_id, self.before = end_of(line["before"], "line 1")
        self.head_id, self.head = end_of(line["head"], "line 1")
        self.first = before_id + 1
        cut_id = 0
        self.cut_note = None
        if line["cut"] is not None:
            need(
                isinstance(line["cut"], dict)
                and list(line["cut"]) == ["id", "note_id"]
                and all(type(one) is int for one in line["cut"].values()),
                "line 1 has a cut that cannot be read",
            )
            cut_id = line["cut"]["id"]
        need(before_id >= cut_id >= 0, f"rows up to {cut_id} were cut off and the file begins with row {self.first}")
        self.from_beginning = before_id == cut_id
        if before_id == 0:
            need(self.before == bytes(32), "the first row of a chain continues 32 zero bytes")
        elif self.from_beginning:
            self.cut_note = (line["cut"]["note_id"], f"{cut_id} {self.before.hex()}")

    def row(self, number, previous, line):
        values, place = line["row"], f"row {number}"
        need(isinstance(values, list) and len(values) == len(COLUMNS), f"{place} has not the columns of a row")
        row = dict(zip(COLUMNS, values, strict=False))
        need(row["id"] == number, f"{place} is missing; the next one is {row['id']}")
        canonical = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        found = hashlib.sha256(previous + canonical).digest()
        need(found.hex() == line["sha256"], f"{place}, or its hash, is not what was written after row {number - 1}")
        # from here on the row is what was written; whoever wrote another format than this one is found as well
        self.body(number, row, line["body"])
        if number in self.stamped:
            self.stamped[number] = found.hex()
        for piece in row["evidence"]:
            need(isinstance(piece, list) and len(piece) == 4, f"{place}: its evidence cannot be read")
            self.named.add(piece[0])
        if row["kind"] == "note":
            self.note(number, row)
        return found

    def body(self, number, row, body):
        if body is not None:
            exact = decoded(body, f"row {number}")
            same = hashlib.sha256(exact).hexdigest() == row["body_sha256"] and len(exact) == row["body_bytes"]
            need(self.with_bodies and same, f"the bytes of row {number} are not those whose digest it has")
            self.bodies += 1
        elif row["body_sha256"] and self.with_bodies:
            if any(self.covers(removal, number, row) for removal in self.removals):
                self.removed += 1
            else:
                self.unexplained += 1
                self.first_unexplained = self.first_unexplained or number

    @staticmethod
    def covers(removal, number, row):
        note, last, before, service = removal
        of_service = service in ("", row["system"], row["service_id"])
        return number < note and number <= last and row["at"] < before and of_service

    def note(self, number, row):
        if self.cut_note is not None and number == self.cut_note[0]:
            said = (row["verdict"], row["note"]) == ("cut", self.cut_note[1])
            need(said, f"row {number} does not say that the rows before {self.first} were cut off")
            self.cut_note = None
        if row["verdict"] != "stamped":
            return
        about = stamped_row(row)
        need(about < number, f"the time stamp of row {number} is about a later row")
        if about < self.first - 1:
            return  # about rows that are not in this file
        known = self.before.hex() if about == self.first - 1 else self.stamped[about]
        need(row["note"] == f"{about} {known}", f"the time stamp of row {number} names another hash of row {about}")
        statement = f"shep-gateway journal 1 {about} {known}".encode()
        for sha256, kind, _policy, _gen_time in row["evidence"]:
            if kind == "time_stamp":
                self.tokens[sha256] = hashlib.sha256(statement).digest()
        self.stamps += 1

    def one_evidence(self, line, place):
        sha256, content = line["evidence"], decoded(line["content"], f"line {place}")
        need(sha256 in self.named, f"line {place}: no row names this evidence, or it comes twice")
        need(hashlib.sha256(content).hexdigest() == sha256, f"line {place}: the evidence is not what its digest says")
        need(self.tokens.pop(sha256, b"") in content, f"line {place}: the time stamp is over something else")
        self.named.remove(sha256)
        self.evidence += 1

    def end(self, line, number, previous, file_sha256):
        self.last, closing = end_of(line["end"], "the last line")
        self.end_sha256 = previous.hex()
        need(number >= self.first, "the file has no rows")
        need((self.last, closing) == (number, previous), f"the rows end at {number} and the last line says {self.last}")
        need(line["rows"] == number - self.first + 1, f"the last line counts {line['rows']} rows")
        need(line["file_sha256"] == file_sha256, "the file is not what was written, though its rows are")
        need(number <= self.head_id, f"the rows end at {number}, behind the head {self.head_id}")
        self.to_head = number == self.head_id
        if self.to_head:
            need(previous == self.head, "the rows do not end in the head of line 1")
        need(not self.named, f"the evidence {min(self.named, default='')} is missing")
        if self.from_beginning and self.to_head:
            need(self.cut_note is None, f"rows were cut off before row {self.first} and no row says so")
            missing = self.first_unexplained
            need(missing is None, f"the bytes of row {missing} are missing and no note says why")


def need(holds, message):
    if not holds:
        raise Broken(message)


def parsed(raw, place, kind=dict):
    try:
        value = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise Broken(f"{place} is not JSON") from None
    need(isinstance(value, kind), f"{place} is not what an export has there")
    return value


def decoded(text, place):
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Broken(f"{place}: this is not base64") from None


def end_of(value, place):
    """The number and the hash of one end of the chain."""
    need(isinstance(value, dict) and list(value) == ["id", "sha256"], f"{place} lacks a number or a hash")
    number, sha256 = value["id"], value["sha256"]
    need(type(number) is int and number >= 0, f"{place} has no number where one belongs")
    try:
        digest = bytes.fromhex(sha256)
    except (TypeError, ValueError):
        raise Broken(f"{place}: this is not a hash") from None
    need(len(digest) == 32 and digest.hex() == sha256, f"{place}: this is not a hash")
    return number, digest


def stamped_row(row):
    number = str(row.get("note")).partition(" ")[0]
    need(number.isdecimal(), f"row {row.get('id')}: its note does not say which row was stamped")
    return int(number)


if __name__ == "__main__":
    sys.exit(main())
