"""FUND_LIST_INTAKE: what lists, declared failures and applications say as messages. Pure: elements in, values out.

Our draft: the Rules name what is exchanged (004 p.5, p.13, p.15, p.18, p.21, p.53, p.57, p.61-65) and no message.
The contract is wsdl/fund/list_intake.xsd; another one replaces it and this file, and nothing else.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.model import Citation, Iin
from gateway.registry.applications import documents_of
from gateway.registry.feeds import exchanged
from gateway.registry.imports.feeds import ListFeed, Scope, feeds_of
from gateway.registry.imports.lines import LAYOUTS, MAX_LINE_BYTES, line_of
from gateway.registry.imports.parts import ListPart
from gateway.registry.incidents import systems_of
from gateway.regulation.law import Law
from gateway.xml import leaf_text, local_name

SERVICE_ID: Final = "FUND_LIST_INTAKE"
NAMESPACE: Final = "urn:shep-gateway:fund:list-intake:v1-draft"
REQUEST: Final = f"{{{NAMESPACE}}}listIntakeRequest"
RESPONSE: Final = f"{{{NAMESPACE}}}listIntakeResponse"

#: a message has at most 20,000 elements and 2 MB (gateway.xml.XmlBounds): of payments fewer records fit
MAX_RECORDS: Final = 2_000
MAX_PARTS: Final = 100_000
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class FailureDeclared:
    """p.13: a system failed on a day."""

    system: str
    start: dt.date
    reason: str


@dataclass(frozen=True, slots=True)
class FailureEnded:
    """p.13: it was put right; `fixed` is the first day without the failure."""

    system: str
    start: dt.date
    fixed: dt.date
    reason: str


@dataclass(frozen=True, slots=True)
class Application:
    """p.21, p.57: somebody asks for provisional entry."""

    iin: Iin = field(repr=False)
    category: str
    applied: dt.date
    documents: frozenset[str]


@dataclass(frozen=True, slots=True)
class ForbiddenMarking:
    """p.5: what is so marked is not exchanged; nothing else of the message was read (R-03)."""

    marking: str


Said: TypeAlias = ListPart | FailureDeclared | FailureEnded | Application | ForbiddenMarking


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. `result` is the code of the status too, where that is not success."""

    result: str
    received: int | None = None
    of: int | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    reason: str = ""
    because: tuple[Citation, ...] = ()


def read_request(payload: etree._Element, law: Law) -> Said:
    """Read `listIntakeRequest`: exactly one of `listPart`, `failure`, `failureEnd`, `application`.

    Raises MalformedMessage (`unexpected_element`, `missing_field`, `repeated`, `bad_value`, `not_a_leaf`) and
    InvalidIdentifier. What a record says is not looked at here: each is judged when its list is applied.
    """
    children = list(payload)
    if len(children) != 1 or local_name(children[0]) not in _READERS:
        raise MalformedMessage(
            f"a message says one thing: {', '.join(_READERS)}; see wsdl/fund/list_intake.xsd",
            code="unexpected_element",
        )
    said = children[0]
    fields = _fields(said)
    marking = _text(fields, "marking", optional=True)
    if not exchanged(marking, law):
        return ForbiddenMarking(marking)
    return _READERS[local_name(said)](fields, law)


def build_response(reply: Reply) -> etree._Element:
    """`listIntakeResponse`. Pure."""
    root = etree.Element(RESPONSE, nsmap={"li": NAMESPACE})
    for name, value in (
        ("result", reply.result),
        ("received", reply.received),
        ("of", reply.of),
        ("first", reply.first),
        ("last", reply.last),
        ("reason", reply.reason or None),
    ):
        if value is not None:
            etree.SubElement(root, name).text = str(value)
    if reply.because:
        because = etree.SubElement(root, "because")
        for citation in reply.because:
            etree.SubElement(because, "citation").text = str(citation)
    return root


# ---------------------------------------------------------------- each kind


_Fields: TypeAlias = Mapping[str, etree._Element]


def _list_part(fields: _Fields, law: Law) -> ListPart:
    _only(fields, {"listId", "feed", "scope", "madeOn", "marking", "number", "of", "digest", "records"})
    feed = feeds_of(law).get(_text(fields, "feed"))
    if feed is None:
        raise _bad("feed", "a feed of docs/reference/imports.md")
    scope_text = _text(fields, "scope")
    if scope_text not in {scope.value for scope in feed.scopes}:
        raise _bad("scope", f"one of {', '.join(feed.scopes)} for {feed.name}")
    of = _number(fields, "of")
    if of > MAX_PARTS:
        raise _bad("of", f"at most {MAX_PARTS}")
    if "records" not in fields:
        raise _missing("records")
    return ListPart(
        list_id=_matching(fields, "listId", _ID, "1 to 64 letters, digits and . _ : -"),
        feed=feed,
        scope=Scope(scope_text),
        made_on=_day(fields, "madeOn"),
        number=_number(fields, "number"),
        of=of,
        digest=_matching(fields, "digest", _SHA256, "a SHA-256 in lower-case hexadecimal"),
        lines=_lines(fields["records"], feed),
    )


def _failure(fields: _Fields, law: Law) -> FailureDeclared:
    _only(fields, {"system", "from", "reason", "marking"})
    return FailureDeclared(_system(fields, law), _day(fields, "from"), _text(fields, "reason"))


def _failure_end(fields: _Fields, law: Law) -> FailureEnded:
    _only(fields, {"system", "from", "fixed", "reason", "marking"})
    return FailureEnded(_system(fields, law), _day(fields, "from"), _day(fields, "fixed"), _text(fields, "reason"))


def _application(fields: _Fields, law: Law) -> Application:
    _only(fields, {"iin", "category", "applied", "documents", "marking"})
    category = _text(fields, "category")
    if category not in law.categories:
        raise _bad("category", "a category of docs/reference/registry.md")
    if "documents" not in fields:
        raise _missing("documents")
    documents = frozenset(leaf_text(child) for child in _children(fields["documents"], "document"))
    if not documents <= documents_of(law):
        raise _bad("document", "a document of p.21 or p.57")
    return Application(Iin(_text(fields, "iin")), category, _day(fields, "applied"), documents)


_READERS: Final[Mapping[str, Callable[[_Fields, Law], Said]]] = {
    "listPart": _list_part,
    "failure": _failure,
    "failureEnd": _failure_end,
    "application": _application,
}


def _lines(records: etree._Element, feed: ListFeed) -> tuple[bytes, ...]:
    """The records as lines of the feed's layout. A value may be left out; what it must be is checked with the list."""
    layout = LAYOUTS[feed.kind]
    children = _children(records, "record")
    if len(children) > MAX_RECORDS:
        raise _bad("records", f"at most {MAX_RECORDS} records in a part")
    lines = []
    for record in children:
        values = {name: leaf_text(child) for name, child in _fields(record).items()}
        _only(values, set(layout.columns))
        line = line_of([values.get(column, "") for column in layout.columns])
        if line is None or len(line) > MAX_LINE_BYTES:
            raise _bad("record", f"at most {MAX_LINE_BYTES} bytes without line breaks")
        lines.append(line)
    return tuple(lines)


# ---------------------------------------------------------------- single values


def _fields(element: etree._Element) -> dict[str, etree._Element]:
    fields: dict[str, etree._Element] = {}
    for child in element:
        name = local_name(child)
        if name in fields:
            raise MalformedMessage(f"<{name[:80]}> occurs more than once", code="repeated")
        fields[name] = child
    return fields


def _children(element: etree._Element, name: str) -> list[etree._Element]:
    children = list(element)
    for child in children:
        if local_name(child) != name:
            raise MalformedMessage(f"<{local_name(child)[:80]}> stands where <{name}> does", code="unexpected_element")
    return children


def _only(fields: Mapping[str, object], known: set[str]) -> None:
    # what is misspelt would otherwise be passed over
    for name in fields:
        if name not in known:
            raise MalformedMessage(f"<{name[:80]}> is not part of the contract", code="unexpected_element")


def _text(fields: _Fields, name: str, *, optional: bool = False) -> str:
    if name not in fields:
        if optional:
            return ""
        raise _missing(name)
    value = leaf_text(fields[name])
    if not value and not optional:
        raise _missing(name)
    return value


def _matching(fields: _Fields, name: str, pattern: re.Pattern[str], wanted: str) -> str:
    value = _text(fields, name)
    if not pattern.fullmatch(value):
        raise _bad(name, wanted)
    return value


def _number(fields: _Fields, name: str) -> int:
    return int(_matching(fields, name, _NUMBER, "a number from 1 on"))


def _day(fields: _Fields, name: str) -> dt.date:
    wanted = "a day; write it as 2026-01-31, without a time zone"
    try:
        return dt.date.fromisoformat(_matching(fields, name, _DAY, wanted))
    except ValueError:
        raise _bad(name, wanted) from None


def _system(fields: _Fields, law: Law) -> str:
    system = _text(fields, "system")
    if system not in systems_of(law):
        raise _bad("system", "a system of the chains in config/regulation/categories.yaml")
    return system


def _missing(name: str) -> MalformedMessage:
    return MalformedMessage(f"<{name}> is missing", code="missing_field")


def _bad(name: str, wanted: str) -> MalformedMessage:
    return MalformedMessage(f"<{name}> is not what it must be: {wanted}", code="bad_value")
