"""What jobs can be told to do: every action of the program by its name (docs/reference/schedules.md)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine

from gateway import settings
from gateway.daemon.jobs import Action
from gateway.daemon.journalling import prune_journal
from gateway.database import reading, writing
from gateway.exchange import due, inbox, quota, schedule_runs
from gateway.exchange.import_notes import noting
from gateway.exchange.journal import JournalWriter
from gateway.exchange.stamping import Stamper, stamp_once
from gateway.registry.due import recompute_due
from gateway.registry.freshness import feed_ages, warn_of_overdue
from gateway.registry.imports.parts import apply_complete, incoming_lists, late_lists, warn_of_late
from gateway.regulation.law import Law

#: rows in one transaction
_FORGOTTEN_AT_ONCE: Final = 5_000


def load_actions(
    loaded: settings.LoadedSettings, engine: Engine, journal: JournalWriter, stamper: Stamper | None, law: Law
) -> tuple[Action, ...]:
    """The actions that this configuration has use for."""
    return (*_of_exchange(loaded, engine, journal, stamper), *_of_registry(loaded, engine, journal, law))


def _of_registry(loaded: settings.LoadedSettings, engine: Engine, journal: JournalWriter, law: Law) -> Iterator[Action]:
    section = loaded.settings.registry

    def apply_lists(at: dt.datetime, _: str) -> None:
        apply_complete(
            engine,
            law=law,
            at=at,
            folder=settings.lists_folder(loaded),
            processes=section.processes,
            contradicted=noting(journal),
        )

    def recompute(at: dt.datetime, _: str) -> None:
        recompute_due(engine, day=law.local_day(at), known_at=at, law=law, processes=section.processes)

    def watch_feeds(at: dt.datetime, _: str) -> None:
        with reading(engine) as connection:
            warn_of_overdue(feed_ages(connection, at, law))
            late = late_lists(incoming_lists(connection), at, dt.timedelta(hours=section.list_late_hours))
        warn_of_late(late)

    yield Action("registry.lists", apply_lists, when="every 60 s")
    yield Action("registry.due", recompute, when="daily 00:10")
    yield Action("registry.feeds", watch_feeds, when="daily 09:00")


def _of_exchange(
    loaded: settings.LoadedSettings, engine: Engine, journal: JournalWriter, stamper: Stamper | None
) -> Iterator[Action]:
    keep = dt.timedelta(days=loaded.settings.schedule.keep_days)

    def forget_runs(at: dt.datetime, _: str) -> None:
        with writing(engine) as connection:
            schedule_runs.forget(connection, before=at - keep)

    def ask_again(at: dt.datetime, system: str) -> None:
        with writing(engine) as connection:
            due.bring_forward(connection, system, at=at)

    def prune(at: dt.datetime, _: str) -> None:
        prune_journal(loaded, engine, journal, at=at)

    def forget_arrivals(at: dt.datetime, _: str) -> None:
        server = loaded.settings.server
        # a message of that age is refused by its date; the day more is for whoever's clock was set back meanwhile
        reach = dt.timedelta(days=1, seconds=server.max_message_age_s + 2 * server.max_clock_skew_s)
        gone = _FORGOTTEN_AT_ONCE
        while gone == _FORGOTTEN_AT_ONCE:
            with writing(engine) as connection:
                gone = inbox.forget(connection, before=at - reach, limit=_FORGOTTEN_AT_ONCE)
        with writing(engine) as connection:
            quota.forget(connection, at=at)

    yield Action("inbox.forget", forget_arrivals, when="daily 04:20")
    yield Action("journal.prune", prune, when="daily 03:30")
    yield Action("schedule.forget", forget_runs, when="daily 04:10")
    yield Action("people.ask_again", ask_again, of_a_system=True)
    if stamper is not None:

        def stamp(_: dt.datetime, __: str) -> None:
            stamp_once(engine, stamper, journal)

        interval_s = max(10, round(loaded.settings.trust.tsp_interval_s))
        yield Action("journal.stamp", stamp, when=f"every {interval_s} s")
