"""Step 7 at the price of one public-key operation: what `sign_body` has just made, against what was verified before.

All that we send by one key looks alike: a frame of fixed bytes around the Body's id, its digest, the signature and the
Body itself. The first message of a frame is verified in full, as the other side will do it. A later one is accepted
without a second parse when every byte outside of those four places is that of the verified message, and in them: the
id is one of ours and the same in both places; the digest is that of the Body as it stands in the message; the signature
holds over SignedInfo as it stands there; and the Body is plain. Plain means that nothing in it could read differently
from how it was written, so that a parse could say nothing new: the canonical form that libxml2 wrote, without any
reference but those by which a text carries XML, without processing instruction, id, or "<" inside a value, and so small
that no bound can be met. Everything else is verified in full, and whatever is refused is refused by that full
verification (docs/decisions/0025). Of a Body that we wrote ourselves, without libxml2, the markup must be that of one
that was verified in full (docs/decisions/0063).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final, Self

from gateway.apart import TextApart
from gateway.errors import SignatureRefused
from gateway.signing import names, steps
from gateway.signing.algorithms import DIGESTS, SignatureAlgorithm, signature_algorithm
from gateway.signing.certificate import Certificate
from gateway.signing.distinguished_names import NameKey
from gateway.signing.wss import verify_envelope
from gateway.xml import XmlBounds

#: frames of one key: key info, SOAP version, prefixes declared for xsi:type. More than that are verified in full
_MAX_FRAMES: Final = 8
_MAX_KEYS: Final = 16

_SIGNED_INFO: Final = b"<ds:SignedInfo"
_CANONICAL_SIGNED_INFO: Final = b'<ds:SignedInfo xmlns:ds="' + names.DS.encode() + b'"'
_ID_LENGTH: Final = 39
_ID: Final = re.compile(rb"id-[0-9a-f-]{36}")
#: the four places of a message in the order in which they stand
_PLACES: Final = re.compile(
    rb'(?P<before_id>.*?<ds:Reference URI="#)(?P<id>id-[0-9a-f-]{36})'
    rb'(?P<before_digest>">.*?<ds:DigestValue>)(?P<digest>[^<]*)'
    rb"(?P<before_value></ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue>)(?P<value>[^<]*)"
    rb'(?P<before_body></ds:SignatureValue>.*?</soap:Header>)(?P<body><soap:Body [^>]*?wsu:Id="(?P=id)">.*)'
    rb"(?P<end></soap:Envelope>)",
    re.DOTALL,
)
_METHOD: Final = re.compile(rb'<ds:SignatureMethod Algorithm="([^"]*)"')
#: what a Body may not have if it is to be accepted without a parse
_NOT_PLAIN: Final = (b"<?", b'id="', b'ID="', b'Id="', b'iD="')
#: the references that canonical XML writes in a text: a parse reads the character, which is no markup, and nothing else
_TEXT_REFERENCES: Final = (b"&lt;", b"&gt;", b"&amp;")
#: the one place where libxml2 may leave a "<" or a "&" as it is
_BROKEN_NAMESPACE: Final = re.compile(rb'xmlns[^="]*="[^"<&]*[<&]')


@dataclass(frozen=True, slots=True)
class _Frame:
    """The fixed bytes of a message that was verified in full, and where its parts begin and end."""

    before_id: bytes
    before_digest: bytes
    before_value: bytes
    before_body: bytes
    #: of the Body, up to the value of its id
    body_tag: bytes
    digest_length: int
    value_length: int
    algorithm: SignatureAlgorithm

    @classmethod
    def of(cls, signed: bytes) -> Self | None:
        """The frame of a message; None when it has another shape."""
        found = _PLACES.fullmatch(signed)
        method = None if found is None else _METHOD.search(found["before_id"])
        if found is None or method is None:
            return None
        body = found["body"]
        return cls(
            found["before_id"],
            found["before_digest"],
            found["before_value"],
            found["before_body"],
            body[: body.index(found["id"])],
            len(found["digest"]),
            len(found["value"]),
            signature_algorithm(method[1].decode()),
        )

    def accepts(
        self, signed: bytes, certificate: Certificate, bounds: XmlBounds, *, is_plain: bool | None = None
    ) -> bool:
        """Whether a message has this frame, a plain Body and a signature that holds.

        `is_plain`: what is known of the Body already; None: it is looked at.
        """
        at = len(self.before_id)
        body_id = signed[at : at + _ID_LENGTH]
        digest_at = at + _ID_LENGTH + len(self.before_digest)
        value_at = digest_at + self.digest_length + len(self.before_value)
        body_at = value_at + self.value_length + len(self.before_body)
        body = signed[body_at : -len(_END)]
        inside = len(self.body_tag) + len(body_id) + 2
        if not (
            signed.startswith(self.before_id)
            and _ID.fullmatch(body_id)
            and signed.startswith(self.before_digest, at + _ID_LENGTH)
            and signed.startswith(self.before_value, digest_at + self.digest_length)
            and signed.startswith(self.before_body, value_at + self.value_length)
            and body.startswith(self.body_tag + body_id + b'">')
            and body.endswith(_BODY_END)
            and signed.endswith(_END)
            and (_is_plain(body, inside) if is_plain is None else is_plain)
            and _is_small(signed, body, bounds)
        ):
            return False
        digest = binascii.b2a_base64(DIGESTS[self.algorithm.digest_uri].digest(body), newline=False)
        if digest != signed[digest_at : digest_at + self.digest_length]:
            return False
        try:
            value = binascii.a2b_base64(signed[value_at : value_at + self.value_length], strict_mode=True)
        except binascii.Error:
            return False
        start = self.before_id.index(_SIGNED_INFO) + len(_SIGNED_INFO)
        end = digest_at + self.digest_length + self.before_value.index(_SIGNED_INFO_END) + len(_SIGNED_INFO_END)
        return self.algorithm.holds(certificate, _CANONICAL_SIGNED_INFO + signed[start:end], value)


_SIGNED_INFO_END: Final = b"</ds:SignedInfo>"
_BODY_END: Final = b"</soap:Body>"
_END: Final = b"</soap:Envelope>"


def _is_plain(body: bytes, inside: int) -> bool:
    """Whether a parse could say nothing new of the Body from `inside` on, which canonicalisation has just written."""
    return (
        not any(body.find(sign, inside) >= 0 for sign in _NOT_PLAIN)
        and body.count(b"&") == sum(body.count(reference) for reference in _TEXT_REFERENCES)
        and _BROKEN_NAMESPACE.search(body) is None
    )


def _is_small(signed: bytes, body: bytes, bounds: XmlBounds) -> bool:
    """Whether no bound can be met: see gateway.xml.parse and gateway.signing.wss.verify_envelope."""
    length = len(signed)
    return (
        length <= bounds.max_bytes
        and length <= 4 * bounds.max_elements
        and length <= 5 * bounds.max_attributes
        and length**2 // 4 <= bounds.max_canonical_bytes
        # each element of the canonical form has an end tag; the Envelope stands around them
        and body.count(b"</") < bounds.max_depth
    )


#: (certificate, bounds) → frames of which one message was verified in full; replaced, never changed
_frames: Final[dict[tuple[str, XmlBounds], tuple[_Frame, ...]]] = {}


#: texts between tags, of characters that stand for themselves in canonical XML and end nothing
_TEXTS: Final = re.compile(rb">[^<>&\x00-\x1f]+(?=<)")
#: U+FFFE and U+FFFF, which UTF-8 can write and XML cannot
_NO_CHARACTERS: Final = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
_HEADER_END: Final = b"</soap:Header>"
#: larger ones are rare, and a shape is kept
_MAX_SHAPED_BYTES: Final = 16_000
_MAX_SHAPES: Final = 500
#: (certificate and bounds, shape) of which one message was verified in full
_shapes: Final[set[tuple[tuple[str, XmlBounds], bytes]]] = set()


def check_own(signed: bytes, certificate: Certificate, bounds: XmlBounds, *, apart: TextApart | None = None) -> None:
    """Full verification of our own message with our own certificate, as the other side will verify it.

    Raises SignatureRefused or MalformedMessage: our key, certificate or bounds are wrong, and nothing was sent.
    """
    verified = verify_envelope(signed, certificates=_OnlyCertificate(certificate), bounds=bounds, apart=apart)
    # a certificate that travels with the message speaks for its own key, which has to be ours
    if verified.certificate.spki_der != certificate.spki_der:
        raise SignatureRefused(
            "certificate_unknown",
            "our own message does not carry our certificate; see signing.key_file and signing.certificate_file",
            step=steps.CERTIFICATE,
        )


def check_made(signed: bytes, certificate: Certificate, bounds: XmlBounds, *, is_new: bool = False) -> None:
    """The same for what `sign_body` has just made, without the parse where it could say nothing new.

    `is_new`: parse it in any case. Raises as `check_own`.
    """
    key = certificate.sha256, bounds
    known = _frames.get(key, ())
    if not is_new and any(frame.accepts(signed, certificate, bounds) for frame in known):
        return
    check_own(signed, certificate, bounds)
    frame = _Frame.of(signed)
    if frame is None or frame in known or len(known) >= _MAX_FRAMES:
        return
    if key not in _frames and len(_frames) >= _MAX_KEYS:
        _frames.clear()
    _frames[key] = (*known, frame)


def check_written(signed: bytes, certificate: Certificate, bounds: XmlBounds) -> None:
    """The same for what `sign_content` has just made of a content that its writer took for canonical.

    The markup of a Body, its texts left out, is its shape. The first message of a shape is verified in full, which
    finds a content that is not canonical; a later one is accepted by its frame when its texts are nothing but text.
    Raises as `check_own`.
    """
    key = certificate.sha256, bounds
    shape = _shape_of(signed)
    if shape is not None and (key, shape) in _shapes:
        for frame in _frames.get(key, ()):
            # all but texts stood in a Body that was parsed, and a text is nothing else
            if frame.accepts(signed, certificate, bounds, is_plain=True):
                return
    check_made(signed, certificate, bounds, is_new=True)
    if shape is not None:
        if len(_shapes) >= _MAX_SHAPES:
            _shapes.clear()
        _shapes.add((key, shape))


def _shape_of(signed: bytes) -> bytes | None:
    """The Body of a message of ours without its id and its texts; None where a text is more than text."""
    body = signed[signed.find(_HEADER_END) + len(_HEADER_END) :]
    if len(body) > _MAX_SHAPED_BYTES:
        return None
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return None
        if any(sign in body for sign in _NO_CHARACTERS):
            return None
    # an own id has no ">" in it; what a text may not have stays, and makes a shape that is not known
    return _TEXTS.sub(b">", body[body.find(b">") :])


@dataclass(frozen=True, slots=True)
class _OnlyCertificate:
    """An index that knows one certificate: our own."""

    certificate: Certificate

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        own = self.certificate
        return own if (own.issuer_key, own.serial) == (issuer_key, serial) else None
