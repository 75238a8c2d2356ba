"""Which feed a file is of, where nobody says so: by the names of its columns."""

from __future__ import annotations

from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.registry.imports.checks import Refusal
from gateway.registry.imports.feeds import ListFeed, RecordKind, feed_named, feeds_of
from gateway.registry.imports.formats import header_of, records_of
from gateway.registry.imports.lines import fields_of
from gateway.regulation.law import Law


def feed_of_file(path: Path, law: Law) -> ListFeed:
    """Payments by their reference, treaty lists by their first day, categories by that of the first record.

    Raises ConfigurationError: a list of persons in service does not say whose it is.
    """
    names = set(header_of(path))
    if "reference" in names:
        return feed_named("payments", law)
    if "first_day" in names:
        return feed_named("treaty_foreigner", law)
    if "category" in names:
        for _, line in records_of(path, RecordKind.CATEGORIES):
            fields = None if isinstance(line, Refusal) else fields_of(line)
            for feed in feeds_of(law).values():
                if fields is not None and fields[1] in feed.categories:
                    return feed
    raise ConfigurationError(f"the file does not tell its feed; name it: {', '.join(feeds_of(law))}", key="--feed")
