"""Other implementations, asked one thing only: does some signature of this message hold? Not whom they let through."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import signxml
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.signing.certificate import Certificate
from tests.hostile.wrapping import DS

_ID_NAMES = ("Id", "ID", "id")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """libxml2 of one judge writes to file descriptor 2 what it thinks of the forgeries."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def signature_holds(data: bytes, signer: Certificate) -> int:
    """How many of the two judges find that the first signature of the document holds with the genuine key."""
    certificate = x509.load_der_x509_certificate(signer.der)
    with _quiet():
        return _first(data, certificate) + _second(data, certificate)


def _first(data: bytes, certificate: x509.Certificate) -> bool:
    try:
        root = etree.fromstring(data)
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(certificate.public_bytes(Encoding.PEM), xmlsec.KeyFormat.CERT_PEM)
        for element in root.iter(etree.Element):
            for name in map(str, element.attrib):
                local = name.rpartition("}")[2]
                if local in _ID_NAMES:
                    context.register_id(element, local, name[1:].partition("}")[0] if name[0] == "{" else None)
        context.verify(next(root.iter(f"{{{DS}}}Signature")))
    except (xmlsec.Error, StopIteration, etree.XMLSyntaxError, ValueError, TypeError):
        return False
    return True


def _second(data: bytes, certificate: x509.Certificate) -> bool:
    configuration = signxml.SignatureConfiguration(location=".//")
    try:
        signxml.XMLVerifier().verify(data, x509_cert=certificate, expect_config=configuration)
    except Exception:  # it raises errors of its own, of lxml and of cryptography
        return False
    return True
