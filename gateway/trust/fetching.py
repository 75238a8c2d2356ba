"""Fetching evidence of revocation: OCSP answers, CRLs and delta CRLs, kept with their ages and renewed in time.

Judging is pure and elsewhere (revocation.py); here is the rim that talks to the network. The order for a caller is:
`evidence_for(certificate, …)`, which may fetch, then `validate(…, evidence=…)`, which never does. The only lock here
is held for the length of a look-up in a dictionary, never while something is fetched; a caller must hold none of its
own either, nor an open transaction.

Asked are only addresses that the operator configured or that stand in certificates of a path to an anchor: a stranger's
certificate makes us call nobody. Only http and https, without user names in the address; redirects and proxies of the
environment are not followed. What is fetched over plain http is safe because it is signed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
from asn1crypto import core

from gateway.errors import MalformedMessage, PeerUnavailable, TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import ASN1_ERRORS
from gateway.signing.der import content, elements
from gateway.signing.extensions import AUTHORITY_INFORMATION_ACCESS, CRL_DISTRIBUTION_POINTS
from gateway.trust.crl import read_crls
from gateway.trust.crl_status import distribution_points, end_of, is_signed
from gateway.trust.evidence import NO_EVIDENCE, FetchedCrl, OcspAnswer, RevocationEvidence
from gateway.trust.ocsp import MAX_ANSWER_BYTES, NONCE_BYTES, REQUEST_CONTENT_TYPE, build_request, check_answer
from gateway.trust.path import build_path
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import CertificationPath, RevocationState

FRESHEST_CRL: Final = "2.5.29.46"
_ACCESS_OCSP: Final = "1.3.6.1.5.5.7.48.1"
#: GeneralName, [6] uniformResourceIdentifier
_URI: Final = b"\x86"

#: addresses tried for one piece of evidence
MAX_ADDRESSES: Final = 3
MAX_ADDRESS_CHARACTERS: Final = 500


class FetchFailed(PeerUnavailable):
    """Nothing usable came from an address."""

    code = "fetch_failed"


class Fetcher(Protocol):
    """The port behind which HTTP is. Both raise FetchFailed: no connection, another status than 200, more than
    `max_bytes`, not complete within `deadline_s`, or an address that is not asked."""

    def get(self, url: str, *, deadline_s: float, max_bytes: int) -> bytes: ...

    def post(self, url: str, content: bytes, *, content_type: str, deadline_s: float, max_bytes: int) -> bytes: ...


def check_address(url: str) -> str:
    """The address, when it is one that may be asked. Raises FetchFailed."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port  # ValueError when it is no number
    except ValueError:
        usable = False
    if not usable or len(url) > MAX_ADDRESS_CHARACTERS or not url.isprintable() or " " in url:
        raise FetchFailed("an address is not asked: it is not http or https, carries a user name, or is damaged")
    return url


class HttpxFetcher:
    """HTTP/1.1 over httpx, one connection for each call: evidence is fetched rarely. Thread-safe.

    A deadline ends the whole exchange wherever it is, so a sender of one byte a second holds nobody. Not to be called
    from a coroutine: it runs an event loop of its own.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls if tls is not None else ssl.create_default_context()

    def get(self, url: str, *, deadline_s: float, max_bytes: int) -> bytes:
        return self._run("GET", url, b"", {}, deadline_s, max_bytes)

    def post(self, url: str, content: bytes, *, content_type: str, deadline_s: float, max_bytes: int) -> bytes:
        return self._run("POST", url, content, {"Content-Type": content_type}, deadline_s, max_bytes)

    def _run(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], deadline_s: float, max_bytes: int
    ) -> bytes:
        check_address(url)
        try:
            return asyncio.run(self._exchange(method, url, content, headers, deadline_s, max_bytes))
        except TimeoutError:
            raise FetchFailed(f"{_host(url)} gave no complete answer within {deadline_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed(f"{_host(url)} was not reached ({type(error).__name__})") from None

    async def _exchange(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], deadline_s: float, max_bytes: int
    ) -> bytes:
        # no content coding: no small answer can unpack into a large one
        all_headers = {"Accept-Encoding": "identity", "User-Agent": "shep-gateway", **headers}
        async with (
            asyncio.timeout(deadline_s),
            httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=deadline_s) as client,
            client.stream(method, url, content=content, headers=all_headers) as response,
        ):
            if response.status_code != 200:
                raise FetchFailed(f"{_host(url)} answered with HTTP status {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > max_bytes:
                    raise FetchFailed(f"{_host(url)} sends more than {max_bytes} bytes; nothing of it was read")
            return bytes(body)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the address"


# ---------------------------------------------------------------- what is asked where


@dataclass(frozen=True, slots=True)
class FetchingRules:
    """The operator's word on fetching. Nothing is fetched unless it is switched on."""

    ocsp: bool = False
    crl: bool = False
    #: asked instead of the OCSP addresses in certificates
    ocsp_url: str = ""
    #: lists fetched beside those that certificates name; complete and delta ones
    crl_urls: tuple[str, ...] = ()
    #: seconds for one fetch from its first byte to its last
    deadline_s: float = 10.0
    max_ocsp_bytes: int = MAX_ANSWER_BYTES
    max_crl_bytes: int = 16_000_000
    #: seconds before its end at which an answer or a list is renewed by `refresh`
    refresh_before_end_s: int = 900
    #: seconds after which a list is looked for anew though it has not ended: lists are published more often than that
    crl_refresh_s: int = 21_600
    #: seconds for which an address that failed is left alone
    retry_after_s: int = 60
    #: seconds after its last use at which a piece of evidence is no longer renewed
    forget_after_s: int = 604_800
    #: pieces of evidence kept; the least recently used is dropped
    max_kept: int = 2_048

    def __post_init__(self) -> None:
        for url in (*self.crl_urls, *([self.ocsp_url] if self.ocsp_url else [])):
            try:
                check_address(url)
            except FetchFailed:
                raise ValueError(f"{url!r} is not an http or https address without a user name") from None


def ocsp_addresses(certificate: Certificate) -> tuple[str, ...]:
    """OCSP addresses in the certificate (authorityInfoAccess), without repetitions; () when it cannot be read."""
    extension = certificate.extensions.get(AUTHORITY_INFORMATION_ACCESS)
    if extension is None:
        return ()
    found = []
    try:
        for description in elements(extension.value):
            method, location = elements(description)
            if core.ObjectIdentifier.load(method, strict=True).dotted == _ACCESS_OCSP and location[:1] == _URI:
                found.append(content(location).decode("ascii"))
    except ASN1_ERRORS:
        return ()
    return _usable(found)


def crl_addresses(certificate: Certificate) -> tuple[str, ...]:
    """Addresses of complete lists in the certificate, then those of delta lists (freshestCRL)."""
    named = (
        *distribution_points(certificate, CRL_DISTRIBUTION_POINTS),
        *distribution_points(certificate, FRESHEST_CRL),
    )
    return _usable(named)


def _usable(urls: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for url in urls:
        # an old national authority wrote a line break and `URL=` in front of its address (PKI.md section 3)
        cleaned = "".join(url.split()).removeprefix("URL=")
        try:
            found[check_address(cleaned)] = None
        except FetchFailed:
            continue
    return tuple(found)[:MAX_ADDRESSES]


# ---------------------------------------------------------------- what is kept

_Key = tuple[str, ...]


@dataclass(slots=True)
class _Kept:
    """One piece of evidence, or the memory that there was none to be had."""

    answer: OcspAnswer | None = None
    #: the answer says good or revoked, by what was trusted when it came; `validate` judges it again
    decides: bool = False
    lists: tuple[FetchedCrl, ...] = ()
    #: from when on it says nothing any more
    ends_at: dt.datetime | None = None
    #: from when on `refresh` renews it
    renew_at: dt.datetime | None = None
    #: before that the addresses are left alone
    retry_at: dt.datetime | None = None
    failure: str = ""
    used_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one round of renewing did."""

    renewed: int
    #: why the others could not be renewed
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    """How one piece of evidence is got."""

    key: _Key
    ask: Callable[[TrustMaterial, dt.datetime], _Kept]


@dataclass(frozen=True, slots=True)
class _Path:
    """A path that was found, and for each of its certificates but the anchor what is asked about it, in order."""

    material: TrustMaterial
    path: CertificationPath
    questions: tuple[tuple[_Question, ...], ...]


class RevocationFetching:
    """Evidence by certificate, fetched when it is missing and renewed before it ends. Thread-safe.

    `now` is always the present: evidence of the past cannot be fetched. One fetch of a kind runs at a time; whoever
    needs the same waits for it, at most as long as the deadline.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        rules: FetchingRules,
        *,
        nonce: Callable[[], bytes] = lambda: secrets.token_bytes(NONCE_BYTES),
    ) -> None:
        self._fetcher = fetcher
        self.rules = rules
        self._nonce = nonce if nonce is not None else partial(secrets.token_bytes, NONCE_BYTES)
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._questions: dict[_Key, _Question] = {}
        self._under_way: dict[_Key, threading.Event] = {}
        self._paths: OrderedDict[str, _Path] = OrderedDict()

    def evidence_for(
        self, certificate: Certificate, material: TrustMaterial, *, now: dt.datetime
    ) -> RevocationEvidence:
        """Evidence about every certificate of the path of `certificate`; fetches what is missing.

        A certificate without a path to an anchor has none, and nobody is asked about it. Raises nothing: what could
        not be had leaves the status unknown.
        """
        return self._gather(certificate, material, now, may_fetch=True)

    def known_for(self, certificate: Certificate, material: TrustMaterial, *, now: dt.datetime) -> RevocationEvidence:
        """The same of what is already here; fetches nothing."""
        return self._gather(certificate, material, now, may_fetch=False)

    def refresh(self, material: TrustMaterial, *, now: dt.datetime) -> Refreshed:
        """Renew what is in use and ends soon, lists that may have a successor, and what failed and is due again."""
        with self._lock:
            due = [self._questions[key] for key, kept in self._kept.items() if self._is_due(kept, now)]
            self._forget(now)
        renewed, failures = 0, []
        for question in due:
            self._ask(question, material, now)
            with self._lock:
                kept = self._kept.get(question.key)
            if kept is not None and kept.failure:
                failures.append(kept.failure)
            else:
                renewed += 1
        return Refreshed(renewed, tuple(failures))

    def failures(self) -> tuple[str, ...]:
        """Why evidence that was asked for is missing, for `doctor`."""
        with self._lock:
            return tuple(kept.failure for kept in self._kept.values() if kept.failure)

    # ------------------------------------------------------------ one path

    def _gather(
        self, certificate: Certificate, material: TrustMaterial, now: dt.datetime, *, may_fetch: bool
    ) -> RevocationEvidence:
        if not (self.rules.ocsp or self.rules.crl):
            return NO_EVIDENCE
        known = self._path(certificate, material, now)
        if known is None:
            return NO_EVIDENCE
        crls: dict[str, FetchedCrl] = {}
        answers: dict[str, OcspAnswer] = {}
        for questions in known.questions:
            for question in questions:
                kept = self._use(question, material, now, may_fetch=may_fetch)
                if kept is None:
                    continue
                crls.update({fetched.crl.sha256: fetched for fetched in kept.lists})
                if kept.answer is not None:
                    answers[kept.answer.sha256] = kept.answer
                if kept.decides and kept.ends_at is not None and now < kept.ends_at:
                    break  # the answer is fresher than any list
        return RevocationEvidence(tuple(crls.values()), tuple(answers.values()))

    def _path(self, certificate: Certificate, material: TrustMaterial, now: dt.datetime) -> _Path | None:
        with self._lock:
            known = self._paths.get(certificate.sha256)
            if known is not None:
                self._paths.move_to_end(certificate.sha256)
        is_same = known is not None and known.material is material
        if known is not None and is_same and known.path.valid_from <= now <= known.path.valid_until:
            return known
        try:
            path = build_path(certificate, material, at=now)
        except TrustRefused:
            return None
        questions = tuple(tuple(self._questions_about(below, issuer)) for below, issuer in path.links)
        with self._lock:
            found = self._paths[certificate.sha256] = _Path(material, path, questions)
            while len(self._paths) > self.rules.max_kept:
                self._paths.popitem(last=False)
        return found

    def _questions_about(self, certificate: Certificate, issuer: Certificate) -> Iterable[_Question]:
        """In the order in which they are asked; the lists only when no answer decided."""
        if self.rules.ocsp:
            urls = (self.rules.ocsp_url,) if self.rules.ocsp_url else ocsp_addresses(certificate)
            if urls:
                key = ("ocsp", certificate.sha256, issuer.sha256)
                yield _Question(key, partial(self._ask_responder, urls, certificate, issuer))
        if self.rules.crl:
            for url in dict.fromkeys((*crl_addresses(certificate), *self.rules.crl_urls)):
                yield _Question(("crl", url), partial(self._fetch_lists, url))

    # ------------------------------------------------------------ keeping

    def _use(self, question: _Question, material: TrustMaterial, now: dt.datetime, *, may_fetch: bool) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(question.key)
            if kept is not None:
                kept.used_at = now
                self._kept.move_to_end(question.key)
        if not may_fetch or (kept is not None and not _is_needed(kept, now)):
            return kept
        self._ask(question, material, now)
        with self._lock:
            return self._kept.get(question.key)

    def _ask(self, question: _Question, material: TrustMaterial, now: dt.datetime) -> None:
        with self._lock:
            under_way = self._under_way.get(question.key)
            if under_way is None:
                mine = self._under_way[question.key] = threading.Event()
        if under_way is not None:
            under_way.wait(self.rules.deadline_s * MAX_ADDRESSES)
            return
        try:
            found = question.ask(material, now)
            with self._lock:
                self._keep(question, found, now)
        finally:
            with self._lock:
                del self._under_way[question.key]
            mine.set()

    def _keep(self, question: _Question, found: _Kept, now: dt.datetime) -> None:
        before = self._kept.get(question.key)
        if found.failure:
            found.retry_at = now + dt.timedelta(seconds=self.rules.retry_after_s)
            if before is not None:  # what we have is good until it ends, whatever happens to its successor
                found.answer, found.decides, found.lists = before.answer, before.decides, before.lists
                found.ends_at, found.renew_at = before.ends_at, before.renew_at
        elif before is not None:
            found.lists = tuple(_newer(fetched, before.lists) for fetched in found.lists)
        found.used_at = now if before is None else before.used_at
        self._kept[question.key] = found
        self._questions[question.key] = question
        while len(self._kept) > self.rules.max_kept:
            dropped, _ = self._kept.popitem(last=False)
            del self._questions[dropped]

    def _is_due(self, kept: _Kept, now: dt.datetime) -> bool:
        if self._is_forgotten(kept, now) or (kept.retry_at is not None and now < kept.retry_at):
            return False
        return kept.renew_at is None or now >= kept.renew_at

    def _is_forgotten(self, kept: _Kept, now: dt.datetime) -> bool:
        return kept.used_at is not None and now - kept.used_at > dt.timedelta(seconds=self.rules.forget_after_s)

    def _forget(self, now: dt.datetime) -> None:
        for key in [key for key, kept in self._kept.items() if self._is_forgotten(kept, now)]:
            del self._kept[key], self._questions[key]

    # ------------------------------------------------------------ asking

    def _ask_responder(
        self,
        urls: tuple[str, ...],
        certificate: Certificate,
        issuer: Certificate,
        material: TrustMaterial,
        now: dt.datetime,
    ) -> _Kept:
        failures = []
        for url in urls:
            nonce = self._nonce()
            question = build_request(certificate, issuer, nonce=nonce)
            try:
                der = self._fetcher.post(
                    url,
                    question,
                    content_type=REQUEST_CONTENT_TYPE,
                    deadline_s=self.rules.deadline_s,
                    max_bytes=self.rules.max_ocsp_bytes,
                )
            except FetchFailed as error:
                failures.append(error.message)
                continue
            answer = OcspAnswer(der, source=url, received_at=now, nonce=nonce)
            status = check_answer(answer, certificate, issuer, material, at=now)
            if status.source != "none" and status.holds_before is not None:
                early = dt.timedelta(seconds=self.rules.refresh_before_end_s)
                # of a short-lived answer half its life is early enough
                early = min(early, (status.holds_before - now) / 2)
                decides = status.status is not RevocationState.UNKNOWN
                return _Kept(answer, decides, ends_at=status.holds_before, renew_at=status.holds_before - early)
            failures.append(status.detail)
        return _Kept(failure="; ".join(failures))

    def _fetch_lists(self, url: str, material: TrustMaterial, now: dt.datetime) -> _Kept:
        try:
            data = self._fetcher.get(url, deadline_s=self.rules.deadline_s, max_bytes=self.rules.max_crl_bytes)
            crls = read_crls(data)
        except (FetchFailed, MalformedMessage) as error:
            return _Kept(failure=f"the CRL of {url} is not used: {error.message}")
        current = [crl for crl in crls if crl.this_update <= now < end_of(crl, material.rules)]
        if not current:
            return _Kept(failure=f"the CRL of {url} is not used: it is not in force; its publisher must renew it")
        if not all(is_signed(crl, material) for crl in current):
            return _Kept(failure=f"the CRL of {url} is not used: no authority that we trust signed it")
        ends_at = min(end_of(crl, material.rules) for crl in current)
        soon = ends_at - min(dt.timedelta(seconds=self.rules.refresh_before_end_s), (ends_at - now) / 2)
        return _Kept(
            lists=tuple(FetchedCrl(crl, url, now) for crl in current),
            ends_at=ends_at,
            renew_at=min(soon, now + dt.timedelta(seconds=self.rules.crl_refresh_s)),
        )


def _newer(fetched: FetchedCrl, before: Iterable[FetchedCrl]) -> FetchedCrl:
    """That list or the newer one that we had: nobody takes us back to an older one that has not ended yet."""
    for known in before:
        same = (known.crl.issuer_key, known.crl.is_delta) == (fetched.crl.issuer_key, fetched.crl.is_delta)
        if same and known.crl.this_update > fetched.crl.this_update:
            return known
    return fetched


def _is_needed(kept: _Kept, now: dt.datetime) -> bool:
    if kept.ends_at is not None and now < kept.ends_at:
        return False
    return kept.retry_at is None or now >= kept.retry_at
