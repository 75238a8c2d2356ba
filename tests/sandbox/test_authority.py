"""The simulated authority answers for real. Judges: gateway.trust, and the openssl command line for RSA."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.errors import KeyMaterialError, MalformedMessage, OperatorError, TrustRefused
from gateway.sandbox.authority import Authority
from gateway.sandbox.authority_orders import (
    AuthorityMisbehaviour,
    AuthorityOrder,
    AuthorityOrders,
    AuthorityService,
    kinds_of,
    read_authority_order,
)
from gateway.sandbox.server import RunningSandbox
from gateway.signing.certificate import Certificate, read_certificates
from gateway.trust import ocsp, timestamp
from gateway.trust.crl import read_crls
from gateway.trust.digests import SHA_256, SHA_384, SHA_512, STREEBOG_512
from gateway.trust.evidence import OcspAnswer
from gateway.trust.store import TrustMaterial, TrustStore
from gateway.trust.throwaway.keys import Family
from gateway.trust.throwaway_pki import ThrowawayPki
from gateway.trust.timestamp import Imprint, TimeStamp, TimestampRules
from gateway.trust.verdict import RevocationMode, RevocationState, RevocationStatus
from tests.sandbox.integrator import NOW

FAMILIES = pytest.mark.parametrize("family", list(Family))
NONCE = b"\x05" * 32
SECOND = dt.timedelta(seconds=1)
OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")


@pytest.fixture
def authority(pki: ThrowawayPki) -> Authority:
    return Authority(pki.directory)


@pytest.fixture(scope="module")
def material(pki: ThrowawayPki) -> TrustMaterial:
    return TrustStore.load(pki.anchors).material


def certificate(path: Path) -> Certificate:
    (found,) = read_certificates(path.read_bytes())
    return found


def issuer(pki: ThrowawayPki, family: Family) -> Certificate:
    return certificate(pki.anchors / f"issuing{family.suffix}.pem")


# ---------------------------------------------------------------- OCSP


@pytest.fixture
def asked(pki: ThrowawayPki, authority: Authority, material: TrustMaterial) -> Callable[..., RevocationStatus]:
    def ask(name: str, family: Family, *, at: dt.datetime = NOW + SECOND) -> RevocationStatus:
        subject, above = certificate(pki.certificate(name, family)), issuer(pki, family)
        der = authority.ocsp(ocsp.build_request(subject, above, nonce=NONCE), now=NOW)
        return ocsp.check_answer(OcspAnswer(der, "sandbox", NOW, NONCE), subject, above, material, at=at)

    return ask


@FAMILIES
@pytest.mark.parametrize("name", ["gateway", "shep", "client", "head", "employee", "person", "treasury", "expired"])
def test_a_certificate_in_force_is_good(asked: Callable[..., RevocationStatus], name: str, family: Family) -> None:
    status = asked(name, family)
    assert status.status is RevocationState.GOOD, status.detail
    assert status.as_of == NOW


@FAMILIES
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("revoked", "keyCompromise"),
        ("on_hold", "certificateHold"),
        ("revoked_lately", "cessationOfOperation"),
    ],
)
def test_a_revoked_certificate_is_revoked_for_its_reason(
    asked: Callable[..., RevocationStatus], name: str, reason: str, family: Family
) -> None:
    status = asked(name, family)
    assert status.status is RevocationState.REVOKED
    assert status.reason == reason
    assert status.revoked_at == NOW - dt.timedelta(hours=2)


@FAMILIES
def test_a_certificate_that_was_never_issued_is_on_hold_since_1970(
    pki: ThrowawayPki, authority: Authority, family: Family
) -> None:
    above = issuer(pki, family)
    subject = replace(certificate(pki.certificate("person", family)), serial=4_711)
    der = authority.ocsp(ocsp.build_request(subject, above, nonce=None), now=NOW)
    (statement,) = ocsp.read_response(der).statements
    assert (statement.state, statement.reason) == (RevocationState.REVOKED, "certificateHold")
    assert statement.revoked_at == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert statement.next_update is None


@FAMILIES
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (AuthorityMisbehaviour.TRY_LATER, "tryLater"),
        (AuthorityMisbehaviour.STALE, "stale"),
        (AuthorityMisbehaviour.FROM_FUTURE, "from the future"),
        (AuthorityMisbehaviour.UNSIGNED, "was not signed by the key"),
        (AuthorityMisbehaviour.WRONG_SIGNATURE, "was not signed by the key"),
        (AuthorityMisbehaviour.STRANGER_SIGNER, "not appointed"),
        (AuthorityMisbehaviour.NOT_AUTHORISED, "not appointed"),
        (AuthorityMisbehaviour.WRONG_NONCE, "another nonce"),
        (AuthorityMisbehaviour.NO_NONCE, "does not repeat our nonce"),
        (AuthorityMisbehaviour.MALFORMED, "cannot be read"),
        (AuthorityMisbehaviour.OTHER_SERIAL, "about another certificate"),
        (AuthorityMisbehaviour.STATUS_UNKNOWN, "unknown"),
    ],
)
def test_a_misbehaving_responder_makes_nothing_good(
    authority: Authority,
    asked: Callable[..., RevocationStatus],
    kind: AuthorityMisbehaviour,
    says: str,
    family: Family,
) -> None:
    authority.orders.place(AuthorityOrder(AuthorityService.OCSP, kind))
    status = asked("gateway", family)
    assert status.status is RevocationState.UNKNOWN
    assert says in status.detail
    assert asked("gateway", family).status is RevocationState.GOOD, "the order was for one answer"


@FAMILIES
def test_a_good_certificate_is_said_to_be_revoked_on_order(
    authority: Authority, asked: Callable[..., RevocationStatus], family: Family
) -> None:
    authority.orders.place(AuthorityOrder(AuthorityService.OCSP, AuthorityMisbehaviour.STATUS_REVOKED))
    assert asked("gateway", family).status is RevocationState.REVOKED


def test_every_misbehaviour_of_the_responder_is_tried() -> None:
    marks = test_a_misbehaving_responder_makes_nothing_good.pytestmark  # type: ignore[attr-defined]
    tried = {row[0] for mark in marks for row in mark.args[1] if mark.args[0] == ("kind", "says")}
    assert tried | {AuthorityMisbehaviour.STATUS_REVOKED} == set(kinds_of(AuthorityService.OCSP))


@pytest.mark.parametrize("data", [b"", b"{}", b"\x30\x03\x02\x01\x00", b"\x30\x84\xff\xff\xff\xff"])
def test_what_is_no_ocsp_question_is_told_so(authority: Authority, data: bytes) -> None:
    assert authority.ocsp(data, now=NOW) == bytes.fromhex("30030a0101")  # malformedRequest


def test_nobody_answers_for_a_foreign_authority(pki: ThrowawayPki, authority: Authority) -> None:
    subject = certificate(pki.certificate("stranger"))
    question = ocsp.build_request(subject, certificate(pki.directory / "stranger" / "root.pem"), nonce=None)
    assert authority.ocsp(question, now=NOW) == bytes.fromhex("30030a0106")  # unauthorized


def test_several_questions_are_answered_at_once_up_to_a_bound(pki: ThrowawayPki, authority: Authority) -> None:
    subject, above = certificate(pki.certificate("gateway")), issuer(pki, Family.RSA)
    single = ocsp._OcspRequest.load(ocsp.build_request(subject, above, nonce=None))["tbs_request"]["request_list"][0]

    def many(count: int) -> bytes:
        return bytes(ocsp._OcspRequest({"tbs_request": {"request_list": [single] * count}}).dump())

    assert len(ocsp.read_response(authority.ocsp(many(3), now=NOW)).statements) == 3
    assert authority.ocsp(many(101), now=NOW) == bytes.fromhex("30030a0101")


@OPENSSL
@pytest.mark.parametrize(
    ("name", "word"), [("gateway", "good"), ("revoked", "revoked"), ("on_hold", "certificateHold")]
)
@pytest.mark.parametrize("digest", ["-sha1", "-sha256", "-sha384", "-sha512"])
def test_openssl_asks_and_believes_the_rsa_responder(
    pki: ThrowawayPki, authority: Authority, tmp_path: Path, name: str, word: str, digest: str
) -> None:
    question, answer = tmp_path / "question.der", tmp_path / "answer.der"
    about = (digest, "-issuer", str(pki.anchors / "issuing.pem"), "-cert", str(pki.certificate(name)))
    _openssl("ocsp", *about, "-reqout", str(question))
    answer.write_bytes(authority.ocsp(question.read_bytes(), now=NOW))
    trust = ("-CAfile", str(pki.anchors / "root.pem"), "-verify_other", str(pki.anchors / "issuing.pem"))
    when = ("-attime", str(int(NOW.timestamp())))
    # with its request openssl compares the nonce, without it the status is printed
    said = _openssl("ocsp", "-reqin", str(question), "-respin", str(answer), *trust, *when)
    assert "Response verify OK" in said
    assert "Nonce" not in said
    # this command has no -attime for thisUpdate: however far the clocks are apart
    ever = ("-validity_period", "2000000000")
    said = _openssl("ocsp", "-no_nonce", *about, "-respin", str(answer), *trust, *when, *ever)
    assert "Response verify OK" in said
    assert word in said


# ---------------------------------------------------------------- time stamps

RULES = TimestampRules(RevocationMode.REQUIRE)
EVIDENCE = b"what is archived"
DIGEST_OF = {Family.RSA: SHA_256, Family.GOST: STREEBOG_512}


@pytest.fixture
def stamped(authority: Authority, material: TrustMaterial) -> Callable[..., TimeStamp]:
    def stamp(imprint: Imprint, *, policy: str | None = None, at: dt.datetime = NOW + SECOND) -> TimeStamp:
        reply = authority.stamp(timestamp.build_request(imprint, nonce=77, policy=policy), now=NOW)
        return timestamp.verify_token(
            timestamp.read_reply(reply), imprint=imprint, material=material, rules=RULES, at=at, nonce=77, policy=policy
        )

    return stamp


@pytest.mark.parametrize("digest", [SHA_256, SHA_384, SHA_512, STREEBOG_512])
def test_a_stamp_is_of_the_family_of_its_digest(stamped: Callable[..., TimeStamp], digest: str) -> None:
    found = stamped(Imprint.of(EVIDENCE, digest))
    assert found.gen_time == NOW
    assert found.accuracy == SECOND
    family = Family.GOST if digest == STREEBOG_512 else Family.RSA
    assert found.certificate.key_family == ("gost-2015-512" if family is Family.GOST else "rsa")
    assert found.policy == {Family.RSA: "1.2.398.3.3.2.6.2", Family.GOST: "1.2.398.3.3.2.6.4"}[family]


@pytest.mark.parametrize(("policy", "family"), [("1.2.398.3.3.2.6.2", "rsa"), ("1.2.398.3.3.2.6.4", "gost-2015-512")])
def test_a_policy_chooses_the_family(stamped: Callable[..., TimeStamp], policy: str, family: str) -> None:
    assert stamped(Imprint.of(EVIDENCE), policy=policy).certificate.key_family == family


@FAMILIES
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (AuthorityMisbehaviour.TRY_LATER, "timestamp_rejected"),
        (AuthorityMisbehaviour.FROM_FUTURE, "from_the_future"),
        (AuthorityMisbehaviour.UNSIGNED, "bad_timestamp"),
        (AuthorityMisbehaviour.WRONG_SIGNATURE, "bad_certificate_signature"),
        (AuthorityMisbehaviour.NOT_AUTHORISED, "extended_key_usage"),
        (AuthorityMisbehaviour.STRANGER_SIGNER, "extended_key_usage"),
        (AuthorityMisbehaviour.WRONG_NONCE, "nonce_mismatch"),
        (AuthorityMisbehaviour.NO_NONCE, "nonce_mismatch"),
        (AuthorityMisbehaviour.MALFORMED, "bad_timestamp"),
        (AuthorityMisbehaviour.OTHER_IMPRINT, "imprint_mismatch"),
    ],
)
def test_a_misbehaving_stamper_proves_nothing(
    authority: Authority, stamped: Callable[..., TimeStamp], kind: AuthorityMisbehaviour, code: str, family: Family
) -> None:
    authority.orders.place(AuthorityOrder(AuthorityService.TSP, kind))
    with pytest.raises((TrustRefused, MalformedMessage)) as caught:
        stamped(Imprint.of(EVIDENCE, DIGEST_OF[family]))
    assert caught.value.code == code
    stamped(Imprint.of(EVIDENCE, DIGEST_OF[family]))


@FAMILIES
def test_a_stale_stamp_says_its_time(
    authority: Authority, pki: ThrowawayPki, stamped: Callable[..., TimeStamp], family: Family
) -> None:
    # ten days ago the stamper's certificate had not been issued
    authority.orders.place(AuthorityOrder(AuthorityService.TSP, AuthorityMisbehaviour.STALE))
    with pytest.raises(TrustRefused) as caught:
        stamped(Imprint.of(EVIDENCE, DIGEST_OF[family]))
    assert caught.value.code == "not_yet_valid"


def test_every_misbehaviour_of_the_stamper_is_tried() -> None:
    marks = test_a_misbehaving_stamper_proves_nothing.pytestmark  # type: ignore[attr-defined]
    tried = {row[0] for mark in marks for row in mark.args[1] if mark.args[0] == ("kind", "code")}
    assert tried | {AuthorityMisbehaviour.STALE} == set(kinds_of(AuthorityService.TSP))


@pytest.mark.parametrize(
    "imprint",
    [
        Imprint("1.3.14.3.2.26", hashlib.sha1(EVIDENCE).digest()),
        Imprint("1.2.643.7.1.1.2.3", b"\x01" * 64),
        Imprint(SHA_256, b"\x01" * 20),
    ],
    ids=["sha1", "foreign_digest", "wrong_length"],
)
def test_what_is_not_stamped_is_rejected(authority: Authority, imprint: Imprint) -> None:
    with pytest.raises(TrustRefused) as caught:
        timestamp.read_reply(authority.stamp(timestamp.build_request(imprint, nonce=None), now=NOW))
    assert caught.value.code == "timestamp_rejected"


def test_an_unknown_policy_and_an_unreadable_wish_are_rejected(authority: Authority) -> None:
    for question in (timestamp.build_request(Imprint.of(EVIDENCE), nonce=None, policy="1.2.3"), b"", b"\x30\x00"):
        with pytest.raises(TrustRefused) as caught:
            timestamp.read_reply(authority.stamp(question, now=NOW))
        assert caught.value.code == "timestamp_rejected"


@OPENSSL
@pytest.mark.parametrize("arguments", [("-sha256", "-cert"), ("-sha512", "-cert"), ("-sha256",)])
def test_openssl_believes_the_rsa_stamper(
    pki: ThrowawayPki, authority: Authority, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    data, question, reply, chain = (tmp_path / name for name in ("data", "question", "reply", "chain"))
    data.write_bytes(EVIDENCE)
    _openssl("ts", "-query", "-data", str(data), *arguments, "-out", str(question))
    reply.write_bytes(authority.stamp(question.read_bytes(), now=NOW))
    chain.write_bytes(pki.certificate("tsa").read_bytes() + (pki.anchors / "issuing.pem").read_bytes())
    said = _openssl(
        *("ts", "-verify", "-queryfile", str(question), "-in", str(reply)),
        *("-CAfile", str(pki.anchors / "root.pem"), "-untrusted", str(chain)),
        *("-attime", str(int(NOW.timestamp()))),
    )
    assert "Verification: OK" in said


def _openssl(*arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


# ---------------------------------------------------------------- one family, and a damaged directory


@FAMILIES
def test_an_authority_of_one_family_answers_for_that_one(tmp_path: Path, family: Family) -> None:
    from gateway.trust import throwaway_pki

    alone = Authority(throwaway_pki.init(tmp_path / "pki", now=NOW, families=[family]).directory)
    for one in Family:
        reply = alone.stamp(timestamp.build_request(Imprint.of(EVIDENCE, DIGEST_OF[one]), nonce=None), now=NOW)
        if one is family:
            timestamp.read_reply(reply)
        else:
            with pytest.raises(TrustRefused):
                timestamp.read_reply(reply)


def _remove(folder: Path) -> None:
    (folder / "services" / "issued.json").unlink()


def _cut_key(folder: Path) -> None:
    (folder / "services" / "ocsp.key").write_text("cut")


def _cut_list(folder: Path) -> None:
    (folder / "services" / "issued.json").write_text('[{"serial": ')


def _cut_certificate(folder: Path) -> None:
    (folder / "services" / "tsa.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("damage", "named"),
    [(_remove, "issued.json"), (_cut_key, "ocsp.key"), (_cut_list, "issued.json"), (_cut_certificate, "tsa.pem")],
)
def test_a_damaged_directory_names_the_file(
    pki: ThrowawayPki, tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    shutil.copytree(pki.directory, tmp_path / "pki")
    damage(tmp_path / "pki")
    with pytest.raises(KeyMaterialError, match=named):
        Authority(tmp_path / "pki")


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"service": "crl", "kind": "stale"},
        {"service": "ocsp", "kind": "rude"},
        {"service": "tsp", "kind": "other_serial"},
        {"service": "ocsp", "kind": "other_imprint"},
        {"service": "ocsp", "kind": "stale", "times": 0},
        {"service": "ocsp", "kind": "stale", "times": True},
        {"service": "ocsp", "kind": "stale", "times": "2"},
        {"service": "ocsp", "kind": "stale", "when": "now"},
    ],
)
def test_a_wrong_order_is_refused(document: object) -> None:
    with pytest.raises(OperatorError) as caught:
        read_authority_order(document)
    assert caught.value.code == "bad_order"


def test_orders_are_used_up_one_by_one_for_their_service() -> None:
    orders = AuthorityOrders()
    stale = read_authority_order({"service": "ocsp", "kind": "stale", "times": 2})
    orders.place(stale)
    orders.place(AuthorityOrder(AuthorityService.TSP, AuthorityMisbehaviour.MALFORMED))
    assert orders.waiting()[0] == stale
    taken = [orders.take(AuthorityService.OCSP) for _ in range(3)]
    assert taken == [AuthorityMisbehaviour.STALE, AuthorityMisbehaviour.STALE, None]
    assert orders.take(AuthorityService.TSP) is AuthorityMisbehaviour.MALFORMED
    orders.place(stale)
    orders.clear()
    assert orders.waiting() == ()


# ---------------------------------------------------------------- over HTTP


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def _post(url: str, content: bytes) -> httpx.Response:
    return httpx.post(url, content=content, trust_env=False)


@FAMILIES
def test_ocsp_over_http(sandbox: RunningSandbox, pki: ThrowawayPki, material: TrustMaterial, family: Family) -> None:
    subject, above = certificate(pki.certificate("client", family)), issuer(pki, family)
    response = _post(f"{sandbox.url}/ocsp", ocsp.build_request(subject, above, nonce=NONCE))
    assert response.headers["content-type"] == "application/ocsp-response"
    answer = OcspAnswer(response.content, "sandbox", NOW, NONCE)
    status = ocsp.check_answer(answer, subject, above, material, at=NOW + SECOND)
    assert status.status is RevocationState.GOOD


def test_a_stamp_over_http(sandbox: RunningSandbox, material: TrustMaterial) -> None:
    imprint = Imprint.of(EVIDENCE, STREEBOG_512)
    response = _post(f"{sandbox.url}/tsp", timestamp.build_request(imprint, nonce=9))
    assert response.headers["content-type"] == "application/timestamp-reply"
    token = timestamp.read_reply(response.content)
    timestamp.verify_token(token, imprint=imprint, material=material, rules=RULES, at=NOW + SECOND, nonce=9)


@FAMILIES
def test_lists_and_certificates_over_http(sandbox: RunningSandbox, pki: ThrowawayPki, family: Family) -> None:
    front = _get(sandbox.url).json()["authority"]
    for name, is_delta in (("root", False), ("issuing", False), ("issuing", True)):
        path = f"/crl/{name}{family.suffix}{'-delta' if is_delta else ''}.crl"
        assert path in front["crl"]
        response = _get(sandbox.url + path)
        assert response.headers["content-type"] == "application/pkix-crl"
        (found,) = read_crls(response.content)
        assert found.is_delta == is_delta
    (served,) = read_certificates(_get(f"{sandbox.url}/cert/issuing{family.suffix}.cer").content)
    assert served == issuer(pki, family)


@pytest.mark.parametrize("path", ["/crl/nobody.crl", "/crl/..%2f..%2fservices%2focsp.key", "/cert/ocsp.key"])
def test_nothing_else_is_served(sandbox: RunningSandbox, path: str) -> None:
    assert _get(sandbox.url + path).status_code == 404


def test_orders_over_http(sandbox: RunningSandbox, pki: ThrowawayPki) -> None:
    address = f"{sandbox.url}/sandbox/authority"
    order = {"service": "ocsp", "kind": "try_later", "times": 1}
    assert _post(address, json.dumps(order).encode()).status_code == 201
    assert _get(address).json() == [order]
    question = ocsp.build_request(certificate(pki.certificate("client")), issuer(pki, Family.RSA), nonce=None)
    assert _post(f"{sandbox.url}/ocsp", question).content == bytes.fromhex("30030a0103")
    assert _get(address).json() == []
    _post(address, json.dumps(order).encode())
    assert httpx.delete(address, trust_env=False).status_code == 204
    assert sandbox.authority.orders.waiting() == ()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 5_000, b'{"service": "ocsp", "kind": "rude"}'])
def test_a_wrong_order_over_http_is_told_what_may_be_ordered(sandbox: RunningSandbox, content: bytes) -> None:
    response = _post(f"{sandbox.url}/sandbox/authority", content)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_order"


def test_a_question_over_the_bound_is_not_read(sandbox: RunningSandbox) -> None:
    assert _post(f"{sandbox.url}/ocsp", b"\x30" * 30_000).status_code == 413
