"""Verifying a message that looks like one verified before, without reading again what is the same.

What one sender signs looks alike: fixed bytes around the Body's id, its digest, the signature and the Body. A message
that was verified in full, and whose signer was judged good, is the pattern. A later one needs no second look at its
structure, the place of its signature, its algorithms and its KeyInfo when every byte outside of those four places is
the same. In the four places everything is checked anew: the id is a plain name and the Body carries it, all ids are
distinct; the signature holds over SignedInfo, whose canonical form follows from the pattern, the id and the digest;
the signer is judged; the digest is that of the Body as it stands in the message; and the Body, parsed alone, is
well-formed, within the bounds, and canonical as it stands. So the tree of the whole message differs from the
pattern's in nothing but the id, the two values and the Body, and the Body's canonical form is the bytes that were
digested. They are parsed once, and what is handed on is read from them, as after the full verification.

Nothing is refused here: whatever does not fit is verified in full, and that says what is wrong (docs/decisions/0063).
"""

from __future__ import annotations

import binascii
import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from lxml import etree

from gateway.errors import KeyMaterialError, MalformedMessage, SignatureRefused
from gateway.signing import names, steps
from gateway.signing.algorithms import DigestAlgorithm, SignatureAlgorithm
from gateway.signing.certificate import Certificate
from gateway.signing.distinguished_names import NameKey
from gateway.signing.key_info import CertificateIndex, KeyInfoForm
from gateway.signing.signed_info import read_signature, read_signed_info
from gateway.signing.steps import Trail
from gateway.signing.wss import VerifiedBody, verify_envelope
from gateway.xml import XmlBounds, canonicalize, parse

#: above this the parse of the frame is a small part of the whole
_MAX_BYTES: Final = 64_000
#: patterns kept; a country's gateway has a few senders, each with a few forms of message
_MAX_FRAMES: Final = 256
_MAX_OF_ONE_SIGNER: Final = 8
_MAX_FRAME_BYTES: Final = 16_000

_ID: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_IDS: Final[Callable[[etree._Element], Any]] = etree.XPath(
    "/descendant::*/@*[string-length(local-name()) = 2 and translate(local-name(), 'DI', 'di') = 'id']",
    smart_strings=False,
)


class _Places(NamedTuple):
    """A message cut at its four places."""

    around: tuple[bytes, bytes, bytes, bytes, bytes]
    body_id: bytes
    digest: bytes
    value: bytes
    body: bytes

    def whole(self) -> bytes:
        before_id, before_digest, before_value, before_body, end = self.around
        return b"".join(
            (before_id, self.body_id, before_digest, self.digest, before_value, self.value, before_body, self.body, end)
        )


def _cut(data: bytes) -> _Places | None:
    """Where the places seem to be. Whether they are there is looked at when a pattern is made."""
    id_at = data.find(b'URI="#') + 6
    id_end = data.find(b'"', id_at)
    digest_at = data.find(b"DigestValue>", id_end) + 12
    digest_end = data.find(b"<", digest_at)
    value_at = data.find(b"SignatureValue>", digest_end) + 15
    value_end = data.find(b"<", value_at)
    body_at = data.find(b"Header><", value_end) + 7
    body_end = data.rfind(b"</")
    # one that was not found makes its place lie before the one in front of it
    if not 6 <= id_at < id_end < digest_at < digest_end < value_at < value_end < body_at < body_end:
        return None
    return _Places(
        (data[:id_at], data[id_end:digest_at], data[digest_end:value_at], data[value_end:body_at], data[body_end:]),
        data[id_at:id_end],
        data[digest_at:digest_end],
        data[value_at:value_end],
        data[body_at:body_end],
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the full verification of the pattern found, and what follows from it for every message of its frame."""

    certificate: Certificate
    #: of a certificate that is not in the message: how it is named
    named: tuple[NameKey, int] | None
    form: KeyInfoForm
    algorithm: SignatureAlgorithm
    digest: DigestAlgorithm
    #: the canonical SignedInfo around the id and the digest
    signed_info: tuple[bytes, bytes, bytes]
    body_tag: str
    #: attributes that may carry the id
    id_attributes: tuple[str, ...]
    #: ids outside of the Body
    other_ids: frozenset[str]
    bounds: XmlBounds
    #: those of the Body as a document of its own
    bounds_inside: XmlBounds

    def verified(
        self,
        data: bytes,
        places: _Places,
        certificates: CertificateIndex,
        bounds: XmlBounds,
        judge: Callable[[Certificate], None],
    ) -> VerifiedBody | None:
        """The Body of a message of this frame; None: the full verification has to say what it is. Raises as `judge`."""
        if (bounds is not self.bounds and bounds != self.bounds) or not _is_small(data, bounds):
            return None
        if self.named is not None and certificates.find(*self.named) != self.certificate:
            return None
        if _ID.fullmatch(places.body_id) is None:
            return None
        before_id, before_digest, after = self.signed_info
        canonical_info = b"".join((before_id, places.body_id, before_digest, places.digest, after))
        try:
            value = binascii.a2b_base64(places.value, strict_mode=True)
            if binascii.b2a_base64(value, newline=False) != places.value:
                return None
            if not self.algorithm.holds(self.certificate, canonical_info, value):
                return None
        except (ValueError, SignatureRefused, KeyMaterialError):
            return None
        judge(self.certificate)
        if not is_digest(places.digest, places.body, self.digest):
            return None
        body = self._body(places)
        if body is None:
            return None
        trail = Trail()
        trail.held(
            (steps.STRUCTURE, "outside of id, digest, signature and Body each byte is of a message verified in full")
        )
        trail.held((steps.SIGNATURE_VALUE, "{} over SignedInfo holds", self.algorithm.name))
        trail.held(
            (steps.DIGEST, "{} of the canonical Body ({} bytes) is the one signed", self.digest.name, len(places.body))
        )
        digest = binascii.a2b_base64(places.digest)
        return VerifiedBody(places.body, self.certificate, self.algorithm.name, self.form, digest, trail, data, [body])

    def _body(self, places: _Places) -> etree._Element | None:
        """The Body parsed alone, when it is canonical as it stands and its ids are what they must be."""
        try:
            root = parse(places.body, self.bounds_inside)
            if root.getprevious() is not None or root.getnext() is not None:
                return None
            if root.tag != self.body_tag or canonicalize(root) != places.body:
                return None
        except MalformedMessage:
            return None
        body_id = places.body_id.decode()
        if body_id not in [root.get(name) for name in self.id_attributes]:
            return None
        ids = _IDS(root)
        if len(set(ids)) != len(ids) or not self.other_ids.isdisjoint(ids):
            return None
        return root


def is_digest(text: bytes, body: bytes, algorithm: DigestAlgorithm) -> bool:
    """Whether a DigestValue is that of these bytes."""
    return binascii.b2a_base64(algorithm.digest(body), newline=False) == text


def _is_small(data: bytes, bounds: XmlBounds) -> bool:
    """Whether no bound on the whole can be met (gateway.xml.parse); depth is looked at where the Body is parsed."""
    length = len(data)
    return (
        length <= bounds.max_bytes
        and length <= 4 * bounds.max_elements
        and length <= 5 * bounds.max_attributes
        and length**2 // 4 <= bounds.max_canonical_bytes
    )


#: what stands around the four places → what is known of such messages; a pattern is never changed
_frames: Final[dict[tuple[bytes, ...], _Frame]] = {}
#: patterns made of messages of one signer, by the SHA-256 of its certificate
_made: Final[dict[str, int]] = {}


def verify_alike(
    data: bytes,
    *,
    certificates: CertificateIndex,
    bounds: XmlBounds,
    judge: Callable[[Certificate], None],
) -> VerifiedBody:
    """gateway.signing.wss.verify_envelope, quicker for what looks like a message verified before.

    `judge` may be asked twice. Raises as `verify_envelope`, and what `judge` raises.
    """
    places = _cut(data) if len(data) <= _MAX_BYTES else None
    frame = None if places is None else _frames.get(places.around)
    if places is not None and frame is not None:
        verified = frame.verified(data, places, certificates, bounds, judge)
        if verified is not None:
            return verified
    verified = verify_envelope(data, certificates=certificates, bounds=bounds, judge=judge)
    if places is not None and frame is None:
        _learn(places, verified, bounds)
    return verified


def _learn(places: _Places, verified: VerifiedBody, bounds: XmlBounds) -> None:
    """Keep the pattern of a message that was verified in full, if it has one."""
    # a sender whose headers are never the same (a Timestamp) has none
    signer = verified.certificate.sha256
    if _made.get(signer, 0) >= _MAX_OF_ONE_SIGNER or sum(map(len, places.around)) > _MAX_FRAME_BYTES:
        return
    frame = _frame_of(places, verified, bounds)
    if len(_frames) >= _MAX_FRAMES or len(_made) >= _MAX_FRAMES:
        _frames.clear()
        _made.clear()
    _made[signer] = _made.get(signer, 0) + 1
    if frame is not None:
        _frames[places.around] = frame


def _frame_of(places: _Places, verified: VerifiedBody, bounds: XmlBounds) -> _Frame | None:
    """The pattern; None where the places are not those of the tree, or a Body does not stand as it is digested.

    Whether the places are right is tried: with other texts in them, the message must say these and nothing else new.
    """
    if places.body != verified.canonical or _ID.fullmatch(places.body_id) is None:
        return None
    probe = _probe_of(places)
    try:
        root = parse(probe.whole(), bounds)
        header, body = root
        signature = next(header.iter(names.DS_SIGNATURE))
        parts = read_signature(signature)
        info = read_signed_info(parts.signed_info, frozenset({names.EXC_C14N}))
        canonical = canonicalize(body)
    except (MalformedMessage, SignatureRefused, StopIteration, ValueError):
        return None
    before_id, found, rest = info.canonical.partition(probe.body_id)
    before_digest, found_too, after = rest.partition(probe.digest)
    if (
        canonical != probe.body
        or info.reference_uri.encode() != b"#" + probe.body_id
        or binascii.b2a_base64(info.digest_value, newline=False) != probe.digest
        or binascii.b2a_base64(parts.value, newline=False) != probe.value
        or not (found and found_too)
        # a default namespace of the Envelope, or a list of prefixes, would reach into the Body's canonical form
        or None in root.nsmap
        or info.transforms[0].inclusive_prefixes
    ):
        return None
    certificate = verified.certificate
    is_named = verified.key_info_form is KeyInfoForm.ISSUER_SERIAL
    return _Frame(
        certificate=certificate,
        named=(certificate.issuer_key, certificate.serial) if is_named else None,
        form=verified.key_info_form,
        algorithm=info.signature,
        digest=info.digest,
        signed_info=(before_id, before_digest, after),
        body_tag=body.tag,
        id_attributes=("Id",) if signature.getparent() is header else (names.WSU_ID, "Id"),
        other_ids=frozenset(_IDS(root)) - frozenset(_IDS(parse(canonical, bounds))),
        bounds=bounds,
        bounds_inside=replace(bounds, max_depth=bounds.max_depth - 1),
    )


def _probe_of(places: _Places) -> _Places:
    """The message with texts of the same kind in its places that stand nowhere in it."""
    body_id = f"id-{uuid.uuid4()}".encode()
    return places._replace(
        body_id=body_id,
        digest=_other_base64(places.digest),
        value=_other_base64(places.value),
        body=places.body.replace(b'"' + places.body_id + b'"', b'"' + body_id + b'"'),
    )


def _other_base64(text: bytes) -> bytes:
    # one that cannot be read has no other: the probe then fails
    try:
        return binascii.b2a_base64(os.urandom(len(binascii.a2b_base64(text, strict_mode=True))), newline=False)
    except ValueError:
        return b""
