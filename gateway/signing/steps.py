"""What a verification compared, step by step, for `--explain` and for the journal.

Texts are made from what was compared only when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.errors import MalformedMessage, SignatureRefused

BOUNDS: Final = "bounds"
STRUCTURE: Final = "structure"
SIGNATURE_PLACE: Final = "signature_place"
SIGNED_INFO: Final = "signed_info"
ALGORITHMS: Final = "algorithms"
REFERENCE: Final = "reference"
IDS: Final = "ids"
KEY_INFO: Final = "key_info"
CERTIFICATE: Final = "certificate"
SIGNATURE_VALUE: Final = "signature_value"
DIGEST: Final = "digest"


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    ok: bool
    #: what was compared with what, in English; never an IIN (certificates are named by hash)
    compared: str
    #: stable code of the refusal, "" when the step held
    code: str = ""


class Trail:
    """The steps of one verification in the order taken; the last one is the failing one, if any failed."""

    __slots__ = ("_failed", "_held", "held")

    def __init__(self) -> None:
        self._held: list[tuple[object, ...]] = []
        self._failed: Step | None = None
        #: takes (name of the step, text, facts that the text's `{}` are filled with when it is read)
        self.held: Final[Callable[[tuple[object, ...]], None]] = self._held.append

    def failed(self, error: SignatureRefused | MalformedMessage, step: str) -> None:
        """The verification ended here; `step` counts where the error does not say its own."""
        name = error.step if isinstance(error, SignatureRefused) else step
        self._failed = Step(name, ok=False, compared=error.message, code=error.code)

    @property
    def steps(self) -> tuple[Step, ...]:
        held = tuple(Step(str(name), True, str(text).format(*facts)) for name, text, *facts in self._held)
        return held if self._failed is None else (*held, self._failed)
