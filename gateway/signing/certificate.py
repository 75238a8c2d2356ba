"""What one X.509 certificate says, and how certificates are named by others (RFC 5280, RFC 4514).

`cryptography` cannot give the public key of a national GOST certificate and refuses some of their extensions
(PKI.md section 6), so the structure is read with asn1crypto. The ASN.1 types below are our own because asn1crypto's
carry closed tables of OIDs and raise KeyError on the national ones; only extensions that we use are opened.

Nothing here decides whether a certificate is trusted: that is gateway.trust.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from asn1crypto import core, parser, x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.errors import KeyMaterialError, MalformedMessage
from gateway.signing.der import elements, first
from gateway.signing.gost.asn1 import PublicKey as NationalPublicKey
from gateway.signing.gost.asn1 import read_public_key

#: a national certificate has about 2 KB; whatever is larger than this is not one
MAX_CERTIFICATE_BYTES: Final = 16_384
#: parsed certificates kept; the least recently used is dropped. With the bound above this is at most some 30 MB,
#: however large the certificates that strangers send
CERTIFICATE_CACHE_ENTRIES: Final = 512
#: characters of an X509IssuerName that are read
MAX_ISSUER_NAME_CHARACTERS: Final = 4_096

ASN1_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    RecursionError,
)
"""What asn1crypto raises on bytes that are not what they should be."""

NameKey: TypeAlias = tuple[tuple[tuple[str, str], ...], ...]
"""A distinguished name without order: sorted RDNs of sorted (OID, normalised value). Equal keys, equal names.

National CAs of different years write the same RDNs in different order (PKI.md section 3), so names are compared
as sets; nothing is trusted for its name alone.
"""

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | NationalPublicKey

# ---------------------------------------------------------------- tables

_ATTRIBUTE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # the keywords that X500Principal of Java also reads, so that what we write is understood there
        "2.5.4.3": "CN",
        "2.5.4.4": "SURNAME",
        "2.5.4.5": "SERIALNUMBER",
        "2.5.4.6": "C",
        "2.5.4.7": "L",
        "2.5.4.8": "ST",
        "2.5.4.9": "STREET",
        "2.5.4.10": "O",
        "2.5.4.11": "OU",
        "2.5.4.12": "T",
        "2.5.4.42": "GIVENNAME",
        "2.5.4.43": "INITIALS",
        "2.5.4.44": "GENERATION",
        "2.5.4.46": "DNQ",
        "0.9.2342.19200300.100.1.1": "UID",
        "0.9.2342.19200300.100.1.25": "DC",
        "1.2.840.113549.1.9.1": "EMAILADDRESS",
    }
)

_ATTRIBUTE_OIDS: Final[Mapping[str, str]] = MappingProxyType(
    {name: oid for oid, name in _ATTRIBUTE_NAMES.items()}
    | {
        # how OpenSSL, BouncyCastle, .NET and RFC 4519 spell the same types
        "COMMONNAME": "2.5.4.3",
        "COUNTRY": "2.5.4.6",
        "COUNTRYNAME": "2.5.4.6",
        "LOCALITY": "2.5.4.7",
        "LOCALITYNAME": "2.5.4.7",
        "S": "2.5.4.8",
        "SP": "2.5.4.8",
        "STATEORPROVINCENAME": "2.5.4.8",
        "STREETADDRESS": "2.5.4.9",
        "ORGANIZATION": "2.5.4.10",
        "ORGANIZATIONNAME": "2.5.4.10",
        "ORGANIZATIONALUNIT": "2.5.4.11",
        "ORGANIZATIONALUNITNAME": "2.5.4.11",
        "TITLE": "2.5.4.12",
        "BUSINESSCATEGORY": "2.5.4.15",
        "POSTALCODE": "2.5.4.17",
        "NAME": "2.5.4.41",
        "G": "2.5.4.42",
        "GN": "2.5.4.42",
        "GENERATIONQUALIFIER": "2.5.4.44",
        "DNQUALIFIER": "2.5.4.46",
        "PSEUDONYM": "2.5.4.65",
        "ORGANIZATIONIDENTIFIER": "2.5.4.97",
        "USERID": "0.9.2342.19200300.100.1.1",
        "DOMAINCOMPONENT": "0.9.2342.19200300.100.1.25",
        "E": "1.2.840.113549.1.9.1",
        "EMAIL": "1.2.840.113549.1.9.1",
    }
)

_SURNAME = "2.5.4.4"
_SERIAL_NUMBER = "2.5.4.5"
_COMMON_NAME = "2.5.4.3"
_ORGANIZATIONAL_UNIT = "2.5.4.11"

ROLE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # PKI.md section 3; registered at root.gov.kz/oid
        "1.2.398.3.3.4.1.1": "person",
        "1.2.398.3.3.4.1.2": "legal_entity",
        "1.2.398.3.3.4.1.2.1": "head",
        "1.2.398.3.3.4.1.2.2": "right_to_sign",
        "1.2.398.3.3.4.1.2.3": "right_to_sign_financial",
        "1.2.398.3.3.4.1.2.4": "right_to_sign_hr",
        "1.2.398.3.3.4.1.2.5": "employee",
        "1.2.398.3.3.4.1.2.6": "information_system",
        "1.2.398.3.3.4.2.1": "nca_administrator",
        "1.2.398.3.3.4.2.2": "nca_manager",
        "1.2.398.3.3.4.2.3": "nca_operator",
        "1.2.398.3.3.4.3.1": "identified_at_service_centre",
        "1.2.398.3.3.4.3.2": "identified_remotely",
        "1.2.398.3.3.4.3.2.1": "identified_by_digital_id",
        "1.2.398.3.3.4.3.2.2": "identified_by_ai_platform",
        "1.2.398.5.19.1.2.2.1": "treasury_client",
    }
)
_INFORMATION_SYSTEM_CHILDREN = "1.2.398.3.3.4.1.2.6."

_KEY_USAGE_BITS = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)

BASIC_CONSTRAINTS: Final = "2.5.29.19"
KEY_USAGE: Final = "2.5.29.15"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
NAME_CONSTRAINTS: Final = "2.5.29.30"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
AUTHORITY_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"

UNDERSTOOD_EXTENSIONS: Final = frozenset(
    {
        BASIC_CONSTRAINTS,
        KEY_USAGE,
        EXTENDED_KEY_USAGE,
        CERTIFICATE_POLICIES,
        SUBJECT_KEY_IDENTIFIER,
        AUTHORITY_KEY_IDENTIFIER,
        SUBJECT_ALTERNATIVE_NAME,
        NAME_CONSTRAINTS,
        CRL_DISTRIBUTION_POINTS,
        AUTHORITY_INFORMATION_ACCESS,
    }
)
"""What this program processes. Any other extension marked critical makes the certificate unusable (RFC 5280, 4.2):
policy mappings, policy constraints and inhibitAnyPolicy are among them, since no policy tree is kept."""

_RSA_KEY = "1.2.840.113549.1.1.1"
_EC_KEY = "1.2.840.10045.2.1"
_EC_CURVES = {"1.2.840.10045.3.1.7": "ec-p256", "1.3.132.0.34": "ec-p384"}
_GOST_KEYS = {  # PKI.md section 2
    "1.2.398.3.10.1.1.2.2": "gost-2015-512",
    "1.2.398.3.10.1.1.2.1": "gost-2015-256",
    "1.2.398.3.10.1.1.1.1": "gost-2004",
}
UNSUPPORTED_KEY: Final = "unsupported"

# ---------------------------------------------------------------- ASN.1 (RFC 5280, appendix A), OIDs left open


class AlgorithmIdentifier(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", core.ObjectIdentifier), ("parameters", core.Any, {"optional": True})]  # noqa: RUF012


class _AttributeTypeAndValue(core.Sequence):  # type: ignore[misc]
    _fields = [("type", core.ObjectIdentifier), ("value", core.Any)]  # noqa: RUF012


class _RelativeDistinguishedName(core.SetOf):  # type: ignore[misc]
    _child_spec = _AttributeTypeAndValue


class Name(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _RelativeDistinguishedName


class Extension(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("extn_id", core.ObjectIdentifier),
        ("critical", core.Boolean, {"default": False}),
        ("extn_value", core.OctetString),
    ]


class Extensions(core.SequenceOf):  # type: ignore[misc]
    _child_spec = Extension


class _Validity(core.Sequence):  # type: ignore[misc]
    _fields = [("not_before", x509.Time), ("not_after", x509.Time)]  # noqa: RUF012


class _SubjectPublicKeyInfo(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", AlgorithmIdentifier), ("public_key", core.BitString)]  # noqa: RUF012


class _TbsCertificate(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer, {"explicit": 0, "default": 0}),
        ("serial_number", core.Integer),
        ("signature", AlgorithmIdentifier),
        ("issuer", Name),
        ("validity", _Validity),
        ("subject", Name),
        ("subject_public_key_info", _SubjectPublicKeyInfo),
        ("issuer_unique_id", core.OctetBitString, {"implicit": 1, "optional": True}),
        ("subject_unique_id", core.OctetBitString, {"implicit": 2, "optional": True}),
        ("extensions", Extensions, {"explicit": 3, "optional": True}),
    ]


class _Certificate(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("tbs_certificate", _TbsCertificate),
        ("signature_algorithm", AlgorithmIdentifier),
        ("signature_value", core.OctetBitString),
    ]


class _ObjectIdentifiers(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.ObjectIdentifier


class _PolicyInformation(core.Sequence):  # type: ignore[misc]
    _fields = [("policy", core.ObjectIdentifier), ("qualifiers", core.Any, {"optional": True})]  # noqa: RUF012


class _Policies(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _PolicyInformation


class _BasicConstraints(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("ca", core.Boolean, {"default": False}),
        ("path_len", core.Integer, {"optional": True}),
    ]


class _AuthorityKeyIdentifier(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("key_identifier", core.OctetString, {"implicit": 0, "optional": True}),
        ("issuer", core.Any, {"implicit": 1, "optional": True}),
        ("serial_number", core.Integer, {"implicit": 2, "optional": True}),
    ]


# ---------------------------------------------------------------- names

_TEXT_ENCODINGS = {
    12: "utf-8",  # UTF8String
    18: "ascii",  # NumericString
    19: "ascii",  # PrintableString
    20: "latin-1",  # TeletexString, as everyone writes it
    22: "latin-1",  # IA5String
    26: "ascii",  # VisibleString
    28: "utf-32-be",  # UniversalString
    30: "utf-16-be",  # BMPString
}
_UNIVERSAL_CLASS = 0
_WHITE_SPACE = re.compile(r"\s+")


def _text_of(value_der: bytes) -> str | None:
    """The text of an encoded directory string, or None when it is something else."""
    tag_class, _, tag, _, content, _ = parser.parse(value_der, strict=True)
    encoding = _TEXT_ENCODINGS.get(tag) if tag_class == _UNIVERSAL_CLASS else None
    return content.decode(encoding) if encoding else None


def _normalised(value_der: bytes) -> str:
    text = _text_of(value_der)
    return "#" + value_der.hex() if text is None else _normalised_text(text)


def _normalised_text(text: str) -> str:
    # RFC 5280 section 7.1: compatibility form, case folded, inner white space as one space. The mark in front
    # keeps a text that begins with '#' apart from the hexadecimal form of a value that is not a text.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "=" + _WHITE_SPACE.sub(" ", folded).strip()


def name_attributes(name: Any) -> tuple[tuple[tuple[str, bytes], ...], ...]:
    """RDNs of a `Name` in encoded order, each the (OID, encoded value) pairs inside it."""
    return tuple(tuple((pair["type"].dotted, pair["value"].dump()) for pair in rdn) for rdn in name)


def key_of_name(name: Any) -> NameKey:
    """The order-insensitive key of a `Name`. Raises what asn1crypto raises; callers translate."""
    return tuple(sorted(tuple(sorted((oid, _normalised(v)) for oid, v in rdn)) for rdn in name_attributes(name)))


_ESCAPED = frozenset(',+"\\<>;=')


def _escaped(text: str) -> str:
    """A value as RFC 4514 section 2.4 writes it; control characters as hexadecimal pairs, so that a name
    cannot break a line of a log."""
    out = []
    for position, character in enumerate(text):
        at_edge = position in (0, len(text) - 1)
        if character in _ESCAPED or (character == " " and at_edge) or (character == "#" and position == 0):
            out.append("\\" + character)
        elif not character.isprintable():
            out.append("".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass")))
        else:
            out.append(character)
    return "".join(out)


def name_text(name: Any) -> str:
    """A `Name` as RFC 4514 writes it (last RDN first), with the keywords of X500Principal."""
    rdns = []
    for rdn in reversed(name_attributes(name)):
        pairs = []
        for oid, value in rdn:
            text = _text_of(value)
            shown = "#" + value.hex() if text is None else _escaped(text)
            pairs.append(f"{_ATTRIBUTE_NAMES.get(oid, oid)}={shown}")
        rdns.append("+".join(pairs))
    return ",".join(rdns)


_ISSUER_NAME_CODE = "issuer_name"
_DOTTED = re.compile(r"(?:oid\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_HEX_PAIR = re.compile(r"[0-9A-Fa-f]{2}")
_NATIONAL_NUMBER = re.compile(r"\s*(?:IIN|BIN)[0-9]{12}\s*", re.IGNORECASE)


def _bad_issuer_name(why: str) -> MalformedMessage:
    return MalformedMessage(
        f"an X509IssuerName cannot be read: {why}; RFC 4514 says how it is written", code=_ISSUER_NAME_CODE
    )


@lru_cache(maxsize=256)
def parse_issuer_name(text: str) -> NameKey:
    """Key of a name written in a message (ds:X509IssuerName), to look a certificate up by issuer and serial.

    Reads RFC 4514, RFC 2253 and RFC 1779 as Java, .NET, BouncyCastle and OpenSSL write them: keyword or dotted
    OID (also `OID.2.5.4.5`), escapes, hexadecimal pairs, quotes, `#hex` values, `,` or `;` between RDNs, `+`
    inside one, any order, white space around. `SN` is the surname (RFC 4519) unless it holds an IIN or BIN,
    which BouncyCastle writes under that keyword. Raises MalformedMessage (`issuer_name`), never repeating the text.
    """
    if len(text) > MAX_ISSUER_NAME_CHARACTERS:
        raise _bad_issuer_name(f"it has more than {MAX_ISSUER_NAME_CHARACTERS} characters")
    rdns: list[tuple[tuple[str, str], ...]] = []
    pairs: list[tuple[str, str]] = []
    rest = text.strip()
    if not rest:
        raise _bad_issuer_name("it is empty")
    while True:
        keyword, equals, rest = rest.partition("=")
        if not equals:
            raise _bad_issuer_name("an attribute has no '='")
        value, separator, rest = _split_value(rest.lstrip())
        pairs.append(_attribute(keyword.strip(), value))
        if separator != "+":
            rdns.append(tuple(sorted(pairs)))
            pairs = []
        if not separator:
            return tuple(sorted(rdns))


def _split_value(text: str) -> tuple[str | bytes, str, str]:
    """One value (bytes for the `#hex` form), the separator after it ("" at the end), and what follows."""
    out = bytearray()
    kept = 0  # length of `out` up to the last character that is not bare white space
    quoted = closed = False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            pair = text[position : position + 2]
            if _HEX_PAIR.fullmatch(pair):
                out.append(int(pair, 16))
                position += 2
            elif pair:
                out += pair[0].encode()
                position += 1
            else:
                raise _bad_issuer_name("it ends in an escape")
            kept = len(out)
        elif quoted:
            if character == '"':
                quoted, closed = False, True
            else:
                out += character.encode("utf-8", "replace")
            kept = len(out)
        elif character in ",;+":
            return _value(text[: position - 1], bytes(out[:kept])), character, text[position:]
        elif closed and not character.isspace():
            raise _bad_issuer_name("something follows a closing quotation mark")
        elif character == '"' and not out:
            quoted = True
        else:
            out += character.encode("utf-8", "replace")
            if not character.isspace():
                kept = len(out)
    if quoted:
        raise _bad_issuer_name("a quotation mark is not closed")
    return _value(text, bytes(out[:kept])), "", ""


def _value(written: str, read: bytes) -> str | bytes:
    if written.startswith("#"):
        try:
            return binascii.unhexlify(written[1:].strip())
        except ValueError:
            raise _bad_issuer_name("a '#' value is not hexadecimal") from None
    try:
        return read.decode()
    except UnicodeDecodeError:
        raise _bad_issuer_name("its hexadecimal pairs are not UTF-8") from None


def _attribute(keyword: str, value: str | bytes) -> tuple[str, str]:
    dotted = _DOTTED.fullmatch(keyword)
    if dotted:
        oid = dotted.group(1)
    elif keyword.upper() == "SN":
        is_number = isinstance(value, str) and _NATIONAL_NUMBER.fullmatch(value) is not None
        oid = _SERIAL_NUMBER if is_number else _SURNAME
    else:
        found = _ATTRIBUTE_OIDS.get(keyword.upper())
        if found is None:
            known = "is not known" if _KEYWORD.fullmatch(keyword) else "is not a keyword or a dotted OID"
            raise _bad_issuer_name(f"an attribute type {known}")
        oid = found
    if isinstance(value, str):
        return oid, _normalised_text(value)
    try:
        return oid, _normalised(value)
    except ASN1_ERRORS:
        raise _bad_issuer_name("a '#' value is not an encoded string") from None


# ---------------------------------------------------------------- the certificate


@dataclass(frozen=True, slots=True)
class ExtensionValue:
    """One extension as it stands: `value` is what is inside the OCTET STRING, not opened."""

    critical: bool
    value: bytes


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
        is_person = any(oid == _SERIAL_NUMBER for oid, _ in self.subject_attributes)
        if is_person or not self.subject or _IIN_IN_TEXT.search(self.subject):
            return f"number {self.serial} of {_IIN_IN_TEXT.sub('IIN************', self.issuer)}"
        return self.subject

    @property
    def common_name(self) -> str:
        return next((text for oid, text in self.subject_attributes if oid == _COMMON_NAME), "")

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


def _roles(extended_key_usage: tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for oid in extended_key_usage:
        role = ROLE_NAMES.get(oid)
        if role is None and oid.startswith(_INFORMATION_SYSTEM_CHILDREN):
            role = "information_system"
        if role is not None and role not in found:
            found.append(role)
    return tuple(found)


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


def read_time(value: Any) -> dt.datetime:
    """UTCTime or GeneralizedTime as an aware UTC time. Raises what asn1crypto raises, ValueError for year 0."""
    moment = value.native
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise ValueError("not a date of this calendar")
    return moment.astimezone(dt.UTC)


def read_extensions(extensions: Any) -> dict[str, ExtensionValue]:
    """By OID. Raises ValueError when one occurs twice (RFC 5280, 4.2)."""
    found: dict[str, ExtensionValue] = {}
    for extension in extensions:
        oid = extension["extn_id"].dotted
        if oid in found:
            raise ValueError("an extension occurs twice")
        found[oid] = ExtensionValue(extension["critical"].native, extension["extn_value"].native)
    return found


def read_key_usage(value: bytes) -> frozenset[str]:
    bits = core.BitString.load(value, strict=True).native
    return frozenset(name for name, bit in zip(_KEY_USAGE_BITS, bits, strict=False) if bit)


def read_authority_key_identifier(value: bytes) -> bytes | None:
    """keyIdentifier, None when only issuer and serial are given."""
    identifier = _AuthorityKeyIdentifier.load(value, strict=True)["key_identifier"].native
    return identifier if isinstance(identifier, bytes) else None


@lru_cache(maxsize=CERTIFICATE_CACHE_ENTRIES)
def _parse(der: bytes) -> Certificate:
    try:
        return _read(der)
    except ASN1_ERRORS:
        # the parser's own text may quote the bytes
        raise MalformedMessage("a certificate cannot be read: it is not X.509 in DER", code="bad_certificate") from None


def _read(der: bytes) -> Certificate:
    outer = _Certificate.load(der, strict=True)
    tbs = outer["tbs_certificate"]
    extensions = read_extensions(tbs["extensions"]) if tbs["extensions"].native is not None else {}

    def opened(oid: str) -> bytes | None:
        extension = extensions.get(oid)
        return extension.value if extension else None

    is_ca, path_len = False, None
    if (value := opened(BASIC_CONSTRAINTS)) is not None:
        constraints = _BasicConstraints.load(value, strict=True)
        is_ca, path_len = constraints["ca"].native, constraints["path_len"].native
    key_usage = None if (value := opened(KEY_USAGE)) is None else read_key_usage(value)
    extended: tuple[str, ...] = ()
    if (value := opened(EXTENDED_KEY_USAGE)) is not None:
        extended = tuple(oid.dotted for oid in _ObjectIdentifiers.load(value, strict=True))
    policies: tuple[str, ...] = ()
    if (value := opened(CERTIFICATE_POLICIES)) is not None:
        policies = tuple(policy["policy"].dotted for policy in _Policies.load(value, strict=True))
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
        if (text := _text_of(encoded)) is not None
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
        roles=_roles(extended),
        policies=policies,
        ski=ski,
        aki=aki,
        iin=_numbers(attributes, _SERIAL_NUMBER, "IIN"),
        bin=_numbers(attributes, _ORGANIZATIONAL_UNIT, "BIN"),
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


_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def is_pem(data: bytes) -> bool:
    """Whether a file holds PEM blocks; a DER structure whose texts look like one does not count."""
    return b"-----BEGIN " in data and not (data[:1] == b"\x30" and data[1:2] >= b"\x80")


def pem_blocks(data: bytes, *labels: str) -> tuple[bytes, ...]:
    """DER of every PEM block with one of the labels; other blocks are passed over.

    Raises MalformedMessage (`bad_pem`) when a block is not base64.
    """
    found = []
    for match in _PEM_BLOCK.finditer(data):
        if match.group(1).decode("ascii") in labels:
            try:
                found.append(base64.b64decode(b"".join(match.group(2).split()), validate=True))
            except binascii.Error:
                raise MalformedMessage("a PEM block is not base64: the file is damaged", code="bad_pem") from None
    return tuple(found)


def read_certificates(data: bytes) -> tuple[Certificate, ...]:
    """Every certificate of a PEM bundle, or the one of a DER file; () when a PEM file holds none.

    Raises MalformedMessage (`bad_certificate`, `bad_pem`).
    """
    if is_pem(data):
        blocks = pem_blocks(data, "CERTIFICATE", "X509 CERTIFICATE")
        return tuple(Certificate.from_der(block) for block in blocks)
    return (Certificate.from_der(data),)
