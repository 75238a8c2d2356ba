"""Files that keep a private key: what protects them, opening them for any key family, and a strong one to keep it in.

The national authority hands keys out in containers that protect nothing (PKI.md section 1, p12). `protect` writes the
key as encrypted PKCS#8 (PBES2: PBKDF2 with SHA-256, AES-256 in CBC mode; RFC 8018), which every library reads.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from asn1crypto import algos, core, keys, pem, pkcs12
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from gateway.errors import KeyMaterialError
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.certificate_asn1 import ASN1_ERRORS
from gateway.signing.gost import asn1
from gateway.signing.gost.backend import choose_backend
from gateway.signing.gost.pkcs12 import read_container
from gateway.signing.pem import is_pem, pem_blocks

#: OWASP's figure of 2023 for PBKDF2 with SHA-256
ITERATIONS: Final = 600_000
#: rounds that we are ready to make for a file from somebody else
MAX_ITERATIONS: Final = 3_000_000
#: below this a password of ordinary length is guessed in days
STRONG_ITERATIONS: Final = 100_000
_SALT_BYTES: Final = 16
_BLOCK_BYTES: Final = 16
_PKCS8: Final = "PRIVATE KEY"
_ENCRYPTED_PKCS8: Final = "ENCRYPTED PRIVATE KEY"

_PBES2: Final = "1.2.840.113549.1.5.13"
_WEAK_CIPHERS: Final[Mapping[str, str]] = {
    # PKCS#12 and PKCS#5 schemes of the nineties
    "1.2.840.113549.1.12.1.1": "RC4-128 by SHA-1",
    "1.2.840.113549.1.12.1.2": "RC4-40 by SHA-1",
    "1.2.840.113549.1.12.1.3": "3DES by SHA-1",
    "1.2.840.113549.1.12.1.4": "3DES with two keys by SHA-1",
    "1.2.840.113549.1.12.1.5": "RC2-128 by SHA-1",
    "1.2.840.113549.1.12.1.6": "RC2-40 by SHA-1",
    "1.2.840.113549.1.5.1": "DES by MD2",
    "1.2.840.113549.1.5.3": "DES by MD5",
    "1.2.840.113549.1.5.10": "DES by SHA-1",
}
_SHROUDED_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.2"
_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.1"


# ---------------------------------------------------------------- what protects a file


@dataclass(frozen=True, slots=True)
class Protection:
    """How a file is protected, told without opening it."""

    #: "pem", "pkcs8" or "pkcs12"
    kind: str
    #: the schemes found, for a person
    schemes: tuple[str, ...]
    #: why it is weak, for a person; () when nothing stands against it
    weaknesses: tuple[str, ...]

    @property
    def is_weak(self) -> bool:
        return bool(self.weaknesses)


@dataclass(slots=True)
class _Findings:
    schemes: list[str] = field(default_factory=list)
    weaknesses: list[str] = field(default_factory=list)

    def scheme(self, algorithm: Any) -> None:
        """An EncryptionAlgorithm of asn1crypto."""
        oid = algorithm["algorithm"].dotted
        if oid in _WEAK_CIPHERS:
            iterations = algorithm["parameters"]["iterations"].native
            self.add(f"{_WEAK_CIPHERS[oid]}, {iterations} rounds", f"{_WEAK_CIPHERS[oid]} is broken by guessing")
        elif oid == _PBES2:
            self._pbes2(algorithm)
        else:
            self.add(f"scheme {oid}", "")

    def _pbes2(self, algorithm: Any) -> None:
        cipher = algorithm["parameters"]["encryption_scheme"]["algorithm"].native
        derivation = algorithm["parameters"]["key_derivation_func"]["algorithm"].native
        if derivation != "pbkdf2":
            self.add(f"{cipher}, {derivation}", "")
            return
        rounds = algorithm.kdf_iterations
        few = f"{rounds} rounds of key derivation are few: {ITERATIONS} are usual today"
        self.add(
            f"{cipher}, PBKDF2 with {algorithm.kdf_hmac}, {rounds} rounds", few if rounds < STRONG_ITERATIONS else ""
        )
        if not cipher.startswith("aes"):
            self.add("", f"{cipher} is an old cipher")

    def none(self) -> None:
        self.add("not encrypted", "whoever reads the file has the key")

    def mac(self, hash_name: str, rounds: int) -> None:
        few = f"the password can be tried against a MAC of {rounds} rounds" if rounds < STRONG_ITERATIONS else ""
        self.add(f"MAC by {hash_name}, {rounds} rounds", few)

    def add(self, scheme: str, weakness: str) -> None:
        if scheme and scheme not in self.schemes:
            self.schemes.append(scheme)
        if weakness and weakness not in self.weaknesses:
            self.weaknesses.append(weakness)


def protection_of(data: bytes) -> Protection | None:
    """What protects the private key in a file; None for a file without one. Needs no password.

    Raises KeyMaterialError (`key_file_damaged`).
    """
    found = _Findings()
    try:
        if is_pem(data):
            return _protection_of_pem(data, found)
        if _is_pkcs12(data):
            _look_into_pkcs12(data, found)
            return Protection("pkcs12", tuple(found.schemes), tuple(found.weaknesses))
        if _is_certificate(data):
            return None
        _look_into_pkcs8(data, found)
        return Protection("pkcs8", tuple(found.schemes), tuple(found.weaknesses))
    except ASN1_ERRORS:
        raise _damaged() from None


def _protection_of_pem(data: bytes, found: _Findings) -> Protection | None:
    if b"PRIVATE KEY-----" not in data:
        return None
    for block in pem_blocks(data, _ENCRYPTED_PKCS8):
        found.scheme(keys.EncryptedPrivateKeyInfo.load(block, strict=True)["encryption_algorithm"])
    if b"Proc-Type: 4,ENCRYPTED" in data:
        found.add("PEM encryption by MD5", "PEM's own encryption makes its key with one round of MD5")
    elif not found.schemes:
        found.none()
    return Protection("pem", tuple(found.schemes), tuple(found.weaknesses))


def _look_into_pkcs8(data: bytes, found: _Findings) -> None:
    if _first_element(data)[:1] == b"\x30":
        found.scheme(keys.EncryptedPrivateKeyInfo.load(data, strict=True)["encryption_algorithm"])
    else:
        asn1.read_private_key(data)  # refuses what is no PKCS#8
        found.none()


class _Bag(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("bag_id", core.ObjectIdentifier),
        ("bag_value", core.Any, {"explicit": 0}),
        ("bag_attributes", core.Any, {"optional": True}),
    ]


class _Bags(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Bag


def _look_into_pkcs12(data: bytes, found: _Findings) -> None:
    outer = pkcs12.Pfx.load(data, strict=True)
    for safe in pkcs12.AuthenticatedSafe.load(bytes(outer["auth_safe"]["content"]), strict=True):
        kind = safe["content_type"].native
        if kind == "encrypted_data":
            found.scheme(safe["content"]["encrypted_content_info"]["content_encryption_algorithm"])
        elif kind == "data":
            for bag in _Bags.load(bytes(safe["content"]), strict=True):
                if bag["bag_id"].dotted == _SHROUDED_KEY_BAG:
                    found.scheme(bag["bag_value"].parse(keys.EncryptedPrivateKeyInfo)["encryption_algorithm"])
                elif bag["bag_id"].dotted == _KEY_BAG:
                    found.none()
    if outer["mac_data"].native:
        mac = outer["mac_data"]
        found.mac(mac["mac"]["digest_algorithm"]["algorithm"].native, mac["iterations"].native)


# ---------------------------------------------------------------- opening


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A private key as PKCS#8 in DER, where there is one, and the certificates beside it."""

    certificates: tuple[Certificate, ...]
    pkcs8_der: bytes | None = field(default=None, repr=False)

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of the key; without a key the first one."""
        if self.pkcs8_der is None:
            return self.certificates[0] if self.certificates else None
        own = _comparable(public_key_of(self.pkcs8_der))
        return next((one for one in self.certificates if _comparable(one.spki_der) == own), None)


def _comparable(spki_der: bytes) -> object:
    """Authorities leave out a parameter of a GOST key that others write: then the key itself is compared."""
    try:
        return asn1.read_public_key(spki_der)
    except KeyMaterialError:
        return spki_der


def open_file(data: bytes, password: bytes | None) -> OpenedFile:
    """Open PEM, PKCS#8 or PKCS#12 with an RSA, EC or GOST key, or a certificate.

    Raises KeyMaterialError without the name of the file: `key_password`, `key_file_damaged`, `key_not_supported`;
    MalformedMessage (`bad_certificate`) for a certificate beside it that cannot be read.
    """
    if is_pem(data):
        return OpenedFile(read_certificates(data), _key_in_pem(data, password))
    if _is_pkcs12(data):
        if password is None:
            raise _locked()
        container = read_container(data, password)
        key = container.private_key
        pkcs8 = key.value if key.family == "other" else asn1.write_private_key(key)
        return OpenedFile(tuple(Certificate.from_der(one) for one in container.certificates), pkcs8)
    if _is_certificate(data):
        return OpenedFile(read_certificates(data))
    if _first_element(data)[:1] == b"\x30":
        return OpenedFile((), _unprotect_any(data, password))
    return OpenedFile((), _checked(data))


def _key_in_pem(data: bytes, password: bytes | None) -> bytes | None:
    if b"PRIVATE KEY-----" not in data:
        return None
    encrypted, plain = pem_blocks(data, _ENCRYPTED_PKCS8), pem_blocks(data, _PKCS8)
    if len(encrypted) + len(plain) > 1:
        raise KeyMaterialError("it holds several private keys: leave one in it", code="key_not_supported")
    if encrypted:
        return _unprotect_any(encrypted[0], password)
    if plain:
        return _checked(plain[0])
    # the older forms of RSA and EC keys
    is_encrypted = b"ENCRYPTED" in data
    try:
        key = load_pem_private_key(data, password if is_encrypted else None)
    except UnsupportedAlgorithm:
        raise _not_supported() from None
    except TypeError:
        raise _locked() from None
    except ValueError:
        raise _wrong_password() if is_encrypted else _damaged() from None
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _unprotect_any(data: bytes, password: bytes | None) -> bytes:
    if password is None:
        raise _locked()
    try:
        return _checked(unprotect(data, password))
    except KeyMaterialError as error:
        if error.code != "key_not_supported":
            raise
    # another scheme, which `cryptography` may know; then the key is RSA or EC
    try:
        key = load_der_private_key(data, password)
    except UnsupportedAlgorithm:
        raise _not_supported() from None
    except (TypeError, ValueError):
        raise _wrong_password() from None
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _checked(pkcs8_der: bytes) -> bytes:
    """The key in one form; refuses what is no PKCS#8."""
    key = asn1.read_private_key(pkcs8_der)
    return key.value if key.family == "other" else asn1.write_private_key(key)


def public_key_of(pkcs8_der: bytes) -> bytes:
    """SubjectPublicKeyInfo of a private key. Raises KeyMaterialError (`key_not_supported`, `key_file_damaged`)."""
    key = asn1.read_private_key(pkcs8_der)
    if key.family == asn1.GOST_2015_512.name:
        return asn1.write_public_key(asn1.PublicKey(asn1.GOST_2015_512, choose_backend().public_key512(key.value)))
    if key.family != "other":
        raise _not_supported()
    try:
        loaded = load_der_private_key(pkcs8_der, None)
    except UnsupportedAlgorithm:
        raise _not_supported() from None
    except (TypeError, ValueError):
        raise _damaged() from None
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _not_supported()
    return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# ---------------------------------------------------------------- protecting


def protect(pkcs8_der: bytes, password: bytes) -> bytes:
    """EncryptedPrivateKeyInfo in DER. ValueError for an empty password."""
    if not password:
        raise ValueError("an empty password protects nothing")
    salt, initial_vector = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_BLOCK_BYTES)
    key = hashlib.pbkdf2_hmac("sha256", password, salt, ITERATIONS, 32)
    missing = _BLOCK_BYTES - len(pkcs8_der) % _BLOCK_BYTES
    encryptor = Cipher(AES(key), CBC(initial_vector)).encryptor()
    encrypted = encryptor.update(pkcs8_der + bytes((missing,)) * missing) + encryptor.finalize()
    parameters = algos.Pbes2Params(
        {
            "key_derivation_func": {
                "algorithm": "pbkdf2",
                "parameters": {
                    "salt": algos.Pbkdf2Salt("specified", salt),
                    "iteration_count": ITERATIONS,
                    "prf": {"algorithm": "sha256", "parameters": core.Null()},
                },
            },
            "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": initial_vector},
        }
    )
    return bytes(
        keys.EncryptedPrivateKeyInfo(
            {
                "encryption_algorithm": {"algorithm": "pbes2", "parameters": parameters},
                "encrypted_data": encrypted,
            }
        ).dump()
    )


def unprotect(encrypted_der: bytes, password: bytes) -> bytes:
    """PKCS#8 in DER out of what `protect` makes, and whatever else uses PBES2 with PBKDF2 and AES in CBC mode.

    Raises KeyMaterialError: `key_password`, `key_file_damaged`, `key_not_supported`.
    """
    try:
        info = keys.EncryptedPrivateKeyInfo.load(encrypted_der, strict=True)
        algorithm, encrypted = info["encryption_algorithm"], bytes(info["encrypted_data"])
        usual = (
            algorithm["algorithm"].dotted == _PBES2
            and algorithm.kdf == "pbkdf2"
            and algorithm.encryption_cipher == "aes"
            and algorithm.encryption_mode == "cbc"
        )
        if not usual:
            raise _not_supported()
        rounds, hash_name = algorithm.kdf_iterations, algorithm.kdf_hmac
        salt, key_bytes, initial_vector = algorithm.kdf_salt, algorithm.key_length, algorithm.encryption_iv
        if not 1 <= rounds <= MAX_ITERATIONS or len(encrypted) % _BLOCK_BYTES:
            raise ValueError("makes no sense")
        key = hashlib.pbkdf2_hmac(hash_name, password, salt, rounds, key_bytes)
        decryptor = Cipher(AES(key), CBC(initial_vector)).decryptor()
        plain = decryptor.update(encrypted) + decryptor.finalize()
    except ASN1_ERRORS:
        raise _damaged() from None
    padding = plain[-1] if plain else 0
    # a wrong password shows as broken padding, and once in 256 times as something that is no key
    if not 1 <= padding <= _BLOCK_BYTES or plain[-padding:] != bytes((padding,)) * padding:
        raise _wrong_password()
    pkcs8_der = plain[:-padding]
    if pkcs8_der[:1] != b"\x30":
        raise _wrong_password()
    return pkcs8_der


def as_pem(protected_der: bytes, certificates: tuple[Certificate, ...]) -> bytes:
    """One PEM file with the encrypted key and the certificates."""
    blocks = [pem.armor(_ENCRYPTED_PKCS8, protected_der), *(pem.armor("CERTIFICATE", c.der) for c in certificates)]
    return b"".join(bytes(block) for block in blocks)


# ---------------------------------------------------------------- what a file is


def _first_element(data: bytes) -> bytes:
    """What follows the header of an outer SEQUENCE, b"" when there is none (X.690, 8.1.3)."""
    if data[:1] != b"\x30" or len(data) < 2:
        return b""
    length = data[1]
    return data[2:] if length <= 0x80 else data[2 + (length & 0x7F) :]


def _is_pkcs12(data: bytes) -> bool:
    return _first_element(data).startswith(b"\x02\x01\x03")  # PFX is version 3, PKCS#8 is 0 or 1


def _is_certificate(data: bytes) -> bool:
    # both a certificate and an EncryptedPrivateKeyInfo begin with a SEQUENCE: the one holds a version or a number first
    inner = _first_element(_first_element(data))
    return _first_element(data)[:1] == b"\x30" and inner[:1] in (b"\xa0", b"\x02")


def _locked() -> KeyMaterialError:
    return KeyMaterialError("it is encrypted: give its password", code="key_password")


def _wrong_password() -> KeyMaterialError:
    return KeyMaterialError("the password does not open it, or the file is damaged", code="key_password")


def _damaged() -> KeyMaterialError:
    return KeyMaterialError(
        "it holds no private key and no certificate that can be read: PEM, PKCS#8, PKCS#12 and X.509 are",
        code="key_file_damaged",
    )


def _not_supported() -> KeyMaterialError:
    return KeyMaterialError(
        "its key or its encryption is of a kind that is not read here: convert it with the software that made it",
        code="key_not_supported",
    )
