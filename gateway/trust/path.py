"""The certification path from a certificate up to a trust anchor (RFC 5280, section 6).

Our own code over the certificates' bytes: the libraries at hand have soft defaults, know no national algorithm or
refuse national certificates (PKI.md section 6). Paths are searched by issuer name and key identifier among
what the operator placed in the store; nothing is fetched, and no certificate of the message but the signer's is used.

Steps, as numbered in the code:
 1 link: issuer name, signature by the issuer's key, up to an anchor; bounded, without cycles
 2 validity of every certificate at the given time
 3 strength and kind of every key
 4 critical extensions all understood
 5 every issuer is a CA that may sign certificates
 6 path length
 7 name constraints
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import TrustRefused
from gateway.signing.certificate import Certificate
from gateway.trust.certificate_signatures import check_key_strength, of_certificate
from gateway.trust.name_constraints import check_name_constraints
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import PATH_STEP, CertificationPath

#: certificates between the signer and the anchor
MAX_INTERMEDIATES: Final = 6
#: signatures checked while one path is searched
MAX_SIGNATURE_CHECKS: Final = 64


def build_path(certificate: Certificate, material: TrustMaterial, *, at: dt.datetime) -> CertificationPath:
    """Find a path to an anchor that is good at `at` (timezone-aware).

    Raises TrustRefused of step "path" with the failure of the path that came furthest: `untrusted_issuer`,
    `bad_certificate_signature`, `algorithm_refused`, `algorithm_not_supported`, `algorithm_mismatch`, `weak_key`,
    `bad_certificate_key`, `expired`, `not_yet_valid`, `unknown_critical_extension`, `not_a_ca`, `issuer_key_usage`,
    `path_too_long`, `name_constraints`.
    """
    if at.tzinfo is None:
        raise ValueError("the validation time needs a time zone")
    search = _Search(material)
    for chain in search.chains((certificate,)):
        try:
            _check(chain, at)
        except TrustRefused as error:
            search.note(_REACHED_AN_ANCHOR, error)
        else:
            return CertificationPath(chain)
    raise search.best_failure(certificate)


# ---------------------------------------------------------------- step 1

_REACHED_AN_ANCHOR = 2
_HAD_AN_ISSUER = 1


@dataclass(slots=True)
class _Search:
    """One walk over the candidates; keeps why the others failed."""

    material: TrustMaterial
    checks_left: int = MAX_SIGNATURE_CHECKS
    failures: list[tuple[int, TrustRefused]] = field(default_factory=list)

    def note(self, rank: int, failure: TrustRefused) -> None:
        self.failures.append((rank, failure))

    def best_failure(self, certificate: Certificate) -> TrustRefused:
        if self.failures:
            return max(self.failures, key=lambda noted: noted[0])[1]  # the first of the highest rank
        return TrustRefused(
            "untrusted_issuer",
            f"no trusted authority issued {certificate.label}: its issuer is {certificate.issuer}; if you do trust"
            " that authority, put its certificate into the trust directory",
            step=PATH_STEP,
        )

    def chains(self, chain: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        """Every chain of valid signatures from the first certificate of `chain` to an anchor."""
        last = chain[-1]
        if last in self.material.anchors:
            yield chain
            return
        for issuer in self.material.issuers_of(last):
            if any(c.subject_key == issuer.subject_key and c.spki_der == issuer.spki_der for c in chain):
                continue  # the same authority again (RFC 4158, 2.4.2)
            if len(chain) > MAX_INTERMEDIATES and issuer not in self.material.anchors:
                self.note(_HAD_AN_ISSUER, self._too_long(f"more than {MAX_INTERMEDIATES} intermediate certificates"))
                continue
            if self.checks_left == 0:
                self.note(_HAD_AN_ISSUER, self._too_long(f"more than {MAX_SIGNATURE_CHECKS} signatures to check"))
                return
            self.checks_left -= 1
            try:
                self.material.check_signed_by(of_certificate(last), last.sha256, issuer, step=PATH_STEP)
            except TrustRefused as error:
                self.note(_HAD_AN_ISSUER, error)
                continue
            yield from self.chains((*chain, issuer))

    @staticmethod
    def _too_long(why: str) -> TrustRefused:
        return TrustRefused(
            "path_too_long",
            f"no anchor was reached: {why}; remove what is not needed from the trust directory",
            step=PATH_STEP,
        )


# ---------------------------------------------------------------- steps 2 to 7


def _check(chain: tuple[Certificate, ...], at: dt.datetime) -> None:
    for certificate in chain:
        _check_validity(certificate, at)  # 2
        check_key_strength(certificate, step=PATH_STEP)  # 3
        if certificate.unknown_critical_extensions:  # 4
            raise TrustRefused(
                "unknown_critical_extension",
                f"certificate {certificate.label} has the critical extension"
                f" {certificate.unknown_critical_extensions[0]}, which is not understood",
                step=PATH_STEP,
            )
    self_issued_below = 0
    for depth, issuer in enumerate(chain[1:], start=1):
        is_anchor = depth == len(chain) - 1
        _check_authority(issuer, is_anchor=is_anchor)  # 5
        below = depth - 1 - self_issued_below  # intermediates that count (RFC 5280, 6.1.4 (l))
        if issuer.path_len is not None and below > issuer.path_len:  # 6
            raise TrustRefused(
                "path_too_long",
                f"{issuer.label} allows {issuer.path_len} intermediate certificates below it, there are {below}",
                step=PATH_STEP,
            )
        for place, certificate in enumerate(chain[:depth]):  # 7
            if place == 0 or not certificate.is_self_issued:
                check_name_constraints(issuer, certificate, step=PATH_STEP)
        self_issued_below += issuer.is_self_issued


def _check_validity(certificate: Certificate, at: dt.datetime) -> None:
    if at < certificate.not_before:
        raise TrustRefused(
            "not_yet_valid",
            f"certificate {certificate.label} is valid from {certificate.not_before.isoformat()}, later than"
            f" {at.isoformat()}: check the clocks",
            step=PATH_STEP,
        )
    if at > certificate.not_after:
        raise TrustRefused(
            "expired",
            f"certificate {certificate.label} ended on {certificate.not_after.isoformat()}: its owner must use a"
            " renewed one",
            step=PATH_STEP,
        )


def _check_authority(issuer: Certificate, *, is_anchor: bool) -> None:
    if not issuer.is_ca:
        raise TrustRefused(
            "not_a_ca", f"{issuer.label} issued a certificate and is no certification authority", step=PATH_STEP
        )
    # RFC 5280, 4.2.1.3 obliges authorities to state their key usage; an old anchor that does not is the
    # operator's choice (6.1.1 (d) takes only its name and key)
    if issuer.key_usage is None and is_anchor:
        return
    if issuer.key_usage is None or "keyCertSign" not in issuer.key_usage:
        raise TrustRefused(
            "issuer_key_usage", f"the key of {issuer.label} is not meant to sign certificates", step=PATH_STEP
        )
