"""Encoding by hand (X.690), for what is too small or too odd for a library of types."""

from __future__ import annotations

import datetime as dt

from asn1crypto import core

SEQUENCE = 0x30
SET = 0x31
ENUMERATED = 0x0A


def element(tag: int, *parts: bytes) -> bytes:
    """One element of definite length."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def indefinite(tag: int, *parts: bytes) -> bytes:
    """One element of indefinite length, as BER allows and Java writes."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\x00\x00"


def sequence(*parts: bytes) -> bytes:
    return element(SEQUENCE, *parts)


def explicit(number: int, *parts: bytes) -> bytes:
    """[number] around something."""
    return element(0xA0 | number, *parts)


def enumerated(value: int) -> bytes:
    """A value below 128."""
    return element(ENUMERATED, bytes((value,)))


def oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def octets(data: bytes) -> bytes:
    return bytes(core.OctetString(data).dump())


def bits(data: bytes) -> bytes:
    """A BIT STRING of whole bytes."""
    return element(0x03, b"\x00", data)


def generalized_time(moment: dt.datetime) -> bytes:
    """In whole seconds, as RFC 5280 and RFC 6960 want it."""
    return bytes(core.GeneralizedTime(moment.astimezone(dt.UTC).replace(microsecond=0)).dump())
