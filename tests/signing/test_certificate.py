from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, KeyMaterialError, MalformedMessage
from gateway.signing import certificate as certificate_module
from gateway.signing.certificate import MAX_CERTIFICATE_BYTES, Certificate, read_certificates
from gateway.signing.certificate_asn1 import CertificateStructure, read_time
from gateway.signing.gost.asn1 import PublicKey as NationalPublicKey
from gateway.signing.issuer_names import parse_issuer_name
from tests.trust.minting import (
    DAY,
    NOW,
    Minted,
    authority,
    ec_key,
    mint,
    name,
    parsed,
    resigned,
    rsa_key,
)

_SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "pki-test"
with_samples = pytest.mark.skipif(not _SAMPLES.is_dir(), reason="the shared samples are not beside this checkout")

IIN = "850101300005"
BIN = "990140000037"

ROOT = authority("root")
SIGNER = mint(
    "x",
    ROOT,
    subject=name(
        "ТЕСТОВ ТЕСТ",
        (NameOID.SURNAME, "ТЕСТОВ"),
        (NameOID.GIVEN_NAME, "ТЕСТҰЛЫ"),
        (NameOID.SERIAL_NUMBER, f"IIN{IIN}"),
        (NameOID.ORGANIZATION_NAME, 'Test, "quoted" <O>; a=b + c\\d'),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{BIN}"),
    ),
    extended=("1.3.6.1.5.5.7.3.4", "1.2.398.3.3.4.1.2", "1.2.398.3.3.4.1.2.2"),
    serial=2**150 + 7,
    extensions=[
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.398.3.3.2.1"), None)]), False)
    ],
)


# ---------------------------------------------------------------- what a certificate says


def test_everything_a_national_certificate_says_is_read() -> None:
    found = SIGNER.parsed
    assert found.serial == 2**150 + 7
    assert found.issuer == "CN=root,C=KZ"
    assert found.common_name == "ТЕСТОВ ТЕСТ"
    assert (found.iin, found.bin) == (IIN, BIN)
    assert found.roles == ("legal_entity", "right_to_sign")
    assert found.extended_key_usage[0] == "1.3.6.1.5.5.7.3.4"
    assert found.policies == ("1.2.398.3.3.2.1",)
    assert found.key_usage == {"digitalSignature", "nonRepudiation"}
    assert (found.is_ca, found.path_len) == (False, None)
    assert (found.not_before, found.not_after) == (NOW - 10 * DAY, NOW + 100 * DAY)
    assert found.version == 3
    assert found.aki == ROOT.parsed.ski is not None
    assert found.key_family == "ec-p256"
    assert found.signature_oid == found.tbs_signature_oid == "1.2.840.10045.4.3.2"
    assert found.unknown_critical_extensions == ()
    assert not found.is_self_issued
    assert ROOT.parsed.is_self_issued


def test_what_is_read_agrees_with_another_reader() -> None:
    other = x509.load_der_x509_certificate(SIGNER.der)
    found = SIGNER.parsed
    assert found.sha256 == other.fingerprint(x509_hash()).hex()
    assert found.tbs == other.tbs_certificate_bytes
    assert found.signature == other.signature
    assert found.subject_der == other.subject.public_bytes()
    assert found.issuer_der == other.issuer.public_bytes()
    assert found.public_key == other.public_key()
    assert found.spki_der == other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def x509_hash() -> object:
    from cryptography.hazmat.primitives.hashes import SHA256

    return SHA256()


def test_the_subject_is_written_as_rfc_4514_says_and_read_back() -> None:
    found = SIGNER.parsed
    assert found.subject == (
        f'OU=BIN{BIN},O=Test\\, \\"quoted\\" \\<O\\>\\; a\\=b \\+ c\\\\d,SERIALNUMBER=IIN{IIN},GIVENNAME=ТЕСТҰЛЫ,'
        "SURNAME=ТЕСТОВ,CN=ТЕСТОВ ТЕСТ,C=KZ"
    )
    assert parse_issuer_name(found.subject) == found.subject_key


def test_nothing_shown_by_accident_names_a_person() -> None:
    found = SIGNER.parsed
    for shown in (repr(found), str(found), found.label):
        assert IIN not in shown
        assert "ТЕСТОВ" not in shown
    assert found.label == f"number {found.serial} of CN=root,C=KZ"


def test_an_iin_anywhere_in_a_name_is_masked_in_the_label() -> None:
    odd = mint("x", subject=name(f"IIN{IIN}"))
    assert IIN not in odd.parsed.label


def test_a_system_and_a_nameless_certificate_have_labels() -> None:
    assert mint("system", ROOT).parsed.label == "CN=system,C=KZ"
    nameless = mint("x", ROOT, subject=x509.Name([])).parsed
    assert nameless.label == f"number {nameless.serial} of CN=root,C=KZ"
    assert (nameless.subject, nameless.common_name) == ("", "")


@pytest.mark.parametrize(
    ("attributes", "iin", "bin_number"),
    [
        ((), None, None),
        (((NameOID.SERIAL_NUMBER, f"IIN{IIN}"),), IIN, None),
        (((NameOID.SERIAL_NUMBER, f"IIN{IIN}"), (NameOID.SERIAL_NUMBER, f"IIN{IIN}")), IIN, None),
        (((NameOID.SERIAL_NUMBER, f"IIN{IIN}"), (NameOID.SERIAL_NUMBER, "IIN900202400002")), None, None),
        (((NameOID.SERIAL_NUMBER, f"IIN{IIN}0"),), None, None),
        (((NameOID.SERIAL_NUMBER, IIN),), None, None),
        (((NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{BIN}"),), None, BIN),
        (((NameOID.ORGANIZATIONAL_UNIT_NAME, "dept"), (NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{BIN}")), None, BIN),
        (((NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{BIN}"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "BIN1")), None, BIN),
        (((NameOID.ORGANIZATION_NAME, f"BIN{BIN}"),), None, None),
    ],
)
def test_numbers_are_taken_from_their_own_attribute_and_only_when_there_is_one(
    attributes: tuple[tuple[x509.ObjectIdentifier, str], ...], iin: str | None, bin_number: str | None
) -> None:
    found = mint("x", subject=name("x", *attributes)).parsed
    assert (found.iin, found.bin) == (iin, bin_number)


def test_a_certificate_without_extensions_says_nothing_about_use() -> None:
    found = mint("bare", ca=None, usage=None, ski=False).parsed
    assert (found.is_ca, found.path_len, found.key_usage, found.policies) == (False, None, None, ())
    assert (found.ski, found.aki, dict(found.extensions)) == (None, None, {})


def test_an_authority_says_how_far_it_reaches() -> None:
    assert authority("limited", path_len=2).parsed.path_len == 2


def test_both_ends_belong_to_the_validity() -> None:
    found = SIGNER.parsed
    second = dt.timedelta(seconds=1)
    assert found.is_within_validity(found.not_before)
    assert found.is_within_validity(found.not_after)
    assert not found.is_within_validity(found.not_before - second)
    assert not found.is_within_validity(found.not_after + second)


def test_equal_bytes_are_one_certificate_and_parsed_once() -> None:
    again = Certificate.from_der(bytes(bytearray(SIGNER.der)))
    assert again is SIGNER.parsed
    certificate_module._parse.cache_clear()
    fresh = Certificate.from_der(SIGNER.der)
    assert fresh is not again
    assert fresh == again
    assert {fresh, again} == {again}
    assert fresh != ROOT.parsed
    assert fresh != "certificate"


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("key", "family"),
    [
        (rsa_key("small", 1_024), "rsa"),
        (ec_key("p256"), "ec-p256"),
        (ec_key("p384", "secp384r1"), "ec-p384"),
    ],
    ids=["rsa", "p256", "p384"],
)
def test_keys_of_the_supported_families_are_read(key: object, family: str) -> None:
    found = mint("x", ROOT, key=key).parsed  # type: ignore[arg-type]
    assert found.key_family == family
    assert found.public_key == key.public_key()  # type: ignore[attr-defined]


def changed_key(algorithm: dict[str, object], key_bytes: bytes | None = None) -> Certificate:
    def change(certificate: object) -> None:
        info = certificate["tbs_certificate"]["subject_public_key_info"]  # type: ignore[index]
        info["algorithm"] = algorithm
        if key_bytes is not None:
            info["public_key"] = key_bytes

    return parsed(resigned(SIGNER.der, ROOT.key, change))


def test_other_keys_are_named_unsupported_and_not_used() -> None:
    for found in (
        mint("x", ROOT, key=ec_key("p521", "secp521r1")).parsed,
        changed_key({"algorithm": "rsassa_pss"}),
        parsed(SIGNER.der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("04082a8648ce3d030107"), 1)),
    ):
        assert found.key_family == "unsupported"
        with pytest.raises(KeyMaterialError) as caught:
            _ = found.public_key
        assert caught.value.code == "key_not_supported"


def test_a_damaged_key_is_reported_when_it_is_used() -> None:
    point = SIGNER.parsed.spki_der[-64:]
    found = parsed(SIGNER.der.replace(point, b"\x01" * 64, 1))
    assert found.key_family == "ec-p256"
    with pytest.raises(KeyMaterialError) as caught:
        _ = found.public_key
    assert caught.value.code == "bad_public_key"


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x00", b"nonsense", SIGNER.der + b"\x00", SIGNER.der[:-1], b"\x30\x80" + SIGNER.der[4:]],
)
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        Certificate.from_der(data)
    assert caught.value.code == "bad_certificate"


def test_a_certificate_that_is_too_large_is_not_read() -> None:
    with pytest.raises(MalformedMessage, match="at most"):
        Certificate.from_der(b"\x30" * (MAX_CERTIFICATE_BYTES + 1))


def test_a_date_outside_the_calendar_is_refused() -> None:
    der = mint("late", end=dt.datetime(2099, 1, 1, tzinfo=dt.UTC)).der
    with pytest.raises(MalformedMessage):
        parsed(der.replace(b"20990101", b"00000101").replace(b"990101000000Z", b"991301000000Z"))
    with pytest.raises(ValueError, match="calendar"):
        read_time(core.GeneralizedTime.load(b"\x18\x0f00000101000000Z"))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(GatewayError):
        read_certificates(b"\x30\x82" + data)


@settings(deadline=None)
@given(st.integers(0, len(SIGNER.der) - 1), st.integers(0, 255))
def test_a_certificate_with_a_byte_changed_is_read_or_refused(place: int, byte: int) -> None:
    try:
        found = parsed(SIGNER.der[:place] + bytes([byte]) + SIGNER.der[place + 1 :])
    except GatewayError:
        return
    assert isinstance(found.label, str)
    try:
        _ = found.public_key
    except KeyMaterialError:
        return


# ---------------------------------------------------------------- files


def test_pem_bundles_and_der_are_read() -> None:
    assert read_certificates(SIGNER.der) == (SIGNER.parsed,)
    bundle = b"text before\n" + SIGNER.pem + b"\ntext between\n" + ROOT.pem.replace(b"\n", b"\r\n")
    assert read_certificates(bundle) == (SIGNER.parsed, ROOT.parsed)
    assert read_certificates(b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----") == ()


def test_a_der_certificate_with_a_pem_line_in_its_name_is_der() -> None:
    tricky = mint("-----BEGIN CERTIFICATE-----")
    assert read_certificates(tricky.der) == (tricky.parsed,)


# ---------------------------------------------------------------- the national test authority


@with_samples
def test_the_national_authorities_are_read() -> None:
    root = parsed((_SAMPLES / "root_test_gost_2022.cer").read_bytes())
    issuing = parsed((_SAMPLES / "nca_gost2022_test.cer").read_bytes())
    assert root.is_self_issued
    assert issuing.issuer_key == root.subject_key
    assert issuing.aki == root.ski
    assert issuing.common_name == "ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (GOST) TEST 2022"
    for found in (root, issuing):
        assert found.is_ca
        assert found.key_usage == {"keyCertSign", "cRLSign"}
        assert found.key_family == "gost-2015-512"
        assert len(found.signature) == 128
        assert found.unknown_critical_extensions == ()
        assert parse_issuer_name(found.issuer) == found.issuer_key
        key = found.public_key
        assert isinstance(key, NationalPublicKey)
        assert (key.family.name, len(key.value)) == ("gost-2015-512", 128)


def national_key(oid: str) -> Certificate:
    """A certificate whose key algorithm is a national one: only the OID is changed."""
    certificate = CertificateStructure.load(SIGNER.der)
    certificate["tbs_certificate"]["subject_public_key_info"]["algorithm"] = {"algorithm": oid}
    return parsed(certificate.dump(force=True))


@pytest.mark.parametrize(
    ("oid", "family"),
    [
        ("1.2.398.3.10.1.1.2.2", "gost-2015-512"),
        ("1.2.398.3.10.1.1.2.1", "gost-2015-256"),
        ("1.2.398.3.10.1.1.1.1", "gost-2004"),
    ],
)
def test_national_keys_are_named_by_their_family(oid: str, family: str) -> None:
    found = national_key(oid)
    assert found.key_family == family
    with pytest.raises(KeyMaterialError):
        _ = found.public_key


def test_a_self_made_certificate_is_only_a_certificate() -> None:
    made: Minted = mint("self-made")
    assert made.parsed.is_self_issued
    assert not made.parsed.is_ca
