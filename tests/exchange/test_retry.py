"""What is done about a message that was not answered."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, MalformedMessage, OutcomeUnknown, PeerFault, PeerUnavailable, RevocationUnknown
from gateway.exchange.retry import (
    LONGEST_DELAY_S,
    Again,
    AskOperator,
    ErrorClass,
    Quarantine,
    Reconcile,
    RetryPolicy,
    back_off,
    class_of,
    decide,
    is_outage,
    is_too_old,
)
from tests.exchange.world import NOW

POLICY = RetryPolicy(attempts=4, first_delay_s=30, factor=2, longest_delay_s=100, repeatable=True)
UNREPEATABLE = replace(POLICY, repeatable=False)

policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 50),
    first_delay_s=st.floats(0, 1e9),
    factor=st.floats(1, 100),
    longest_delay_s=st.floats(0, 1e9),
    repeatable=st.booleans(),
    answers_for_status=st.booleans(),
)
jitters = st.floats(0, 1)


def test_what_was_surely_not_sent_is_sent_again_later_and_later_and_never_later_than_the_policy_says() -> None:
    delays = [(back_off(attempt, POLICY, 1.0)).total_seconds() for attempt in (1, 2, 3, 4, 1_000_000)]
    assert delays == [30, 60, 100, 100, 100]
    assert decide(attempt=2, error=ErrorClass.NOT_SENT, policy=POLICY, now=NOW, jitter=1.0) == Again(
        NOW + dt.timedelta(seconds=60)
    )


def test_the_last_attempt_is_followed_by_quarantine() -> None:
    assert decide(attempt=4, error=ErrorClass.NOT_SENT, policy=POLICY, now=NOW, jitter=0.5) == Quarantine()
    assert decide(attempt=4, error=ErrorClass.UNKNOWN, policy=POLICY, now=NOW, jitter=0.5) == Quarantine()


def test_what_may_have_arrived_is_reconciled_where_that_has_no_second_effect_and_else_by_a_person() -> None:
    decided = decide(attempt=1, error=ErrorClass.UNKNOWN, policy=POLICY, now=NOW, jitter=0.0)
    assert decided == Reconcile(NOW + dt.timedelta(seconds=15))
    for attempt in (1, 4, 99):
        assert (
            decide(attempt=attempt, error=ErrorClass.UNKNOWN, policy=UNREPEATABLE, now=NOW, jitter=0.0) == AskOperator()
        )
    asks = replace(UNREPEATABLE, answers_for_status=True)
    assert isinstance(decide(attempt=1, error=ErrorClass.UNKNOWN, policy=asks, now=NOW, jitter=0.0), Reconcile)


@given(policy=policies, attempt=st.integers(1, 10_000), jitter=jitters, error=st.sampled_from(ErrorClass))
def test_a_decision_never_lies_in_the_past_or_further_than_a_day(
    policy: RetryPolicy, attempt: int, jitter: float, error: ErrorClass
) -> None:
    decided = decide(attempt=attempt, error=error, policy=policy, now=NOW, jitter=jitter)
    if isinstance(decided, Again | Reconcile):
        assert NOW <= decided.at <= NOW + dt.timedelta(seconds=LONGEST_DELAY_S)
        assert attempt < policy.attempts
    if isinstance(decided, Again):
        assert error is ErrorClass.NOT_SENT
    if error is ErrorClass.UNKNOWN and not policy.repeatable and not policy.answers_for_status:
        assert decided == AskOperator()


@given(policy=policies, attempt=st.integers(1, 100), one=jitters, other=jitters)
def test_jitter_spreads_over_half_of_the_back_off(policy: RetryPolicy, attempt: int, one: float, other: float) -> None:
    least, most = back_off(attempt, policy, 0.0), back_off(attempt, policy, 1.0)
    assert least <= back_off(attempt, policy, one) <= most
    assert abs(most - 2 * least) <= dt.timedelta(microseconds=2)
    assert back_off(attempt, policy, other) <= back_off(attempt + 1, policy, 1.0)


def test_an_attempt_that_only_tried_the_service_out_is_not_held_against_the_message() -> None:
    decided = decide(attempt=4, error=ErrorClass.NOT_SENT, policy=POLICY, now=NOW, jitter=1.0, counts=False)
    assert isinstance(decided, Again)


@pytest.mark.parametrize(
    ("error", "expected", "outage"),
    [
        (PeerUnavailable("down"), ErrorClass.NOT_SENT, True),
        (OutcomeUnknown("silence"), ErrorClass.UNKNOWN, True),
        (RevocationUnknown("no list"), ErrorClass.UNKNOWN, False),
        (MalformedMessage("?"), ErrorClass.UNKNOWN, False),
        (PeerFault("SCE004", "?", signed=True), ErrorClass.UNKNOWN, True),
        (PeerFault("SCE005", "?", signed=True), ErrorClass.UNKNOWN, False),
    ],
)
def test_errors_say_what_is_known_of_the_message_and_of_its_service(
    error: GatewayError, expected: ErrorClass, outage: bool
) -> None:
    assert class_of(error) is expected
    assert is_outage(error) is outage


def test_no_error_is_no_outage() -> None:
    assert not is_outage(None)


def test_a_row_that_lay_about_is_too_old_to_be_sent_by_itself() -> None:
    day = dt.timedelta(seconds=POLICY.oldest_s)
    assert not is_too_old(NOW - day, policy=POLICY, now=NOW)
    assert is_too_old(NOW - day - dt.timedelta(seconds=1), policy=POLICY, now=NOW)
    assert not is_too_old(None, policy=POLICY, now=NOW)
