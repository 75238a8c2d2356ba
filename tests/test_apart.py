"""A long text is kept apart from its message, wherever the pieces end, and put back exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.apart import PIECE_BYTES, SHORTEST_APART_BYTES, Parting, Spool, TextApart, mark_in
from gateway.errors import MalformedMessage

#: longer by more than a piece: while one comes, nobody knows whether it is the end
TEXT = b"QUJD" * ((SHORTEST_APART_BYTES + 400_000) // 4)


def parted(
    message: bytes, piece_bytes: int = 65_536, *, max_message_bytes: int = 2_000_000, max_text_bytes: int = 9_000_000
) -> tuple[bytes, TextApart | None]:
    parting = Parting(Spool, max_message_bytes=max_message_bytes, max_text_bytes=max_text_bytes)
    for start in range(0, len(message), piece_bytes):
        parting.feed(message[start : start + piece_bytes])
    return parting.ended()


@settings(max_examples=25, deadline=None)
@given(st.integers(20_000, 400_000), st.integers(0, 300), st.integers(0, 300))
def test_the_message_is_the_short_one_with_the_text_put_back(piece_bytes: int, before: int, after: int) -> None:
    message = b"<a>" + b"x" * before + b"<b>" + TEXT + b"</b>" + b"y" * after + b"</a>"
    short, apart = parted(message, piece_bytes)
    assert apart is not None
    assert b"".join(apart.whole(short)) == message
    assert apart.size_with(short) == len(message)
    assert mark_in(short) == (apart.sha256, apart.size_bytes)
    assert b"".join(apart.pieces()) == b"".join(apart.pieces()) == TEXT


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"<a>" + TEXT[: SHORTEST_APART_BYTES - 1] + b"</a>",
        # whatever is not base64 between two tags is no text to be kept apart
        b"<a>&#65;" + TEXT + b"</a>",
        b"<a b='" + TEXT + b"'/>",
        b"<![CDATA[" + TEXT + b"]]>",
    ],
)
def test_any_other_message_stays_whole(message: bytes) -> None:
    assert parted(message) == (message, None)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"<a>" + TEXT + b"&#65;</a>", "bad_content"),
        (b"<a>" + TEXT + b"</a><a>" + TEXT + TEXT + b"</a>", "too_large"),
        (b"<a>" + TEXT * 7 + b"</a>", "file_too_large"),
        (b"<a>" + b"-" * 2_000_001, "too_large"),
    ],
)
def test_what_is_too_much_is_refused_while_it_comes(message: bytes, code: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parted(message, max_message_bytes=2_000_000)
    assert refused.value.code == code


def test_a_message_that_names_its_own_text_twice_is_refused() -> None:
    _, apart = parted(b"<a>" + TEXT + b"</a>")
    assert apart is not None
    with pytest.raises(MalformedMessage) as refused:
        parted(f"<a>{apart.mark}<b>".encode() + TEXT + b"</b></a>")
    assert refused.value.code == "mark"
    for short in (b"<a/>", f"<a>{apart.mark}{apart.mark}</a>".encode()):
        with pytest.raises(MalformedMessage):
            apart.whole(short)


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_lines_end_as_a_parser_leaves_them_wherever_a_piece_ends(cut: int) -> None:
    text = b"QQ\r\nQQ\rQQ\n\rQQ\r\n"
    apart = TextApart("0" * 64, len(text), lambda: iter([text[at : at + cut] for at in range(0, len(text), cut)]))
    assert b"".join(apart.canonical(apart.mark.encode())) == b"QQ\nQQ\nQQ\n\nQQ\n"


def test_a_spool_lies_in_no_folder_and_is_gone_with_its_text(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(b"A" * (PIECE_BYTES + 1))
    text = spool.text()
    assert list(tmp_path.iterdir()) == []
    assert [len(piece) for piece in text.pieces()] == [PIECE_BYTES, 1]
    spool.close()
    spool.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        next(text.pieces())
