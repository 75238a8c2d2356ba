"""Certificates and CRLs in the national profile, for both key families.

Put together by hand: `cryptography` knows no GOST key, and asn1crypto encodes anew what it has read when the length of
it is a multiple of 256 plus 128.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from asn1crypto import core, pem, x509

from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import Extensions, Name
from gateway.signing.extensions import (
    AUTHORITY_INFORMATION_ACCESS,
    AUTHORITY_KEY_IDENTIFIER,
    BASIC_CONSTRAINTS,
    CERTIFICATE_POLICIES,
    CRL_DISTRIBUTION_POINTS,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SUBJECT_KEY_IDENTIFIER,
)
from gateway.trust.throwaway import der
from gateway.trust.throwaway.keys import MintedKey
from gateway.trust.throwaway.profile import COUNTRY, SERIAL_NUMBER, Addresses, Subject

_FRESHEST_CRL: Final = "2.5.29.46"
_SUBJECT_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.11"
_OCSP_NO_CHECK: Final = "1.3.6.1.5.5.7.48.1.5"
_TIME_STAMPING_ACCESS: Final = "1.3.6.1.5.5.7.48.3"
#: where the key is kept; 1.2.398.3.3.5.1.1 = in a file (PKI.md section 3)
_KEY_STORE_TYPE: Final = "1.2.398.3.3.5"
_KEY_STORE_FILE: Final = "1.2.398.3.3.5.1.1"
_CRL_NUMBER: Final = "2.5.29.20"
_REASON_CODE: Final = "2.5.29.21"
_DELTA_CRL_INDICATOR: Final = "2.5.29.27"

_KEY_USAGE_BITS: Final = {
    "digitalSignature": 0,
    "nonRepudiation": 1,
    "keyEncipherment": 2,
    "keyAgreement": 4,
    "keyCertSign": 5,
    "cRLSign": 6,
}
#: version numbers count from zero
_VERSION_2, _VERSION_3 = 1, 2
_PRINTABLE: Final = frozenset({COUNTRY, SERIAL_NUMBER})
_FIRST_GENERALIZED_YEAR: Final = 2050  # RFC 5280, 4.1.2.5

Extension: TypeAlias = tuple[str, bool, bytes]
"""(OID, critical, encoded value)."""


# ---------------------------------------------------------------- encoding


class _ObjectIdentifiers(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.ObjectIdentifier


def _signed(key: MintedKey, *parts: bytes) -> bytes:
    """What certificates and CRLs are outside: content, algorithm, signature."""
    content = der.sequence(*parts)
    return der.sequence(content, key.signature_algorithm.dump(), der.bits(key.sign(content)))


def encode_name(subject: Subject) -> bytes:
    """A distinguished name in the order given; country and serial number printable, the rest UTF-8, as nationally."""
    rdns = [
        [{"type": oid, "value": core.PrintableString(text) if oid in _PRINTABLE else core.UTF8String(text)}]
        for oid, text in subject
    ]
    return bytes(Name(rdns).dump())


def encode_time(moment: dt.datetime) -> bytes:
    """Time of RFC 5280: UTCTime before 2050."""
    moment = moment.astimezone(dt.UTC)
    if moment.year < _FIRST_GENERALIZED_YEAR:
        return bytes(core.UTCTime(moment.replace(microsecond=0)).dump())
    return der.generalized_time(moment)


def encode_extensions(extensions: Sequence[Extension]) -> bytes:
    return bytes(
        Extensions(
            [{"extn_id": oid, "critical": critical, "extn_value": value} for oid, critical, value in extensions]
        ).dump()
    )


# ---------------------------------------------------------------- extensions


def basic_constraints(path_length: int | None) -> Extension:
    """Of an authority."""
    return (
        BASIC_CONSTRAINTS,
        True,
        x509.BasicConstraints({"ca": True, "path_len_constraint": path_length}).dump(),
    )


def key_usage(names: Sequence[str]) -> Extension:
    bits = sorted(_KEY_USAGE_BITS[name] for name in names)
    # DER: named bits end with the last one that is set (X.690, 11.2.2)
    value = core.BitString(tuple(int(place in bits) for place in range(bits[-1] + 1)))
    return (KEY_USAGE, True, value.dump())


def extended_key_usage(oids: Sequence[str], *, critical: bool = False) -> Extension:
    return (EXTENDED_KEY_USAGE, critical, _ObjectIdentifiers(list(oids)).dump())


def policies(oid: str, cps: str) -> Extension:
    value = x509.CertificatePolicies(
        [
            {
                "policy_identifier": oid,
                "policy_qualifiers": [
                    {"policy_qualifier_id": "certification_practice_statement", "qualifier": core.IA5String(cps)}
                ],
            }
        ]
    )
    return (CERTIFICATE_POLICIES, False, value.dump())


def subject_key_identifier(key: MintedKey) -> Extension:
    return (SUBJECT_KEY_IDENTIFIER, False, core.OctetString(key.key_identifier).dump())


def authority_key_identifier(key: MintedKey) -> Extension:
    value = x509.AuthorityKeyIdentifier({"key_identifier": key.key_identifier})
    return (AUTHORITY_KEY_IDENTIFIER, False, value.dump())


def _points(address: str) -> bytes:
    name = x509.GeneralName("uniform_resource_identifier", address)
    point = {"distribution_point": x509.DistributionPointName("full_name", [name])}
    return bytes(x509.CRLDistributionPoints([point]).dump())


def _access(*places: tuple[str, str]) -> bytes:
    return bytes(
        x509.AuthorityInfoAccessSyntax(
            [
                {
                    "access_method": method,
                    "access_location": x509.GeneralName("uniform_resource_identifier", address),
                }
                for method, address in places
            ]
        ).dump()
    )


# ---------------------------------------------------------------- certificates


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """A certification authority of the hierarchy, with the key to issue."""

    certificate: Certificate
    key: MintedKey
    #: file name without suffix, in the addresses of what it issues
    file: str


def root(subject: Subject, key: MintedKey, *, file: str, policy: str, cps: str, now: dt.datetime) -> Authority:
    """A self-signed authority, three years old."""
    name = encode_name(subject)
    encoded = _certificate(
        name,
        name,
        key,
        key,
        begin=now - dt.timedelta(days=1_095),
        end=now + dt.timedelta(days=3_650),
        extensions=(
            basic_constraints(None),
            key_usage(("keyCertSign", "cRLSign")),
            subject_key_identifier(key),
            policies(policy, cps),
        ),
    )
    return Authority(Certificate.from_der(encoded), key, file)


def intermediate(
    subject: Subject,
    key: MintedKey,
    issuer: Authority,
    *,
    file: str,
    policy: str,
    addresses: Addresses,
    now: dt.datetime,
) -> Authority:
    """An issuing authority below a root, two years old."""
    encoded = issue(
        subject,
        key,
        issuer,
        begin=now - dt.timedelta(days=730),
        end=now + dt.timedelta(days=1_825),
        extensions=(
            basic_constraints(0),
            key_usage(("keyCertSign", "cRLSign")),
            policies(policy, addresses.cps),
            *of_issuer(issuer, addresses, for_authority=True),
        ),
    )
    return Authority(Certificate.from_der(encoded), key, file)


def of_issuer(issuer: Authority, addresses: Addresses, *, for_authority: bool = False) -> tuple[Extension, ...]:
    """Who issued it and where that authority's answers, certificate and lists are.

    For an authority's own certificate there is no OCSP and no delta CRL: its root answers with complete lists only.
    """
    file = ("ca_issuers", f"{addresses.certificate_files}{issuer.file}.cer")
    found: tuple[Extension, ...] = (
        authority_key_identifier(issuer.key),
        (CRL_DISTRIBUTION_POINTS, False, _points(f"{addresses.crl_files}{issuer.file}.crl")),
    )
    if for_authority:
        return (*found, (AUTHORITY_INFORMATION_ACCESS, False, _access(file)))
    return (
        *found,
        (AUTHORITY_INFORMATION_ACCESS, False, _access(("ocsp", addresses.ocsp), file)),
        (_FRESHEST_CRL, False, _points(f"{addresses.crl_files}{issuer.file}-delta.crl")),
    )


def kept_in_a_file() -> Extension:
    return (_KEY_STORE_TYPE, False, _ObjectIdentifiers([_KEY_STORE_FILE]).dump())


def not_to_be_checked() -> Extension:
    """On a delegated OCSP responder: nobody asks it about itself (RFC 6960, 4.2.2.2.1)."""
    return (_OCSP_NO_CHECK, False, core.Null().dump())


def stamps_at(address: str) -> Extension:
    """On a time stamper: where it is reached (id-ad-timeStamping; RFC 5280, 4.2.2.2)."""
    return (_SUBJECT_INFORMATION_ACCESS, False, _access((_TIME_STAMPING_ACCESS, address)))


def issue(
    subject: Subject,
    key: MintedKey,
    issuer: Authority,
    *,
    begin: dt.datetime,
    end: dt.datetime,
    extensions: Sequence[Extension],
) -> bytes:
    """DER of a certificate of `key` signed by `issuer`; its subject key identifier is added."""
    return _certificate(
        encode_name(subject),
        issuer.certificate.subject_der,
        key,
        issuer.key,
        begin=begin,
        end=end,
        extensions=(*extensions, subject_key_identifier(key)),
    )


def _certificate(
    subject_der: bytes,
    issuer_der: bytes,
    key: MintedKey,
    issuer_key: MintedKey,
    *,
    begin: dt.datetime,
    end: dt.datetime,
    extensions: Sequence[Extension],
) -> bytes:
    return _signed(
        issuer_key,
        der.explicit(0, core.Integer(_VERSION_3).dump()),
        core.Integer(new_serial()).dump(),
        issuer_key.signature_algorithm.dump(),
        issuer_der,
        der.sequence(encode_time(begin), encode_time(end)),
        subject_der,
        key.spki_der,
        der.explicit(3, encode_extensions(extensions)),
    )


def new_serial() -> int:
    """20 bytes, positive, as the national authority gives."""
    return secrets.randbits(158) | 1 << 157


def certificate_pem(encoded: bytes) -> bytes:
    return bytes(pem.armor("CERTIFICATE", encoded))


# ---------------------------------------------------------------- lists


@dataclass(frozen=True, slots=True)
class Entry:
    """One revoked certificate in a list."""

    revoked_at: dt.datetime
    #: RFC 5280, 5.3.1
    reason: int


def crl(
    authority: Authority,
    entries: Mapping[int, Entry],
    *,
    number: int,
    this_update: dt.datetime,
    next_update: dt.datetime,
    base_number: int | None = None,
) -> bytes:
    """DER of a complete CRL, or of a delta to the complete one of `base_number`. `entries` by serial number."""
    extensions: list[Extension] = [
        authority_key_identifier(authority.key),
        (_CRL_NUMBER, False, core.Integer(number).dump()),
    ]
    if base_number is not None:
        extensions.append((_DELTA_CRL_INDICATOR, True, core.Integer(base_number).dump()))
    revoked = [
        der.sequence(
            core.Integer(serial).dump(),
            encode_time(entry.revoked_at),
            encode_extensions([(_REASON_CODE, False, der.enumerated(entry.reason))]),
        )
        for serial, entry in entries.items()
    ]
    return _signed(
        authority.key,
        core.Integer(_VERSION_2).dump(),
        authority.key.signature_algorithm.dump(),
        authority.certificate.subject_der,
        encode_time(this_update),
        encode_time(next_update),
        # RFC 5280, 5.1.2.6: absent where nobody is revoked
        *((der.sequence(*revoked),) if revoked else ()),
        der.explicit(0, encode_extensions(extensions)),
    )
