"""Keys in ASN.1: what is read is what is written, and everything else is refused by name."""

from __future__ import annotations

import contextlib

import pytest
from asn1crypto import algos, core, keys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMaterialError
from gateway.signing.gost import asn1, signature
from gateway.signing.gost.asn1 import FAMILIES, GOST_2015_512, KeyFamily, PrivateKey, PublicKey
from gateway.signing.gost.curves import Group

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


def _value(family: KeyFamily, halves: int) -> bytes:
    return bytes(range(1, 1 + halves * family.curve.size_bytes))


def _replace_oid(der: bytes, old: str, new: str) -> bytes:
    one, other = core.ObjectIdentifier(old).dump(), core.ObjectIdentifier(new).dump()
    assert len(one) == len(other), "lengths around it would change"
    assert one in der
    return der.replace(one, other)


@every_family
def test_a_public_key_is_read_as_written(family: KeyFamily) -> None:
    key = PublicKey(family, _value(family, 2))
    assert asn1.read_public_key(asn1.write_public_key(key)) == key


@every_family
def test_a_private_key_is_read_as_written(family: KeyFamily) -> None:
    key = PrivateKey(family.name, _value(family, 1))
    assert asn1.read_private_key(asn1.write_private_key(key)) == key


@every_family
def test_a_private_key_without_an_inner_string_is_read(family: KeyFamily) -> None:
    """Some software puts the bare bytes into privateKey."""
    key = PrivateKey(family.name, _value(family, 1))
    info = asn1._PrivateKeyInfo.load(asn1.write_private_key(key))
    info["private_key"] = key.value
    assert asn1.read_private_key(info.dump(force=True)) == key


@every_family
def test_the_russian_form_names_the_same_key(family: KeyFamily) -> None:
    key = PublicKey(family, _value(family, 2))
    russian = asn1.russian_public_key(key)
    assert russian.endswith(key.value)
    assert core.ObjectIdentifier(family.russian_key_oid).dump() in russian
    assert core.ObjectIdentifier(family.russian_curve_oid).dump() in russian
    assert asn1.russian_private_key(family, _value(family, 1)).endswith(_value(family, 1))


def test_a_private_key_is_not_shown() -> None:
    key = PrivateKey("gost-2015-512", b"\xab" * 64)
    assert "ab" not in repr(key)
    assert "\\xab" not in repr(key)


def test_families_are_found_by_their_oids() -> None:
    for family in FAMILIES.values():
        assert asn1.family_of_key(family.key_oid) is family
        assert asn1.family_of_signature(family.signature_oid) is family
    assert asn1.family_of_key("1.2.840.113549.1.1.1") is None
    assert asn1.family_of_signature("1.2.643.7.1.1.3.3") is None


def test_a_key_of_another_algorithm_comes_back_whole() -> None:
    foreign = ec.generate_private_key(ec.SECP256R1())
    der = foreign.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert asn1.read_private_key(der) == PrivateKey("other", der)
    with pytest.raises(ValueError, match="only a national key"):
        asn1.write_private_key(PrivateKey("other", der))


@every_family
def test_a_foreign_algorithm_curve_or_digest_is_refused_by_name(family: KeyFamily) -> None:
    good = asn1.write_public_key(PublicKey(family, _value(family, 2)))
    last = family.key_oid.rpartition(".")[0]
    for changed, why in (
        (_replace_oid(good, family.curve_oid, family.curve_oid.rpartition(".")[0] + ".9"), "is on curve"),
        (
            _replace_oid(good, family.digest_parameter_oid, family.digest_parameter_oid.rpartition(".")[0] + ".9"),
            "is for digest",
        ),
    ):
        with pytest.raises(KeyMaterialError, match=why) as refused:
            asn1.read_public_key(changed)
        assert refused.value.code == "key_not_supported"
    foreign = core.ObjectIdentifier(family.key_oid).dump()
    algorithm = good.index(foreign)
    changed = good[:algorithm] + core.ObjectIdentifier(last + ".9").dump() + good[algorithm + len(foreign) :]
    with pytest.raises(KeyMaterialError, match="not a national signature key") as refused:
        asn1.read_public_key(changed)
    assert refused.value.code == "key_not_supported"


@every_family
def test_a_key_of_another_length_is_refused(family: KeyFamily) -> None:
    for value in (b"", bytes(32), bytes(127), bytes(129)):
        with pytest.raises(KeyMaterialError) as refused:
            asn1.read_public_key(asn1.write_public_key(PublicKey(family, value)))
        assert refused.value.code == "bad_public_key"
    for value in (b"", bytes(16), bytes(65)):
        with pytest.raises(KeyMaterialError):
            asn1.read_private_key(asn1.write_private_key(PrivateKey(family.name, value))[:-1])


def test_a_number_too_large_for_the_old_curve_is_refused() -> None:
    family = FAMILIES["gost-2004"]
    key = asn1._private_key_info(
        family.key_oid, family.curve_oid, family.digest_parameter_oid, core.Integer(1 << 256).dump()
    )
    with pytest.raises(KeyMaterialError) as refused:
        asn1.read_private_key(key)
    assert refused.value.code == "key_file_damaged"


def test_a_version_that_is_none_is_refused() -> None:
    good = asn1.write_private_key(PrivateKey("gost-2015-512", bytes(64)))
    with pytest.raises(KeyMaterialError):
        asn1.read_private_key(good.replace(b"\x02\x01\x00", b"\x02\x01\x07", 1))


def test_a_very_long_structure_is_not_read() -> None:
    with pytest.raises(KeyMaterialError):
        asn1.read_public_key(b"\x30\x84\x7f\xff\xff\xff" + bytes(asn1.MAX_KEY_BYTES))


_GOOD_PUBLIC = asn1.write_public_key(
    PublicKey(GOST_2015_512, signature.public_key(Group(GOST_2015_512.curve), (77).to_bytes(64, "little")))
)
_GOOD_PRIVATE = asn1.write_private_key(PrivateKey("gost-2015-512", (77).to_bytes(64, "little")))


@given(
    good=st.sampled_from((_GOOD_PUBLIC, _GOOD_PRIVATE)),
    place=st.integers(0, 200),
    byte=st.integers(0, 255),
    cut=st.integers(0, 200),
)
def test_damaged_keys_are_refused_or_read_but_never_crash(good: bytes, place: int, byte: int, cut: int) -> None:
    place %= len(good)
    for der in (good[:place] + bytes([byte]) + good[place + 1 :], good[: cut % len(good)], good + bytes([byte])):
        for read in (asn1.read_public_key, asn1.read_private_key):
            with contextlib.suppress(KeyMaterialError):
                read(der)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(KeyMaterialError):
        asn1.read_public_key(noise)


def test_nothing_is_registered_with_asn1crypto() -> None:
    for family in FAMILIES.values():
        assert family.key_oid not in keys.PublicKeyAlgorithmId._map
        assert family.signature_oid not in algos.SignedDigestAlgorithmId._map
