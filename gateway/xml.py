"""The one hardened parser, its named bounds, and canonicalisation.

libxml2 itself refuses depth over 256, text over 10 MB and entity loops, and accepts a DOCTYPE, a million
elements and a hundred thousand attributes (THREATS.md section 2). The bounds here close that gap *before*
a tree is built: counting `<` and `=` in the bytes gives upper bounds for elements and attributes that cost
a microsecond and cannot be fooled, since only UTF-8 without NUL is let in.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from lxml import etree

from gateway.errors import MalformedMessage

EXCLUSIVE_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
INCLUSIVE_C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"


@dataclass(frozen=True, slots=True)
class XmlBounds:
    """What a document from outside may cost."""

    max_bytes: int = 2_000_000
    #: start tags, counted in the bytes (tags inside CDATA count too)
    max_elements: int = 20_000
    #: attributes and namespace declarations; counted exactly only when `=` occurs more often than this
    max_attributes: int = 20_000
    #: levels of nesting, the root is level 1; libxml2's own limit of 256 stays in force above it
    max_depth: int = 64
    #: of the canonical form of a signed part; exclusive canonicalisation can make it far larger than the document
    max_canonical_bytes: int = 16_000_000


DEFAULT_BOUNDS: Final = XmlBounds()

_DECLARATION = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_ATTRIBUTE = re.compile(rb"=\s*[\"']")
_LEADING = b"\xef\xbb\xbf \t\r\n"


_per_thread = threading.local()  # an lxml parser serves one thread at a time; making one costs as much as parsing


def _hardened_parser() -> etree.XMLParser:
    parser: etree.XMLParser | None = getattr(_per_thread, "parser", None)
    if parser is None:
        parser = _per_thread.parser = _new_parser()
    return parser


def _new_parser() -> etree.XMLParser:
    # remove_comments: SAX drops them while parsing, so that text around a comment is one text node and
    # cannot be cut at it; both canonicalisations in use leave comments out, so digests are the same.
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        recover=False,
        remove_blank_text=False,
        remove_comments=True,
        remove_pis=False,
        strip_cdata=True,
        ns_clean=False,
    )


@cache
def _deeper_than(levels: int) -> etree.XPath:
    return etree.XPath("boolean(/" + "/".join("*" * (levels + 1)) + ")")


def parse(data: bytes, bounds: XmlBounds = DEFAULT_BOUNDS) -> etree._Element:
    """Parse bytes from outside into a root element.

    Accepts UTF-8 with or without byte-order mark, and white space before the declaration (seen in real
    traffic, SHEP.md 1.5). Raises MalformedMessage with one of the codes `too_large`, `encoding`,
    `doctype`, `too_many_elements`, `too_many_attributes`, `too_deep`, `not_xml`.
    """
    if len(data) > bounds.max_bytes:
        raise MalformedMessage(
            f"the document has {len(data)} bytes, at most {bounds.max_bytes} are read", code="too_large"
        )
    data = data.lstrip(_LEADING)
    if not data:
        raise MalformedMessage("the document is empty", code="not_xml")
    if b"\x00" in data[:4096] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise MalformedMessage("the document is not UTF-8", code="encoding")
    declared = _DECLARATION.match(data)
    if declared and declared.group(1).lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
        raise MalformedMessage("the document declares an encoding other than UTF-8", code="encoding")
    # looking for one byte first costs a tenth
    if b"!" in data and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise MalformedMessage("a document type declaration is never accepted", code="doctype")
    # the shortest element has four bytes and the shortest attribute five: a small document needs no counting
    if len(data) > 4 * bounds.max_elements and data.count(b"<") - data.count(b"</") > bounds.max_elements:
        raise MalformedMessage(f"the document has more than {bounds.max_elements} elements", code="too_many_elements")
    if (
        len(data) > 5 * bounds.max_attributes
        and data.count(b"=") > bounds.max_attributes
        # base64 padding and text may hold `=`: only then the exact form is looked for
        and len(_ATTRIBUTE.findall(data)) > bounds.max_attributes
    ):
        raise MalformedMessage(
            f"the document has more than {bounds.max_attributes} attributes", code="too_many_attributes"
        )
    try:
        root = etree.fromstring(data, _hardened_parser())
    except etree.XMLSyntaxError as error:
        # the parser's own text may quote the document: only its place is told
        raise MalformedMessage(f"the document is not well-formed XML (line {error.lineno})", code="not_xml") from None
    except ValueError:
        raise MalformedMessage("the document is not well-formed XML", code="not_xml") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise MalformedMessage("a document type declaration is never accepted", code="doctype")
    # the short expression answers for nearly every message and costs a quarter of the long one
    if _deeper_than(min(16, bounds.max_depth))(root) and _deeper_than(bounds.max_depth)(root):
        raise MalformedMessage(f"elements nest deeper than {bounds.max_depth} levels", code="too_deep")
    return root


class _BoundedSink:
    """A file that canonical bytes are written to and that ends the writing at a bound."""

    __slots__ = ("_chunks", "_left")

    def __init__(self, max_bytes: int) -> None:
        self._chunks: list[bytes] = []
        self._left = max_bytes

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            raise MalformedMessage(
                "the canonical form is far larger than the document (a long namespace URI used very often?)",
                code="canonical_too_large",
            )
        self._chunks.append(chunk)

    def content(self) -> bytes:
        return b"".join(self._chunks)


def canonicalize(
    element: etree._Element,
    *,
    exclusive: bool = True,
    inclusive_prefixes: tuple[str, ...] = (),
    whole_document: bool = False,
    max_bytes: int | None = None,
) -> bytes:
    """Canonical bytes of an element and what is inside it, without comments and without its tail.

    `inclusive_prefixes` is the PrefixList of ec:InclusiveNamespaces; it has a meaning for exclusive
    canonicalisation only. "#default" in it is refused: lxml drops it silently and the digest would be that
    of other bytes. `whole_document` takes the element's document with the processing instructions around its
    root (what a reference with `URI=""` means). `max_bytes` bounds the outcome, which can be a thousand times
    the document: exclusive canonicalisation repeats a namespace declaration at every element that uses it.
    The caller gives elements of a tree that `parse` made: comments are already gone.
    Raises MalformedMessage (`not_canonical`, `canonical_too_large`).
    """
    if "#default" in inclusive_prefixes:
        raise MalformedMessage("#default in an InclusiveNamespaces list is not supported", code="not_canonical")
    prefixes = list(inclusive_prefixes) or None
    try:
        # lxml writes what stands around a root element to a file even when it is not asked for
        lone = whole_document or (element.getprevious() is None and element.getnext() is None)
        if max_bytes is not None and (lone or element.getparent() is not None):
            sink = _BoundedSink(max_bytes)
            tree: Any = element.getroottree() if whole_document else etree.ElementTree(element)
            tree.write_c14n(sink, exclusive=exclusive, with_comments=False, inclusive_ns_prefixes=prefixes)
            return sink.content()
        return etree.tostring(
            element.getroottree() if whole_document else element,
            method="c14n",
            exclusive=exclusive,
            with_comments=False,
            with_tail=False,
            inclusive_ns_prefixes=prefixes,
        )
    except etree.C14NError:
        raise MalformedMessage(
            "the element has no canonical form (a relative namespace URI?)", code="not_canonical"
        ) from None


def parse_canonical(data: bytes) -> etree._Element:
    """The root element of canonical bytes that `canonicalize` made of a tree inside the bounds.

    What is read from it is what was digested, and nothing else of the old document can be reached from it. (A copy of
    the element costs a third less and is wrong: lxml moves default namespaces over an `xmlns=""` below them.)
    Raises MalformedMessage (`not_canonical`): libxml2 writes `&` and `<` of a namespace URI as they are.
    """
    try:
        return etree.fromstring(data, _hardened_parser())
    except etree.XMLSyntaxError:
        raise MalformedMessage(
            "a namespace URI holds a character that has no canonical form here", code="not_canonical"
        ) from None


def to_bytes(element: etree._Element) -> bytes:
    """An element as UTF-8 bytes without a declaration; white space exactly as in the tree."""
    return etree.tostring(element, encoding="utf-8", xml_declaration=False, with_tail=False)


def local_name(element: etree._Element) -> str:
    """Tag without namespace; "" for processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def leaf_text(element: etree._Element) -> str:
    """Text of an element that holds only text, white space at both ends removed.

    Raises MalformedMessage (`not_a_leaf`) when there is anything else inside, so that a processing
    instruction or an element cannot cut a value short.
    """
    if len(element):
        raise MalformedMessage(f"<{local_name(element)}> holds more than text", code="not_a_leaf")
    return (element.text or "").strip()


def children_named(parent: etree._Element, name: str) -> list[etree._Element]:
    """Direct children by local name: SHEP's own fields carry no namespace, but peers add one (SHEP.md 1.2)."""
    return [child for child in parent if local_name(child) == name]


def only_child(parent: etree._Element, name: str) -> etree._Element | None:
    """The one direct child of that local name, or None. Two of them raise MalformedMessage (`repeated`)."""
    found = children_named(parent, name)
    if len(found) > 1:
        raise MalformedMessage(f"<{name}> occurs more than once in <{local_name(parent)}>", code="repeated")
    return found[0] if found else None
