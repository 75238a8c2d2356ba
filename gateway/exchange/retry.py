"""What is done about a message that was not answered. Pure: time, policy and random number are arguments."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import GatewayError, OutcomeUnknown, PeerFault, PeerUnavailable
from gateway.shep.faults import FaultCode

#: nothing is put off further than this, whatever a policy says
LONGEST_DELAY_S: Final = 86_400.0


class ErrorClass(StrEnum):
    """What is known of the message's fate, which is all that a decision rests on."""

    #: nothing of it left this machine
    NOT_SENT = "not_sent"
    #: it may have arrived
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How one service may be tried: [retry] of system.toml, and whether the same message twice has no second effect."""

    #: posts of one message, the first among them
    attempts: int
    first_delay_s: float
    factor: float
    longest_delay_s: float
    #: the id is ours and the service is idempotent: the same bytes may go again though they may have arrived
    repeatable: bool
    #: the channel can be asked about the id (getMessageStatus)
    answers_for_status: bool = False
    #: a message that has been overdue for longer than this is not sent without a person's word
    oldest_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Again:
    """The same bytes under the same id, then."""

    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Its fate is found out then: asked for by id, or the same bytes where the service takes them twice."""

    at: dt.datetime


@dataclass(frozen=True, slots=True)
class AskOperator:
    """Nobody but a person, or an answer that still comes, can say how it ended."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """It has had its attempts."""


Decision = Again | Reconcile | AskOperator | Quarantine


def decide(
    *, attempt: int, error: ErrorClass, policy: RetryPolicy, now: dt.datetime, jitter: float, counts: bool = True
) -> Decision:
    """What follows attempt number `attempt` (from 1) that ended in `error`.

    `jitter` is a random number from 0 to 1: the delay is between half of the back-off and the whole of it, so that
    messages which failed together do not come back together. `counts` False: the service was known to be down and this
    message only tried it out, so the attempt is not held against it.
    """
    if error is ErrorClass.UNKNOWN and not (policy.repeatable or policy.answers_for_status):
        return AskOperator()
    if counts and attempt >= policy.attempts:
        return Quarantine()
    at = now + back_off(attempt, policy, jitter)
    return Again(at) if error is ErrorClass.NOT_SENT else Reconcile(at)


def back_off(attempt: int, policy: RetryPolicy, jitter: float) -> dt.timedelta:
    """How long after attempt number `attempt` the next one waits."""
    ceiling = min(policy.longest_delay_s, LONGEST_DELAY_S)
    delay_s = policy.first_delay_s
    for _ in range(attempt - 1):
        if delay_s >= ceiling or policy.factor == 1:
            break
        delay_s *= policy.factor
    return dt.timedelta(seconds=min(delay_s, ceiling) * (1 + jitter) / 2)


def is_too_old(due_at: dt.datetime | None, *, policy: RetryPolicy, now: dt.datetime) -> bool:
    """Whether a row lay about for so long, because nothing worked on it, that a person has to say what is done."""
    return due_at is not None and now - due_at > dt.timedelta(seconds=policy.oldest_s)


def class_of(error: GatewayError) -> ErrorClass:
    """What an error of the post says about the message's fate."""
    return ErrorClass.NOT_SENT if isinstance(error, PeerUnavailable) else ErrorClass.UNKNOWN


def is_outage(error: GatewayError | None) -> bool:
    """Whether an error speaks against the service and not against this one message."""
    if isinstance(error, PeerFault):
        return error.fault_code in (FaultCode.SERVICE_UNAVAILABLE, FaultCode.INTERNAL)
    return isinstance(error, PeerUnavailable | OutcomeUnknown)
