"""Keys that sign: the port, and RSA, EC and national keys from PEM, PKCS#8 and PKCS#12 files.

Another means of signing (a remote signer, a certified library) is a class with the three members of SigningKey, as
tokens.TokenKey is one for PKCS#11 (docs/how-to/sign-with-certified-means.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from asn1crypto import core
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
from gateway.signing import national, tokens
from gateway.signing.algorithms import MAX_RSA_BITS, MIN_RSA_BITS, SignatureAlgorithm, algorithm_for_key
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.gost.asn1 import FAMILIES, read_private_key
from gateway.signing.gost.asn1 import PrivateKey as NationalPrivateKey
from gateway.signing.gost.asn1 import PublicKey as NationalPublicKey
from gateway.signing.gost.pkcs12 import read_container, read_encrypted_key
from gateway.signing.pem import pem_blocks

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
        if self.algorithm.sign is None:
            raise KeyMaterialError(
                f"{self.algorithm.name} is only verified here: sign with a key of GOST-2015-512, RSA or EC",
                code="key_not_supported",
            )
        return self.algorithm.sign(self._private_key, data)


def load_signing_key(
    path: Path,
    password: bytes | None = None,
    certificate_path: Path | None = None,
    *,
    algorithm: SignatureAlgorithm | None = None,
) -> SigningKey:
    """Read a private key and its certificate.

    `path` is PEM, PKCS#8 in DER, or PKCS#12; the certificate is beside the key in it, or in `certificate_path` (PEM
    or DER). `password` opens an encrypted file. A `path` that begins with `pkcs11:` is a key in a token (tokens.py)
    and `password` its PIN. `algorithm` is the first row for the key's family when not given. A national key signs
    with the backend that gateway.signing.national holds, and has signed once before it is handed out.

    Raises KeyMaterialError that names the file: `key_file`, `key_password`, `key_file_damaged`,
    `key_not_supported`, `key_size`, `certificate_missing`, for a national key `variable_time` where only our own code
    could sign and the operator has not allowed that, and what tokens.py raises.
    """
    if str(path).startswith(tokens.SCHEME):
        certificates = None if certificate_path is None else _certificates(certificate_path, _read(certificate_path))
        return tokens.open_token_key(str(path), password, certificates, algorithm=algorithm)
    data = _read(path)
    if b"-----BEGIN " in data:
        private_key, certificates = _from_pem(path, data, password)
    elif _is_pkcs12(data):
        private_key, certificates = _from_pkcs12(path, data, password)
    else:
        private_key, certificates = _from_der(path, data, password), ()
    if certificate_path is not None:
        certificates = _certificates(certificate_path, _read(certificate_path))
    if isinstance(private_key, NationalPrivateKey):
        return _national_key(path, certificate_path, private_key, certificates, algorithm)
    if isinstance(private_key, rsa.RSAPrivateKey) and not MIN_RSA_BITS <= private_key.key_size <= MAX_RSA_BITS:
        raise KeyMaterialError(
            f"{path}: the RSA key has {private_key.key_size} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted:"
            " order a new key",
            code="key_size",
        )
    if not isinstance(private_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _not_supported(path)
    spki = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    certificate = _matching(path, certificate_path, certificates, lambda one: one.spki_der == spki)
    chosen = algorithm or algorithm_for_key(certificate.key_family)
    if chosen is None or certificate.key_family not in chosen.key_families:
        raise _not_supported(path)
    return SoftwareKey(certificate, chosen, private_key)


def _national_key(
    path: Path,
    certificate_path: Path | None,
    private_key: NationalPrivateKey,
    certificates: Iterable[Certificate],
    algorithm: SignatureAlgorithm | None,
) -> SoftwareKey:
    chosen = algorithm or algorithm_for_key(private_key.family)
    if chosen is None or chosen.sign is None or private_key.family not in chosen.key_families:
        raise KeyMaterialError(
            f"{path}: holds a {private_key.family} key; of the national keys only those of GOST-2015-512, which the"
            " authority issues today, sign here",
            code="key_not_supported",
        )
    try:
        public_key = national.backend().public_key512(private_key.value)
        certificate = _matching(
            path, certificate_path, certificates, lambda one: _national_key_of(one) == (private_key.family, public_key)
        )
        key = SoftwareKey(certificate, chosen, private_key.value)
        proof = key.sign(_PROOF)  # refuses here what would refuse in the middle of the first message
    except KeyMaterialError as error:
        raise _named(path, error) from None
    if not chosen.holds(certificate, _PROOF, proof):
        raise KeyMaterialError(
            f"{path}: signs, but its signature does not hold: run `gateway doctor`", code="key_file_damaged"
        )
    return key


#: what a national key signs when it is loaded: nothing that anybody would take for a message
_PROOF: Final = b"a key proves itself when it is loaded"


def _national_key_of(certificate: Certificate) -> tuple[str, bytes] | None:
    if not certificate.key_family.startswith("gost-"):
        return None
    try:
        key = certificate.public_key
    except KeyMaterialError:  # of a certificate that lies beside ours
        return None
    return (key.family.name, key.value) if isinstance(key, NationalPublicKey) else None


def _named(path: Path, error: KeyMaterialError) -> KeyMaterialError:
    message = error.message if str(path) in error.message else f"{path}: {error.message}"
    return KeyMaterialError(message, code=error.code)


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
        f"{path}: the key is none of those that this version signs with: RSA, EC on P-256 or P-384, GOST-2015-512",
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


_KeyAndCertificates: TypeAlias = tuple[Any, tuple[Certificate, ...]]


def _from_pem(path: Path, data: bytes, password: bytes | None) -> _KeyAndCertificates:
    if b"PRIVATE KEY-----" not in data:
        raise _damaged(path)
    try:
        plain, enciphered = pem_blocks(data, "PRIVATE KEY"), pem_blocks(data, "ENCRYPTED PRIVATE KEY")
    except MalformedMessage as error:
        raise KeyMaterialError(f"{path}: {error.message}", code="key_file_damaged") from None
    found = _from_pkcs8(path, plain[0]) if plain else None
    if not plain and enciphered:
        found = _from_encrypted_pkcs8(path, enciphered[0], password)
    if found is not None:
        return found, _certificates(path, data)
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
    found = _from_encrypted_pkcs8(path, data, password) if encrypted else _from_pkcs8(path, data)
    if found is not None:
        return found
    try:
        return load_der_private_key(data, password if encrypted else None)
    except UnsupportedAlgorithm:
        raise _not_supported(path) from None
    except (TypeError, ValueError):
        raise (_password_error(path, password) if encrypted else _damaged(path)) from None


def _from_pkcs8(path: Path, der: bytes) -> NationalPrivateKey | None:
    """A national key, None for what `cryptography` is to read."""
    try:
        found = read_private_key(der)
    except KeyMaterialError as error:
        if _names_a_national_key(der):
            raise _named(path, error) from None
        return None
    return found if found.family in FAMILIES else None


def _from_encrypted_pkcs8(path: Path, der: bytes, password: bytes | None) -> NationalPrivateKey | None:
    if password is None:
        raise _password_error(path, password)
    try:
        found = read_encrypted_key(der, password)
    except KeyMaterialError:  # enciphered in another way, or with another password: told by `cryptography`
        return None
    return found if found.family in FAMILIES else None


def _names_a_national_key(der: bytes) -> bool:
    """Whether one of the national algorithms stands where PKCS#8 names the algorithm."""
    return any(core.ObjectIdentifier(family.key_oid).dump() in der[:64] for family in FAMILIES.values())


def _from_pkcs12(path: Path, data: bytes, password: bytes | None) -> _KeyAndCertificates:
    try:
        key, own, others = pkcs12.load_key_and_certificates(data, password)
    except UnsupportedAlgorithm:
        return _from_national_pkcs12(path, data, password)
    except (TypeError, ValueError):
        # `cryptography` says the same of a wrong password and of a national key (PKI.md section 1)
        return _from_national_pkcs12(path, data, password)
    if key is None:
        raise _damaged(path)
    found = (own, *others) if own is not None else tuple(others)
    return key, tuple(Certificate.from_der(one.public_bytes(Encoding.DER)) for one in found)


def _from_national_pkcs12(path: Path, data: bytes, password: bytes | None) -> _KeyAndCertificates:
    """A container as the authority issues it, whatever the key in it."""
    if password is None:
        raise _password_error(path, password)
    try:
        container = read_container(data, password)
        certificates = tuple(Certificate.from_der(der) for der in container.certificates)
    except KeyMaterialError as error:
        raise _named(path, error) from None
    except MalformedMessage as error:
        raise KeyMaterialError(f"{path}: {error.message}", code="key_file_damaged") from None
    if container.private_key.family in FAMILIES:
        return container.private_key, certificates
    return _from_der(path, container.private_key.value, None), certificates


def _first_element(data: bytes) -> bytes:
    """What follows the header of an outer SEQUENCE, b"" when there is none (X.690, 8.1.3)."""
    if data[:1] != b"\x30" or len(data) < 2:
        return b""
    length = data[1]
    return data[2:] if length <= 0x80 else data[2 + (length & 0x7F) :]


def _is_pkcs12(data: bytes) -> bool:
    return _first_element(data).startswith(b"\x02\x01\x03")  # PFX is version 3, PKCS#8 is 0 or 1


def _matching(
    path: Path, certificate_path: Path | None, certificates: Iterable[Certificate], fits: Callable[[Certificate], bool]
) -> Certificate:
    for certificate in certificates:
        if fits(certificate):
            return certificate
    raise KeyMaterialError(
        f"{certificate_path or path}: holds no certificate of the key in {path}: put the certificate that was issued"
        " for this key beside it",
        code="certificate_missing",
    )
