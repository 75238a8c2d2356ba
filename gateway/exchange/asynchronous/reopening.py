"""A message that is safe in the inbox, taken out of the journal again to be worked on."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import MalformedMessage, StoreError
from gateway.exchange.asynchronous.admitting import message_digest
from gateway.exchange.inbox import InboxRow
from gateway.exchange.journal import Journal, Signer
from gateway.exchange.verification import VerifiedMessage
from gateway.shep import async_channel
from gateway.shep.async_messages import AsyncMessage, Messages
from gateway.signing.wss import verify_envelope
from gateway.trust.store import TrustStore
from gateway.trust.verdict import RevocationState, RevocationStatus
from gateway.xml import XmlBounds

#: code of a row whose bytes retention took, or never kept
BYTES_GONE = "bytes_gone"


@dataclass(frozen=True, slots=True)
class Reopened:
    """One message, read from what was signed, and who signed it."""

    message: AsyncMessage
    verified: VerifiedMessage
    signer: Signer


def reopen(row: InboxRow, journal: Journal, certificates: TrustStore, bounds: XmlBounds) -> Reopened:
    """The message of an inbox row. Its signature is verified again; trust was judged when it came, and the journal has
    the evidence.

    Raises StoreError (`bytes_gone`, and what Journal.get raises), SignatureRefused and MalformedMessage.
    """
    record = journal.get(row.request_journal_id)
    if record is None or record.body is None:
        raise StoreError("the journal does not hold the bytes of this message any more", code=BYTES_GONE)
    verified = verify_envelope(record.body, certificates=certificates, bounds=bounds)
    judged = RevocationStatus(RevocationState.UNKNOWN, "journal", None, "judged when the message came")
    message = VerifiedMessage(verified.body, verified.certificate, judged, verified.as_received, verified.canonical)
    return Reopened(_find(row, message), message, record.signer)


def _find(row: InboxRow, verified: VerifiedMessage) -> AsyncMessage:
    if row.flow == "push":
        return async_channel.read_send_message(verified.body)
    content = async_channel.read_get_messages_reply(verified.body)
    if isinstance(content, Messages):
        for message in content.messages:
            if message_digest(message) == row.body_sha256 and message.info.message_id == row.wire_message_id:
                return message
    raise MalformedMessage("the stored answer does not hold this message", code="message_gone")
