"""ds:Signature and ds:SignedInfo: read strictly, written as canonical bytes.

Only the shape that the channel's senders use is read: SignedInfo, SignatureValue, KeyInfo in that order and nothing
else (no Object, so no Manifest and no place for a second document), exactly one Reference, no transform but those
named here. Whatever else XML Signature allows has carried an attack at some time.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from dataclasses import dataclass
from typing import Final, NamedTuple

from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names, steps
from gateway.signing.algorithms import (
    DigestAlgorithm,
    SignatureAlgorithm,
    check_family,
    digest_algorithm,
    signature_algorithm,
)
from gateway.xml import canonicalize, leaf_text

#: prefixes that an ec:InclusiveNamespaces list may hold
MAX_INCLUSIVE_PREFIXES: Final = 64
#: transforms of a reference; no accepted form has more than two
MAX_TRANSFORMS: Final = 4
#: characters of a base64 value (a certificate of MAX_CERTIFICATE_BYTES, wrapped with CR LF, fits)
MAX_BASE64_CHARACTERS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Canonicalization:
    """A canonicalisation as SignedInfo names it."""

    uri: str
    inclusive_prefixes: tuple[str, ...] = ()

    @property
    def exclusive(self) -> bool:
        return self.uri.startswith(names.EXC_C14N)


_EXCLUSIVE: Final = Canonicalization(names.EXC_C14N)


class SignatureParts(NamedTuple):
    """The children of one ds:Signature."""

    signed_info: etree._Element
    value: bytes
    key_info: etree._Element


class SignedInfo(NamedTuple):
    """What one ds:SignedInfo says; `canonical` are the bytes that are signed."""

    canonical: bytes
    signature: SignatureAlgorithm
    digest: DigestAlgorithm
    reference_uri: str
    transforms: tuple[Canonicalization, ...]
    digest_value: bytes


def decode_base64(text: str, what: str, *, step: str) -> bytes:
    """Base64 with any XML white space (Java wraps with CR LF, which travels as `&#13;`, SHEP.md 5.5).

    Anything else than one canonical encoding is refused. Raises SignatureRefused (`bad_base64`).
    """
    try:
        if len(text) > MAX_BASE64_CHARACTERS:
            raise ValueError
        packed = b"".join(text.encode("ascii").split())
        decoded = binascii.a2b_base64(packed, strict_mode=True)
    except ValueError:
        decoded, packed = b"", b"-"
    if not decoded or binascii.b2a_base64(decoded, newline=False) != packed:
        raise SignatureRefused("bad_base64", f"{what} is not base64", step=step)
    return decoded


def _wrong(message: str, code: str = "signed_info", step: str = steps.SIGNED_INFO) -> SignatureRefused:
    return SignatureRefused(code, message, step=step)


def _leaf(element: etree._Element, step: str) -> str:
    try:
        return leaf_text(element)
    except MalformedMessage as error:
        raise _wrong(error.message, step=step) from None


def _algorithm_uri(element: etree._Element, step: str) -> str:
    if len(element) or element.keys() != ["Algorithm"]:
        raise _wrong(f"<{element.tag}> must have an Algorithm and no parameters", "algorithm_parameters", step)
    return str(element.attrib["Algorithm"])


def _canonicalization(element: etree._Element, step: str) -> Canonicalization:
    """A CanonicalizationMethod or Transform with its ec:InclusiveNamespaces."""
    uri = element.get("Algorithm")
    if uri is None:
        raise _wrong("a transform names no algorithm", "transform_refused", step)
    if not len(element):
        return _EXCLUSIVE if uri == names.EXC_C14N else Canonicalization(str(uri))
    listed = element[0]
    exclusive = uri in (names.EXC_C14N, names.EXC_C14N_WITH_COMMENTS)
    if not exclusive or len(element) > 1 or listed.tag != names.EC_INCLUSIVE_NAMESPACES or len(listed):
        raise _wrong("a transform has parameters other than InclusiveNamespaces", "transform_refused", step)
    prefixes = tuple(str(listed.get("PrefixList", "")).split())
    if len(prefixes) > MAX_INCLUSIVE_PREFIXES:
        raise _wrong(f"a PrefixList has more than {MAX_INCLUSIVE_PREFIXES} prefixes", "transform_refused", step)
    return Canonicalization(str(uri), prefixes)


def read_signature(signature: etree._Element) -> SignatureParts:
    """Split a ds:Signature. Raises SignatureRefused (`object_refused`, `no_certificate`, `signature_shape`)."""
    children = list(signature)
    tags = [child.tag for child in children]
    if tags == [names.DS_SIGNED_INFO, names.DS_SIGNATURE_VALUE, names.DS_KEY_INFO]:
        value = decode_base64(_leaf(children[1], steps.SIGNATURE_VALUE), "SignatureValue", step=steps.SIGNATURE_VALUE)
        return SignatureParts(children[0], value, children[2])
    if names.DS_OBJECT in tags:
        raise _wrong("the signature carries an Object; none is read here", "object_refused", steps.SIGNATURE_PLACE)
    if tags == [names.DS_SIGNED_INFO, names.DS_SIGNATURE_VALUE]:
        raise _wrong(
            "the signature has no KeyInfo: the sender must name its certificate", "no_certificate", steps.KEY_INFO
        )
    raise _wrong(
        "a ds:Signature must hold SignedInfo, SignatureValue and KeyInfo, once each and in this order",
        "signature_shape",
        steps.SIGNATURE_PLACE,
    )


def read_signed_info(element: etree._Element, methods: frozenset[str]) -> SignedInfo:
    """Read a ds:SignedInfo with exactly one Reference.

    Its shape bounds its canonical form: a dozen elements at most repeat what the document declares.

    `methods` are the CanonicalizationMethods accepted. Raises SignatureRefused: `signed_info`,
    `canonicalization_refused`, `algorithm_refused`, `family_mismatch`, `algorithm_parameters`, `reference_count`,
    `transform_refused`, `bad_base64`, `not_canonical`.
    """
    children = list(element)
    tags = [child.tag for child in children]
    if tags != [names.DS_CANONICALIZATION_METHOD, names.DS_SIGNATURE_METHOD, names.DS_REFERENCE]:
        if tags.count(names.DS_REFERENCE) != 1:
            raise _wrong(
                f"the signature has {tags.count(names.DS_REFERENCE)} references, exactly one is accepted",
                "reference_count",
                steps.REFERENCE,
            )
        raise _wrong("SignedInfo must hold CanonicalizationMethod, SignatureMethod and Reference, in this order")
    method = _canonicalization(children[0], steps.SIGNED_INFO)
    if method.uri not in methods:
        raise _wrong("SignedInfo is canonicalised by a method that is not accepted here", "canonicalization_refused")
    signature = signature_algorithm(_algorithm_uri(children[1], steps.ALGORITHMS))

    reference = children[2]
    uri = reference.get("URI")
    if uri is None:
        raise _wrong("the reference has no URI", "reference_uri", steps.REFERENCE)
    if reference.get("Type") is not None:
        raise _wrong("the reference has a Type; none is accepted", "reference_type", steps.REFERENCE)
    parts = list(reference)
    tags = [part.tag for part in parts]
    if tags != [names.DS_TRANSFORMS, names.DS_DIGEST_METHOD, names.DS_DIGEST_VALUE]:
        raise _wrong(
            "the reference must hold Transforms, DigestMethod and DigestValue, in this order",
            "reference_shape",
            steps.REFERENCE,
        )
    if len(parts[0]) > MAX_TRANSFORMS:
        raise _wrong(f"the reference has more than {MAX_TRANSFORMS} transforms", "transform_refused", steps.REFERENCE)
    transforms = []
    for transform in parts[0]:
        if transform.tag != names.DS_TRANSFORM:
            raise _wrong("Transforms holds something else than Transform", "transform_refused", steps.REFERENCE)
        transforms.append(_canonicalization(transform, steps.REFERENCE))
    digest = digest_algorithm(_algorithm_uri(parts[1], steps.ALGORITHMS))
    check_family(signature, digest)
    value = decode_base64(_leaf(parts[2], steps.DIGEST), "DigestValue", step=steps.DIGEST)
    try:
        canonical = canonicalize(element, exclusive=method.exclusive, inclusive_prefixes=method.inclusive_prefixes)
    except MalformedMessage as error:
        raise _wrong(error.message, error.code) from None
    return SignedInfo(canonical, signature, digest, str(uri), tuple(transforms), value)


# ---------------------------------------------------------------- writing


def signed_info_template(
    canonicalization_uri: str, signature: SignatureAlgorithm, transform_uris: tuple[str, ...]
) -> tuple[bytes, bytes, bytes]:
    """What stands around the reference URI and the digest in a canonical SignedInfo, from after its start tag's name.

    The caller puts the namespace declarations of the start tag in front: all that are in scope for inclusive
    canonicalisation, only `ds` for exclusive.
    """
    transforms = "".join(f'<ds:Transform Algorithm="{uri}"></ds:Transform>' for uri in transform_uris)
    before_uri = (
        f'><ds:CanonicalizationMethod Algorithm="{canonicalization_uri}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{signature.uri}"></ds:SignatureMethod><ds:Reference URI="'
    )
    before_digest = (
        f'"><ds:Transforms>{transforms}</ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{signature.digest_uri}"></ds:DigestMethod><ds:DigestValue>'
    )
    after = "</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    return before_uri.encode(), before_digest.encode(), after.encode()


def signature_bytes(signed_info: bytes, value: bytes, key_info: bytes) -> bytes:
    """A ds:Signature that declares `ds`, around a SignedInfo that does not."""
    return (
        b'<ds:Signature xmlns:ds="'
        + names.DS.encode()
        + b'">'
        + signed_info
        + b"<ds:SignatureValue>"
        + b64encode(value)
        + b"</ds:SignatureValue>"
        + key_info
        + b"</ds:Signature>"
    )
