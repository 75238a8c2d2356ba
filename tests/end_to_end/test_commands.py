"""Every command as a person or a script types it: what it says, and with which code it ends."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import httpx
import pytest

from gateway.cli.app import app
from gateway.sandbox.population import Population
from tests.end_to_end.program import PATIENCE_S, Process, World, gateway

YES, NO, WRONG_USE, UNDECIDED = 0, 1, 2, 3
SAMPLES = Path(__file__).resolve().parents[2] / "mappers" / "gbdfl" / "samples"


def misbehave(world: World, kind: str, **more: object) -> None:
    ordered = httpx.post(f"{world.sandbox_root}/sandbox/misbehave", json={"kind": kind, **more}, trust_env=False)
    assert ordered.status_code == 201, ordered.text


# ---------------------------------------------------------------- asking


def test_query_gives_the_facts_and_who_signed_them(world: World, population: Population) -> None:
    iin = population.exhibit("child_with_parents").value
    asked = world.run("query", "gbdfl", "--iin", iin, "--json")
    document = json.loads(asked.stdout)
    assert asked.code == YES, asked.stderr
    assert document["outcome"] == "found"
    assert {fact["subject"] for fact in document["facts"]} == {iin}
    assert document["revocation"]["status"] == "good"
    assert "TEST" in document["signer"]["subject"]


def test_query_by_an_alias_of_the_law(world: World, population: Population) -> None:
    iin = population.exhibit("child_with_parents").value
    asked = world.run("query", "ahat_is", "--iin", iin, "--json")
    assert (asked.code, json.loads(asked.stdout)["system"]) == (YES, "zags")


def test_no_record_is_a_no(world: World, population: Population) -> None:
    iin = population.exhibit("child_with_parents").value
    asked = world.run("query", "cbdi", "--iin", iin)
    assert asked.code == NO
    assert "not_found" in asked.stdout


def test_a_forged_reply_is_undecided_and_says_why(world: World, population: Population) -> None:
    misbehave(world, "wrapped_forgery", system="cbdi")
    asked = world.run("query", "cbdi", "--iin", population.exhibit("ward").value, "--json")
    document = json.loads(asked.stdout)
    assert (asked.code, document["outcome"], document["facts"]) == (UNDECIDED, "unknown", [])
    assert document["error"]["code"] == "not_the_body"


def test_a_question_to_nobody_is_undecided(world: World, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    text = world.config.read_text().replace("pki/", f"{world.folder}/pki/")
    config.write_text(text.replace(world.sandbox.url, "http://127.0.0.1:9/"))
    asked = gateway("query", "gbdfl", "--iin", "900101300017", "--config", str(config))
    assert asked.code in (UNDECIDED, WRONG_USE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("query", "gbdfl", "--iin", "900101300018"), "control digit"),
        (("query", "nobody", "--iin", "900101300017"), "known: cbdi"),
        (("registry", "standing", "1"), "twelve digits"),
        (("registry", "standing", "900101300017", "--on", "tomorrow"), "2026-01-31"),
        (("registry", "standing", "900101300017", "--known-at", "2026-01-01"), "zone"),
        (("journal", "show", "999999"), "no entry 999999"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_to_do(world: World, arguments: tuple[str, ...], said: str) -> None:
    done = world.run(*arguments)
    assert (done.code, done.stdout) == (WRONG_USE, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_also_a_document_where_one_was_asked_for(world: World) -> None:
    done = world.run("query", "nobody", "--iin", "900101300017", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "unknown_system"


# ---------------------------------------------------------------- the registry and the journal


def test_standing_names_its_paragraphs_and_messages(world: World, population: Population) -> None:
    iin = population.exhibit("disabled_child").value
    message_id = json.loads(world.run("query", "cbdi", "--iin", iin, "--json").stdout)["message_id"]
    standing = world.run("registry", "standing", iin, "--json")
    document = json.loads(standing.stdout)
    assert (standing.code, document["insured"]) == (YES, True)
    assert message_id in document["evidence"]
    assert "004 p.9 part 1" in document["because"]
    assert document["readings"] == ["register_answers_assign"]
    why = json.loads(world.run("registry", "explain", iin, "--json").stdout)
    (proof,) = why["proofs"][message_id]
    assert (proof["kind"], proof["source"], bool(proof["signer_subject"])) == ("answer", "cbdi", True)
    assert why["clauses"]["004 p.9 part 1"]["kk"].endswith("үш ай бойы сақталады.")


def test_standing_before_the_rules_were_in_force_is_undecided(world: World, population: Population) -> None:
    iin = population.exhibit("disabled_child").value
    done = world.run("registry", "standing", iin, "--on", "2025-12-31")
    assert done.code == UNDECIDED
    assert "2026-01-01" in done.stderr


def test_a_person_nobody_asked_about_is_not_known(world: World, population: Population) -> None:
    done = world.run("registry", "standing", population.person(160).value)
    assert done.code == UNDECIDED
    assert "not known" in done.stdout


def test_the_journal_shows_a_message_with_its_exact_bytes(world: World, population: Population, tmp_path: Path) -> None:
    iin = population.exhibit("husband").value
    message_id = json.loads(world.run("query", "gbdfl", "--iin", iin, "--json").stdout)["message_id"]
    lines = world.run("journal", "list", "--message-id", message_id, "--json").stdout.splitlines()
    reply, request = (json.loads(line) for line in lines)
    assert (request["direction"], request["verdict"]) == ("out", "signed")
    assert (reply["direction"], reply["verdict"]) == ("in", "accepted")
    kept = tmp_path / "reply.xml"
    kept.write_text(world.run("journal", "show", str(reply["id"]), "--body").stdout)
    verified = gateway("verify", str(kept), "--trust", str(world.pki.anchors), "--json")
    assert (verified.code, json.loads(verified.stdout)["valid"]) == (YES, True)
    read = world.run("read", "gbdfl", str(kept), "--json")
    assert json.loads(read.stdout)["signed"] is True
    assert message_id in world.run("journal", "list").stdout
    assert message_id in world.run("journal", "show", str(reply["id"])).stdout


# ---------------------------------------------------------------- signing, verifying, reading files


def test_sign_and_verify_a_message_and_a_document(world: World, tmp_path: Path) -> None:
    message = tmp_path / "message.xml"
    message.write_text(
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><a>1</a></s:Body></s:Envelope>'
    )
    document = tmp_path / "document.xml"
    document.write_text("<a><b>1</b></a>")
    key = ("--key", str(world.pki.key("client")), "--certificate", str(world.pki.certificate("client")))
    for profile, file, signed_part in (("wss", message, "body"), ("enveloped", document, "document")):
        signed = tmp_path / f"{profile}.xml"
        made = gateway("sign", str(file), "--profile", profile, *key, "-o", str(signed))
        assert made.code == YES, made.stderr
        verified = gateway("verify", str(signed), "--trust", str(world.pki.anchors), "--json")
        assert json.loads(verified.stdout)["signed"] == signed_part
        changed = tmp_path / f"{profile}-changed.xml"
        changed.write_bytes(signed.read_bytes().replace(b">1<", b">2<"))
        both = gateway("verify", str(signed), str(changed), "--trust", str(world.pki.anchors), "--json")
        verdicts = [json.loads(line)["valid"] for line in both.stdout.splitlines()]
        assert (both.code, verdicts) == (NO, [True, False])
        explained = gateway("verify", str(changed), "--trust", str(world.pki.anchors), "--explain")
        assert explained.code == NO
        assert "digest" in explained.stdout


NATIONAL = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "pki-test"


@pytest.mark.skipif(not NATIONAL.is_dir(), reason="the samples of the national test authority are not there")
@pytest.mark.parametrize("profile", ["wss", "enveloped"])
def test_a_document_is_signed_with_a_national_key_and_its_signature_holds(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSON", "Qwerty12")  # published with the test keys
    file, signed = tmp_path / "file.xml", tmp_path / "signed.xml"
    file.write_text(
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><a>1</a></s:Body></s:Envelope>'
        if profile == "wss"
        else "<a><b>1</b></a>"
    )
    line = ("sign", str(file), "--profile", profile, "--key", str(NATIONAL / "person_valid.p12"))
    line = (*line, "--password-env", "PERSON", "-o", str(signed), "--gost-backend", "own")
    refused = gateway(*line)
    assert refused.code == WRONG_USE
    assert "signing.allow_variable_time" in refused.stderr
    assert not signed.exists()
    made = gateway(*line, "--allow-variable-time", "--json")
    assert json.loads(made.stdout)["algorithm"] == "GOST-2015-512"
    trust = tmp_path / "trust"
    trust.mkdir()
    for certificate in NATIONAL.glob("*.cer"):
        (trust / certificate.name).write_bytes(certificate.read_bytes())
    # there is no CRL of the test root, so revocation stays unknown
    judging = ("--trust", str(trust), "--at", "2026-08-20T00:00:00Z", "--revocation", "prefer", "--json")
    verified = json.loads(gateway("verify", str(signed), *judging).stdout)
    assert (verified["valid"], verified["algorithm"]) == (True, "GOST-2015-512")
    assert verified["revocation"]["status"] == "unknown"


@pytest.mark.skipif(not NATIONAL.is_dir(), reason="the samples of the national test authority are not there")
def test_the_document_of_the_national_client_is_valid(tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    for certificate in NATIONAL.glob("*.cer"):
        (trust / certificate.name).write_bytes(certificate.read_bytes())
    judging = ("--trust", str(trust), "--at", "2025-10-01T00:00:00Z", "--revocation", "prefer", "--json")
    verified = json.loads(gateway("verify", str(NATIONAL / "enveloped_signed.xml"), *judging).stdout)
    assert (verified["valid"], verified["signer"]["bin"]) == (True, "123456789021")


def test_verify_without_revocation_evidence_is_undecided(world: World, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    for name in ("root.pem", "issuing.pem"):
        (trust / name).write_bytes((world.pki.anchors / name).read_bytes())
    document = tmp_path / "document.xml"
    document.write_text("<a/>")
    signed = tmp_path / "signed.xml"
    key = ("--key", str(world.pki.key("client")), "--certificate", str(world.pki.certificate("client")))
    gateway("sign", str(document), "--profile", "enveloped", *key, "-o", str(signed))
    undecided = gateway("verify", str(signed), "--trust", str(trust), "--json")
    assert (undecided.code, json.loads(undecided.stdout)["valid"]) == (UNDECIDED, None)
    preferred = gateway("verify", str(signed), "--trust", str(trust), "--revocation", "prefer", "--json")
    assert (preferred.code, json.loads(preferred.stdout)["revocation"]["status"]) == (YES, "unknown")


def test_a_password_comes_from_the_named_variable(world: World, tmp_path: Path) -> None:
    document = tmp_path / "document.xml"
    document.write_text("<a/>")
    done = gateway(
        "sign", str(document), "--profile", "enveloped", "--key", str(world.pki.key("client")),
        "--password-env", "NOT_SET_ANYWHERE", "-o", str(tmp_path / "signed.xml"),
    )  # fmt: skip
    assert done.code == WRONG_USE
    assert "NOT_SET_ANYWHERE" in done.stderr


def test_a_real_shaped_answer_of_the_register_of_people_is_read(tmp_path: Path) -> None:
    """Issue: nil changeDate, extra elements, empty addresses, both documents, foreign data (SHEP.md 6.1)."""
    done = gateway("read", "gbdfl", str(SAMPLES / "real_answer_shape" / "envelope.xml"), "--json")
    document = json.loads(done.stdout)
    assert (done.code, document["signed"]) == (YES, False)
    kinds = sorted(fact["kind"] for fact in document["facts"])
    assert kinds.count("identity_document") == 3  # identity card, passport, and a foreign passport
    assert "person" in kinds
    assert "residence_registration" in kinds
    text = (SAMPLES / "real_answer_shape" / "envelope.xml").read_text()
    unknown = tmp_path / "unknown.xml"
    unknown.write_text(re.sub(r"(<lifeStatus>\s*<code>)0<", r"\g<1>77<", text))
    assert unknown.read_text() != text
    refused = gateway("read", "gbdfl", str(unknown))
    assert refused.code == NO
    assert "77" in refused.stderr
    assert "lifeStatus" in refused.stderr


# ---------------------------------------------------------------- configuration, doctor, database


def test_config_check_tells_where_each_value_came_from(world: World) -> None:
    done = gateway("config", "check", "--config", str(world.config), "--json", extra={"GATEWAY_EXCHANGE__BATCH": "7"})
    rows = {row["key"]: row for row in json.loads(done.stdout)["values"]}
    assert done.code == YES
    assert (rows["exchange.batch"]["value"], rows["exchange.batch"]["source"]) == ("7", "environment")
    assert "The configuration is whole" in world.run("config", "check").stdout


def test_a_mistake_in_the_configuration_names_file_and_key(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(world.config.read_text() + "\n[server2]\nport = 1\n")
    done = gateway("run", "--config", str(wrong))
    assert done.code == WRONG_USE
    assert str(wrong) in done.stderr
    assert "server2" in done.stderr


def test_live_and_test_keys_do_not_mix(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    text = world.config.read_text().replace('"sandbox"', '"live"').replace("pki/", f"{world.folder}/pki/")
    wrong.write_text(text.replace(world.sandbox.url, "https://shep.example.invalid/"))
    done = gateway("config", "check", "--config", str(wrong))
    assert done.code == WRONG_USE
    assert "trust.folder" in done.stderr


def test_doctor_is_well_and_says_so_in_three_languages(world: World) -> None:
    done = world.run("doctor", "--json")
    signature = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "signature")
    assert "RSA-SHA256" in signature["message"]
    assert "national signatures by" in signature["message"]
    document = json.loads(done.stdout)
    assert (done.code, document["well"]) == (YES, True), done.stdout
    names = ["signature", "certificate", "database", "gateway", "lifetimes"]
    assert [check["name"] for check in document["checks"]] == names
    assert all(set(check["advice"]) == {"kk", "ru", "en"} for check in document["checks"])


@pytest.mark.parametrize("kind", ["unsigned_fault", "stranger_signer", "wrapped_forgery", "not_xml"])
def test_doctor_names_what_is_wrong_with_the_other_side(world: World, kind: str) -> None:
    misbehave(world, kind)
    done = world.run("doctor")
    httpx.delete(f"{world.sandbox_root}/sandbox/misbehave", trust_env=False)
    assert done.code in (YES, NO)
    assert ("шлюзді" in done.stdout or "shep.sync_url" in done.stdout) is (done.code == NO)


def test_a_database_that_was_never_upgraded_is_named(world: World, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    text = world.config.read_text().replace("pki/", f"{world.folder}/pki/")
    config.write_text("\n".join(line for line in text.splitlines() if not line.startswith("url = ")))
    done = gateway("query", "gbdfl", "--iin", "900101300017", "--config", str(config))
    assert done.code == WRONG_USE
    assert "gateway db upgrade" in done.stderr


# ---------------------------------------------------------------- the processes


def test_the_daemon_is_live_and_ready_and_serves_its_contract(world: World) -> None:
    ready = httpx.get(f"{world.daemon_root}/health/ready", trust_env=False, timeout=60)
    assert ready.json() == {
        "ready": True,
        "checks": {"signature": "ok", "certificate": "ok", "database": "ok"},
    }
    wsdl = httpx.get(f"{world.daemon.url}?wsdl", trust_env=False)
    assert world.daemon.url in wsdl.text
    assert httpx.get(world.daemon.url, trust_env=False).status_code == 405


def test_sigterm_ends_the_daemon_after_the_question_in_hand(world: World, tmp_path: Path) -> None:
    config = world.folder / "second.toml"
    config.write_text(world.config.read_text())
    with Process(("run", "--config", str(config)), "listening on ", tmp_path / "second.log") as daemon:
        assert httpx.get(daemon.url + "?wsdl", trust_env=False).status_code == 200
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    assert "Traceback" not in daemon.said()


def test_a_port_that_is_taken_is_named(world: World, tmp_path: Path) -> None:
    port = world.sandbox_root.rpartition(":")[2]
    done = gateway("sandbox", "--port", port, "--config", str(world.config))
    assert done.code == WRONG_USE
    assert port in done.stderr
    taken = gateway("run", "--config", str(world.config), extra={"GATEWAY_SERVER__PORT": port})
    assert taken.code == WRONG_USE
    assert port in taken.stderr


def test_pki_init_never_overwrites(world: World, tmp_path: Path) -> None:
    made = gateway("pki", "init", str(tmp_path / "pki"), "--json")
    assert (made.code, Path(json.loads(made.stdout)["key"]).stat().st_mode & 0o077) == (YES, 0)
    assert gateway("pki", "init", str(tmp_path / "pki")).code == WRONG_USE


def test_every_command_has_an_example_in_its_help() -> None:
    from typer.main import get_command

    import gateway.cli.main  # noqa: F401 - registers the commands

    def leaves(command, path=()):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from leaves(inner, (*path, name))
        else:
            yield path, command

    for path, command in leaves(get_command(app)):
        assert command.epilog is not None, path
        assert command.epilog.startswith("Example: gateway " + " ".join(path)), path
