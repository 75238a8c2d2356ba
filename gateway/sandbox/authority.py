"""The simulated certification authority: OCSP, time stamps, CRLs and certificates of a throw-away PKI.

It answers for real, with the delegated keys that `gateway pki init` left in services/, for RSA and for GOST, and goes
wrong on order. The state is what was issued when the PKI was minted; nothing is issued or revoked here.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import KeyMaterialError, MalformedMessage
from gateway.sandbox import responder, stamper
from gateway.sandbox.authority_orders import AuthorityOrders, AuthorityService
from gateway.sandbox.responder import Responder, Service
from gateway.sandbox.stamper import Stamper
from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust.throwaway.certificates import Entry
from gateway.trust.throwaway.keys import Family, read_key
from gateway.trust.throwaway_pki import ThrowawayPki


class Authority:
    """Everything that the authority's addresses give. Every method may be called by any thread."""

    def __init__(self, pki_dir: Path) -> None:
        """Raises KeyMaterialError when the directory is not one of `gateway pki init`."""
        pki = ThrowawayPki(pki_dir)
        self.orders = AuthorityOrders()
        self._responders: list[Responder] = []
        self._stampers: dict[Family, Stamper] = {}
        #: name of the file → DER
        self._crls: dict[str, bytes] = {}
        self._certificates: dict[str, bytes] = {}
        try:
            issued = json.loads(pki.issued.read_text(encoding="utf-8"))
            for family in Family:
                if pki.certificate("ocsp", family).is_file():
                    self._load(pki, family, issued)
        except OSError as error:
            raise KeyMaterialError(
                f"{error.filename} cannot be read ({error.strerror}): make the directory anew with `gateway pki init`"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise KeyMaterialError(
                f"{pki.issued} is damaged: make the directory anew with `gateway pki init`"
            ) from None

    def _load(self, pki: ThrowawayPki, family: Family, issued: list[dict[str, str | int | None]]) -> None:
        stranger, client = (_service(pki, name, family) for name in ("stranger", "client"))
        file = f"issuing{family.suffix}"
        issuer = _certificate(pki.anchors / f"{file}.pem")
        self._responders.append(
            Responder(
                issuer,
                _service(pki, "ocsp", family),
                {int(str(row["serial"]), 16): _entry(row) for row in issued if row["issuer"] == file},
                stranger,
                client,
            )
        )
        self._stampers[family] = Stamper(family, _service(pki, "tsa", family), stranger, client)
        for name in ("root", "issuing"):
            stem = f"{name}{family.suffix}"
            self._certificates[f"{stem}.cer"] = _certificate(pki.anchors / f"{stem}.pem").der
        for name in ("root", "issuing"):
            stem = f"{name}{family.suffix}"
            self._crls[f"{stem}.crl"] = (pki.anchors / f"{stem}.crl").read_bytes()
        self._crls[f"{file}-delta.crl"] = (pki.anchors / f"{file}-delta.crl").read_bytes()

    def ocsp(self, data: bytes, *, now: dt.datetime) -> bytes:
        """The OCSPResponse to an OCSPRequest. Never raises for what came from outside."""
        return responder.answer(data, self._responders, now=now, wrong=self.orders.take(AuthorityService.OCSP))

    def stamp(self, data: bytes, *, now: dt.datetime) -> bytes:
        """The TimeStampResp to a TimeStampReq. Never raises for what came from outside."""
        return stamper.stamp(data, self._stampers, now=now, wrong=self.orders.take(AuthorityService.TSP))

    @property
    def crls(self) -> Mapping[str, bytes]:
        return self._crls

    @property
    def certificates(self) -> Mapping[str, bytes]:
        return self._certificates


def _entry(row: dict[str, str | int | None]) -> Entry | None:
    if row["revoked_at"] is None:
        return None
    return Entry(dt.datetime.fromisoformat(str(row["revoked_at"])), int(str(row["reason"])))


def _certificate(path: Path) -> Certificate:
    try:
        (found,) = read_certificates(path.read_bytes())
    except MalformedMessage as error:
        raise KeyMaterialError(f"{path}: {error.message}") from None
    return found


def _service(pki: ThrowawayPki, name: str, family: Family) -> Service:
    path = pki.key(name, family)
    try:
        key = read_key(path.read_bytes())
    except KeyMaterialError as error:
        raise KeyMaterialError(f"{path} {error.message}", code=error.code) from None
    return Service(_certificate(pki.certificate(name, family)), key)
