"""`gateway doctor`: tries everything for real, and says in Kazakh, Russian and English what is wrong."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rich.markup import escape

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, app, load_settings
from gateway.daemon import Check
from gateway.trust.lifetimes import WARNINGS, Finding, Part, survey
from gateway.trust.verdict import RevocationMode

#: check → language → (when it works, what to look at when it does not)
TEXTS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = MappingProxyType(
    {
        "signature": {
            "kk": ("қол қою және тексеру жұмыс істейді", "қол қою кілтін тексеріңіз: signing.key_file"),
            "ru": ("подпись ставится и проверяется", "проверьте ключ подписи: signing.key_file"),
            "en": ("signs, and verifies what it signed", "look at the signing key: signing.key_file"),
        },
        "certificate": {
            "kk": (
                "куәлігіміз сенімді әрі кері қайтарып алынбаған",
                "куәліктің мерзімін, trust.folder ішіндегі тізбекті және CRL тексеріңіз",
            ),
            "ru": (
                "наш сертификат доверенный и не отозван",
                "проверьте срок сертификата, цепочку и CRL в trust.folder",
            ),
            "en": (
                "our certificate is trusted and not revoked",
                "look at the certificate's dates, and at the chain and CRLs in trust.folder",
            ),
        },
        "database": {
            "kk": ("дерекқор қолжетімді", "database.url тексеріңіз, содан кейін `gateway db upgrade` орындаңыз"),
            "ru": ("база данных доступна", "проверьте database.url, затем выполните `gateway db upgrade`"),
            "en": ("the database answers", "look at database.url, then run `gateway db upgrade`"),
        },
        "gateway": {
            "kk": (
                "шлюз қолымызды қабылдады",
                "shep.sync_url, желіні және шлюздегі куәлігіміздің тіркелуін тексеріңіз",
            ),
            "ru": (
                "шлюз принял нашу подпись",
                "проверьте shep.sync_url, сеть и регистрацию нашего сертификата на шлюзе",
            ),
            "en": (
                "the gateway took our signature, and we took its",
                "look at shep.sync_url, the network, and that the gateway knows our certificate",
            ),
        },
        "stamp": {
            "kk": ("уақыт белгісі алынды және тексерілді", "trust.tsp_url мекенжайын және желіні тексеріңіз"),
            "ru": ("метка времени получена и проверена", "проверьте trust.tsp_url и сеть"),
            "en": ("a time stamp was made and verified", "look at trust.tsp_url and the network"),
        },
        "lifetimes": {
            "kk": (
                "30 күн ішінде ешбір куәліктің мерзімі аяқталмайды",
                "аталғандарын алдын ала жаңартыңыз; толығырақ: `gateway pki check`",
            ),
            "ru": (
                "в ближайшие 30 дней ни один сертификат не закончится",
                "замените названное заранее; подробнее: `gateway pki check`",
            ),
            "en": (
                "no certificate ends within 30 days",
                "replace what is named here in time; `gateway pki check` tells more",
            ),
        },
    }
)


@app.command("doctor", epilog="Example: gateway doctor -c config/gateway.toml")
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Signs, verifies, looks at revocation, the database, an echo call, a time stamp and lifetimes, all for real."""
    loaded = load_settings(config)
    with output.working("trying everything for real"), daemon.assemble(loaded) as gateway:
        at = daemon.now()
        findings = survey(gateway.keys.certificates, gateway.trust.store.material, at=at, mode=gateway.trust.revocation)
        looks_at_lists = gateway.trust.revocation is not RevocationMode.OFF
        stamped = daemon.stamp_check(gateway)
        checks = (
            *daemon.readiness(gateway, at),
            daemon.echo_check(gateway),
            *(() if stamped is None else (stamped,)),
            lifetimes([one for one in findings if looks_at_lists or one.part is not Part.CRL], at),
        )
    if as_json:
        output.print_json(
            {
                "well": all(check.ok for check in checks),
                "checks": [
                    {"name": check.name, "code": check.code, "message": check.message, "advice": _advice(check)}
                    for check in checks
                ],
            }
        )
    else:
        for check in checks:
            _show(check)
    if not all(check.ok for check in checks):
        sys.exit(output.NO)


def lifetimes(findings: Sequence[Finding], at: dt.datetime) -> Check:
    """Whether anything configured has ended or ends within 30 days. Pure; `code` is that of the first to end.

    A certificate is judged by its dates alone: that it is revoked or that nobody knows does not make it live longer.
    """
    by_end = sorted(findings, key=lambda finding: finding.not_after)
    ending = [finding for finding in by_end if _end_code(finding, at) != "ok"]
    if ending:
        return Check("lifetimes", _end_code(ending[0], at), "; ".join(_left(finding, at) for finding in ending))
    certificates = [finding for finding in by_end if finding.part is not Part.CRL]
    first = f"; the first: {_left(certificates[0], at)}" if certificates else ""
    return Check("lifetimes", "ok", f"{len(certificates)} certificates, none ends within {max(WARNINGS)} days{first}")


def _end_code(finding: Finding, at: dt.datetime) -> str:
    """One of "ok", "ends_in_30_days" (14, 7) and "expired"."""
    if finding.part is Part.CRL:
        return finding.code  # a list that is renewed all the time is not warned of, and the survey knows which
    if at > finding.not_after:
        return "expired"
    left = finding.not_after - at
    return next((f"ends_in_{days}_days" for days in WARNINGS if left <= dt.timedelta(days=days)), "ok")


def _left(finding: Finding, at: dt.datetime) -> str:
    named, code = f"{finding.part} {finding.label}", _end_code(finding, at)
    if code == "expired":
        return f"{named} ended on {finding.not_after:%Y-%m-%d}"
    warned = next((f" (warned of at {days})" for days in WARNINGS if code == f"ends_in_{days}_days"), "")
    return f"{named}: {finding.days_left(at)} days left{warned}"


def _advice(check: Check) -> dict[str, str]:
    return {language: texts[0 if check.ok else 1] for language, texts in TEXTS[check.name].items()}


def _show(check: Check) -> None:
    mark = "[green]ok[/green]" if check.ok else f"[red]no[/red] ({escape(check.code)})"
    mark += f" {escape(check.message)}"
    output.console.print(f"[bold]{check.name}[/bold] {mark}")
    for language, text in _advice(check).items():
        output.console.print(f"  {language} {escape(text)}")
