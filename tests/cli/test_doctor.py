from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gateway.cli.doctor import TEXTS, lifetimes
from gateway.trust import throwaway_pki
from gateway.trust.lifetimes import Finding, Part
from tests.cli.conftest import NOW, Run
from tests.end_to_end.program import CONFIG

DAY = dt.timedelta(days=1)


def finding(days: int, *, part: Part = Part.OWN, label: str = "CN=OURS TEST", code: str = "ok") -> Finding:
    return Finding(part, label, NOW - 300 * DAY, NOW + days * DAY, good=True, code=code, message="")


def test_nothing_that_ends_soon_is_well_and_names_the_first_to_end() -> None:
    check = lifetimes([finding(400, part=Part.ANCHOR, label="CN=ROOT TEST"), finding(31)], NOW)
    assert (check.name, check.code) == ("lifetimes", "ok")
    assert check.message == "2 certificates, none ends within 30 days; the first: own CN=OURS TEST: 31 days left"


@pytest.mark.parametrize(
    ("days", "code"),
    [(30, "ends_in_30_days"), (15, "ends_in_30_days"), (14, "ends_in_14_days"), (8, "ends_in_14_days"),
     (7, "ends_in_7_days"), (0, "ends_in_7_days"), (-1, "expired")],
)  # fmt: skip
def test_what_ends_within_thirty_days_is_not_well(days: int, code: str) -> None:
    check = lifetimes([finding(400), finding(days)], NOW)
    assert (check.ok, check.code) == (False, code)


def test_everything_that_ends_is_named_the_first_to_end_first() -> None:
    found = [
        finding(20, part=Part.PEER, label="CN=PEER TEST"),
        finding(400),
        finding(-2, part=Part.ANCHOR, label="CN=OLD ROOT TEST"),
        finding(5),
    ]
    assert lifetimes(found, NOW).message == (
        "anchor CN=OLD ROOT TEST ended on 2026-11-19; own CN=OURS TEST: 5 days left (warned of at 7);"
        " peer CN=PEER TEST: 20 days left (warned of at 30)"
    )


def test_a_certificate_that_is_also_no_good_otherwise_ends_all_the_same() -> None:
    assert lifetimes([finding(5, code="revocation_unknown")], NOW).code == "ends_in_7_days"
    assert lifetimes([finding(400, code="revoked")], NOW).ok


def test_of_lists_the_survey_knows_which_are_renewed_all_the_time() -> None:
    assert lifetimes([finding(1, part=Part.CRL), finding(400)], NOW).ok
    assert lifetimes([finding(-1, part=Part.CRL, code="expired")], NOW).code == "expired"
    assert lifetimes([], NOW).ok


def test_the_texts_are_in_three_languages() -> None:
    assert set(TEXTS["lifetimes"]) == {"kk", "ru", "en"}


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(("revocation", "lists_count"), [("require", True), ("off", False)])
def test_the_command_looks_at_lists_where_revocation_is_looked_at(
    run: Run, tmp_path: Path, revocation: str, lists_count: bool
) -> None:
    throwaway_pki.init(tmp_path / "pki", now=NOW - 160 * DAY)  # its lists live 180 days
    config = tmp_path / "gateway.toml"
    text = CONFIG.format(database_url=f"sqlite:///{tmp_path / 'g.sqlite'}", sync_url="http://127.0.0.1:9/")
    config.write_text(text.replace('revocation = "require"', f'revocation = "{revocation}"'))
    assert run("db", "upgrade", "--config", config).code == 0
    ran = run("doctor", "--config", config, "--json")
    check = ran.document["checks"][-1]
    assert (ran.code, check["name"]) == (1, "lifetimes")  # nobody answers the echo call
    assert ("crl CRL" in check["message"]) is lists_count
    assert check["code"] == ("ends_in_30_days" if lists_count else "ok")
    assert set(check["advice"]) == {"kk", "ru", "en"}
