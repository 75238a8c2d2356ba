"""A message that looks like one verified before is judged exactly as a full verification judges it."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused, TrustRefused
from gateway.signing import frames
from gateway.signing.certificate import Certificate
from gateway.signing.frames import verify_alike
from gateway.signing.key_info import NO_CERTIFICATES, CertificateIndex, KeyInfoForm
from gateway.signing.keys import SoftwareKey
from gateway.signing.wss import VerifiedBody, sign_body, verify_envelope
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, canonicalize
from tests.signing.conftest import AnySigner, Known, Signer

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
FORM = KeyInfoForm.KEY_IDENTIFIER
TEXT = "<t:value>42</t:value>"


def message(signer: AnySigner, inside: str = TEXT, form: KeyInfoForm = FORM) -> bytes:
    text = f"<soap:Body xmlns:soap='{SOAP}'><t:answer xmlns:t='urn:t'>{inside}</t:answer></soap:Body>"
    return sign_body(etree.fromstring(text), signer.key(), form=form)


def anyone(_: Certificate) -> None:
    """Whoever signs may."""


def verified(
    data: bytes, known: CertificateIndex = NO_CERTIFICATES, bounds: XmlBounds = DEFAULT_BOUNDS
) -> VerifiedBody:
    return verify_alike(data, certificates=known, bounds=bounds, judge=anyone)


def outcome(data: bytes, known: CertificateIndex = NO_CERTIFICATES) -> tuple[object, ...]:
    """What the full verification says of a message."""
    try:
        body = verify_envelope(data, certificates=known)
    except (SignatureRefused, MalformedMessage) as error:
        return type(error), error.code
    return said(body)


def said(body: VerifiedBody) -> tuple[object, ...]:
    return (
        body.canonical,
        canonicalize(body.body),
        body.certificate,
        body.algorithm,
        body.key_info_form,
        body.digest,
    )


@pytest.fixture
def in_full(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Messages that were verified in full; nothing was seen before."""
    seen: list[bytes] = []

    def noted(data: bytes, **how: object) -> VerifiedBody:
        seen.append(data)
        return verify_envelope(data, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(frames, "verify_envelope", noted)
    monkeypatch.setattr(frames, "_frames", {})
    monkeypatch.setattr(frames, "_made", {})
    return seen


@pytest.mark.parametrize("form", list(KeyInfoForm))
@pytest.mark.parametrize("family", ["rsa", "ec-p256", "gost-2015-512"])
def test_the_second_message_of_a_sender_is_not_read_in_full_and_says_the_same(
    family: str, form: KeyInfoForm, signers: dict[str, AnySigner], known: Known, in_full: list[bytes]
) -> None:
    first, second = (message(signers[family], f"<t:value>{number}</t:value>", form) for number in (42, 43))
    verified(first, known)
    again = verified(second, known)
    assert in_full == [first]
    assert said(again) == outcome(second, known)
    assert [step.name for step in again.steps] == ["structure", "signature_value", "digest"]
    assert again.body is again.body
    assert again.as_received(again.body[0]).startswith(b"<t:answer")


def test_one_changed_byte_anywhere_is_judged_as_the_full_verification_judges_it(
    signer: Signer, in_full: list[bytes]
) -> None:
    verified(message(signer))
    data = message(signer)
    assert said(verified(data)) == outcome(data)
    for place in range(0, len(data), 2):
        for changed in (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], data[:place] + data[place + 1 :]):
            try:
                found: tuple[object, ...] = said(verified(changed))
            except (SignatureRefused, MalformedMessage) as error:
                found = type(error), error.code
            assert found == outcome(changed), place


#: what a Body may look like on the wire and is not its canonical form
NOT_CANONICAL = [
    ("42</t:value>", "42</t:value><!-- unsigned -->"),
    ("<t:value>42</t:value>", "<t:value ><![CDATA[42]]></t:value>"),
    ("42", "&#52;2"),
    ("</t:answer>", "</t:answer\n>"),
    ('<t:answer xmlns:t="urn:t">', "<t:answer xmlns:t='urn:t'>"),
]


@pytest.mark.parametrize(("canonical", "written"), NOT_CANONICAL)
def test_a_body_that_is_not_written_in_canonical_form_is_verified_in_full(
    canonical: str, written: str, signer: Signer, in_full: list[bytes]
) -> None:
    verified(message(signer))
    data = message(signer).replace(canonical.encode(), written.encode())
    assert said(verified(data)) == outcome(data)
    assert in_full[-1] == data


def signed_as_it_is(signer: Signer, data: bytes) -> bytes:
    """The message with the digest of its Body as it stands, whatever that is, signed by the genuine key."""
    key: SoftwareKey = signer.key()
    start, end = data.index(b"<soap:Body"), data.index(b"</soap:Envelope>")
    digest = b64encode(hashlib.sha256(data[start:end]).digest())
    data = re.sub(rb"(<ds:DigestValue>)[^<]*", lambda found: found[1] + digest, data)
    info = re.search(rb"<ds:SignedInfo>.*</ds:SignedInfo>", data)
    assert info is not None
    canonical = info[0].replace(b"<ds:SignedInfo>", b'<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">')
    value = b64encode(key.sign(canonical))
    return re.sub(rb"(<ds:SignatureValue>)[^<]*", lambda found: found[1] + value, data)


@pytest.mark.parametrize(
    ("canonical", "written"),
    [
        *NOT_CANONICAL,
        # ids that are there twice, in the Body or in the Body and the Header
        ("<t:value>", '<t:value Id="twice"></t:value><t:value Id="twice">'),
        ("<t:value>", '<t:value ID="{id}">'),
        # one that reads as another document when it stands alone
        ("<t:value>", '<t:value xml:lang="kk"><?pi said?>'),
        ("<t:value>42", "<t:value>\ud842".encode("utf-8", "surrogatepass").decode("latin-1")),
        # the Body ends, and another one begins
        ("</soap:Body>", "</soap:Body><soap:Body></soap:Body>"),
        ("</t:answer>", "</t:answer></soap:Body><soap:Body>"),
    ],
)
def test_what_a_sender_signs_as_it_stands_is_judged_as_the_full_verification_judges_it(
    canonical: str, written: str, signer: Signer, in_full: list[bytes]
) -> None:
    pattern = message(signer)
    verified(pattern)
    data = message(signer)
    body_id = re.findall(rb'URI="#([^"]*)"', data)[0].decode()
    data = signed_as_it_is(signer, data.replace(canonical.encode(), written.replace("{id}", body_id).encode("latin-1")))
    try:
        found: tuple[object, ...] = said(verified(data))
    except (SignatureRefused, MalformedMessage) as error:
        found = type(error), error.code
    assert found == outcome(data)


def test_signing_as_it_stands_makes_what_is_accepted(signer: Signer, in_full: list[bytes]) -> None:
    verified(message(signer))
    data = signed_as_it_is(signer, message(signer).replace(b">42<", b">43<"))
    assert verified(data).body[0][0].text == "43"
    assert data not in in_full, "so the cases above are refused for what they say, and not for how they are signed"


def test_an_id_of_the_header_may_not_stand_in_the_body_again(signer: Signer, in_full: list[bytes]) -> None:
    def with_block(data: bytes) -> bytes:
        return data.replace(b"</soap:Header>", b'<x Id="there"/></soap:Header>')

    verified(with_block(message(signer)))
    again = with_block(signed_as_it_is(signer, message(signer).replace(b"<t:value>", b'<t:value Id="there">')))
    with pytest.raises(SignatureRefused) as refused:
        verified(again)
    assert refused.value.code == "duplicate_id"


def test_a_default_namespace_of_the_envelope_reaches_into_the_body_and_makes_no_pattern(
    signer: Signer, in_full: list[bytes]
) -> None:
    def inside(data: bytes) -> bytes:
        return data.replace(b"<soap:Envelope ", b'<soap:Envelope xmlns="urn:other" ')

    verified(inside(message(signer)))
    # un-namespaced where it was signed, in urn:other where it stands
    with pytest.raises(SignatureRefused) as refused:
        verified(inside(message(signer, "<value>42</value>")))
    assert refused.value.code == "digest"
    assert len(in_full) == 2


def test_a_place_that_only_looks_like_the_one_that_is_signed_makes_no_pattern(
    signer: Signer, in_full: list[bytes]
) -> None:
    """An unsigned block in front of the signature repeats its reference."""

    def with_block(data: bytes) -> bytes:
        body_id = re.findall(rb'URI="#([^"]*)"', data)[0]
        return data.replace(b"<soap:Header>", b'<soap:Header><x URI="#' + body_id + b'"/>')

    for _ in range(2):
        data = with_block(message(signer))
        assert said(verified(data)) == outcome(data)
    assert len(in_full) == 2


def test_the_signer_is_judged_every_time_and_before_the_body_is_digested(
    signer: Signer, in_full: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    verified(message(signer))
    digested: list[bytes] = []
    monkeypatch.setattr(frames, "is_digest", lambda *_: digested.append(b""))

    def refuse(certificate: Certificate) -> None:
        raise TrustRefused("revoked", certificate.label, step="revocation")

    with pytest.raises(TrustRefused):
        verify_alike(message(signer), certificates=NO_CERTIFICATES, bounds=DEFAULT_BOUNDS, judge=refuse)
    assert digested == []


def test_a_certificate_that_is_only_named_has_to_be_known_still(
    signer: Signer, known: Known, in_full: list[bytes]
) -> None:
    verified(message(signer, form=KeyInfoForm.ISSUER_SERIAL), known)
    with pytest.raises(SignatureRefused) as refused:
        verified(message(signer, form=KeyInfoForm.ISSUER_SERIAL))
    assert refused.value.code == "certificate_unknown"


@pytest.mark.parametrize(
    ("inside", "bounds", "code"),
    [
        ("<t:a>" * 8 + "</t:a>" * 8, XmlBounds(max_depth=9), "too_deep"),
        (TEXT * 20, XmlBounds(max_elements=20), "too_many_elements"),
        ("<t:value>" + "4" * 3_000 + "</t:value>", XmlBounds(max_bytes=4_500), "too_large"),
    ],
)
def test_bounds_hold_for_a_message_that_looks_like_one_within_them(
    inside: str, bounds: XmlBounds, code: str, signer: Signer, in_full: list[bytes]
) -> None:
    verified(message(signer), bounds=bounds)
    with pytest.raises(MalformedMessage) as refused:
        verified(message(signer, inside), bounds=bounds)
    assert refused.value.code == code


def test_other_bounds_are_looked_at_by_the_full_verification(signer: Signer, in_full: list[bytes]) -> None:
    verified(message(signer))
    verified(message(signer), bounds=XmlBounds(max_depth=10))
    assert len(in_full) == 2


def test_a_sender_whose_headers_are_never_the_same_is_no_longer_learnt(
    signer: Signer, stranger: Signer, in_full: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        verified(message(signer).replace(b"</soap:Header>", b"<x>%d</x></soap:Header>" % number))
    assert len(frames._frames) == frames._MAX_OF_ONE_SIGNER
    # what is kept is bounded, and begins anew
    monkeypatch.setattr(frames, "_MAX_FRAMES", frames._MAX_OF_ONE_SIGNER)
    verified(message(stranger))
    assert len(frames._frames) == 1


def test_what_is_large_has_no_pattern(signer: Signer, in_full: list[bytes]) -> None:
    for _ in range(2):
        verified(message(signer, "<t:value>" + "4" * 70_000 + "</t:value>"))
        verified(message(signer).replace(b"</soap:Header>", b"<x>" + b"4" * 20_000 + b"</x></soap:Header>"))
    assert len(in_full) == 4


def test_what_is_no_message_is_refused_as_ever(signer: Signer, in_full: list[bytes]) -> None:
    for data in (b"", b"<x/>", message(signer)[:2_000]):
        with pytest.raises(MalformedMessage):
            verified(data)
