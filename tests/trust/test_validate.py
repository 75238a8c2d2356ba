from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from cryptography import x509

from gateway.errors import RevocationUnknown, TrustRefused
from gateway.trust import validate as validate_module
from gateway.trust import verdict as verdict_module
from gateway.trust.crl import CertificateRevocationList
from gateway.trust.store import TrustStore
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationState
from tests.trust.minting import DAY, NOW, Minted, authority, crl, entry, mint

REQUIRE, PREFER, OFF = RevocationMode.REQUIRE, RevocationMode.PREFER, RevocationMode.OFF

ROOT = authority("root", end=NOW + 1_000 * DAY)
LEAF = mint("leaf", ROOT)


def store(crls: Sequence[CertificateRevocationList] = (), *more: Minted) -> TrustStore:
    return TrustStore.of([ROOT.parsed, *(m.parsed for m in more)], crls)


CLEAN = crl(ROOT)
NAMED = crl(ROOT, entry(LEAF.parsed.serial))


# ---------------------------------------------------------------- what a mode does with a state


def test_good_is_accepted_where_revocation_is_required() -> None:
    verdict = validate(LEAF.parsed, store([CLEAN]), at=NOW, revocation=REQUIRE)
    assert verdict.revocation.status is RevocationState.GOOD
    assert verdict.certificate == LEAF.parsed
    assert verdict.mode is REQUIRE


def test_unknown_refuses_where_revocation_is_required() -> None:
    with pytest.raises(RevocationUnknown) as caught:
        validate(LEAF.parsed, store(), at=NOW, revocation=REQUIRE)
    assert caught.value.code == "revocation_unknown"
    assert "put a current one" in str(caught.value)


def test_unknown_is_accepted_and_shown_where_revocation_is_preferred() -> None:
    verdict = validate(LEAF.parsed, store(), at=NOW, revocation=PREFER)
    assert verdict.revocation.status is RevocationState.UNKNOWN
    assert verdict.revocation.source == "none"


@pytest.mark.parametrize("mode", [REQUIRE, PREFER])
def test_revoked_refuses(mode: RevocationMode) -> None:
    with pytest.raises(TrustRefused) as caught:
        validate(LEAF.parsed, store([NAMED]), at=NOW, revocation=mode)
    assert (caught.value.code, caught.value.step) == ("revoked", "revocation")


@pytest.mark.parametrize("crls", [(), (CLEAN,), (NAMED,)])
def test_when_it_is_off_nothing_is_looked_up_and_the_status_says_so(
    crls: tuple[CertificateRevocationList, ...],
) -> None:
    verdict = validate(LEAF.parsed, store(crls), at=NOW, revocation=OFF)
    assert (verdict.revocation.status, verdict.revocation.source) == (RevocationState.UNKNOWN, "off")


def test_the_mode_has_no_default() -> None:
    with pytest.raises(TypeError):
        validate(LEAF.parsed, store([CLEAN]), at=NOW)  # type: ignore[call-arg]


def test_a_bad_path_refuses_before_revocation_is_looked_up() -> None:
    with pytest.raises(TrustRefused) as caught:
        validate(LEAF.parsed, store([NAMED]), at=NOW + 500 * DAY, revocation=REQUIRE)
    assert caught.value.code == "expired"


# ---------------------------------------------------------------- what a certificate is for

PURPOSES: dict[str, tuple[str, Minted]] = {
    "an authority": ("ca_as_signer", authority("signing-ca", ROOT)),
    "an authority with digitalSignature": (
        "ca_as_signer",
        authority("signing-ca", ROOT, usage=("digitalSignature", "keyCertSign")),
    ),
    "the anchor itself": ("ca_as_signer", ROOT),
    "keyCertSign without being an authority": (
        "ca_as_signer",
        mint("x", ROOT, usage=("digitalSignature", "keyCertSign")),
    ),
    "encryption only": ("key_usage", mint("x", ROOT, usage=("keyEncipherment",))),
    "nonRepudiation only": ("key_usage", mint("x", ROOT, usage=("nonRepudiation",))),
    "no key usage stated": ("key_usage", mint("x", ROOT, usage=None)),
    "an OCSP responder": ("extended_key_usage", mint("x", ROOT, extended=("1.3.6.1.5.5.7.3.9",))),
    "a time stamper": (
        "extended_key_usage",
        mint("x", ROOT, extended=("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.8")),
    ),
}


@pytest.mark.parametrize(("code", "signer"), PURPOSES.values(), ids=PURPOSES.keys())
def test_a_certificate_for_something_else_signs_no_messages(code: str, signer: Minted) -> None:
    with pytest.raises(TrustRefused) as caught:
        validate(signer.parsed, store([CLEAN]), at=NOW, revocation=REQUIRE)
    assert (caught.value.code, caught.value.step) == (code, "purpose")


@pytest.mark.parametrize(
    ("usage", "extended"),
    [
        (("digitalSignature",), ()),
        (("digitalSignature", "keyEncipherment"), ("1.3.6.1.5.5.7.3.2", "1.2.398.3.3.4.1.2")),
        (("digitalSignature", "nonRepudiation", "keyAgreement"), ("1.2.398.3.3.4.1.2.6",)),
        (("digitalSignature", "nonRepudiation"), ("1.3.6.1.5.5.7.3.4",)),
    ],
)
def test_every_national_profile_may_sign_messages(usage: tuple[str, ...], extended: tuple[str, ...]) -> None:
    signer = mint("national", ROOT, usage=usage, extended=extended)
    assert validate(signer.parsed, store([CLEAN]), at=NOW, revocation=REQUIRE).path.anchor == ROOT.parsed


# ---------------------------------------------------------------- verdicts are kept, and for how long


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[dt.datetime]:
    """Times at which a verdict was really worked out."""
    times: list[dt.datetime] = []
    real = validate_module.build_path

    def counting(certificate, material, *, at):  # type: ignore[no-untyped-def]
        times.append(at)
        return real(certificate, material, at=at)

    monkeypatch.setattr(validate_module, "build_path", counting)
    return times


def test_a_verdict_is_worked_out_once(counted: list[dt.datetime]) -> None:
    trusted = store([CLEAN])
    first = validate(LEAF.parsed, trusted, at=NOW, revocation=REQUIRE)
    assert validate(LEAF.parsed, trusted, at=NOW + DAY, revocation=REQUIRE) is first
    assert counted == [NOW]


def test_a_verdict_under_one_mode_says_nothing_under_another(counted: list[dt.datetime]) -> None:
    trusted = store()
    validate(LEAF.parsed, trusted, at=NOW, revocation=OFF)
    with pytest.raises(RevocationUnknown):
        validate(LEAF.parsed, trusted, at=NOW, revocation=REQUIRE)
    assert len(counted) == 2


def test_a_verdict_ends_with_the_certificate() -> None:
    trusted = store([crl(ROOT, next_update=NOW + 400 * DAY)])
    validate(LEAF.parsed, trusted, at=NOW, revocation=REQUIRE)
    end = LEAF.parsed.not_after
    validate(LEAF.parsed, trusted, at=end, revocation=REQUIRE)
    with pytest.raises(TrustRefused) as caught:
        validate(LEAF.parsed, trusted, at=end + dt.timedelta(microseconds=1), revocation=REQUIRE)
    assert caught.value.code == "expired"


def test_a_verdict_ends_with_the_list() -> None:
    trusted = store([CLEAN])
    validate(LEAF.parsed, trusted, at=NOW, revocation=REQUIRE)
    with pytest.raises(RevocationUnknown):
        validate(LEAF.parsed, trusted, at=NOW + 30 * DAY, revocation=REQUIRE)


def test_a_verdict_does_not_reach_back_before_the_list() -> None:
    trusted = store([CLEAN])
    validate(LEAF.parsed, trusted, at=NOW, revocation=REQUIRE)
    with pytest.raises(RevocationUnknown):
        validate(LEAF.parsed, trusted, at=NOW - 2 * DAY, revocation=REQUIRE)


def test_a_verdict_ends_when_a_newer_list_is_in_force() -> None:
    trusted = store([CLEAN, crl(ROOT, entry(LEAF.parsed.serial), this_update=NOW + DAY)])
    validate(LEAF.parsed, trusted, at=NOW, revocation=REQUIRE)
    with pytest.raises(TrustRefused) as caught:
        validate(LEAF.parsed, trusted, at=NOW + DAY, revocation=REQUIRE)
    assert caught.value.code == "revoked"


def test_unknown_is_not_kept(counted: list[dt.datetime]) -> None:
    trusted = store([crl(ROOT, entry(LEAF.parsed.serial), this_update=NOW + DAY)])
    validate(LEAF.parsed, trusted, at=NOW, revocation=PREFER)
    with pytest.raises(TrustRefused):
        validate(LEAF.parsed, trusted, at=NOW + DAY, revocation=PREFER)
    assert len(counted) == 2


def test_refusals_are_not_kept() -> None:
    trusted = store([CLEAN])
    for _ in range(2):
        with pytest.raises(TrustRefused):
            validate(mint("stranger").parsed, trusted, at=NOW, revocation=REQUIRE)
    assert len(trusted.material.verdicts) == 0


def test_the_number_of_kept_verdicts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_module, "MAX_CACHED_VERDICTS", 2)
    trusted = store([CLEAN])
    for signer in (LEAF, mint("second", ROOT), mint("third", ROOT)):
        validate(signer.parsed, trusted, at=NOW, revocation=REQUIRE)
    assert len(trusted.material.verdicts) == 2


def test_a_certificate_without_end_gets_its_verdict_too() -> None:
    forever = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    root = authority("forever", end=forever)
    signer = mint("forever-leaf", root, end=forever)
    verdict = validate(signer.parsed, TrustStore.of([root.parsed]), at=NOW, revocation=OFF)
    assert verdict.path.valid_until == forever


def test_a_time_without_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="time zone"):
        validate(LEAF.parsed, store([CLEAN]), at=dt.datetime(2026, 1, 1), revocation=OFF)  # noqa: DTZ001


def test_a_refusal_for_revocation_names_no_person() -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "ТЕСТОВ ТЕСТ"),
            x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "IIN850101300005"),
        ]
    )
    person = mint("person", ROOT, subject=subject)
    with pytest.raises(TrustRefused) as caught:
        validate(person.parsed, store([crl(ROOT, entry(person.parsed.serial))]), at=NOW, revocation=REQUIRE)
    assert "850101300005" not in str(caught.value)
    assert "ТЕСТОВ" not in str(caught.value)
