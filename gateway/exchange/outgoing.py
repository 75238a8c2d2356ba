"""Steps 6 and 7 of what we answer: signed, and verified by ourselves first. Faults too, each text once a second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import structlog
from lxml import etree

from gateway.exchange.journal import NOBODY, Signer, Verdict
from gateway.exchange.refusals import failure_of
from gateway.shep import envelope, sync_channel
from gateway.shep.messages import ErrorInfo
from gateway.signing.certificate import Certificate
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey
from gateway.signing.own import check_made, check_written
from gateway.signing.wss import sign_body, sign_content
from gateway.telemetry import Flow, step
from gateway.xml import XmlBounds

_LOG: Final = structlog.get_logger()
#: different texts of one second; more than that are signed anew
_MAX_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes out, and by whose signature: nobody's when our key could not be used for a fault."""

    data: bytes = field(repr=False)
    signer: Signer
    verdict: str
    #: the journal entry whose bytes these are; None for new ones
    repeats: int | None = None


def sign_and_check(
    body: etree._Element, key: SigningKey, *, form: KeyInfoForm, bounds: XmlBounds, flow: Flow
) -> Outgoing:
    """Sign, then verify as the other side will. Raises KeyMaterialError, SignatureRefused or MalformedMessage."""
    return check(sign(body, key, form=form, flow=flow), key, bounds=bounds, flow=flow)


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Signed, and not to be sent yet."""

    data: bytes = field(repr=False)
    #: its Body was written as text
    is_written: bool


def sign(body: etree._Element | bytes, key: SigningKey, *, form: KeyInfoForm, flow: Flow) -> Unchecked:
    """Step 6 alone: of a Body, or of what stands in one, written in canonical form. Raises KeyMaterialError and
    MalformedMessage."""
    with step(6, flow):
        if isinstance(body, bytes):
            return Unchecked(sign_content(body, key, form=form), is_written=True)
        return Unchecked(sign_body(body, key, form=form), is_written=False)


def check(signed: Unchecked, key: SigningKey, *, bounds: XmlBounds, flow: Flow) -> Outgoing:
    """Step 7 alone: verified as the other side will. Raises SignatureRefused or MalformedMessage."""
    certificate = key.certificate
    with step(7, flow):
        if signed.is_written:
            check_written(signed.data, certificate, bounds)
        else:
            check_made(signed.data, certificate, bounds)
    return Outgoing(signed.data, _signer(certificate), Verdict.SIGNED)


@lru_cache(maxsize=16)
def _signer(certificate: Certificate) -> Signer:
    return Signer.of(certificate)


class SignedFaults:
    """Faults by code, text and second. They name no message, so whoever is told the same in one second gets the same
    bytes: refusing costs no signature, however many ask. Any thread may use it."""

    def __init__(
        self,
        sign: Callable[[etree._Element], Outgoing],
        build: Callable[[ErrorInfo], etree._Element] = sync_channel.build_fault,
    ) -> None:
        """`sign` raises as `sign_and_check` does; `build` makes the Body of a fault."""
        self._sign = sign
        self._build = build
        self._lock = threading.Lock()
        self._second: object = None
        self._kept: dict[tuple[str, str], Outgoing] = {}

    def fault(self, error: ErrorInfo) -> Outgoing:
        """The fault, dated to the second. Unsigned when our key cannot be used: nobody has to trust that one."""
        second = None if error.date is None else error.date.replace(microsecond=0)
        name = error.code, error.message
        with self._lock:
            if second != self._second:
                self._second = second
                self._kept = {}
            kept = self._kept.get(name)
        if kept is not None:
            return kept
        body = self._build(replace(error, date=second))
        try:
            made = self._sign(body)
        except Exception as failed:
            _LOG.error("exchange", action="signing_failed", code=failure_of(failed))
            return Outgoing(envelope.build_envelope(body), NOBODY, "unsigned")
        with self._lock:
            if second == self._second and len(self._kept) < _MAX_KEPT:
                self._kept[name] = made
        return made
