"""config/regulation/*.yaml → Law. `load_law` reads the files; everything after it is pure.

Every mistake is a ConfigurationError that names the file and the key: an unknown or missing key, a value of the wrong
kind, a citation of a clause that is not there, a reading that is not built.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from gateway.errors import ConfigurationError
from gateway.model import Citation
from gateway.regulation.law import (
    READINGS_IN_USE,
    WINDOWS_IN_USE,
    Act,
    ActStanding,
    Category,
    CategoryList,
    Clause,
    Edition,
    Feed,
    Footing,
    Frequency,
    Law,
    Profile,
    ProvisionalDocuments,
    Reading,
    Residency,
    Window,
)
from gateway.regulation.nodes import Node, read_yaml

CATEGORIES_FILE: Final = "categories.yaml"
READINGS_FILE: Final = "readings.yaml"
FEEDS_FILE: Final = "feeds.yaml"
#: read by gateway.regulation.services
SERVICES_FILE: Final = "services.yaml"
_NO_ACTS: Final = frozenset({CATEGORIES_FILE, READINGS_FILE, FEEDS_FILE, SERVICES_FILE})
#: the setting that names a folder of one's own
_OWN_KEY: Final = "registry.law_folder"


def load_law(folder: Path, own: Path | None = None) -> Law:
    """Read every act (`<number>.yaml`), categories.yaml, readings.yaml and feeds.yaml, as `law_files` finds them.

    Raises ConfigurationError.
    """
    files = law_files(folder, own)
    return build_law({name: read_yaml(path) for name, path in files.items()}, places=own_places(files, folder))


def law_files(folder: Path, own: Path | None = None) -> Mapping[str, Path]:
    """The files of the law by name: those of `folder`, which came with the program, and those of `own`.

    A file of `own` stands in the place of the one of its name, or beside the others. Raises ConfigurationError: `own`
    is no folder, or nothing in it would be read, so that another law would judge than its owner believes.
    """
    for name in (CATEGORIES_FILE, READINGS_FILE, FEEDS_FILE):
        if not (folder / name).is_file():
            raise ConfigurationError("the file is missing; install shep-gateway again", file=str(folder / name))
    files = {path.name: path for path in folder.glob("*.yaml")}
    if own is not None:
        files |= _own_files(own)
    return dict(sorted(files.items()))


def _own_files(own: Path) -> dict[str, Path]:
    if not own.is_dir():
        raise ConfigurationError(
            "there is no such folder; make it, or empty the key to be judged by the law that came with the program",
            file=str(own),
            key=_OWN_KEY,
        )
    for path in own.glob("*.yml"):
        raise ConfigurationError("only *.yaml is read; rename the file", file=str(path), key=_OWN_KEY)
    files = {path.name: path for path in own.glob("*.yaml")}
    if not files:
        raise ConfigurationError(
            "no *.yaml is in the folder; put the act there that differs, or empty the key", file=str(own), key=_OWN_KEY
        )
    return files


def own_places(files: Mapping[str, Path], folder: Path) -> Mapping[str, str]:
    """Where the files lie that are not of `folder`: errors name these by their whole path."""
    return {name: str(path) for name, path in files.items() if path.parent != folder}


def build_law(documents: Mapping[str, object], *, places: Mapping[str, str] = MappingProxyType({})) -> Law:
    """The law from parsed files by name; errors name a file by its place, where one is given. Pure.

    Raises ConfigurationError.
    """

    def node(name: str) -> Node:
        return Node(places.get(name, name), "", documents.get(name))

    acts = [_act(node(name)) for name in documents if name not in _NO_ACTS]
    zones = {read.file: read.zone for read in acts if read.zone is not None}
    if not zones:
        raise ConfigurationError(
            "no act in force is there; at least one file <number>.yaml with editions is needed",
            file="config/regulation",
        )
    if len(set(zones.values())) > 1:
        raise ConfigurationError("all acts must name the same time zone", file=", ".join(zones), key="timezone")
    editions = [edition for read in acts for edition in read.editions]
    editions.sort(key=lambda edition: edition.in_force_from)
    _refuse_overlap(editions)
    known = {name for edition in editions for name in edition.clauses}
    known |= {name for read in acts for name in read.act.clauses}
    payment_chain, categories = _categories(node(CATEGORIES_FILE), known)
    readings = _readings(node(READINGS_FILE), known)
    feeds, markings = _feeds(node(FEEDS_FILE), known)
    for read in acts:
        _refuse_readings_that_are_not_built(read, readings)
    of_editions = {slug: one for edition in editions for slug, one in edition.categories.items()}
    return Law(
        timezone=next(iter(zones.values())),
        editions=tuple(editions),
        # one that only a later edition has is a category too
        categories=MappingProxyType({**of_editions, **categories}),
        readings=MappingProxyType(readings),
        payment_systems=frozenset(payment_chain),
        feeds=MappingProxyType(feeds),
        forbidden_markings=markings,
        acts=MappingProxyType({read.act.number: read.act for read in acts}),
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


# ---------------------------------------------------------------- an act


@dataclass(frozen=True, slots=True)
class _ReadAct:
    file: str
    act: Act
    zone: ZoneInfo | None
    """None: it judges no day."""
    editions: tuple[Edition, ...] = ()
    read_in: tuple[Node, ...] = ()
    """The editions as they stand in the file."""


def _act(node: Node) -> _ReadAct:
    head = ("act", "title", "standing", "held")
    standing = node.fields(head, ("timezone", "editions", "clauses"))["standing"].parsed(ActStanding)
    in_force = standing is ActStanding.IN_FORCE
    own = ("timezone", "editions") if in_force else ("clauses",)
    fields = node.fields((*head, *own))
    number = fields["act"].text()
    if Path(node.file).name != f"{number}.yaml":
        raise fields["act"].wrong(f"the file of act {number} must be called {number}.yaml")
    clauses = {} if in_force else _clauses(fields["clauses"], number)
    act = Act(number, fields["title"].text(), standing, fields["held"].text(), MappingProxyType(clauses))
    if not in_force:
        return _ReadAct(node.file, act, None)
    editions: list[Edition] = []
    items = fields["editions"].not_empty()
    for item in items:
        editions.append(_edition(item, act, editions))
    return _ReadAct(node.file, act, fields["timezone"].parsed(ZoneInfo), tuple(editions), tuple(items))


def _edition(node: Node, act: Act, earlier: Iterable[Edition]) -> Edition:
    """An edition in full, or (`amends`) what it has otherwise than one that stands before it in the file."""
    parts = ("clauses", "windows", "sources")
    amending = isinstance(node.value, Mapping) and "amends" in node.value
    fields = node.fields(
        ("redaction", "in_force_from", *(() if amending else parts)),
        ("in_force_to", "readings", "categories", *(("amends", "without", *parts) if amending else ())),
    )
    base = _amended(fields["amends"], earlier) if amending else None
    clauses = {} if base is None else dict(base.clauses)
    for item in fields["without"].not_empty() if "without" in fields else []:
        del clauses[str(_known(item, clauses))]
    if "clauses" in fields:
        clauses |= _clauses(fields["clauses"], act.number)
    windows = {} if base is None else dict(base.windows)
    if "windows" in fields:
        given = fields["windows"].fields(() if amending else WINDOWS_IN_USE, WINDOWS_IN_USE)
        windows |= {name: _window(name, item, clauses) for name, item in given.items()}
    sources = {} if base is None else dict(base.sources)
    if "sources" in fields:
        sources |= {slug: _known(item, clauses) for slug, item in fields["sources"].children().items()}
    readings = {} if base is None else dict(base.readings)
    if "readings" in fields:
        given = fields["readings"].fields((), READINGS_IN_USE)
        readings |= {name: _choice(item) for name, item in given.items()}
    categories = {} if base is None else dict(base.categories)
    for item in fields["categories"].items() if "categories" in fields else []:
        category = _category(item, clauses)
        categories[category.slug] = category
    for named in (*(window.cite for window in windows.values()), *sources.values()):
        if named is not None and str(named) not in clauses:
            raise node.wrong(f"a window or a source rests on {named}, which this edition does not have")
    return Edition(
        act=act.number,
        title=act.title,
        redaction=fields["redaction"].text(),
        in_force_from=fields["in_force_from"].day(),
        in_force_to=fields["in_force_to"].day() if "in_force_to" in fields else None,
        clauses=MappingProxyType(clauses),
        windows=MappingProxyType(windows),
        sources=MappingProxyType(sources),
        readings=MappingProxyType(readings),
        categories=MappingProxyType(categories),
    )


def _amended(node: Node, earlier: Iterable[Edition]) -> Edition:
    day: dt.date = node.day()
    for edition in earlier:
        if edition.in_force_from == day:
            return edition
    raise node.wrong(f"no edition in force from {day.isoformat()} stands before this one")


def _refuse_readings_that_are_not_built(read: _ReadAct, readings: Mapping[str, Reading]) -> None:
    for edition, node in zip(read.editions, read.read_in, strict=True):
        for name, value in edition.readings.items():
            if value not in readings[name].allowed:
                built = ", ".join(str(one) for one in readings[name].allowed)
                raise node.wrong(f"readings: {name} {value} is not built; built are {built}")


def _clauses(node: Node, act: str) -> dict[str, Clause]:
    clauses: dict[str, Clause] = {}
    for item in node.items():
        clause = _clause(item, act)
        name = str(clause.citation)
        if name in clauses:
            raise item.wrong(f"the clause {name} stands twice")
        clauses[name] = clause
    return clauses


def _clause(node: Node, act: str) -> Clause:
    fields = node.fields(("id", "kk", "en", "ru"), ("extraction",))
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
    return Clause(citation, kk, fields["en"].text(), fields["ru"].text(), tuple(extraction))


def _window(name: str, node: Node, clauses: Mapping[str, Clause]) -> Window:
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


def _known(node: Node, clauses: Iterable[str]) -> Citation:
    citation = node.citation()
    if str(citation) not in clauses:
        raise node.wrong(f"no loaded act has the clause {citation}")
    return citation


# ---------------------------------------------------------------- categories and readings


def _categories(node: Node, known: Iterable[str]) -> tuple[tuple[str, ...], dict[str, Category]]:
    """The way of the information on payments, and the categories by slug."""
    categories: dict[str, Category] = {}
    fields = node.fields(("payment_chain", "categories"))
    for item in fields["categories"].items():
        category = _category(item, known)
        if category.slug in categories or category.code in {other.code for other in categories.values()}:
            raise item.wrong(f"the category {category.code} {category.slug} stands twice")
        categories[category.slug] = category
    for category in categories.values():
        if category.yields_to is not None and category.yields_to not in categories:
            raise node.wrong(f"{category.slug} yields to {category.yields_to}, which is not a category")
    return tuple(item.text() for item in fields["payment_chain"].not_empty()), categories


def _category(node: Node, known: Iterable[str]) -> Category:
    fields = node.fields(
        ("code", "slug", "list", "priority", "kk", "chains", "cites"),
        ("yields_to", "excluded_residency", "reconciliation", "documents"),
    )
    category_list = fields["list"].parsed(CategoryList)
    if category_list.state_paid != (fields["priority"].value is not None):
        raise fields["priority"].wrong("exactly the categories that the state pays for have a priority; write null")
    excluded = fields["excluded_residency"].items() if "excluded_residency" in fields else []
    chains = tuple(tuple(system.text() for system in chain.not_empty()) for chain in fields["chains"].not_empty())
    return Category(
        code=fields["code"].text(),
        slug=fields["slug"].text(),
        list=category_list,
        priority=fields["priority"].integer() if category_list.state_paid else None,
        kk=fields["kk"].text(),
        cites=tuple(_known(item, known) for item in fields["cites"].not_empty()),
        yields_to=fields["yields_to"].text() if "yields_to" in fields else None,
        excluded_residency=frozenset(item.parsed(Residency) for item in excluded),
        chains=chains,
        systems=frozenset(system for chain in chains for system in chain),
        reconciliation=_profiles(fields["reconciliation"]) if "reconciliation" in fields else MappingProxyType({}),
        documents=_documents(fields["documents"], known) if "documents" in fields else None,
    )


def _profiles(node: Node) -> Mapping[str, Profile | None]:
    """One profile for all (subgroup ""), or one for each subgroup; null: by the source's list alone."""
    if not isinstance(node.value, Mapping):
        return MappingProxyType({"": node.parsed(Profile)})
    return MappingProxyType(
        {name: None if item.value is None else item.parsed(Profile) for name, item in node.children().items()}
    )


def _documents(node: Node, known: Iterable[str]) -> ProvisionalDocuments:
    fields = node.fields(("item", "all"))
    groups = (frozenset(document.text() for document in group.not_empty()) for group in fields["all"].not_empty())
    return ProvisionalDocuments(_known(fields["item"], known), tuple(groups))


def _readings(node: Node, known: Iterable[str]) -> dict[str, Reading]:
    readings = node.fields(("readings",))["readings"].fields(READINGS_IN_USE)
    return {name: _reading(name, item, known) for name, item in readings.items()}


def _reading(name: str, node: Node, known: Iterable[str]) -> Reading:
    fields = node.fields(("value", "allowed", "ambiguity", "decision", "cites", "why"))
    allowed = tuple(_choice(item) for item in fields["allowed"].items())
    value = _choice(fields["value"])
    if value not in allowed:
        raise fields["value"].wrong(f"this reading is not built; built are {', '.join(str(one) for one in allowed)}")
    return Reading(
        name=name,
        value=value,
        allowed=allowed,
        ambiguity=fields["ambiguity"].text(),
        decision=fields["decision"].text(),
        cites=tuple(_known(item, known) for item in fields["cites"].not_empty()),
        why=fields["why"].text(),
    )


def _choice(node: Node) -> str | bool | int:
    return node.value if isinstance(node.value, int) else node.text()


def _feeds(node: Node, known: Iterable[str]) -> tuple[dict[str, Feed], frozenset[str]]:
    fields = node.fields(("feeds", "forbidden_markings"))
    feeds = {name: _feed(name, item, known) for name, item in fields["feeds"].children().items()}
    forbidden = fields["forbidden_markings"].fields(("cite", "markings"))
    _known(forbidden["cite"], known)
    return feeds, frozenset(item.text() for item in forbidden["markings"].not_empty())


def _feed(name: str, node: Node, known: Iterable[str]) -> Feed:
    fields = node.fields(("from", "to", "frequency", "cites"), ("monitored",))
    return Feed(
        name=name,
        sender=fields["from"].text(),
        receiver=fields["to"].text(),
        frequency=fields["frequency"].parsed(Frequency),
        cites=tuple(_known(item, known) for item in fields["cites"].not_empty()),
        monitored=fields["monitored"].flag() if "monitored" in fields else True,
    )
