"""Values that a channel message can hold, for property tests of both channels."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st
from lxml import etree

from gateway.shep.dates import ALMATY
from gateway.shep.envelope import build_envelope, split
from gateway.shep.messages import ErrorInfo, Property, Sender
from gateway.xml import parse

xml_texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        st.sampled_from("<>&\"'\t\r\n"),
    ),
    max_size=30,
).map(str.strip)
ids = xml_texts.filter(bool)
guids = st.uuids().map(lambda value: f"{{{value}}}")
moments = st.datetimes(
    min_value=dt.datetime(2000, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=dt.datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([dt.UTC, ALMATY, dt.timezone(dt.timedelta(hours=-3, minutes=-30))]),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, fold=0).astimezone(dt.UTC))
senders = st.builds(Sender, ids, xml_texts)
properties = st.lists(st.builds(Property, ids, xml_texts), max_size=3).map(tuple)
errors = st.recursive(
    st.builds(ErrorInfo, code=ids, message=xml_texts, date=moments, data=xml_texts, session_id=st.just("") | guids),
    lambda inner: st.builds(ErrorInfo, code=ids, message=xml_texts, date=moments, sub_error=inner),
    max_leaves=5,
)


def received(body: etree._Element) -> etree._Element:
    """The Body as the other side has it."""
    return split(parse(build_envelope(body)))[1]
