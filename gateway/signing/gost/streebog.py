"""GOST R 34.11-2012 (Streebog), 512 and 256 bits, in plain Python (RFC 6986).

A 512-bit value of the standard is one integer here, read little-endian from the bytes of the message. Substitution,
transposition and linear transformation together are 64 look-ups a round in eight tables of 256 entries. The tables
are made on first use, so that a process that never hashes does not pay for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

BLOCK_BYTES: Final = 64

# ---------------------------------------------------------------- constants of the standard

_PI: Final = bytes.fromhex(
    "fceedd11cf6e3116fbc4fada23c5044de977f0db932e99ba1736f1bb14cd5fc1"
    "f918655ae25cef21811c3c428b018e4f058402aee36a8fa0060bed987fd4d31f"
    "eb342c51eac848abf22a68a2fd3aceccb5700e56080c7612bf7213479cb75d87"
    "15a19629107b9ac7f391786f9d9eb2b13275193dff358a7e6d54c680c3bd0d57"
    "dff524a93ea843c9d779d6f67c22b903e00fecde7a94b0bcdce828504e330a4a"
    "a79760731e0062441ab83882649f2641ad454692275e552f8ca3a57d69d5953b"
    "0758b34086ac1df730376be488d9e789e11b83494c3ff8fe8d53aa90cad88561"
    "207167a42d2b095bcb9b25d0bee56c5259a674d2e6f4b4c0d166afc2394b63b6"
)
"""The substitution π (RFC 6986, 6.2)."""

# fmt: off
_A: Final = (
    0x8E20FAA72BA0B470, 0x47107DDD9B505A38, 0xAD08B0E0C3282D1C, 0xD8045870EF14980E,
    0x6C022C38F90A4C07, 0x3601161CF205268D, 0x1B8E0B0E798C13C8, 0x83478B07B2468764,
    0xA011D380818E8F40, 0x5086E740CE47C920, 0x2843FD2067ADEA10, 0x14AFF010BDD87508,
    0x0AD97808D06CB404, 0x05E23C0468365A02, 0x8C711E02341B2D01, 0x46B60F011A83988E,
    0x90DAB52A387AE76F, 0x486DD4151C3DFDB9, 0x24B86A840E90F0D2, 0x125C354207487869,
    0x092E94218D243CBA, 0x8A174A9EC8121E5D, 0x4585254F64090FA0, 0xACCC9CA9328A8950,
    0x9D4DF05D5F661451, 0xC0A878A0A1330AA6, 0x60543C50DE970553, 0x302A1E286FC58CA7,
    0x18150F14B9EC46DD, 0x0C84890AD27623E0, 0x0642CA05693B9F70, 0x0321658CBA93C138,
    0x86275DF09CE8AAA8, 0x439DA0784E745554, 0xAFC0503C273AA42A, 0xD960281E9D1D5215,
    0xE230140FC0802984, 0x71180A8960409A42, 0xB60C05CA30204D21, 0x5B068C651810A89E,
    0x456C34887A3805B9, 0xAC361A443D1C8CD2, 0x561B0D22900E4669, 0x2B838811480723BA,
    0x9BCF4486248D9F5D, 0xC3E9224312C8C1A0, 0xEFFA11AF0964EE50, 0xF97D86D98A327728,
    0xE4FA2054A80B329C, 0x727D102A548B194E, 0x39B008152ACB8227, 0x9258048415EB419D,
    0x492C024284FBAEC0, 0xAA16012142F35760, 0x550B8E9E21F7A530, 0xA48B474F9EF5DC18,
    0x70A6A56E2440598E, 0x3853DC371220A247, 0x1CA76E95091051AD, 0x0EDD37C48A08A6D8,
    0x07E095624504536C, 0x8D70C431AC02A736, 0xC83862965601DD1B, 0x641C314B2B8EE083,
)
# fmt: on
"""The matrix of the linear transformation l; row 0 belongs to bit 63 (RFC 6986, 6.4)."""

_C: Final = (
    int(
        "b1085bda1ecadae9ebcb2f81c0657c1f2f6a76432e45d016714eb88d7585c4fc"
        "4b7ce09192676901a2422a08a460d31505767436cc744d23dd806559f2a64507",
        16,
    ),
    int(
        "6fa3b58aa99d2f1a4fe39d460f70b5d7f3feea720a232b9861d55e0f16b50131"
        "9ab5176b12d699585cb561c2db0aa7ca55dda21bd7cbcd56e679047021b19bb7",
        16,
    ),
    int(
        "f574dcac2bce2fc70a39fc286a3d843506f15e5f529c1f8bf2ea7514b1297b7b"
        "d3e20fe490359eb1c1c93a376062db09c2b6f443867adb31991e96f50aba0ab2",
        16,
    ),
    int(
        "ef1fdfb3e81566d2f948e1a05d71e4dd488e857e335c3c7d9d721cad685e353f"
        "a9d72c82ed03d675d8b71333935203be3453eaa193e837f1220cbebc84e3d12e",
        16,
    ),
    int(
        "4bea6bacad4747999a3f410c6ca923637f151c1f1686104a359e35d7800fffbd"
        "bfcd1747253af5a3dfff00b723271a167a56a27ea9ea63f5601758fd7c6cfe57",
        16,
    ),
    int(
        "ae4faeae1d3ad3d96fa4c33b7a3039c02d66c4f95142a46c187f9ab49af08ec6"
        "cffaa6b71c9ab7b40af21f66c2bec6b6bf71c57236904f35fa68407a46647d6e",
        16,
    ),
    int(
        "f4c70e16eeaac5ec51ac86febf240954399ec6c7e6bf87c9d3473e33197a93c9"
        "0992abc52d822c3706476983284a05043517454ca23c4af38886564d3a14d493",
        16,
    ),
    int(
        "9b1f5b424d93c9a703e7aa020c6e41414eb7f8719c36de1e89b4443b4ddbc49a"
        "f4892bcb929b069069d18d2bd1a5c42f36acc2355951a8d9a47f0dd4bf02e71e",
        16,
    ),
    int(
        "378f5a541631229b944c9ad8ec165fde3a7d3a1b258942243cd955b7e00d0984"
        "800a440bdbb2ceb17b2b8a9aa6079c540e38dc92cb1f2a607261445183235adb",
        16,
    ),
    int(
        "abbedea680056f52382ae548b2e4f3f38941e71cff8a78db1fffe18a1b336103"
        "9fe76702af69334b7a1e6c303b7652f43698fad1153bb6c374b4c7fb98459ced",
        16,
    ),
    int(
        "7bcd9ed0efc889fb3002c6cd635afe94d8fa6bbbebab07612001802114846679"
        "8a1d71efea48b9caefbacd1d7d476e98dea2594ac06fd85d6bcaa4cd81f32d1b",
        16,
    ),
    int(
        "378ee767f11631bad21380b00449b17acda43c32bcdf1d77f82012d430219f9b"
        "5d80ef9d1891cc86e71da4aa88e12852faf417d5d9b21b9948bc924af11bd720",
        16,
    ),
)
"""The iteration constants (RFC 6986, 6.5)."""

_INITIAL_256: Final = int.from_bytes(b"\x01" * BLOCK_BYTES, "little")
_MASK_512: Final = (1 << 512) - 1

# ---------------------------------------------------------------- rounds


def _linear(value: int) -> int:
    """The transformation l of a 64-bit value."""
    out = 0
    for bit in range(64):
        if value >> bit & 1:
            out ^= _A[63 - bit]
    return out


@cache
def _tables() -> tuple[Sequence[bytes], ...]:
    """Table i gives what byte value b, standing as byte i of a transposed word, adds to the word: l(π(b) << 8i).

    The entries are bytes: eight of them are joined to a row of 512 bits faster than eight integers are.
    """
    tables = []
    for place in range(8):
        of_bits = [_linear(1 << 8 * place + bit) for bit in range(8)]
        row = []
        for substituted in _PI:
            out = 0
            for bit in range(8):
                if substituted >> bit & 1:
                    out ^= of_bits[bit]
            row.append(out.to_bytes(8, "little"))
        tables.append(row)
    return tuple(tables)


@cache
def _lps() -> Callable[[int], int]:
    """The transformation LPS of the standard, bound to its tables."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables()
    whole = int.from_bytes
    join = b"".join

    def lps(value: int) -> int:
        # P transposes an 8×8 matrix of bytes: byte i of each word goes into word i, so row a0…a7 (word 0) feeds byte 0
        # fmt: off
        (
            a0, a1, a2, a3, a4, a5, a6, a7,
            b0, b1, b2, b3, b4, b5, b6, b7,
            c0, c1, c2, c3, c4, c5, c6, c7,
            d0, d1, d2, d3, d4, d5, d6, d7,
            e0, e1, e2, e3, e4, e5, e6, e7,
            f0, f1, f2, f3, f4, f5, f6, f7,
            g0, g1, g2, g3, g4, g5, g6, g7,
            h0, h1, h2, h3, h4, h5, h6, h7,
        ) = value.to_bytes(64, "little")
        # fmt: on
        return (
            whole(join((t0[a0], t0[a1], t0[a2], t0[a3], t0[a4], t0[a5], t0[a6], t0[a7])), "little")
            ^ whole(join((t1[b0], t1[b1], t1[b2], t1[b3], t1[b4], t1[b5], t1[b6], t1[b7])), "little")
            ^ whole(join((t2[c0], t2[c1], t2[c2], t2[c3], t2[c4], t2[c5], t2[c6], t2[c7])), "little")
            ^ whole(join((t3[d0], t3[d1], t3[d2], t3[d3], t3[d4], t3[d5], t3[d6], t3[d7])), "little")
            ^ whole(join((t4[e0], t4[e1], t4[e2], t4[e3], t4[e4], t4[e5], t4[e6], t4[e7])), "little")
            ^ whole(join((t5[f0], t5[f1], t5[f2], t5[f3], t5[f4], t5[f5], t5[f6], t5[f7])), "little")
            ^ whole(join((t6[g0], t6[g1], t6[g2], t6[g3], t6[g4], t6[g5], t6[g6], t6[g7])), "little")
            ^ whole(join((t7[h0], t7[h1], t7[h2], t7[h3], t7[h4], t7[h5], t7[h6], t7[h7])), "little")
        )

    return lps


def _compress(state: int, counter: int, block: int) -> int:
    """g_N(h, m): one block into the state (RFC 6986, 7)."""
    lps = _lps()
    key = lps(state ^ counter)
    text = block
    for constant in _C:
        text = lps(text ^ key)
        key = lps(key ^ constant)
    return text ^ key ^ state ^ block


class Streebog:
    """A running hash, used as those of hashlib are: `update`, `digest`, `copy`.

    In: `digest_size` 64 or 32 bytes, ValueError for anything else. `digest()` may be called at any time and does not
    end the hash. One object belongs to one thread.
    """

    __slots__ = ("_counter", "_pending", "_state", "_sum", "digest_size")

    block_size: Final = BLOCK_BYTES

    def __init__(self, data: bytes = b"", *, digest_size: int = 64) -> None:
        if digest_size not in (32, 64):
            raise ValueError("Streebog has digests of 32 or 64 bytes")
        self.digest_size = digest_size
        self._state = 0 if digest_size == 64 else _INITIAL_256
        self._counter = 0
        self._sum = 0
        self._pending = b""
        if data:
            self.update(data)

    @property
    def name(self) -> str:
        return f"streebog{8 * self.digest_size}"

    def update(self, data: bytes) -> None:
        """Add bytes of the message."""
        data = self._pending + data
        end = len(data) - len(data) % BLOCK_BYTES
        state, counter, total = self._state, self._counter, self._sum
        for start in range(0, end, BLOCK_BYTES):
            block = int.from_bytes(data[start : start + BLOCK_BYTES], "little")
            state = _compress(state, counter, block)
            counter = counter + 512 & _MASK_512
            total = total + block & _MASK_512
        self._state, self._counter, self._sum = state, counter, total
        self._pending = bytes(data[end:])

    def digest(self) -> bytes:
        """The digest of what was added so far, bytes in the order in which every library prints them."""
        # the last block: the message's bit 1 follows its bytes, zeros fill up (RFC 6986, 8.3)
        last = int.from_bytes(self._pending + b"\x01", "little")
        state = _compress(self._state, self._counter, last)
        state = _compress(state, 0, self._counter + 8 * len(self._pending) & _MASK_512)
        state = _compress(state, 0, self._sum + last & _MASK_512)
        return state.to_bytes(BLOCK_BYTES, "little")[BLOCK_BYTES - self.digest_size :]

    def hexdigest(self) -> str:
        return self.digest().hex()

    def copy(self) -> Streebog:
        """An independent hash that has seen the same bytes."""
        twin = Streebog(digest_size=self.digest_size)
        twin._state, twin._counter = self._state, self._counter
        twin._sum, twin._pending = self._sum, self._pending
        return twin


def streebog512(data: bytes) -> bytes:
    """The 64-byte digest of `data`."""
    return Streebog(data).digest()


def streebog256(data: bytes) -> bytes:
    """The 32-byte digest of `data`."""
    return Streebog(data, digest_size=32).digest()
