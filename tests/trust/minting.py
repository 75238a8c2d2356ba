"""Certificates, CRLs, OCSP answers and time stamps made on the spot, right and wrong ones; all names invented.

EC keys by default, because they are quick. With a `GostKey` the same functions give national ones: what `cryptography`
cannot build is built with a stand-in key, and key, algorithm and signature are exchanged in the bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from asn1crypto import core, parser
from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.gost.asn1 import GOST_2015_512, PublicKey, write_public_key
from gateway.signing.gost.own import OwnBackend
from gateway.trust.crl import CertificateRevocationList, read_crls

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)

GOST = OwnBackend(allow_variable_time=True)


@dataclass(frozen=True)
class GostKey:
    """A GOST-2015-512 key; our own code signs with it, which is good enough for tests."""

    private: bytes

    @property
    def spki(self) -> bytes:
        return _gost_spki(self.private)


@cache
def _gost_spki(private: bytes) -> bytes:
    return write_public_key(PublicKey(GOST_2015_512, GOST.public_key512(private)))


PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | GostKey

_serials = count(1_000)


@cache
def ec_key(label: str, curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    curves: dict[str, ec.EllipticCurve] = {
        "secp256r1": ec.SECP256R1(),
        "secp384r1": ec.SECP384R1(),
        "secp521r1": ec.SECP521R1(),
    }
    return ec.generate_private_key(curves[curve])


@cache
def rsa_key(label: str, bits: int = 2_048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@cache
def gost_key(label: str) -> GostKey:
    number = int.from_bytes(hashlib.sha512(label.encode()).digest(), "big") % (GOST_2015_512.curve.q - 1) + 1
    return GostKey(number.to_bytes(64, "little"))


def key_bits(key: PrivateKey) -> bytes:
    """Content of the subjectPublicKey BIT STRING."""
    spki = key.spki if isinstance(key, GostKey) else key.public_key().public_bytes(Encoding.DER, _SPKI)
    return bytes(parser.parse(elements(spki)[1])[4][1:])


def key_identifier(key: PrivateKey) -> bytes:
    return hashlib.sha1(key_bits(key), usedforsecurity=False).digest()


# ---------------------------------------------------------------- DER by hand


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*contents: bytes) -> bytes:
    return der(0x30, *contents)


def set_of(*contents: bytes) -> bytes:
    return der(0x31, *sorted(contents))


def oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


def octets(content: bytes) -> bytes:
    return der(0x04, content)


def bits(content: bytes) -> bytes:
    return der(0x03, b"\x00", content)


def integer(number: int) -> bytes:
    return bytes(core.Integer(number).dump())


def moment(at: dt.datetime) -> bytes:
    return bytes(core.GeneralizedTime(at).dump())


def extension(identifier: str, value: bytes, *, critical: bool = False) -> bytes:
    return sequence(oid(identifier), *([b"\x01\x01\xff"] if critical else []), octets(value))


def elements(data: bytes) -> list[bytes]:
    """The elements of a constructed value, each with its header."""
    content = parser.parse(data)[4]
    found = []
    while content:
        parsed_element = parser.parse(content)
        size = sum(len(parsed_element[place]) for place in (3, 4, 5))
        found.append(content[:size])
        content = content[size:]
    return found


NULL = b"\x05\x00"
SHA_256 = "2.16.840.1.101.3.4.2.1"


def algorithm_of(key: PrivateKey) -> bytes:
    """AlgorithmIdentifier of what `sign_bytes` makes."""
    if isinstance(key, GostKey):
        return sequence(oid(GOST_2015_512.signature_oid), NULL)
    if isinstance(key, rsa.RSAPrivateKey):
        return sequence(oid("1.2.840.113549.1.1.11"), NULL)
    return sequence(oid("1.2.840.10045.4.3.2"))


def digest_of(key: PrivateKey) -> tuple[str, Callable[[bytes], bytes]]:
    """OID and function of the digest that belongs to the key's signatures."""
    if isinstance(key, GostKey):
        return GOST_2015_512.digest_oid, GOST.digest512
    return SHA_256, lambda data: hashlib.sha256(data).digest()


def signed(tbs: bytes, key: PrivateKey, *more: bytes, algorithm: bytes | None = None) -> bytes:
    return sequence(tbs, algorithm or algorithm_of(key), bits(sign_bytes(key, tbs)), *more)


def rebuilt(
    data: bytes, key: PrivateKey, change: Callable[[list[bytes]], None], *, algorithm: bytes | None = None
) -> bytes:
    """A certificate or CRL whose tbs elements were changed by `change`, signed again by `key`."""
    parts = elements(elements(data)[0])
    change(parts)
    return signed(sequence(*parts), key, algorithm=algorithm)


def _national(data: bytes, signing_key: PrivateKey, algorithm_place: int, spki: bytes | None = None) -> bytes:
    """The same with a national signature, and, where given, another key inside."""

    def change(parts: list[bytes]) -> None:
        parts[algorithm_place] = algorithm_of(signing_key)
        if spki is not None:
            parts[_SPKI_PLACE] = spki

    return rebuilt(data, signing_key, change)


_SPKI = PublicFormat.SubjectPublicKeyInfo
#: in tbsCertificate after version, serial number, signature, issuer, validity, subject; in tbsCertList after version
_SPKI_PLACE = 6
_CERTIFICATE_ALGORITHM_PLACE = 2
_CRL_ALGORITHM_PLACE = 1


@dataclass(frozen=True)
class Minted:
    der: bytes
    key: PrivateKey
    name: x509.Name

    @property
    def parsed(self) -> Certificate:
        return Certificate.from_der(self.der)

    @property
    def pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)


def name(common_name: str, *more: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    attributes = [(NameOID.COUNTRY_NAME, "KZ"), (NameOID.COMMON_NAME, common_name), *more]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def key_usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digitalSignature" in names,
        content_commitment="nonRepudiation" in names,
        key_encipherment="keyEncipherment" in names,
        data_encipherment=False,
        key_agreement="keyAgreement" in names,
        key_cert_sign="keyCertSign" in names,
        crl_sign="cRLSign" in names,
        encipher_only=False,
        decipher_only=False,
    )


def critical(oid: str = "1.2.398.999.77", value: bytes = b"\x05\x00") -> tuple[x509.ExtensionType, bool]:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), True


def mint(
    common_name: str,
    issuer: Minted | None = None,
    *,
    key: PrivateKey | None = None,
    subject: x509.Name | None = None,
    issuer_name: x509.Name | None = None,
    ca: bool | None = False,
    path_len: int | None = None,
    usage: Sequence[str] | None = ("digitalSignature", "nonRepudiation"),
    extended: Sequence[str] = (),
    extended_critical: bool = False,
    begin: dt.datetime = NOW - 10 * DAY,
    end: dt.datetime = NOW + 100 * DAY,
    digest: HashAlgorithm | None = None,
    serial: int | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    aki: bytes | bool | None = True,
    ski: bytes | bool = True,
) -> Minted:
    """One certificate; without `issuer` it signs itself. `ca=None` leaves basicConstraints out."""
    key = key or ec_key(common_name)
    subject = subject if subject is not None else name(common_name)
    signing_key = issuer.key if issuer else key
    is_national = isinstance(key, GostKey)
    public_key = ec_key("stand-in").public_key() if isinstance(key, GostKey) else key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name or (issuer.name if issuer else subject))
        .public_key(public_key)
        .serial_number(serial or next(_serials))
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_len), critical=True)
    if usage is not None:
        builder = builder.add_extension(key_usage(*usage), critical=True)
    if extended:
        usages = [x509.ObjectIdentifier(oid) for oid in extended]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=extended_critical)
    if ski:
        identifier = x509.SubjectKeyIdentifier(key_identifier(key) if ski is True else ski)
        builder = builder.add_extension(identifier, critical=False)
    if aki and issuer:
        named = key_identifier(issuer.key) if aki is True else aki
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(named, None, None), critical=False)
    for value, is_critical in extensions:
        builder = builder.add_extension(value, is_critical)
    if isinstance(signing_key, GostKey) or is_national:
        stand_in = builder.sign(ec_key("stand-in"), SHA256()).public_bytes(Encoding.DER)
        spki = key.spki if isinstance(key, GostKey) else None
        return Minted(_national(stand_in, signing_key, _CERTIFICATE_ALGORITHM_PLACE, spki), key, subject)
    certificate = builder.sign(signing_key, digest or SHA256())
    return Minted(certificate.public_bytes(Encoding.DER), key, subject)


def authority(common_name: str, issuer: Minted | None = None, **changes: Any) -> Minted:
    settings: dict[str, Any] = {"ca": True, "usage": ("keyCertSign", "cRLSign"), **changes}
    return mint(common_name, issuer, **settings)


def sign_bytes(key: PrivateKey, data: bytes, digest: HashAlgorithm | None = None) -> bytes:
    if isinstance(key, GostKey):
        return GOST.sign512(key.private, GOST.digest512(data))
    digest = digest or SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest)
    return key.sign(data, ec.ECDSA(digest))


def resigned(der: bytes, key: PrivateKey, change: Callable[[Any], None], digest: HashAlgorithm | None = None) -> bytes:
    """A certificate changed by `change` (given the asn1crypto object) and signed again."""
    certificate = asn1_x509.Certificate.load(der)
    _ = certificate.native
    change(certificate)
    certificate["signature_value"] = sign_bytes(key, certificate["tbs_certificate"].dump(force=True), digest)
    return bytes(certificate.dump(force=True))


def with_sha1(minted: Minted, issuer_key: rsa.RSAPrivateKey) -> Minted:
    """The same certificate signed with RSA and SHA-1."""

    def change(certificate: Any) -> None:
        algorithm = {"algorithm": "1.2.840.113549.1.1.5", "parameters": core.Null()}
        certificate["tbs_certificate"]["signature"] = algorithm
        certificate["signature_algorithm"] = algorithm

    return Minted(resigned(minted.der, issuer_key, change, SHA1()), minted.key, minted.name)


def parsed_crl(der: bytes) -> CertificateRevocationList:
    (crl,) = read_crls(der)
    return crl


def parsed(data: bytes) -> Certificate:
    (certificate,) = read_certificates(data)
    return certificate


def entry(
    serial: int, reason: x509.ReasonFlags | None = None, *extensions: tuple[x509.ExtensionType, bool]
) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 2 * DAY)
    if reason:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    for value, is_critical in extensions:
        builder = builder.add_extension(value, is_critical)
    return builder.build()


def crl_der(
    issuer: Minted,
    *entries: x509.RevokedCertificate,
    this_update: dt.datetime = NOW - DAY,
    next_update: dt.datetime | None = NOW + 30 * DAY,
    number: int | None = 1,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    key: PrivateKey | None = None,
    digest: HashAlgorithm | None = None,
    change: Callable[[Any], None] | None = None,
) -> bytes:
    """A CRL; `next_update=None` and `change` (given the asn1crypto object) are done on the bytes and signed again."""
    key = key or issuer.key
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.name)
        .last_update(this_update)
        .next_update(next_update or this_update + DAY)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for value, is_critical in extensions:
        builder = builder.add_extension(value, is_critical)
    for revoked in entries:
        builder = builder.add_revoked_certificate(revoked)
    if isinstance(key, GostKey):
        stand_in = builder.sign(ec_key("stand-in"), SHA256()).public_bytes(Encoding.DER)
        made = _national(stand_in, key, _CRL_ALGORITHM_PLACE)
    else:
        made = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    if next_update is not None and change is None:
        return made
    crl = asn1_crl.CertificateList.load(made)
    _ = crl.native
    if next_update is None:
        crl["tbs_cert_list"]["next_update"] = None
    if change:
        change(crl)
    crl["signature"] = sign_bytes(key, crl["tbs_cert_list"].dump(force=True), digest)
    return bytes(crl.dump(force=True))


def crl(issuer: Minted, *entries: x509.RevokedCertificate, **changes: Any) -> CertificateRevocationList:
    return parsed_crl(crl_der(issuer, *entries, **changes))


# ---------------------------------------------------------------- OCSP

OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5"
_NONCE = "1.3.6.1.5.5.7.48.1.2"
MINUTE = dt.timedelta(minutes=1)


def unread(identifier: str, value: bytes) -> tuple[x509.ExtensionType, bool]:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), value), False


def responder(common_name: str, issuer: Minted, *, no_check: bytes | None = NULL, **changes: Any) -> Minted:
    """A delegated OCSP responder; `no_check` is the value of its mark, None leaves the mark out."""
    settings: dict[str, Any] = {
        "usage": ("digitalSignature",),
        "extended": (OCSP_SIGNING,),
        "extensions": () if no_check is None else (unread(OCSP_NO_CHECK, no_check),),
        **changes,
    }
    return mint(common_name, issuer, **settings)


def statement(
    certificate: Minted,
    issuer: Minted,
    status: str = "good",
    *,
    reason: int | None = None,
    revoked_at: dt.datetime = NOW - 2 * DAY,
    this_update: dt.datetime = NOW - MINUTE,
    next_update: dt.datetime | None = None,
    serial: int | None = None,
    hash_oid: str = SHA_256,
    hash_name: str = "sha256",
    extensions: Sequence[bytes] = (),
    issuer_name: bytes | None = None,
) -> bytes:
    """One SingleResponse."""

    def hashed(data: bytes) -> bytes:
        return octets(hashlib.new(hash_name, data, usedforsecurity=False).digest())

    identifier = sequence(
        sequence(oid(hash_oid), NULL),
        hashed(issuer.parsed.subject_der if issuer_name is None else issuer_name),
        hashed(key_bits(issuer.key)),
        integer(certificate.parsed.serial if serial is None else serial),
    )
    given_reason = [] if reason is None else [der(0xA0, der(0x0A, bytes([reason])))]
    statuses = {
        "good": der(0x80),
        "revoked": der(0xA1, moment(revoked_at), *given_reason),
        "unknown": der(0x82),
    }
    return sequence(
        identifier,
        statuses[status],
        moment(this_update),
        *([] if next_update is None else [der(0xA0, moment(next_update))]),
        *([der(0xA1, sequence(*extensions))] if extensions else []),
    )


def ocsp_answer(
    *statements: bytes,
    signer: Minted,
    produced_at: dt.datetime = NOW - MINUTE,
    nonce: bytes | None = None,
    bare_nonce: bool = False,
    certificates: Sequence[Minted] = (),
    by_key: bool = False,
    extensions: Sequence[bytes] = (),
    key: PrivateKey | None = None,
    status: int = 0,
    algorithm: bytes | None = None,
    response_type: str = "1.3.6.1.5.5.7.48.1.1",
) -> bytes:
    """An OCSPResponse; with another `status` than 0 it is that status and nothing else."""
    if status:
        return sequence(der(0x0A, bytes([status])))
    name_of_responder = (
        der(0xA2, octets(key_identifier(signer.key))) if by_key else der(0xA1, signer.parsed.subject_der)
    )
    all_extensions = list(extensions)
    if nonce is not None:
        all_extensions.append(extension(_NONCE, nonce if bare_nonce else octets(nonce)))
    data = sequence(
        name_of_responder,
        moment(produced_at),
        sequence(*statements),
        *([der(0xA1, sequence(*all_extensions))] if all_extensions else []),
    )
    enclosed = [der(0xA0, sequence(*(c.der for c in certificates)))] if certificates else []
    basic = signed(data, key or signer.key, *enclosed, algorithm=algorithm)
    return sequence(der(0x0A, b"\x00"), der(0xA0, sequence(oid(response_type), octets(basic))))


# ---------------------------------------------------------------- time stamps

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
TST_INFO = "1.2.840.113549.1.9.16.1.4"
POLICY = "1.2.398.3.3.2.6.4"


def stamper(common_name: str, issuer: Minted, **changes: Any) -> Minted:
    settings: dict[str, Any] = {
        "usage": ("digitalSignature", "nonRepudiation"),
        "extended": (TIME_STAMPING,),
        "extended_critical": True,
        **changes,
    }
    return mint(common_name, issuer, **settings)


def tst_info(
    imprint_oid: str,
    imprint: bytes,
    *,
    gen_time: dt.datetime = NOW - MINUTE,
    policy: str = POLICY,
    serial: int = 7,
    nonce: int | None = None,
    accuracy: bytes = b"",
    extensions: Sequence[bytes] = (),
    version: int = 1,
) -> bytes:
    return sequence(
        integer(version),
        oid(policy),
        sequence(sequence(oid(imprint_oid), NULL), octets(imprint)),
        integer(serial),
        moment(gen_time),
        accuracy,
        *([] if nonce is None else [integer(nonce)]),
        *([der(0xA1, *extensions)] if extensions else []),
    )


def attribute(identifier: str, *values: bytes) -> bytes:
    return sequence(oid(identifier), set_of(*values))


def ess_v1(certificate: Minted) -> bytes:
    digest = hashlib.sha1(certificate.der, usedforsecurity=False).digest()
    return attribute("1.2.840.113549.1.9.16.2.12", sequence(sequence(sequence(octets(digest)))))


def ess_v2(certificate: Minted, hash_oid: str | None = None, digest: bytes | None = None) -> bytes:
    algorithm = [] if hash_oid is None else [sequence(oid(hash_oid))]
    named = digest if digest is not None else hashlib.sha256(certificate.der).digest()
    return attribute("1.2.840.113549.1.9.16.2.47", sequence(sequence(sequence(*algorithm, octets(named)))))


def timestamp_token(
    info: bytes,
    signer: Minted,
    *,
    ess: bytes | None = None,
    attributes: Sequence[bytes] | None = None,
    certificates: Sequence[Minted] | None = None,
    by_key: bool = False,
    content_type: str = TST_INFO,
    digest_oid: str | None = None,
    algorithm: bytes | None = None,
    key: PrivateKey | None = None,
    signers: int = 1,
) -> bytes:
    """CMS SignedData over a TSTInfo."""
    key = key or signer.key
    own_oid, digest = digest_of(key)
    if attributes is None:
        attributes = [
            attribute("1.2.840.113549.1.9.3", oid(content_type)),
            attribute("1.2.840.113549.1.9.4", octets(digest(info))),
            ess_v2(signer) if ess is None else ess,
        ]
    signed_attributes = set_of(*attributes)
    certificate = signer.parsed
    sid = der(0x80, certificate.ski or b"") if by_key else sequence(certificate.issuer_der, integer(certificate.serial))
    digest_algorithm = sequence(oid(digest_oid or own_oid), NULL)
    signer_info = sequence(
        integer(3 if by_key else 1),
        sid,
        digest_algorithm,
        b"\xa0" + signed_attributes[1:],
        algorithm or algorithm_of(key),
        octets(sign_bytes(key, signed_attributes)),
    )
    enclosed = (signer,) if certificates is None else certificates
    data = sequence(
        integer(3),
        set_of(digest_algorithm),
        sequence(oid(content_type), der(0xA0, octets(info))),
        *([der(0xA0, *(c.der for c in enclosed))] if enclosed else []),
        der(0x31, *[signer_info] * signers),
    )
    return sequence(oid("1.2.840.113549.1.7.2"), der(0xA0, data))
