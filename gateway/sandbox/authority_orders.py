"""Bad days of the simulated certification authority, on order."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from gateway.errors import OperatorError

MAX_TIMES: Final = 1_000_000


class AuthorityService(StrEnum):
    OCSP = "ocsp"
    TSP = "tsp"


class AuthorityMisbehaviour(StrEnum):
    """What can be ordered. THREATS.md section 3, row PKI, is the list that these are taken from."""

    #: tryLater, or a rejected time stamp
    TRY_LATER = "try_later"
    #: the answer is ten days old
    STALE = "stale"
    #: the answer is from ten days ahead
    FROM_FUTURE = "from_future"
    #: the signature is empty, or there is no signer
    UNSIGNED = "unsigned"
    #: signed over other bytes
    WRONG_SIGNATURE = "wrong_signature"
    #: signed by somebody certified by an authority that nobody here trusts
    STRANGER_SIGNER = "stranger_signer"
    #: signed by somebody of the same authority whose certificate is for other things
    NOT_AUTHORISED = "not_authorised"
    #: properly signed, with another nonce
    WRONG_NONCE = "wrong_nonce"
    #: properly signed, without the nonce
    NO_NONCE = "no_nonce"
    #: bytes that are no answer
    MALFORMED = "malformed"
    #: OCSP: about another certificate
    OTHER_SERIAL = "other_serial"
    #: OCSP: the certificate is said to be revoked
    STATUS_REVOKED = "status_revoked"
    #: OCSP: the responder does not know the certificate
    STATUS_UNKNOWN = "status_unknown"
    #: TSP: a stamp over other bytes
    OTHER_IMPRINT = "other_imprint"


_ONLY: Final[Mapping[AuthorityMisbehaviour, AuthorityService]] = {
    AuthorityMisbehaviour.OTHER_SERIAL: AuthorityService.OCSP,
    AuthorityMisbehaviour.STATUS_REVOKED: AuthorityService.OCSP,
    AuthorityMisbehaviour.STATUS_UNKNOWN: AuthorityService.OCSP,
    AuthorityMisbehaviour.OTHER_IMPRINT: AuthorityService.TSP,
}


def kinds_of(service: AuthorityService) -> tuple[AuthorityMisbehaviour, ...]:
    """What can be ordered of one service."""
    return tuple(kind for kind in AuthorityMisbehaviour if _ONLY.get(kind, service) is service)


@dataclass(frozen=True, slots=True)
class AuthorityOrder:
    """The next `times` questions to `service` are answered in this way."""

    service: AuthorityService
    kind: AuthorityMisbehaviour
    times: int = 1

    def as_dict(self) -> dict[str, str | int]:
        return {"service": self.service.value, "kind": self.kind.value, "times": self.times}


def read_authority_order(document: Any) -> AuthorityOrder:
    """An order from parsed JSON. Raises OperatorError (`bad_order`) that says what may be ordered."""
    if not isinstance(document, Mapping):
        raise _bad_order('write a JSON object such as {"service": "ocsp", "kind": "stale", "times": 1}')
    unknown = sorted(set(document) - {"service", "kind", "times"})
    if unknown:
        raise _bad_order(f"the key {unknown[0]!r} is not known; there are service, kind, times")
    try:
        service = AuthorityService(str(document.get("service")))
    except ValueError:
        raise _bad_order("'service' is one of ocsp, tsp") from None
    possible = kinds_of(service)
    kind = next((kind for kind in possible if kind.value == document.get("kind")), None)
    if kind is None:
        raise _bad_order(f"'kind' for {service} is one of {', '.join(possible)}")
    times = document.get("times", 1)
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MAX_TIMES:
        raise _bad_order(f"'times' is a whole number from 1 to {MAX_TIMES}")
    return AuthorityOrder(service, kind, times)


def _bad_order(why: str) -> OperatorError:
    return OperatorError(why, code="bad_order")


class AuthorityOrders:
    """The orders still to be carried out, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[AuthorityOrder] = []

    def place(self, order: AuthorityOrder) -> None:
        with self._lock:
            self._waiting.append(order)

    def take(self, service: AuthorityService) -> AuthorityMisbehaviour | None:
        """The misbehaviour that this question falls under, used up by one."""
        with self._lock:
            for place, order in enumerate(self._waiting):
                if order.service is service:
                    if order.times > 1:
                        self._waiting[place] = replace(order, times=order.times - 1)
                    else:
                        del self._waiting[place]
                    return order.kind
            return None

    def waiting(self) -> tuple[AuthorityOrder, ...]:
        with self._lock:
            return tuple(self._waiting)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
