"""Throw-away national keys with self-signed certificates; here those sign too that the program only verifies."""

from __future__ import annotations

import secrets
from base64 import encodebytes
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.signing.algorithms import DIGESTS, SIGNATURES, SignatureAlgorithm
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import CertificateStructure, SubjectPublicKeyInfo
from gateway.signing.gost import signature
from gateway.signing.gost.asn1 import FAMILIES, KeyFamily, PrivateKey, PublicKey, write_private_key, write_public_key
from gateway.signing.gost.curves import Group

_GROUPS = {name: Group(family.curve) for name, family in FAMILIES.items()}


@dataclass(frozen=True)
class NationalKey:
    """A SigningKey on our own curve code, whatever the program itself may sign with."""

    certificate: Certificate
    algorithm: SignatureAlgorithm
    private_key: bytes

    def sign(self, data: bytes) -> bytes:
        digest = DIGESTS[self.algorithm.digest_uri].digest(data)
        return signature.sign(_GROUPS[self.algorithm.family], self.private_key, digest)


def pem(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + encodebytes(der) + f"-----END {label}-----\n".encode()


@dataclass(frozen=True)
class NationalSigner:
    """What conftest.Signer is, with a national key."""

    family: KeyFamily
    private_key: bytes
    certificate: Certificate

    @property
    def pkcs8(self) -> bytes:
        return write_private_key(PrivateKey(self.family.name, self.private_key))

    @property
    def key_pem(self) -> bytes:
        return pem("PRIVATE KEY", self.pkcs8)

    @property
    def certificate_pem(self) -> bytes:
        return pem("CERTIFICATE", self.certificate.der)

    def key(self, algorithm: SignatureAlgorithm | None = None) -> NationalKey:
        row = algorithm or next(row for row in SIGNATURES.values() if self.family.name in row.key_families)
        return NationalKey(self.certificate, row, self.private_key)


def mint_national(name: str, family_name: str) -> NationalSigner:
    from tests.signing.conftest import mint

    family = FAMILIES[family_name]
    group = _GROUPS[family_name]
    private_key = (secrets.randbelow(family.curve.q - 1) + 1).to_bytes(family.curve.size_bytes, "little")
    template = mint(name, ec.generate_private_key(ec.SECP256R1())).x509.public_bytes(Encoding.DER)
    made = CertificateStructure.load(template)
    tbs = made["tbs_certificate"]
    spki = write_public_key(PublicKey(family, signature.public_key(group, private_key)))
    tbs["subject_public_key_info"] = SubjectPublicKeyInfo.load(spki)
    for place in (tbs["signature"], made["signature_algorithm"]):
        place["algorithm"] = family.signature_oid
    row = next(row for row in SIGNATURES.values() if family_name in row.key_families)
    digest = DIGESTS[row.digest_uri].digest(tbs.dump(force=True))
    made["signature_value"] = signature.sign(group, private_key, digest)
    return NationalSigner(family, private_key, Certificate.from_der(made.dump(force=True)))
