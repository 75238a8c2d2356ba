"""THREATS.md section 3, "Signature". Where it can be done its own trusted sender signs the strange message anew."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from hashlib import sha1, sha256

import pytest
from lxml import etree

from gateway.errors import MalformedMessage, SignatureRefused, TrustRefused
from gateway.exchange.verification import Evidence, verify_message
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import DEFAULT_BOUNDS, canonicalize, parse
from tests.exchange.world import NOW, Keys, trust
from tests.hostile.corpus import EXC, FALSE, GENUINE, body_of, genuine_messages
from tests.hostile.strange import resigned
from tests.hostile.wrapping import DS, SOAP, WSSE, WSU, XML

Edit = Callable[[etree._Element], None]


def message(keys: Keys, signer: str = "shep") -> etree._Element:
    body = body_of("request", GENUINE)
    return etree.fromstring(sign_body(body, keys[signer], form=KeyInfoForm.KEY_IDENTIFIER, body_id="id-1"))


def part(root: etree._Element, name: str) -> etree._Element:
    return next(root.iter(f"{{{DS}}}{name}"))


def code_of(data: bytes, keys: Keys) -> str:
    """The code of the refusal, by signature or by trust."""
    with pytest.raises((SignatureRefused, MalformedMessage, TrustRefused)) as caught:
        verify_message(data, trust=trust(keys.pki), bounds=DEFAULT_BOUNDS, at=NOW, evidence=Evidence())
    return caught.value.code


def strange(keys: Keys, edit: Edit, **changes: Callable[..., bytes]) -> str:
    """The refusal of a message that its own sender changed and signed again."""
    root = message(keys)
    edit(root)
    return code_of(resigned(root, keys["shep"], **changes), keys)


def test_a_message_signed_anew_by_its_sender_is_accepted(keys: Keys) -> None:
    """Otherwise the refusals below would prove nothing."""
    root = message(keys)
    next(root[1].iter("answer")).text = "ANOTHER"
    assert verify_envelope(resigned(root, keys["shep"])).body.findtext(".//answer") == "ANOTHER"


# ---------------------------------------------------------------- how many, over what, by whom


def test_no_signature_is_unsigned(keys: Keys) -> None:
    root = message(keys)
    part(root, "Signature").getparent().remove(part(root, "Signature"))
    assert code_of(etree.tostring(root), keys) == "unsigned"


@pytest.mark.parametrize("where", ["beside", "in a second Security", "in the Header", "inside the first"])
def test_two_signatures_are_refused(keys: Keys, where: str) -> None:
    def edit(root: etree._Element) -> None:
        first = part(root, "Signature")
        second = deepcopy(first)
        match where:
            case "beside":
                first.addnext(second)
            case "in a second Security":
                etree.SubElement(root[0], f"{{{WSSE}}}Security").append(second)
            case "in the Header":
                root[0].append(second)
            case _:
                first.append(second)

    assert strange(keys, edit) == "signature_count"


@pytest.mark.parametrize("what", ["Security", "Header", "Timestamp", "Envelope", "KeyInfo"])
def test_a_signature_over_another_part_is_refused(keys: Keys, what: str) -> None:
    def target(root: etree._Element) -> etree._Element:
        return next(one for one in root.iter(etree.Element) if etree.QName(one).localname == what)

    def edit(root: etree._Element) -> None:
        if what == "Timestamp":
            etree.SubElement(root[0][0], f"{{{WSU}}}Timestamp")
        target(root).set(f"{{{WSU}}}Id", "id-2")
        part(root, "Reference").set("URI", "#id-2")

    assert strange(keys, edit, digested=lambda root: canonicalize(target(root))) == "not_the_body"


def test_a_certificate_that_somebody_made_for_himself_is_not_trusted(keys: Keys) -> None:
    genuine = next(genuine_messages(keys))
    forged = sign_body(body_of("request", FALSE), genuine.others["self-made"], form=KeyInfoForm.KEY_IDENTIFIER)
    assert verify_envelope(forged).certificate.serial == genuine.signer.serial
    assert code_of(forged, keys) == "bad_certificate_signature"


@pytest.mark.parametrize(
    ("signer", "code"), [("stranger", "untrusted_issuer"), ("expired", "expired"), ("revoked", "revoked")]
)
def test_a_signer_who_must_not_sign_is_refused(keys: Keys, signer: str, code: str) -> None:
    assert code_of(etree.tostring(message(keys, signer)), keys) == code


# ---------------------------------------------------------------- algorithms


def test_hmac_with_the_public_key_is_refused(keys: Keys) -> None:
    for key_bytes in (keys["shep"].certificate.spki_der, keys["shep"].certificate.der):
        root = message(keys)
        next(root[1].iter("answer")).text = FALSE
        part(root, "DigestValue").text = b64encode(sha256(canonicalize(root[1])).digest()).decode()
        part(root, "SignatureMethod").set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
        root = parse(etree.tostring(root))
        value = hmac.digest(key_bytes, canonicalize(part(root, "SignedInfo")), "sha256")
        part(root, "SignatureValue").text = b64encode(value).decode()
        assert code_of(etree.tostring(root), keys) == "algorithm_refused"


def test_a_sha_1_digest_is_refused_by_name(keys: Keys) -> None:
    def edit(root: etree._Element) -> None:
        part(root, "DigestMethod").set("Algorithm", DS + "sha1")

    assert strange(keys, edit, digest=lambda data: sha1(data, usedforsecurity=False).digest()) == "algorithm_refused"


@pytest.mark.parametrize("uri", [DS + "rsa-sha1", DS + "dsa-sha1", DS + "hmac-sha1", "urn:none", ""])
def test_a_signature_method_that_is_not_ours_is_refused_by_name(keys: Keys, uri: str) -> None:
    assert strange(keys, lambda root: part(root, "SignatureMethod").set("Algorithm", uri)) == "algorithm_refused"


def test_a_digest_of_another_family_than_the_signature_is_refused(keys: Keys) -> None:
    uri = "urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:gostr34112015-512"

    def edit(root: etree._Element) -> None:
        part(root, "DigestMethod").set("Algorithm", uri)

    assert strange(keys, edit) == "family_mismatch"


# ---------------------------------------------------------------- references and transforms


def test_many_references_are_refused_though_each_digest_is_right(keys: Keys) -> None:
    def edit(root: etree._Element) -> None:
        reference = part(root, "Reference")
        for _ in range(9):
            reference.addnext(deepcopy(reference))

    assert strange(keys, edit) == "reference_count"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "#",
        "#xpointer(/)",
        "#xpointer(id('id-1'))",
        "http://host.invalid/a",
        "file:///etc/hostname",
        "cid:a",
        "id-1",
    ],
)
def test_a_reference_that_is_not_the_id_of_the_body_is_refused(keys: Keys, uri: str) -> None:
    assert strange(keys, lambda root: part(root, "Reference").set("URI", uri)) == "not_the_body"


@pytest.mark.parametrize(
    "algorithm",
    [
        "http://www.w3.org/TR/1999/REC-xslt-19991116", "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2", DS + "base64", DS + "enveloped-signature",
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["alone", "first", "last"])
def test_a_transform_other_than_the_canonicalisation_is_refused(keys: Keys, algorithm: str, place: str) -> None:
    def edit(root: etree._Element) -> None:
        given = part(root, "Transform")
        if place == "alone":
            given.set("Algorithm", algorithm)
            return
        made = deepcopy(given)
        made.set("Algorithm", algorithm)
        (given.addprevious if place == "first" else given.addnext)(made)

    assert strange(keys, edit) == "transform_refused"


def test_many_transforms_are_refused(keys: Keys) -> None:
    def edit(root: etree._Element) -> None:
        for _ in range(50):
            part(root, "Transforms").append(deepcopy(part(root, "Transform")))

    assert strange(keys, edit) == "transform_refused"


def test_a_canonicalisation_that_yields_nothing_is_refused(keys: Keys) -> None:
    """An XPath that selects no node: its digest is that of no bytes, whatever the Body says."""

    def edit(root: etree._Element) -> None:
        transform = part(root, "Transform")
        transform.set("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
        etree.SubElement(transform, f"{{{DS}}}XPath").text = "false()"
        next(root[1].iter("answer")).text = FALSE

    assert strange(keys, edit, digested=lambda root: b"") == "transform_refused"
    # and without any transform the digest of nothing is simply wrong
    assert strange(keys, lambda root: None, digested=lambda root: b"") == "digest"


@pytest.mark.parametrize(
    "method", ["http://www.w3.org/TR/2001/REC-xml-c14n-20010315", EXC + "WithComments", "urn:none", ""]
)
def test_another_canonicalisation_of_signed_info_is_refused(keys: Keys, method: str) -> None:
    edit = strange(keys, lambda root: part(root, "CanonicalizationMethod").set("Algorithm", method))
    assert edit == "canonicalization_refused"


# ---------------------------------------------------------------- key info


@pytest.mark.parametrize("name", ["RetrievalMethod", "MgmtData", "PGPData", "SPKIData"])
def test_a_key_info_that_points_elsewhere_is_refused(keys: Keys, name: str) -> None:
    def edit(root: etree._Element) -> None:
        info = part(root, "KeyInfo")
        info[:] = [etree.Element(f"{{{DS}}}{name}", {"URI": "http://host.invalid/key"})]

    assert strange(keys, edit) == "key_info_unsupported"


def test_a_token_reference_that_points_into_the_message_is_not_followed(keys: Keys) -> None:
    def edit(root: etree._Element) -> None:
        token = part(root, "KeyInfo")[0]
        token[:] = [etree.Element(f"{{{WSSE}}}Reference", {"URI": "#token"})]
        binary = etree.SubElement(root[0][0], f"{{{WSSE}}}BinarySecurityToken", {f"{{{WSU}}}Id": "token"})
        binary.text = b64encode(keys["shep"].certificate.der).decode()

    assert strange(keys, edit) == "key_info_unsupported"


# ---------------------------------------------------------------- ids and names


@pytest.mark.parametrize("attribute", [f"{{{WSU}}}Id", "Id", "ID", "id", "iD", f"{{{XML}}}id", "{urn:x}Id"])
@pytest.mark.parametrize("where", ["in the Body", "in the Header"])
def test_an_id_that_stands_twice_in_any_case_is_refused(keys: Keys, attribute: str, where: str) -> None:
    def edit(root: etree._Element) -> None:
        element = next(root[1].iter("answer")) if where == "in the Body" else root[0]
        element.set(attribute, "id-1")

    assert strange(keys, edit) == "duplicate_id"


def test_ids_declared_by_a_doctype_are_refused(keys: Keys) -> None:
    data = b"<!DOCTYPE x [<!ATTLIST answer note ID #IMPLIED>]>" + etree.tostring(message(keys))
    assert code_of(data, keys) == "doctype"


def test_a_relative_namespace_uri_is_refused(keys: Keys) -> None:
    data = etree.tostring(message(keys)).replace(b"<answer>", b'<answer xmlns="relative">')
    assert code_of(data, keys) == "not_canonical"


@pytest.mark.parametrize("comment", [b"<!-- -->", b"<!--x--><!--y-->"])
def test_a_comment_cannot_cut_a_signed_value_short(keys: Keys, comment: bytes) -> None:
    data = etree.tostring(message(keys))
    cut = data.replace(GENUINE.encode() + b"</answer>", b"GENUINE" + comment + b"-VALUE</answer>")
    assert cut != data
    assert verify_envelope(cut).body.findtext(".//answer") == GENUINE


def test_a_processing_instruction_in_a_signed_value_breaks_the_signature(keys: Keys) -> None:
    data = etree.tostring(message(keys)).replace(GENUINE.encode() + b"</answer>", b"GENUINE<?x?>-VALUE</answer>")
    assert code_of(data, keys) == "digest"


@pytest.mark.parametrize("prefix", ["soap", "ds", "wsse", "wsu"])
def test_another_prefix_is_another_message_where_it_was_signed(keys: Keys, prefix: str) -> None:
    data = etree.tostring(message(keys))
    changed = data.replace(f"{prefix}:".encode(), b"other:").replace(f"xmlns:{prefix}=".encode(), b"xmlns:other=")
    try:
        verified = verify_envelope(changed)
    except (SignatureRefused, MalformedMessage):
        return
    assert canonicalize(verified.body) == verify_envelope(data).canonical


def test_what_is_handed_on_is_what_was_digested(keys: Keys) -> None:
    root = message(keys)
    verified = verify_envelope(etree.tostring(root))
    assert canonicalize(verified.body) == verified.canonical == canonicalize(root[1])
    assert verified.body.getparent() is None
    assert verified.body.getroottree().getroot() is verified.body
    assert not list(verified.body.iter(f"{{{DS}}}Signature"))
    assert verified.body.tag == f"{{{SOAP}}}Body"
