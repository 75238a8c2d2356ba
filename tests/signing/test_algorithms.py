from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.errors import SignatureRefused
from gateway.signing.algorithms import (
    DIGESTS,
    GOST_2015_256_URI,
    GOST_34311_URI,
    REFUSED_BY_NAME,
    RSA_SHA256_URI,
    SHA256_URI,
    SIGNATURES,
    STREEBOG_256_URI,
    STREEBOG_512_URI,
    DigestAlgorithm,
    SignatureAlgorithm,
    algorithm_for_key,
    check_family,
    digest_algorithm,
    signature_algorithm,
)
from gateway.signing.gost.backend import GostBackend
from tests.signing.conftest import AnySigner, mint


def test_every_row_is_found_by_its_uri_and_its_digest_belongs_to_it() -> None:
    for uri, row in SIGNATURES.items():
        assert signature_algorithm(uri) is row
        check_family(row, digest_algorithm(row.digest_uri))


@pytest.mark.parametrize(("uri", "name"), [(row.uri, row.name) for row in DIGESTS.values() if row.family == "sha2"])
def test_a_digest_is_what_its_name_says(uri: str, name: str) -> None:
    row = digest_algorithm(uri)
    assert row.digest(b"abc") == hashlib.new(name.replace("-", ""), b"abc").digest()
    assert len(row.digest(b"")) == row.size_bytes


@pytest.mark.parametrize("uri", sorted(set(DIGESTS) - {GOST_34311_URI}))
def test_a_digest_of_pieces_is_that_of_the_whole(uri: str) -> None:
    row = digest_algorithm(uri)
    assert row.digest_of(iter([b"a", b"", b"bc"])) == row.digest(b"abc")


def test_the_digest_of_old_documents_is_not_reckoned_over_pieces() -> None:
    with pytest.raises(SignatureRefused) as refused:
        digest_algorithm(GOST_34311_URI).digest_of(iter([b"abc"]))
    assert refused.value.code == "algorithm_refused"


@pytest.mark.parametrize("uri", sorted(REFUSED_BY_NAME))
def test_an_algorithm_refused_by_name_is_refused_with_its_reason(uri: str) -> None:
    for find in (signature_algorithm, digest_algorithm):
        with pytest.raises(SignatureRefused) as caught:
            find(uri)
        assert caught.value.code == "algorithm_refused"
        assert REFUSED_BY_NAME[uri] in caught.value.message


@pytest.mark.parametrize(
    "uri", ["", "urn:unknown", "x" * 10_000, "\x1b[31m\n", SHA256_URI + " ", RSA_SHA256_URI.upper()]
)
def test_an_unknown_algorithm_is_refused_and_shown_harmlessly(uri: str) -> None:
    for find in (signature_algorithm, digest_algorithm):
        with pytest.raises(SignatureRefused) as caught:
            find(uri)
        assert caught.value.code == "algorithm_refused"
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 500


def test_a_digest_of_another_family_is_refused() -> None:
    foreign = dataclasses.replace(DIGESTS[SHA256_URI], family="gost-2015-512")
    with pytest.raises(SignatureRefused) as caught:
        check_family(SIGNATURES[RSA_SHA256_URI], foreign)
    assert caught.value.code == "family_mismatch"


def test_a_key_of_another_family_never_fits(signers: Mapping[str, AnySigner]) -> None:
    for row in SIGNATURES.values():
        for family, signer in signers.items():
            for size in (0, 1, 64, 96, 256):
                assert not row.holds(signer.certificate, b"data", bytes(size)), (row.name, family)


def test_ecdsa_halves_are_padded_to_the_order(signers: Mapping[str, AnySigner]) -> None:
    for family, size in (("ec-p256", 64), ("ec-p384", 96)):
        key = signers[family].key()
        assert {len(key.sign(bytes([i]))) for i in range(50)} == {size}


def test_a_short_rsa_key_is_refused_before_it_is_used() -> None:
    weak = mint("TEST weak", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    with pytest.raises(SignatureRefused) as caught:
        SIGNATURES[RSA_SHA256_URI].holds(weak.certificate, b"data", bytes(128))
    assert caught.value.code == "key_size"


def test_the_first_row_of_a_family_is_the_one_that_signs() -> None:
    chosen = {family: algorithm_for_key(family) for family in ("rsa", "ec-p256", "ec-p384", "gost-2015-512")}
    assert [row.name for row in chosen.values() if row] == [
        "RSA-SHA256",
        "ECDSA-P256-SHA256",
        "ECDSA-P384-SHA384",
        "GOST-2015-512",
    ]


@pytest.mark.parametrize("family", ["gost-2004", "gost-2015-256", "unsupported"])
def test_nothing_is_signed_with_a_family_that_is_only_verified(family: str) -> None:
    assert algorithm_for_key(family) is None


# the digests of "abc" and of nothing as they are published: RFC 6986's algorithm, RFC 5831 with its test parameters
@pytest.mark.parametrize(
    ("uri", "data", "digest"),
    [
        (
            STREEBOG_512_URI,
            b"",
            "8e945da209aa869f0455928529bcae4679e9873ab707b55315f56ceb98bef0a7"
            "362f715528356ee83cda5f2aac4c6ad2ba3a715c1bcd81cb8e9f90bf4c1c1a8a",
        ),
        (STREEBOG_256_URI, b"", "3f539a213e97c802cc229d474c6aa32a825a360b2a933a949fd925208d9ce1bb"),
        (GOST_34311_URI, b"", "ce85b99cc46752fffee35cab9a7b0278abb4c2d2055cff685af4912c49490f8d"),
        (GOST_34311_URI, b"abc", "f3134348c44fb1b2a277729e2285ebb5cb5e0f29c975bc753b70497c06a4d51d"),
    ],
)
def test_a_national_digest_is_the_published_one(
    uri: str, data: bytes, digest: str, national_backend: GostBackend
) -> None:
    assert digest_algorithm(uri).digest(data).hex() == digest


def test_national_digests_and_signatures_go_together_and_with_nothing_else() -> None:
    pairs = {(row.name, digest.name) for row in SIGNATURES.values() for digest in DIGESTS.values() if fit(row, digest)}
    assert {pair for pair in pairs if "GOST" in pair[0] or "SHA" not in pair[1]} == {
        ("GOST-2015-512", "Streebog-512"),
        ("GOST-2015-256", "Streebog-256"),
        ("GOST-2004", "GOST 34.311-95"),
    }


def fit(signature: SignatureAlgorithm, digest: DigestAlgorithm) -> bool:
    try:
        check_family(signature, digest)
    except SignatureRefused:
        return False
    return True


def test_what_was_proven_with_published_vectors_only_says_so() -> None:
    assert [row.name for row in SIGNATURES.values() if row.proven_by] == ["GOST-2015-256"]
    assert SIGNATURES[GOST_2015_256_URI].description == "GOST-2015-256 (proven by published vectors only)"
