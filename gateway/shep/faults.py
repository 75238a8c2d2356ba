"""Codes of the channel: faults (SHEP.md 1.8) and the one status that every provider knows (SHEP.md 1.7)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from gateway.shep.messages import StatusInfo

SUCCESS: Final = StatusInfo("SCSS001", "Message has been processed successfully")


class FaultCode(StrEnum):
    """`errorCode` of a fault. One public source (SHEP.md 1.8): a reader must be ready for others."""

    MESSAGE_FORMAT = "SCE001"
    SERVICE_UNAVAILABLE = "SCE004"
    TRANSPORT_CERTIFICATE = "SCE005"
    TRANSPORT_SIGNATURE = "SCE006"
    NOT_SIGNED = "SCE007"
    PAYLOAD_CERTIFICATE = "SCE015"
    PAYLOAD_SIGNATURE = "SCE016"
    PAYLOAD_NOT_SIGNED = "SCE017"
    INTERNAL = "SCE909"

    @property
    def meaning(self) -> str:
        """A sentence for people, without anything of the message."""
        return _MEANING[self]


_MEANING: Final = {
    FaultCode.MESSAGE_FORMAT: "The message does not match the format",
    FaultCode.SERVICE_UNAVAILABLE: "The service does not exist or is unavailable",
    FaultCode.TRANSPORT_CERTIFICATE: "The certificate of the transport signature is not valid or not current",
    FaultCode.TRANSPORT_SIGNATURE: "The transport signature does not verify",
    FaultCode.NOT_SIGNED: "The message is not signed",
    FaultCode.PAYLOAD_CERTIFICATE: "The certificate of the business signature is not current",
    FaultCode.PAYLOAD_SIGNATURE: "The business signature does not verify",
    FaultCode.PAYLOAD_NOT_SIGNED: "The business data is not signed",
    FaultCode.INTERNAL: "Internal error",
}
