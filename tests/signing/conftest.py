"""Throw-away keys of this test run and a message to sign. Every name in them is invented."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree

from gateway.signing.algorithms import SIGNATURES, SignatureAlgorithm
from gateway.signing.certificate import Certificate
from gateway.signing.distinguished_names import NameKey
from gateway.signing.gost import engine
from gateway.signing.gost.asn1 import FAMILIES
from gateway.signing.gost.backend import GostBackend, choose_backend
from gateway.signing.keys import SoftwareKey
from gateway.signing.national import using_backend
from tests.signing.national_keys import NationalSigner, mint_national

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signer:
    """A private key with a self-signed certificate."""

    private_key: PrivateKey
    x509: x509.Certificate

    @property
    def certificate(self) -> Certificate:
        return Certificate.from_der(self.x509.public_bytes(Encoding.DER))

    @property
    def key_pem(self) -> bytes:
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def certificate_pem(self) -> bytes:
        return self.x509.public_bytes(Encoding.PEM)

    def key(self, algorithm: SignatureAlgorithm | None = None) -> SoftwareKey:
        family = self.certificate.key_family
        chosen = algorithm or next(row for row in SIGNATURES.values() if family in row.key_families)
        return SoftwareKey(self.certificate, chosen, self.private_key)


AnySigner = Signer | NationalSigner


def mint(name: str, private_key: PrivateKey) -> Signer:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'ТЕСТ "Ойдан шығарылған, қор"'),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "BIN000000000000"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "KZ"),
        ]
    )
    start = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(private_key, hashes.SHA256())
    )
    return Signer(private_key, certificate)


@pytest.fixture(scope="session")
def signer() -> Signer:
    """The genuine RSA signer."""
    return mint("TEST ГБДФЛ жүйесі", rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture(scope="session")
def stranger() -> Signer:
    """Somebody else's RSA key."""
    return mint("TEST Бөтен", rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture(scope="session")
def signers(signer: Signer) -> Mapping[str, AnySigner]:
    """By Certificate.key_family."""
    return {
        "rsa": signer,
        "ec-p256": mint("TEST P-256", ec.generate_private_key(ec.SECP256R1())),
        "ec-p384": mint("TEST P-384", ec.generate_private_key(ec.SECP384R1())),
        **{name: mint_national(f"TEST {name}", name) for name in FAMILIES},
    }


@pytest.fixture(params=["own", "engine"])
def national_backend(request: pytest.FixtureRequest) -> Iterator[GostBackend]:
    """Each backend in turn, in use for the test; our own code is allowed to sign."""
    if request.param == "engine":
        found = engine.available()
        if not found.usable:
            pytest.skip(found.reason)
    with using_backend(choose_backend(request.param, allow_variable_time=True)) as backend:
        yield backend


@pytest.fixture
def own_backend() -> Iterator[GostBackend]:
    with using_backend(choose_backend("own", allow_variable_time=True)) as backend:
        yield backend


class Known:
    """A CertificateIndex over a few certificates."""

    def __init__(self, *certificates: Certificate) -> None:
        self._found = {(one.issuer_key, one.serial): one for one in certificates}

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        return self._found.get((issuer_key, serial))


@pytest.fixture(scope="session")
def known(signers: Mapping[str, AnySigner], stranger: Signer) -> Known:
    """Certificates that a message may name by issuer and serial: the stranger's is known too, but signs nothing."""
    return Known(*(one.certificate for one in signers.values()), stranger.certificate)


MESSAGE = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
    '<ns2:SendMessage xmlns:ns2="http://bip.bee.kz/SyncChannel/v10/Types"><request><requestInfo>'
    "<messageId>7d0c7f6e-2b60-4d6e-9d55-4b5a3c6a1e01</messageId><serviceId>TEST_SERVICE</serviceId>"
    "<messageDate>2025-06-01T10:00:00+05:00</messageDate><sender><senderId>test</senderId></sender></requestInfo>"
    '<requestData><data xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xs="http://www.w3.org/2001/XMLSchema">'
    '<answer xsi:type="xs:string">GENUINE</answer><surname>Әбілқасымова</surname>'
    "<empty/><nil xsi:nil='true'/></data></requestData></request></ns2:SendMessage></soap:Body></soap:Envelope>"
)


@pytest.fixture
def body() -> etree._Element:
    """A soap:Body inside an envelope, as the wire room builds it."""
    return etree.fromstring(MESSAGE)[0]
