"""The national algorithms through OpenSSL's gost engine, where it is installed (Debian: libengine-gost-openssl).

The engine knows Russian OIDs and the Russian packing only, so keys are handed over under Russian OIDs and signatures
backwards (PKI.md section 1). Its provider half has digests and no signatures, so the ENGINE interface of libcrypto is
called through ctypes; `cryptography` brings a libcrypto of its own that has no engines. Where OpenSSL is built
without engines, or in a version that dropped them, `available()` says so.

What is read from outside (public keys, the range of r and s) is checked by our own code before the engine sees it, so
that both backends refuse the same things: the engine lets s = q pass and does not look at the subgroup.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

from gateway.errors import KeyMaterialError
from gateway.signing.gost import asn1, signature
from gateway.signing.gost.curves import Group
from gateway.signing.gost.gost94 import gost94

#: libraries that have the ENGINE interface; OpenSSL 4 has none and is not asked
_LIBRARIES: Final = ("libcrypto.so.3",)
_ENGINE_FOLDERS: Final = (
    "/usr/lib/*/engines-3",
    "/usr/lib/engines-3",
    "/usr/lib64/engines-3",
    "/usr/local/lib*/engines-3",
)
_ENGINE_FILE: Final = "gost.so"
#: keys that stay loaded in libcrypto
KNOWN_PUBLIC_KEYS: Final = 64
KNOWN_PRIVATE_KEYS: Final = 8

_INIT_ENGINE_DYNAMIC: Final = 0x400
_MAX_DIGEST_BYTES: Final = 64

_PROTOTYPES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    # name: (result, arguments); pointers to opaque structures are c_void_p
    "OPENSSL_init_crypto": (c_int, (c_uint64, c_void_p)),
    "ENGINE_by_id": (c_void_p, (c_char_p,)),
    "ENGINE_ctrl_cmd_string": (c_int, (c_void_p, c_char_p, c_char_p, c_int)),
    "ENGINE_init": (c_int, (c_void_p,)),
    "ENGINE_free": (c_int, (c_void_p,)),
    "ENGINE_register_pkey_asn1_meths": (c_int, (c_void_p,)),
    "ENGINE_register_pkey_meths": (c_int, (c_void_p,)),
    "ENGINE_get_digest": (c_void_p, (c_void_p, c_int)),
    "OBJ_txt2nid": (c_int, (c_char_p,)),
    "EVP_Digest": (c_int, (c_char_p, c_size_t, c_void_p, POINTER(c_uint), c_void_p, c_void_p)),
    "EVP_MD_CTX_new": (c_void_p, ()),
    "EVP_MD_CTX_free": (None, (c_void_p,)),
    "EVP_DigestInit_ex": (c_int, (c_void_p, c_void_p, c_void_p)),
    "EVP_DigestUpdate": (c_int, (c_void_p, c_char_p, c_size_t)),
    "EVP_DigestFinal_ex": (c_int, (c_void_p, c_void_p, POINTER(c_uint))),
    "d2i_PUBKEY": (c_void_p, (c_void_p, POINTER(c_char_p), c_long)),
    "i2d_PUBKEY": (c_int, (c_void_p, POINTER(c_void_p))),
    "d2i_PKCS8_PRIV_KEY_INFO": (c_void_p, (c_void_p, POINTER(c_char_p), c_long)),
    "PKCS8_PRIV_KEY_INFO_free": (None, (c_void_p,)),
    "EVP_PKCS82PKEY": (c_void_p, (c_void_p,)),
    "EVP_PKEY_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_new": (c_void_p, (c_void_p, c_void_p)),
    "EVP_PKEY_CTX_free": (None, (c_void_p,)),
    "EVP_PKEY_sign_init": (c_int, (c_void_p,)),
    "EVP_PKEY_sign": (c_int, (c_void_p, c_void_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "EVP_PKEY_verify_init": (c_int, (c_void_p,)),
    "EVP_PKEY_verify": (c_int, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t)),
    "CRYPTO_free": (None, (c_void_p, c_char_p, c_int)),
    "ERR_clear_error": (None, ()),
}


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether the engine can be used; if not, the reason and what to do, for `doctor`."""

    usable: bool
    reason: str


class _Key:
    """An EVP_PKEY. It is freed with this object, so whoever uses it holds on to the object meanwhile."""

    __slots__ = ("_free", "pointer")

    def __init__(self, pointer: int, free: Callable[[int], None]) -> None:
        self.pointer = pointer
        self._free = free

    def __del__(self) -> None:
        if not sys.is_finalizing():  # libcrypto may be gone already; the process frees everything
            self._free(self.pointer)


class EngineBackend:
    """GostBackend of OpenSSL's engine. Thread-safe; libcrypto runs without the interpreter's lock.

    One is enough for a process: `EngineBackend.shared()`. The constructor raises KeyMaterialError
    (`engine_unavailable`) that says why. The engine itself stays loaded until the process ends.
    """

    name = "engine"

    def __init__(self) -> None:
        self._library = _load_library()
        self._engine = _load_engine(self._library)
        self._digest512 = self._engine_digest(b"md_gost12_512")
        self._digest256 = self._engine_digest(b"md_gost12_256")
        self._groups = {family.name: Group(family.curve) for family in asn1.FAMILIES.values()}
        self._public = lru_cache(maxsize=KNOWN_PUBLIC_KEYS)(self._load_public)
        self._private = lru_cache(maxsize=KNOWN_PRIVATE_KEYS)(self._load_private)
        self._prove()

    _lock = Lock()
    _shared: EngineBackend | None = None

    @classmethod
    def shared(cls) -> EngineBackend:
        """The one of this process, loaded on first use."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    # ------------------------------------------------------------ digests

    def digest512(self, data: bytes) -> bytes:
        return self._hash(self._digest512, data)

    def digest256(self, data: bytes) -> bytes:
        return self._hash(self._digest256, data)

    def digest2004(self, data: bytes) -> bytes:
        # the engine's md_gost94 has the CryptoPro S-box, not the one of Kazakhstan (PKI.md section 1)
        return gost94(data)

    def digest512_of(self, pieces: Iterable[bytes]) -> bytes:
        return self._hash_of(self._digest512, pieces)

    def digest256_of(self, pieces: Iterable[bytes]) -> bytes:
        return self._hash_of(self._digest256, pieces)

    # ------------------------------------------------------------ signatures

    def public_key512(self, private_key: bytes) -> bytes:
        key = self._checked_private(private_key)
        out = c_void_p()
        length = self._library.i2d_PUBKEY(key.pointer, byref(out))
        if length <= 0 or not out.value:
            raise self._failed("give the public key of a private key")
        try:
            spki = ctypes.string_at(out.value, length)
        finally:
            self._library.CRYPTO_free(out, b"", 0)
        return spki[-2 * asn1.GOST_2015_512.curve.size_bytes :]  # the structure ends with x ‖ y

    def sign512(self, private_key: bytes, digest: bytes) -> bytes:
        family = asn1.GOST_2015_512
        signature.digest_number(self._groups[family.name], digest)
        key = self._checked_private(private_key)
        library = self._library
        context = library.EVP_PKEY_CTX_new(key.pointer, self._engine)
        if not context:
            raise self._failed("sign")
        try:
            size = 2 * family.curve.size_bytes
            out = ctypes.create_string_buffer(size)
            length = c_size_t(size)
            if (
                library.EVP_PKEY_sign_init(context) != 1
                or library.EVP_PKEY_sign(context, out, byref(length), digest, len(digest)) != 1
                or length.value != size
            ):
                raise self._failed("sign")
            return signature.reverse_packing(out.raw)
        finally:
            library.EVP_PKEY_CTX_free(context)

    def verify512(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        return self._verify(asn1.GOST_2015_512, public_key, digest, signature_bytes)

    def verify256(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        return self._verify(asn1.GOST_2015_256, public_key, digest, signature_bytes)

    def verify2004(self, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        return self._verify(asn1.GOST_2004, public_key, digest, signature_bytes)

    def _verify(self, family: asn1.KeyFamily, public_key: bytes, digest: bytes, signature_bytes: bytes) -> bool:
        group = self._groups[family.name]
        group.check_public_key(public_key)
        signature.digest_number(group, digest)
        if signature.read_signature(group, signature_bytes) is None:
            return False
        key = self._public(family, public_key)
        library = self._library
        context = library.EVP_PKEY_CTX_new(key.pointer, self._engine)
        if not context:
            raise self._failed("verify")
        try:
            if library.EVP_PKEY_verify_init(context) != 1:
                raise self._failed("verify")
            russian = signature.reverse_packing(signature_bytes)
            outcome = library.EVP_PKEY_verify(context, russian, len(russian), digest, len(digest))
        finally:
            library.EVP_PKEY_CTX_free(context)
        if outcome == 1:
            return True
        if outcome == 0:
            library.ERR_clear_error()
            return False
        raise self._failed("verify")

    # ------------------------------------------------------------ libcrypto

    def _load_public(self, family: asn1.KeyFamily, public_key: bytes) -> _Key:
        spki = asn1.russian_public_key(asn1.PublicKey(family, public_key))
        pointer = self._library.d2i_PUBKEY(None, byref(c_char_p(spki)), len(spki))
        if not pointer:
            raise self._failed("read a public key")
        return _Key(pointer, self._library.EVP_PKEY_free)

    def _checked_private(self, private_key: bytes) -> _Key:
        family = asn1.GOST_2015_512
        signature.private_number(self._groups[family.name], private_key)
        return self._private(family, private_key)

    def _load_private(self, family: asn1.KeyFamily, private_key: bytes) -> _Key:
        pkcs8 = asn1.russian_private_key(family, private_key)
        library = self._library
        info = library.d2i_PKCS8_PRIV_KEY_INFO(None, byref(c_char_p(pkcs8)), len(pkcs8))
        if not info:
            raise self._failed("read a private key")
        try:
            pointer = library.EVP_PKCS82PKEY(info)
        finally:
            library.PKCS8_PRIV_KEY_INFO_free(info)
        if not pointer:
            raise self._failed("read a private key")
        return _Key(pointer, library.EVP_PKEY_free)

    def _engine_digest(self, name: bytes) -> int:
        digest = self._library.ENGINE_get_digest(self._engine, self._library.OBJ_txt2nid(name))
        if not digest:
            self._library.ERR_clear_error()
            raise _unavailable(f"OpenSSL's gost engine has no digest {name.decode()}")
        return int(digest)

    def _hash(self, digest: int, data: bytes) -> bytes:
        out = ctypes.create_string_buffer(_MAX_DIGEST_BYTES)
        length = c_uint(0)
        if self._library.EVP_Digest(data, len(data), out, byref(length), digest, self._engine) != 1:
            raise self._failed("make a digest")
        return out.raw[: length.value]

    def _hash_of(self, digest: int, pieces: Iterable[bytes]) -> bytes:
        library = self._library
        context = library.EVP_MD_CTX_new()
        if not context:
            raise self._failed("make a digest")
        try:
            if library.EVP_DigestInit_ex(context, digest, self._engine) != 1:
                raise self._failed("make a digest")
            for piece in pieces:
                if library.EVP_DigestUpdate(context, piece, len(piece)) != 1:
                    raise self._failed("make a digest")
            out = ctypes.create_string_buffer(_MAX_DIGEST_BYTES)
            length = c_uint(0)
            if library.EVP_DigestFinal_ex(context, out, byref(length)) != 1:
                raise self._failed("make a digest")
            return out.raw[: length.value]
        finally:
            library.EVP_MD_CTX_free(context)

    def _failed(self, what: str) -> KeyMaterialError:
        self._library.ERR_clear_error()  # the queue belongs to the thread: `ssl` would take our error for its own
        return KeyMaterialError(
            f"OpenSSL's gost engine could not {what}: run `gateway doctor`, or choose our own code with"
            ' signing.gost_backend = "own"',
            code="engine_failed",
        )

    def _prove(self) -> None:
        """One known digest, one known signature and a false one, so that a broken engine is not used at all."""
        digest = self.digest512(_PROOF_MESSAGE)
        false = bytes([_PROOF_SIGNATURE[0] ^ 1]) + _PROOF_SIGNATURE[1:]
        if (
            digest != _PROOF_DIGEST
            or not self.verify512(_PROOF_PUBLIC_KEY, digest, _PROOF_SIGNATURE)
            or self.verify512(_PROOF_PUBLIC_KEY, digest, false)
        ):
            raise _unavailable("OpenSSL's gost engine does not give the known answers")


def available() -> Availability:
    """Whether `EngineBackend` can be used on this machine. Loads the engine when it can."""
    try:
        EngineBackend.shared()
    except KeyMaterialError as error:
        return Availability(False, error.message)
    return Availability(True, "")


def _unavailable(why: str) -> KeyMaterialError:
    return KeyMaterialError(why, code="engine_unavailable")


def _load_library() -> Any:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        for function, (result, arguments) in _PROTOTYPES.items():
            try:
                symbol = getattr(library, function)
            except AttributeError:
                raise _unavailable(f"{name} has no {function}: this OpenSSL is built without engines") from None
            symbol.restype = result
            symbol.argtypes = arguments
        return library
    raise _unavailable(f"no OpenSSL with engines is installed ({' or '.join(_LIBRARIES)})")


def _load_engine(library: Any) -> int:
    library.OPENSSL_init_crypto(_INIT_ENGINE_DYNAMIC, None)
    # OpenSSL's own engine folder (or OPENSSL_ENGINES) first, then the folders of distributions
    engine = library.ENGINE_by_id(b"gost")
    for path in () if engine else _engine_files():
        engine = _load_engine_file(library, path)
        if engine:
            break
    library.ERR_clear_error()
    if not engine:
        raise _unavailable(
            "OpenSSL's gost engine is not installed: on Debian and Ubuntu it is the package libengine-gost-openssl"
        )
    if library.ENGINE_init(engine) != 1:
        library.ENGINE_free(engine)
        library.ERR_clear_error()
        raise _unavailable("OpenSSL's gost engine is installed but does not start: is it of another OpenSSL version?")
    # keys are recognised by their OID through these tables; they gain the GOST rows, nobody else's rows change
    library.ENGINE_register_pkey_asn1_meths(engine)
    library.ENGINE_register_pkey_meths(engine)
    library.ERR_clear_error()
    return int(engine)


def _engine_files() -> list[Path]:
    root = Path("/")
    return [
        path / _ENGINE_FILE
        for folder in _ENGINE_FOLDERS
        for path in sorted(root.glob(folder.lstrip("/")))
        if (path / _ENGINE_FILE).is_file()
    ]


def _load_engine_file(library: Any, path: Path) -> int | None:
    loader = library.ENGINE_by_id(b"dynamic")
    if not loader:
        return None
    for command, value in ((b"SO_PATH", str(path).encode()), (b"ID", b"gost"), (b"LOAD", None)):
        if library.ENGINE_ctrl_cmd_string(loader, command, value, 0) != 1:
            library.ENGINE_free(loader)
            return None
    return int(loader)  # after LOAD it is the engine itself


# ---------------------------------------------------------------- the known answers of `_prove`

_PROOF_MESSAGE: Final = b"012345678901234567890123456789012345678901234567890123456789012"
"""M1 of RFC 6986, 10.1."""
_PROOF_DIGEST: Final = bytes.fromhex(
    "1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa"
    "00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48"
)
"""Its Streebog-512."""
_PROOF_PUBLIC_KEY: Final = bytes.fromhex(
    "11a4a78d83b4bd5b9565178275c3440c589c14b7f2229c063cba523260af333b"
    "6b1f95034812172f6216a59fe800b5e6aa881e6a155cd31a2ebe13ed0a187d64"
    "2956ce6392dc33c39a2b24e380944b3455f0b0f8931da1b70857c1329789b66c"
    "8a9d8a9fa2e7dbec36105a6583cacaa19d545117ccb5ac51144d9731ddd58343"
)
"""Of a private key that was thrown away; the signature below is by it, made with our own code."""
_PROOF_SIGNATURE: Final = bytes.fromhex(
    "a092da152fa11ef0e4969480e9a185c00ed17c65d5cbd813a9930a27fcf37b48"
    "5cb5b1975da6c4528588af2eef1039f374a05174c67b5256ae36751f18c4d8cd"
    "60dfcce3c9af7eec24f29e5cd380796d9427571b88f2b7279e2b4d249c76edba"
    "bf91db35ab301d1fd8c4bcd9735a9b8d4a39a5de685166de202ce4926771c3fb"
)
