"""How a mapper reads and writes the fields of a payload. Pure; lxml elements in, values out.

Children are found by local name, whatever namespace a peer puts them in (SHEP.md 1.2), and `xsi:nil` means absent.
What does not fit raises MappingError that names the element and never a value that may be personal.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from gateway.errors import InvalidIdentifier, MappingError
from gateway.model import Iin

_NIL: Final = "{http://www.w3.org/2001/XMLSchema-instance}nil"
#: xs:date, or xs:dateTime at midnight, with or without a zone; +0600 is seen in real traffic (SHEP.md 1.5)
_DAY: Final = re.compile(r"(\d{4}-\d\d-\d\d)(T00:00:00(\.0+)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
#: what looks like a code and not like an IIN
_CODE: Final = re.compile(r"(?!\d{12}$)[\w.-]{1,20}", re.ASCII)


def add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    """Append an element without namespace."""
    element = etree.SubElement(parent, name)
    element.text = text
    return element


def name_of(element: etree._Element) -> str:
    return etree.QName(element).localname


def children(parent: etree._Element, name: str) -> list[etree._Element]:
    return list(parent.iterchildren(f"{{*}}{name}"))


def child(parent: etree._Element | None, name: str) -> etree._Element | None:
    """The one child of that name; None when it, or the parent itself, is absent or nil."""
    found = [] if parent is None else children(parent, name)
    if parent is not None and len(found) > 1:
        raise MappingError(f"<{name}> occurs more than once in <{name_of(parent)}>")
    if not found or found[0].get(_NIL, "").strip() in ("true", "1"):
        return None
    return found[0]


def required(parent: etree._Element, name: str) -> etree._Element:
    found = child(parent, name)
    if found is None:
        raise MappingError(f"<{name_of(parent)}> has no <{name}>")
    return found


def items(parent: etree._Element, name: str, item: str) -> list[etree._Element] | None:
    """The items of a list element; None when the list itself is absent."""
    holder = child(parent, name)
    return None if holder is None else children(holder, item)


def leaf(element: etree._Element) -> str | None:
    """Text without white space at its ends; None when there is none."""
    if len(element):
        raise MappingError(f"<{name_of(element)}> holds more than text")
    return (element.text or "").strip() or None


def text(parent: etree._Element | None, name: str) -> str | None:
    found = child(parent, name)
    return None if found is None else leaf(found)


def required_text(parent: etree._Element, name: str) -> str:
    found = leaf(required(parent, name))
    if found is None:
        raise MappingError(f"<{name}> of <{name_of(parent)}> is empty")
    return found


def iin(parent: etree._Element, name: str) -> Iin:
    try:
        return Iin(required_text(parent, name))
    except InvalidIdentifier as error:
        raise MappingError(f"<{name}> of <{name_of(parent)}> is not valid: {error.why}") from None


def date(parent: etree._Element | None, name: str) -> dt.date | None:
    """A day, taken as it is written, whatever zone stands behind it."""
    written = text(parent, name)
    return None if parent is None or written is None else _day(parent, name, written)


def required_date(parent: etree._Element, name: str) -> dt.date:
    return _day(parent, name, required_text(parent, name))


def _day(parent: etree._Element, name: str, written: str) -> dt.date:
    form = _DAY.fullmatch(written)
    try:
        return dt.date.fromisoformat(form.group(1) if form else "")
    except ValueError:
        raise MappingError(f"<{name}> of <{name_of(parent)}> is not a date") from None


def known(parent: etree._Element, name: str, table: Mapping[str, str]) -> str:
    """The meaning of a code. An unknown one is an error that names element and code, and not a guess."""
    code = required_text(parent, name)
    if code not in table:
        raise unknown_code(parent, name, code)
    return table[code]


def unknown_code(parent: etree._Element, name: str, code: str) -> MappingError:
    shown = repr(code) if _CODE.fullmatch(code) else f"(a text of {len(code)} characters)"
    return MappingError(f"<{name}> of <{name_of(parent)}> has the code {shown}, whose meaning is not known")


def next_day(day: dt.date | None) -> dt.date | None:
    """The first day after a printed last day."""
    return None if day is None or day == dt.date.max else day + dt.timedelta(days=1)


def end_of(begin: dt.date | None, *ends: dt.date | None) -> dt.date | None:
    """The earliest end; an end before the begin leaves nothing, which [begin, begin) says."""
    earliest = min((day for day in ends if day is not None), default=None)
    return earliest if begin is None or earliest is None else max(begin, earliest)
