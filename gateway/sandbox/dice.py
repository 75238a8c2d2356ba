"""Repeatable chance: the same label gives the same throws on every machine and every Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_WORD_BYTES: Final = 4


class Dice:
    """A stream of throws drawn from BLAKE2b over a label and a counter.

    The standard library's generator promises a repeatable `random()` but not a repeatable `choice`; people whose
    IINs stand in a README must not change with the interpreter.
    """

    __slots__ = ("_counter", "_label", "_offset", "_pool")

    def __init__(self, *label: int | str) -> None:
        self._label = "\x1f".join(str(part) for part in label).encode()
        self._counter = 0
        self._pool = b""
        self._offset = 0

    def below(self, limit: int) -> int:
        """A whole number in [0, limit). Raises ValueError when there is none."""
        if limit < 1:
            raise ValueError("there is no number to draw")
        # the bias of one modulo over 2^32 is below one in a hundred thousand for what is drawn here
        return self._word() % limit

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + self.below(high - low + 1)

    def percent(self, chance: int) -> bool:
        """True in `chance` of a hundred throws."""
        return self.below(100) < chance

    def pick(self, items: Sequence[_Item]) -> _Item:
        return items[self.below(len(items))]

    def _word(self) -> int:
        if self._offset >= len(self._pool):
            key = self._counter.to_bytes(8, "big")
            self._pool = hashlib.blake2b(self._label, key=key, digest_size=64).digest()
            self._counter += 1
            self._offset = 0
        word = self._pool[self._offset : self._offset + _WORD_BYTES]
        self._offset += _WORD_BYTES
        return int.from_bytes(word, "big")
