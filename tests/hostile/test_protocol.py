"""THREATS.md section 3, "Protocol": what may come over the wire, to the server and to the asker."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import Engine

from gateway.errors import MalformedMessage
from gateway.exchange.outbox import State
from gateway.exchange.results import AskResult
from gateway.exchange.serve import ServedReply
from gateway.exchange.transport import Reply, one_by_one
from gateway.shep import sync_channel
from gateway.shep.envelope import build_envelope
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing import frames, wss
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import XmlBounds, parse
from tests.exchange.test_serve import SERVICE, Echo, fault_of, question, server
from tests.exchange.world import NOW, PERSON, Keys, Register, asker, request_info
from tests.hostile.strange import resigned

FORM = KeyInfoForm.KEY_IDENTIFIER


def served(store: Engine, keys: Keys, data: bytes, **changes: Any) -> tuple[ServedReply, Echo]:
    echo = Echo()
    return server(store, keys, echo, **changes).handle(data, received_at=NOW), echo


def refused(store: Engine, keys: Keys, data: bytes, code: FaultCode, **changes: Any) -> None:
    reply, echo = served(store, keys, data, **changes)
    assert fault_of(keys, reply).code == code
    assert echo.asked == []


def in_body(keys: Keys, content: str) -> bytes:
    body = etree.fromstring(f'<soap:Body xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">{content}</soap:Body>')
    return sign_body(body, keys["client"], form=FORM)


# ---------------------------------------------------------------- to the server


def test_a_byte_order_mark_is_read_over(store: Engine, keys: Keys) -> None:
    reply, echo = served(store, keys, b"\xef\xbb\xbf" + question(keys))
    assert (reply.status, len(echo.asked)) == (200, 1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1251"])
def test_what_is_not_utf_8_is_refused(store: Engine, keys: Keys, encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?>" + question(keys).decode()
    refused(store, keys, text.encode(encoding, "xmlcharrefreplace"), FaultCode.MESSAGE_FORMAT)


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\x00", b"<?xml version='1.0'?>"])
def test_an_empty_body_is_refused(store: Engine, keys: Keys, data: bytes) -> None:
    refused(store, keys, data, FaultCode.MESSAGE_FORMAT)


def test_a_body_cut_at_any_phase_is_refused(store: Engine, keys: Keys) -> None:
    whole = question(keys)
    parts = {whole.index(b"<ds:" + name) for name in (b"Signature", b"SignatureValue", b"KeyInfo")}
    for end in sorted({*range(0, len(whole), 97), *parts}):
        reply, echo = served(store, keys, whole[:end])
        assert (reply.status, echo.asked) == (500, [])


@pytest.mark.parametrize("codec", [PayloadCodec.CDATA, PayloadCodec.ESCAPED_TEXT, PayloadCodec.BASE64])
def test_a_payload_in_text_is_signed_text_and_nothing_is_unpacked_before_the_signature(
    keys: Keys, codec: PayloadCodec
) -> None:
    payload = etree.fromstring("<q><iin>GENUINE</iin></q>")
    data = sign_body(sync_channel.build_request(request_info("X"), payload, codec), keys["client"], form=FORM)
    request = sync_channel.read_request(verify_envelope(data).body)
    assert request.data is not None
    assert len(request.data) == 0
    assert decode(request.data, codec, root_name="q").findtext("iin") == "GENUINE"


def test_an_unknown_service_is_refused_by_name(store: Engine, keys: Keys) -> None:
    refused(store, keys, question(keys, service_id="NOBODY"), FaultCode.SERVICE_UNAVAILABLE)


def test_a_service_that_is_switched_off_is_refused_by_name(store: Engine, keys: Keys) -> None:
    refused(store, keys, question(keys), FaultCode.SERVICE_UNAVAILABLE, services={})


def test_two_operations_in_one_body_are_refused(store: Engine, keys: Keys) -> None:
    one = (
        '<s:SendMessage xmlns:s="http://bip.bee.kz/SyncChannel/v10/Types"><request><requestInfo><messageId>m</messageId>'
        f"<serviceId>{SERVICE}</serviceId><messageDate>2026-06-01T07:00:00Z</messageDate><sender><senderId>a</senderId>"
        "</sender></requestInfo><requestData><data><a/></data></requestData></request></s:SendMessage>"
    )
    assert served(store, keys, in_body(keys, one))[0].status == 200
    refused(store, keys, in_body(keys, one + one), FaultCode.MESSAGE_FORMAT)


@pytest.mark.parametrize(
    "field", ["serviceId", "messageId", "messageDate", "sender", "requestInfo", "requestData", "data"]
)
def test_a_field_that_stands_twice_is_refused(store: Engine, keys: Keys, field: str) -> None:
    root = etree.fromstring(question(keys))
    element = next(root[1].iter(field))
    element.addnext(etree.fromstring(etree.tostring(element, with_tail=False)))
    refused(store, keys, resigned(root, keys["client"]), FaultCode.MESSAGE_FORMAT)


@pytest.mark.parametrize(
    ("name", "bounds", "data"),
    [
        ("bytes", XmlBounds(max_bytes=1_000), b"<a>" + b"x" * 1_000 + b"</a>"),
        ("elements", XmlBounds(max_elements=10), b"<a>" + b"<b/>" * 20 + b"</a>"),
        ("attributes", XmlBounds(max_attributes=10), b"<a>" + b"<b c='1' d='2'/>" * 10 + b"</a>"),
        ("namespaces", XmlBounds(max_attributes=10), b"<a>" + b"<b xmlns:c='1' xmlns:d='2'/>" * 10 + b"</a>"),
        ("depth", XmlBounds(max_depth=5), b"<a>" * 6 + b"</a>" * 6),
        ("depth of the parser", XmlBounds(max_depth=10_000), b"<a>" * 300 + b"</a>" * 300),
        ("a DOCTYPE", XmlBounds(), b"<!DOCTYPE a [<!ATTLIST a i ID #IMPLIED>]><a i='x'/>"),
        ("an entity loop", XmlBounds(), b"<!DOCTYPE a [<!ENTITY b '&c;&c;'><!ENTITY c '&b;'>]><a>&b;</a>"),
        ("an external entity", XmlBounds(), b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]><a>&b;</a>"),
    ],
)
def test_what_costs_more_than_its_bound_is_refused_before_it_is_read(
    store: Engine, keys: Keys, name: str, bounds: XmlBounds, data: bytes
) -> None:
    with pytest.raises(MalformedMessage):
        parse(data, bounds)
    refused(store, keys, data, FaultCode.MESSAGE_FORMAT)


def test_a_canonical_form_that_explodes_is_refused_within_its_bound(store: Engine, keys: Keys) -> None:
    root = etree.fromstring(question(keys))
    inside = b"".join(b"<x:a/>" for _ in range(400))
    holder = etree.fromstring(b'<h xmlns:x="urn:' + b"y" * 3_000 + b'">' + inside + b"</h>")
    next(root[1].iter("data")).append(holder)
    bounds = XmlBounds(max_bytes=50_000, max_canonical_bytes=100_000)
    assert len(etree.tostring(root)) < bounds.max_bytes
    refused(store, keys, resigned(root, keys["client"]), FaultCode.MESSAGE_FORMAT, bounds=bounds)


# ---------------------------------------------------------------- to the asker


@dataclass
class Wire(Register):
    """A register that answers over HTTP as it likes."""

    content_type: str = "text/xml"
    page: bytes | None = None

    post_many = one_by_one

    def post(self, *arguments: Any, **options: Any) -> Reply:
        genuine = super().post(*arguments, **options)
        return Reply(self.http_status, self.content_type, genuine.body if self.page is None else self.page)


def asked(store: Engine, keys: Keys, wire: Wire) -> AskResult:
    return asker(store, keys, wire).ask("cbdi", PERSON)


@pytest.mark.parametrize("content_type", ["", "text/html", "application/octet-stream", "text/xml; charset=utf-16"])
def test_the_content_type_of_a_reply_decides_nothing(store: Engine, keys: Keys, content_type: str) -> None:
    assert asked(store, keys, Wire(keys, content_type=content_type)).state is State.ANSWERED


@pytest.mark.parametrize("page", [b"<html><body>502</body></html>", b"", b"{}", b"<?xml version='1.0'?><ok/>"])
@pytest.mark.parametrize("status", [200, 500, 502])
def test_a_page_that_is_no_message_is_refused(store: Engine, keys: Keys, page: bytes, status: int) -> None:
    result = asked(store, keys, Wire(keys, page=page, http_status=status))
    assert (result.state, result.facts) == (State.REFUSED, ())


def test_a_fault_with_http_200_is_a_fault(store: Engine, keys: Keys) -> None:
    result = asked(store, keys, Wire(keys, fault=ErrorInfo("SCE004", "not now", NOW)))
    assert result.error is not None
    assert (result.state, result.facts) == (State.REFUSED, ())


def test_an_answer_with_http_500_is_what_its_signature_says(store: Engine, keys: Keys) -> None:
    assert asked(store, keys, Wire(keys, http_status=500)).state is State.ANSWERED


@pytest.mark.parametrize("status", [200, 500])
def test_an_unsigned_fault_is_told_and_not_trusted(store: Engine, keys: Keys, status: int) -> None:
    page = build_envelope(sync_channel.build_fault(ErrorInfo("SCE004", "not now", NOW)))
    result = asked(store, keys, Wire(keys, page=page, http_status=status))
    assert result.error is not None
    assert (result.state, result.error.code) == (State.REFUSED, "unsigned_fault")
    assert "unsigned fault, not trusted" in str(result.error)


def test_our_own_question_sent_back_is_no_answer(store: Engine, keys: Keys) -> None:
    result = asked(store, keys, Wire(keys, reflects=True))
    assert (result.state, result.facts) == (State.REFUSED, ())


def test_an_answer_under_our_own_key_is_refused(store: Engine, keys: Keys) -> None:
    result = asked(store, keys, Wire(keys, signer="gateway"))
    assert result.error is not None
    assert result.error.code == "own_signature"


def _with_longer_length(der: bytes) -> bytes:
    """The same certificate with the outer length written in one byte more than DER has it."""
    assert der[:2] == b"\x30\x82"
    return b"\x30\x83\x00" + der[2:]


# FOUND, not repaired here: gateway/exchange/ask.py, _check_signer, compares sha256 of the certificates. KeyInfo is not
# signed, so whoever carries the message may put in another encoding (or a renewed certificate) of the same key, and
# an answer under OUR key passes for the other side's. Repair: compare `spki_der`. Then take this mark away.
def test_an_answer_under_our_own_key_is_refused_in_whatever_encoding_its_certificate_comes(
    store: Engine, keys: Keys
) -> None:
    der = keys["gateway"].certificate.der
    wire = Wire(keys, signer="gateway", form=FORM)
    wire.change = lambda data: data.replace(b64encode(der), b64encode(_with_longer_length(der)))
    result = asked(store, keys, wire)
    assert result.state is State.REFUSED


@pytest.mark.parametrize("seen_before", [False, True])
def test_the_body_of_a_signer_who_is_not_trusted_is_not_even_digested(
    seen_before: bool, store: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[bytes] = []
    genuine, genuine_alike = wss.check_digest, frames.is_digest
    monkeypatch.setattr(frames, "_frames", {})
    monkeypatch.setattr(frames, "_made", {})

    def recording(info: Any, canonical: bytes) -> None:
        digested.append(canonical)
        genuine(info, canonical)

    def recording_alike(text: bytes, body: bytes, algorithm: Any) -> bool:
        digested.append(body)
        return genuine_alike(text, body, algorithm)

    target, echo = server(store, keys, Echo()), Echo()
    if seen_before:
        target.handle(question(keys), received_at=NOW)
    monkeypatch.setattr(wss, "check_digest", recording)
    monkeypatch.setattr(frames, "is_digest", recording_alike)
    trusted, data = question(keys), question(keys, "stranger")
    target.handle(trusted, received_at=NOW)
    assert any(canonical in trusted for canonical in digested), "this is how a digest would be seen"
    digested.clear()
    target.handle(data, received_at=NOW)
    assert echo.asked == []
    assert not any(canonical in data for canonical in digested)
