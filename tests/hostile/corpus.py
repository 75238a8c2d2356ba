"""Every forgery of this suite, by class. The forger has seen genuine messages and has keys, but not the signer's."""

from __future__ import annotations

import datetime as dt
import hmac
import itertools
from base64 import b64encode
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha1, sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.errors import GatewayError
from gateway.exchange.verification import Evidence, TrustPolicy, verify_message
from gateway.shep import sync_channel
from gateway.shep.faults import SUCCESS
from gateway.shep.messages import ResponseInfo
from gateway.shep.payload import PayloadCodec
from gateway.signing.algorithms import algorithm_for_key
from gateway.signing.certificate import Certificate
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SoftwareKey
from gateway.signing.wss import sign_body
from gateway.xml import DEFAULT_BOUNDS, canonicalize
from tests.exchange.world import NOW, Keys, request_info
from tests.hostile import wrapping
from tests.hostile.wrapping import DS, PLACES, SOAP, WSSE, Forgery, without_ids

GENUINE, FALSE = "GENUINE-VALUE", "ATTACKER-VALUE"

SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
EXC = "http://www.w3.org/2001/10/xml-exc-c14n#"


# ---------------------------------------------------------------- genuine messages


@dataclass(frozen=True)
class Genuine:
    """A signed message, another one of the same signer, and who signs without right."""

    kind: str
    form: KeyInfoForm
    data: bytes
    #: signed by the same key, about something else, with the same id on its Body
    another: bytes
    signer: Certificate
    #: by what makes them unfit: somebody of a foreign authority, somebody who is trusted but another, expired, revoked
    others: Mapping[str, SoftwareKey]


def body_of(kind: str, value: str, message_id: str = "m-1") -> etree._Element:
    payload = etree.Element("{urn:test}content", {"{urn:test}note": value})
    etree.SubElement(payload, "answer").text = value
    etree.SubElement(payload, "empty")
    if kind == "request":
        return sync_channel.build_request(request_info("SERVICE", message_id), payload, PayloadCodec.ELEMENT)
    return sync_channel.build_response(ResponseInfo(message_id, NOW, SUCCESS, "ours-1"), payload, PayloadCodec.ELEMENT)


def genuine_messages(keys: Keys) -> Iterator[Genuine]:
    """Requests and answers in every form in which KeyInfo names the signer."""
    others = {name: keys[name] for name in ("stranger", "person", "expired", "revoked")}
    others["self-made"] = _of_the_same_name(keys["shep"].certificate)
    for kind, form in itertools.product(("request", "answer"), KeyInfoForm):
        first, second = (
            sign_body(body_of(kind, value, message_id), keys["shep"], form=form, body_id="id-1")
            for value, message_id in ((GENUINE, "m-1"), ("GENUINE-OTHER", "m-2"))
        )
        yield Genuine(kind, form, first, second, keys["shep"].certificate, others)


def _of_the_same_name(certificate: Certificate) -> SoftwareKey:
    """A key of our own whose certificate has the issuer, the subject and the serial number of the genuine one."""
    private_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    genuine = x509.load_der_x509_certificate(certificate.der)
    builder = x509.CertificateBuilder(
        genuine.issuer, genuine.subject, private_key.public_key(), genuine.serial_number,
        NOW - dt.timedelta(days=9), NOW + dt.timedelta(days=9), list(genuine.extensions),
    )  # fmt: skip
    der = builder.sign(private_key, SHA256()).public_bytes(Encoding.DER)
    made = Certificate.from_der(der)
    algorithm = algorithm_for_key(made.key_family)
    assert algorithm is not None
    return SoftwareKey(made, algorithm, private_key)


# ---------------------------------------------------------------- the judge


def judged(data: bytes, genuine: bytes, trust: TrustPolicy) -> str:
    """`refused`, `genuine` when exactly what was signed would be read, `FALSE` for everything else."""
    try:
        verified = verify_message(data, trust=trust, bounds=DEFAULT_BOUNDS, at=NOW, evidence=Evidence())
    except GatewayError:
        return "refused"
    return "genuine" if canonicalize(verified.body) == genuine else "FALSE"


# ---------------------------------------------------------------- forgeries by class


def _false_body(genuine: Genuine) -> etree._Element:
    """The Body that the forger wants to be read, with the id of the genuine one."""
    return etree.fromstring(etree.tostring(etree.fromstring(genuine.data)[1]).replace(GENUINE.encode(), FALSE.encode()))


def _message(genuine: Genuine) -> wrapping._Message:
    return wrapping._Message(etree.fromstring(genuine.data))


def moved(genuine: Genuine) -> Iterator[Forgery]:
    yield from wrapping.forgeries(genuine.data, genuine_text=GENUINE, false_text=FALSE)


def renamed(genuine: Genuine) -> Iterator[Forgery]:
    """The genuine Body moved, the false one under a name that a lenient reader takes for a Body."""
    tags = (f"{{{SOAP_12}}}Body", "Body", f"{{{SOAP}}}body", "{urn:x}Body", f"{{{SOAP}}}Fault")
    for place, tag, with_id in itertools.product(PLACES, tags, (False, True)):
        message = _message(genuine)
        body = message.root[1]
        message.root.remove(body)
        false = _false_body(genuine)
        if not with_id:
            without_ids(false)
        false.tag = tag
        wrapping._place(place, message, body, false)
        yield Forgery(f"{place} / {tag} / id {with_id}", etree.tostring(message.root))


def nested(genuine: Genuine) -> Iterator[Forgery]:
    """The whole genuine message inside a false one."""
    places = ("in the Body", "first in the Body", "in the data", "in the Header", "in Security", "in an Object")
    for place, signature, with_id in itertools.product(places, ("inside", "moved out", "copied out"), (False, True)):
        inner = etree.fromstring(genuine.data)
        outer = etree.Element(f"{{{SOAP}}}Envelope")
        header = etree.SubElement(outer, f"{{{SOAP}}}Header")
        security = etree.SubElement(header, f"{{{WSSE}}}Security")
        body = _false_body(genuine)
        if not with_id:
            without_ids(body)
        outer.append(body)
        found = next(inner.iter(f"{{{DS}}}Signature"))
        if signature != "inside":
            security.append(found if signature == "moved out" else deepcopy(found))
        match place:
            case "in the Body":
                body.append(inner)
            case "first in the Body":
                body.insert(0, inner)
            case "in the data":
                body.find(".//data").append(inner)
            case "in the Header":
                header.append(inner)
            case "in Security":
                security.insert(0, inner)
            case "in an Object":
                holder = next(outer.iter(f"{{{DS}}}Signature"), security)
                etree.SubElement(holder, f"{{{DS}}}Object").append(inner)
        yield Forgery(f"{place} / signature {signature} / id {with_id}", etree.tostring(outer))


def _with_digest_of_body(root: etree._Element) -> None:
    body = next(child for child in root if child.tag == f"{{{SOAP}}}Body")
    digest = next(root.iter(f"{{{DS}}}DigestValue"))
    digest.text = b64encode(sha256(canonicalize(body)).digest()).decode()


def changed(genuine: Genuine) -> Iterator[Forgery]:
    """Each element of the signed Body changed, with the old digest and with the right one."""
    count = sum(1 for _ in etree.fromstring(genuine.data)[1].iter(etree.Element))
    kinds = ("text", "attribute", "tail", "child", "removed", "twice", "renamed", "another namespace", "split by PI")
    for at, kind, digest in itertools.product(range(count), kinds, (False, True)):
        root = etree.fromstring(genuine.data)
        element = list(root[1].iter(etree.Element))[at]
        match kind:
            case "text":
                element.text = FALSE
            case "attribute":
                element.set("note", FALSE)
            case "tail":
                if at == 0:
                    continue  # text after the Body is in the Envelope, and no part of what is read
                element.tail = FALSE
            case "child":
                etree.SubElement(element, "answer").text = FALSE
            case "removed" | "twice":
                if at == 0:
                    continue
                if kind == "twice":
                    element.addnext(deepcopy(element))
                else:
                    element.getparent().remove(element)
            case "renamed":
                element.tag = element.tag + "x"
            case "another namespace":
                element.tag = "{urn:x}" + etree.QName(element).localname
            case "split by PI":
                element.insert(0, etree.ProcessingInstruction("x", FALSE))
        if digest:
            body = next((child for child in root if child.tag == f"{{{SOAP}}}Body"), None)
            if body is None:
                continue
            _with_digest_of_body(root)
        yield Forgery(f"element {at} {kind} / digest reckoned anew {digest}", etree.tostring(root))


def transplanted(genuine: Genuine) -> Iterator[Forgery]:
    """The signature, or a part of it, of another message of the same signer."""
    parts = ("Signature", "SignedInfo", "SignatureValue", "DigestValue", "KeyInfo")
    for taken in itertools.chain.from_iterable(itertools.combinations(parts, n) for n in (1, 2, 3)):
        for false in (False, True):
            root, other = etree.fromstring(genuine.data), etree.fromstring(genuine.another)
            if false:
                root.replace(root[1], _false_body(genuine))
            elif set(taken) <= {"KeyInfo"}:
                continue  # the same signer's: nothing is forged
            for part in taken:
                old, new = (next(tree.iter(f"{{{DS}}}{part}"), None) for tree in (root, other))
                if old is None or new is None:
                    continue
                new = deepcopy(new)
                new.tail = None
                old.getparent().replace(old, new)
            yield Forgery(f"{'+'.join(taken)} of another message / false body {false}", etree.tostring(root))


def signed_by_another(genuine: Genuine) -> Iterator[Forgery]:
    """The false Body signed with a key that is not the genuine signer's."""
    for name, key in genuine.others.items():
        for form in KeyInfoForm:
            made = etree.fromstring(sign_body(body_of(genuine.kind, FALSE), key, form=form, body_id="id-1"))
            theirs = next(etree.fromstring(genuine.data).iter(f"{{{DS}}}KeyInfo"))
            for kind in ("own", "genuine", "genuine first", "genuine last", "genuine beside"):
                if kind == "own" and name == "person":
                    continue  # what a trusted signer says in its own name is no forgery
                forged = deepcopy(made)
                info = next(forged.iter(f"{{{DS}}}KeyInfo"))
                match kind:
                    case "genuine":
                        info[:] = [deepcopy(child) for child in theirs]
                    case "genuine first":
                        info[:0] = [deepcopy(child) for child in theirs]
                    case "genuine last":
                        info.extend(deepcopy(child) for child in theirs)
                    case "genuine beside":
                        info.addnext(deepcopy(theirs))
                yield Forgery(f"{name} / {form} / key info {kind}", etree.tostring(forged))


def respelled(genuine: Genuine) -> Iterator[Forgery]:
    """The false Body in its place, and SignedInfo rewritten so that some verifier could find it signed."""
    uris = (
        "", "#", "#id-1", "#ID-1", "#id-2", "#xpointer(/)", "#xpointer(id('id-1'))", "#element(/1/2)", "id-1",
        "http://host.invalid/a", "file:///etc/hostname", "cid:a", "../#id-1", "#id%2D1", "#id-1 ",
    )  # fmt: skip
    digests = {
        "http://www.w3.org/2001/04/xmlenc#sha256": lambda data: sha256(data).digest(),
        DS + "sha1": lambda data: sha1(data, usedforsecurity=False).digest(),
        "http://www.w3.org/2001/04/xmlenc#sha512": lambda data: b"",
        "": lambda data: sha256(data).digest(),
        "urn:none": lambda data: data[:32],
    }
    public = genuine.signer.spki_der
    values = {
        "kept": None,
        "none": lambda data: b"",
        "zero": lambda data: b"\0" * 256,
        "one": lambda data: b"\0" * 255 + b"\1",
        "HMAC with the public key": lambda data: hmac.digest(public, data, "sha256"),
        "the digest": lambda data: sha256(data).digest(),
        "PKCS#1 padding alone": lambda data: b"\0\1" + b"\xff" * 221 + b"\0" + sha256(data).digest(),
    }
    methods = (
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        DS + "hmac-sha1", DS + "rsa-sha1", DS + "dsa-sha1", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1", "urn:none", "",
    )  # fmt: skip
    transforms = (
        EXC, DS + "enveloped-signature", "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/TR/1999/REC-xslt-19991116", "http://www.w3.org/2002/06/xmldsig-filter2", DS + "base64", None,
    )  # fmt: skip

    def forged(name: str, *, uri: str = "#id-1", digest: str = "", method: str = "", transform: str | None = EXC,
               value: str = "kept") -> Forgery:  # fmt: skip
        root = etree.fromstring(genuine.data)
        root.replace(root[1], _false_body(genuine))
        canonical = canonicalize(root[1])
        reference = next(root.iter(f"{{{DS}}}Reference"))
        reference.set("URI", uri)
        named = digest or "http://www.w3.org/2001/04/xmlenc#sha256"
        next(root.iter(f"{{{DS}}}DigestMethod")).set("Algorithm", named)
        next(root.iter(f"{{{DS}}}DigestValue")).text = b64encode(digests[named](canonical)).decode()
        step = next(root.iter(f"{{{DS}}}Transform"))
        if transform is None:
            step.getparent().getparent().remove(step.getparent())
        else:
            step.set("Algorithm", transform)
        if method:
            next(root.iter(f"{{{DS}}}SignatureMethod")).set("Algorithm", method)
        reckon = values[value]
        if reckon is not None:
            signed_info = canonicalize(next(root.iter(f"{{{DS}}}SignedInfo")))
            next(root.iter(f"{{{DS}}}SignatureValue")).text = b64encode(reckon(signed_info)).decode()
        return Forgery(name, etree.tostring(root))

    for value, uri in itertools.product(values, uris):
        yield forged(f"URI {uri!r} / value {value}", uri=uri, value=value)
    for value, method, digest in itertools.product(values, methods, digests):
        yield forged(f"{method} with {digest} / value {value}", method=method, digest=digest, value=value)
    for value, transform in itertools.product(values, transforms):
        yield forged(f"transform {transform} / value {value}", transform=transform, value=value)
    # the genuine SignedInfo with its signature stays, one for the false Body stands before or after it
    for where, deep in itertools.product(("before", "after"), (False, True)):
        root = etree.fromstring(genuine.data)
        root.replace(root[1], _false_body(genuine))
        info = next(root.iter(f"{{{DS}}}SignedInfo"))
        second = deepcopy(info if not deep else next(info.iter(f"{{{DS}}}Reference")))
        digest_value = next(second.iter(f"{{{DS}}}DigestValue"))
        digest_value.text = b64encode(sha256(canonicalize(root[1])).digest()).decode()
        place = info if not deep else next(info.iter(f"{{{DS}}}Reference"))
        (place.addprevious if where == "before" else place.addnext)(second)
        yield Forgery(f"a second {'Reference' if deep else 'SignedInfo'} {where}", etree.tostring(root))


CLASSES = {
    "Body moved away, false one in its place": moved,
    "false Body under another name": renamed,
    "whole message inside a false one": nested,
    "signed content changed": changed,
    "signature of another message": transplanted,
    "signed by somebody else": signed_by_another,
    "SignedInfo rewritten": respelled,
}
