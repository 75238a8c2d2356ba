"""National keys in ASN.1: the table of OIDs, and how a public or private key is taken out and put in.

The types are our own. asn1crypto's are fed from tables that every user in the process shares and that do not know
the national OIDs; nothing is registered there, so nobody else's parsing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from asn1crypto import core

from gateway.errors import KeyMaterialError
from gateway.signing.gost.curves import CRYPTOPRO_A, TC26_256_A, TC26_512_A, Curve

ASN1_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    RecursionError,
)
"""What asn1crypto raises on bytes that are not what they should be."""

#: a key in ASN.1 above this is not one of ours
MAX_KEY_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class KeyFamily:
    """One kind of national key and what names it (PKI.md section 2; the Russian names: RFC 9215, RFC 4357)."""

    #: as in Certificate.key_family
    name: str
    curve: Curve
    key_oid: str
    curve_oid: str
    #: of the digest in the key's parameters
    digest_parameter_oid: str
    digest_oid: str
    signature_oid: str
    russian_key_oid: str
    russian_curve_oid: str
    russian_digest_parameter_oid: str
    #: the private key is an INTEGER in PKCS#8 (big-endian), else an OCTET STRING (little-endian)
    private_key_is_integer: bool


GOST_2015_512: Final = KeyFamily(
    name="gost-2015-512",
    curve=TC26_512_A,
    key_oid="1.2.398.3.10.1.1.2.2",
    curve_oid="1.2.398.3.10.1.1.2.2.1",
    digest_parameter_oid="1.2.398.3.10.1.3.3",
    digest_oid="1.2.398.3.10.1.3.3",
    signature_oid="1.2.398.3.10.1.1.2.3.2",
    russian_key_oid="1.2.643.7.1.1.1.2",
    russian_curve_oid="1.2.643.7.1.2.1.2.1",
    russian_digest_parameter_oid="1.2.643.7.1.1.2.3",
    private_key_is_integer=False,
)

GOST_2015_256: Final = KeyFamily(
    # read in public code, no sample of it was found (PKI.md section 8)
    name="gost-2015-256",
    curve=TC26_256_A,
    key_oid="1.2.398.3.10.1.1.2.1",
    curve_oid="1.2.398.3.10.1.1.2.1.1",
    digest_parameter_oid="1.2.398.3.10.1.3.2",
    digest_oid="1.2.398.3.10.1.3.2",
    signature_oid="1.2.398.3.10.1.1.2.3.1",
    russian_key_oid="1.2.643.7.1.1.1.1",
    russian_curve_oid="1.2.643.7.1.2.1.1.1",
    russian_digest_parameter_oid="1.2.643.7.1.1.2.2",
    private_key_is_integer=False,
)

GOST_2004: Final = KeyFamily(
    # GOST 34.310-2004 with GOST 34.311-95
    name="gost-2004",
    curve=CRYPTOPRO_A,
    key_oid="1.2.398.3.10.1.1.1.1",
    curve_oid="1.2.398.3.10.1.1.1.1.1",
    digest_parameter_oid="1.2.398.3.10.1.3.1.1.0",
    digest_oid="1.2.398.3.10.1.3.1",
    signature_oid="1.2.398.3.10.1.1.1.2",
    russian_key_oid="1.2.643.2.2.19",
    russian_curve_oid="1.2.643.2.2.35.1",
    russian_digest_parameter_oid="1.2.643.2.2.30.1",
    private_key_is_integer=True,
)

FAMILIES: Final[Mapping[str, KeyFamily]] = MappingProxyType(
    {family.name: family for family in (GOST_2015_512, GOST_2015_256, GOST_2004)}
)
_BY_KEY_OID: Final[Mapping[str, KeyFamily]] = MappingProxyType({family.key_oid: family for family in FAMILIES.values()})
_BY_SIGNATURE_OID: Final[Mapping[str, KeyFamily]] = MappingProxyType(
    {family.signature_oid: family for family in FAMILIES.values()}
)


def family_of_signature(oid: str) -> KeyFamily | None:
    """The family whose keys make signatures of that OID, as a certificate or CRL names it; None for a foreign one."""
    return _BY_SIGNATURE_OID.get(oid)


def family_of_key(oid: str) -> KeyFamily | None:
    """The family of a key's algorithm OID; None for a foreign one."""
    return _BY_KEY_OID.get(oid)


# ---------------------------------------------------------------- structures


class _AlgorithmIdentifier(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012  (asn1crypto reads a list from the class)
        ("algorithm", core.ObjectIdentifier),
        ("parameters", core.Any, {"optional": True}),
    ]


class _KeyParameters(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("curve", core.ObjectIdentifier),
        ("digest", core.ObjectIdentifier, {"optional": True}),
        ("cipher", core.ObjectIdentifier, {"optional": True}),
    ]


class _PublicKeyInfo(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", _AlgorithmIdentifier), ("public_key", core.OctetBitString)]  # noqa: RUF012


class _PrivateKeyInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("algorithm", _AlgorithmIdentifier),
        ("private_key", core.OctetString),
        ("attributes", core.Any, {"optional": True, "implicit": 0}),
    ]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """x ‖ y of a national key, each little-endian. That it is a point of the curve is checked where it is used."""

    family: KeyFamily
    value: bytes


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key as it came out of a file. `repr()` does not show it."""

    #: "gost-2015-512", "gost-2015-256", "gost-2004"; "other" for everything else
    family: str
    #: of a national key the little-endian number; of another one its PKCS#8 in DER, which `cryptography` reads
    value: bytes = field(repr=False)


def read_public_key(spki_der: bytes) -> PublicKey:
    """The key in a SubjectPublicKeyInfo of ours.

    Raises KeyMaterialError: `key_not_supported` for an algorithm or curve that is not in the table,
    `bad_public_key` for a broken structure.
    """
    try:
        info = _load(_PublicKeyInfo, spki_der)
        family = _family(info["algorithm"])
        bits = info["public_key"]
        if bits.unused_bits:
            raise ValueError("not whole bytes")
        inner = core.OctetString.load(bytes(bits), strict=True)
        _refuse_constructed(inner)
        value = bytes(inner)
    except ASN1_ERRORS:
        raise KeyMaterialError(
            "a GOST public key cannot be read: its structure is damaged", code="bad_public_key"
        ) from None
    if len(value) != 2 * family.curve.size_bytes:
        raise KeyMaterialError("a GOST public key cannot be used: its length is wrong", code="bad_public_key")
    return PublicKey(family, value)


def write_public_key(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo in DER, as the national authority writes it."""
    family = key.family
    return _public_key_info(family.key_oid, family.curve_oid, family.digest_parameter_oid, key.value)


def russian_public_key(key: PublicKey) -> bytes:
    """The same key under Russian OIDs (RFC 9215), for software that knows only those."""
    family = key.family
    return _public_key_info(
        family.russian_key_oid, family.russian_curve_oid, family.russian_digest_parameter_oid, key.value
    )


def read_private_key(pkcs8_der: bytes) -> PrivateKey:
    """The key in a PrivateKeyInfo (PKCS#8, not encrypted).

    A key of another algorithm comes back whole as family "other". Raises KeyMaterialError: `key_not_supported` for a
    national key on a curve that is not in the table, `key_file_damaged` for a broken structure.
    """
    try:
        info = _load(_PrivateKeyInfo, pkcs8_der)
        if info["version"].native not in (0, 1):
            raise ValueError("no version of PKCS#8")
        if family_of_key(info["algorithm"]["algorithm"].dotted) is None:
            return PrivateKey("other", pkcs8_der)
        family = _family(info["algorithm"])
        value = _scalar(family, bytes(info["private_key"]))
    except ASN1_ERRORS:
        raise KeyMaterialError(
            "a GOST private key cannot be read: its structure is damaged", code="key_file_damaged"
        ) from None
    return PrivateKey(family.name, value)


def write_private_key(key: PrivateKey) -> bytes:
    """PrivateKeyInfo in DER, as the national authority writes it. ValueError for a family that is not national."""
    family = FAMILIES.get(key.family)
    if family is None:
        raise ValueError("only a national key is written here: the value of another one is its PKCS#8 already")
    if family.private_key_is_integer:
        inner = core.Integer(int.from_bytes(key.value, "little")).dump()
    else:
        inner = core.OctetString(key.value).dump()
    return _private_key_info(family.key_oid, family.curve_oid, family.digest_parameter_oid, inner)


def russian_private_key(family: KeyFamily, value: bytes) -> bytes:
    """PrivateKeyInfo under Russian OIDs; `value` is the little-endian number."""
    return _private_key_info(
        family.russian_key_oid,
        family.russian_curve_oid,
        family.russian_digest_parameter_oid,
        core.OctetString(value).dump(),
    )


def _load(kind: Any, der: bytes) -> Any:
    if len(der) > MAX_KEY_BYTES:
        raise ValueError("far too long")
    return kind.load(der, strict=True)


def _refuse_constructed(value: Any) -> None:
    if value.method:  # DER has no strings in pieces
        raise ValueError("a string in pieces")


def _family(algorithm: Any) -> KeyFamily:
    oid = algorithm["algorithm"].dotted
    family = family_of_key(oid)
    if family is None:
        raise KeyMaterialError(f"algorithm {oid} is not a national signature key", code="key_not_supported")
    parameters = _KeyParameters.load(algorithm["parameters"].dump(), strict=True)
    curve = parameters["curve"].dotted
    if curve != family.curve_oid:
        raise KeyMaterialError(f"a {family.name} key is on curve {curve}, which is not known", code="key_not_supported")
    digest = parameters["digest"].dotted if parameters["digest"] else family.digest_parameter_oid
    if digest not in (family.digest_parameter_oid, family.digest_oid):
        raise KeyMaterialError(f"a {family.name} key is for digest {digest}, not for its own", code="key_not_supported")
    return family


def _scalar(family: KeyFamily, inner: bytes) -> bytes:
    """The little-endian number in the content of PKCS#8's privateKey."""
    size = family.curve.size_bytes
    if inner[:1] == b"\x02" and len(inner) != size:
        number = core.Integer.load(inner, strict=True).native
        return bytes(number.to_bytes(size, "little"))
    value = inner if len(inner) == size else bytes(core.OctetString.load(inner, strict=True))
    if len(value) != size:
        raise ValueError("wrong length")
    return value


def _algorithm(key_oid: str, curve_oid: str, digest_oid: str) -> _AlgorithmIdentifier:
    return _AlgorithmIdentifier(
        {"algorithm": key_oid, "parameters": _KeyParameters({"curve": curve_oid, "digest": digest_oid})}
    )


def _public_key_info(key_oid: str, curve_oid: str, digest_oid: str, value: bytes) -> bytes:
    info = _PublicKeyInfo()
    info["algorithm"] = _algorithm(key_oid, curve_oid, digest_oid)
    info["public_key"] = core.OctetString(value).dump()
    return bytes(info.dump())


def _private_key_info(key_oid: str, curve_oid: str, digest_oid: str, inner: bytes) -> bytes:
    info = _PrivateKeyInfo()
    info["version"] = 0
    info["algorithm"] = _algorithm(key_oid, curve_oid, digest_oid)
    info["private_key"] = inner
    return bytes(info.dump())
