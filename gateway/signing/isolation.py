"""One element of a message, taken alone: the document that a business signature is over (SHEP.md 5.2).

Its canonicalisation is inclusive, so the declarations in scope decide the digest: those that were written in the
element's own tags count, those that the envelope around it brought do not, and the exclusive form of the transport
signature no longer has them all. Hence the element is cut out of the very bytes received. A second parser finds the
place; that both mean the same element is proven by comparing exclusive canonical forms with the verified one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from lxml import etree

from gateway.errors import MalformedMessage
from gateway.signing import names
from gateway.xml import XmlBounds, canonicalize, parse

#: what gateway.xml.parse passes over before a document
_LEADING: Final = b"\xef\xbb\xbf \t\r\n"
#: an element of a document that was inside its bounds
_WITHIN: Final = XmlBounds(max_bytes=1 << 30, max_elements=1 << 30, max_attributes=1 << 30, max_depth=250)
_TAG_NAME: Final = re.compile(rb"<[^\s/>]+")


class _Cut:
    """Finds the bytes of one element. `wanted`: positions among sibling elements, from the root (0) down."""

    def __init__(self, data: bytes, wanted: list[int]) -> None:
        self._wanted = wanted
        self._here: list[int] = []
        self._children = [0]
        self._start = self._end = -1
        self._ending = False
        #: namespace declarations in the start tag, by prefix ("" for the default one)
        self.declared: dict[str, str] = {}
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._open
        parser.EndElementHandler = self._close
        parser.DefaultHandler = self._between
        parser.Parse(data, True)
        self.found = data[self._start : self._end] if 0 <= self._start < self._end else b""

    def _open(self, _: str, attributes: Mapping[str, str]) -> None:
        self._between("")
        self._here.append(self._children[-1])
        self._children[-1] += 1
        self._children.append(0)
        if self._start < 0 and self._here == self._wanted:
            self._start = self._parser.CurrentByteIndex
            for name, value in attributes.items():
                prefix, _, local = name.partition(":")
                if prefix == "xmlns":
                    self.declared[local] = value

    def _close(self, _: str) -> None:
        self._between("")
        self._ending = self._end < 0 and self._here == self._wanted
        self._here.pop()
        self._children.pop()

    def _between(self, _: str) -> None:
        if self._ending:  # the end tag ends where the next thing begins
            self._end = self._parser.CurrentByteIndex
            self._ending = False


def isolated(received: bytes, element: etree._Element, above: tuple[int, ...]) -> bytes:
    """The bytes of `element` as a document of its own.

    In: the message as received; an element of the tree that was made of the verified part of it; the position of that
    tree's root in the message, from the root (0) down. First the bytes are tried as they stand; where the element
    uses prefixes that only the envelope declares, those are declared on it.
    Raises MalformedMessage (`not_isolated`).
    """
    try:
        cut = _Cut(received.lstrip(_LEADING), [*above, *_positions(element)])
    except expat.ExpatError:
        cut = None
    wanted = canonicalize(element)
    if cut is not None and cut.found:
        for candidate in (cut.found, _with_inherited(cut.found, cut.declared, element)):
            try:
                if canonicalize(parse(candidate, _WITHIN)) == wanted:
                    return candidate
            except MalformedMessage:  # a prefix without a meaning
                continue
    raise MalformedMessage(
        f"<{etree.QName(element).localname[:40]}> cannot be taken out of its message as a document of its own",
        code="not_isolated",
    )


def _positions(element: etree._Element) -> list[int]:
    found: list[int] = []
    parent = element.getparent()
    while parent is not None:
        found.append(sum(1 for _ in element.itersiblings(etree.Element, preceding=True)))
        element, parent = parent, parent.getparent()
    return found[::-1]


def _with_inherited(found: bytes, declared: Mapping[str, str], element: etree._Element) -> bytes:
    parent = element.getparent()
    scope = {} if parent is None else parent.nsmap
    used = set(_namespaces(element))
    added = b"".join(
        f" xmlns{':' if prefix else ''}{prefix or ''}={quoteattr(uri)}".encode()
        for prefix, uri in scope.items()
        if uri in used and (prefix or "") not in declared
    )
    return _TAG_NAME.sub(lambda match: match.group() + added, found, count=1)


def _namespaces(element: etree._Element) -> Iterator[str]:
    for node in element.iter(etree.Element):
        for name in (node.tag, *node.attrib):
            uri, closed, _ = str(name).removeprefix("{").rpartition("}")
            if closed and uri != names.XML:
                yield uri
