"""Keys, certificates and anchors that change while the program runs, without a restart and with an overlap.

Our key: two files may be configured, the current key and the next one. The next one signs from the moment when its
certificate begins, or from `signing.next_from`; until then, and while its file is not there, the current one does.
Peers and anchors: the trust directory holds old and new side by side, and both count as long as both lie there.

Files are looked at every few seconds and read again when they have changed and then stayed as they are between two
looks, so that a file which is still being written is left alone; SIGHUP reads them at once. What cannot be read, or
does not belong into this environment, changes nothing: the old keys and anchors stay in force and the log says why.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import GatewayError
from gateway.signing.certificate import Certificate
from gateway.signing.keys import SigningKey

_LOG: Final = structlog.get_logger()

Clock = Callable[[], dt.datetime]


# ---------------------------------------------------------------- our key


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key comes from."""

    #: the setting that names it, for messages
    name: str
    #: Raises OperatorError
    load: Callable[[], SigningKey]
    #: what has to change for the key to be another one; () for a token, which is read again on SIGHUP only
    files: tuple[Path, ...]

    @property
    def is_there(self) -> bool:
        """Whether its files exist; a token always does."""
        return all(path.is_file() for path in self.files)


def choose_key(
    current: SigningKey, following: SigningKey | None, *, at: dt.datetime, next_from: dt.datetime | None
) -> SigningKey:
    """Which key signs at a moment. Pure.

    1 without a next key the current one
    2 before its own certificate begins, or after it ended, the next one never
    3 from `next_from` on, or when the current one has ended, the next one
    """
    if following is None or not following.certificate.is_within_validity(at):
        return current
    if next_from is None or at >= next_from or at > current.certificate.not_after:
        return following
    return current


class KeyRing:
    """Our current and our next key. Calling it gives the one to sign with now; any thread may."""

    def __init__(
        self,
        current: KeySource,
        following: KeySource | None = None,
        *,
        next_from: dt.datetime | None = None,
        clock: Clock,
        accept: Callable[[SigningKey], None] = lambda _: None,
    ) -> None:
        """Loads both. Raises OperatorError when the current key cannot be used; a next key that cannot be used is told
        in `problems`. `accept` raises OperatorError for a key that does not belong here."""
        self._sources = (current, following)
        self._next_from = next_from
        self._clock = clock
        self._accept = accept
        #: replaced whole, so that nobody sees half of a change
        self._keys: tuple[SigningKey, SigningKey | None] = (self._load(current), None)
        self.problems: tuple[str, ...] = ()
        try:
            self._keys = (self._keys[0], self._load_next())
        except GatewayError as error:
            self._note(error)

    def __call__(self) -> SigningKey:
        current, following = self._keys
        return choose_key(current, following, at=self._clock(), next_from=self._next_from)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of the current key, then of the next one."""
        return tuple(key.certificate for key in self._keys if key is not None)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(path for source in self._sources if source is not None for path in source.files)

    def reload(self) -> None:
        """Read both again. Raises OperatorError; then whichever could not be read stays as it was."""
        source, _ = self._sources
        failed: GatewayError | None = None
        current, following = self._keys
        try:
            current = self._load(source)
        except GatewayError as error:
            failed = error
        try:
            following = self._load_next()
        except GatewayError as error:
            failed = error
        self._keys = (current, following)
        self.problems = ()
        if failed is not None:
            self._note(failed)
            raise failed

    def _load(self, source: KeySource) -> SigningKey:
        key = source.load()
        self._accept(key)
        return key

    def _load_next(self) -> SigningKey | None:
        _, source = self._sources
        return self._load(source) if source is not None and source.is_there else None

    def _note(self, error: GatewayError) -> None:
        self.problems = (error.message,)


# ---------------------------------------------------------------- watching files

Fingerprint = Callable[[], Hashable]


def of_files(files: Sequence[Path]) -> Hashable:
    """What changes when one of the files is replaced, written or removed."""
    return tuple(_of_file(path) for path in files)


def of_folder(folder: Path) -> Hashable:
    """The same for every file of a folder, not of those below it."""
    try:
        names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return None
    return tuple((path.name, _of_file(path)) for path in names)


def _of_file(path: Path) -> Hashable:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


class Watch:
    """Something made of files, read again when they have changed."""

    def __init__(self, name: str, fingerprint: Fingerprint, reload: Callable[[], object]) -> None:
        """`reload` raises OperatorError and then leaves everything as it was."""
        self._name = name
        self._fingerprint = fingerprint
        self._reload = reload
        self._read = self._seen = fingerprint()
        self._looking = threading.Lock()

    def look(self, *, force: bool = False) -> bool:
        """Read it again if it changed and has settled, or if `force` says so. True when new material is in force.

        What could not be read is not tried again before it changes. Raises nothing of this program.
        """
        with self._looking:
            found = self._fingerprint()
            settled = found == self._seen
            self._seen = found
            if not force and (found == self._read or not settled):
                return False
            self._read = found
            try:
                self._reload()
            except GatewayError as error:
                _LOG.error("rotation", action="reload_refused", what=self._name, code=error.code, why=error.message)
                return False
            _LOG.info("rotation", action="reloaded", what=self._name)
            return True


@dataclass(frozen=True, slots=True)
class Rotation:
    """Everything that may change while the program runs."""

    watches: tuple[Watch, ...]

    def look(self, *, force: bool = False) -> bool:
        """Look at everything. True when anything was read again and is in force."""
        results = [watch.look(force=force) for watch in self.watches]
        return True in results
