from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from gateway.errors import KeyMaterialError
from gateway.signing.algorithms import RSA_SHA512_URI, SIGNATURES
from gateway.signing.keys import MAX_KEY_FILE_BYTES, load_signing_key
from tests.signing.conftest import Signer, mint

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "pki-test"
PASSWORD = "құпия сөз".encode()


def encoded(signer: Signer, encoding: Encoding, form: PrivateFormat, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return signer.private_key.private_bytes(encoding, form, encryption)


def signs(path: Path, signer: Signer, password: bytes | None = None, certificate: Path | None = None) -> None:
    key = load_signing_key(path, password, certificate)
    assert key.certificate == signer.certificate
    assert key.algorithm.holds(signer.certificate, b"data", key.sign(b"data"))
    assert not key.algorithm.holds(signer.certificate, b"other data", key.sign(b"data"))


@pytest.fixture
def certificate(tmp_path: Path, signer: Signer) -> Path:
    path = tmp_path / "certificate.pem"
    path.write_bytes(signer.certificate_pem)
    return path


@pytest.mark.parametrize("password", [None, PASSWORD])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_pem_key_with_its_certificate_beside_it_signs(
    form: PrivateFormat, password: bytes | None, signer: Signer, certificate: Path, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(encoded(signer, Encoding.PEM, form, password))
    signs(path, signer, password, certificate)


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_der_key_with_its_certificate_in_der_signs(password: bytes | None, signer: Signer, tmp_path: Path) -> None:
    path, certificate = tmp_path / "key", tmp_path / "certificate.cer"
    path.write_bytes(encoded(signer, Encoding.DER, PrivateFormat.PKCS8, password))
    certificate.write_bytes(signer.certificate.der)
    signs(path, signer, password, certificate)


@pytest.mark.parametrize("family", ["rsa", "ec-p256", "ec-p384"])
def test_one_pem_file_with_key_and_chain_signs(
    family: str, signers: dict[str, Signer], stranger: Signer, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.pem"
    path.write_bytes(signers[family].key_pem + stranger.certificate_pem + signers[family].certificate_pem)
    signs(path, signers[family])


@pytest.mark.parametrize("password", [None, PASSWORD])
@pytest.mark.parametrize("with_chain", [True, False])
def test_a_pkcs12_container_signs(
    with_chain: bool, password: bytes | None, signer: Signer, stranger: Signer, tmp_path: Path
) -> None:
    path = tmp_path / "key.p12"
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    chain = [stranger.x509] if with_chain else None
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"a", signer.private_key, signer.x509, chain, encryption))
    signs(path, signer, password)


def test_a_password_that_is_not_needed_does_no_harm(signer: Signer, certificate: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(signer.key_pem)
    signs(path, signer, PASSWORD, certificate)


def test_another_algorithm_of_the_same_key_can_be_chosen(signer: Signer, certificate: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(signer.key_pem)
    algorithm = SIGNATURES[RSA_SHA512_URI]
    assert load_signing_key(path, None, certificate, algorithm=algorithm).algorithm is algorithm


def test_a_key_never_shows_itself(signer: Signer) -> None:
    assert "private" not in repr(signer.key()).lower()


# ---------------------------------------------------------------- what an operator does wrong


def refusal(
    path: Path, password: bytes | None = None, certificate: Path | None = None, uri: str | None = None
) -> KeyMaterialError:
    with pytest.raises(KeyMaterialError) as caught:
        load_signing_key(path, password, certificate, algorithm=SIGNATURES[uri] if uri else None)
    assert str(path) in caught.value.message or (certificate is not None and str(certificate) in caught.value.message)
    assert PASSWORD.decode() not in caught.value.message
    return caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").code == "key_file"


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"\0" * (MAX_KEY_FILE_BYTES + 1))
    assert refusal(path).code == "key_file"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        b"text",
        b"\x30\x03\x02\x01\x00",
        b"\x30\x82\x00\x03\x02\x01\x00",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_file_without_a_key_says_what_can_be_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    assert refusal(path).code == "key_file_damaged"


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize(("password", "says"), [(None, "give its password"), (b"wrong", "does not open it")])
def test_a_wrong_or_missing_password_is_told_apart(
    encoding: Encoding, password: bytes | None, says: str, signer: Signer, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(encoded(signer, encoding, PrivateFormat.PKCS8, PASSWORD))
    error = refusal(path, password)
    assert error.code == "key_password"
    assert says in error.message


def test_a_container_with_a_wrong_password_is_refused(signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "key.p12"
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"a", signer.private_key, signer.x509, None, BestAvailableEncryption(b"x")
        )
    )
    assert refusal(path, b"wrong").code == "key_password"


def test_a_container_without_a_key_is_refused(stranger: Signer, tmp_path: Path) -> None:
    path = tmp_path / "certificates.p12"
    path.write_bytes(pkcs12.serialize_key_and_certificates(None, None, None, [stranger.x509], NoEncryption()))
    assert refusal(path).code == "key_file_damaged"


def test_a_national_container_is_refused_with_the_true_reason(tmp_path: Path) -> None:
    path = SAMPLES / "person_valid.p12"
    if not path.exists():
        pytest.skip("the samples of the national test authority are not beside this checkout")
    error = refusal(path, b"Qwerty12")
    assert error.code == "key_password"
    assert "neither RSA nor EC" in error.message


def test_a_key_without_its_certificate_is_refused(signer: Signer, stranger: Signer, tmp_path: Path) -> None:
    path, other = tmp_path / "key.pem", tmp_path / "other.pem"
    path.write_bytes(signer.key_pem)
    other.write_bytes(stranger.certificate_pem)
    assert refusal(path).code == "certificate_missing"
    assert refusal(path, None, other).code == "certificate_missing"


@pytest.mark.parametrize("data", [b"no certificate", b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_certificate_file_is_named(data: bytes, signer: Signer, tmp_path: Path) -> None:
    path, other = tmp_path / "key.pem", tmp_path / "other.pem"
    path.write_bytes(signer.key_pem)
    other.write_bytes(data)
    assert refusal(path, None, other).code == "key_file_damaged"


@pytest.mark.parametrize("kind", ["ed25519", "dsa", "p521"])
def test_a_key_of_another_kind_is_refused(kind: str, certificate: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    if kind == "p521":
        other = mint("TEST P-521", ec.generate_private_key(ec.SECP521R1()))
        path.write_bytes(other.key_pem + other.certificate_pem)
        assert refusal(path).code == "key_not_supported"
        return
    key: ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey = ed25519.Ed25519PrivateKey.generate()
    if kind == "dsa":
        key = dsa.generate_private_key(1024)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert refusal(path, None, certificate).code == "key_not_supported"


def test_an_algorithm_of_another_key_is_refused(signers: dict[str, Signer], tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(signers["ec-p256"].key_pem + signers["ec-p256"].certificate_pem)
    assert refusal(path, uri=RSA_SHA512_URI).code == "key_not_supported"


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_national_key_outside_a_container_is_refused(encoding: Encoding, tmp_path: Path) -> None:
    # PrivateKeyInfo with the OIDs of PKI.md section 2 and an invented key of 64 bytes
    algorithm = bytes.fromhex("3023 06092a830e030a01010202 3016 060a2a830e030a0101020201 06082a830e030a010303")
    octets = bytes.fromhex("0442 0440") + bytes(range(64))
    content = bytes.fromhex("020100") + algorithm + octets
    der = b"\x30\x81" + bytes([len(content)]) + content
    path = tmp_path / "key"
    label = b"PRIVATE KEY-----"
    path.write_bytes(
        der
        if encoding is Encoding.DER
        else b"-----BEGIN " + label + b"\n" + b64encode(der) + b"\n-----END " + label + b"\n"
    )
    assert refusal(path).code in {"key_not_supported", "key_file_damaged"}


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    weak = mint("TEST weak", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    path = tmp_path / "key.pem"
    path.write_bytes(weak.key_pem + weak.certificate_pem)
    assert refusal(path).code == "key_size"
