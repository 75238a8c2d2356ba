"""Steps 1 to 13 against a register that signs for real."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import Engine, func, select
from structlog.testing import capture_logs

from gateway.database import engine_for, reading
from gateway.errors import (
    GatewayError,
    MappingError,
    OperatorError,
    OutcomeUnknown,
    PeerFault,
    PeerUnavailable,
    SignatureRefused,
    StoreError,
)
from gateway.exchange import outbox
from gateway.exchange.due import Reason
from gateway.exchange.journal import Journal, JournalRecord, MessageDirection
from gateway.exchange.outbox import State
from gateway.exchange.results import AskResult, step_of
from gateway.exchange.sending import shown_address
from gateway.exchange.tables import DUE, EXCHANGE
from gateway.exchange.verification import TrustPolicy
from gateway.model import Consent, Disability, Fact, Iin, Outcome, outcome_of
from gateway.registry.store import facts_of
from gateway.registry.tables import FACT
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo, StatusInfo
from gateway.shep.names import SOAP_11
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SoftwareKey
from gateway.systems.definition import SystemDefinition
from gateway.trust.store import TrustStore
from gateway.trust.verdict import RevocationMode
from tests.exchange.world import (
    HOUSEHOLD,
    NOW,
    OTHER,
    PERSON,
    Keys,
    Register,
    asker,
    invented,
    law,
    message_ids,
    policy,
    systems,
    trust,
)

# ---------------------------------------------------------------- looking into the store


def exchange_of(engine: Engine, message_id: str = "ours-1") -> outbox.Exchange:
    with reading(engine) as connection:
        found = outbox.get(connection, message_id)
    assert found is not None
    return found


def rows(engine: Engine, table: Any) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def entries(engine: Engine, direction: MessageDirection) -> list[JournalRecord]:
    journal = Journal(engine)
    found = [journal.get(record.id) for record in journal.list_entries(direction=direction)]
    return [record for record in found if record is not None]


def with_mapper(slug: str = "cbdi", **functions: Callable[..., Any]) -> dict[str, SystemDefinition]:
    """The systems, one of them with functions of its mapper replaced."""
    genuine = systems()[slug]

    class Mapper:
        build_request = staticmethod(functions.get("build_request", genuine.mapper.build_request))
        read_response = staticmethod(functions.get("read_response", genuine.mapper.read_response))

    return {**systems(), slug: dataclasses.replace(genuine, mapper=Mapper())}


# ---------------------------------------------------------------- an answer


def test_an_answer_is_journalled_read_and_recorded(engine: Engine, keys: Keys, register: Register) -> None:
    result = asker(engine, keys, register).ask("cbdi", PERSON)

    assert (result.state, result.outcome, result.error) == (State.ANSWERED, Outcome.FOUND, None)
    (fact,) = result.facts
    assert (fact.kind, fact.subject, fact.key) == ("disability", PERSON, "T-1")
    with reading(engine) as connection:
        (recorded,) = facts_of(connection, PERSON, NOW)
    assert recorded.fact == fact
    assert recorded.provenance.message_id == "ours-1"
    assert recorded.provenance.signer_serial == str(keys["shep"].certificate.serial)

    (request,) = entries(engine, MessageDirection.OUT)
    (reply,) = entries(engine, MessageDirection.IN)
    assert request.body == register.requests[0]
    assert reply.body == register.sent[0]
    assert (request.step, request.kind, request.verdict) == (8, "request", "signed")
    assert (reply.step, reply.kind, reply.verdict) == (10, "reply", "accepted")
    assert reply.signer.subject == keys["shep"].certificate.subject
    assert (reply.revocation.status, reply.revocation.source) == ("good", "delta_crl+crl")

    row = exchange_of(engine)
    assert (row.state, row.outcome, row.code) == (State.ANSWERED, Outcome.FOUND, "")
    assert (row.request_journal_id, row.reply_journal_id) == (request.id, reply.id)
    assert row.subject == PERSON


def test_the_person_becomes_due_again(engine: Engine, keys: Keys, register: Register) -> None:
    asker(engine, keys, register).ask("cbdi", PERSON)
    with reading(engine) as connection:
        row = connection.execute(select(DUE)).mappings().one()
    assert (row["iin"], row["system"], row["reason"]) == (PERSON.value, "cbdi", Reason.REFRESH)
    assert row["due_at"] == NOW + dt.timedelta(days=30)


def test_it_is_due_earlier_when_the_answer_itself_says_so(store: Engine, keys: Keys, register: Register) -> None:
    # the certificate ends in ten days: it may have been prolonged by then
    ends = dt.date(2026, 6, 11)
    citizen = dataclasses.replace(
        HOUSEHOLD.citizens[0], disability=Disability("2", "x", dt.date(2026, 2, 1), ends, "T-1")
    )
    register.household = dataclasses.replace(HOUSEHOLD, citizens=(citizen,))
    asker(store, keys, register).ask("cbdi", PERSON)
    with reading(store) as connection:
        row = connection.execute(select(DUE)).mappings().one()
    assert (row["reason"], row["due_at"]) == (Reason.STANDING, dt.datetime(2026, 6, 10, 19, 0, tzinfo=dt.UTC))


def test_an_empty_answer_about_another_person_is_refused(store: Engine, keys: Keys, register: Register) -> None:
    register.change_payload = _about_another
    ours = asker(store, keys, register)
    result = ours.ask("cbdi", invented("70030330055"))
    assert result.error is not None
    assert (result.error.code, result.outcome) == ("wrong_subject", Outcome.UNKNOWN)


def test_rules_that_do_not_judge_today_do_not_hinder_an_answer(store: Engine, keys: Keys, register: Register) -> None:
    later = tuple(dataclasses.replace(one, in_force_from=dt.date(2030, 1, 1)) for one in law().editions)
    result = asker(store, keys, register, law=dataclasses.replace(law(), editions=later)).ask("cbdi", PERSON)
    assert result.state is State.ANSWERED
    assert rows(store, DUE) == 1


def test_request_and_row_are_committed_before_the_post(engine: Engine, keys: Keys, register: Register) -> None:
    seen: list[tuple[State, bytes | None]] = []

    def look() -> None:
        (entry,) = entries(engine, MessageDirection.OUT)
        seen.append((exchange_of(engine).state, entry.body))

    register.before_reply = look
    asker(engine, keys, register).ask("cbdi", PERSON)
    assert seen == [(State.ASKED, register.requests[0])]


class Exploding(TrustStore):
    def __init__(self) -> None:
        pass

    def find(self, issuer_key: object, serial: int) -> None:
        raise RuntimeError("the process died here")


def test_the_reply_is_committed_before_anything_of_it_is_read(engine: Engine, keys: Keys, register: Register) -> None:
    dying = asker(engine, keys, register, trust=TrustPolicy(Exploding(), RevocationMode.REQUIRE))
    with pytest.raises(RuntimeError):
        dying.ask("cbdi", PERSON)
    (reply,) = entries(engine, MessageDirection.IN)
    assert (reply.body, reply.verdict) == (register.sent[0], "")
    assert exchange_of(engine).state is State.ASKED


def test_every_shipped_system_is_asked(store: Engine, keys: Keys, register: Register) -> None:
    ours = asker(store, keys, register)
    outcomes = {slug: ours.ask(slug, PERSON).state for slug in systems()}
    assert set(outcomes.values()) == {State.ANSWERED}
    assert rows(store, EXCHANGE) == len(systems())


def test_not_found_is_an_answer(store: Engine, keys: Keys, register: Register) -> None:
    result = asker(store, keys, register).ask("cbdi", OTHER)
    assert (result.state, result.outcome, result.facts) == (State.ANSWERED, Outcome.NOT_FOUND, ())


@pytest.mark.parametrize(
    ("kinds", "reply"), [(KeyInfoForm.KEY_IDENTIFIER, "shep"), (KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE, "client")]
)
def test_every_form_of_key_info_is_spoken(
    store: Engine, keys: Keys, register: Register, kinds: KeyInfoForm, reply: str
) -> None:
    register.form, register.signer = kinds, reply
    result = asker(store, keys, register, policy=policy(key_info=kinds)).ask("cbdi", PERSON)
    assert result.state is State.ANSWERED


def test_our_own_signature_by_issuer_and_serial_is_checked_with_our_own_certificate(
    store: Engine, keys: Keys, register: Register
) -> None:
    register.error = PeerUnavailable("down")
    result = asker(store, keys, register, policy=policy(key_info=KeyInfoForm.ISSUER_SERIAL)).ask("cbdi", PERSON)
    assert result.state is State.WAITING


def test_a_register_may_be_named_by_an_alias_and_facts_by_the_catalogue(
    store: Engine, keys: Keys, register: Register
) -> None:
    queries = []
    genuine = systems()["cbdi"].mapper.build_request

    def build(query: Any) -> etree._Element:
        queries.append(query)
        return genuine(query)

    ours = asker(store, keys, register, systems=with_mapper(build_request=build))
    ours.ask("cbdi", PERSON, facts=["disability_group", "disability"])
    assert queries[0].facts == ("disability",)
    assert queries[0].requester == "FUND"


def test_the_shorter_timeout_wins(store: Engine, keys: Keys, register: Register) -> None:
    asker(store, keys, register, policy=policy(connect_timeout_s=2.0, reply_timeout_s=600.0, max_reply_bytes=9)).ask(
        "cbdi", PERSON
    )
    assert register.timeouts == [(2.0, 60.0, 9)]


def test_a_question_with_consent_goes_to_its_service_and_is_never_repeated_by_itself(
    store: Engine, keys: Keys, register: Register
) -> None:
    result = asker(store, keys, register).ask("gbdfl", PERSON, consent=Consent("token", "public"))
    assert (result.service_id, result.state) == ("GBDFLUniversal_token", State.ANSWERED)
    assert rows(store, DUE) == 0


def test_a_status_that_is_not_success_is_a_rejection(store: Engine, keys: Keys, register: Register) -> None:
    register.status = StatusInfo("SCSE001", "сервис уақытша жұмыс істемейді")
    result = asker(store, keys, register).ask("cbdi", PERSON)
    assert (result.state, result.outcome) == (State.ANSWERED, Outcome.REJECTED)
    assert result.as_dict()["rejection"] == {"code": "SCSE001", "message": "сервис уақытша жұмыс істемейді"}
    assert exchange_of(store).code == "SCSE001"
    assert rows(store, FACT) == 0


def test_the_result_is_that_of_the_contract(store: Engine, keys: Keys, register: Register) -> None:
    document = asker(store, keys, register).ask("cbdi", PERSON).as_dict()
    assert document["message_id"] == "ours-1"
    assert (document["system"], document["outcome"]) == ("cbdi", "found")
    assert document["facts"][0]["subject"] == PERSON.value
    assert (document["facts"][0]["valid_from"], document["facts"][0]["valid_to"]) == ("2026-02-01", None)
    assert set(document["signer"]) == {"subject", "serial", "iin", "bin", "roles"}
    assert set(document["revocation"]) == {"status", "source", "as_of"}
    assert "error" not in document


def test_no_iin_password_or_body_reaches_the_log(store: Engine, keys: Keys, register: Register) -> None:
    with capture_logs() as logs:
        result = asker(store, keys, register).ask("cbdi", PERSON)
        register.change = lambda data: data.replace(PERSON.value.encode(), OTHER.value.encode())
        asker(store, keys, register, new_message_id=message_ids("second")).ask("cbdi", PERSON)
    assert [line["action"] for line in logs] == ["ask_answered", "ask_refused"]
    told = repr(logs) + repr(result.error) + repr(exchange_of(store))
    for secret in (PERSON.value, OTHER.value, "sender-password", "login", "token=", "Envelope"):
        assert secret not in told


def test_the_address_is_journalled_without_its_credentials(store: Engine, keys: Keys, register: Register) -> None:
    asker(store, keys, register).ask("cbdi", PERSON)
    assert entries(store, MessageDirection.OUT)[0].peer == "http://gateway.example.invalid/bip-sync-wss/"
    assert shown_address("https://host:8443/a?b=c") == "https://host:8443/a"


# ---------------------------------------------------------------- no reply


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (PeerUnavailable("nobody there"), State.WAITING, "peer_unavailable"),
        (OutcomeUnknown("silence", code="reply_timeout"), State.UNKNOWN, "reply_timeout"),
        (OutcomeUnknown("cut", code="reply_cut"), State.UNKNOWN, "reply_cut"),
    ],
)
def test_a_question_without_reply_says_what_is_known_and_is_not_sent_again(
    engine: Engine, keys: Keys, register: Register, error: GatewayError, state: State, code: str
) -> None:
    register.error = error
    result = asker(engine, keys, register).ask("cbdi", PERSON)
    assert (result.state, result.outcome, result.error) == (state, Outcome.UNKNOWN, error)
    assert result.as_dict()["error"]["step"] == "post"
    assert len(register.requests) == 1
    row = exchange_of(engine)
    assert (row.state, row.outcome, row.code, row.reply_journal_id) == (state, Outcome.UNKNOWN, code, None)
    assert rows(engine, FACT) == rows(engine, DUE) == 0


# ---------------------------------------------------------------- a reply that must not be used


def _wrapped(data: bytes) -> bytes:
    """The signed Body moved into the Header, another one in its place."""
    root = etree.fromstring(data)
    header, body = root
    lie = deepcopy(body)
    for key in lie.attrib:
        del lie.attrib[key]
    header.append(body)
    root.append(lie)
    return etree.tostring(root)


def _unsigned(data: bytes) -> bytes:
    root = etree.fromstring(data)
    root.remove(root[0])
    return etree.tostring(root)


def _changed(data: bytes) -> bytes:
    return data.replace(b"SCSS001", b"SCSS002")


def _answers_another(payload: etree._Element) -> etree._Element:
    payload.find("requestId").text = "another"
    return payload


def _about_another(payload: etree._Element) -> etree._Element:
    payload.find("iin").text = OTHER.value
    return payload


def _silent_about_another(payload: etree._Element) -> etree._Element:
    """ "No record", of somebody else."""
    payload.find("iin").text = OTHER.value
    payload.find("result/code").text = "NOT_FOUND"
    payload.remove(payload.find("disabilities"))
    return payload


def _unknown_code(payload: etree._Element) -> etree._Element:
    payload.find(".//groupCode").text = "77"
    return payload


def _fault(code: str = "SCE909") -> ErrorInfo:
    return ErrorInfo(code, "something about 850101300550", NOW)


REFUSALS: dict[str, tuple[dict[str, Any], State, str, str]] = {
    # what the other side does; state of the row, code, step
    "unsigned": ({"change": _unsigned}, State.REFUSED, "unsigned", "signature_place"),
    "changed after signing": ({"change": _changed}, State.REFUSED, "digest", "digest"),
    "wrapped": ({"change": _wrapped}, State.REFUSED, "not_the_body", "reference"),
    "signed by a stranger": (
        {"signer": "stranger", "form": KeyInfoForm.KEY_IDENTIFIER},
        State.REFUSED,
        "untrusted_issuer",
        "path",
    ),
    "a signer that only the other side knows": (
        {"signer": "stranger"},
        State.REFUSED,
        "certificate_unknown",
        "certificate",
    ),
    "signed by an expired certificate": (
        {"signer": "expired", "form": KeyInfoForm.KEY_IDENTIFIER},
        State.REFUSED,
        "expired",
        "path",
    ),
    "signed by a revoked certificate": (
        {"signer": "revoked", "form": KeyInfoForm.KEY_IDENTIFIER},
        State.REFUSED,
        "revoked",
        "revocation",
    ),
    "signed with our own key": ({"signer": "gateway"}, State.REFUSED, "own_signature", "signer"),
    "not XML": ({"change": lambda _: b"<html>", "http_status": 503}, State.REFUSED, "not_xml", "format"),
    "empty": ({"change": lambda _: b""}, State.REFUSED, "not_xml", "format"),
    "a redirect": ({"change": lambda _: b"", "http_status": 302}, State.REFUSED, "redirected", "format"),
    "a request and not a reply": ({"reflects": True}, State.REFUSED, "unknown_operation", "format"),
    "of another chain": ({"correlation_id": "another"}, State.REFUSED, "wrong_correlation", "format"),
    "about another question": ({"change_payload": _answers_another}, State.REFUSED, "wrong_correlation", "format"),
    "about another person": ({"change_payload": _about_another}, State.REFUSED, "wrong_subject", "format"),
    "no record of another person": (
        {"change_payload": _silent_about_another},
        State.REFUSED,
        "wrong_subject",
        "format",
    ),
    "without data": ({"without_data": True}, State.REFUSED, "no_payload", "format"),
    "with an unknown code": ({"change_payload": _unknown_code}, State.REFUSED, "mapping", "reading"),
    "a signed fault": ({"fault": _fault(), "http_status": 500}, State.REFUSED, "peer_fault", "fault"),
    "an unsigned fault": ({"fault": _fault(), "change": _unsigned}, State.REFUSED, "unsigned_fault", "fault"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_reply_that_must_not_be_used_reaches_the_journal_and_nothing_else(
    store: Engine, keys: Keys, register: Register, name: str
) -> None:
    changes, state, code, step = REFUSALS[name]
    for attribute, value in changes.items():
        setattr(register, attribute, value)
    result = asker(store, keys, register).ask("cbdi", PERSON)
    assert refused(store, register, result) == (state, code, step)


def refused(engine: Engine, register: Register, result: AskResult) -> tuple[State, str, str]:
    """What a refusal left behind, after checking what every refusal has in common."""
    assert result.outcome is Outcome.UNKNOWN
    assert result.facts == ()
    assert result.error is not None
    document = result.as_dict()
    assert PERSON.value not in repr(document)
    assert OTHER.value not in repr(document)
    assert document["outcome"] == "unknown"
    row = exchange_of(engine)
    assert (row.state, row.outcome, row.code) == (result.state, Outcome.UNKNOWN, result.error.code)
    (entry,) = entries(engine, MessageDirection.IN)
    assert (entry.body, entry.verdict, row.reply_journal_id) == (register.sent[0], result.error.code, entry.id)
    assert len(register.requests) == 1
    assert rows(engine, FACT) == rows(engine, DUE) == 0
    return row.state, row.code, document["error"]["step"]


def test_a_refused_reply_leaves_no_fact_on_either_store(engine: Engine, keys: Keys, register: Register) -> None:
    register.change = _wrapped
    result = asker(engine, keys, register).ask("cbdi", PERSON)
    assert refused(engine, register, result)[1] == "not_the_body"


def test_a_signer_of_another_organisation_is_refused_where_the_organisations_are_known(
    store: Engine, keys: Keys, register: Register
) -> None:
    register.signer, register.form = "client", KeyInfoForm.KEY_IDENTIFIER
    expected = keys["shep"].certificate.bin
    assert expected is not None
    ours = asker(store, keys, register, policy=policy(signer_bins=frozenset({expected})))
    assert refused(store, register, ours.ask("cbdi", PERSON)) == (State.REFUSED, "unexpected_signer", "signer")


def test_the_expected_organisation_is_accepted(store: Engine, keys: Keys, register: Register) -> None:
    expected = keys["shep"].certificate.bin
    assert expected is not None
    ours = asker(store, keys, register, policy=policy(signer_bins=frozenset({expected})))
    assert ours.ask("cbdi", PERSON).state is State.ANSWERED


def _trust_without_crls(keys: Keys, mode: RevocationMode) -> TrustPolicy:
    material = trust(keys.pki).store.material
    return TrustPolicy(TrustStore.of(material.anchors | material.intermediates | material.peers), mode)


def test_unknown_revocation_is_not_good(store: Engine, keys: Keys, register: Register) -> None:
    ours = asker(store, keys, register, trust=_trust_without_crls(keys, RevocationMode.REQUIRE))
    result = ours.ask("cbdi", PERSON)
    assert refused(store, register, result) == (State.UNKNOWN, "revocation_unknown", "revocation")


def test_unknown_revocation_is_shown_where_the_operator_lets_it_pass(
    store: Engine, keys: Keys, register: Register
) -> None:
    ours = asker(store, keys, register, trust=_trust_without_crls(keys, RevocationMode.PREFER))
    result = ours.ask("cbdi", PERSON)
    assert result.as_dict()["revocation"] == {"status": "unknown", "source": "none", "as_of": None}
    assert entries(store, MessageDirection.IN)[0].revocation.status == "unknown"


def test_a_fault_is_told_by_its_code_and_not_by_its_text(store: Engine, keys: Keys, register: Register) -> None:
    register.fault, register.change = _fault("SCE004"), _unsigned
    error = asker(store, keys, register).ask("cbdi", PERSON).error
    assert isinstance(error, PeerFault)
    assert (error.fault_code, error.signed) == (FaultCode.SERVICE_UNAVAILABLE, False)
    assert error.message == "unsigned fault, not trusted: SCE004"


def test_a_fault_code_that_is_none_is_not_shown(store: Engine, keys: Keys, register: Register) -> None:
    register.fault = _fault("see 850101300550 !")
    error = asker(store, keys, register).ask("cbdi", PERSON).error
    assert isinstance(error, PeerFault)
    assert error.signed
    assert error.message.endswith("(unreadable code)")


@pytest.mark.parametrize(
    "unreadable",
    [
        lambda data: _unsigned(data).replace(b"</soap:Body>", b"<b/></soap:Body>"),
        lambda data: _unsigned(data).replace(b"responseInfo", b"info"),
    ],
    ids=["two operations", "not even a response"],
)
def test_an_unsigned_message_that_is_no_fault_is_just_unsigned(
    store: Engine, keys: Keys, register: Register, unreadable: Callable[[bytes], bytes]
) -> None:
    register.change = unreadable
    result = asker(store, keys, register).ask("cbdi", PERSON)
    assert refused(store, register, result)[1] == "unsigned"


def test_a_body_cut_in_the_middle_is_refused_at_every_place(store: Engine, keys: Keys, register: Register) -> None:
    asker(store, keys, register).ask("cbdi", PERSON)
    genuine = register.sent[0]
    with reading(store) as connection:
        before = connection.execute(select(func.count()).select_from(FACT)).scalar_one()
    for number, end in enumerate(range(0, len(genuine), 500)):
        register.change = lambda data, end=end: data[:end]
        cut = asker(store, keys, register, new_message_id=message_ids(f"cut-{number}")).ask("cbdi", PERSON)
        assert cut.state is State.REFUSED
    assert rows(store, FACT) == before


# ---------------------------------------------------------------- replay


def _silent_mapper() -> dict[str, SystemDefinition]:
    """A register whose payload repeats no request id."""
    genuine = systems()["cbdi"].mapper.read_response

    def read(payload: etree._Element) -> Any:
        return dataclasses.replace(genuine(payload), answers_message_id="")

    return with_mapper(read_response=read)


@pytest.mark.parametrize("minutes", [-120, 120])
def test_a_reply_that_repeats_no_id_and_was_made_at_another_time_is_refused(
    store: Engine, keys: Keys, register: Register, minutes: int
) -> None:
    register.correlation_id, register.response_date = "", NOW + dt.timedelta(minutes=minutes)
    result = asker(store, keys, register, systems=_silent_mapper()).ask("cbdi", PERSON)
    assert refused(store, register, result) == (State.REFUSED, "stale_reply", "format")


@pytest.mark.parametrize("minutes", [-60, 60])
def test_a_reply_that_repeats_no_id_is_read_when_it_is_of_now(
    store: Engine, keys: Keys, register: Register, minutes: int
) -> None:
    register.correlation_id, register.response_date = "", NOW + dt.timedelta(minutes=minutes)
    result = asker(store, keys, register, systems=_silent_mapper()).ask("cbdi", PERSON)
    assert result.state is State.ANSWERED


@pytest.mark.parametrize(("correlation_id", "message_id"), [("", None), (None, "theirs")])
def test_a_reply_that_repeats_our_id_may_have_any_clock(
    store: Engine, keys: Keys, register: Register, correlation_id: str | None, message_id: str | None
) -> None:
    register.correlation_id, register.message_id = correlation_id, message_id
    register.response_date = NOW - dt.timedelta(days=400)
    result = asker(store, keys, register, systems=_silent_mapper()).ask("cbdi", PERSON)
    assert result.state is State.ANSWERED


# ---------------------------------------------------------------- the folder's own code


def _fails(*_: object) -> Any:
    raise KeyError("850101300550")


def test_a_mapper_that_fails_on_a_reply_refuses_only_that_reply(store: Engine, keys: Keys, register: Register) -> None:
    ours = asker(store, keys, register, systems=with_mapper(read_response=_fails))
    assert refused(store, register, ours.ask("cbdi", PERSON)) == (State.REFUSED, "mapper_failed", "reading")


def test_a_reply_in_which_a_number_is_no_iin_is_refused(store: Engine, keys: Keys, register: Register) -> None:
    ours = asker(store, keys, register, systems=with_mapper(read_response=lambda _: Iin("1")))
    assert refused(store, register, ours.ask("cbdi", PERSON))[1] == "mapper_failed"


def test_an_answer_that_contradicts_itself_is_refused_and_nothing_of_it_is_kept(
    engine: Engine, keys: Keys, register: Register
) -> None:
    genuine = systems()["cbdi"].mapper.read_response

    def read(payload: etree._Element) -> Any:
        answer = genuine(payload)
        (fact,) = answer.facts
        other = Fact("other", PERSON, "o-1", None, None, {})
        return dataclasses.replace(answer, facts=(other, fact, dataclasses.replace(fact, valid_from=None)))

    ours = asker(engine, keys, register, systems=with_mapper(read_response=read))
    assert refused(engine, register, ours.ask("cbdi", PERSON))[2] == "reading"


def test_the_contract_of_a_strict_system_is_checked_on_the_reply(store: Engine, keys: Keys, register: Register) -> None:
    strict = {**systems(), "cbdi": dataclasses.replace(systems()["cbdi"], validate_response=True)}

    def stray(payload: etree._Element) -> etree._Element:
        etree.SubElement(payload, "stray")
        return payload

    assert asker(store, keys, register, systems=strict).ask("cbdi", PERSON).state is State.ANSWERED
    register.change_payload = stray
    result = asker(store, keys, register, systems=strict, new_message_id=message_ids("second")).ask("cbdi", PERSON)
    assert (result.state, result.error and result.error.code) == (State.REFUSED, "contract")


def test_an_answer_that_proves_nothing_is_unknown_without_an_error(
    store: Engine, keys: Keys, register: Register
) -> None:
    def read(payload: etree._Element) -> Any:
        answer = systems()["cbdi"].mapper.read_response(payload)
        return dataclasses.replace(answer, outcome=outcome_of((), ("disability",), ()), facts=(), complete_for=())

    result = asker(store, keys, register, systems=with_mapper(read_response=read)).ask("cbdi", PERSON)
    assert (result.state, result.outcome, result.error) == (State.ANSWERED, Outcome.UNKNOWN, None)


# ---------------------------------------------------------------- our own mistakes: nothing is sent


def nothing_happened(engine: Engine, register: Register) -> bool:
    return not register.requests and rows(engine, EXCHANGE) == 0 and not Journal(engine).list_entries()


def test_an_unknown_system_is_our_mistake(store: Engine, keys: Keys, register: Register) -> None:
    with pytest.raises(OperatorError, match="known: cbdi"):
        asker(store, keys, register).ask("nobody", PERSON)
    assert nothing_happened(store, register)


def test_a_fact_that_the_system_does_not_give_is_our_mistake(store: Engine, keys: Keys, register: Register) -> None:
    with pytest.raises(OperatorError, match="it gives: disability") as caught:
        asker(store, keys, register).ask("cbdi", PERSON, facts=["income"])
    assert caught.value.code == "unknown_fact"
    assert nothing_happened(store, register)


def test_a_payload_against_its_contract_is_not_sent(store: Engine, keys: Keys, register: Register) -> None:
    wrong = with_mapper(build_request=lambda query: etree.Element("Request"))
    with pytest.raises(MappingError):
        asker(store, keys, register, systems=wrong).ask("cbdi", PERSON)
    assert nothing_happened(store, register)


def test_a_signature_of_ours_that_does_not_verify_is_not_sent(store: Engine, keys: Keys, register: Register) -> None:
    mixed = SoftwareKey(keys["shep"].certificate, keys["gateway"].algorithm, keys["gateway"]._private_key)
    with pytest.raises(SignatureRefused):
        asker(store, keys, register, key=lambda: mixed).ask("cbdi", PERSON)
    assert nothing_happened(store, register)


def test_nothing_is_sent_that_could_not_be_stored(keys: Keys, register: Register, sqlite_url: str) -> None:
    unmigrated = engine_for(sqlite_url)
    with pytest.raises(StoreError):
        asker(unmigrated, keys, register).ask("cbdi", PERSON)
    assert register.requests == []
    unmigrated.dispose()


def test_a_message_id_is_never_used_twice(engine: Engine, keys: Keys, register: Register) -> None:
    ours = asker(engine, keys, register, new_message_id=lambda: "the-same")
    ours.ask("cbdi", PERSON)
    with pytest.raises(StoreError) as caught:
        ours.ask("cbdi", PERSON)
    assert caught.value.code == "clash"
    assert len(register.requests) == 1


def test_steps_of_errors_have_names() -> None:
    assert step_of(GatewayError("?")) == "reply"
    assert step_of(OutcomeUnknown("?")) == "post"


def test_a_request_that_does_not_fit_the_channel_is_never_signed(
    store: Engine, keys: Keys, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = etree.Element(f"{{{SOAP_11}}}Body")
    monkeypatch.setattr("gateway.exchange.question.sync_channel.build_request", lambda *_, **__: wrong)
    with pytest.raises(OperatorError) as refused:
        asker(store, keys, register).ask("cbdi", PERSON)
    assert refused.value.code == "contract"
    assert register.requests == []
