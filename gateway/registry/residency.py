"""Who a person is to the Rules: citizen, kandas, foreigner or stateless, here for good or for a time. Pure.

004 p.7, p.40, p.42, p.61; R-24, R-29. The state database of natural persons tells it by citizenship, by permits and by
the status of a kandas; the list of p.61 tells that who stands on it stays for a time. Of whom nobody told anything the
person is taken for a citizen, and the explanation says that it is an assumption (docs/decisions/0068).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from gateway.model import Fact, RecordedFact
from gateway.registry.days import ONE_DAY
from gateway.registry.facts import ResidencyTold, TreatyInterval
from gateway.regulation.law import Law, Residency

#: p.7(3): the register that is believed
REGISTER: Final = "gbdfl"
#: the list of p.61 (gateway.registry.imports.feeds)
TREATY_FEED: Final = "treaty_foreigner"
TEMPORARY: Final = frozenset({Residency.TEMP_FOREIGNER, Residency.TEMP_STATELESS})

_VALID: Final = "valid"
_PERSON, _DOCUMENT, _REPATRIATION = "person", "identity_document", "repatriation"
_KAZAKHSTAN: Final = "398"
#: how the register words the citizenship of a stateless person; its code for it is not public
_NO_CITIZENSHIP: Final = "БЕЗ ГРАЖДАНСТВА"
_PERMITS: Final[Mapping[str, Residency]] = MappingProxyType(
    {
        "residence_permit": Residency.PERMANENT_FOREIGNER,
        "stateless_certificate": Residency.PERMANENT_STATELESS,
    }
)
_ALWAYS: Final = dt.date.min


# ---------------------------------------------------------------- on which days


@dataclass(frozen=True, slots=True)
class Resident:
    """Who the person is on the days from `first` to `last` (None: open)."""

    first: dt.date
    last: dt.date | None
    residency: Residency
    told: ResidencyTold | None
    """None: nobody told anything."""

    @property
    def assumed(self) -> bool:
        return self.told is None or self.told.assumed

    @property
    def temporary(self) -> bool:
        return self.residency in TEMPORARY

    @property
    def evidence(self) -> tuple[str, ...]:
        return () if self.told is None else (self.told.evidence,)


_NOBODY_TOLD: Final = (Resident(_ALWAYS, None, Residency.CITIZEN, None),)


def residents(told: Sequence[ResidencyTold], known_at: dt.date) -> tuple[Resident, ...]:
    """Runs of days, in order and without gaps, by what had arrived by the end of `known_at` (R-81)."""
    if not told:
        return _NOBODY_TOLD
    seen = [one for one in told if one.received_at <= known_at]
    seen.sort(key=lambda one: (one.first_day or _ALWAYS, one.received_at))
    # of one day the last word counts
    starts = {one.first_day or _ALWAYS: one for one in seen}
    runs = [] if _ALWAYS in starts else list(_NOBODY_TOLD)
    for first, one in starts.items():
        if runs:
            runs[-1] = replace(runs[-1], last=first - ONE_DAY)
        runs.append(Resident(first, None, one.residency, one))
    return tuple(runs)


def resident_on(runs: Sequence[Resident], day: dt.date) -> Resident:
    if len(runs) == 1:
        return runs[0]
    return next(run for run in runs if run.last is None or day <= run.last)


# ---------------------------------------------------------------- what was said


def told_by_register(history: Iterable[RecordedFact], law: Law) -> tuple[ResidencyTold, ...]:
    """What the state database of natural persons said, of all versions in order of arrival; () is nothing.

    Citizenship has no dates there: the first one told holds for all days, another one from the day it was told.
    Permits and the status of a kandas have their own days. A foreigner of whom documents are told and among them no
    permit of that day stays for a time; of whom no document is told at all it is not known, and he is taken for a
    permanent resident (`assumed`).
    """
    answers = [recorded for recorded in history if recorded.provenance.system == REGISTER]
    citizenships: list[_Said] = []
    for recorded in answers:
        fact = recorded.fact
        if fact.kind != _PERSON or not fact.attributes.get("citizenship_code"):
            continue
        if not citizenships or _citizenship(citizenships[-1].fact) != _citizenship(fact):
            citizenships.append(_said(recorded, law))
    if not citizenships:
        return ()
    if all(_is_citizen(one.fact) for one in citizenships):  # nearly everybody
        return (_on(_ALWAYS, citizenships[0], ()),)
    papers: dict[tuple[str, str], _Said] = {}
    for recorded in answers:
        fact = recorded.fact
        if fact.kind in (_DOCUMENT, _REPATRIATION):
            before = papers.get((fact.kind, fact.key))
            papers[fact.kind, fact.key] = _since_when_gone(_said(recorded, law), before, recorded.present)
    days = {_ALWAYS, *(one.arrived for one in citizenships[1:])}
    for paper in papers.values():
        if paper.fact.kind == _REPATRIATION or _permit(paper.fact) is not None:
            days |= {day for day in (paper.fact.valid_from, paper.ends) if day is not None}
    told: list[ResidencyTold] = []
    for day in sorted(days):
        citizenship = [one for one in citizenships[1:] if one.arrived <= day][-1:] or citizenships[:1]
        one = _on(day, citizenship[0], [*papers.values()])
        if not told or (told[-1].residency, told[-1].assumed) != (one.residency, one.assumed):
            told.append(one)
    return tuple(told)


def with_list(told: Sequence[ResidencyTold], treaty: Sequence[TreatyInterval]) -> tuple[ResidencyTold, ...]:
    """The list of p.61 tells of whom no register did that the person stays for a time, on it and off it."""
    if not treaty:
        return tuple(told)
    first = min(treaty, key=lambda one: (one.received_at, one.first_day))
    by_list = ResidencyTold(Residency.TEMP_FOREIGNER, None, TREATY_FEED, first.received_at, first.evidence)
    if not told:
        return (by_list,)
    return tuple(
        replace(by_list, first_day=one.first_day, residency=_FOR_A_TIME[one.residency]) if one.assumed else one
        for one in told
    )


def may_change(fact: Fact, system: str) -> bool:
    """Whether the end of this record is a day on which the register may tell another residency."""
    return system == REGISTER and (fact.kind == _REPATRIATION or _permit(fact) is not None)


@dataclass(frozen=True, slots=True)
class _Said:
    fact: Fact
    arrived: dt.date
    evidence: str
    gone: dt.date | None = None
    """The day on which it was first told, by an answer that names no day, that it counts no more."""

    @property
    def ends(self) -> dt.date | None:
        return min((day for day in (self.fact.valid_to, self.gone) if day is not None), default=None)

    def covers(self, day: dt.date) -> bool:
        return (self.fact.valid_from or _ALWAYS) <= day and (self.ends is None or day < self.ends)


def _said(recorded: RecordedFact, law: Law) -> _Said:
    provenance = recorded.provenance
    return _Said(recorded.fact, law.local_day(provenance.received_at), provenance.message_id)


def _since_when_gone(said: _Said, before: _Said | None, present: bool) -> _Said:
    """A document counts only while its status is valid, and one that was never seen valid never did."""
    attributes = said.fact.attributes
    counts = said.fact.kind != _DOCUMENT or attributes.get("status") == _VALID or bool(attributes.get("invalid_since"))
    if present and counts:
        return said
    if before is None:
        return replace(said, gone=_ALWAYS)
    return replace(said, gone=before.gone or said.arrived)


#: a stay that nobody told the length of, and the same stay for a time
_FOR_A_TIME: Final[Mapping[Residency, Residency]] = MappingProxyType(
    {
        Residency.PERMANENT_FOREIGNER: Residency.TEMP_FOREIGNER,
        Residency.PERMANENT_STATELESS: Residency.TEMP_STATELESS,
    }
)


def _on(day: dt.date, citizenship: _Said, papers: Sequence[_Said]) -> ResidencyTold:
    first_day = None if day == _ALWAYS else day

    def told(residency: Residency, by: _Said, *, assumed: bool = False) -> ResidencyTold:
        return ResidencyTold(residency, first_day, REGISTER, by.arrived, by.evidence, assumed)

    if _is_citizen(citizenship.fact):
        return told(Residency.CITIZEN, citizenship)
    covering = [paper for paper in papers if paper.covers(day)]
    for paper in covering:
        if paper.fact.kind == _REPATRIATION:
            return told(Residency.KANDAS, paper)
    for paper in covering:
        permitted = _permit(paper.fact)
        if permitted is not None:
            return told(permitted, paper)
    permanent = Residency.PERMANENT_STATELESS if _stateless(citizenship.fact) else Residency.PERMANENT_FOREIGNER
    if not any(paper.fact.kind == _DOCUMENT for paper in papers):
        return told(permanent, citizenship, assumed=True)
    ended = [paper for paper in papers if first_day is not None and paper.ends == day]
    return told(_FOR_A_TIME[permanent], ended[0] if ended else citizenship)


def _is_citizen(fact: Fact) -> bool:
    return fact.attributes.get("citizenship_code") == _KAZAKHSTAN


def _citizenship(fact: Fact) -> tuple[object, bool]:
    return fact.attributes.get("citizenship_code"), _stateless(fact)


def _stateless(fact: Fact) -> bool:
    return _NO_CITIZENSHIP in str(fact.attributes.get("citizenship_ru") or "").upper()


def _permit(fact: Fact) -> Residency | None:
    return _PERMITS.get(str(fact.attributes.get("type"))) if fact.kind == _DOCUMENT else None
