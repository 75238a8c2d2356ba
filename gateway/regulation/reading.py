"""config/regulation/*.yaml → Law. `load_law` reads the files; everything after it is pure.

Every mistake is a ConfigurationError that names the file and the key: an unknown or missing key, a value of the wrong
kind, a citation of a clause that is not there, a reading that is not built.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from gateway.errors import ConfigurationError
from gateway.model import Citation
from gateway.regulation.law import (
    READINGS_IN_USE,
    WINDOWS_IN_USE,
    Category,
    CategoryList,
    Clause,
    Edition,
    Footing,
    Law,
    Reading,
    Residency,
    Window,
)

CATEGORIES_FILE: Final = "categories.yaml"
READINGS_FILE: Final = "readings.yaml"
_T = TypeVar("_T")


class _Strict(yaml.SafeLoader):
    """Safe, and a key written twice is an error: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_law(folder: Path) -> Law:
    """Read every act (`<number>.yaml`), categories.yaml and readings.yaml of `folder`. Raises ConfigurationError."""
    documents: dict[str, object] = {}
    for name in (CATEGORIES_FILE, READINGS_FILE):
        if not (folder / name).is_file():
            raise ConfigurationError("the file is missing; install shep-gateway again", file=str(folder / name))
    for path in sorted(folder.glob("*.yaml")):
        try:
            documents[path.name] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Strict)  # noqa: S506
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot be read ({error})", file=str(path)) from error
        except yaml.YAMLError as error:
            raise ConfigurationError(f"is not YAML: {error}", file=str(path)) from error
    return build_law(documents)


def build_law(documents: Mapping[str, object]) -> Law:
    """The law from parsed files by name. Pure. Raises ConfigurationError."""
    acts = {name: text for name, text in documents.items() if name not in {CATEGORIES_FILE, READINGS_FILE}}
    if not acts:
        raise ConfigurationError("no act is there; at least one file <number>.yaml is needed", file="config/regulation")
    zones: dict[str, ZoneInfo] = {}
    editions: list[Edition] = []
    for name, document in acts.items():
        zone, act_editions = _act(_Node(name, "", document))
        zones[name] = zone
        editions.extend(act_editions)
    if len(set(zones.values())) > 1:
        raise ConfigurationError("all acts must name the same time zone", file=", ".join(zones), key="timezone")
    editions.sort(key=lambda edition: edition.in_force_from)
    _refuse_overlap(editions)
    known = {name for edition in editions for name in edition.clauses}
    categories = _categories(_Node(CATEGORIES_FILE, "", documents.get(CATEGORIES_FILE)), known)
    readings = _readings(_Node(READINGS_FILE, "", documents.get(READINGS_FILE)), known)
    return Law(
        timezone=next(iter(zones.values())),
        editions=tuple(editions),
        categories=MappingProxyType(categories),
        readings=MappingProxyType(readings),
    )


def _refuse_overlap(editions: Iterable[Edition]) -> None:
    last: dict[str, Edition] = {}
    for edition in editions:
        before = last.get(edition.act)
        if before is not None and (before.in_force_to is None or edition.in_force_from < before.in_force_to):
            raise ConfigurationError(
                f"two editions of act {edition.act} judge {edition.in_force_from.isoformat()}", key="in_force_from"
            )
        last[edition.act] = edition


# ---------------------------------------------------------------- one node of a file, with its place


class _Node:
    """A value of a file that knows where it stands, so that a complaint can say so."""

    def __init__(self, file: str, key: str, value: object) -> None:
        self.file = file
        self.key = key
        self.value = value

    def wrong(self, message: str) -> ConfigurationError:
        return ConfigurationError(message, file=self.file, key=self.key)

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> Mapping[str, _Node]:
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

    def children(self) -> dict[str, _Node]:
        if not isinstance(self.value, Mapping):
            raise self.wrong("keys and values are expected here")
        return {str(name): self._child(str(name), value) for name, value in self.value.items()}

    def items(self) -> list[_Node]:
        if not isinstance(self.value, list):
            raise self.wrong("a list is expected here")
        return [_Node(self.file, f"{self.key}[{number}]", value) for number, value in enumerate(self.value)]

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

    def _child(self, name: str, value: object) -> _Node:
        return _Node(self.file, f"{self.key}.{name}" if self.key else name, value)


# ---------------------------------------------------------------- an act


def _act(node: _Node) -> tuple[ZoneInfo, list[Edition]]:
    fields = node.fields(("act", "title", "timezone", "editions"))
    act, title = fields["act"].text(), fields["title"].text()
    if node.file != f"{act}.yaml":
        raise fields["act"].wrong(f"the file of act {act} must be called {act}.yaml")
    zone = fields["timezone"].parsed(ZoneInfo)
    return zone, [_edition(item, act, title) for item in fields["editions"].items()]


def _edition(node: _Node, act: str, title: str) -> Edition:
    fields = node.fields(("redaction", "in_force_from", "clauses", "windows", "sources"), ("in_force_to",))
    clauses: dict[str, Clause] = {}
    for item in fields["clauses"].items():
        clause = _clause(item, act)
        name = str(clause.citation)
        if name in clauses:
            raise item.wrong(f"the clause {name} stands twice")
        clauses[name] = clause
    return Edition(
        act=act,
        title=title,
        redaction=fields["redaction"].text(),
        in_force_from=fields["in_force_from"].day(),
        in_force_to=fields["in_force_to"].day() if "in_force_to" in fields else None,
        clauses=MappingProxyType(clauses),
        windows=MappingProxyType(
            {name: _window(name, item, clauses) for name, item in fields["windows"].fields(WINDOWS_IN_USE).items()}
        ),
        sources=MappingProxyType({slug: _known(item, clauses) for slug, item in fields["sources"].children().items()}),
    )


def _clause(node: _Node, act: str) -> Clause:
    fields = node.fields(("id", "kk", "en"), ("extraction",))
    citation = fields["id"].citation()
    if citation.act != act:
        raise fields["id"].wrong(f"a clause of act {act} begins with {act}")
    kk = fields["kk"].text()
    extraction = []
    for item in fields["extraction"].items() if "extraction" in fields else []:
        pair = item.fields(("kk", "seed"))
        quoted = pair["kk"].text()
        if quoted not in kk:
            raise pair["kk"].wrong("these words do not stand in the clause")
        extraction.append((quoted, pair["seed"].text()))
    return Clause(citation, kk, fields["en"].text(), tuple(extraction))


def _window(name: str, node: _Node, clauses: Mapping[str, Clause]) -> Window:
    fields = node.fields(("value", "standing"), ("cite", "note"))
    footing = fields["standing"].parsed(Footing)
    if footing is Footing.QUOTED and "cite" not in fields:
        raise node.wrong("a quoted value needs its cite")
    return Window(
        name=name,
        value=fields["value"].integer(),
        cite=_known(fields["cite"], clauses) if "cite" in fields else None,
        footing=footing,
        note=fields["note"].text() if "note" in fields else "",
    )


def _known(node: _Node, clauses: Iterable[str]) -> Citation:
    citation = node.citation()
    if str(citation) not in clauses:
        raise node.wrong(f"no loaded act has the clause {citation}")
    return citation


# ---------------------------------------------------------------- categories and readings


def _categories(node: _Node, known: Iterable[str]) -> dict[str, Category]:
    categories: dict[str, Category] = {}
    for item in node.fields(("categories",))["categories"].items():
        category = _category(item, known)
        if category.slug in categories or category.code in {other.code for other in categories.values()}:
            raise item.wrong(f"the category {category.code} {category.slug} stands twice")
        categories[category.slug] = category
    for category in categories.values():
        if category.yields_to is not None and category.yields_to not in categories:
            raise node.wrong(f"{category.slug} yields to {category.yields_to}, which is not a category")
    return categories


def _category(node: _Node, known: Iterable[str]) -> Category:
    fields = node.fields(("code", "slug", "list", "priority", "kk", "cites"), ("yields_to", "excluded_residency"))
    category_list = fields["list"].parsed(CategoryList)
    if category_list.state_paid != (fields["priority"].value is not None):
        raise fields["priority"].wrong("exactly the categories that the state pays for have a priority; write null")
    excluded = fields["excluded_residency"].items() if "excluded_residency" in fields else []
    return Category(
        code=fields["code"].text(),
        slug=fields["slug"].text(),
        list=category_list,
        priority=fields["priority"].integer() if category_list.state_paid else None,
        kk=fields["kk"].text(),
        cites=tuple(_known(item, known) for item in _not_empty(fields["cites"])),
        yields_to=fields["yields_to"].text() if "yields_to" in fields else None,
        excluded_residency=frozenset(item.parsed(Residency) for item in excluded),
    )


def _readings(node: _Node, known: Iterable[str]) -> dict[str, Reading]:
    readings = node.fields(("readings",))["readings"].fields(READINGS_IN_USE)
    return {name: _reading(name, item, known) for name, item in readings.items()}


def _reading(name: str, node: _Node, known: Iterable[str]) -> Reading:
    fields = node.fields(("value", "allowed", "ambiguity", "cites", "why"))
    allowed = tuple(_choice(item) for item in fields["allowed"].items())
    value = _choice(fields["value"])
    if value not in allowed:
        raise fields["value"].wrong(f"this reading is not built; built are {', '.join(str(one) for one in allowed)}")
    return Reading(
        name=name,
        value=value,
        allowed=allowed,
        ambiguity=fields["ambiguity"].text(),
        cites=tuple(_known(item, known) for item in _not_empty(fields["cites"])),
        why=fields["why"].text(),
    )


def _choice(node: _Node) -> str | bool:
    return node.value if isinstance(node.value, bool) else node.text()


def _not_empty(node: _Node) -> list[_Node]:
    items = node.items()
    if not items:
        raise node.wrong("at least one is needed")
    return items
