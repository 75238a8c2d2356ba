"""A generator of wrapped messages: every place a signed Body can be moved to, with a false one where it stood.

The signature of each forgery still holds over the genuine Body; the question is only which Body a receiver reads. A
forgery is beaten when it is refused, or when what is handed on is the genuine content and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
DS = "http://www.w3.org/2000/09/xmldsig#"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XML = "http://www.w3.org/XML/1998/namespace"


@dataclass(frozen=True, slots=True)
class Forgery:
    #: where the genuine Body went / what the false one looks like / where the signature went
    name: str
    data: bytes


@dataclass(slots=True)
class _Message:
    """A copy of the genuine message to take apart."""

    root: etree._Element

    @property
    def header(self) -> etree._Element:
        return self.root[0]

    @property
    def security(self) -> etree._Element:
        found = self.header.find(f"{{{WSSE}}}Security")
        return self.header if found is None else found  # bare: the signature stands straight in the Header

    @property
    def signature(self) -> etree._Element:
        return next(self.root.iter(f"{{{DS}}}Signature"))


def _holder(parent: etree._Element, tag: str, at: int | None = None) -> etree._Element:
    made = etree.Element(tag)
    parent.insert(len(parent) if at is None else at, made)
    return made


def _append(parent: etree._Element, child: etree._Element, at: int | None = None) -> None:
    parent.insert(len(parent) if at is None else at, child)


# Each takes the message without its Body, the genuine Body and the false one, and puts both somewhere.
def _place(kind: str, message: _Message, genuine: etree._Element, false: etree._Element) -> None:
    root, header = message.root, message.header
    match kind:
        case "sibling before":
            root.extend([genuine, false])
        case "sibling after":
            root.extend([false, genuine])
        case "first of the envelope":
            root.insert(0, genuine)
            root.append(false)
        case "false one first of the envelope":
            root.insert(0, false)
            root.append(genuine)
        case "wrapped beside the body":
            root.append(false)
            _append(_holder(root, "wrapper"), genuine)
        case "wrapped before the body":
            _append(_holder(root, "wrapper"), genuine)
            root.append(false)
        case "a block of the header":
            root.append(false)
            header.append(genuine)
        case "the first block of the header":
            root.append(false)
            header.insert(0, genuine)
        case "wrapped in the header":
            root.append(false)
            _append(_holder(header, "{urn:x}Wrapper"), genuine)
        case "in an old header":
            root.append(false)
            _append(_holder(_holder(header, f"{{{SOAP}}}Envelope"), f"{{{SOAP}}}Header"), genuine)
        case "in a second header":
            _append(_holder(root, f"{{{SOAP}}}Header"), genuine)
            root.append(false)
        case "in the security header":
            root.append(false)
            message.security.append(genuine)
        case "before the signature":
            root.append(false)
            message.security.insert(0, genuine)
        case "in a time stamp":
            root.append(false)
            _append(_holder(message.security, f"{{{WSU}}}Timestamp"), genuine)
        case "in an Object of the signature":
            root.append(false)
            _append(_holder(message.signature, f"{{{DS}}}Object"), genuine)
        case "in the signature":
            root.append(false)
            message.signature.append(genuine)
        case "first in the signature":
            root.append(false)
            message.signature.insert(0, genuine)
        case "in KeyInfo":
            root.append(false)
            message.signature.find(f"{{{DS}}}KeyInfo").append(genuine)
        case "in the token reference":
            root.append(false)
            token = message.signature.find(f"{{{DS}}}KeyInfo")[0]  # or X509Data, where there is no reference
            token.append(genuine)
        case "in the false body":
            false.append(genuine)
            root.append(false)
        case "first in the false body":
            false.insert(0, genuine)
            root.append(false)
        case "deep in the false body":
            _append(_holder(_holder(false, "a"), "b"), genuine)
            root.append(false)
        case "in the data of the false body":
            false.find(".//data").append(genuine)
            root.append(false)
        case "in an envelope in the false body":
            _append(_holder(false, f"{{{SOAP}}}Envelope"), genuine)
            root.append(false)
        case "around the false body":  # changes the genuine one, so no signature may hold
            genuine.append(false)
            root.append(genuine)
        case "in a fault":
            root.append(false)
            _append(_holder(_holder(root, f"{{{SOAP}}}Fault"), "detail"), genuine)
        case _:
            raise AssertionError(kind)


PLACES = (
    "sibling before",
    "sibling after",
    "first of the envelope",
    "false one first of the envelope",
    "wrapped beside the body",
    "wrapped before the body",
    "a block of the header",
    "the first block of the header",
    "wrapped in the header",
    "in an old header",
    "in a second header",
    "in the security header",
    "before the signature",
    "in a time stamp",
    "in an Object of the signature",
    "in the signature",
    "first in the signature",
    "in KeyInfo",
    "in the token reference",
    "in the false body",
    "first in the false body",
    "deep in the false body",
    "in the data of the false body",
    "in an envelope in the false body",
    "around the false body",
    "in a fault",
)

#: the id that the false Body carries: attribute name, and whether it is the signed one
IDS: tuple[tuple[str, str | None, bool], ...] = (
    ("no id", None, False),
    ("the same wsu:Id", f"{{{WSU}}}Id", True),
    ("another wsu:Id", f"{{{WSU}}}Id", False),
    ("the same Id", "Id", True),
    ("the same ID", "ID", True),
    ("the same id", "id", True),
    ("the same xml:id", f"{{{XML}}}id", True),
)

#: where the signature goes
SIGNATURES = (
    "in its place",
    "straight in the header",
    "in a second security header",
    "in an empty security header beside an empty one",
    "beside a security header",
    "in the body",
    "copied into the body",
    "copied before itself",
)


def _move_signature(kind: str, message: _Message) -> None:
    if kind == "in its place":
        return
    signature = message.signature
    body = message.root.find(f"{{{SOAP}}}Body")
    match kind:
        case "straight in the header":
            message.header.append(signature)
        case "in a second security header":
            _append(_holder(message.header, f"{{{WSSE}}}Security"), signature)
        case "in an empty security header beside an empty one":
            _holder(message.header, f"{{{WSSE}}}Security")
            _append(_holder(message.header, f"{{{WSSE}}}Security"), signature)
        case "beside a security header":
            message.header.append(signature)
            _holder(message.header, f"{{{WSSE}}}Security")
        case "in the body":
            body.append(signature)
        case "copied into the body":
            body.append(deepcopy(signature))
        case "copied before itself":
            signature.addprevious(deepcopy(signature))


def id_of(body: etree._Element) -> str:
    """The id that the signature names, in either of the forms on the wire."""
    return str(body.get(f"{{{WSU}}}Id") or body.get("Id"))


def without_ids(body: etree._Element) -> None:
    for name in [name for name in map(str, body.attrib) if name.rpartition("}")[2].lower() == "id"]:
        del body.attrib[name]


def forgeries(genuine: bytes, *, genuine_text: str, false_text: str) -> Iterator[Forgery]:
    """Every forgery of one signed message; the false Body says `false_text` where the genuine one says
    `genuine_text`."""
    parsed = etree.fromstring(genuine)
    id_attribute = next(name for name in (f"{{{WSU}}}Id", "Id") if parsed[1].get(name) is not None)
    signed_id = str(parsed[1].get(id_attribute))
    for place, (id_name, attribute, same), where in itertools.product(PLACES, IDS, SIGNATURES):
        message = _Message(deepcopy(parsed))
        body = message.root[1]
        message.root.remove(body)
        false = etree.fromstring(etree.tostring(body).replace(genuine_text.encode(), false_text.encode()))
        del false.attrib[id_attribute]
        if attribute is not None:
            false.set(attribute, signed_id if same else "id-of-another")
        _place(place, message, body, false)
        _move_signature(where, message)
        yield Forgery(f"{place} / {id_name} / signature {where}", etree.tostring(message.root))
