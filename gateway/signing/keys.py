"""Keys that sign: the port, and RSA and EC keys from PEM, PKCS#8 and PKCS#12 files.

Another means of signing (a token, a remote signer, a certified library) is a class with the three members of
SigningKey.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from gateway.errors import KeyMaterialError, MalformedMessage
from gateway.signing.algorithms import MAX_RSA_BITS, MIN_RSA_BITS, SignatureAlgorithm, algorithm_for_key
from gateway.signing.certificate import Certificate, read_certificates

#: a key file above this is not one
MAX_KEY_FILE_BYTES: Final = 1_000_000


class SigningKey(Protocol):
    """What signing needs to know of a key."""

    @property
    def certificate(self) -> Certificate: ...

    @property
    def algorithm(self) -> SignatureAlgorithm: ...

    def sign(self, data: bytes) -> bytes:
        """SignatureValue over `data` as XML carries it; hashing is part of it. Thread-safe."""
        ...


@dataclass(frozen=True, slots=True)
class SoftwareKey:
    """A private key in the memory of this process."""

    certificate: Certificate
    algorithm: SignatureAlgorithm
    _private_key: Any = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        return self.algorithm.sign(self._private_key, data)


def load_signing_key(
    path: Path,
    password: bytes | None = None,
    certificate_path: Path | None = None,
    *,
    algorithm: SignatureAlgorithm | None = None,
) -> SoftwareKey:
    """Read a private key and its certificate.

    `path` is PEM, PKCS#8 in DER, or PKCS#12; the certificate is beside the key in it, or in `certificate_path` (PEM
    or DER). `password` opens an encrypted file. `algorithm` is the first row for the key's family when not given.
    Raises KeyMaterialError that names the file: `key_file`, `key_password`, `key_file_damaged`,
    `key_not_supported`, `key_size`, `certificate_missing`.
    """
    data = _read(path)
    if b"-----BEGIN " in data:
        private_key, certificates = _from_pem(path, data, password)
    elif _is_pkcs12(data):
        private_key, certificates = _from_pkcs12(path, data, password)
    else:
        private_key, certificates = _from_der(path, data, password), ()
    if certificate_path is not None:
        certificates = _certificates(certificate_path, _read(certificate_path))
    if isinstance(private_key, rsa.RSAPrivateKey) and not MIN_RSA_BITS <= private_key.key_size <= MAX_RSA_BITS:
        raise KeyMaterialError(
            f"{path}: the RSA key has {private_key.key_size} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted:"
            " order a new key",
            code="key_size",
        )
    certificate = _matching(path, certificate_path, private_key, certificates)
    chosen = algorithm or algorithm_for_key(certificate.key_family)
    if chosen is None or certificate.key_family not in chosen.key_families:
        raise _not_supported(path)
    return SoftwareKey(certificate, chosen, private_key)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyMaterialError(
            f"{path}: cannot be read ({error.strerror}): check the path in the configuration and the file's owner",
            code="key_file",
        ) from None
    if len(data) > MAX_KEY_FILE_BYTES:
        raise KeyMaterialError(
            f"{path}: has more than {MAX_KEY_FILE_BYTES} bytes and is no key or certificate file", code="key_file"
        )
    return data


def _not_supported(path: Path) -> KeyMaterialError:
    return KeyMaterialError(
        f"{path}: the key is neither RSA nor EC on P-256 or P-384, which are the keys that this version signs with",
        code="key_not_supported",
    )


def _password_error(path: Path, password: bytes | None) -> KeyMaterialError:
    if password is None:
        return KeyMaterialError(f"{path}: is encrypted: give its password", code="key_password")
    return KeyMaterialError(f"{path}: the password does not open it, or the file is damaged", code="key_password")


def _damaged(path: Path) -> KeyMaterialError:
    return KeyMaterialError(
        f"{path}: holds no private key that can be read: PEM, PKCS#8 and PKCS#12 are", code="key_file_damaged"
    )


def _certificates(path: Path, data: bytes) -> tuple[Certificate, ...]:
    try:
        return read_certificates(data)
    except MalformedMessage as error:
        raise KeyMaterialError(f"{path}: {error.message}", code="key_file_damaged") from None


def _from_pem(path: Path, data: bytes, password: bytes | None) -> tuple[Any, tuple[Certificate, ...]]:
    if b"PRIVATE KEY-----" not in data:
        raise _damaged(path)
    encrypted = b"ENCRYPTED" in data
    try:
        key = load_pem_private_key(data, password if encrypted else None)
    except UnsupportedAlgorithm:
        raise _not_supported(path) from None
    except (TypeError, ValueError):
        raise (_password_error(path, password) if encrypted else _damaged(path)) from None
    return key, _certificates(path, data)


def _from_der(path: Path, data: bytes, password: bytes | None) -> Any:
    encrypted = _first_element(data)[:1] == b"\x30"  # EncryptedPrivateKeyInfo begins with an algorithm, not a version
    try:
        return load_der_private_key(data, password if encrypted else None)
    except UnsupportedAlgorithm:
        raise _not_supported(path) from None
    except (TypeError, ValueError):
        raise (_password_error(path, password) if encrypted else _damaged(path)) from None


def _from_pkcs12(path: Path, data: bytes, password: bytes | None) -> tuple[Any, tuple[Certificate, ...]]:
    try:
        key, own, others = pkcs12.load_key_and_certificates(data, password)
    except UnsupportedAlgorithm:
        raise _not_supported(path) from None
    except (TypeError, ValueError):
        # `cryptography` says the same of a wrong password and of a national key (PKI.md section 1)
        raise KeyMaterialError(
            f"{path}: the password does not open it, or it holds a key that is neither RSA nor EC", code="key_password"
        ) from None
    if key is None:
        raise _damaged(path)
    found = (own, *others) if own is not None else tuple(others)
    return key, tuple(Certificate.from_der(one.public_bytes(Encoding.DER)) for one in found)


def _first_element(data: bytes) -> bytes:
    """What follows the header of an outer SEQUENCE, b"" when there is none (X.690, 8.1.3)."""
    if data[:1] != b"\x30" or len(data) < 2:
        return b""
    length = data[1]
    return data[2:] if length <= 0x80 else data[2 + (length & 0x7F) :]


def _is_pkcs12(data: bytes) -> bool:
    return _first_element(data).startswith(b"\x02\x01\x03")  # PFX is version 3, PKCS#8 is 0 or 1


def _matching(
    path: Path, certificate_path: Path | None, private_key: Any, certificates: Iterable[Certificate]
) -> Certificate:
    if not isinstance(private_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _not_supported(path)
    spki = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for certificate in certificates:
        if certificate.spki_der == spki:
            return certificate
    raise KeyMaterialError(
        f"{certificate_path or path}: holds no certificate of the key in {path}: put the certificate that was issued"
        " for this key beside it",
        code="certificate_missing",
    )
