"""The fault script: orders of `misbehaviour` in a TOML file or a request, with the seed of their throws."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import ConfigurationError, OperatorError
from gateway.sandbox.misbehaviour import Order, read_order

DEFAULT_SEED: Final = 1
_KEYS: Final = frozenset({"seed", "fault"})


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Carried out in this order: the first fault that matches a message is the one it meets."""

    faults: tuple[Order, ...] = ()
    seed: int = DEFAULT_SEED

    def as_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "fault": [order.as_dict() for order in self.faults]}


def load_fault_script(path: Path, known_systems: Sequence[str]) -> FaultScript:
    """Raises ConfigurationError that names the file, the fault by its place, and the key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"is not TOML: {error}", file=str(path)) from None
    return read_fault_script(document, known_systems, file=str(path))


def parse_fault_script(text: bytes, known_systems: Sequence[str]) -> FaultScript:
    """A script from a request: JSON when it begins with a brace, else TOML. Raises ConfigurationError."""
    try:
        content = text.decode()
        document = json.loads(content) if content.lstrip().startswith("{") else tomllib.loads(content)
    except (ValueError, RecursionError):
        raise ConfigurationError("the fault script is neither TOML nor JSON") from None
    return read_fault_script(document, known_systems)


def read_fault_script(document: Mapping[str, Any], known_systems: Sequence[str], *, file: str = "") -> FaultScript:
    """Raises ConfigurationError."""
    for key in document:
        if key not in _KEYS:
            raise ConfigurationError("is not a key of a fault script; there are seed, fault", file=file, key=key)
    seed = document.get("seed", DEFAULT_SEED)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigurationError("write a whole number", file=file, key="seed")
    faults = document.get("fault", [])
    if not isinstance(faults, list):
        raise ConfigurationError("write tables [[fault]]", file=file, key="fault")
    orders = []
    for place, fault in enumerate(faults, 1):
        try:
            orders.append(read_order(fault, known_systems))
        except OperatorError as error:
            raise ConfigurationError(error.message, file=file, key=f"fault[{place}]") from None
    return FaultScript(tuple(orders), seed)
