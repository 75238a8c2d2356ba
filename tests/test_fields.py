import datetime as dt

import pytest
from lxml import etree

from gateway import fields
from gateway.errors import MappingError

XSI = "http://www.w3.org/2001/XMLSchema-instance"
RECORD = etree.fromstring(
    f'<record xmlns:xsi="{XSI}" xmlns:n="urn:n"><n:a> x </n:a><b xsi:nil="true">hidden</b><c/>'
    "<d><e/></d><f>1</f><f>2</f>"
    "<day>2026-02-28+0600</day><noday>28.02.2026</noday><iin>900101300017</iin>"
    "<list><i/><i/></list></record>"
)


def test_a_child_is_found_in_any_namespace_and_nil_is_absent() -> None:
    assert fields.text(RECORD, "a") == "x"
    assert fields.text(RECORD, "b") is None
    assert fields.text(RECORD, "c") is None
    assert fields.text(None, "a") is None
    assert fields.items(RECORD, "nothing", "i") is None
    assert len(fields.items(RECORD, "list", "i") or ()) == 2


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: fields.required(RECORD, "z"), "<record> has no <z>"),
        (lambda: fields.required_text(RECORD, "c"), "<c> of <record> is empty"),
        (lambda: fields.text(RECORD, "d"), "<d> holds more than text"),
        (lambda: fields.text(RECORD, "f"), "<f> occurs more than once in <record>"),
        (lambda: fields.date(RECORD, "noday"), "<noday> of <record> is not a date"),
        (lambda: fields.iin(RECORD, "a"), "<a> of <record> is not valid"),
        (
            lambda: fields.known(RECORD, "a", {"y": "why"}),
            "<a> of <record> has the code 'x', whose meaning is not known",
        ),
        (lambda: fields.known(RECORD, "iin", {}), "a text of 12 characters"),
    ],
)
def test_what_does_not_fit_is_named_by_its_element(read, said: str) -> None:
    with pytest.raises(MappingError) as refused:
        read()
    assert said in str(refused.value)
    assert "900101300017" not in str(refused.value)


def test_a_day_is_taken_as_written() -> None:
    assert fields.required_date(RECORD, "day") == dt.date(2026, 2, 28)
    assert fields.iin(RECORD, "iin").value == "900101300017"
    assert fields.known(RECORD, "a", {"x": "known"}) == "known"


def test_ends_are_the_earliest_and_never_before_the_begin() -> None:
    first, second = dt.date(2026, 1, 1), dt.date(2026, 2, 1)
    assert fields.end_of(first, None, None) is None
    assert fields.end_of(first, None, second) == second
    assert fields.end_of(second, first) == second
    assert fields.end_of(None, second, first) == first
    assert fields.next_day(dt.date(2026, 12, 31)) == dt.date(2027, 1, 1)
    assert fields.next_day(None) is None
    assert fields.next_day(dt.date.max) is None
