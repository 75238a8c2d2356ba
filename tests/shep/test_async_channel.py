"""AsyncChannel v10: what is built is read as it was built, fits our contracts, and zeep reads it the same."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway import resources
from gateway.errors import MalformedMessage
from gateway.shep import async_channel, contract, names
from gateway.shep.async_messages import (
    AsyncMessage,
    AsyncMessageInfo,
    DeliveryNotification,
    DeliveryNotificationAck,
    MessageAck,
    Messages,
    MessagesQuery,
    MessageState,
    MessageStatus,
    MessageStatusInfo,
    MessageStatusQuery,
    MessageType,
    Operation,
    ReceiveStatus,
    Resend,
    StatusChange,
    StatusChangeAck,
)
from gateway.shep.contract import envelope_schema
from gateway.shep.envelope import build_envelope
from gateway.shep.messages import ErrorInfo, Property, Sender
from gateway.shep.payload import PayloadCodec, decode
from gateway.xml import canonicalize, parse
from tests.shep.channel_values import errors, guids, ids, moments, properties, received, senders, xml_texts

NOON = dt.datetime(2026, 1, 31, 7, tzinfo=dt.UTC)
GUID = "{0f8fad5b-d9cb-469f-a165-70867728950e}"
PAYLOAD = etree.fromstring('<q:Request xmlns:q="urn:r"><iin>1</iin></q:Request>')
REQUEST = AsyncMessageInfo("SOME_SERVICE", MessageType.REQUEST, NOON, Sender("login", "secret"))
ANSWER = AsyncMessageInfo("S", MessageType.RESPONSE, NOON, Sender("a"), "41", "42", session_id=GUID)

sessions = st.just("") | guids
later_types = st.sampled_from([kind for kind in MessageType if kind is not MessageType.REQUEST])
statuses = st.builds(MessageStatusInfo, code=ids, message=xml_texts, date=moments)
infos = st.one_of(
    st.builds(
        AsyncMessageInfo,
        service_id=ids,
        message_type=st.just(MessageType.REQUEST),
        message_date=moments,
        sender=senders,
        message_id=xml_texts,
        correlation_id=xml_texts,
        route_id=xml_texts,
        properties=properties,
        session_id=sessions,
    ),
    st.builds(
        AsyncMessageInfo,
        service_id=ids,
        message_type=later_types,
        message_date=moments,
        sender=senders,
        message_id=xml_texts,
        correlation_id=ids,
        session_id=sessions,
    ),
)


def body_of(inner: str) -> etree._Element:
    return etree.fromstring(f'<s:Body xmlns:s="{names.SOAP_11}">{inner}</s:Body>')


def refused(read: Callable[[etree._Element], object], body: etree._Element | str) -> str:
    with pytest.raises(MalformedMessage) as refusal:
        read(body_of(body) if isinstance(body, str) else body)
    return refusal.value.code


# ---------------------------------------------------------------- round trips


@given(infos, st.sampled_from(PayloadCodec))
def test_a_message_is_read_as_it_was_built(info: AsyncMessageInfo, codec: PayloadCodec) -> None:
    body = async_channel.build_send_message(info, PAYLOAD, codec)
    envelope_schema()(body)
    assert async_channel.operation_of(received(body)) is Operation.SEND_MESSAGE
    message = async_channel.read_send_message(received(body))
    assert message.info == info
    assert message.data is not None
    assert decode(message.data, codec, root_name="{urn:r}Request").findtext("iin") == "1"


EXCHANGES: dict[str, tuple[Any, Any, st.SearchStrategy[Any]]] = {
    "sendMessage ack": (
        async_channel.build_send_message_ack,
        async_channel.read_send_message_ack,
        st.builds(MessageAck, ids, ids, moments, sessions),
    ),
    "sendDeliveryNotification": (
        async_channel.build_send_delivery_notification,
        async_channel.read_send_delivery_notification,
        st.builds(
            DeliveryNotification,
            message_id=ids,
            service_id=ids,
            notification_date=moments,
            receive_status=st.sampled_from(ReceiveStatus),
            status_date=moments,
            resend=st.sampled_from(Resend),
            request_date=moments,
            error=st.none() | errors,
            sender=st.none() | senders,
        ),
    ),
    "sendDeliveryNotification ack": (
        async_channel.build_send_delivery_notification_ack,
        async_channel.read_send_delivery_notification_ack,
        st.builds(DeliveryNotificationAck, ids, moments, guids),
    ),
    "getMessageStatus": (
        async_channel.build_get_message_status,
        async_channel.read_get_message_status,
        st.builds(MessageStatusQuery, ids, moments, senders, properties),
    ),
    "getMessageStatus reply": (
        async_channel.build_get_message_status_reply,
        async_channel.read_get_message_status_reply,
        st.builds(MessageStatus, st.sampled_from(MessageState), statuses, moments, xml_texts),
    ),
    "getMessages": (
        async_channel.build_get_messages,
        async_channel.read_get_messages,
        st.builds(
            MessagesQuery,
            service_id=ids,
            message_id=xml_texts,
            correlation_id=xml_texts,
            request_date=st.none() | moments,
            sender=st.none() | senders,
            amount=st.integers(0, 2**31 - 1),
            properties=properties,
        ),
    ),
    "changeMassageStatusNotification": (
        async_channel.build_change_status_notification,
        async_channel.read_change_status_notification,
        st.builds(
            StatusChange,
            notification_id=ids,
            message_id=ids,
            notification_date=moments,
            state=st.sampled_from(MessageState),
            status=statuses,
            request_date=moments,
            error=st.none() | errors,
            session_id=sessions,
        ),
    ),
    "changeMassageStatusNotification ack": (
        async_channel.build_change_status_notification_ack,
        async_channel.read_change_status_notification_ack,
        st.builds(StatusChangeAck, moments, guids),
    ),
}


@pytest.mark.parametrize("name", EXCHANGES)
@given(data=st.data())
def test_every_other_message_is_read_as_it_was_built(name: str, data: st.DataObject) -> None:
    build, read, values = EXCHANGES[name]
    value = data.draw(values)
    body = build(value)
    envelope_schema()(body)
    assert read(received(body)) == value


@given(st.lists(infos, max_size=4), moments, guids)
def test_a_batch_is_read_as_it_was_built(sent: list[AsyncMessageInfo], date: dt.datetime, session_id: str) -> None:
    data = etree.fromstring('<data xmlns:cs="urn:c"><a cs:b="1">x</a></data>')
    body = async_channel.build_get_messages_reply(
        Messages(date, session_id, tuple(AsyncMessage(info, data) for info in sent))
    )
    envelope_schema()(body)
    reply = async_channel.read_get_messages_reply(received(body))
    assert isinstance(reply, Messages)
    assert (reply.response_date, reply.session_id, reply.unreadable) == (date, session_id, ())
    assert [message.info for message in reply.messages] == sent
    for message in reply.messages:
        assert message.data is not None
        assert canonicalize(message.data) == canonicalize(data)


READERS = {
    Operation.SEND_MESSAGE: async_channel.read_send_message_ack,
    Operation.SEND_DELIVERY_NOTIFICATION: async_channel.read_send_delivery_notification_ack,
    Operation.GET_MESSAGE_STATUS: async_channel.read_get_message_status_reply,
    Operation.GET_MESSAGES: async_channel.read_get_messages_reply,
    Operation.CHANGE_STATUS_NOTIFICATION: async_channel.read_change_status_notification_ack,
}


@pytest.mark.parametrize("operation", Operation)
@given(errors)
def test_a_fault_of_every_operation_is_read_as_it_was_built(operation: Operation, error: ErrorInfo) -> None:
    body = async_channel.build_fault(operation, error)
    envelope_schema()(body)
    assert READERS[operation](received(body)) == error


# ---------------------------------------------------------------- what is built


def test_a_payload_s_types_are_not_the_channel_s_to_judge() -> None:
    data = etree.fromstring(f'<data xmlns:x="{names.XSI}" xmlns:q="urn:q" x:type="q:Request"><iin>1</iin></data>')
    envelope_schema()(async_channel.build_get_messages_reply(Messages(NOON, GUID, (AsyncMessage(ANSWER, data),))))
    envelope_schema()(async_channel.build_send_message(ANSWER, PAYLOAD, PayloadCodec.TYPED_CHILDREN))


def test_a_message_without_a_payload_has_an_empty_data() -> None:
    for body in (
        async_channel.build_send_message(ANSWER, None, PayloadCodec.ELEMENT),
        async_channel.build_get_messages_reply(Messages(NOON, GUID, (AsyncMessage(ANSWER, None),))),
    ):
        envelope_schema()(body)
        (data,) = body.iter("data")
        assert (len(data), data.text) == (0, None)


def test_a_cdata_payload_stays_in_its_section_and_data_may_be_signed() -> None:
    cdata = async_channel.build_send_message(REQUEST, PAYLOAD, PayloadCodec.CDATA)
    assert b"<![CDATA[<q:Request" in build_envelope(cdata)
    signed = async_channel.build_send_message(
        REQUEST, PAYLOAD, PayloadCodec.CHILDREN, sign_data=lambda data: data.replace(b"</data>", b"<sig/></data>")
    )
    assert [child.tag for child in signed.find(".//data")] == ["iin", "sig"]


def test_only_the_wrapper_is_qualified_and_the_push_is_sent_in_the_gateway_s_namespace() -> None:
    bodies = {
        f"{{{names.ASYNC_TYPES}}}sendMessage": async_channel.build_send_message(ANSWER, PAYLOAD, PayloadCodec.CHILDREN),
        f"{{{names.ASYNC_CLIENT_TYPES}}}changeMassageStatusNotificationResponse": (
            async_channel.build_change_status_notification_ack(StatusChangeAck(NOON, GUID))
        ),
    }
    for tag, body in bodies.items():
        assert body[0].tag == tag
        assert [str(e.tag) for e in body[0].iterdescendants() if str(e.tag).startswith("{")] == []


def test_the_misspelt_words_are_the_ones_written() -> None:
    notification = DeliveryNotification(
        "1", "S", NOON, ReceiveStatus.NOT_ACCEPTED, NOON, Resend.RESEND, request_date=NOON
    )
    body = async_channel.build_send_delivery_notification(notification)
    assert body.findtext(".//receiveStatus") == "MESSAGE_NOT_ACCTEPTED"
    fault = async_channel.build_fault(Operation.CHANGE_STATUS_NOTIFICATION, ErrorInfo("SCE001", "", NOON))
    assert fault[0].find("detail")[0].tag == (
        f"{{{names.ASYNC_CLIENT_TYPES}}}changeMassageStatusNotificationFault1_changeMassageStatusNotificationFault"
    )


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (lambda: AsyncMessageInfo("", MessageType.REQUEST, NOON, Sender("a")), "missing_field"),
        (lambda: AsyncMessageInfo("s", MessageType.REQUEST, NOON, Sender("")), "missing_field"),
        (lambda: AsyncMessageInfo("s", MessageType.RESPONSE, NOON, Sender("a"), "1"), "missing_field"),
        (lambda: AsyncMessageInfo("s", MessageType.REQUEST, NOON, Sender("a"), "m" * 257), "too_long"),
        (lambda: AsyncMessageInfo("s", MessageType.REQUEST, NOON, Sender("a", "\x00")), "not_xml_text"),
    ],
)
def test_what_the_format_cannot_carry_is_refused_before_it_is_sent(
    build: Callable[[], AsyncMessageInfo], code: str
) -> None:
    assert refused(lambda _: async_channel.build_send_message(build(), PAYLOAD, PayloadCodec.CHILDREN), "") == code


def test_an_amount_out_of_range_is_neither_written_nor_read() -> None:
    for amount in (-1, 2**31):
        assert refused(lambda _, n=amount: async_channel.build_get_messages(MessagesQuery("S", amount=n)), "") == (
            "bad_value"
        )
    for text in ("-1", "1.5", "many", "2147483648", "9" * 40, "١"):
        body = f"<getMessages><request><serviceId>S</serviceId><amount>{text}</amount></request></getMessages>"
        assert refused(async_channel.read_get_messages, body) == "bad_value"


@pytest.mark.parametrize("session_id", ["", "{}", "no guid"])
def test_where_the_schema_demands_a_session_id_another_text_is_no_substitute(session_id: str) -> None:
    for build in (
        lambda: async_channel.build_get_messages_reply(Messages(NOON, session_id)),
        lambda: async_channel.build_change_status_notification_ack(StatusChangeAck(NOON, session_id)),
        lambda: async_channel.build_send_delivery_notification_ack(DeliveryNotificationAck("1", NOON, session_id)),
    ):
        assert refused(lambda _, build=build: build(), "") == "missing_field"


def test_a_date_that_the_schema_demands_cannot_be_left_out() -> None:
    for build in (
        lambda: async_channel.build_send_message_ack(MessageAck("1", "2", None)),
        lambda: async_channel.build_get_message_status_reply(
            MessageStatus(MessageState.DELIVERED, MessageStatusInfo("c", "", None), NOON)
        ),
    ):
        with pytest.raises(ValueError, match="Date"):
            build()


def test_texts_for_people_and_secrets_stay_out_of_a_repr() -> None:
    shown = repr((MessageStatusInfo("code", "hush", NOON), REQUEST, MessageStatusQuery("1", NOON, Sender("a", "hush"))))
    assert "hush" not in shown
    assert "secret" not in shown


# ---------------------------------------------------------------- what is read

FIELDS = {
    "serviceId": "<serviceId>S</serviceId>",
    "messageType": "<messageType>RESPONSE</messageType>",
    "messageDate": "<messageDate>2026-01-31T12:00:00</messageDate>",
    "sender": "<sender><senderId>a</senderId></sender>",
}


def message(info: str, *, namespace: str = names.ASYNC_TYPES, data: str = "<data>x</data>") -> str:
    return (
        f'<sendMessage xmlns="{namespace}"><request xmlns=""><messageInfo>{info}</messageInfo>'
        f"<messageData>{data}</messageData></request></sendMessage>"
    )


WHOLE = "".join(FIELDS.values())


@pytest.mark.parametrize("namespace", [names.ASYNC_TYPES, names.ASYNC_CLIENT_TYPES, "http://service.ws.es.kz/"])
def test_a_push_is_read_in_whatever_namespace_it_comes(namespace: str) -> None:
    read = async_channel.read_send_message(body_of(message(WHOLE, namespace=namespace)))
    assert read.info == AsyncMessageInfo("S", MessageType.RESPONSE, NOON, Sender("a"))


@pytest.mark.parametrize(
    "info",
    [
        "".join(reversed(FIELDS.values())),
        WHOLE + "<messageId/><correlationId/><routeId/><properties/><sessionId/><stray>1</stray>",
        WHOLE.replace("</senderId>", "</senderId><sessionId>{}</sessionId>"),
        WHOLE.replace("2026-01-31T12:00:00", "2026-01-31T12:00:00.000000+0500"),
        WHOLE.replace("serviceId", "n:serviceId").replace("<n:serviceId>", '<n:serviceId xmlns:n="urn:n">'),
    ],
)
def test_what_is_seen_in_traffic_is_read(info: str) -> None:
    read = async_channel.read_send_message(body_of(message(info)))
    assert read.info == AsyncMessageInfo("S", MessageType.RESPONSE, NOON, Sender("a"))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_the_schema_demands_may_not_be_missing_or_stand_twice(name: str) -> None:
    read = async_channel.read_send_message
    assert refused(read, message(WHOLE.replace(FIELDS[name], ""))) == "missing_field"
    assert refused(read, message(WHOLE.replace(FIELDS[name], f"<{name}/>"))) == "missing_field"
    assert refused(read, message(WHOLE + FIELDS[name])) == "repeated"


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("", "no_operation"),
        ("<sendMessage/><sendMessage/>", "two_operations"),
        ("<SendMessage/>", "unknown_operation"),
        ("<sendMessageResponse/>", "unknown_operation"),
        ("<sendMessage/>", "missing_field"),
        (message(WHOLE.replace("RESPONSE", "ANSWER")), "bad_value"),
        (message(WHOLE, data="<data/><data/>"), "repeated"),
        (message(WHOLE.replace("2026-01-31T12:00:00", "then")), "bad_date"),
    ],
)
def test_what_is_no_message_is_refused(inner: str, code: str) -> None:
    assert refused(async_channel.read_send_message, inner) == code


def test_an_operation_is_known_by_its_local_name() -> None:
    for operation in Operation:
        assert async_channel.operation_of(body_of(f"<{operation}/>")) is operation
    assert refused(async_channel.operation_of, "<changeMessageStatusNotification/>") == "unknown_operation"


def test_the_right_spelling_is_read_too() -> None:
    body = body_of(
        "<sendDeliveryNotification><request><notification><messageId>1</messageId><serviceId>S</serviceId>"
        "<notificationDate>2026-01-31T12:00:00</notificationDate><deliveryStatus>"
        "<receiveStatus>MESSAGE_NOT_ACCEPTED</receiveStatus><statusDate>2026-01-31T12:00:00</statusDate>"
        "<resendMessage>NOT_RESEND</resendMessage><error/></deliveryStatus></notification>"
        "<requestDate>2026-01-31T12:00:00</requestDate><sender/></request></sendDeliveryNotification>"
    )
    assert async_channel.read_send_delivery_notification(body) == DeliveryNotification(
        "1", "S", NOON, ReceiveStatus.NOT_ACCEPTED, NOON, Resend.NOT_RESEND, NOON
    )


def test_next_to_nothing_is_an_ack_too() -> None:
    ack = async_channel.read_send_message_ack(body_of("<sendMessageResponse><response/></sendMessageResponse>"))
    assert ack == MessageAck("", "", None)


def test_one_unreadable_message_does_not_take_the_batch_with_it() -> None:
    good = f"<messages><messageInfo>{WHOLE}<messageId>1</messageId></messageInfo></messages>"
    bad = (
        "<messages><messageInfo><messageId>2</messageId><correlationId>3</correlationId>"
        "<serviceId>S</serviceId></messageInfo></messages>"
    )
    worse = "<messages><messageInfo><messageId>4</messageId><messageId>5</messageId></messageInfo></messages>"
    nothing = "<messages><messageData/></messages><messages/>"
    body = body_of(
        f"<getMessagesResponse><response><responseDate/>{bad}{good}{worse}{nothing}</response></getMessagesResponse>"
    )
    reply = async_channel.read_get_messages_reply(body)
    assert isinstance(reply, Messages)
    assert [one.info.message_id for one in reply.messages] == ["1"]
    assert [(one.message_id, one.correlation_id, one.service_id, one.code) for one in reply.unreadable] == [
        ("2", "3", "S", "missing_field"),
        ("", "", "", "repeated"),
        ("", "", "", "missing_field"),
    ]


def test_a_batch_is_read_to_a_bound() -> None:
    body = body_of(
        "<getMessagesResponse><response>"
        + "<messages/>" * (async_channel.MAX_MESSAGES + 1)
        + "</response></getMessagesResponse>"
    )
    assert refused(async_channel.read_get_messages_reply, body) == "too_many_messages"


def test_no_refusal_repeats_a_value() -> None:
    iin = "900101300017"
    for name, field in FIELDS.items():
        with pytest.raises(MalformedMessage) as refusal:
            async_channel.read_send_message(body_of(message(WHOLE.replace(field, f"<{name}>{iin}<b/>{iin}</{name}>"))))
        assert iin not in str(refusal.value)


# ---------------------------------------------------------------- a foreign judge


def zeep_reads(path: str, operation: str, body: etree._Element) -> Any:
    """What zeep makes of an answer of ours."""
    import zeep

    client = contract.load_contract(resources.path(path))._client

    class Reply:
        status_code = 200
        headers = {"Content-Type": "text/xml; charset=utf-8"}  # noqa: RUF012
        content = build_envelope(body)
        encoding = "utf-8"

    binding = client.service._binding
    assert isinstance(client, zeep.Client)
    return binding.process_reply(client, binding.get(operation), Reply())


def test_zeep_reads_our_answers_as_we_mean_them() -> None:
    ack = zeep_reads(
        contract.ASYNC_CHANNEL,
        "sendMessage",
        async_channel.build_send_message_ack(MessageAck("41", "42", NOON, GUID)),
    )
    assert (ack.messageId, ack.correlationId, ack.responseDate, ack.sessionId) == ("41", "42", NOON, GUID)

    data = etree.fromstring("<data><iin>1</iin></data>")
    batch = zeep_reads(
        contract.ASYNC_CHANNEL,
        "getMessages",
        async_channel.build_get_messages_reply(Messages(NOON, GUID, (AsyncMessage(ANSWER, data),) * 2)),
    )
    assert [one.messageInfo.correlationId for one in batch.messages] == ["42", "42"]

    status = zeep_reads(
        contract.ASYNC_CHANNEL,
        "getMessageStatus",
        async_channel.build_get_message_status_reply(
            MessageStatus(MessageState.ON_DELIVERY, MessageStatusInfo("c", "m", NOON), NOON)
        ),
    )
    assert (status.messageState, status.status.statusCode) == ("ON_DELIVERY", "c")

    notified = zeep_reads(
        contract.ASYNC_CHANNEL,
        "sendDeliveryNotification",
        async_channel.build_send_delivery_notification_ack(DeliveryNotificationAck("n", NOON, GUID)),
    )
    assert notified.notificationId == "n"

    changed = zeep_reads(
        contract.ASYNC_CHANNEL_CLIENT,
        "changeMassageStatusNotification",
        async_channel.build_change_status_notification_ack(StatusChangeAck(NOON, GUID)),
    )
    assert changed.sessionId == GUID


def test_zeep_s_requests_are_read_as_it_means_them() -> None:
    client = contract.load_contract(resources.path(contract.ASYNC_CHANNEL))
    sent = client.create_message(
        "getMessages", request={"serviceId": "S", "amount": 10, "properties": [{"key": "k", "value": "v"}] * 2}
    )
    body = parse(etree.tostring(sent))[-1]
    assert async_channel.read_get_messages(body) == MessagesQuery(
        "S", amount=10, properties=(Property("k", "v"), Property("k", "v"))
    )
    asked = client.create_message(
        "getMessageStatus", request={"messageId": "1", "requestDate": NOON, "sender": {"senderId": "a"}}
    )
    assert async_channel.read_get_message_status(parse(etree.tostring(asked))[-1]) == MessageStatusQuery(
        "1", NOON, Sender("a")
    )
