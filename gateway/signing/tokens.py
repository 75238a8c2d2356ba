"""RSA keys in PKCS#11 tokens (smart cards, hardware modules), which sign without letting the key out.

A key is named by a URI of RFC 7512, of which this is read: `pkcs11:token=…;serial=…;object=…;id=…?module-path=…`,
values percent-encoded. The PIN is the key password of the settings, never part of the URI. The library of the token's
maker is loaded into this process; Python reaches it through `python-pkcs11`, an optional package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from gateway.errors import KeyMaterialError, MalformedMessage
from gateway.signing.algorithms import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    RSA_SHA256_URI,
    RSA_SHA384_URI,
    RSA_SHA512_URI,
    SIGNATURES,
    SignatureAlgorithm,
)
from gateway.signing.certificate import Certificate

SCHEME: Final = "pkcs11:"
#: what a key signs when it is opened
_PROOF: Final = b"a key proves itself when it is opened"
_MECHANISMS: Final[Mapping[str, str]] = MappingProxyType(
    {RSA_SHA256_URI: "SHA256_RSA_PKCS", RSA_SHA384_URI: "SHA384_RSA_PKCS", RSA_SHA512_URI: "SHA512_RSA_PKCS"}
)


@dataclass(frozen=True, slots=True)
class TokenUri:
    """Which key of which token, and whose library reaches it. At least one of `object` and `id` is given."""

    module_path: str
    token: str | None = None
    serial: bytes | None = None
    object: str | None = None
    id: bytes | None = None

    @property
    def shown(self) -> str:
        """For error texts."""
        return f"{SCHEME}token={self.token or '*'};object={self.object or '*'}"


def _error(uri: str, why: str, code: str = "token_uri") -> KeyMaterialError:
    return KeyMaterialError(f"{uri}: {why}", code=code)


def read_uri(text: str) -> TokenUri:
    """Raises KeyMaterialError (`token_uri`); what RFC 7512 has more is refused by name, not passed over."""
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found: dict[str, bytes] = {}
    for part in (*filter(None, path.split(";")), *(f"?{one}" for one in filter(None, query.split("&")))):
        name, equals, value = part.partition("=")
        if name not in ("token", "serial", "object", "id", "?module-path") or not equals or not value:
            raise _error(
                SCHEME, f"{name[:40].removeprefix('?')!r} is not read: token, serial, object, id and module-path are"
            )
        if name in found:
            raise _error(SCHEME, f"{name.removeprefix('?')} is given twice")
        found[name] = unquote_to_bytes(value)
    try:
        module_path, token, label = (
            found[name].decode() if name in found else None for name in ("?module-path", "token", "object")
        )
    except UnicodeDecodeError:
        raise _error(SCHEME, "a value is not UTF-8") from None
    if module_path is None:
        raise _error(SCHEME, "module-path is missing: the file of the PKCS#11 library that came with the token")
    if label is None and "id" not in found:
        raise _error(SCHEME, "object or id is missing: the label or the id of the key in the token")
    return TokenUri(module_path, token, found.get("serial"), label, found.get("id"))


@dataclass(slots=True)
class TokenKey:
    """A SigningKey whose private key stays in the token. Thread-safe: one signature at a time in one session."""

    certificate: Certificate
    algorithm: SignatureAlgorithm
    _uri: TokenUri = field(repr=False)
    _pin: str = field(repr=False)
    _opened: Any = field(repr=False)
    _lock: Any = field(repr=False, default_factory=Lock)

    def sign(self, data: bytes) -> bytes:
        """Raises KeyMaterialError (`token_failed` and those of opening)."""
        with self._lock:
            try:
                return self._sign(data)
            except KeyMaterialError:
                # a card that was taken out and put back has forgotten the session: once more from the beginning
                self._opened = _open(self._uri, self._pin)
                return self._sign(data)

    def _sign(self, data: bytes) -> bytes:
        pkcs11 = _binding(self._uri)
        mechanism = pkcs11.Mechanism[_MECHANISMS[self.algorithm.uri]]
        try:
            return bytes(self._opened.key.sign(data, mechanism=mechanism))
        except pkcs11.PKCS11Error as error:
            raise _error(
                self._uri.shown, f"the token did not sign ({_name(error)}): is it connected?", "token_failed"
            ) from None


@dataclass(frozen=True, slots=True)
class _Opened:
    session: Any
    key: Any
    certificates: tuple[bytes, ...]


def open_token_key(
    uri: str,
    pin: bytes | None,
    certificates: Iterable[Certificate] | None = None,
    *,
    algorithm: SignatureAlgorithm | None = None,
) -> TokenKey:
    """Log in, find the key, and let it sign once.

    `certificates` come from a file; without them the token's own certificate with the key's id is taken. Raises
    KeyMaterialError: `token_uri`, `token_library`, `token_missing`, `key_password`, `key_not_supported`, `key_size`,
    `certificate_missing`, `token_failed`.
    """
    where = read_uri(uri)
    chosen = SIGNATURES[RSA_SHA256_URI] if algorithm is None else algorithm
    if chosen.uri not in _MECHANISMS:
        raise _error(where.shown, f"a token signs with RSA here, not with {chosen.name}", "key_not_supported")
    if pin is None:
        raise _error(where.shown, "the token wants its PIN: set signing.key_password", "key_password")
    try:
        text = pin.decode()
    except UnicodeDecodeError:
        raise _error(where.shown, "the PIN is not UTF-8", "key_password") from None
    opened = _open(where, text)
    if certificates is None:
        try:
            certificates = [Certificate.from_der(der) for der in opened.certificates]
        except MalformedMessage as error:
            raise _error(where.shown, error.message, "certificate_missing") from None
    for certificate in certificates:
        if certificate.key_family not in chosen.key_families:
            continue
        key = TokenKey(certificate, chosen, where, text, opened)
        if chosen.holds(certificate, _PROOF, key.sign(_PROOF)):
            return key
    raise _error(
        where.shown,
        "no certificate of this key was found in the token: give the file with it as signing.certificate_file",
        "certificate_missing",
    )


def _binding(uri: TokenUri) -> Any:
    try:
        import pkcs11  # noqa: PLC0415 - an optional package
    except ImportError:
        raise _error(
            uri.shown, "tokens need the Python package python-pkcs11: install shep-gateway[pkcs11]", "token_library"
        ) from None
    return pkcs11


def _open(uri: TokenUri, pin: str) -> _Opened:
    pkcs11 = _binding(uri)
    attribute, kinds = pkcs11.Attribute, pkcs11.ObjectClass
    try:
        library = pkcs11.lib(uri.module_path)
    except (pkcs11.PKCS11Error, RuntimeError, OSError):
        raise _error(uri.shown, f"the library {uri.module_path} cannot be loaded", "token_library") from None
    try:
        try:
            token = library.get_token(token_label=uri.token, token_serial=uri.serial)
        except pkcs11.NoSuchToken:
            library.reinitialize()  # a card that was put in after the library was loaded is seen only then
            token = library.get_token(token_label=uri.token, token_serial=uri.serial)
        try:
            session = token.open(user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:  # one login counts for every session of a process with a token
            session = token.open()
        sought = {attribute.CLASS: kinds.PRIVATE_KEY}
        if uri.object is not None:
            sought[attribute.LABEL] = uri.object
        if uri.id is not None:
            sought[attribute.ID] = uri.id
        keys = list(session.get_objects(sought))
        if len(keys) != 1:
            raise _error(
                uri.shown, f"the token has {len(keys)} such private keys: name one by object and id", "token_missing"
            )
        (key,) = keys
        if key.key_type is not pkcs11.KeyType.RSA:
            raise _error(uri.shown, "the key in the token is not RSA", "key_not_supported")
        if not MIN_RSA_BITS <= key.key_length <= MAX_RSA_BITS:
            raise _error(
                uri.shown,
                f"the RSA key has {key.key_length} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted",
                "key_size",
            )
        found = session.get_objects({attribute.CLASS: kinds.CERTIFICATE, attribute.ID: key.id})
        return _Opened(session, key, tuple(bytes(one[attribute.VALUE]) for one in found))
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
        raise _error(
            uri.shown, "the PIN is wrong: look before trying again, tokens lock after a few", "key_password"
        ) from None
    except pkcs11.PinLocked:
        raise _error(uri.shown, "the PIN is locked: unlock it with the maker's tool", "key_password") from None
    except pkcs11.PKCS11Error as error:
        raise _error(
            uri.shown, f"the token cannot be used ({_name(error)}): is it connected?", "token_missing"
        ) from None


def _name(error: Exception) -> str:
    return type(error).__name__
