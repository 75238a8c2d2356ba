"""Encoded names: which are the same, and how one is shown."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.signing.certificate_asn1 import Name
from gateway.signing.distinguished_names import COMMON_NAME, NameKey, key_of_name, name_text
from gateway.signing.issuer_names import parse_issuer_name

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=15)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME]), _texts), max_size=4))
def test_a_name_written_by_us_is_read_back_whatever_it_holds(
    attributes: list[tuple[x509.ObjectIdentifier, str]],
) -> None:
    encoded = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes]).public_bytes()
    loaded = Name.load(encoded)
    written = name_text(loaded)
    assert written.isprintable()
    if attributes:
        assert parse_issuer_name(written) == key_of_name(loaded)


def test_a_value_that_is_no_text_is_written_as_hexadecimal_and_read_back() -> None:
    encoded = bytes.fromhex("300c310a30080603550403020105")  # CN = INTEGER 5
    assert name_text(Name.load(encoded)) == "CN=#020105"
    assert key_of_name(Name.load(encoded)) == parse_issuer_name("CN=#020105")


def test_values_in_other_string_types_are_the_same_name() -> None:
    def named(encoded_value: str) -> NameKey:
        value = bytes.fromhex(encoded_value)
        pair = b"\x30" + bytes([5 + len(value)]) + bytes.fromhex("0603550403") + value
        rdn = b"\x31" + bytes([len(pair)]) + pair
        return key_of_name(Name.load(b"\x30" + bytes([len(rdn)]) + rdn))

    forms = ("0c026162", "13026162", "14026162", "16026162", "1a026162", "1e0400610062", "1c080000006100000062")
    assert {named(form) for form in forms} == {(((COMMON_NAME, "=ab"),),)}
