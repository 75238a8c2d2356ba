"""What one X.509 certificate says (RFC 5280).

`cryptography` cannot give the public key of a national GOST certificate and refuses some of their extensions
(PKI.md section 6), so the structure is read with asn1crypto; only extensions that we use are opened.

Nothing here decides whether a certificate is trusted: that is gateway.trust.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from asn1crypto import core
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.errors import KeyMaterialError, MalformedMessage
from gateway.signing.certificate_asn1 import (
    ASN1_ERRORS,
    BasicConstraints,
    CertificateStructure,
    ObjectIdentifiers,
    Policies,
    read_time,
)
from gateway.signing.der import elements, first
from gateway.signing.distinguished_names import (
    COMMON_NAME,
    ORGANIZATIONAL_UNIT,
    SERIAL_NUMBER,
    NameKey,
    key_of_name,
    name_attributes,
    name_text,
    text_of,
)
from gateway.signing.extensions import (
    AUTHORITY_KEY_IDENTIFIER,
    BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SUBJECT_KEY_IDENTIFIER,
    UNDERSTOOD_EXTENSIONS,
    ExtensionValue,
    read_authority_key_identifier,
    read_extensions,
    read_key_usage,
    roles_among,
)
from gateway.signing.gost.asn1 import PublicKey as NationalPublicKey
from gateway.signing.gost.asn1 import read_public_key
from gateway.signing.pem import is_pem, pem_blocks

#: a national certificate has about 2 KB; whatever is larger than this is not one
MAX_CERTIFICATE_BYTES: Final = 16_384
#: parsed certificates kept; the least recently used is dropped. With the bound above this is at most some 30 MB,
#: however large the certificates that strangers send
CERTIFICATE_CACHE_ENTRIES: Final = 512

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | NationalPublicKey

_RSA_KEY = "1.2.840.113549.1.1.1"
_EC_KEY = "1.2.840.10045.2.1"
_EC_CURVES = {"1.2.840.10045.3.1.7": "ec-p256", "1.3.132.0.34": "ec-p384"}
_GOST_KEYS = {  # PKI.md section 2
    "1.2.398.3.10.1.1.2.2": "gost-2015-512",
    "1.2.398.3.10.1.1.2.1": "gost-2015-256",
    "1.2.398.3.10.1.1.1.1": "gost-2004",
}
UNSUPPORTED_KEY: Final = "unsupported"

_IIN_IN_TEXT = re.compile(r"IIN[0-9]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Certificate:
    """A parsed certificate. Make one with `Certificate.from_der` or `read_certificates`.

    Equal when the bytes are equal. `repr()` shows no personal data; `subject` may hold an IIN and is for answers
    and the journal, `label` is for error texts and logs.
    """

    der: bytes
    #: hexadecimal SHA-256 of `der`, lower case
    sha256: str
    serial: int
    #: RFC 4514, last RDN first
    subject: str
    issuer: str
    subject_key: NameKey
    issuer_key: NameKey
    #: (OID, text) of every textual attribute of the subject, in encoded order
    subject_attributes: tuple[tuple[str, str], ...]
    subject_der: bytes
    issuer_der: bytes
    not_before: dt.datetime
    not_after: dt.datetime
    #: "rsa", "ec-p256", "ec-p384", "gost-2015-512", "gost-2015-256", "gost-2004" or "unsupported"
    key_family: str
    spki_der: bytes
    #: the bytes that the issuer signed, as they came
    tbs: bytes
    #: outer signatureAlgorithm
    signature_oid: str
    #: `signature` inside tbsCertificate; a certificate where the two differ is refused by trust (RFC 5280, 4.1.1.2)
    tbs_signature_oid: str
    signature: bytes
    version: int
    extensions: Mapping[str, ExtensionValue]
    is_ca: bool
    path_len: int | None
    #: RFC 5280 names, None when the extension is absent
    key_usage: frozenset[str] | None
    extended_key_usage: tuple[str, ...]
    #: names of the national roles among `extended_key_usage` (PKI.md section 3)
    roles: tuple[str, ...]
    policies: tuple[str, ...]
    ski: bytes | None
    aki: bytes | None
    #: twelve digits, not checked; None when there is none or more than one
    iin: str | None
    bin: str | None

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Parse, or take from the cache. Raises MalformedMessage (`bad_certificate`)."""
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise MalformedMessage(
                f"a certificate has {len(der)} bytes, at most {MAX_CERTIFICATE_BYTES} are read", code="bad_certificate"
            )
        return _parse(der)

    @property
    def public_key(self) -> PublicKey:
        """RSA or EC key for `cryptography`, or a national key, whose bytes were not yet checked to be a point.

        Raises KeyMaterialError: `key_not_supported` for every other family, `bad_public_key` for a damaged one.
        """
        return _load_public_key(self.spki_der, self.key_family)

    @property
    def label(self) -> str:
        """What an error text or a log line may show: the subject, or for a person's certificate (one with a serial
        number in the subject) or a nameless one only its number and issuer."""
        is_person = any(oid == SERIAL_NUMBER for oid, _ in self.subject_attributes)
        if is_person or not self.subject or _IIN_IN_TEXT.search(self.subject):
            return f"number {self.serial} of {_IIN_IN_TEXT.sub('IIN************', self.issuer)}"
        return self.subject

    @property
    def common_name(self) -> str:
        return next((text for oid, text in self.subject_attributes if oid == COMMON_NAME), "")

    @property
    def is_self_issued(self) -> bool:
        """Subject and issuer are the same name (RFC 5280, 3.2); says nothing about the signature."""
        return self.subject_key == self.issuer_key

    @property
    def unknown_critical_extensions(self) -> tuple[str, ...]:
        return tuple(o for o, e in self.extensions.items() if e.critical and o not in UNDERSTOOD_EXTENSIONS)

    def is_within_validity(self, at: dt.datetime) -> bool:
        """Both ends belong to the period (RFC 5280, 4.1.2.5)."""
        return self.not_before <= at <= self.not_after

    def __eq__(self, other: object) -> bool:
        return self.der == other.der if isinstance(other, Certificate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Certificate(sha256={self.sha256[:16]}…)"


def _numbers(attributes: tuple[tuple[str, str], ...], oid: str, prefix: str) -> str | None:
    found = {
        text[len(prefix) :]
        for attribute, text in attributes
        if attribute == oid and re.fullmatch(prefix + "[0-9]{12}", text)
    }
    return found.pop() if len(found) == 1 else None


def _key_family(algorithm: Any) -> str:
    oid = algorithm["algorithm"].dotted
    if oid == _RSA_KEY:
        return "rsa"
    if oid == _EC_KEY:
        parameters = algorithm["parameters"].dump()
        try:
            return _EC_CURVES.get(core.ObjectIdentifier.load(parameters, strict=True).dotted, UNSUPPORTED_KEY)
        except ASN1_ERRORS:  # explicit curve parameters: nobody needs them and they have been used to forge
            return UNSUPPORTED_KEY
    return _GOST_KEYS.get(oid, UNSUPPORTED_KEY)


@lru_cache(maxsize=CERTIFICATE_CACHE_ENTRIES)
def _parse(der: bytes) -> Certificate:
    try:
        return _read(der)
    except ASN1_ERRORS:
        # the parser's own text may quote the bytes
        raise MalformedMessage("a certificate cannot be read: it is not X.509 in DER", code="bad_certificate") from None


def _read(der: bytes) -> Certificate:
    outer = CertificateStructure.load(der, strict=True)
    tbs = outer["tbs_certificate"]
    extensions = read_extensions(tbs["extensions"]) if tbs["extensions"].native is not None else {}

    def opened(oid: str) -> bytes | None:
        extension = extensions.get(oid)
        return extension.value if extension else None

    is_ca, path_len = False, None
    if (value := opened(BASIC_CONSTRAINTS)) is not None:
        constraints = BasicConstraints.load(value, strict=True)
        is_ca, path_len = constraints["ca"].native, constraints["path_len"].native
    key_usage = None if (value := opened(KEY_USAGE)) is None else read_key_usage(value)
    extended: tuple[str, ...] = ()
    if (value := opened(EXTENDED_KEY_USAGE)) is not None:
        extended = tuple(oid.dotted for oid in ObjectIdentifiers.load(value, strict=True))
    policies: tuple[str, ...] = ()
    if (value := opened(CERTIFICATE_POLICIES)) is not None:
        policies = tuple(policy["policy"].dotted for policy in Policies.load(value, strict=True))
    value = opened(SUBJECT_KEY_IDENTIFIER)
    ski = None if value is None else core.OctetString.load(value, strict=True).native
    # the exact bytes; tbsCertificate begins with [0] version, which is left out when it is 1
    raw_tbs = first(der)
    parts = elements(raw_tbs)
    parts = parts if parts[0][:1] == b"\xa0" else (b"", *parts)
    value = opened(AUTHORITY_KEY_IDENTIFIER)
    aki = None if value is None else read_authority_key_identifier(value)

    attributes = tuple(
        (oid, text)
        for rdn in name_attributes(tbs["subject"])
        for oid, encoded in rdn
        if (text := text_of(encoded)) is not None
    )
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        serial=tbs["serial_number"].native,
        subject=name_text(tbs["subject"]),
        issuer=name_text(tbs["issuer"]),
        subject_key=key_of_name(tbs["subject"]),
        issuer_key=key_of_name(tbs["issuer"]),
        subject_attributes=attributes,
        subject_der=parts[5],
        issuer_der=parts[3],
        not_before=read_time(tbs["validity"]["not_before"]),
        not_after=read_time(tbs["validity"]["not_after"]),
        key_family=_key_family(tbs["subject_public_key_info"]["algorithm"]),
        spki_der=parts[6],
        tbs=raw_tbs,
        signature_oid=outer["signature_algorithm"]["algorithm"].dotted,
        tbs_signature_oid=tbs["signature"]["algorithm"].dotted,
        signature=outer["signature_value"].native,
        version=tbs["version"].native + 1,
        extensions=MappingProxyType(extensions),
        is_ca=is_ca,
        path_len=path_len,
        key_usage=key_usage,
        extended_key_usage=extended,
        roles=roles_among(extended),
        policies=policies,
        ski=ski,
        aki=aki,
        iin=_numbers(attributes, SERIAL_NUMBER, "IIN"),
        bin=_numbers(attributes, ORGANIZATIONAL_UNIT, "BIN"),
    )


@lru_cache(maxsize=CERTIFICATE_CACHE_ENTRIES)
def _load_public_key(spki_der: bytes, family: str) -> PublicKey:
    if family == UNSUPPORTED_KEY:
        raise KeyMaterialError(
            "signatures of this kind of key cannot be checked: those of RSA, EC P-256/P-384 and GOST keys can",
            code="key_not_supported",
        )
    if family.startswith("gost-"):
        return read_public_key(spki_der)
    try:
        return cast("PublicKey", load_der_public_key(spki_der))  # the family is the key's own algorithm OID
    except (ValueError, UnsupportedAlgorithm):
        raise KeyMaterialError(
            "the public key of a certificate cannot be read: it is damaged", code="bad_public_key"
        ) from None


def read_certificates(data: bytes) -> tuple[Certificate, ...]:
    """Every certificate of a PEM bundle, or the one of a DER file; () when a PEM file holds none.

    Raises MalformedMessage (`bad_certificate`, `bad_pem`).
    """
    if is_pem(data):
        blocks = pem_blocks(data, "CERTIFICATE", "X509 CERTIFICATE")
        return tuple(Certificate.from_der(block) for block in blocks)
    return (Certificate.from_der(data),)
