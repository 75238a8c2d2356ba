"""`gateway registry explain`: the same answer as text, as a document and as a page, in three languages."""

from __future__ import annotations

import datetime as dt
import json
import re
import stat
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import explain_words as words
from gateway.cli.explain_html import html_of
from gateway.cli.explain_view import Page, page_of
from gateway.cli.explain_words import Language
from gateway.database import engine_for, upgrade, writing
from gateway.model import Answer, Fact, Iin, Outcome, Provenance
from gateway.registry.cases import facts_of
from gateway.registry.explanation import ProofKind, Told, explain
from gateway.registry.facts import PayerType
from gateway.registry.spans import Basis
from gateway.registry.store import record_answer
from gateway.registry.tried import Change, Tried
from gateway.regulation.law import Residency
from tests.cli.conftest import NOW, Run
from tests.registry.law_cases import LAW, ROOT

PERSON = Iin("900101300017")
SIGNER = 'CN=<script>alert("1")</script> & Сыновья'
day = dt.date.fromisoformat


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a database that knows one answer about one person."""
    url = f"sqlite:///{tmp_path / 'gateway.sqlite'}"
    file = tmp_path / "gateway.toml"
    shipped = (ROOT / "config" / "gateway.toml").read_text(encoding="utf-8")
    file.write_text(shipped.replace('url = ""', f'url = "{url}"', 1), encoding="utf-8")
    engine = engine_for(url)
    upgrade(engine)
    fact = Fact("disability", PERSON, "one", day("2025-02-01"), day("2026-10-15"), {"group": "2"})
    told = Provenance("m-1", "cbdi", SIGNER, "0a1b", dt.datetime(2026, 2, 3, 9, tzinfo=dt.UTC))
    with writing(engine) as connection:
        record_answer(connection, PERSON, Answer(Outcome.FOUND, (fact,)), told, law=LAW)
    engine.dispose()
    return file


def page(facts: Mapping[str, Any], as_of: str, language: Language = Language.EN, *, known: bool = True) -> Page:
    somebody, failures = facts_of(facts)
    explanation = explain(somebody, as_of=day(as_of), known_at=day(as_of), law=LAW, failures=failures, known=known)
    return page_of(explanation, known_at=NOW, language=language, law=LAW)


# ---------------------------------------------------------------- the command


def test_the_document_says_why_with_the_words_of_the_act(run: Run, config: Path) -> None:
    ran = run("registry", "explain", PERSON.value, "--config", config, "--json")
    document = ran.document
    assert (ran.code, document["insured"], document["basis"]) == (0, True, "retention_state")
    assert (document["valid_until"], document["next_change"]) == ("2027-01-15", "2027-01-16")
    (reported,) = [rule for rule in document["rules"] if rule["reported"]]
    assert (reported["rule"], reported["outcome"], reported["evidence"]) == ("R-07", "holds", ["m-1"])
    assert [fact["what"] for fact in reported["facts"]] == ["category_assigned", "category_removed"]
    assert document["proofs"]["m-1"][0]["signer_subject"] == SIGNER
    assert document["clauses"]["004 p.9 part 1"]["kk"] == LAW.clause("004 p.9 part 1").kk
    assert set(document["because"]) <= set(document["clauses"])
    assert {"what": "ends", "on": "2027-01-16", "detail": []} in reported["would_change"]
    assert document["read_as"]["state_cessation_anchor"]["ambiguity"] == "A-08"


def test_it_answers_as_the_standing_does(run: Run, config: Path) -> None:
    for moment in ("2026-09-30", "2026-12-01", "2027-02-01"):
        asked = (PERSON.value, "--on", moment, "--config", config, "--json")
        standing, explained = run("registry", "standing", *asked), run("registry", "explain", *asked)
        assert explained.code == standing.code
        assert standing.document["as_of"] == moment
        assert standing.document.items() <= explained.document.items()


def test_as_text_each_rule_has_its_paragraph_and_its_message(run: Run, config: Path) -> None:
    ran = run("registry", "explain", PERSON.value, "--config", config)
    assert ran.stdout.startswith("Insured on 2026-11-21")
    for expected in ("үш ай бойы сақталады", "m-1", SIGNER, "2027-01-16", "state_cessation_anchor: removal_date"):
        assert expected in ran.stdout


@pytest.mark.parametrize(
    ("language", "verdict", "gloss"),
    [("kk", "Сақтандырылған күні 21.11.2026", None), ("ru", "Застрахован на дату 21.11.2026", "три месяца")],
)
def test_the_language_is_that_of_everything_but_the_act(
    run: Run, config: Path, language: str, verdict: str, gloss: str | None
) -> None:
    ran = run("registry", "explain", PERSON.value, "--config", config, "--language", language)
    assert ran.stdout.startswith(verdict)
    assert "үш ай бойы сақталады" in ran.stdout
    assert gloss is None or gloss in ran.stdout


def test_of_whom_nobody_asked_nothing_is_denied(run: Run, config: Path) -> None:
    ran = run("registry", "explain", "910101300019", "--config", config)
    assert ran.code == 3
    assert "nobody was asked yet" in ran.stdout
    assert run("registry", "explain", "910101300019", "--config", config, "--json").document["known"] is False


def test_days_before_the_rules_are_not_judged(run: Run, config: Path) -> None:
    ran = run("registry", "explain", PERSON.value, "--on", "2025-12-31", "--config", config, "--json")
    assert (ran.code, ran.document["error"]["code"]) == (3, "edition_not_in_force")


def test_the_page_is_for_nobody_else_s_eyes(run: Run, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "why.html"
    file.write_text("before", encoding="utf-8")
    file.chmod(0o644)
    ran = run("registry", "explain", PERSON.value, "--config", config, "--html", file)
    assert (ran.code, str(file) in ran.stdout) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PERSON.value in file.read_text(encoding="utf-8")
    refused = run("registry", "explain", PERSON.value, "--config", config, "--html", tmp_path / "no" / "why.html")
    assert (refused.code, "cannot be written" in refused.stderr) == (2, True)


# ---------------------------------------------------------------- the page

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Fails where an element is left open or closed twice; keeps tags, ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


LIVES: list[tuple[Mapping[str, Any], str]] = [
    ({}, "2026-03-01"),
    ({"categories": [{"category": "children", "assigned": "2010-01-01", "removed": "2026-02-01"}]}, "2026-03-01"),
    ({"payments": [{"periods": "2025-01..2026-01", "received": {"month_offset": 1, "day": 5}}]}, "2026-03-01"),
    (
        {
            "residency": "temp_foreigner",
            "categories": [{"category": "penitentiary_inmate", "assigned": "2026-01-05"}],
            "provisional": [{"category": "penitentiary_inmate", "applied": "2026-02-01"}],
        },
        "2026-03-01",
    ),
]


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize(("facts", "as_of"), LIVES)
def test_the_page_is_whole_stands_alone_and_leads_nowhere(
    facts: Mapping[str, Any], as_of: str, language: Language
) -> None:
    shown = page(facts, as_of, language)
    reader = read(html_of(shown, PERSON))
    names = [tag for tag, _ in reader.tags]
    assert not {"script", "link", "img", "iframe", "object"} & set(names)
    assert ("html", {"lang": language.value}) in reader.tags
    assert [names.count(tag) for tag in ("h1", "main", "table", "title")] == [1, 1, 1, 1]
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in reader.tags:
        assert "src" not in attrs
        assert not any(name.startswith("on") for name in attrs)
        if tag == "a":
            assert str(attrs["href"]).removeprefix("#") in ids
        if tag == "th":
            assert attrs["scope"] in ("row", "col")
    # one row for each rule tried, and the words of the act in its own language
    assert names.count("tr") == 1 + len(shown.rules)
    quoted = [attrs for tag, attrs in reader.tags if tag == "blockquote" and attrs.get("lang") == "kk"]
    assert len(quoted) == len(shown.clauses)
    assert "@page" in "".join(reader.text)
    assert shown.verdict in reader.text


def test_whatever_a_message_says_stays_text(run: Run, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "why.html"
    run("registry", "explain", PERSON.value, "--config", config, "--html", file)
    text = file.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert SIGNER in "".join(read(text).text)


def test_months_are_told_in_runs_and_the_missing_ones_are_named() -> None:
    facts = {
        "payments": [
            {"periods": "2025-01..2025-03", "received": "2025-06-01"},
            {"periods": "2025-05", "received": "2025-06-01"},
        ]
    }
    (payer,) = [rule for rule in page(facts, "2026-03-01").rules if rule.title == "Payment for twelve months"]
    assert any(one.endswith("months that are missing: 2025-04, 2025-06…2026-02") for one in payer.changes)
    paid = page({"payments": [{"periods": "2025-01..2026-01", "received": "2026-02-10"}]}, "2026-02-20", Language.RU)
    (reported,) = [rule for rule in paid.rules if rule.reported]
    assert any(one.startswith("оплачен месяц 2025-01…2026-01; поступил в Фонд 10.02.2026") for one in reported.facts)


def test_who_paid_is_said_with_how_a_silent_list_is_read() -> None:
    year = {"periods": "2025-01..2026-01", "received": {"month_offset": 1, "day": 10}}
    (rule,) = [rule for rule in page({"payments": [year]}, "2026-02-20", Language.EN).rules if rule.reported]
    assert "a general payer (so read unless the list says otherwise, A-40)" in rule.facts[0]
    year = {"periods": "2026-01", "received": "2026-02-10", "payer": "art14_2_9"}
    (rule,) = [rule for rule in page({"payments": [year]}, "2026-02-20", Language.EN).rules if rule.reported]
    assert "by the list a payer of article 14 paragraph 2 item 9 of the Law" in rule.facts[0]


def test_who_the_person_is_is_told_or_said_to_be_assumed() -> None:
    def gate(facts: Mapping[str, Any], language: Language = Language.EN) -> Any:
        return next(rule for rule in page(facts, "2026-03-01", language).rules if "R-29" in rule.rule)

    assert gate({}).outcome == "no obstacle: nobody told who the person is; a citizen is assumed"
    assert "азамат деп болжанады" in gate({}, Language.KK).outcome
    assert gate({"residency": "kandas"}).outcome == "no obstacle"
    assert gate({"residency": [{"is": "permanent_stateless", "from": "2026-02-01"}]}).facts == (
        "told who the person is 2026-02-01; by enbek_is; a stateless person residing permanently [residency-0]",
    )


# ---------------------------------------------------------------- the words


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (words.BASES, set(Basis)),
        (words.OUTCOMES, set(Tried)),
        (words.CHANGES, set(Change)),
        (words.TOLD, set(Told)),
        (words.PROOFS, set(ProofKind)),
        (words.PAYERS, set(PayerType)),
        (words.RESIDENCIES, set(Residency)),
        (words.BUDGETS, {"republican", "local", "payer", "exempt"}),
        (
            words.REASONS,
            {
                *("residency_excluded", "residency_not_told", "stay_not_told"),
                *("no_document_defined", "data_present", "documents_incomplete", "applied_before"),
            },
        ),
    ],
)
def test_everything_that_can_be_said_has_words_in_three_languages(table: Mapping[Any, Any], names: set[Any]) -> None:
    assert set(table) == names
    for three in table.values():
        assert len(three) == len(Language)
        assert all(three)


def test_every_label_is_used_and_every_used_one_is_there() -> None:
    folder = Path(words.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("explain*.py"))
    for name, three in words.LABELS.items():
        # once as the key, and once where it is said
        assert len(re.findall(rf"""["']{name}["']""", code)) > 1, name
        assert all(three)


@pytest.mark.parametrize("language", list(Language))
def test_every_category_has_a_name(language: Language) -> None:
    for category in LAW.categories.values():
        name = words.category_name(category, LAW, language)
        assert name == name.strip()
        assert name[-1] not in ";."


def test_the_document_is_one_line_of_json(run: Run, config: Path) -> None:
    ran = run("registry", "explain", PERSON.value, "--config", config, "--json")
    assert len(ran.stdout.splitlines()) == 1
    assert json.loads(ran.stdout)["iin"] == PERSON.value
