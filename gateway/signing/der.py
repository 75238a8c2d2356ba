"""Encoded values exactly as they stand, for what is signed or digested.

asn1crypto's `dump()` is not for that: it takes a header that ends in 0x80 for one of indefinite length, and a header
does so whenever the length modulo 256 is 128. Then it encodes anew, and what it did not open is lost or changes: one
certificate or list in 256 would not verify.
"""

from __future__ import annotations

from asn1crypto import parser


def content(encoded: bytes) -> bytes:
    """What is inside the one value that `encoded` is. Raises ValueError."""
    return bytes(parser.parse(encoded, strict=True)[4])


def elements(encoded: bytes) -> tuple[bytes, ...]:
    """The values directly inside a constructed one, each with its header. Raises ValueError."""
    return split(content(encoded))


def split(several: bytes) -> tuple[bytes, ...]:
    """Values that stand one behind the other. Raises ValueError."""
    found = []
    while several:
        size = parser.peek(several)
        found.append(several[:size])
        several = several[size:]
    return tuple(found)


def first(encoded: bytes) -> bytes:
    """The first value inside a constructed one, with its header. Raises ValueError."""
    inside = content(encoded)
    return inside[: parser.peek(inside)]
