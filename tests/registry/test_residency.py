"""Who a person is to the Rules: what the register and the list of p.61 tell, from which day, and what nobody told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway import resources
from gateway.database import reading, writing
from gateway.model import Answer, Fact, FactValue, Iin, Outcome, Provenance, RecordedFact
from gateway.registry.applications import apply_for_entry
from gateway.registry.categories import ask_again_on, consumer_facts
from gateway.registry.due import recompute_due
from gateway.registry.explanation import ExplainedRule, Explanation, Told
from gateway.registry.facts import ResidencyTold, TreatyInterval
from gateway.registry.imports.feeds import RecordKind, Scope
from gateway.registry.people import country_at, facts_about
from gateway.registry.proofs import explanation_of
from gateway.registry.residency import TREATY_FEED, resident_on, residents, with_list
from gateway.registry.serving import Asked, computed_standings_of, standings_of
from gateway.registry.standing import Standing
from gateway.registry.store import record_answer, standing_of
from gateway.registry.tried import NOBODY_TOLD, STAY_NOT_TOLD, Change, Tried
from gateway.regulation.law import Residency
from gateway.systems.reading import load_system
from gateway.xml import parse
from tests.registry.imports.lists import LAW, at, csv, pensioner, person, take

SOMEBODY = Iin(person(1))
day = dt.date.fromisoformat


def said(
    kind: str,
    arrived: int,
    first: str | None = None,
    ends: str | None = None,
    *,
    key: str = "",
    system: str = "gbdfl",
    present: bool = True,
    **attributes: FactValue,
) -> RecordedFact:
    fact = Fact(kind, SOMEBODY, key or kind, first and day(first), ends and day(ends), attributes)  # type: ignore[arg-type]
    return RecordedFact(fact, Provenance(f"m{arrived}", system, "CN=Signer", "0a", at(arrived)), present=present)


def citizen(arrived: int, code: str | None = "398", ru: str | None = None, **more: object) -> RecordedFact:
    return said("person", arrived, citizenship_code=code, citizenship_ru=ru, **more)  # type: ignore[arg-type]


def document(
    arrived: int, kind: str, first: str, ends: str | None = None, *, present: bool = True, status: str = "valid"
) -> RecordedFact:
    key = f"{kind}:{first}"
    return said("identity_document", arrived, first, ends, key=key, present=present, type=kind, status=status)


def told(*history: RecordedFact) -> list[tuple[str, str | None, str]]:
    """Residency, first day, evidence."""
    return [
        (
            one.residency.value + (" assumed" if one.assumed else ""),
            one.first_day and one.first_day.isoformat(),
            one.evidence,
        )
        for one in consumer_facts(history, LAW).residencies
    ]


def test_a_citizenship_told_first_holds_for_all_days() -> None:
    assert told(citizen(3)) == [("citizen", None, "m3")]


def test_of_whom_no_citizenship_was_told_nothing_is_known() -> None:
    assert told(citizen(3, None), document(3, "residence_permit", "2026-01-01")) == []
    assert told(citizen(3, system="zags")) == []
    assert told() == []


def test_another_citizenship_holds_from_the_day_it_was_told_and_an_untold_one_changes_nothing() -> None:
    foreigner = citizen(3, "643"), document(3, "foreign_passport", "2020-01-01")
    assert told(*foreigner, citizen(8, None), citizen(9), citizen(10)) == [
        ("temp_foreigner", None, "m3"),
        ("citizen", "2026-03-09", "m9"),
    ]


def test_a_permit_tells_of_its_own_days() -> None:
    history = citizen(20, "643"), document(20, "residence_permit", "2026-02-01", "2026-05-01")
    assert told(*history) == [
        ("temp_foreigner", None, "m20"),
        ("permanent_foreigner", "2026-02-01", "m20"),
        ("temp_foreigner", "2026-05-01", "m20"),
    ]
    stateless = citizen(20, "991", "Лицо без гражданства"), document(20, "stateless_certificate", "2026-02-01")
    assert told(*stateless) == [("temp_stateless", None, "m20"), ("permanent_stateless", "2026-02-01", "m20")]


def test_a_permit_that_the_register_no_longer_lists_ended_on_the_day_that_was_told() -> None:
    permit = citizen(3, "643"), document(3, "residence_permit", "2019-01-01", "2029-01-01")
    gone = document(30, "residence_permit", "2019-01-01", "2029-01-01", present=False)
    assert told(*permit, gone)[-1] == ("temp_foreigner", "2026-03-30", "m30")


def test_a_permit_counts_only_while_its_status_is_valid() -> None:
    permit, years = "residence_permit", ("2019-01-01", "2029-01-01")
    foreigner = citizen(3, "643")
    unfit = document(9, permit, *years, status="unfit")
    assert told(foreigner, unfit) == [("temp_foreigner", None, "m3")], "it was never seen valid"
    seen = foreigner, document(3, permit, *years)
    # the register gives no day, so it is the day on which this was told first
    for later in ([unfit], [unfit, document(20, permit, *years, status="replaced")]):
        assert [one[:2] for one in told(*seen, *later)] == [
            ("temp_foreigner", None),
            ("permanent_foreigner", "2019-01-01"),
            ("temp_foreigner", "2026-03-09"),
        ]
    day_known = said(
        "identity_document", 9, "2019-01-01", "2026-02-02", key=f"{permit}:2019-01-01",
        type=permit, status="unfit", invalid_since="2026-02-02",
    )  # fmt: skip
    assert told(*seen, day_known)[-1] == ("temp_foreigner", "2026-02-02", "m9")


def test_a_kandas_is_one_for_the_days_of_the_status() -> None:
    history = (
        citizen(3, "156"),
        said("repatriation", 3, "2026-01-15", "2027-01-15"),
        document(3, "passport", "2020-01-01"),
    )
    assert [one[:2] for one in told(*history)] == [
        ("temp_foreigner", None),
        ("kandas", "2026-01-15"),
        ("temp_foreigner", "2027-01-15"),
    ]
    # who became a citizen is one, whatever the status said
    assert [one[:2] for one in told(*history, citizen(9))] == [
        ("temp_foreigner", None),
        ("kandas", "2026-01-15"),
        ("citizen", "2026-03-09"),
    ]


def test_a_foreigner_of_whom_no_document_was_told_is_taken_for_a_permanent_resident_and_it_is_said() -> None:
    assert told(citizen(3, "643")) == [("permanent_foreigner assumed", None, "m3")]
    assert told(citizen(3, "", "x"), citizen(4, "000", "БЕЗ ГРАЖДАНСТВА")) == [
        ("permanent_stateless assumed", None, "m4")
    ]


def test_the_list_of_p_61_tells_of_whom_no_register_did() -> None:
    listed = TreatyInterval(
        day("2026-02-01"), day("2026-02-03"), "list-1", day("2026-03-01"), day("2026-03-02"), "list-2"
    )
    by_list = ResidencyTold(Residency.TEMP_FOREIGNER, None, TREATY_FEED, day("2026-02-03"), "list-1")
    assert with_list((), [listed]) == (by_list,)
    assert with_list((), []) == ()
    assumed = consumer_facts([citizen(3, "000", "ЛИЦО БЕЗ ГРАЖДАНСТВА")], LAW).residencies
    (one,) = with_list(assumed, [listed])
    assert (one.residency, one.assumed, one.evidence) == (Residency.TEMP_STATELESS, False, "list-1")
    known = consumer_facts([citizen(3)], LAW).residencies
    assert with_list(known, [listed]) == known


def test_the_runs_cover_all_days_by_what_had_arrived() -> None:
    words = [
        ResidencyTold(Residency.TEMP_FOREIGNER, day("2026-03-01"), "gbdfl", day("2026-03-05"), "m1"),
        ResidencyTold(Residency.CITIZEN, day("2026-03-01"), "gbdfl", day("2026-04-01"), "m2"),
        ResidencyTold(Residency.KANDAS, day("2026-06-01"), "gbdfl", day("2026-04-01"), "m3"),
    ]
    before = residents(words, day("2026-03-04"))
    assert [(run.residency, run.assumed) for run in before] == [(Residency.CITIZEN, True)]
    early = residents(words, day("2026-03-31"))
    assert [(run.residency, run.first, run.last) for run in early] == [
        (Residency.CITIZEN, dt.date.min, day("2026-02-28")),
        (Residency.TEMP_FOREIGNER, day("2026-03-01"), None),
    ]
    assert resident_on(early, day("2026-02-28")).assumed
    late = residents(words, day("2026-04-01"))
    # of one day the last word counts
    assert [run.evidence for run in late] == [(), ("m2",), ("m3",)]


def test_the_end_of_a_permit_is_a_day_to_ask_again() -> None:
    facts = (
        citizen(3, "643"),
        document(3, "residence_permit", "2019-01-01", "2026-05-01"),
        document(3, "passport", "2020-01-01", "2026-04-01"),
    )
    assert ask_again_on(facts, system="gbdfl", after=day("2026-03-03"), law=LAW) == day("2026-05-01")
    assert ask_again_on(facts, system="cbdi", after=day("2026-03-03"), law=LAW) is None


# ---------------------------------------------------------------- in the store


def hear(engine: Engine, number: int, arrived: int, *history: RecordedFact) -> None:
    """An answer of the register about a person, with these records and no others."""
    subject = Iin(person(number))
    facts = tuple(
        Fact(one.fact.kind, subject, one.fact.key, one.fact.valid_from, one.fact.valid_to, one.fact.attributes)
        for one in history
    )
    with writing(engine) as connection:
        record_answer(
            connection,
            subject,
            Answer(Outcome.FOUND, facts, ("person", "identity_document", "repatriation")),
            Provenance(f"answer-{number}-{arrived}", "gbdfl", "CN=Register", "0a1b", at(arrived)),
            law=LAW,
        )


def standing(engine: Engine, number: int, on: int) -> Standing:
    with reading(engine) as connection:
        return standing_of(connection, Iin(person(number)), as_of=LAW.local_day(at(on)), known_at=at(on), law=LAW)


def explained(engine: Engine, number: int, on: int) -> Explanation:
    with reading(engine) as connection:
        return explanation_of(connection, Iin(person(number)), as_of=LAW.local_day(at(on)), known_at=at(on), law=LAW)


def gate(explanation: Explanation) -> ExplainedRule:
    return next(rule for rule in explanation.rules if (rule.result.line, rule.result.rule) == ("G", "R-29"))


def test_a_citizen_told_by_the_register_is_explained_by_its_signed_answer(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    assumed = gate(explained(engine, 1, 2))
    assert (assumed.result.outcome, assumed.result.reason, assumed.facts) == (Tried.PASSED, NOBODY_TOLD, ())
    assert [one.what for one in assumed.result.would_change] == [Change.RESIDENCY_TOLD]
    hear(engine, 1, 3, citizen(3))
    got = explained(engine, 1, 3)
    rule = gate(got)
    assert (rule.result.reason, rule.result.would_change) == ("", ())
    assert [(fact.what, fact.source, fact.detail) for fact in rule.facts] == [(Told.RESIDENCY, "gbdfl", "citizen")]
    (proof,) = got.proofs["answer-1-3"]
    assert (proof.signer_subject, proof.signer_serial) == ("CN=Register", "0a1b")
    # it does not decide, so the standing does not rest on it
    assert got.standing.evidence == ("1.csv",)


def test_a_foreigner_with_no_document_told_is_insured_on_an_assumption_that_is_shown(
    engine: Engine, tmp_path: Path
) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    hear(engine, 1, 3, citizen(3, "643"))
    got = explained(engine, 1, 3)
    assert got.standing.insured
    assert gate(got).result.reason == STAY_NOT_TOLD
    assert Change.RESIDENCY_TOLD in {change.what for _, change in got.changes}


def test_a_temporary_stay_closes_the_gate_and_a_permit_opens_it_on_its_day(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1)]))
    passport = document(3, "foreign_passport", "2020-01-01")
    hear(engine, 1, 3, citizen(3, "643"), passport)
    refused = standing(engine, 1, 3)
    assert (refused.insured, [str(cite) for cite in refused.because]) == (False, ["004 p.7", "004 p.61"])
    assert refused.evidence == ("answer-1-3",)
    hear(engine, 1, 10, citizen(3, "643"), passport, document(10, "residence_permit", "2026-03-20", "2026-05-01"))
    waiting = standing(engine, 1, 10)
    assert (waiting.insured, waiting.next_change) == (False, day("2026-03-20"))
    opens = gate(explained(engine, 1, 10)).result
    assert (opens.outcome, opens.would_change[-1].on) == (Tried.HOLDS, day("2026-03-20"))
    closes = gate(explained(engine, 1, 25)).result
    assert [(one.what, one.on) for one in closes.would_change] == [(Change.RESIDENCY_CHANGES, day("2026-05-01"))]
    assert (closes.outcome, closes.evidence) == (Tried.PASSED, ("answer-1-10",))
    inside = standing(engine, 1, 25)
    assert (inside.insured, inside.valid_until, inside.next_change) == (True, day("2026-04-30"), day("2026-05-01"))
    assert not standing(engine, 1, 65).insured


def test_the_treaty_list_closes_the_gate_when_it_ends(engine: Engine, tmp_path: Path) -> None:
    take(engine, csv(tmp_path / "1.csv", [pensioner(1), pensioner(2)]))
    listed = [{"iin": person(number), "first_day": "2026-03-02"} for number in (1, 2)]
    take(engine, csv(tmp_path / "t1.csv", listed, RecordKind.TREATY), day=2, feed="treaty_foreigner")
    hear(engine, 2, 3, citizen(3))
    on_list = standing(engine, 1, 5)
    assert (on_list.insured, on_list.evidence) == (True, ("1.csv", "t1.csv"))
    # the day before the list: a temporary stay as well
    with reading(engine) as connection:
        before = standing_of(connection, SOMEBODY, as_of=day("2026-03-01"), known_at=at(5), law=LAW)
    assert not before.insured
    take(engine, csv(tmp_path / "t2.csv", [], RecordKind.TREATY), day=9, feed="treaty_foreigner")
    off = standing(engine, 1, 9)
    assert (off.insured, off.evidence) == (False, ("t1.csv", "t2.csv"))
    assert standing(engine, 2, 9).insured, "the register says that this one is a citizen"


def test_an_inmate_who_is_a_foreigner_is_left_out_and_it_is_said_by_whom(engine: Engine, tmp_path: Path) -> None:
    inmate = {"category": "penitentiary_inmate", "assigned_source": "qazh_oad"}
    take(engine, csv(tmp_path / "1.csv", [pensioner(number, **inmate) for number in (1, 2)]))
    permit = document(3, "residence_permit", "2019-01-01")
    hear(engine, 1, 3, citizen(3, "643"), permit)
    hear(engine, 2, 3, citizen(3, "156"), said("repatriation", 3, "2019-01-01"), permit)
    got = explained(engine, 1, 3)
    assert (got.standing.insured, got.standing.evidence) == (False, ("answer-1-3", "1.csv"))
    (left_out,) = [rule for rule in got.rules if rule.result.outcome is Tried.IGNORED]
    assert {fact.what for fact in left_out.facts} == {Told.CATEGORY_ASSIGNED, Told.RESIDENCY}
    assert standing(engine, 2, 3).insured, "a kandas counts as a citizen"


def test_an_application_is_decided_by_the_residency_of_its_day(engine: Engine, tmp_path: Path) -> None:
    inmate = {"category": "penitentiary_inmate", "assigned_source": "qazh_oad"}
    take(engine, csv(tmp_path / "1.csv", [pensioner(number, **inmate) for number in (1, 2)]))
    hear(engine, 1, 2, citizen(2, "643"), document(2, "residence_permit", "2019-01-01"))

    def reason(number: int) -> str | None:
        with writing(engine) as connection:
            return apply_for_entry(
                connection,
                Iin(person(number)),
                "children",
                day("2026-03-03"),
                documents=None,
                evidence="application 1",
                at=at(3),
                law=LAW,
            ).reason

    # the record that is left out is no data on a category
    assert (reason(1), reason(2)) == (None, "data_present")


# ---------------------------------------------------------------- the same by every road

EVERY_ANSWER: Sequence[Sequence[RecordedFact]] = (
    (citizen(3),),
    (citizen(3, "643"),),
    (citizen(3, "643"), document(3, "foreign_passport", "2020-01-01")),
    (citizen(3, "643"), document(3, "residence_permit", "2026-03-20", "2026-05-01")),
    (citizen(3, "000", "ЛИЦО БЕЗ ГРАЖДАНСТВА"), document(3, "stateless_certificate", "2020-01-01", "2026-04-10")),
    (citizen(3, "156"), said("repatriation", 3, "2026-03-10", "2026-06-01"), document(3, "passport", "2020-01-01")),
)


@pytest.fixture
def residents_of_every_kind(engine: Engine, tmp_path: Path) -> Engine:
    inmates = {"category": "penitentiary_inmate", "assigned_source": "qazh_oad"}
    people = len(EVERY_ANSWER)
    records = [pensioner(number) for number in range(2 * people)]
    records += [pensioner(number, **inmates) for number in range(2 * people, 3 * people)]
    take(engine, csv(tmp_path / "1.csv", records))
    listed = [{"iin": person(number), "first_day": "2026-03-15"} for number in range(people, 2 * people)]
    take(engine, csv(tmp_path / "t.csv", listed, RecordKind.TREATY), day=2, feed="treaty_foreigner", scope=Scope.FULL)
    for number in range(3 * people):
        hear(engine, number, 3, *EVERY_ANSWER[number % people])
    return engine


def asked(on: int, numbers: Iterator[int] | range) -> list[Asked]:
    return [Asked(Iin(person(number)), LAW.local_day(at(on)), at(on)) for number in numbers]


def test_the_cache_answers_as_the_facts_do_for_residents_of_every_kind(residents_of_every_kind: Engine) -> None:
    engine, numbers = residents_of_every_kind, range(3 * len(EVERY_ANSWER))
    seen: set[bool] = set()
    for on in (4, 10, 15, 20, 40, 41, 62, 93, 120):
        recompute_due(engine, day=LAW.local_day(at(on)), known_at=at(on), law=LAW)
        for later in (0, 3):
            with reading(engine) as connection:
                answers = standings_of(connection, asked(on + later, numbers), LAW)
                assert answers == computed_standings_of(connection, asked(on + later, numbers), LAW)
            seen |= {found.standing.insured for found in answers if found.standing}
    assert seen == {True, False}


def test_people_with_and_without_a_residency_are_computed_together_as_each_alone(
    residents_of_every_kind: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = residents_of_every_kind
    take(engine, csv(tmp_path / "2.csv", [pensioner(number) for number in range(50, 60)]), day=3, scope=Scope.CHANGES)
    monkeypatch.setattr("gateway.registry.alike.WORTH_IT", 1)
    done = recompute_due(engine, day=LAW.local_day(at(25)), known_at=at(25), law=LAW, processes=1)
    everyone = [*range(3 * len(EVERY_ANSWER)), *range(50, 60)]
    assert done.people == len(everyone)
    with reading(engine) as connection:
        kept = standings_of(connection, asked(25, iter(everyone)), LAW)
        assert kept == computed_standings_of(connection, asked(25, iter(everyone)), LAW)


def test_the_facts_of_a_batch_are_those_of_each(residents_of_every_kind: Engine) -> None:
    with reading(residents_of_every_kind) as connection:
        country = country_at(connection, at(5), LAW)
        batch = dict(facts_about(connection, [person(number) for number in range(6)], country, LAW))
    assert [len(batch[person(number)].residencies) for number in range(6)] == [1, 1, 1, 3, 3, 3]


def test_what_the_folder_s_mapper_reads_is_what_is_understood() -> None:
    system = load_system(resources.mappers_path() / "gbdfl")
    answer = system.mapper.read_response(
        parse((system.folder / "samples" / "permanent_foreigner" / "response.xml").read_bytes())
    )
    history = [RecordedFact(one, Provenance("m1", "gbdfl", "", "", at(1)), present=True) for one in answer.facts]
    assert told(*history) == [
        ("temp_foreigner", None, "m1"),
        ("permanent_foreigner", "2016-07-04", "m1"),
        ("temp_foreigner", "2026-07-04", "m1"),
    ]
