"""Every byte of a signed message changed, by class of what it belongs to: refused, or the same Body is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from gateway.errors import MalformedMessage, SignatureRefused
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import canonicalize
from tests.exchange.world import Keys, trust
from tests.hostile.corpus import GENUINE, body_of

_MARKUP = re.compile(rb"<[^>]*>|[^<]+")
#: what an attacker would try at any place, beside one bit of the byte that stands there
_BYTES = (b"", b"<", b">", b"/", b"&", b'"', b"'", b"=", b" ", b"\n", b":", b"A", b"0", b"\x00", b"\xff")

CLASSES = ("tag", "attribute", "namespace", "white space", "base64", "text")


def classified(data: bytes) -> Iterator[tuple[int, str]]:
    """Each byte's place and class."""
    for piece in _MARKUP.finditer(data):
        text = piece.group()
        if not text.startswith(b"<"):
            base64 = re.fullmatch(rb"[A-Za-z0-9+/=\s]{24,}", text) is not None
            for at, byte in enumerate(text, piece.start()):
                yield at, "white space" if bytes([byte]).isspace() else "base64" if base64 else "text"
            continue
        kinds = ["tag"] * len(text)
        for attribute in re.finditer(rb"([\w:]+)=(\"[^\"]*\"|'[^']*')", text):
            kind = "namespace" if attribute.group(1).startswith(b"xmlns") else "attribute"
            kinds[attribute.start() : attribute.end()] = [kind] * (attribute.end() - attribute.start())
        for at, (byte, kind) in enumerate(zip(text, kinds, strict=True), piece.start()):
            yield at, "white space" if bytes([byte]).isspace() else kind


@pytest.mark.parametrize("kind", ["request", "answer"])
@pytest.mark.parametrize("form", list(KeyInfoForm))
def test_a_changed_byte_of_any_class_is_refused_or_changes_nothing_that_is_read(
    keys: Keys, kind: str, form: KeyInfoForm
) -> None:
    known = trust(keys.pki).store
    data = sign_body(body_of(kind, GENUINE), keys["shep"], form=form, body_id="id-1")
    body = verify_envelope(data, certificates=known).canonical
    start, end = data.index(b"<soap:Body"), data.index(b"</soap:Envelope>")
    refused: Counter[str] = Counter()
    harmless: Counter[str] = Counter()
    harmless_in_body = 0
    for count, (at, name) in enumerate(classified(data)):
        # each byte loses one bit, and is replaced by one of the list or has it put before it
        other = _BYTES[count % len(_BYTES)]
        for changed in (
            data[:at] + bytes([data[at] ^ (1 << count % 8)]) + data[at + 1 :],
            data[:at] + other + data[at + (count // len(_BYTES)) % 2 :],
        ):
            if changed == data:
                continue
            try:
                verified = verify_envelope(changed, certificates=known)
            except (SignatureRefused, MalformedMessage):
                refused[name] += 1
                continue
            assert verified.canonical == body
            assert canonicalize(verified.body) == body
            harmless[name] += 1
            harmless_in_body += start < at < end
    assert set(CLASSES) <= set(refused)
    # white space inside tags and certificates, another quotation mark, a certificate's own signature
    assert sum(harmless.values()) < sum(refused.values())
    assert harmless_in_body < 30
