"""What we made ourselves is accepted without a parse only where a full verification would accept it too."""

from __future__ import annotations

import contextlib
import re

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import own
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, sign_content, verify_envelope
from gateway.xml import DEFAULT_BOUNDS, XmlBounds
from tests.signing.conftest import Signer

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
FORM = KeyInfoForm.KEY_IDENTIFIER


def message(signer: Signer, inside: str = "<value>42</value>", form: KeyInfoForm = FORM) -> bytes:
    text = f"<soap:Body xmlns:soap='{SOAP}'><t:answer xmlns:t='urn:t'>{inside}</t:answer></soap:Body>"
    return sign_body(etree.fromstring(text), signer.key(), form=form)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Messages that were verified in full."""
    seen: list[bytes] = []
    full = own.check_own

    def noted(signed: bytes, *about: object) -> None:
        seen.append(signed)
        full(signed, *about)  # type: ignore[arg-type]

    monkeypatch.setattr(own, "check_own", noted)
    monkeypatch.setattr(own, "_frames", {})
    monkeypatch.setattr(own, "_shapes", set())
    return seen


@pytest.mark.parametrize("form", [form for form in KeyInfoForm if form is not KeyInfoForm.BARE])
def test_the_first_message_of_a_frame_is_parsed_and_the_next_one_is_not(
    form: KeyInfoForm, signer: Signer, parsed: list[bytes]
) -> None:
    first, second = message(signer, form=form), message(signer, "<value>43</value>", form)
    own.check_made(first, signer.certificate, DEFAULT_BOUNDS)
    own.check_made(second, signer.certificate, DEFAULT_BOUNDS)
    assert parsed == [first]


def test_a_message_signed_by_another_key_with_its_certificate_inside_is_not_ours(
    signer: Signer, stranger: Signer, parsed: list[bytes]
) -> None:
    for form in KeyInfoForm:
        with pytest.raises(SignatureRefused):
            own.check_made(message(stranger, form=form), signer.certificate, DEFAULT_BOUNDS)


def test_one_changed_byte_anywhere_is_judged_as_a_full_verification_judges_it(
    signer: Signer, parsed: list[bytes]
) -> None:
    signed = message(signer)
    own.check_made(signed, signer.certificate, DEFAULT_BOUNDS)
    parsed.clear()
    for place in range(0, len(signed), 3):
        changed = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
        with contextlib.suppress(SignatureRefused, MalformedMessage):
            own.check_made(changed, signer.certificate, DEFAULT_BOUNDS)
        assert parsed.pop() == changed, place
        assert not parsed


@pytest.mark.parametrize(
    "inside",
    [
        "<value>a &#13; b</value>",
        "<value a='&#9;'>42</value>",
        "<value ID='a'>42</value>",
        "<value ns='x' n:id='a' xmlns:n='urn:n'>42</value>",
        "<value>42</value><?pi said?>",
        "<value>" + "<a></a>" * 70 + "</value>",
        "<value>" + "x" * 9_000 + "</value>",
    ],
)
def test_a_body_that_is_not_plain_is_always_parsed(inside: str, signer: Signer, parsed: list[bytes]) -> None:
    own.check_made(message(signer), signer.certificate, DEFAULT_BOUNDS)
    parsed.clear()
    signed = message(signer, inside)
    own.check_made(signed, signer.certificate, DEFAULT_BOUNDS)
    assert parsed == [signed]


def test_a_text_that_carries_xml_is_accepted_without_a_parse(signer: Signer, parsed: list[bytes]) -> None:
    own.check_made(message(signer), signer.certificate, DEFAULT_BOUNDS)
    parsed.clear()
    inside = "<data>&lt;a:b xmlns:a=&quot;urn:a&quot;&gt;1 &amp;amp; 2&lt;/a:b&gt;</data>"
    own.check_made(message(signer, inside), signer.certificate, DEFAULT_BOUNDS)
    assert parsed == []


@pytest.mark.parametrize("name", ["urn:a&amp;b", "urn:a&amp;lt;b", "urn:a&amp;amp;b"])
def test_a_namespace_that_cannot_be_read_again_is_verified_in_full(
    name: str, signer: Signer, parsed: list[bytes]
) -> None:
    own.check_made(message(signer), signer.certificate, DEFAULT_BOUNDS)
    parsed.clear()
    signed = message(signer, f"<n:v xmlns:n='{name}'/>")
    with contextlib.suppress(MalformedMessage, SignatureRefused):
        own.check_made(signed, signer.certificate, DEFAULT_BOUNDS)
    assert parsed == [signed]


def test_a_namespace_that_cannot_be_read_again_is_refused(signer: Signer, parsed: list[bytes]) -> None:
    own.check_made(message(signer), signer.certificate, DEFAULT_BOUNDS)
    with pytest.raises(MalformedMessage):
        own.check_made(message(signer, "<n:v xmlns:n='urn:a&amp;b'/>"), signer.certificate, DEFAULT_BOUNDS)


def test_the_signature_of_another_message_is_refused(signer: Signer, parsed: list[bytes]) -> None:
    first, second = message(signer), message(signer, "<value>43</value>")
    own.check_made(first, signer.certificate, DEFAULT_BOUNDS)
    value = re.compile(rb"<ds:SignatureValue>[^<]*")
    with pytest.raises(SignatureRefused) as refused:
        own.check_made(value.sub(value.findall(first)[0], second), signer.certificate, DEFAULT_BOUNDS)
    assert refused.value.code == "signature_value"


def test_a_message_over_a_bound_is_refused_although_its_frame_is_known(signer: Signer, parsed: list[bytes]) -> None:
    bounds = XmlBounds(max_bytes=len(message(signer)) + 100)
    own.check_made(message(signer), signer.certificate, bounds)
    with pytest.raises(MalformedMessage):
        own.check_made(message(signer, "<value>" + "4" * 200 + "</value>"), signer.certificate, bounds)


# ---------------------------------------------------------------- what was written without libxml2


def written(signer: Signer, inside: str = "<value>42</value>", form: KeyInfoForm = FORM) -> bytes:
    return sign_content(f'<t:answer xmlns:t="urn:t">{inside}</t:answer>'.encode(), signer.key(), form=form)


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_a_written_content_is_signed_as_its_tree_would_be(
    form: KeyInfoForm, signer: Signer, parsed: list[bytes]
) -> None:
    made, by_tree = written(signer, form=form), message(signer, form=form)

    class Known:
        def find(self, *_: object) -> object:
            return signer.certificate

    bodies = [verify_envelope(data, certificates=Known()).canonical for data in (made, by_tree)]  # type: ignore[arg-type]
    assert len({re.sub(rb"id-[0-9a-f-]{36}", b"", body) for body in bodies}) == 1
    assert len(made) == len(by_tree)


def test_the_first_body_of_a_shape_is_parsed_and_the_next_one_is_not(signer: Signer, parsed: list[bytes]) -> None:
    first, second = written(signer), written(signer, "<value>Ұлттық қор</value>")
    other = written(signer, "<value>42</value><value>43</value>")
    for data in (first, second, other, other):
        own.check_written(data, signer.certificate, DEFAULT_BOUNDS)
    assert parsed == [first, other]


@pytest.mark.parametrize(
    "inside",
    ["<value>a > b</value>", "<value/>", "<value >42</value>", "<v:value>42</v:value>"],
)
def test_a_content_that_is_not_canonical_is_refused_and_its_shape_is_not_kept(
    inside: str, signer: Signer, parsed: list[bytes]
) -> None:
    own.check_written(written(signer), signer.certificate, DEFAULT_BOUNDS)
    for _ in range(2):
        data = written(signer, inside)
        parsed.clear()
        with pytest.raises((SignatureRefused, MalformedMessage)):
            own.check_written(data, signer.certificate, DEFAULT_BOUNDS)
        assert parsed == [data]


@pytest.mark.parametrize("text", [b"a\x01b", b"a\rb", b"\xff", b"\xef\xbf\xbe", b"a<b", b"a&b"])
def test_a_text_that_is_no_text_of_xml_is_refused_although_the_shape_is_known(
    text: bytes, signer: Signer, parsed: list[bytes]
) -> None:
    own.check_written(written(signer), signer.certificate, DEFAULT_BOUNDS)
    content = b'<t:answer xmlns:t="urn:t"><value>' + text + b"</value></t:answer>"
    with pytest.raises((SignatureRefused, MalformedMessage)):
        own.check_written(sign_content(content, signer.key(), form=FORM), signer.certificate, DEFAULT_BOUNDS)


def test_one_changed_byte_of_a_written_message_is_never_accepted_without_a_parse(
    signer: Signer, parsed: list[bytes]
) -> None:
    signed = written(signer)
    own.check_written(signed, signer.certificate, DEFAULT_BOUNDS)
    own.check_written(signed, signer.certificate, DEFAULT_BOUNDS)
    parsed.clear()
    for place in range(0, len(signed), 3):
        changed = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
        with contextlib.suppress(SignatureRefused, MalformedMessage):
            own.check_written(changed, signer.certificate, DEFAULT_BOUNDS)
        assert parsed.pop() == changed, place
        assert not parsed


def test_shapes_are_bounded_and_a_large_body_has_none(
    signer: Signer, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "_MAX_SHAPES", 3)
    for count in range(1, 8):
        own.check_written(written(signer, "<value>42</value>" * count), signer.certificate, DEFAULT_BOUNDS)
        assert len(own._shapes) <= 3
    parsed.clear()
    large = written(signer, "<value>" + "4" * 20_000 + "</value>")
    for _ in range(2):
        own.check_written(large, signer.certificate, DEFAULT_BOUNDS)
    assert parsed == [large, large]
