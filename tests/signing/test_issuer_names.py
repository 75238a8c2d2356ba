"""Names of issuers in messages: every stack's way of writing one is read, and nothing else is."""

from __future__ import annotations

import pytest
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.signing.distinguished_names import NameKey
from gateway.signing.issuer_names import parse_issuer_name
from tests.trust.minting import mint, name


def key(*pairs: tuple[str, str]) -> NameKey:
    return tuple(sorted(((oid, "=" + value),) for oid, value in pairs))


CN, C, O, OU, SN, SERIAL, EMAIL = (  # noqa: E741
    "2.5.4.3",
    "2.5.4.6",
    "2.5.4.10",
    "2.5.4.11",
    "2.5.4.4",
    "2.5.4.5",
    "1.2.840.113549.1.9.1",
)

NAMES: dict[str, tuple[str, NameKey]] = {
    "as the gateway writes it": (
        "C=KZ,CN=ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (GOST) 2022",
        key((C, "kz"), (CN, "ұлттық куәландырушы орталық (gost) 2022")),
    ),
    "the other way round": ("CN=root,C=KZ", key((C, "kz"), (CN, "root"))),
    "with white space": ("  CN = root ,\n  C= KZ ", key((C, "kz"), (CN, "root"))),
    "with semicolons": ("CN=root; C=KZ", key((C, "kz"), (CN, "root"))),
    "in other case": ("cn=Root,c=kz", key((C, "kz"), (CN, "root"))),
    "with inner white space": ("CN=a   b\tc", key((CN, "a b c"))),
    "dotted": ("2.5.4.3=root,2.5.4.6=KZ", key((C, "kz"), (CN, "root"))),
    "dotted with OID in front": ("OID.2.5.4.5=IIN850101300005", key((SERIAL, "iin850101300005"))),
    "dotted with oid in front": ("oid.2.5.4.3=x", key((CN, "x"))),
    "E": ("E=a@example.invalid", key((EMAIL, "a@example.invalid"))),
    "emailAddress": ("emailAddress=A@example.invalid", key((EMAIL, "a@example.invalid"))),
    "hexadecimal UTF8String": ("2.5.4.3=#0c04726f6f74", key((CN, "root"))),
    "hexadecimal PrintableString in capitals": ("CN=#1304526F6F74", key((CN, "root"))),
    "hexadecimal BMPString": ("CN=#1e04007a0431", key((CN, "zб"))),
    "hexadecimal something else": ("CN=#020105", (((CN, "#020105"),),)),
    "SERIALNUMBER": ("SERIALNUMBER=IIN850101300005", key((SERIAL, "iin850101300005"))),
    "SN that holds a number": ("SN=IIN850101300005", key((SERIAL, "iin850101300005"))),
    "SN that holds a surname": ("SN=Testov", key((SN, "testov"))),
    "SURNAME": ("SURNAME=Testov", key((SN, "testov"))),
    "escaped comma": (r"O=a\, b,C=KZ", key((O, "a, b"), (C, "kz"))),
    "escaped hexadecimal pairs": (r"CN=\D2\B0\d0\9b", key((CN, "ұл"))),
    "escaped specials": (r"CN=\#a\+b\;c\<d\>e\=f\\g\"h", key((CN, '#a+b;c<d>e=f\\g"h'))),
    "escaped space at the end": ("CN=a\\ ,C=KZ", key((CN, "a"), (C, "kz"))),
    "quoted": ('O="a, b + c; d",C=KZ', key((O, "a, b + c; d"), (C, "kz"))),
    "quoted with an escape": (r'O="a \"b\"" , C=KZ', key((O, 'a "b"'), (C, "kz"))),
    "an equals sign in a value": ("CN=a=b", key((CN, "a=b"))),
    "an empty value": ("CN=,C=KZ", key((CN, ""), (C, "kz"))),
    "the same type twice": ("OU=b,OU=a", key((OU, "a"), (OU, "b"))),
    "a set of two in one RDN": ("OU=b+CN=a,C=KZ", (((OU, "=b"), (CN, "=a")), ((C, "=kz"),))),
    "compatibility forms": ("CN=ＡＢ", key((CN, "ab"))),
}


@pytest.mark.parametrize(("text", "expected"), NAMES.values(), ids=NAMES.keys())
def test_an_issuer_name_in_a_message_is_read(text: str, expected: NameKey) -> None:
    assert parse_issuer_name(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "root",
        "CN",
        "CN=a,",
        "CN=a,,C=KZ",
        "=a",
        "NICKNAME=a",
        "C N=a",
        "2.5.04.3=a",
        "CN=a\\",
        'CN="a',
        'CN="a"b',
        "CN=#zz",
        "CN=#0c",
        "CN=#0c0472",
        "CN=#0c02d2ff",
        r"CN=\ff",
        "CN=" + "a" * 5_000,
    ],
)
def test_an_issuer_name_that_cannot_be_read_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_issuer_name(text)
    assert caught.value.code == "issuer_name"
    assert "NICKNAME" not in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        parse_issuer_name(text)
    except MalformedMessage:
        return


def test_names_written_by_another_library_are_read() -> None:
    signer = mint("x", subject=name("ТЕСТОВ ТЕСТ", (NameOID.ORGANIZATION_NAME, 'Test, "quoted" <O>; a=b + c\\d')))
    assert parse_issuer_name(signer.name.rfc4514_string()) == signer.parsed.subject_key


def test_a_text_that_looks_hexadecimal_is_not_the_value_it_looks_like() -> None:
    assert parse_issuer_name(r"CN=\#020105") != parse_issuer_name("CN=#020105")
