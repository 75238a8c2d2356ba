"""Arithmetic on the curves, against RFC 8133 and against the law of the group."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMaterialError
from gateway.signing.gost import curves, signature
from gateway.signing.gost.curves import CRYPTOPRO_A, TC26_256_A, TC26_512_A, Curve, Group, Point
from tests.signing.gost.curves_of_rfc7091 import EXAMPLE_256, EXAMPLE_512

ALL = (TC26_512_A, TC26_256_A, CRYPTOPRO_A, EXAMPLE_256, EXAMPLE_512)
_groups = {(curve, number): Group(curve, number=number) for curve in ALL for number in (int, None)}

every_curve = pytest.mark.parametrize("curve", ALL, ids=lambda curve: curve.name)
every_number = pytest.mark.parametrize("number", [int, None], ids=["plain", "fastest"])
any_group = st.sampled_from(list(_groups.values()))


def _key(curve: Curve, point: Point) -> bytes:
    return b"".join(int(one).to_bytes(curve.size_bytes, "little") for one in point)


def _slow_sum(curve: Curve, left: Point | None, right: Point | None) -> Point | None:
    """The law of the group in its school form, as the judge."""
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    p = curve.p
    if x1 == x2:
        if (y1 + y2) % p == 0:
            return None
        slope = (3 * x1 * x1 + curve.a) * pow(2 * y1, -1, p) % p
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, p) % p
    x3 = (slope * slope - x1 - x2) % p
    return x3, (slope * (x1 - x3) - y1) % p


def _slow_multiple(curve: Curve, point: Point | None, scalar: int) -> Point | None:
    total = None
    while scalar:
        if scalar & 1:
            total = _slow_sum(curve, total, point)
        point = _slow_sum(curve, point, point)
        scalar >>= 1
    return total


@every_curve
@every_number
def test_the_parameters_fit_together(curve: Curve, number: type[int] | None) -> None:
    group = Group(curve, number=number)
    generator = (curve.x, curve.y)
    assert group.is_on_curve(generator)
    assert (4 * curve.a**3 + 27 * curve.b**2) % curve.p
    assert group.multiply(generator, curve.q) is None
    assert pow(2, curve.q - 1, curve.q) == 1
    # Hasse: as many points as the cofactor says, and no other number of them is possible
    distance = curve.p + 1 - curve.cofactor * curve.q
    assert distance**2 <= 4 * curve.p
    assert curve.q.bit_length() >= 8 * curve.size_bytes - 2


@pytest.mark.parametrize(
    ("curve", "scalar", "x", "y"),
    [
        # RFC 8133, A.2: values of α·P
        (
            CRYPTOPRO_A,
            0x1F2538097D5A031FA68BBB43C84D12B3DE47B7061C0D5E24993E0C873CDBA6B3,
            0xBBC77CF42DC1E62D06227935379B4AA4D14FEA4F565DDF4CB4FA4D31579F9676,
            0x8E16604A4AFDF28246684D4996274781F6CB80ABBBA1414C1513EC988509DABF,
        ),
        (
            TC26_256_A,
            0x147B72F6684FB8FD1B418A899F7DBECAF5FCE60B13685BAA95328654A7F0707F,
            0x33FBAC14EAE538275A769417829C431BD9FA622B6F02427EF55BD60EE6BC2888,
            0x22F2EBCF960A82E6CDB4042D3DDDA511B2FBA925383C2273D952EA2D406EAE46,
        ),
        (
            TC26_512_A,
            0x3CE54325DB52FE798824AEAD11BB16FA766857D04A4AF7D468672F16D90E7396046A46F815693E85B1CE5464DA9270181F82333B0715057BBE8D61D400505F0E,
            0xB93093EB0FCC463239B7DF276E09E592FCFC9B635504EA4531655D76A0A3078E2B4E51CFE2FA400CC5DE9FBE369DB204B3E8ED7EDD85EE5CCA654C1AED70E396,
            0x809770B8D910EA30BD2FA89736E91DC31815D2D9B31128077EEDC371E9F69466F497DC64DD5B1FADC587F860EE256109138C4A9CD96B628E65A8F590520FC882,
        ),
    ],
    ids=["CryptoPro-A", "256-A", "512-A"],
)
@every_number
def test_multiples_of_the_generator_in_rfc_8133(
    curve: Curve, scalar: int, x: int, y: int, number: type[int] | None
) -> None:
    group = Group(curve, number=number)
    assert group.multiply_generator(scalar) == (x, y)
    assert group.multiply((curve.x, curve.y), scalar) == (x, y)


@given(group=any_group, scalar=st.integers(min_value=0, max_value=2**40) | st.integers(0, 2**512))
def test_multiples_agree_with_the_school_form(group: Group, scalar: int) -> None:
    curve = group.curve
    scalar %= curve.q
    expected = _slow_multiple(curve, (curve.x, curve.y), scalar)
    assert group.multiply_generator(scalar) == expected
    assert group.multiply((curve.x, curve.y), scalar) == expected


@given(group=any_group, distance=st.integers(1, 40))
def test_multiples_close_to_the_order_are_right(group: Group, distance: int) -> None:
    curve = group.curve
    near = group.multiply_generator(distance)
    assert near is not None
    assert group.multiply_generator(curve.q - distance) == (near[0], curve.p - near[1])


@given(
    group=any_group,
    secret=st.integers(1, 2**64),
    z1=st.integers(0, 2**512) | st.integers(0, 5),
    z2=st.integers(0, 2**512) | st.integers(0, 5),
)
def test_the_sum_of_two_multiples_is_that_of_their_scalars(group: Group, secret: int, z1: int, z2: int) -> None:
    curve = group.curve
    point = group.multiply_generator(secret)
    assert point is not None
    key = _key(curve, point)
    z1, z2 = z1 % curve.q, z2 % curve.q
    total = group.multiply_generator((z1 + secret * z2) % curve.q)
    for _ in range(curves.USES_BEFORE_TABLE + 1):  # without a table of the key, then with one
        if total is None:
            assert not group.sum_has_x(z1, z2, key, 1)
        else:
            r = int(total[0]) % curve.q
            assert group.sum_has_x(z1, z2, key, r)
            assert not group.sum_has_x(z1, z2, key, (r + 1) % curve.q)


def test_opposite_halves_of_a_sum_give_infinity_and_nothing_holds() -> None:
    group = Group(TC26_512_A)
    q = TC26_512_A.q
    key = _key(TC26_512_A, (TC26_512_A.x, TC26_512_A.y))
    for _ in range(curves.USES_BEFORE_TABLE + 1):
        assert not group.sum_has_x(5, q - 5, key, 3)
        assert group.sum_has_x(5, q - 4, key, 3)  # 5G - 4G = G, whose x is 3


# ---------------------------------------------------------------- public keys


@every_curve
def test_a_key_off_the_curve_is_refused(curve: Curve) -> None:
    group = Group(curve)
    with pytest.raises(KeyMaterialError, match="no point") as refused:
        group.check_public_key(_key(curve, (curve.x, curve.y ^ 1)))
    assert refused.value.code == "bad_public_key"


@every_curve
def test_zeros_are_no_key(curve: Curve) -> None:
    with pytest.raises(KeyMaterialError):
        Group(curve).check_public_key(bytes(2 * curve.size_bytes))


@every_curve
@pytest.mark.parametrize("change", [-1, 1, 64])
def test_a_key_of_another_length_is_refused(curve: Curve, change: int) -> None:
    with pytest.raises(KeyMaterialError, match="bytes instead of"):
        Group(curve).check_public_key(b"\x01" * (2 * curve.size_bytes + change))


@pytest.mark.parametrize("curve", [TC26_512_A, CRYPTOPRO_A, EXAMPLE_512], ids=lambda curve: curve.name)
def test_coordinates_that_are_not_reduced_are_refused(curve: Curve) -> None:
    """The generator with p added to its x, which still fits the length: one key must not have two forms."""
    group = Group(curve)
    group.check_public_key(_key(curve, (curve.x, curve.y)))
    with pytest.raises(KeyMaterialError, match="no point"):
        group.check_public_key(_key(curve, (curve.x + curve.p, curve.y)))


def _point_of_order(group: Group, order: int) -> Point:
    """On the curve with cofactor 4: a point times q has an order that divides 4."""
    curve = group.curve
    for x in range(2, 200):
        right = (x**3 + curve.a * x + curve.b) % curve.p
        y = pow(right, (curve.p + 1) // 4, curve.p)  # a square root, p being 3 modulo 4
        if y * y % curve.p != right:
            continue
        small = _slow_multiple(curve, (x, y), curve.q)
        if small is None:
            continue
        if order == 2:
            small = small if _slow_sum(curve, small, small) is None else _slow_sum(curve, small, small)
        if small is not None and (_slow_sum(curve, small, small) is None) == (order == 2):
            return small
    raise AssertionError("no such point among the first ones")


@pytest.mark.parametrize("order", [2, 4])
@every_number
def test_keys_outside_the_group_of_prime_order_are_refused(order: int, number: type[int] | None) -> None:
    group = Group(TC26_256_A, number=number)
    small = _point_of_order(group, order)
    assert group.is_on_curve(small)
    with pytest.raises(KeyMaterialError, match="prime order"):
        group.check_public_key(_key(TC26_256_A, small))
    # a good key moved by a small point is on the curve and as wrong
    good = group.multiply_generator(12_345)
    moved = _slow_sum(TC26_256_A, (int(good[0]), int(good[1])) if good else None, small)
    assert moved is not None
    with pytest.raises(KeyMaterialError, match="prime order"):
        group.check_public_key(_key(TC26_256_A, moved))


@given(scalar=st.integers(0, 2**256), order=st.sampled_from((2, 4)), number=st.sampled_from((int, None)))
def test_multiples_of_points_of_small_order_are_right(scalar: int, order: int, number: type[int] | None) -> None:
    group = _groups[TC26_256_A, number]
    small = _point_of_order(group, order)
    assert group.multiply(small, scalar) == _slow_multiple(TC26_256_A, small, scalar)


def test_only_so_many_keys_are_remembered() -> None:
    group = Group(CRYPTOPRO_A)
    for secret in range(1, curves.KNOWN_KEYS + 10):
        group.check_public_key(signature.public_key(group, secret.to_bytes(32, "little")))
    assert len(group._known) == curves.KNOWN_KEYS


def test_threads_may_share_a_group() -> None:
    group = Group(CRYPTOPRO_A)
    private_keys = [secret.to_bytes(32, "little") for secret in range(1, 9)]

    def check(number: int) -> bool:
        private_key = private_keys[number % len(private_keys)]
        digest = number.to_bytes(32, "little")
        signed = signature.sign(group, private_key, digest)
        return signature.verify(group, signature.public_key(group, private_key), digest, signed)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(1, 120)))
