from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.errors import SignatureRefused
from gateway.signing.algorithms import (
    DIGESTS,
    REFUSED_BY_NAME,
    RSA_SHA256_URI,
    SHA256_URI,
    SIGNATURES,
    algorithm_for_key,
    check_family,
    digest_algorithm,
    signature_algorithm,
)
from tests.signing.conftest import Signer, mint


def test_every_row_is_found_by_its_uri_and_its_digest_belongs_to_it() -> None:
    for uri, row in SIGNATURES.items():
        assert signature_algorithm(uri) is row
        check_family(row, digest_algorithm(row.digest_uri))


@pytest.mark.parametrize(("uri", "name"), [(row.uri, row.name) for row in DIGESTS.values()])
def test_a_digest_is_what_its_name_says(uri: str, name: str) -> None:
    row = digest_algorithm(uri)
    assert row.digest(b"abc") == hashlib.new(name.replace("-", ""), b"abc").digest()
    assert len(row.digest(b"")) == row.size_bytes


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


def test_a_key_of_another_family_never_fits(signers: Mapping[str, Signer]) -> None:
    for row in SIGNATURES.values():
        for family, signer in signers.items():
            for size in (0, 1, 64, 96, 256):
                assert not row.holds(signer.certificate, b"data", bytes(size)), (row.name, family)


def test_ecdsa_halves_are_padded_to_the_order(signers: Mapping[str, Signer]) -> None:
    for family, size in (("ec-p256", 64), ("ec-p384", 96)):
        key = signers[family].key()
        assert {len(key.sign(bytes([i]))) for i in range(50)} == {size}


def test_a_short_rsa_key_is_refused_before_it_is_used() -> None:
    weak = mint("TEST weak", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    with pytest.raises(SignatureRefused) as caught:
        SIGNATURES[RSA_SHA256_URI].holds(weak.certificate, b"data", bytes(128))
    assert caught.value.code == "key_size"


def test_the_first_row_of_a_family_is_the_one_that_signs() -> None:
    chosen = {family: algorithm_for_key(family) for family in ("rsa", "ec-p256", "ec-p384")}
    assert [row.name for row in chosen.values() if row] == ["RSA-SHA256", "ECDSA-P256-SHA256", "ECDSA-P384-SHA384"]
    assert algorithm_for_key("gost-2004") is None
