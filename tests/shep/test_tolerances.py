"""SHEP.md 1.5, line by line: everything seen in traffic is read, nothing of it is written."""

import datetime as dt
import re
from dataclasses import dataclass, field

import pytest
from lxml import etree

from gateway.shep import names
from gateway.shep.contract import envelope_schema
from gateway.shep.envelope import build_envelope, split
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import (
    ErrorInfo,
    Property,
    RequestInfo,
    ResponseInfo,
    Sender,
    StatusInfo,
    SyncRequest,
    SyncResponse,
)
from gateway.shep.payload import PayloadCodec
from gateway.shep.sync_channel import build_fault, build_request, build_response, read_reply, read_request
from gateway.xml import parse

NOON = dt.datetime(2024, 5, 6, 12, tzinfo=dt.UTC)
GUID = "{0f8fad5b-d9cb-469f-a165-70867728950e}"

REQUEST = f"""<soap:Envelope xmlns:soap="{names.SOAP_11}"><soap:Body>\
<t:SendMessage xmlns:t="{names.SYNC_TYPES}"><request><requestInfo>\
<messageId>m-1</messageId><serviceId>SOME_SERVICE</serviceId><messageDate>2024-05-06T12:00:00Z</messageDate>\
<sender><senderId>login</senderId><password>secret</password></sender>\
</requestInfo><requestData><data><iin>1</iin></data></requestData></request></t:SendMessage>\
</soap:Body></soap:Envelope>"""

EXPECTED = RequestInfo("m-1", "SOME_SERVICE", NOON, Sender("login", "secret"))


def request_of(text: str) -> SyncRequest:
    return read_request(split(parse(text.encode()))[1])


def reply_of(text: str) -> SyncResponse | ErrorInfo:
    return read_reply(split(parse(text.encode()))[1])


def replaced(old: str, new: str) -> str:
    assert old in REQUEST
    return REQUEST.replace(old, new)


@dataclass(frozen=True)
class Tolerance:
    text: str
    expected: RequestInfo = field(default=EXPECTED)


def with_session(text: str) -> RequestInfo:
    return RequestInfo("m-1", "SOME_SERVICE", NOON, Sender("login", "secret"), session_id=text)


def dated(text: str) -> str:
    return replaced("2024-05-06T12:00:00Z", text)


DATE = "<messageDate>2024-05-06T12:00:00Z</messageDate>"
SENDER = "<sender><senderId>login</senderId><password>secret</password></sender>"
DATA = "<data><iin>1</iin></data>"

TOLERANCES = {
    "as the schema says": Tolerance(REQUEST),
    "empty correlationId": Tolerance(replaced("<serviceId>", "<correlationId/><serviceId>")),
    "empty routeId": Tolerance(replaced("<sender>", "<routeId></routeId><sender>")),
    "empty properties": Tolerance(replaced("</requestInfo>", "<properties/></requestInfo>")),
    "empty sessionId": Tolerance(replaced("</requestInfo>", "<sessionId/></requestInfo>")),
    "properties with empty key and value": Tolerance(
        replaced("</requestInfo>", "<properties><key/><value/></properties></requestInfo>")
    ),
    "nil correlationId": Tolerance(
        replaced("<serviceId>", f'<correlationId xmlns:x="{names.XSI}" x:nil="true"/><serviceId>')
    ),
    "sessionId without braces": Tolerance(
        replaced("</requestInfo>", f"<sessionId>{GUID[1:-1]}</sessionId></requestInfo>"), with_session(GUID[1:-1])
    ),
    "sessionId that is no GUID": Tolerance(
        replaced("</requestInfo>", "<sessionId>abc 1</sessionId></requestInfo>"), with_session("abc 1")
    ),
    "sessionId of two braces": Tolerance(
        replaced("</requestInfo>", "<sessionId>{}</sessionId></requestInfo>"), with_session("{}")
    ),
    "sessionId before messageDate": Tolerance(
        replaced(DATE, f"<sessionId>{GUID}</sessionId>{DATE}"), with_session(GUID)
    ),
    "messageType after messageDate": Tolerance(replaced(DATE, f"{DATE}<messageType>REQUEST</messageType>")),
    "fields in another order": Tolerance(replaced(DATE + SENDER, SENDER + DATE)),
    "date with Z": Tolerance(dated("2024-05-06T12:00:00.000Z")),
    "date with +06:00": Tolerance(dated("2024-05-06T18:00:00+06:00")),
    "date with +05:00": Tolerance(dated("2024-05-06T17:00:00+05:00")),
    "date with +0600": Tolerance(dated("2024-05-06T18:00:00+0600")),
    "date with microseconds": Tolerance(dated("2024-05-06T12:00:00.000000Z")),
    "date with nanoseconds": Tolerance(dated("2024-05-06T12:00:00.000000000Z")),
    "date without zone": Tolerance(dated("2024-05-06T17:00:00")),
    "another wrapper prefix": Tolerance(
        REQUEST.replace("t:SendMessage", "ns77:SendMessage").replace("xmlns:t=", "xmlns:ns77=")
    ),
    "default namespace and an empty one on request": Tolerance(
        REQUEST.replace("t:SendMessage", "SendMessage")
        .replace("xmlns:t=", "xmlns=")
        .replace("<request>", '<request xmlns="">')
    ),
    "default namespace inherited by every field": Tolerance(
        REQUEST.replace("t:SendMessage", "SendMessage").replace("xmlns:t=", "xmlns=")
    ),
    "wrapper SendMessageRequest": Tolerance(REQUEST.replace("t:SendMessage", "t:SendMessageRequest")),
    "wrapper sendMessageRequest": Tolerance(REQUEST.replace("t:SendMessage", "t:sendMessageRequest")),
    "XML declaration": Tolerance('<?xml version="1.0" encoding="utf-8"?>' + REQUEST),
    "white space before the declaration": Tolerance('\n  <?xml version="1.0" encoding="UTF-8"?>\n' + REQUEST),
    "byte-order mark": Tolerance('\ufeff<?xml version="1.0" encoding="UTF-8"?>' + REQUEST),
    "Header and Body under different prefixes": Tolerance(
        REQUEST.replace(
            "<soap:Body>", f'<h:Header xmlns:h="{names.SOAP_11}"/><b:Body xmlns:b="{names.SOAP_11}">'
        ).replace("</soap:Body>", "</b:Body>")
    ),
    "indented": Tolerance(REQUEST.replace("><", ">\n\t<")),
    "values with white space around them": Tolerance(
        REQUEST.replace("m-1", "\n m-1 ").replace("SOME_SERVICE", " SOME_SERVICE\t")
    ),
    "data under the namespace of the interface": Tolerance(
        replaced(DATA, f'<n:data xmlns:n="{names.SYNC_INTERFACES}"><iin>1</iin></n:data>')
    ),
    "no data": Tolerance(replaced(DATA, "")),
    "no requestData": Tolerance(replaced(f"<requestData>{DATA}</requestData>", "")),
}


@pytest.mark.parametrize("tolerance", TOLERANCES.values(), ids=TOLERANCES.keys())
def test_what_real_senders_send_is_read(tolerance: Tolerance) -> None:
    request = request_of(tolerance.text)
    assert request.info == tolerance.expected
    if request.data is None:
        assert "<data" not in tolerance.text
    else:
        assert [child.tag.rpartition("}")[2] for child in request.data] == ["iin"]


KDP = "http://service.2fa-chain.kz/ns/kdp"


def reply(wrapper: str, namespace: str, info: str, data: str) -> str:
    return (
        f'<s:Envelope xmlns:s="{names.SOAP_11}"><s:Body><{wrapper} xmlns:r="{namespace}"><response>{info}{data}'
        f"</response></{wrapper}></s:Body></s:Envelope>"
    )


STAMP = "<messageId>m-2</messageId><responseDate>2024-05-06T12:00:00Z</responseDate>"
STATUS = "<status><code>SCSS001</code><message>ok</message></status>"
OK = ResponseInfo("m-2", NOON, StatusInfo("SCSS001", "ok"))
BARE = ResponseInfo("m-2", NOON, StatusInfo(""))

REPLIES = {
    "as the schema says": (
        reply(
            "r:SendMessageResponse",
            names.SYNC_TYPES,
            f"<responseInfo>{STAMP}{STATUS}</responseInfo>",
            "<responseData><data/></responseData>",
        ),
        OK,
        True,
    ),
    "empty responseData": (
        reply(
            "r:SendMessageResponse",
            names.SYNC_TYPES,
            f"<responseInfo>{STAMP}{STATUS}</responseInfo>",
            "<responseData/>",
        ),
        OK,
        False,
    ),
    "no responseData": (
        reply("r:SendMessageResponse", names.SYNC_TYPES, f"<responseInfo>{STAMP}{STATUS}</responseInfo>", ""),
        OK,
        False,
    ),
    "the whole wrapper in the namespace of the KDP, empty status": (
        reply(
            "r:sendMessageResponse",
            KDP,
            f"<r:responseInfo>{STAMP.replace('<', '<r:').replace('<r:/', '</r:')}<r:status/></r:responseInfo>",
            "<r:responseData><r:data/></r:responseData>",
        ).replace("response>", "r:response>"),
        BARE,
        True,
    ),
    "no status": (
        reply("r:SendMessageResponse", names.SYNC_TYPES, f"<responseInfo>{STAMP}</responseInfo>", ""),
        BARE,
        False,
    ),
}


@pytest.mark.parametrize(("text", "info", "has_data"), REPLIES.values(), ids=REPLIES.keys())
def test_what_real_providers_answer_is_read(text: str, info: ResponseInfo, has_data: bool) -> None:
    answer = reply_of(text)
    assert isinstance(answer, SyncResponse)
    assert answer.info == info
    assert (answer.data is not None) is has_data


# ---------------------------------------------------------------- nothing of it is written

SESSIONS = ["", "{}", "abc 1", GUID[1:-1], GUID]
PAYLOAD = etree.fromstring('<q:R xmlns:q="urn:r"><iin>1</iin></q:R>')


def written(session: str) -> list[etree._Element]:
    almaty = dt.timezone(dt.timedelta(hours=5))
    info = RequestInfo(
        "m", "s", NOON.astimezone(almaty), Sender("login"), properties=(Property("k", "v"),), session_id=session
    )
    return [
        build_request(info, PAYLOAD, PayloadCodec.TYPED_CHILDREN),
        build_response(ResponseInfo("m", NOON, SUCCESS, session_id=session), None, PayloadCodec.CHILDREN),
        build_response(ResponseInfo("m", NOON, SUCCESS, session_id=session), PAYLOAD, PayloadCodec.ESCAPED_TEXT),
        build_fault(ErrorInfo("SCE001", "no", NOON, sub_error=ErrorInfo("x y", "z", NOON), session_id=session)),
    ]


@pytest.mark.parametrize("session", SESSIONS)
def test_nothing_of_it_is_written(session: str) -> None:
    for body in written(session):
        envelope_schema()(body)
        text = build_envelope(body).decode()
        assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
        assert re.findall(r"<(\w+)/>", text) in ([], ["data"])
        assert set(re.findall(r"<sessionId>(.*?)</sessionId>", text)) <= {GUID}
        for date in re.findall(r"Date>([^<]+)<", text):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)", date)
        (operation,) = body
        assert operation.tag in (names.SEND_MESSAGE, names.SEND_MESSAGE_RESPONSE, names.FAULT)
        qualified = [e.tag for e in operation.iterdescendants() if str(e.tag).startswith("{")]
        assert qualified in ([], [names.SEND_MESSAGE_FAULT])


def test_a_session_id_that_lost_its_braces_gets_them_back() -> None:
    assert [e.text for body in written(GUID[1:-1]) for e in body.iter("sessionId")] == [GUID] * 4
    assert [e.text for body in written("abc 1") for e in body.iter("sessionId")] == []
