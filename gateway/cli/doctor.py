"""`gateway doctor`: tries everything for real, and says in Kazakh, Russian and English what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rich.markup import escape

from gateway import daemon
from gateway.cli import output
from gateway.cli.app import ConfigOption, JsonOption, app, load_settings
from gateway.daemon import Check

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
    }
)


@app.command("doctor", epilog="Example: gateway doctor -c config/gateway.toml")
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """A real sign and verify, our certificate's path and revocation, the database, and an echo call."""
    loaded = load_settings(config)
    with output.working("trying everything for real"), daemon.assemble(loaded) as gateway:
        checks = (*daemon.readiness(gateway, daemon.now()), daemon.echo_check(gateway))
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


def _advice(check: Check) -> dict[str, str]:
    return {language: texts[0 if check.ok else 1] for language, texts in TEXTS[check.name].items()}


def _show(check: Check) -> None:
    mark = "[green]ok[/green]" if check.ok else f"[red]no[/red] ({escape(check.code)})"
    mark += f" {escape(check.message)}"
    output.console.print(f"[bold]{check.name}[/bold] {mark}")
    for language, text in _advice(check).items():
        output.console.print(f"  {language} {escape(text)}")
