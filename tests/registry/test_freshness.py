"""Feeds: when each last came, and which is overdue by its own frequency (R-04)."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway.database import reading
from gateway.registry.freshness import FeedAge, feed_ages, warn_of_overdue
from gateway.registry.imports.feeds import RecordKind, Scope
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, take


def ages(engine: Engine, day: int) -> dict[str, FeedAge]:
    with reading(engine) as connection:
        return {age.feed: age for age in feed_ages(connection, at(day), LAW)}


def test_a_daily_feed_is_overdue_on_the_second_day_without_it(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]), day=3)
    # an empty list of changes is a receipt too
    take(engine, csv(tmp_path / "2.csv", []), day=5, scope=Scope.CHANGES)
    assert [ages(engine, day)["republican_categories"].overdue for day in (5, 6, 7)] == [False, False, True]
    assert ages(engine, 4)["republican_categories"].last_received == at(3)
    assert ages(engine, 6)["republican_categories"].age_s == 86_400


def test_the_monthly_feed_is_overdue_after_a_whole_month_without_it(engine: Engine, tmp_path: Path) -> None:
    crisis = [pensioner(1, category="crisis_level_unemployed")]
    take(engine, csv(tmp_path / "1.csv", crisis), day=1, feed="crisis_level_unemployed")
    # 30 April, 1 May
    assert [ages(engine, day)["crisis_level_unemployed"].overdue for day in (61, 62)] == [False, True]


def test_a_change_of_a_body_is_no_submission_of_its_staff(engine: Engine, tmp_path: Path) -> None:
    file = csv(tmp_path / "1.csv", [{"iin": person(1)}], RecordKind.MILITARY)
    take(engine, file, day=1, feed="military_mod")
    change = csv(tmp_path / "2.csv", [{"iin": person(2), "listed_as": "added"}], RecordKind.MILITARY)
    take(engine, change, day=10, feed="military_mod", scope=Scope.CHANGES)
    assert [ages(engine, day)["military_mod"].overdue for day in (15, 16)] == [False, True]
    # each body for itself
    assert ages(engine, 16)["military_knb"] == FeedAge(
        "military_knb",
        LAW.feeds["military_law_enforcement"].frequency,
        ages(engine, 1)["military_mod"].cites,
        None,
        None,
        False,
    )


def test_an_overdue_feed_is_one_line_of_the_log_and_no_failure(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]), day=1)
    with capture_logs() as logged:
        warn_of_overdue(ages(engine, 9).values())
    assert [(line["action"], line["feed"], line["log_level"]) for line in logged] == [
        ("feed_overdue", "republican_categories", "warning")
    ]
