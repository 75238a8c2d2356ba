"""How a Body leaves the sandbox: signed as the real gateway signs, or as an order says it should not be."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from lxml import etree

from gateway.apart import TextApart
from gateway.sandbox import forgery
from gateway.sandbox.misbehaviour import Misbehaviour, Order
from gateway.shep.envelope import build_envelope
from gateway.shep.faults import FaultCode
from gateway.shep.messages import ErrorInfo
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey, load_signing_key
from gateway.signing.wss import sign_body
from gateway.trust.throwaway_pki import ThrowawayPki

XML: Final = "text/xml; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_HTML_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>500 Internal Server Error</title></head>"
    b"<body><h1>Internal Server Error</h1><hr>sandbox-proxy</body></html>"
)
_NOT_XML: Final = "Қызмет уақытша қолжетімсіз. Service temporarily unavailable.".encode()


class Signer(StrEnum):
    """Whose key signs a reply; the names of the throw-away PKI."""

    SHEP = "shep"
    STRANGER = "stranger"
    EXPIRED = "expired"
    REVOKED = "revoked"


_WRONG_SIGNERS: Final = {
    Misbehaviour.STRANGER_SIGNER: Signer.STRANGER,
    Misbehaviour.EXPIRED_SIGNER: Signer.EXPIRED,
    Misbehaviour.REVOKED_SIGNER: Signer.REVOKED,
}


class SandboxKeys:
    """The keys of `gateway pki init`, each loaded when it is first needed."""

    def __init__(self, pki_dir: Path) -> None:
        self._pki = ThrowawayPki(pki_dir)
        self._keys: dict[Signer, SigningKey] = {}

    @property
    def anchors(self) -> Path:
        return self._pki.anchors

    def get(self, signer: Signer) -> SigningKey:
        """Raises KeyMaterialError naming the file."""
        key = self._keys.get(signer)
        if key is None:
            key = self._keys[signer] = load_signing_key(
                self._pki.key(signer), None, certificate_path=self._pki.certificate(signer)
            )
        return key


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over the socket."""

    body: bytes
    http_status: int = 200
    content_type: str = XML
    #: wait this long before the first byte
    delay_s: float = 0.0
    #: send only so many bytes of the body announced, then end the connection
    cut_after_bytes: int | None = None
    #: 0: as quick as it goes
    bytes_per_second: int = 0
    #: the long text that a mark in `body` stands for
    apart: TextApart | None = None


#: what an arrival that nobody looked at gets
LOST: Final = Reply(_NOT_XML, content_type=_TEXT, cut_after_bytes=0)
OUT_OF_SERVICE: Final = Reply(_NOT_XML, http_status=503, content_type=_TEXT)

#: a request that meets one of these is not carried out
FAULTS: Final = frozenset({Misbehaviour.FAULT, Misbehaviour.UNSIGNED_FAULT})

FaultBuilder = Callable[[ErrorInfo], etree._Element]


class Replier:
    """Signs what the sandbox says, and does to it on the way out what an order asks for."""

    def __init__(self, keys: SandboxKeys) -> None:
        self._keys = keys
        keys.get(Signer.SHEP)

    @property
    def key(self) -> SigningKey:
        """The sandbox's own."""
        return self._keys.get(Signer.SHEP)

    def sign(self, body: etree._Element, signer: Signer = Signer.SHEP, *, apart: TextApart | None = None) -> bytes:
        # a certificate that the other side has never seen cannot be named by issuer and serial alone
        form = KeyInfoForm.ISSUER_SERIAL if signer is Signer.SHEP else KeyInfoForm.ISSUER_SERIAL_AND_CERTIFICATE
        return sign_body(body, self._keys.get(signer), form=form, apart=apart)

    def fault(self, build: FaultBuilder, code: str, now: dt.datetime, *, why: str) -> Reply:
        return Reply(self.sign(build(error_info(code, now, why=why))), http_status=500)

    def ordered_fault(self, order: Order | None, build: FaultBuilder, now: dt.datetime) -> Reply | None:
        """The fault that stands in for everything that a request asks for; None when none was ordered."""
        if order is None or order.kind not in FAULTS:
            return None
        code = order.code or FaultCode.SERVICE_UNAVAILABLE.value
        if order.kind is Misbehaviour.FAULT:
            return self.fault(build, code, now, why="on order")
        return Reply(build_envelope(build(error_info(code, now, why="on order"))), http_status=500)

    def reply(
        self,
        body: etree._Element,
        order: Order | None,
        *,
        lie: Callable[[], etree._Element],
        apart: TextApart | None = None,
    ) -> Reply:
        """A Body as the reply to a request. `lie` makes a plausible untruth of the same form."""
        if order is None:
            return Reply(self.sign(body, apart=apart), apart=apart)
        kind = order.kind
        if kind is Misbehaviour.NOT_XML:
            return Reply(_NOT_XML, content_type=_TEXT)
        if kind is Misbehaviour.HTTP_500_HTML:
            return Reply(_HTML_PAGE, http_status=500, content_type="text/html")
        if apart is not None:
            # spoilt or late, but not forged: a forger has no use for the file
            genuine = self.sign(body, _WRONG_SIGNERS.get(kind, Signer.SHEP), apart=apart)
            cut_at = {Misbehaviour.CUT_BODY: apart.size_with(genuine) // 2, Misbehaviour.LOSE_REPLY: 0}.get(kind)
            delay_s = order.seconds if kind is Misbehaviour.SLOW else 0.0
            return Reply(genuine, delay_s=delay_s, cut_after_bytes=cut_at, apart=apart)
        genuine = self.message(body, kind, lie)
        if kind is Misbehaviour.TOO_LARGE:
            return Reply(forgery.pad(genuine, order.reply_bytes))
        if kind is Misbehaviour.CUT_BODY:
            return Reply(genuine, cut_after_bytes=len(genuine) // 2)
        if kind is Misbehaviour.LOSE_REPLY:
            return Reply(genuine, cut_after_bytes=0)
        if kind is Misbehaviour.DRIP:
            return Reply(genuine, bytes_per_second=order.bytes_per_second)
        return Reply(genuine, delay_s=order.seconds if kind is Misbehaviour.SLOW else 0.0)

    def message(self, body: etree._Element, kind: Misbehaviour | None, lie: Callable[[], etree._Element]) -> bytes:
        """A Body as a whole message, with the signature that `kind` leaves it."""
        if kind is Misbehaviour.UNSIGNED_REPLY:
            return build_envelope(body)
        if kind in _WRONG_SIGNERS:
            return self.sign(body, _WRONG_SIGNERS[kind])
        genuine = self.sign(body)
        if kind is Misbehaviour.WRAPPED_FORGERY:
            return forgery.wrap(genuine, lie())
        if kind is Misbehaviour.WRONG_SIGNATURE:
            return forgery.swap_content(genuine, lie())
        return genuine


def error_info(code: str, now: dt.datetime, *, why: str) -> ErrorInfo:
    # the real gateway says less; whoever tests an integration wants to know which check it was
    try:
        meaning = FaultCode(code).meaning
    except ValueError:
        meaning = "A fault on order"
    return ErrorInfo(code=code, message=meaning, date=now, data=f"sandbox: {why}", session_id=session_id())


def session_id() -> str:
    return f"{{{uuid.uuid4()}}}"
