"""Signatures: the examples of RFC 7091, the packing of Kazakhstan, and what must never verify."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMaterialError
from gateway.signing.gost import signature
from gateway.signing.gost.curves import CRYPTOPRO_A, TC26_256_A, TC26_512_A, Curve, Group
from tests.signing.gost.curves_of_rfc7091 import EXAMPLE_256, EXAMPLE_512

every_number = pytest.mark.parametrize("number", [int, None], ids=["plain", "fastest"])
_groups = [Group(curve) for curve in (TC26_512_A, TC26_256_A, CRYPTOPRO_A)]


def _little(curve: Curve, *numbers: int) -> bytes:
    return b"".join(number.to_bytes(curve.size_bytes, "little") for number in numbers)


@pytest.mark.parametrize(
    ("curve", "d", "e", "k", "x", "y", "r", "s"),
    [
        # RFC 7091, 7.1
        (
            EXAMPLE_256,
            0x7A929ADE789BB9BE10ED359DD39A72C11B60961F49397EEE1D19CE9891EC3B28,
            0x2DFBC1B372D89A1188C09C52E0EEC61FCE52032AB1022E8E67ECE6672B043EE5,
            0x77105C9B20BCD3122823C8CF6FCC7B956DE33814E95B7FE64FED924594DCEAB3,
            0x7F2B49E270DB6D90D8595BEC458B50C58585BA1D4E9B788F6689DBD8E56FD80B,
            0x26F1B489D6701DD185C8413A977B3CBBAF64D1C593D26627DFFB101A87FF77DA,
            0x41AA28D2F1AB148280CD9ED56FEDA41974053554A42767B83AD043FD39DC0493,
            0x01456C64BA4642A1653C235A98A60249BCD6D3F746B631DF928014F6C5BF9C40,
        ),
        # RFC 7091, 7.2
        (
            EXAMPLE_512,
            0x0BA6048AADAE241BA40936D47756D7C93091A0E8514669700EE7508E508B102072E8123B2200A0563322DAD2827E2714A2636B7BFD18AADFC62967821FA18DD4,
            0x3754F3CFACC9E0615C4F4A7C4D8DAB531B09B6F9C170C533A71D147035B0C5917184EE536593F4414339976C647C5D5A407ADEDB1D560C4FC6777D2972075B8C,
            0x0359E7F4B1410FEACC570456C6801496946312120B39D019D455986E364F365886748ED7A44B3E794434006011842286212273A6D14CF70EA3AF71BB1AE679F1,
            0x115DC5BC96760C7B48598D8AB9E740D4C4A85A65BE33C1815B5C320C854621DD5A515856D13314AF69BC5B924C8B4DDFF75C45415C1D9DD9DD33612CD530EFE1,
            0x37C7C90CD40B0F5621DC3AC1B751CFA0E2634FA0503B3D52639F5D7FB72AFD61EA199441D943FFE7F0C70A2759A3CDB84C114E1F9339FDF27F35ECA93677BEEC,
            0x2F86FA60A081091A23DD795E1E3C689EE512A3C82EE0DCC2643C78EEA8FCACD35492558486B20F1C9EC197C90699850260C93BCBCD9C5C3317E19344E173AE36,
            0x1081B394696FFE8E6585E7A9362D26B6325F56778AADBC081C0BFBE933D52FF5823CE288E8C4F362526080DF7F70CE406A6EEB1F56919CB92A9853BDE73E5B4A,
        ),
    ],
    ids=["256", "512"],
)
@every_number
def test_the_examples_of_rfc_7091(
    curve: Curve, d: int, e: int, k: int, x: int, y: int, r: int, s: int, number: type[int] | None
) -> None:
    group = Group(curve, number=number)
    private_key, digest = _little(curve, d), _little(curve, e)
    assert signature.public_key(group, private_key) == _little(curve, x, y)
    signed = signature.sign(group, private_key, digest, nonce=lambda q: k)
    assert signed == _little(curve, r, s)
    assert signature.verify(group, _little(curve, x, y), digest, signed)
    # what the Russian profile writes is the same backwards: s, then r, both big-endian
    assert signature.reverse_packing(signed) == s.to_bytes(curve.size_bytes, "big") + r.to_bytes(
        curve.size_bytes, "big"
    )


@pytest.mark.parametrize("group", _groups, ids=lambda group: group.curve.name)
@pytest.mark.parametrize("digest_number", ["zero", "order", "highest", "one"])
def test_digests_at_the_edges_sign_and_verify(group: Group, digest_number: str) -> None:
    """e = 0 counts as 1 (RFC 7091, 6.1 step 2)."""
    curve = group.curve
    number = {"zero": 0, "order": curve.q, "highest": (1 << 8 * curve.size_bytes) - 1, "one": 1}[digest_number]
    private_key = _little(curve, 4_711)
    digest = _little(curve, number)
    signed = signature.sign(group, private_key, digest)
    assert signature.verify(group, signature.public_key(group, private_key), digest, signed)
    if digest_number in ("zero", "order"):
        assert signature.verify(group, signature.public_key(group, private_key), _little(curve, 1), signed)


@st.composite
def _signed(draw: st.DrawFn) -> tuple[Group, bytes, bytes, bytes]:
    group = draw(st.sampled_from(_groups))
    curve = group.curve
    private_key = _little(curve, draw(st.integers(1, curve.q - 1)))
    digest = draw(st.binary(min_size=curve.size_bytes, max_size=curve.size_bytes))
    numbers = random.Random(draw(st.integers(0, 2**64)))
    signed = signature.sign(group, private_key, digest, nonce=lambda q: numbers.randrange(1, q))
    return group, signature.public_key(group, private_key), digest, signed


@given(one=_signed(), bit=st.integers(0, 1023), target=st.sampled_from(("signature", "digest", "public key")))
def test_one_changed_bit_never_verifies(one: tuple[Group, bytes, bytes, bytes], bit: int, target: str) -> None:
    group, public_key, digest, signed = one
    assert signature.verify(group, public_key, digest, signed)

    def changed(value: bytes) -> bytes:
        place = bit % (8 * len(value))
        return value[: place // 8] + bytes([value[place // 8] ^ 1 << place % 8]) + value[place // 8 + 1 :]

    if target == "signature":
        assert not signature.verify(group, public_key, digest, changed(signed))
    elif target == "digest":
        assert not signature.verify(group, public_key, changed(digest), signed)
    else:
        with pytest.raises(KeyMaterialError):  # another point with that x or y is never one bit away
            signature.verify(group, changed(public_key), digest, signed)


@given(one=_signed(), other=_signed())
def test_the_signature_of_another_key_never_verifies(
    one: tuple[Group, bytes, bytes, bytes], other: tuple[Group, bytes, bytes, bytes]
) -> None:
    group, public_key, digest, _ = one
    foreign = other[3]
    if other[1] == public_key:
        return
    assert not signature.verify(group, public_key, digest, foreign)


@given(one=_signed(), noise=st.binary(max_size=200))
def test_noise_never_verifies(one: tuple[Group, bytes, bytes, bytes], noise: bytes) -> None:
    group, public_key, digest, _ = one
    assert not signature.verify(group, public_key, digest, noise)


@pytest.mark.parametrize("group", _groups, ids=lambda group: group.curve.name)
def test_halves_out_of_range_are_refused(group: Group) -> None:
    curve = group.curve
    q = curve.q
    private_key, digest = _little(curve, 99), _little(curve, 100)
    public_key = signature.public_key(group, private_key)
    signed = signature.sign(group, private_key, digest)
    r, s = (int.from_bytes(signed[i : i + curve.size_bytes], "little") for i in (0, curve.size_bytes))
    wrong = [(0, s), (r, 0), (0, 0), (q, s), (r, q), (q, q)]
    if r + q < 1 << 8 * curve.size_bytes:
        wrong.append((r + q, s))
    if s + q < 1 << 8 * curve.size_bytes:
        wrong.append((r, s + q))
    for pair in wrong:
        assert not signature.verify(group, public_key, digest, _little(curve, *pair))


def test_the_russian_packing_is_refused() -> None:
    group = _groups[0]
    private_key, digest = _little(TC26_512_A, 99), _little(TC26_512_A, 100)
    signed = signature.sign(group, private_key, digest)
    assert not signature.verify(
        group, signature.public_key(group, private_key), digest, signature.reverse_packing(signed)
    )


@pytest.mark.parametrize("group", _groups, ids=lambda group: group.curve.name)
def test_private_keys_out_of_range_are_refused(group: Group) -> None:
    curve = group.curve
    for private_key in (_little(curve, 0), _little(curve, curve.q), b"\xff" * curve.size_bytes, b"\x01", b""):
        with pytest.raises(KeyMaterialError) as refused:
            signature.sign(group, private_key, _little(curve, 1))
        assert refused.value.code == "bad_private_key"


def test_a_digest_of_another_length_is_a_mistake_of_the_caller() -> None:
    group = _groups[0]
    private_key = _little(TC26_512_A, 5)
    with pytest.raises(ValueError, match="has 64 bytes, not 32"):
        signature.sign(group, private_key, bytes(32))
    with pytest.raises(ValueError, match="has 64 bytes, not 32"):
        signature.verify(group, signature.public_key(group, private_key), bytes(32), bytes(128))


def test_two_signatures_of_one_digest_differ() -> None:
    group = _groups[0]
    private_key, digest = _little(TC26_512_A, 5), bytes(64)
    assert signature.sign(group, private_key, digest) != signature.sign(group, private_key, digest)


def test_a_nonce_out_of_range_is_never_used() -> None:
    group = _groups[0]
    for source in (lambda q: 0, lambda q: q, lambda q: -1):
        with pytest.raises(ValueError, match="nonce"):
            signature.sign(group, _little(TC26_512_A, 5), bytes(64), nonce=source)


def test_a_nonce_source_that_repeats_a_useless_number_ends() -> None:
    """s = r·d + k·e is zero for one k; a source that gives nothing else must not hang us."""
    group = _groups[0]
    q = TC26_512_A.q
    k = 7
    point = group.multiply_generator(k)
    assert point is not None
    d = -k * pow(int(point[0]) % q, -1, q) % q  # r·d + k·1 = 0
    with pytest.raises(ArithmeticError, match="nonce"):
        signature.sign(group, _little(TC26_512_A, d), bytes(64), nonce=lambda q: k)


def test_system_nonces_are_in_range() -> None:
    assert {signature.system_nonce(3) for _ in range(64)} == {1, 2}
