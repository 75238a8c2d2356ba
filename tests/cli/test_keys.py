from __future__ import annotations

import stat
from pathlib import Path

import pytest
import typer

from gateway.cli import passwords
from gateway.signing.certificate import read_certificates
from gateway.signing.containers import open_file, protection_of
from gateway.trust.throwaway.keys import Family, read_key
from gateway.trust.throwaway_pki import CONTAINER_PASSWORD, ThrowawayPki
from tests.cli.conftest import Run

FAMILIES = pytest.mark.parametrize("family", list(Family))
NEW = "a new long password"


@pytest.fixture(autouse=True)
def _passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD", CONTAINER_PASSWORD)
    monkeypatch.setenv("NEW", NEW)
    monkeypatch.setenv("WRONG", "not this one")
    monkeypatch.setenv("SHORT", "short")


@FAMILIES
def test_inspect_says_whose_key_it_is_and_how_weakly_it_is_kept(run: Run, pki: ThrowawayPki, family: Family) -> None:
    ran = run("keys", "inspect", pki.container("person", family), "--password-env", "OLD", "--json")
    assert ran.code == 0
    (own,) = read_certificates(pki.certificate("person", family).read_bytes())
    found = ran.document["certificate"]
    assert found["iin"] == own.iin
    assert found["bin"] is None
    assert found["roles"] == ["person"]
    assert found["key_family"] == ("gost-2015-512" if family is Family.GOST else "rsa")
    assert found["sha256"] == own.sha256
    assert found["days_left"] == 364
    assert ran.document["private_key"]
    assert ran.document["protection"]["weak"]
    assert any("RC2-40" in scheme for scheme in ran.document["protection"]["schemes"])


def test_inspect_is_readable(run: Run, pki: ThrowawayPki) -> None:
    said = run("keys", "inspect", pki.container("person"), "--password-env", "OLD").stdout
    for words in ("roles       person", "gost-2015-512", "364 days left", "3DES", "gateway keys convert"):
        assert words in said
    head = run("keys", "inspect", pki.certificate("head", Family.GOST)).stdout
    assert "no private key" in head
    assert "legal_entity, head" in head
    assert "BIN         9901" in head
    assert "no certificate in it" in run("keys", "inspect", pki.key("head")).stdout
    assert "ended" in run("keys", "inspect", pki.certificate("expired")).stdout


def test_a_certificate_of_another_key_is_told(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pki.key("head").read_bytes() + pki.certificate("client").read_bytes())
    ran = run("keys", "inspect", both)
    assert "none of its certificates belongs to its key" in ran.stdout
    refused = run("keys", "convert", both, "-o", tmp_path / "out", "--new-password-env", "NEW")
    assert refused.code == 2
    assert "certificate_missing" in refused.stderr


@pytest.mark.parametrize("variable", [None, "WRONG", "NOT_SET"])
def test_without_the_password_nothing_is_told(run: Run, pki: ThrowawayPki, variable: str | None) -> None:
    arguments = () if variable is None else ("--password-env", variable)
    ran = run("keys", "inspect", pki.container("person"), *arguments)
    assert ran.code == 2
    assert ran.stdout == ""
    assert "password" in ran.stderr or "variable" in ran.stderr


def test_a_file_that_is_none_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.p12").write_text("text")
    assert "text.p12" in run("keys", "inspect", tmp_path / "text.p12").stderr
    assert run("keys", "inspect", tmp_path / "nothing").code == 2


# ---------------------------------------------------------------- convert


@FAMILIES
def test_convert_keeps_the_key_strongly_and_for_its_owner_only(
    run: Run, pki: ThrowawayPki, tmp_path: Path, family: Family
) -> None:
    out = tmp_path / "out.pem"
    file = pki.container("person", family)
    ran = run("keys", "convert", file, "-o", out, "--password-env", "OLD", "--new-password-env", "NEW", "--json")
    assert ran.code == 0
    assert ran.document["before"]["weak"]
    assert not ran.document["after"]["weak"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    protection = protection_of(out.read_bytes())
    assert protection is not None
    assert not protection.is_weak
    opened = open_file(out.read_bytes(), NEW.encode())
    key = read_key(pki.key("person", family).read_bytes())
    assert opened.pkcs8_der == key.pkcs8_der
    assert opened.certificate is not None
    inspected = run("keys", "inspect", out, "--password-env", "NEW")
    assert inspected.code == 0
    assert "weak" not in inspected.stdout
    for said in (ran.stdout, ran.stderr, inspected.stdout):
        assert key.pkcs8_der.hex()[-32:] not in said
        assert "PRIVATE KEY-----" not in said
        assert NEW not in said


def test_convert_overwrites_nothing(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    out = tmp_path / "out.pem"
    out.write_text("mine")
    ran = run("keys", "convert", pki.key("head"), "-o", out, "--new-password-env", "NEW")
    assert ran.code == 2
    assert "nothing is overwritten" in ran.stderr
    assert out.read_text() == "mine"


@pytest.mark.parametrize("variable", [None, "SHORT", "NOT_SET"])
def test_convert_wants_a_new_password_that_is_worth_the_trouble(
    run: Run, pki: ThrowawayPki, tmp_path: Path, variable: str | None
) -> None:
    arguments = () if variable is None else ("--new-password-env", variable)
    ran = run("keys", "convert", pki.key("head"), "-o", tmp_path / "out.pem", *arguments)
    assert ran.code == 2
    assert "--new-password-env" in ran.stderr
    assert not (tmp_path / "out.pem").exists()


def test_convert_needs_a_key(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    ran = run("keys", "convert", pki.certificate("head"), "-o", tmp_path / "out.pem", "--new-password-env", "NEW")
    assert ran.code == 2
    assert "holds no private key" in ran.stderr


def test_convert_into_a_folder_that_is_not_there_says_so(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    ran = run("keys", "convert", pki.key("head"), "-o", tmp_path / "no" / "out.pem", "--new-password-env", "NEW")
    assert ran.code == 2
    assert "cannot be written" in ran.stderr


def test_convert_is_readable(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    said = run("keys", "convert", pki.key("head"), "-o", tmp_path / "out.pem", "--new-password-env", "NEW").stdout
    assert "PBKDF2 with sha256, 600000 rounds" in said
    assert "destroy the old file" in said


# ---------------------------------------------------------------- at a terminal


def test_a_terminal_is_asked_without_showing_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool, bool]] = []

    def prompt(text: str, *, hide_input: bool, err: bool, confirmation_prompt: bool = False) -> str:
        asked.append((text, hide_input, confirmation_prompt))
        assert err
        return "typed at a terminal"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "prompt", prompt)
    assert passwords.of_file(None, key="--password-env", prompt="Old") == b"typed at a terminal"
    assert passwords.new(None, key="--new", prompt="New", least_characters=12) == b"typed at a terminal"
    assert asked == [("Old", True, False), ("New", True, True)]
