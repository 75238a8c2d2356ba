"""What a forger does to a message that somebody else signed. Used on the sandbox's own replies only."""

from __future__ import annotations

import copy
from typing import Final

from lxml import etree

from gateway.xml import parse, to_bytes

_WRAPPER: Final = "{urn:shep-gateway:sandbox:forgery}Moved"
_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_PAD_OPEN, _PAD_CLOSE = b"<!--", b"-->"


def wrap(genuine: bytes, lie: etree._Element) -> bytes:
    """The signed Body moved into the Header, where its reference still finds it; `lie` where the Body was.

    The signature of the result holds for whoever looks the Body up by its id, and the application reads the lie.
    """
    root = parse(genuine)
    header, body = root[0], root[1]
    moved = etree.SubElement(header, _WRAPPER)
    moved.append(body)
    root.append(copy.deepcopy(lie))
    return _DECLARATION + to_bytes(root)


def swap_content(genuine: bytes, lie: etree._Element) -> bytes:
    """The Body keeps its place and its id, and its content is replaced: the digest no longer fits."""
    root = parse(genuine)
    body = root[1]
    for child in list(body):
        body.remove(child)
    for child in copy.deepcopy(lie):
        body.append(child)
    return _DECLARATION + to_bytes(root)


def pad(genuine: bytes, size: int) -> bytes:
    """A comment before the end of the envelope makes the message `size` bytes large; the signature still holds."""
    missing = max(0, size - len(genuine) - len(_PAD_OPEN) - len(_PAD_CLOSE))
    end = genuine.rindex(b"</")
    return genuine[:end] + _PAD_OPEN + b"x" * missing + _PAD_CLOSE + genuine[end:]
