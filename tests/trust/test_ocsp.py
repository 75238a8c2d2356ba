"""OCSP beside other implementations, and what an answer is kept for; decisions are rows of test_decided_cases.py."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as other
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedMessage, RevocationUnknown
from gateway.trust import ocsp
from gateway.trust.crl_status import Boundaries
from gateway.trust.evidence import NO_EVIDENCE, FetchedCrl, OcspAnswer, RevocationEvidence
from gateway.trust.ocsp import NONCE_BYTES, build_request, check_answer, read_response
from gateway.trust.revocation import check_revocation
from gateway.trust.store import TrustStore, sort_out
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationRules, RevocationState
from tests.trust.minting import (
    DAY,
    MINUTE,
    NOW,
    Minted,
    PrivateKey,
    authority,
    crl,
    ec_key,
    entry,
    gost_key,
    mint,
    ocsp_answer,
    responder,
    rsa_key,
    statement,
)

NONCE = b"n" * NONCE_BYTES
URL = "http://ocsp.example.invalid/"
REQUIRE = RevocationMode.REQUIRE


class Hierarchy:
    def __init__(self, key: Any) -> None:
        self.root = authority("root", key=key("root"))
        self.issuing = authority("issuing", self.root, key=key("issuing"))
        self.leaf = mint("leaf", self.issuing, key=key("leaf"))
        self.responder = responder("responder", self.issuing, key=key("responder"))
        self.material = sort_out([self.root.parsed, self.issuing.parsed], [crl(self.root)])

    def answer(self, *statements: bytes, nonce: bytes | None = NONCE, **changes: Any) -> OcspAnswer:
        der = ocsp_answer(
            *(statements or [statement(self.leaf, self.issuing)]),
            signer=self.responder,
            certificates=[self.responder],
            nonce=nonce,
            **changes,
        )
        return OcspAnswer(der, URL, NOW, nonce)

    def check(self, answer: OcspAnswer, at: dt.datetime = NOW) -> Any:
        return check_answer(answer, self.leaf.parsed, self.issuing.parsed, self.material, at=at)


EC = Hierarchy(ec_key)
KEYS = pytest.mark.parametrize("key", [rsa_key, ec_key, gost_key], ids=["rsa", "ec", "gost"])


# ---------------------------------------------------------------- beside other implementations


@KEYS
def test_another_library_reads_our_question(key: Any) -> None:
    made = Hierarchy(key)
    der = build_request(made.leaf.parsed, made.issuing.parsed, nonce=NONCE)
    read = other.load_der_ocsp_request(der)
    assert read.serial_number == made.leaf.parsed.serial
    assert isinstance(read.hash_algorithm, SHA256)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    # and finds in our minted answers what it would look for
    answer = other.load_der_ocsp_response(made.answer().der)
    assert answer.issuer_key_hash == read.issuer_key_hash
    assert answer.issuer_name_hash == read.issuer_name_hash
    assert answer.certificate_status is other.OCSPCertStatus.GOOD


def test_a_question_without_a_nonce_has_no_extensions() -> None:
    der = build_request(EC.leaf.parsed, EC.issuing.parsed, nonce=None)
    read = asn1_ocsp.OCSPRequest.load(der)
    assert read["tbs_request"]["request_extensions"].native is None
    assert build_request(EC.leaf.parsed, EC.issuing.parsed, nonce=None) == der


@pytest.mark.parametrize("status", [other.OCSPCertStatus.GOOD, other.OCSPCertStatus.REVOKED])
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("key", [rsa_key, ec_key], ids=["rsa", "ec"])
def test_an_answer_made_by_another_library_is_judged_the_same(
    key: Any, by_key: bool, status: other.OCSPCertStatus
) -> None:
    made = Hierarchy(key)
    leaf, issuing, by = (x509.load_der_x509_certificate(m.der) for m in (made.leaf, made.issuing, made.responder))
    revoked = status is other.OCSPCertStatus.REVOKED
    encoding = other.OCSPResponderEncoding.HASH if by_key else other.OCSPResponderEncoding.NAME
    der = (
        other.OCSPResponseBuilder()
        .add_response(
            leaf,
            issuing,
            SHA256(),
            status,
            this_update=NOW - MINUTE,
            next_update=NOW + DAY,
            revocation_time=NOW - DAY if revoked else None,
            revocation_reason=x509.ReasonFlags.superseded if revoked else None,
        )
        .responder_id(encoding, by)
        .certificates([by])
        .add_extension(x509.OCSPNonce(NONCE), critical=False)
        .sign(_signable(made.responder.key), SHA256())
        .public_bytes(Encoding.DER)
    )
    # the library stamps producedAt with the clock of this machine: judged shortly after that
    produced = other.load_der_ocsp_response(der).produced_at_utc
    rules = RevocationRules(max_clock_skew_s=10 * 365 * 86_400)
    material = sort_out([made.root.parsed, made.issuing.parsed], [crl(made.root)], rules=rules)
    answer = OcspAnswer(der, URL, NOW, NONCE)
    found = check_answer(answer, made.leaf.parsed, made.issuing.parsed, material, at=NOW)
    assert produced is not None
    assert found.status is (RevocationState.REVOKED if revoked else RevocationState.GOOD), found.detail
    assert found.reason == ("superseded" if revoked else "")
    assert found.revoked_at == (NOW - DAY if revoked else None)


def _signable(key: PrivateKey) -> Any:
    return key


# ---------------------------------------------------------------- what the verdict hands on


def test_the_answer_that_decided_is_handed_on_with_its_bytes_and_age() -> None:
    answer = EC.answer()
    store = TrustStore(EC.material)
    evidence = RevocationEvidence(ocsp=(answer,))
    verdict = validate(EC.leaf.parsed, store, at=NOW, revocation=REQUIRE, evidence=evidence)
    assert verdict.revocation.source == "ocsp+crl"
    assert verdict.revocation.ocsp_answers == (answer.der,)
    by_answer, by_list = verdict.evidence
    assert (by_answer.kind, by_answer.as_of, by_answer.source) == ("ocsp", NOW - MINUTE, URL)
    assert (by_list.kind, by_list.content, by_list.source) == ("crl", b"", "")
    of_leaf, of_issuing = verdict.revocation.each
    assert (of_leaf.source, of_leaf.as_of) == ("ocsp", NOW - MINUTE)
    assert (of_issuing.source, of_issuing.as_of) == ("crl", NOW - DAY)
    assert verdict.revocation.as_of == NOW - DAY  # the oldest evidence is the age of the whole
    # kept with the message and judged again years later, as of the moment of the message
    kept = RevocationEvidence(ocsp=(OcspAnswer(verdict.revocation.ocsp_answers[0], "archive", NOW),))
    again = validate(EC.leaf.parsed, TrustStore(EC.material), at=NOW, revocation=REQUIRE, evidence=kept)
    assert again.revocation.status is RevocationState.GOOD


def test_an_answer_shows_no_bytes_when_it_is_printed() -> None:
    text = repr(EC.answer())
    assert URL in text
    assert "nonce" not in text
    assert "der" not in text


def test_a_verdict_found_with_an_answer_does_not_outlive_it() -> None:
    store = TrustStore(EC.material)
    evidence = RevocationEvidence(ocsp=(EC.answer(),))
    first = validate(EC.leaf.parsed, store, at=NOW, revocation=REQUIRE, evidence=evidence)
    assert validate(EC.leaf.parsed, store, at=NOW + 30 * MINUTE, revocation=REQUIRE, evidence=evidence) is first
    with pytest.raises(RevocationUnknown):
        validate(EC.leaf.parsed, store, at=NOW + 59 * MINUTE, revocation=REQUIRE, evidence=evidence)


def test_a_verdict_found_with_one_piece_of_evidence_says_nothing_with_another() -> None:
    store = TrustStore(EC.material)
    good = RevocationEvidence(ocsp=(EC.answer(),))
    validate(EC.leaf.parsed, store, at=NOW, revocation=REQUIRE, evidence=good)
    with pytest.raises(RevocationUnknown):
        validate(EC.leaf.parsed, store, at=NOW, revocation=REQUIRE)
    revoked = EC.answer(statement(EC.leaf, EC.issuing, "revoked"))
    with pytest.raises(Exception, match="revoked"):
        validate(EC.leaf.parsed, store, at=NOW, revocation=REQUIRE, evidence=RevocationEvidence(ocsp=(revoked,)))


def test_equal_evidence_has_an_equal_key() -> None:
    answer, archived = EC.answer(), OcspAnswer(EC.answer().der, URL, NOW)
    fetched = FetchedCrl(crl(EC.root), "http://crl.example.invalid/", NOW)
    assert RevocationEvidence((fetched,), (answer,)).key == RevocationEvidence((fetched,), (answer,)).key
    keys = {e.key for e in (RevocationEvidence((fetched,)), RevocationEvidence(ocsp=(answer,)), NO_EVIDENCE)}
    assert len(keys) == 3
    assert RevocationEvidence(ocsp=(OcspAnswer(answer.der, URL, NOW),)).key != RevocationEvidence(ocsp=(answer,)).key
    assert archived.nonce is None


def test_the_moments_at_which_an_answer_begins_and_ends_are_told() -> None:
    boundaries = Boundaries(NOW)
    found = check_answer(EC.answer(), EC.leaf.parsed, EC.issuing.parsed, EC.material, at=NOW, boundaries=boundaries)
    assert (boundaries.before, boundaries.after) == (NOW - 2 * MINUTE, NOW + 59 * MINUTE)
    assert (found.holds_from, found.holds_before) == (NOW - 2 * MINUTE, NOW + 59 * MINUTE)


def test_a_verdict_does_not_outlive_the_responders_certificate() -> None:
    short = responder("short", EC.issuing, key=ec_key("responder"), end=NOW + 5 * MINUTE)
    der = ocsp_answer(statement(EC.leaf, EC.issuing), signer=short, certificates=[short])
    found = check_revocation(
        EC.leaf.parsed,
        EC.issuing.parsed,
        EC.material,
        at=NOW,
        evidence=RevocationEvidence(ocsp=(OcspAnswer(der, URL, NOW),)),
    )
    assert (found.status, found.holds_before) == (RevocationState.GOOD, NOW + 5 * MINUTE)


def test_a_revoked_responder_is_told() -> None:
    list_ = crl(EC.issuing, entry(EC.responder.parsed.serial))
    material = sort_out([EC.root.parsed, EC.issuing.parsed], [crl(EC.root), list_])
    found = check_answer(EC.answer(), EC.leaf.parsed, EC.issuing.parsed, material, at=NOW)
    assert found.status is RevocationState.UNKNOWN
    assert "responder is revoked" in found.detail


def test_a_responders_revocation_may_be_known_from_a_fetched_list() -> None:
    unmarked = responder("responder", EC.issuing, key=ec_key("responder"), no_check=None)
    der = ocsp_answer(statement(EC.leaf, EC.issuing), signer=unmarked, certificates=[unmarked])
    answer = OcspAnswer(der, URL, NOW)
    assert EC.check(answer).status is RevocationState.UNKNOWN
    fetched = (FetchedCrl(crl(EC.issuing), "http://crl.example.invalid/", NOW),)
    found = check_answer(answer, EC.leaf.parsed, EC.issuing.parsed, EC.material, at=NOW, fetched=fetched)
    assert found.status is RevocationState.GOOD


def test_the_first_of_several_certificates_of_the_responders_name_that_signed_it_counts() -> None:
    twin = responder("responder", EC.issuing, key=ec_key("twin"))
    der = ocsp_answer(statement(EC.leaf, EC.issuing), signer=EC.responder, certificates=[twin, EC.responder])
    assert EC.check(OcspAnswer(der, URL, NOW)).status is RevocationState.GOOD


def test_a_certificate_in_the_answer_that_is_not_x509_spoils_it() -> None:
    broken = Minted(b"\x30\x03\x02\x01\x05", ec_key("x"), EC.leaf.name)
    der = ocsp_answer(statement(EC.leaf, EC.issuing), signer=EC.responder, certificates=[EC.responder, broken])
    assert EC.check(OcspAnswer(der, URL, NOW)).status is RevocationState.UNKNOWN


# ---------------------------------------------------------------- bytes from outside


@settings(max_examples=150)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_byte_changed_anywhere_never_makes_an_answer_good_for_something_else(place: int, mask: int) -> None:
    answer = EC.answer()
    der = bytearray(answer.der)
    der[place % len(der)] ^= mask
    found = EC.check(OcspAnswer(bytes(der), URL, NOW, NONCE))
    if found.status is not RevocationState.UNKNOWN:
        # what is outside the signature may change (parameters of an algorithm, the certificates' wrapping)
        read = read_response(bytes(der))
        assert read.tbs == read_response(answer.der).tbs


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_answer_are_told_and_break_nothing(data: bytes) -> None:
    assert EC.check(OcspAnswer(data, URL, NOW)).status is RevocationState.UNKNOWN
    wrapped = b"\x30" + bytes([len(data) & 0x7F]) + data
    assert EC.check(OcspAnswer(wrapped, URL, NOW)).status is RevocationState.UNKNOWN


def test_an_answer_above_the_bound_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocsp, "MAX_ANSWER_BYTES", 100)
    with pytest.raises(MalformedMessage) as caught:
        read_response(EC.answer().der)
    assert caught.value.code == "bad_ocsp_response"
