"""Fetching evidence: what is asked where, kept how long, and never more than that."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from gateway.errors import PeerUnavailable, RevocationUnknown
from gateway.trust.evidence import NO_EVIDENCE
from gateway.trust.fetching import (
    MAX_ADDRESSES,
    Fetcher,
    FetchFailed,
    FetchingRules,
    HttpxFetcher,
    RevocationFetching,
    check_address,
    crl_addresses,
    ocsp_addresses,
)
from gateway.trust.store import TrustStore, sort_out
from gateway.trust.validate import validate
from gateway.trust.verdict import RevocationMode, RevocationRules
from tests.trust.minting import (
    DAY,
    MINUTE,
    NOW,
    Minted,
    authority,
    crl_der,
    ec_key,
    entry,
    mint,
    ocsp_answer,
    parsed_crl,
    responder,
    statement,
    unread,
)

OCSP_URL, SECOND_OCSP_URL = "http://ocsp.example.invalid/", "http://ocsp2.example.invalid/"
CRL_URL, DELTA_URL, ROOT_CRL_URL = (
    "http://crl.example.invalid/full.crl",
    "http://crl.example.invalid/delta.crl",
    "http://crl.example.invalid/root.crl",
)
REQUIRE = RevocationMode.REQUIRE
HOUR = 60 * MINUTE


def access(*urls: str) -> tuple[x509.ExtensionType, bool]:
    issuers = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example.invalid/ca.cer")
    )
    asked = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)) for url in urls
    ]
    return x509.AuthorityInformationAccess([issuers, *asked]), False


def points(*urls: str) -> list[x509.DistributionPoint]:
    return [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]


ROOT = authority("root")
ISSUING = authority("issuing", ROOT, extensions=[(x509.CRLDistributionPoints(points(ROOT_CRL_URL)), False)])
LEAF = mint(
    "leaf",
    ISSUING,
    extensions=[
        access(OCSP_URL),
        (x509.CRLDistributionPoints(points(CRL_URL)), False),
        (x509.FreshestCRL(points(DELTA_URL)), False),
    ],
)
RESPONDER = responder("responder", ISSUING)
MATERIAL = sort_out([ROOT.parsed, ISSUING.parsed], [parsed_crl(crl_der(ROOT))])


class Answers:
    """A Fetcher that gives what it was told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, Callable[[bytes], bytes] | bytes | Exception] = {}
        self.asked: list[str] = []
        self.before: Callable[[], None] = lambda: None

    def get(self, url: str, *, deadline_s: float, max_bytes: int) -> bytes:
        return self._reply(url, b"", max_bytes)

    def post(self, url: str, content: bytes, *, content_type: str, deadline_s: float, max_bytes: int) -> bytes:
        assert content_type == "application/ocsp-request"
        return self._reply(url, content, max_bytes)

    def _reply(self, url: str, content: bytes, max_bytes: int) -> bytes:
        self.asked.append(url)
        self.before()
        reply = self.replies.get(url, FetchFailed("nobody there"))
        if isinstance(reply, Exception):
            raise reply
        body = reply(content) if callable(reply) else reply
        assert len(body) <= max_bytes
        return body


def responds(
    status: str = "good", *, at: dt.datetime = NOW, of: Minted = LEAF, **changes: Any
) -> Callable[[bytes], bytes]:
    """A responder that answers the very question, nonce and all."""

    def answer(question: bytes) -> bytes:
        request = asn1_ocsp.OCSPRequest.load(question)["tbs_request"]
        nonce = next(
            e["extn_value"].parsed.native for e in request["request_extensions"] if e["extn_id"].native == "nonce"
        )
        said = statement(of, ISSUING, status, this_update=at, **changes)
        return ocsp_answer(said, signer=RESPONDER, certificates=[RESPONDER], nonce=nonce, produced_at=at)

    return answer


def fetching(answers: Answers, **rules: Any) -> RevocationFetching:
    return RevocationFetching(answers, FetchingRules(**{"ocsp": True, "crl": True, **rules}))


def decided(found: RevocationFetching, *, now: dt.datetime = NOW, signer: Minted = LEAF) -> str:
    evidence = found.evidence_for(signer.parsed, MATERIAL, now=now)
    try:
        verdict = validate(signer.parsed, TrustStore(MATERIAL), at=now, revocation=REQUIRE, evidence=evidence)
    except RevocationUnknown:
        return "unknown"
    except Exception as error:
        return getattr(error, "code", "?")
    return f"{verdict.revocation.status} by {verdict.revocation.source}"


# ---------------------------------------------------------------- what is asked


def test_an_answer_is_fetched_once_and_kept_while_it_is_fresh() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds(), ROOT_CRL_URL: crl_der(ROOT)}
    found = fetching(answers)
    assert decided(found) == "good by ocsp+crl"
    assert answers.asked == [OCSP_URL, ROOT_CRL_URL]
    assert decided(found, now=NOW + 30 * MINUTE) == "good by ocsp+crl"
    assert answers.asked == [OCSP_URL, ROOT_CRL_URL]
    answers.replies[OCSP_URL] = responds("revoked", at=NOW + HOUR)
    assert decided(found, now=NOW + HOUR) == "revoked"
    assert answers.asked == [OCSP_URL, ROOT_CRL_URL, OCSP_URL]


def test_lists_are_fetched_when_no_answer_decides() -> None:
    answers = Answers()
    answers.replies = {
        OCSP_URL: ocsp_answer(signer=RESPONDER, status=3),
        CRL_URL: crl_der(ISSUING, number=5),
        DELTA_URL: crl_der(
            ISSUING,
            entry(LEAF.parsed.serial),
            number=7,
            this_update=NOW - HOUR,
            extensions=[(x509.DeltaCRLIndicator(5), True)],
        ),
    }
    assert decided(fetching(answers)) == "revoked"
    assert answers.asked == [OCSP_URL, CRL_URL, DELTA_URL, ROOT_CRL_URL]


def test_a_responder_that_does_not_know_it_does_not_decide() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds("unknown"), CRL_URL: crl_der(ISSUING)}
    found = fetching(answers)
    assert decided(found) == "good by crl"
    assert decided(found) == "good by crl"
    assert answers.asked.count(OCSP_URL) == 1


def test_the_next_address_is_asked_when_one_fails() -> None:
    signer = mint("leaf", ISSUING, extensions=[access(OCSP_URL, SECOND_OCSP_URL)])
    answers = Answers()
    answers.replies = {SECOND_OCSP_URL: responds(of=signer)}
    assert decided(fetching(answers, crl=False), signer=signer) == "good by ocsp+crl"
    assert answers.asked == [OCSP_URL, SECOND_OCSP_URL]


def test_the_operators_address_stands_in_place_of_those_in_certificates() -> None:
    answers = Answers()
    answers.replies = {SECOND_OCSP_URL: responds()}
    assert decided(fetching(answers, crl=False, ocsp_url=SECOND_OCSP_URL)) == "good by ocsp+crl"
    assert OCSP_URL not in answers.asked


def test_the_operators_lists_are_fetched_too() -> None:
    signer = mint("bare", ISSUING)
    answers = Answers()
    answers.replies = {CRL_URL: crl_der(ISSUING)}
    assert decided(fetching(answers, crl_urls=(CRL_URL,)), signer=signer) == "good by crl"
    assert answers.asked == [CRL_URL, ROOT_CRL_URL]  # once, whatever the path's length


def test_nothing_is_asked_unless_it_is_switched_on() -> None:
    answers = Answers()
    found = RevocationFetching(answers, FetchingRules())
    assert found.evidence_for(LEAF.parsed, MATERIAL, now=NOW) is NO_EVIDENCE
    assert answers.asked == []


@pytest.mark.parametrize(("switch", "asked"), [("ocsp", [OCSP_URL]), ("crl", [CRL_URL, DELTA_URL, ROOT_CRL_URL])])
def test_each_kind_has_its_switch(switch: str, asked: list[str]) -> None:
    answers = Answers()
    RevocationFetching(answers, FetchingRules(**{switch: True})).evidence_for(LEAF.parsed, MATERIAL, now=NOW)
    assert answers.asked == asked


def test_a_strangers_certificate_makes_us_call_nobody() -> None:
    stranger = mint("stranger", authority("foreign"), extensions=[access(OCSP_URL)])
    answers = Answers()
    assert fetching(answers).evidence_for(stranger.parsed, MATERIAL, now=NOW) is NO_EVIDENCE
    expired = mint("expired", ISSUING, extensions=[access(OCSP_URL)], end=NOW - DAY)
    assert fetching(answers).evidence_for(expired.parsed, MATERIAL, now=NOW) is NO_EVIDENCE
    assert answers.asked == []


def test_what_is_known_is_given_without_fetching() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds()}
    found = fetching(answers, crl=False)
    assert found.known_for(LEAF.parsed, MATERIAL, now=NOW).ocsp == ()
    assert answers.asked == []
    fetched = found.evidence_for(LEAF.parsed, MATERIAL, now=NOW)
    assert found.known_for(LEAF.parsed, MATERIAL, now=NOW) == fetched
    assert len(fetched.ocsp) == 1


def test_every_question_has_its_own_nonce_of_32_bytes() -> None:
    seen: list[bytes] = []

    def answer(question: bytes) -> bytes:
        seen.append(question)
        return b""

    answers = Answers()
    answers.replies = {OCSP_URL: answer}
    found = fetching(answers, crl=False, retry_after_s=0)
    for _ in range(2):
        found.evidence_for(LEAF.parsed, MATERIAL, now=NOW)
    assert len(set(seen)) == 2
    assert all(len(question) > 100 for question in seen)


def test_a_replayed_answer_with_an_old_nonce_is_not_kept() -> None:
    old = ocsp_answer(statement(LEAF, ISSUING), signer=RESPONDER, certificates=[RESPONDER], nonce=b"o" * 32)
    answers = Answers()
    answers.replies = {OCSP_URL: old}
    found = fetching(answers, crl=False)
    assert decided(found) == "unknown"
    assert "another nonce" in found.failures()[0]


# ---------------------------------------------------------------- failures are remembered


def test_an_address_that_failed_is_left_alone_for_a_while() -> None:
    answers = Answers()
    found = fetching(answers, crl=False, retry_after_s=60)
    for second in (0, 30, 59):
        assert decided(found, now=NOW + dt.timedelta(seconds=second)) == "unknown"
    assert answers.asked == [OCSP_URL]
    assert found.failures() == ("nobody there",)
    answers.replies = {OCSP_URL: responds(at=NOW + MINUTE)}
    assert decided(found, now=NOW + MINUTE) == "good by ocsp+crl"
    assert found.failures() == ()


def test_what_we_have_is_good_until_it_ends_though_its_renewal_fails() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds()}
    found = fetching(answers, crl=False)
    assert decided(found) == "good by ocsp+crl"
    answers.replies = {}
    refreshed = found.refresh(MATERIAL, now=NOW + 50 * MINUTE)
    assert (refreshed.renewed, refreshed.failures) == (0, ("nobody there",))
    assert decided(found, now=NOW + 59 * MINUTE) == "good by ocsp+crl"
    assert decided(found, now=NOW + HOUR) == "unknown"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"<html>", "RFC 5280"),
        (crl_der(ISSUING, this_update=NOW - 9 * DAY, next_update=NOW - DAY), "not in force"),
        (crl_der(ISSUING, this_update=NOW + DAY), "not in force"),
        (crl_der(ISSUING, key=ec_key("forger")), "no authority that we trust"),
        (crl_der(authority("foreign")), "no authority that we trust"),
    ],
)
def test_a_list_that_is_none_is_not_kept(reply: bytes, says: str) -> None:
    answers = Answers()
    answers.replies = {CRL_URL: reply}
    found = fetching(answers, ocsp=False)
    assert decided(found) == "unknown"
    assert any(says in failure for failure in found.failures())


def test_nobody_takes_us_back_to_an_older_list() -> None:
    answers = Answers()
    answers.replies = {CRL_URL: crl_der(ISSUING, entry(LEAF.parsed.serial), number=9)}
    found = fetching(answers, ocsp=False)
    assert decided(found) == "revoked"
    answers.replies = {CRL_URL: crl_der(ISSUING, number=8, this_update=NOW - 2 * DAY)}
    later = NOW + dt.timedelta(hours=7)
    assert found.refresh(MATERIAL, now=later).renewed == 1
    assert decided(found, now=later) == "revoked"


# ---------------------------------------------------------------- renewing in time


def test_evidence_is_renewed_before_it_ends() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds()}
    found = fetching(answers, crl=False, refresh_before_end_s=900)
    decided(found)
    assert found.refresh(MATERIAL, now=NOW + 44 * MINUTE).renewed == 0
    answers.replies = {OCSP_URL: responds(at=NOW + 45 * MINUTE)}
    assert found.refresh(MATERIAL, now=NOW + 45 * MINUTE).renewed == 1
    asked = len(answers.asked)
    assert decided(found, now=NOW + 100 * MINUTE) == "good by ocsp+crl"
    assert len(answers.asked) == asked  # the message did not wait for it


def test_a_short_lived_answer_is_renewed_at_half_its_life() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds(next_update=NOW + 10 * MINUTE)}
    found = fetching(answers, crl=False, refresh_before_end_s=900)
    decided(found)
    assert found.refresh(MATERIAL, now=NOW + 4 * MINUTE).renewed == 0
    assert found.refresh(MATERIAL, now=NOW + 5 * MINUTE).renewed == 1


def test_a_list_is_looked_for_anew_long_before_its_half_year_ends() -> None:
    answers = Answers()
    answers.replies = {CRL_URL: crl_der(ISSUING, next_update=NOW + 180 * DAY)}
    found = fetching(answers, ocsp=False, crl_refresh_s=6 * 3_600)
    assert decided(found) == "good by crl"
    assert found.refresh(MATERIAL, now=NOW + 5 * HOUR).renewed == 0
    answers.replies = {
        CRL_URL: crl_der(
            ISSUING, entry(LEAF.parsed.serial), number=2, this_update=NOW + 5 * HOUR, next_update=NOW + 180 * DAY
        )
    }
    assert found.refresh(MATERIAL, now=NOW + 6 * HOUR).renewed == 1
    assert decided(found, now=NOW + 6 * HOUR) == "revoked"


def test_what_nobody_uses_any_more_is_forgotten() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds()}
    found = fetching(answers, crl=False, forget_after_s=86_400)
    decided(found)
    asked = len(answers.asked)
    assert found.refresh(MATERIAL, now=NOW + 2 * DAY).renewed == 0
    assert len(answers.asked) == asked
    assert found.known_for(LEAF.parsed, MATERIAL, now=NOW + 2 * DAY).ocsp == ()


def test_what_is_kept_is_bounded() -> None:
    answers = Answers()
    answers.replies = {CRL_URL: crl_der(ISSUING)}
    found = fetching(answers, crl=False, max_kept=2)
    for number in range(4):
        signer = mint(f"signer{number}", ISSUING, extensions=[access(OCSP_URL)])
        answers.replies[OCSP_URL] = responds(of=signer)
        assert decided(found, signer=signer) == "good by ocsp+crl"
    assert len(found._kept) == len(found._questions) == 2
    assert len(found._paths) == 2


def test_new_trust_material_is_judged_anew() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: responds()}
    found = fetching(answers, crl=False)
    assert found.evidence_for(LEAF.parsed, MATERIAL, now=NOW).ocsp
    without = sort_out([authority("other").parsed])
    assert found.evidence_for(LEAF.parsed, without, now=NOW) is NO_EVIDENCE


# ---------------------------------------------------------------- threads


def test_no_lock_is_held_while_something_is_fetched() -> None:
    answers = Answers()
    found = fetching(answers, crl=False)
    free: list[bool] = []

    def probe() -> None:
        free.append(found._lock.acquire(blocking=False))
        found._lock.release()

    answers.before = probe
    answers.replies = {OCSP_URL: responds()}
    decided(found)
    assert free == [True]


def test_two_that_need_the_same_ask_once() -> None:
    answers = Answers()
    found = fetching(answers, crl=False)
    asked, go_on = threading.Event(), threading.Event()

    def slow(question: bytes) -> bytes:
        asked.set()
        assert go_on.wait(10)
        return responds()(question)

    answers.replies = {OCSP_URL: slow}
    results: list[str] = []
    first = threading.Thread(target=lambda: results.append(decided(found)))
    first.start()
    assert asked.wait(10)
    second = threading.Thread(target=lambda: results.append(decided(found)))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert results == ["good by ocsp+crl"] * 2
    assert answers.asked == [OCSP_URL]


def test_a_fetcher_that_breaks_leaves_nobody_waiting() -> None:
    answers = Answers()
    answers.replies = {OCSP_URL: RuntimeError("a mistake of ours")}
    found = fetching(answers, crl=False)
    with pytest.raises(RuntimeError):
        found.evidence_for(LEAF.parsed, MATERIAL, now=NOW)
    assert found._under_way == {}


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.invalid/",
        "file:///etc/passwd",
        "ldap://example.invalid/cn=x",
        "http:///nowhere",
        "http://user:word@example.invalid/",
        "http://example.invalid:port/",
        "http://example.invalid/a b",
        "http://example.invalid/\u0000",
        "http://[broken/",
        "example.invalid",
        "",
        "http://example.invalid/" + "a" * 500,
    ],
)
def test_an_address_that_is_not_asked(url: str) -> None:
    with pytest.raises(FetchFailed) as caught:
        check_address(url)
    assert isinstance(caught.value, PeerUnavailable)
    assert "word" not in str(caught.value)
    if url:
        for rules in ({"ocsp_url": url}, {"crl_urls": (url,)}):
            with pytest.raises(ValueError, match="address"):
                FetchingRules(**rules)  # type: ignore[arg-type]


def test_addresses_in_certificates_are_read_with_their_oddities() -> None:
    # twice the same, another scheme, one too many; an old authority's line break and `URL=` (PKI.md section 3)
    many = [f"http://ocsp{n}.example.invalid/" for n in range(MAX_ADDRESSES + 2)]
    signer = mint("leaf", ISSUING, extensions=[access("ldap://x.invalid/", many[0], *many)])
    assert ocsp_addresses(signer.parsed) == tuple(many[:MAX_ADDRESSES])
    odd = mint("leaf", ISSUING, extensions=[(x509.CRLDistributionPoints(points(f"\nURL={CRL_URL}")), False)])
    assert crl_addresses(odd.parsed) == (CRL_URL,)
    assert crl_addresses(LEAF.parsed) == (CRL_URL, DELTA_URL)
    assert ocsp_addresses(mint("bare", ISSUING).parsed) == ()


@pytest.mark.parametrize("value", [b"", b"\x30\x03\x02\x01\x05", b"\x05\x00", b"\x30\x02\x30\x00"])
def test_access_information_that_cannot_be_read_names_no_address(value: bytes) -> None:
    signer = mint("leaf", ISSUING, extensions=[unread("1.3.6.1.5.5.7.1.1", value)])
    assert ocsp_addresses(signer.parsed) == ()


def test_an_access_location_that_is_no_uri_is_passed_over() -> None:
    directory = x509.DirectoryName(ROOT.name)
    described = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, directory)
    signer = mint("leaf", ISSUING, extensions=[(x509.AuthorityInformationAccess([described]), False)])
    assert ocsp_addresses(signer.parsed) == ()


# ---------------------------------------------------------------- HTTP


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/small")
            self.end_headers()
            return
        body = {"/small": b"list", "/large": b"x" * 5_000}.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Content-Type"].encode() + b":" + content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_bytes_are_fetched_and_posted(server: str) -> None:
    fetcher: Fetcher = HttpxFetcher()
    assert fetcher.get(f"{server}/small", deadline_s=10, max_bytes=100) == b"list"
    posted = fetcher.post(f"{server}/", b"question", content_type="application/x", deadline_s=10, max_bytes=100)
    assert posted == b"application/x:question"


@pytest.mark.parametrize(
    ("path", "says"), [("/missing", "status 404"), ("/moved", "status 302"), ("/large", "more than 100 bytes")]
)
def test_what_is_not_taken(server: str, path: str, says: str) -> None:
    with pytest.raises(FetchFailed, match=says):
        HttpxFetcher().get(f"{server}{path}", deadline_s=10, max_bytes=100)


def test_an_address_of_another_scheme_is_not_fetched() -> None:
    with pytest.raises(FetchFailed, match="not asked"):
        HttpxFetcher().get("file:///etc/hostname", deadline_s=10, max_bytes=100)


def test_a_port_where_nobody_listens_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(FetchFailed, match=r"127\.0\.0\.1 was not reached"):
            HttpxFetcher().get(url, deadline_s=10, max_bytes=100)


def test_a_sender_that_never_finishes_is_ended_by_the_deadline() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # connections are accepted by the system, and nobody ever answers
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(FetchFailed, match=r"within 0\.2 s|was not reached"):
            HttpxFetcher().get(url, deadline_s=0.2, max_bytes=100)


def test_the_rules_of_judging_apply_when_an_answer_comes() -> None:
    strict = sort_out(
        [ROOT.parsed, ISSUING.parsed], [parsed_crl(crl_der(ROOT))], rules=RevocationRules(max_ocsp_age_s=1)
    )
    answers = Answers()
    answers.replies = {OCSP_URL: responds(at=NOW - MINUTE)}
    found = fetching(answers, crl=False)
    assert found.evidence_for(LEAF.parsed, strict, now=NOW).ocsp == ()
    assert "stale" in found.failures()[0]
