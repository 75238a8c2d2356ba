from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.errors import KeyMaterialError, RevocationUnknown, TrustRefused
from gateway.trust import store as store_module
from gateway.trust.store import TrustStore, sort_out
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationRules
from tests.trust.minting import DAY, NOW, Minted, authority, crl, crl_der, ec_key, entry, mint, rsa_key, with_sha1

REQUIRE = RevocationMode.REQUIRE

ROOT = authority("root")
ISSUING = authority("issuing", ROOT)
LEAF = mint("leaf", ISSUING)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    (tmp_path / "issuing.cer").write_bytes(ISSUING.der)
    (tmp_path / "peer.crt").write_bytes(LEAF.pem)
    (tmp_path / "root.crl").write_bytes(crl_der(ROOT))
    (tmp_path / "issuing-list.der").write_bytes(crl_der(ISSUING))
    return tmp_path


def test_a_directory_is_sorted_into_anchors_intermediates_peers_and_lists(directory: Path) -> None:
    material = TrustStore.load(directory).material
    assert material.anchors == {ROOT.parsed}
    assert material.intermediates == {ISSUING.parsed}
    assert material.peers == {LEAF.parsed}
    assert len(material.crls) == 2
    assert material.problems == ()
    assert repr(material) == "TrustMaterial(1 anchors, 1 intermediates, 1 peers, 2 CRLs)"


def test_a_directory_is_enough_to_trust_a_signer_and_its_revocation(directory: Path) -> None:
    verdict = validate(LEAF.parsed, TrustStore.load(directory), at=NOW, revocation=REQUIRE)
    assert [c.common_name for c in verdict.path.certificates] == ["leaf", "issuing", "root"]


def test_a_bundle_of_certificates_and_lists_is_read(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    lists = b"".join(x509.load_der_x509_crl(crl_der(issuer)).public_bytes(Encoding.PEM) for issuer in (ROOT, ISSUING))
    (tmp_path / "all.pem").write_bytes(b"# bundle\n" + ROOT.pem + ISSUING.pem + lists)
    material = TrustStore.load(tmp_path).material
    assert (len(material.anchors), len(material.intermediates), len(material.crls)) == (1, 1, 2)


def test_other_files_and_folders_are_passed_over(directory: Path) -> None:
    (directory / "README.txt").write_text("notes")
    (directory / ".hidden.pem").write_bytes(b"-----BEGIN CERTIFICATE-----")
    (directory / "sub").mkdir()
    (directory / "sub" / "more.pem").write_bytes(authority("other").pem)
    assert len(TrustStore.load(directory).material.anchors) == 1


def test_a_certificate_is_found_by_issuer_and_serial(directory: Path) -> None:
    store = TrustStore.load(directory)
    assert store.find(LEAF.parsed.issuer_key, LEAF.parsed.serial) == LEAF.parsed
    assert store.find(LEAF.parsed.issuer_key, LEAF.parsed.serial + 10**9) is None


def test_two_certificates_with_one_issuer_and_serial_are_not_found_by_it() -> None:
    twins = [mint("a", ROOT, serial=77), mint("b", ROOT, serial=77), mint("c", ROOT, serial=77)]
    material = sort_out(t.parsed for t in twins)
    assert material.find(ROOT.parsed.subject_key, 77) is None
    assert "serial 77" in material.problems[0]


def test_a_self_issued_certificate_that_another_key_signed_is_no_anchor() -> None:
    bridge = authority("root", Minted(ROOT.der, ec_key("older-root"), ROOT.name))
    material = sort_out([bridge.parsed])
    assert material.anchors == frozenset()
    assert material.intermediates == {bridge.parsed}
    assert material.problems == ()


def test_a_self_signed_certificate_with_sha1_is_no_anchor_and_says_why() -> None:
    old = authority("sha1-root", key=rsa_key("sha1-root"))
    material = sort_out([with_sha1(old, rsa_key("sha1-root")).parsed])
    assert material.anchors == frozenset()
    assert "SHA-1" in material.problems[0]


def test_the_same_certificate_twice_is_one(directory: Path) -> None:
    (directory / "again.der").write_bytes(ROOT.der)
    (directory / "again.crl").write_bytes((directory / "root.crl").read_bytes())
    material = TrustStore.load(directory).material
    assert len(material.anchors) == 1
    assert len(material.crls) == 2
    assert material.find(ROOT.parsed.issuer_key, ROOT.parsed.serial) == ROOT.parsed


# ---------------------------------------------------------------- what cannot be read


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyMaterialError, match="nowhere"):
        TrustStore.load(tmp_path / "nowhere")


def test_a_file_in_place_of_the_directory_is_named(directory: Path) -> None:
    with pytest.raises(KeyMaterialError, match=r"root\.pem"):
        TrustStore.load(directory / "root.pem")


@pytest.mark.parametrize(
    "content", [b"nonsense", b"\x30\x03\x02\x01\x01", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"]
)
def test_a_certificate_that_cannot_be_read_names_its_file(directory: Path, content: bytes) -> None:
    (directory / "broken.pem").write_bytes(content)
    with pytest.raises(KeyMaterialError, match=r"broken\.pem"):
        TrustStore.load(directory)


@pytest.mark.parametrize("content", [b"nonsense", b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----", b""])
def test_a_list_that_cannot_be_read_leaves_the_status_unknown_and_is_told(directory: Path, content: bytes) -> None:
    (directory / "root.crl").write_bytes(content)
    store = TrustStore.load(directory)
    assert "root.crl" in store.material.problems[0]
    with pytest.raises(RevocationUnknown):
        validate(LEAF.parsed, store, at=NOW, revocation=REQUIRE)


def test_a_pem_file_with_neither_is_told(directory: Path) -> None:
    (directory / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----")
    assert TrustStore.load(directory).material.problems == ("key.pem holds neither a certificate nor a CRL",)


def test_a_file_that_may_not_be_read_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(KeyMaterialError, match="Permission denied"):
        TrustStore.load(directory)


def test_sizes_and_numbers_of_files_are_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_CRL_BYTES", 10)
    with pytest.raises(KeyMaterialError, match="more than 10 bytes"):
        TrustStore.load(directory)
    monkeypatch.setattr(store_module, "MAX_FILES", 4)
    with pytest.raises(KeyMaterialError, match="more than 4 files"):
        TrustStore.load(directory)


# ---------------------------------------------------------------- reading again


def test_reading_again_forgets_what_was_trusted(directory: Path) -> None:
    store = TrustStore.load(directory)
    validate(LEAF.parsed, store, at=NOW, revocation=REQUIRE)
    (directory / "issuing-list.der").write_bytes(crl_der(ISSUING, entry(LEAF.parsed.serial)))
    validate(LEAF.parsed, store, at=NOW, revocation=REQUIRE)  # not read yet
    store.reload()
    with pytest.raises(TrustRefused) as caught:
        validate(LEAF.parsed, store, at=NOW, revocation=REQUIRE)
    assert caught.value.code == "revoked"


def test_a_directory_that_broke_leaves_the_old_material(directory: Path) -> None:
    store = TrustStore.load(directory)
    shutil.rmtree(directory)
    with pytest.raises(KeyMaterialError):
        store.reload()
    validate(LEAF.parsed, store, at=NOW, revocation=REQUIRE)


def test_reading_again_keeps_the_rules(directory: Path) -> None:
    rules = RevocationRules(max_age_without_next_update_s=60)
    store = TrustStore.load(directory, rules)
    assert store.reload().rules == rules


def test_a_store_of_values_has_nothing_to_read_again() -> None:
    with pytest.raises(KeyMaterialError):
        TrustStore.of([ROOT.parsed], [crl(ROOT, this_update=NOW - DAY)]).reload()
