"""How a service fares, and how fast it may be asked: decided purely, kept in one row that the whole fleet shares.

A circuit is closed while a service works. It opens after failures in a row: nothing is sent for a while, then one
message tries; when that fails too the wait doubles, up to a bound. Beside it stands the clock of slots, by which
requests per second are bounded however many workers there are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, bindparam, literal_column, null, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database import UtcDateTime
from gateway.exchange.tables import CIRCUIT
from gateway.statements import FixedStatement, is_among


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When to stop asking a service, and how often to ask it at most."""

    #: failures in a row that open the circuit
    failures: int = 5
    cool_down_s: float = 10.0
    longest_cool_down_s: float = 300.0
    #: how long one trial may take before another message may try
    trial_s: float = 60.0
    #: 0: unbounded
    requests_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Circuit:
    """One service's row; as made here, a service that nothing is known against."""

    failures: int = 0
    openings: int = 0
    open_until: dt.datetime | None = None
    next_slot_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether one message may be posted now; if not, when it is worth asking again."""

    admitted: bool
    #: the circuit is open and this message finds out whether the service is back
    trial: bool = False
    retry_at: dt.datetime | None = None


NEW: Final = Circuit()


# ---------------------------------------------------------------- decisions (pure)


def admit(circuit: Circuit, policy: CircuitPolicy, now: dt.datetime) -> tuple[Circuit, Admission]:
    """Ask for leave to post one message; with it the row as it is then."""
    held = held_until(circuit, now)
    if held is not None:
        return circuit, Admission(False, retry_at=held)
    after = circuit
    if policy.requests_per_s > 0:
        slot = dt.timedelta(seconds=1 / policy.requests_per_s)
        after = replace(after, next_slot_at=now + slot)
    if circuit.open_until is None:
        return after, Admission(True)
    # whoever tries holds the others back: a service that comes to itself is not met by everything at once
    return replace(after, open_until=now + dt.timedelta(seconds=policy.trial_s)), Admission(True, trial=True)


def held_until(circuit: Circuit, now: dt.datetime) -> dt.datetime | None:
    """Until when nothing may be sent to the service; None: it may."""
    return max(
        (moment for moment in (circuit.open_until, circuit.next_slot_at) if moment is not None and moment > now),
        default=None,
    )


def succeeded(circuit: Circuit) -> Circuit:
    return replace(circuit, failures=0, openings=0, open_until=None)


def failed(circuit: Circuit, policy: CircuitPolicy, now: dt.datetime, *, trial: bool) -> Circuit:
    """One more failure. A failed `trial` opens again for longer; what was under way when it opened does not."""
    failures = circuit.failures + 1
    if failures < policy.failures or (circuit.open_until is not None and not trial):
        return replace(circuit, failures=failures)
    cool_down_s = min(policy.cool_down_s * 2 ** min(circuit.openings, 30), policy.longest_cool_down_s)
    return replace(
        circuit,
        failures=failures,
        openings=circuit.openings + 1,
        open_until=now + dt.timedelta(seconds=cool_down_s),
    )


# ---------------------------------------------------------------- the rows


def held_services(connection: Connection, now: dt.datetime) -> Mapping[str, dt.datetime]:
    """Services that nothing may be sent to now, each with until when."""
    found = {service_id: held_until(Circuit(*row), now) for service_id, *row in _HELD.run(connection, now=now)}
    return {service_id: until for service_id, until in found.items() if until is not None}


_NOW: Final = bindparam("now", type_=UtcDateTime())
_ROW: Final = select(
    CIRCUIT.c.service_id, CIRCUIT.c.failures, CIRCUIT.c.openings, CIRCUIT.c.open_until, CIRCUIT.c.next_slot_at
)
_HELD: Final = FixedStatement(
    "circuit_held", lambda _: _ROW.where(or_(CIRCUIT.c.open_until > _NOW, CIRCUIT.c.next_slot_at > _NOW))
)
_OF_SERVICES: Final = FixedStatement(
    "circuit_of_services",
    lambda on_postgresql: _ROW.where(is_among(on_postgresql, CIRCUIT.c.service_id, "services")),
)


def ask_leave(connection: Connection, service_id: str, policy: CircuitPolicy, now: dt.datetime) -> Admission:
    """`admit` for the whole fleet. A service that works and is not bounded costs one read."""
    circuit = read(connection, service_id)
    after, admission = admit(circuit, policy, now)
    if after == circuit:
        return admission
    circuit = _locked(connection, service_id)
    after, admission = admit(circuit, policy, now)
    if after != circuit:
        _write(connection, service_id, after)
    return admission


def ask_leave_for_all(
    connection: Connection, wanted: Sequence[tuple[str, CircuitPolicy]], now: dt.datetime
) -> tuple[Admission, ...]:
    """`ask_leave` for several messages, each with its service; one read where all services work and none is bounded."""
    services = sorted({service_id for service_id, _ in wanted})
    known = {service_id: Circuit(*row) for service_id, *row in _OF_SERVICES.run(connection, services=services)}
    admissions: dict[int, Admission] = {}
    # in one order of services, or two groups would wait for each other
    for place, (service_id, policy) in sorted(enumerate(wanted), key=lambda one: (one[1][0], one[0])):
        circuit = known.get(service_id, NEW)
        after, admission = admit(circuit, policy, now)
        admissions[place] = admission if after == circuit else ask_leave(connection, service_id, policy, now)
    return tuple(admissions[place] for place in range(len(wanted)))


def report(
    connection: Connection,
    service_id: str,
    policy: CircuitPolicy,
    now: dt.datetime,
    *,
    outage: bool,
    trial: bool = False,
) -> None:
    """What came of a post. One statement that finds nothing where a working service works."""
    if outage:
        _write(connection, service_id, failed(_locked(connection, service_id), policy, now, trial=trial))
        return
    _WORKS.run(connection, this_service_id=service_id)


_WORKS: Final = FixedStatement(
    "circuit_works",
    lambda _: (
        update(CIRCUIT)
        .where(CIRCUIT.c.service_id == bindparam("this_service_id"), CIRCUIT.c.failures > 0)
        .values(failures=literal_column("0"), openings=literal_column("0"), open_until=null())
    ),
)


def read(connection: Connection, service_id: str) -> Circuit:
    row = connection.execute(select(CIRCUIT).where(CIRCUIT.c.service_id == service_id)).mappings().first()
    return NEW if row is None else _circuit(row)


def _locked(connection: Connection, service_id: str) -> Circuit:
    query = select(CIRCUIT).where(CIRCUIT.c.service_id == service_id).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = {"service_id": service_id, "failures": 0, "openings": 0, "open_until": None, "next_slot_at": None}
        connection.execute(insert(CIRCUIT).values(**values).on_conflict_do_nothing())
        row = connection.execute(query).mappings().one()
    return _circuit(row)


def _write(connection: Connection, service_id: str, circuit: Circuit) -> None:
    connection.execute(
        update(CIRCUIT)
        .where(CIRCUIT.c.service_id == service_id)
        .values(
            failures=circuit.failures,
            openings=circuit.openings,
            open_until=circuit.open_until,
            next_slot_at=circuit.next_slot_at,
        )
    )


def _circuit(row: Mapping[str, Any] | Any) -> Circuit:
    return Circuit(row["failures"], row["openings"], row["open_until"], row["next_slot_at"])
