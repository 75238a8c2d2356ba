import pytest
from lxml import etree

from gateway.errors import MalformedMessage
from gateway.shep import names
from gateway.shep.envelope import build_envelope, split
from gateway.xml import parse

S = f'xmlns:s="{names.SOAP_11}"'
BODY = etree.fromstring(f"<soap:Body xmlns:soap='{names.SOAP_11}'><a/></soap:Body>")


def refusal(text: str) -> str:
    with pytest.raises(MalformedMessage) as refused:
        split(parse(text.encode()))
    return refused.value.code


def test_what_is_built_is_split_again() -> None:
    block = etree.fromstring("<w:Security xmlns:w='urn:w' xmlns:only='urn:in-a-value' kind='only:x'/>")
    header, body = split(parse(build_envelope(BODY, [block])))
    assert header is not None
    assert header[0].tag == "{urn:w}Security"
    assert header[0].nsmap["only"] == "urn:in-a-value"
    assert [child.tag for child in body] == ["a"]


def test_without_blocks_there_is_no_header() -> None:
    header, body = split(parse(build_envelope(BODY)))
    assert header is None
    assert body.tag == names.BODY


def test_building_leaves_its_parts_where_they_were() -> None:
    parent = etree.fromstring(f"<s:Envelope {S}><s:Body><a/></s:Body></s:Envelope>")
    build_envelope(parent[0])
    assert len(parent) == 1


def test_header_and_body_may_come_under_different_prefixes() -> None:
    text = (
        f'<x:Envelope xmlns:x="{names.SOAP_11}" {S}><s:Header/>'
        f'<Body xmlns="{names.SOAP_11}"><a xmlns=""/></Body></x:Envelope>'
    )
    header, body = split(parse(text.encode()))
    assert (header is not None, body[0].tag) == (True, "a")


@pytest.mark.parametrize(
    "text",
    [
        f"<s:Envelope {S}/>",
        f"<s:Envelope {S}><s:Header/></s:Envelope>",
        f"<s:Envelope {S}><s:Body/><s:Body/></s:Envelope>",
        f"<s:Envelope {S}><s:Header/><s:Header/><s:Body/></s:Envelope>",
        f"<s:Envelope {S}><s:Body/><s:Header/></s:Envelope>",
        f"<s:Envelope {S}><s:Header/><s:Body/><extra/></s:Envelope>",
        f"<s:Envelope {S}><wrapper/><s:Body/></s:Envelope>",
        f"<s:Envelope {S}><Body/></s:Envelope>",
        f'<s:Envelope {S}><Body xmlns="{names.SOAP_12}"/></s:Envelope>',
        f"<s:Envelope {S}><?pi x?><s:Body/></s:Envelope>",
        f"<s:Envelope {S}>text<s:Body/></s:Envelope>",
        f"<s:Envelope {S}><s:Body/>text</s:Envelope>",
        f"<s:Envelope {S}><s:Header/>text<s:Body/></s:Envelope>",
    ],
)
def test_anything_but_a_header_and_one_body_is_refused(text: str) -> None:
    assert refusal(text) == "envelope_structure"


def test_white_space_between_the_parts_is_nothing() -> None:
    split(parse(f"<s:Envelope {S}>\n <s:Header/>\n <s:Body/>\n</s:Envelope>".encode()))


def test_a_soap_12_envelope_is_a_version_mismatch() -> None:
    assert refusal(f'<e:Envelope xmlns:e="{names.SOAP_12}"><e:Body/></e:Envelope>') == "soap_version"


@pytest.mark.parametrize("text", ["<html/>", "<Envelope/>", f"<s:Body {S}/>"])
def test_another_root_is_not_an_envelope(text: str) -> None:
    assert refusal(text) == "not_an_envelope"
