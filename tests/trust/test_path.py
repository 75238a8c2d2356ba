"""Certification paths: each row is one situation and what must come of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384, SHA512
from cryptography.x509.oid import NameOID

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate
from gateway.trust import path as path_module
from gateway.trust.path import build_path
from gateway.trust.store import sort_out
from tests.trust.minting import (
    DAY,
    NOW,
    Minted,
    authority,
    critical,
    ec_key,
    mint,
    name,
    parsed,
    resigned,
    rsa_key,
    with_sha1,
)


@dataclass(frozen=True)
class Situation:
    signer: Certificate
    trusted: list[Minted]
    at: dt.datetime = NOW
    #: certificates of the path found, by common name; checked when it is good
    path: list[str] = field(default_factory=list)


def situation(signer: Minted, trusted: Iterable[Minted], at: dt.datetime = NOW, path: str = "") -> Situation:
    return Situation(signer.parsed, list(trusted), at, path.split())


ROOT = authority("root")
ISSUING = authority("issuing", ROOT, path_len=0)
LEAF = mint("leaf", ISSUING)
CHAIN = [ROOT, ISSUING]


def chain_of(length: int, **changes: object) -> tuple[Minted, list[Minted]]:
    """A leaf below `length` intermediates below a root that sets no limit."""
    root = authority("long-root")
    trusted = [root]
    for number in range(length):
        trusted.append(authority(f"level{number}", trusted[-1]))
    return mint("deep-leaf", trusted[-1], **changes), trusted


def constrained(
    permitted: list[x509.GeneralName] | None = None,
    excluded: list[x509.GeneralName] | None = None,
    is_critical: bool = True,
) -> Minted:
    constraints = x509.NameConstraints(permitted, excluded)
    return authority("constrained", ROOT, extensions=[(constraints, is_critical)])


def directory(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.DirectoryName:
    return x509.DirectoryName(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))


def alternative(*names: x509.GeneralName) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.SubjectAlternativeName(list(names)), False)]


KZ = (NameOID.COUNTRY_NAME, "KZ")
ORGANISATION = (NameOID.ORGANIZATION_NAME, "Test")


def below(issuer: Minted, *more: tuple[x509.ObjectIdentifier, str], **changes: object) -> Situation:
    signer = mint("named", issuer, subject=name("named", *more), **changes)
    return situation(signer, [ROOT, issuer], path="named constrained root")


# ---------------------------------------------------------------- good ones


def rsa_hierarchy() -> Situation:
    root = authority("rsa-root", key=rsa_key("rsa-root"), digest=SHA512())
    leaf = mint("rsa-leaf", root, key=rsa_key("rsa-leaf"), digest=SHA384())
    return situation(leaf, [root], path="rsa-leaf rsa-root")


def p384_hierarchy() -> Situation:
    root = authority("p384-root", key=ec_key("p384-root", "secp384r1"), digest=SHA384())
    leaf = mint("p384-leaf", root, digest=SHA512())
    return situation(leaf, [root], path="p384-leaf p384-root")


def reordered_issuer_name() -> Situation:
    swapped = x509.Name(list(reversed(list(ISSUING.name))))
    return situation(mint("leaf", ISSUING, issuer_name=swapped), CHAIN, path="leaf issuing root")


def issuer_name_in_other_case() -> Situation:
    other = x509.Name(
        [x509.NameAttribute(NameOID.COUNTRY_NAME, "KZ"), x509.NameAttribute(NameOID.COMMON_NAME, " ISSUING ")]
    )
    return situation(mint("leaf", ISSUING, issuer_name=other), CHAIN, path="leaf issuing root")


def renewed_authority() -> Situation:
    renewed = authority("issuing", ROOT, key=ec_key("issuing-renewed"))
    return situation(mint("leaf", renewed), [*CHAIN, renewed], path="leaf issuing root")


def renewed_authority_without_key_identifiers() -> Situation:
    old = authority("plain", ROOT, key=ec_key("plain-old"), ski=False)
    new = authority("plain", ROOT, key=ec_key("plain-new"), ski=False)
    return situation(mint("leaf", new, aki=False), [ROOT, old, new], path="leaf plain root")


def two_issuers_one_expired() -> Situation:
    expired = authority("issuing", ROOT, end=NOW - DAY)
    return situation(LEAF, [*CHAIN, expired], path="leaf issuing root")


def wrong_key_identifier_and_right_signature() -> Situation:
    other = authority("issuing", ROOT, key=ec_key("other-issuing"))
    signer = mint("leaf", ISSUING, aki=other.parsed.ski)
    return situation(signer, [*CHAIN, other], path="leaf issuing root")


def self_issued_rollover() -> Situation:
    """A root that renewed its key and certified the new one with the old: not counted in the path length."""
    old = authority("rolling", key=ec_key("rolling-old"), path_len=0)
    bridge = authority("rolling", old, key=ec_key("rolling-new"))
    new_as_issuer = Minted(bridge.der, ec_key("rolling-new"), bridge.name)
    return situation(mint("leaf", new_as_issuer), [old, bridge], path="leaf rolling rolling")


def authorities_that_certify_each_other() -> Situation:
    left = authority("left", ROOT)
    right = authority("right", left)
    left_again = authority("left", right, key=left.key)
    return situation(mint("leaf", right), [ROOT, left, right, left_again], path="leaf right left root")


def anchor_without_key_usage() -> Situation:
    root = authority("old-root", usage=None)
    return situation(mint("leaf", root), [root], path="leaf old-root")


def self_signed_peer_in_the_directory() -> Situation:
    pinned = mint("pinned")
    return situation(pinned, [pinned], path="pinned")


def six_intermediates() -> Situation:
    leaf, trusted = chain_of(6)
    return situation(leaf, trusted, path="deep-leaf level5 level4 level3 level2 level1 level0 long-root")


def critical_policies() -> Situation:
    policies = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.398.3.3.2"), None)])
    return situation(mint("leaf", ISSUING, extensions=[(policies, True)]), CHAIN, path="leaf issuing root")


GOOD: dict[str, Callable[[], Situation]] = {
    "a leaf, its authority, the root": lambda: situation(LEAF, CHAIN, path="leaf issuing root"),
    "issued by the root itself": lambda: situation(mint("direct", ROOT), CHAIN, path="direct root"),
    "RSA with SHA-384 and SHA-512": rsa_hierarchy,
    "ECDSA P-384": p384_hierarchy,
    "the issuer's RDNs in another order": reordered_issuer_name,
    "the issuer's name in other case and spacing": issuer_name_in_other_case,
    "an authority that renewed its key": renewed_authority,
    "a renewed key and no key identifiers": renewed_authority_without_key_identifiers,
    "two certificates of the issuer, one expired": two_issuers_one_expired,
    "key identifiers only order the candidates": wrong_key_identifier_and_right_signature,
    "a self-issued certificate does not count in the length": self_issued_rollover,
    "authorities that certify each other": authorities_that_certify_each_other,
    "an old anchor that states no key usage": anchor_without_key_usage,
    "a self-signed peer that the operator placed": self_signed_peer_in_the_directory,
    "six intermediates": six_intermediates,
    "a critical extension that is understood": critical_policies,
    "the first moment of validity": lambda: situation(
        mint("leaf", ISSUING, begin=NOW), CHAIN, path="leaf issuing root"
    ),
    "the last moment of validity": lambda: situation(mint("leaf", ISSUING, end=NOW), CHAIN, path="leaf issuing root"),
    "path length 0 and no intermediate below": lambda: situation(LEAF, CHAIN, path="leaf issuing root"),
    "an unknown extension that is not critical": lambda: situation(
        mint("leaf", ISSUING, extensions=[(critical()[0], False)]), CHAIN, path="leaf issuing root"
    ),
    "a name inside the permitted directory subtree": lambda: below(
        constrained([directory(KZ)]), (NameOID.ORGANIZATION_NAME, "Test")
    ),
    "a name outside the excluded directory subtree": lambda: below(constrained(None, [directory(ORGANISATION)])),
    "an e-mail at the permitted host": lambda: below(
        constrained([x509.RFC822Name("example.invalid")]),
        extensions=alternative(x509.RFC822Name("a@example.invalid")),
    ),
    "an e-mail in the permitted domain": lambda: below(
        constrained([x509.RFC822Name(".example.invalid")]),
        extensions=alternative(x509.RFC822Name("a@mail.example.invalid")),
    ),
    "the permitted mailbox": lambda: below(
        constrained([x509.RFC822Name("a@example.invalid")]),
        extensions=alternative(x509.RFC822Name("a@example.invalid")),
    ),
    "a host in the permitted DNS domain": lambda: below(
        constrained([x509.DNSName("example.invalid")]),
        extensions=alternative(x509.DNSName("a.example.invalid"), x509.DNSName("example.invalid")),
    ),
    "no e-mail at all below an e-mail constraint": lambda: below(constrained([x509.RFC822Name("example.invalid")])),
    "an empty subject below a directory constraint": lambda: situation(
        mint("x", issuer := constrained([directory(ORGANISATION)]), subject=x509.Name([])), [ROOT, issuer]
    ),
    "a URI beside a DNS constraint": lambda: below(
        constrained([x509.DNSName("example.invalid")]),
        extensions=alternative(x509.UniformResourceIdentifier("http://other.invalid/")),
    ),
}


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD.keys())
def test_a_good_path_is_found(case: Callable[[], Situation]) -> None:
    given = case()
    found = build_path(given.signer, sort_out(m.parsed for m in given.trusted), at=given.at)
    if given.path:
        assert [c.common_name for c in found.certificates] == given.path
    assert found.leaf is given.signer
    assert found.valid_from <= given.at <= found.valid_until


# ---------------------------------------------------------------- bad ones


def tampered_certificate() -> Situation:
    der = bytearray(LEAF.der)
    der[LEAF.der.index(b"leaf") + 1] ^= 0x01
    return Situation(parsed(bytes(der)), CHAIN)


def right_name_wrong_key() -> Situation:
    impostor = authority("issuing", ROOT, key=ec_key("impostor"))
    return situation(mint("leaf", impostor, aki=ISSUING.parsed.ski), CHAIN)


def inner_and_outer_algorithm_differ() -> Situation:
    def change(certificate: object) -> None:
        certificate["tbs_certificate"]["signature"] = {"algorithm": "sha384_ecdsa"}  # type: ignore[index]

    return Situation(parsed(resigned(LEAF.der, ISSUING.key, change)), CHAIN)


def sha1_leaf() -> Situation:
    root = authority("rsa-root", key=rsa_key("rsa-root"))
    return situation(with_sha1(mint("leaf", root), rsa_key("rsa-root")), [root])


def sha1_intermediate() -> Situation:
    root = authority("rsa-root", key=rsa_key("rsa-root"))
    issuing = with_sha1(authority("rsa-issuing", root), rsa_key("rsa-root"))
    return situation(mint("leaf", issuing), [root, issuing])


def national_algorithm_of_the_next_storey() -> Situation:
    def change(certificate: object) -> None:
        algorithm = {"algorithm": "1.2.398.3.10.1.1.2.3.9"}
        certificate["tbs_certificate"]["signature"] = algorithm  # type: ignore[index]
        certificate["signature_algorithm"] = algorithm  # type: ignore[index]

    return Situation(parsed(resigned(LEAF.der, ISSUING.key, change)), CHAIN)


def weak_leaf() -> Situation:
    return situation(mint("leaf", ISSUING, key=rsa_key("weak", 1_024)), CHAIN)


def weak_issuer() -> Situation:
    issuing = authority("weak-issuing", ROOT, key=rsa_key("weak", 1_024))
    return situation(mint("leaf", issuing), [ROOT, issuing])


def unsupported_curve() -> Situation:
    return situation(mint("leaf", ISSUING, key=ec_key("p521", "secp521r1")), CHAIN)


def rsa_algorithm_with_an_ec_key() -> Situation:
    def change(certificate: object) -> None:
        algorithm = {"algorithm": "sha256_rsa"}
        certificate["tbs_certificate"]["signature"] = algorithm  # type: ignore[index]
        certificate["signature_algorithm"] = algorithm  # type: ignore[index]

    return Situation(parsed(resigned(LEAF.der, ISSUING.key, change)), CHAIN)


def damaged_key() -> Situation:
    def change(certificate: object) -> None:
        info = certificate["tbs_certificate"]["subject_public_key_info"]  # type: ignore[index]
        info["public_key"] = b"\x04" + b"\x01" * 64  # a point that is not on the curve

    return Situation(parsed(resigned(LEAF.der, ISSUING.key, change)), CHAIN)


def expired_root() -> Situation:
    root = authority("root-expired", end=NOW - DAY)
    return situation(mint("leaf", root), [root])


def expired_intermediate() -> Situation:
    issuing = authority("issuing-expired", ROOT, end=NOW - DAY)
    return situation(mint("leaf", issuing), [ROOT, issuing])


def intermediate_not_a_ca(ca: bool | None) -> Situation:
    issuing = mint("not-a-ca", ROOT, ca=ca, usage=("keyCertSign",))
    trusted_anyway = [ROOT, issuing]
    return situation(mint("leaf", issuing), trusted_anyway)


def self_signed_end_entity_as_issuer() -> Situation:
    pinned = mint("pinned", usage=("digitalSignature", "keyCertSign"))
    return situation(mint("leaf", pinned), [pinned])


def intermediate_key_usage(*usage: str) -> Situation:
    issuing = authority("odd-usage", ROOT, usage=usage)
    return situation(mint("leaf", issuing), [ROOT, issuing])


def intermediate_without_key_usage() -> Situation:
    issuing = authority("no-usage", ROOT, usage=None)
    return situation(mint("leaf", issuing), [ROOT, issuing])


def root_that_may_not_certify() -> Situation:
    root = authority("crl-only", usage=("cRLSign",))
    return situation(mint("leaf", root), [root])


def path_length_exceeded(limit_at_root: bool) -> Situation:
    root = authority("limit-root", path_len=0 if limit_at_root else None)
    upper = authority("upper", root, path_len=None if limit_at_root else 0)
    lower = authority("lower", upper)
    return situation(mint("leaf", lower), [root, upper, lower])


def seven_intermediates() -> Situation:
    return situation(*chain_of(7))


def too_many_candidates() -> Situation:
    crowd = [authority("crowd", ROOT, key=ec_key(f"crowd{n % 4}")) for n in range(70)]
    stranger = authority("crowd", ROOT, key=ec_key("crowd-stranger"))
    return situation(mint("leaf", stranger), [ROOT, *crowd])


def cycle_without_an_anchor() -> Situation:
    left = authority("left", ROOT)
    right = authority("right", left)
    left_again = authority("left", right, key=left.key)
    return situation(mint("leaf", right), [right, left_again])


def critical_policy_constraints() -> Situation:
    constraints = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
    issuing = authority("policy", ROOT, extensions=[(constraints, True)])
    return situation(mint("leaf", issuing), [ROOT, issuing])


def national_key_in_the_signer() -> Situation:
    def change(certificate: object) -> None:
        info = certificate["tbs_certificate"]["subject_public_key_info"]  # type: ignore[index]
        info["algorithm"] = {"algorithm": "rsassa_pss"}

    return Situation(parsed(resigned(LEAF.der, ISSUING.key, change)), CHAIN)


def constraint_of_the_root() -> Situation:
    constraints = x509.NameConstraints([directory(KZ, ORGANISATION)], None)
    root = authority("named-root", extensions=[(constraints, True)])
    issuing = authority("issuing", root, subject=name("x", ORGANISATION))
    return situation(mint("leaf", issuing), [root, issuing])


def garbage_constraints() -> Situation:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), b"\x30\x03\x02\x01")
    issuing = authority("garbage", ROOT, extensions=[(broken, True)])
    return situation(mint("leaf", issuing), [ROOT, issuing])


def constraint_with_a_distance() -> Situation:
    # permittedSubtrees [0] { GeneralSubtree { dNSName [2] "a", minimum [0] 1 } }
    value = bytes.fromhex("300aa00830068201618001 01".replace(" ", ""))
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), value)
    issuing = authority("distance", ROOT, extensions=[(broken, True)])
    return situation(mint("leaf", issuing), [ROOT, issuing])


def excluded_name_in_another_order() -> Situation:
    issuer = constrained(None, [directory(KZ, ORGANISATION)])
    reordered = x509.Name([x509.NameAttribute(*ORGANISATION), x509.NameAttribute(*KZ)])
    return situation(mint("leaf", issuer, subject=reordered), [ROOT, issuer])


BAD: dict[str, tuple[str, Callable[[], Situation]]] = {
    "nobody is trusted": ("untrusted_issuer", lambda: situation(LEAF, [])),
    "another authority is trusted": ("untrusted_issuer", lambda: situation(LEAF, [authority("foreign")])),
    "the intermediate is missing": ("untrusted_issuer", lambda: situation(LEAF, [ROOT])),
    "the root is missing": ("untrusted_issuer", lambda: situation(LEAF, [ISSUING])),
    "a self-made certificate": ("untrusted_issuer", lambda: situation(mint("self-made"), CHAIN)),
    "only the leaf itself is in the directory": ("untrusted_issuer", lambda: situation(LEAF, [LEAF])),
    "authorities in a circle": ("untrusted_issuer", cycle_without_an_anchor),
    "a byte of the subject changed": ("bad_certificate_signature", tampered_certificate),
    "the issuer's name with another key": ("bad_certificate_signature", right_name_wrong_key),
    "the two algorithm fields differ": ("algorithm_mismatch", inner_and_outer_algorithm_differ),
    "a leaf signed with SHA-1": ("algorithm_refused", sha1_leaf),
    "an intermediate signed with SHA-1": ("algorithm_refused", sha1_intermediate),
    "an algorithm that is not in the table": ("algorithm_not_supported", national_algorithm_of_the_next_storey),
    "an RSA algorithm over an EC key": ("bad_certificate_signature", rsa_algorithm_with_an_ec_key),
    "an RSA key of 1024 bits in the signer": ("weak_key", weak_leaf),
    "an RSA key of 1024 bits in the issuer": ("weak_key", weak_issuer),
    "a curve that is not in the table": ("algorithm_not_supported", unsupported_curve),
    "a key algorithm that is not in the table": ("algorithm_not_supported", national_key_in_the_signer),
    "a public key that is not a point": ("bad_certificate_key", damaged_key),
    "expired": ("expired", lambda: situation(mint("leaf", ISSUING, end=NOW - DAY), CHAIN)),
    "expired a second ago": (
        "expired",
        lambda: situation(mint("leaf", ISSUING, end=NOW), CHAIN, at=NOW + dt.timedelta(seconds=1)),
    ),
    "not yet valid": ("not_yet_valid", lambda: situation(mint("leaf", ISSUING, begin=NOW + DAY), CHAIN)),
    "valid in a second": (
        "not_yet_valid",
        lambda: situation(mint("leaf", ISSUING, begin=NOW), CHAIN, at=NOW - dt.timedelta(seconds=1)),
    ),
    "the intermediate expired": ("expired", expired_intermediate),
    "the root expired": ("expired", expired_root),
    "the root is not yet valid": (
        "not_yet_valid",
        lambda: situation(
            mint("leaf", root := authority("late-root", begin=NOW + DAY, end=NOW + 2 * DAY), begin=NOW - DAY), [root]
        ),
    ),
    "a peer issues a certificate": ("not_a_ca", lambda: intermediate_not_a_ca(False)),
    "a peer without basic constraints issues": ("not_a_ca", lambda: intermediate_not_a_ca(None)),
    "a self-signed end entity issues": ("not_a_ca", self_signed_end_entity_as_issuer),
    "an authority that may only sign CRLs": ("issuer_key_usage", lambda: intermediate_key_usage("cRLSign")),
    "an authority for digital signatures only": (
        "issuer_key_usage",
        lambda: intermediate_key_usage("digitalSignature"),
    ),
    "an intermediate that states no key usage": ("issuer_key_usage", intermediate_without_key_usage),
    "a root that may only sign CRLs": ("issuer_key_usage", root_that_may_not_certify),
    "the root's path length exceeded": ("path_too_long", lambda: path_length_exceeded(limit_at_root=True)),
    "an intermediate's path length exceeded": ("path_too_long", lambda: path_length_exceeded(limit_at_root=False)),
    "seven intermediates": ("path_too_long", seven_intermediates),
    "more candidates than signatures checked": ("bad_certificate_signature", too_many_candidates),
    "an unknown critical extension in the signer": (
        "unknown_critical_extension",
        lambda: situation(mint("leaf", ISSUING, extensions=[critical()]), CHAIN),
    ),
    "an unknown critical extension in the issuer": (
        "unknown_critical_extension",
        lambda: situation(mint("leaf", i := authority("crit", ROOT, extensions=[critical()])), [ROOT, i]),
    ),
    "an unknown critical extension in the root": (
        "unknown_critical_extension",
        lambda: situation(mint("leaf", r := authority("crit-root", extensions=[critical()])), [r]),
    ),
    "policy constraints, which are not processed": ("unknown_critical_extension", critical_policy_constraints),
    "outside the permitted directory subtree": (
        "name_constraints",
        lambda: below(constrained([directory(KZ, ORGANISATION)])),
    ),
    "inside the excluded directory subtree": (
        "name_constraints",
        lambda: below(constrained(None, [directory(ORGANISATION)]), ORGANISATION),
    ),
    "excluded, with the RDNs in another order": ("name_constraints", excluded_name_in_another_order),
    "everything excluded by the empty name": ("name_constraints", lambda: below(constrained(None, [directory()]))),
    "constrained though not critical": (
        "name_constraints",
        lambda: below(constrained(None, [directory(KZ)], is_critical=False)),
    ),
    "an e-mail at another host": (
        "name_constraints",
        lambda: below(
            constrained([x509.RFC822Name("example.invalid")]),
            extensions=alternative(x509.RFC822Name("a@other.invalid")),
        ),
    ),
    "an e-mail at the domain's own host": (
        "name_constraints",
        lambda: below(
            constrained([x509.RFC822Name(".example.invalid")]),
            extensions=alternative(x509.RFC822Name("a@example.invalid")),
        ),
    ),
    "another mailbox of the host": (
        "name_constraints",
        lambda: below(
            constrained([x509.RFC822Name("a@example.invalid")]),
            extensions=alternative(x509.RFC822Name("b@example.invalid")),
        ),
    ),
    "an e-mail in the subject of an old certificate": (
        "name_constraints",
        lambda: below(
            constrained(None, [x509.RFC822Name("example.invalid")]), (NameOID.EMAIL_ADDRESS, "a@Example.invalid")
        ),
    ),
    "a host outside the permitted DNS domain": (
        "name_constraints",
        lambda: below(
            constrained([x509.DNSName("example.invalid")]),
            extensions=alternative(x509.DNSName("notexample.invalid")),
        ),
    ),
    "a host in the excluded DNS domain": (
        "name_constraints",
        lambda: below(
            constrained(None, [x509.DNSName("example.invalid")]),
            extensions=alternative(x509.DNSName("a.EXAMPLE.invalid")),
        ),
    ),
    "a directory name among the alternatives": (
        "name_constraints",
        lambda: below(constrained(None, [directory(ORGANISATION)]), extensions=alternative(directory(ORGANISATION))),
    ),
    "a constraint in a form that is not compared": (
        "name_constraints",
        lambda: below(constrained([x509.UniformResourceIdentifier("example.invalid")])),
    ),
    "a constraint with a distance": ("name_constraints", constraint_with_a_distance),
    "constraints that cannot be read": ("name_constraints", garbage_constraints),
    "the root's constraint on an intermediate": ("name_constraints", constraint_of_the_root),
}


@pytest.mark.parametrize(("code", "case"), BAD.values(), ids=BAD.keys())
def test_a_bad_path_is_refused(code: str, case: Callable[[], Situation]) -> None:
    given = case()
    with pytest.raises(TrustRefused) as caught:
        build_path(given.signer, sort_out(m.parsed for m in given.trusted), at=given.at)
    assert caught.value.code == code
    assert caught.value.step == "path"


def test_the_search_ends_when_too_many_signatures_would_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_module, "MAX_SIGNATURE_CHECKS", 1)
    old = authority("two", ROOT, key=ec_key("two-old"), ski=False)
    new = authority("two", ROOT, key=ec_key("two-new"), ski=False)
    search = path_module._Search(sort_out([ROOT.parsed, old.parsed, new.parsed]), checks_left=1)
    assert list(search.chains((mint("leaf", new, aki=False).parsed,))) == []
    assert any(failure.code == "path_too_long" for _, failure in search.failures)


def test_a_time_without_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="time zone"):
        build_path(LEAF.parsed, sort_out([ROOT.parsed]), at=dt.datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_refusal_names_no_person() -> None:
    person = name("ТЕСТОВ ТЕСТ", (NameOID.SERIAL_NUMBER, "IIN850101300005"))
    signer = mint("person", ISSUING, subject=person, end=NOW - DAY)
    with pytest.raises(TrustRefused) as caught:
        build_path(signer.parsed, sort_out(m.parsed for m in CHAIN), at=NOW)
    assert "850101300005" not in str(caught.value)
    assert "ТЕСТОВ" not in str(caught.value)
    assert str(signer.parsed.serial) in str(caught.value)


def test_a_path_reads_as_text() -> None:
    found = build_path(LEAF.parsed, sort_out(m.parsed for m in CHAIN), at=NOW)
    assert str(found) == "CN=leaf,C=KZ ← CN=issuing,C=KZ ← CN=root,C=KZ"
    assert found.anchor == ROOT.parsed
