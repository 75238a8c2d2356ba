from __future__ import annotations

import csv as csv_module
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import MalformedMessage
from gateway.registry.imports.checks import Refusal, as_text
from gateway.registry.imports.feeds import RecordKind
from gateway.registry.imports.formats import records_of
from gateway.registry.imports.lines import LAYOUTS, MAX_LINE_BYTES, fields_of, key_of, line_of
from gateway.registry.imports.stretches import values_of

COLUMNS = LAYOUTS[RecordKind.CATEGORIES].columns
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
RECORD = st.fixed_dictionaries(dict.fromkeys(COLUMNS, TEXT))


def read(path: Path) -> list[tuple[int, list[str] | str]]:
    found: list[tuple[int, list[str] | str]] = []
    for number, line in records_of(path, RecordKind.CATEGORIES):
        found.append((number, line.code if isinstance(line, Refusal) else fields_of(line) or []))
    return found


@given(st.lists(TEXT, min_size=1, max_size=8))
def test_a_line_gives_back_its_values(values: list[str]) -> None:
    line = line_of(values)
    assert line is not None
    assert b"\n" not in line
    if values != [""]:
        assert fields_of(line) == values
        assert key_of(line, 2) == tuple(value.encode() for value in values[:2])


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r\x00"))))
def test_a_row_to_stage_gives_back_its_values(values: list[str | None]) -> None:
    # an empty text is written as NULL before it comes here
    row = [value or None for value in values] or [None]
    assert values_of(as_text(row)) == row


@given(st.lists(RECORD, min_size=1, max_size=5))
def test_every_format_tells_the_same(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    expected = [[record[name] for name in COLUMNS] for record in records]
    out = io.StringIO()
    writer = csv_module.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(records)
    (folder / "list.csv").write_bytes(b"\xef\xbb\xbf" + out.getvalue().encode())
    (folder / "list.ndjson").write_text("\n".join(json.dumps(record) for record in records))
    root = etree.Element("{urn:x}list")
    for record in records:
        element = etree.SubElement(root, "{urn:x}record")
        for name, value in record.items():
            etree.SubElement(element, name).text = value
    (folder / "list.xml").write_bytes(etree.tostring(root, xml_declaration=True, encoding="utf-8"))
    assert [values for _, values in read(folder / "list.csv")] == expected
    assert [values for _, values in read(folder / "list.ndjson")] == expected
    stripped = [[value.strip() for value in values] for values in expected]
    assert [values for _, values in read(folder / "list.xml")] == stripped


def test_what_cannot_be_read_is_refused_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "list"
    header = ",".join(COLUMNS).encode()
    file.write_bytes(
        header + b'\r\n1,2\r\n\r\n"1,2\n\xff,,,,,,\n' + b"x" * (3 * MAX_LINE_BYTES) + b'\n"a\x00",,,,,,\nlast,,,,,,'
    )
    assert read(file) == [
        (2, "wrong_columns"),
        (4, "not_readable"),
        (5, "not_readable"),
        (6, "line_too_long"),
        (7, "line_break"),
        (8, ["last", "", "", "", "", "", ""]),
    ]
    file.write_bytes(
        b'{"iin": 1}\n\n[1]\n{"wage": 1}\n{"iin": [1]}\n{"iin": "a\\nb"}\n{\n{"iin": true, "category": null}\n'
        + b"{"
        + b"x" * (2 * MAX_LINE_BYTES)
        + b"}\n"
    )
    assert read(file) == [
        (1, ["1", "", "", "", "", "", ""]),
        (3, "not_readable"),
        (4, "unknown_field"),
        (5, "not_readable"),
        (6, "line_break"),
        (7, "not_readable"),
        (8, ["true", "", "", "", "", "", ""]),
        (9, "line_too_long"),
    ]
    file.write_bytes(
        b"<l><r><iin>1</iin></r><r><wage/></r><r><iin>1</iin><iin>2</iin></r><!-- x --><r><iin>a\nb</iin></r><r/></l>"
    )
    assert read(file) == [
        (1, ["1", "", "", "", "", "", ""]),
        (2, "unknown_field"),
        (3, "unknown_field"),
        (4, "line_break"),
        (5, [""] * 7),
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "header"),
        (b"iin,iin\n", "header"),
        (b"\xff\n", "header"),
        (b"<!DOCTYPE l [<!ENTITY a 'b'>]><l/>", "doctype"),
        (b" " * 10 + b"<l>" + b" " * ((1 << 20) - 20) + b"<!DOCTYPE x><r/></l>", "doctype"),
        (b"<l><r>", "not_xml"),
        (b"<l><r></l>", "not_xml"),
        (b"<l><r><iin><b/></iin></r></l>", "too_deep"),
        (b"<l><r><iin>" + b"x" * 4_000_000 + b"</iin></r></l>", "too_large"),
    ],
)
def test_a_file_that_is_no_list_is_refused_as_a_whole(tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "list"
    file.write_bytes(content)
    with pytest.raises(MalformedMessage) as refused:
        read(file)
    assert refused.value.code == code
