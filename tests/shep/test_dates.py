import datetime as dt
from contextlib import suppress
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.shep.dates import ALMATY, read_datetime, write_datetime

UTC = dt.UTC
whole_minute_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
moments = st.datetimes(
    min_value=dt.datetime(1900, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=dt.datetime(9000, 1, 1),  # noqa: DTZ001
    timezones=whole_minute_zones,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-06T07:08:09Z", dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2024-05-06T07:08:09+06:00", dt.datetime(2024, 5, 6, 1, 8, 9, tzinfo=UTC)),
        ("2024-05-06T07:08:09+05:00", dt.datetime(2024, 5, 6, 2, 8, 9, tzinfo=UTC)),
        ("2024-05-06T07:08:09+0600", dt.datetime(2024, 5, 6, 1, 8, 9, tzinfo=UTC)),
        ("2024-05-06T07:08:09-03:30", dt.datetime(2024, 5, 6, 10, 38, 9, tzinfo=UTC)),
        ("2024-05-06T07:08:09.5Z", dt.datetime(2024, 5, 6, 7, 8, 9, 500000, tzinfo=UTC)),
        ("2024-05-06T07:08:09.123456Z", dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)),
        ("2024-05-06T07:08:09.123456789+06:00", dt.datetime(2024, 5, 6, 1, 8, 9, 123456, tzinfo=UTC)),
        ("2024-05-06T24:00:00Z", dt.datetime(2024, 5, 7, tzinfo=UTC)),
    ],
)
def test_every_form_seen_in_traffic_is_read(text: str, expected: dt.datetime) -> None:
    assert read_datetime(text, assumed_zone=ALMATY) == expected


def test_without_a_zone_the_date_is_civil_time_of_kazakhstan_of_that_day() -> None:
    assert read_datetime("2024-02-29T12:00:00", assumed_zone=ALMATY) == dt.datetime(2024, 2, 29, 6, tzinfo=UTC)
    assert read_datetime("2024-03-02T12:00:00", assumed_zone=ALMATY) == dt.datetime(2024, 3, 2, 7, tzinfo=UTC)


def test_what_is_read_is_in_utc() -> None:
    assert read_datetime("2024-05-06T07:08:09+06:00", assumed_zone=ALMATY).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-05-06",
        "2024-05-06 07:08:09",
        "2024-13-06T07:08:09Z",
        "2024-02-30T07:08:09Z",
        "2024-05-06T24:00:01Z",
        "2024-05-06T24:01:00Z",
        "2024-05-06T24:00:00.1Z",
        "2024-05-06T25:00:00Z",
        "2024-05-06T07:08:60Z",
        "2024-05-06T07:08:09+15:00",
        "2024-05-06T07:08:09+14:01",
        "2024-05-06T07:08:09+05:60",
        "2024-05-06T07:08:09+06",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:09." + "1" * 40,
        "٢٠٢٤-05-06T07:08:09Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+06:00",
        "9999-12-31T24:00:00Z",
        "2024-05-06T07:08:09Z\n",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        read_datetime(text, assumed_zone=ALMATY)
    assert refused.value.code == "bad_date"


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with suppress(MalformedMessage):
        assert read_datetime(text, assumed_zone=ALMATY).tzinfo is UTC


@given(moments)
def test_what_is_written_is_read_back_to_the_millisecond(moment: dt.datetime) -> None:
    expected = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert read_datetime(write_datetime(moment), assumed_zone=ALMATY) == expected


def test_utc_is_written_with_z_and_other_zones_with_a_colon() -> None:
    moment = dt.datetime(2026, 1, 31, 4, 30, tzinfo=UTC)
    assert write_datetime(moment) == "2026-01-31T04:30:00.000Z"
    assert write_datetime(moment.astimezone(ALMATY)) == "2026-01-31T09:30:00.000+05:00"


def test_local_mean_time_is_written_in_utc() -> None:
    before_zones = dt.datetime(1910, 1, 1, 12, tzinfo=ZoneInfo("Asia/Almaty"))
    assert write_datetime(before_zones) == "1910-01-01T06:52:12.000Z"


def test_a_date_without_a_zone_is_never_written() -> None:
    with pytest.raises(ValueError, match="time zone"):
        write_datetime(dt.datetime(2026, 1, 1))  # noqa: DTZ001  the very mistake
