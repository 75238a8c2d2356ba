"""The sandbox on real sockets."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gateway.errors import OperatorError
from gateway.model import Outcome
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.server import RunningSandbox, running_sandbox
from gateway.sandbox.simulator import SimulatedGateway
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.sandbox.integrator import Client, now

ROOT = Path(__file__).resolve().parents[2]


def _post(sandbox: RunningSandbox, data: bytes, timeout_s: float = 20.0) -> httpx.Response:
    return httpx.post(sandbox.sync_url, content=data, timeout=timeout_s, trust_env=False)


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def test_a_signed_question_gets_a_signed_answer(sandbox: RunningSandbox, client: Client) -> None:
    response = _post(sandbox, client.request("gbdfl", sandbox.population.exhibit("ward")))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/xml; charset=utf-8"
    assert client.answer("gbdfl", response.content).outcome is Outcome.FOUND


def test_the_path_works_without_its_last_slash(sandbox: RunningSandbox, client: Client) -> None:
    data = client.request("gbdfl", sandbox.population.exhibit("ward"))
    response = httpx.post(sandbox.sync_url.rstrip("/"), content=data, trust_env=False)
    assert response.status_code == 200


def test_many_at_once_get_their_own_answers(sandbox: RunningSandbox, client: Client) -> None:
    people = [shown.iin for shown in sandbox.population.showcase()]
    requests = [client.request("gbdfl", iin, message_id=f"m-{n}") for n, iin in enumerate(people)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda data: _post(sandbox, data).content, requests))
    for n, (iin, reply) in enumerate(zip(people, replies, strict=True)):
        answer = client.answer("gbdfl", reply)
        assert answer.answers_message_id == f"m-{n}"
        assert {fact.subject for fact in answer.facts} == {iin}


def test_a_request_over_the_bound_gets_a_signed_fault(sandbox: RunningSandbox, client: Client) -> None:
    response = _post(sandbox, b"<" + b"x" * sandbox.simulator.bounds.max_bytes)
    assert response.status_code == 500
    assert client.fault(response.content).code == "SCE001"


def test_a_client_that_goes_away_in_the_middle_harms_nobody(sandbox: RunningSandbox, client: Client) -> None:
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /bip-sync-wss/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    test_a_signed_question_gets_a_signed_answer(sandbox, client)


def test_the_front_page_says_what_is_there_and_whom_to_ask_about(sandbox: RunningSandbox) -> None:
    document = _get(sandbox.url).json()
    systems = {system["slug"]: system for system in document["systems"]}
    assert "ZAGS_CIVIL_RECORDS_DRAFT" in systems["zags"]["service_ids"]
    shown = {person["who"]: person["iin"] for person in document["ask_about"]}
    assert shown["ward"] == sandbox.population.exhibit("ward").value
    assert "wrapped_forgery" in document["misbehave"]["kinds"]


def test_the_contract_is_served_with_the_sandboxs_own_address(sandbox: RunningSandbox) -> None:
    document = _get(f"{sandbox.sync_url}?wsdl")
    assert document.status_code == 200
    assert f'location="{sandbox.sync_url}"' in document.text
    assert _get(sandbox.sync_url).status_code == 405


# ---------------------------------------------------------------- orders over HTTP


def test_misbehaviour_is_ordered_seen_and_taken_back(sandbox: RunningSandbox, client: Client) -> None:
    address = f"{sandbox.url}/sandbox/misbehave"
    ordered = httpx.post(address, json={"kind": "fault", "system": "zags", "times": 2}, trust_env=False)
    assert ordered.status_code == 201
    assert _get(address).json() == [ordered.json()]
    subject = sandbox.population.exhibit("wife")
    assert client.fault(_post(sandbox, client.request("zags", subject)).content).code == "SCE004"
    assert _post(sandbox, client.request("gbdfl", subject)).status_code == 200
    assert _get(address).json()[0]["times"] == 1
    assert httpx.delete(address, trust_env=False).status_code == 204
    assert _post(sandbox, client.request("zags", subject)).status_code == 200


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b'{"kind": "rude"}', b"[" * 5_000, b'{"kind": "slow", "x": "' + b"y" * 20_000 + b'"}'],
    ids=["empty", "cut", "not_utf8", "unknown_kind", "nested", "large"],
)
def test_a_wrong_order_is_answered_with_what_may_be_ordered(content: bytes, sandbox: RunningSandbox) -> None:
    response = httpx.post(f"{sandbox.url}/sandbox/misbehave", content=content, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_order"
    assert sandbox.orders.waiting() == ()


# ---------------------------------------------------------------- starting and stopping


def test_a_taken_port_says_what_to_do(sandbox: RunningSandbox, simulator: SimulatedGateway) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(OperatorError, match="--port"), running_sandbox(simulator, now=now, port=port):
        pass


def test_two_sandboxes_live_side_by_side_and_end_when_their_block_ends(simulator: SimulatedGateway) -> None:
    with running_sandbox(simulator, now=now) as first, running_sandbox(simulator, now=now) as second:
        assert first.url != second.url
        assert _get(first.url).status_code == _get(second.url).status_code == 200
    with pytest.raises(httpx.ConnectError):
        _get(first.url)


def test_a_slow_answer_still_waiting_does_not_hold_up_the_end(simulator: SimulatedGateway, client: Client) -> None:
    simulator.orders.place(Order(Misbehaviour.SLOW, seconds=3_000))
    data = client.request("gbdfl", simulator.population.exhibit("wife"))
    answers: list[httpx.Response] = []
    with running_sandbox(simulator, now=now) as running:
        asking = threading.Thread(target=lambda: answers.append(_post(running, data, timeout_s=600)))
        asking.start()
        while simulator.orders.waiting():
            asking.join(0.01)
    asking.join()
    assert answers[0].status_code == 500


_PROGRAM = """
import datetime as dt, pathlib, sys
from gateway.sandbox.server import make_simulator, serve
simulator = make_simulator(people=1_000_000, seed=1, pki_dir=pathlib.Path(sys.argv[1]))
serve("127.0.0.1", 0, simulator, now=lambda: dt.datetime.now(dt.UTC), on_listening=lambda url: print(url, flush=True))
"""


def test_a_million_people_are_served_by_a_process_that_ends_on_sigterm(pki: ThrowawayPki) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(pki.directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        document = json.loads(_get(url).content)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert document["people"] >= 1_000_000
    assert process.returncode in (0, -signal.SIGTERM)
