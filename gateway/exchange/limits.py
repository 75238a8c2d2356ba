"""How hard a service may be tried: what system.toml says about it, with the settings for the rest."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.exchange.circuit import CircuitPolicy
from gateway.exchange.retry import RetryPolicy
from gateway.systems.definition import Channel, SystemDefinition

#: waiting for a free connection, TCP and TLS: the connect timeout bounds each of them
_CONNECT_STAGES: Final = 3


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """The settings of [exchange]."""

    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)
    #: what has been overdue for longer goes to the operator instead of the wire
    oldest_s: float = 86_400.0
    #: how much longer than its timeouts a post may take before others take its row over
    lease_margin_s: float = 30.0


DEFAULT_LIMITS: Final = ExchangeLimits()


def retry_policy(definition: SystemDefinition, limits: ExchangeLimits, *, consent: bool = False) -> RetryPolicy:
    """How messages to a system are retried. A consent is for one call: what carries one goes out once."""
    ours = definition.message_id == "ours"
    return RetryPolicy(
        attempts=1 if consent else definition.retry.attempts,
        first_delay_s=definition.retry.first_delay_s,
        factor=definition.retry.factor,
        longest_delay_s=definition.retry.longest_delay_s,
        repeatable=ours and definition.idempotent,
        answers_for_status=ours and definition.channel is Channel.ASYNC,
        oldest_s=limits.oldest_s,
    )


def circuit_policy(definition: SystemDefinition, limits: ExchangeLimits) -> CircuitPolicy:
    """When a system's services are left alone, and how often they may be asked."""
    if definition.requests_per_s is None:
        return limits.circuit
    return replace(limits.circuit, requests_per_s=definition.requests_per_s)


def lease_of(*, connect_timeout_s: float, reply_timeout_s: float, limits: ExchangeLimits) -> dt.timedelta:
    """How long a row is held: longer than its post can take."""
    return dt.timedelta(seconds=_CONNECT_STAGES * connect_timeout_s + reply_timeout_s + limits.lease_margin_s)
