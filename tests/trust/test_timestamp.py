"""RFC 3161 time stamps: each row is one token and what must come of it, for RSA, ECDSA and GOST stampers."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from asn1crypto import cms, tsp
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, MalformedMessage, RevocationUnknown, TrustRefused
from gateway.trust.digests import STREEBOG_512
from gateway.trust.evidence import FetchedCrl, RevocationEvidence
from gateway.trust.fetching import FetchFailed
from gateway.trust.store import sort_out
from gateway.trust.timestamp import (
    MAX_TOKEN_BYTES,
    Imprint,
    TimeStamp,
    TimestampRules,
    build_request,
    read_reply,
    request_timestamp,
    verify_token,
)
from gateway.trust.verdict import RevocationMode, RevocationState
from tests.trust.minting import (
    DAY,
    MINUTE,
    NOW,
    NULL,
    POLICY,
    SHA_256,
    TIME_STAMPING,
    Minted,
    attribute,
    authority,
    bits,
    crl_der,
    der,
    digest_of,
    ec_key,
    entry,
    ess_v1,
    ess_v2,
    extension,
    gost_key,
    integer,
    octets,
    oid,
    parsed_crl,
    rsa_key,
    sequence,
    stamper,
    timestamp_token,
    tst_info,
)

OFF, REQUIRE, PREFER = RevocationMode.OFF, RevocationMode.REQUIRE, RevocationMode.PREFER
DATA = b"evidence"
NONCE = 2**63 + 5
URL = "http://tsp.example.invalid/"


class Kit:
    def __init__(self, key: Callable[[str], Any]) -> None:
        self.key = key
        self.root = authority("root", key=key("root"))
        self.tsa = stamper("tsa", self.root, key=key("tsa"))
        self.imprint = Imprint.of(DATA, STREEBOG_512 if key is gost_key else SHA_256)

    def info(self, **changes: Any) -> bytes:
        settings = {"nonce": NONCE, **changes}
        return tst_info(self.imprint.algorithm, self.imprint.digest, **settings)

    def stamper(self, **changes: Any) -> Minted:
        return stamper("tsa", changes.pop("issuer", self.root), key=self.key("tsa"), **changes)

    def attributes(self, info: bytes, *more: bytes, content_type: str = "1.2.840.113549.1.9.16.1.4") -> list[bytes]:
        _, digest = digest_of(self.tsa.key)
        return [
            attribute("1.2.840.113549.1.9.3", oid(content_type)),
            attribute("1.2.840.113549.1.9.4", octets(digest(info))),
            *more,
        ]

    def verify(self, token: bytes, rules: TimestampRules | None = None, **changes: Any) -> TimeStamp:
        crls = changes.pop("crls", ())
        trusted = changes.pop("trusted", (self.root,))
        settings: dict[str, Any] = {"imprint": self.imprint, "at": NOW, "nonce": NONCE, **changes}
        material = sort_out([m.parsed for m in trusted], [parsed_crl(c) for c in crls])
        return verify_token(token, material=material, rules=rules or TimestampRules(OFF), **settings)


KEYS = {"rsa": rsa_key, "ec": ec_key, "gost": gost_key}


@cache
def kit_of(family: str) -> Kit:
    return Kit(KEYS[family])


families = pytest.mark.parametrize("family", KEYS)

GOOD: dict[str, Callable[[Kit], bytes]] = {
    "the usual": lambda k: timestamp_token(k.info(), k.tsa),
    "ESS version 1": lambda k: timestamp_token(k.info(), k.tsa, ess=ess_v1(k.tsa)),
    "ESS version 2 with its algorithm written out": lambda k: timestamp_token(
        k.info(), k.tsa, ess=ess_v2(k.tsa, SHA_256)
    ),
    "ESS version 2 with SHA-512": lambda k: timestamp_token(
        k.info(),
        k.tsa,
        ess=ess_v2(k.tsa, "2.16.840.1.101.3.4.2.3", hashlib.sha512(k.tsa.der).digest()),
    ),
    "the signer by key identifier": lambda k: timestamp_token(k.info(), k.tsa, by_key=True),
    "more certificates than the signer's": lambda k: timestamp_token(k.info(), k.tsa, certificates=[k.root, k.tsa]),
    "a stamper's name and an extension": lambda k: timestamp_token(
        k.info(extensions=[extension("1.2.398.999.1", NULL)]), k.tsa
    ),
    "an accuracy": lambda k: timestamp_token(
        k.info(accuracy=sequence(integer(1), der(0x80, b"\x05"), der(0x81, b"\x07"))), k.tsa
    ),
    "the stamper's clock a little ahead": lambda k: timestamp_token(k.info(gen_time=NOW + MINUTE), k.tsa),
    "the stamper ended since": lambda k: timestamp_token(
        k.info(gen_time=NOW - 5 * DAY), ended := k.stamper(end=NOW - DAY), ess=ess_v2(ended)
    ),
    "one more signed attribute": lambda k: timestamp_token(
        info := k.info(), k.tsa, attributes=k.attributes(info, ess_v2(k.tsa), attribute("1.2.398.999.2", NULL))
    ),
}


@families
@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD.keys())
def test_a_good_stamp_is_believed(family: str, case: Callable[[Kit], bytes]) -> None:
    kit = kit_of(family)
    token = case(kit)
    stamp = kit.verify(token)
    assert (stamp.policy, stamp.serial, stamp.token) == (POLICY, 7, token)
    assert stamp.certificate.common_name == "tsa"
    assert stamp.path.anchor == kit.root.parsed
    assert stamp.revocation.source == "off"


@families
def test_a_stamp_says_when_and_how_exactly(family: str) -> None:
    kit = kit_of(family)
    accuracy = sequence(integer(1), der(0x80, b"\x05"), der(0x81, b"\x07"))
    stamp = kit.verify(timestamp_token(kit.info(accuracy=accuracy), kit.tsa))
    assert stamp.gen_time == NOW - MINUTE
    assert stamp.accuracy == dt.timedelta(seconds=1, milliseconds=5, microseconds=7)
    assert kit.verify(timestamp_token(kit.info(), kit.tsa)).accuracy is None
    assert "token" not in repr(stamp)


def test_rsa_may_name_its_key_and_its_digest_apart() -> None:
    kit = kit_of("rsa")
    token = timestamp_token(kit.info(), kit.tsa, algorithm=sequence(oid("1.2.840.113549.1.1.1"), NULL))
    assert kit.verify(token).serial == 7


def test_gost_may_name_its_key_and_its_digest_apart() -> None:
    kit = kit_of("gost")
    token = timestamp_token(kit.info(), kit.tsa, algorithm=sequence(oid("1.2.398.3.10.1.1.2.2"), NULL))
    assert kit.verify(token).serial == 7


def with_attributes(kit: Kit, *names: str) -> bytes:
    info = kit.info()
    all_of_them = dict(zip(("type", "digest", "ess"), kit.attributes(info, ess_v2(kit.tsa)), strict=True))
    return timestamp_token(info, kit.tsa, attributes=[all_of_them[n] for n in names])


def other_content(kit: Kit) -> bytes:
    """Signed attributes of one TSTInfo over another one."""
    return timestamp_token(kit.info(serial=9), kit.tsa, attributes=kit.attributes(kit.info(), ess_v2(kit.tsa)))


REFUSED: dict[str, tuple[str, Callable[[Kit], bytes]]] = {
    "other bytes were stamped": (
        "imprint_mismatch",
        lambda k: timestamp_token(tst_info(k.imprint.algorithm, bytes(len(k.imprint.digest)), nonce=NONCE), k.tsa),
    ),
    "another digest was stamped": (
        "imprint_mismatch",
        lambda k: timestamp_token(tst_info("1.3.14.3.2.26", k.imprint.digest, nonce=NONCE), k.tsa),
    ),
    "another nonce": ("nonce_mismatch", lambda k: timestamp_token(k.info(nonce=7), k.tsa)),
    "no nonce": ("nonce_mismatch", lambda k: timestamp_token(k.info(nonce=None), k.tsa)),
    "from the future": (
        "from_the_future",
        lambda k: timestamp_token(k.info(gen_time=NOW + 2 * MINUTE), k.tsa),
    ),
    "the signer's certificate is nowhere": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, certificates=[]),
    ),
    "only another certificate is in it": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, certificates=[k.root]),
    ),
    "the attributes name another certificate": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, ess=ess_v2(k.root)),
    ),
    "the attributes name another certificate, version 1": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, ess=ess_v1(k.root)),
    ),
    "the attributes name it by a digest that is not known": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, ess=ess_v2(k.tsa, "1.2.3.4")),
    ),
    "the attributes name nobody": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, ess=attribute("1.2.840.113549.1.9.16.2.47", sequence(sequence()))),
    ),
    "the attributes name it in a way that cannot be read": (
        "signer_certificate",
        lambda k: timestamp_token(k.info(), k.tsa, ess=attribute("1.2.840.113549.1.9.16.2.12", NULL)),
    ),
    "no certificate is named": ("signer_certificate", lambda k: with_attributes(k, "type", "digest")),
    "no content type is signed": ("bad_signature", lambda k: with_attributes(k, "digest", "ess")),
    "no digest is signed": ("bad_signature", lambda k: with_attributes(k, "type", "ess")),
    "the digest of another content is signed": ("bad_signature", other_content),
    "another content type is signed": (
        "bad_signature",
        lambda k: timestamp_token(
            info := k.info(), k.tsa, attributes=k.attributes(info, ess_v2(k.tsa), content_type="1.2.840.113549.1.7.1")
        ),
    ),
    "another key signed it": (
        "bad_certificate_signature",
        lambda k: timestamp_token(k.info(), k.tsa, key=k.key("other")),
    ),
    "SHA-1": (
        "algorithm_refused",
        lambda k: timestamp_token(k.info(), k.tsa, algorithm=sequence(oid("1.2.840.113549.1.1.5"), NULL)),
    ),
    "an algorithm that is not in the table": (
        "algorithm_refused",
        lambda k: timestamp_token(k.info(), k.tsa, algorithm=sequence(oid("1.2.398.999.5"))),
    ),
    "a digest of another family": (
        "algorithm_refused",
        lambda k: timestamp_token(k.info(), k.tsa, digest_oid="2.16.840.1.101.3.4.2.2"),
    ),
    "a certificate without extended key usage": (
        "extended_key_usage",
        lambda k: timestamp_token(k.info(), k.stamper(extended=())),
    ),
    "a certificate for something else": (
        "extended_key_usage",
        lambda k: timestamp_token(k.info(), k.stamper(extended=("1.3.6.1.5.5.7.3.4",))),
    ),
    "a certificate for something else too": (
        "extended_key_usage",
        lambda k: timestamp_token(k.info(), k.stamper(extended=(TIME_STAMPING, "1.3.6.1.5.5.7.3.4"))),
    ),
    "a purpose that is not marked critical": (
        "extended_key_usage",
        lambda k: timestamp_token(k.info(), k.stamper(extended_critical=False)),
    ),
    "a key that does not sign": (
        "key_usage",
        lambda k: timestamp_token(k.info(), k.stamper(usage=("keyEncipherment",))),
    ),
    "a stamper that nobody trusts": (
        "untrusted_issuer",
        lambda k: timestamp_token(k.info(), k.stamper(issuer=authority("foreign", key=k.key("foreign")))),
    ),
    "a stamper that had ended by then": (
        "expired",
        lambda k: timestamp_token(k.info(), k.stamper(end=NOW - DAY)),
    ),
    "a stamper that had not begun by then": (
        "not_yet_valid",
        lambda k: timestamp_token(k.info(gen_time=NOW - 11 * DAY), k.tsa),
    ),
}


@families
@pytest.mark.parametrize(("code", "case"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_stamp_is_refused(family: str, code: str, case: Callable[[Kit], bytes]) -> None:
    kit = kit_of(family)
    with pytest.raises(TrustRefused) as caught:
        kit.verify(case(kit))
    assert (caught.value.code, caught.value.step) == (code, "timestamp")


def twice(kit: Kit) -> bytes:
    info = kit.info()
    return timestamp_token(info, kit.tsa, attributes=kit.attributes(info, ess_v2(kit.tsa), ess_v2(kit.tsa)))


MALFORMED: dict[str, Callable[[Kit], bytes]] = {
    "nothing": lambda k: b"",
    "a web page": lambda k: b"<html>",
    "cut": lambda k: timestamp_token(k.info(), k.tsa)[:-1],
    "something behind it": lambda k: timestamp_token(k.info(), k.tsa) + b"\x00",
    "too large": lambda k: bytes(MAX_TOKEN_BYTES + 1),
    "another content": lambda k: timestamp_token(k.info(), k.tsa, content_type="1.2.840.113549.1.7.1"),
    "another CMS type": lambda k: sequence(oid("1.2.840.113549.1.7.1"), der(0xA0, octets(b"x"))),
    "another CMS type over SignedData": lambda k: timestamp_token(k.info(), k.tsa).replace(
        oid("1.2.840.113549.1.7.2"), oid("1.2.840.113549.1.7.3"), 1
    ),
    "no signer": lambda k: timestamp_token(k.info(), k.tsa, signers=0),
    "two signers": lambda k: timestamp_token(k.info(), k.tsa, signers=2),
    "another version": lambda k: timestamp_token(k.info(version=2), k.tsa),
    "an unknown critical extension": lambda k: timestamp_token(
        k.info(extensions=[extension("1.2.398.999.1", NULL, critical=True)]), k.tsa
    ),
    "a TSTInfo that is none": lambda k: timestamp_token(sequence(integer(1)), k.tsa),
    "an attribute twice": twice,
    "an attribute with two values": lambda k: timestamp_token(
        k.info(), k.tsa, attributes=[attribute("1.2.840.113549.1.9.3", oid("1.2.3"), oid("1.2.4"))]
    ),
    "more attributes than anybody needs": lambda k: timestamp_token(
        k.info(), k.tsa, attributes=[attribute(f"1.2.398.999.{n}", NULL) for n in range(40)]
    ),
    "more certificates than anybody needs": lambda k: timestamp_token(k.info(), k.tsa, certificates=[k.tsa] * 9),
    "a certificate that is none": lambda k: timestamp_token(
        k.info(), k.tsa, certificates=[k.tsa, Minted(sequence(NULL), k.tsa.key, k.tsa.name)]
    ),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_stamp_is_told(case: Callable[[Kit], bytes]) -> None:
    kit = kit_of("ec")
    with pytest.raises(MalformedMessage) as caught:
        kit.verify(case(kit))
    assert caught.value.code == "bad_timestamp"


def test_a_stamper_in_the_trust_directory_need_not_be_in_the_token() -> None:
    kit = kit_of("ec")
    token = timestamp_token(kit.info(), kit.tsa, certificates=[])
    assert kit.verify(token, trusted=(kit.root, kit.tsa)).certificate == kit.tsa.parsed


def test_only_what_was_asked_for_is_compared() -> None:
    kit = kit_of("ec")
    token = timestamp_token(kit.info(nonce=None), kit.tsa)
    assert kit.verify(token, nonce=None).serial == 7
    assert kit.verify(token, nonce=None, policy=POLICY).serial == 7
    for rules, policy in ((TimestampRules(OFF), "1.2.3"), (TimestampRules(OFF, policies=("1.2.3",)), None)):
        with pytest.raises(TrustRefused) as caught:
            kit.verify(token, rules, nonce=None, policy=policy)
        assert caught.value.code == "policy_not_accepted"


def test_a_time_without_zone_is_a_mistake_of_the_caller() -> None:
    kit = kit_of("ec")
    with pytest.raises(ValueError, match="time zone"):
        kit.verify(timestamp_token(kit.info(), kit.tsa), at=dt.datetime(2026, 1, 1))  # noqa: DTZ001


# ---------------------------------------------------------------- revocation

SUPERSEDED, COMPROMISED = x509.ReasonFlags.superseded, x509.ReasonFlags.key_compromise


@pytest.mark.parametrize(
    ("mode", "expected"), [(OFF, RevocationState.UNKNOWN), (PREFER, RevocationState.UNKNOWN), (REQUIRE, None)]
)
def test_unknown_revocation_is_the_operators_to_accept(mode: RevocationMode, expected: RevocationState | None) -> None:
    kit = kit_of("ec")
    token = timestamp_token(kit.info(), kit.tsa)
    if expected is None:
        with pytest.raises(RevocationUnknown):
            kit.verify(token, TimestampRules(mode))
    else:
        assert kit.verify(token, TimestampRules(mode)).revocation.status is expected


def test_a_stamper_that_is_good_is_good() -> None:
    kit = kit_of("ec")
    token = timestamp_token(kit.info(), kit.tsa)
    assert kit.verify(token, TimestampRules(REQUIRE), crls=[crl_der(kit.root)]).revocation.source == "crl"
    fetched = RevocationEvidence((FetchedCrl(parsed_crl(crl_der(kit.root)), URL, NOW),))
    assert kit.verify(token, TimestampRules(REQUIRE), evidence=fetched).revocation.source == "crl"


@pytest.mark.parametrize(
    ("reason", "gen_time", "stays"),
    [
        (SUPERSEDED, NOW - 3 * DAY, True),  # the list says: revoked two days ago
        (SUPERSEDED, NOW - DAY, False),
        (x509.ReasonFlags.cessation_of_operation, NOW - 3 * DAY, True),
        (COMPROMISED, NOW - 3 * DAY, False),
        (None, NOW - 3 * DAY, False),
        (x509.ReasonFlags.certificate_hold, NOW - 3 * DAY, False),
    ],
)
def test_a_revocation_reaches_back_unless_its_reason_says_otherwise(
    reason: x509.ReasonFlags | None, gen_time: dt.datetime, stays: bool
) -> None:
    kit = kit_of("ec")
    token = timestamp_token(kit.info(gen_time=gen_time), kit.tsa)
    crls = [crl_der(kit.root, entry(kit.tsa.parsed.serial, reason))]
    if stays:
        stamp = kit.verify(token, TimestampRules(REQUIRE), crls=crls)
        assert stamp.revocation.status is RevocationState.REVOKED  # shown as it is
        return
    with pytest.raises(TrustRefused) as caught:
        kit.verify(token, TimestampRules(PREFER), crls=crls)
    assert caught.value.code == "revoked"


# ---------------------------------------------------------------- asking


def reply(status: int, token: bytes = b"") -> bytes:
    return sequence(sequence(integer(status)), token)


class Stamper:
    """A Fetcher that stamps whatever is asked."""

    def __init__(self, kit: Kit, **changes: Any) -> None:
        self.kit, self.changes, self.status = kit, changes, 0

    def get(self, url: str, *, deadline_s: float, max_bytes: int) -> bytes:
        raise AssertionError("stamps are not fetched with GET")

    def post(self, url: str, content: bytes, *, content_type: str, deadline_s: float, max_bytes: int) -> bytes:
        assert (url, content_type, deadline_s) == (URL, "application/timestamp-query", 3.0)
        asked = tsp.TimeStampReq.load(content)
        assert asked["cert_req"].native is True
        imprint = asked["message_imprint"]
        info = tst_info(
            imprint["hash_algorithm"]["algorithm"].dotted,
            imprint["hashed_message"].native,
            **{"nonce": asked["nonce"].native, **self.changes},
        )
        return reply(self.status, timestamp_token(info, self.kit.tsa))


@families
def test_a_stamp_is_asked_for_and_verified(family: str) -> None:
    kit = kit_of(family)
    material = sort_out([kit.root.parsed])

    def ask(stamper_: Stamper, **changes: Any) -> TimeStamp:
        settings: dict[str, Any] = {"rules": TimestampRules(OFF), "at": NOW, "deadline_s": 3.0, **changes}
        return request_timestamp(kit.imprint, fetcher=stamper_, url=URL, material=material, **settings)

    stamp = ask(Stamper(kit), policy=POLICY)
    assert stamp.gen_time == NOW - MINUTE
    assert kit.verify(stamp.token, nonce=None).serial == 7
    for changes, code in (({"nonce": 5}, "nonce_mismatch"), ({"policy": "1.2.3"}, "policy_not_accepted")):
        with pytest.raises(TrustRefused) as caught:
            ask(Stamper(kit, **changes), policy=POLICY)
        assert caught.value.code == code


def test_a_stamper_that_is_not_reached_is_told() -> None:
    class Nobody(Stamper):
        def post(self, *_: Any, **__: Any) -> bytes:
            raise FetchFailed("nobody there")

    kit = kit_of("ec")
    with pytest.raises(FetchFailed):
        request_timestamp(
            kit.imprint,
            fetcher=Nobody(kit),
            url=URL,
            material=sort_out([kit.root.parsed]),
            rules=TimestampRules(OFF),
            at=NOW,
        )


def test_another_library_reads_our_request_and_our_minted_token() -> None:
    imprint = Imprint.of(DATA)
    request = tsp.TimeStampReq.load(build_request(imprint, nonce=NONCE, policy=POLICY)).native
    assert request["message_imprint"]["hash_algorithm"]["algorithm"] == "sha256"
    assert request["message_imprint"]["hashed_message"] == hashlib.sha256(DATA).digest()
    assert (request["nonce"], request["req_policy"], request["cert_req"]) == (NONCE, POLICY, True)
    bare = tsp.TimeStampReq.load(build_request(imprint, nonce=None)).native
    assert (bare["nonce"], bare["req_policy"]) == (None, None)
    kit = kit_of("rsa")
    content = cms.ContentInfo.load(timestamp_token(kit.info(), kit.tsa))["content"]
    assert content["encap_content_info"]["content"].parsed["serial_number"].native == 7
    assert len(content["signer_infos"][0]["signed_attrs"]) == 3


def test_a_stamper_that_gives_none_is_told() -> None:
    kit = kit_of("ec")
    token = timestamp_token(kit.info(), kit.tsa)
    assert read_reply(reply(0, token)) == token
    assert read_reply(reply(1, token)) == token
    text = sequence(integer(2), sequence(der(0x0C, b"no")), bits(b"\x80"))
    for bad in (reply(2), reply(2, token), reply(0), sequence(text)):
        with pytest.raises(TrustRefused) as caught:
            read_reply(bad)
        assert caught.value.code == "timestamp_rejected"


@pytest.mark.parametrize("data", [b"", b"<html>", bytes(MAX_TOKEN_BYTES + 1), sequence(NULL)])
def test_a_reply_that_is_none_is_told(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_reply(data)
    assert caught.value.code == "bad_timestamp"


@settings(max_examples=150)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_byte_changed_anywhere_never_changes_what_a_good_stamp_says(place: int, mask: int) -> None:
    kit = kit_of("ec")
    token = bytearray(one_token())
    token[place % len(token)] ^= mask
    try:
        stamp = kit.verify(bytes(token))
    except GatewayError:
        return
    assert (stamp.gen_time, stamp.serial, stamp.policy) == (NOW - MINUTE, 7, POLICY)


@cache
def one_token() -> bytes:
    kit = kit_of("ec")
    return timestamp_token(kit.info(), kit.tsa)
