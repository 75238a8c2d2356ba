"""Bad days on order: which messages go wrong, how, and how often. One vocabulary for both channels and for the
fault script; every kind says where on a message's way it takes effect.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final

from gateway.errors import InvalidIdentifier, OperatorError
from gateway.model import Iin
from gateway.sandbox.dice import Dice
from gateway.shep.async_messages import MessageType, Operation

DEFAULT_SECONDS: Final = 5.0
DEFAULT_REPLY_BYTES: Final = 4_000_000
DEFAULT_BYTES_PER_SECOND: Final = 100
MAX_TIMES: Final = 1_000_000
MAX_SECONDS: Final = 86_400.0
MAX_REPLY_BYTES: Final = 200_000_000
_CHANCES: Final = 1_000_000

#: the synchronous channel's operation beside those of the asynchronous one
SYNC_OPERATION: Final = "SendMessage"
OPERATIONS: Final = (SYNC_OPERATION, *(operation.value for operation in Operation))


class Point(StrEnum):
    """Where on its way a message is when something goes wrong."""

    #: a request has come and nothing of it was looked at
    ARRIVAL = "arrival"
    #: the reply to a request: an answer, an acknowledgement, a batch, or a fault
    REPLY = "reply"
    #: a message that the sandbox has for a participant, pushed or fetched
    DELIVERY = "delivery"


class Misbehaviour(StrEnum):
    """What can be ordered. THREATS.md section 3 is the list that most of these are taken from."""

    # ---- a reply
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
    #: everything is done, and the connection ends before the first byte of the reply: a lost acknowledgement
    LOSE_REPLY = "lose_reply"
    #: the right answer, a few bytes a second
    DRIP = "drip"
    #: the sandbox's clock is wrong: every date of the message is `seconds` off, ahead or behind
    SKEW = "skew"
    #: the acknowledgement names ids that nothing later has
    CHANGED_IDS = "changed_ids"
    # ---- an arrival
    #: HTTP 503 and nothing is done, for `seconds` from the first request on
    OUTAGE = "outage"
    #: the connection ends and nothing is done
    LOSE_REQUEST = "lose_request"
    # ---- a delivery
    #: `seconds` later than it would have come
    LATE = "late"
    #: delivered twice, the same bytes in it
    TWICE = "twice"
    #: after the next message to the same participant, or after `seconds` when none comes
    REORDER = "reorder"
    #: never delivered
    LOSE_MESSAGE = "lose_message"
    #: delivered, and once more under the same id with other content
    OTHER_BYTES = "other_bytes"


_ONLY_ARRIVAL: Final = frozenset({Misbehaviour.OUTAGE, Misbehaviour.LOSE_REQUEST})
_ONLY_DELIVERY: Final = frozenset(
    {
        Misbehaviour.LATE,
        Misbehaviour.TWICE,
        Misbehaviour.REORDER,
        Misbehaviour.LOSE_MESSAGE,
        Misbehaviour.OTHER_BYTES,
    }
)
_ALSO_DELIVERY: Final = frozenset(
    {
        Misbehaviour.WRAPPED_FORGERY,
        Misbehaviour.WRONG_SIGNATURE,
        Misbehaviour.STRANGER_SIGNER,
        Misbehaviour.EXPIRED_SIGNER,
        Misbehaviour.REVOKED_SIGNER,
        Misbehaviour.UNSIGNED_REPLY,
        Misbehaviour.WRONG_CORRELATION,
        Misbehaviour.OTHER_PERSON,
        Misbehaviour.SKEW,
    }
)


def points_of(kind: Misbehaviour) -> tuple[Point, ...]:
    """Where this kind can take effect; the first is meant when an order does not say."""
    if kind in _ONLY_ARRIVAL:
        return (Point.ARRIVAL,)
    if kind in _ONLY_DELIVERY:
        return (Point.DELIVERY,)
    return (Point.REPLY, Point.DELIVERY) if kind in _ALSO_DELIVERY else (Point.REPLY,)


@dataclass(frozen=True, slots=True)
class Occasion:
    """One message at one point of its way, as far as it is known there: an order matches it or not."""

    point: Point = Point.REPLY
    operation: str = SYNC_OPERATION
    system: str = ""
    service_id: str = ""
    message_type: str = ""
    iin: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """Messages that match go wrong in this way: `times` of them, after the first `after` were spared."""

    kind: Misbehaviour
    #: slug of a system; "" means any, here and below
    system: str = ""
    #: how many; 0 means for ever
    times: int = 1
    #: how late, how far off, how long
    seconds: float = DEFAULT_SECONDS
    #: how large an answer that is too large becomes
    reply_bytes: int = DEFAULT_REPLY_BYTES
    service: str = ""
    #: REQUEST, UPDATE, NOTIFICATION or RESPONSE; the synchronous channel has none
    message_type: str = ""
    operation: str = ""
    #: whom the payload is about
    iin: str = field(default="", repr=False)
    #: matching messages that are spared before the first goes wrong
    after: int = 0
    #: of those that match, this share goes wrong: 0 to 1
    chance: float = 1.0
    #: "" means the first of `points_of(kind)`
    point: str = ""
    #: errorCode of a fault; "" means SCE004
    code: str = ""
    #: of a drip
    bytes_per_second: int = DEFAULT_BYTES_PER_SECOND

    @property
    def at(self) -> Point:
        return Point(self.point) if self.point else points_of(self.kind)[0]

    def matches(self, occasion: Occasion) -> bool:
        return (
            self.at is occasion.point
            and self.system in ("", occasion.system)
            and self.service in ("", occasion.service_id)
            and self.message_type in ("", occasion.message_type)
            and self.operation in ("", occasion.operation)
            and self.iin in ("", occasion.iin)
        )

    def as_dict(self) -> dict[str, str | int | float]:
        """What `read_order` reads; keys beyond the first five only where they say something."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        shown = {name: value for name, value in values.items() if name in _ALWAYS_SHOWN or value != _DEFAULTS[name]}
        return {**shown, "kind": self.kind.value}


_ALWAYS_SHOWN: Final = ("kind", "system", "times", "seconds", "reply_bytes")
_DEFAULTS: Final[Mapping[str, Any]] = {one.name: one.default for one in fields(Order)}
KEYS: Final = tuple(one.name for one in fields(Order))


def read_order(document: Any, known_systems: Sequence[str]) -> Order:
    """An order from parsed JSON or TOML. Raises OperatorError (`bad_order`) that says what may be ordered."""
    if not isinstance(document, Mapping):
        raise _bad_order('write a JSON object such as {"kind": "slow", "times": 1}')
    unknown = sorted(set(document) - set(KEYS))
    if unknown:
        raise _bad_order(f"the key {unknown[0]!r} is not known; there are {', '.join(KEYS)}")
    kinds = ", ".join(kind.value for kind in Misbehaviour)
    try:
        kind = Misbehaviour(str(document.get("kind")))
    except ValueError:
        raise _bad_order(f"'kind' is one of {kinds}") from None
    points = [point.value for point in points_of(kind)]
    # a clock can be behind too
    least_seconds = -MAX_SECONDS if kind is Misbehaviour.SKEW else 0
    return Order(
        kind,
        _choice(document, "system", known_systems),
        times=int(_number(document, "times", 1, 0, MAX_TIMES, whole=True)),
        seconds=float(_number(document, "seconds", DEFAULT_SECONDS, least_seconds, MAX_SECONDS)),
        reply_bytes=int(_number(document, "reply_bytes", DEFAULT_REPLY_BYTES, 1, MAX_REPLY_BYTES, whole=True)),
        service=_text(document, "service"),
        message_type=_choice(document, "message_type", tuple(MessageType)),
        operation=_choice(document, "operation", OPERATIONS),
        iin=_iin(document),
        after=int(_number(document, "after", 0, 0, MAX_TIMES, whole=True)),
        chance=float(_number(document, "chance", 1.0, 0, 1)),
        point=_choice(document, "point", points),
        code=_text(document, "code"),
        bytes_per_second=int(
            _number(document, "bytes_per_second", DEFAULT_BYTES_PER_SECOND, 1, MAX_REPLY_BYTES, whole=True)
        ),
    )


def _choice(document: Mapping[str, Any], key: str, among: Sequence[str]) -> str:
    value = document.get(key, "")
    if value not in ("", *among):
        raise _bad_order(f"{key!r} is one of {', '.join(among)}, or is left out")
    return str(value)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise _bad_order(f"{key!r} is a text")
    return value


def _iin(document: Mapping[str, Any]) -> str:
    value = _text(document, "iin")
    try:
        return Iin(value).value if value else ""
    except InvalidIdentifier as error:
        raise _bad_order(f"'iin' is not valid: {error.why}") from None


def _number(
    document: Mapping[str, Any], key: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        raise _bad_order(f"{key!r} is a {'whole ' if whole else ''}number from {low:g} to {high:g}")
    return float(value)


def _bad_order(why: str) -> OperatorError:
    return OperatorError(why, code="bad_order")


@dataclass(slots=True)
class _Standing:
    """An order and how far it has been carried out."""

    order: Order
    dice: Dice
    matched: int = 0
    used: int = 0
    since: dt.datetime | None = None

    @property
    def left(self) -> Order:
        order = self.order
        times = order.times - self.used if order.times else 0
        return replace(order, times=times, after=max(order.after - self.matched, 0))

    def is_over(self, now: dt.datetime) -> bool:
        """Whether this is an outage that has lasted as long as it was to last."""
        return self.since is not None and now >= self.since + dt.timedelta(seconds=self.order.seconds)


class Orders:
    """The orders still to be carried out, oldest first. Safe to use from several threads.

    The first that matches is the one carried out. `seed` decides the throws of orders with a chance: the same
    seed, orders and messages in the same order go wrong in the same places.
    """

    def __init__(self, orders: Sequence[Order] = (), *, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self._placed = 0
        self._waiting: list[_Standing] = []
        for order in orders:
            self._place(order)

    @property
    def seed(self) -> int:
        return self._seed

    def place(self, order: Order) -> None:
        with self._lock:
            self._place(order)

    def replace(self, orders: Sequence[Order], *, seed: int) -> None:
        """Forget every order and take these instead, as at the start."""
        with self._lock:
            self._seed, self._placed = seed, 0
            self._waiting.clear()
            for order in orders:
                self._place(order)

    def _place(self, order: Order) -> None:
        self._waiting.append(_Standing(order, Dice("order", self._seed, self._placed)))
        self._placed += 1

    def take(self, occasion: Occasion, *, now: dt.datetime) -> Order | None:
        """The order that this message falls under at this point, used up by one."""
        with self._lock:
            self._waiting = [standing for standing in self._waiting if not standing.is_over(now)]
            for place, standing in enumerate(self._waiting):
                order = standing.order
                if not order.matches(occasion):
                    continue
                standing.matched += 1
                if standing.matched <= order.after:
                    continue
                if order.kind is Misbehaviour.OUTAGE:
                    standing.since = standing.since or now
                    return order
                if order.chance < 1 and standing.dice.below(_CHANCES) >= order.chance * _CHANCES:
                    continue
                standing.used += 1
                if standing.used == order.times:
                    del self._waiting[place]
                return order
            return None

    def waiting(self) -> tuple[Order, ...]:
        with self._lock:
            return tuple(standing.left for standing in self._waiting)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
