"""A throw-away PKI for the sandbox, demos and tests, with the national profile (PKI.md section 3), in RSA and in GOST.

Root → issuing authority → information systems of ours and of the simulated gateway, a legal entity's head, signer and
employee, a person, a treasury client; an expired, a revoked, a lately revoked one and one on hold; the authority's
OCSP responder and time stamper. Beside it a stranger with an authority of its own. Every authority's name says TEST,
every person and organisation is invented, every address ends in `.invalid` or is the sandbox's own.

Layout of the directory; what is RSA has the plain name, what is GOST has `-gost` before the suffix:
  README.txt
  anchors/   what to trust: root.pem, issuing.pem, their CRLs and the delta CRL; shep.pem, gateway.pem as known peers
  keys/      NAME.pem (certificate) and NAME.key (PKCS#8, not encrypted, mode 0600) of everyone in profile.signers();
             person.p12 as the national authority hands it out, password CONTAINER_PASSWORD
  stranger/  root.pem, root.crl, stranger.pem, stranger.key: belongs to nobody that anchors/ knows
  services/  ocsp.pem, ocsp.key, tsa.pem, tsa.key, issued.json: what the sandbox answers with as the authority
The authorities' own keys are not written: nothing can be issued later.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import KeyMaterialError
from gateway.signing.certificate import Certificate
from gateway.trust.throwaway import certificates as build
from gateway.trust.throwaway import profile
from gateway.trust.throwaway.certificates import Authority, Entry
from gateway.trust.throwaway.keys import ROOT_RSA_BITS, RSA_BITS, Family, MintedKey, generate
from gateway.trust.throwaway.national_container import write_container
from gateway.trust.throwaway.profile import Addresses, Signer

#: opens keys/person.p12 and keys/person-gost.p12
CONTAINER_PASSWORD: Final = "Throwaway12"  # noqa: S105 - it is published here on purpose

_ANCHORS: Final = "anchors"
_KEYS: Final = "keys"
_STRANGER: Final = "stranger"
_SERVICES: Final = "services"
_ISSUED: Final = "issued.json"
_IN_CONTAINERS: Final = frozenset({"person"})
_PEERS: Final = frozenset({"gateway", "shep"})
#: as the national lists (PKI.md section 3)
_CRL_DAYS: Final = 180
_FIRST_CRL: Final = 1

_README: Final = f"""\
THROW-AWAY KEYS. Made by `gateway pki init` for a sandbox, a demonstration or tests, not encrypted.
They identify nobody and must never be trusted or used outside this machine. Delete the directory when done.

anchors/   give this to --trust: the roots, the issuing authorities, their CRLs, known peers
keys/      signers: gateway (our information system), shep (the simulated gateway), client (a legal entity's
           signer), head, employee, person, authentication (RSA: signs no documents), treasury (for the treasury
           only), expired, revoked, on_hold, revoked_lately (named by the delta CRL and by OCSP only)
           person.p12: weakly encrypted as the national authority does it, password {CONTAINER_PASSWORD}
stranger/  a signer and an authority that anchors/ does not know
services/  the authority's OCSP responder and time stamper, used by `gateway sandbox`
What has -gost in its name is GOST-2015-512, the rest is RSA.
"""


@dataclass(frozen=True, slots=True)
class ThrowawayPki:
    """Where things are in a directory made by `init`."""

    directory: Path

    @property
    def anchors(self) -> Path:
        """The trust directory."""
        return self.directory / _ANCHORS

    @property
    def services(self) -> Path:
        """What the simulated authority answers with."""
        return self.directory / _SERVICES

    @property
    def issued(self) -> Path:
        """JSON: what was issued by whom, and what became of it."""
        return self.services / _ISSUED

    def certificate(self, name: str, family: Family = Family.RSA) -> Path:
        """Certificate of a signer of profile.signers(), of `stranger`, or of the services `ocsp` and `tsa`."""
        return self._folder(name) / f"{name}{family.suffix}.pem"

    def key(self, name: str, family: Family = Family.RSA) -> Path:
        """Private key of the same names."""
        return self._folder(name) / f"{name}{family.suffix}.key"

    def container(self, name: str, family: Family = Family.GOST) -> Path:
        """PKCS#12 of `person`, as the national authority hands it out."""
        return self.directory / _KEYS / f"{name}{family.suffix}.p12"

    def _folder(self, name: str) -> Path:
        folder = {_STRANGER: _STRANGER, "ocsp": _SERVICES, "tsa": _SERVICES}.get(name, _KEYS)
        return self.directory / folder


def init(
    directory: Path,
    *,
    now: dt.datetime,
    families: Collection[Family] = tuple(Family),
    address: str | None = None,
) -> ThrowawayPki:
    """Make the PKI in `directory`, which must be empty or not exist. `now` is timezone-aware.

    `address` is where the sandbox will listen, as http://127.0.0.1:8081: the certificates then name its services
    instead of places that do not exist. Raises KeyMaterialError when the directory holds something or cannot be
    written.
    """
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    now = now.replace(microsecond=0)
    addresses = Addresses.nowhere() if address is None else Addresses.of_sandbox(address)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise KeyMaterialError(f"{directory} is not empty: name a new directory, nothing is overwritten")
        for folder in (_ANCHORS, _KEYS, _STRANGER):
            (directory / folder).mkdir()
        (directory / _SERVICES).mkdir(mode=0o700)
        (directory / "README.txt").write_text(_README, encoding="utf-8")
        issued = [
            row for family in Family if family in families for row in _Mint(directory, family, addresses, now).write()
        ]
        (directory / _SERVICES / _ISSUED).write_text(json.dumps(issued, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise KeyMaterialError(f"{directory} cannot be written ({error.strerror}): name another directory") from None
    return ThrowawayPki(directory)


class _Mint:
    """One family's hierarchy, made and written."""

    def __init__(self, directory: Path, family: Family, addresses: Addresses, now: dt.datetime) -> None:
        self._family = family
        self._addresses = addresses
        self._now = now
        self._anchors, self._keys, self._stranger, self._services = (
            directory / part for part in (_ANCHORS, _KEYS, _STRANGER, _SERVICES)
        )
        self._issued: list[dict[str, object]] = []

    def write(self) -> list[dict[str, object]]:
        """Mint and write all; what was issued, for the responder."""
        suffix, mark = self._family.suffix, self._family.value.upper()
        root = self._root(f"НЕГІЗГІ ОРТАЛЫҚ ({mark}) THROW-AWAY TEST")
        issuing_key = generate(self._family, rsa_bits=RSA_BITS)
        issuing = build.intermediate(
            profile.authority_subject(f"ҰЛТТЫҚ ОРТАЛЫҚ ({mark}) THROW-AWAY TEST", country_first=True),
            issuing_key,
            root,
            file=f"issuing{suffix}",
            policy=profile.POLICY,
            addresses=self._addresses,
            now=self._now,
        )
        self._remember(root, issuing.certificate, "issuing", None)
        complete: dict[int, Entry] = {}
        delta: dict[int, Entry] = {}
        for signer in profile.signers():
            if self._family in signer.families:
                certificate, entry = self._write_signer(signer, issuing)
                if entry is not None:
                    (delta if signer.standing.lately else complete)[certificate.serial] = entry
        self._write_services(issuing)
        for authority in (root, issuing):
            path = self._anchors / f"{authority.file}.pem"
            path.write_bytes(build.certificate_pem(authority.certificate.der))
        self._write_crl(self._anchors, root, {})
        self._write_crl(self._anchors, issuing, complete)
        self._write_delta(issuing, delta)
        self._write_stranger()
        return self._issued

    def _root(self, name: str) -> Authority:
        return build.root(
            profile.authority_subject(name),
            generate(self._family, rsa_bits=ROOT_RSA_BITS),
            file=f"root{self._family.suffix}",
            policy=profile.ROOT_POLICY,
            cps=self._addresses.cps,
            now=self._now,
        )

    def _write_signer(self, signer: Signer, issuing: Authority) -> tuple[Certificate, Entry | None]:
        certificate, key = self._issue(signer, issuing)
        stem = f"{signer.name}{self._family.suffix}"
        _write_pair(self._keys / stem, certificate.der, key)
        if signer.name in _PEERS:
            (self._anchors / f"{stem}.pem").write_bytes(build.certificate_pem(certificate.der))
        if signer.name in _IN_CONTAINERS:
            container = write_container(key.pkcs8_der, certificate, CONTAINER_PASSWORD)
            _write_secret(self._keys / f"{stem}.p12", container)
        reason = signer.standing.reason
        entry = None if reason is None else Entry(self._now - dt.timedelta(hours=2), reason)
        self._remember(issuing, certificate, signer.name, entry)
        return certificate, entry

    def _issue(self, signer: Signer, issuer: Authority) -> tuple[Certificate, MintedKey]:
        key = generate(self._family)
        begin = self._now - dt.timedelta(days=signer.age_days)
        der = build.issue(
            signer.subject,
            key,
            issuer,
            begin=begin,
            end=begin + dt.timedelta(days=signer.lifetime_days),
            extensions=(
                build.extended_key_usage(signer.extended_key_usage),
                build.policies(profile.policy_of(signer, self._family), self._addresses.cps),
                *build.of_issuer(issuer, self._addresses),
                build.key_usage(signer.key_usage or profile.SIGNING_USAGE[self._family]),
                build.kept_in_a_file(),
            ),
        )
        return Certificate.from_der(der), key

    def _write_services(self, issuing: Authority) -> None:
        mark = self._family.value.upper()
        responder = (
            build.extended_key_usage((profile.OCSP_SIGNING,)),
            build.not_to_be_checked(),
        )
        stamper = (
            # RFC 3161, 2.3: critical and alone
            build.extended_key_usage((profile.TIME_STAMPING,), critical=True),
            build.stamps_at(self._addresses.tsp),
        )
        for name, common_name, purpose in (
            ("ocsp", f"OCSP RESPONDER ({mark}) THROW-AWAY TEST", responder),
            ("tsa", f"TIME STAMPING AUTHORITY ({mark}) THROW-AWAY TEST", stamper),
        ):
            key = generate(self._family)
            der = build.issue(
                profile.service_subject(common_name),
                key,
                issuing,
                begin=self._now - dt.timedelta(days=1),
                end=self._now + dt.timedelta(days=1_095),
                extensions=(
                    *purpose,
                    build.policies(profile.POLICY, self._addresses.cps),
                    *build.of_issuer(issuing, self._addresses),
                    build.key_usage(("digitalSignature", "nonRepudiation")),
                ),
            )
            _write_pair(self._services / f"{name}{self._family.suffix}", der, key)
            self._remember(issuing, Certificate.from_der(der), name, None)

    def _write_stranger(self) -> None:
        mark = self._family.value.upper()
        foreign = self._root(f"STRANGER TEST AUTHORITY ({mark}, INVENTED)")
        certificate, key = self._issue(profile.stranger(), foreign)
        (self._stranger / f"{foreign.file}.pem").write_bytes(build.certificate_pem(foreign.certificate.der))
        self._write_crl(self._stranger, foreign, {})
        _write_pair(self._stranger / f"{_STRANGER}{self._family.suffix}", certificate.der, key)

    def _write_crl(self, folder: Path, authority: Authority, entries: dict[int, Entry]) -> None:
        """In force from an hour ago."""
        issued = self._now - dt.timedelta(hours=1)
        der = build.crl(
            authority,
            entries,
            number=_FIRST_CRL,
            this_update=issued,
            next_update=issued + dt.timedelta(days=_CRL_DAYS),
        )
        (folder / f"{authority.file}.crl").write_bytes(der)

    def _write_delta(self, authority: Authority, entries: dict[int, Entry]) -> None:
        """What has changed since the complete list, in force from half an hour ago."""
        issued = self._now - dt.timedelta(minutes=30)
        der = build.crl(
            authority,
            entries,
            number=_FIRST_CRL + 1,
            base_number=_FIRST_CRL,
            this_update=issued,
            # the sandbox does not renew it: as long as the complete one
            next_update=issued + dt.timedelta(days=_CRL_DAYS),
        )
        (self._anchors / f"{authority.file}-delta.crl").write_bytes(der)

    def _remember(self, issuer: Authority, certificate: Certificate, name: str, entry: Entry | None) -> None:
        self._issued.append(
            {
                "name": f"{name}{self._family.suffix}",
                "issuer": issuer.file,
                "serial": f"{certificate.serial:x}",
                "reason": None if entry is None else entry.reason,
                "revoked_at": None if entry is None else entry.revoked_at.isoformat(),
            }
        )


# ---------------------------------------------------------------- files


def _write_pair(stem: Path, certificate_der: bytes, key: MintedKey) -> None:
    stem.with_suffix(".pem").write_bytes(build.certificate_pem(certificate_der))
    _write_secret(stem.with_suffix(".key"), key.pkcs8_pem)


def _write_secret(path: Path, data: bytes) -> None:
    # created with its mode: a key is never readable by others, not even for a moment
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
