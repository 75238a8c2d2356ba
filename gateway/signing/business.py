"""Business signatures of payloads: enveloped, over `data` or over the document inside it (SHEP.md 5.2).

Which of the two is signed is seen from where the ds:Signature stands. It is a signature of `data` when it is a child
of `data`; else of the payload, when it is a child of that, whether the payload is live XML, escaped text, CDATA or
base64. Deeper ones are content. What is read afterwards is what was signed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names
from gateway.signing.enveloped import OUR_OWN_DOCUMENT, ElementSignature, sign_enveloped, verify_enveloped
from gateway.signing.key_info import NO_CERTIFICATES, CertificateIndex
from gateway.signing.keys import SigningKey
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, canonicalize, local_name, parse, to_bytes

#: name of the step for everything that is wrong with a business signature
STEP = "payload_signature"


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedPayload:
    """A payload all of whose business signatures hold. Trust in the signers is judged by gateway.trust."""

    #: made of the bytes that the first signature digested, without the signatures
    element: etree._Element
    #: `element` is `data` with the payload in it, else it is the payload itself
    is_data: bool
    #: in the order of signing
    signatures: tuple[ElementSignature, ...]


def verify_payload(
    data: etree._Element,
    *,
    root_name: str,
    inner_document: bytes | None,
    isolate: Callable[[etree._Element], bytes],
    certificates: CertificateIndex = NO_CERTIFICATES,
    bounds: XmlBounds = DEFAULT_BOUNDS,
) -> VerifiedPayload | None:
    """Check the business signatures of a payload; None when it carries none.

    In: `data` of a verified message; the payload's name; the document that `data` holds as text, if it does; how an
    element of the message is taken alone (VerifiedBody.as_received). Raises SignatureRefused with the codes of
    `verify_enveloped` behind `payload_`, and MalformedMessage.
    """
    children = list(data.iterchildren(etree.Element))
    is_data = any(child.tag == names.DS_SIGNATURE for child in children)
    if is_data:
        document = isolate(data)
    elif inner_document is not None:
        document = inner_document
    elif len(children) == 1 and local_name(children[0]) == root_name.rpartition("}")[2]:
        if children[0].find(names.DS_SIGNATURE) is None:
            return None
        document = isolate(children[0])
    else:
        return None
    if inner_document is not None and not is_data and parse(document, bounds).find(names.DS_SIGNATURE) is None:
        return None
    try:
        verified = verify_enveloped(document, certificates=certificates, bounds=bounds)
    except SignatureRefused as error:
        raise SignatureRefused(
            f"payload_{error.code}", f"business signature of the payload: {error.message}", step=STEP
        ) from None
    return VerifiedPayload(verified.element, is_data, verified.signatures)


def required_but_absent() -> SignatureRefused:
    """What a caller raises where `verify_payload` gave None and a signature is required."""
    return SignatureRefused("payload_unsigned", "the payload carries no business signature", step=STEP)


def sign_payload(payload: etree._Element, key: SigningKey) -> etree._Element:
    """The payload with a signature as its last child, for codecs that carry it as an element or as text.

    Raises MalformedMessage as `sign_enveloped`.
    """
    return parse(sign_enveloped(_travelling(payload), key), OUR_OWN_DOCUMENT)


def sign_data(data: bytes, key: SigningKey) -> bytes:
    """`data`, serialised, with a signature as its last child, for codecs that put the payload's children into it.

    Raises MalformedMessage as `sign_enveloped`.
    """
    return sign_enveloped(_travelling(parse(data, OUR_OWN_DOCUMENT)), key)


def _travelling(element: etree._Element) -> etree._Element:
    """The element with the declarations that the transport signature's exclusive form leaves on it, and no others.

    A declaration that is lost on the way would be missing when the receiver digests what it takes out.
    """
    alone = parse(to_bytes(element), OUR_OWN_DOCUMENT)
    try:
        return parse(canonicalize(alone), OUR_OWN_DOCUMENT)
    except MalformedMessage:
        raise MalformedMessage("the payload has no canonical form and cannot be signed", code="not_canonical") from None
