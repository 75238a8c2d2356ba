"""The ASN.1 of certificates, and of what names them (RFC 5280, appendix A), with OIDs left open.

The types are our own because asn1crypto's carry closed tables of OIDs and raise KeyError on the national ones.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from asn1crypto import core, x509

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


class Validity(core.Sequence):  # type: ignore[misc]
    _fields = [("not_before", x509.Time), ("not_after", x509.Time)]  # noqa: RUF012


class SubjectPublicKeyInfo(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", AlgorithmIdentifier), ("public_key", core.BitString)]  # noqa: RUF012


class TbsCertificate(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer, {"explicit": 0, "default": 0}),
        ("serial_number", core.Integer),
        ("signature", AlgorithmIdentifier),
        ("issuer", Name),
        ("validity", Validity),
        ("subject", Name),
        ("subject_public_key_info", SubjectPublicKeyInfo),
        ("issuer_unique_id", core.OctetBitString, {"implicit": 1, "optional": True}),
        ("subject_unique_id", core.OctetBitString, {"implicit": 2, "optional": True}),
        ("extensions", Extensions, {"explicit": 3, "optional": True}),
    ]


class CertificateStructure(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("tbs_certificate", TbsCertificate),
        ("signature_algorithm", AlgorithmIdentifier),
        ("signature_value", core.OctetBitString),
    ]


class ObjectIdentifiers(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.ObjectIdentifier


class _PolicyInformation(core.Sequence):  # type: ignore[misc]
    _fields = [("policy", core.ObjectIdentifier), ("qualifiers", core.Any, {"optional": True})]  # noqa: RUF012


class Policies(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _PolicyInformation


class BasicConstraints(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("ca", core.Boolean, {"default": False}),
        ("path_len", core.Integer, {"optional": True}),
    ]


class AuthorityKeyIdentifier(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("key_identifier", core.OctetString, {"implicit": 0, "optional": True}),
        ("issuer", core.Any, {"implicit": 1, "optional": True}),
        ("serial_number", core.Integer, {"implicit": 2, "optional": True}),
    ]


def read_time(value: Any) -> dt.datetime:
    """UTCTime or GeneralizedTime as an aware UTC time. Raises what asn1crypto raises, ValueError for year 0."""
    moment = value.native
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise ValueError("not a date of this calendar")
    return moment.astimezone(dt.UTC)
