"""Bodies at rest: compressed, and sealed with AES-256-GCM where the operator configured a key.

A body may be compressed by a like one of its transaction, its base: messages of one sender for one service have all but
a few hundred bytes in common, the certificate among them (docs/decisions/0074).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from isal import isal_zlib

from gateway.errors import StoreError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_CHECK_BYTES: Final = 4
#: of zlib's header, RFC 1950 section 2.2: a dictionary is needed, here the base
_FDICT: Final = 0x20
#: what deflate can look back to: a longer body neither has a base nor is one
WINDOW_BYTES: Final = 32_768
#: of ISA-L, which writes zlib streams too: as small as zlib's level 1 for a third of its processor time
_LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body as it lies in the store."""

    #: row of the journal
    id: int
    #: id of the key; "" is not sealed
    sealed_with: str
    #: CRC-32 and zlib; sealed: nonce and AES-256-GCM of that
    content: bytes = field(repr=False)
    #: row of the body by which this one is compressed; None: it stands alone
    base_id: int | None = None
    #: None: there is none, or it is gone
    base: StoredBody | None = None


@dataclass(frozen=True, slots=True)
class BodySeal:
    """The keys that bodies are sealed with, by id. `active` seals what is written; "" writes without sealing."""

    active: str = ""
    keys: Mapping[str, AESGCM] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def of(cls, active: bytes | None, older: tuple[bytes, ...] = ()) -> BodySeal:
        """`active` seals, each key opens; every key has 32 bytes. Raises ValueError."""
        every = (*older, *(() if active is None else (active,)))
        keys = MappingProxyType({key_id(key): AESGCM(key) for key in every})
        return cls("" if active is None else key_id(active), keys)

    def close(self, journal_id: int, compressed: bytes) -> bytes:
        """What is stored as content of the row; `active` goes beside it."""
        if not self.active:
            return compressed
        # chosen anew each time: a number of a transaction that was rolled back is given to another row
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self.keys[self.active].encrypt(nonce, compressed, _associated(journal_id))

    def open(self, stored: StoredBody, body_sha256: str) -> bytes:
        """The exact bytes, whose digest the row has.

        Raises StoreError: `journal_key_missing` when the key is not configured, `journal_damaged` when these are not
        the bytes that were stored.
        """
        body = self._opened(stored)
        if hashlib.sha256(body).hexdigest() != body_sha256:
            raise damaged(stored.id)
        return body

    def _opened(self, stored: StoredBody) -> bytes:
        dictionary = b""
        if stored.base_id is not None:
            if stored.base is None or stored.base.base_id is not None:
                raise damaged(stored.id)
            dictionary = self._opened(stored.base)
        content = stored.content
        if stored.sealed_with:
            key = self.keys.get(stored.sealed_with)
            if key is None:
                raise StoreError(
                    f"the body of journal entry {stored.id} is sealed with the key {stored.sealed_with}, which is not "
                    "configured: add its file to journal.old_key_files",
                    code="journal_key_missing",
                )
            try:
                content = key.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], _associated(stored.id))
            except (InvalidTag, ValueError):
                raise damaged(stored.id) from None
        check, packed = content[:_CHECK_BYTES], content[_CHECK_BYTES:]
        has_base = len(packed) > 1 and bool(packed[1] & _FDICT)
        # several streams unpack to the same bytes: the check finds a changed byte that unpacking does not show
        if check != _check_of(packed) or has_base != (stored.base_id is not None):
            raise damaged(stored.id)
        unpacking = zlib.decompressobj(zdict=dictionary) if has_base else zlib.decompressobj()
        try:
            body = unpacking.decompress(packed) + unpacking.flush()
        except zlib.error:
            raise damaged(stored.id) from None
        if not unpacking.eof:
            raise damaged(stored.id)
        return body


#: bodies are written unsealed, and only such can be read
PLAIN: Final = BodySeal()


def compress(body: bytes, base: bytes | None = None) -> bytes:
    """What `BodySeal.close` takes: CRC-32 of a zlib stream, and the stream. `base`: at most WINDOW_BYTES.

    Apart from `close`, because it needs no number: done before the chain is locked.
    """
    if base is None:
        return checked(isal_zlib.compress(body, _LEVEL))
    packing = isal_zlib.compressobj(_LEVEL, zdict=base)
    return checked(packing.compress(body) + packing.flush())


def checked(packed: bytes) -> bytes:
    """A zlib stream behind its CRC-32."""
    return _check_of(packed) + packed


def _check_of(packed: bytes) -> bytes:
    return zlib.crc32(packed).to_bytes(_CHECK_BYTES, "big")


def key_id(key: bytes) -> str:
    """The name of a key: 16 hexadecimal digits that tell nothing of it. Raises ValueError for another length."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return hashlib.sha256(b"shep-gateway journal key\x00" + key).hexdigest()[:16]


def damaged(journal_id: int) -> StoreError:
    return StoreError(
        f"the bytes of journal entry {journal_id} are not the ones that were stored; restore them from a backup",
        code="journal_damaged",
    )


def _associated(journal_id: int) -> bytes:
    # a sealed body that was moved to another row does not open
    return b"shep-gateway journal body %d" % journal_id
