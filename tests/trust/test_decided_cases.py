"""What is decided about a signer in every situation that we could think of, for RSA and for GOST alike.

Each row is a signer, what the operator trusts, the evidence at hand and the one right outcome: "good", "revoked",
"unknown", or the code of the refusal. The rows are one table for both families of keys; only the minting differs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.errors import RevocationUnknown, TrustRefused
from gateway.signing.certificate import Certificate
from gateway.trust.evidence import FetchedCrl, OcspAnswer, RevocationEvidence
from gateway.trust.signer_policy import TREASURY_OID, Claim, SignerKind, SignerRules
from gateway.trust.store import TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationRules, RevocationState, SignerRevoked
from tests.trust import minting
from tests.trust.minting import (
    DAY,
    MINUTE,
    NOW,
    NULL,
    OCSP_NO_CHECK,
    OCSP_SIGNING,
    Minted,
    PrivateKey,
    algorithm_of,
    critical,
    crl_der,
    entry,
    gost_key,
    name,
    ocsp_answer,
    oid,
    parsed_crl,
    rebuilt,
    rsa_key,
    sequence,
    statement,
)

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)
NONCE = b"n" * 32
PERSON, LEGAL, HEAD, SYSTEM = (
    "1.2.398.3.3.4.1.1",
    "1.2.398.3.3.4.1.2",
    "1.2.398.3.3.4.1.2.1",
    "1.2.398.3.3.4.1.2.6",
)
IIN, OTHER_IIN, BIN, OTHER_BIN = "850101300005", "850101300015", "990140000012", "990140000022"


@dataclass(frozen=True)
class Case:
    expect: str
    signer: Minted | Certificate
    #: certificates in the trust directory
    trusted: Sequence[Minted]
    #: None: a clean list of every authority in `trusted`
    crls: Sequence[bytes] | None = None
    fetched: Sequence[bytes] = ()
    answers: Sequence[bytes] = ()
    #: that was sent with the questions
    nonce: bytes | None = None
    at: dt.datetime = NOW
    rules: RevocationRules = RevocationRules()  # noqa: RUF009
    signers: SignerRules = field(default_factory=SignerRules)
    claim: Claim = field(default_factory=Claim)


class Kit:
    """One hierarchy of a family, made once, and the functions that mint in it."""

    def __init__(self, key: Callable[[str], PrivateKey]) -> None:
        self.key = key
        self.root = self.authority("root")
        self.issuing = self.authority("issuing", self.root, path_len=0)
        self.chain = [self.root, self.issuing]
        self.leaf = self.mint("leaf", self.issuing)
        self.foreign = self.authority("foreign")
        self.responder = self.ocsp_responder()
        self.root_crl = self.crl(self.root)
        self.clean = self.crl(self.issuing)

    def mint(self, common_name: str, issuer: Minted | None = None, *, key: str = "leaf", **changes: Any) -> Minted:
        return minting.mint(common_name, issuer, key=self.key(key), **changes)

    def authority(
        self, common_name: str, issuer: Minted | None = None, *, key: str | None = None, **changes: Any
    ) -> Minted:
        return minting.authority(common_name, issuer, key=self.key(key or common_name), **changes)

    def ocsp_responder(self, common_name: str = "responder", issuer: Minted | None = None, **changes: Any) -> Minted:
        return minting.responder(common_name, issuer or self.issuing, key=self.key("responder"), **changes)

    def crl(self, issuer: Minted, *entries: x509.RevokedCertificate, **changes: Any) -> bytes:
        return crl_der(issuer, *entries, **changes)

    def person(self, *roles: str, iin: str | None = IIN, of_bin: str | None = None, **changes: Any) -> Minted:
        attributes = [] if iin is None else [(NameOID.SERIAL_NUMBER, f"IIN{iin}")]
        if of_bin is not None:
            attributes.append((NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{of_bin}"))
        return self.mint("ТЕСТ", self.issuing, subject=name("ТЕСТ", *attributes), extended=roles, **changes)


KEYS: dict[str, Callable[[str], PrivateKey]] = {"rsa": rsa_key, "gost": gost_key}


@cache
def kit_of(family: str) -> Kit:
    return Kit(KEYS[family])


def outcome(case: Case) -> str:
    """What `validate` decides where revocation is required."""
    signer = case.signer.parsed if isinstance(case.signer, Minted) else case.signer
    authorities = [m for m in case.trusted if m.parsed.is_ca]
    crls = [crl_der(m) for m in authorities] if case.crls is None else case.crls
    store = TrustStore.of([m.parsed for m in case.trusted], [parsed_crl(der) for der in crls], case.rules)
    evidence = RevocationEvidence(
        tuple(FetchedCrl(parsed_crl(der), "http://crl.example.invalid/", NOW) for der in case.fetched),
        tuple(OcspAnswer(der, "http://ocsp.example.invalid/", NOW, case.nonce) for der in case.answers),
    )

    def decide(mode: RevocationMode) -> Any:
        return validate(
            signer, store, at=case.at, revocation=mode, evidence=evidence, rules=case.signers, claim=case.claim
        )

    try:
        verdict = decide(RevocationMode.REQUIRE)
    except SignerRevoked as error:
        return "revoked" if error.revocation.evidence else "revoked without evidence"
    except TrustRefused as error:
        return error.code
    except RevocationUnknown:
        accepted = decide(RevocationMode.PREFER)
        assert accepted.revocation.status is RevocationState.UNKNOWN  # accepted, and still not good
        assert accepted.unknown_accepted
        return "unknown"
    assert verdict.revocation.status is RevocationState.GOOD
    assert verdict.evidence
    assert not verdict.unknown_accepted
    assert verdict.revocation.holds_from <= case.at < verdict.revocation.holds_before
    return "good"


Table = dict[str, Callable[[Kit], Case]]

# ---------------------------------------------------------------- path


def with_extension(kit: Kit, where: str) -> Case:
    marked = {"extensions": [critical()]}
    root = kit.authority("root", **(marked if where == "root" else {}))
    issuing = kit.authority("issuing", root, **(marked if where == "issuing" else {}))
    leaf = kit.mint("leaf", issuing, **(marked if where == "leaf" else {}))
    return Case("unknown_critical_extension", leaf, [root, issuing])


def below(
    expect: str,
    kit: Kit,
    permitted: list[x509.GeneralName] | None,
    excluded: list[x509.GeneralName] | None,
    *more: tuple[x509.ObjectIdentifier, str],
    alternative: Sequence[x509.GeneralName] = (),
    is_critical: bool = True,
) -> Case:
    constraints = (x509.NameConstraints(permitted, excluded), is_critical)
    issuing = kit.authority("constrained", kit.root, key="issuing", extensions=[constraints])
    names = [(x509.SubjectAlternativeName(list(alternative)), False)] if alternative else []
    leaf = kit.mint("named", issuing, subject=name("named", *more), extensions=names)
    return Case(expect, leaf, [kit.root, issuing])


def directory(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.DirectoryName:
    return x509.DirectoryName(x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes]))


KZ = (NameOID.COUNTRY_NAME, "KZ")
TEST_ORGANISATION = (NameOID.ORGANIZATION_NAME, "Test")


def lifetime(expect: str, kit: Kit, who: str, begin: dt.datetime, end: dt.datetime) -> Case:
    times = {"begin": begin, "end": end}
    root = kit.authority("root", **(times if who == "root" else {}))
    issuing = kit.authority("issuing", root, **(times if who == "issuing" else {}))
    leaf = kit.mint("leaf", issuing, **(times if who == "leaf" else {}))
    return Case(expect, leaf, [root, issuing])


def long_chain(expect: str, kit: Kit, length: int) -> Case:
    trusted = [kit.root]
    for number in range(length):
        trusted.append(kit.authority(f"level{number}", trusted[-1], key=f"level{number % 2}"))
    return Case(expect, kit.mint("deep", trusted[-1]), trusted)


def limited(expect: str, kit: Kit, *, at_root: int | None, at_upper: int | None) -> Case:
    root = kit.authority("limited", key="root", path_len=at_root)
    upper = kit.authority("upper", root, path_len=at_upper)
    lower = kit.authority("lower", upper)
    return Case(expect, kit.mint("leaf", lower), [root, upper, lower])


def odd_issuer(expect: str, kit: Kit, **changes: Any) -> Case:
    issuing = kit.authority("odd", kit.root, key="issuing", **changes)
    crls = [kit.root_crl, crl_der(issuing)]
    return Case(expect, kit.mint("leaf", issuing), [kit.root, issuing], crls)


def tampered(kit: Kit) -> Case:
    der = bytearray(kit.leaf.der)
    der[kit.leaf.der.index(b"leaf") + 1] ^= 0x01
    return Case("bad_certificate_signature", Certificate.from_der(bytes(der)), kit.chain)


def changed(expect: str, kit: Kit, change: Callable[[list[bytes]], None], algorithm: bytes | None = None) -> Case:
    der = rebuilt(kit.leaf.der, kit.issuing.key, change, algorithm=algorithm)
    return Case(expect, Certificate.from_der(der), kit.chain)


def in_place(place: int, value: bytes) -> Callable[[list[bytes]], None]:
    def change(parts: list[bytes]) -> None:
        parts[place] = value

    return change


def broken_signature(kit: Kit, damage: Callable[[bytes], bytes]) -> Case:
    tbs, algorithm, signature = minting.elements(kit.leaf.der)
    content = minting.parser.parse(signature)[4][1:]
    return Case(
        "bad_certificate_signature",
        Certificate.from_der(sequence(tbs, algorithm, minting.bits(damage(content)))),
        kit.chain,
    )


SHA1_RSA = sequence(oid("1.2.840.113549.1.1.5"), NULL)
UNKNOWN_ALGORITHM = sequence(oid("1.2.398.999.5"))

PATHS: Table = {
    "path: a leaf, its authority, the root": lambda k: Case("good", k.leaf, k.chain),
    "path: issued by the root itself": lambda k: Case("good", k.mint("direct", k.root), [k.root]),
    "path: an authority that renewed its key": lambda k: Case(
        "good",
        k.mint("leaf", renewed := k.authority("issuing", k.root, key="renewed")),
        [*k.chain, renewed],
        [k.root_crl, crl_der(renewed), k.clean],
    ),
    "path: one of two certificates of the issuer expired": lambda k: Case(
        "good", k.leaf, [*k.chain, k.authority("issuing", k.root, end=NOW - DAY)], [k.root_crl, k.clean]
    ),
    "path: a misleading key identifier": lambda k: Case("good", k.mint("leaf", k.issuing, aki=b"another"), k.chain),
    "path: no key identifiers at all": lambda k: Case(
        "good", k.mint("leaf", plain := k.authority("plain", k.root, ski=False), aki=False), [k.root, plain]
    ),
    "path: a rollover certificate does not count": lambda k: Case(
        "good",
        k.mint("leaf", bridge := k.authority("rolling", old := k.authority("rolling", path_len=0), key="renewed")),
        [old, bridge],
        [crl_der(old), crl_der(bridge)],
    ),
    "path: nobody is trusted": lambda k: Case("untrusted_issuer", k.leaf, []),
    "path: another authority is trusted": lambda k: Case("untrusted_issuer", k.leaf, [k.foreign]),
    "path: the intermediate is missing": lambda k: Case("untrusted_issuer", k.leaf, [k.root]),
    "path: the root is missing": lambda k: Case("untrusted_issuer", k.leaf, [k.issuing]),
    "path: a self-made certificate": lambda k: Case("untrusted_issuer", k.mint("self-made"), k.chain),
    "path: only the leaf itself is in the directory": lambda k: Case("untrusted_issuer", k.leaf, [k.leaf]),
    "path: the right name and another key": lambda k: Case(
        "bad_certificate_signature", k.mint("leaf", k.authority("issuing", k.root, key="foreign")), k.chain
    ),
    "path: a byte of the subject changed": tampered,
    "path: a byte of the signature changed": lambda k: broken_signature(k, lambda s: s[:-1] + bytes([s[-1] ^ 1])),
    "path: the signature cut": lambda k: broken_signature(k, lambda s: s[:-1]),
    "path: the signature backwards (the other country's packing)": lambda k: broken_signature(k, lambda s: s[::-1]),
    "path: a signature of zeros": lambda k: broken_signature(k, lambda s: bytes(len(s))),
    "path: an empty signature": lambda k: broken_signature(k, lambda s: b""),
    "path: the two algorithm fields differ": lambda k: changed("algorithm_mismatch", k, in_place(2, UNKNOWN_ALGORITHM)),
    "path: the two algorithm fields differ by NULL": lambda k: changed(
        "good", k, in_place(2, sequence(minting.elements(algorithm_of(k.issuing.key))[0]))
    ),
    "path: SHA-1": lambda k: changed("algorithm_refused", k, in_place(2, SHA1_RSA), SHA1_RSA),
    "path: an algorithm that is not in the table": lambda k: changed(
        "algorithm_not_supported", k, in_place(2, UNKNOWN_ALGORITHM), UNKNOWN_ALGORITHM
    ),
    "path: another family's algorithm": lambda k: changed(
        "bad_certificate_signature",
        k,
        in_place(2, other := algorithm_of(gost_key("x") if k.key is rsa_key else rsa_key("leaf"))),
        other,
    ),
    "path: a key algorithm that is not in the table": lambda k: changed(
        "algorithm_not_supported", k, in_place(6, sequence(UNKNOWN_ALGORITHM, minting.bits(b"key")))
    ),
    "path: a key that cannot be read": lambda k: changed(
        "bad_certificate_key", k, in_place(6, sequence(key_algorithm(k), minting.bits(b"\x04\x03abc")))
    ),
}


def key_algorithm(kit: Kit) -> bytes:
    return minting.elements(kit.leaf.parsed.spki_der)[0]


VALIDITY: Table = {
    "validity: the first moment": lambda k: lifetime("good", k, "leaf", NOW, NOW + DAY),
    "validity: the last moment": lambda k: lifetime("good", k, "leaf", NOW - DAY, NOW),
    "validity: ended a second ago": lambda k: lifetime("expired", k, "leaf", NOW - DAY, NOW - SECOND),
    "validity: ended long ago": lambda k: lifetime("expired", k, "leaf", NOW - 400 * DAY, NOW - 35 * DAY),
    "validity: begins in a second": lambda k: lifetime("not_yet_valid", k, "leaf", NOW + SECOND, NOW + DAY),
    "validity: begins tomorrow": lambda k: lifetime("not_yet_valid", k, "leaf", NOW + DAY, NOW + 2 * DAY),
    "validity: the intermediate ended": lambda k: lifetime("expired", k, "issuing", NOW - 9 * DAY, NOW - DAY),
    "validity: the intermediate begins tomorrow": lambda k: lifetime(
        "not_yet_valid", k, "issuing", NOW + DAY, NOW + 2 * DAY
    ),
    "validity: the root ended": lambda k: lifetime("expired", k, "root", NOW - 9 * DAY, NOW - DAY),
    "validity: the root begins tomorrow": lambda k: lifetime("not_yet_valid", k, "root", NOW + DAY, NOW + 2 * DAY),
    "validity: judged when it was still valid": lambda k: Case(
        "good",
        k.mint("leaf", k.issuing, begin=NOW - 9 * DAY, end=NOW - 5 * DAY),
        k.chain,
        [crl_der(m, this_update=NOW - 8 * DAY, next_update=NOW - DAY) for m in k.chain],
        at=NOW - 6 * DAY,
    ),
}

AUTHORITIES: Table = {
    "authority: a peer issues": lambda k: odd_issuer("not_a_ca", k, ca=False),
    "authority: no basic constraints": lambda k: odd_issuer("not_a_ca", k, ca=None),
    "authority: a self-signed end entity issues": lambda k: Case(
        "not_a_ca", k.mint("leaf", pinned := k.mint("pinned", key="root", usage=("keyCertSign",))), [pinned]
    ),
    "authority: CRLs only": lambda k: odd_issuer("issuer_key_usage", k, usage=("cRLSign",)),
    "authority: digital signatures only": lambda k: odd_issuer("issuer_key_usage", k, usage=("digitalSignature",)),
    "authority: an intermediate without key usage": lambda k: odd_issuer("issuer_key_usage", k, usage=None),
    "authority: an old root without key usage": lambda k: Case(
        "good", k.mint("leaf", root := k.authority("old-root", key="root", usage=None)), [root]
    ),
    "authority: a root for CRLs only": lambda k: Case(
        "issuer_key_usage", k.mint("leaf", root := k.authority("crl-root", key="root", usage=("cRLSign",))), [root]
    ),
    "length: six intermediates": lambda k: long_chain("good", k, 6),
    "length: seven intermediates": lambda k: long_chain("path_too_long", k, 7),
    "length: just as the root allows": lambda k: limited("good", k, at_root=2, at_upper=None),
    "length: more than the root allows": lambda k: limited("path_too_long", k, at_root=0, at_upper=None),
    "length: more than an intermediate allows": lambda k: limited("path_too_long", k, at_root=None, at_upper=0),
    "critical: unknown in the signer": lambda k: with_extension(k, "leaf"),
    "critical: unknown in the intermediate": lambda k: with_extension(k, "issuing"),
    "critical: unknown in the root": lambda k: with_extension(k, "root"),
    "critical: unknown and not critical": lambda k: Case(
        "good", k.mint("leaf", k.issuing, extensions=[(critical()[0], False)]), k.chain
    ),
    "critical: policies, which are understood": lambda k: Case(
        "good", k.mint("leaf", k.issuing, extensions=[policies("1.2.398.3.3.2", is_critical=True)]), k.chain
    ),
    "critical: policy constraints, which are not processed": lambda k: odd_issuer(
        "unknown_critical_extension",
        k,
        extensions=[(x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None), True)],
    ),
}


def policies(*oids: str, is_critical: bool = False) -> tuple[x509.ExtensionType, bool]:
    return (
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(o), None) for o in oids]),
        is_critical,
    )


def mail(value: str) -> x509.RFC822Name:
    return x509.RFC822Name(value)


def host(value: str) -> x509.DNSName:
    return x509.DNSName(value)


NAMES: Table = {
    "names: inside the permitted subtree": lambda k: below("good", k, [directory(KZ)], None, TEST_ORGANISATION),
    "names: outside the permitted subtree": lambda k: below(
        "name_constraints", k, [directory(KZ, TEST_ORGANISATION)], None
    ),
    "names: inside the excluded subtree": lambda k: below(
        "name_constraints", k, None, [directory(TEST_ORGANISATION)], TEST_ORGANISATION
    ),
    "names: outside the excluded subtree": lambda k: below("good", k, None, [directory(TEST_ORGANISATION)]),
    "names: constrained though not critical": lambda k: below(
        "name_constraints", k, None, [directory(KZ)], is_critical=False
    ),
    "names: everything excluded": lambda k: below("name_constraints", k, None, [directory()]),
    "names: an e-mail at the permitted host": lambda k: below(
        "good", k, [mail("example.invalid")], None, alternative=[mail("a@example.invalid")]
    ),
    "names: an e-mail at another host": lambda k: below(
        "name_constraints", k, [mail("example.invalid")], None, alternative=[mail("a@other.invalid")]
    ),
    "names: a host in the permitted domain": lambda k: below(
        "good", k, [host("example.invalid")], None, alternative=[host("a.example.invalid")]
    ),
    "names: a host outside the permitted domain": lambda k: below(
        "name_constraints", k, [host("example.invalid")], None, alternative=[host("notexample.invalid")]
    ),
    "names: a form that is not compared": lambda k: below(
        "name_constraints", k, [x509.UniformResourceIdentifier("example.invalid")], None
    ),
}

# ---------------------------------------------------------------- purpose and signer


def used_for(expect: str, kit: Kit, *usage: str, extended: Sequence[str] = ()) -> Case:
    return Case(expect, kit.mint("leaf", kit.issuing, usage=usage, extended=extended), kit.chain)


PURPOSES: Table = {
    "usage: digitalSignature alone": lambda k: used_for("good", k, "digitalSignature"),
    "usage: signing and authentication in one": lambda k: used_for(
        "good", k, "digitalSignature", "nonRepudiation", "keyAgreement", extended=(SYSTEM,)
    ),
    "usage: authentication": lambda k: used_for(
        "good", k, "digitalSignature", "keyEncipherment", extended=("1.3.6.1.5.5.7.3.2", PERSON)
    ),
    "usage: encryption only": lambda k: used_for("key_usage", k, "keyEncipherment"),
    "usage: nonRepudiation only": lambda k: used_for("key_usage", k, "nonRepudiation"),
    "usage: none stated": lambda k: Case("key_usage", k.mint("leaf", k.issuing, usage=None), k.chain),
    "usage: an authority signs": lambda k: Case("ca_as_signer", k.authority("sub", k.root, key="leaf"), k.chain),
    "usage: the anchor signs": lambda k: Case("ca_as_signer", k.root, k.chain),
    "usage: keyCertSign without being an authority": lambda k: used_for(
        "ca_as_signer", k, "digitalSignature", "keyCertSign"
    ),
    "usage: an OCSP responder signs": lambda k: Case("extended_key_usage", k.responder, k.chain),
    "usage: a time stamper signs": lambda k: used_for(
        "extended_key_usage", k, "digitalSignature", extended=(minting.TIME_STAMPING,)
    ),
}

ONLY_SYSTEMS = SignerRules(kinds=frozenset({SignerKind.INFORMATION_SYSTEM}))
NO_SYSTEMS = SignerRules(kinds=frozenset({SignerKind.PERSON, SignerKind.ORGANISATION}))
HEADS = SignerRules(roles=frozenset({"head", "right_to_sign"}))


def signing(
    expect: str, kit: Kit, signer: Minted, rules: SignerRules | None = None, claim: Claim | None = None
) -> Case:
    return Case(expect, signer, kit.chain, signers=rules or SignerRules(), claim=claim or Claim())


SIGNERS: Table = {
    "role: a system where systems sign": lambda k: signing("good", k, k.person(LEGAL, SYSTEM, iin=None), ONLY_SYSTEMS),
    "role: a child of the system's role": lambda k: signing(
        "good", k, k.person(LEGAL, SYSTEM + ".4", iin=None), ONLY_SYSTEMS
    ),
    "role: a person where systems sign": lambda k: signing("role_not_allowed", k, k.person(PERSON), ONLY_SYSTEMS),
    "role: an employee where systems sign": lambda k: signing(
        "role_not_allowed", k, k.person(LEGAL, "1.2.398.3.3.4.1.2.5"), ONLY_SYSTEMS
    ),
    "role: a system where people sign": lambda k: signing(
        "role_not_allowed", k, k.person(SYSTEM, iin=None), NO_SYSTEMS
    ),
    "role: no role where people sign": lambda k: signing("role_not_allowed", k, k.person(), NO_SYSTEMS),
    "role: a person where people sign": lambda k: signing("good", k, k.person(PERSON), NO_SYSTEMS),
    "role: the head where heads sign": lambda k: signing("good", k, k.person(LEGAL, HEAD), HEADS),
    "role: an employee where heads sign": lambda k: signing(
        "role_not_allowed", k, k.person(LEGAL, "1.2.398.3.3.4.1.2.5"), HEADS
    ),
    "policy: a treasury certificate by role": lambda k: signing("policy_not_allowed", k, k.person(LEGAL, TREASURY_OID)),
    "policy: a treasury certificate by policy": lambda k: signing(
        "policy_not_allowed", k, k.person(LEGAL, extensions=[policies(TREASURY_OID)])
    ),
    "policy: a treasury certificate where its service says so": lambda k: signing(
        "good", k, k.person(LEGAL, TREASURY_OID), SignerRules(treasury=True)
    ),
    "policy: the required one": lambda k: signing(
        "good",
        k,
        k.person(PERSON, extensions=[policies("1.2.398.3.3.2.3")]),
        SignerRules(required_policies=frozenset({"1.2.398.3.3.2.1", "1.2.398.3.3.2.3"})),
    ),
    "policy: another than the required one": lambda k: signing(
        "policy_not_allowed",
        k,
        k.person(PERSON, extensions=[policies("1.2.398.3.3.2.4")]),
        SignerRules(required_policies=frozenset({"1.2.398.3.3.2.3"})),
    ),
    "policy: none where one is required": lambda k: signing(
        "policy_not_allowed", k, k.person(PERSON), SignerRules(required_policies=frozenset({"1.2.398.3.3.2.3"}))
    ),
    "policy: the forbidden one": lambda k: signing(
        "policy_not_allowed",
        k,
        k.person(PERSON, extensions=[policies("1.2.398.3.3.2.4")]),
        SignerRules(forbidden_policies=frozenset({"1.2.398.3.3.2.4"})),
    ),
    "policy: one below the forbidden one": lambda k: signing(
        "policy_not_allowed",
        k,
        k.person(PERSON, extensions=[policies("1.2.398.3.3.2.4.1")]),
        SignerRules(forbidden_policies=frozenset({"1.2.398.3.3.2.4"})),
    ),
    "policy: one whose number only begins like the forbidden one": lambda k: signing(
        "good",
        k,
        k.person(PERSON, extensions=[policies("1.2.398.3.3.2.40")]),
        SignerRules(forbidden_policies=frozenset({"1.2.398.3.3.2.4"})),
    ),
    "claim: the person's IIN": lambda k: signing("good", k, k.person(PERSON), claim=Claim(iin=IIN)),
    "claim: another IIN": lambda k: signing("iin_mismatch", k, k.person(PERSON), claim=Claim(iin=OTHER_IIN)),
    "claim: an IIN, and the certificate has none": lambda k: signing(
        "iin_mismatch", k, k.person(SYSTEM, iin=None), claim=Claim(iin=IIN)
    ),
    "claim: the organisation's BIN": lambda k: signing(
        "good", k, k.person(LEGAL, of_bin=BIN), claim=Claim(iin=IIN, bin=BIN)
    ),
    "claim: another BIN": lambda k: signing("bin_mismatch", k, k.person(LEGAL, of_bin=BIN), claim=Claim(bin=OTHER_BIN)),
    "claim: a BIN, and the certificate has none": lambda k: signing(
        "bin_mismatch", k, k.person(PERSON), claim=Claim(bin=BIN)
    ),
    "list: a BIN on it": lambda k: signing(
        "good", k, k.person(SYSTEM, iin=None, of_bin=BIN), SignerRules(bins=frozenset({BIN}))
    ),
    "list: a BIN not on it": lambda k: signing(
        "bin_mismatch", k, k.person(SYSTEM, iin=None, of_bin=OTHER_BIN), SignerRules(bins=frozenset({BIN}))
    ),
    "list: an IIN not on it": lambda k: signing(
        "iin_mismatch", k, k.person(PERSON), SignerRules(iins=frozenset({OTHER_IIN}))
    ),
}

# ---------------------------------------------------------------- CRLs


def listed(expect: str, kit: Kit, *crls: bytes, fetched: Sequence[bytes] = (), **changes: Any) -> Case:
    return Case(expect, kit.leaf, kit.chain, [kit.root_crl, *crls], fetched, **changes)


def naming(kit: Kit, reason: x509.ReasonFlags | None = None) -> x509.RevokedCertificate:
    return entry(kit.leaf.parsed.serial, reason)


HOLD, REMOVE = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl
OTHERS = entry(5), entry(6, HOLD)


def point(**settings: Any) -> list[tuple[x509.ExtensionType, bool]]:
    given: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **settings,
    }
    return [(x509.IssuingDistributionPoint(**given), True)]


def outside_null(lists: Any) -> None:
    """What the national CRL of 2026 does: NULL in one AlgorithmIdentifier, nothing in the other."""
    lists["tbs_cert_list"]["signature"] = {"algorithm": lists["signature_algorithm"]["algorithm"].dotted}


LISTS: Table = {
    "CRL: names nobody": lambda k: listed("good", k, k.clean),
    "CRL: names others": lambda k: listed("good", k, k.crl(k.issuing, *OTHERS)),
    "CRL: fetched": lambda k: listed("good", k, fetched=[k.clean]),
    "CRL: its first moment": lambda k: listed("good", k, k.crl(k.issuing, this_update=NOW)),
    "CRL: a second before nextUpdate": lambda k: listed("good", k, k.crl(k.issuing, next_update=NOW + SECOND)),
    "CRL: no nextUpdate, young": lambda k: listed(
        "good", k, k.crl(k.issuing, next_update=None, this_update=NOW - 23 * HOUR)
    ),
    "CRL: about users": lambda k: listed("good", k, k.crl(k.issuing, extensions=point(only_contains_user_certs=True))),
    "CRL: the NULL of the national list": lambda k: listed("good", k, k.crl(k.issuing, change=outside_null)),
    "CRL: a newer one takes it off hold": lambda k: listed(
        "good", k, k.crl(k.issuing, naming(k, HOLD), this_update=NOW - 3 * DAY), k.clean
    ),
    "CRL: a newer one is not yet in force": lambda k: listed(
        "good", k, k.clean, k.crl(k.issuing, naming(k), this_update=NOW + DAY)
    ),
    "CRL: a forged newer one": lambda k: listed(
        "good", k, k.clean, k.crl(k.issuing, naming(k), this_update=NOW, key=k.foreign.key)
    ),
    "CRL: names it": lambda k: listed("revoked", k, k.crl(k.issuing, naming(k))),
    "CRL: names it, fetched": lambda k: listed("revoked", k, fetched=[k.crl(k.issuing, naming(k))]),
    "CRL: names it among others": lambda k: listed("revoked", k, k.crl(k.issuing, *OTHERS, naming(k))),
    "CRL: key compromise": lambda k: listed("revoked", k, k.crl(k.issuing, naming(k, x509.ReasonFlags.key_compromise))),
    "CRL: on hold": lambda k: listed("revoked", k, k.crl(k.issuing, naming(k, HOLD))),
    "CRL: names it, with the NULL": lambda k: listed("revoked", k, k.crl(k.issuing, naming(k), change=outside_null)),
    "CRL: the newer one names it": lambda k: listed(
        "revoked", k, k.crl(k.issuing, this_update=NOW - 3 * DAY), k.crl(k.issuing, naming(k))
    ),
    "CRL: the fetched newer one names it": lambda k: listed(
        "revoked", k, k.crl(k.issuing, this_update=NOW - 3 * DAY), fetched=[k.crl(k.issuing, naming(k))]
    ),
    "CRL: the intermediate is named": lambda k: Case(
        "revoked", k.leaf, k.chain, [k.crl(k.root, entry(k.issuing.parsed.serial)), k.clean]
    ),
    "CRL: none": lambda k: listed("unknown", k),
    "CRL: none of the root": lambda k: Case("unknown", k.leaf, k.chain, [k.clean]),
    "CRL: of another authority": lambda k: listed("unknown", k, k.crl(k.foreign)),
    "CRL: signed by another key": lambda k: listed("unknown", k, k.crl(k.issuing, key=k.foreign.key)),
    "CRL: nextUpdate has come": lambda k: listed("unknown", k, k.crl(k.issuing, next_update=NOW)),
    "CRL: stale": lambda k: listed(
        "unknown", k, k.crl(k.issuing, this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY)
    ),
    "CRL: stale, and names it for good": lambda k: listed(
        "revoked", k, k.crl(k.issuing, naming(k), this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY)
    ),
    "CRL: stale and forged, and names it for good": lambda k: listed(
        "unknown",
        k,
        k.crl(k.issuing, naming(k), this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY, key=k.foreign.key),
    ),
    "CRL: stale, and has it on hold": lambda k: listed(
        "unknown", k, k.crl(k.issuing, naming(k, HOLD), this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY)
    ),
    "CRL: a stale one names it, the current one no more": lambda k: listed(
        "good", k, k.clean, k.crl(k.issuing, naming(k), this_update=NOW - 9 * DAY, next_update=NOW - 8 * DAY)
    ),
    "CRL: from the future": lambda k: listed("unknown", k, k.crl(k.issuing, this_update=NOW + DAY)),
    "CRL: no nextUpdate, a day old": lambda k: listed(
        "unknown", k, k.crl(k.issuing, next_update=None, this_update=NOW - DAY)
    ),
    "CRL: older than the operator believes any": lambda k: listed(
        "unknown", k, k.clean, rules=RevocationRules(max_crl_age_s=3_600)
    ),
    "CRL: indirect": lambda k: listed("unknown", k, k.crl(k.issuing, extensions=point(indirect_crl=True))),
    "CRL: some reasons only": lambda k: listed(
        "unknown",
        k,
        k.crl(k.issuing, extensions=point(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise]))),
    ),
    "CRL: about authorities": lambda k: listed(
        "unknown", k, k.crl(k.issuing, extensions=point(only_contains_ca_certs=True))
    ),
    "CRL: an unknown critical extension": lambda k: listed("unknown", k, k.crl(k.issuing, extensions=[critical()])),
    "CRL: an issuer that may not sign lists": lambda k: Case(
        "unknown",
        k.mint("leaf", issuing := k.authority("no-lists", k.root, key="issuing", usage=("keyCertSign",))),
        [k.root, issuing],
        [k.root_crl, crl_der(issuing)],
    ),
}


def delta(kit: Kit, *entries: x509.RevokedCertificate, base: int = 5, number: int = 9, **changes: Any) -> bytes:
    settings = {"this_update": NOW - HOUR, "next_update": NOW + DAY, **changes}
    more = settings.pop("extensions", [])
    return kit.crl(
        kit.issuing, *entries, number=number, extensions=[(x509.DeltaCRLIndicator(base), True), *more], **settings
    )


def complete(kit: Kit, *entries: x509.RevokedCertificate, number: int = 5, **changes: Any) -> bytes:
    return kit.crl(kit.issuing, *entries, number=number, **changes)


DELTAS: Table = {
    "delta: names nobody": lambda k: listed("good", k, complete(k), delta(k)),
    "delta: names it": lambda k: listed("revoked", k, complete(k), delta(k, naming(k))),
    "delta: puts it on hold": lambda k: listed("revoked", k, complete(k), delta(k, naming(k, HOLD))),
    "delta: fetched, names it": lambda k: listed("revoked", k, complete(k), fetched=[delta(k, naming(k))]),
    "delta: the complete list still names it": lambda k: listed("revoked", k, complete(k, naming(k)), delta(k)),
    "delta: takes it off hold": lambda k: listed("good", k, complete(k, naming(k, HOLD)), delta(k, naming(k, REMOVE))),
    "delta: cannot lift what is for good": lambda k: listed(
        "revoked", k, complete(k, naming(k, x509.ReasonFlags.key_compromise)), delta(k, naming(k, REMOVE))
    ),
    "delta: removed and never listed": lambda k: listed("good", k, complete(k), delta(k, naming(k, REMOVE))),
    "delta: on a newer complete list than its base": lambda k: listed(
        "good", k, complete(k, number=7), delta(k, base=5)
    ),
    "delta: older than the complete list": lambda k: listed(
        "good", k, complete(k, number=12), delta(k, naming(k), this_update=NOW - 2 * DAY)
    ),
    "delta: alone, names nobody": lambda k: listed("unknown", k, delta(k)),
    "delta: alone, takes off hold": lambda k: listed("unknown", k, delta(k, naming(k, REMOVE))),
    "delta: alone, names it": lambda k: listed("revoked", k, delta(k, naming(k))),
    "delta: of a base that is not here, names it": lambda k: listed(
        "revoked", k, complete(k, number=3), delta(k, naming(k), base=5)
    ),
    "delta: of a base that is not here, names nobody": lambda k: listed(
        "good", k, complete(k, number=3), delta(k, base=5)
    ),
    "delta: of another scope lifts nothing": lambda k: listed(
        "revoked",
        k,
        complete(k, naming(k, HOLD)),
        delta(k, naming(k, REMOVE), extensions=point(only_contains_user_certs=True)),
    ),
    "delta: forged, lifts nothing": lambda k: listed(
        "revoked", k, complete(k, naming(k, HOLD)), delta(k, naming(k, REMOVE), key=k.foreign.key)
    ),
    "delta: stale, lifts nothing": lambda k: listed(
        "revoked", k, complete(k, naming(k, HOLD)), delta(k, naming(k, REMOVE), next_update=NOW)
    ),
    "delta: stale, newer than the complete list, names it for good": lambda k: listed(
        "revoked", k, complete(k), delta(k, naming(k), next_update=NOW)
    ),
    "delta: stale, has it on hold": lambda k: listed(
        "good", k, complete(k), delta(k, naming(k, HOLD), next_update=NOW)
    ),
    "delta: from the future, lifts nothing": lambda k: listed(
        "revoked", k, complete(k, naming(k, HOLD)), delta(k, naming(k, REMOVE), this_update=NOW + HOUR)
    ),
    "delta: current, the complete list stale": lambda k: listed(
        "unknown", k, complete(k, next_update=NOW - HOUR), delta(k)
    ),
    "delta: without a number": lambda k: listed(
        "unknown", k, k.crl(k.issuing, number=None, extensions=[(x509.DeltaCRLIndicator(1), True)])
    ),
}

# ---------------------------------------------------------------- OCSP


def said(kit: Kit, status: str = "good", **changes: Any) -> bytes:
    return statement(kit.leaf, kit.issuing, status, **changes)


def answered(
    expect: str,
    kit: Kit,
    *statements: bytes,
    signer: Minted | None = None,
    crls: Sequence[bytes] = (),
    rules: RevocationRules | None = None,
    sent: bytes | None = NONCE,
    at: dt.datetime = NOW,
    trusted: Sequence[Minted] = (),
    **changes: Any,
) -> Case:
    by = signer or kit.responder
    settings: dict[str, Any] = {"nonce": sent, "certificates": [by], **changes}
    return Case(
        expect,
        kit.leaf,
        [*kit.chain, *trusted],
        [kit.root_crl, *crls],
        answers=[ocsp_answer(*(statements or [said(kit)]), signer=by, **settings)],
        nonce=sent,
        rules=rules or RevocationRules(),
        at=at,
    )


def raw_answer(expect: str, kit: Kit, der: bytes, *crls: bytes) -> Case:
    return Case(expect, kit.leaf, kit.chain, [kit.root_crl, *crls], answers=[der], nonce=NONCE)


def both(expect: str, kit: Kit, crl: bytes, *statements: bytes, **changes: Any) -> Case:
    return answered(expect, kit, *statements, crls=[crl], **changes)


def wrong_signature(kit: Kit) -> Case:
    der = ocsp_answer(said(kit), signer=kit.responder, nonce=NONCE, certificates=[], key=kit.foreign.key)
    return Case("unknown", kit.leaf, [*kit.chain, kit.responder], [kit.root_crl], answers=[der], nonce=NONCE)


KEY_COMPROMISE, ON_HOLD = 1, 6
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MARK = minting.unread(OCSP_NO_CHECK, NULL)

ANSWERS: Table = {
    "OCSP: good, by an appointed responder": lambda k: answered("good", k),
    "OCSP: good, by the authority itself": lambda k: answered("good", k, signer=k.issuing, certificates=[]),
    "OCSP: good, the authority names itself by key": lambda k: answered(
        "good", k, signer=k.issuing, certificates=[], by_key=True
    ),
    "OCSP: good, the responder named by key": lambda k: answered("good", k, by_key=True),
    "OCSP: good, the responder in the trust directory": lambda k: answered(
        "good", k, certificates=[], trusted=[k.responder]
    ),
    "OCSP: good, SHA-1 in the certID": lambda k: answered(
        "good", k, said(k, hash_oid="1.3.14.3.2.26", hash_name="sha1")
    ),
    "OCSP: good, with nextUpdate": lambda k: answered("good", k, said(k, next_update=NOW + HOUR)),
    "OCSP: good, a second before nextUpdate": lambda k: answered("good", k, said(k, next_update=NOW + SECOND)),
    "OCSP: good, no nextUpdate, young": lambda k: answered("good", k, said(k, this_update=NOW - 59 * MINUTE)),
    "OCSP: good, the responder's clock a little ahead": lambda k: answered(
        "good", k, said(k, this_update=NOW + 30 * SECOND), produced_at=NOW + 30 * SECOND
    ),
    "OCSP: good, among statements about others": lambda k: answered("good", k, said(k, serial=77), said(k)),
    "OCSP: good, the nonce repeated bare": lambda k: answered("good", k, bare_nonce=True),
    "OCSP: good, no nonce sent": lambda k: answered("good", k, sent=None),
    "OCSP: good, an answer with a nonce from an archive": lambda k: answered("good", k, sent=None, nonce=b"theirs"),
    "OCSP: good, no nonce repeated, and the operator allows it": lambda k: answered(
        "good", k, nonce=None, rules=RevocationRules(require_ocsp_nonce=False)
    ),
    "OCSP: good, ocsp-nocheck with an empty value": lambda k: answered(
        "good", k, signer=k.ocsp_responder(no_check=b"")
    ),
    "OCSP: good, the responder's revocation known from a list": lambda k: answered(
        "good", k, signer=k.ocsp_responder(no_check=None), crls=[k.crl(k.issuing, this_update=NOW - DAY)]
    ),
    "OCSP: good, a responder that nobody can check, and the operator allows it": lambda k: answered(
        "good", k, signer=k.ocsp_responder(no_check=None), rules=RevocationRules(trust_unchecked_responder=True)
    ),
    "OCSP: good, an extension that is not critical": lambda k: answered(
        "good", k, extensions=[minting.extension("1.2.398.999.9", NULL)]
    ),
    "OCSP: revoked": lambda k: answered("revoked", k, said(k, "revoked")),
    "OCSP: revoked, key compromise": lambda k: answered("revoked", k, said(k, "revoked", reason=KEY_COMPROMISE)),
    "OCSP: on hold": lambda k: answered("revoked", k, said(k, "revoked", reason=ON_HOLD)),
    "OCSP: never issued, answered as on hold since 1970": lambda k: answered(
        "revoked", k, said(k, "revoked", reason=ON_HOLD, revoked_at=EPOCH)
    ),
    "OCSP: revoked in the future tense": lambda k: answered("revoked", k, said(k, "revoked", revoked_at=NOW + DAY)),
    "OCSP: the responder does not know it": lambda k: answered("unknown", k, said(k, "unknown")),
    "OCSP: malformedRequest": lambda k: answered("unknown", k, status=1),
    "OCSP: internalError": lambda k: answered("unknown", k, status=2),
    "OCSP: tryLater": lambda k: answered("unknown", k, status=3),
    "OCSP: sigRequired": lambda k: answered("unknown", k, status=5),
    "OCSP: unauthorized": lambda k: answered("unknown", k, status=6),
    "OCSP: a status that does not exist": lambda k: answered("unknown", k, status=9),
    "OCSP: nothing": lambda k: raw_answer("unknown", k, b""),
    "OCSP: a web page": lambda k: raw_answer("unknown", k, b"<html>moved</html>"),
    "OCSP: cut": lambda k: raw_answer("unknown", k, ocsp_answer(said(k), signer=k.issuing, nonce=NONCE)[:-3]),
    "OCSP: something behind it": lambda k: raw_answer(
        "unknown", k, ocsp_answer(said(k), signer=k.issuing, nonce=NONCE) + b"\x00"
    ),
    "OCSP: successful and empty": lambda k: raw_answer("unknown", k, sequence(minting.der(0x0A, b"\x00"))),
    "OCSP: too large": lambda k: raw_answer("unknown", k, bytes(70_000)),
    "OCSP: another type": lambda k: answered("unknown", k, response_type="1.2.398.999.1"),
    "OCSP: no statement": lambda k: raw_answer("unknown", k, ocsp_answer(signer=k.issuing, nonce=NONCE)),
    "OCSP: another serial": lambda k: answered("unknown", k, said(k, serial=77)),
    "OCSP: another issuer's name": lambda k: answered("unknown", k, said(k, issuer_name=k.foreign.parsed.subject_der)),
    "OCSP: another issuer's key": lambda k: answered("unknown", k, statement(k.leaf, k.foreign)),
    "OCSP: a digest that is not known in the certID": lambda k: answered("unknown", k, said(k, hash_oid="1.2.3.4")),
    "OCSP: speaks twice": lambda k: answered("unknown", k, said(k), said(k, "revoked")),
    "OCSP: more statements than anybody needs": lambda k: answered(
        "unknown", k, said(k), *(said(k, serial=n) for n in range(20))
    ),
    "OCSP: more certificates than anybody needs": lambda k: answered("unknown", k, certificates=[k.responder] * 9),
    "OCSP: stale by nextUpdate": lambda k: answered("unknown", k, said(k, next_update=NOW)),
    "OCSP: no nextUpdate, an hour old": lambda k: answered("unknown", k, said(k, this_update=NOW - HOUR)),
    "OCSP: older than the operator's rule": lambda k: answered(
        "unknown", k, said(k, this_update=NOW - 11 * MINUTE), rules=RevocationRules(max_ocsp_age_s=600)
    ),
    "OCSP: stale, and revoked for good": lambda k: answered(
        "revoked", k, said(k, "revoked", this_update=NOW - DAY), produced_at=NOW - DAY
    ),
    "OCSP: stale, and on hold": lambda k: answered(
        "unknown", k, said(k, "revoked", reason=ON_HOLD, this_update=NOW - DAY), produced_at=NOW - DAY
    ),
    "OCSP: stale and forged, and revoked for good": lambda k: answered(
        "unknown", k, said(k, "revoked", this_update=NOW - DAY), produced_at=NOW - DAY, signer=k.leaf
    ),
    "OCSP: stale, revoked for good, by a responder that has ended since": lambda k: answered(
        "revoked",
        k,
        said(k, "revoked", this_update=NOW - DAY),
        produced_at=NOW - DAY,
        signer=k.ocsp_responder(end=NOW - HOUR),
    ),
    "OCSP: thisUpdate in the future": lambda k: answered(
        "unknown", k, said(k, this_update=NOW + HOUR), produced_at=NOW + HOUR
    ),
    "OCSP: produced in the future": lambda k: answered("unknown", k, produced_at=NOW + HOUR),
    "OCSP: signed before the moment it speaks about": lambda k: answered("unknown", k, produced_at=NOW - DAY),
    "OCSP: times beyond the calendar": lambda k: answered("unknown", k, rules=RevocationRules(max_ocsp_age_s=10**12)),
    "OCSP: no nonce repeated": lambda k: answered("unknown", k, nonce=None),
    "OCSP: another nonce": lambda k: answered("unknown", k, nonce=b"m" * 32),
    "OCSP: another nonce where a missing one is allowed": lambda k: answered(
        "unknown", k, nonce=b"m" * 32, rules=RevocationRules(require_ocsp_nonce=False)
    ),
    "OCSP: an unknown critical extension": lambda k: answered(
        "unknown", k, extensions=[minting.extension("1.2.398.999.9", NULL, critical=True)]
    ),
    "OCSP: an unknown critical extension in the statement": lambda k: answered(
        "unknown", k, said(k, extensions=[minting.extension("1.2.398.999.9", NULL, critical=True)])
    ),
    "OCSP: signed by another key": wrong_signature,
    "OCSP: not signed (zeros)": lambda k: raw_answer("unknown", k, unsigned(k)),
    "OCSP: an algorithm that is not in the table": lambda k: answered("unknown", k, algorithm=UNKNOWN_ALGORITHM),
    "OCSP: SHA-1": lambda k: answered("unknown", k, algorithm=SHA1_RSA),
    "OCSP: the responder's certificate is nowhere": lambda k: answered("unknown", k, certificates=[]),
    "OCSP: a self-made responder": lambda k: answered(
        "unknown", k, signer=k.mint("responder", key="foreign", extended=(OCSP_SIGNING,), extensions=[MARK])
    ),
    "OCSP: another authority's responder": lambda k: answered(
        "unknown", k, signer=k.ocsp_responder(issuer=k.foreign), trusted=[k.foreign]
    ),
    "OCSP: the root's responder": lambda k: answered("unknown", k, signer=k.ocsp_responder(issuer=k.root)),
    "OCSP: a responder of the issuer's name and another key": lambda k: answered(
        "unknown",
        k,
        signer=k.ocsp_responder(issuer=(twin := k.authority("issuing", k.root, key="foreign"))),
        trusted=[twin],
    ),
    "OCSP: a leaf signs": lambda k: answered("unknown", k, signer=k.leaf),
    "OCSP: a responder for every purpose but this": lambda k: answered(
        "unknown", k, signer=k.ocsp_responder(extended=("2.5.29.37.0",))
    ),
    "OCSP: a responder whose key does not sign": lambda k: answered(
        "unknown", k, signer=k.ocsp_responder(usage=("keyEncipherment",))
    ),
    "OCSP: an expired responder": lambda k: answered("unknown", k, signer=k.ocsp_responder(end=NOW - HOUR)),
    "OCSP: a responder of tomorrow": lambda k: answered(
        "unknown", k, signer=k.ocsp_responder(begin=NOW + DAY, end=NOW + 2 * DAY)
    ),
    "OCSP: a responder with an unknown critical extension": lambda k: answered(
        "unknown", k, signer=k.ocsp_responder(extensions=[MARK, critical()])
    ),
    "OCSP: a responder that nobody can check": lambda k: answered("unknown", k, signer=k.ocsp_responder(no_check=None)),
    "OCSP: a revoked responder": lambda k: answered(
        "good",  # the list that revokes it says itself that the leaf is good
        k,
        said(k, "revoked", reason=ON_HOLD),
        crls=[k.crl(k.issuing, entry(k.responder.parsed.serial))],
    ),
    # ------------------------------------------------ answers and lists together
    "both: good and good": lambda k: both("good", k, k.clean),
    "both: the list names it for good, the fresher answer says good": lambda k: both(
        "revoked", k, k.crl(k.issuing, naming(k))
    ),
    "both: the list has it on hold, the fresher answer says good": lambda k: both(
        "good", k, k.crl(k.issuing, naming(k, HOLD))
    ),
    "both: the answer says revoked, the list nothing": lambda k: both("revoked", k, k.clean, said(k, "revoked")),
    "both: the answer is fresher and says on hold": lambda k: both(
        "revoked", k, k.clean, said(k, "revoked", reason=ON_HOLD)
    ),
    "both: the list is fresher than the hold": lambda k: both(
        "good", k, k.crl(k.issuing, this_update=NOW - SECOND), said(k, "revoked", reason=ON_HOLD)
    ),
    "both: equally fresh, one says on hold": lambda k: both(
        "revoked", k, k.crl(k.issuing, this_update=NOW - MINUTE), said(k, "revoked", reason=ON_HOLD)
    ),
    "both: the answer is stale, the list good": lambda k: both("good", k, k.clean, said(k, this_update=NOW - DAY)),
    "both: the answer is stale and says good, the list names it": lambda k: both(
        "revoked", k, k.crl(k.issuing, naming(k)), said(k, this_update=NOW - DAY)
    ),
    "both: the answer is stale and says revoked, the list is older and good": lambda k: both(
        "revoked",
        k,
        k.crl(k.issuing, this_update=NOW - 3 * DAY),
        said(k, "revoked", this_update=NOW - DAY),
        produced_at=NOW - DAY,
    ),
    "both: the answer is stale and says revoked, the list is newer and good": lambda k: both(
        "good",
        k,
        k.crl(k.issuing, this_update=NOW - HOUR),
        said(k, "revoked", this_update=NOW - DAY),
        produced_at=NOW - DAY,
    ),
    "both: the list is stale, the answer good": lambda k: both(
        "good", k, k.crl(k.issuing, this_update=NOW - 9 * DAY, next_update=NOW - DAY)
    ),
    "both: both stale": lambda k: both(
        "unknown",
        k,
        k.crl(k.issuing, this_update=NOW - 9 * DAY, next_update=NOW - DAY),
        said(k, this_update=NOW - DAY),
    ),
    "both: the responder does not know it, the list is good": lambda k: both("good", k, k.clean, said(k, "unknown")),
    "both: tryLater, the list is good": lambda k: both("good", k, k.clean, status=3),
    "both: a forged answer says good, the list names it": lambda k: both(
        "revoked", k, k.crl(k.issuing, naming(k)), signer=k.leaf
    ),
}


def unsigned(kit: Kit) -> bytes:
    """A response whose signature is zeros."""
    der = ocsp_answer(said(kit), signer=kit.issuing, nonce=NONCE)
    basic = minting.parser.parse(minting.elements(minting.elements(minting.elements(der)[1])[0])[1])[4]
    data, algorithm, signature = minting.elements(basic)
    zeros = minting.bits(bytes(len(minting.parser.parse(signature)[4]) - 1))
    inner = sequence(oid("1.3.6.1.5.5.7.48.1.1"), minting.octets(sequence(data, algorithm, zeros)))
    return sequence(minting.der(0x0A, b"\x00"), minting.der(0xA0, inner))


CASES: Table = {
    **PATHS,
    **VALIDITY,
    **AUTHORITIES,
    **NAMES,
    **PURPOSES,
    **SIGNERS,
    **LISTS,
    **DELTAS,
    **ANSWERS,
}

#: of each family, as the project promises
PROMISED = 120


@pytest.mark.parametrize("family", KEYS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_situation_is_decided_right(family: str, case: Callable[[Kit], Case]) -> None:
    given = case(kit_of(family))
    assert outcome(given) == given.expect


@pytest.mark.parametrize("family", KEYS)
def test_there_are_as_many_cases_as_promised(family: str, record_property: Callable[[str, object], None]) -> None:
    tables = (PATHS, VALIDITY, AUTHORITIES, NAMES, PURPOSES, SIGNERS, LISTS, DELTAS, ANSWERS)
    assert len(CASES) == sum(len(table) for table in tables)  # no name stands twice
    record_property(f"decided cases, {family}", len(CASES))
    print(f"{family}: {len(CASES)} decided cases")
    assert len(CASES) >= PROMISED
    assert kit_of(family).leaf.parsed.key_family == {"rsa": "rsa", "gost": "gost-2015-512"}[family]
