"""Invented people and lists about them, and how a test takes one in."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from gateway.database import reading
from gateway.model import iin_control_digit
from gateway.registry.imports.feeds import RecordKind, Scope, feed_named
from gateway.registry.imports.lines import LAYOUTS
from gateway.registry.imports.run import ImportResult, import_file
from gateway.registry.tables import (
    CATEGORY_RECORD,
    IMPORT,
    MILITARY_EVENT,
    PAYMENT,
    REFUSED_LINE,
    STANDING,
    STANDING_BEFORE,
    STANDING_GROUNDS,
    STANDING_TOUCHED,
    TREATY_INTERVAL,
)
from gateway.regulation.reading import load_law

LAW = load_law(Path(__file__).parents[3] / "config" / "regulation")
TABLES = (
    CATEGORY_RECORD,
    PAYMENT,
    MILITARY_EVENT,
    TREATY_INTERVAL,
    IMPORT,
    REFUSED_LINE,
    STANDING,
    STANDING_BEFORE,
    STANDING_GROUNDS,
    STANDING_TOUCHED,
)
Line = Mapping[str, str]


def at(day: int) -> dt.datetime:
    """The noon of the n-th day from 1 March 2026 on."""
    return dt.datetime(2026, 3, 1, 12, tzinfo=LAW.timezone) + dt.timedelta(days=day - 1)


def person(number: int) -> str:
    """The number of an invented person, in no order."""
    year, month, serial = 40 + number * 37 % 60, 1 + number * 7 % 12, number * 9
    while True:
        eleven = f"{year:02}{month:02}123{serial % 10000:04}"
        control = iin_control_digit(eleven)
        if control is not None:
            return f"{eleven}{control}"
        serial += 1


def pensioner(number: int, **changes: str) -> dict[str, str]:
    return {
        "iin": person(number),
        "category": "pension_recipient",
        "assigned_date": "2020-05-01",
        "assigned_source": "enbek_is",
        **changes,
    }


def removed(record: Line, day: str, reason: str = "left") -> dict[str, str]:
    return {**record, "removed_date": day, "removed_source": "enbek_is", "removed_reason": reason}


def csv(path: Path, records: Iterable[Line], kind: RecordKind = RecordKind.CATEGORIES) -> Path:
    columns = LAYOUTS[kind].columns
    lines = [",".join(columns), *(",".join(record.get(name, "") for name in columns) for record in records)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def ndjson(path: Path, records: Iterable[Line]) -> Path:
    path.write_text("".join(json.dumps(dict(record), ensure_ascii=False) + "\n" for record in records))
    return path


def xml(path: Path, records: Iterable[Line]) -> Path:
    from xml.sax.saxutils import escape

    inside = "".join(
        "<record>" + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in record.items()) + "</record>"
        for record in records
    )
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?><list>{inside}</list>', encoding="utf-8")
    return path


def take(
    engine: Engine,
    path: Path,
    *,
    day: int = 1,
    feed: str = "republican_categories",
    scope: Scope = Scope.FULL,
    folder: Path | None = None,
    **more: Any,
) -> ImportResult:
    return import_file(
        engine,
        path,
        feed_named(feed, LAW),
        scope,
        law=LAW,
        received_at=at(day),
        folder=path.parent / "lists" if folder is None else folder,
        **more,
    )


def contents(engine: Engine) -> dict[str, Sequence[tuple[Any, ...]]]:
    """All that imports write, table by table."""
    with reading(engine) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in TABLES
        }


def codes(result: ImportResult) -> list[tuple[int, str]]:
    return [(one.line, one.code) for one in result.refused]
