"""Distinguished names as they are encoded: how two are compared, and how one is shown (RFC 5280 7.1, RFC 4514)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from asn1crypto import parser

NameKey: TypeAlias = tuple[tuple[tuple[str, str], ...], ...]
"""A distinguished name without order: sorted RDNs of sorted (OID, normalised value). Equal keys, equal names.

National CAs of different years write the same RDNs in different order (PKI.md section 3), so names are compared
as sets; nothing is trusted for its name alone.
"""

COMMON_NAME: Final = "2.5.4.3"
SURNAME: Final = "2.5.4.4"
SERIAL_NUMBER: Final = "2.5.4.5"
ORGANIZATIONAL_UNIT: Final = "2.5.4.11"

ATTRIBUTE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # the keywords that X500Principal of Java also reads, so that what we write is understood there
        "2.5.4.3": "CN",
        "2.5.4.4": "SURNAME",
        "2.5.4.5": "SERIALNUMBER",
        "2.5.4.6": "C",
        "2.5.4.7": "L",
        "2.5.4.8": "ST",
        "2.5.4.9": "STREET",
        "2.5.4.10": "O",
        "2.5.4.11": "OU",
        "2.5.4.12": "T",
        "2.5.4.42": "GIVENNAME",
        "2.5.4.43": "INITIALS",
        "2.5.4.44": "GENERATION",
        "2.5.4.46": "DNQ",
        "0.9.2342.19200300.100.1.1": "UID",
        "0.9.2342.19200300.100.1.25": "DC",
        "1.2.840.113549.1.9.1": "EMAILADDRESS",
    }
)

_TEXT_ENCODINGS = {
    12: "utf-8",  # UTF8String
    18: "ascii",  # NumericString
    19: "ascii",  # PrintableString
    20: "latin-1",  # TeletexString, as everyone writes it
    22: "latin-1",  # IA5String
    26: "ascii",  # VisibleString
    28: "utf-32-be",  # UniversalString
    30: "utf-16-be",  # BMPString
}
_UNIVERSAL_CLASS = 0
_WHITE_SPACE = re.compile(r"\s+")


def text_of(value_der: bytes) -> str | None:
    """The text of an encoded directory string, or None when it is something else."""
    tag_class, _, tag, _, content, _ = parser.parse(value_der, strict=True)
    encoding = _TEXT_ENCODINGS.get(tag) if tag_class == _UNIVERSAL_CLASS else None
    return content.decode(encoding) if encoding else None


def normalised(value_der: bytes) -> str:
    text = text_of(value_der)
    return "#" + value_der.hex() if text is None else normalised_text(text)


def normalised_text(text: str) -> str:
    # RFC 5280 section 7.1: compatibility form, case folded, inner white space as one space. The mark in front
    # keeps a text that begins with '#' apart from the hexadecimal form of a value that is not a text.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "=" + _WHITE_SPACE.sub(" ", folded).strip()


def name_attributes(name: Any) -> tuple[tuple[tuple[str, bytes], ...], ...]:
    """RDNs of a `Name` in encoded order, each the (OID, encoded value) pairs inside it."""
    return tuple(tuple((pair["type"].dotted, pair["value"].dump()) for pair in rdn) for rdn in name)


def key_of_name(name: Any) -> NameKey:
    """The order-insensitive key of a `Name`. Raises what asn1crypto raises; callers translate."""
    return tuple(sorted(tuple(sorted((oid, normalised(v)) for oid, v in rdn)) for rdn in name_attributes(name)))


_ESCAPED = frozenset(',+"\\<>;=')


def _escaped(text: str) -> str:
    """A value as RFC 4514 section 2.4 writes it; control characters as hexadecimal pairs, so that a name
    cannot break a line of a log."""
    out = []
    for position, character in enumerate(text):
        at_edge = position in (0, len(text) - 1)
        if character in _ESCAPED or (character == " " and at_edge) or (character == "#" and position == 0):
            out.append("\\" + character)
        elif not character.isprintable():
            out.append("".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass")))
        else:
            out.append(character)
    return "".join(out)


def name_text(name: Any) -> str:
    """A `Name` as RFC 4514 writes it (last RDN first), with the keywords of X500Principal."""
    rdns = []
    for rdn in reversed(name_attributes(name)):
        pairs = []
        for oid, value in rdn:
            text = text_of(value)
            shown = "#" + value.hex() if text is None else _escaped(text)
            pairs.append(f"{ATTRIBUTE_NAMES.get(oid, oid)}={shown}")
        rdns.append("+".join(pairs))
    return ",".join(rdns)
