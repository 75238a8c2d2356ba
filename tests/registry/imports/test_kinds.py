"""Payments, submissions of the bodies of p.62, treaty lists: what they say of a person."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database import reading
from gateway.registry.facts import ConsumerFacts, ListedAs, PayerType
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.people import country_at, facts_about
from tests.registry.imports.lists import LAW, Line, at, codes, contents, csv, person, take


def facts(engine: Engine, number: int = 1, *, day: int = 30) -> ConsumerFacts:
    with reading(engine) as connection:
        country = country_at(connection, at(day), LAW)
        ((_, found),) = facts_about(connection, [person(number)], country, LAW)
    return found


def payment(number: int = 1, **changes: str) -> dict[str, str]:
    return {
        "iin": person(number),
        "full_name": "Сынақ Адам",
        "payer_bin": "990140000017",
        "payer_name": "Invented Works",
        "period": "2026-01",
        "received_date": "2026-02-03",
        "reference": "R-1",
        "amount": "4250.00",
        "purpose_code": "121",
        **changes,
    }


def pay(engine: Engine, tmp_path: Path, *records: Line, day: int = 1) -> list[int]:
    file = csv(tmp_path / f"payments.{day}.csv", records, RecordKind.PAYMENTS)
    result = take(engine, file, day=day, feed="payments", scope=Scope.CHANGES)
    assert result.refused == ()
    return [result.read, result.applied, result.unchanged]


def test_a_payment_covers_its_month_until_it_is_returned(engine: Engine, tmp_path: Path) -> None:
    assert pay(engine, tmp_path, payment(), payment(period="2026-02"), payment(2)) == [3, 3, 0]
    assert [(one.period, one.payer_type) for one in facts(engine).payments] == [
        (2026 * 12, PayerType.GENERAL),
        (2026 * 12 + 1, PayerType.GENERAL),
    ]
    assert pay(engine, tmp_path, payment(), payment(2, amount="1"), day=2) == [2, 1, 1]
    assert pay(engine, tmp_path, payment(withdrawn="true"), day=3) == [1, 1, 0]
    assert [one.period for one in facts(engine).payments] == [2026 * 12 + 1]
    assert len(facts(engine, day=2).payments) == 2


def test_a_correction_of_what_the_rules_do_not_look_at_makes_no_payment_later(engine: Engine, tmp_path: Path) -> None:
    pay(engine, tmp_path, payment())
    pay(engine, tmp_path, payment(amount="5000"), day=5)
    (one,) = facts(engine).payments
    assert (one.received_at, one.evidence) == (dt.date(2026, 3, 1), "payments.1.csv")
    pay(engine, tmp_path, payment(amount="5000", payer_type="art14_2_9"), day=9)
    (one,) = facts(engine).payments
    assert (one.received_at, one.payer_type) == (dt.date(2026, 3, 9), PayerType.ART14_2_9)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": "0"}, "amount_not_positive"),
        ({"amount": "1,5"}, "amount_not_positive"),
        ({"amount": "1.234"}, "amount_invalid"),
        ({"amount": "100000000000000"}, "amount_invalid"),
        ({"period": "2026-13"}, "period_invalid"),
        ({"payer_type": "friend"}, "payer_type_invalid"),
        ({"withdrawn": "yes"}, "withdrawn_invalid"),
        ({"payer_bin": "12"}, "payer_bin_invalid"),
        ({"reference": ""}, "reference_missing"),
        ({"purpose_code": "1" * 17}, "purpose_code_too_long"),
    ],
)
def test_a_payment_that_cannot_be_one_is_refused(
    sqlite_url: str, tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    from gateway.database import engine_for, upgrade

    engine = engine_for(sqlite_url)
    upgrade(engine)
    file = tmp_path / "1.csv"
    record = payment(**changes)
    csv(file, [record], RecordKind.PAYMENTS)
    if "," in changes.get("amount", ""):
        file.write_text(file.read_text().replace("1,5", '"1,5"'))
    result = take(engine, file, feed="payments", scope=Scope.CHANGES)
    assert codes(result) == [(2, code)]
    assert result.applied == 0
    engine.dispose()


def submit(engine: Engine, tmp_path: Path, day: int, scope: Scope, *records: Line, body: str = "mod") -> list[int]:
    file = csv(tmp_path / f"{body}.{day}.csv", records, RecordKind.MILITARY)
    result = take(engine, file, day=day, feed=f"military_{body}", scope=scope)
    assert result.refused == ()
    return [result.read, result.applied, result.unchanged, result.absent]


def soldier(number: int, **more: str) -> dict[str, str]:
    return {"iin": person(number), **more}


def test_a_full_submission_ends_the_service_of_whom_it_does_not_name(engine: Engine, tmp_path: Path) -> None:
    assert submit(engine, tmp_path, 1, Scope.FULL, soldier(1), soldier(2)) == [2, 2, 0, 0]
    assert submit(engine, tmp_path, 2, Scope.FULL, soldier(1), body="knb") == [1, 1, 0, 0]
    # who is listed again adds no row
    assert submit(engine, tmp_path, 15, Scope.FULL, soldier(2), soldier(3)) == [2, 2, 1, 1]
    assert [(one.body, one.date.day, one.person) for one in facts(engine).military] == [
        ("knb", 2, ListedAs.LISTED),
        ("mod", 1, ListedAs.LISTED),
        ("mod", 15, ListedAs.ABSENT),
    ]
    assert [one.person for one in facts(engine, 2).military] == [ListedAs.LISTED]
    assert submit(engine, tmp_path, 29, Scope.FULL, soldier(1), soldier(2), soldier(3)) == [3, 1, 2, 0]


def test_a_change_says_who_came_and_who_left(engine: Engine, tmp_path: Path) -> None:
    submit(engine, tmp_path, 1, Scope.FULL, soldier(1))
    left = soldier(1, listed_as="removed", changed_on="2026-03-01")
    never = soldier(3, listed_as="removed")
    came = soldier(2, listed_as="added")
    assert submit(engine, tmp_path, 3, Scope.CHANGES, left, came, never) == [3, 2, 1, 0]
    assert submit(engine, tmp_path, 4, Scope.CHANGES, left, came) == [2, 0, 2, 0]
    called = soldier(2, listed_as="added", reserve_combat_training="true")
    assert submit(engine, tmp_path, 5, Scope.CHANGES, called) == [1, 1, 0, 0]
    assert [one.serving for one in facts(engine, 2).military] == [True, False]
    assert [one.person for one in facts(engine).military] == [ListedAs.LISTED, ListedAs.REMOVED]


def test_a_submission_that_does_not_say_what_it_must_is_refused(engine: Engine, tmp_path: Path) -> None:
    records = [
        soldier(1),
        soldier(2, listed_as="listed"),
        soldier(3, listed_as="added", reserve_combat_training="perhaps", changed_on="yesterday"),
        {"iin": "", "listed_as": "added"},
    ]
    file = csv(tmp_path / "1.csv", records, RecordKind.MILITARY)
    result = take(engine, file, feed="military_mia", scope=Scope.CHANGES)
    assert codes(result) == [
        (2, "listed_as_missing"),
        (3, "listed_as_invalid"),
        (4, "changed_on_invalid"),
        (4, "reserve_combat_training_invalid"),
        (5, "iin_missing"),
    ]


def foreigner(number: int, first: str, off: str = "") -> dict[str, str]:
    return {"iin": person(number), "first_day": first, "first_day_off": off}


def list_treaty(engine: Engine, tmp_path: Path, day: int, scope: Scope, *records: Line) -> list[int]:
    file = csv(tmp_path / f"treaty.{day}.csv", records, RecordKind.TREATY)
    result = take(engine, file, day=day, feed="treaty_foreigner", scope=scope)
    assert result.refused == ()
    return [result.read, result.applied, result.unchanged, result.absent]


def test_who_is_no_longer_on_the_treaty_list_is_off_it_from_that_day(engine: Engine, tmp_path: Path) -> None:
    stays, leaves = foreigner(1, "2026-02-01"), foreigner(2, "2026-02-10")
    assert list_treaty(engine, tmp_path, 1, Scope.FULL, stays, leaves, foreigner(3, "2027-01-01")) == [3, 3, 0, 0]
    assert list_treaty(engine, tmp_path, 5, Scope.FULL, stays) == [1, 1, 1, 1]
    (one,) = facts(engine, 2).treaty
    assert (one.first_day_off, one.off_received_at, one.off_evidence) == (
        dt.date(2026, 3, 5),
        dt.date(2026, 3, 5),
        "treaty.5.csv",
    )
    assert facts(engine).treaty[0].first_day_off is None
    assert facts(engine, 2, day=4).treaty[0].first_day_off is None
    assert list_treaty(engine, tmp_path, 6, Scope.CHANGES, foreigner(1, "2026-02-01", "2026-03-20")) == [1, 1, 0, 0]
    assert facts(engine).treaty[0].first_day_off == dt.date(2026, 3, 20)
    assert list_treaty(engine, tmp_path, 7, Scope.CHANGES, leaves) == [1, 1, 0, 0]
    assert facts(engine, 2).treaty[0].first_day_off is None
    backwards = csv(tmp_path / "x.csv", [foreigner(9, "2026-02-01", "2026-01-01")], RecordKind.TREATY)
    assert codes(take(engine, backwards, feed="treaty_foreigner", day=8)) == [(2, "ends_before_it_begins")]


def test_nothing_is_known_of_whom_no_list_names(engine: Engine) -> None:
    assert facts(engine) == ConsumerFacts()
    assert all(rows == [] for rows in contents(engine).values())
