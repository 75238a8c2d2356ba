"""What nothing checks goes stale: links, the index of decisions, the keys of the configuration, the commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway import settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("certs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_decision_is_in_the_index_and_has_its_parts() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(path for path in folder.glob("[0-9]*.md"))
    assert records
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert f"({record.name})" in index
        assert text.startswith(f"# {record.name[:4]} · ")
        assert "**Question.**" in text
        assert "**Decision.**" in text


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += keys(inner, f"{prefix}{name}.")
        elif name not in ("services", "registers"):
            found.append(f"{prefix}{name}")
    return found


def test_every_key_of_the_configuration_is_explained() -> None:
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    missing = [key for key in keys(settings.Settings) if f"`{key}`" not in text]
    assert missing == []
    known = {
        *keys(settings.Settings),
        *(f"services.NAME.{name}" for name in settings.ServiceSettings.model_fields),
        *(f"registers.SLUG.{name}" for name in settings.SignerSettings.model_fields),
        *(f"schedule.jobs.NAME.{name}" for name in settings.JobSettings.model_fields),
        *(f"quota.senders.NAME.{name}" for name in settings.QuotaLimits.model_fields),
    }
    explained = set(re.findall(r"`([a-z]+(?:\.[A-Za-z_]+)+)`", text)) - {"gateway.sqlite", "system.toml"}
    assert explained <= known, explained - known


def test_the_shipped_configuration_is_read() -> None:
    loaded = settings.load(ROOT / "config" / "gateway.toml", {})
    assert loaded.settings.environment == "sandbox"


def test_nothing_in_the_tree_names_a_machine_or_holds_a_key() -> None:
    suspicious = re.compile(rb"PRIVATE KEY-----\r?\n[A-Za-z0-9+/]{40}|/home/[a-z]+/")
    for path in ROOT.rglob("*"):
        if path.is_file() and not {".git", ".venv"} & set(path.relative_to(ROOT).parts) and path != Path(__file__):
            if path.suffix in (".py", ".md", ".toml", ".yaml", ".xml", ".xsd", ".wsdl", ".lock", ".sh", ".json"):
                assert not suspicious.search(path.read_bytes()), path
            assert path.suffix not in (".p12", ".pfx", ".key"), path
