"""Orders: read, refused, used up."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import OperatorError
from gateway.sandbox.misbehaviour import Misbehaviour, Order, Orders, read_order

SYSTEMS = ["gbdfl", "zags"]


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
        ({"kind": "slow", "times": 0}, "'times' is a whole number from 1"),
        ({"kind": "slow", "times": True}, "'times' is a whole number"),
        ({"kind": "slow", "times": 1.5}, "'times' is a whole number"),
        ({"kind": "slow", "seconds": -1}, "'seconds' is a number from 0"),
        ({"kind": "slow", "seconds": "5"}, "'seconds' is a number"),
        ({"kind": "slow", "seconds": float("nan")}, "'seconds' is a number"),
        ({"kind": "too_large", "reply_bytes": 10**12}, "'reply_bytes' is a whole number"),
    ],
)
def test_a_wrong_order_is_refused_and_says_what_may_be_ordered(document: Any, said: str) -> None:
    with pytest.raises(OperatorError, match=said) as refused:
        read_order(document, SYSTEMS)
    assert refused.value.code == "bad_order"


def test_an_order_is_used_up() -> None:
    orders = Orders([Order(Misbehaviour.FAULT, times=2)])
    taken = [orders.take("gbdfl") for _ in range(3)]
    assert [order.kind if order else None for order in taken] == [Misbehaviour.FAULT, Misbehaviour.FAULT, None]
    assert orders.waiting() == ()


def test_an_order_for_one_system_leaves_the_others_alone() -> None:
    orders = Orders()
    orders.place(Order(Misbehaviour.SLOW, "zags"))
    orders.place(Order(Misbehaviour.FAULT))
    first, second, third = orders.take("gbdfl"), orders.take("zags"), orders.take("gbdfl")
    assert first is not None
    assert first.kind is Misbehaviour.FAULT
    assert second is not None
    assert second.kind is Misbehaviour.SLOW
    assert third is None


def test_orders_can_be_taken_back() -> None:
    orders = Orders([Order(Misbehaviour.FAULT, times=9)])
    orders.clear()
    assert orders.take("gbdfl") is None
