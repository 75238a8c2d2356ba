"""The gates that every request goes through, in the order of the real gateway (SHEP.md 1.8)."""

from __future__ import annotations

import datetime as dt
from typing import Final

from gateway.apart import TextApart
from gateway.errors import GatewayError, MalformedMessage, RevocationUnknown, SignatureRefused, TrustRefused
from gateway.shep.faults import FaultCode
from gateway.signing.wss import VerifiedBody, verify_envelope
from gateway.trust.store import TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode
from gateway.xml import XmlBounds

#: everything else that is wrong with a signature is SCE006
_SIGNATURE_FAULTS: Final = {
    "unsigned": FaultCode.NOT_SIGNED,
    "certificate_unknown": FaultCode.TRANSPORT_CERTIFICATE,
}


class RequestRefused(GatewayError):
    """The request gets a fault. `why` is the code of what failed, for the sandbox's own log."""

    def __init__(self, code: FaultCode, why: str) -> None:
        super().__init__(code.meaning)
        self.code: FaultCode = code
        self.why = why


class Gate:
    """Bounds, signature and certificate of what comes in."""

    def __init__(self, trust: TrustStore, bounds: XmlBounds) -> None:
        self._trust = trust
        self.bounds = bounds

    def pass_in(self, data: bytes, *, now: dt.datetime, apart: TextApart | None = None) -> VerifiedBody:
        """The signed Body of a message. Raises RequestRefused."""
        try:
            verified = verify_envelope(data, certificates=self._trust, bounds=self.bounds, apart=apart)
        except MalformedMessage as error:
            raise RequestRefused(FaultCode.MESSAGE_FORMAT, error.code) from None
        except SignatureRefused as error:
            code = _SIGNATURE_FAULTS.get(error.code, FaultCode.TRANSPORT_SIGNATURE)
            raise RequestRefused(code, error.code) from None
        try:
            validate(verified.certificate, self._trust, at=now, revocation=RevocationMode.REQUIRE)
        except (TrustRefused, RevocationUnknown) as error:
            raise RequestRefused(FaultCode.TRANSPORT_CERTIFICATE, error.code) from None
        return verified
