"""RC2 with 40 effective bits in CBC mode, decrypting only (RFC 2268).

The certificate bag of a container of the national authority is enciphered with it, and `cryptography` has RC2 for
128 bits only. It protects nothing: 2^40 keys are tried in minutes.
"""

from __future__ import annotations

from typing import Final

BLOCK_BYTES: Final = 8
_EFFECTIVE_BITS: Final = 40

_PI_TABLE: Final = bytes.fromhex(
    # RFC 2268, 2
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_ROTATIONS: Final = (1, 2, 3, 5)
_WORD: Final = 0xFFFF


def _expand(key: bytes) -> list[int]:
    """The 64 words of the key schedule (RFC 2268, 2)."""
    effective_bytes = (_EFFECTIVE_BITS + 7) // 8
    buffer = bytearray(key) + bytes(128 - len(key))
    for place in range(len(key), 128):
        buffer[place] = _PI_TABLE[buffer[place - 1] + buffer[place - len(key)] & 255]
    buffer[128 - effective_bytes] = _PI_TABLE[buffer[128 - effective_bytes]]  # 40 bits are whole bytes: no mask
    for place in range(127 - effective_bytes, -1, -1):
        buffer[place] = _PI_TABLE[buffer[place + 1] ^ buffer[place + effective_bytes]]
    return [buffer[place] | buffer[place + 1] << 8 for place in range(0, 128, 2)]


def _decrypt_block(words: list[int], block: bytes) -> bytes:
    """RFC 2268, 4: five mixing rounds, a mashing one, six, a mashing one, five, all backwards."""
    r = [block[place] | block[place + 1] << 8 for place in range(0, BLOCK_BYTES, 2)]
    next_word = 63
    for round_number in range(16):
        for i in (3, 2, 1, 0):
            value = r[i] >> _ROTATIONS[i] | r[i] << 16 - _ROTATIONS[i]
            r[i] = value - words[next_word] - (r[i - 1] & r[i - 2]) - (~r[i - 1] & r[i - 3]) & _WORD
            next_word -= 1
        if round_number in (4, 10):
            for i in (3, 2, 1, 0):
                r[i] = r[i] - words[r[i - 1] & 63] & _WORD
    return b"".join(value.to_bytes(2, "little") for value in r)


def decrypt_rc2_40_cbc(key: bytes, initial_vector: bytes, data: bytes) -> bytes:
    """The plain text with its padding. ValueError unless the key has 5 bytes and the rest whole blocks."""
    if len(key) != _EFFECTIVE_BITS // 8 or len(initial_vector) != BLOCK_BYTES or len(data) % BLOCK_BYTES:
        raise ValueError("RC2-40 in CBC mode takes a key of 5 bytes and whole blocks")
    words = _expand(key)
    out = []
    before = initial_vector
    for start in range(0, len(data), BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES]
        plain = _decrypt_block(words, block)
        out.append(bytes(one ^ other for one, other in zip(plain, before, strict=True)))
        before = block
    return b"".join(out)
