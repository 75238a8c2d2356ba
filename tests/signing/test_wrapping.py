"""THREATS.md section 1: 0 forged messages accepted with the attacker's value, in every KeyInfo form."""

from __future__ import annotations

from collections import Counter

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from tests.hostile.wrapping import IDS, PLACES, SIGNATURES, forgeries
from tests.signing.conftest import Known, Signer


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_a_wrapped_body_is_never_read(form: KeyInfoForm, signer: Signer, known: Known, body: etree._Element) -> None:
    genuine = sign_body(body, signer.key(), form=form, body_id="id-1")
    assert verify_envelope(genuine, certificates=known).body.findtext(".//answer") == "GENUINE"
    verdicts: Counter[str] = Counter()
    for forgery in forgeries(genuine, genuine_text="GENUINE", false_text="ATTACKER"):
        try:
            verified = verify_envelope(forgery.data, certificates=known)
        except (SignatureRefused, MalformedMessage):
            verdicts["refused"] += 1
            continue
        assert b"ATTACKER" not in etree.tostring(verified.body), forgery.name
        assert verified.body.findtext(".//answer") == "GENUINE", forgery.name
        verdicts["genuine read"] += 1
    # strictness: not one is let through, though reading the genuine Body would be harmless
    assert verdicts == {"refused": len(PLACES) * len(IDS) * len(SIGNATURES)}


def test_a_body_signed_by_a_stranger_names_the_stranger(stranger: Signer, body: etree._Element) -> None:
    verified = verify_envelope(sign_body(body, stranger.key(), form=KeyInfoForm.KEY_IDENTIFIER))
    assert verified.certificate == stranger.certificate  # whom to trust is decided by gateway.trust


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_a_strangers_signature_under_the_genuine_name_is_refused(
    form: KeyInfoForm, signer: Signer, stranger: Signer, known: Known, body: etree._Element
) -> None:
    forged = sign_body(body, stranger.key(), form=form)
    genuine = sign_body(body, signer.key(), form=form)

    def key_info(data: bytes) -> bytes:
        return data[data.index(b"<ds:KeyInfo>") : data.index(b"</ds:KeyInfo>")]

    with pytest.raises(SignatureRefused) as caught:
        verify_envelope(forged.replace(key_info(forged), key_info(genuine)), certificates=known)
    assert caught.value.code == "signature_value"
