"""Business signatures of payloads in every shape that carries one (SHEP.md 5.2)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.shep.payload import inner_document
from gateway.signing import business, names
from gateway.signing.business import VerifiedPayload, required_but_absent, sign_data, sign_payload, verify_payload
from gateway.signing.enveloped import sign_enveloped, verify_enveloped
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import XmlBounds, parse, to_bytes
from tests.signing.conftest import Known, Signer

ROOT = "{urn:register}Answer"
PAYLOAD = '<r:Answer xmlns:r="urn:register" xmlns:xs="urn:types" kind="xs:one"><r:life>GENUINE</r:life></r:Answer>'
DATA = '<data xmlns:xs="urn:types" kind="xs:one"><life>GENUINE</life></data>'


def signed(text: str, *signers: Signer) -> str:
    for signer in signers:
        text = sign_enveloped(etree.fromstring(text), signer.key()).decode()
    return text


SHAPES: dict[str, Callable[[str], str]] = {
    "live": lambda text: f"<data>{text}</data>",
    "live among white space": lambda text: f"<data>\n  {text}\n</data>",
    "escaped": lambda text: f"<data>{escape(text)}</data>",
    "escaped with a type": lambda text: (
        f'<data xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">{escape(text)}</data>'
    ),
    "CDATA": lambda text: f"<data><![CDATA[{text}]]></data>",
    "base64": lambda text: f"<data>{b64encode(text.encode()).decode()}</data>",
    "base64 wrapped": lambda text: f"<data>\r\n{b64encode(text.encode()).decode()}\r\n</data>",
}


def receive(
    data: str, signer: Signer, *, envelope: str = ' xmlns:xs="urn:other" xmlns:r="urn:register"', **changes: object
) -> VerifiedPayload | None:
    """`data` in a signed message whose envelope declares other things, and verified there."""
    message = (
        f'<s:Envelope xmlns:s="{names.SOAP_11}"><s:Body><op{envelope}><part>{data}</part></op></s:Body></s:Envelope>'
    )
    body = etree.fromstring(message)[0]
    wire = sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    # our own signing writes canonical bytes; others leave the declarations where they stood
    start = wire.index(b"<op")
    end = wire.index(b"</s:Body>") if b"</s:Body>" in wire else wire.index(b"</soap:Body>")
    wire = wire[:start] + message[message.index("<op") : message.index("</s:Body>")].encode() + wire[end:]
    verified = verify_envelope(wire)
    element = verified.body.find(".//data")
    return verify_payload(
        element,
        **{
            "root_name": ROOT,
            "inner_document": inner_document(element),
            "isolate": verified.as_received,
            **changes,
        },
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_signed_payload_holds_in_every_shape(shape: str, signer: Signer, stranger: Signer) -> None:
    found = receive(SHAPES[shape](signed(PAYLOAD, stranger, signer)), signer)
    assert found is not None
    assert not found.is_data
    assert found.element.tag == ROOT
    assert found.element.findtext("{urn:register}life") == "GENUINE"
    assert found.element.find(names.DS_SIGNATURE) is None
    assert [one.certificate for one in found.signatures] == [stranger.certificate, signer.certificate]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_signed_data_holds_with_the_declarations_it_was_signed_with(count: int, signer: Signer) -> None:
    found = receive(signed(DATA, *[signer] * count), signer)
    assert found is not None
    assert found.is_data
    assert found.element.findtext("life") == "GENUINE"
    assert len(found.signatures) == count


@pytest.mark.parametrize("shape", SHAPES)
def test_a_changed_payload_is_refused(shape: str, signer: Signer) -> None:
    with pytest.raises(SignatureRefused) as caught:
        receive(SHAPES[shape](signed(PAYLOAD, signer).replace("GENUINE", "ATTACKER")), signer)
    assert (caught.value.code, caught.value.step) == ("payload_digest", business.STEP)


def test_changed_data_is_refused(signer: Signer) -> None:
    data = signed(DATA, signer)
    for old, new in (("GENUINE", "ATTACKER"), ("urn:types", "urn:other"), ("</life>", "</life><more/>")):
        with pytest.raises(SignatureRefused) as caught:
            receive(data.replace(old, new), signer)
        assert caught.value.code in ("payload_digest", "payload_signature_value")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_payload_without_a_signature_is_told_as_such(shape: str, signer: Signer) -> None:
    assert receive(SHAPES[shape](PAYLOAD), signer) is None


@pytest.mark.parametrize(
    "data",
    [
        "<data/>",
        "<data><life>1</life></data>",
        "<data><life>1</life><more>2</more></data>",
        # a signature deeper inside is content: nobody said that it is about the payload
        f'<data><Answer><x><s:Signature xmlns:s="{names.DS}"/></x></Answer></data>',
        f'<data><life><s:Signature xmlns:s="{names.DS}"/></life></data>',
    ],
)
def test_a_signature_elsewhere_is_content(data: str, signer: Signer) -> None:
    assert receive(data, signer) is None


def test_an_empty_signature_is_a_broken_one(signer: Signer) -> None:
    with pytest.raises(SignatureRefused) as caught:
        receive(f'<data><life/><s:Signature xmlns:s="{names.DS}"/></data>', signer)
    assert caught.value.code == "payload_signature_shape"


def test_signatures_of_data_cover_a_signed_payload_inside(signer: Signer, stranger: Signer) -> None:
    found = receive(signed(f"<data>{signed(PAYLOAD, stranger)}</data>", signer), signer)
    assert found is not None
    assert found.is_data
    assert [one.certificate for one in found.signatures] == [signer.certificate]


def test_one_broken_signature_of_several_refuses_all(signer: Signer, stranger: Signer) -> None:
    good = signed(DATA, signer, stranger)
    first = good.index("<ds:SignatureValue>") + len("<ds:SignatureValue>")
    broken = good[:first] + ("B" if good[first] == "A" else "A") + good[first + 1 :]
    with pytest.raises(SignatureRefused):
        receive(broken, signer)


def test_a_removed_signature_of_several_is_noticed_by_the_later_ones(signer: Signer, stranger: Signer) -> None:
    good = signed(DATA, signer, stranger)
    start, end = good.index("<ds:Signature "), good.index("</ds:Signature>") + len("</ds:Signature>")
    with pytest.raises(SignatureRefused) as caught:
        receive(good[:start] + good[end:], signer)
    assert caught.value.code == "payload_digest"


def test_a_comment_changes_nothing_and_a_processing_instruction_does(signer: Signer) -> None:
    data = signed(PAYLOAD, signer)
    found = receive(f"<data>{data.replace('GENUINE', 'GEN<!-- x -->UINE')}</data>", signer)
    assert found is not None
    assert found.element.findtext("{urn:register}life") == "GENUINE"
    with pytest.raises(SignatureRefused) as caught:
        receive(f"<data>{data.replace('GENUINE', 'GEN<?x y?>UINE')}</data>", signer)
    assert caught.value.code == "payload_digest"


@pytest.mark.parametrize(("before", "after"), [("<?a b?>", ""), ("", "<?a b?>"), ("<!-- c --><?a b?>\n", "\n<?c d?>")])
def test_top_level_instructions_of_an_inner_document_are_signed(before: str, after: str, signer: Signer) -> None:
    data = signed(PAYLOAD, signer)
    with pytest.raises(SignatureRefused) as caught:
        receive(f"<data>{escape(before + data + after)}</data>", signer)
    assert caught.value.code == "payload_digest"


def test_comments_around_an_inner_document_are_not_signed(signer: Signer) -> None:
    text = f"<!-- before --><?xml-comment?>{signed(PAYLOAD, signer)}<!-- after -->".replace("<?xml-comment?>", "")
    assert receive(f"<data>{escape(text)}</data>", signer) is not None


def test_an_inner_document_is_bounded(signer: Signer) -> None:
    with pytest.raises(MalformedMessage) as caught:
        receive(f"<data>{escape(signed(PAYLOAD, signer))}</data>", signer, bounds=XmlBounds(max_bytes=100))
    assert caught.value.code == "too_large"


def test_a_named_signer_is_found_among_the_known(signer: Signer, known: Known) -> None:
    data = sign_enveloped(etree.fromstring(DATA), signer.key(), form=KeyInfoForm.ISSUER_SERIAL).decode()
    with pytest.raises(SignatureRefused) as caught:
        receive(data, signer)
    assert caught.value.code == "payload_certificate_unknown"
    assert receive(data, signer, certificates=known) is not None


def test_what_is_absent_says_so() -> None:
    error = required_but_absent()
    assert (error.code, error.step) == ("payload_unsigned", business.STEP)


# ---------------------------------------------------------------- what we sign ourselves


def test_our_own_signature_survives_our_own_transport_signature(signer: Signer) -> None:
    payload = sign_payload(etree.fromstring(f"<x xmlns:unused='urn:u'>{PAYLOAD}</x>")[0], signer.key())
    assert payload.getroottree().getroot() is payload
    for data in (f"<data>{to_bytes(payload).decode()}</data>", sign_data(DATA.encode(), signer.key()).decode()):
        message = f'<s:Envelope xmlns:s="{names.SOAP_11}"><s:Body><op xmlns="">{data}</op></s:Body></s:Envelope>'
        wire = sign_body(etree.fromstring(message)[0], signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
        verified = verify_envelope(wire)
        element = verified.body.find(".//data")
        found = verify_payload(
            element, root_name=ROOT, inner_document=inner_document(element), isolate=verified.as_received
        )
        assert found is not None
        assert "GENUINE" in "".join(found.element.itertext())


def test_our_own_signature_is_a_plain_enveloped_one(signer: Signer) -> None:
    assert verify_enveloped(sign_data(DATA.encode(), signer.key())).element.findtext("life") == "GENUINE"


@pytest.mark.parametrize("payload", ['<a xmlns="relative"/>', '<a xml:lang="kk"/>'])
def test_a_payload_that_cannot_be_signed_is_refused(payload: str, signer: Signer) -> None:
    with pytest.raises(MalformedMessage):
        sign_data(payload.encode(), signer.key())
    with pytest.raises(MalformedMessage):
        sign_payload(parse(payload.encode()), signer.key())
