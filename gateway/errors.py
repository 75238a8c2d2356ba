"""The error tree, typed by who must act. Messages say what to do next and never show a secret.

`code` is stable and machine-readable; it is what `--json`, the journal and tests compare.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of every error this program raises on purpose."""

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        return str(self)


# ---------------------------------------------------------------- the operator of this program must act


class OperatorError(GatewayError):
    """Something on our side is wrong and a person here must put it right (exit 2)."""

    code = "operator"


class ConfigurationError(OperatorError):
    """A setting is wrong. Names the file and the key."""

    code = "configuration"

    def __init__(self, message: str, *, file: str = "", key: str = "") -> None:
        place = ", ".join(part for part in (file, f"key {key}" if key else "") if part)
        super().__init__(f"{place}: {message}" if place else message)
        self.file = file
        self.key = key


class KeyMaterialError(OperatorError):
    """A key or certificate file cannot be used."""

    code = "key_material"


class StoreError(OperatorError):
    """The database refused: not reachable, not migrated, full or read-only."""

    code = "store"


class SystemFolderError(OperatorError):
    """A folder of mappers/ is not whole. Names the folder and the file."""

    code = "system_folder"


# ---------------------------------------------------------------- whoever called us must act


class InvalidIdentifier(GatewayError):
    """An IIN or BIN is not valid. Says why; never repeats the value."""

    code = "invalid_identifier"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"this is not a valid {name}: {why}")
        self.name = name
        self.why = why


class RequestRefused(GatewayError):
    """A request to us is answered with a fault; `code` is the channel's (SHEP.md 1.8)."""

    code = "SCE909"


# ---------------------------------------------------------------- the other side must act


class PeerError(GatewayError):
    """What came from outside cannot be used; nothing of it has been read."""

    code = "peer"


class MalformedMessage(PeerError):
    """Not the format agreed: not XML, over a bound, not an envelope of this channel."""

    code = "malformed"


class SignatureRefused(PeerError):
    """The signature does not hold. `step` is the verification step that failed."""

    code = "signature_refused"

    def __init__(self, code: str, message: str, *, step: str) -> None:
        super().__init__(message, code=code)
        self.step = step


class TrustRefused(PeerError):
    """The signature may hold, but its certificate is not one that we trust for this."""

    code = "trust_refused"

    def __init__(self, code: str, message: str, *, step: str) -> None:
        super().__init__(message, code=code)
        self.step = step


class MappingError(PeerError):
    """The payload says something that the system's mapper does not know. Names the element and the code."""

    code = "mapping"


class PeerFault(PeerError):
    """A SOAP fault, signed or not. `signed` False: it is reported and never trusted."""

    code = "peer_fault"

    def __init__(self, fault_code: str, message: str, *, signed: bool) -> None:
        super().__init__(message)
        self.fault_code = fault_code
        self.signed = signed


# ---------------------------------------------------------------- nobody knows (yet): exit 3


class Undecided(GatewayError):
    """The truth could not be established; it is neither yes nor no."""

    code = "undecided"


class RevocationUnknown(Undecided):
    """No usable revocation evidence. Unknown is not good."""

    code = "revocation_unknown"


class PeerUnavailable(Undecided):
    """The other side was not reached: nothing was sent (safe to ask again)."""

    code = "peer_unavailable"


class OutcomeUnknown(Undecided):
    """The request may have arrived and no usable reply came back: never blindly sent again."""

    code = "outcome_unknown"


class LeaseLost(Undecided):
    """Somebody else went on with the row meanwhile: nothing was applied."""

    code = "lease_lost"


class EditionNotInForce(Undecided):
    """The day asked about is judged by an edition of the law that is not loaded."""

    code = "edition_not_in_force"
