"""Names of issuers as messages write them (ds:X509IssuerName): RFC 4514 and what stacks make of it."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from gateway.errors import MalformedMessage
from gateway.signing.certificate_asn1 import ASN1_ERRORS
from gateway.signing.distinguished_names import (
    ATTRIBUTE_NAMES,
    SERIAL_NUMBER,
    SURNAME,
    NameKey,
    normalised,
    normalised_text,
)

#: characters of an X509IssuerName that are read
MAX_ISSUER_NAME_CHARACTERS: Final = 4_096

_ATTRIBUTE_OIDS: Final[Mapping[str, str]] = MappingProxyType(
    {name: oid for oid, name in ATTRIBUTE_NAMES.items()}
    | {
        # how OpenSSL, BouncyCastle, .NET and RFC 4519 spell the same types
        "COMMONNAME": "2.5.4.3",
        "COUNTRY": "2.5.4.6",
        "COUNTRYNAME": "2.5.4.6",
        "LOCALITY": "2.5.4.7",
        "LOCALITYNAME": "2.5.4.7",
        "S": "2.5.4.8",
        "SP": "2.5.4.8",
        "STATEORPROVINCENAME": "2.5.4.8",
        "STREETADDRESS": "2.5.4.9",
        "ORGANIZATION": "2.5.4.10",
        "ORGANIZATIONNAME": "2.5.4.10",
        "ORGANIZATIONALUNIT": "2.5.4.11",
        "ORGANIZATIONALUNITNAME": "2.5.4.11",
        "TITLE": "2.5.4.12",
        "BUSINESSCATEGORY": "2.5.4.15",
        "POSTALCODE": "2.5.4.17",
        "NAME": "2.5.4.41",
        "G": "2.5.4.42",
        "GN": "2.5.4.42",
        "GENERATIONQUALIFIER": "2.5.4.44",
        "DNQUALIFIER": "2.5.4.46",
        "PSEUDONYM": "2.5.4.65",
        "ORGANIZATIONIDENTIFIER": "2.5.4.97",
        "USERID": "0.9.2342.19200300.100.1.1",
        "DOMAINCOMPONENT": "0.9.2342.19200300.100.1.25",
        "E": "1.2.840.113549.1.9.1",
        "EMAIL": "1.2.840.113549.1.9.1",
    }
)

_ISSUER_NAME_CODE = "issuer_name"
_DOTTED = re.compile(r"(?:oid\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_HEX_PAIR = re.compile(r"[0-9A-Fa-f]{2}")
_NATIONAL_NUMBER = re.compile(r"\s*(?:IIN|BIN)[0-9]{12}\s*", re.IGNORECASE)


def _bad_issuer_name(why: str) -> MalformedMessage:
    return MalformedMessage(
        f"an X509IssuerName cannot be read: {why}; RFC 4514 says how it is written", code=_ISSUER_NAME_CODE
    )


@lru_cache(maxsize=256)
def parse_issuer_name(text: str) -> NameKey:
    """Key of a name written in a message (ds:X509IssuerName), to look a certificate up by issuer and serial.

    Reads RFC 4514, RFC 2253 and RFC 1779 as Java, .NET, BouncyCastle and OpenSSL write them: keyword or dotted
    OID (also `OID.2.5.4.5`), escapes, hexadecimal pairs, quotes, `#hex` values, `,` or `;` between RDNs, `+`
    inside one, any order, white space around. `SN` is the surname (RFC 4519) unless it holds an IIN or BIN,
    which BouncyCastle writes under that keyword. Raises MalformedMessage (`issuer_name`), never repeating the text.
    """
    if len(text) > MAX_ISSUER_NAME_CHARACTERS:
        raise _bad_issuer_name(f"it has more than {MAX_ISSUER_NAME_CHARACTERS} characters")
    rdns: list[tuple[tuple[str, str], ...]] = []
    pairs: list[tuple[str, str]] = []
    rest = text.strip()
    if not rest:
        raise _bad_issuer_name("it is empty")
    while True:
        keyword, equals, rest = rest.partition("=")
        if not equals:
            raise _bad_issuer_name("an attribute has no '='")
        value, separator, rest = _split_value(rest.lstrip())
        pairs.append(_attribute(keyword.strip(), value))
        if separator != "+":
            rdns.append(tuple(sorted(pairs)))
            pairs = []
        if not separator:
            return tuple(sorted(rdns))


def _split_value(text: str) -> tuple[str | bytes, str, str]:
    """One value (bytes for the `#hex` form), the separator after it ("" at the end), and what follows."""
    out = bytearray()
    kept = 0  # length of `out` up to the last character that is not bare white space
    quoted = closed = False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            pair = text[position : position + 2]
            if _HEX_PAIR.fullmatch(pair):
                out.append(int(pair, 16))
                position += 2
            elif pair:
                out += pair[0].encode()
                position += 1
            else:
                raise _bad_issuer_name("it ends in an escape")
            kept = len(out)
        elif quoted:
            if character == '"':
                quoted, closed = False, True
            else:
                out += character.encode("utf-8", "replace")
            kept = len(out)
        elif character in ",;+":
            return _value(text[: position - 1], bytes(out[:kept])), character, text[position:]
        elif closed and not character.isspace():
            raise _bad_issuer_name("something follows a closing quotation mark")
        elif character == '"' and not out:
            quoted = True
        else:
            out += character.encode("utf-8", "replace")
            if not character.isspace():
                kept = len(out)
    if quoted:
        raise _bad_issuer_name("a quotation mark is not closed")
    return _value(text, bytes(out[:kept])), "", ""


def _value(written: str, read: bytes) -> str | bytes:
    if written.startswith("#"):
        try:
            return binascii.unhexlify(written[1:].strip())
        except ValueError:
            raise _bad_issuer_name("a '#' value is not hexadecimal") from None
    try:
        return read.decode()
    except UnicodeDecodeError:
        raise _bad_issuer_name("its hexadecimal pairs are not UTF-8") from None


def _attribute(keyword: str, value: str | bytes) -> tuple[str, str]:
    dotted = _DOTTED.fullmatch(keyword)
    if dotted:
        oid = dotted.group(1)
    elif keyword.upper() == "SN":
        is_number = isinstance(value, str) and _NATIONAL_NUMBER.fullmatch(value) is not None
        oid = SERIAL_NUMBER if is_number else SURNAME
    else:
        found = _ATTRIBUTE_OIDS.get(keyword.upper())
        if found is None:
            known = "is not known" if _KEYWORD.fullmatch(keyword) else "is not a keyword or a dotted OID"
            raise _bad_issuer_name(f"an attribute type {known}")
        oid = found
    if isinstance(value, str):
        return oid, normalised_text(value)
    try:
        return oid, normalised(value)
    except ASN1_ERRORS:
        raise _bad_issuer_name("a '#' value is not an encoded string") from None
