"""Key files of every kind are opened, told apart by what protects them, and wrapped strongly."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import subprocess
from pathlib import Path

import pytest
from asn1crypto import pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KeyMaterialError, MalformedMessage
from gateway.signing import containers
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.containers import ITERATIONS, OpenedFile, open_file, protect, protection_of, unprotect
from gateway.trust import throwaway_pki
from gateway.trust.throwaway.keys import Family, read_key
from gateway.trust.throwaway_pki import CONTAINER_PASSWORD, ThrowawayPki

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
PASSWORD = "құпия сөз 12".encode()
FAMILIES = pytest.mark.parametrize("family", list(Family))
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("pki") / "new", now=NOW)


def certificate(pki: ThrowawayPki, name: str, family: Family) -> Certificate:
    (found,) = read_certificates(pki.certificate(name, family).read_bytes())
    return found


# ---------------------------------------------------------------- strong


@FAMILIES
def test_what_is_protected_comes_back_with_the_password_only(pki: ThrowawayPki, family: Family) -> None:
    der = read_key(pki.key("person", family).read_bytes()).pkcs8_der
    protected = protect(der, PASSWORD)
    assert der[-64:] not in protected
    assert unprotect(protected, PASSWORD) == der
    with pytest.raises(KeyMaterialError) as caught:
        unprotect(protected, PASSWORD + b"x")
    assert caught.value.code == "key_password"


def test_two_copies_have_nothing_in_common() -> None:
    first, second = protect(b"\x30\x03\x02\x01\x00", PASSWORD), protect(b"\x30\x03\x02\x01\x00", PASSWORD)
    assert first[-16:] != second[-16:]


def test_it_is_strong_by_its_own_measure(pki: ThrowawayPki) -> None:
    data = containers.as_pem(protect(b"\x30\x03\x02\x01\x00", PASSWORD), ())
    found = protection_of(data)
    assert found is not None
    assert not found.is_weak
    assert found.schemes == (f"aes256_cbc, PBKDF2 with sha256, {ITERATIONS} rounds",)


def test_an_empty_password_is_no_password() -> None:
    with pytest.raises(ValueError, match="empty"):
        protect(b"\x30\x00", b"")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_openssl_opens_what_is_protected(pki: ThrowawayPki, tmp_path: Path) -> None:
    key = read_key(pki.key("person").read_bytes())
    file = tmp_path / "key.pem"
    file.write_bytes(containers.as_pem(protect(key.pkcs8_der, PASSWORD), ()))
    said = subprocess.run(
        ["openssl", "pkey", "-in", str(file), "-passin", "stdin", "-pubout", "-outform", "DER"],
        input=PASSWORD,
        capture_output=True,
        check=False,
    )
    assert said.stdout == key.spki_der


@pytest.mark.parametrize("rounds", [0, 3_000_001])
def test_a_file_does_not_decide_how_long_we_calculate(rounds: int) -> None:
    from asn1crypto import keys

    info = keys.EncryptedPrivateKeyInfo.load(protect(b"\x30\x03\x02\x01\x00", PASSWORD))
    _ = info.native
    info["encryption_algorithm"]["parameters"]["key_derivation_func"]["parameters"]["iteration_count"] = rounds
    with pytest.raises(KeyMaterialError) as caught:
        unprotect(info.dump(force=True), PASSWORD)
    assert caught.value.code == "key_file_damaged"


# ---------------------------------------------------------------- opening


@FAMILIES
def test_the_national_container_opens_and_is_called_weak(pki: ThrowawayPki, family: Family) -> None:
    data = pki.container("person", family).read_bytes()
    found = protection_of(data)
    assert found is not None
    assert found.kind == "pkcs12"
    assert any("3DES" in weakness for weakness in found.weaknesses)
    assert any("RC2-40" in weakness for weakness in found.weaknesses)
    assert any("MAC" in weakness for weakness in found.weaknesses)
    opened = open_file(data, CONTAINER_PASSWORD.encode())
    assert opened.certificate == certificate(pki, "person", family)
    assert opened.pkcs8_der == read_key(pki.key("person", family).read_bytes()).pkcs8_der


@FAMILIES
def test_key_and_certificate_in_one_pem_file_belong_together(pki: ThrowawayPki, family: Family) -> None:
    key = pki.key("head", family).read_bytes()
    own, other = (pki.certificate(name, family).read_bytes() for name in ("head", "client"))
    assert open_file(key + other + own, None).certificate == certificate(pki, "head", family)
    assert open_file(key + other, None).certificate is None
    assert open_file(other + own, None).certificate == certificate(pki, "client", family)
    assert open_file(key, None).certificate is None


def test_a_certificate_is_told_from_a_key(pki: ThrowawayPki) -> None:
    for family in Family:
        der = certificate(pki, "head", family).der
        assert protection_of(der) is None
        assert open_file(der, None) == OpenedFile((certificate(pki, "head", family),))
    assert protection_of(pki.certificate("head").read_bytes()) is None


def _ec(encoding: Encoding, form: PrivateFormat, encryption: KeySerializationEncryption | None = None) -> bytes:
    return EC_KEY.private_bytes(encoding, form, encryption or NoEncryption())


@pytest.mark.parametrize("encryption", [None, BestAvailableEncryption(PASSWORD)])
@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        (Encoding.PEM, PrivateFormat.PKCS8),
        (Encoding.DER, PrivateFormat.PKCS8),
        (Encoding.PEM, PrivateFormat.TraditionalOpenSSL),  # in DER the old form says nowhere what it is
    ],
)
def test_ordinary_keys_are_read_in_all_their_forms(
    encoding: Encoding, encryption: KeySerializationEncryption | None, form: PrivateFormat
) -> None:
    data = _ec(encoding, form, encryption)
    assert open_file(data, PASSWORD).pkcs8_der == _ec(Encoding.DER, PrivateFormat.PKCS8)
    found = protection_of(data)
    assert found is not None
    assert found.is_weak  # not at all, or with few rounds
    if encryption is not None:
        for password in (None, b"wrong"):
            with pytest.raises(KeyMaterialError) as caught:
                open_file(data, password)
            assert caught.value.code == "key_password"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
@pytest.mark.parametrize("scheme", [("-v1", "PBE-SHA1-3DES"), ("-scrypt",)], ids=["3des", "scrypt"])
def test_a_scheme_that_only_others_know_is_left_to_them(scheme: tuple[str, ...], tmp_path: Path) -> None:
    plain, encrypted = tmp_path / "plain.pem", tmp_path / "encrypted.der"
    plain.write_bytes(_ec(Encoding.PEM, PrivateFormat.PKCS8))
    files = ("-in", str(plain), "-out", str(encrypted), "-outform", "DER")
    subprocess.run(["openssl", "pkcs8", "-topk8", *scheme, *files, "-passout", "pass:secret"], check=True)
    data = encrypted.read_bytes()
    assert open_file(data, b"secret").pkcs8_der == _ec(Encoding.DER, PrivateFormat.PKCS8)
    with pytest.raises(KeyMaterialError) as caught:
        open_file(data, b"wrong")
    assert caught.value.code == "key_password"
    found = protection_of(data)
    assert found is not None
    assert found.is_weak == (scheme != ("-scrypt",))


def test_two_keys_in_one_file_are_one_too_many() -> None:
    key = _ec(Encoding.PEM, PrivateFormat.PKCS8)
    with pytest.raises(KeyMaterialError) as caught:
        open_file(key + key, None)
    assert caught.value.code == "key_not_supported"


def test_a_key_that_signs_nothing_here_has_no_certificate(pki: ThrowawayPki) -> None:
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    opened = open_file(other + pki.certificate("head").read_bytes(), None)
    with pytest.raises(KeyMaterialError) as caught:
        _ = opened.certificate
    assert caught.value.code == "key_not_supported"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"\x30\x03\x02\x01\x03",
        b"\x30\x80",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ],
)
def test_something_else_is_refused_and_not_repeated(data: bytes) -> None:
    with pytest.raises(KeyMaterialError) as caught:
        open_file(data, PASSWORD)
    assert caught.value.code == "key_file_damaged"


def test_an_opened_key_does_not_show_itself(pki: ThrowawayPki) -> None:
    opened = open_file(pki.key("head").read_bytes(), None)
    assert opened.pkcs8_der is not None
    assert repr(opened.pkcs8_der) not in repr(opened)


_PLAIN = _ec(Encoding.DER, PrivateFormat.PKCS8)
_ENCRYPTED = _ec(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD))


def _mutated(data: st.DataObject, seeds: tuple[bytes, ...]) -> bytes:
    seed = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 3))):
        seed[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    return bytes(seed)


@given(st.data())
def test_a_mutated_key_is_read_or_refused_by_name(data: st.DataObject) -> None:
    mutated = _mutated(data, (_PLAIN, pem.armor("PRIVATE KEY", _PLAIN)))
    with contextlib.suppress(KeyMaterialError, MalformedMessage):
        open_file(mutated, PASSWORD)


@given(st.data())
def test_of_a_mutated_file_the_protection_is_told_or_it_is_refused(data: st.DataObject) -> None:
    mutated = _mutated(data, (_PLAIN, _ENCRYPTED, pem.armor("ENCRYPTED PRIVATE KEY", _ENCRYPTED)))
    with contextlib.suppress(KeyMaterialError, MalformedMessage):
        protection_of(mutated)
