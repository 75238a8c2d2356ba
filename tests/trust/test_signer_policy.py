"""Who may sign what; the decisions themselves are rows of test_decided_cases.py."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from cryptography.x509.oid import NameOID

from gateway.errors import TrustRefused
from gateway.trust.signer_policy import (
    ANY_SIGNER,
    Claim,
    RevocationPolicy,
    SignerKind,
    SignerRules,
    check_signer,
    is_treasury,
    kind_of,
)
from gateway.trust.verdict import RevocationMode
from tests.trust.minting import authority, mint, name

ROOT = authority("root")
PERSON, LEGAL, EMPLOYEE, SYSTEM = (
    "1.2.398.3.3.4.1.1",
    "1.2.398.3.3.4.1.2",
    "1.2.398.3.3.4.1.2.5",
    "1.2.398.3.3.4.1.2.6",
)
IIN, BIN = "850101300005", "990140000012"


@pytest.mark.parametrize(
    ("roles", "kind"),
    [
        ((PERSON,), SignerKind.PERSON),
        ((LEGAL,), SignerKind.ORGANISATION),
        ((LEGAL, EMPLOYEE), SignerKind.ORGANISATION),
        ((PERSON, LEGAL), SignerKind.ORGANISATION),
        ((LEGAL, SYSTEM), SignerKind.INFORMATION_SYSTEM),
        ((LEGAL, SYSTEM + ".1.2"), SignerKind.INFORMATION_SYSTEM),
        (("1.3.6.1.5.5.7.3.4",), SignerKind.UNSTATED),
        ((), SignerKind.UNSTATED),
    ],
)
def test_the_narrowest_role_says_whom_a_certificate_is_of(roles: tuple[str, ...], kind: SignerKind) -> None:
    assert kind_of(mint("x", ROOT, extended=roles).parsed) is kind


def test_a_refusal_shows_no_number_of_anybody() -> None:
    subject = name("ТЕСТОВ ТЕСТ", (NameOID.SERIAL_NUMBER, f"IIN{IIN}"), (NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{BIN}"))
    signer = mint("x", ROOT, subject=subject, extended=(PERSON,)).parsed
    wanted = "900202400017"
    for rules, claim in (
        (SignerRules(iins=frozenset({wanted})), Claim()),
        (SignerRules(bins=frozenset({wanted})), Claim()),
        (SignerRules(kinds=frozenset()), Claim()),
        (SignerRules(roles=frozenset({"head"})), Claim()),
        (SignerRules(required_policies=frozenset({"1.2.3"})), Claim()),
        (ANY_SIGNER, Claim(iin=wanted)),
        (ANY_SIGNER, Claim(bin=wanted)),
    ):
        with pytest.raises(TrustRefused) as caught:
            check_signer(signer, rules, claim)
        assert caught.value.step == "signer"
        for secret in (IIN, BIN, wanted, "ТЕСТОВ"):
            assert secret not in str(caught.value)
    assert IIN not in repr(Claim(iin=IIN))
    assert IIN not in repr(SignerRules(iins=frozenset({IIN})))


def test_what_was_compared_is_told() -> None:
    subject = name("x", (NameOID.SERIAL_NUMBER, f"IIN{IIN}"), (NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{BIN}"))
    signer = mint("x", ROOT, subject=subject, extended=(LEGAL,)).parsed
    assert check_signer(signer) == "kind organisation"
    rules = SignerRules(bins=frozenset({BIN}), iins=frozenset({IIN}))
    told = check_signer(signer, rules, Claim(iin=IIN, bin=BIN))
    assert told == "kind organisation, IIN as claimed, BIN as claimed, IIN on the list, BIN on the list"


def test_a_role_that_nobody_knows_is_a_mistake_in_the_rules() -> None:
    with pytest.raises(ValueError, match="'boss'"):
        SignerRules(roles=frozenset({"boss"}))


def test_a_plain_certificate_is_no_treasury_certificate() -> None:
    assert not is_treasury(mint("x", ROOT, extended=(LEGAL,)).parsed)


def test_unknown_refuses_unless_the_operator_named_the_service() -> None:
    policy = RevocationPolicy(RevocationMode.REQUIRE, MappingProxyType({"FUND_CONSUMER_STATUS": RevocationMode.PREFER}))
    assert policy.mode_for("FUND_CONSUMER_STATUS") is RevocationMode.PREFER
    assert policy.names("FUND_CONSUMER_STATUS")
    assert policy.mode_for("ANOTHER") is RevocationMode.REQUIRE
    assert not policy.names("ANOTHER")
    assert RevocationPolicy(RevocationMode.REQUIRE).mode_for("ANY") is RevocationMode.REQUIRE
    with pytest.raises(TypeError):
        RevocationPolicy()  # type: ignore[call-arg]
