"""Containers (PKCS#12, RFC 7292) as the national authority issues them.

The key bag is enciphered with 3DES, the certificate bag with 40-bit RC2, both by the key derivation of PKCS#12 with
SHA-1; lengths are indefinite in places (PKI.md section 1, "p12"). `cryptography` reads none of that with a GOST key in
it. Containers with PBES2 and AES, which other software makes, are read too. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto import core, keys, pkcs12
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.errors import KeyMaterialError
from gateway.signing.gost.asn1 import ASN1_ERRORS, PrivateKey, read_private_key
from gateway.signing.gost.rc2 import decrypt_rc2_40_cbc

#: an authority's container has 2 KB
MAX_CONTAINER_BYTES: Final = 1_000_000
#: rounds of key derivation for a whole container; the authority has 1,024 for each of three steps. The file must not
#: decide how long we calculate
MAX_ITERATIONS: Final = 3_000_000
MAX_SALT_BYTES: Final = 1_024
MAX_BAGS: Final = 64

_SHA1_AND_3DES: Final = "1.2.840.113549.1.12.1.3"
_SHA1_AND_RC2_40: Final = "1.2.840.113549.1.12.1.6"
_PBES2: Final = "1.2.840.113549.1.5.13"

#: purposes of derived bytes (RFC 7292, B.3)
_FOR_KEY: Final = 1
_FOR_INITIAL_VECTOR: Final = 2
_FOR_MAC: Final = 3

#: bags and certificate types (RFC 7292, 4.2)
_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.1"
_SHROUDED_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.2"
_CERTIFICATE_BAG: Final = "1.2.840.113549.1.12.10.1.3"

_MAC_HASHES: Final = ("sha1", "sha256", "sha384", "sha512")
_PRF_HASHES: Final = ("sha1", "sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class Container:
    """What a container held."""

    private_key: PrivateKey
    #: DER, in the order of the container; the authority's have one, that of the key
    certificates: tuple[bytes, ...]


def read_container(data: bytes, password: bytes) -> Container:
    """Open a PKCS#12 container that holds one private key.

    In: the file; the password in UTF-8. Raises KeyMaterialError, without the name of the file: `key_password` when
    the password does not open it, `key_file_damaged` when it is no container or not whole, `key_not_supported` for
    what is not read here.
    """
    if len(data) > MAX_CONTAINER_BYTES:
        raise _damaged(f"it has more than {MAX_CONTAINER_BYTES} bytes and is no PKCS#12 container")
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyMaterialError("the password is not UTF-8: give it in that encoding", code="key_password") from None
    secret = _bmp_string(text)
    work = _Work(MAX_ITERATIONS)

    # 1 the outer structure
    try:
        outer = pkcs12.Pfx.load(data, strict=True)
        if outer["version"].native != "v3" or outer["auth_safe"]["content_type"].native != "data":
            raise ValueError("not the form that a password opens")
        content = bytes(outer["auth_safe"]["content"])
        mac = _read_mac(outer["mac_data"])
        work.spend(mac.salt, mac.iterations)
    except ASN1_ERRORS:
        raise _damaged("it is no PKCS#12 container that a password opens, or it was cut or altered") from None

    # 2 the password: after this the content is what its maker wrote
    key = derive(mac.hash_name, secret, mac.salt, mac.iterations, _FOR_MAC, hashlib.new(mac.hash_name).digest_size)
    if not hmac.compare_digest(hmac.digest(key, content, mac.hash_name), mac.value):
        raise KeyMaterialError("the password does not open it, or its content was altered", code="key_password")

    # 3 the bags
    try:
        found, certificates = _read_safes(content, secret, password, work)
        private_keys = [read_private_key(one) for one in found]
    except ASN1_ERRORS:
        raise _damaged("the password is right, but what it protects cannot be read") from None
    if len(private_keys) != 1:
        raise KeyMaterialError(
            f"it holds {len(private_keys)} private keys: a container with exactly one is read", code="key_not_supported"
        )
    return Container(private_keys[0], tuple(certificates))


def read_encrypted_key(data: bytes, password: bytes) -> PrivateKey:
    """Open an EncryptedPrivateKeyInfo (PKCS#8, RFC 5958) in DER by the ciphers that containers have.

    Raises KeyMaterialError like `read_container`; damage and a wrong password are not told apart, since it has no MAC.
    """
    if len(data) > MAX_CONTAINER_BYTES:
        raise _damaged(f"it has more than {MAX_CONTAINER_BYTES} bytes and is no key")
    try:
        info = keys.EncryptedPrivateKeyInfo.load(data, strict=True)
        encrypted = bytes(info["encrypted_data"])
        secret = _bmp_string(password.decode("utf-8"))
        found = _decrypt(info["encryption_algorithm"], encrypted, secret, password, _Work(MAX_ITERATIONS))
        return read_private_key(found)
    except ASN1_ERRORS:
        raise KeyMaterialError("the password does not open it, or it is damaged", code="key_password") from None


# ---------------------------------------------------------------- structure


class _SafeBag(core.Sequence):  # type: ignore[misc]
    """asn1crypto's own opens the key inside by its algorithm and does not know the national ones."""

    _fields = [  # noqa: RUF012  (asn1crypto reads a list from the class)
        ("bag_id", core.ObjectIdentifier),
        ("bag_value", core.Any, {"explicit": 0}),
        ("bag_attributes", core.Any, {"optional": True}),
    ]


class _SafeContents(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _SafeBag


@dataclass(frozen=True, slots=True)
class _Mac:
    hash_name: str
    value: bytes
    salt: bytes
    iterations: int


def _read_mac(mac_data: Any) -> _Mac:
    if not mac_data.native:
        raise ValueError("without a MAC nothing tells a wrong password from damage")
    name = mac_data["mac"]["digest_algorithm"]["algorithm"].native
    if name not in _MAC_HASHES:
        raise ValueError("a MAC of another kind")
    return _Mac(name, bytes(mac_data["mac"]["digest"]), bytes(mac_data["mac_salt"]), mac_data["iterations"].native)


@dataclass(slots=True)
class _Work:
    """Rounds of key derivation that are still allowed."""

    left: int

    def spend(self, salt: bytes, iterations: int) -> None:
        self.left -= max(iterations, 0)
        if self.left < 0:
            raise _damaged(f"it asks for more than {MAX_ITERATIONS} rounds of key derivation")
        if iterations < 1 or len(salt) > MAX_SALT_BYTES:
            raise _damaged("its key derivation makes no sense")


def _read_safes(content: bytes, secret: bytes, password: bytes, work: _Work) -> tuple[list[bytes], list[bytes]]:
    """PKCS#8 of the keys and DER of the certificates."""
    keys_found: list[bytes] = []
    certificates: list[bytes] = []
    bags_left = MAX_BAGS
    for safe in pkcs12.AuthenticatedSafe.load(content, strict=True):
        kind = safe["content_type"].native
        if kind == "data":
            plain = bytes(safe["content"])
        elif kind == "encrypted_data":
            info = safe["content"]["encrypted_content_info"]
            plain = _decrypt(
                info["content_encryption_algorithm"], bytes(info["encrypted_content"]), secret, password, work
            )
        else:
            raise KeyMaterialError(
                f"it has a safe of kind {kind}, which a password does not open", code="key_not_supported"
            )
        for bag in _SafeContents.load(plain, strict=True):
            bags_left -= 1
            if bags_left < 0:
                raise _damaged(f"it has more than {MAX_BAGS} bags")
            kind, value = bag["bag_id"].dotted, bag["bag_value"]
            if kind == _KEY_BAG:
                keys_found.append(value.parse(core.Sequence).untag().dump())
            elif kind == _SHROUDED_KEY_BAG:
                shrouded = value.parse(keys.EncryptedPrivateKeyInfo)
                encrypted = bytes(shrouded["encrypted_data"])
                keys_found.append(_decrypt(shrouded["encryption_algorithm"], encrypted, secret, password, work))
            elif kind == _CERTIFICATE_BAG:
                certificate = value.parse(pkcs12.CertBag)
                if certificate["cert_id"].native == "x509":
                    certificates.append(bytes(certificate["cert_value"]))
            # CRLs and secrets are of no use here
    return keys_found, certificates


def _decrypt(algorithm: Any, data: bytes, secret: bytes, password: bytes, work: _Work) -> bytes:
    oid = algorithm["algorithm"].dotted
    if oid in (_SHA1_AND_3DES, _SHA1_AND_RC2_40):
        salt = bytes(algorithm["parameters"]["salt"])
        iterations = algorithm["parameters"]["iterations"].native
        work.spend(salt, iterations)
        initial_vector = derive("sha1", secret, salt, iterations, _FOR_INITIAL_VECTOR, 8)
        if oid == _SHA1_AND_RC2_40:
            plain = decrypt_rc2_40_cbc(derive("sha1", secret, salt, iterations, _FOR_KEY, 5), initial_vector, data)
            return _without_padding(plain, 8)
        key = derive("sha1", secret, salt, iterations, _FOR_KEY, 24)
        return _without_padding(_run(Cipher(TripleDES(key), CBC(initial_vector)).decryptor(), data), 8)
    if oid == _PBES2 and _is_usual(algorithm):
        work.spend(algorithm.kdf_salt, algorithm.kdf_iterations)
        key = hashlib.pbkdf2_hmac(
            algorithm.kdf_hmac, password, algorithm.kdf_salt, algorithm.kdf_iterations, algorithm.key_length
        )
        return _without_padding(_run(Cipher(AES(key), CBC(algorithm.encryption_iv)).decryptor(), data), 16)
    raise KeyMaterialError(
        f"it is enciphered in a way that is not read here ({oid}): convert it with the software that made it",
        code="key_not_supported",
    )


def _is_usual(algorithm: Any) -> bool:
    """PBES2 as everybody makes it: PBKDF2 and AES in CBC mode."""
    return (
        algorithm.kdf == "pbkdf2"
        and algorithm.kdf_hmac in _PRF_HASHES
        and algorithm.encryption_cipher == "aes"
        and algorithm.encryption_mode == "cbc"
    )


def _run(context: CipherContext, data: bytes) -> bytes:
    return context.update(data) + context.finalize()


def _without_padding(plain: bytes, block_bytes: int) -> bytes:
    length = plain[-1] if plain else 0
    if not 0 < length <= block_bytes or plain[-length:] != bytes([length]) * length:
        raise ValueError("the padding is not what it should be")
    return plain[:-length]


# ---------------------------------------------------------------- key derivation


def _bmp_string(text: str) -> bytes:
    """A password as PKCS#12 takes it (RFC 7292, B.1): UTF-16, big-endian, with a zero at the end."""
    return text.encode("utf-16-be") + b"\0\0"


def derive(hash_name: str, secret: bytes, salt: bytes, iterations: int, purpose: int, length: int) -> bytes:
    """Key derivation of PKCS#12 (RFC 7292, B.2). `secret` is the password as a BMP string with its zero."""
    hash_bytes = hashlib.new(hash_name, usedforsecurity=False).digest_size
    block_bytes = 64 if hash_bytes <= 32 else 128
    # steps 1 to 4
    diversifier = bytes([purpose]) * block_bytes
    filled = bytearray(_filled(salt, block_bytes) + _filled(secret, block_bytes))
    out = b""
    while True:
        # step 6 A
        chunk = diversifier + filled
        for _ in range(iterations):
            chunk = hashlib.new(hash_name, chunk, usedforsecurity=False).digest()
        out += chunk
        if len(out) >= length:
            return out[:length]
        # steps 6 B and C
        addend = int.from_bytes(_filled(chunk, block_bytes)[:block_bytes], "big") + 1
        for start in range(0, len(filled), block_bytes):
            total = int.from_bytes(filled[start : start + block_bytes], "big") + addend
            filled[start : start + block_bytes] = (total & (1 << 8 * block_bytes) - 1).to_bytes(block_bytes, "big")


def _filled(value: bytes, block_bytes: int) -> bytes:
    """`value` repeated to whole blocks; nothing of nothing."""
    size = -(-len(value) // block_bytes) * block_bytes
    return (value * (size // len(value) + 1))[:size] if value else b""


def _damaged(why: str) -> KeyMaterialError:
    return KeyMaterialError(why, code="key_file_damaged")
