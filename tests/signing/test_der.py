"""Exact bytes, also where asn1crypto's own dump() would not give them."""

from __future__ import annotations

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from gateway.signing.der import content, elements, first, split


class _Opaque(core.Sequence):  # type: ignore[misc]
    pass


class _Outer(core.Sequence):  # type: ignore[misc]
    _fields = [("inner", _Opaque)]  # noqa: RUF012


def encoded(tag: int, inside: bytes) -> bytes:
    size = len(inside)
    if size < 128:
        return bytes([tag, size]) + inside
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + inside


@given(st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=300)), max_size=6))
def test_what_is_inside_comes_out_as_it_stands(parts: list[tuple[int, bytes]]) -> None:
    each = tuple(encoded(tag, inside) for tag, inside in parts)
    outer = encoded(0x30, b"".join(each))
    assert elements(outer) == split(b"".join(each)) == each
    assert content(outer) == b"".join(each)
    if each:
        assert first(outer) == each[0]


def test_a_length_of_128_is_no_indefinite_length() -> None:
    inner = encoded(0x30, encoded(0x30, b"\x02\x01\x05" * 42))
    assert inner[1:3] == b"\x81\x80"
    data = encoded(0x30, inner)
    assert first(data) == inner
    # the reason why this module exists
    assert _Outer.load(data)["inner"].dump() != inner


def test_an_indefinite_length_is_read_with_its_end() -> None:
    inner = b"\x30\x80\x02\x01\x05\x00\x00"
    assert elements(encoded(0x30, inner + b"\x05\x00")) == (inner, b"\x05\x00")


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x05\x02", b"\x30\x02\x02\x05", b"\x30\x00\x00", b"\x30\x80\x02"])
def test_what_is_cut_is_no_value(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"data|bytes"):
        elements(data)
