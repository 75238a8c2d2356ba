"""Keys in PKCS#11 tokens, tried with SoftHSM2."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree

from gateway.errors import KeyMaterialError
from gateway.signing.algorithms import ECDSA_SHA256_URI, RSA_SHA512_URI, SIGNATURES
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import load_signing_key
from gateway.signing.tokens import TokenKey, read_uri
from gateway.signing.wss import sign_body, verify_envelope
from tests.signing.conftest import Signer, mint

pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
MODULE = next((p for p in Path("/usr/lib").glob("**/libsofthsm2.so") if "softhsm" in str(p)), None)
pytestmark = pytest.mark.skipif(
    MODULE is None or shutil.which("softhsm2-util") is None, reason="the Debian package softhsm2 is not installed"
)
PIN = "271828"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Iterator[str]:
    """A token `fund` with the signer's key under `gateway`, a key without certificate, a short one and an EC one.

    Gives the URI without the object.
    """
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "fund", "--pin", PIN, "--so-pin", "314159"],
            check=True,
            capture_output=True,
        )
        from pkcs11.util.ec import encode_named_curve_parameters

        library = pkcs11.lib(str(MODULE))
        library.reinitialize()
        with library.get_token(token_label="fund").open(rw=True, user_pin=PIN) as session:
            put(session, "gateway", b"\1", signer.private_key, signer.certificate.der)
            put(session, "alone", b"\2", rsa.generate_private_key(65537, 2048))
            put(session, "short", b"\3", rsa.generate_private_key(65537, 1024))
            put(session, "twice", b"\4", rsa.generate_private_key(65537, 2048))
            put(session, "twice", b"\5", rsa.generate_private_key(65537, 2048))
            curve = mint("TEST curve", ec.generate_private_key(ec.SECP256R1()))
            put(session, "foreign", b"\6", rsa.generate_private_key(65537, 2048), curve.certificate.der)
            put(session, "damaged", b"\7", rsa.generate_private_key(65537, 2048), b"\x30\x00")
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
            )
            parameters.generate_keypair(store=True, label="curve")
        yield f"pkcs11:token=fund;object={{}}?module-path={MODULE}"


def put(session: Any, label: str, identifier: bytes, key: rsa.RSAPrivateKey, certificate: bytes | None = None) -> None:
    from pkcs11.util.rsa import decode_rsa_private_key

    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    common = {pkcs11.Attribute.TOKEN: True, pkcs11.Attribute.LABEL: label, pkcs11.Attribute.ID: identifier}
    session.create_object(decode_rsa_private_key(der) | common)
    if certificate is not None:
        session.create_object(
            common
            | {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                pkcs11.Attribute.SUBJECT: b"",
                pkcs11.Attribute.VALUE: certificate,
            }
        )


def refusal(uri: str, pin: bytes | None = PIN.encode(), certificate: Path | None = None) -> str:
    with pytest.raises(KeyMaterialError) as caught:
        load_signing_key(Path(uri), pin, certificate)
    assert PIN not in caught.value.message
    assert caught.value.message.startswith("pkcs11:")
    return caught.value.code


def test_a_key_in_a_token_signs_messages(store: str, signer: Signer, body: etree._Element) -> None:
    key = load_signing_key(Path(store.format("gateway")), PIN.encode())
    assert key.certificate == signer.certificate
    assert PIN not in repr(key)
    verified = verify_envelope(sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER))
    assert (verified.certificate, verified.algorithm) == (signer.certificate, "RSA-SHA256")


def test_the_certificate_may_lie_in_a_file(store: str, signer: Signer, stranger: Signer, tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    path.write_bytes(stranger.certificate_pem + signer.certificate_pem)
    assert load_signing_key(Path(store.format("gateway")), PIN.encode(), path).certificate == signer.certificate
    path.write_bytes(stranger.certificate_pem)
    assert refusal(store.format("gateway"), certificate=path) == "certificate_missing"


def test_another_algorithm_can_be_chosen(store: str) -> None:
    row = SIGNATURES[RSA_SHA512_URI]
    key = load_signing_key(Path(store.format("gateway")), PIN.encode(), algorithm=row)
    assert row.holds(key.certificate, b"data", key.sign(b"data"))
    with pytest.raises(KeyMaterialError) as caught:
        load_signing_key(Path(store.format("gateway")), PIN.encode(), algorithm=SIGNATURES[ECDSA_SHA256_URI])
    assert caught.value.code == "key_not_supported"


def test_threads_share_a_token(store: str) -> None:
    key = load_signing_key(Path(store.format("gateway")), PIN.encode())
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda n: (n, key.sign(b"%d" % n)), range(40)))
    assert all(key.algorithm.holds(key.certificate, b"%d" % n, value) for n, value in values)


def test_a_session_that_was_lost_is_opened_again(store: str) -> None:
    key = load_signing_key(Path(store.format("gateway")), PIN.encode())
    assert isinstance(key, TokenKey)
    key._opened.session.close()
    assert key.algorithm.holds(key.certificate, b"data", key.sign(b"data"))


def test_a_key_is_found_by_its_id(store: str, signer: Signer) -> None:
    uri = store.replace("object={}", "id=%01")
    assert load_signing_key(Path(uri), PIN.encode()).certificate == signer.certificate


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("nobody", "token_missing"),
        ("twice", "token_missing"),
        ("alone", "certificate_missing"),
        ("foreign", "certificate_missing"),
        ("damaged", "certificate_missing"),
        ("short", "key_size"),
        ("curve", "key_not_supported"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(label: str, code: str, store: str) -> None:
    assert refusal(store.format(label)) == code


@pytest.mark.parametrize("pin", [None, b"wrong", b"\xff", b""])
def test_a_wrong_pin_is_told(pin: bytes | None, store: str) -> None:
    pkcs11.lib(str(MODULE)).reinitialize()  # nobody is logged in
    assert refusal(store.format("gateway"), pin) == "key_password"


def test_a_token_that_is_not_there_is_told(store: str) -> None:
    assert refusal(store.format("gateway").replace("fund", "bank")) == "token_missing"


def test_a_library_that_is_not_there_is_told(store: str, tmp_path: Path) -> None:
    assert refusal(f"pkcs11:object=a?module-path={tmp_path / 'none.so'}") == "token_library"


def test_without_the_package_the_extra_is_named(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyMaterialError) as caught:
        load_signing_key(Path(store.format("gateway")), PIN.encode())
    assert caught.value.code == "token_library"
    assert "shep-gateway[pkcs11]" in caught.value.message


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:object=a",
        "pkcs11:token=a?module-path=/a.so",
        "pkcs11:object=a?module-path=/a.so&pin-value=1",
        "pkcs11:object=a;object=b?module-path=/a.so",
        "pkcs11:object=a;type=private?module-path=/a.so",
        "pkcs11:object=%ff?module-path=/a.so",
        "pkcs11:object=?module-path=/a.so",
        "pkcs11:object?module-path=/a.so",
    ],
)
def test_a_uri_that_is_not_understood_is_refused(uri: str) -> None:
    assert refusal(uri) == "token_uri"


def test_every_part_of_a_uri_is_read() -> None:
    read = read_uri("pkcs11:token=Fund%20token;serial=0001;object=%D0%BA%D1%96%D0%BB%D1%82;id=%01%FF?module-path=/a.so")
    assert (read.token, read.serial, read.object, read.id) == ("Fund token", b"0001", "кілт", b"\x01\xff")
    assert read.module_path == "/a.so"
