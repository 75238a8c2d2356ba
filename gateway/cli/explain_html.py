"""An explanation as one HTML file for desk and printer: no scripts, nothing from elsewhere, every value escaped.

The answer and the rules tried stand on the first pages of A4; the words of the act follow as an annex.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from gateway.cli.explain_view import ClauseView, Page, RuleView
from gateway.cli.explain_words import Language, label
from gateway.model import Iin

_STYLE: Final = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #595959; --line: #b8b8b8;
  --yes: #14632f; --no: #9b1c1c; --open: #7a4b00 }
* { box-sizing: border-box }
body { margin: 1.5rem auto; max-width: 54rem; padding: 0 1rem; color: var(--ink); background: #fff;
  font: 15px/1.45 "Noto Sans", "DejaVu Sans", Arial, sans-serif }
h1 { font-size: 1.35rem; margin: 0 0 .2rem } h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem }
p, dl, ul { margin: .3rem 0 } ul { padding-left: 1.2rem }
.verdict { font-size: 1.15rem; font-weight: 700; border-left: .4rem solid; padding: .3rem .7rem; margin: .7rem 0 }
.yes { color: var(--yes) } .no { color: var(--no) } .open { color: var(--open) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem }
dt { color: var(--soft) } dd { margin: 0 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .3rem .45rem;
  border-top: 1px solid var(--line) } thead th { border-top: 0; color: var(--soft); font-weight: 600 }
td, dd, li, blockquote { overflow-wrap: anywhere } .reported { background: #eef5ef }
.small { color: var(--soft); font-size: .86em }
blockquote { margin: .2rem 0 .1rem; padding-left: .7rem; border-left: 3px solid var(--line) }
a { color: #0b4f8a } a:focus-visible { outline: 3px solid #0b4f8a }
@page { size: A4; margin: 14mm 13mm }
@media print { body { margin: 0; max-width: none; padding: 0; font-size: 9.5pt }
  a { color: inherit; text-decoration: none }
  h2 { break-after: avoid } tr, .clause { break-inside: avoid } .annex { break-before: page }
  thead { display: table-header-group } .verdict, .reported { print-color-adjust: exact } }
"""


def html_of(page: Page, person: Iin) -> str:
    """The whole document. It names the person: keep the file as what it is."""

    def say(name: str) -> str:
        return escape(label(name, page.language))

    mark = {True: "yes", False: "no", None: "open"}[page.insured]
    parts = [
        "<!doctype html>",
        f'<html lang="{page.language}">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        # nothing may be loaded and nothing may run, whatever a text holds
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{say('title')}</title><style>{_STYLE}</style></head>",
        f"<body><main><h1>{say('title')}</h1>",
        f"<p>{person.value}</p>",
        f'<p class="verdict {mark}">{escape(page.verdict)}</p>',
        "<dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in page.summary),
        "</dl>",
        f"<h2>{say('because')}</h2><p>{_cites(page.because)}</p>",
        f"<h2>{say('changes')}</h2>{_list(page.changes)}",
        f'<h2 id="rules">{say("rules")}</h2>',
        '<table aria-labelledby="rules"><thead><tr>',
        *(f'<th scope="col">{say(name)}</th>' for name in ("rule", "result", "facts", "paragraph")),
        "</tr></thead><tbody>",
        *(_rule(rule, page.language) for rule in page.rules),
        "</tbody></table>",
    ]
    if page.readings:
        parts.append(f"<h2>{say('readings')}</h2><ul>")
        parts += [
            f"<li><b>{escape(one.name)}: {escape(one.value)}</b> ({escape(one.ambiguity)})"
            f' <span lang="en" class="small">{escape(one.why)}</span></li>'
            for one in page.readings
        ]
        parts.append("</ul>")
    parts.append(f'<section class="annex"><h2>{say("clauses")}</h2><p class="small">{escape(page.redaction)}')
    parts.append("</p>" if page.language is Language.KK else f"<br>{say('gloss')}</p>")
    parts += [_clause(clause) for clause in page.clauses]
    parts.append("</section></main></body></html>\n")
    return "\n".join(parts)


def _rule(rule: RuleView, language: Language) -> str:
    told = [*(f"<p>{escape(text)}</p>" for text in rule.facts)]
    told += [f'<p class="small">{escape(text)}</p>' for text in rule.proofs]
    if rule.changes:
        changes = f"{escape(label('changes', language))}: {escape('; '.join(rule.changes))}"
        told.append(f'<p class="small">{changes}</p>')
    outcome = f"<b>{escape(rule.outcome)}</b>" if rule.told else escape(rule.outcome)
    if rule.reported:
        outcome += f"<br><b>{escape(label('reported', language))}</b>"
    details = "".join(f"<br>{escape(text)}" for text in (rule.category, rule.days) if text)
    row = '<tr class="reported">' if rule.reported else "<tr>"
    return (
        f"{row}"
        f'<th scope="row">{escape(rule.title)}<br><span class="small">{escape(rule.rule)}</span></th>'
        f"<td>{outcome}{details}</td><td>{''.join(told)}</td><td>{_cites(rule.cites)}</td></tr>"
    )


def _clause(clause: ClauseView) -> str:
    gloss = f'<blockquote class="small">{escape(clause.gloss)}</blockquote>' if clause.gloss else ""
    return (
        f'<div class="clause" id="{_anchor(clause.cite)}"><b>{escape(clause.cite)}</b>'
        f'<blockquote lang="kk">{escape(clause.kk)}</blockquote>{gloss}</div>'
    )


def _cites(cites: Iterable[str]) -> str:
    return ", ".join(f'<a href="#{_anchor(cite)}">{escape(cite)}</a>' for cite in cites)


def _anchor(cite: str) -> str:
    """An id without spaces and brackets."""
    return "c-" + "".join(letter if letter.isalnum() or letter == "." else "-" for letter in cite)


def _list(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
