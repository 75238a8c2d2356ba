"""mapper.py and simulate.py of a system's folder, loaded as modules of a package of their own."""

from __future__ import annotations

import hashlib
import importlib
import sys
import threading
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Final, cast

from gateway.errors import SystemFolderError
from gateway.systems.definition import Mapper, Simulator

#: one folder is loaded at a time: its modules are taken out of the interpreter's and put in anew
_LOADING: Final = threading.Lock()


def load_code(folder: Path) -> tuple[Mapper, Simulator]:
    """mapper.py and simulate.py as modules of a package of their own.

    The package is named after the folder's place, so that two folders of one name never share a module,
    and it makes `from .mapper import …` work in simulate.py.
    """
    package = f"gateway_system_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}_{folder.name}"
    with _LOADING:
        for name in (package, f"{package}.mapper", f"{package}.simulate"):
            sys.modules.pop(name, None)
        module = types.ModuleType(package)
        module.__path__ = [str(folder)]
        module.__spec__ = ModuleSpec(package, None, is_package=True)
        sys.modules[package] = module
        importlib.invalidate_caches()
        mapper = _load_module(folder, package, "mapper", ("build_request", "read_response"))
        simulator = _load_module(folder, package, "simulate", ("answer_request",))
    return cast(Mapper, mapper), cast(Simulator, simulator)


def _load_module(folder: Path, package: str, name: str, functions: tuple[str, ...]) -> types.ModuleType:
    try:
        module = importlib.import_module(f"{package}.{name}")
    except Exception as error:  # whatever a folder's own code raises is that folder's fault
        raise SystemFolderError(f"{folder.name}/{name}.py cannot be loaded: {type(error).__name__}: {error}") from error
    for function in functions:
        if not callable(getattr(module, function, None)):
            raise SystemFolderError(f"{folder.name}/{name}.py has no function {function}")
    return module
