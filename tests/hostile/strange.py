"""A sender whom we trust and who signs strange things: only the rule itself can refuse them, never the arithmetic."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

from lxml import etree

from gateway.signing.keys import SigningKey
from gateway.xml import canonicalize, parse
from tests.hostile.wrapping import DS, SOAP


def resigned(
    root: etree._Element,
    key: SigningKey,
    *,
    digested: Callable[[etree._Element], bytes] | None = None,
    digest: Callable[[bytes], bytes] = lambda data: sha256(data).digest(),
) -> bytes:
    """The message with digest and signature value reckoned anew. `digested` gives the bytes that Reference means."""
    root = parse(etree.tostring(root))
    target = root.find(f"{{{SOAP}}}Body")
    meant = canonicalize(target) if digested is None else digested(root)
    for value in root.iter(f"{{{DS}}}DigestValue"):
        value.text = b64encode(digest(meant)).decode()
    signed_info = canonicalize(next(root.iter(f"{{{DS}}}SignedInfo")))
    next(root.iter(f"{{{DS}}}SignatureValue")).text = b64encode(key.sign(signed_info)).decode()
    return etree.tostring(root)
