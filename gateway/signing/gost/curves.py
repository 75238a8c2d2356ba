"""The elliptic curves of the national algorithms and arithmetic on them.

Short Weierstrass form, Jacobian coordinates, signed digits of 4 to 6 bits with tables of affine multiples. Nothing
here is constant-time: it is for verification, and for signing where the operator accepts that (own.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.errors import KeyMaterialError

try:
    from gmpy2 import mpz as _mpz  # four times faster than int for numbers of this size
except ImportError:  # pragma: no cover  (the tests run plain integers through `Group(curve, number=int)`)
    _mpz = None

Point: TypeAlias = tuple[int, int]
"""Affine coordinates. The point at infinity has none and is written None."""

_Jacobian: TypeAlias = tuple[int, int, int]
_Row: TypeAlias = Sequence[Point]
"""Multiples 1, 2, … of one point."""

#: bits of a digit in the table of the generator, in the table of a public key, and without a table
_GENERATOR_WINDOW_BITS: Final = 6
_KEY_WINDOW_BITS: Final = 5
_NO_TABLE_WINDOW_BITS: Final = 5
#: public keys of which something is kept; the least recently used is dropped. A table has about 500 KB.
KNOWN_KEYS: Final = 32
#: a table costs as much as three verifications without one, so a key that does not come back gets none
USES_BEFORE_TABLE: Final = 3


@dataclass(frozen=True, slots=True)
class Curve:
    """y² = x³ + ax + b over GF(p), generator (x, y) of prime order q; all points number cofactor·q."""

    name: str
    #: of one coordinate and of one half of a signature
    size_bytes: int
    p: int
    a: int
    b: int
    q: int
    cofactor: int
    x: int
    y: int


TC26_512_A: Final = Curve(
    # RFC 7836, A.1
    name="id-tc26-gost-3410-12-512-paramSetA",
    size_bytes=64,
    p=2**512 - 569,
    a=2**512 - 572,
    b=int(
        "e8c2505dedfc86ddc1bd0b2b6667f1da34b82574761cb0e879bd081cfd0b6265"
        "ee3cb090f30d27614cb4574010da90dd862ef9d4ebee4761503190785a71c760",
        16,
    ),
    q=int(
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "27e69532f48d89116ff22b8d4e0560609b4b38abfad2b85dcacdb1411f10b275",
        16,
    ),
    cofactor=1,
    x=3,
    y=int(
        "7503cfe87a836ae3a61b8816e25450e6ce5e1c93acf1abc1778064fdcbefa921"
        "df1626be4fd036e93d75e6a50e3a41e98028fe5fc235f5b889a589cb5215f2a4",
        16,
    ),
)

TC26_256_A: Final = Curve(
    # RFC 7836, A.2, a twisted Edwards curve; these are the parameters of its Weierstrass form
    name="id-tc26-gost-3410-2012-256-paramSetA",
    size_bytes=32,
    p=2**256 - 617,
    a=0xC2173F1513981673AF4892C23035A27CE25E2013BF95AA33B22C656F277E7335,
    b=0x295F9BAE7428ED9CCC20E7C359A9D41A22FCCD9108E17BF7BA9337A6F8AE9513,
    q=0x400000000000000000000000000000000FD8CDDFC87B6635C115AF556C360C67,
    cofactor=4,
    x=0x91E38443A5E82C0D880923425712B2BB658B9196932E02C78B2582FE742DAA28,
    y=0x32879423AB1A0375895786C4BB46E9565FDE0B5344766740AF268ADB32322E5C,
)

CRYPTOPRO_A: Final = Curve(
    # RFC 4357, 11.4, id-GostR3410-2001-CryptoPro-A-ParamSet
    name="id-GostR3410-2001-CryptoPro-A-ParamSet",
    size_bytes=32,
    p=2**256 - 617,
    a=2**256 - 620,
    b=0xA6,
    q=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF6C611070995AD10045841B09B761B893,
    cofactor=1,
    x=1,
    y=0x8D91E471E0989CDA27DF505A453F2B7635294F2DDF23E3B122ACC99C9E9F1E14,
)


def is_accelerated() -> bool:
    """True when gmpy2 does the multiplications."""
    return _mpz is not None


@dataclass(slots=True)
class _KnownKey:
    point: Point
    uses: int = 0
    table: Sequence[_Row] | None = None


class Group:
    """Arithmetic on one curve: the points of order q. Thread-safe.

    In: the curve, and the type of number to calculate with (`int`, by default gmpy2's where it is installed).
    """

    def __init__(self, curve: Curve, *, number: Callable[[int], int] | None = None) -> None:
        self.curve = curve
        self.number: Callable[[int], int] = number or _mpz or int
        self._p = self.number(curve.p)
        self._a = self.number(curve.a)
        self._b = self.number(curve.b)
        self._a_is_minus_3 = curve.a == curve.p - 3
        self._generator = (self.number(curve.x), self.number(curve.y))
        self._generator_table: Sequence[_Row] | None = None
        self._known: OrderedDict[bytes, _KnownKey] = OrderedDict()
        self._lock = threading.Lock()

    # ------------------------------------------------------------ public keys

    def is_on_curve(self, point: Point) -> bool:
        """True for coordinates below p that fulfil the equation of the curve."""
        x, y = point
        if not (0 <= x < self._p and 0 <= y < self._p):
            return False
        return bool((y * y - (x * x + self._a) * x - self._b) % self._p == 0)

    def check_public_key(self, key: bytes) -> None:
        """In: x ‖ y, each little-endian. Raises KeyMaterialError (`bad_public_key`) unless it is a point of order q."""
        self._known_key(key)

    def _known_key(self, key: bytes) -> _KnownKey:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        known = _KnownKey(self._decode(key))
        with self._lock:
            known = self._known.setdefault(key, known)
            while len(self._known) > KNOWN_KEYS:
                self._known.popitem(last=False)
        return known

    def _decode(self, key: bytes) -> Point:
        size = self.curve.size_bytes
        if len(key) != 2 * size:
            raise _bad_key(f"it has {len(key)} bytes instead of {2 * size}")
        # coordinates cannot express infinity, and (0, 0) is on none of the curves since b is not 0
        point = (self.number(int.from_bytes(key[:size], "little")), self.number(int.from_bytes(key[size:], "little")))
        if not self.is_on_curve(point):
            raise _bad_key(f"it is no point of {self.curve.name}")
        # a point outside the group of order q would let parts of it be exchanged unseen (cofactor 4 of paramSetA 256)
        if self.curve.cofactor != 1 and self._times(point, self.curve.q)[2]:
            raise _bad_key(f"it is no point of the group of prime order of {self.curve.name}")
        return point

    # ------------------------------------------------------------ what signatures need

    def multiply_generator(self, scalar: int) -> Point | None:
        """scalar·G for 0 ≤ scalar < q; None is the point at infinity."""
        return self._affine(self._add_multiple((0, 0, 0), self._table_of_generator(), _GENERATOR_WINDOW_BITS, scalar))

    def multiply(self, point: Point, scalar: int) -> Point | None:
        """scalar·point for scalar ≥ 0 and any point of the curve, without a table; None is the point at infinity."""
        return self._affine(self._times((self.number(point[0]), self.number(point[1])), scalar))

    def sum_has_x(self, z1: int, z2: int, key: bytes, r: int) -> bool:
        """Whether x of z1·G + z2·Q is r modulo q, for the public key Q: what verification asks.

        Raises KeyMaterialError (`bad_public_key`).
        """
        known = self._known_key(key)
        known.uses += 1  # a count lost between two threads only delays the table
        if known.table is None and known.uses >= USES_BEFORE_TABLE:
            known.table = self._build_table(known.point, _KEY_WINDOW_BITS)
        if known.table is not None:
            total = self._add_multiple((0, 0, 0), known.table, _KEY_WINDOW_BITS, z2)
        else:
            total = self._times(known.point, z2)
        x, _, z = self._add_multiple(total, self._table_of_generator(), _GENERATOR_WINDOW_BITS, z1)
        if not z:
            return False
        # x/z² is compared without dividing; r stands for every r + i·q below p
        zz = z * z % self._p
        return any((candidate * zz - x) % self._p == 0 for candidate in range(r, self.curve.p, self.curve.q))

    # ------------------------------------------------------------ arithmetic

    def _table_of_generator(self) -> Sequence[_Row]:
        if self._generator_table is None:
            self._generator_table = self._build_table(self._generator, _GENERATOR_WINDOW_BITS)
        return self._generator_table

    def _double(self, point: _Jacobian) -> _Jacobian:
        x, y, z = point
        p = self._p
        yy = y * y % p
        s = 4 * x * yy % p
        zz = z * z % p
        m = 3 * (x - zz) * (x + zz) % p if self._a_is_minus_3 else (3 * x * x + self._a * (zz * zz % p)) % p
        x3 = (m * m - 2 * s) % p
        return x3, (m * (s - x3) - 8 * yy * yy) % p, 2 * y * z % p

    def _add(self, left: _Jacobian, right: Point) -> _Jacobian:
        """Sum of a Jacobian and an affine point, right for equal, opposite and infinite ones too."""
        x1, y1, z1 = left
        x2, y2 = right
        if not z1:
            return x2, y2, self.number(1)
        p = self._p
        zz = z1 * z1 % p
        h = (x2 * zz - x1) % p
        r = (y2 * (zz * z1 % p) - y1) % p
        if not h:
            return (0, 0, 0) if r else self._double(left)
        hh = h * h % p
        hhh = h * hh % p
        v = x1 * hh % p
        x3 = (r * r - hhh - 2 * v) % p
        return x3, (r * (v - x3) - y1 * hhh) % p, z1 * h % p

    def _add_multiple(self, total: _Jacobian, table: Sequence[_Row], bits: int, scalar: int) -> _Jacobian:
        """total + scalar·P, given the table of P: one addition for each digit of the scalar."""
        p = self._p
        for row, digit in zip(table, _digits(scalar, bits), strict=False):
            if digit > 0:
                total = self._add(total, row[digit - 1])
            elif digit < 0:
                x, y = row[-digit - 1]
                total = self._add(total, (x, p - y))
        return total

    def _times(self, point: Point, scalar: int) -> _Jacobian:
        """scalar·point by doublings, with odd multiples of the point and non-adjacent digits."""
        twice = self._double((*point, self.number(1)))
        multiples = [(*point, self.number(1))]
        affine_twice = self._affine(twice)
        if affine_twice is not None:  # else 2·point is infinity and every odd multiple is the point itself
            for _ in range((1 << _NO_TABLE_WINDOW_BITS - 2) - 1):
                multiples.append(self._add(multiples[-1], affine_twice))
        elif not scalar & 1:
            return 0, 0, 0
        else:
            return multiples[0]
        odd = self._all_affine(multiples)
        total: _Jacobian = (0, 0, 0)
        for digit in reversed(_sparse_digits(scalar, _NO_TABLE_WINDOW_BITS)):
            if total[2]:
                total = self._double(total)
            if digit:
                one = odd[abs(digit) >> 1]
                if one is not None:  # of a point of small order a multiple may be infinity
                    total = self._add(total, one if digit > 0 else (one[0], self._p - one[1]))
        return total

    def _build_table(self, point: Point, bits: int) -> Sequence[_Row]:
        """Row i has the multiples 1 to 2^(bits-1) of 2^(i·bits)·P, for a point of order q.

        All rows grow together, affine, with one inversion a column: that costs a third of adding in Jacobian form.
        """
        p = self._p
        rows = self.curve.q.bit_length() // bits + 1  # the highest signed digit may carry into one more row
        bases: list[_Jacobian] = []
        running: _Jacobian = (*point, self.number(1))
        for _ in range(rows):
            bases.append(running)
            for _ in range(bits):
                running = self._double(running)
        columns = [[base for base in self._all_affine(bases) if base is not None]]
        first = columns[0]
        for _ in range((1 << bits - 1) - 1):
            last = columns[-1]
            doubling = last is first
            divisors = (
                [2 * y % p for _, y in first]
                if doubling
                else [(x - base_x) % p for (x, _), (base_x, _) in zip(last, first, strict=True)]
            )
            column = []
            for (x, y), (base_x, base_y), inverse in zip(last, first, self._inverses(divisors), strict=True):
                slope = ((3 * x * x + self._a) if doubling else (y - base_y)) * inverse % p
                x3 = (slope * slope - x - base_x) % p
                column.append((x3, (slope * (x - x3) - y) % p))
            columns.append(column)
        return list(zip(*columns, strict=True))

    def _inverses(self, values: Sequence[int]) -> list[int]:
        """1/v for each value, none of them 0, with a single inversion."""
        p = self._p
        products = [self.number(1)]
        for value in values:
            products.append(products[-1] * value % p)
        inverse = pow(products[-1], -1, p)
        out = []
        for value, before in zip(reversed(values), reversed(products[:-1]), strict=True):
            out.append(inverse * before % p)
            inverse = inverse * value % p
        return out[::-1]

    def _all_affine(self, points: Sequence[_Jacobian]) -> list[Point | None]:
        p = self._p
        inverses = iter(self._inverses([z for _, _, z in points if z]))
        out: list[Point | None] = []
        for x, y, z in points:
            if not z:
                out.append(None)
                continue
            inverse = next(inverses)
            square = inverse * inverse % p
            out.append((x * square % p, y * (square * inverse % p) % p))
        return out

    def _affine(self, point: _Jacobian) -> Point | None:
        return self._all_affine([point])[0]


def _digits(scalar: int, bits: int) -> list[int]:
    """Signed digits, lowest first, between -2^(bits-1) and 2^(bits-1)."""
    scalar = int(scalar)
    base = 1 << bits
    out = []
    while scalar:
        digit = scalar & base - 1
        scalar >>= bits
        if digit > base >> 1:
            digit -= base
            scalar += 1
        out.append(digit)
    return out


def _sparse_digits(scalar: int, bits: int) -> list[int]:
    """Digits for single doublings, lowest first: 0, or odd and below 2^(bits-1), with zeros between them (wNAF)."""
    scalar = int(scalar)
    base = 1 << bits
    out = []
    while scalar:
        digit = 0
        if scalar & 1:
            digit = scalar & base - 1
            if digit > base >> 1:
                digit -= base
            scalar -= digit
        out.append(digit)
        scalar >>= 1
    return out


def _bad_key(why: str) -> KeyMaterialError:
    return KeyMaterialError(f"a GOST public key cannot be used: {why}", code="bad_public_key")
