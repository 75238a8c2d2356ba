"""Extensions of certificates: which are understood, and what those that we use say (RFC 5280, 4.2; PKI.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from asn1crypto import core

from gateway.signing.certificate_asn1 import AuthorityKeyIdentifier

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


@dataclass(frozen=True, slots=True)
class ExtensionValue:
    """One extension as it stands: `value` is what is inside the OCTET STRING, not opened."""

    critical: bool
    value: bytes


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
    identifier = AuthorityKeyIdentifier.load(value, strict=True)["key_identifier"].native
    return identifier if isinstance(identifier, bytes) else None


def roles_among(extended_key_usage: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the national roles among the OIDs of an extended key usage, each once."""
    found: list[str] = []
    for oid in extended_key_usage:
        role = ROLE_NAMES.get(oid)
        if role is None and oid.startswith(_INFORMATION_SYSTEM_CHILDREN):
            role = "information_system"
        if role is not None and role not in found:
            found.append(role)
    return tuple(found)
