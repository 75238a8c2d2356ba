"""PEM: blocks of base64 between labels (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re

from gateway.errors import MalformedMessage

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def is_pem(data: bytes) -> bool:
    """Whether a file holds PEM blocks; a DER structure whose texts look like one does not count."""
    return b"-----BEGIN " in data and not (data[:1] == b"\x30" and data[1:2] >= b"\x80")


def pem_blocks(data: bytes, *labels: str) -> tuple[bytes, ...]:
    """DER of every PEM block with one of the labels; other blocks are passed over.

    Raises MalformedMessage (`bad_pem`) when a block is not base64.
    """
    found = []
    for match in _PEM_BLOCK.finditer(data):
        if match.group(1).decode("ascii") in labels:
            try:
                found.append(base64.b64decode(b"".join(match.group(2).split()), validate=True))
            except binascii.Error:
                raise MalformedMessage("a PEM block is not base64: the file is damaged", code="bad_pem") from None
    return tuple(found)
