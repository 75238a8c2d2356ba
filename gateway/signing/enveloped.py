"""Enveloped business signatures over a document of its own (SHEP.md 5.2): sign, and verify strictly.

The document is an element taken alone: canonicalisation is inclusive, so declarations of an envelope around it would
change its digest. Several signatures stand side by side as children of the root; each later one signs the earlier
ones, because the enveloped-signature transform takes away only the signature that carries it. They are therefore
checked from the last to the first, taking each away once it has been checked; the digest of the first is over the
document as its author wrote it, and that is what is handed on.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names, steps
from gateway.signing.algorithms import DIGESTS
from gateway.signing.certificate import Certificate
from gateway.signing.checks import check_digest, check_key_family, check_signature_value
from gateway.signing.key_info import NO_CERTIFICATES, CertificateIndex, KeyInfoForm, key_info_bytes, read_key_info
from gateway.signing.keys import SigningKey
from gateway.signing.signed_info import (
    Canonicalization,
    SignedInfo,
    read_signature,
    read_signed_info,
    signature_bytes,
    signed_info_template,
)
from gateway.signing.steps import Step, Trail
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, canonicalize, parse, parse_canonical, to_bytes

#: signatures side by side in one document
MAX_SIGNATURES: Final = 16

# A reference with URI="" drops comments before anything else, whatever the transform is called (XML Signature
# 4.4.3.3), and gateway.xml never lets one in: with and without comments is the same here.
_CANONICALIZATIONS: Final = frozenset(
    {names.C14N, names.C14N_WITH_COMMENTS, names.EXC_C14N, names.EXC_C14N_WITH_COMMENTS}
)
# Over SignedInfo they differ, and a comment there serves nobody.
_CANONICALIZATION_METHODS: Final = frozenset({names.C14N, names.EXC_C14N})
_DEFAULT_CANONICALIZATION: Final = Canonicalization(names.C14N)


@dataclass(frozen=True, slots=True, eq=False)
class ElementSignature:
    """One of the signatures of a document."""

    certificate: Certificate
    #: name of the signature algorithm
    algorithm: str
    key_info_form: KeyInfoForm
    #: digest of the document without this signature and without the later ones
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedElement:
    """A document all of whose signatures hold. Trust in the certificates is judged by gateway.trust."""

    #: the root without its signatures, made of the bytes that the first signature digested
    element: etree._Element
    #: in document order, which is the order of signing
    signatures: tuple[ElementSignature, ...]
    _trail: Trail = field(repr=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        return self._trail.steps


# ---------------------------------------------------------------- verifying


def verify_enveloped(
    data: bytes,
    *,
    certificates: CertificateIndex = NO_CERTIFICATES,
    bounds: XmlBounds = DEFAULT_BOUNDS,
    trail: Trail | None = None,
) -> VerifiedElement:
    """Check every signature of a document and hand on the document without them.

    `data` is the element serialised alone, as it was signed. Each ds:Signature must be a child of the root, with one
    Reference `URI=""` whose transforms are enveloped-signature and then at most one canonicalisation (1.0 or
    exclusive). A ds:Signature deeper inside is content like any other. `trail` is filled with the steps, on failure
    too. Raises SignatureRefused (`unsigned` when there is no signature at all) and MalformedMessage.
    """
    trail = Trail() if trail is None else trail
    held = trail.held
    step = steps.BOUNDS
    try:
        # 1 bounds
        root = parse(data, bounds)
        held((steps.BOUNDS, "size, elements, attributes and depth are within the bounds, no DOCTYPE"))
        # 2 place of the signatures
        signatures = _signatures(root)
        held((steps.SIGNATURE_PLACE, "{} ds:Signature, each a child of the root", len(signatures)))
        verified: list[ElementSignature] = []
        canonical = b""
        for signature in reversed(signatures):
            # 3 SignedInfo and its algorithms
            step = steps.SIGNED_INFO
            _refuse_inherited_attributes(signature)
            parts = read_signature(signature)
            info = read_signed_info(parts.signed_info, _CANONICALIZATION_METHODS)
            held((steps.SIGNED_INFO, "its canonical form has {} bytes", len(info.canonical)))
            held((steps.ALGORITHMS, "{} with {} of one family", info.signature.description, info.digest.name))
            # 4 the reference is the whole document
            step = steps.REFERENCE
            canonicalization = _check_reference(info)
            held((steps.REFERENCE, "the only Reference is the document without this signature"))
            # 5 who, with what key
            step = steps.KEY_INFO
            certificate, form = read_key_info(parts.key_info, certificates)
            held((steps.KEY_INFO, "the signer is named by {}", form))
            check_key_family(info.signature, certificate)
            held((steps.CERTIFICATE, "certificate sha256 {}: {} key", certificate.sha256, certificate.key_family))
            # 6 the signature over SignedInfo; 7 the digest
            check_signature_value(info, parts, certificate)
            held((steps.SIGNATURE_VALUE, "{} over SignedInfo holds", info.signature.name))
            step = steps.DIGEST
            _take_away(signature)
            canonical = canonicalize(
                root,
                exclusive=canonicalization.exclusive,
                inclusive_prefixes=canonicalization.inclusive_prefixes,
                whole_document=True,
                max_bytes=bounds.max_canonical_bytes,
            )
            check_digest(info, canonical)
            held((steps.DIGEST, "{} of {} canonical bytes is the one signed", info.digest.name, len(canonical)))
            verified.append(ElementSignature(certificate, info.signature.name, form, info.digest_value))
        return VerifiedElement(parse_canonical(canonical), tuple(reversed(verified)), trail)
    except (SignatureRefused, MalformedMessage) as error:
        trail.failed(error, step)
        raise


def _signatures(root: etree._Element) -> list[etree._Element]:
    found = [child for child in root if child.tag == names.DS_SIGNATURE]
    if not found:
        if next(root.iter(names.DS_SIGNATURE), None) is None:
            raise SignatureRefused("unsigned", "the document carries no signature", step=steps.SIGNATURE_PLACE)
        raise SignatureRefused(
            "signature_place",
            "the signature is not a child of the root: give the signed element alone, as a document of its own",
            step=steps.SIGNATURE_PLACE,
        )
    if len(found) > MAX_SIGNATURES:
        raise SignatureRefused(
            "signature_count",
            f"the document carries {len(found)} signatures, at most {MAX_SIGNATURES} are read",
            step=steps.SIGNATURE_PLACE,
        )
    return found


def _refuse_inherited_attributes(signature: etree._Element) -> None:
    # Inclusive canonicalisation of SignedInfo takes over xml:lang and the like from the elements around it, which
    # lxml does not do: such a signature would be refused with a misleading reason.
    for element in (signature, *signature.iterancestors()):
        if any(str(name).startswith(f"{{{names.XML}}}") for name in element.attrib):
            raise SignatureRefused(
                "xml_attribute",
                "xml:lang, xml:space, xml:base or xml:id on the signed root is not supported",
                step=steps.SIGNED_INFO,
            )


def _check_reference(info: SignedInfo) -> Canonicalization:
    """The canonicalisation of the document. Raises SignatureRefused (`not_the_document`, `transform_refused`)."""
    if info.reference_uri:
        raise SignatureRefused(
            "not_the_document", "what is signed is not the document that carries the signature", step=steps.REFERENCE
        )
    first, *others = info.transforms or (_DEFAULT_CANONICALIZATION,)
    canonicalization = others[0] if others else _DEFAULT_CANONICALIZATION
    if first.uri != names.ENVELOPED or len(others) > 1 or canonicalization.uri not in _CANONICALIZATIONS:
        raise SignatureRefused(
            "transform_refused",
            "the transforms must be enveloped-signature and then at most one canonicalisation",
            step=steps.REFERENCE,
        )
    return canonicalization


def _take_away(signature: etree._Element) -> None:
    """Remove a Signature and nothing else: lxml would take the text behind it along."""
    parent = signature.getparent()
    if parent is None:  # pragma: no cover - _signatures gives children of the root
        raise ValueError("a signature that is the root cannot be taken away")
    tail = signature.tail
    if tail:
        before = signature.getprevious()
        if before is None:
            parent.text = (parent.text or "") + tail
        else:
            before.tail = (before.tail or "") + tail
    parent.remove(signature)


# ---------------------------------------------------------------- signing


def sign_enveloped(root: etree._Element, key: SigningKey, *, form: KeyInfoForm = KeyInfoForm.CERTIFICATE) -> bytes:
    """The element, taken alone, with a signature as its last child; the element itself is not changed.

    The bytes are canonical and must travel as they are. An element that carries signatures already gets one more,
    which signs them too. Raises MalformedMessage (`not_canonical`, `xml_attribute`).
    """
    alone = parse(to_bytes(root), OUR_OWN_DOCUMENT)
    if any(str(name).startswith(f"{{{names.XML}}}") for name in alone.attrib):
        raise MalformedMessage(
            "xml:lang, xml:space, xml:base or xml:id on the root cannot be signed: put it on a child",
            code="xml_attribute",
        )
    canonical = canonicalize(alone, exclusive=False)
    algorithm = key.algorithm
    before_uri, before_digest, after = signed_info_template(
        names.C14N, algorithm, (names.ENVELOPED, names.C14N_WITH_COMMENTS)
    )
    digest = b64encode(DIGESTS[algorithm.digest_uri].digest(canonical))
    signed_info = b"".join((before_uri, before_digest, digest, after))
    value = key.sign(b"<ds:SignedInfo" + _declarations(alone) + signed_info)
    signature = signature_bytes(b"<ds:SignedInfo" + signed_info, value, key_info_bytes(key.certificate, form))
    end_tag = canonical.rindex(b"</")
    return canonical[:end_tag] + signature + canonical[end_tag:]


#: our own document is within what a peer accepts; its size is the payload's business
OUR_OWN_DOCUMENT: Final = XmlBounds(
    max_bytes=100_000_000, max_elements=2_000_000, max_attributes=2_000_000, max_depth=250
)


def _declarations(root: etree._Element) -> bytes:
    """The namespace declarations in scope of a SignedInfo below `root`, in canonical order."""
    in_scope = {prefix or "": uri for prefix, uri in root.nsmap.items()} | {"ds": names.DS}
    written = []
    for prefix, uri in sorted(in_scope.items()):
        escaped = uri.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        written.append(f' xmlns{":" if prefix else ""}{prefix}="{escaped}"')
    return "".join(written).encode()
