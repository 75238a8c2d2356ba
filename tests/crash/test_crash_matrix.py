"""A small part of `make crash`: each way of a message, killed after the steps that leave something behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.trust.throwaway_pki import ThrowawayPki
from tests.cluster import Server
from tests.crash.disasters import DISASTERS, NotRun, run_disaster
from tests.crash.flows import FLOWS
from tests.crash.lane import Lane, Stores
from tests.crash.matrix import STORES, Case, case_of, cases, check_steps, passed_steps, run_case


@pytest.fixture(scope="module")
def lane(
    tmp_path_factory: pytest.TempPathFactory, crash_pki: ThrowawayPki, postgresql_cluster: Server
) -> Iterator[Lane]:
    folder = tmp_path_factory.mktemp("crash-lane")
    stores = Stores(folder, postgresql_cluster)
    try:
        with Lane(folder / "lane", crash_pki, stores) as lane:
            yield lane
    finally:
        stores.close()


#: steps that leave something behind, shared out between the stores
SMALL = [
    case
    for name in ("out.sync", "out.async", "in.sync", "in.push, answer", "in.poll, request")
    for number, store in enumerate(STORES)
    for case in list(cases(FLOWS[name], store, steps=(8, 9, 13)))[number::2]
]


@pytest.mark.parametrize("case", SMALL, ids=[case.name for case in SMALL])
def test_a_killed_daemon_loses_nothing_and_repeats_nothing(lane: Lane, case: Case) -> None:
    outcome = run_case(lane, case)
    assert outcome.happened, outcome.said
    assert outcome.judgement.is_clean, f"{outcome.judgement.found}\n{outcome.said}"


def test_a_flow_passes_the_steps_that_are_written_for_it(lane: Lane) -> None:
    flow = FLOWS["in.push, request"]
    assert check_steps(flow, passed_steps(lane, flow, "sqlite")) == ""


def test_a_step_that_is_not_written_down_is_noticed() -> None:
    assert "passes the steps [1, 2, 99]" in check_steps(FLOWS["out.sync"], {1: 1, 2: 1, 99: 1})


def test_a_reply_that_is_lost_twice_is_asked_for_with_the_same_bytes(lane: Lane) -> None:
    assert run_disaster(lane, "two replies lost", "sqlite").judgement.is_clean


def test_everything_that_is_pushed_twice_is_applied_once(lane: Lane) -> None:
    assert run_disaster(lane, "everything pushed twice, answer", "sqlite").judgement.is_clean


def test_a_lost_ack_with_ids_of_the_gateway_waits_for_the_operator_and_is_no_loss(lane: Lane) -> None:
    outcome = run_disaster(lane, "ids of the gateway, ack and answer lost", "sqlite")
    assert outcome.judgement.is_clean
    assert outcome.judgement.waits


def test_a_database_that_goes_and_comes_back_costs_nothing(lane: Lane) -> None:
    outcome = run_disaster(lane, "database stopped, out.sync", "postgresql")
    assert outcome.happened, outcome.said
    assert outcome.judgement.is_clean, outcome.said


def test_a_full_disk_costs_nothing(lane: Lane) -> None:
    try:
        outcome = run_disaster(lane, "full disk, in.sync", "sqlite")
    except NotRun as error:
        pytest.skip(str(error))
    assert outcome.happened, outcome.said
    assert outcome.judgement.is_clean, outcome.said


def test_every_case_and_every_disaster_has_a_name_of_its_own() -> None:
    everything = [case for flow in FLOWS.values() for store in STORES for case in cases(flow, store)]
    assert len({case.name for case in everything}) == len(everything)
    assert all(case_of(case.name) == case for case in everything)
    assert len(DISASTERS) > 15


def test_what_is_no_case_says_what_a_name_looks_like() -> None:
    with pytest.raises(ValueError, match=r"out\.sync:9:after:sqlite"):
        case_of("out.sync:9")
