"""National signatures on certificates; the others are tried through paths and CRLs."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.errors import KeyMaterialError, TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.gost.backend import choose_backend
from gateway.signing.gost.own import OwnBackend
from gateway.signing.national import using_backend
from gateway.trust.certificate_signatures import check_signed_by, of_certificate
from tests.signing.national_keys import mint_national

FAMILIES = ("gost-2015-512", "gost-2015-256", "gost-2004")


@pytest.mark.parametrize("backend", ["own", "auto"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_national_certificate_is_signed_by_its_issuer_and_nobody_else(family: str, backend: str) -> None:
    issuer, other = mint_national("TEST CA", family), mint_national("TEST басқа CA", family)
    with using_backend(choose_backend(backend)):
        check_signed_by(of_certificate(issuer.certificate), issuer.certificate, step="path")
        with pytest.raises(TrustRefused) as caught:
            check_signed_by(of_certificate(issuer.certificate), other.certificate, step="path")
        assert caught.value.code == "bad_certificate_signature"
        changed = dataclasses.replace(of_certificate(issuer.certificate), tbs=issuer.certificate.tbs + b"\0")
        with pytest.raises(TrustRefused):
            check_signed_by(changed, issuer.certificate, step="path")


def test_an_issuer_whose_key_is_no_point_signed_nothing() -> None:
    issuer = mint_national("TEST CA", "gost-2015-512").certificate
    point = issuer.spki_der[-128:]
    false = Certificate.from_der(issuer.der.replace(point, bytes([point[0] ^ 1]) + point[1:]))
    with pytest.raises(TrustRefused) as caught:
        check_signed_by(of_certificate(issuer), false, step="path")
    assert caught.value.code == "bad_certificate_signature"


def test_means_that_fail_are_not_the_issuers_doing() -> None:
    class Failing(OwnBackend):
        def verify512(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
            raise KeyMaterialError("broken", code="engine_failed")

    issuer = mint_national("TEST CA", "gost-2015-512").certificate
    with using_backend(Failing()), pytest.raises(KeyMaterialError):
        check_signed_by(of_certificate(issuer), issuer, step="path")
