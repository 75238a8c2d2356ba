"""How a refusal of ours is told: to the caller as a fault of the channel, to the journal and the log by name. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import (
    GatewayError,
    InvalidIdentifier,
    MalformedMessage,
    OperatorError,
    RequestRefused,
    RevocationUnknown,
    SignatureRefused,
    TrustRefused,
)
from gateway.model import Iin
from gateway.shep.faults import FaultCode

#: a signature that may hold, of a signer whom we do not know or whose certificate we cannot read
_UNKNOWN_SIGNER: Final = frozenset({"certificate_unknown", "bad_certificate"})
_DIGITS: Final = re.compile(r"[0-9]{12,}")


@dataclass(frozen=True, slots=True)
class Refusal:
    code: FaultCode | str
    message: str
    #: for the journal and the log: what exactly it was
    verdict: str
    note: str = ""


class NamedRefusal(RequestRefused):
    """A refusal of ours that the journal calls by a name of its own."""

    def __init__(self, code: FaultCode, message: str, verdict: str) -> None:
        super().__init__(message, code=code)
        self.verdict = verdict


def refusal_of(error: Exception) -> Refusal:
    """Which fault the caller gets (SHEP.md 1.8). What is ours to mend is never told outside."""
    match error:
        case RequestRefused():
            # some refusals have a name of their own for the journal
            return Refusal(error.code, error.message, getattr(error, "verdict", error.code))
        case SignatureRefused(code="unsigned"):
            return Refusal(FaultCode.NOT_SIGNED, FaultCode.NOT_SIGNED.meaning, error.code)
        case SignatureRefused(code=code) if code in _UNKNOWN_SIGNER:
            return Refusal(FaultCode.TRANSPORT_CERTIFICATE, _told(FaultCode.TRANSPORT_CERTIFICATE, error), code)
        case SignatureRefused():
            return Refusal(FaultCode.TRANSPORT_SIGNATURE, _told(FaultCode.TRANSPORT_SIGNATURE, error), error.code)
        case TrustRefused() | RevocationUnknown():
            # which list or authority it was is our configuration: the journal's business
            text = f"{FaultCode.TRANSPORT_CERTIFICATE.meaning} ({error.code})"
            return Refusal(FaultCode.TRANSPORT_CERTIFICATE, text, error.code)
        case MalformedMessage() | InvalidIdentifier():
            return Refusal(FaultCode.MESSAGE_FORMAT, _told(FaultCode.MESSAGE_FORMAT, error), error.code)
        case OperatorError():
            return Refusal(FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, error.code, failure_of(error))
        case _:
            return Refusal(FaultCode.INTERNAL, FaultCode.INTERNAL.meaning, "internal", failure_of(error))


def _told(code: FaultCode, error: GatewayError) -> str:
    return f"{code.meaning}: {error.message}"


def failure_of(error: Exception) -> str:
    """Kind and place of a failure; never its text, which may quote the request."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return f"{type(error).__name__}{place}"


def shown_id(message_id: str) -> str:
    """A message id for the log: whoever makes an id of an IIN must not bring it there."""
    return _DIGITS.sub(lambda run: "*" * 12 if _holds_iin(run[0]) else run[0], message_id)


def _holds_iin(digits: str) -> bool:
    for start in range(len(digits) - 11):
        try:
            Iin(digits[start : start + 12])
        except InvalidIdentifier:
            continue
        return True
    return False
