"""Messages with national signatures: both backends, the national client's own document, and what must be refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.errors import KeyMaterialError, SignatureRefused
from gateway.signing import names, national
from gateway.signing.algorithms import DIGESTS, SIGNATURES, SignatureAlgorithm
from gateway.signing.enveloped import sign_enveloped, verify_enveloped
from gateway.signing.gost import engine
from gateway.signing.gost.backend import GostBackend, choose_backend
from gateway.signing.gost.own import OwnBackend
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import load_signing_key
from gateway.signing.wss import sign_body, verify_envelope
from tests.signing.conftest import AnySigner, Known

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "pki-test"
NATIONAL = [row for row in SIGNATURES.values() if row.family.startswith("gost-")]
every_national_row = pytest.mark.parametrize("row", NATIONAL, ids=lambda row: row.name)


@pytest.fixture
def samples() -> Path:
    if not SAMPLES.is_dir():
        pytest.skip("the samples of the national test authority are not beside this checkout")
    return SAMPLES


def test_the_document_of_the_national_client_holds(samples: Path, national_backend: GostBackend) -> None:
    verified = verify_enveloped((samples / "enveloped_signed.xml").read_bytes())
    assert [one.algorithm for one in verified.signatures] == ["GOST-2015-512"]
    assert "Streebog-512" in " ".join(step.compared for step in verified.steps)


def test_a_document_of_a_test_person_holds_for_the_other_backend(samples: Path, national_backend: GostBackend) -> None:
    key = load_signing_key(samples / "person_valid.p12", b"Qwerty12")
    signed = sign_enveloped(etree.fromstring("<Өтініш><сөз>сәлем</сөз></Өтініш>"), key)
    judges = [OwnBackend()] + ([engine.EngineBackend.shared()] if engine.available().usable else [])
    for judge in judges:
        with national.using_backend(judge):
            assert verify_enveloped(signed).element[0].text == "сәлем"
            with pytest.raises(SignatureRefused) as caught:
                verify_enveloped(signed.replace("сәлем".encode(), "сәлеМ".encode()))
            assert caught.value.code == "digest"


@every_national_row
@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_every_national_row_comes_back_as_it_was_signed(
    row: SignatureAlgorithm,
    form: KeyInfoForm,
    signers: Mapping[str, AnySigner],
    known: Known,
    body: etree._Element,
    national_backend: GostBackend,
) -> None:
    data = sign_body(body, signers[row.family].key(), form=form)
    verified = verify_envelope(data, certificates=known)
    assert (verified.algorithm, verified.body.findtext(".//answer")) == (row.name, "GENUINE")
    with pytest.raises(SignatureRefused) as caught:
        verify_envelope(data.replace(b"GENUINE", b"FALSE"), certificates=known)
    assert caught.value.code == "digest"


@every_national_row
def test_a_national_signature_in_another_packing_is_refused(
    row: SignatureAlgorithm, signers: Mapping[str, AnySigner], national_backend: GostBackend
) -> None:
    signer = signers[row.family]
    value = signer.key().sign(b"data")
    half = len(value) // 2
    assert row.holds(signer.certificate, b"data", value)
    for other in (value[::-1], value[half:] + value[:half], value[:half][::-1] + value[half:][::-1], value[:-1], b""):
        assert not row.holds(signer.certificate, b"data", other)


@every_national_row
def test_a_digest_of_another_family_beside_a_national_signature_is_refused(
    row: SignatureAlgorithm, signers: Mapping[str, AnySigner], body: etree._Element, own_backend: GostBackend
) -> None:
    data = sign_body(body, signers[row.family].key(), form=KeyInfoForm.KEY_IDENTIFIER)
    for digest in DIGESTS.values():
        if digest.uri != row.digest_uri:
            swapped = data.replace(f'"{row.digest_uri}"'.encode(), f'"{digest.uri}"'.encode())
            with pytest.raises(SignatureRefused) as caught:
                verify_envelope(swapped)
            assert caught.value.code == "family_mismatch"


def test_what_was_proven_with_vectors_only_says_so_when_asked(
    signers: Mapping[str, AnySigner], body: etree._Element, own_backend: GostBackend
) -> None:
    data = sign_body(body, signers["gost-2015-256"].key(), form=KeyInfoForm.KEY_IDENTIFIER)
    compared = {step.name: step.compared for step in verify_envelope(data).steps}
    assert "proven by published vectors only" in compared["algorithms"]


def test_a_point_that_is_not_on_the_curve_refuses_the_sender_and_not_the_operator(
    signers: Mapping[str, AnySigner], body: etree._Element, national_backend: GostBackend
) -> None:
    from base64 import b64encode

    certificate = signers["gost-2015-512"].certificate
    data = sign_body(body, signers["gost-2015-512"].key(), form=KeyInfoForm.KEY_IDENTIFIER)
    point = certificate.spki_der[-128:]
    false = certificate.der.replace(point, bytes([point[0] ^ 1]) + point[1:])
    with pytest.raises(SignatureRefused) as caught:
        verify_envelope(data.replace(b64encode(certificate.der), b64encode(false)))
    assert (caught.value.step, caught.value.code) == ("certificate", "bad_public_key")


def test_verifying_needs_no_permission_and_no_library(signers: Mapping[str, AnySigner], body: etree._Element) -> None:
    data = sign_body(body, signers["gost-2015-512"].key(), form=KeyInfoForm.KEY_IDENTIFIER)
    with national.using_backend(choose_backend("own")) as backend:
        assert verify_envelope(data).algorithm == "GOST-2015-512"
        with pytest.raises(KeyMaterialError):
            backend.sign512(b"\1" + bytes(63), bytes(64))


def test_a_process_that_chooses_nothing_has_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(national, "_held", [])
    first = national.backend()
    assert first is national.backend()
    assert first.name in ("engine", "own")
    other = OwnBackend()
    with national.using_backend(other):
        assert national.backend() is other
    assert national.backend() is first


def test_the_enveloped_form_says_what_the_national_client_says(
    signers: Mapping[str, AnySigner], own_backend: GostBackend
) -> None:
    signed = etree.fromstring(sign_enveloped(etree.fromstring("<a/>"), signers["gost-2015-512"].key()))
    transforms = [one.get("Algorithm") for one in signed.iter(names.DS_TRANSFORM)]
    assert transforms == [names.ENVELOPED, names.C14N_WITH_COMMENTS]  # PKI.md section 2


def test_the_port_for_certified_means_is_the_one_that_the_guide_shows(
    signers: Mapping[str, AnySigner], body: etree._Element, own_backend: GostBackend
) -> None:
    """The guide's example itself, over a stand-in for the closed library."""
    guide = (Path(__file__).resolve().parents[2] / "docs/how-to/sign-with-certified-means.md").read_text("utf-8")
    example: dict[str, Any] = {"__name__": "certified"}
    exec(guide.split("```python\n")[1].split("```")[0], example)
    inside = signers["gost-2015-512"].key()

    class Library:
        packed = staticmethod(lambda value: value)

        def certificate(self) -> bytes:
            return inside.certificate.der

        def raw_signature(self, data: bytes) -> bytes:
            return bytes(self.packed(inside.sign(data)))

    key = example["CertifiedKey"](Library())
    verified = verify_envelope(sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER))
    assert verified.certificate == inside.certificate

    class RussianOrder(Library):
        packed = staticmethod(lambda value: value[::-1])

    with pytest.raises(KeyMaterialError):
        example["CertifiedKey"](RussianOrder())
