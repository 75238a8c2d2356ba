from __future__ import annotations

import datetime as dt
import json
import shutil
import stat
import subprocess
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import KeyMaterialError, TrustRefused
from gateway.model import Iin
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.gost.pkcs12 import read_container
from gateway.trust import throwaway_pki
from gateway.trust.store import TrustStore
from gateway.trust.throwaway.certificates import Entry, crl, root
from gateway.trust.throwaway.keys import Family, generate, public_key_bits, read_key
from gateway.trust.throwaway.profile import authority_subject
from gateway.trust.throwaway_pki import CONTAINER_PASSWORD, ThrowawayPki
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationState

NOW = dt.datetime(2026, 11, 21, 12, 0, 30, 250, tzinfo=dt.UTC)
GOOD = ("gateway", "shep", "client", "head", "employee", "person")
BAD = ("expired", "revoked", "on_hold", "revoked_lately", "treasury")
SERVICES = ("ocsp", "tsa")
FAMILIES = pytest.mark.parametrize("family", list(Family))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayPki:
    return throwaway_pki.init(tmp_path_factory.mktemp("pki") / "new", now=NOW)


def certificate(pki: ThrowawayPki, name: str, family: Family = Family.RSA) -> Certificate:
    (found,) = read_certificates(pki.certificate(name, family).read_bytes())
    return found


@FAMILIES
@pytest.mark.parametrize("name", GOOD)
def test_its_signers_are_trusted_and_known_not_to_be_revoked(pki: ThrowawayPki, name: str, family: Family) -> None:
    store = TrustStore.load(pki.anchors)
    verdict = validate(certificate(pki, name, family), store, at=NOW, revocation=RevocationMode.REQUIRE)
    assert verdict.revocation.status is RevocationState.GOOD
    assert len(verdict.path.certificates) == 3
    assert store.material.problems == ()


@FAMILIES
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("expired", "expired"),
        ("revoked", "revoked"),
        ("on_hold", "revoked"),
        # named by the delta CRL only
        ("revoked_lately", "revoked"),
        ("stranger", "untrusted_issuer"),
        # valid, and for the treasury only
        ("treasury", "policy_not_allowed"),
    ],
)
def test_its_bad_signers_are_refused(pki: ThrowawayPki, name: str, code: str, family: Family) -> None:
    store = TrustStore.load(pki.anchors)
    with pytest.raises(TrustRefused) as caught:
        validate(certificate(pki, name, family), store, at=NOW, revocation=RevocationMode.REQUIRE)
    assert caught.value.code == code


@FAMILIES
def test_the_stranger_is_good_to_who_trusts_its_authority(pki: ThrowawayPki, family: Family) -> None:
    store = TrustStore.load(pki.certificate("stranger").parent)
    validate(certificate(pki, "stranger", family), store, at=NOW, revocation=RevocationMode.REQUIRE)


@FAMILIES
@pytest.mark.parametrize("name", ["shep", "gateway"])
def test_the_peers_are_found_by_issuer_and_serial(pki: ThrowawayPki, name: str, family: Family) -> None:
    known = certificate(pki, name, family)
    assert TrustStore.load(pki.anchors).find(known.issuer_key, known.serial) == known


@FAMILIES
@pytest.mark.parametrize("name", [*GOOD, *BAD, *SERVICES, "stranger"])
def test_every_key_fits_its_certificate_and_is_for_its_owner_only(pki: ThrowawayPki, name: str, family: Family) -> None:
    path = pki.key(name, family)
    key = read_key(path.read_bytes())
    assert key.family is family
    assert key.spki_der == certificate(pki, name, family).spki_der
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", GOOD)
def test_another_library_reads_the_rsa_keys(pki: ThrowawayPki, name: str) -> None:
    key = load_pem_private_key(pki.key(name).read_bytes(), password=None)
    assert key.public_key() == certificate(pki, name).public_key


@FAMILIES
def test_an_information_system_has_an_identifier_and_a_bin_and_no_person(pki: ThrowawayPki, family: Family) -> None:
    found = certificate(pki, "gateway", family)
    assert found.iin is None
    assert found.bin is not None
    assert found.roles == ("legal_entity", "information_system")
    assert "UID=1.2.398.999.1" in found.subject
    assert found.policies == ("1.2.398.3.3.2",)
    assert found.not_after - found.not_before == dt.timedelta(days=1_095)


@FAMILIES
@pytest.mark.parametrize(
    ("name", "role"),
    [("client", "right_to_sign"), ("head", "head"), ("employee", "employee"), ("treasury", "right_to_sign")],
)
def test_a_legal_entitys_signer_is_a_person_with_an_organisation(
    pki: ThrowawayPki, name: str, role: str, family: Family
) -> None:
    found = certificate(pki, name, family)
    assert found.iin is not None
    Iin(found.iin)
    assert found.bin is not None
    assert found.roles == ("legal_entity", role, *(("treasury_client",) if name == "treasury" else ()))


@FAMILIES
def test_a_person_has_an_iin_and_no_bin(pki: ThrowawayPki, family: Family) -> None:
    found = certificate(pki, "person", family)
    assert found.iin is not None
    Iin(found.iin)
    assert found.bin is None
    assert found.roles == ("person",)


def test_names_are_written_as_the_authority_of_today_writes_them(pki: ThrowawayPki) -> None:
    # CN, SURNAME, SERIALNUMBER, C, O, OU, GIVENNAME: the patronymic, last
    types = [oid for oid, _ in certificate(pki, "head", Family.GOST).subject_attributes]
    assert types == ["2.5.4.3", "2.5.4.4", "2.5.4.5", "2.5.4.6", "2.5.4.10", "2.5.4.11", "2.5.4.42"]
    root, issuing = ((pki.anchors / f"{name}-gost.pem").read_bytes() for name in ("root", "issuing"))
    orders = [[oid for oid, _ in read_certificates(one)[0].subject_attributes] for one in (root, issuing)]
    assert orders == [["2.5.4.3", "2.5.4.6"], ["2.5.4.6", "2.5.4.3"]]


def test_a_key_is_for_what_its_family_is_for(pki: ThrowawayPki) -> None:
    assert certificate(pki, "client").key_usage == {"digitalSignature", "nonRepudiation"}
    assert certificate(pki, "client").policies == ("1.2.398.3.3.2.1",)
    assert certificate(pki, "person").policies == ("1.2.398.3.3.2.3",)
    gost = certificate(pki, "client", Family.GOST)
    assert gost.key_usage == {"digitalSignature", "nonRepudiation", "keyAgreement"}
    assert gost.policies == ("1.2.398.3.3.2",)
    assert gost.key_family == "gost-2015-512"
    authentication = certificate(pki, "authentication")
    assert authentication.key_usage == {"digitalSignature", "keyEncipherment"}
    assert "1.3.6.1.5.5.7.3.2" in authentication.extended_key_usage
    assert not pki.certificate("authentication", Family.GOST).exists()


@FAMILIES
def test_a_certificate_says_where_its_key_is_kept(pki: ThrowawayPki, family: Family) -> None:
    extension = certificate(pki, "person", family).extensions["1.2.398.3.3.5"]
    assert extension.value == bytes.fromhex("300a06082a830e0303050101")  # as in the national test certificates
    assert not extension.critical


@FAMILIES
def test_the_services_are_for_their_purpose_and_for_nothing_else(pki: ThrowawayPki, family: Family) -> None:
    assert certificate(pki, "ocsp", family).extended_key_usage == ("1.3.6.1.5.5.7.3.9",)
    assert "1.3.6.1.5.5.7.48.1.5" in certificate(pki, "ocsp", family).extensions
    stamper = certificate(pki, "tsa", family)
    assert stamper.extended_key_usage == ("1.3.6.1.5.5.7.3.8",)
    assert stamper.extensions["2.5.29.37"].critical
    for name in SERVICES:
        with pytest.raises(TrustRefused) as caught:
            validate(
                certificate(pki, name, family),
                TrustStore.load(pki.anchors),
                at=NOW,
                revocation=RevocationMode.REQUIRE,
            )
        assert caught.value.code == "extended_key_usage"


def test_everything_calls_itself_a_test_and_points_nowhere(pki: ThrowawayPki) -> None:
    assert "THROW-AWAY" in (pki.directory / "README.txt").read_text()
    for path in pki.directory.rglob("*.pem"):
        (found,) = read_certificates(path.read_bytes())
        assert "TEST" in found.subject + found.issuer
        addresses = found.der.split(b"http://")[1:]
        assert addresses
        assert all(b"example.invalid/" in address for address in addresses)


def test_certificates_can_name_the_sandbox_instead(tmp_path: Path) -> None:
    made = throwaway_pki.init(tmp_path / "pki", now=NOW, families=[Family.GOST], address="http://127.0.0.1:8081/")
    der = certificate(made, "person", Family.GOST).der
    for address in (b"/ocsp", b"/crl/issuing-gost.crl", b"/crl/issuing-gost-delta.crl", b"/cert/issuing-gost.cer"):
        assert b"http://127.0.0.1:8081" + address in der
    assert b"http://127.0.0.1:8081/tsp" in certificate(made, "tsa", Family.GOST).der
    assert b"invalid" not in der


@FAMILIES
def test_one_family_can_be_had_alone(tmp_path: Path, family: Family) -> None:
    made = throwaway_pki.init(tmp_path / "pki", now=NOW, families=[family])
    for path in made.directory.rglob("*.*"):
        if path.suffix in (".pem", ".key", ".crl", ".p12"):
            assert ("-gost" in path.stem) == (family is Family.GOST)


def test_no_key_of_an_authority_is_written(pki: ThrowawayPki) -> None:
    everyone = (*GOOD, *BAD, *SERVICES, "stranger")
    expected = [f"{name}{family.suffix}.key" for name in everyone for family in Family]
    assert sorted(path.name for path in pki.directory.rglob("*.key")) == sorted([*expected, "authentication.key"])
    assert stat.S_IMODE(pki.services.stat().st_mode) == 0o700


@FAMILIES
def test_what_was_issued_is_written_down_for_the_responder(pki: ThrowawayPki, family: Family) -> None:
    rows = {row["name"]: row for row in json.loads(pki.issued.read_text())}
    row = rows[f"on_hold{family.suffix}"]
    assert int(row["serial"], 16) == certificate(pki, "on_hold", family).serial
    assert row["reason"] == 6
    assert row["issuer"] == f"issuing{family.suffix}"
    assert rows[f"gateway{family.suffix}"]["revoked_at"] is None


# ---------------------------------------------------------------- other judges


def test_another_library_reads_every_certificate_and_list(pki: ThrowawayPki) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in pki.directory.rglob("*.pem"):
            loaded = x509.load_pem_x509_certificate(path.read_bytes())
            assert loaded.serial_number.bit_length() in range(150, 160)
            if loaded.signature_algorithm_oid.dotted_string == "1.2.840.113549.1.1.11":
                assert list(loaded.extensions)
        issuing = x509.load_pem_x509_certificate((pki.anchors / "issuing.pem").read_bytes())
        for name, count in (("issuing.crl", 2), ("issuing-delta.crl", 1)):
            revoked = x509.load_der_x509_crl((pki.anchors / name).read_bytes())
            assert revoked.is_signature_valid(issuing.public_key())  # type: ignore[arg-type]
            assert len(revoked) == count
        indicator = revoked.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
        assert indicator.critical
        assert indicator.value.crl_number == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
@pytest.mark.parametrize("name", GOOD)
def test_openssl_builds_the_path(pki: ThrowawayPki, name: str) -> None:
    said = subprocess.run(
        [
            "openssl",
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-attime",
            str(int(NOW.timestamp())),
            *("-CAfile", pki.anchors / "root.pem", "-untrusted", pki.anchors / "issuing.pem"),
            *("-CRLfile", pki.anchors / "root.crl", "-CRLfile", pki.anchors / "issuing.crl"),
            pki.certificate(name),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip().endswith(": OK"), said.stderr


@FAMILIES
def test_the_container_of_the_national_kind_opens(pki: ThrowawayPki, family: Family) -> None:
    path = pki.container("person", family)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    found = read_container(data, CONTAINER_PASSWORD.encode())
    assert found.certificates == (certificate(pki, "person", family).der,)
    assert found.private_key.family == ("gost-2015-512" if family is Family.GOST else "other")
    assert bytes.fromhex("060a2a864886f70d010c0106") in data  # pbeWithSHA1And40BitRC2-CBC


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_openssl_opens_the_rsa_container(pki: ThrowawayPki) -> None:
    said = subprocess.run(
        [
            *("openssl", "pkcs12", "-legacy", "-info", "-noout", "-passin", f"pass:{CONTAINER_PASSWORD}"),
            *("-in", str(pki.container("person", Family.RSA))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "pbeWithSHA1And40BitRC2-CBC, Iteration 1024" in said.stderr
    assert "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 1024" in said.stderr


# ---------------------------------------------------------------- parts


def test_dates_from_2050_on_are_written_in_full() -> None:
    key = generate(Family.GOST)
    late = dt.datetime(2048, 1, 1, tzinfo=dt.UTC)
    authority = root(
        authority_subject("LATE TEST"), key, file="late", policy="1.2.3", cps="http://x.example.invalid/", now=late
    )
    assert authority.certificate.not_before.year == 2045
    assert authority.certificate.not_after.year == 2057


def test_a_list_may_name_nobody() -> None:
    authority = root(
        authority_subject("EMPTY TEST"),
        generate(Family.RSA),
        file="empty",
        policy="1.2.3",
        cps="http://x.example.invalid/",
        now=NOW,
    )
    day = dt.timedelta(days=1)
    empty = x509.load_der_x509_crl(crl(authority, {}, number=7, this_update=NOW, next_update=NOW + day))
    assert len(empty) == 0
    full = x509.load_der_x509_crl(
        crl(authority, {5: Entry(NOW - day, 1)}, number=8, this_update=NOW, next_update=NOW + day)
    )
    (entry,) = full
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise


def test_a_name_of_any_length_is_signed_as_it_is_written() -> None:
    # asn1crypto encodes anew what it has read when its length is a multiple of 256 plus 128
    key = generate(Family.GOST)
    for letters in range(90, 125):
        subject = authority_subject("T" * letters)
        made = root(subject, key, file="", policy="1.2.3", cps="http://x.example.invalid/", now=NOW)
        assert TrustStore.of([made.certificate]).material.anchors == {made.certificate}


@FAMILIES
def test_a_key_does_not_show_itself(family: Family) -> None:
    key = generate(family)
    assert key.pkcs8_der.hex() not in repr(key)
    assert repr(key.pkcs8_der) not in repr(key)


def test_a_key_identifier_is_of_the_bits_of_the_key(pki: ThrowawayPki) -> None:
    loaded = x509.load_pem_x509_certificate(pki.certificate("gateway").read_bytes())
    expected = x509.SubjectKeyIdentifier.from_public_key(loaded.public_key()).digest  # type: ignore[arg-type]
    found = certificate(pki, "gateway")
    assert found.ski == expected
    assert len(public_key_bits(certificate(pki, "gateway", Family.GOST).spki_der)) == 131  # OCTET STRING of 128


@pytest.mark.parametrize(
    "text",
    [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
    ids=["empty", "no_key"],
)
def test_something_else_than_its_keys_is_refused(text: bytes) -> None:
    with pytest.raises(KeyMaterialError):
        read_key(text)


def test_an_elliptic_key_is_not_one_of_its_keys() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyMaterialError, match="neither an RSA nor a GOST"):
        read_key(text)


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
