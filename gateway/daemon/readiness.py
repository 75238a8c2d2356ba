"""What has to work before the program may be asked: our key, our certificate, the database; and what `doctor` tries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway import database
from gateway.daemon.assembly import Gateway, new_message_id, now
from gateway.errors import GatewayError
from gateway.exchange.echo import echo
from gateway.exchange.stamping import Stamper
from gateway.shep import sync_channel
from gateway.shep.messages import ErrorInfo
from gateway.signing import national
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.own import check_own
from gateway.signing.wss import sign_body
from gateway.trust.validate import validate
from gateway.xml import DEFAULT_BOUNDS


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to work. `code` is "ok" or that of the error."""

    name: str
    code: str
    message: str

    @property
    def ok(self) -> bool:
        return self.code == "ok"


#: the means of national signatures, for people
BACKEND_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"engine": "OpenSSL's gost engine", "own": "our own code (not constant-time)"}
)


def readiness(gateway: Gateway, at: dt.datetime) -> tuple[Check, ...]:
    """Can it sign, verify what it signed, trust its own certificate, and reach its database."""
    backend = national.backend().name
    return (
        _check(
            "signature",
            lambda: _sign_and_verify(gateway, at),
            f"signs with {gateway.key.algorithm.name}, and verifies what it signed;"
            f" national signatures by {BACKEND_NAMES.get(backend, backend)}",
        ),
        _check("certificate", lambda: _own_certificate(gateway, at), "our certificate is trusted and not revoked"),
        _check("database", lambda: database.check_revision(gateway.engine), "reachable, at the right revision"),
    )


def _check(name: str, work: Callable[[], None], good: str) -> Check:
    try:
        work()
    except GatewayError as error:
        return Check(name, error.code, error.message)
    return Check(name, "ok", good)


def _sign_and_verify(gateway: Gateway, at: dt.datetime) -> None:
    body = sync_channel.build_fault(ErrorInfo("READINESS", "never sent", at))
    form = KeyInfoForm(gateway.loaded.settings.signing.key_info)
    key = gateway.key
    check_own(sign_body(body, key, form=form), key.certificate, DEFAULT_BOUNDS)


def _own_certificate(gateway: Gateway, at: dt.datetime) -> None:
    certificate, trust = gateway.key.certificate, gateway.trust
    evidence = trust.evidence_for(certificate, trust.store.material, at)
    validate(certificate, trust.store, at=at, revocation=trust.revocation, evidence=evidence)


def echo_check(gateway: Gateway) -> Check:
    """Does the gateway take our signature, and do we take its; see gateway.exchange.echo."""
    result = echo(
        engine=gateway.engine,
        journal=gateway.journal,
        transport=gateway.transport,
        key=gateway.key,
        trust=gateway.trust,
        policy=gateway.policy,
        message_id=new_message_id(),
        clock=now,
    )
    return Check("gateway", result.code, result.message)


def stamp_check(gateway: Gateway) -> Check | None:
    """Has one statement stamped for real; None where no time stamping authority is configured."""
    stamper = gateway.stamper
    return None if stamper is None else _check("stamp", lambda: _stamp(stamper), "a time stamp was made and verified")


def _stamp(stamper: Stamper) -> None:
    stamper(b"gateway doctor")
