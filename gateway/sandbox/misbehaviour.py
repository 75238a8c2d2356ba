"""Bad days on order: which replies go wrong, how, and how often."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from gateway.errors import OperatorError

DEFAULT_SECONDS: Final = 5.0
DEFAULT_REPLY_BYTES: Final = 4_000_000
MAX_TIMES: Final = 1_000_000
MAX_SECONDS: Final = 3_600.0
MAX_REPLY_BYTES: Final = 200_000_000


class Misbehaviour(StrEnum):
    """What can be ordered. THREATS.md section 3 is the list that these are taken from."""

    #: the right answer, late
    SLOW = "slow"
    #: a signed fault
    FAULT = "fault"
    #: a fault that nobody signed
    UNSIGNED_FAULT = "unsigned_fault"
    #: a real signature over the genuine Body, which was moved aside; the Body in its place says something else
    WRAPPED_FORGERY = "wrapped_forgery"
    #: the Body was changed after signing
    WRONG_SIGNATURE = "wrong_signature"
    #: signed with a certificate of an authority that nobody here trusts
    STRANGER_SIGNER = "stranger_signer"
    #: signed with an expired certificate
    EXPIRED_SIGNER = "expired_signer"
    #: signed with a revoked certificate
    REVOKED_SIGNER = "revoked_signer"
    #: properly signed, and an answer to another question
    WRONG_CORRELATION = "wrong_correlation"
    #: properly signed, and about another person than was asked
    OTHER_PERSON = "other_person"
    #: the connection ends in the middle of the body
    CUT_BODY = "cut_body"
    #: text instead of XML
    NOT_XML = "not_xml"
    #: more bytes than anyone should read
    TOO_LARGE = "too_large"
    #: the right answer without any signature
    UNSIGNED_REPLY = "unsigned_reply"
    #: the error page of a proxy
    HTTP_500_HTML = "http_500_html"


@dataclass(frozen=True, slots=True)
class Order:
    """The next `times` requests (to `system`, when it is named) are answered in this way."""

    kind: Misbehaviour
    #: slug of a system; "" means any
    system: str = ""
    times: int = 1
    #: how late a slow answer comes
    seconds: float = DEFAULT_SECONDS
    #: how large an answer that is too large becomes
    reply_bytes: int = DEFAULT_REPLY_BYTES

    def as_dict(self) -> dict[str, str | int | float]:
        return {
            "kind": self.kind.value,
            "system": self.system,
            "times": self.times,
            "seconds": self.seconds,
            "reply_bytes": self.reply_bytes,
        }


def read_order(document: Any, known_systems: Sequence[str]) -> Order:
    """An order from parsed JSON. Raises OperatorError (`bad_order`) that says what may be ordered."""
    if not isinstance(document, Mapping):
        raise _bad_order('write a JSON object such as {"kind": "slow", "times": 1}')
    unknown = sorted(set(document) - {"kind", "system", "times", "seconds", "reply_bytes"})
    if unknown:
        raise _bad_order(f"the key {unknown[0]!r} is not known; there are kind, system, times, seconds, reply_bytes")
    kinds = ", ".join(kind.value for kind in Misbehaviour)
    try:
        kind = Misbehaviour(str(document.get("kind")))
    except ValueError:
        raise _bad_order(f"'kind' is one of {kinds}") from None
    system = document.get("system", "")
    if system not in ("", *known_systems):
        raise _bad_order(f"'system' is one of {', '.join(known_systems)}, or is left out")
    return Order(
        kind,
        str(system),
        times=int(_number(document, "times", 1, 1, MAX_TIMES, whole=True)),
        seconds=float(_number(document, "seconds", DEFAULT_SECONDS, 0, MAX_SECONDS)),
        reply_bytes=int(_number(document, "reply_bytes", DEFAULT_REPLY_BYTES, 1, MAX_REPLY_BYTES, whole=True)),
    )


def _number(
    document: Mapping[str, Any], key: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        raise _bad_order(f"{key!r} is a {'whole ' if whole else ''}number from {low:g} to {high:g}")
    return float(value)


def _bad_order(why: str) -> OperatorError:
    return OperatorError(why, code="bad_order")


class Orders:
    """The orders still to be carried out, oldest first. Safe to use from several threads."""

    def __init__(self, orders: Sequence[Order] = ()) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Order] = list(orders)

    def place(self, order: Order) -> None:
        with self._lock:
            self._waiting.append(order)

    def take(self, system: str) -> Order | None:
        """The order that this request to `system` falls under, used up by one."""
        with self._lock:
            for place, order in enumerate(self._waiting):
                if order.system in ("", system):
                    if order.times > 1:
                        self._waiting[place] = replace(order, times=order.times - 1)
                    else:
                        del self._waiting[place]
                    return order
            return None

    def waiting(self) -> tuple[Order, ...]:
        with self._lock:
            return tuple(self._waiting)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
