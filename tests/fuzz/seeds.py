"""Genuine inputs to begin with, the same in every run: their RSA keys are reckoned from a label and guard nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import math
from functools import cache
from random import Random

from asn1crypto import pkcs12 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509 import ocsp
from lxml import etree

from gateway.model import Iin, iin_control_digit
from gateway.shep import sync_channel
from gateway.shep.envelope import build_envelope
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ErrorInfo, Property, RequestInfo, ResponseInfo, Sender
from gateway.shep.payload import PayloadCodec
from gateway.signing.algorithms import algorithm_for_key
from gateway.signing.enveloped import sign_enveloped
from gateway.signing.gost import pkcs12 as containers
from gateway.signing.gost.asn1 import FAMILIES, PrivateKey, PublicKey, write_private_key, write_public_key
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SoftwareKey
from gateway.signing.wss import sign_body
from tests.fuzz.mutations import Element, read_der, tlv, write_der
from tests.trust.minting import NOW, Minted, authority, critical, crl_der, entry, mint, name

SECOND = dt.timedelta(seconds=1)


@cache
def rsa_key(label: str) -> rsa.RSAPrivateKey:
    """An RSA-2048 key that is the same in every run."""
    random = Random(label)
    p, q = _prime(random), _prime(random)
    d = pow(65_537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65_537, p * q)
    )
    return numbers.private_key()


#: a candidate that shares a factor with this is no prime: that is told a hundred times quicker than by Fermat's test
_SMALL_PRIMES = math.prod(n for n in range(3, 2_000, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2)))


def _prime(random: Random) -> int:
    while True:
        candidate = random.getrandbits(1_024) | 3 << 1_022 | 1
        if math.gcd(candidate, _SMALL_PRIMES) > 1:
            continue
        if candidate % 65_537 != 1 and all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7)):
            return candidate


# ---------------------------------------------------------------- certificates and lists


@cache
def root() -> Minted:
    return authority("FUZZ TEST ROOT", key=rsa_key("root"), serial=1)


@cache
def signer(label: str) -> Minted:
    subject = name(
        f"FUZZ TEST {label}",
        (x509.NameOID.ORGANIZATION_NAME, 'ТЕСТ "Ойдан, шығарылған"'),
        (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "BIN000000000000"),
    )
    names = x509.GeneralNames([x509.UniformResourceIdentifier("http://crl.invalid/a.crl")])
    extensions = [
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.398.3.3.2.1"), None)]), False),
        (x509.CRLDistributionPoints([x509.DistributionPoint(list(names), None, None, None)]), False),
        (x509.SubjectAlternativeName([x509.DNSName("a.invalid")]), False),
        (x509.NameConstraints([x509.DNSName("invalid")], None), True),
        critical(),
    ]
    serial = int.from_bytes(hashlib.sha256(label.encode()).digest()[:18], "big")
    return mint(
        label, root(), key=rsa_key(label), subject=subject, serial=serial, extended=["1.2.398.3.3.4.1.1"],
        extensions=extensions,
    )  # fmt: skip


def key(label: str) -> SoftwareKey:
    minted = signer(label)
    algorithm = algorithm_for_key("rsa")
    assert algorithm is not None
    return SoftwareKey(minted.parsed, algorithm, minted.key)


def _national(family: str, der: bytes) -> bytes:
    """A certificate with the public key and the OIDs of a national family; its signature does not hold."""
    found = FAMILIES[family]
    key_bytes = bytes(range(1, 129)) if family == "gost-2015-512" else bytes(range(1, 65))
    spki = read_der(write_public_key(PublicKey(found, key_bytes)))
    outer = read_der(der)
    assert spki is not None
    assert outer is not None
    certificate = outer[0].content
    assert isinstance(certificate, list)
    tbs = certificate[0].content
    assert isinstance(tbs, list)
    algorithm = Element(0x30, [Element(0x06, x509_oid(found.signature_oid))])
    tbs[2] = certificate[1] = algorithm
    tbs[6] = spki[0]
    return write_der(outer)


def x509_oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for number in others:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return bytes(out)


@cache
def certificates() -> tuple[bytes, ...]:
    leaf = signer("genuine")
    return (leaf.der, root().der, leaf.pem, _national("gost-2015-512", leaf.der), _national("gost-2004", leaf.der))


@cache
def crls() -> tuple[bytes, ...]:
    entries = [
        entry(1_001, x509.ReasonFlags.key_compromise),
        entry(2**140, x509.ReasonFlags.certificate_hold),
        entry(3),
        entry(4, None, (x509.InvalidityDate(dt.datetime(2026, 1, 1)), False)),  # noqa: DTZ001  the builder wants it so
    ]
    point = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://crl.invalid/a.crl")], relative_name=None,
        only_contains_user_certs=True, only_contains_ca_certs=False, only_some_reasons=None, indirect_crl=False,
        only_contains_attribute_certs=False,
    )  # fmt: skip
    full = crl_der(root(), *entries)
    pem = x509.load_der_x509_crl(full).public_bytes(Encoding.PEM)
    return (
        full,
        pem,
        crl_der(root()),
        crl_der(root(), entries[0], extensions=[(point, True)]),
        crl_der(root(), entries[0], next_update=None, extensions=[(x509.DeltaCRLIndicator(1), True)]),
    )


@cache
def ocsp_answers() -> tuple[bytes, ...]:
    leaf = x509.load_der_x509_certificate(signer("genuine").der)
    issuer = x509.load_der_x509_certificate(root().der)
    at = NOW.replace(microsecond=0)

    def answer(status: ocsp.OCSPCertStatus, *, by_key: bool, nonce: bytes | None, certificates: bool) -> bytes:
        naming = ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME
        builder = ocsp.OCSPResponseBuilder().add_response(
            leaf, issuer, SHA256() if by_key else SHA1(), status, at, at + SECOND,
            at if status is ocsp.OCSPCertStatus.REVOKED else None,
            x509.ReasonFlags.certificate_hold if status is ocsp.OCSPCertStatus.REVOKED else None,
        ).responder_id(naming, issuer)  # fmt: skip
        if nonce:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        if certificates:
            builder = builder.certificates([issuer])
        return builder.sign(rsa_key("root"), SHA256()).public_bytes(Encoding.DER)

    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    return (
        answer(ocsp.OCSPCertStatus.GOOD, by_key=True, nonce=b"n" * 16, certificates=True),
        answer(ocsp.OCSPCertStatus.REVOKED, by_key=False, nonce=None, certificates=False),
        answer(ocsp.OCSPCertStatus.UNKNOWN, by_key=True, nonce=b"n", certificates=True),
        later.public_bytes(Encoding.DER),
    )


# ---------------------------------------------------------------- containers

PASSWORD = b"fuzz"
_DATA = tlv(0x06, x509_oid("1.2.840.113549.1.7.1"))


@cache
def pfx() -> tuple[bytes, ...]:
    private = ec.derive_private_key(int.from_bytes(hashlib.sha256(b"fuzz").digest(), "big") >> 1, ec.SECP256R1())
    leaf = mint("FUZZ TEST EC", root(), key=private, serial=7)
    certificate = x509.load_der_x509_certificate(leaf.der)
    weak = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())
        .build(PASSWORD)
    )
    strong = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(PASSWORD)
    )
    made = [pkcs12.serialize_key_and_certificates(b"n", private, certificate, None, how) for how in (weak, strong)]
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    keys = [plain] + [
        write_private_key(PrivateKey(family, bytes(range(1, size + 1))))
        for family, size in (("gost-2015-512", 64), ("gost-2015-256", 32), ("gost-2004", 32))
    ]
    return tuple(made + [with_mac(_plain_container(one, certificates()[3])) for one in keys])


def _plain_container(pkcs8: bytes, certificate: bytes) -> bytes:
    key_bag = tlv(0x30, tlv(0x06, x509_oid("1.2.840.113549.1.12.10.1.1")), tlv(0xA0, pkcs8))
    held = tlv(0x30, tlv(0x06, x509_oid("1.2.840.113549.1.9.22.1")), tlv(0xA0, tlv(0x04, certificate)))
    certificate_bag = tlv(0x30, tlv(0x06, x509_oid("1.2.840.113549.1.12.10.1.3")), tlv(0xA0, held))
    safe = tlv(0x30, _DATA, tlv(0xA0, tlv(0x04, tlv(0x30, key_bag, certificate_bag))))
    content = tlv(0x30, _DATA, tlv(0xA0, tlv(0x04, tlv(0x30, safe))))
    sha1 = tlv(0x30, tlv(0x06, x509_oid("1.3.14.3.2.26")), tlv(0x05))
    mac = tlv(0x30, tlv(0x30, sha1, tlv(0x04, b"\0" * 20)), tlv(0x04, b"saltsalt"), tlv(0x02, b"\2"))
    return tlv(0x30, tlv(0x02, b"\3"), content, mac)


def with_mac(data: bytes) -> bytes:
    """The container with the MAC that the password gives its content, where it still has the places for both."""
    outer = asn1.Pfx.load(data)
    mac = outer["mac_data"]
    hash_name = mac["mac"]["digest_algorithm"]["algorithm"].native
    salt, rounds = bytes(mac["mac_salt"]), mac["iterations"].native
    if not 0 < rounds < 100 or hash_name not in ("sha1", "sha256") or len(salt) > 1_000:
        return data
    secret = PASSWORD.decode().encode("utf-16-be") + b"\0\0"
    size = hashlib.new(hash_name).digest_size
    derived = containers.derive(hash_name, secret, salt, rounds, 3, size)
    value = hmac.digest(derived, bytes(outer["auth_safe"]["content"]), hash_name)
    old = bytes(mac["mac"]["digest"])
    return data.replace(old, value) if len(old) == size else data


# ---------------------------------------------------------------- messages

_PERSON = Iin(f"85010130055{iin_control_digit('85010130055')}")


@cache
def bodies() -> tuple[etree._Element, ...]:
    payload = etree.fromstring(
        '<q:Request xmlns:q="urn:r" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:xs="http://www.w3.org/2001/XMLSchema">'
        f'<iin xsi:type="xs:string">{_PERSON.value}</iin><surname>Әбілқасымова</surname>'
        '<nil xsi:nil="true"/></q:Request>'
    )
    info = RequestInfo(
        "m-1", "SERVICE", NOW, Sender("login", "secret"), "c-1", "r-1", (Property("k", "v"), Property("k2", "v2")),
        "{0f8fad5b-d9cb-469f-a165-70867728950e}",
    )  # fmt: skip
    response = ResponseInfo("m-2", NOW, SUCCESS, "m-1")
    error = ErrorInfo("SCE001", "қате", NOW, "data", ErrorInfo("SCE002", "inner", NOW))
    return (
        *(sync_channel.build_request(info, payload, codec) for codec in PayloadCodec),
        sync_channel.build_response(response, payload, PayloadCodec.CHILDREN),
        sync_channel.build_response(response, None, PayloadCodec.CHILDREN),
        sync_channel.build_fault(error),
    )


@cache
def envelopes() -> tuple[bytes, ...]:
    return tuple(build_envelope(body) for body in bodies())


@cache
def signed(label: str) -> tuple[bytes, ...]:
    forms = list(KeyInfoForm)
    return tuple(
        sign_body(body, key(label), form=forms[at % len(forms)], body_id="id-1") for at, body in enumerate(bodies())
    )


@cache
def documents(label: str) -> tuple[bytes, ...]:
    plain = etree.fromstring("<data><answer>GENUINE</answer><b a='1' xmlns:c='urn:c'><c:d/></b>Ұ</data>")
    once = sign_enveloped(plain, key(label))
    twice = sign_enveloped(etree.fromstring(once), key(label), form=KeyInfoForm.ISSUER_SERIAL)
    return once, twice
