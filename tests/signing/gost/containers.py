"""PKCS#12 containers written by the tests, in the authority's way and in others."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from asn1crypto import algos, cms, core, pkcs12
from asn1crypto import keys as asn1_keys
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.signing.gost import rc2
from gateway.signing.gost.pkcs12 import derive


def encrypt_rc2_40_cbc(key: bytes, initial_vector: bytes, data: bytes) -> bytes:
    """The other direction of gateway.signing.gost.rc2 (RFC 2268, 3)."""
    words = rc2._expand(key)
    out = []
    before = initial_vector
    for start in range(0, len(data), 8):
        mixed = bytes(one ^ other for one, other in zip(data[start : start + 8], before, strict=True))
        r = [int.from_bytes(mixed[place : place + 2], "little") for place in range(0, 8, 2)]
        for round_number in range(16):
            for i in range(4):
                total = r[i] + words[4 * round_number + i] + (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3]) & 0xFFFF
                r[i] = (total << (1, 2, 3, 5)[i] | total >> 16 - (1, 2, 3, 5)[i]) & 0xFFFF
            if round_number in (4, 10):
                for i in range(4):
                    r[i] = r[i] + words[r[i - 1] & 63] & 0xFFFF
        before = b"".join(value.to_bytes(2, "little") for value in r)
        out.append(before)
    return b"".join(out)


def _padded(data: bytes) -> bytes:
    length = 8 - len(data) % 8
    return data + bytes([length]) * length


def element(tag: int, content: bytes) -> bytes:
    """One DER element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def indefinite(der: bytes) -> bytes:
    """A constructed element with its definite length replaced by the indefinite form, as Java writes it."""
    header = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    return der[:1] + b"\x80" + der[header:] + b"\0\0"


@dataclass
class Writer:
    """Parts of a container; a test changes one and looks what happens."""

    pkcs8: list[bytes]
    certificates: list[bytes]
    password: str = "Qwerty12"
    iterations: int = 1_024
    mac_hash: str = "sha1"
    key_salt: bytes = b"k" * 20
    certificate_salt: bytes = b"c" * 20
    mac_salt: bytes = b"m" * 20
    plain_keys: bool = False
    use_indefinite: bool = False
    #: in the key bag; None: `iterations`
    key_iterations: int | None = None
    key_cipher_oid: str = "1.2.840.113549.1.12.1.3"
    extra_bags: list[bytes] = field(default_factory=list)

    @property
    def _secret(self) -> bytes:
        return self.password.encode("utf-16-be") + b"\0\0"

    def _derive(self, salt: bytes, purpose: int, length: int) -> bytes:
        return derive("sha1", self._secret, salt, self.iterations, purpose, length)

    def algorithm(self, oid: str, salt: bytes, iterations: int) -> algos.EncryptionAlgorithm:
        return algos.EncryptionAlgorithm(
            {"algorithm": oid, "parameters": algos.Pbes1Params({"salt": salt, "iterations": iterations})}
        )

    def key_bag(self, pkcs8: bytes) -> bytes:
        if self.plain_keys:
            return element(0x30, core.ObjectIdentifier("1.2.840.113549.1.12.10.1.1").dump() + element(0xA0, pkcs8))
        key, iv = self._derive(self.key_salt, 1, 24), self._derive(self.key_salt, 2, 8)
        encryptor = Cipher(TripleDES(key), CBC(iv)).encryptor()
        shrouded = asn1_keys.EncryptedPrivateKeyInfo(
            {
                "encryption_algorithm": self.algorithm(
                    self.key_cipher_oid, self.key_salt, self.key_iterations or self.iterations
                ),
                "encrypted_data": encryptor.update(_padded(pkcs8)) + encryptor.finalize(),
            }
        )
        return bytes(pkcs12.SafeBag({"bag_id": "pkcs8_shrouded_key_bag", "bag_value": shrouded}).dump())

    def _certificate_safe(self) -> cms.ContentInfo:
        bags = pkcs12.SafeContents(
            [
                pkcs12.SafeBag(
                    {
                        "bag_id": "cert_bag",
                        "bag_value": pkcs12.CertBag(
                            {"cert_id": "x509", "cert_value": core.ParsableOctetString(certificate)}
                        ),
                    }
                )
                for certificate in self.certificates
            ]
        )
        key, iv = self._derive(self.certificate_salt, 1, 5), self._derive(self.certificate_salt, 2, 8)
        info = cms.EncryptedContentInfo(
            {
                "content_type": "data",
                "content_encryption_algorithm": self.algorithm(
                    "1.2.840.113549.1.12.1.6", self.certificate_salt, self.iterations
                ),
                "encrypted_content": encrypt_rc2_40_cbc(key, iv, _padded(bags.dump())),
            }
        )
        return cms.ContentInfo(
            {
                "content_type": "encrypted_data",
                "content": cms.EncryptedData({"version": 0, "encrypted_content_info": info}),
            }
        )

    def write(self) -> bytes:
        key_bags = element(0x30, b"".join([*map(self.key_bag, self.pkcs8), *self.extra_bags]))
        key_safe = cms.ContentInfo({"content_type": "data", "content": core.OctetString(key_bags)})
        safes = pkcs12.AuthenticatedSafe([key_safe, self._certificate_safe()]).dump()
        if self.use_indefinite:
            safes = indefinite(safes)
        mac_key = derive(
            self.mac_hash,
            self._secret,
            self.mac_salt,
            self.iterations,
            3,
            {"sha1": 20, "sha256": 32, "sha512": 64}[self.mac_hash],
        )
        return bytes(
            pkcs12.Pfx(
                {
                    "version": 3,
                    "auth_safe": cms.ContentInfo({"content_type": "data", "content": core.OctetString(safes)}),
                    "mac_data": {
                        "mac": {
                            "digest_algorithm": {"algorithm": self.mac_hash},
                            "digest": hmac.digest(mac_key, safes, self.mac_hash),
                        },
                        "mac_salt": self.mac_salt,
                        "iterations": self.iterations,
                    },
                }
            ).dump()
        )
