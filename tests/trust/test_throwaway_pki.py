from __future__ import annotations

import datetime as dt
import stat
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import KeyMaterialError, TrustRefused
from gateway.model import Iin
from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust import throwaway_pki
from gateway.trust.store import TrustStore
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationState

NOW = dt.datetime(2026, 11, 21, 12, 0, 30, 250, tzinfo=dt.UTC)
SIGNERS = ("gateway", "shep", "client", "person", "expired", "revoked", "stranger")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("pki") / "new", now=NOW)


def certificate(pki: ThrowawayPki, name: str) -> Certificate:
    (found,) = read_certificates(pki.certificate(name).read_bytes())
    return found


@pytest.mark.parametrize("name", ["gateway", "shep", "client", "person"])
def test_its_signers_are_trusted_and_known_not_to_be_revoked(pki: ThrowawayPki, name: str) -> None:
    store = TrustStore.load(pki.anchors)
    verdict = validate(certificate(pki, name), store, at=NOW, revocation=RevocationMode.REQUIRE)
    assert verdict.revocation.status is RevocationState.GOOD
    assert len(verdict.path.certificates) == 3


@pytest.mark.parametrize(
    ("name", "code"), [("expired", "expired"), ("revoked", "revoked"), ("stranger", "untrusted_issuer")]
)
def test_its_bad_signers_are_refused(pki: ThrowawayPki, name: str, code: str) -> None:
    with pytest.raises(TrustRefused) as caught:
        validate(certificate(pki, name), TrustStore.load(pki.anchors), at=NOW, revocation=RevocationMode.REQUIRE)
    assert caught.value.code == code


def test_the_stranger_is_good_to_who_trusts_its_authority(pki: ThrowawayPki) -> None:
    store = TrustStore.load(pki.certificate("stranger").parent)
    validate(certificate(pki, "stranger"), store, at=NOW, revocation=RevocationMode.REQUIRE)


def test_the_peers_are_found_by_issuer_and_serial(pki: ThrowawayPki) -> None:
    store = TrustStore.load(pki.anchors)
    for name in ("shep", "gateway"):
        known = certificate(pki, name)
        assert store.find(known.issuer_key, known.serial) == known


@pytest.mark.parametrize("name", SIGNERS)
def test_every_key_fits_its_certificate_and_is_for_its_owner_only(pki: ThrowawayPki, name: str) -> None:
    key = load_pem_private_key(pki.key(name).read_bytes(), password=None)
    assert key.public_key() == certificate(pki, name).public_key
    assert stat.S_IMODE(pki.key(name).stat().st_mode) == 0o600


def test_an_information_system_has_an_identifier_and_a_bin_and_no_person(pki: ThrowawayPki) -> None:
    found = certificate(pki, "gateway")
    assert found.iin is None
    assert found.bin is not None
    assert found.roles == ("legal_entity", "information_system")
    assert "UID=1.2.398.999.1" in found.subject
    assert found.policies == ("1.2.398.3.3.2",)
    assert found.not_after - found.not_before == dt.timedelta(days=1_095)


def test_a_legal_entitys_signer_is_a_person_with_an_organisation(pki: ThrowawayPki) -> None:
    found = certificate(pki, "client")
    assert found.iin is not None
    Iin(found.iin)
    assert found.bin is not None
    assert found.roles == ("legal_entity", "right_to_sign")
    assert found.key_usage == {"digitalSignature", "nonRepudiation"}


def test_a_person_has_an_iin_and_no_bin(pki: ThrowawayPki) -> None:
    found = certificate(pki, "person")
    assert found.iin is not None
    Iin(found.iin)
    assert found.bin is None
    assert found.roles == ("person",)


def test_everything_calls_itself_a_test_and_points_nowhere(pki: ThrowawayPki) -> None:
    assert "THROW-AWAY" in (pki.directory / "README.txt").read_text()
    for path in pki.directory.rglob("*.pem"):
        (found,) = read_certificates(path.read_bytes())
        assert "TEST" in found.subject + found.issuer
    addresses = certificate(pki, "gateway").der.split(b"http://")[1:]
    assert addresses
    assert all(b"example.invalid/" in address for address in addresses)


def test_no_key_of_an_authority_is_written(pki: ThrowawayPki) -> None:
    keys = sorted(path.name for path in pki.directory.rglob("*.key"))
    assert keys == sorted(f"{name}.key" for name in SIGNERS)


def test_another_library_reads_every_certificate_and_list(pki: ThrowawayPki) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in pki.directory.rglob("*.pem"):
            loaded = x509.load_pem_x509_certificate(path.read_bytes())
            assert loaded.serial_number.bit_length() in range(150, 160)
        issuing = x509.load_pem_x509_certificate((pki.anchors / "issuing.pem").read_bytes())
        revoked = x509.load_der_x509_crl((pki.anchors / "issuing.crl").read_bytes())
        assert revoked.is_signature_valid(issuing.public_key())  # type: ignore[arg-type]
        assert len(revoked) == 1


def test_nothing_is_overwritten(pki: ThrowawayPki) -> None:
    with pytest.raises(KeyMaterialError, match="not empty"):
        throwaway_pki.init(pki.directory, now=NOW)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyMaterialError, match="file"):
        throwaway_pki.init(tmp_path / "file" / "below", now=NOW)


def test_now_needs_a_time_zone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        throwaway_pki.init(tmp_path, now=dt.datetime(2026, 1, 1))  # noqa: DTZ001
