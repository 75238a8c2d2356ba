"""PEM blocks are found by their labels; what is damaged is refused."""

from __future__ import annotations

import pytest

from gateway.errors import MalformedMessage
from gateway.signing.pem import is_pem, pem_blocks

BLOCK = b"-----BEGIN A B-----\nMAA=\n-----END A B-----"


def test_blocks_with_a_label_are_found_and_others_passed_over() -> None:
    data = b"text\n" + BLOCK + b"\n" + BLOCK.replace(b"A B", b"C").replace(b"\n", b"\r\n")
    assert pem_blocks(data, "A B") == (b"\x30\x00",)
    assert pem_blocks(data, "C", "A B") == (b"\x30\x00", b"\x30\x00")
    assert pem_blocks(data, "D") == ()


def test_a_block_that_is_not_base64_is_refused() -> None:
    with pytest.raises(MalformedMessage) as caught:
        pem_blocks(BLOCK.replace(b"MAA=", b"*"), "A B")
    assert caught.value.code == "bad_pem"


def test_a_structure_with_a_pem_line_in_one_of_its_texts_is_no_pem() -> None:
    assert is_pem(b"0 comment\n" + BLOCK)
    assert not is_pem(b"\x30\x82\x01\x00" + BLOCK)
