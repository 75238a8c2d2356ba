"""Revocation: each row is one CRL situation. Only one row kind may ever say "good"."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

from gateway.trust.crl import CertificateRevocationList
from gateway.trust.path import build_path
from gateway.trust.revocation import check_path_revocation, check_revocation
from gateway.trust.store import sort_out
from gateway.trust.verdict import RevocationRules, RevocationState
from tests.trust.minting import (
    DAY,
    NOW,
    Minted,
    authority,
    critical,
    crl,
    crl_der,
    ec_key,
    entry,
    mint,
    parsed_crl,
    rsa_key,
)

GOOD, REVOKED, UNKNOWN = RevocationState.GOOD, RevocationState.REVOKED, RevocationState.UNKNOWN

ROOT = authority("root")
ISSUING = authority("issuing", ROOT)
POINT = "http://crl.example.invalid/one.crl"


def distribution_points(*uris: str) -> tuple[x509.ExtensionType, bool]:
    points = [
        x509.DistributionPoint([x509.UniformResourceIdentifier(uri)], relative_name=None, reasons=None, crl_issuer=None)
        for uri in uris
    ]
    return x509.CRLDistributionPoints(points), False


LEAF = mint("leaf", ISSUING, extensions=[distribution_points(POINT)])
SERIAL = LEAF.parsed.serial
OTHER = entry(SERIAL + 100_000)


def scope(**settings: Any) -> list[tuple[x509.ExtensionType, bool]]:
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


def uri(value: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(value)]


def null_parameters_outside(lists: Any) -> None:
    """What the national CRL of 2026 does: NULL in one AlgorithmIdentifier, nothing in the other."""
    lists["signature_algorithm"] = {"algorithm": "sha256_ecdsa", "parameters": core.Null()}
    assert lists["tbs_cert_list"]["signature"].dump() != lists["signature_algorithm"].dump()


def other_algorithm_inside(lists: Any) -> None:
    lists["tbs_cert_list"]["signature"] = {"algorithm": "sha384_ecdsa"}


def sha1_crl(issuer: Minted) -> CertificateRevocationList:
    def change(lists: Any) -> None:
        lists["tbs_cert_list"]["signature"] = {"algorithm": "sha1_rsa"}
        lists["signature_algorithm"] = {"algorithm": "sha1_rsa"}

    return parsed_crl(crl_der(issuer, change=change, digest=SHA1()))


RSA_ISSUING = authority("rsa-issuing", ROOT, key=rsa_key("rsa-issuing"))
RSA_LEAF = mint("rsa-leaf", RSA_ISSUING)
NO_CRL_SIGN = authority("no-crl-sign", ROOT, usage=("keyCertSign",))
SILENT = authority("silent-usage", usage=None)


@dataclass(frozen=True)
class Situation:
    crls: list[CertificateRevocationList]
    signer: Minted = LEAF
    issuer: Minted = ISSUING
    at: dt.datetime = NOW
    rules: RevocationRules = RevocationRules()  # noqa: RUF009
    says: str = ""


def one(*entries: x509.RevokedCertificate, says: str = "", **changes: Any) -> Situation:
    return Situation([crl(ISSUING, *entries, **changes)], says=says)


def revoking(reason: x509.ReasonFlags | None = None) -> x509.RevokedCertificate:
    return entry(SERIAL, reason)


Case = tuple[RevocationState, Callable[[], Situation]]

CASES: dict[str, Case] = {
    # ------------------------------------------------ good
    "an empty CRL": (GOOD, one),
    "a CRL that names others": (GOOD, lambda: one(OTHER)),
    "the first moment of the CRL": (GOOD, lambda: one(this_update=NOW)),
    "a second before nextUpdate": (GOOD, lambda: one(next_update=NOW + dt.timedelta(seconds=1))),
    "no nextUpdate, young enough": (GOOD, lambda: one(next_update=None, this_update=NOW - dt.timedelta(hours=23))),
    "no CRL number": (GOOD, lambda: one(number=None)),
    "only about user certificates": (GOOD, lambda: one(extensions=scope(only_contains_user_certs=True))),
    "its own distribution point": (GOOD, lambda: one(extensions=scope(full_name=uri(POINT)))),
    "an extension that is not critical and unknown": (GOOD, lambda: one(extensions=[(critical()[0], False)])),
    "inner and outer AlgorithmIdentifier differ by NULL": (
        GOOD,
        lambda: one(change=null_parameters_outside),
    ),
    "a newer CRL takes it off hold": (
        GOOD,
        lambda: Situation([crl(ISSUING, revoking(), this_update=NOW - 3 * DAY), crl(ISSUING, number=2)]),
    ),
    "a newer CRL that is not yet in force is passed over": (
        GOOD,
        lambda: Situation([crl(ISSUING), crl(ISSUING, revoking(), this_update=NOW + DAY)]),
    ),
    "a forged newer CRL is passed over": (
        GOOD,
        lambda: Situation([crl(ISSUING), crl(ISSUING, revoking(), this_update=NOW, key=ec_key("forger"))]),
    ),
    "an issuer that states no key usage": (
        GOOD,
        lambda: Situation([crl(SILENT)], signer=mint("x", SILENT), issuer=SILENT),
    ),
    "a critical extension in an entry that is understood": (
        GOOD,
        lambda: one(entry(SERIAL + 1, None, (x509.InvalidityDate(NOW - 3 * DAY), True))),
    ),
    # ------------------------------------------------ revoked
    "named": (REVOKED, lambda: one(revoking(), says="unspecified")),
    "named among others": (REVOKED, lambda: one(OTHER, revoking(), entry(SERIAL + 1))),
    "key compromise": (REVOKED, lambda: one(revoking(x509.ReasonFlags.key_compromise), says="keyCompromise")),
    "on hold": (REVOKED, lambda: one(revoking(x509.ReasonFlags.certificate_hold), says="certificateHold")),
    "removed from a complete CRL": (REVOKED, lambda: one(revoking(x509.ReasonFlags.remove_from_crl))),
    "revoked in the newer CRL only": (
        REVOKED,
        lambda: Situation([crl(ISSUING, this_update=NOW - 3 * DAY), crl(ISSUING, revoking(), number=2)]),
    ),
    "revoked, in its distribution point's CRL": (
        REVOKED,
        lambda: one(revoking(), extensions=scope(full_name=uri(POINT))),
    ),
    "revoked, with the NULL difference": (
        REVOKED,
        lambda: one(revoking(), change=null_parameters_outside),
    ),
    # ------------------------------------------------ unknown
    "no CRL": (UNKNOWN, lambda: Situation([], says="there is no CRL")),
    "another issuer's CRL": (UNKNOWN, lambda: Situation([crl(ROOT)], says="there is no CRL")),
    "the issuer's name, another key": (
        UNKNOWN,
        lambda: one(key=ec_key("forger"), says="was not signed by the key"),
    ),
    "revoked by a forged CRL": (UNKNOWN, lambda: one(revoking(), key=ec_key("forger"))),
    "an issuer that may not sign CRLs": (
        UNKNOWN,
        lambda: Situation(
            [crl(NO_CRL_SIGN)], signer=mint("x", NO_CRL_SIGN), issuer=NO_CRL_SIGN, says="not meant to sign CRLs"
        ),
    ),
    "nextUpdate has come": (UNKNOWN, lambda: one(next_update=NOW, says="replaced")),
    "expired long ago": (UNKNOWN, lambda: one(this_update=NOW - 90 * DAY, next_update=NOW - 60 * DAY)),
    "from the future": (UNKNOWN, lambda: one(this_update=NOW + DAY, says="later than")),
    "no nextUpdate and a day old": (UNKNOWN, lambda: one(next_update=None, this_update=NOW - DAY)),
    "no nextUpdate and older than the operator's rule": (
        UNKNOWN,
        lambda: Situation(
            [crl(ISSUING, next_update=None, this_update=NOW - dt.timedelta(minutes=11))],
            rules=RevocationRules(max_age_without_next_update_s=600),
        ),
    ),
    "a rule beyond the calendar believes nothing": (
        UNKNOWN,
        lambda: Situation(
            [crl(ISSUING, next_update=None)], rules=RevocationRules(max_age_without_next_update_s=10**12)
        ),
    ),
    "a delta CRL": (
        UNKNOWN,
        lambda: one(extensions=[(x509.DeltaCRLIndicator(1), True)], says="delta"),
    ),
    "an indirect CRL": (UNKNOWN, lambda: one(extensions=scope(indirect_crl=True), says="indirect")),
    "an entry of another issuer": (
        UNKNOWN,
        lambda: one(entry(SERIAL + 1, None, (x509.CertificateIssuer([x509.DirectoryName(ROOT.name)]), True))),
    ),
    "only some reasons": (
        UNKNOWN,
        lambda: one(
            extensions=scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])), says="some reasons"
        ),
    ),
    "only about authorities": (
        UNKNOWN,
        lambda: one(extensions=scope(only_contains_ca_certs=True), says="other kind"),
    ),
    "only about attribute certificates": (
        UNKNOWN,
        lambda: one(extensions=scope(only_contains_attribute_certs=True), says="attribute certificates"),
    ),
    "another distribution point": (
        UNKNOWN,
        lambda: one(extensions=scope(full_name=uri("http://crl.example.invalid/two.crl")), says="distribution point"),
    ),
    "a distribution point that is no URI": (
        UNKNOWN,
        lambda: one(extensions=scope(full_name=[x509.DNSName("x.invalid")]), says="not understood"),
    ),
    "a distribution point relative to the issuer": (
        UNKNOWN,
        lambda: one(
            extensions=scope(
                relative_name=x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "one")])
            ),
            says="not understood",
        ),
    ),
    "a partition, and a signer that names no distribution point": (
        UNKNOWN,
        lambda: Situation([crl(ISSUING, extensions=scope(full_name=uri(POINT)))], signer=mint("plain", ISSUING)),
    ),
    "a partition, and distribution points that cannot be read": (
        UNKNOWN,
        lambda: Situation(
            [crl(ISSUING, extensions=scope(full_name=uri(POINT)))],
            signer=mint(
                "odd",
                ISSUING,
                extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.31"), b"\x30\x01\x02"), False)],
            ),
        ),
    ),
    "a partition, and a distribution point without a name": (
        UNKNOWN,
        lambda: Situation(
            [crl(ISSUING, extensions=scope(full_name=uri(POINT)))],
            signer=mint(
                "odd",
                ISSUING,
                extensions=[
                    (
                        x509.CRLDistributionPoints(
                            [x509.DistributionPoint(None, None, None, [x509.DirectoryName(ROOT.name)])]
                        ),
                        False,
                    )
                ],
            ),
        ),
    ),
    "an unknown critical extension": (UNKNOWN, lambda: one(extensions=[critical()], says="critical extension")),
    "an unknown critical extension in an entry": (
        UNKNOWN,
        lambda: one(entry(SERIAL + 1, None, critical()), entry(SERIAL + 2, None, critical()), says="an entry has"),
    ),
    "signed with SHA-1": (
        UNKNOWN,
        lambda: Situation([sha1_crl(RSA_ISSUING)], signer=RSA_LEAF, issuer=RSA_ISSUING, says="SHA-1"),
    ),
    "two different algorithms inside and outside": (
        UNKNOWN,
        lambda: one(change=other_algorithm_inside, says="two different signature algorithms"),
    ),
}


@pytest.mark.parametrize(("expected", "case"), CASES.values(), ids=CASES.keys())
def test_a_certificate_is_good_revoked_or_unknown(expected: RevocationState, case: Callable[[], Situation]) -> None:
    given = case()
    material = sort_out([], given.crls, rules=given.rules)
    found = check_revocation(given.signer.parsed, given.issuer.parsed, material, at=given.at)
    assert found.status is expected, found.detail
    assert given.says in found.detail
    if expected is UNKNOWN:
        assert (found.source, found.as_of, found.holds_from, found.holds_before) == ("none", None, None, None)
    else:
        assert found.source == "crl"
        assert found.as_of is not None
        assert found.as_of <= given.at
        assert found.holds_from is not None
        assert found.holds_before is not None
        assert found.holds_from <= given.at < found.holds_before


def test_an_older_list_holds_only_until_the_newer_one_is_in_force() -> None:
    material = sort_out([], [crl(ISSUING), crl(ISSUING, revoking(), this_update=NOW + DAY)])
    assert check_revocation(LEAF.parsed, ISSUING.parsed, material, at=NOW).holds_before == NOW + DAY
    later = check_revocation(LEAF.parsed, ISSUING.parsed, material, at=NOW + DAY)
    assert later.status is REVOKED


def test_a_revoked_serial_of_another_authority_means_nothing() -> None:
    same_name = authority("issuing", ROOT, key=ec_key("second-issuing"))
    material = sort_out([], [crl(same_name, revoking()), crl(ISSUING, this_update=NOW - 2 * DAY)])
    assert check_revocation(LEAF.parsed, ISSUING.parsed, material, at=NOW).status is GOOD


@pytest.mark.parametrize(
    ("of_root", "of_issuing", "expected"),
    [
        ("empty", "empty", GOOD),
        ("empty", None, UNKNOWN),
        (None, "empty", UNKNOWN),
        (None, None, UNKNOWN),
        ("empty", "leaf", REVOKED),
        (None, "leaf", REVOKED),
        ("issuing", "empty", REVOKED),
        ("issuing", None, REVOKED),
    ],
)
def test_every_certificate_of_the_path_but_the_anchor_is_looked_up(
    of_root: str | None, of_issuing: str | None, expected: RevocationState
) -> None:
    crls = []
    if of_root:
        crls.append(crl(ROOT, *([entry(ISSUING.parsed.serial)] if of_root == "issuing" else []), this_update=NOW - DAY))
    if of_issuing:
        crls.append(crl(ISSUING, *([revoking()] if of_issuing == "leaf" else []), this_update=NOW - 2 * DAY))
    material = sort_out([ROOT.parsed, ISSUING.parsed], crls)
    path = build_path(LEAF.parsed, material, at=NOW)
    found = check_path_revocation(path, material, at=NOW)
    assert found.status is expected
    if expected is GOOD:
        assert found.as_of == NOW - 2 * DAY  # the oldest evidence is the age of the whole
        assert (found.holds_from, found.holds_before) == (NOW - DAY, NOW + 30 * DAY)


def test_an_anchor_that_signs_itself_has_nobody_who_could_revoke_it() -> None:
    pinned = mint("pinned")
    material = sort_out([pinned.parsed], [crl(pinned)])
    found = check_path_revocation(build_path(pinned.parsed, material, at=NOW), material, at=NOW)
    assert found.status is UNKNOWN
