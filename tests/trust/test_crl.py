from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, MalformedMessage
from gateway.trust import crl as crl_module
from gateway.trust.crl import read_crls
from tests.trust.minting import DAY, NOW, authority, crl, crl_der, entry, parsed_crl

ROOT = authority("root")
_SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "pki-test"


def test_what_a_list_says_is_read() -> None:
    found = crl(ROOT, entry(7, x509.ReasonFlags.superseded), entry(2**150 + 1), number=42)
    assert found.issuer == "CN=root,C=KZ"
    assert found.issuer_key == ROOT.parsed.subject_key
    assert (found.number, len(found), found.unusable_because) == (42, 2, "")
    assert (found.this_update, found.next_update) == (NOW - DAY, NOW + 30 * DAY)
    assert found.label == "CRL number 42 of CN=root,C=KZ"
    assert repr(found) == "CertificateRevocationList(CN=root,C=KZ, number 42, 2 entries)"
    superseded = found.revocation_of(7)
    assert superseded is not None
    assert (superseded.reason, superseded.revoked_at) == ("superseded", NOW - 2 * DAY)
    plain = found.revocation_of(2**150 + 1)
    assert plain is not None
    assert plain.reason == "unspecified"
    assert found.revocation_of(8) is None


def test_a_list_without_number_has_a_label_too() -> None:
    assert crl(ROOT, number=None).label == "CRL of CN=root,C=KZ"


def test_pem_and_der_are_read() -> None:
    der = crl_der(ROOT)
    pem = x509.load_der_x509_crl(der).public_bytes(crl_encoding_pem())
    assert [c.sha256 for c in read_crls(pem + pem)] == [parsed_crl(der).sha256] * 2
    assert read_crls(ROOT.pem) == ()


def crl_encoding_pem() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM


def test_a_list_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_module, "MAX_CRL_BYTES", 100)
    with pytest.raises(MalformedMessage) as caught:
        read_crls(crl_der(ROOT))
    assert caught.value.code == "bad_crl"


def test_an_entry_whose_reason_cannot_be_read_still_revokes() -> None:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x02\x03\x01")
    found = crl(ROOT, entry(7, None, (broken, False))).revocation_of(7)
    assert found is not None
    assert found.reason == "unspecified"


def test_a_reason_that_nobody_defined_still_revokes() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x0a\x01\x63")
    found = crl(ROOT, entry(7, None, (odd, False))).revocation_of(7)
    assert found is not None
    assert found.reason == "unspecified"


def _replaced(der: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    assert old in der
    return der.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x02\x01\x07", b"\x04\x01\x07"),  # a serial that is an OCTET STRING
        (b"\x02\x01\x07\x17", b"\x02\x00\x07\x17"),  # a serial of no bytes
        (b"\x30\x12\x02\x01\x07", b"\x31\x12\x02\x01\x07"),  # an entry that is a SET
        (b"\x30\x12\x02\x01\x07", b"\x30\x7f\x02\x01\x07"),  # an entry longer than the list
        (b"\x30\x12\x02\x01\x07", b"\x30\x80\x02\x01\x07"),  # an entry of indefinite length
        (b"\x30\x12\x02\x01\x07", b"\x30\x85\x02\x01\x07"),  # a length of five bytes
        (b"\x30\x12\x02\x01\x07", b"\x30\x00\x02\x01\x07"),  # an empty entry
    ],
)
def test_broken_entries_break_the_list(old: bytes, new: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_crls(_replaced(crl_der(ROOT, entry(7)), old, new))
    assert caught.value.code == "bad_crl"


def test_an_element_cut_after_its_tag_is_refused() -> None:
    with pytest.raises(ValueError, match="cut"):
        list(crl_module._elements(b"\x30", 0, 1))


def test_long_entries_are_found_by_their_serial() -> None:
    long = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.398.999.78"), b"\x04\x82\x01\x00" + b"x" * 256)
    found = crl(ROOT, entry(5, None, (long, False)), entry(6))
    assert found.revocation_of(5) is not None
    assert found.revocation_of(6) is not None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(GatewayError):
        read_crls(b"\x30\x82" + data)


_GENUINE = crl_der(ROOT, entry(7, x509.ReasonFlags.key_compromise), entry(9))


@settings(deadline=None)
@given(st.integers(0, len(_GENUINE) - 1), st.integers(0, 255), st.booleans())
def test_a_list_with_a_byte_changed_or_cut_is_read_or_refused(place: int, byte: int, cut: bool) -> None:
    data = _GENUINE[:place] if cut else _GENUINE[:place] + bytes([byte]) + _GENUINE[place + 1 :]
    try:
        lists = read_crls(data)
    except GatewayError:
        return
    for found in lists:
        found.revocation_of(7)


@pytest.mark.skipif(not _SAMPLES.is_dir(), reason="the shared samples are not beside this checkout")
def test_the_national_list_whose_algorithm_fields_differ_by_null_is_read() -> None:
    found = parsed_crl((_SAMPLES / "nca_gost2022_test.crl").read_bytes())
    assert found.issuer == "C=KZ,CN=ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (GOST) TEST 2022"
    assert (len(found), found.number, found.unusable_because) == (195, 166, "")
    assert found.signature_oid == found.tbs_signature_oid == "1.2.398.3.10.1.1.2.3.2"
    on_hold = [s for s in found.serials() if (entry := found.revocation_of(s)) and entry.reason == "certificateHold"]
    assert len(on_hold) == 17
