"""A judge that is not ours: signxml over the Body of a reply. Used by the demo; the tests have more of them."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.verifier import SignatureConfiguration, XMLVerifier

from gateway.signing import names

_LOCATION: Final = f"./{{{names.SOAP_11}}}Header/{{{names.WSSE}}}Security/"


def judge(reply: bytes, certificate_pem: bytes) -> None:
    """Raises signxml's own error when it does not take the signature."""
    certificate = load_pem_x509_certificate(certificate_pem)
    XMLVerifier().verify(
        reply,
        x509_cert=certificate.public_bytes(Encoding.PEM).decode(),
        id_attribute="Id",
        expect_config=SignatureConfiguration(
            location=_LOCATION,
            require_x509=True,
            expect_references=1,
            signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
            digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
        ),
    )
