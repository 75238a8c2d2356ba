import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names, reading
from gateway.shep.contract import envelope_schema
from gateway.shep.faults import SUCCESS, FaultCode
from gateway.shep.messages import ErrorInfo, Property, RequestInfo, ResponseInfo, Sender, StatusInfo, SyncResponse
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.sync_channel import build_fault, build_request, build_response, is_fault, read_reply, read_request
from tests.shep.channel_values import errors, guids, ids, moments, properties, received, senders, xml_texts

NOON = dt.datetime(2026, 1, 31, 7, tzinfo=dt.UTC)
PAYLOAD = etree.fromstring('<q:Request xmlns:q="urn:r"><iin>1</iin></q:Request>')
INFO = RequestInfo("m-1", "SOME_SERVICE", NOON, Sender("login", "secret"))


def request_body(info: str, *, after: str = "", data: str = "<requestData><data/></requestData>") -> etree._Element:
    return etree.fromstring(
        f'<s:Body xmlns:s="{names.SOAP_11}"><t:SendMessage xmlns:t="{names.SYNC_TYPES}"><request>'
        f"<requestInfo>{info}</requestInfo>{data}</request></t:SendMessage>{after}</s:Body>"
    )


FIELDS = {
    "messageId": "<messageId>m</messageId>",
    "serviceId": "<serviceId>s</serviceId>",
    "messageDate": "<messageDate>2026-01-01T00:00:00Z</messageDate>",
    "sender": "<sender><senderId>a</senderId></sender>",
}
WHOLE = "".join(FIELDS.values())


def body_of(inner: str) -> etree._Element:
    return etree.fromstring(f'<s:Body xmlns:s="{names.SOAP_11}">{inner}</s:Body>')


def refused_request(body: etree._Element) -> str:
    with pytest.raises(MalformedMessage) as refused:
        read_request(body)
    return refused.value.code


def refused_reply(inner: str) -> str:
    with pytest.raises(MalformedMessage) as refused:
        read_reply(body_of(inner))
    return refused.value.code


# ---------------------------------------------------------------- round trips


@given(
    st.builds(
        RequestInfo,
        message_id=ids,
        service_id=ids,
        message_date=moments,
        sender=senders,
        correlation_id=xml_texts,
        route_id=xml_texts,
        properties=properties,
        session_id=st.just("") | guids,
    ),
    st.sampled_from(PayloadCodec),
)
def test_a_request_is_read_as_it_was_built(info: RequestInfo, codec: PayloadCodec) -> None:
    body = build_request(info, PAYLOAD, codec)
    envelope_schema()(body)
    request = read_request(received(body))
    assert request.info == info
    assert request.data is not None
    assert decode(request.data, codec, root_name="{urn:r}Request").findtext("iin") == "1"


@given(
    st.builds(
        ResponseInfo,
        message_id=ids,
        response_date=moments,
        status=st.builds(StatusInfo, ids, xml_texts),
        correlation_id=xml_texts,
        session_id=st.just("") | guids,
    ),
    st.none() | st.just(PAYLOAD),
)
def test_a_response_is_read_as_it_was_built(info: ResponseInfo, payload: etree._Element | None) -> None:
    body = build_response(info, payload, PayloadCodec.CHILDREN)
    envelope_schema()(body)
    response = read_reply(received(body))
    assert isinstance(response, SyncResponse)
    assert response.info == info
    assert response.data is not None
    assert len(response.data) == (0 if payload is None else 1)


@given(errors)
def test_a_fault_is_read_as_it_was_built(error: ErrorInfo) -> None:
    body = build_fault(error)
    envelope_schema()(body)
    assert is_fault(body)
    assert read_reply(received(body)) == error


# ---------------------------------------------------------------- what is built


def test_the_order_is_the_schema_s_and_only_the_wrapper_is_qualified() -> None:
    info = RequestInfo(
        "m", "s", NOON, Sender("a", "b"), "c", "r", (Property("k", "v"), Property("k2", "v2")),
        "{0f8fad5b-d9cb-469f-a165-70867728950e}",
    )  # fmt: skip
    body = build_request(info, PAYLOAD, PayloadCodec.CHILDREN)
    assert body[0].tag == "{http://bip.bee.kz/SyncChannel/v10/Types}SendMessage"
    assert [child.tag for child in body[0][0][0]] == [
        "messageId", "correlationId", "serviceId", "messageDate", "routeId", "sender", "properties", "properties",
        "sessionId",
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["SCE001", "SCE909"])
def test_a_fault_repeats_code_and_message_of_its_detail(code: str) -> None:
    fault = build_fault(ErrorInfo(code, "what happened", NOON))[0]
    assert fault.findtext("faultcode") == code
    assert fault.findtext("faultstring") == "what happened"
    assert fault.findtext(f"detail/{names.SEND_MESSAGE_FAULT}/errorCode") == code


def test_a_code_that_is_no_name_stays_in_the_detail() -> None:
    fault = build_fault(ErrorInfo("404 or so", "", NOON))[0]
    assert fault.findtext("faultcode") == "soap:Server"
    assert read_reply(body_of(etree.tostring(fault).decode())) == ErrorInfo("404 or so", "", NOON)


def test_texts_for_people_never_stop_a_fault() -> None:
    fault = build_fault(ErrorInfo("SCE001", "a\x00b\ud800c\ufffe", NOON, data="\x1b" * 9_000))[0]
    assert fault.findtext("faultstring") == "a\ufffdb\ufffdc\ufffd"
    data = fault.findtext(f"detail/{names.SEND_MESSAGE_FAULT}/errorData")
    assert data == "\ufffd" * (reading.MAX_PEOPLE_TEXT_CHARS - 1) + "…"


def test_a_long_status_message_is_cut_to_what_the_schema_allows() -> None:
    body = build_response(ResponseInfo("m", NOON, StatusInfo("X", "й" * 300)), None, PayloadCodec.CHILDREN)
    envelope_schema()(body)
    assert body.findtext("*/response/responseInfo/status/message") == "й" * 249 + "…"


@pytest.mark.parametrize(
    ("info", "code"),
    [
        (RequestInfo("", "s", NOON, Sender("a")), "missing_field"),
        (RequestInfo("m", "", NOON, Sender("a")), "missing_field"),
        (RequestInfo("m", "s", NOON, Sender("")), "missing_field"),
        (RequestInfo("m\x00", "s", NOON, Sender("a")), "not_xml_text"),
        (RequestInfo("m", "s", NOON, Sender("a", "\ud800")), "not_xml_text"),
        (RequestInfo("m" * 257, "s", NOON, Sender("a")), "too_long"),
        (RequestInfo("m", "s", NOON, Sender("a"), properties=(Property("k" * 31, ""),)), "too_long"),
        (RequestInfo("m", "s", NOON, Sender("a"), properties=(Property("k", "v" * 501),)), "too_long"),
    ],
)
def test_what_the_format_cannot_carry_is_refused_before_it_is_sent(info: RequestInfo, code: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        build_request(info, PAYLOAD, PayloadCodec.CHILDREN)
    assert refused.value.code == code


def test_a_fault_needs_a_date_and_an_end() -> None:
    with pytest.raises(ValueError, match="date"):
        build_fault(ErrorInfo("SCE001", "", None))
    error = ErrorInfo("x", "", NOON)
    for _ in range(reading.MAX_SUB_ERRORS):
        error = ErrorInfo("x", "", NOON, sub_error=error)
    build_fault(error)
    with pytest.raises(MalformedMessage) as refused:
        build_fault(ErrorInfo("x", "", NOON, sub_error=error))
    assert refused.value.code == "too_many_sub_errors"


def test_nobody_s_password_or_words_are_in_a_repr() -> None:
    shown = repr(
        (
            Sender("login", "hush"),
            Property("key", "hush"),
            StatusInfo("code", "hush"),
            ErrorInfo("code", "hush", NOON, data="hush"),
        )
    )
    assert "hush" not in shown
    assert "login" in shown


def test_every_fault_code_has_a_meaning() -> None:
    assert len({code.meaning for code in FaultCode}) == len(FaultCode)
    assert (FaultCode.NOT_SIGNED, str(FaultCode.INTERNAL), SUCCESS.code) == ("SCE007", "SCE909", "SCSS001")


# ---------------------------------------------------------------- what is read: requests


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_the_schema_demands_may_not_be_missing_or_empty(name: str) -> None:
    assert refused_request(request_body(WHOLE.replace(FIELDS[name], ""))) == "missing_field"
    assert refused_request(request_body(WHOLE.replace(FIELDS[name], f"<{name}/>"))) == "missing_field"


@pytest.mark.parametrize("name", [*FIELDS, "correlationId", "routeId", "sessionId"])
def test_a_field_that_stands_twice_is_refused(name: str) -> None:
    field = FIELDS.get(name, f"<{name}>1</{name}>")
    again = field.replace(f"<{name}>", f'<o:{name} xmlns:o="urn:o">').replace(f"</{name}>", f"</o:{name}>")
    assert refused_request(request_body(WHOLE.replace(field, "") + field + field)) == "repeated"
    assert refused_request(request_body(WHOLE.replace(field, "") + field + again)) == "repeated"


def test_two_payloads_are_refused_wherever_the_second_one_is() -> None:
    two = "<requestData><data/></requestData>"
    assert refused_request(request_body(WHOLE, data=two + two)) == "repeated"
    assert refused_request(request_body(WHOLE, data="<requestData><data/><data/></requestData>")) == "repeated"
    assert (
        refused_request(request_body(WHOLE, data='<requestData><data/><n:data xmlns:n="urn:n"/></requestData>'))
        == "repeated"
    )
    assert refused_request(request_body(WHOLE, data="</request><request>")) == "repeated"


def test_properties_may_repeat_and_their_fields_may_not() -> None:
    item = "<properties><key>k</key><value>v</value></properties>"
    assert read_request(request_body(WHOLE + item + item)).info.properties == (Property("k", "v"),) * 2
    assert refused_request(request_body(f"{WHOLE}<properties><key>k</key><key>k</key></properties>")) == "repeated"
    many = item * (reading.MAX_PROPERTIES + 1)
    assert refused_request(request_body(WHOLE + many)) == "too_many_properties"


def test_the_operation_is_the_only_thing_in_the_body() -> None:
    assert refused_request(body_of("")) == "no_operation"
    assert refused_request(body_of("<?pi x?>")) == "no_operation"
    assert refused_request(request_body(WHOLE, after="<second/>")) == "two_operations"
    assert refused_request(request_body(WHOLE, after="<?pi x?>")) == "two_operations"
    assert refused_request(body_of("<sendMessage/>")) == "unknown_operation"
    assert refused_request(body_of("<SendMessageResponse/>")) == "unknown_operation"
    assert refused_request(body_of("<SendMessage/>")) == "missing_field"
    assert refused_request(body_of(f'<SendMessage><request xmlns:x="{names.XSI}" x:nil="1"/></SendMessage>')) == (
        "missing_field"
    )


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("<correlationId>a<b/></correlationId>", "not_a_leaf"),
        ("<correlationId>a<?pi?>b</correlationId>", "not_a_leaf"),
        (f"<correlationId>{'x' * 257}</correlationId>", "too_long"),
        (f"<routeId>{'x' * 100_000}</routeId>", "too_long"),
        (f"<sessionId>{'x' * 257}</sessionId>", "too_long"),
        (f"<properties><key>{'x' * 257}</key></properties>", "too_long"),
        (f"<properties><key>k</key><value>{'x' * 4001}</value></properties>", "too_long"),
    ],
)
def test_values_that_are_no_plain_text_of_reasonable_length_are_refused(field: str, code: str) -> None:
    assert refused_request(request_body(WHOLE + field)) == code


def test_a_date_that_is_none_is_refused() -> None:
    assert refused_request(request_body(WHOLE.replace("2026-01-01T00:00:00Z", "yesterday"))) == "bad_date"


def test_a_date_without_zone_is_in_the_zone_that_the_caller_assumes() -> None:
    body = request_body(WHOLE.replace("00:00Z", "00:00"))
    assert read_request(body, assumed_zone=dt.UTC).info.message_date == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_no_refusal_repeats_a_value() -> None:
    iin = "900101300017"
    for field in (f"<correlationId>{iin}<b/></correlationId>", f"<messageDate>{iin}</messageDate>"):
        with pytest.raises(MalformedMessage) as refused:
            read_request(request_body(WHOLE.replace(FIELDS["messageDate"], "") + field))
        assert iin not in str(refused.value)


# ---------------------------------------------------------------- what is read: replies and faults

DETAIL_NAME = "t:SendMessageFault1_SendMessageFault"
DETAIL = f'<detail><{DETAIL_NAME} xmlns:t="{names.SYNC_TYPES}">%s</{DETAIL_NAME}></detail>'


def fault(inner: str) -> str:
    return f"<s:Fault xmlns:s='{names.SOAP_11}'>{inner}</s:Fault>"


def test_a_request_is_not_a_reply() -> None:
    assert refused_reply("<SendMessage/>") == "unknown_operation"
    assert refused_reply(fault("") + "<x/>") == "two_operations"
    assert refused_reply("<Fault/>") == "unknown_operation"


def test_a_long_status_message_is_cut_and_the_reply_is_not_lost() -> None:
    body = body_of(
        "<SendMessageResponse><response><responseInfo><messageId>m</messageId>"
        f"<responseDate>2026-01-01T00:00:00Z</responseDate><status><message>{'x' * 50_000}</message></status>"
        "</responseInfo></response></SendMessageResponse>"
    )
    answer = read_reply(body)
    assert isinstance(answer, SyncResponse)
    assert len(answer.info.status.message) == reading.MAX_PEOPLE_TEXT_CHARS


def test_the_detail_of_a_fault_is_read_before_its_faultcode() -> None:
    detail = DETAIL % (
        "<errorCode>SCE004</errorCode><errorMessage>no service</errorMessage><errorData><a>x</a>y</errorData>"
        "<errorDate>2026-01-31T12:00:00</errorDate><subError/>"
    )
    text = fault(f"<faultcode>s:Server</faultcode><faultstring>other</faultstring>{detail}")
    assert read_reply(body_of(text)) == ErrorInfo("SCE004", "no service", NOON, data="xy")


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "<detail/>",
        "<detail><stack>at line 1</stack></detail>",
        DETAIL % "",
        DETAIL % "<errorCode/><errorMessage/><errorDate>then</errorDate>",
    ],
)
def test_without_a_usable_detail_faultcode_and_faultstring_speak(detail: str) -> None:
    text = fault(f"<faultcode>s:Server</faultcode><faultstring>it broke</faultstring>{detail}")
    assert read_reply(body_of(text)) == ErrorInfo("Server", "it broke", None)


def test_an_empty_fault_is_still_a_fault() -> None:
    assert read_reply(body_of(fault(""))) == ErrorInfo("", "", None)


def test_the_detail_is_found_in_any_namespace() -> None:
    detail = (DETAIL % "<errorCode>SCE006</errorCode>").replace(names.SYNC_TYPES, "urn:another")
    read = read_reply(body_of(fault(detail)))
    assert isinstance(read, ErrorInfo)
    assert read.code == "SCE006"


def test_sub_errors_are_read_to_a_bound() -> None:
    def nested(levels: int) -> str:
        return "<errorCode>x</errorCode>" + (f"<subError>{nested(levels - 1)}</subError>" if levels else "")

    read = read_reply(body_of(fault(DETAIL % nested(reading.MAX_SUB_ERRORS))))
    levels = 0
    while isinstance(read, ErrorInfo) and read.sub_error is not None:
        levels, read = levels + 1, read.sub_error
    assert levels == reading.MAX_SUB_ERRORS
    assert refused_reply(fault(DETAIL % nested(reading.MAX_SUB_ERRORS + 1))) == "too_many_sub_errors"


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        (f"<faultcode>{'x' * 129}</faultcode>", "too_long"),
        ("<faultcode>a</faultcode><faultcode>b</faultcode>", "repeated"),
        (DETAIL % "<errorCode>a</errorCode><errorCode>b</errorCode>", "repeated"),
        (DETAIL % f"<errorCode>{'x' * 129}</errorCode>", "too_long"),
        ("<detail/><detail/>", "repeated"),
    ],
)
def test_a_fault_is_held_to_the_same_bounds(inner: str, code: str) -> None:
    assert refused_reply(fault(inner)) == code
