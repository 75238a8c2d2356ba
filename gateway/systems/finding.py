"""Every system in the folders that are searched, and one of them by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.errors import OperatorError, SystemFolderError
from gateway.systems.definition import SystemDefinition
from gateway.systems.reading import load_system


def find_systems(paths: Sequence[Path]) -> Mapping[str, SystemDefinition]:
    """Every system in these folders by slug; a folder of the same name in a later path replaces the earlier.

    Raises SystemFolderError naming the folder and the file or key that is missing or wrong.
    """
    folders: dict[str, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise SystemFolderError(f"systems.paths names {path}, which is not a folder")
        for folder in sorted(path.iterdir()):
            if folder.is_dir() and not folder.name.startswith((".", "_")):
                folders[folder.name] = folder
    systems = {slug: load_system(folder) for slug, folder in sorted(folders.items())}
    _check_unique(systems)
    return systems


def find_system(systems: Mapping[str, SystemDefinition], name: str) -> SystemDefinition:
    """A system by slug or alias. Raises OperatorError (`unknown_system`) that lists the known ones."""
    for system in systems.values():
        if name == system.slug or name in system.aliases:
            return system
    known = ", ".join(systems) or "none"
    raise OperatorError(f"there is no system {name!r}; known: {known}", code="unknown_system")


def _check_unique(systems: Mapping[str, SystemDefinition]) -> None:
    owner_of_name: dict[str, str] = {}
    owner_of_service: dict[str, str] = {}
    for system in systems.values():
        for owners, names in ((owner_of_name, (system.slug, *system.aliases)), (owner_of_service, system.service_ids)):
            for name in names:
                other = owners.setdefault(name, system.slug)
                if other != system.slug or names.count(name) > 1:
                    raise SystemFolderError(
                        f"{system.slug}/system.toml: {name!r} is already taken by the system {other}"
                    )
