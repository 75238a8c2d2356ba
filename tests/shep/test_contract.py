import datetime as dt
import logging
from pathlib import Path

import pytest
import zeep
import zeep.xsd
from lxml import etree

from gateway import resources
from gateway.errors import ConfigurationError, MalformedMessage
from gateway.shep import contract, names
from gateway.shep.envelope import build_envelope, split
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ErrorInfo, Property, RequestInfo, ResponseInfo, Sender
from gateway.shep.payload import PayloadCodec, decode
from gateway.shep.sync_channel import build_fault, build_request, build_response, read_request
from gateway.xml import parse

NOON = dt.datetime(2026, 1, 31, 7, tzinfo=dt.UTC)
INFO = RequestInfo("m-1", "SOME_SERVICE", NOON, Sender("login", "secret"))
PAYLOAD = etree.fromstring(f'<q:Request xmlns:q="urn:r" xmlns:x="{names.XSI}"><iin x:type="q:T">1</iin></q:Request>')
SENDER = {"senderId": "login", "password": "secret"}
DATA = {"data": zeep.xsd.AnyObject(zeep.xsd.String(), "<Request><iin>1</iin></Request>")}


class OneAddress(zeep.Transport):
    """A foreign client's transport that knows one document and can fetch nothing else."""

    def __init__(self, address: str, document: bytes, reply: bytes = b"") -> None:
        super().__init__()
        self.address, self.document, self.reply = address, document, reply
        self.posted: list[tuple[str, bytes, str]] = []

    def load(self, url: str) -> bytes:
        assert url == self.address, f"the client wanted {url} too"
        return self.document

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> object:
        self.posted.append((address, message, headers["SOAPAction"]))

        class Reply:
            status_code = 200
            headers = {"Content-Type": "text/xml; charset=utf-8"}  # noqa: RUF012
            content = self.reply
            encoding = "utf-8"

        return Reply()


# ---------------------------------------------------------------- zeep reads our contracts


@pytest.mark.parametrize(
    ("path", "service", "port", "operations"),
    [
        (contract.SYNC_CHANNEL, "ISyncChannelHttpService", "SyncChannelHttpPort", {"SendMessage"}),
        (
            contract.ASYNC_CHANNEL,
            "AsyncChannelHttpService",
            "AsyncChannelHttpPort",
            {"sendMessage", "sendDeliveryNotification", "getMessageStatus", "getMessages"},
        ),
        (
            contract.ASYNC_CHANNEL_CLIENT,
            "AsyncChannelClientHttpService",
            "AsyncChannelClientHttpPort",
            {"sendMessage", "changeMassageStatusNotification"},
        ),
    ],
)
def test_zeep_loads_the_contract_offline(path: str, service: str, port: str, operations: set[str]) -> None:
    loaded = contract.load_contract(resources.path(path))
    assert (loaded.service, loaded.port, set(loaded.operations)) == (service, port, operations)


def schema(name: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(resources.path(f"wsdl/shep/{name}"))))


def body_child(envelope: etree._Element) -> etree._Element:
    return split(parse(etree.tostring(envelope)))[1][0]


ASYNC_INFO = {"serviceId": "S", "messageDate": NOON, "sender": SENDER}
GUID = "{0f8fad5b-d9cb-469f-a165-70867728950e}"


@pytest.mark.parametrize(
    ("path", "operation", "request_", "wrapper", "xsd"),
    [
        (
            contract.SYNC_CHANNEL,
            "SendMessage",
            {"requestInfo": {"messageId": "m", **ASYNC_INFO}, "requestData": DATA},
            names.SEND_MESSAGE,
            "sync.xsd",
        ),
        (
            contract.ASYNC_CHANNEL,
            "sendMessage",
            {"messageInfo": {"messageType": "REQUEST", **ASYNC_INFO}, "messageData": DATA},
            f"{{{names.ASYNC_TYPES}}}sendMessage",
            "async.xsd",
        ),
        (
            contract.ASYNC_CHANNEL,
            "sendDeliveryNotification",
            {
                "notification": {
                    "messageId": "1",
                    "serviceId": "S",
                    "notificationDate": NOON,
                    "deliveryStatus": {
                        "receiveStatus": "MESSAGE_NOT_ACCTEPTED",
                        "statusDate": NOON,
                        "resendMessage": "RESEND",
                    },
                },
                "requestDate": NOON,
            },
            f"{{{names.ASYNC_TYPES}}}sendDeliveryNotification",
            "async.xsd",
        ),
        (
            contract.ASYNC_CHANNEL,
            "getMessageStatus",
            {"messageId": "1", "requestDate": NOON, "sender": SENDER},
            f"{{{names.ASYNC_TYPES}}}getMessageStatus",
            "async.xsd",
        ),
        (
            contract.ASYNC_CHANNEL,
            "getMessages",
            {"serviceId": "S", "amount": 10, "properties": [{"key": "k", "value": "v"}] * 2},
            f"{{{names.ASYNC_TYPES}}}getMessages",
            "async.xsd",
        ),
        (
            contract.ASYNC_CHANNEL_CLIENT,
            "sendMessage",
            {"messageInfo": {"messageType": "RESPONSE", **ASYNC_INFO}, "messageData": DATA},
            f"{{{names.ASYNC_TYPES}}}sendMessage",
            "async.xsd",
        ),
        (
            contract.ASYNC_CHANNEL_CLIENT,
            "changeMassageStatusNotification",
            {
                "notification": {
                    "notificationId": "n",
                    "messageId": "1",
                    "notificationDate": NOON,
                    "messageState": "DELIVERED",
                    "status": {"statusCode": "c", "statusMessage": "m", "statusDate": NOON},
                },
                "requestDate": NOON,
                "sessionId": GUID,
            },
            f"{{{names.ASYNC_CLIENT_TYPES}}}changeMassageStatusNotification",
            "async_client.xsd",
        ),
    ],
)
def test_zeep_builds_every_operation_with_its_true_wire_name(
    path: str, operation: str, request_: dict[str, object], wrapper: str, xsd: str
) -> None:
    envelope = contract.load_contract(resources.path(path)).create_message(operation, request=request_)
    element = body_child(envelope)
    assert element.tag == wrapper
    assert {e.tag for e in element.iterdescendants() if str(e.tag).startswith("{")} == set()
    schema(xsd).assertValid(element)


@pytest.mark.parametrize("name", ["sendMessage", "sendMessageResponse", "sendMessageFault1_sendMessageFault"])
def test_a_push_is_declared_in_both_namespaces(name: str) -> None:
    for xsd in ("async.xsd", "async_client.xsd"):
        declared = etree.parse(str(resources.path(f"wsdl/shep/{xsd}"))).getroot()
        assert name in [element.get("name") for element in declared]


def test_the_temporary_storage_takes_a_request_as_senders_order_it() -> None:
    text = f"""<t:tempStorageRequest xmlns:t="{names.TEMPORARY_STORAGE}"><uploadRequest><fileUploadRequests>
        <fileProcessIdentifier>1</fileProcessIdentifier><name>a.pdf</name><content>AAAA</content>
        <mime>application/pdf</mime><lifeTime>28800000</lifeTime><needToBeConfirmed>false</needToBeConfirmed>
        </fileUploadRequests></uploadRequest><credentials><senderId>a</senderId><password>b</password></credentials>
        <type>UPLOAD</type></t:tempStorageRequest>"""
    schema("temporary_storage.xsd").assertValid(etree.fromstring(text))


def test_the_temporary_storage_gives_files_with_what_is_known_of_them() -> None:
    text = f"""<t:tempStorageResponse xmlns:t="{names.TEMPORARY_STORAGE}"><downloadResponse><fileDownloadResults>
        <status><unknown>0</unknown></status><fileIdentifier>f</fileIdentifier><content>AAAA</content>
        <meta><name>a</name><size>3</size><uploaderSystem><x/></uploaderSystem></meta></fileDownloadResults>
        <status>ok</status></downloadResponse></t:tempStorageResponse>"""
    schema("temporary_storage.xsd").assertValid(etree.fromstring(text))


def test_every_binding_has_an_empty_soap_action() -> None:
    for path in (contract.SYNC_CHANNEL, contract.ASYNC_CHANNEL, contract.ASYNC_CHANNEL_CLIENT):
        tree = etree.parse(str(resources.path(path)))
        assert {e.get("soapAction") for e in tree.iter(f"{{{names.WSDL_SOAP}}}operation")} == {""}


def test_no_schema_qualifies_what_the_wire_leaves_unqualified() -> None:
    for file in resources.path("wsdl/shep").glob("*.xsd"):
        assert "elementFormDefault" not in etree.parse(str(file)).getroot().attrib


def test_a_contract_that_reaches_outside_of_its_folder_is_refused(tmp_path: Path) -> None:
    text = resources.path(contract.SYNC_CHANNEL).read_text("utf-8")
    wsdl = tmp_path / "sync_channel.wsdl"
    for outside in ("http://198.51.100.1/x.wsdl", "../x.wsdl", "missing.wsdl"):
        wsdl.write_text(text.replace("sync_channel_interface.wsdl", outside), "utf-8")
        with pytest.raises(ConfigurationError, match=r"sync_channel\.wsdl"):
            contract.load_contract(wsdl)


@pytest.mark.parametrize("text", ["", "<x/>", "<!DOCTYPE x><x/>", "not xml"])
def test_a_file_that_is_no_contract_is_named(tmp_path: Path, text: str) -> None:
    wsdl = tmp_path / "broken.wsdl"
    wsdl.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=r"broken\.wsdl"):
        contract.load_contract(wsdl)


def test_zeep_never_logs_a_body() -> None:
    logging.getLogger("zeep.transports").setLevel(logging.DEBUG)
    contract.load_contract(resources.path(contract.SYNC_CHANNEL))
    assert not logging.getLogger("zeep.transports").isEnabledFor(logging.DEBUG)


# ---------------------------------------------------------------- the validator


@pytest.mark.parametrize("codec", PayloadCodec)
def test_what_we_send_fits_the_schema(codec: PayloadCodec) -> None:
    request = build_request(INFO, PAYLOAD, codec)
    request.set(f"{{{names.WSU}}}Id", "id-1")
    before = etree.tostring(request)
    contract.envelope_schema()(request)
    contract.envelope_schema()(build_response(ResponseInfo("m", NOON, SUCCESS), PAYLOAD, codec))
    assert etree.tostring(request) == before


def test_a_fault_fits_the_schema() -> None:
    contract.envelope_schema()(build_fault(ErrorInfo("SCE006", "no", NOON, sub_error=ErrorInfo("a", "b", NOON))))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("messageDate", "2026-01-31T07:00:00+0500"),
        ("sessionId", "not-a-guid"),
        ("properties/key", "k" * 31),
    ],
)
def test_what_does_not_fit_is_refused_without_its_value(path: str, text: str) -> None:
    info = RequestInfo("m", "s", NOON, Sender("a"), properties=(Property("k", "v"),), session_id=GUID)
    body = build_request(info, PAYLOAD, PayloadCodec.CHILDREN)
    leaf = body.find(f"*/request/requestInfo/{path}")
    assert leaf is not None
    leaf.text = text
    with pytest.raises(MalformedMessage, match=path.rpartition("/")[2]) as refused:
        contract.envelope_schema()(body)
    assert refused.value.code == "contract"
    assert text not in str(refused.value)


def test_a_body_with_two_operations_does_not_fit() -> None:
    body = build_request(INFO, PAYLOAD, PayloadCodec.CHILDREN)
    body.append(build_request(INFO, PAYLOAD, PayloadCodec.CHILDREN)[0])
    with pytest.raises(MalformedMessage):
        contract.envelope_schema()(body)


# ---------------------------------------------------------------- a foreign client with our ?wsdl

ADDRESS = "http://gateway.example/shep/sync"


def test_a_foreign_client_needs_nothing_but_our_address() -> None:
    answer = build_response(ResponseInfo("m-2", NOON, SUCCESS, "c-1"), PAYLOAD, PayloadCodec.ESCAPED_TEXT)
    transport = OneAddress(f"{ADDRESS}?wsdl", contract.served_wsdl(ADDRESS), build_envelope(answer))
    client = zeep.Client(f"{ADDRESS}?wsdl", transport=transport)
    info = {
        "messageId": "m-1",
        "serviceId": "SOME_SERVICE",
        "messageDate": NOON,
        "sender": SENDER,
        "properties": [{"key": "k", "value": "v"}],
    }
    reply = client.service.SendMessage(request={"requestInfo": info, "requestData": DATA})
    assert reply["responseInfo"]["status"]["code"] == "SCSS001"
    assert reply["responseInfo"]["correlationId"] == "c-1"

    ((address, message, action),) = transport.posted
    assert (address, action) == (ADDRESS, '""')
    request = read_request(split(parse(message))[1])
    assert request.info == RequestInfo(
        "m-1", "SOME_SERVICE", NOON, Sender("login", "secret"), properties=(Property("k", "v"),)
    )
    assert request.data is not None
    assert decode(request.data, PayloadCodec.CHILDREN, root_name="Request").findtext("iin") == "1"


def test_a_foreign_client_reads_our_fault_with_its_detail() -> None:
    fault = build_fault(ErrorInfo("SCE007", "The message is not signed", NOON))
    transport = OneAddress(f"{ADDRESS}?wsdl", contract.served_wsdl(ADDRESS), build_envelope(fault))
    client = zeep.Client(f"{ADDRESS}?wsdl", transport=transport)
    request = {
        "requestInfo": {"messageId": "m", "serviceId": "s", "messageDate": NOON, "sender": SENDER},
        "requestData": DATA,
    }
    with pytest.raises(zeep.exceptions.Fault, match="not signed") as raised:
        client.service.SendMessage(request=request)
    assert raised.value.code == "SCE007"
    detail = raised.value.detail.find(names.SEND_MESSAGE_FAULT)
    read = client.get_element(names.SEND_MESSAGE_FAULT).parse(detail, client.wsdl.types)
    assert (read.errorCode, read.errorDate) == ("SCE007", NOON)


@pytest.mark.parametrize("path", [contract.SYNC_CHANNEL, contract.ASYNC_CHANNEL, contract.ASYNC_CHANNEL_CLIENT])
def test_what_is_served_is_one_document(path: str) -> None:
    served = contract.served_wsdl("https://h/x?a=1&b=2", path)
    document = parse(served)
    assert [e.get("location") for e in document.iter(f"{{{names.WSDL_SOAP}}}address")] == ["https://h/x?a=1&b=2"]
    assert b"schemaLocation" not in served
    assert not list(document.iter(f"{{{names.WSDL}}}import"))
    namespaces = [e.get("targetNamespace") for e in document.iter(f"{{{names.XSD}}}schema")]
    assert len(namespaces) == len(set(namespaces))
    zeep.Client("http://h/?wsdl", transport=OneAddress("http://h/?wsdl", served))


def test_one_address_does_not_stay_in_the_next_document() -> None:
    assert b"http://first/" in contract.served_wsdl("http://first/")
    assert b"http://first/" not in contract.served_wsdl("http://second/")


def test_an_address_that_xml_cannot_carry_is_a_configuration_mistake() -> None:
    with pytest.raises(ConfigurationError):
        contract.served_wsdl("http://h/\x00")
