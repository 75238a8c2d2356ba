"""A YAML file as values that know where they stand, so that a complaint can name file and key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfoNotFoundError

import yaml

from gateway.errors import ConfigurationError
from gateway.model import Citation

_T = TypeVar("_T")


class Strict(yaml.SafeLoader):
    """Safe, and a key written twice is an error: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> object:
    """Raises ConfigurationError."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=Strict)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read ({error})", file=str(path)) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"is not YAML: {error}", file=str(path)) from error


class Node:
    """A value of a file that knows where it stands, so that a complaint can say so."""

    def __init__(self, file: str, key: str, value: object) -> None:
        self.file = file
        self.key = key
        self.value = value

    def wrong(self, message: str) -> ConfigurationError:
        return ConfigurationError(message, file=self.file, key=self.key)

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> Mapping[str, Node]:
        """The children by name; each required one present, no other one there."""
        children = self.children()
        allowed = sorted({*required, *optional})
        for name, child in children.items():
            if name not in allowed:
                raise child.wrong(f"this key is not known; known are {', '.join(allowed)}")
        for name in sorted(required):
            if name not in children:
                raise self._child(name, None).wrong("this key is missing")
        return children

    def children(self) -> dict[str, Node]:
        if not isinstance(self.value, Mapping):
            raise self.wrong("keys and values are expected here")
        return {str(name): self._child(str(name), value) for name, value in self.value.items()}

    def raw_fields(self) -> Mapping[str, Any]:
        """The mapping as it was parsed, for a reader with a format of its own."""
        if not isinstance(self.value, Mapping):
            raise self.wrong("keys and values are expected here")
        return self.value

    def items(self) -> list[Node]:
        if not isinstance(self.value, list):
            raise self.wrong("a list is expected here")
        return [Node(self.file, f"{self.key}[{number}]", value) for number, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("a text is expected here")
        # a folded scalar ends with a line break
        return self.value.strip()

    def integer(self) -> int:
        # bool is an int in Python
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise self.wrong("a whole number, not negative, is expected here")
        return self.value

    def day(self) -> dt.date:
        if not isinstance(self.value, dt.date) or isinstance(self.value, dt.datetime):
            raise self.wrong("a day as YYYY-MM-DD is expected here")
        return self.value

    def citation(self) -> Citation:
        return self.parsed(Citation.parse)

    def parsed(self, parse: Callable[[str], _T]) -> _T:
        text = self.text()
        try:
            return parse(text)
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise self.wrong(str(error)) from error

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("true or false is expected here")
        return self.value

    def _child(self, name: str, value: object) -> Node:
        return Node(self.file, f"{self.key}.{name}" if self.key else name, value)

    def not_empty(self) -> list[Node]:
        items = self.items()
        if not items:
            raise self.wrong("at least one is needed")
        return items
