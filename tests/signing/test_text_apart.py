"""A Body whose long text is in a file is signed and verified as the Body that has it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from lxml import etree

from gateway.apart import TextApart
from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import own
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import DEFAULT_BOUNDS
from tests.signing.conftest import AnySigner, Signer

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
TEXT = b"QUJD" * 1_000
FORM = KeyInfoForm.KEY_IDENTIFIER


def apart_of(text: bytes = TEXT, piece_bytes: int = 999) -> TextApart:
    return TextApart(
        hashlib.sha256(text).hexdigest(),
        len(text),
        lambda: iter([text[at : at + piece_bytes] for at in range(0, len(text), piece_bytes)]),
    )


def body(content: str) -> etree._Element:
    text = f"<soap:Body xmlns:soap='{SOAP}'><t:file xmlns:t='urn:t'><content>{content}</content></t:file></soap:Body>"
    return etree.fromstring(text)


def test_the_message_is_byte_for_byte_the_one_that_would_have_been_signed_whole(signer: Signer) -> None:
    apart, key = apart_of(), signer.key()
    short = sign_body(body(apart.mark), key, form=FORM, body_id="id-1", apart=apart)
    assert b"".join(apart.whole(short)) == sign_body(body(TEXT.decode()), key, form=FORM, body_id="id-1")


@pytest.mark.parametrize("family", ["rsa", "ec-p256", "ec-p384", "gost-2015-512"])
@pytest.mark.usefixtures("national_backend")
def test_every_key_that_signs_signs_a_text_apart(signers: Mapping[str, AnySigner], family: str) -> None:
    apart, key = apart_of(), signers[family].key()
    short = sign_body(body(apart.mark), key, form=FORM, apart=apart)
    whole = verify_envelope(b"".join(apart.whole(short)))
    parted = verify_envelope(short, apart=apart)
    assert (whole.digest, whole.algorithm) == (parted.digest, parted.algorithm)
    assert parted.body[0][0].text == apart.mark
    own.check_own(short, key.certificate, DEFAULT_BOUNDS, apart=apart)


def test_another_text_does_not_have_the_signature(signer: Signer) -> None:
    apart = apart_of()
    short = sign_body(body(apart.mark), signer.key(), form=FORM, apart=apart)
    with pytest.raises(SignatureRefused) as refused:
        verify_envelope(short, apart=TextApart(apart.sha256, apart.size_bytes, lambda: iter([TEXT[:-1], b"E"])))
    assert refused.value.code == "digest"
    with pytest.raises(SignatureRefused) as refused:
        verify_envelope(short)
    assert refused.value.code == "digest"


@pytest.mark.parametrize("content", ["QUFB", "{mark}{mark}", "<!-- {mark} -->"])
def test_a_body_without_a_clear_place_for_the_text_is_refused(signer: Signer, content: str) -> None:
    apart = apart_of()
    short = sign_body(body(content.format(mark=apart.mark)), signer.key(), form=FORM)
    with pytest.raises(MalformedMessage) as refused:
        verify_envelope(short, apart=apart)
    assert refused.value.code == "mark"
    with pytest.raises(MalformedMessage):
        sign_body(body("QUFB"), signer.key(), form=FORM, apart=apart)


def test_a_text_outside_of_the_body_is_not_taken_for_signed(signer: Signer) -> None:
    apart = apart_of()
    signed = sign_body(body("QUFB"), signer.key(), form=FORM)
    moved = signed.replace(b"</soap:Header>", f"<x>{apart.mark}</x></soap:Header>".encode())
    with pytest.raises(MalformedMessage) as refused:
        verify_envelope(moved, apart=apart)
    assert refused.value.code == "mark"
