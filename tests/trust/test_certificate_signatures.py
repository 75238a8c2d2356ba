"""The table of algorithms, and the national ones on real samples where they are beside this checkout."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.gost.asn1 import (
    GOST_2004,
    GOST_2015_256,
    GOST_2015_512,
    KeyFamily,
    PublicKey,
    write_public_key,
)
from gateway.signing.gost.curves import Group
from gateway.signing.gost.gost94 import gost94
from gateway.signing.gost.pkcs12 import read_container
from gateway.signing.gost.signature import public_key, sign
from gateway.signing.gost.streebog import streebog256, streebog512
from gateway.trust.certificate_signatures import (
    ALGORITHMS,
    SignedObject,
    check_key_strength,
    check_signed_by,
    of_certificate,
)
from gateway.trust.crl import read_crls
from gateway.trust.digests import DIGESTS
from gateway.trust.store import TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationState, SignerRevoked
from tests.trust.minting import (
    NOW,
    Minted,
    authority,
    bits,
    crl,
    crl_der,
    elements,
    entry,
    extension,
    gost_key,
    mint,
    parsed,
    rebuilt,
    sequence,
)

_SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "pki-test"
samples = pytest.mark.skipif(not _SAMPLES.is_dir(), reason="the shared samples are not beside this checkout")

_DIGESTS = {"gost-2015-512": streebog512, "gost-2015-256": streebog256, "gost-2004": gost94}
FAMILIES = [GOST_2015_512, GOST_2015_256, GOST_2004]


def signer_of(family: KeyFamily, number: int = 7) -> tuple[Certificate, bytes]:
    """A certificate with a key of the family, and its private key."""
    private = number.to_bytes(family.curve.size_bytes, "little")
    spki = write_public_key(PublicKey(family, public_key(Group(family.curve), private)))

    def change(parts: list[bytes]) -> None:
        parts[6] = spki

    issuer = authority("root", key=gost_key("root"))
    return parsed(rebuilt(issuer.der, issuer.key, change)), private


def object_signed(family: KeyFamily, data: bytes, private: bytes) -> SignedObject:
    signature = sign(Group(family.curve), private, _DIGESTS[family.name](data))
    return SignedObject("thing", data, signature, family.signature_oid, family.signature_oid)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_every_national_family_is_verified(family: KeyFamily) -> None:
    issuer, private = signer_of(family)
    check_signed_by(object_signed(family, b"what was signed", private), issuer, step="test")
    signed = object_signed(family, b"what was signed", private)
    changed = SignedObject("thing", b"what was forged", signed.signature, signed.outer_oid, signed.inner_oid)
    with pytest.raises(TrustRefused) as caught:
        check_signed_by(changed, issuer, step="test")
    assert caught.value.code == "bad_certificate_signature"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_key_of_one_family_signs_nothing_of_another(family: KeyFamily) -> None:
    for other in FAMILIES:
        if other is not family:
            issuer, _ = signer_of(other)
            _, private = signer_of(family)
            with pytest.raises(TrustRefused) as caught:
                check_signed_by(object_signed(family, b"x", private), issuer, step="test")
            assert caught.value.code == "bad_certificate_signature"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_national_key_that_is_no_point_of_its_curve_is_refused(family: KeyFamily) -> None:
    issuer = authority("root", key=gost_key("root"))
    spki = write_public_key(PublicKey(family, bytes([1]) * 2 * family.curve.size_bytes))

    def change(parts: list[bytes]) -> None:
        parts[6] = spki

    with pytest.raises(TrustRefused) as caught:
        check_key_strength(parsed(rebuilt(issuer.der, issuer.key, change)), step="test")
    assert caught.value.code == "bad_certificate_key"


def test_what_is_not_proven_by_samples_is_marked_so() -> None:
    marks = {row.name: row.proven_by for row in ALGORITHMS.values() if row.proven_by}
    assert marks == {
        "GOST-2015-512": "national certificates and lists",
        "GOST-2015-256": "published vectors only",
        "GOST 34.310-2004": "national certificates and lists",
    }


def test_every_row_names_a_digest_that_can_be_calculated() -> None:
    assert {row.digest_oid for row in ALGORITHMS.values()} == set(DIGESTS)
    assert {oid: len(digest(b"")) for oid, digest in DIGESTS.items()} == {
        "2.16.840.1.101.3.4.2.1": 32,
        "2.16.840.1.101.3.4.2.2": 48,
        "2.16.840.1.101.3.4.2.3": 64,
        "1.2.398.3.10.1.3.3": 64,
        "1.2.398.3.10.1.3.2": 32,
        "1.2.398.3.10.1.3.1": 32,
    }


# ---------------------------------------------------------------- lengths at which a library re-encodes


@settings(max_examples=30)
@given(st.integers(100, 400))
def test_a_certificate_of_any_length_verifies(padding: int) -> None:
    root = authority("root", key=gost_key("root"))

    def change(parts: list[bytes]) -> None:
        inside = elements(parts[7])[0]
        padded = sequence(*elements(inside), extension("1.2.398.999.3", bytes(padding)))
        parts[7] = b"\xa3" + sequence(padded)[1:]

    certificate = parsed(rebuilt(root.der, root.key, change))
    check_signed_by(of_certificate(certificate), certificate, step="test")


def test_a_certificate_and_a_list_whose_length_ends_in_0x80_verify() -> None:
    root = authority("root", key=gost_key("root"))
    seen = 0
    for padding in range(256):

        def change(parts: list[bytes], padding: int = padding) -> None:
            inside = elements(parts[7])[0]
            padded = sequence(*elements(inside), extension("1.2.398.999.3", bytes(256 + padding)))
            parts[7] = b"\xa3" + sequence(padded)[1:]

        tbs = elements(root.der)[0]
        parts = elements(tbs)
        change(parts)
        if len(b"".join(parts)) % 256 == 128:
            certificate = parsed(rebuilt(root.der, root.key, change))
            check_signed_by(of_certificate(certificate), certificate, step="test")
            seen += 1
    assert seen == 1
    for serial_bytes in range(1, 20):
        der = crl_der(root, entry(256**serial_bytes // 2 - 1))
        seen += len(b"".join(elements(elements(der)[0]))) % 256 == 128
        (found,) = read_crls(der)
        signed = SignedObject("list", found.tbs, found.signature, found.signature_oid, found.tbs_signature_oid)
        check_signed_by(signed, root.parsed, step="test")
    assert seen == 2


# ---------------------------------------------------------------- the national test hierarchy


def _certificate(name: str) -> Certificate:
    (certificate,) = read_certificates((_SAMPLES / name).read_bytes())
    return certificate


def _national_store(with_list: bool = True) -> TrustStore:
    lists = read_crls((_SAMPLES / "nca_gost2022_test.crl").read_bytes()) if with_list else ()
    return TrustStore.of([_certificate("root_test_gost_2022.cer"), _certificate("nca_gost2022_test.cer")], lists)


def _person(name: str) -> Certificate:
    container = read_container((_SAMPLES / name).read_bytes(), b"Qwerty12")
    return Certificate.from_der(container.certificates[0])


@samples
def test_the_chain_of_the_national_test_hierarchy_verifies() -> None:
    root, issuing = _certificate("root_test_gost_2022.cer"), _certificate("nca_gost2022_test.cer")
    assert root.key_family == issuing.key_family == "gost-2015-512"
    check_signed_by(of_certificate(root), root, step="test")
    check_signed_by(of_certificate(issuing), root, step="test")
    assert _national_store().material.anchors == {root}


@samples
def test_the_national_list_verifies_though_its_algorithms_differ_by_a_null() -> None:
    (found,) = read_crls((_SAMPLES / "nca_gost2022_test.crl").read_bytes())
    tbs, outer, _ = elements((_SAMPLES / "nca_gost2022_test.crl").read_bytes())
    assert elements(tbs)[1] != outer  # the quirk is there
    assert (found.signature_oid, found.tbs_signature_oid) == (GOST_2015_512.signature_oid,) * 2
    signed = SignedObject("list", found.tbs, found.signature, found.signature_oid, found.tbs_signature_oid)
    check_signed_by(signed, _certificate("nca_gost2022_test.cer"), step="test")
    forged = SignedObject("list", found.tbs[:-1] + b"\x00", found.signature, found.signature_oid, found.signature_oid)
    with pytest.raises(TrustRefused):
        check_signed_by(forged, _certificate("nca_gost2022_test.cer"), step="test")


@samples
@pytest.mark.parametrize("name", ["person_valid.p12", "person_revoked.p12"])
def test_a_national_test_person_has_a_path(name: str) -> None:
    person = _person(name)
    at = min(NOW, person.not_after)
    verdict = validate(person, _national_store(), at=at, revocation=RevocationMode.OFF)
    assert [c.common_name for c in verdict.path.certificates[1:]] == [
        "ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (GOST) TEST 2022",
        "НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (GOST) TEST 2022",
    ]
    assert "person" in person.roles


@samples
def test_the_national_list_tells_the_revoked_test_person_from_the_valid_one() -> None:
    at = dt.datetime(2026, 8, 12, tzinfo=dt.UTC)
    verdict = validate(_person("person_valid.p12"), _national_store(), at=at, revocation=RevocationMode.PREFER)
    of_person, of_authority = verdict.revocation.each
    assert of_person.status is RevocationState.GOOD
    # there is no list of the root beside the samples: unknown, and never good
    assert of_authority.status is verdict.revocation.status is RevocationState.UNKNOWN
    with pytest.raises(SignerRevoked) as caught:
        validate(_person("person_revoked.p12"), _national_store(), at=at, revocation=RevocationMode.PREFER)
    # really revoked persons are listed as on hold (PKI.md section 3)
    assert caught.value.revocation.reason == "certificateHold"


def test_a_minted_gost_hierarchy_is_decided_by_the_same_code() -> None:
    root = authority("root", key=gost_key("root"))
    leaf: Minted = mint("leaf", root, key=gost_key("leaf"))
    store = TrustStore.of([root.parsed], [crl(root)])
    assert validate(leaf.parsed, store, at=NOW, revocation=RevocationMode.REQUIRE).path.anchor == root.parsed
    broken = Minted(sequence(*elements(leaf.der)[:2], bits(bytes(128))), leaf.key, leaf.name)
    with pytest.raises(TrustRefused):
        validate(broken.parsed, store, at=NOW, revocation=RevocationMode.REQUIRE)
