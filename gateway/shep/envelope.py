"""The SOAP 1.1 envelope: one Header at most, exactly one Body, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names
from gateway.xml import to_bytes

_OPEN: Final = f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{names.SOAP_11}">'.encode()
_CLOSE: Final = b"</soap:Envelope>"


def build_envelope(body: etree._Element, header_blocks: Iterable[etree._Element] = ()) -> bytes:
    """An unsigned envelope around a Body. Neither `body` nor the blocks are moved or changed.

    The parts are serialised alone and joined as bytes: moving an element into another tree would drop the
    namespace declarations that only an `xsi:type` value needs.
    """
    blocks = b"".join(to_bytes(block) for block in header_blocks)
    header = b"<soap:Header>" + blocks + b"</soap:Header>" if blocks else b""
    return _OPEN + header + to_bytes(body) + _CLOSE


def split(root: etree._Element) -> tuple[etree._Element | None, etree._Element]:
    """Header (or None) and Body of an envelope whose structure is strict (THREATS.md section 1).

    Raises MalformedMessage: `soap_version` for a SOAP 1.2 envelope, `not_an_envelope` for another root,
    `envelope_structure` for anything but an optional Header followed by exactly one Body.
    """
    if root.tag != names.ENVELOPE:
        if root.tag == f"{{{names.SOAP_12}}}Envelope":
            raise MalformedMessage("the envelope is SOAP 1.2; this channel speaks SOAP 1.1", code="soap_version")
        raise MalformedMessage("the document is not a SOAP 1.1 envelope", code="not_an_envelope")
    parts = list(root)
    tags = [part.tag for part in parts]
    if tags not in ([names.BODY], [names.HEADER, names.BODY]):
        raise MalformedMessage(
            "the envelope must hold one Header at most, then exactly one Body, and nothing else",
            code="envelope_structure",
        )
    if any(text and not text.isspace() for text in (root.text, *(part.tail for part in parts))):
        raise MalformedMessage("the envelope holds text outside of Header and Body", code="envelope_structure")
    return (parts[0] if len(parts) == 2 else None), parts[-1]
