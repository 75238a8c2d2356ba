"""One byte of a signed message changed: refused, or what is handed on has the same canonical bytes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing.enveloped import sign_enveloped, verify_enveloped
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import canonicalize
from tests.signing.conftest import MESSAGE, Known, Signer

#: what may stand at a place: markup, white space, digits of base64, bytes that are not UTF-8
BYTES = st.sampled_from(list(b"<>/=\"'& \t\n\r!?-:#xAa0+\x00\x7f\xd2\xff")) | st.integers(0, 255)


@pytest.fixture(scope="session")
def envelope(signers: Mapping[str, Signer]) -> bytes:
    body = etree.fromstring(MESSAGE)[0]
    return sign_body(body, signers["ec-p256"].key(), form=KeyInfoForm.ISSUER_SERIAL, body_id="id-1")


@pytest.fixture(scope="session")
def document(signers: Mapping[str, Signer]) -> bytes:
    root = etree.fromstring("<data><answer>GENUINE</answer><b a='1'>Ұ</b></data>")
    return sign_enveloped(root, signers["ec-p256"].key(), form=KeyInfoForm.ISSUER_SERIAL)


def changed(data: bytes, place: float, byte: int, kind: str) -> bytes:
    at = int(place * len(data))
    match kind:
        case "replace":
            return data[:at] + bytes([byte]) + data[at + 1 :]
        case "insert":
            return data[:at] + bytes([byte]) + data[at:]
        case _:
            return data[:at] + data[at + 1 :]


PLACES = st.floats(0, 1, exclude_max=True)
KINDS = st.sampled_from(["replace", "insert", "delete"])


@settings(max_examples=400, deadline=None)
@given(place=PLACES, byte=BYTES, kind=KINDS)
def test_a_changed_byte_of_an_envelope_changes_nothing_that_is_read(
    place: float, byte: int, kind: str, envelope: bytes, known: Known
) -> None:
    genuine = canonicalize(verify_envelope(envelope, certificates=known).body)
    try:
        verified = verify_envelope(changed(envelope, place, byte, kind), certificates=known)
    except (SignatureRefused, MalformedMessage):
        return
    assert canonicalize(verified.body) == genuine


@settings(max_examples=200, deadline=None)
@given(place=PLACES, byte=BYTES, kind=KINDS)
def test_a_changed_byte_of_a_document_changes_nothing_that_is_read(
    place: float, byte: int, kind: str, document: bytes, known: Known
) -> None:
    genuine = canonicalize(verify_enveloped(document, certificates=known).element, exclusive=False)
    try:
        verified = verify_enveloped(changed(document, place, byte, kind), certificates=known)
    except (SignatureRefused, MalformedMessage):
        return
    assert canonicalize(verified.element, exclusive=False) == genuine


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_refused_without_a_crash(data: bytes) -> None:
    for verify in (verify_envelope, verify_enveloped):
        with pytest.raises((SignatureRefused, MalformedMessage)):
            verify(data)


def test_every_single_byte_of_the_signed_parts_counts(envelope: bytes, known: Known) -> None:
    genuine = canonicalize(verify_envelope(envelope, certificates=known).body)
    spans = [
        (envelope.index(b"<ds:SignedInfo"), envelope.index(b"</ds:SignedInfo>")),
        (envelope.index(b"<soap:Body"), envelope.index(b"</soap:Body>")),
    ]
    read = 0
    for start, end in spans:
        for at in range(start, end):
            mutant = envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]
            try:
                verified = verify_envelope(mutant, certificates=known)
            except (SignatureRefused, MalformedMessage):
                continue
            assert canonicalize(verified.body) == genuine
            read += 1
    assert read < 20  # a space that became a line feed's neighbour inside a tag, nothing more
