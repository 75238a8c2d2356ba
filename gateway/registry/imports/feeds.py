"""What is taken in by lists, and from whom: 004 p.6, p.8, p.15, p.19, p.54, p.61-65. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import ConfigurationError
from gateway.regulation.law import CategoryList, Law


class RecordKind(StrEnum):
    CATEGORIES = "categories"
    PAYMENTS = "payments"
    MILITARY = "military"
    TREATY = "treaty"


class Scope(StrEnum):
    FULL = "full"
    """The file names everything there is: what it does not name is no longer on the list."""
    CHANGES = "changes"
    """What the file does not name is as it was."""


@dataclass(frozen=True, slots=True)
class ListFeed:
    """One stream of lists: what may be in them. A record belongs to exactly one."""

    name: str
    kind: RecordKind
    scopes: tuple[Scope, ...]
    categories: frozenset[str] = frozenset()
    """Which categories its lists may name; empty for other kinds."""
    body: str = ""
    """Which of the bodies of p.62 it is."""

    @property
    def watched_as(self) -> str:
        """Its name among the feeds whose frequency the law gives (gateway.regulation.law.Law.feeds)."""
        return "military_law_enforcement" if self.body else self.name


#: 004 p.62, in its order
MILITARY_BODIES: Final = ("mod", "mia", "minfin", "knb", "gp", "sgs", "aca", "fma")

_BOTH: Final = (Scope.FULL, Scope.CHANGES)


def feeds_of(law: Law) -> Mapping[str, ListFeed]:
    """Every feed by its name. Local categories have a feed each, because their frequencies differ (p.54)."""
    republican = frozenset(
        category.slug for category in law.categories.values() if category.list is CategoryList.REPUBLICAN
    )
    local = [category.slug for category in law.categories.values() if category.list is CategoryList.LOCAL]
    feeds = [
        ListFeed("republican_categories", RecordKind.CATEGORIES, _BOTH, republican),
        *(ListFeed(slug, RecordKind.CATEGORIES, _BOTH, frozenset({slug})) for slug in local),
        # a payment does not cease to have been paid: there is no full list of them
        ListFeed("payments", RecordKind.PAYMENTS, (Scope.CHANGES,)),
        ListFeed("treaty_foreigner", RecordKind.TREATY, _BOTH),
        *(ListFeed(f"military_{body}", RecordKind.MILITARY, _BOTH, body=body) for body in MILITARY_BODIES),
    ]
    return {feed.name: feed for feed in feeds}


def feed_named(name: str, law: Law) -> ListFeed:
    """Raises ConfigurationError when there is no such feed."""
    feeds = feeds_of(law)
    if name not in feeds:
        raise ConfigurationError(f"there is no feed of this name; there are: {', '.join(feeds)}", key="--feed")
    return feeds[name]
