import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidIdentifier
from gateway.model import Bin, Citation, Iin, Provenance, Sex, iin_control_digit

births = st.dates(dt.date(1800, 1, 1), dt.date(2099, 12, 31))


def iin_text(birth: dt.date, sex: Sex, serial: int) -> str | None:
    century = {1800: 1, 1900: 3, 2000: 5}[birth.year // 100 * 100] + (sex is Sex.FEMALE)
    eleven = f"{birth:%y%m%d}{century}{serial:04d}"
    digit = iin_control_digit(eleven)
    return None if digit is None else f"{eleven}{digit}"


@given(births, st.sampled_from(Sex), st.integers(0, 9999))
def test_an_iin_tells_birth_date_and_sex(birth: dt.date, sex: Sex, serial: int) -> None:
    text = iin_text(birth, sex, serial)
    if text is not None:
        iin = Iin(text)
        assert (iin.birth_date, iin.sex) == (birth, sex)


@given(births, st.sampled_from(Sex), st.integers(0, 9999), st.integers(1, 9))
def test_a_wrong_control_digit_is_noticed(birth: dt.date, sex: Sex, serial: int, change: int) -> None:
    text = iin_text(birth, sex, serial)
    if text is not None:
        with pytest.raises(InvalidIdentifier, match="control digit"):
            Iin(text[:11] + str((int(text[11]) + change) % 10))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "twelve digits"),
        ("12345678901", "twelve digits"),
        ("1234567890123", "twelve digits"),
        ("９００１０１３０００１２", "twelve digits"),
        ("900101 00012", "twelve digits"),
        ("900101900012", "century"),
        ("901301300012", "not a date"),
        ("900101300010", "control digit"),
    ],
)
def test_a_wrong_iin_is_refused_with_its_reason_and_without_its_value(text: str, why: str) -> None:
    with pytest.raises(InvalidIdentifier, match=why) as refused:
        Iin(text)
    assert not text or text not in str(refused.value)


def test_a_number_that_is_never_issued_has_no_control_digit() -> None:
    assert any(iin_control_digit(f"9001013{serial:04d}") is None for serial in range(2000))


def test_an_iin_never_shows_itself() -> None:
    text = next(t for s in range(99) if (t := iin_text(dt.date(1990, 1, 1), Sex.MALE, s)))
    shown = f"{Iin(text)} {Iin(text)!r} {[Iin(text)]}"
    assert text not in shown
    assert Iin(text).value == text


def test_a_bin_is_twelve_digits() -> None:
    assert str(Bin("123456789012")) == "123456789012"
    with pytest.raises(InvalidIdentifier):
        Bin("12345678901x")


def test_a_citation_reads_and_writes_itself() -> None:
    assert str(Citation.parse("004 p.9 part 1")) == "004 p.9 part 1"
    for wrong in ("004", "p.9", "004 9"):
        with pytest.raises(ValueError, match="not a citation"):
            Citation.parse(wrong)


def test_a_provenance_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Provenance("m", "s", "signer", "1", dt.datetime(2026, 1, 1))  # noqa: DTZ001
