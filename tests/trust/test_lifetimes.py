"""Everything that ends is warned of in time, and what is no good is not called good."""

from __future__ import annotations

import datetime as dt

import pytest

from gateway.trust.lifetimes import Finding, Part, survey
from gateway.trust.store import TrustMaterial, sort_out
from gateway.trust.verdict import RevocationMode, RevocationState
from tests.trust.minting import DAY, NOW, Minted, authority, crl, entry, mint

ROOT = authority("ROOT TEST", end=NOW + 1_000 * DAY)
REQUIRE = RevocationMode.REQUIRE


def material(*minted: Minted, lists: tuple[object, ...] | None = None) -> TrustMaterial:
    current = (crl(ROOT, next_update=NOW + 10 * DAY),) if lists is None else lists
    return sort_out([ROOT.parsed, *(one.parsed for one in minted)], current)  # type: ignore[arg-type]


def of(part: Part, findings: tuple[Finding, ...]) -> Finding:
    (found,) = [finding for finding in findings if finding.part is part]
    return found


@pytest.mark.parametrize(
    ("left", "good", "code"),
    [
        (31 * DAY, True, "ok"),
        (30 * DAY + dt.timedelta(seconds=1), True, "ok"),
        (30 * DAY, True, "ends_in_30_days"),
        (15 * DAY, True, "ends_in_30_days"),
        (14 * DAY, True, "ends_in_14_days"),
        (7 * DAY, True, "ends_in_7_days"),
        (dt.timedelta(0), True, "ends_in_7_days"),
        (-dt.timedelta(seconds=1), False, "expired"),
    ],
)
@pytest.mark.parametrize("part", [Part.OWN, Part.PEER, Part.ANCHOR, Part.INTERMEDIATE])
def test_an_end_is_warned_of_thirty_fourteen_and_seven_days_before(
    part: Part, left: dt.timedelta, good: bool, code: str
) -> None:
    end = NOW + left
    if part is Part.ANCHOR:
        findings = survey((), sort_out([authority("OTHER ROOT TEST", end=end).parsed]), at=NOW, mode=REQUIRE)
    elif part is Part.INTERMEDIATE:
        findings = survey((), material(authority("ISSUING TEST", ROOT, end=end)), at=NOW, mode=REQUIRE)
    else:
        one = mint("one", ROOT, end=end)
        own = (one.parsed,) if part is Part.OWN else ()
        findings = survey(own, material(one), at=NOW, mode=REQUIRE)
    found = next(finding for finding in findings if finding.part is part and finding.not_after == end)
    assert (found.good, found.code) == (good, code)
    assert bool(found.message) == (code != "ok")
    assert found.days_left(NOW) == left.days


def test_our_own_certificate_is_told_once_and_the_next_may_begin_later() -> None:
    own, following = mint("own", ROOT), mint("next", ROOT, begin=NOW + 5 * DAY, end=NOW + 90 * DAY)
    findings = survey((own.parsed, following.parsed), material(own, following), at=NOW, mode=REQUIRE)
    assert [finding.part for finding in findings] == [Part.OWN, Part.NEXT, Part.ANCHOR, Part.CRL]
    assert of(Part.NEXT, findings).good
    peer = survey((own.parsed,), material(following), at=NOW, mode=REQUIRE)
    assert of(Part.PEER, peer).code == "not_yet_valid"


def test_a_revoked_one_is_no_good_and_says_what_to_do() -> None:
    own = mint("own", ROOT)
    lists = (crl(ROOT, entry(own.parsed.serial)),)
    found = of(Part.OWN, survey((own.parsed,), material(lists=lists), at=NOW, mode=REQUIRE))
    assert (found.good, found.code) == (False, "revoked")
    assert found.revocation is not None
    assert found.revocation.status is RevocationState.REVOKED
    assert "signing.next_key_file" in found.message


@pytest.mark.parametrize(
    ("mode", "good", "code"),
    [
        (RevocationMode.REQUIRE, None, "revocation_unknown"),
        (RevocationMode.PREFER, True, "ok"),
        (RevocationMode.OFF, True, "ok"),
    ],
)
def test_an_unknown_status_is_as_good_as_the_operator_says(mode: RevocationMode, good: bool | None, code: str) -> None:
    own = mint("own", ROOT)
    found = of(Part.OWN, survey((own.parsed,), material(lists=()), at=NOW, mode=mode))
    assert (found.good, found.code) == (good, code)
    assert (found.revocation is None) == (mode is RevocationMode.OFF)


def test_one_that_leads_to_no_anchor_is_no_good() -> None:
    own = mint("own", authority("STRANGER TEST"))
    found = of(Part.OWN, survey((own.parsed,), material(), at=NOW, mode=REQUIRE))
    assert (found.good, found.code) == (False, "untrusted_issuer")


def test_of_lists_only_the_newest_complete_one_counts() -> None:
    old = crl(ROOT, this_update=NOW - 200 * DAY, next_update=NOW - 20 * DAY)
    new = crl(ROOT, this_update=NOW - DAY, next_update=NOW + 6 * DAY, number=2)
    found = of(Part.CRL, survey((), material(lists=(old, new)), at=NOW, mode=REQUIRE))
    assert found.code == "ok", "a list that lives for a week is renewed all the time"
    assert found.certificate is None
    alone = of(Part.CRL, survey((), material(lists=(old,)), at=NOW, mode=REQUIRE))
    assert (alone.good, alone.code) == (None, "expired")
    assert of(Part.CRL, survey((), material(lists=(old,)), at=NOW, mode=RevocationMode.PREFER)).good


def test_a_list_that_lives_for_half_a_year_is_warned_of() -> None:
    half_a_year = crl(ROOT, this_update=NOW - 170 * DAY, next_update=NOW + 10 * DAY)
    found = of(Part.CRL, survey((), material(lists=(half_a_year,)), at=NOW, mode=REQUIRE))
    assert (found.good, found.code) == (True, "ends_in_14_days")


def test_a_list_without_an_end_is_not_told() -> None:
    findings = survey((), material(lists=(crl(ROOT, next_update=None),)), at=NOW, mode=REQUIRE)
    assert [finding.part for finding in findings] == [Part.ANCHOR]
