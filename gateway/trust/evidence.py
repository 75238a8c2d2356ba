"""Evidence of revocation that was brought along: lists and answers, each with where it came from and when.

Values only. Whether any of it may be believed is decided in revocation.py; how it is fetched is in fetching.py.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import Final

from gateway.trust.crl import CertificateRevocationList
from gateway.trust.verdict import EvidenceKey


@dataclass(frozen=True, slots=True)
class FetchedCrl:
    """A complete or delta CRL that is not in the trust directory."""

    crl: CertificateRevocationList
    #: its address
    source: str
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """An OCSP answer as it came, with what was asked, so that it can be judged again at any time."""

    der: bytes = field(repr=False)
    #: the address that gave it
    source: str
    received_at: dt.datetime
    #: that we sent; None when the answer is from an archive, where its times alone speak for it
    nonce: bytes | None = field(default=None, repr=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.der).hexdigest())


@dataclass(frozen=True, slots=True)
class RevocationEvidence:
    """What is at hand beside the trust directory for one path."""

    crls: tuple[FetchedCrl, ...] = ()
    ocsp: tuple[OcspAnswer, ...] = ()
    #: equal for equal evidence
    key: EvidenceKey = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        key = (
            *(fetched.crl.sha256 for fetched in self.crls),
            *(answer.sha256 if answer.nonce is None else answer.sha256 + answer.nonce.hex() for answer in self.ocsp),
        )
        object.__setattr__(self, "key", key)


NO_EVIDENCE: Final = RevocationEvidence()
