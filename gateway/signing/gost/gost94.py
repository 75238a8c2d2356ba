"""GOST R 34.11-94, named GOST 34.311-95 in Kazakhstan, with the S-box of its TestParamSet (RFC 5831, RFC 4357).

Only for documents of the old pair of algorithms: nothing new is made with it. What libraries call `md_gost94` uses
another S-box (CryptoPro) and gives other digests (PKI.md section 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

BLOCK_BYTES: Final = 32

_S_BOX: Final = (
    # row 1 belongs to the lowest four bits (RFC 4357, 11.2, id-GostR3411-94-TestParamSet)
    "4a92d80e6b1c7f53",
    "eb4c6dfa23810759",
    "581da342efc7609b",
    "7da1089fe46cb253",
    "6c715fd84a9e03b2",
    "4ba0721d36859cfe",
    "db413f590ae7682c",
    "1fd057a4923e6b8c",
)
_MASK_32: Final = (1 << 32) - 1
_MASK_64: Final = (1 << 64) - 1
_MASK_256: Final = (1 << 256) - 1
_C3: Final = 0xFF00FFFF000000FFFF0000FF00FFFF0000FF00FF00FF00FFFF00FF00FF00FF00
"""The third constant of the key schedule; the second and the fourth are zero (RFC 5831, 6.1)."""


@cache
def _substitutions() -> tuple[Sequence[int], ...]:
    """Four tables, one for each byte of a word: both of its S-boxes and the rotation by 11 bits in one look-up."""
    tables = []
    for place in range(4):
        low, high = ([int(digit, 16) for digit in row] for row in _S_BOX[2 * place : 2 * place + 2])
        row = []
        for byte in range(256):
            word = (low[byte & 15] | high[byte >> 4] << 4) << 8 * place
            row.append((word << 11 | word >> 21) & _MASK_32)
        tables.append(row)
    return tuple(tables)


def _encrypt(key: int, block: int) -> int:
    """One 64-bit block with GOST 28147-89: eight key words up three times, then down once."""
    t0, t1, t2, t3 = _substitutions()
    words = [key >> shift & _MASK_32 for shift in range(0, 256, 32)]
    low, high = block & _MASK_32, block >> 32
    for word in (*words, *words, *words, *reversed(words)):
        mixed = low + word & _MASK_32
        mixed = t0[mixed & 255] ^ t1[mixed >> 8 & 255] ^ t2[mixed >> 16 & 255] ^ t3[mixed >> 24]
        low, high = mixed ^ high, low
    return low << 32 | high  # the last round does not swap


def _permuted(value: int) -> int:
    """P: bytes of the four 64-bit words dealt out in turn (RFC 5831, 6.1)."""
    data = value.to_bytes(BLOCK_BYTES, "little")
    return int.from_bytes(bytes(data[8 * (place % 4) + place // 4] for place in range(BLOCK_BYTES)), "little")


def _rotated(value: int) -> int:
    """A: the words move down by one, the new highest is the sum of the two lowest (RFC 5831, 6.1)."""
    return value >> 64 | ((value ^ value >> 64) & _MASK_64) << 192


def _shifted(words: list[int], times: int) -> list[int]:
    """ψ, `times` times, on sixteen 16-bit words, the lowest first (RFC 5831, 6.3)."""
    words = words.copy()
    for _ in range(times):
        words.append(words[0] ^ words[1] ^ words[2] ^ words[3] ^ words[12] ^ words[15])
        del words[0]
    return words


def _words(value: int) -> list[int]:
    return [value >> shift & 0xFFFF for shift in range(0, 256, 16)]


def _sum(left: list[int], right: list[int]) -> list[int]:
    return [one ^ other for one, other in zip(left, right, strict=True)]


def _step(state: int, block: int) -> int:
    """χ(M, H): one block into the state (RFC 5831, 6)."""
    u, v = state, block
    encrypted = 0
    for number, constant in enumerate((0, 0, _C3, 0)):
        if number:
            u = _rotated(u) ^ constant
            v = _rotated(_rotated(v))
        encrypted |= _encrypt(_permuted(u ^ v), state >> 64 * number & _MASK_64) << 64 * number
    mixed = _shifted(_words(encrypted), 12)
    mixed = _shifted(_sum(_words(block), mixed), 1)
    mixed = _shifted(_sum(_words(state), mixed), 61)
    return sum(word << 16 * place for place, word in enumerate(mixed))


def gost94(data: bytes) -> bytes:
    """The 32-byte digest of `data`, bytes in the order in which every library prints them."""
    state = total = 0
    for start in range(0, len(data), BLOCK_BYTES):
        block = int.from_bytes(data[start : start + BLOCK_BYTES], "little")  # a short last block is filled with zeros
        state = _step(state, block)
        total = total + block & _MASK_256
    state = _step(state, 8 * len(data) & _MASK_256)
    return _step(state, total).to_bytes(BLOCK_BYTES, "little")
