"""Files in CSV, NDJSON or XML as records, one at a time. Docs: docs/reference/imports.md.

A record that cannot be read is refused by its number; a file that is not what it should be is refused as a whole.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.registry.imports.checks import Refusal
from gateway.registry.imports.feeds import RecordKind
from gateway.registry.imports.lines import LAYOUTS, MAX_LINE_BYTES, Layout, line_of

_BOM: Final = b"\xef\xbb\xbf"
_XML_CHUNK_BYTES: Final = 1 << 20
#: of an element inside a record
_MAX_XML_DEPTH: Final = 3

Record = tuple[int, bytes | Refusal]
"""The number of a record in its file (the line; in XML its ordinal), and its line (gateway.registry.imports.lines)."""


def records_of(path: Path, kind: RecordKind) -> Iterator[Record]:
    """The records of a file. The format is told by its first character: `<` XML, `{` NDJSON, anything else CSV.

    Raises MalformedMessage when the file as a whole cannot be read.
    """
    layout = LAYOUTS[kind]
    with path.open("rb") as file:
        if file.peek(3)[:3] == _BOM:
            file.read(3)
        first = file.peek(64).lstrip()[:1]
        if first == b"<":
            yield from _xml(file, layout)
        elif first == b"{":
            yield from _ndjson(file, layout)
        else:
            yield from _csv(file, layout)


def header_of(path: Path) -> tuple[str, ...]:
    """The names of the first record's fields or of a CSV's columns: enough to tell what the file holds."""
    with path.open("rb") as file:
        start = file.read(MAX_LINE_BYTES).removeprefix(_BOM).lstrip()
    if start.startswith(b"<"):
        parser = _safe_parser("end")
        try:
            _refuse_doctype(start)
            parser.feed(start)
        except etree.XMLSyntaxError:
            return ()
        for _, found in parser.read_events():
            element = cast("etree._Element", found)
            if len(element):
                return tuple(etree.QName(child).localname for child in element if isinstance(child.tag, str))
        return ()
    line = start.split(b"\n", 1)[0]
    if line.startswith(b"{"):
        try:
            return tuple(json.loads(line))
        except ValueError:
            return ()
    return tuple(line.decode(errors="replace").strip("\r").split(","))


# ---------------------------------------------------------------- lines


def _bounded_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without their ends; None stands for one over the bound, which is skipped without being held."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) <= MAX_LINE_BYTES or line.endswith(b"\n"):
            yield number, line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield number, None


def _too_long() -> Refusal:
    return Refusal("line_too_long", f"a record has at most {MAX_LINE_BYTES} bytes")


def _line(layout: Layout, values: Mapping[str, str]) -> bytes | Refusal:
    line = line_of([values.get(column, "") for column in layout.columns])
    return Refusal("line_break", "a value holds a line break or a NUL character") if line is None else line


# ---------------------------------------------------------------- CSV


def _csv(file: BinaryIO, layout: Layout) -> Iterator[Record]:
    lines = _bounded_lines(file)
    _, header = next(lines, (0, b""))
    names = _header(header, layout)
    for number, line in lines:
        if line is None:
            yield number, _too_long()
        elif line:
            yield number, _csv_record(line, names, layout)


def _header(line: bytes | None, layout: Layout) -> list[str]:
    names = [name.strip() for name in next(csv.reader([(line or b"").decode(errors="replace")]), [])]
    missing = [name for name in layout.columns if name not in names and name not in layout.optional]
    unknown = [name[:40] for name in names if name not in layout.columns]
    if missing or unknown or len(set(names)) != len(names):
        raise MalformedMessage(
            f"the first line must name the columns, each once: {', '.join(layout.columns)}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; {len(unknown)} not known" if unknown else ""),
            code="header",
        )
    return names


def _csv_record(line: bytes, names: list[str], layout: Layout) -> bytes | Refusal:
    try:
        values = next(csv.reader([line.decode()], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return Refusal("not_readable", "the line is not CSV in UTF-8 (a record is one line)")
    if len(values) != len(names):
        return Refusal("wrong_columns", f"the line has {len(values)} values and the header {len(names)}")
    return _line(layout, dict(zip(names, values, strict=True)))


# ---------------------------------------------------------------- NDJSON


def _ndjson(file: BinaryIO, layout: Layout) -> Iterator[Record]:
    for number, line in _bounded_lines(file):
        if line is None:
            yield number, _too_long()
        elif line.strip():
            yield number, _json_record(line, layout)


def _json_record(line: bytes, layout: Layout) -> bytes | Refusal:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return Refusal("not_readable", "the line is not one JSON object in UTF-8")
    values: dict[str, str] = {}
    for name, value in record.items():
        if name not in layout.columns:
            return Refusal("unknown_field", f"a record has these fields: {', '.join(layout.columns)}")
        if isinstance(value, bool):
            values[name] = "true" if value else "false"
        elif value is None or isinstance(value, str | int | float):
            values[name] = "" if value is None else str(value)
        else:
            return Refusal("not_readable", f"{name} holds more than one value")
    return _line(layout, values)


# ---------------------------------------------------------------- XML


def _safe_parser(*events: Literal["start", "end"]) -> etree.XMLPullParser:
    """As gateway.xml, for documents that are too large to be held as one tree."""
    return etree.XMLPullParser(
        events=events,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _refuse_doctype(data: bytes) -> None:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise MalformedMessage("a document type declaration is never accepted", code="doctype")


def _xml(file: BinaryIO, layout: Layout) -> Iterator[Record]:
    """`<anything><record><iin>…</iin>…</record>…</anything>`: namespaces and attributes say nothing."""
    parser = _safe_parser("start", "end")
    depth = number = held = 0
    tail = b""
    while True:
        chunk = file.read(_XML_CHUNK_BYTES)
        # the end of the chunk before goes along: a declaration may be cut in two
        _refuse_doctype(tail + chunk)
        tail = chunk[-16:]
        held += len(chunk)
        try:
            parser.feed(chunk) if chunk else parser.close()
        except etree.XMLSyntaxError as error:
            raise MalformedMessage(f"the file is not well-formed XML (line {error.lineno})", code="not_xml") from None
        for event, found in parser.read_events():
            element = cast("etree._Element", found)
            if event == "start":
                depth += 1
                if depth > _MAX_XML_DEPTH:
                    raise MalformedMessage("elements nest deeper than root, record, field", code="too_deep")
                continue
            depth -= 1
            if depth == 1:
                number, held = number + 1, 0
                yield number, _xml_record(element, layout)
                # what was read is let go, with its place in the root
                element.clear()
                while (earlier := element.getprevious()) is not None:
                    cast("etree._Element", element.getparent()).remove(earlier)
        if held > MAX_LINE_BYTES + 2 * _XML_CHUNK_BYTES:
            raise MalformedMessage("a record is larger than any record may be", code="too_large")
        if not chunk:
            return


def _xml_record(element: etree._Element, layout: Layout) -> bytes | Refusal:
    values: dict[str, str] = {}
    for child in element:
        name = etree.QName(child).localname if isinstance(child.tag, str) else ""
        if name not in layout.columns or name in values or len(child):
            return Refusal("unknown_field", f"a record has these fields, each once: {', '.join(layout.columns)}")
        values[name] = (child.text or "").strip()
    return _line(layout, values)
