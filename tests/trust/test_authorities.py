"""certs/ says who the national authorities are and ships nothing that could be trusted by accident."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.signing.certificate import read_certificates

CERTS = Path(__file__).parents[2] / "certs"
_SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "pki-test"

AUTHORITIES: dict[str, dict[str, Any]] = {
    entry["id"]: entry for entry in tomllib.loads((CERTS / "authorities.toml").read_text("utf-8"))["authority"]
}


def test_the_folder_holds_words_only() -> None:
    assert sorted(path.name for path in CERTS.rglob("*")) == ["README.md", "authorities.toml"]


@pytest.mark.parametrize("entry", AUTHORITIES.values(), ids=AUTHORITIES.keys())
def test_an_entry_tells_who_it_is_and_with_what_to_compare(entry: dict[str, Any]) -> None:
    assert entry["environment"] in ("production", "test")
    assert entry["kind"] in ("root", "issuing")
    assert entry["known"] in ("verified", "reported")
    assert "published" in entry["compare_with"]
    assert re.fullmatch(r"[0-9.]+", entry["key_oid"])
    assert re.fullmatch(r"[0-9a-f]{8}", entry.get("sha256_prefix", "00000000"))
    if entry["kind"] == "issuing":
        issuer = AUTHORITIES[entry["issued_by"]]
        assert issuer["kind"] == "root"
        assert issuer["environment"] == entry["environment"]


@pytest.mark.skipif(not _SAMPLES.is_dir(), reason="the shared samples are not beside this checkout")
@pytest.mark.parametrize("name", ["root_test_gost_2022", "nca_gost2022_test"])
def test_an_entry_agrees_with_the_certificate_at_hand(name: str) -> None:
    data = (_SAMPLES / f"{name}.cer").read_bytes()
    (certificate,) = read_certificates(data)
    entry = AUTHORITIES[name]
    assert certificate.common_name == entry["name"]
    assert certificate.key_family == entry["key_family"]
    assert certificate.not_after.date() == entry["valid_until"]
    assert hashlib.sha256(data).hexdigest().startswith(entry["sha256_prefix"])
