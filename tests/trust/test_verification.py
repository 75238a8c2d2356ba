from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.signing.algorithms import algorithm_for_key
from gateway.signing.enveloped import sign_enveloped
from gateway.signing.keys import SigningKey, load_signing_key
from gateway.signing.wss import KeyInfoForm, sign_body
from gateway.trust import throwaway_pki
from gateway.trust.store import TrustStore
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.trust.verdict import RevocationMode
from gateway.trust.verification import VerificationReport, verify_document

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
FORMS = list(KeyInfoForm)[:3]
REQUIRE, PREFER, OFF = RevocationMode.REQUIRE, RevocationMode.PREFER, RevocationMode.OFF


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("pki") / "new", now=NOW)


@pytest.fixture(scope="module")
def store(pki: ThrowawayPki) -> TrustStore:
    return TrustStore.load(pki.anchors)


def signing_key(pki: ThrowawayPki, name: str) -> SigningKey:
    return load_signing_key(pki.key(name), None, pki.certificate(name))


def envelope(pki: ThrowawayPki, name: str, form: KeyInfoForm = KeyInfoForm.KEY_IDENTIFIER) -> bytes:
    body = etree.fromstring(f'<s:Body xmlns:s="{SOAP}"><q xmlns="urn:test">value</q></s:Body>')
    return sign_body(body, signing_key(pki, name), form=form)


def document(pki: ThrowawayPki, *names: str) -> bytes:
    signed = b"<data><value>1</value></data>"
    for name in names:
        signed = sign_enveloped(etree.fromstring(signed), signing_key(pki, name))
    return signed


def verify(data: bytes, store: TrustStore, mode: RevocationMode = REQUIRE, at: dt.datetime = NOW) -> VerificationReport:
    return verify_document(data, store, at=at, revocation=mode)


def bare(pki: ThrowawayPki) -> TrustStore:
    """The same certificates without any CRL."""
    material = TrustStore.load(pki.anchors).material
    return TrustStore.of([*material.anchors, *material.intermediates, *material.peers])


CONTRACT_KEYS = ["valid", "code", "step", "message", "signed", "algorithm", "signer", "revocation"]


@pytest.mark.parametrize("form", FORMS)
def test_a_signed_envelope_of_a_trusted_system_is_valid(
    pki: ThrowawayPki, store: TrustStore, form: KeyInfoForm
) -> None:
    report = verify(envelope(pki, "shep", form), store)
    shown = report.as_dict()
    assert list(shown) == CONTRACT_KEYS
    assert (shown["valid"], shown["code"], shown["step"], shown["signed"]) == (True, "ok", None, "body")
    assert shown["algorithm"] == "RSA-SHA256"
    assert shown["revocation"] == {"status": "good", "source": "delta_crl+crl", "as_of": "2026-11-21T11:00:00+00:00"}
    assert shown["signer"] == {
        "subject": "C=KZ,OU=BIN990140000027,O=TEST ORGANISATION 2 (INVENTED),UID=1.2.398.999.2,CN=TEST SHEP SIMULATOR",
        "serial": str(report.signer.serial) if report.signer else "",
        "iin": None,
        "bin": "990140000027",
        "roles": ["legal_entity", "information_system"],
    }
    assert json.loads(json.dumps(shown)) == shown


def test_a_document_signed_by_a_person_is_valid_and_names_the_person(pki: ThrowawayPki, store: TrustStore) -> None:
    shown = verify(document(pki, "person"), store).as_dict()
    assert (shown["valid"], shown["signed"]) == (True, "document")
    assert shown["signer"]["iin"] == "900202400002"
    assert shown["signer"]["roles"] == ["person"]


REFUSED = {
    "expired": (False, "expired", "path", "unknown"),
    "revoked": (False, "revoked", "revocation", "revoked"),
    "stranger": (False, "untrusted_issuer", "path", "unknown"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_signer_that_is_not_trusted_makes_it_invalid_and_is_named(
    pki: ThrowawayPki, store: TrustStore, name: str
) -> None:
    for data, signed in ((envelope(pki, name), "body"), (document(pki, name), "document")):
        report = verify(data, store)
        found = (report.valid, report.code, report.step, report.revocation.status.value)
        assert found == REFUSED[name]
        assert report.signed == signed
        assert report.signer is not None
        assert not report.steps[-1].ok
        assert report.steps[-1].code == report.code
        assert all(step.ok for step in report.steps[:-1])


def test_a_revoked_signer_comes_with_its_evidence(pki: ThrowawayPki, store: TrustStore) -> None:
    shown = verify(envelope(pki, "revoked"), store).as_dict()
    assert shown["revocation"] == {"status": "revoked", "source": "delta_crl", "as_of": "2026-11-21T11:30:00+00:00"}
    assert "keyCompromise" in shown["message"]


def test_unknown_revocation_is_neither_valid_nor_invalid_where_it_is_required(pki: ThrowawayPki) -> None:
    shown = verify(envelope(pki, "shep"), bare(pki)).as_dict()
    assert (shown["valid"], shown["code"], shown["step"]) == (None, "revocation_unknown", "revocation")
    assert shown["revocation"] == {"status": "unknown", "source": "none", "as_of": None}
    assert shown["signer"] is not None


@pytest.mark.parametrize(("mode", "source"), [(PREFER, "none"), (OFF, "off")])
def test_unknown_revocation_stays_visible_where_it_is_accepted(
    pki: ThrowawayPki, mode: RevocationMode, source: str
) -> None:
    shown = verify(envelope(pki, "shep"), bare(pki), mode).as_dict(explain=True)
    assert shown["valid"] is True
    assert shown["revocation"] == {"status": "unknown", "source": source, "as_of": None}
    assert shown["steps"][-1]["compared"].startswith(f"unknown ({source}; mode {mode})")


def test_a_peer_known_only_by_number_is_refused_where_it_is_not_known(pki: ThrowawayPki) -> None:
    foreign = TrustStore.load(pki.certificate("stranger").parent)
    report = verify(envelope(pki, "shep", KeyInfoForm.ISSUER_SERIAL), foreign)
    assert (report.valid, report.code, report.signer) == (False, "certificate_unknown", None)


@pytest.mark.parametrize(
    ("change", "code", "step"),
    [
        (lambda data: data.replace(b"value", b"VALUE"), "digest", "digest"),
        (lambda data: b"", "not_xml", "bounds"),
        (lambda data: b"nonsense", "not_xml", "bounds"),
        (lambda data: data[:-30], "not_xml", "bounds"),
        (lambda data: b"<!DOCTYPE a>" + data, "doctype", "bounds"),
        (lambda data: data.replace(b"Signature>", b"Sig>"), "not_xml", "bounds"),
        (lambda data: b"<a/>", "unsigned", "signature_place"),
        (
            lambda data: f'<e:Envelope xmlns:e="{SOAP}"><e:Body/></e:Envelope>'.encode(),
            "unsigned",
            "signature_place",
        ),
    ],
)
def test_a_signature_that_does_not_hold_names_the_failing_step_and_nobody(
    pki: ThrowawayPki,
    store: TrustStore,
    change,
    code: str,
    step: str,  # type: ignore[no-untyped-def]
) -> None:
    report = verify(change(envelope(pki, "shep")), store)
    assert (report.valid, report.code, report.step) == (False, code, step)
    assert (report.signed, report.algorithm, report.signer) == (None, None, None)
    assert report.as_dict()["revocation"] == {"status": "unknown", "source": "none", "as_of": None}
    assert report.steps[-1].name == step


def test_explain_names_every_step_with_what_it_compared(pki: ThrowawayPki, store: TrustStore) -> None:
    shown = verify(envelope(pki, "client"), store).as_dict(explain=True)
    assert list(shown) == [*CONTRACT_KEYS, "steps"]
    names = [step["name"] for step in shown["steps"]]
    assert names[-4:] == ["path", "purpose", "signer", "revocation"]
    assert all(step["ok"] and step["compared"] and not step["code"] for step in shown["steps"])
    assert "digitalSignature, nonRepudiation" in shown["steps"][-3]["compared"]
    assert "right_to_sign" in shown["steps"][-3]["compared"]


def test_what_explains_a_persons_signature_does_not_name_the_person(pki: ThrowawayPki, store: TrustStore) -> None:
    for name in ("client", "person"):
        text = json.dumps(verify(document(pki, name), store).as_dict(explain=True)["steps"])
        assert "IIN" not in text
        assert "00005" not in text


def test_a_document_with_two_signatures_needs_both_signers_trusted(pki: ThrowawayPki, store: TrustStore) -> None:
    assert verify(document(pki, "person", "client"), store).valid is True
    for names in (("person", "revoked"), ("revoked", "person")):
        report = verify(document(pki, *names), store)
        assert (report.valid, report.code) == (False, "revoked")
        assert report.signer is not None
        assert "REVOKED" in report.signer.subject


def test_a_refused_signer_outweighs_an_unknown_one(pki: ThrowawayPki) -> None:
    report = verify(document(pki, "person", "expired"), bare(pki))
    assert (report.valid, report.code) == (False, "expired")
    report = verify(document(pki, "person", "client"), bare(pki))
    assert (report.valid, report.code) == (None, "revocation_unknown")


def test_the_time_is_the_callers(pki: ThrowawayPki, store: TrustStore) -> None:
    then = NOW - dt.timedelta(days=100)
    report = verify(envelope(pki, "expired"), store, at=then)
    assert (report.valid, report.code) == (None, "revocation_unknown")  # valid then, but the CRL is of today
    assert verify(envelope(pki, "expired"), store, OFF, at=then).valid is True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(place=st.integers(0, 3_000), byte=st.integers(0, 255))
def test_a_byte_changed_anywhere_is_refused_or_changes_nothing_signed(
    pki: ThrowawayPki, store: TrustStore, place: int, byte: int
) -> None:
    genuine = _genuine(pki)
    place %= len(genuine)
    report = verify(genuine[:place] + bytes([byte]) + genuine[place + 1 :], store)
    if report.valid:
        assert report.signer is not None
        assert "SHEP" in report.signer.subject


_made: dict[Path, bytes] = {}


def _genuine(pki: ThrowawayPki) -> bytes:
    return _made.setdefault(pki.directory, envelope(pki, "shep"))


def test_the_table_of_the_signing_room_knows_our_keys(pki: ThrowawayPki) -> None:
    algorithm = algorithm_for_key(signing_key(pki, "gateway").certificate.key_family)
    assert algorithm is not None
    assert algorithm.name == "RSA-SHA256"
