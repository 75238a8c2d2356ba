"""Certificates and CRLs made on the spot, right and wrong ones. EC keys, because they are quick; all names invented."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from asn1crypto import core
from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust.crl import CertificateRevocationList, read_crls

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

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
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name or (issuer.name if issuer else subject))
        .public_key(key.public_key())
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
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if ski:
        digest_of_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
        identifier = x509.SubjectKeyIdentifier(digest_of_key if ski is True else ski)
        builder = builder.add_extension(identifier, critical=False)
    if aki and issuer:
        if aki is True:
            authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        else:
            authority = x509.AuthorityKeyIdentifier(aki, None, None)
        builder = builder.add_extension(authority, critical=False)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    certificate = builder.sign(signing_key, digest or SHA256())
    return Minted(certificate.public_bytes(Encoding.DER), key, subject)


def authority(common_name: str, issuer: Minted | None = None, **changes: Any) -> Minted:
    settings: dict[str, Any] = {"ca": True, "usage": ("keyCertSign", "cRLSign"), **changes}
    return mint(common_name, issuer, **settings)


def sign_bytes(key: PrivateKey, data: bytes, digest: HashAlgorithm | None = None) -> bytes:
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
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
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
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    for revoked in entries:
        builder = builder.add_revoked_certificate(revoked)
    der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    if next_update is not None and change is None:
        return der
    crl = asn1_crl.CertificateList.load(der)
    _ = crl.native
    if next_update is None:
        crl["tbs_cert_list"]["next_update"] = None
    if change:
        change(crl)
    crl["signature"] = sign_bytes(key, crl["tbs_cert_list"].dump(force=True), digest)
    return bytes(crl.dump(force=True))


def crl(issuer: Minted, *entries: x509.RevokedCertificate, **changes: Any) -> CertificateRevocationList:
    return parsed_crl(crl_der(issuer, *entries, **changes))
