"""The trust directory: what the operator put there, sorted and indexed.

A directory holds certificates and CRLs, PEM or DER, any names. Self-signed certificates are trust anchors, other CA
certificates are intermediates, the rest are known peers: they are found by issuer and serial when a message names its
signer that way (SHEP.md 5.1, form B), and are trusted no more than anyone else.

`TrustMaterial` is one immutable reading of it; `TrustStore` holds the current one and replaces it whole, so a running
daemon takes new anchors and CRLs without restart and no check ever sees half of each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from gateway.errors import KeyMaterialError, MalformedMessage, TrustRefused
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.distinguished_names import NameKey
from gateway.signing.pem import is_pem
from gateway.trust.certificate_signatures import SignedObject, check_signed_by, of_certificate
from gateway.trust.crl import MAX_CRL_BYTES, CertificateRevocationList, read_crls
from gateway.trust.verdict import RevocationRules, VerdictCache

#: files read in one trust directory
MAX_FILES: Final = 10_000
#: signatures known to hold; the oldest is forgotten
MAX_REMEMBERED_SIGNATURES: Final = 4_096
DEFAULT_RULES: Final = RevocationRules()

_SUFFIXES: Final = frozenset({".pem", ".crt", ".cer", ".der", ".crl"})


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrustMaterial:
    """Certificates and CRLs by what they are for. Make one with `sort_out`."""

    anchors: frozenset[Certificate]
    intermediates: frozenset[Certificate]
    peers: frozenset[Certificate]
    crls: tuple[CertificateRevocationList, ...]
    rules: RevocationRules
    #: what was found and is not used, for the operator to read
    problems: tuple[str, ...]
    _by_subject: Mapping[NameKey, tuple[Certificate, ...]]
    _by_issuer_and_serial: Mapping[tuple[NameKey, int], Certificate]
    _crls_by_issuer: Mapping[NameKey, tuple[CertificateRevocationList, ...]]
    #: verdicts on certificates already found good against exactly this material
    verdicts: VerdictCache = field(default_factory=VerdictCache)
    #: SHA-256 of CRL and of issuer → why the issuer's key does not stand behind the CRL, "" when it does
    crl_signatures: dict[tuple[str, str], str] = field(default_factory=dict)
    #: SHA-256 of what was signed and of its issuer: signatures that held. A stranger cannot fill it
    _held: dict[tuple[str, str], None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"TrustMaterial({len(self.anchors)} anchors, {len(self.intermediates)} intermediates,"
            f" {len(self.peers)} peers, {len(self.crls)} CRLs)"
        )

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        return self._by_issuer_and_serial.get((issuer_key, serial))

    def peers_named(self, subject_key: NameKey | None) -> tuple[Certificate, ...]:
        """End-entity certificates of the directory with that subject."""
        if subject_key is None:
            return tuple(self.peers)
        return tuple(c for c in self._by_subject.get(subject_key, ()) if c in self.peers)

    def authorities_named(self, subject_key: NameKey) -> tuple[Certificate, ...]:
        """Anchors and intermediates with that subject."""
        return tuple(c for c in self._by_subject.get(subject_key, ()) if c not in self.peers)

    def check_signed_by(self, signed: SignedObject, sha256: str, issuer: Certificate, *, step: str) -> None:
        """As `certificate_signatures.check_signed_by`, calculated once for what holds; `sha256` names what was signed
        with its signature."""
        key = (sha256, issuer.sha256)
        if key in self._held:
            return
        check_signed_by(signed, issuer, step=step)
        while len(self._held) >= MAX_REMEMBERED_SIGNATURES:
            self._held.pop(next(iter(self._held.copy()), key), None)  # a copy: another thread may be here too
        self._held[key] = None

    def issuers_of(self, certificate: Certificate) -> tuple[Certificate, ...]:
        """Certificates whose subject is the issuer's name; those with the matching key identifier first.

        Key identifiers order the candidates and exclude none: the signature decides (RFC 4158, 3.5.12).
        """
        candidates = self._by_subject.get(certificate.issuer_key, ())
        if certificate.aki is None or len(candidates) < 2:
            return candidates
        return tuple(sorted(candidates, key=lambda issuer: (issuer.ski != certificate.aki, issuer.sha256)))

    def crls_of(self, issuer: Certificate) -> tuple[CertificateRevocationList, ...]:
        """CRLs in that issuer's name, complete and delta, newest first; not verified yet."""
        return self._crls_by_issuer.get(issuer.subject_key, ())


def sort_out(
    certificates: Iterable[Certificate],
    crls: Iterable[CertificateRevocationList] = (),
    problems: Sequence[str] = (),
    rules: RevocationRules = DEFAULT_RULES,
) -> TrustMaterial:
    """Sort certificates into anchors, intermediates and peers, and index all. Pure."""
    found_problems = list(problems)
    anchors: set[Certificate] = set()
    intermediates: set[Certificate] = set()
    peers: set[Certificate] = set()
    by_subject: dict[NameKey, list[Certificate]] = {}
    by_issuer_and_serial: dict[tuple[NameKey, int], Certificate] = {}
    ambiguous: set[tuple[NameKey, int]] = set()
    for certificate in sorted(set(certificates), key=lambda c: c.sha256):
        if certificate.is_self_issued and _is_self_signed(certificate, found_problems):
            anchors.add(certificate)
        elif certificate.is_ca:
            intermediates.add(certificate)
        else:
            peers.add(certificate)
        # peers too: that they issued something is then refused as what it is
        by_subject.setdefault(certificate.subject_key, []).append(certificate)
        place = (certificate.issuer_key, certificate.serial)
        if place in by_issuer_and_serial:
            ambiguous.add(place)
            found_problems.append(
                f"two certificates have serial {certificate.serial} of issuer {certificate.issuer}: neither is found"
                " by it; remove one"
            )
        by_issuer_and_serial[place] = certificate
    for place in ambiguous:
        del by_issuer_and_serial[place]
    by_issuer: dict[NameKey, list[CertificateRevocationList]] = {}
    unique_crls = {crl.sha256: crl for crl in crls}
    for crl in sorted(unique_crls.values(), key=lambda c: (c.this_update, c.number or 0, c.sha256), reverse=True):
        by_issuer.setdefault(crl.issuer_key, []).append(crl)
    return TrustMaterial(
        anchors=frozenset(anchors),
        intermediates=frozenset(intermediates),
        peers=frozenset(peers),
        crls=tuple(unique_crls.values()),
        rules=rules,
        problems=tuple(found_problems),
        _by_subject=MappingProxyType({key: tuple(value) for key, value in by_subject.items()}),
        _by_issuer_and_serial=MappingProxyType(by_issuer_and_serial),
        _crls_by_issuer=MappingProxyType({key: tuple(value) for key, value in by_issuer.items()}),
    )


def _is_self_signed(certificate: Certificate, problems: list[str]) -> bool:
    try:
        check_signed_by(of_certificate(certificate), certificate, step="anchor")
    except TrustRefused as error:
        # a CA that renewed its key also issues "new with old" certificates, self-issued and not self-signed
        if error.code != "bad_certificate_signature":
            problems.append(f"not taken as an anchor: {error.message}")
        return False
    return True


class TrustStore:
    """The current material. Also an index of certificates by issuer and serial for gateway.signing."""

    def __init__(self, material: TrustMaterial, directory: Path | None = None) -> None:
        self._material = material
        self._directory = directory
        self._reloading = threading.Lock()

    @classmethod
    def load(cls, directory: Path, rules: RevocationRules = DEFAULT_RULES) -> TrustStore:
        """Read a trust directory. Raises KeyMaterialError naming the directory or the file."""
        return cls(read_directory(directory, rules), directory)

    @classmethod
    def of(
        cls,
        certificates: Iterable[Certificate],
        crls: Iterable[CertificateRevocationList] = (),
        rules: RevocationRules = DEFAULT_RULES,
    ) -> TrustStore:
        """A store of values at hand, with no directory behind it."""
        return cls(sort_out(certificates, crls, rules=rules))

    @property
    def material(self) -> TrustMaterial:
        return self._material

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        return self._material.find(issuer_key, serial)

    def reload(self, accept: Callable[[TrustMaterial], None] = lambda _: None) -> TrustMaterial:
        """Read the directory again and forget every verdict. When it cannot be read, the old material stays and
        KeyMaterialError is raised; the same for what `accept` raises about the new material."""
        if self._directory is None:
            raise KeyMaterialError("this trust store has no directory to read again")
        with self._reloading:
            material = read_directory(self._directory, self._material.rules)
            accept(material)
            self._material = material
        return material


def read_directory(directory: Path, rules: RevocationRules = DEFAULT_RULES) -> TrustMaterial:
    """Read every certificate and CRL of a directory (not of those below it).

    A certificate that cannot be read stops everything: the operator meant it. A CRL that cannot be read is told in
    `problems` and leaves the status unknown, which refuses by itself where revocation is required.
    Raises KeyMaterialError.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise KeyMaterialError(
            f"the trust directory {directory} cannot be read ({error.strerror}): name a directory that holds the"
            " certificates you trust and their CRLs"
        ) from None
    if len(files) > MAX_FILES:
        raise KeyMaterialError(f"the trust directory {directory} holds more than {MAX_FILES} files")
    certificates: list[Certificate] = []
    crls: list[CertificateRevocationList] = []
    problems: list[str] = []
    for path in files:
        if path.suffix.lower() not in _SUFFIXES:
            continue
        data = _read_file(path)
        try:
            found_certificates, found_crls = _read_both(path, data)
        except MalformedMessage as error:
            if path.suffix.lower() == ".crl" or error.code == "bad_crl":
                problems.append(f"{path.name} is not used: {error.message}; fetch it again")
                continue
            raise KeyMaterialError(f"{path}: {error.message}; remove the file or fetch it again") from None
        if not found_certificates and not found_crls:
            problems.append(f"{path.name} holds neither a certificate nor a CRL")
        certificates += found_certificates
        crls += found_crls
    return sort_out(certificates, crls, problems, rules)


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_CRL_BYTES:
            raise KeyMaterialError(f"{path} has more than {MAX_CRL_BYTES} bytes: it is no certificate and no CRL")
        return path.read_bytes()
    except OSError as error:
        raise KeyMaterialError(f"{path} cannot be read ({error.strerror})") from None


def _read_both(path: Path, data: bytes) -> tuple[tuple[Certificate, ...], tuple[CertificateRevocationList, ...]]:
    if is_pem(data):
        return read_certificates(data), read_crls(data)
    if path.suffix.lower() == ".crl":
        return (), read_crls(data)
    try:
        return read_certificates(data), ()
    except MalformedMessage as not_a_certificate:
        try:
            return (), read_crls(data)  # a DER CRL under another suffix
        except MalformedMessage:
            raise not_a_certificate from None
