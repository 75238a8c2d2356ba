"""Containers: the authority's form, the usual form, wrong passwords, damage and bounds."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMaterialError
from gateway.signing.gost import asn1
from gateway.signing.gost.asn1 import PrivateKey
from gateway.signing.gost.pkcs12 import MAX_BAGS, MAX_CONTAINER_BYTES, MAX_ITERATIONS, derive, read_container
from tests.signing.gost.containers import Writer, encrypt_rc2_40_cbc

KEY = PrivateKey("gost-2015-512", (4_711).to_bytes(64, "little"))
PKCS8 = asn1.write_private_key(KEY)


def _certificate(private_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST, invented")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2036, 1, 1, tzinfo=dt.UTC))
        .sign(private_key, hashes.SHA256())
    )


EC_KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = _certificate(EC_KEY)
CERTIFICATE_DER = CERTIFICATE.public_bytes(Encoding.DER)


def _writer(**changes: object) -> Writer:
    return Writer(**{"pkcs8": [PKCS8], "certificates": [CERTIFICATE_DER], "iterations": 3, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("use_indefinite", [False, True], ids=["definite", "indefinite"])
@pytest.mark.parametrize("mac_hash", ["sha1", "sha256", "sha512"])
def test_the_form_of_the_authority_is_read(use_indefinite: bool, mac_hash: str) -> None:
    container = read_container(_writer(use_indefinite=use_indefinite, mac_hash=mac_hash).write(), b"Qwerty12")
    assert container.private_key == KEY
    assert container.certificates == (CERTIFICATE_DER,)
    assert "4711" not in repr(container)


@pytest.mark.parametrize("family", ["gost-2015-256", "gost-2004"])
def test_keys_of_the_other_families_are_read(family: str) -> None:
    key = PrivateKey(family, bytes(range(1, 33)))
    assert read_container(_writer(pkcs8=[asn1.write_private_key(key)]).write(), b"Qwerty12").private_key == key


def test_a_key_bag_that_is_not_enciphered_is_read() -> None:
    assert read_container(_writer(plain_keys=True).write(), b"Qwerty12").private_key == KEY


@pytest.mark.parametrize("password", ["", "пароль", "құпия сөз", "p" * 70])
def test_passwords_of_every_alphabet_open_it(password: str) -> None:
    assert read_container(_writer(password=password).write(), password.encode()).private_key == KEY


def test_what_cryptography_writes_is_read_and_the_foreign_key_comes_back_whole() -> None:
    data = pkcs12.serialize_key_and_certificates(
        b"name", EC_KEY, CERTIFICATE, None, BestAvailableEncryption("ключ".encode())
    )
    container = read_container(data, "ключ".encode())
    assert container.certificates == (CERTIFICATE_DER,)
    assert container.private_key.family == "other"
    assert container.private_key.value == EC_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def test_cryptography_reads_the_same_key_derivation() -> None:
    """The container of our writer with a foreign key opens with `cryptography`: derivation and 3DES are right."""
    pkcs8 = EC_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    data = _writer(pkcs8=[pkcs8]).write()
    key, matching, others = pkcs12.load_key_and_certificates(data, b"Qwerty12")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.private_numbers() == EC_KEY.private_numbers()
    assert matching is not None
    assert matching.public_bytes(Encoding.DER) == CERTIFICATE_DER
    assert not others


# ---------------------------------------------------------------- refused


def _refused(data: bytes, password: bytes = b"Qwerty12") -> KeyMaterialError:
    with pytest.raises(KeyMaterialError) as refused:
        read_container(data, password)
    assert "Qwerty12" not in refused.value.message
    return refused.value


@pytest.mark.parametrize("password", [b"", b"Qwerty13", b"qwerty12", b"Qwerty12\0"])
def test_a_wrong_password_is_told_from_damage(password: bytes) -> None:
    assert _refused(_writer().write(), password).code == "key_password"


def test_a_password_in_another_encoding_is_refused() -> None:
    error = _refused(_writer().write(), "пароль".encode("cp1251"))
    assert error.code == "key_password"
    assert "UTF-8" in error.message


@pytest.mark.parametrize("data", [b"", b"\x30", b"not a container", PKCS8, CERTIFICATE_DER])
def test_what_is_no_container_is_damaged(data: bytes) -> None:
    assert _refused(data).code == "key_file_damaged"


def test_a_cut_container_is_damaged() -> None:
    data = _writer().write()
    for length in (1, 10, len(data) // 2, len(data) - 1):
        assert _refused(data[:length]).code == "key_file_damaged"
    assert _refused(data + b"\0").code == "key_file_damaged"


def test_content_that_the_password_opens_and_nobody_can_read_is_damaged() -> None:
    assert _refused(_writer(pkcs8=[b"no key"]).write()).code == "key_file_damaged"
    broken = PKCS8[:-1] + b"\0\0"
    assert _refused(_writer(pkcs8=[broken]).write()).code == "key_file_damaged"


def test_none_and_two_keys_are_refused() -> None:
    assert _refused(_writer(pkcs8=[]).write()).code == "key_not_supported"
    assert _refused(_writer(pkcs8=[PKCS8, PKCS8]).write()).code == "key_not_supported"


def test_a_cipher_that_is_not_read_is_named() -> None:
    error = _refused(_writer(key_cipher_oid="1.2.840.113549.1.12.1.4").write())  # 3DES with two keys
    assert error.code == "key_not_supported"
    assert "1.2.840.113549.1.12.1.4" in error.message


def test_a_container_without_a_mac_is_refused() -> None:
    from asn1crypto import pkcs12 as asn1_pkcs12

    whole = asn1_pkcs12.Pfx.load(_writer().write())
    bare = asn1_pkcs12.Pfx({"version": 3, "auth_safe": whole["auth_safe"]})
    assert _refused(bare.dump()).code == "key_file_damaged"


# ---------------------------------------------------------------- bounds


def test_a_large_file_is_not_read() -> None:
    assert _refused(bytes(MAX_CONTAINER_BYTES + 1)).code == "key_file_damaged"


@pytest.mark.parametrize("iterations", [0, -1, MAX_ITERATIONS + 1, 2**63])
def test_rounds_without_end_are_not_made(iterations: int) -> None:
    data = _writer().write()
    from asn1crypto import pkcs12 as asn1_pkcs12

    changed = asn1_pkcs12.Pfx.load(data)
    changed["mac_data"]["iterations"] = iterations
    assert _refused(changed.dump(force=True)).code == "key_file_damaged"


def test_the_rounds_of_all_bags_are_counted_together() -> None:
    """Each of them is within the bound and all of them are not; they are refused before they are made."""
    error = _refused(_writer(key_iterations=MAX_ITERATIONS - 1).write())
    assert error.code == "key_file_damaged"
    assert "rounds" in error.message


def test_bags_without_end_are_not_read() -> None:
    assert _refused(_writer(certificates=[CERTIFICATE_DER] * (MAX_BAGS + 1)).write()).code == "key_file_damaged"


def test_a_long_salt_is_refused() -> None:
    assert _refused(_writer(mac_salt=bytes(2_000)).write()).code == "key_file_damaged"


@pytest.mark.parametrize("password", [b"Qwerty12", b"x"])
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(password: bytes, place: int, byte: int) -> None:
    data = _writer().write()
    place %= len(data)
    changed = data[:place] + bytes([byte]) + data[place + 1 :]
    with contextlib.suppress(KeyMaterialError):
        container = read_container(changed, password)
        assert container.private_key == KEY
        assert container.certificates == (CERTIFICATE_DER,)


@given(st.binary(max_size=200))
def test_noise_is_damaged(noise: bytes) -> None:
    assert _refused(noise).code == "key_file_damaged"


# ---------------------------------------------------------------- primitives


def test_the_derivation_counts_rounds_and_purposes() -> None:
    secret = "x".encode("utf-16-be") + b"\0\0"
    by_hand = hashlib.sha1(b"\x01" * 64 + (b"salt" * 16) + (secret * 16)).digest()
    assert derive("sha1", secret, b"salt", 1, 1, 20) == by_hand
    assert derive("sha1", secret, b"salt", 2, 1, 20) == hashlib.sha1(by_hand).digest()
    assert derive("sha1", secret, b"salt", 1, 2, 20) != by_hand
    assert derive("sha1", secret, b"", 1, 1, 4) == hashlib.sha1(b"\x01" * 64 + secret * 16).digest()[:4]


@given(key=st.binary(min_size=5, max_size=5), iv=st.binary(min_size=8, max_size=8), blocks=st.integers(0, 4))
def test_rc2_of_the_tests_and_of_the_program_undo_each_other(key: bytes, iv: bytes, blocks: int) -> None:
    from gateway.signing.gost.rc2 import decrypt_rc2_40_cbc

    data = bytes(range(8 * blocks))
    assert decrypt_rc2_40_cbc(key, iv, encrypt_rc2_40_cbc(key, iv, data)) == data
