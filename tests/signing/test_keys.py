from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest
from asn1crypto import algos
from asn1crypto import keys as asn1_keys
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from gateway.errors import KeyMaterialError
from gateway.signing.algorithms import RSA_SHA512_URI, SIGNATURES
from gateway.signing.gost.asn1 import PrivateKey
from gateway.signing.gost.backend import GostBackend, choose_backend
from gateway.signing.gost.own import OwnBackend
from gateway.signing.gost.pkcs12 import Container
from gateway.signing.keys import MAX_KEY_FILE_BYTES, SoftwareKey, load_signing_key
from gateway.signing.national import using_backend
from tests.signing.conftest import AnySigner, Signer, mint
from tests.signing.national_keys import NationalSigner, mint_national, pem

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "samples" / "pki-test"
PASSWORD = "құпия сөз".encode()


def encoded(signer: Signer, encoding: Encoding, form: PrivateFormat, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return signer.private_key.private_bytes(encoding, form, encryption)


def signs(path: Path, signer: AnySigner, password: bytes | None = None, certificate: Path | None = None) -> None:
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


@pytest.fixture
def container() -> Path:
    """A container of the national test authority: 3DES, RC2-40, a GOST key."""
    path = SAMPLES / "person_valid.p12"
    if not path.exists():
        pytest.skip("the samples of the national test authority are not beside this checkout")
    return path


def test_a_container_of_the_authority_signs(container: Path, national_backend: GostBackend) -> None:
    key = load_signing_key(container, b"Qwerty12")
    assert key.algorithm.name == "GOST-2015-512"
    assert key.certificate.key_family == "gost-2015-512"
    assert key.algorithm.holds(key.certificate, b"data", key.sign(b"data"))
    assert not key.algorithm.holds(key.certificate, b"other data", key.sign(b"data"))


@pytest.mark.parametrize("password", [None, b"wrong", b"\xff"])
def test_a_container_of_the_authority_wants_its_password(container: Path, password: bytes | None) -> None:
    assert refusal(container, password).code == "key_password"


def test_a_national_key_does_not_sign_in_variable_time_unless_it_is_allowed(container: Path) -> None:
    with using_backend(choose_backend("own")):
        error = refusal(container, b"Qwerty12")
    assert error.code == "variable_time"
    assert "signing.allow_variable_time" in error.message


def test_a_national_key_signs_with_its_own_algorithm_only(container: Path, own_backend: GostBackend) -> None:
    assert refusal(container, b"Qwerty12", uri=RSA_SHA512_URI).code == "key_not_supported"


def test_a_container_in_the_authoritys_form_may_hold_an_rsa_key(signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "rsa.p12"
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(1024)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())
        .build(PASSWORD)
    )
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"a", signer.private_key, signer.x509, None, encryption))
    signs(path, signer, PASSWORD)


def test_an_rsa_key_out_of_the_national_reader_is_the_same_key(
    signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> object:  # as a later `cryptography` may answer to RC2-40
        raise UnsupportedAlgorithm("RC2")

    path = tmp_path / "rsa.p12"
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"a", signer.private_key, signer.x509, None, BestAvailableEncryption(PASSWORD)
        )
    )
    monkeypatch.setattr(pkcs12, "load_key_and_certificates", unsupported)
    signs(path, signer, PASSWORD)


def national(signer: AnySigner) -> NationalSigner:
    assert isinstance(signer, NationalSigner)
    return signer


def test_a_national_key_in_pem_with_its_chain_signs(
    signers: dict[str, AnySigner], national_backend: GostBackend, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    others = signers["rsa"].certificate_pem + signers["gost-2004"].certificate_pem
    path.write_bytes(signers["gost-2015-512"].key_pem + others + signers["gost-2015-512"].certificate_pem)
    signs(path, signers["gost-2015-512"])


def encrypted_pkcs8(der: bytes, password: bytes) -> bytes:
    """EncryptedPrivateKeyInfo with PBES2 as `openssl pkcs8 -topk8` writes it."""
    salt, iv = bytes(range(16)), bytes(range(16, 32))
    pad = 16 - len(der) % 16
    encryptor = Cipher(AES(hashlib.pbkdf2_hmac("sha256", password, salt, 2048, 32)), CBC(iv)).encryptor()
    kdf = {
        "algorithm": "pbkdf2",
        "parameters": {
            "salt": algos.Pbkdf2Salt("specified", salt),
            "iteration_count": 2048,
            "prf": {"algorithm": "sha256"},
        },
    }
    parameters = {"key_derivation_func": kdf, "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": iv}}
    return bytes(
        asn1_keys.EncryptedPrivateKeyInfo(
            {
                "encryption_algorithm": {"algorithm": "pbes2", "parameters": parameters},
                "encrypted_data": encryptor.update(der + bytes([pad]) * pad) + encryptor.finalize(),
            }
        ).dump()
    )


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_national_key_in_pkcs8_signs(
    password: bytes | None,
    encoding: Encoding,
    signers: dict[str, AnySigner],
    own_backend: GostBackend,
    tmp_path: Path,
) -> None:
    signer = national(signers["gost-2015-512"])
    path, certificate = tmp_path / "key", tmp_path / "certificate.cer"
    der = signer.pkcs8 if password is None else encrypted_pkcs8(signer.pkcs8, password)
    label = "PRIVATE KEY" if password is None else "ENCRYPTED PRIVATE KEY"
    path.write_bytes(der if encoding is Encoding.DER else pem(label, der))
    certificate.write_bytes(signer.certificate.der)
    signs(path, signer, password, certificate)
    if password is not None:
        assert refusal(path, b"wrong", certificate).code == "key_password"
        assert refusal(path, None, certificate).code == "key_password"


@pytest.mark.parametrize("family", ["gost-2004", "gost-2015-256"])
def test_a_key_of_an_old_or_unproven_kind_does_not_sign(
    family: str, signers: dict[str, AnySigner], own_backend: GostBackend, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(signers[family].key_pem + signers[family].certificate_pem)
    error = refusal(path)
    assert error.code == "key_not_supported"
    assert family in error.message
    with pytest.raises(KeyMaterialError) as caught:
        SoftwareKey(signers[family].certificate, signers[family].key().algorithm, b"").sign(b"data")
    assert caught.value.code == "key_not_supported"


def test_the_certificate_of_another_national_key_is_not_taken(
    signers: dict[str, AnySigner], own_backend: GostBackend, tmp_path: Path
) -> None:
    path, certificate = tmp_path / "key.pem", tmp_path / "other.pem"
    path.write_bytes(signers["gost-2015-512"].key_pem)
    other = mint_national("TEST басқа", "gost-2015-512")
    damaged = other.certificate.der.replace(
        bytes.fromhex("060a2a830e030a0101020201"), bytes.fromhex("060a2a830e030a0101020202")
    )
    certificate.write_bytes(other.certificate_pem + pem("CERTIFICATE", damaged))
    error = refusal(path, None, certificate)
    assert error.code == "certificate_missing"
    assert str(certificate) in error.message


def test_a_signature_that_does_not_hold_is_found_when_the_key_is_loaded(
    signers: dict[str, AnySigner], tmp_path: Path
) -> None:
    class Broken(OwnBackend):
        def sign512(self, private_key: bytes, digest: bytes) -> bytes:
            return bytes(128)

    path = tmp_path / "key.pem"
    path.write_bytes(signers["gost-2015-512"].key_pem + signers["gost-2015-512"].certificate_pem)
    with using_backend(Broken()):
        assert refusal(path).code == "key_file_damaged"


def test_a_national_key_that_is_cut_is_told_as_such(signers: dict[str, AnySigner], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(national(signers["gost-2015-512"]).pkcs8.replace(b"\x04\x40", b"\x04\x3f"))
    assert "GOST" in refusal(path).message
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n")
    assert refusal(path).code == "key_file_damaged"


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
def test_a_national_key_without_its_certificate_does_not_sign(
    encoding: Encoding, tmp_path: Path, own_backend: GostBackend
) -> None:
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
    assert refusal(path).code == "certificate_missing"


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    weak = mint("TEST weak", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    path = tmp_path / "key.pem"
    path.write_bytes(weak.key_pem + weak.certificate_pem)
    assert refusal(path).code == "key_size"


def test_a_container_whose_certificate_cannot_be_read_is_damaged(
    signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.p12"
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"a", signer.private_key, signer.x509, None, BestAvailableEncryption(PASSWORD)
        )
    )

    def damaged(data: bytes, password: bytes) -> Container:
        return Container(PrivateKey("other", b""), (b"\x30\x00",))

    def value_error(*_: object) -> object:
        raise ValueError

    monkeypatch.setattr(pkcs12, "load_key_and_certificates", value_error)
    monkeypatch.setattr("gateway.signing.keys.read_container", damaged)
    assert refusal(path, PASSWORD).code == "key_file_damaged"


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_key_of_an_algorithm_that_nobody_reads_is_not_supported(
    encoding: Encoding, signer: Signer, certificate: Path, tmp_path: Path
) -> None:
    der = encoded(signer, Encoding.DER, PrivateFormat.PKCS8)
    unknown = der.replace(bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01017f"))
    path = tmp_path / "key"
    path.write_bytes(unknown if encoding is Encoding.DER else pem("PRIVATE KEY", unknown))
    assert refusal(path, None, certificate).code in ("key_not_supported", "key_file_damaged")
