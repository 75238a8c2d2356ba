"""Work in more than one process: they end with the one that started them, and the law travels with them."""

from __future__ import annotations

import copyreg
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from types import MappingProxyType
from typing import Any


def _frozen(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)


# the law is made of frozen mappings, which do not travel by themselves
copyreg.pickle(MappingProxyType, lambda frozen: (_frozen, (dict(frozen),)))


def pool(processes: int, prepare: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """A pool of fresh processes (a fork would take our database connections along); each runs `prepare` first."""
    return ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(prepare, arguments),
    )


def _prepare(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments)


def _end_with_parent() -> None:
    # a parent that is killed says nothing to its workers, and they would wait for work for ever
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
