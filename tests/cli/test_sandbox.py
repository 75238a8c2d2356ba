"""`gateway sandbox`: what it is told goes to the simulator, and what is wrong is said before anything listens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway import resources
from gateway.cli import sandbox as command
from gateway.sandbox.misbehaviour import Misbehaviour
from gateway.sandbox.simulator import SimulatedGateway
from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cli.conftest import Run

SCRIPT = 'seed = 7\n[[fault]]\nkind = "twice"\ntimes = 0\n'


@pytest.fixture
def config(tmp_path: Path, pki: ThrowawayPki) -> Path:
    file = tmp_path / "gateway.toml"
    shipped = resources.path("config/gateway.toml").read_text(encoding="utf-8")
    text, changed = re.subn(r'(\[trust\][^\[]*?\nfolder = )"[^"]*"', rf'\1"{pki.anchors}"', shipped)
    assert changed == 1
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[SimulatedGateway]:
    """The simulators that would have been served."""
    simulators: list[SimulatedGateway] = []

    def serve(host: str, port: int, simulator: SimulatedGateway, **_: Any) -> None:
        simulators.append(simulator)

    monkeypatch.setattr(command, "serve", serve)
    return simulators


def test_faults_addresses_and_times_go_to_the_simulator(
    run: Run, config: Path, served: list[SimulatedGateway], tmp_path: Path
) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(SCRIPT, encoding="utf-8")
    ran = run(
        "sandbox", "-c", config, "--people", 20, "--faults", script, "--misbehave", "fault",
        "--push-to", "http://127.0.0.1:1/shep/async", "--answer-after", "0.5", "--push-intervals", "1, 2.5",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    (simulator,) = served
    orders = simulator.orders
    assert ([order.kind for order in orders.waiting()], orders.seed) == ([Misbehaviour.FAULT, Misbehaviour.TWICE], 7)
    assert simulator.dispatch.participants.push_to("anyone", "ANY_SERVICE") == "http://127.0.0.1:1/shep/async"
    assert simulator.dispatch.policy.answer_after_s == 0.5
    assert simulator.dispatch.policy.push_intervals_s == (1.0, 2.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--push-to", "ftp://example.invalid"), "push_to"),
        (("--push-intervals", "1,soon"), "--push-intervals"),
        (("--push-intervals", "-1"), "--push-intervals"),
        (("--faults", "nowhere.toml"), "nowhere.toml"),
        (("--people", "0"), "--people"),
    ],
)
def test_what_is_wrong_is_said_before_anything_listens(
    options: tuple[str, str], said: str, run: Run, config: Path, served: list[SimulatedGateway]
) -> None:
    ran = run("sandbox", "-c", config, *options)
    assert ran.code == 2
    assert said in ran.stderr
    assert served == []


def test_a_wrong_fault_is_named_with_its_file_and_place(
    run: Run, config: Path, served: list[SimulatedGateway], tmp_path: Path
) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(SCRIPT + '[[fault]]\nkind = "rude"\n', encoding="utf-8")
    ran = run("sandbox", "-c", config, "--faults", script)
    assert ran.code == 2
    shown = ran.stderr.replace("\n", "")
    assert "faults.toml" in shown
    assert "fault[2]" in shown
    assert served == []
