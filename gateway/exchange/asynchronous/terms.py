"""What folders and settings say about a message that we send: its target, its lease, its retries, its answer. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.exchange.ending import Tried, carries_consent
from gateway.exchange.limits import ExchangeLimits, circuit_policy, lease_of, retry_policy
from gateway.exchange.outbox import Exchange
from gateway.exchange.question import AskPolicy
from gateway.exchange.retry import RetryPolicy
from gateway.exchange.sending import Target
from gateway.systems.definition import SystemDefinition
from gateway.systems.finding import find_system

#: how answers of our own services are tried: no system.toml says it
_OUR_RETRY: Final = RetryPolicy(
    attempts=8, first_delay_s=15.0, factor=3.0, longest_delay_s=3_600.0, repeatable=False, answers_for_status=False
)


@dataclass(frozen=True, slots=True)
class RowTerms:
    """The terms of a row. One without a system is an answer of a service of ours: no folder says anything about it."""

    systems: Mapping[str, SystemDefinition]
    policy: AskPolicy
    limits: ExchangeLimits

    def tried(self, row: Exchange, *, trial: bool = False, posted: bool = True) -> Tried:
        """By what the row is retried. Raises OperatorError (`unknown_system`)."""
        if not row.system:
            return Tried(_OUR_RETRY, self.limits.circuit, trial, posted)
        definition = find_system(self.systems, row.system)
        consent = carries_consent(definition, row.service_id)
        retry = retry_policy(definition, self.limits, consent=consent)
        return Tried(retry, circuit_policy(definition, self.limits), trial, posted)

    def name_of(self, row: Exchange) -> str:
        """By what name the gateway can be asked about the message; "" where its acknowledgement alone could tell."""
        if row.wire_message_id:
            return row.wire_message_id
        return row.message_id if self.tried(row).retry.answers_for_status else ""

    def target(self, system: str) -> Target:
        """Where it is posted, and how long that may take. Raises as `tried`."""
        if system:
            return self.policy.target(find_system(self.systems, system))
        policy = self.policy
        return Target(policy.url, policy.connect_timeout_s, policy.reply_timeout_s, policy.max_reply_bytes)

    def lease(self, system: str) -> dt.timedelta:
        """How long a row is held while it is posted. Raises as `tried`."""
        target = self.target(system)
        return lease_of(
            connect_timeout_s=target.connect_timeout_s, reply_timeout_s=target.reply_timeout_s, limits=self.limits
        )

    def answer_due(self, row: Exchange, now: dt.datetime) -> dt.datetime | None:
        """When the answer to a message that is acknowledged now is overdue; None for one that nothing answers."""
        if not row.system:
            return None
        return now + dt.timedelta(seconds=find_system(self.systems, row.system).timeouts.answer_s)
