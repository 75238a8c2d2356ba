"""When a service is left alone, and how fast it is asked."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.database import engine_for, reading, upgrade, writing
from gateway.exchange import circuit
from gateway.exchange.circuit import Circuit, CircuitPolicy, admit, failed, held_until, succeeded
from tests.exchange.world import NOW

SECOND = dt.timedelta(seconds=1)
POLICY = CircuitPolicy(failures=3, cool_down_s=10, longest_cool_down_s=25, trial_s=60)
BOUNDED = replace(POLICY, requests_per_s=4)


def opened(times: int = 1) -> Circuit:
    one = Circuit()
    for _ in range(POLICY.failures - 1 + times):
        one = failed(one, POLICY, NOW, trial=True)
    return one


def test_a_service_that_works_may_be_asked_and_its_row_stays_as_it_is() -> None:
    after, admission = admit(Circuit(), POLICY, NOW)
    assert admission.admitted
    assert not admission.trial
    assert after == Circuit()


def test_failures_in_a_row_open_the_circuit_and_a_success_between_them_does_not() -> None:
    two = failed(failed(Circuit(), POLICY, NOW, trial=False), POLICY, NOW, trial=False)
    assert held_until(two, NOW) is None
    assert held_until(failed(two, POLICY, NOW, trial=False), NOW) == NOW + 10 * SECOND
    assert held_until(failed(succeeded(two), POLICY, NOW, trial=False), NOW) is None


def test_after_the_cool_down_one_message_tries_and_holds_the_others_back() -> None:
    later = NOW + 10 * SECOND
    after, admission = admit(opened(), POLICY, later)
    assert (admission.admitted, admission.trial) == (True, True)
    _, next_one = admit(after, POLICY, later)
    assert not next_one.admitted
    assert next_one.retry_at == later + 60 * SECOND
    assert admit(succeeded(after), POLICY, later)[1].admitted


def test_each_trial_that_fails_doubles_the_wait_up_to_its_bound() -> None:
    waits = [held_until(opened(times), NOW) for times in (1, 2, 3, 99)]
    assert waits == [NOW + seconds * SECOND for seconds in (10, 20, 25, 25)]


def test_what_was_under_way_when_the_circuit_opened_does_not_keep_it_open_longer() -> None:
    late = failed(opened(), POLICY, NOW + 5 * SECOND, trial=False)
    assert late.open_until == opened().open_until


@given(gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_admissions_are_never_closer_than_the_rate_allows(gaps: list[float]) -> None:
    now, one, admitted = NOW, Circuit(), []
    for gap in gaps:
        now += dt.timedelta(seconds=gap)
        one, admission = admit(one, BOUNDED, now)
        if admission.admitted:
            admitted.append(now)
        else:
            assert admission.retry_at is not None
            assert now < admission.retry_at <= now + dt.timedelta(seconds=0.25)
    assert all(later - earlier >= dt.timedelta(seconds=0.25) for earlier, later in pairwise(admitted))


@given(outages=st.lists(st.booleans(), max_size=40))
def test_an_open_circuit_always_closes_again_or_lets_a_message_try(outages: list[bool]) -> None:
    now, one = NOW, Circuit()
    for outage in outages:
        one, admission = admit(one, POLICY, now)
        if not admission.admitted:
            assert admission.retry_at is not None
            assert admission.retry_at - now <= max(60, 25) * SECOND
            now = admission.retry_at
            one, admission = admit(one, POLICY, now)
            assert admission.admitted
        one = failed(one, POLICY, now, trial=admission.trial) if outage else succeeded(one)
        assert (one.failures == 0) is (not outage)


# ---------------------------------------------------------------- the rows


def leave(engine: Engine, now: dt.datetime = NOW, policy: CircuitPolicy = POLICY) -> circuit.Admission:
    with writing(engine) as connection:
        return circuit.ask_leave(connection, "S", policy, now)


def tell(engine: Engine, *, outage: bool, trial: bool = False, times: int = 1, now: dt.datetime = NOW) -> None:
    for _ in range(times):
        with writing(engine) as connection:
            circuit.report(connection, "S", POLICY, now, outage=outage, trial=trial)


def test_the_circuit_is_that_of_the_whole_fleet(engine: Engine) -> None:
    tell(engine, outage=True, times=3)
    assert not leave(engine).admitted
    with reading(engine) as connection:
        assert circuit.held_services(connection, NOW) == {"S": NOW + 10 * SECOND}
        assert circuit.held_services(connection, NOW + 10 * SECOND) == {}
    assert leave(engine, NOW + 10 * SECOND).trial
    assert not leave(engine, NOW + 10 * SECOND).admitted
    tell(engine, outage=True, trial=True, now=NOW + 11 * SECOND)
    with reading(engine) as connection:
        assert circuit.held_services(connection, NOW + 12 * SECOND) == {"S": NOW + 31 * SECOND}
    assert leave(engine, NOW + 31 * SECOND).trial
    tell(engine, outage=False)
    assert [leave(engine).admitted for _ in range(3)] == [True, True, True]
    with reading(engine) as connection:
        assert circuit.read(connection, "S") == circuit.NEW


def test_a_service_that_works_leaves_no_row(store: Engine) -> None:
    assert leave(store).admitted
    tell(store, outage=False)
    with reading(store) as connection:
        assert circuit.read(connection, "S") == circuit.NEW
        assert circuit.held_services(connection, NOW) == {}


def test_many_workers_share_one_clock_of_slots(postgresql_url: str) -> None:
    engine = engine_for(postgresql_url)
    upgrade(engine)
    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(lambda _: leave(engine, policy=BOUNDED).admitted, range(40)))
    assert admitted.count(True) == 1
    assert leave(engine, NOW + dt.timedelta(seconds=0.25), BOUNDED).admitted
    engine.dispose()
