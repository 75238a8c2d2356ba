"""Orders: read, refused, used up."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import OperatorError
from gateway.sandbox.misbehaviour import (
    Misbehaviour,
    Occasion,
    Order,
    Orders,
    Point,
    points_of,
    read_order,
)
from gateway.sandbox.population import Population
from tests.sandbox.integrator import NOW

SYSTEMS = ["gbdfl", "zags"]
WIFE = Population(120, 7).exhibit("wife").value


def test_an_order_is_read_with_its_defaults() -> None:
    assert read_order({"kind": "fault"}, SYSTEMS) == Order(Misbehaviour.FAULT, "", 1)


def test_an_order_may_name_system_times_seconds_and_size() -> None:
    document = {"kind": "slow", "system": "zags", "times": 3, "seconds": 0.5, "reply_bytes": 9}
    order = read_order(document, SYSTEMS)
    assert order == Order(Misbehaviour.SLOW, "zags", 3, 0.5, 9)
    assert order.as_dict() == document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ({}, "'kind' is one of slow, fault"),
        ({"kind": "rude"}, "'kind' is one of slow, fault"),
        ({"kind": ["slow"]}, "'kind' is one of"),
        ({"kind": "slow", "system": "abc"}, "'system' is one of gbdfl, zags"),
        ({"kind": "slow", "system": ["zags"]}, "'system' is one of"),
        ({"kind": "slow", "often": 2}, "the key 'often' is not known"),
        ({"kind": "slow", "times": -1}, "'times' is a whole number from 0"),
        ({"kind": "slow", "times": True}, "'times' is a whole number"),
        ({"kind": "slow", "times": 1.5}, "'times' is a whole number"),
        ({"kind": "slow", "seconds": -1}, "'seconds' is a number from 0"),
        ({"kind": "slow", "seconds": "5"}, "'seconds' is a number"),
        ({"kind": "slow", "seconds": float("nan")}, "'seconds' is a number"),
        ({"kind": "too_large", "reply_bytes": 10**12}, "'reply_bytes' is a whole number"),
        ({"kind": "slow", "service": 1}, "'service' is a text"),
        ({"kind": "slow", "message_type": "ANSWER"}, "'message_type' is one of REQUEST"),
        ({"kind": "slow", "operation": "send"}, "'operation' is one of SendMessage, sendMessage"),
        ({"kind": "slow", "point": "delivery"}, "'point' is one of reply"),
        ({"kind": "twice", "point": "reply"}, "'point' is one of delivery"),
        ({"kind": "slow", "iin": "123"}, "'iin' is not valid"),
        ({"kind": "slow", "chance": 1.5}, "'chance' is a number from 0 to 1"),
        ({"kind": "slow", "after": -1}, "'after' is a whole number"),
        ({"kind": "drip", "bytes_per_second": 0}, "'bytes_per_second' is a whole number"),
    ],
)
def test_a_wrong_order_is_refused_and_says_what_may_be_ordered(document: Any, said: str) -> None:
    with pytest.raises(OperatorError, match=said) as refused:
        read_order(document, SYSTEMS)
    assert refused.value.code == "bad_order"


def test_an_order_is_used_up() -> None:
    orders = Orders([Order(Misbehaviour.FAULT, times=2)])
    taken = [orders.take(Occasion(system="gbdfl"), now=NOW) for _ in range(3)]
    assert [order.kind if order else None for order in taken] == [Misbehaviour.FAULT, Misbehaviour.FAULT, None]
    assert orders.waiting() == ()


def test_an_order_for_one_system_leaves_the_others_alone() -> None:
    orders = Orders()
    orders.place(Order(Misbehaviour.SLOW, "zags"))
    orders.place(Order(Misbehaviour.FAULT))
    first, second, third = (orders.take(Occasion(system=system), now=NOW) for system in ("gbdfl", "zags", "gbdfl"))
    assert first is not None
    assert first.kind is Misbehaviour.FAULT
    assert second is not None
    assert second.kind is Misbehaviour.SLOW
    assert third is None


def test_orders_can_be_taken_back() -> None:
    orders = Orders([Order(Misbehaviour.FAULT, times=9)])
    orders.clear()
    assert orders.take(Occasion(system="gbdfl"), now=NOW) is None


@pytest.mark.parametrize("kind", Misbehaviour)
def test_every_order_is_read_back_from_what_it_says_of_itself(kind: Misbehaviour) -> None:
    for order in (
        Order(kind, point=points_of(kind)[-1]),
        Order(kind, "zags", 0, 9.5, 7, "S", "RESPONSE", "getMessages", WIFE, 3, 0.25, "", "SCE001", 5),
    ):
        assert read_order(order.as_dict(), SYSTEMS) == order


def test_a_clock_may_be_behind_and_nothing_else_can_be_early() -> None:
    assert read_order({"kind": "skew", "seconds": -60}, SYSTEMS).seconds == -60
    with pytest.raises(OperatorError, match="'seconds'"):
        read_order({"kind": "slow", "seconds": -60}, SYSTEMS)


def test_an_order_may_spare_the_first_and_stand_for_ever() -> None:
    orders = Orders([Order(Misbehaviour.FAULT, times=0, after=2)])
    taken = [orders.take(Occasion(), now=NOW) is not None for _ in range(5)]
    assert taken == [False, False, True, True, True]
    (left,) = orders.waiting()
    assert (left.times, left.after) == (0, 0)


def test_chance_is_the_same_for_the_same_seed() -> None:
    def throws(seed: int) -> list[bool]:
        orders = Orders([Order(Misbehaviour.FAULT, times=0, chance=0.3)], seed=seed)
        return [orders.take(Occasion(), now=NOW) is not None for _ in range(1_000)]

    assert throws(1) == throws(1)
    assert throws(1) != throws(2)
    assert 200 < sum(throws(1)) < 400


def test_chance_begins_anew_when_the_orders_are_replaced() -> None:
    order = Order(Misbehaviour.FAULT, times=0, chance=0.5)
    orders = Orders([order], seed=5)
    first = [orders.take(Occasion(), now=NOW) is not None for _ in range(50)]
    orders.replace([order], seed=5)
    assert orders.seed == 5
    assert [orders.take(Occasion(), now=NOW) is not None for _ in range(50)] == first


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "zags"},
        {"service": "S2"},
        {"message_type": "RESPONSE"},
        {"operation": "getMessages"},
        {"iin": WIFE},
        {"point": "delivery"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_order_leaves_alone_what_it_does_not_name(changes: dict[str, str]) -> None:
    orders = Orders([Order(Misbehaviour.SKEW, **changes)])
    other = Occasion(Point.REPLY, "sendMessage", "gbdfl", "S", "REQUEST", "")
    assert orders.take(other, now=NOW) is None
    assert len(orders.waiting()) == 1
