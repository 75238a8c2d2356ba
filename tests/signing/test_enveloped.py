from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names
from gateway.signing.algorithms import SIGNATURES
from gateway.signing.enveloped import MAX_SIGNATURES, sign_enveloped, verify_enveloped
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.steps import Trail
from gateway.xml import canonicalize, parse
from tests.signing.conftest import Known, Signer

DOCUMENT = (
    '<d:data xmlns:d="urn:d" xmlns="urn:default" xmlns:unused="urn:unused" xmlns:z="urn:z">'
    '<answer z:a="1">GENUINE</answer>text<?pi data?><b xmlns="">Ұ &lt;&#13;</b></d:data>'
)


@pytest.fixture
def document() -> etree._Element:
    return etree.fromstring(DOCUMENT)


def refusal(data: bytes, known: Known) -> tuple[str, str]:
    trail = Trail()
    with pytest.raises((SignatureRefused, MalformedMessage)) as caught:
        verify_enveloped(data, certificates=known, trail=trail)
    assert not trail.steps[-1].ok
    return trail.steps[-1].name, caught.value.code


@pytest.mark.parametrize("form", [form for form in KeyInfoForm if form is not KeyInfoForm.BARE])
@pytest.mark.parametrize("family", ["rsa", "ec-p256", "ec-p384"])
def test_a_document_comes_back_as_it_was_signed(
    family: str, form: KeyInfoForm, signers: Mapping[str, Signer], known: Known, document: etree._Element
) -> None:
    for algorithm in (row for row in SIGNATURES.values() if family in row.key_families):
        data = sign_enveloped(document, signers[family].key(algorithm), form=form)
        verified = verify_enveloped(data, certificates=known)
        assert canonicalize(verified.element, exclusive=False) == canonicalize(document, exclusive=False)
        (signature,) = verified.signatures
        assert signature.certificate == signers[family].certificate
        assert signature.algorithm == algorithm.name
        assert signature.key_info_form is form
        assert all(step.ok and step.compared for step in verified.steps)


def test_what_is_signed_is_canonical_and_changes_nothing(signer: Signer, document: etree._Element) -> None:
    before = etree.tostring(document)
    data = sign_enveloped(document, signer.key())
    assert etree.tostring(document) == before
    root = parse(data)
    assert canonicalize(root, exclusive=False).replace(b"\n", b"") == data.replace(b"\n", b"")
    assert root[-1].tag == names.DS_SIGNATURE


def test_each_later_signature_signs_the_earlier_ones(signers: Mapping[str, Signer], document: etree._Element) -> None:
    first = sign_enveloped(document, signers["rsa"].key())
    second = sign_enveloped(parse(first), signers["ec-p256"].key())
    third = sign_enveloped(parse(second), signers["ec-p384"].key())
    verified = verify_enveloped(third)
    assert [one.algorithm for one in verified.signatures] == ["RSA-SHA256", "ECDSA-P256-SHA256", "ECDSA-P384-SHA384"]
    assert names.DS_SIGNATURE not in [child.tag for child in verified.element]
    root = parse(third)
    root.remove(root[-3])  # the first one: those after it signed it
    with pytest.raises(SignatureRefused) as caught:
        verify_enveloped(etree.tostring(root))
    assert caught.value.code == "digest"


def test_signatures_in_another_order_are_refused(signers: Mapping[str, Signer], document: etree._Element) -> None:
    root = parse(sign_enveloped(parse(sign_enveloped(document, signers["rsa"].key())), signers["ec-p256"].key()))
    root.append(root[-2])
    with pytest.raises(SignatureRefused) as caught:
        verify_enveloped(etree.tostring(root))
    assert caught.value.code == "digest"


def test_an_element_is_signed_alone(signer: Signer) -> None:
    envelope = etree.fromstring('<e:E xmlns:e="urn:e" xmlns:xs="urn:xs"><data><a>1</a></data>tail</e:E>')
    data = sign_enveloped(envelope[0], signer.key())
    assert verify_enveloped(data).element.findtext("a") == "1"
    assert not data.endswith(b"tail")


def by_hand(signer: Signer, text: str, transforms: tuple[str, ...], method: str = names.C14N) -> bytes:
    """`text` has a {} where the signature goes; transforms are given as XML."""
    signature = (
        f'<s:Signature xmlns:s="{names.DS}">\n<s:SignedInfo><s:CanonicalizationMethod Algorithm="{method}"/>'
        '<s:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><s:Reference URI="">'
        f"<s:Transforms>{''.join(transforms)}</s:Transforms>"
        '<s:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><s:DigestValue>DIGEST</s:DigestValue>'
        "</s:Reference></s:SignedInfo><s:SignatureValue>VALUE</s:SignatureValue><s:KeyInfo><s:X509Data>"
        f"<s:X509Certificate>{b64encode(signer.certificate.der).decode()}</s:X509Certificate>"
        "</s:X509Data></s:KeyInfo></s:Signature>"
    )
    exclusive = any(names.EXC_C14N in transform for transform in transforms)
    bare = canonicalize(parse(text.replace("{}", "").encode()), exclusive=exclusive, whole_document=True)
    signed = text.replace("{}", signature).replace("DIGEST", b64encode(sha256(bare).digest()).decode())
    info = next(parse(signed.encode()).iter(names.DS_SIGNED_INFO))
    value = signer.key().sign(canonicalize(info, exclusive=method == names.EXC_C14N))
    return signed.replace("VALUE", b64encode(value).decode()).encode()


def transform(uri: str, inside: str = "") -> str:
    return f'<s:Transform Algorithm="{uri}">{inside}</s:Transform>'


ENVELOPED = transform(names.ENVELOPED)


@pytest.mark.parametrize(
    "transforms",
    [
        (ENVELOPED,),
        (ENVELOPED, transform(names.C14N)),
        (ENVELOPED, transform(names.C14N_WITH_COMMENTS)),
        (ENVELOPED, transform(names.EXC_C14N)),
        (ENVELOPED, transform(names.EXC_C14N_WITH_COMMENTS)),
    ],
)
@pytest.mark.parametrize("method", [names.C14N, names.EXC_C14N])
def test_comments_and_instructions_are_treated_as_xml_signature_says(
    transforms: tuple[str, ...], method: str, signer: Signer
) -> None:
    # instructions around the root are signed, comments anywhere are not, text around the signature stays
    text = '<?one?><a xmlns:u="urn:u"><v>GENUINE</v> before {} after <w/></a><?two?>'
    data = by_hand(signer, text, transforms, method)
    verified = verify_enveloped(data)
    assert verified.element.findtext("v") == "GENUINE"
    assert verified.element[0].tail == " before  after "
    verify_enveloped(data.replace(b"GENUINE", b"GEN<!-- seen by nobody -->UINE"))
    with pytest.raises(SignatureRefused):
        verify_enveloped(data.replace(b"<?two?>", b"<?three?>"))


def test_a_signature_in_front_of_the_content_is_read(signer: Signer) -> None:
    data = by_hand(signer, "<a>{} behind<v>GENUINE</v></a>", (ENVELOPED,))
    assert verify_enveloped(data).element.text == " behind"


@pytest.mark.parametrize(
    "transforms",
    [
        (),
        (transform(names.C14N),),
        (transform(names.C14N), ENVELOPED),
        (ENVELOPED, ENVELOPED),
        (ENVELOPED, transform(names.C14N), transform(names.C14N)),
        (ENVELOPED, transform("http://www.w3.org/TR/1999/REC-xpath-19991116")),
        (ENVELOPED, transform("http://www.w3.org/2000/09/xmldsig#base64")),
        tuple([ENVELOPED] * 5),
    ],
)
def test_other_transforms_are_refused(transforms: tuple[str, ...], signer: Signer, known: Known) -> None:
    data = by_hand(signer, "<a>{}</a>", transforms)
    assert refusal(data, known) == ("reference", "transform_refused")


EDITS = {
    "changed": (b"GENUINE", b"ATTACKER", ("digest", "digest")),
    "an element added": (b"</d:data>", b"<x/></d:data>", ("digest", "digest")),
    "text after the signature": (b"</d:data>", b" </d:data>", ("digest", "digest")),
    "a declaration added to the root": (
        b"<d:data ",
        b'<d:data xmlns:q="urn:q" ',
        ("signature_value", "signature_value"),
    ),
    "a reference to a part": (b'URI=""', b'URI="#a"', ("reference", "not_the_document")),
    "an Object": (b"</ds:Signature>", b"<ds:Object/></ds:Signature>", ("signature_place", "object_refused")),
    "xml:lang on the root": (b"<d:data ", b'<d:data xml:lang="kk" ', ("signed_info", "xml_attribute")),
    "xml:space on the signature": (
        b"<ds:Signature ",
        b'<ds:Signature xml:space="preserve" ',
        ("signed_info", "xml_attribute"),
    ),
    "canonicalisation of SignedInfo with comments": (
        b'c14n-20010315"></ds:Can',
        b'c14n-20010315#WithComments"></ds:Can',
        ("signed_info", "canonicalization_refused"),
    ),
    "SHA-1": (b"xmldsig-more#rsa-sha256", b"xmldsig-more#rsa-sha1", ("algorithms", "algorithm_refused")),
    "a DOCTYPE": (b"<d:data ", b"<!DOCTYPE d><d:data ", ("bounds", "doctype")),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_changed_document_is_refused_at_the_step_that_sees_it(
    name: str, signer: Signer, known: Known, document: etree._Element
) -> None:
    old, new, expected = EDITS[name]
    data = sign_enveloped(document, signer.key())
    assert old in data
    assert refusal(data.replace(old, new, 1), known) == expected


def test_a_document_without_a_signature_is_unsigned(known: Known) -> None:
    assert refusal(b"<a/>", known) == ("signature_place", "unsigned")


def test_a_signed_document_inside_another_is_not_taken_for_the_whole(
    signer: Signer, known: Known, document: etree._Element
) -> None:
    data = sign_enveloped(document, signer.key())
    assert refusal(b"<a>" + data + b"</a>", known) == ("signature_place", "signature_place")


def test_a_deeper_signature_is_content_like_any_other(signer: Signer, document: etree._Element) -> None:
    inner = sign_enveloped(document, signer.key())
    data = sign_enveloped(parse(b"<outer>" + inner + b"</outer>"), signer.key())
    verified = verify_enveloped(data)
    assert len(verified.signatures) == 1
    assert next(verified.element.iter(names.DS_SIGNATURE), None) is not None


def test_the_number_of_signatures_is_bounded(known: Known) -> None:
    many = f'<s:Signature xmlns:s="{names.DS}"/>' * (MAX_SIGNATURES + 1)
    assert refusal(f"<a>{many}</a>".encode(), known) == ("signature_place", "signature_count")


def test_an_attribute_that_lxml_would_not_inherit_is_not_signed_over(signer: Signer) -> None:
    with pytest.raises(MalformedMessage) as caught:
        sign_enveloped(etree.fromstring('<a xml:lang="kk"/>'), signer.key())
    assert caught.value.code == "xml_attribute"


def test_a_root_with_a_prefix_ds_of_its_own_is_signed(signer: Signer) -> None:
    data = sign_enveloped(etree.fromstring('<ds:a xmlns:ds="urn:other"><ds:b/></ds:a>'), signer.key())
    assert verify_enveloped(data).element.tag == "{urn:other}a"


def test_a_namespace_that_libxml2_cannot_canonicalise_is_refused(signer: Signer, known: Known) -> None:
    data = by_hand(signer, '<a xmlns:n="urn:a&amp;b">{}</a>', (ENVELOPED,))
    assert refusal(data, known)[1] == "not_canonical"
