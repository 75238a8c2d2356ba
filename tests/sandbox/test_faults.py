"""The fault script: read from a file or a request, refused with the file and the key, changed at run time."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateway.errors import ConfigurationError
from gateway.sandbox.faults import FaultScript, load_fault_script, parse_fault_script
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.sandbox.server import RunningSandbox

SYSTEMS = ["gbdfl", "zags"]
SCRIPT = """
seed = 7
[[fault]]
kind = "lose_reply"
message_type = "REQUEST"
chance = 0.5
times = 0
[[fault]]
kind = "late"
system = "zags"
seconds = 30
"""
READ = FaultScript(
    (
        Order(Misbehaviour.LOSE_REPLY, message_type="REQUEST", chance=0.5, times=0),
        Order(Misbehaviour.LATE, "zags", seconds=30),
    ),
    seed=7,
)


def test_a_script_is_read_from_a_file_and_says_itself(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(SCRIPT, encoding="utf-8")
    assert load_fault_script(file, SYSTEMS) == READ
    assert parse_fault_script(str(READ.as_dict()).replace("'", '"').encode(), SYSTEMS) == READ
    assert parse_fault_script(b"", SYSTEMS) == FaultScript()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("seeds = 1", "seeds", "seed, fault"),
        ("seed = true", "seed", "whole number"),
        ("fault = 1", "fault", "[[fault]]"),
        ("[fault]", "fault", "[[fault]]"),
        ("fault = [1]", "fault[1]", "JSON object"),
        (SCRIPT + '[[fault]]\nkind = "rude"', "fault[3]", "'kind' is one of slow"),
        (SCRIPT + '[[fault]]\nkind = "late"\nsecond = 1', "fault[3]", "'second' is not known"),
        ("[[fault]", "", "is not TOML"),
    ],
)
def test_a_wrong_script_is_refused_with_its_file_and_key(text: str, key: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        load_fault_script(file, SYSTEMS)
    assert (refused.value.file, refused.value.key) == (str(file), key)
    assert said in refused.value.message
    assert str(file) in refused.value.message


def test_a_file_that_is_not_there_or_no_text_is_refused_by_name(tmp_path: Path) -> None:
    for file in (tmp_path / "none.toml", tmp_path / "bytes.toml"):
        if file.name == "bytes.toml":
            file.write_bytes(b"\xff")
        with pytest.raises(ConfigurationError, match=file.name):
            load_fault_script(file, SYSTEMS)


def test_the_faults_are_changed_and_seen_at_run_time(sandbox: RunningSandbox) -> None:
    address = f"{sandbox.url}/sandbox/faults"
    for content in (SCRIPT.encode(), httpx.Request("POST", address, json=READ.as_dict()).content):
        placed = httpx.post(address, content=content, trust_env=False)
        assert (placed.status_code, placed.json()) == (201, READ.as_dict())
        assert httpx.get(address, trust_env=False).json() == READ.as_dict()
    wrong = httpx.post(address, content=b"seed = 1.5", trust_env=False)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "configuration")
    for content in (b"{", b"=", b"\xff"):
        refused = httpx.post(address, content=content, trust_env=False).json()
        assert "neither TOML nor JSON" in refused["error"]["message"]
    assert httpx.get(address, trust_env=False).json() == READ.as_dict()
    assert httpx.delete(address, trust_env=False).status_code == 204
    assert sandbox.orders.waiting() == ()


def test_a_document_over_the_bound_is_not_read(sandbox: RunningSandbox) -> None:
    refused = httpx.post(f"{sandbox.url}/sandbox/faults", content=b"#" * 1_000_001, trust_env=False)
    assert refused.json()["error"]["code"] == "too_large"
