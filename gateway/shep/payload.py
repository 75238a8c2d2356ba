"""What stands inside `data`: anyType by contract, six shapes in practice (SHEP.md 0 item 5, 5.2, 8 item 8).

Writing is exact: the codec of the service. Reading recognises every shape whatever the codec, and refuses what
could mean two things.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Final

from lxml import etree

from gateway.errors import ConfigurationError, MalformedMessage
from gateway.shep import names
from gateway.xml import DEFAULT_BOUNDS, XmlBounds, local_name, parse, to_bytes


class PayloadCodec(StrEnum):
    """How a service expects its payload; the word in `system.toml`."""

    #: the payload's children stand directly in `data`
    CHILDREN = "children"
    #: the same, and `data` says `xsi:type` = the payload's name
    TYPED_CHILDREN = "typed_children"
    #: the payload is the only child of `data`
    ELEMENT = "element"
    #: the payload as text, escaped
    ESCAPED_TEXT = "escaped_text"
    #: the same in a CDATA section, until canonicalisation turns it into escaped text
    CDATA = "cdata"
    #: the payload's UTF-8 bytes in base64
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class WrittenPayload:
    """A payload that was written as text and not as a tree: one element in its exclusive canonical form."""

    text: str = field(repr=False)

    @property
    def element(self) -> etree._Element:
        return parse(self.text.encode(), OUR_OWN)


_SIGNATURE: Final = f"{{{names.DS}}}Signature"
# text has been decoded already: a declaration inside it (.NET writes utf-16 there) says nothing true
_TEXT_DECLARATION: Final = re.compile(r"\ufeff?\s*<\?xml\s[^>]{0,200}\?>")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\s]+")
#: bounds of what we built ourselves: none but libxml2's own
OUR_OWN: Final = XmlBounds(sys.maxsize, max_elements=sys.maxsize, max_attributes=sys.maxsize, max_depth=250)


def encode(payload: etree._Element, codec: PayloadCodec) -> bytes:
    """The element `data` with the payload in it, serialised; `payload` itself is left as it is.

    Bytes, because lxml rewrites declarations when an element moves into another tree: it drops one whose namespace
    is declared above under another prefix, and names inside of values (`xsi:type`) then mean nothing. Raises
    ConfigurationError when this codec cannot carry this payload.
    """
    if codec is PayloadCodec.CHILDREN:
        return _children(payload, payload.nsmap)
    if codec is PayloadCodec.TYPED_CHILDREN:
        prefix, nsmap = _with_prefix(payload)
        name = local_name(payload)
        return _children(payload, nsmap, f"{prefix}:{name}" if prefix else name)
    if codec is PayloadCodec.ELEMENT:
        return b"<data>" + to_bytes(payload) + b"</data>"
    if codec is PayloadCodec.BASE64:
        return b"<data>" + base64.b64encode(to_bytes(payload)) + b"</data>"
    data = etree.Element("data")
    text = etree.tostring(payload, encoding="unicode", with_tail=False)
    # a CDATA section cannot hold its own end; escaped, the reader sees the same text
    data.text = etree.CDATA(text) if codec is PayloadCodec.CDATA and "]]>" not in text else text
    return to_bytes(data)


def decode(
    data: etree._Element,
    codec: PayloadCodec,
    *,
    root_name: str,
    bounds: XmlBounds = DEFAULT_BOUNDS,
) -> etree._Element:
    """Read the payload out of `data` as a detached element whose name is `root_name` (`Local` or `{uri}Local`).

    All six shapes are recognised; `codec` decides only what an empty `data` means. A payload whose local name is
    right and whose namespace is not gets the right one: peers disagree on qualification (SHEP.md 4, 6.2).
    A `ds:Signature` at the end of `data` is about `data` and is not handed on with the children.

    Raises MalformedMessage: `no_payload`, `ambiguous_payload`, `unreadable_payload`, `unexpected_payload`, and for
    inner documents every code of `gateway.xml.parse`.
    """
    text = _direct_text(data)
    children = list(data)
    if any(not isinstance(child.tag, str) for child in children):
        raise MalformedMessage("<data> holds a processing instruction", code="unreadable_payload")
    if not children:
        if not text:
            return _read_empty(data, codec, root_name)
        return named(_read_inner_document(text, bounds), root_name)
    if text:
        raise MalformedMessage("<data> holds both text and elements", code="ambiguous_payload")
    if len(children) == 1 and _is_the_payload(data, children[0], root_name):
        return named(parse(to_bytes(children[0]), bounds), root_name)
    # serialised and parsed, not copied: this keeps every declaration in scope, which an xsi:type may need
    root = parse(to_bytes(data), bounds)
    root.tag = root_name
    root.attrib.pop(names.XSI_TYPE, "")
    for signature in root.findall(_SIGNATURE):
        root.remove(signature)
    return root


def decode_in_place(
    data: etree._Element, codec: PayloadCodec, *, root_name: str, bounds: XmlBounds = DEFAULT_BOUNDS
) -> etree._Element:
    """`decode` for a reader who looks at the payload's own elements and texts and at nothing above it.

    A payload that is the only child of `data` under its very name is handed on where it stands, which saves a parse.
    Raises as `decode`.
    """
    if len(data) == 1 and data[0].tag == root_name and not _direct_text(data):
        return data[0]
    return decode(data, codec, root_name=root_name, bounds=bounds)


def _read_empty(data: etree._Element, codec: PayloadCodec, root_name: str) -> etree._Element:
    if codec not in (PayloadCodec.CHILDREN, PayloadCodec.TYPED_CHILDREN):
        raise MalformedMessage("<data> is empty", code="no_payload")
    root = etree.Element(root_name)
    for name, value in data.attrib.items():
        if name != names.XSI_TYPE:
            root.set(name, value)
    return root


def _is_the_payload(data: etree._Element, child: etree._Element, root_name: str) -> bool:
    """Whether the only child is the payload, or the payload's only field of the same name."""
    if child.tag == root_name:
        return True
    if local_name(child) != _local(root_name):
        return False
    typed = data.get(names.XSI_TYPE, "").rpartition(":")[2]
    return typed != _local(root_name)


def inner_document(data: etree._Element) -> bytes | None:
    """The document that `data` holds as text (escaped, CDATA or base64), None when it holds elements or nothing.

    Raises MalformedMessage (`unreadable_payload`).
    """
    text = _direct_text(data)
    return _inner_bytes(text) if text and not len(data) else None


def _read_inner_document(text: str, bounds: XmlBounds) -> etree._Element:
    return parse(_inner_bytes(text), bounds)


def _inner_bytes(text: str) -> bytes:
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        declaration = _TEXT_DECLARATION.match(text)
        return (text[declaration.end() :] if declaration else text).encode()
    if not _BASE64.fullmatch(text):
        raise MalformedMessage("the text in <data> is neither XML nor base64", code="unreadable_payload")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise MalformedMessage("the base64 in <data> is damaged", code="unreadable_payload") from None


def named(root: etree._Element, root_name: str) -> etree._Element:
    """A payload under its agreed name. Raises MalformedMessage (`unexpected_payload`)."""
    if root.tag != root_name:
        if local_name(root) != _local(root_name):
            raise MalformedMessage(
                f"the payload is <{local_name(root)[:80]}> where <{_local(root_name)}> is expected",
                code="unexpected_payload",
            )
        root.tag = root_name
    return root


def _children(payload: etree._Element, nsmap: Mapping[str | None, str], type_name: str = "") -> bytes:
    """`data` with the payload's attributes and children, declaring at least the prefixes of `nsmap`."""
    if _direct_text(payload):
        raise ConfigurationError(
            f"<{local_name(payload)}> holds text directly, which a codec of children cannot carry; "
            "set the codec 'element'"
        )
    if None not in nsmap:
        data = copy.deepcopy(payload) if payload.getparent() is None else parse(to_bytes(payload), OUR_OWN)
        data.tag = "data"
        if type_name:
            data.set(names.XSI_TYPE, type_name)
        return to_bytes(data)
    # `data` itself is in no namespace, so it declares no default one: each child that needs it brings its own
    prefixed = {prefix: uri for prefix, uri in nsmap.items() if prefix is not None}
    data = etree.Element("data", nsmap=prefixed)
    for name, value in payload.items():
        data.set(name, value)
    if type_name:
        data.set(names.XSI_TYPE, type_name)
    start = to_bytes(data).removesuffix(b"/>") + b">"
    return start + b"".join(to_bytes(child) for child in payload) + b"</data>"


def _with_prefix(payload: etree._Element) -> tuple[str, Mapping[str | None, str]]:
    """A prefix for the payload's namespace ("" when it has none), and its declarations with that prefix among them."""
    nsmap = payload.nsmap
    uri = str(payload.tag).removeprefix("{").rpartition("}")[0]
    if not uri:
        return "", nsmap
    for prefix, known in nsmap.items():
        if prefix is not None and known == uri:
            return prefix, nsmap
    free = next(prefix for prefix in (f"cs{n or ''}" for n in count()) if prefix not in nsmap)
    return free, {**nsmap, free: uri}


def _direct_text(element: etree._Element) -> str:
    return ((element.text or "") + "".join(child.tail or "" for child in element)).strip()


def _local(name: str) -> str:
    return name.rpartition("}")[2]
