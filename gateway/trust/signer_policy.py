"""Who may sign what: the operator's rules for one service, evaluated on a certificate. Pure.

A certificate can be genuine, current and not revoked and still be the wrong one: a person's where an information
system is expected, another organisation's, or a treasury certificate, which serves nowhere but where its service says
so (PKI.md section 3; order 1187, rule 4). The identifiers in the certificate are compared with what the message
claims, because anybody with a good certificate can write another's IIN into a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.extensions import ROLE_NAMES
from gateway.trust.verdict import SIGNER_STEP, RevocationMode

TREASURY_CLIENT: Final = "treasury_client"
TREASURY_OID: Final = next(oid for oid, name in ROLE_NAMES.items() if name == TREASURY_CLIENT)

_ORGANISATION_ROLES: Final = frozenset(
    {"legal_entity", "head", "right_to_sign", "right_to_sign_financial", "right_to_sign_hr", "employee"}
)


class SignerKind(StrEnum):
    """Whom a certificate was issued to, from its national roles (extended key usage)."""

    PERSON = "person"
    """a physical person for himself or herself"""
    ORGANISATION = "organisation"
    """a person of a legal entity: head, with the right to sign, employee"""
    INFORMATION_SYSTEM = "information_system"
    """a program of a legal entity; no person stands in the certificate"""
    UNSTATED = "unstated"
    """no national role says it"""


@dataclass(frozen=True, slots=True)
class SignerRules:
    """What one service demands of its signers. Empty sets demand nothing; the treasury's certificates stay out."""

    #: kinds of signer that may sign
    kinds: frozenset[SignerKind] = frozenset(SignerKind)
    #: names of roles (`gateway keys inspect` shows them): the certificate has at least one of them
    roles: frozenset[str] = frozenset()
    #: OIDs of certificate policies: the certificate has at least one of them
    required_policies: frozenset[str] = frozenset()
    #: OIDs of policies that it has none of, nor of those below them
    forbidden_policies: frozenset[str] = frozenset()
    #: BINs and IINs that may sign
    bins: frozenset[str] = frozenset()
    iins: frozenset[str] = field(default=frozenset(), repr=False)
    #: a treasury-client certificate may sign here
    treasury: bool = False

    def __post_init__(self) -> None:
        unknown = self.roles - frozenset(ROLE_NAMES.values())
        if unknown:
            raise ValueError(f"no role has the name {min(unknown)!r}; known are {', '.join(ROLE_NAMES.values())}")


@dataclass(frozen=True, slots=True)
class Claim:
    """Whom a message says that it is from. None: it says nothing of it."""

    iin: str | None = field(default=None, repr=False)
    bin: str | None = None


ANY_SIGNER: Final = SignerRules()
NO_CLAIM: Final = Claim()


@dataclass(frozen=True, slots=True)
class RevocationPolicy:
    """What an unknown revocation status does, by the name of the service. A service without a word of its own has
    the default; neither has one of ours: the operator writes both."""

    default: RevocationMode
    by_service: Mapping[str, RevocationMode] = field(default_factory=lambda: MappingProxyType({}))

    def mode_for(self, service: str) -> RevocationMode:
        return self.by_service.get(service, self.default)

    def names(self, service: str) -> bool:
        """Whether the operator named this very service."""
        return service in self.by_service


def kind_of(certificate: Certificate) -> SignerKind:
    """The narrowest kind that the roles state."""
    roles = frozenset(certificate.roles)
    if "information_system" in roles:
        return SignerKind.INFORMATION_SYSTEM
    if roles & _ORGANISATION_ROLES:
        return SignerKind.ORGANISATION
    return SignerKind.PERSON if "person" in roles else SignerKind.UNSTATED


def is_treasury(certificate: Certificate) -> bool:
    """A treasury-client certificate, by role or by policy."""
    return TREASURY_CLIENT in certificate.roles or _is_at_or_below(certificate.policies, TREASURY_OID)


def check_signer(certificate: Certificate, rules: SignerRules = ANY_SIGNER, claim: Claim = NO_CLAIM) -> str:
    """Check a certificate that is trusted otherwise against a service's rules and the message's claim.

    Returns what was compared, for --explain, without personal data. Raises TrustRefused of step "signer":
    `role_not_allowed`, `policy_not_allowed`, `iin_mismatch`, `bin_mismatch`.
    """
    # what a good certificate is told is the same each time; a claim names somebody and is not kept
    return _held(certificate, rules) if claim is NO_CLAIM else _compared(certificate, rules, claim)


@lru_cache(maxsize=256)
def _held(certificate: Certificate, rules: SignerRules) -> str:
    return _compared(certificate, rules, NO_CLAIM)


def _compared(certificate: Certificate, rules: SignerRules, claim: Claim) -> str:
    label, kind = certificate.label, kind_of(certificate)
    if is_treasury(certificate) and not rules.treasury:
        raise _refused(
            "policy_not_allowed",
            f"{label} is a treasury client's certificate, which serves in the treasury's system only: the signer must"
            " use another one",
        )
    if kind not in rules.kinds:
        raise _refused("role_not_allowed", f"{label} is of kind {kind}, allowed here: {_listed(rules.kinds)}")
    if rules.roles and not rules.roles & frozenset(certificate.roles):
        stated = ", ".join(certificate.roles) or "none"
        raise _refused(
            "role_not_allowed", f"{label} has the roles {stated}, one of these is needed here: {_listed(rules.roles)}"
        )
    if rules.required_policies and not rules.required_policies & frozenset(certificate.policies):
        raise _refused(
            "policy_not_allowed",
            f"{label} was issued under other policies than this service asks for: {_listed(rules.required_policies)}",
        )
    for policy in sorted(rules.forbidden_policies):
        if _is_at_or_below(certificate.policies, policy):
            raise _refused("policy_not_allowed", f"{label} was issued under policy {policy}, which may not sign here")
    # the numbers of the message and of the lists are compared and never shown: they name people
    _check_number("iin", certificate.iin, claim.iin, rules.iins, label)
    _check_number("bin", certificate.bin, claim.bin, rules.bins, label)
    compared = [f"kind {kind}"]
    compared += [f"{name} as claimed" for name, value in (("IIN", claim.iin), ("BIN", claim.bin)) if value is not None]
    compared += [f"{name} on the list" for name, listed in (("IIN", rules.iins), ("BIN", rules.bins)) if listed]
    return ", ".join(compared)


def _check_number(name: str, held: str | None, claimed: str | None, listed: frozenset[str], label: str) -> None:
    shown = name.upper()
    if claimed is not None and held != claimed:
        has = "has another one" if held else "has none"
        raise _refused(f"{name}_mismatch", f"the message claims one {shown}, and the certificate {label} {has}")
    if listed and held not in listed:
        raise _refused(f"{name}_mismatch", f"the {shown} of {label} is not among those that may sign here")


def _is_at_or_below(oids: Iterable[str], parent: str) -> bool:
    return any(oid == parent or oid.startswith(parent + ".") for oid in oids)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _refused(code: str, message: str) -> TrustRefused:
    return TrustRefused(code, message, step=SIGNER_STEP)
