"""Signatures over the soap:Body, in WS-Security or bare: sign (SHEP.md 5.1), verify strictly (THREATS.md 1 and 3).

Signing writes bytes: the canonical Body is embedded as it was digested and SignedInfo is a template that is already
canonical, so nothing is serialised twice. Verifying reads one shape only and hands on the Body parsed anew from the
canonical bytes that were digested: nothing else of the message can be reached from it, and a prefix that only an
unsigned declaration gives a meaning (in `xsi:type`, say) has none.
"""

from __future__ import annotations

import os
import re
import uuid
from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from xml.sax.saxutils import escape

from lxml import etree

from gateway.apart import TextApart
from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names, steps
from gateway.signing.algorithms import DIGESTS, SignatureAlgorithm
from gateway.signing.certificate import Certificate
from gateway.signing.checks import check_digest, check_digest_of, check_key_family, check_signature_value
from gateway.signing.isolation import isolated
from gateway.signing.key_info import (
    NO_CERTIFICATES,
    CertificateIndex,
    KeyInfoForm,
    key_info_bytes,
    read_key_info,
)
from gateway.signing.keys import SigningKey
from gateway.signing.signed_info import (
    SignedInfo,
    read_signature,
    read_signed_info,
    signature_bytes,
    signed_info_template,
)
from gateway.signing.steps import Step, Trail
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, canonicalize, parse, parse_canonical, to_bytes

_SOAP_NAMESPACES: Final = (names.SOAP_11, names.SOAP_12)
_CANONICALIZATION_METHODS: Final = frozenset({names.EXC_C14N})
#: attributes that may carry the id that the reference names
_BODY_ID_ATTRIBUTES: Final = (names.WSU_ID, "Id")
_BARE_ID_ATTRIBUTES: Final = ("Id",)
# the length is compared first because that is cheap and decides nearly always
_ALL_IDS: Final = "/descendant::*/@*[string-length(local-name()) = 2 and translate(local-name(), 'DI', 'di') = 'id']"
_ID_VALUES: Final[Callable[[etree._Element], Any]] = etree.XPath(_ALL_IDS, smart_strings=False)
_ID_ATTRIBUTES: Final[Callable[[etree._Element], Any]] = etree.XPath(_ALL_IDS)


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedBody:
    """The signed soap:Body of one message, and who signed it.

    That the signature holds says nothing about trust: gateway.trust judges `certificate`.
    """

    #: the bytes that were digested, a text apart still apart; the only thing of the message to be read
    canonical: bytes = field(repr=False)
    certificate: Certificate
    #: name of the signature algorithm
    algorithm: str
    key_info_form: KeyInfoForm
    #: digest of `canonical`, as the signature carries it
    digest: bytes
    _trail: Trail = field(repr=False)
    #: the message, or its root
    _received: bytes | etree._Element = field(repr=False)
    _parsed: list[etree._Element] = field(repr=False, default_factory=list)

    @property
    def body(self) -> etree._Element:
        """The soap:Body, made of `canonical`: root of a document of its own. Always the same element."""
        # made on demand: a duplicate, or a signer who is not trusted, is settled without it
        if not self._parsed:
            self._parsed.append(parse_canonical(self.canonical))
        return self._parsed[0]

    def as_received(self, element: etree._Element) -> bytes:
        """An element of `body` as a document of its own, in the bytes that came: for its business signature.

        `canonical` no longer has the declarations that such a signature digests. Raises MalformedMessage
        (`not_isolated`).
        """
        received = self._received
        whole = received if isinstance(received, bytes) else to_bytes(received)
        return isolated(whole, element, _BODY_POSITION)

    @property
    def steps(self) -> tuple[Step, ...]:
        return self._trail.steps


#: the Body is the second element of the root
_BODY_POSITION: Final = (0, 1)

# ---------------------------------------------------------------- verifying


def _anyone(_: Certificate) -> None:
    """For callers who ask about trust later, or not at all."""


def verify_envelope(
    data: bytes | etree._Element,
    *,
    certificates: CertificateIndex = NO_CERTIFICATES,
    bounds: XmlBounds = DEFAULT_BOUNDS,
    trail: Trail | None = None,
    judge: Callable[[Certificate], None] = _anyone,
    apart: TextApart | None = None,
) -> VerifiedBody:
    """Check the WS-Security signature of a message and hand on the signed Body.

    `data`: the bytes received, or the root element that gateway.xml.parse made of them. `certificates` are those
    that a message may name by issuer and serial. `trail` is filled with the steps, on failure too. `judge` may refuse
    the signer by raising: it is asked when the signature over SignedInfo holds and before the Body is digested, so that
    a stranger cannot make us digest megabytes (a national digest reckoned in Python does 80 kB a second). `apart` is
    the text that a mark stands for in `data` (gateway.apart): it is digested where the mark is.

    Accepted: Envelope (SOAP 1.1 or 1.2) with Header and Body; one Security in the Header with one ds:Signature, and
    no other ds:Signature in the Header; one Reference, which names the Body's wsu:Id (or un-namespaced Id), with
    exclusive canonicalisation as its only transform. Bare (form C): no Security at all, the only ds:Signature of the
    Header straight in it, and the Reference names the Body's un-namespaced Id. Other header blocks and other children
    of Security (a Timestamp) are let pass when no signature covers them, since nothing of them is read or handed on.

    Raises SignatureRefused (`unsigned` when there is no Security header and no signature) and MalformedMessage (not
    XML, over a bound, not an envelope, `mark`).
    """
    trail = Trail() if trail is None else trail
    held = trail.held
    step = steps.BOUNDS
    try:
        # 1 bounds
        root = parse(data, bounds) if isinstance(data, bytes) else data
        held((steps.BOUNDS, "size, elements, attributes and depth are within the bounds, no DOCTYPE"))
        # 2 structure; 3 place of the signature
        step = steps.STRUCTURE
        header, body = _envelope_parts(root)
        held((steps.STRUCTURE, "the envelope is one Header and one Body and nothing else"))
        signature = _only_signature(header)
        bare = signature.getparent() is header
        where = "the Header itself, without WS-Security" if bare else "its only wsse:Security"
        held((steps.SIGNATURE_PLACE, "the only ds:Signature of the Header is a child of {}", where))
        # 4 SignedInfo; 5 algorithms
        step = steps.SIGNED_INFO
        parts = read_signature(signature)
        info = read_signed_info(parts.signed_info, _CANONICALIZATION_METHODS)
        held(
            (steps.SIGNED_INFO, "SignedInfo has the agreed shape, its canonical form has {} bytes", len(info.canonical))
        )
        held(
            (
                steps.ALGORITHMS,
                "signature {} with digest {} of one family",
                info.signature.description,
                info.digest.name,
            )
        )
        # 6 the reference is the Body; 7 ids are unique
        step = steps.REFERENCE
        _check_reference(info, body, _BARE_ID_ATTRIBUTES if bare else _BODY_ID_ATTRIBUTES)
        held((steps.REFERENCE, "the only Reference {} is the Id of the Body", info.reference_uri))
        ids = _check_ids(root)
        held((steps.IDS, "{} ids in the message, each on one element", ids))
        # 8 who; 9 with what key
        step = steps.KEY_INFO
        certificate, form = read_key_info(parts.key_info, certificates)
        if bare and form is KeyInfoForm.CERTIFICATE:
            form = KeyInfoForm.BARE
        held((steps.KEY_INFO, "the signer is named by {}", form))
        check_key_family(info.signature, certificate)
        held((steps.CERTIFICATE, "certificate sha256 {} has a {} key", certificate.sha256, certificate.key_family))
        # 10 the signature over SignedInfo; 11 the digest of the Body
        check_signature_value(info, parts, certificate)
        held((steps.SIGNATURE_VALUE, "{} over SignedInfo holds", info.signature.name))
        judge(certificate)
        step = steps.DIGEST
        # n bytes have at most n/4 names that repeat a declaration of at most n bytes: most messages need no limit
        small = isinstance(data, bytes) and len(data) ** 2 // 4 <= bounds.max_canonical_bytes
        canonical = canonicalize(
            body,
            inclusive_prefixes=info.transforms[0].inclusive_prefixes,
            max_bytes=None if small else bounds.max_canonical_bytes,
        )
        if apart is None:
            check_digest(info, canonical)
        else:
            check_digest_of(info, apart.canonical(canonical))
        held((steps.DIGEST, "{} of the canonical Body ({} bytes) is the one signed", info.digest.name, len(canonical)))
        # what was digested is what is handed on
        verified = VerifiedBody(canonical, certificate, info.signature.name, form, info.digest_value, trail, data)
        if not isinstance(data, bytes) or b"&" in data:
            _ = verified.body  # a character reference in a namespace URI can make it unreadable: told here, not later
        return verified
    except (SignatureRefused, MalformedMessage) as error:
        trail.failed(error, step)
        raise


def _envelope_parts(root: etree._Element) -> tuple[etree._Element, etree._Element]:
    namespace, _, name = root.tag[1:].partition("}")
    if name != "Envelope" or namespace not in _SOAP_NAMESPACES:
        raise MalformedMessage("the document is not a SOAP envelope", code="not_an_envelope")
    if root.getparent() is not None:
        raise SignatureRefused("structure", "the envelope is not the root of its document", step=steps.STRUCTURE)
    children = list(root)
    tags = [child.tag for child in children]
    body_tag = f"{{{namespace}}}Body"
    if tags == [f"{{{namespace}}}Header", body_tag]:
        return children[0], children[1]
    if tags == [body_tag]:
        raise _unsigned()
    if body_tag not in tags:
        raise MalformedMessage("the SOAP envelope has no Body", code="not_an_envelope")
    raise SignatureRefused(
        "structure", "an envelope must hold one Header, then one Body, and nothing else", step=steps.STRUCTURE
    )


def _unsigned() -> SignatureRefused:
    return SignatureRefused(
        "unsigned", "the message is not signed: it has no WS-Security signature", step=steps.SIGNATURE_PLACE
    )


def _only_signature(header: etree._Element) -> etree._Element:
    everywhere = list(header.iter(names.DS_SIGNATURE))
    securities = [block for block in header if block.tag == names.WSSE_SECURITY]
    if not everywhere:
        raise _unsigned()
    if len(everywhere) > 1:
        raise SignatureRefused(
            "signature_count",
            f"the header holds {len(everywhere)} signatures, exactly one is accepted",
            step=steps.SIGNATURE_PLACE,
        )
    # without any Security the signature may stand straight in the Header; beside one it may not
    place = securities[0] if len(securities) == 1 else None if securities else header
    if everywhere[0].getparent() is not place:
        raise SignatureRefused(
            "signature_place",
            "the signature is not a direct child of the only wsse:Security in the Header (or, where there is no"
            " wsse:Security, of the Header)",
            step=steps.SIGNATURE_PLACE,
        )
    return everywhere[0]


def _check_reference(info: SignedInfo, body: etree._Element, id_attributes: tuple[str, ...]) -> None:
    uri = info.reference_uri
    if len(uri) < 2 or uri[0] != "#" or uri[1:] not in (body.get(name) for name in id_attributes):
        raise SignatureRefused("not_the_body", "what is signed is not the Body of this message", step=steps.REFERENCE)
    transforms = info.transforms
    if len(transforms) != 1 or transforms[0].uri != names.EXC_C14N:
        raise SignatureRefused(
            "transform_refused",
            "the Body must be signed with exclusive canonicalisation as the only transform",
            step=steps.REFERENCE,
        )


def _check_ids(root: etree._Element) -> int:
    """Every id of the message names one element; attributes called id in any case and namespace count.

    One element may carry the same id twice (wsse:Id beside wsu:Id is seen, SHEP.md 5.1).
    """
    values = _ID_VALUES(root)
    distinct = len(set(values))
    if len(values) != distinct:
        owners: dict[str, etree._Element] = {}
        for value in _ID_ATTRIBUTES(root):
            if owners.setdefault(str(value), value.getparent()) is not value.getparent():
                raise SignatureRefused("duplicate_id", "two elements of the message carry the same id", step=steps.IDS)
    return distinct


# ---------------------------------------------------------------- signing

_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_XSI_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
_NS_DS = b'<ds:SignedInfo xmlns:ds="' + names.DS.encode() + b'"'


def sign_body(
    body: etree._Element,
    key: SigningKey,
    *,
    form: KeyInfoForm,
    body_id: str | None = None,
    apart: TextApart | None = None,
) -> bytes:
    """A whole signed envelope around a soap:Body, which is not changed.

    `body_id` is the wsu:Id (bare: the un-namespaced Id) to give it; without one a random `id-<uuid>` is used. Ids that
    the Body already carries are replaced. Raises ValueError when `body` is not a soap:Body or `body_id` not a name,
    MalformedMessage (`not_canonical`) when it cannot be canonicalised. Whatever is sent is verified by the caller
    first. With a text `apart` the Body has its mark, and so has what comes back: `apart.whole` of it is what is sent.
    """
    namespace, _, name = body.tag[1:].partition("}")
    if name != "Body" or namespace not in _SOAP_NAMESPACES:
        raise ValueError(f"sign_body takes a soap:Body, not {body.tag}")
    if body_id is None:
        body_id = f"id-{uuid.uuid4()}"
    elif _NCNAME.fullmatch(body_id) is None:
        raise ValueError("body_id must be an ASCII XML name of at most 128 characters")
    algorithm = key.algorithm
    bare = form is KeyInfoForm.BARE
    canonical = _canonical_with_id(body, body_id, "Id" if bare else names.WSU_ID)
    declared = _declarations_of_types(body, namespace) if b":type=" in canonical else b""
    digesting = DIGESTS[algorithm.digest_uri]
    digest = digesting.digest(canonical) if apart is None else digesting.digest_of(apart.canonical(canonical))
    return _signed(canonical, digest, body_id.encode(), key, form, namespace, declared)


def sign_content(content: bytes, key: SigningKey, *, form: KeyInfoForm) -> bytes:
    """A whole signed SOAP 1.1 envelope around a Body with this content, which its writer wrote in canonical form.

    Exclusive canonical form, and as a document of its own: every prefix is declared where it is used, and none of them
    is `soap`, `wsu`, `wsse` or `ds`; no xsi:type. Whether it is so shows when the message is verified, which the
    caller does before anything is sent (gateway.signing.own.check_written).
    """
    random = os.urandom(16).hex()
    body_id = f"id-{random[:8]}-{random[8:12]}-{random[12:16]}-{random[16:20]}-{random[20:]}".encode()
    before_id, after_id = _BARE_BODY if form is KeyInfoForm.BARE else _BODY
    canonical = b"".join((before_id, body_id, after_id, content, b"</soap:Body>"))
    digest = DIGESTS[key.algorithm.digest_uri].digest(canonical)
    return _signed(canonical, digest, body_id, key, form, names.SOAP_11, b"")


_BODY: Final = (f'<soap:Body xmlns:soap="{names.SOAP_11}" xmlns:wsu="{names.WSU}" wsu:Id="'.encode(), b'">')
_BARE_BODY: Final = (f'<soap:Body xmlns:soap="{names.SOAP_11}" Id="'.encode(), b'">')


def _signed(
    canonical: bytes,
    digest: bytes,
    body_id: bytes,
    key: SigningKey,
    form: KeyInfoForm,
    namespace: str,
    declared: bytes,
) -> bytes:
    """The envelope around a canonical Body; `declared` is written into its start tag."""
    bare = form is KeyInfoForm.BARE
    before_uri, before_digest, after = _template(key.algorithm)
    signed_info = b"".join((before_uri, b"#", body_id, before_digest, b64encode(digest), after))
    value = key.sign(_NS_DS + signed_info)
    signature = signature_bytes(b"<ds:SignedInfo" + signed_info, value, key_info_bytes(key.certificate, form))
    before, security, between, end = (_BARE_ENVELOPES if bare else _ENVELOPES)[namespace]
    return b"".join((before, declared, security, signature, between, canonical, end))


@lru_cache(maxsize=16)
def _template(algorithm: SignatureAlgorithm) -> tuple[bytes, bytes, bytes]:
    return signed_info_template(names.EXC_C14N, algorithm, (names.EXC_C14N,))


def _envelope(namespace: str) -> tuple[bytes, bytes, bytes, bytes]:
    before = f'<soap:Envelope xmlns:soap="{namespace}"'
    security = f'><soap:Header><wsse:Security xmlns:wsse="{names.WSSE}" soap:mustUnderstand="1">'
    return before.encode(), security.encode(), b"</wsse:Security></soap:Header>", b"</soap:Envelope>"


def _bare_envelope(namespace: str) -> tuple[bytes, bytes, bytes, bytes]:
    before, _, _, end = _envelope(namespace)
    return before, b"><soap:Header>", b"</soap:Header>", end


_ENVELOPES: Final = {namespace: _envelope(namespace) for namespace in _SOAP_NAMESPACES}
_BARE_ENVELOPES: Final = {namespace: _bare_envelope(namespace) for namespace in _SOAP_NAMESPACES}


def _canonical_with_id(body: etree._Element, body_id: str, id_attribute: str) -> bytes:
    """Canonical bytes of the Body with `id_attribute` set to `body_id`.

    A Body without attributes (ours) has a start tag of its own namespace only, so the attribute is written into
    the canonical bytes; that is right as long as no descendant declares the prefix that is taken for it.
    """
    if not body.attrib and id_attribute == names.WSU_ID:
        canonical = canonicalize(body)
        if b"wsu" not in canonical and body.prefix != "wsu":
            prefix = f":{body.prefix}" if body.prefix else ""
            tag = f"{body.prefix}:Body" if body.prefix else "Body"
            own = f' xmlns{prefix}="{etree.QName(body).namespace}"'
            wsu = f' xmlns:wsu="{names.WSU}"'
            declarations = own + wsu if prefix < ":wsu" else wsu + own
            start = f'<{tag}{declarations} wsu:Id="{body_id}">'
            return start.encode() + canonical[len(tag.encode()) + len(own.encode()) + 2 :]
    copied = deepcopy(body)
    copied.tail = None
    for attribute in [name for name in map(str, copied.attrib) if name.rpartition("}")[2].lower() == "id"]:
        del copied.attrib[attribute]
    copied.set(id_attribute, body_id)
    return canonicalize(copied)


def _declarations_of_types(body: etree._Element, namespace: str) -> bytes:
    """Declarations of the prefixes that stand in `xsi:type` values, for the Envelope.

    The exclusive form drops a prefix that no name uses (`xsi:type="cs:Request"`), and whoever reads the type needs it.
    On the Envelope it changes no digest. Raises MalformedMessage (`ambiguous_prefix`) when one prefix would have to
    mean two things there.
    """
    declared: dict[str, str] = {}
    taken = {"soap": namespace, "wsse": names.WSSE, "ds": names.DS, "wsu": names.WSU}
    for element in body.iter(etree.Element):
        prefix, colon, _ = element.get(_XSI_TYPE, "").partition(":")
        uri = element.nsmap.get(prefix) if colon else None
        if uri is None:
            continue
        if taken.get(prefix, uri) != uri or declared.setdefault(prefix, uri) != uri:
            raise MalformedMessage(
                f"the prefix {prefix} stands in xsi:type values for different namespaces", code="ambiguous_prefix"
            )
    return b"".join(f' xmlns:{prefix}="{escape(uri)}"'.encode() for prefix, uri in declared.items() if prefix != "soap")
