from __future__ import annotations

import pytest
from lxml import etree

from gateway.errors import MalformedMessage
from gateway.signing.isolation import isolated
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import canonicalize, parse, parse_canonical
from tests.signing.conftest import MESSAGE, Signer

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


def cut(message: str, path: str) -> str:
    """The element alone, as the receiver of a verified Body takes it out."""
    body = parse_canonical(canonicalize(parse(message.encode())[1]))
    return isolated(message.encode(), body.find(path), (0, 1)).decode()


def envelope(body: str, declarations: str = "") -> str:
    return f'<s:Envelope xmlns:s="{SOAP}"{declarations}><s:Header/><s:Body>{body}</s:Body></s:Envelope>'


@pytest.mark.parametrize(
    "literal",
    [
        "<data>text</data>",
        "<data/>",
        "<data />",
        '<data a=">" b="/>"/>',
        "<data\n  a = '1'\n>text</data\n>",
        '<data xmlns:unused="urn:u"><x xmlns:q="urn:q" t="q:name"/></data>',
        '<data xmlns="urn:d"><x xmlns=""/></data>',
        "<data><![CDATA[<x>]]>&amp;&#13;</data>",
        "<data><?work to do?><!-- gone --><x/></data>",
        "<data>ҚАЗАҚСТАН\r\n</data>",
        f'<data xmlns:s="{SOAP}"><s:x/></data>',
    ],
)
def test_an_element_is_taken_out_as_it_was_written(literal: str) -> None:
    message = envelope(f"<a/><?pi?>text<b><data>no</data>{literal}</b>tail")
    body = parse_canonical(canonicalize(parse(message.encode())[1]))
    found = isolated(message.encode(), body[2][1], (0, 1))
    assert found.decode() == literal


@pytest.mark.parametrize(
    ("written", "alone"),
    [
        ("<o:data/>", '<o:data xmlns:o="urn:o"/>'),
        ("<data><o:x/></data>", '<data xmlns:o="urn:o"><o:x/></data>'),
        ("<data><x o:a='1'/></data>", "<data xmlns:o=\"urn:o\"><x o:a='1'/></data>"),
        # a declaration that only a value needs is not one that the element's names need
        ("<data t='o:x'/>", "<data t='o:x'/>"),
    ],
)
def test_a_prefix_of_the_envelope_is_declared_on_the_element_only_when_its_names_need_it(
    written: str, alone: str
) -> None:
    message = envelope(f"<b o:used='1'>{written}</b>", ' xmlns:o="urn:o" xmlns:p="urn:p"')
    body = parse_canonical(canonicalize(parse(message.encode())[1]))
    assert isolated(message.encode(), body[0][0], (0, 1)).decode() == alone


def test_a_default_namespace_of_the_envelope_is_kept() -> None:
    message = envelope('<b xmlns="urn:d"><data><x/></data></b>')
    assert cut(message, "{urn:d}b/{urn:d}data") == '<data xmlns="urn:d"><x/></data>'


@pytest.mark.parametrize(
    "before", ["\ufeff", " \n", "\ufeff\r\n", '<?xml version="1.0" encoding="UTF-8"?>\n', "<?pi?>"]
)
def test_what_stands_before_the_envelope_does_not_shift_the_place(before: str) -> None:
    assert cut(before + envelope("<data>ә</data>"), "data") == "<data>ә</data>"


@pytest.mark.parametrize(
    "received",
    [b"", b"<a>", b"<a><x/></a>", b"<a><b>other</b></a>", b"<a/>", b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'],
)
def test_what_is_not_the_verified_element_is_refused(received: bytes) -> None:
    verified = parse(b"<a><b>this</b></a>")
    with pytest.raises(MalformedMessage) as caught:
        isolated(received, verified[0], (0,))
    assert caught.value.code == "not_isolated"


@pytest.mark.parametrize("form", [KeyInfoForm.KEY_IDENTIFIER, KeyInfoForm.BARE])
def test_a_verified_body_gives_its_elements_as_received(form: KeyInfoForm, signer: Signer) -> None:
    signed = sign_body(etree.fromstring(MESSAGE)[0], signer.key(), form=form)
    # what exclusive canonicalisation leaves out can be there on the wire without breaking the signature
    received = signed.replace(b"<data", b'<data  xmlns:late="urn:late"')
    for data in (received, parse(received)):
        verified = verify_envelope(data)
        element = verified.body.find(".//data")
        assert b"urn:late" not in verified.canonical
        assert b'xmlns:late="urn:late"' in verified.as_received(element)
        assert canonicalize(parse(verified.as_received(element))) == canonicalize(element)
