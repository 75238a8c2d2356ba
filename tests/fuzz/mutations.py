"""Changed copies of inputs: of any bytes, of the pieces of an XML document, of the elements of a DER structure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

#: large inputs cost time and teach little; the bounds of the readers have tests of their own
MAX_BYTES = 20_000

_NUMBERS = (0, 1, 2, 9, 10, 13, 31, 32, 34, 38, 39, 47, 48, 60, 61, 62, 127, 128, 129, 191, 192, 239, 254, 255)


def _at(random: Random, data: bytes) -> int:
    return random.randint(0, len(data))


def of_bytes(random: Random, data: bytes, other: bytes, words: tuple[bytes, ...] = ()) -> bytes:
    """One to four small changes."""
    for _ in range(1 + int(random.random() ** 3 * 4)):
        start = _at(random, data)
        end = min(len(data), start + int(random.random() ** 4 * 64) + 1)
        match random.randrange(8 if words else 7):
            case 0 if start < len(data):
                data = data[:start] + bytes([data[start] ^ (1 << random.randrange(8))]) + data[start + 1 :]
            case 1:
                data = data[:start] + bytes([random.choice(_NUMBERS)]) + data[start + 1 :]
            case 2:
                data = data[:start] + bytes([random.choice(_NUMBERS)]) + data[start:]
            case 3:
                data = data[:start] + data[end:]
            case 4:
                data = data[:end] + data[start:end] * random.choice((1, 1, 2, 40)) + data[end:]
            case 5:
                there = _at(random, other)
                data = data[:start] + other[there : there + random.choice((1, 8, 60, 600))] + data[start:]
            case 6 if random.random() < 0.2:
                data = data[:start]
            case 7:
                data = data[:start] + random.choice(words) + data[random.choice((start, end)) :]
    return data[:MAX_BYTES]


# ---------------------------------------------------------------- XML

_PIECES = re.compile(rb"<[^<>]*>|[^<]+|<")
_VALUE = re.compile(rb"=\s*(\"[^\"]*\"|'[^']*')")
WORDS = (
    b"<!-- c -->", b"<?p i?>", b"<![CDATA[x]]>", b"<![CDATA[", b"]]>", b"&amp;", b"&#13;", b"&#0;", b"&x;", b"&lt;",
    b"<!DOCTYPE a>", b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"\xef\xbb\xbf", b"\xd2\xb0", b"\xff", b"\x00",
    b"<?xml version='1.0' encoding='utf-16'?>", b"<?xml version='1.1'?>", b" Id='id-1'", b" ID='id-1'",
    b" xml:id='id-1'", b" xmlns=''", b" xmlns='urn:x'", b" xmlns:ds='urn:x'", b" xml:lang='kk'", b" xsi:nil='true'",
    b"URI=''", b"URI='#id-1'", b"#", b"<data>", b"</data>", b"<request>", b"<a/>", b"2026-02-30T25:61:61Z",
    b"0000-00-00", b"9999-12-31T23:59:59.999999999+14:00", b"2026-01-31T12:00:00+0600", b"CN=a+CN=b,C=KZ", b"#0400",
    b"1.2.3=x", b"\\2C", b"-1", b"9" * 80, b"AAAA", b"=", b"====", b"xmldsig-more#hmac-sha256",
    b"http://www.w3.org/2000/09/xmldsig#sha1", b"PrefixList='a b #default'",
)  # fmt: skip


def of_xml(random: Random, data: bytes, other: bytes) -> bytes:
    kind = random.random()
    if kind < 0.35:
        return of_bytes(random, data, other, WORDS)
    pieces = _PIECES.findall(data)
    if len(pieces) < 3:
        return of_bytes(random, data, other, WORDS)
    place = random.randrange(len(pieces))
    match random.randrange(8):
        case 0:  # a piece goes
            del pieces[place]
        case 1:  # a piece stands twice
            pieces.insert(place, pieces[place])
        case 2:  # two pieces change places
            there = random.randrange(len(pieces))
            pieces[place], pieces[there] = pieces[there], pieces[place]
        case 3:  # an element moves elsewhere
            taken = _element(pieces, place)
            moved = pieces[taken]
            del pieces[taken]
            there = random.randint(0, len(pieces))
            pieces[there:there] = moved
        case 4:  # an element stands twice
            moved = pieces[_element(pieces, place)]
            there = random.randint(0, len(pieces))
            pieces[there:there] = moved
        case 5:  # an element goes
            del pieces[_element(pieces, place)]
        case 6:  # an element of another document comes in
            foreign = _PIECES.findall(other)
            taken = _element(foreign, random.randrange(len(foreign))) if foreign else slice(0, 0)
            pieces[place:place] = foreign[taken]
        case 7:  # another value of an attribute, or another text
            values = _VALUE.findall(data)
            found = list(_VALUE.finditer(pieces[place]))
            if found and values:
                one = random.choice(found)
                new = random.choice(values) if random.random() < 0.6 else b'"' + random.choice(WORDS) + b'"'
                pieces[place] = pieces[place][: one.start(1)] + new + pieces[place][one.end(1) :]
            else:
                pieces[place] = random.choice(WORDS)
    return b"".join(pieces)[:MAX_BYTES]


def _element(pieces: list[bytes], start: int) -> slice:
    """From a start tag to its end tag, as far as that can be told without a parser."""
    depth = 0
    for at in range(start, len(pieces)):
        piece = pieces[at]
        if piece.startswith(b"</"):
            depth -= 1
        elif piece.startswith(b"<") and not piece.endswith(b"/>"):
            depth += 1
        if depth <= 0:
            return slice(start, at + 1)
    return slice(start, start + 1)


# ---------------------------------------------------------------- DER


@dataclass
class Element:
    tag: int
    content: bytes | list[Element]
    #: what stands before nested elements: the count of unused bits of a BIT STRING
    prefix: bytes = b""


def read_der(data: bytes, depth: int = 0) -> list[Element] | None:
    """Elements side by side, or None when that is not DER through and through."""
    elements, position = [], 0
    while position < len(data):
        if position + 2 > len(data) or data[position] & 0x1F == 0x1F or depth > 30:
            return None
        tag, length, start = data[position], data[position + 1], position + 2
        if length & 0x80:
            size = length & 0x7F
            if not 0 < size < 4:
                return None
            length, start = int.from_bytes(data[start : start + size], "big"), start + size
        if start + length > len(data):
            return None
        content = data[start : start + length]
        prefix = b"\0" if tag == 3 and content[:1] == b"\0" else b""
        nested = read_der(content[len(prefix) :], depth + 1) if tag & 0x20 or tag in (3, 4) else None
        if nested or (tag & 0x20 and nested is not None):
            elements.append(Element(tag, nested, prefix))
        else:
            elements.append(Element(tag, content))
        position = start + length
    return elements


def write_der(elements: list[Element]) -> bytes:
    return b"".join(tlv(one.tag, content_of(one)) for one in elements)


def content_of(element: Element) -> bytes:
    content = element.content
    return element.prefix + (write_der(content) if isinstance(content, list) else content)


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def _all(elements: list[Element]) -> list[tuple[list[Element], int]]:
    found = []
    for at, one in enumerate(elements):
        found.append((elements, at))
        if isinstance(one.content, list):
            found += _all(one.content)
    return found


_CONTENTS = (
    b"", b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\0" * 9, b"\x80" * 30, b"\xff" * 70,
    b"20260131000000Z", b"260131000000Z", b"00000000000000Z", b"99991231235959Z", b"20260230256161Z", b"2601310000Z",
    b"20260131000000.5Z", b"20260131000000+0600", b"\x2a\x83\x0e\x03\x03\x01\x01", b"\x55\x1d\x13", b"\x55\x1d\x0f",
    b"\x80\x01", b"\xd2", "Ұ".encode(), "Ұ".encode("utf-16-be"), b"\xd8\x00", b"<&>,+\"\\;=# ", b" ",
)  # fmt: skip
_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1C, 0x1E, 0x30, 0x31, 0x80,
         0x81, 0x82, 0x83, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x24, 0x23, 0x1F, 0x00)  # fmt: skip


def of_der(random: Random, data: bytes, other: bytes) -> bytes:
    elements = read_der(data) if random.random() < 0.8 else None
    if not elements:
        return of_bytes(random, data, other)
    for _ in range(1 + int(random.random() ** 3 * 4)):
        places = _all(elements)
        if not places:
            break
        parent, at = random.choice(places)
        one = parent[at]
        match random.randrange(8):
            case 0:
                one.tag = random.choice(_TAGS)
            case 1:
                one.content, one.prefix = random.choice(_CONTENTS), b""
            case 2:
                del parent[at]
            case 3:
                times = random.choice((1, 1, 2, 70))
                if times * len(content_of(one)) < MAX_BYTES:
                    parent[at:at] = [one] * times
            case 4:
                there, where = random.choice(places)
                parent[at] = _copied(there[where])
            case 5:
                foreign = read_der(other)
                if foreign:
                    there, where = random.choice(_all(foreign))
                    parent[at : at + random.randint(0, 1)] = [_copied(there[where])]
            case 6:
                parent[at] = Element(random.choice((0x30, 0x31, 0xA0, 0xA1, 0xA3, 0x04)), [_copied(one)])
            case 7:
                one.content, one.prefix = of_bytes(random, content_of(one), other), b""
    return write_der(elements)[:MAX_BYTES]


def _copied(element: Element) -> Element:
    content = element.content
    inside = [_copied(one) for one in content] if isinstance(content, list) else content
    return Element(element.tag, inside, element.prefix)
