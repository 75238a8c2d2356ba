"""The XSDs of a system's folder: compiled at first use, from files of that folder alone."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any, Final, cast

from lxml import etree

from gateway.errors import MappingError, SystemFolderError
from gateway.systems.folders import require_file

_SCHEMA_NAMESPACE: Final = "{http://www.w3.org/2001/XMLSchema}"


class Contract:
    """One XSD of a folder, compiled at first use; safe to share between threads.

    Every import and include inside it stays in the same folder: nothing is fetched.
    """

    __slots__ = ("_lock", "_schema", "file", "kind", "system")

    def __init__(self, system: str, kind: str, file: Path) -> None:
        self.system = system
        self.kind = kind
        self.file = file
        self._schema: etree.XMLSchema | None = None
        self._lock = threading.Lock()

    def compile(self) -> None:
        """Raises SystemFolderError when the XSD cannot be used."""
        with self._lock:
            self._compiled()

    def validate(self, element: etree._Element) -> None:
        """Raises MappingError naming the place and the rule, never the value (it may be an IIN)."""
        with self._lock:
            schema = self._compiled()
            if schema.validate(element):
                return
            first = cast(Any, schema.error_log)[0]
            place, rule = re.sub(r"[^/]*:", "", first.path or "/"), first.type_name
        raise MappingError(
            f"the {self.kind} does not fit {self.system}/contract/{self.file.name} at {place} ({rule})",
            code="contract",
        )

    def _compiled(self) -> etree.XMLSchema:
        if self._schema is None:
            self._schema = _compile(self.file)
        return self._schema


def _compile(file: Path) -> etree.XMLSchema:
    _check_schema_files(file, file.parent, set())
    try:
        return etree.XMLSchema(_parse_schema(file))
    except etree.XMLSchemaParseError as error:
        raise SystemFolderError(
            f"{file.parent.parent.name}/contract/{file.name} is not a usable XSD: {error}"
        ) from None


def _parse_schema(file: Path) -> etree._ElementTree:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.parse(str(file), parser)
    except etree.XMLSyntaxError as error:
        raise SystemFolderError(f"{file.parent.parent.name}/contract/{file.name} is not XML: {error}") from None


def _check_schema_files(file: Path, home: Path, seen: set[Path]) -> None:
    """libxml2 would follow any schemaLocation, also over the network: only neighbours are let through."""
    if file in seen:
        return
    seen.add(file)
    folder = home.parent
    for kind in ("import", "include", "redefine"):
        for element in _parse_schema(file).iter(f"{_SCHEMA_NAMESPACE}{kind}"):
            location = element.get("schemaLocation", "")
            if not re.fullmatch(r"[A-Za-z0-9_.-]+\.xsd", location):
                raise SystemFolderError(
                    f"{folder.name}/contract/{file.name}: schemaLocation {location!r} is not a file of the same folder"
                )
            _check_schema_files(require_file(folder, f"contract/{location}"), home, seen)
