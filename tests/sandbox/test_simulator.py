"""The simulated gateway's gates and answers, without a socket."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree
from structlog.testing import capture_logs

from gateway.errors import KeyMaterialError
from gateway.model import Iin, Outcome, iin_control_digit
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.server import make_simulator
from gateway.sandbox.simulator import SimulatedGateway
from gateway.shep.envelope import build_envelope
from gateway.shep.messages import SyncResponse
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.wss import sign_body, verify_envelope
from gateway.trust.store import TrustStore
from tests.sandbox.integrator import NOW, Client

SLUGS = ["cbdi", "eguardianship", "gbdfl", "zags"]


def test_the_systems_built_are_behind_it(simulator: SimulatedGateway) -> None:
    assert set(SLUGS) <= set(simulator.systems)


# ---------------------------------------------------------------- answering as one should


@pytest.mark.parametrize("slug", SLUGS)
def test_every_system_answers_about_everyone_shown(slug: str, simulator: SimulatedGateway, client: Client) -> None:
    outcomes = set()
    for shown in simulator.population.showcase():
        reply = simulator.answer(client.request(slug, shown.iin, message_id=f"m-{shown.slug}"), now=NOW)
        assert reply.http_status == 200
        answer = client.answer(slug, reply.body)
        assert answer.answers_message_id == f"m-{shown.slug}"
        assert all(fact.subject == shown.iin for fact in answer.facts)
        outcomes.add(answer.outcome)
    assert Outcome.FOUND in outcomes


def test_what_the_registers_say_is_what_the_exhibit_is_shown_for(simulator: SimulatedGateway, client: Client) -> None:
    def kinds(slug: str, who: str) -> set[str]:
        iin = simulator.population.exhibit(who)
        answer = client.answer(slug, simulator.answer(client.request(slug, iin), now=NOW).body)
        return {fact.kind for fact in answer.facts}

    assert "birth" in kinds("zags", "child_with_parents")
    assert "child_birth" in kinds("zags", "mother")
    assert "marriage" in kinds("zags", "husband")
    assert "death" in kinds("zags", "deceased")
    assert kinds("zags", "older_than_registers") == set()
    assert "disability" in kinds("cbdi", "disabled_for_a_period")
    assert "disability" in kinds("cbdi", "disabled_child")
    assert "guardianship" in kinds("eguardianship", "ward")
    assert "guardianship" in kinds("eguardianship", "guardian")
    assert "adoption" in kinds("eguardianship", "adopted")
    assert "death" in kinds("gbdfl", "deceased")
    assert "person" in kinds("gbdfl", "wife")


def test_a_person_that_nobody_knows_is_not_found(simulator: SimulatedGateway, client: Client) -> None:
    stranger = Iin(f"91010130001{iin_control_digit('91010130001')}")
    assert simulator.population.find(stranger) is None
    reply = simulator.answer(client.request("gbdfl", stranger), now=NOW)
    assert client.answer("gbdfl", reply.body).outcome is Outcome.NOT_FOUND


def test_the_answer_is_signed_in_the_issuer_serial_form_with_the_gateways_headers(
    simulator: SimulatedGateway, client: Client, trust: TrustStore
) -> None:
    iin = simulator.population.exhibit("wife")
    reply = simulator.answer(client.request("zags", iin, message_id="m-1"), now=NOW).body
    verified = verify_envelope(reply, certificates=trust)
    assert verified.key_info_form is KeyInfoForm.ISSUER_SERIAL
    assert "SHEP SIMULATOR" in verified.certificate.common_name
    response = client.read(reply)
    assert isinstance(response, SyncResponse)
    assert response.info.message_id == "m-1"
    assert response.info.status.code == "SCSS001"
    assert response.info.response_date == NOW
    assert response.info.session_id.startswith("{")
    assert response.info.session_id.endswith("}")


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_a_request_may_name_its_signer_in_any_of_the_three_forms(
    form: KeyInfoForm, simulator: SimulatedGateway, client: Client
) -> None:
    body = client.body("gbdfl", simulator.population.exhibit("mother"))
    reply = simulator.answer(client.sign(body, form), now=NOW)
    assert client.answer("gbdfl", reply.body).outcome is Outcome.FOUND


# ---------------------------------------------------------------- gates


def _sce(simulator: SimulatedGateway, client: Client, data: bytes) -> str:
    simulator.orders.place(Order(Misbehaviour.SLOW))  # a refused request uses no order up
    reply = simulator.answer(data, now=NOW)
    assert len(simulator.orders.waiting()) == 1
    assert reply.http_status == 500
    code: str = client.fault(reply.body).code
    return code


def _remove(body: etree._Element, name: str) -> None:
    element = next(body.iter(name))
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


@pytest.fixture
def subject(simulator: SimulatedGateway) -> Iin:
    return simulator.population.exhibit("husband")


def test_an_unsigned_request_is_refused(simulator: SimulatedGateway, client: Client, subject: Iin) -> None:
    assert _sce(simulator, client, build_envelope(client.body("zags", subject))) == "SCE007"


def test_a_request_changed_after_signing_is_refused(simulator: SimulatedGateway, client: Client, subject: Iin) -> None:
    signed = client.request("zags", subject)
    other = simulator.population.exhibit("ward")
    assert _sce(simulator, client, signed.replace(subject.value.encode(), other.value.encode())) == "SCE006"


def test_a_wrapped_request_is_refused(simulator: SimulatedGateway, client: Client, subject: Iin) -> None:
    root = etree.fromstring(client.request("zags", subject))
    genuine = root[1]
    etree.SubElement(root[0], "Moved").append(genuine)
    root.append(client.body("zags", simulator.population.exhibit("ward")))
    assert _sce(simulator, client, etree.tostring(root)) == "SCE006"


@pytest.mark.parametrize("name", ["stranger", "expired", "revoked"])
def test_a_signer_that_is_not_trusted_is_refused(
    name: str,
    simulator: SimulatedGateway,
    client: Client,
    subject: Iin,
    load_key: Callable[[str], SigningKey],
) -> None:
    signed = sign_body(client.body("zags", subject), load_key(name), form=KeyInfoForm.KEY_IDENTIFIER)
    assert _sce(simulator, client, signed) == "SCE005"


def test_a_signer_named_by_a_serial_that_nobody_knows_is_refused(
    simulator: SimulatedGateway, client: Client, subject: Iin, load_key: Callable[[str], SigningKey]
) -> None:
    signed = sign_body(client.body("zags", subject), load_key("stranger"), form=KeyInfoForm.ISSUER_SERIAL)
    assert _sce(simulator, client, signed) == "SCE005"


def test_a_service_that_does_not_exist_is_refused(simulator: SimulatedGateway, client: Client, subject: Iin) -> None:
    assert _sce(simulator, client, client.request("zags", subject, service_id="NO_SUCH_SERVICE")) == "SCE004"


def test_a_payload_that_breaks_its_contract_is_refused(
    simulator: SimulatedGateway, client: Client, subject: Iin
) -> None:
    body = client.body("zags", subject)
    _remove(body, "requestId")
    assert _sce(simulator, client, client.sign(body)) == "SCE001"


def test_a_request_without_a_payload_is_refused(simulator: SimulatedGateway, client: Client, subject: Iin) -> None:
    body = client.body("zags", subject)
    _remove(body, "data")
    assert _sce(simulator, client, client.sign(body)) == "SCE001"


@pytest.mark.parametrize("data", [b"", b"hello", b"<a/>", b"\xff\xfe<\x00a\x00/\x00>\x00", b"<" * 40_000])
def test_what_is_no_message_is_refused(data: bytes, simulator: SimulatedGateway, client: Client) -> None:
    assert _sce(simulator, client, data) in ("SCE001", "SCE007")


def test_a_signed_body_that_is_no_request_is_refused(simulator: SimulatedGateway, client: Client, subject: Iin) -> None:
    body = client.body("zags", subject)
    body.append(copy.deepcopy(body[0]))
    assert _sce(simulator, client, client.sign(body)) == "SCE001"


def test_a_request_that_is_too_large_is_refused(simulator: SimulatedGateway, client: Client) -> None:
    fault = client.fault(simulator.refuse_too_large(now=NOW).body)
    assert fault.code == "SCE001"
    assert "too_large" in fault.data


# ---------------------------------------------------------------- what it tells about itself


def test_it_describes_itself(simulator: SimulatedGateway, client: Client) -> None:
    simulator.orders.place(Order(Misbehaviour.FAULT, "zags", 2))
    described = simulator.describe()
    assert described["people"] == simulator.population.people
    assert {
        "who": "ward",
        "iin": simulator.population.exhibit("ward").value,
        "what": "an orphan under guardianship",
    } in (
        described["ask_about"]  # type: ignore[operator]
    )
    misbehave = described["misbehave"]
    assert isinstance(misbehave, dict)
    assert misbehave["waiting"] == [Order(Misbehaviour.FAULT, "zags", 2).as_dict()]


def test_it_never_logs_an_iin(simulator: SimulatedGateway, client: Client) -> None:
    with capture_logs() as lines:
        for shown in simulator.population.showcase():
            for slug in SLUGS:
                simulator.answer(client.request(slug, shown.iin), now=NOW)
            simulator.answer(build_envelope(client.body("zags", shown.iin)), now=NOW)
    text = repr(lines)
    assert "asked" in text
    assert "refused" in text
    assert all(iin.value not in text for iin in simulator.population.persons())


def test_a_folder_that_is_no_pki_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyMaterialError, match="shep"):
        make_simulator(people=1, seed=1, pki_dir=tmp_path)
