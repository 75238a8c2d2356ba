"""Tables of system.toml, of which each key is taken once and no key is left over."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from gateway.errors import SystemFolderError


class Table:
    """A table of system.toml that hands out each key once; what is left at the end is unknown."""

    def __init__(self, folder: Path, values: Mapping[str, Any], prefix: str = "") -> None:
        self._folder = folder
        self._values = dict(values)
        self._prefix = prefix
        self._children: list[Table] = []

    def wrong(self, key: str, why: str) -> SystemFolderError:
        return SystemFolderError(f"{self._folder.name}/system.toml, key {self._prefix}{key}: {why}")

    def _take(self, key: str, default: Any, wanted: type | tuple[type, ...], called: str) -> Any:
        value = self._values.pop(key, default)
        if value is None:
            raise self.wrong(key, f"is missing; write {called}")
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise self.wrong(key, f"write {called}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return cast(str, self._take(key, default, str, "a text"))

    def flag(self, key: str, default: bool | None = None) -> bool:
        return cast(bool, self._take(key, default, bool, "true or false"))

    def number(self, key: str, default: float | None = None, *, least: float = 0) -> float:
        value = float(self._take(key, default, (int, float), "a number"))
        if value < least:
            raise self.wrong(key, f"is at least {least:g}")
        return value

    def whole_number(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        value = cast(int, self._take(key, default, int, "a whole number"))
        if value < least:
            raise self.wrong(key, f"is at least {least}")
        return value

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        value = self._take(key, None if default is None else list(default), list, "a list of texts")
        if not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "write a list of texts")
        return tuple(value)

    def choice(self, key: str, of: type[StrEnum], default: str | None = None) -> Any:
        value = self.text(key, default)
        if value not in set(of):
            raise self.wrong(key, f"is one of {', '.join(of)}")
        return of(value)

    def table(self, key: str, default: Mapping[str, Any] | None = None) -> Table:
        child = Table(
            self._folder, self._take(key, default, dict, f"a table [{self._prefix}{key}]"), f"{self._prefix}{key}."
        )
        self._children.append(child)
        return child

    def tables(self, key: str) -> tuple[Table, ...]:
        values = self._take(key, None, list, f"at least one table [[{key}]]")
        if not values or not all(isinstance(value, dict) for value in values):
            raise self.wrong(key, f"write at least one table [[{key}]]")
        found = tuple(Table(self._folder, value, f"{key}[{place}].") for place, value in enumerate(values))
        self._children.extend(found)
        return found

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> Iterator[str]:
        yield from tuple(self._values)

    def raw(self, key: str) -> Mapping[str, Any]:
        """A table that is read elsewhere."""
        return cast(Mapping[str, Any], self._take(key, None, dict, f"a table [{self._prefix}{key}]"))

    def date(self, key: str) -> dt.date:
        value = self._take(key, None, dt.date, "a date, for example 2008-06-01")
        if isinstance(value, dt.datetime):
            raise self.wrong(key, "write a date without a time")
        return cast(dt.date, value)

    def finish(self) -> None:
        for key in self._values:
            raise self.wrong(key, "is not a key of system.toml; see docs/reference/systems.md")
        for child in self._children:
            child.finish()


def read_toml(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "system.toml").read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SystemFolderError(f"{folder.name}/system.toml is not TOML: {error}") from None
