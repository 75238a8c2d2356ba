from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
import typer

from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust.store import TrustStore
from gateway.trust.throwaway.certificates import root
from gateway.trust.throwaway.keys import Family, generate
from gateway.trust.throwaway.profile import authority_subject
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cli.conftest import NOW, Run
from tests.end_to_end.program import CONFIG
from tests.trust.minting import DAY, Minted, authority, mint

SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "pki-test"
NEEDS_SAMPLES = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared samples are not beside this checkout")


def certificate(path: Path) -> Certificate:
    (found,) = read_certificates(path.read_bytes())
    return found


# ---------------------------------------------------------------- init


@pytest.mark.parametrize(
    ("family", "names"), [("rsa", {"gateway"}), ("gost", {"gateway-gost"}), (None, {"gateway", "gateway-gost"})]
)
def test_init_mints_the_families_asked_for(run: Run, tmp_path: Path, family: str | None, names: set[str]) -> None:
    arguments = () if family is None else ("--family", family)
    ran = run("pki", "init", tmp_path / "pki", *arguments, "--json")
    assert ran.code == 0
    assert {path.stem for path in (tmp_path / "pki" / "keys").glob("gateway*.key")} == names
    assert Path(ran.document["key"]).stem == min(names)


def test_init_can_name_the_sandboxs_address(run: Run, tmp_path: Path) -> None:
    said = run("pki", "init", tmp_path / "pki", "--family", "gost", "--address", "http://127.0.0.1:8081").stdout
    assert "our GOST key" in said
    assert b"http://127.0.0.1:8081/ocsp" in certificate(tmp_path / "pki" / "keys" / "person-gost.pem").der
    refused = run("pki", "init", tmp_path / "other", "--address", "127.0.0.1")
    assert refused.code == 2
    assert not (tmp_path / "other").exists()


def test_init_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    assert run("pki", "init", tmp_path).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# ---------------------------------------------------------------- trust

ROOT = authority("ROOT TEST", end=NOW + 1_000 * DAY)


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    file = tmp_path / "root.cer"
    file.write_bytes(ROOT.der)
    return file


def colons(fingerprint: str) -> str:
    return ":".join(fingerprint[place : place + 2] for place in range(0, 64, 2)).upper()


@pytest.mark.parametrize("spelled", [str, colons, lambda digits: f" {digits[:32]} {digits[32:]} "])
def test_an_anchor_is_taken_with_the_fingerprint_that_its_owner_publishes(
    run: Run, root_file: Path, tmp_path: Path, spelled: object
) -> None:
    fingerprint = spelled(ROOT.parsed.sha256)  # type: ignore[operator]
    ran = run("pki", "trust", root_file, "--into", tmp_path / "trust", "--fingerprint", fingerprint, "--json")
    assert ran.code == 0
    assert ran.document["becomes"] == "a trust anchor"
    assert TrustStore.load(tmp_path / "trust").material.anchors == {ROOT.parsed}
    assert Path(ran.document["written"]).parent == tmp_path / "trust"
    again = run("pki", "trust", root_file, "--into", tmp_path / "trust", "--json")
    assert again.code == 0
    assert again.document["written"] is None
    assert "in the folder already" in run("pki", "trust", root_file, "--into", tmp_path / "trust").stdout


def test_another_fingerprint_is_a_no_and_nothing_is_written(run: Run, root_file: Path, tmp_path: Path) -> None:
    other = ROOT.parsed.sha256.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    ran = run("pki", "trust", root_file, "--into", tmp_path / "trust", "--fingerprint", other)
    assert ran.code == 1
    assert "fingerprint_mismatch" in ran.stderr
    assert ROOT.parsed.sha256 in ran.stdout, "it shows what it saw"
    assert not (tmp_path / "trust").exists()


@pytest.mark.parametrize("typed", ["", "yes", "ab" * 20, "ab" * 33, "zz" * 32])
def test_what_is_no_sha256_is_wrong_use(run: Run, root_file: Path, tmp_path: Path, typed: str) -> None:
    ran = run("pki", "trust", root_file, "--into", tmp_path / "trust", "--fingerprint", typed)
    assert ran.code == 2
    assert "nothing was written" in ran.stderr
    assert not (tmp_path / "trust").exists()


def test_without_a_terminal_the_fingerprint_has_to_be_given(run: Run, root_file: Path, tmp_path: Path) -> None:
    ran = run("pki", "trust", root_file, "--into", tmp_path / "trust")
    assert ran.code == 2
    assert "--fingerprint" in ran.stderr


def test_at_a_terminal_the_fingerprint_is_typed(
    run: Run, root_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "prompt", lambda text, err: colons(ROOT.parsed.sha256))
    ran = run("pki", "trust", root_file, "--into", tmp_path / "trust")
    assert ran.code == 0
    assert "trusted" in ran.stdout
    assert "listed      no" in ran.stdout


def test_intermediates_and_peers_are_taken_as_what_they_are(run: Run, tmp_path: Path) -> None:
    issuing = authority("ISSUING TEST", ROOT)
    for minted, becomes in ((issuing, "an intermediate authority"), (mint("peer TEST", issuing), "a known peer")):
        file = tmp_path / "one.pem"
        file.write_bytes(minted.pem)
        fingerprint = minted.parsed.sha256
        ran = run("pki", "trust", file, "--into", tmp_path / "trust", "--fingerprint", fingerprint, "--json")
        assert ran.document["becomes"] == becomes


def test_a_root_that_another_key_signed_is_none(run: Run, tmp_path: Path) -> None:
    false = authority("ROOT TEST", Minted(ROOT.der, authority("OTHER TEST").key, ROOT.name))
    file = tmp_path / "false.cer"
    file.write_bytes(false.der)
    ran = run("pki", "trust", file, "--into", tmp_path / "trust", "--fingerprint", false.parsed.sha256)
    assert ran.code == 1
    assert "bad_anchor" in ran.stderr


def test_real_and_test_anchors_do_not_meet(run: Run, root_file: Path, tmp_path: Path) -> None:
    real = authority("A REAL ROOT")
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "real.pem").write_bytes(real.pem)
    ran = run("pki", "trust", root_file, "--into", tmp_path / "trust", "--fingerprint", ROOT.parsed.sha256)
    assert ran.code == 1
    assert "mixed_anchors" in ran.stderr


def test_one_certificate_at_a_time(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "two.pem"
    file.write_bytes(ROOT.pem + authority("OTHER TEST").pem)
    assert "one at a time" in run("pki", "trust", file, "--into", tmp_path / "trust").stderr
    file.write_bytes(b"text")
    assert run("pki", "trust", file, "--into", tmp_path / "trust").code == 2


def test_a_false_certificate_with_a_listed_name_is_refused(run: Run, tmp_path: Path) -> None:
    # `cryptography` refuses to write the authority's name: it has more than 64 bytes
    subject = authority_subject("НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (GOST) 2022")
    false = root(subject, generate(Family.GOST), file="", policy="1.2.3", cps="http://x.example.invalid/", now=NOW)
    file = tmp_path / "false.cer"
    file.write_bytes(false.certificate.der)
    ran = run("pki", "trust", file, "--into", tmp_path / "trust", "--fingerprint", false.certificate.sha256)
    assert ran.code == 1
    assert "not_the_listed_certificate" in ran.stderr
    assert "root_gost_2022 (production); its first digits do NOT agree" in ran.stdout
    assert not (tmp_path / "trust").exists()


def test_a_listed_name_without_digits_says_where_to_look(run: Run, tmp_path: Path) -> None:
    listed = authority("НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (RSA)")
    file = tmp_path / "listed.cer"
    file.write_bytes(listed.der)
    ran = run("pki", "trust", file, "--into", tmp_path / "trust", "--fingerprint", listed.parsed.sha256)
    assert ran.code == 0
    assert "no digits listed" in ran.stdout
    assert "root.gov.kz" in ran.stdout


@NEEDS_SAMPLES
def test_the_authoritys_test_hierarchy_is_known_by_name(run: Run, tmp_path: Path) -> None:
    for name in ("root_test_gost_2022", "nca_gost2022_test"):
        file = SAMPLES / f"{name}.cer"
        fingerprint = certificate(file).sha256
        ran = run("pki", "trust", file, "--into", tmp_path / "trust", "--fingerprint", fingerprint, "--json")
        assert ran.code == 0
        assert ran.document["listed_as"] == name
        assert Path(ran.document["written"]).name.startswith(name)


# ---------------------------------------------------------------- check


def configured(folder: Path, pki: ThrowawayPki, *, revocation: str = "require") -> Path:
    shutil.copytree(pki.directory, folder / "pki")
    file = folder / "gateway.toml"
    text = CONFIG.format(database_url="", sync_url="http://127.0.0.1:1/")
    file.write_text(text.replace('"require"', f'"{revocation}"'))
    return file


def test_check_tells_everything_that_is_configured(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    config = configured(tmp_path, pki)
    ran = run("pki", "check", "--config", config, "--json")
    assert ran.code == 0
    assert ran.document["good"] is True
    parts = [finding["part"] for finding in ran.document["certificates"]]
    # ours; two roots; two issuing authorities; shep twice and our GOST certificate; four complete lists
    assert parts == ["own", *["anchor"] * 2, *["intermediate"] * 2, *["peer"] * 3, *["crl"] * 4]
    own = ran.document["certificates"][0]
    assert (own["code"], own["revocation"]["status"], own["days_left"]) == ("ok", "good", 1_094)
    assert {finding["code"] for finding in ran.document["certificates"]} == {"ok"}
    said = run("pki", "check", "--config", config).stdout
    assert said.count("revocation good") == 6


def test_check_warns_and_still_says_yes(
    run: Run, pki: ThrowawayPki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, pki)
    later = NOW + dt.timedelta(days=170)
    monkeypatch.setattr("tests.cli.conftest.NOW", later)
    ran = run("pki", "check", "--config", config, "--json")
    assert ran.code == 0
    assert {f["code"] for f in ran.document["certificates"] if f["part"] == "crl"} == {"ends_in_14_days"}


def test_check_says_no_when_ours_is_revoked(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    config = configured(tmp_path, pki)
    for suffix in (".key", ".pem"):
        shutil.copy(pki.key("revoked").with_suffix(suffix), tmp_path / "pki" / "keys" / f"gateway{suffix}")
    ran = run("pki", "check", "--config", config, "--json")
    assert ran.code == 1
    assert ran.document["certificates"][0]["code"] == "revoked"
    assert ran.document["good"] is False


def test_check_is_undecided_without_lists_where_they_are_required(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    config = configured(tmp_path, pki)
    for file in (tmp_path / "pki" / "anchors").glob("*.crl"):
        file.unlink()
    ran = run("pki", "check", "--config", config, "--json")
    assert ran.code == 3
    assert ran.document["good"] is None
    assert "revocation_unknown" in run("pki", "check", "--config", config).stdout


def test_check_notes_what_is_not_used(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    config = configured(tmp_path, pki, revocation="off")
    (tmp_path / "pki" / "anchors" / "cut.crl").write_text("cut")
    ran = run("pki", "check", "--config", config)
    assert ran.code == 0
    assert "cut.crl is not used" in ran.stdout


def test_check_tells_the_next_certificate_too(run: Run, pki: ThrowawayPki, tmp_path: Path) -> None:
    config = configured(tmp_path, pki)
    keys = 'next_key_file = "pki/keys/shep.key"\nnext_certificate_file = "pki/keys/shep.pem"\n[trust]'
    config.write_text(config.read_text().replace("[trust]", keys))
    ran = run("pki", "check", "--config", config, "--json")
    assert [finding["part"] for finding in ran.document["certificates"]][:2] == ["own", "next"]
    assert Family.RSA.value == ran.document["certificates"][1]["key_family"]
