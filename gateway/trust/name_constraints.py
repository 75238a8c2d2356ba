"""Name constraints of an authority (RFC 5280, 4.2.1.10), for the forms of names that national certificates carry.

Directory names, e-mail addresses and DNS names are compared. A constraint in any other form, or one with a distance
(`minimum`, `maximum`), makes the path unusable: it says something about names that we would not see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from asn1crypto import core, parser, x509

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import ASN1_ERRORS, Name
from gateway.signing.distinguished_names import key_of_name
from gateway.signing.extensions import NAME_CONSTRAINTS, SUBJECT_ALTERNATIVE_NAME

_EMAIL_ADDRESS = "1.2.840.113549.1.9.1"
_EMPTY_NAME = b"\x30\x00"

_DIRECTORY = "directory_name"
_EMAIL = "rfc822_name"
_DNS = "dns_name"

#: RDNs in encoded order, each the sorted (OID, normalised value) pairs
OrderedName: TypeAlias = tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, slots=True)
class _Names:
    """Every name of a certificate that a constraint may speak of."""

    directory: tuple[OrderedName, ...]
    email: tuple[str, ...]
    dns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Subtrees:
    directory: tuple[OrderedName, ...]
    email: tuple[str, ...]
    dns: tuple[str, ...]


def check_name_constraints(authority: Certificate, below: Certificate, *, step: str) -> None:
    """Check that `authority` may (indirectly) issue to the names of `below` (RFC 5280, 6.1.3 (b) and (c)).

    Raises TrustRefused (`name_constraints`).
    """
    if NAME_CONSTRAINTS not in authority.extensions:
        return
    try:
        permitted, excluded = _read_constraints(authority.extensions[NAME_CONSTRAINTS].value)
        names = _names_of(below)
    except ASN1_ERRORS:
        raise TrustRefused(
            "name_constraints",
            f"the name constraints of {authority.label} cannot be compared with the names of {below.label}:"
            " they are in a form that is not understood",
            step=step,
        ) from None
    reason = _violation(permitted, excluded, names)
    if reason:
        raise TrustRefused(
            "name_constraints",
            f"{authority.label} may not issue to {below.label}: {reason}",
            step=step,
        )


def _violation(permitted: _Subtrees, excluded: _Subtrees, names: _Names) -> str:
    checks: tuple[tuple[str, tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], _Within, _Within], ...] = (
        # an excluded subtree is matched whatever the order of RDNs, since authorities write them in different
        # orders (PKI.md section 3); a permitted one must be the literal beginning of the name
        ("directory name", names.directory, permitted.directory, excluded.directory, _begins_with, _contains),
        ("e-mail address", names.email, permitted.email, excluded.email, _email_within, _email_within),
        ("DNS name", names.dns, permitted.dns, excluded.dns, _dns_within, _dns_within),
    )
    for form, present, allowed, forbidden, within_allowed, within_forbidden in checks:
        for name in present:
            if any(within_forbidden(name, subtree) for subtree in forbidden):
                return f"a {form} lies in an excluded subtree"
            if allowed and not any(within_allowed(name, subtree) for subtree in allowed):
                return f"a {form} lies outside every permitted subtree"
    return ""


_Within: TypeAlias = Callable[[Any, Any], bool]


def _begins_with(name: OrderedName, subtree: OrderedName) -> bool:
    return name[: len(subtree)] == subtree


def _contains(name: OrderedName, subtree: OrderedName) -> bool:
    return set(subtree) <= set(name)


def _email_within(address: str, subtree: str) -> bool:
    """A mailbox, a host, or with a leading dot every host of a domain."""
    local, at, host = address.rpartition("@")
    constraint_local, constraint_at, constraint_host = subtree.rpartition("@")
    if constraint_at:
        return at == "@" and local == constraint_local and host == constraint_host
    if subtree.startswith("."):
        return host.endswith(subtree)
    return host == subtree


def _dns_within(name: str, subtree: str) -> bool:
    bare = subtree.lstrip(".")
    return not bare or name == bare or name.endswith("." + bare)


def _ordered(name_der: bytes) -> OrderedName:
    name = Name.load(name_der, strict=True)
    return tuple(key_of_name([rdn])[0] for rdn in name)


@lru_cache(maxsize=256)
def _read_constraints(value: bytes) -> tuple[_Subtrees, _Subtrees]:
    constraints = x509.NameConstraints.load(value, strict=True)
    permitted, excluded = constraints["permitted_subtrees"], constraints["excluded_subtrees"]
    return _read_subtrees(permitted), _read_subtrees(excluded)


def _read_subtrees(subtrees: Any) -> _Subtrees:
    found: Mapping[str, list[Any]] = {_DIRECTORY: [], _EMAIL: [], _DNS: []}
    if not isinstance(subtrees, core.Void):
        for subtree in subtrees:
            if subtree["minimum"].native != 0 or not isinstance(subtree["maximum"], core.Void):
                raise ValueError("a subtree has a distance")
            form, value = _read_name(subtree["base"])
            if form not in found:
                raise ValueError("a subtree is in a form that is not understood")
            found[form].append(value)
    return _Subtrees(tuple(found[_DIRECTORY]), tuple(found[_EMAIL]), tuple(found[_DNS]))


def _read_name(general_name: Any) -> tuple[str, Any]:
    form = general_name.name
    if form == _DIRECTORY:
        return form, _ordered(parser.parse(general_name.dump(), strict=True)[4])  # inside the explicit tag
    if form in (_EMAIL, _DNS):
        # the bytes, not asn1crypto's reading of them: a constraint may be a host or begin with a dot
        return form, general_name.chosen.contents.decode("ascii").casefold()
    return form, None


def _names_of(certificate: Certificate) -> _Names:
    directory = [] if certificate.subject_der == _EMPTY_NAME else [_ordered(certificate.subject_der)]
    email: list[str] = []
    dns: list[str] = []
    extension = certificate.extensions.get(SUBJECT_ALTERNATIVE_NAME)
    if extension is not None:
        for general_name in x509.GeneralNames.load(extension.value, strict=True):
            form, value = _read_name(general_name)
            if form == _DIRECTORY:
                directory.append(value)
            elif form == _EMAIL:
                email.append(value)
            elif form == _DNS:
                dns.append(value)
    if not email:
        # old certificates carry the address in the subject (RFC 5280, 4.2.1.10)
        email = [text.casefold() for oid, text in certificate.subject_attributes if oid == _EMAIL_ADDRESS]
    return _Names(tuple(directory), tuple(email), tuple(dns))
