"""The folder of a feed: the list that the next full one is compared with, and nothing else.

It is believed only by its digest, which stands in the row of the import that made it: a list that is missing, older,
damaged or of another database costs the time of a comparison with the store and nothing more.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, RowMapping, select

from gateway.errors import StoreError
from gateway.registry.imports.preparing import digest_of
from gateway.registry.tables import IMPORT


@dataclass(frozen=True, slots=True)
class Kept:
    """A list as it was accepted, and which of its lines were refused; both sorted."""

    file: Path
    refused: tuple[bytes, ...]


@contextmanager
def alone(folder: Path, feed: str) -> Iterator[Path]:
    """The folder of a feed, ours until the end. Raises StoreError when another import of the feed is running."""
    home = folder / feed
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError("another import of this feed is running: wait until it ends") from None
        yield home


@contextmanager
def workplace(home: Path) -> Iterator[Path]:
    """An empty folder to work in; what a killed run left there is gone."""
    work = home / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def last_import(connection: Connection, feed: str) -> RowMapping | None:
    """The last list of the feed that was applied."""
    query = select(IMPORT).where(IMPORT.c.feed == feed).order_by(IMPORT.c.id.desc()).limit(1)
    return connection.execute(query).mappings().one_or_none()


def kept_list(home: Path, last: RowMapping | None) -> Kept | None:
    """The list of the last import if the store accepted exactly it; None: compare with the store."""
    if last is None or last["snapshot_digest"] is None:
        return None
    file, refused = _paths(home, last["id"])
    try:
        fits = snapshot_digest(digest_of(file), refused.read_bytes()) == last["snapshot_digest"]
        lines = refused.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    return Kept(file, tuple(lines)) if fits else None


def snapshot_digest(list_digest: str, refused: bytes) -> str:
    """What the row of an import says of the list that was kept."""
    return hashlib.blake2b(list_digest.encode() + refused, digest_size=32).hexdigest()


def keep(home: Path, number: int, file: Path, refused: bytes) -> None:
    """Put a list into its place; it is believed once the import of that number is committed."""
    kept, refused_file = _paths(home, number)
    refused_file.write_bytes(refused)
    file.replace(kept)


def forget_others(home: Path, number: int | None) -> None:
    """Remove lists of other imports than this one."""
    for file in home.iterdir():
        if file.suffix in {".csv", ".refused"} and file.stem != str(number):
            file.unlink()


def _paths(home: Path, number: int) -> tuple[Path, Path]:
    return home / f"{number}.csv", home / f"{number}.refused"
