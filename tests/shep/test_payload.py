import base64
import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import ConfigurationError, MalformedMessage
from gateway.shep import names
from gateway.shep.envelope import build_envelope, split
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ResponseInfo, SyncResponse
from gateway.shep.payload import PayloadCodec, decode, encode
from gateway.shep.sync_channel import build_response, read_reply
from gateway.xml import XmlBounds, canonicalize, parse

XSI = f'xmlns:xsi="{names.XSI}"'
ROOT = "{urn:register}Request"
ESCAPED = "&lt;Request&gt;&lt;iin&gt;1&lt;/iin&gt;&lt;/Request&gt;"
TEXT_CODECS = [PayloadCodec.ESCAPED_TEXT, PayloadCodec.CDATA, PayloadCodec.BASE64]


def element(text: str) -> etree._Element:
    return etree.fromstring(text)


def sent(payload: etree._Element, codec: PayloadCodec) -> etree._Element:
    """`data` as the other side sees it: inside of the channel's elements, and after the bytes."""
    body = build_response(ResponseInfo("m", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), SUCCESS), payload, codec)
    answer = read_reply(split(parse(build_envelope(body)))[1])
    assert isinstance(answer, SyncResponse)
    assert answer.data is not None
    return answer.data


def shape(node: etree._Element) -> object:
    """What an element means, with prefixes in `xsi:type` resolved and prefixes of tags forgotten."""
    attributes = dict(node.items())
    prefix, colon, name = str(attributes.pop(names.XSI_TYPE, "")).rpartition(":")
    typed = (node.nsmap[prefix] if colon else "", name)
    return node.tag, sorted(attributes.items()), typed, (node.text or "").strip(), [shape(child) for child in node]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(MalformedMessage) as refused:
        call()
    return refused.value.code


# ---------------------------------------------------------------- every codec carries every payload

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
child_names = st.sampled_from(["iin", "q:Person", "qq:Person", "o:note", "Person", "қала", "list"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Payloads with qualified and unqualified children, and the same namespace under several prefixes."""

    def fields(depth: int) -> str:
        parts = []
        for _ in range(draw(st.integers(0, 3))):
            name = draw(child_names)
            extra = draw(
                st.sampled_from(
                    [
                        "",
                        ' xsi:type="q:T"',
                        ' xmlns:z="urn:register" xsi:type="z:T"',
                        ' xmlns:q="urn:q2" xsi:type="q:T"',
                    ]
                )
            )
            if name.startswith("q:") and "urn:q2" in extra:
                extra = ""
            inner = fields(depth - 1) if depth and draw(st.booleans()) else escape(draw(texts))
            parts.append(f"<{name}{extra} note={quoteattr(draw(texts))}>{inner}</{name}>")
        return "".join(parts)

    declarations = f'xmlns:q="urn:register" xmlns:qq="urn:register" xmlns:o="urn:other" {XSI}'
    default = draw(st.sampled_from(["", ' xmlns="urn:register"', ' xmlns="urn:default"']))
    return f"<q:Request {declarations}{default}>{fields(2)}</q:Request>"


@given(documents(), st.sampled_from(PayloadCodec), st.sampled_from(PayloadCodec))
def test_a_payload_survives_every_codec_whatever_codec_the_reader_expects(
    text: str, written: PayloadCodec, expected: PayloadCodec
) -> None:
    payload = element(text)
    before = etree.tostring(payload)
    data = sent(payload, written)
    if len(payload) or written not in (PayloadCodec.CHILDREN, PayloadCodec.TYPED_CHILDREN):
        assert shape(decode(data, expected, root_name=ROOT)) == shape(payload)
    assert etree.tostring(payload) == before


@given(documents(), st.sampled_from(PayloadCodec))
def test_a_payload_inside_of_another_document_keeps_what_it_inherits(text: str, codec: PayloadCodec) -> None:
    inner = text.replace('xmlns:q="urn:register" ', "", 1)
    payload = element(f'<wrap xmlns:q="urn:register">{inner}<after/>tail</wrap>')[0]
    payload.tail = "not part of it"
    data = sent(payload, codec)
    if len(payload):
        assert shape(decode(data, codec, root_name=ROOT)) == shape(payload)


# ---------------------------------------------------------------- what is written


def test_the_six_shapes_on_the_wire() -> None:
    payload = element('<cs:Request xmlns:cs="urn:register"><iin>1 &amp; 2</iin></cs:Request>')
    written = etree.tostring(payload).decode()
    bare = {codec: sent(payload, codec) for codec in PayloadCodec}
    assert [child.tag for child in bare[PayloadCodec.CHILDREN]] == ["iin"]
    assert bare[PayloadCodec.CHILDREN].items() == []
    assert bare[PayloadCodec.TYPED_CHILDREN].get(names.XSI_TYPE) == "cs:Request"
    assert bare[PayloadCodec.TYPED_CHILDREN].nsmap["cs"] == "urn:register"
    assert [child.tag for child in bare[PayloadCodec.ELEMENT]] == [ROOT]
    assert bare[PayloadCodec.ESCAPED_TEXT].text == written
    assert bare[PayloadCodec.CDATA].text == written
    assert bare[PayloadCodec.BASE64].text == base64.b64encode(written.encode()).decode()


def test_cdata_is_a_cdata_section_until_it_is_canonicalised() -> None:
    info = ResponseInfo("m", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), SUCCESS)
    body = build_response(info, element("<Request/>"), PayloadCodec.CDATA)
    assert b"<data><![CDATA[<Request/>]]></data>" in build_envelope(body)
    assert b"<data>&lt;Request/&gt;</data>" in canonicalize(body)


def test_declarations_are_written_once() -> None:
    payload = element(f'<q:Request xmlns:q="urn:register" {XSI}><a xsi:type="q:A"/><b/></q:Request>')
    assert encode(payload, PayloadCodec.TYPED_CHILDREN) == (
        f'<data xmlns:q="urn:register" {XSI} xsi:type="q:Request"><a xsi:type="q:A"/><b/></data>'.encode()
    )


def test_a_type_without_a_namespace_has_no_prefix() -> None:
    data = sent(element("<getUserDataRequest><uin/></getUserDataRequest>"), PayloadCodec.TYPED_CHILDREN)
    assert data.get(names.XSI_TYPE) == "getUserDataRequest"


def test_a_payload_in_a_default_namespace_gets_a_prefix_for_its_type() -> None:
    payload = element('<Request xmlns="urn:register" xmlns:cs="urn:taken" id="7"><a xmlns=""/></Request>')
    data = sent(payload, PayloadCodec.TYPED_CHILDREN)
    assert data.get("id") == "7"
    prefix = str(data.get(names.XSI_TYPE)).partition(":")[0]
    assert prefix != "cs"
    assert data.nsmap[prefix] == "urn:register"
    assert [child.tag for child in data] == ["a"]


def test_attributes_of_the_payload_go_with_its_children() -> None:
    payload = element(f'<q:Request xmlns:q="urn:register" {XSI} id="7" xsi:type="q:Special"><a/></q:Request>')
    data = sent(payload, PayloadCodec.CHILDREN)
    assert (data.get("id"), data.get(names.XSI_TYPE)) == ("7", "q:Special")
    assert decode(data, PayloadCodec.CHILDREN, root_name=ROOT).items() == [("id", "7")]


def test_an_unresolvable_type_is_carried_as_it_is() -> None:
    data = sent(element(f'<Request {XSI}><a xsi:type="gone:T"/></Request>'), PayloadCodec.CHILDREN)
    assert data[0].get(names.XSI_TYPE) == "gone:T"


@pytest.mark.parametrize("codec", [PayloadCodec.CHILDREN, PayloadCodec.TYPED_CHILDREN])
@pytest.mark.parametrize("text", ["<Request>text</Request>", "<Request><a/>text</Request>"])
def test_text_beside_the_children_is_refused_and_not_lost(text: str, codec: PayloadCodec) -> None:
    with pytest.raises(ConfigurationError, match="'element'"):
        encode(element(text), codec)


def test_comments_of_a_payload_are_not_its_children() -> None:
    data = sent(element("<Request><!-- c --><a/></Request>"), PayloadCodec.CHILDREN)
    assert [child.tag for child in decode(data, PayloadCodec.CHILDREN, root_name="Request")] == ["a"]


def test_a_payload_with_the_end_of_a_cdata_section_in_it_is_escaped() -> None:
    payload = etree.Element("Request")
    payload.text = etree.CDATA("x")
    data = sent(payload, PayloadCodec.CDATA)
    assert data.text == "<Request><![CDATA[x]]></Request>"
    assert decode(data, PayloadCodec.CDATA, root_name="Request").text == "x"


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    "text",
    [
        "<data><iin>1</iin></data>",
        f'<data xmlns:cs="urn:register" {XSI} xsi:type="cs:Request"><iin>1</iin></data>',
        f'<data {XSI} xsi:type="gone:Request"><iin>1</iin></data>',
        f'<data {XSI} xsi:type=""><iin>1</iin></data>',
        '<data><q:Request xmlns:q="urn:register"><iin>1</iin></q:Request></data>',
        "<data>\n  <Request>\n<iin>1</iin></Request>\n</data>",
        '<data><q:Request xmlns:q="urn:other"><iin>1</iin></q:Request></data>',
        f'<data xmlns:xs="urn:xs" {XSI} xsi:type="xs:string">{ESCAPED}</data>',
        "<data>\n<![CDATA[<?xml version='1.0'?>\n<Request><iin>1</iin></Request>]]>\n</data>",
        "<data>&#xFEFF;&lt;?xml version='1.0' encoding='utf-16'?&gt;" + ESCAPED + "</data>",
        f"<data>{base64.b64encode(b'<Request><iin>1</iin></Request>').decode()}</data>",
        f"<data>{base64.encodebytes(b'<Request>          <iin>1</iin>              </Request>').decode()}</data>",
    ],
)
@pytest.mark.parametrize("codec", PayloadCodec)
def test_every_shape_is_recognised_under_every_codec(text: str, codec: PayloadCodec) -> None:
    payload = decode(element(text), codec, root_name=ROOT)
    assert payload.tag == ROOT
    assert [(child.tag, child.text) for child in payload] == [("iin", "1")]
    assert payload.getparent() is None


def test_a_payload_whose_only_field_has_its_own_name_is_told_apart_by_the_type() -> None:
    inner = "<Request>inner</Request>"
    typed = element(f'<data xmlns:cs="urn:register" {XSI} xsi:type="cs:Request">{inner}</data>')
    plain = element(f"<data>{inner}</data>")
    assert [child.text for child in decode(typed, PayloadCodec.CHILDREN, root_name=ROOT)] == ["inner"]
    assert decode(plain, PayloadCodec.CHILDREN, root_name=ROOT).text == "inner"


def test_a_business_signature_is_not_a_field_of_the_payload() -> None:
    data = element(f'<data><persons/><d:Signature xmlns:d="{names.DS}"/></data>')
    assert [child.tag for child in decode(data, PayloadCodec.CHILDREN, root_name=ROOT)] == ["persons"]
    assert len(data) == 2


@pytest.mark.parametrize("codec", [PayloadCodec.CHILDREN, PayloadCodec.TYPED_CHILDREN])
def test_empty_data_is_a_payload_without_fields_where_children_are_expected(codec: PayloadCodec) -> None:
    payload = decode(element(f'<data a="1" {XSI} xsi:type="x"> </data>'), codec, root_name=ROOT)
    assert (payload.tag, len(payload), payload.items()) == (ROOT, 0, [("a", "1")])


@pytest.mark.parametrize("codec", [PayloadCodec.ELEMENT, *TEXT_CODECS])
def test_empty_data_is_no_payload_elsewhere(codec: PayloadCodec) -> None:
    assert code_of(lambda: decode(element("<data/>"), codec, root_name=ROOT)) == "no_payload"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<data>text<iin>1</iin></data>", "ambiguous_payload"),
        ("<data>&lt;Request/&gt;<Request/></data>", "ambiguous_payload"),
        ("<data><?pi x?></data>", "unreadable_payload"),
        ("<data><iin/><?pi x?></data>", "unreadable_payload"),
        ("<data>not base64!</data>", "unreadable_payload"),
        ("<data>кирилл</data>", "unreadable_payload"),
        ("<data>AAAAA</data>", "unreadable_payload"),
        ("<data>A=AA</data>", "unreadable_payload"),
        ("<data>AAAA</data>", "encoding"),
        ("<data>cGxhaW4gdGV4dA==</data>", "not_xml"),
        ("<data>&lt;Request&gt;</data>", "not_xml"),
        ("<data>&lt;Request/&gt;&lt;Request/&gt;</data>", "not_xml"),
        ("<data>&lt;Other/&gt;</data>", "unexpected_payload"),
        ("<data><![CDATA[<!DOCTYPE r [<!ENTITY a 'b'>]><Request>&a;</Request>]]></data>", "doctype"),
        ("<data><![CDATA[<?xml version='1.0'?><!DOCTYPE Request><Request/>]]></data>", "doctype"),
        (f"<data>{base64.b64encode(b'<!DOCTYPE Request><Request/>').decode()}</data>", "doctype"),
        ("<data><![CDATA[<Request>&undefined;</Request>]]></data>", "not_xml"),
        (f"<data><![CDATA[{'<Request>' * 90}{'</Request>' * 90}]]></data>", "too_deep"),
    ],
)
def test_hostile_and_broken_payloads_are_refused(text: str, code: str) -> None:
    assert code_of(lambda: decode(element(text), PayloadCodec.ESCAPED_TEXT, root_name=ROOT)) == code


def test_an_inner_document_has_the_bounds_that_the_caller_gives() -> None:
    data = element("<data>&lt;Request&gt;&lt;a/&gt;&lt;a/&gt;&lt;/Request&gt;</data>")
    bounds = XmlBounds(max_elements=2)
    call = lambda: decode(data, PayloadCodec.ESCAPED_TEXT, root_name="Request", bounds=bounds)  # noqa: E731
    assert code_of(call) == "too_many_elements"


def test_an_entity_that_is_only_text_stays_text() -> None:
    data = element("<data>&lt;Request&gt;&amp;amp;lt;!ENTITY&lt;/Request&gt;</data>")
    assert decode(data, PayloadCodec.ESCAPED_TEXT, root_name="Request").text == "&lt;!ENTITY"


@given(st.text(max_size=60))
def test_no_text_in_data_does_more_than_be_refused(text: str) -> None:
    data = etree.Element("data")
    try:
        data.text = text
    except ValueError:
        return
    with suppress(MalformedMessage):
        decode(data, PayloadCodec.ESCAPED_TEXT, root_name="Request")
