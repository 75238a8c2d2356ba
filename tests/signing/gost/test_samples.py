"""The public test hierarchy of the national authority: what its software signed, and what we sign with its keys."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from asn1crypto import core, pem
from lxml import etree

from gateway.signing.certificate import Certificate
from gateway.signing.gost import asn1
from gateway.signing.gost.backend import GostBackend
from gateway.signing.gost.engine import EngineBackend
from gateway.signing.gost.own import OwnBackend
from gateway.signing.gost.pkcs12 import Container, read_container
from gateway.xml import canonicalize, parse

PASSWORD = b"Qwerty12"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
_NATIONAL = "urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:"


@pytest.fixture(params=["own", "engine"])
def backend(request: pytest.FixtureRequest) -> GostBackend:
    one: GostBackend = request.getfixturevalue({"own": "own", "engine": "gost_engine"}[request.param])
    return one


def _der(path: Path) -> bytes:
    data = path.read_bytes()
    return pem.unarmor(data)[2] if pem.detect(data) else data


def _certificate(path: Path) -> Certificate:
    return Certificate.from_der(_der(path))


def _holds(backend: GostBackend, issuer: Certificate, data: bytes, signed: bytes) -> bool:
    key = asn1.read_public_key(issuer.spki_der)
    assert key.family is asn1.GOST_2015_512
    return backend.verify512(key.value, backend.digest512(data), signed)


def test_the_root_signs_itself_and_the_authority(samples: Path, backend: GostBackend) -> None:
    root = _certificate(samples / "root_test_gost_2022.cer")
    authority = _certificate(samples / "nca_gost2022_test.cer")
    assert asn1.family_of_signature(authority.signature_oid) is asn1.GOST_2015_512
    assert _holds(backend, root, root.tbs, root.signature)
    assert _holds(backend, root, authority.tbs, authority.signature)
    assert not _holds(backend, authority, authority.tbs, authority.signature)
    assert not _holds(backend, root, authority.tbs + b"\0", authority.signature)


def test_the_authority_signs_its_list(samples: Path, backend: GostBackend) -> None:
    """tbsCertList as it came: its AlgorithmIdentifier differs by a NULL from the outer one (PKI.md section 3)."""
    authority = _certificate(samples / "nca_gost2022_test.cer")
    outer = core.SequenceOf.load(_der(samples / "nca_gost2022_test.crl"), spec=core.Any, strict=True)
    tbs, _, signed = (outer[place].dump() for place in range(3))
    assert _holds(backend, authority, tbs, bytes(core.OctetBitString.load(signed)))


@pytest.fixture(params=["person_valid.p12", "person_revoked.p12"])
def container(request: pytest.FixtureRequest, samples: Path) -> Container:
    return read_container((samples / request.param).read_bytes(), PASSWORD)


def test_both_containers_open_and_the_key_is_that_of_the_certificate(
    samples: Path, container: Container, backend: GostBackend
) -> None:
    (der,) = container.certificates
    certificate = Certificate.from_der(der)
    assert container.private_key.family == certificate.key_family == "gost-2015-512"
    assert backend.public_key512(container.private_key.value) == asn1.read_public_key(certificate.spki_der).value
    authority = _certificate(samples / "nca_gost2022_test.cer")
    assert _holds(backend, authority, certificate.tbs, certificate.signature)
    # the authority writes keys as we do
    assert asn1.write_public_key(asn1.read_public_key(certificate.spki_der)) == certificate.spki_der


def test_the_document_of_the_national_client_holds(samples: Path, backend: GostBackend) -> None:
    root = parse((samples / "enveloped_signed.xml").read_bytes())
    (signature_element,) = root.findall(f"{DS}Signature")
    signed_info = signature_element.find(f"{DS}SignedInfo")
    assert signed_info is not None

    def text(name: str) -> str:
        found = signature_element.find(f".//{DS}{name}")
        assert found is not None
        return found.text or ""

    def algorithm(name: str) -> str | None:
        found = signed_info.find(f".//{DS}{name}")
        assert found is not None
        return found.get("Algorithm")

    assert algorithm("SignatureMethod") == _NATIONAL + "gostr34102015-gostr34112015-512"
    assert algorithm("DigestMethod") == _NATIONAL + "gostr34112015-512"
    signed_bytes = canonicalize(signed_info, exclusive=False)
    signer = Certificate.from_der(base64.b64decode(text("X509Certificate")))
    assert _holds(backend, signer, signed_bytes, base64.b64decode(text("SignatureValue")))
    assert not _holds(backend, signer, signed_bytes + b" ", base64.b64decode(text("SignatureValue")))

    expected = base64.b64decode(text("DigestValue"))
    parent = signature_element.getparent()
    assert parent is not None
    parent.remove(signature_element)
    assert backend.digest512(canonicalize(root, exclusive=False, whole_document=True)) == expected
    message = root.find("message")
    assert message is not None
    message.text = (message.text or "") + "x"
    assert backend.digest512(canonicalize(root, exclusive=False, whole_document=True)) != expected


def test_what_we_sign_with_the_persons_key_the_engine_verifies_and_the_other_way(
    container: Container, own: OwnBackend, gost_engine: EngineBackend
) -> None:
    certificate = Certificate.from_der(container.certificates[0])
    public_key = asn1.read_public_key(certificate.spki_der).value
    document = etree.tostring(etree.fromstring("<application>invented</application>"), method="c14n")
    digest = own.digest512(document)
    assert gost_engine.verify512(public_key, digest, own.sign512(container.private_key.value, digest))
    assert own.verify512(public_key, digest, gost_engine.sign512(container.private_key.value, digest))
