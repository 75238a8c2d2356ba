"""ds:KeyInfo: which certificate signed. The message only claims it; trust is decided elsewhere.

Forms seen on the wire: SHEP.md 5.1. A claim is a certificate, an issuer with serial, or both (then they must agree).
KeyName and KeyValue beside a claim are not read; a key without a certificate proves nobody and is refused.
"""

from __future__ import annotations

import re
from base64 import b64encode
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol
from xml.sax.saxutils import escape

from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names, steps
from gateway.signing.certificate import Certificate
from gateway.signing.distinguished_names import NameKey
from gateway.signing.issuer_names import parse_issuer_name
from gateway.signing.signed_info import decode_base64
from gateway.xml import leaf_text

#: decimal digits of an X509SerialNumber (RFC 5280 allows 20 octets, which are 49 digits)
MAX_SERIAL_DIGITS: Final = 64

_SERIAL = re.compile(rf"[0-9]{{1,{MAX_SERIAL_DIGITS}}}", re.ASCII)


class KeyInfoForm(StrEnum):
    """How a message names the signer's certificate."""

    #: SecurityTokenReference/KeyIdentifier X509v3: the certificate itself (form A of SHEP.md 5.1)
    KEY_IDENTIFIER = "key_identifier"
    #: SecurityTokenReference/X509Data/X509IssuerSerial: the receiver must own the certificate (form B)
    ISSUER_SERIAL = "issuer_serial"
    #: SecurityTokenReference/X509Data with X509IssuerSerial and X509Certificate (other SOAP stacks)
    ISSUER_SERIAL_AND_CERTIFICATE = "issuer_serial_and_certificate"
    #: X509Data/X509Certificate straight in KeyInfo (business signatures, SHEP.md 5.2)
    CERTIFICATE = "certificate"
    #: the same KeyInfo in a ds:Signature that stands straight in the Header, over a Body with an un-namespaced Id
    #: (form C: what the national client software writes)
    BARE = "bare"


class CertificateIndex(Protocol):
    """Certificates that we already own, for messages that only name one."""

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None: ...


class _NoCertificates:
    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:  # noqa: ARG002 - the protocol's
        return None


NO_CERTIFICATES: Final[CertificateIndex] = _NoCertificates()


# ---------------------------------------------------------------- reading


class _Claims:
    """What the elements of one KeyInfo say."""

    __slots__ = ("certificates", "issuer_serials", "key_identifier")

    def __init__(self) -> None:
        self.certificates: list[str] = []
        self.issuer_serials: list[tuple[NameKey, int]] = []
        self.key_identifier = False


def _refused(code: str, message: str, step: str = steps.KEY_INFO) -> SignatureRefused:
    return SignatureRefused(code, message, step=step)


def _text(element: etree._Element) -> str:
    try:
        return leaf_text(element)
    except MalformedMessage as error:
        raise _refused("key_info_shape", error.message) from None


def _unsupported(element: etree._Element) -> SignatureRefused:
    name = element.tag.rpartition("}")[2][:40] if isinstance(element.tag, str) else "a processing instruction"
    return _refused(
        "key_info_unsupported",
        f"KeyInfo names the signer by {name}, which is not read here: the sender must put its certificate or"
        " its issuer and serial number there",
    )


def _read_issuer_serial(element: etree._Element, claims: _Claims) -> None:
    children = list(element)
    if [child.tag for child in children] != [names.DS_X509_ISSUER_NAME, names.DS_X509_SERIAL_NUMBER]:
        raise _refused("key_info_shape", "X509IssuerSerial must hold X509IssuerName and X509SerialNumber")
    serial = _text(children[1])
    if _SERIAL.fullmatch(serial) is None:
        raise _refused(
            "serial_number", f"X509SerialNumber is not a decimal number of at most {MAX_SERIAL_DIGITS} digits"
        )
    try:
        issuer = parse_issuer_name(_text(children[0]))
    except MalformedMessage as error:
        raise _refused(error.code, error.message) from None
    claims.issuer_serials.append((issuer, int(serial)))


def _read_x509_data(element: etree._Element, claims: _Claims) -> None:
    for child in element:
        tag = child.tag
        if tag == names.DS_X509_CERTIFICATE:
            claims.certificates.append(_text(child))
        elif tag == names.DS_X509_ISSUER_SERIAL:
            _read_issuer_serial(child, claims)
        elif tag not in (names.DS_X509_SUBJECT_NAME, names.DS_X509_SKI):  # these two say less and are not read
            raise _unsupported(child)


def _read_token_reference(element: etree._Element, claims: _Claims) -> None:
    for child in element:
        tag = child.tag
        if tag == names.WSSE_KEY_IDENTIFIER:
            encoding = child.get("EncodingType", names.BASE64_BINARY)
            if child.get("ValueType") != names.X509_V3 or encoding != names.BASE64_BINARY:
                raise _refused(
                    "key_info_unsupported", "the KeyIdentifier is not a whole X.509 certificate (X509v3) in base64"
                )
            claims.key_identifier = True
            claims.certificates.append(_text(child))
        elif tag == names.DS_X509_DATA:
            _read_x509_data(child, claims)
        else:  # wsse:Reference among them: it points to another place of the message, and nothing is followed
            raise _unsupported(child)


def read_key_info(key_info: etree._Element, certificates: CertificateIndex) -> tuple[Certificate, KeyInfoForm]:
    """The certificate that a KeyInfo claims, and how it claims it.

    Raises SignatureRefused: `no_certificate`, `key_info_unsupported`, `key_info_shape`, `serial_number`,
    `issuer_name`, `bad_base64`, `bad_certificate`, `ambiguous_certificate`, `certificate_mismatch`,
    `certificate_unknown`.
    """
    claims = _Claims()
    for child in key_info:
        tag = child.tag
        if tag == names.WSSE_TOKEN_REFERENCE:
            _read_token_reference(child, claims)
        elif tag == names.DS_X509_DATA:
            _read_x509_data(child, claims)
        elif tag not in (names.DS_KEY_NAME, names.DS_KEY_VALUE):
            raise _unsupported(child)
    return _resolve(claims, certificates)


@lru_cache(maxsize=256)
def _inline_certificate(text: str) -> Certificate:
    """The certificate of a base64 text; the same sender writes the same text every time."""
    try:
        return Certificate.from_der(decode_base64(text, "the certificate in KeyInfo", step=steps.KEY_INFO))
    except MalformedMessage as error:
        raise _refused(error.code, error.message, steps.CERTIFICATE) from None


def _resolve(claims: _Claims, certificates: CertificateIndex) -> tuple[Certificate, KeyInfoForm]:
    inline = claims.certificates
    named = claims.issuer_serials
    if not inline and not named:
        raise _refused("no_certificate", "KeyInfo names no certificate: a bare key proves nobody")
    signers = {_inline_certificate(text) for text in inline}
    if len(signers) > 1 or any(name != named[0] for name in named[1:]):
        raise _refused(
            "ambiguous_certificate", "KeyInfo names more than one certificate: it must name the signer's only"
        )
    if not signers:
        found = certificates.find(*named[0])
        if found is None:
            raise _refused(
                "certificate_unknown",
                f"the certificate with serial {named[0][1]} is not in the message and not among those known here:"
                " put it into the trust directory",
                steps.CERTIFICATE,
            )
        return found, KeyInfoForm.ISSUER_SERIAL
    certificate = signers.pop()
    if named and named[0] != (certificate.issuer_key, certificate.serial):
        raise _refused(
            "certificate_mismatch",
            "the issuer and serial number in KeyInfo are not those of the certificate beside them",
            steps.CERTIFICATE,
        )
    if named:
        return certificate, KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE
    return certificate, KeyInfoForm.KEY_IDENTIFIER if claims.key_identifier else KeyInfoForm.CERTIFICATE


# ---------------------------------------------------------------- writing


@lru_cache(maxsize=64)
def key_info_bytes(certificate: Certificate, form: KeyInfoForm) -> bytes:
    """A ds:KeyInfo; the prefix `ds` is the caller's."""
    encoded = b64encode(certificate.der).decode()
    inline = f"<ds:X509Certificate>{encoded}</ds:X509Certificate>"
    issuer_serial = (
        f"<ds:X509IssuerSerial><ds:X509IssuerName>{escape(certificate.issuer)}</ds:X509IssuerName>"
        f"<ds:X509SerialNumber>{certificate.serial}</ds:X509SerialNumber></ds:X509IssuerSerial>"
    )
    match form:
        case KeyInfoForm.CERTIFICATE | KeyInfoForm.BARE:
            return f"<ds:KeyInfo><ds:X509Data>{inline}</ds:X509Data></ds:KeyInfo>".encode()
        case KeyInfoForm.KEY_IDENTIFIER:
            token = (
                f'<wsse:KeyIdentifier EncodingType="{names.BASE64_BINARY}" ValueType="{names.X509_V3}">'
                f"{encoded}</wsse:KeyIdentifier>"
            )
        case KeyInfoForm.ISSUER_SERIAL:
            token = f"<ds:X509Data>{issuer_serial}</ds:X509Data>"
        case KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE:
            token = f"<ds:X509Data>{issuer_serial}{inline}</ds:X509Data>"
    return (
        f'<ds:KeyInfo><wsse:SecurityTokenReference xmlns:wsse="{names.WSSE}">{token}'
        "</wsse:SecurityTokenReference></ds:KeyInfo>"
    ).encode()
