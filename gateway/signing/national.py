"""The one place that holds the means of national signatures (gateway.signing.gost) of this process.

It is chosen once at start: by the daemon from `signing.gost_backend` and `signing.allow_variable_time`, by a command
from its options. Who chooses nothing gets "auto", which verifies always and signs where OpenSSL's gost engine is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from gateway.signing.gost.backend import GostBackend, choose_backend

_lock = Lock()
_held: list[GostBackend] = []


def backend() -> GostBackend:
    """The backend in use."""
    if not _held:
        with _lock:
            if not _held:
                _held.append(choose_backend())
    return _held[0]


def use_backend(chosen: GostBackend) -> None:
    """From now on `chosen` makes and checks national signatures. Keys that are loaded already sign with it too."""
    with _lock:
        _held[:] = [chosen]


@contextmanager
def using_backend(chosen: GostBackend) -> Iterator[GostBackend]:
    """`chosen` for the length of a block, for whoever compares two of them. Not for several threads at a time."""
    before = list(_held)
    use_backend(chosen)
    try:
        yield chosen
    finally:
        with _lock:
            _held[:] = before
