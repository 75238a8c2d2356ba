from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing import names
from gateway.signing.algorithms import SIGNATURES, SignatureAlgorithm
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.steps import Trail
from gateway.signing.wss import VerifiedBody, sign_body, verify_envelope
from gateway.xml import XmlBounds, canonicalize, parse
from tests.signing.conftest import MESSAGE, Known, Signer

ALGORITHMS = [(family, row) for row in SIGNATURES.values() for family in sorted(row.key_families)]


def answer_of(verified: VerifiedBody) -> str | None:
    return verified.body.findtext(".//answer")


@pytest.mark.parametrize("form", list(KeyInfoForm))
@pytest.mark.parametrize(("family", "algorithm"), ALGORITHMS, ids=[row.name for _, row in ALGORITHMS])
def test_every_form_with_every_algorithm_comes_back_as_it_was_signed(
    form: KeyInfoForm,
    family: str,
    algorithm: SignatureAlgorithm,
    signers: Mapping[str, Signer],
    known: Known,
    body: etree._Element,
) -> None:
    signer = signers[family]
    verified = verify_envelope(sign_body(body, signer.key(algorithm), form=form), certificates=known)
    assert verified.certificate == signer.certificate
    assert verified.algorithm == algorithm.name
    assert verified.key_info_form is form
    assert answer_of(verified) == "GENUINE"
    assert [step.name for step in verified.steps if step.ok] == [
        "bounds",
        "structure",
        "signature_place",
        "signed_info",
        "algorithms",
        "reference",
        "ids",
        "key_info",
        "certificate",
        "signature_value",
        "digest",
    ]


def test_nothing_but_the_signed_body_can_be_reached(signer: Signer, body: etree._Element) -> None:
    verified = verify_envelope(sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER))
    assert verified.body.tag == f"{{{names.SOAP_11}}}Body"
    assert verified.body.getparent() is None
    assert verified.body.getprevious() is None
    assert verified.body.getnext() is None
    assert verified.body.tail is None
    assert verified.body.getroottree().getroot() is verified.body
    assert verified.body.xpath("/*")[0] is verified.body


def test_what_is_handed_on_is_what_was_digested(signer: Signer, body: etree._Element) -> None:
    data = sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    assert canonicalize(verify_envelope(data).body) == canonicalize(parse(data)[1])


def test_a_namespace_that_libxml2_cannot_canonicalise_is_refused(signer: Signer, known: Known) -> None:
    body = etree.fromstring(f'<s:Body xmlns:s="{names.SOAP_11}"><n:a xmlns:n="urn:a&amp;b"/></s:Body>')
    data = sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER).replace(b"urn:a&b", b"urn:a&amp;b")
    assert refusal(data, known) == ("digest", "not_canonical")


def test_an_element_without_a_namespace_stays_without_one(signer: Signer) -> None:
    envelope = (
        f'<s:Envelope xmlns:s="{names.SOAP_11}" xmlns="urn:default"><s:Body><a><b xmlns=""><c/></b></a><d xmlns=""/>'
        "</s:Body></s:Envelope>"
    )
    data = sign_body(etree.fromstring(envelope)[0], signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    verified = verify_envelope(data)
    again = parse(etree.tostring(verified.body))
    assert [element.tag for element in again.iter()][1:] == ["{urn:default}a", "b", "c", "d"]
    assert canonicalize(again) == canonicalize(verified.body)


def test_an_unsigned_declaration_gives_no_meaning_to_a_prefix_in_the_body(signer: Signer, body: etree._Element) -> None:
    data = sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    # exclusive canonicalisation leaves the prefix out, since only xsi:type uses it: we declare it outside of the Body
    assert data.count(b"xmlns:xs=") == 1
    forged = data.replace(b'xmlns:xs="http://www.w3.org/2001/XMLSchema"', b'xmlns:xs="urn:attacker"')
    assert forged != data
    verified = verify_envelope(forged)
    answer = verified.body.find(".//answer")
    assert answer is not None
    assert "xs" not in answer.nsmap


@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_what_we_sign_is_embedded_as_it_was_digested(form: KeyInfoForm, signer: Signer, body: etree._Element) -> None:
    data = sign_body(body, signer.key(), form=form)
    root = parse(data)
    assert canonicalize(root[1]) in data
    signed_info = next(root.iter(names.DS_SIGNED_INFO))
    written = data[data.index(b"<ds:SignedInfo") : data.index(b"</ds:SignedInfo>") + len(b"</ds:SignedInfo>")]
    declared = written.replace(b"<ds:SignedInfo", b'<ds:SignedInfo xmlns:ds="' + names.DS.encode() + b'"', 1)
    assert canonicalize(signed_info) == declared


BODIES = {
    "default namespace": '<Body xmlns="{soap}"><a xmlns="">1</a></Body>',
    "a prefix after wsu": '<z:Body xmlns:z="{soap}"><a>1</a></z:Body>',
    "the prefix wsu itself": '<wsu:Body xmlns:wsu="{soap}"><a>1</a></wsu:Body>',
    "wsu in the payload": '<s:Body xmlns:s="{soap}"><a xmlns:wsu="urn:x" wsu:b="1"/></s:Body>',
    "wsu of WS-Security in the payload": '<s:Body xmlns:s="{soap}"><a xmlns:wsu="{wsu}" wsu:Created="1"/></s:Body>',
    "attributes": '<s:Body xmlns:s="{soap}" xmlns:b="urn:b" b:x="1" a="2"><a>1</a></s:Body>',
    "an id of its own": '<s:Body xmlns:s="{soap}" xmlns:w="{wsu}" w:Id="old" ID="older"><a>1</a></s:Body>',
    "empty": '<s:Body xmlns:s="{soap}"/>',
    "unused and nested declarations": (
        '<s:Body xmlns:s="{soap}" xmlns:u="urn:u"><a xmlns:q="urn:q"><q:b u:c="1"/></a></s:Body>'
    ),
    "characters": '<s:Body xmlns:s="{soap}"><a b="&quot;&#9;&lt;">&#13;&lt;]]&gt;Ұ</a><?pi data?></s:Body>',
}


@pytest.mark.parametrize("soap", [names.SOAP_11, names.SOAP_12])
@pytest.mark.parametrize("name", BODIES)
def test_any_body_is_signed_into_canonical_bytes(name: str, soap: str, signers: Mapping[str, Signer]) -> None:
    body = etree.fromstring(BODIES[name].format(soap=soap, wsu=names.WSU))
    before = etree.tostring(body)
    data = sign_body(body, signers["ec-p256"].key(), form=KeyInfoForm.KEY_IDENTIFIER, body_id="id-1")
    root = parse(data)
    assert canonicalize(root[1]) in data
    assert root[1].get(names.WSU_ID) == "id-1"
    assert root.tag == f"{{{soap}}}Envelope"
    assert verify_envelope(data).body.get(names.WSU_ID) == "id-1"
    assert etree.tostring(body) == before


def test_without_an_id_a_fresh_one_is_made(signers: Mapping[str, Signer], body: etree._Element) -> None:
    key = signers["ec-p256"].key()
    ids = {parse(sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER))[1].get(names.WSU_ID) for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("body_id", ["", "1a", 'a"b', "a b", "Ұ", "a" * 129])
def test_an_id_that_is_not_a_name_is_not_written(body_id: str, signer: Signer, body: etree._Element) -> None:
    with pytest.raises(ValueError, match="body_id"):
        sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER, body_id=body_id)


@pytest.mark.parametrize("text", ["<Body/>", '<s:Header xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"/>'])
def test_only_a_soap_body_is_signed(text: str, signer: Signer) -> None:
    with pytest.raises(ValueError, match="soap:Body"):
        sign_body(etree.fromstring(text), signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)


# ---------------------------------------------------------------- what is refused, by code


@pytest.fixture(scope="module")
def signed(signers: Mapping[str, Signer]) -> str:
    """A genuine message, form A, with the id `id-1`."""
    body = etree.fromstring(MESSAGE)[0]
    key = signers["rsa"].key()
    return sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER, body_id="id-1").decode()


def test_the_same_certificate_twice_in_different_wraps_is_one(signed: str, signer: Signer) -> None:
    encoded = b64encode(signer.certificate.der).decode()
    wrapped = "\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    twice = signed.replace(
        "<ds:KeyInfo>", f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{wrapped}</ds:X509Certificate></ds:X509Data>"
    )
    assert answer_of(verify_envelope(twice.encode())) == "GENUINE"


def refusal(data: str | bytes, known: Known) -> tuple[str, str]:
    trail = Trail()
    with pytest.raises((SignatureRefused, MalformedMessage)) as caught:
        verify_envelope(data.encode() if isinstance(data, str) else data, certificates=known, trail=trail)
    assert not trail.steps[-1].ok
    assert trail.steps[-1].code == caught.value.code
    assert all(step.ok for step in trail.steps[:-1])
    return trail.steps[-1].name, caught.value.code


S_OPEN = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xs="http://www.w3.org/2001/XMLSchema">'
)
BODY = '<soap:Body xmlns:wsu="' + names.WSU + '" wsu:Id="id-1"><a>ATTACKER</a></soap:Body>'
EXC = f'Algorithm="{names.EXC_C14N}"'
IN_BODY = ("</data>", "<item id='d'/><item id='d'/></data>")

# name: (text to replace, what with, step, code)
EDITS: dict[str, tuple[str, str, str, str]] = {
    "body changed": ("GENUINE", "ATTACKER", "digest", "digest"),
    "body re-indented": ("<empty>", "\n<empty>", "digest", "digest"),
    "signature value changed": ("<ds:SignatureValue>", "<ds:SignatureValue>AAAA", "signature_value", "signature_value"),
    "signature value is garbage": ("<ds:SignatureValue>", "<ds:SignatureValue>!", "signature_value", "bad_base64"),
    "signature value holds an element": (
        "<ds:SignatureValue>",
        "<ds:SignatureValue><x/>",
        "signature_value",
        "signed_info",
    ),
    "SignedInfo has other white space": (
        "<ds:SignatureMethod",
        " <ds:SignatureMethod",
        "signature_value",
        "signature_value",
    ),
    "another body after it": ("</soap:Envelope>", BODY + "</soap:Envelope>", "structure", "structure"),
    "another body before the header": (S_OPEN, S_OPEN + BODY, "structure", "structure"),
    "something after the body": ("</soap:Envelope>", "<x/></soap:Envelope>", "structure", "structure"),
    "a processing instruction in the envelope": ("</soap:Envelope>", "<?x?></soap:Envelope>", "structure", "structure"),
    "two headers": ("<soap:Header>", "<soap:Header/><soap:Header>", "structure", "structure"),
    "two security headers": (
        "</soap:Header>",
        f'<w:Security xmlns:w="{names.WSSE}"/></soap:Header>',
        "signature_place",
        "signature_place",
    ),
    "another signature in the header": (
        "</soap:Header>",
        f'<s:Signature xmlns:s="{names.DS}"/></soap:Header>',
        "signature_place",
        "signature_count",
    ),
    "a signature inside the signature": (
        "</ds:KeyInfo>",
        "<ds:Signature/></ds:KeyInfo>",
        "signature_place",
        "signature_count",
    ),
    "an Object": ("</ds:Signature>", "<ds:Object/></ds:Signature>", "signature_place", "object_refused"),
    "a child that nobody knows": ("</ds:Signature>", "<x/></ds:Signature>", "signature_place", "signature_shape"),
    "a manifest reference": (
        "<ds:Reference ",
        f'<ds:Reference Type="{names.DS}Manifest" ',
        "reference",
        "reference_type",
    ),
    "a reference to nothing": ('URI="#id-1"', 'URI="#id-2"', "reference", "not_the_body"),
    "a reference to the document": ('URI="#id-1"', 'URI=""', "reference", "not_the_body"),
    "a reference with a fragment and no name": ('URI="#id-1"', 'URI="#"', "reference", "not_the_body"),
    "a reference to a file": ('URI="#id-1"', 'URI="file:///etc/hostname"', "reference", "not_the_body"),
    "a reference to a host": ('URI="#id-1"', 'URI="http://host.invalid/"', "reference", "not_the_body"),
    "a reference by XPointer": ('URI="#id-1"', "URI=\"#xpointer(id('id-1'))\"", "reference", "not_the_body"),
    "a reference without URI": ('URI="#id-1"', "", "reference", "reference_uri"),
    "no digest method": ("<ds:DigestMethod", "<ds:Digester", "bounds", "not_xml"),
    "SHA-1 with RSA": ("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-sha1", "algorithms", "algorithm_refused"),
    "SHA-1 with RSA by its true name": (
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        names.DS + "rsa-sha1",
        "algorithms",
        "algorithm_refused",
    ),
    "HMAC with the public key": (
        "xmldsig-more#rsa-sha256",
        "xmldsig-more#hmac-sha256",
        "algorithms",
        "algorithm_refused",
    ),
    "a SHA-1 digest": ("http://www.w3.org/2001/04/xmlenc#sha256", names.DS + "sha1", "algorithms", "algorithm_refused"),
    "an unknown algorithm": ("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-sha3", "algorithms", "algorithm_refused"),
    "an algorithm of another key": (
        "xmldsig-more#rsa-sha256",
        "xmldsig-more#ecdsa-sha256",
        "certificate",
        "key_mismatch",
    ),
    "another algorithm of the same family": (
        "xmldsig-more#rsa-sha256",
        "xmldsig-more#rsa-sha512",
        "signature_value",
        "signature_value",
    ),
    "parameters of the signature method": (
        "</ds:SignatureMethod>",
        "<ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>",
        "algorithms",
        "algorithm_parameters",
    ),
    "inclusive canonicalisation of SignedInfo": (
        f"<ds:CanonicalizationMethod {EXC}",
        f'<ds:CanonicalizationMethod Algorithm="{names.C14N}"',
        "signed_info",
        "canonicalization_refused",
    ),
    "canonicalisation of SignedInfo with comments": (
        f"<ds:CanonicalizationMethod {EXC}",
        f'<ds:CanonicalizationMethod Algorithm="{names.EXC_C14N_WITH_COMMENTS}"',
        "signed_info",
        "canonicalization_refused",
    ),
    "no canonicalisation named": (
        f"<ds:CanonicalizationMethod {EXC}",
        "<ds:CanonicalizationMethod",
        "signed_info",
        "transform_refused",
    ),
    "an XSLT transform": (
        f"<ds:Transform {EXC}>",
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><x/>',
        "reference",
        "transform_refused",
    ),
    "an XPath transform": (
        f"<ds:Transform {EXC}>",
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>1</ds:XPath>',
        "reference",
        "transform_refused",
    ),
    "an enveloped transform": (
        f"<ds:Transform {EXC}>",
        f'<ds:Transform Algorithm="{names.ENVELOPED}">',
        "reference",
        "transform_refused",
    ),
    "two transforms": (
        "<ds:Transforms>",
        f"<ds:Transforms><ds:Transform {EXC}/>",
        "reference",
        "transform_refused",
    ),
    "no transform": (f"<ds:Transform {EXC}></ds:Transform>", "", "reference", "transform_refused"),
    "something else among the transforms": ("<ds:Transforms>", "<ds:Transforms><x/>", "reference", "transform_refused"),
    "too many prefixes": (
        f"<ds:Transform {EXC}>",
        f'<ds:Transform {EXC}><i:InclusiveNamespaces xmlns:i="{names.EXC_C14N}" PrefixList="{"a " * 65}"/>',
        "reference",
        "transform_refused",
    ),
    "the default namespace as inclusive, over SignedInfo": (
        f"<ds:CanonicalizationMethod {EXC}>",
        f'<ds:CanonicalizationMethod {EXC}><i:InclusiveNamespaces xmlns:i="{names.EXC_C14N}" PrefixList="#default"/>',
        "signed_info",
        "not_canonical",
    ),
    "no transforms element": ("<ds:DigestMethod", "<x/><ds:DigestMethod", "reference", "reference_shape"),
    "the digest is garbage": ("<ds:DigestValue>", "<ds:DigestValue>%", "digest", "bad_base64"),
    "the digest is not ASCII": ("<ds:DigestValue>", "<ds:DigestValue>Ұ", "digest", "bad_base64"),
    "a relative namespace": ("<ds:SignedInfo>", '<ds:SignedInfo xmlns="a">', "signed_info", "not_canonical"),
    "a second element with the same id": ("<empty>", '<empty Id="id-1">', "ids", "duplicate_id"),
    "the same id in another case": ("<empty>", '<empty ID="id-1">', "ids", "duplicate_id"),
    "the same id as xml:id": ("<empty>", '<empty xml:id="id-1">', "ids", "duplicate_id"),
    "the same id in the header": ("<soap:Header>", '<soap:Header iD="id-1">', "ids", "duplicate_id"),
    "an id of the payload twice": (*IN_BODY, "ids", "duplicate_id"),
    "no header": ("<soap:Header>", "<soap:Heading>", "bounds", "not_xml"),
    "a key without a certificate": (
        "<wsse:SecurityTokenReference ",
        "<ds:KeyValue/><wsse:SecurityTokenReference2 ",
        "bounds",
        "not_xml",
    ),
    "a DOCTYPE that declares ids": ("<soap:Envelope ", "<!DOCTYPE a><soap:Envelope ", "bounds", "doctype"),
    "not an envelope": ("soap/envelope/", "soap/envelope", "structure", "not_an_envelope"),
    "a certificate that is none": ('X509v3">', 'X509v3">AAAA', "certificate", "bad_certificate"),
    "a certificate with an element in it": ('X509v3">', 'X509v3"><x/>', "key_info", "key_info_shape"),
    "a signature value that is far too long": (
        "<ds:SignatureValue>",
        f"<ds:SignatureValue>{'A' * 65_537}",
        "signature_value",
        "bad_base64",
    ),
    "a certificate that is not base64": ('X509v3">', 'X509v3">*', "key_info", "bad_base64"),
    "another kind of key identifier": ("#X509v3", "#ThumbprintSHA1", "key_info", "key_info_unsupported"),
    "another encoding": ("#Base64Binary", "#HexBinary", "key_info", "key_info_unsupported"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_changed_message_is_refused_at_the_step_that_sees_it(name: str, signed: str, known: Known) -> None:
    old, new, step, code = EDITS[name]
    assert old in signed
    assert refusal(signed.replace(old, new, 1), known) == (step, code)


KEY_INFOS = {
    "empty": ("", "key_info", "no_certificate"),
    "a key only": ("<ds:KeyValue/><ds:KeyName>me</ds:KeyName>", "key_info", "no_certificate"),
    "a retrieval method": (
        f'<ds:RetrievalMethod URI="#x" Type="{names.DS}X509Data"/>',
        "key_info",
        "key_info_unsupported",
    ),
    "a processing instruction": ("<?x?>", "key_info", "key_info_unsupported"),
    "a reference to a token": (
        '<wsse:SecurityTokenReference xmlns:wsse="{wsse}"><wsse:Reference URI="#x"/></wsse:SecurityTokenReference>',
        "key_info",
        "key_info_unsupported",
    ),
    "an embedded CRL": ("<ds:X509Data><ds:X509CRL/></ds:X509Data>", "key_info", "key_info_unsupported"),
    "two certificates": (
        "<ds:X509Data>{certificate}{stranger}</ds:X509Data>",
        "key_info",
        "ambiguous_certificate",
    ),
    "an issuer and serial of another certificate": (
        "<ds:X509Data>{certificate}<ds:X509IssuerSerial><ds:X509IssuerName>CN=a</ds:X509IssuerName>"
        "<ds:X509SerialNumber>1</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>",
        "certificate",
        "certificate_mismatch",
    ),
    "an unknown certificate": (
        "<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=a</ds:X509IssuerName>"
        "<ds:X509SerialNumber>1</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>",
        "certificate",
        "certificate_unknown",
    ),
    "an issuer that is no name": (
        "<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>somebody</ds:X509IssuerName>"
        "<ds:X509SerialNumber>1</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>",
        "key_info",
        "issuer_name",
    ),
    "an element in the serial number": (
        "<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=a</ds:X509IssuerName>"
        "<ds:X509SerialNumber>1<x/></ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>",
        "key_info",
        "key_info_shape",
    ),
    "an issuer without serial": (
        "<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=a</ds:X509IssuerName></ds:X509IssuerSerial></ds:X509Data>",
        "key_info",
        "key_info_shape",
    ),
    **{
        f"the serial {serial[:8]}": (
            "<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=a</ds:X509IssuerName>"
            f"<ds:X509SerialNumber>{serial}</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>",
            "key_info",
            "serial_number",
        )
        for serial in ("", "-1", "0x10", "1e3", "١٢", "9" * 65)
    },
}


@pytest.mark.parametrize("name", KEY_INFOS)
def test_a_key_info_that_does_not_name_one_certificate_is_refused(
    name: str, signed: str, stranger: Signer, known: Known
) -> None:
    content, step, code = KEY_INFOS[name]
    certificate = signed[signed.index('X509v3">') + 8 : signed.index("</wsse:KeyIdentifier>")]
    content = content.replace("{certificate}", f"<ds:X509Certificate>{certificate}</ds:X509Certificate>")
    foreign = b64encode(stranger.certificate.der).decode()
    content = content.replace("{stranger}", f"<ds:X509Certificate>{foreign}</ds:X509Certificate>")
    content = content.replace("{wsse}", names.WSSE)
    start, end = signed.index("<ds:KeyInfo>"), signed.index("</ds:KeyInfo>")
    assert refusal(f"{signed[:start]}<ds:KeyInfo>{content}{signed[end:]}", known) == (step, code)


def test_a_certificate_whose_key_cannot_be_read_is_refused(signed: str, signer: Signer, known: Known) -> None:
    der = signer.certificate.der
    modulus = bytes.fromhex("308201 0a 02820101")
    assert modulus in der
    damaged = der.replace(modulus, bytes.fromhex("308201 0a 03820101"))
    message = signed.replace(b64encode(der).decode(), b64encode(damaged).decode())
    assert refusal(message, known) == ("certificate", "bad_public_key")


def test_a_key_of_any_other_bytes_is_refused_without_a_crash(signed: str, signer: Signer) -> None:
    der = signer.certificate.der
    start = der.index(bytes.fromhex("308201 0a 02820101"))
    for at in [*range(start, start + 12), *range(start + 262, start + 272)]:
        for change in (0x01, 0x02, 0x80, 0xFF):
            damaged = der[:at] + bytes([der[at] ^ change]) + der[at + 1 :]
            with pytest.raises((SignatureRefused, MalformedMessage)):
                verify_envelope(signed.replace(b64encode(der).decode(), b64encode(damaged).decode()).encode())


def test_a_signature_without_key_info_is_refused(signed: str, known: Known) -> None:
    start, end = signed.index("<ds:KeyInfo>"), signed.index("</ds:KeyInfo>") + len("</ds:KeyInfo>")
    assert refusal(signed[:start] + signed[end:], known) == ("key_info", "no_certificate")


def test_two_references_are_refused(signed: str, known: Known) -> None:
    start, end = signed.index("<ds:Reference"), signed.index("</ds:SignedInfo>")
    assert refusal(signed[:end] + signed[start:end] + signed[end:], known) == ("reference", "reference_count")
    assert refusal(signed[:start] + signed[end:], known) == ("reference", "reference_count")


def test_a_signed_info_in_another_order_is_refused(signed: str, known: Known) -> None:
    method = signed[signed.index("<ds:SignatureMethod") : signed.index("<ds:Reference")]
    moved = signed.replace(method, "").replace("<ds:CanonicalizationMethod", method + "<ds:CanonicalizationMethod")
    assert refusal(moved, known) == ("signed_info", "signed_info")


@pytest.mark.parametrize(
    "data",
    [
        f"{S_OPEN}{BODY}</soap:Envelope>",
        f"{S_OPEN}<soap:Header/>{BODY}</soap:Envelope>",
        f'{S_OPEN}<soap:Header><w:Security xmlns:w="{names.WSSE}"/></soap:Header>{BODY}</soap:Envelope>',
        f'{S_OPEN}<soap:Header/><soap:Body><s:Signature xmlns:s="{names.DS}"/></soap:Body></soap:Envelope>',
    ],
)
def test_a_message_without_a_signature_is_unsigned(data: str, known: Known) -> None:
    assert refusal(data, known) == ("signature_place", "unsigned")


def test_a_signature_beside_the_security_header_is_refused(signed: str, known: Known) -> None:
    start = signed.index("<ds:Signature")
    end = signed.index("</ds:Signature>") + len("</ds:Signature>")
    signature = signed[start:end]
    moved = signed.replace(signature, "").replace("</soap:Header>", signature + "</soap:Header>")
    assert refusal(moved, known) == ("signature_place", "signature_place")
    deeper = signed.replace(signature, f"<x>{signature}</x>")
    assert refusal(deeper, known) == ("signature_place", "signature_place")


@pytest.mark.parametrize("data", [b"", b"no xml", f"{S_OPEN}<soap:Header/></soap:Envelope>".encode(), b"<a/>"])
def test_what_is_no_envelope_is_malformed(data: bytes, known: Known) -> None:
    with pytest.raises(MalformedMessage) as caught:
        verify_envelope(data, certificates=known)
    assert caught.value.code in {"not_xml", "not_an_envelope"}


def test_the_bounds_are_kept(signed: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        verify_envelope(signed.encode(), bounds=XmlBounds(max_bytes=100))
    assert caught.value.code == "too_large"


def test_a_canonical_form_that_explodes_is_refused(signed: str, known: Known) -> None:
    uri = "urn:" + "x" * 50_000
    many = signed.replace(S_OPEN, S_OPEN[:-1] + f' xmlns:p="{uri}">').replace("<empty>", "<p:a/>" * 1_000 + "<empty>")
    assert refusal(many, known) == ("digest", "canonical_too_large")


def test_a_root_inside_another_document_is_refused(signed: str) -> None:
    outer = parse(f"<a>{signed}</a>".encode())
    with pytest.raises(SignatureRefused, match="not the root"):
        verify_envelope(outer[0])


def test_a_parsed_root_is_verified_as_its_bytes_are(signed: str) -> None:
    assert answer_of(verify_envelope(parse(signed.encode()))) == "GENUINE"


# ---------------------------------------------------------------- what real senders do and is accepted

ACCEPTED_EDITS = {
    "line wraps in the signature value": ("<ds:SignatureValue>", "<ds:SignatureValue>\r\n "),
    "carriage returns in the signature value": ("</ds:SignatureValue>", "&#13;\n</ds:SignatureValue>"),
    "carriage returns in the certificate": ('X509v3">', 'X509v3">&#13;\n'),
    "an unsigned time stamp": (
        "</wsse:Security>",
        f'<u:Timestamp xmlns:u="{names.WSU}"><u:Created>2025-01-01T00:00:00Z</u:Created></u:Timestamp></wsse:Security>',
    ),
    "another header block": ("</soap:Header>", '<x:Trace xmlns:x="urn:x">1</x:Trace></soap:Header>'),
    "white space in the start tag of the body": ('wsu:Id="id-1">', "wsu:Id='id-1' >"),
    "a processing instruction before the envelope": ("<soap:Envelope ", "<?x?><soap:Envelope "),
    "a byte-order mark": ("<soap:Envelope ", "\ufeff<soap:Envelope "),
    "a comment in the body": ("GENUINE", "GEN<!-- x -->UINE"),
    "a comment in the signature": ("<ds:SignatureValue>", "<ds:SignatureValue><!-- x -->"),
    "CDATA in the body": ("GENUINE", "<![CDATA[GENUINE]]>"),
    "a key beside the certificate": ("<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyValue/>"),
    "a subject name beside the certificate": (
        "</wsse:SecurityTokenReference>",
        "<ds:X509Data><ds:X509SubjectName>CN=a</ds:X509SubjectName></ds:X509Data></wsse:SecurityTokenReference>",
    ),
    "an unused declaration on the body": ("<soap:Body ", '<soap:Body xmlns:q="urn:q" '),
}


@pytest.mark.parametrize("name", ACCEPTED_EDITS)
def test_a_difference_that_means_nothing_is_accepted(name: str, signed: str) -> None:
    old, new = ACCEPTED_EDITS[name]
    assert old in signed
    assert answer_of(verify_envelope(signed.replace(old, new, 1).encode())) == "GENUINE"


def sign_by_hand(template: str, signer: Signer) -> bytes:
    """Fill DIGEST and VALUE of a message whose SignedInfo and Body are canonicalised with the prefixes it lists."""

    def prefixes(element: etree._Element) -> tuple[str, ...]:
        found = element.find(f"{names.EC_INCLUSIVE_NAMESPACES}")
        return () if found is None else tuple(str(found.get("PrefixList")).split())

    root = parse(template.encode())
    transform = next(root.iter(names.DS_TRANSFORM))
    digest = sha256(canonicalize(root[1], inclusive_prefixes=prefixes(transform))).digest()
    template = template.replace("DIGEST", b64encode(digest).decode())
    root = parse(template.encode())
    method = next(root.iter(names.DS_CANONICALIZATION_METHOD))
    signed_info = canonicalize(next(root.iter(names.DS_SIGNED_INFO)), inclusive_prefixes=prefixes(method))
    return template.replace("VALUE", b64encode(signer.key().sign(signed_info)).decode()).encode()


def by_hand(signer: Signer, *, id_attributes: str, method: str = "", transform: str = "") -> str:
    certificate = b64encode(signer.certificate.der).decode()
    return (
        f'<soap:Envelope xmlns:soap="{names.SOAP_11}" xmlns:wsu="{names.WSU}" xmlns:wsse="{names.WSSE}"'
        ' xmlns:xs="http://www.w3.org/2001/XMLSchema"><soap:Header>'
        f'<wsse:Security><Signature xmlns="{names.DS}"><SignedInfo>\n<CanonicalizationMethod {EXC}>{method}'
        "</CanonicalizationMethod>\n"
        '<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>\n'
        f'<Reference URI="#id-1"><Transforms><Transform {EXC}>{transform}</Transform></Transforms>'
        '<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><DigestValue>DIGEST</DigestValue>'
        "</Reference></SignedInfo><SignatureValue>VALUE</SignatureValue>"
        f"<KeyInfo><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></Signature>"
        f"</wsse:Security></soap:Header><soap:Body {id_attributes}>"
        "<answer>GENUINE</answer></soap:Body></soap:Envelope>"
    )


@pytest.mark.parametrize(
    "id_attributes", ['Id="id-1"', 'wsu:Id="id-1"', 'wsse:Id="id-1" wsu:Id="id-1"', 'wsse:Id="id-2" wsu:Id="id-1"']
)
def test_a_body_with_any_of_the_ids_in_use_is_accepted(id_attributes: str, signer: Signer) -> None:
    data = sign_by_hand(by_hand(signer, id_attributes=id_attributes), signer)
    assert answer_of(verify_envelope(data)) == "GENUINE"


@pytest.mark.parametrize("id_attributes", ['ID="id-1"', 'id="id-1"', 'xml:id="id-1"', 'wsse:Id="id-1"', ""])
def test_a_body_with_an_id_of_another_kind_is_refused(id_attributes: str, signer: Signer, known: Known) -> None:
    data = sign_by_hand(by_hand(signer, id_attributes=id_attributes), signer)
    assert refusal(data, known) == ("reference", "not_the_body")


INCLUSIVE = f'<ec:InclusiveNamespaces xmlns:ec="{names.EXC_C14N}" PrefixList="{{}}"/>'


@pytest.mark.parametrize(
    ("method", "transform"),
    list(itertools.product(["", INCLUSIVE.format("soap wsu")], ["", INCLUSIVE.format("xs wsse")])),
)
def test_inclusive_namespaces_are_honoured_and_bind_their_prefixes(
    method: str, transform: str, signer: Signer, known: Known
) -> None:
    data = sign_by_hand(by_hand(signer, id_attributes='Id="id-1"', method=method, transform=transform), signer)
    assert ("xs" in verify_envelope(data).body.nsmap) == bool(transform)
    rebound = data.replace(b"http://www.w3.org/2001/XMLSchema", b"urn:attacker")
    if transform:
        assert refusal(rebound, known) == ("digest", "digest")
    else:
        assert answer_of(verify_envelope(rebound)) == "GENUINE"


def test_the_default_namespace_as_inclusive_prefix_is_refused_by_name(signer: Signer, known: Known) -> None:
    template = by_hand(signer, id_attributes='Id="id-1"', transform=INCLUSIVE.format("xs"))
    data = sign_by_hand(template, signer).replace(b'"xs"', b'"#default"')
    assert refusal(data, known)[1] in {"signature_value", "not_canonical"}


def test_a_relative_namespace_in_the_body_is_refused(signed: str, known: Known) -> None:
    data = signed.replace("<answer ", '<r:x xmlns:r="relative"/><answer ')
    assert refusal(data, known) == ("digest", "not_canonical")


def test_nobody_is_named_in_what_is_shown_of_a_verified_body(signed: str) -> None:
    verified = verify_envelope(signed.encode())
    shown = repr(verified) + "".join(step.compared for step in verified.steps)
    assert "GENUINE" not in shown
    assert "BIN" not in shown


XSI = "http://www.w3.org/2001/XMLSchema-instance"


@pytest.mark.parametrize("outside", [False, True])
def test_a_prefix_that_stands_in_a_type_only_is_still_declared_on_the_wire(signer: Signer, outside: bool) -> None:
    """`xsi:type="cs:Request"` (SHEP.md 6.1): the exclusive form drops xmlns:cs, and peers resolve it."""
    declared = 'xmlns:cs="urn:a&amp;b"'
    envelope = parse(
        f'<s:Envelope xmlns:s="{names.SOAP_11}" xmlns:xsi="{XSI}" {declared if outside else ""}><s:Body>'
        f'<data {"" if outside else declared} xsi:type="cs:Request"><a xsi:type="b"/></data>'
        "</s:Body></s:Envelope>".encode()
    )
    signed = sign_body(envelope[0], signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    (data,) = etree.fromstring(signed).iter("data")
    assert data.nsmap["cs"] == "urn:a&b"
    assert verify_envelope(signed).certificate == signer.certificate


@pytest.mark.parametrize(
    "inside",
    [
        '<a xmlns:p="urn:1" xsi:type="p:T"/><a xmlns:p="urn:2" xsi:type="p:T"/>',
        '<a xmlns:soap="urn:other" xsi:type="soap:T"/>',
    ],
)
def test_a_prefix_with_two_meanings_is_refused_before_anything_is_signed(signer: Signer, inside: str) -> None:
    body = parse(f'<s:Body xmlns:s="{names.SOAP_11}" xmlns:xsi="{XSI}">{inside}</s:Body>'.encode())
    with pytest.raises(MalformedMessage) as refused:
        sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    assert refused.value.code == "ambiguous_prefix"


def test_a_type_of_the_envelopes_own_prefixes_needs_nothing_more(signer: Signer) -> None:
    inside = f'<a xsi:type="soap:T"/><b xmlns:ds="{names.DS}" xsi:type="ds:T"/>'
    body = parse(f'<soap:Body xmlns:soap="{names.SOAP_11}" xmlns:xsi="{XSI}">{inside}</soap:Body>'.encode())
    signed = sign_body(body, signer.key(), form=KeyInfoForm.KEY_IDENTIFIER)
    assert next(etree.fromstring(signed).iter("b")).nsmap["ds"] == names.DS
    assert verify_envelope(signed).certificate == signer.certificate


# ---------------------------------------------------------------- form C: a bare signature


@pytest.fixture
def bare(signer: Signer, body: etree._Element) -> bytes:
    return sign_body(body, signer.key(), form=KeyInfoForm.BARE, body_id="id-1")


def test_a_bare_signature_stands_in_the_header_over_an_un_namespaced_id(bare: bytes) -> None:
    root = parse(bare)
    assert [child.tag for child in root[0]] == [names.DS_SIGNATURE]
    assert root[1].get("Id") == "id-1"
    assert names.WSSE.encode() not in bare
    assert names.WSU.encode() not in bare
    verified = verify_envelope(bare)
    assert verified.key_info_form is KeyInfoForm.BARE
    assert "without WS-Security" in " ".join(step.compared for step in verified.steps)


def test_a_bare_signature_may_name_its_certificate_by_issuer_and_serial(
    signer: Signer, known: Known, body: etree._Element
) -> None:
    bare = sign_body(body, signer.key(), form=KeyInfoForm.BARE)
    named = sign_body(body, signer.key(), form=KeyInfoForm.ISSUER_SERIAL)

    def key_info(data: bytes) -> bytes:
        return data[data.index(b"<ds:KeyInfo>") : data.index(b"</ds:KeyInfo>")]

    verified = verify_envelope(bare.replace(key_info(bare), key_info(named)), certificates=known)
    assert verified.key_info_form is KeyInfoForm.ISSUER_SERIAL


@pytest.mark.parametrize(
    ("old", "new", "step", "code"),
    [
        # a Security beside it: which of the two was meant is nobody's to guess
        ("<soap:Header>", f'<soap:Header><w:Security xmlns:w="{names.WSSE}"/>', "signature_place", "signature_place"),
        ("</soap:Header>", f'<w:Security xmlns:w="{names.WSSE}"/></soap:Header>', "signature_place", "signature_place"),
        ("<soap:Header>", "<soap:Header><x>", "bounds", "not_xml"),
        ("</soap:Header>", f'<s:Signature xmlns:s="{names.DS}"/></soap:Header>', "signature_place", "signature_count"),
        # the id must be the un-namespaced one
        (' Id="id-1"', f' xmlns:u="{names.WSU}" u:Id="id-1"', "reference", "not_the_body"),
        (' Id="id-1"', ' ID="id-1"', "reference", "not_the_body"),
        (' Id="id-1"', ' xml:id="id-1"', "reference", "not_the_body"),
        (' Id="id-1"', "", "reference", "not_the_body"),
        ("<answer ", '<answer Id="id-1" ', "ids", "duplicate_id"),
        ("<answer ", '<answer ID="id-1" ', "ids", "duplicate_id"),
        ("GENUINE", "ATTACKER", "digest", "digest"),
    ],
)
def test_a_bare_signature_is_checked_as_strictly(
    old: str, new: str, step: str, code: str, bare: bytes, known: Known
) -> None:
    assert bare.count(old.encode()) == 1
    assert refusal(bare.replace(old.encode(), new.encode()), known) == (step, code)


def test_a_bare_signature_wrapped_in_the_header_is_refused(bare: bytes, known: Known) -> None:
    start, end = bare.index(b"<ds:Signature "), bare.index(b"</soap:Header>")
    wrapped = bare[:start] + b"<x>" + bare[start:end] + b"</x>" + bare[end:]
    assert refusal(wrapped, known) == ("signature_place", "signature_place")
