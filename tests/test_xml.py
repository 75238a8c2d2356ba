import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import xml
from gateway.errors import MalformedMessage

SMALL = xml.XmlBounds(max_bytes=1_000, max_elements=10, max_attributes=10, max_depth=5)


def refusal(data: bytes, bounds: xml.XmlBounds = SMALL) -> str:
    with pytest.raises(MalformedMessage) as refused:
        xml.parse(data, bounds)
    return refused.value.code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_xml"),
        (b"  \n ", "not_xml"),
        (b"<a>", "not_xml"),
        (b"<a/><b/>", "not_xml"),
        (b"<a>\xff</a>", "not_xml"),
        (b"<a>&nobody;</a>", "not_xml"),
        (b"<a" + b" " * 1_000 + b"/>", "too_large"),
        (b"<!DOCTYPE a><a/>", "doctype"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "doctype"),
        (b"<a>" + b"<b/>" * 10 + b"</a>", "too_many_elements"),
        (b"<a>" + b"<b></b>" * 10 + b"</a>", "too_many_elements"),
        (b"<a " + b" ".join(b'a%d="1"' % n for n in range(11)) + b"/>", "too_many_attributes"),
        (b"<a " + b" ".join(b"xmlns:a%d='u:%d'" % (n, n) for n in range(11)) + b"/>", "too_many_attributes"),
        (b"<a>" * 6 + b"</a>" * 6, "too_deep"),
        ("<a/>".encode("utf-16"), "encoding"),
        ("<a/>".encode("utf-16-le"), "encoding"),
        (b'<?xml version="1.0" encoding="windows-1251"?><a/>', "encoding"),
    ],
)
def test_a_document_over_a_bound_is_refused_by_name(data: bytes, code: str) -> None:
    assert refusal(data) == code


@pytest.mark.parametrize(
    "data",
    [
        b"<a/>",
        b"\xef\xbb\xbf<a/>",
        b'\r\n  <?xml version="1.0" encoding="utf-8"?>\n<a/>',
        b"<a>" + b"<b/>" * 9 + b"</a>",
        b"<a>" * 5 + b"</a>" * 5,
        b"<a>" + b"=" * 50 + b"</a>",
    ],
)
def test_a_document_at_its_bounds_is_read(data: bytes) -> None:
    assert xml.local_name(xml.parse(data, SMALL)) == "a"


def test_a_comment_cannot_cut_a_value_short() -> None:
    assert xml.leaf_text(xml.parse(b"<a>12<!-- x -->34</a>")) == "1234"


@pytest.mark.parametrize("data", [b"<a>12<?pi?>34</a>", b"<a>12<b/>34</a>"])
def test_a_value_with_anything_but_text_inside_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as refused:
        xml.leaf_text(xml.parse(data))
    assert refused.value.code == "not_a_leaf"


def test_text_that_only_looks_like_a_file_is_never_opened(tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    assert refusal(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file://%s">]><a>&x;</a>' % str(secret).encode()) == "doctype"


def test_a_relative_namespace_has_no_canonical_form() -> None:
    with pytest.raises(MalformedMessage) as refused:
        xml.canonicalize(xml.parse(b'<a xmlns="relative"/>'))
    assert refused.value.code == "not_canonical"


def test_exclusive_form_leaves_inherited_names_out_and_inclusive_keeps_them() -> None:
    root = xml.parse(b'<o xmlns="urn:o" xmlns:p="urn:p"><i>x</i> tail</o>')
    assert xml.canonicalize(root[0]) == b'<i xmlns="urn:o">x</i>'
    assert xml.canonicalize(root[0], inclusive_prefixes=("p",)) == b'<i xmlns="urn:o" xmlns:p="urn:p">x</i>'
    assert xml.canonicalize(root[0], exclusive=False) == b'<i xmlns="urn:o" xmlns:p="urn:p">x</i>'


def test_the_default_prefix_in_a_prefix_list_is_refused_and_not_silently_dropped() -> None:
    with pytest.raises(MalformedMessage) as refused:
        xml.canonicalize(xml.parse(b"<a/>"), inclusive_prefixes=("#default", "p"))
    assert refused.value.code == "not_canonical"


def test_a_second_child_of_one_name_is_refused() -> None:
    root = xml.parse(b'<a><b/><c/><x:c xmlns:x="urn:x"/></a>')
    assert xml.only_child(root, "b") is not None
    assert xml.only_child(root, "z") is None
    with pytest.raises(MalformedMessage) as refused:
        xml.only_child(root, "c")
    assert refused.value.code == "repeated"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        xml.parse(data, SMALL)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=50))
def test_what_is_written_is_read_back(text: str) -> None:
    root = xml.parse(b"<a/>")
    root.text = text
    assert (xml.parse(xml.to_bytes(root)).text or "") == text
