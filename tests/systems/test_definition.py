"""What a system says of itself, asked by those who use it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.model import Consent, Iin, Query
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_systems
from gateway.systems.reading import load_system
from tests.systems.folders import SHIPPED

SOMEONE = Iin("900517300405")
QUERY = Query(SOMEONE, "m-1", dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC), requester="TESTER")


def test_a_fact_of_the_catalogue_leads_to_the_kinds_that_answer_it(zags: SystemDefinition) -> None:
    assert zags.kinds_for("birth_record") == ("birth",)
    assert zags.kinds_for("civil_status_data") == ("birth", "child_birth", "marriage", "death")
    assert zags.kinds_for("marriage") == ("marriage",)
    assert zags.kinds_for("disability") == ()


@pytest.mark.parametrize(
    ("kind", "earliest", "evidence"),
    [
        ("birth", dt.date(2007, 8, 13), False),
        ("birth", dt.date(2007, 8, 14), True),
        ("marriage", dt.date(2008, 6, 1), False),
        ("marriage", dt.date(2008, 6, 2), True),
        ("death", dt.date(2008, 5, 1), False),
        ("death", dt.date(2008, 5, 2), True),
    ],
)
def test_silence_is_evidence_only_after_the_register_began(
    zags: SystemDefinition, kind: str, earliest: dt.date, evidence: bool
) -> None:
    assert zags.silence_is_evidence(kind, earliest) is evidence


def test_a_register_without_a_known_beginning_is_taken_as_complete() -> None:
    assert load_system(SHIPPED / "cbdi").silence_is_evidence("disability", dt.date(1950, 1, 1))


def test_every_catalogue_fact_of_a_shipped_system_is_given_by_a_kind() -> None:
    catalogue = Path(__file__).parents[3] / "shared" / "domain" / "catalogue.yaml"
    if not catalogue.is_file():
        pytest.skip("the catalogue is not beside this checkout (../shared/domain/catalogue.yaml)")
    lines = catalogue.read_text(encoding="utf-8").split("\nservices:\n")[0]
    yaml = pytest.importorskip("yaml")
    asked = {system["id"]: system["facts"] for system in yaml.safe_load(lines)["systems"]}
    for slug, system in find_systems([SHIPPED]).items():
        assert [fact for fact in asked[slug] if not system.kinds_for(fact)] == [], slug


def test_a_consent_for_a_system_that_takes_none_is_a_mistake_of_ours(zags: SystemDefinition) -> None:
    with pytest.raises(ConfigurationError, match="zags has no service with a consent token"):
        zags.service_for(Query(SOMEONE, "m", QUERY.created_at, consent=Consent("t", "k")))


def test_the_contract_of_a_service_that_is_not_ours_is_a_key_error(zags: SystemDefinition) -> None:
    with pytest.raises(KeyError):
        zags.contract("request", "NOBODYS_SERVICE")
