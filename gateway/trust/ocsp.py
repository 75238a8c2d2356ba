"""OCSP (RFC 6960, RFC 9654): the question about one certificate, and what an answer is worth.

An answer is judged by a pure function of its bytes, the certificate, its issuer, the trust material and a time; it
can be judged again years later. Own ASN.1 types, because the libraries at hand either know no national algorithm or
stumble over what national responders send (PKI.md sections 3 and 6).

Steps, as numbered in the code:
 1 a response in DER, within bounds, and a successful one
 2 nothing critical in it that is not understood
 3 it speaks about this certificate, once
 4 it repeats our nonce, where we sent one
 5 its times: not from the future, signed after the moment it speaks about, fresh
 6 it is signed by the issuer or by a responder that this issuer appointed (id-kp-OCSPSigning), whose own path,
   dates and revocation hold
What fails any step says nothing: the status is unknown, with the reason. One exception: a stale answer that revokes for
any reason but a hold stays true (RFC 5280, 5.3.1); its signer is judged at the time when it was produced.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from asn1crypto import core

from gateway.errors import MalformedMessage, TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import ASN1_ERRORS, AlgorithmIdentifier, Extensions, Name, read_time
from gateway.signing.der import elements, first
from gateway.signing.distinguished_names import NameKey, key_of_name
from gateway.signing.extensions import read_extensions
from gateway.trust.certificate_signatures import SignedObject
from gateway.trust.crl import reason_name
from gateway.trust.crl_status import HOLD, Boundaries, status_by_lists, unknown
from gateway.trust.digests import DIGESTS, SHA_1, SHA_256, sha1_name
from gateway.trust.evidence import FetchedCrl, OcspAnswer
from gateway.trust.path import build_path
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import (
    REVOCATION_STEP,
    CertificationPath,
    DecidingEvidence,
    RevocationRules,
    RevocationState,
    RevocationStatus,
)

#: a national answer with its responder's certificate has about 3 KB
MAX_ANSWER_BYTES: Final = 65_536
#: statements and certificates in one answer that are read
MAX_STATEMENTS: Final = 16
MAX_CERTIFICATES: Final = 8
#: RFC 9654, 2.1: what a client sends
NONCE_BYTES: Final = 32

REQUEST_CONTENT_TYPE: Final = "application/ocsp-request"

OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
OCSP_NO_CHECK: Final = "1.3.6.1.5.5.7.48.1.5"
NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
BASIC_RESPONSE: Final = "1.3.6.1.5.5.7.48.1.1"

_RESPONSE_STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        # RFC 6960, 4.2.1
        1: "malformedRequest: it did not understand our question",
        2: "internalError: it failed",
        3: "tryLater: ask again",
        5: "sigRequired: it answers signed questions only",
        6: "unauthorized: it does not answer us, or not about this certificate",
    }
)

# ---------------------------------------------------------------- ASN.1 (RFC 6960, appendix B.1), OIDs left open


class CertId(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012  (asn1crypto reads a list from the class)
        ("hash_algorithm", AlgorithmIdentifier),
        ("issuer_name_hash", core.OctetString),
        ("issuer_key_hash", core.OctetString),
        ("serial_number", core.Integer),
    ]


class _Request(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("req_cert", CertId),
        ("single_request_extensions", Extensions, {"explicit": 0, "optional": True}),
    ]


class _Requests(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Request


# requests are written and never read here: what we do not write (requestorName, signature) has no field
class _TbsRequest(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer, {"explicit": 0, "default": 0}),
        ("request_list", _Requests),
        ("request_extensions", Extensions, {"explicit": 2, "optional": True}),
    ]


class _OcspRequest(core.Sequence):  # type: ignore[misc]
    _fields = [("tbs_request", _TbsRequest)]  # noqa: RUF012


class _ResponseBytes(core.Sequence):  # type: ignore[misc]
    _fields = [("response_type", core.ObjectIdentifier), ("response", core.OctetString)]  # noqa: RUF012


class _OcspResponse(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("response_status", core.Enumerated),
        ("response_bytes", _ResponseBytes, {"explicit": 0, "optional": True}),
    ]


class _RevokedInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("revocation_time", core.GeneralizedTime),
        ("revocation_reason", core.Enumerated, {"explicit": 0, "optional": True}),
    ]


class _CertStatus(core.Choice):  # type: ignore[misc]
    _alternatives = [  # noqa: RUF012
        ("good", core.Null, {"implicit": 0}),
        ("revoked", _RevokedInfo, {"implicit": 1}),
        ("unknown", core.Null, {"implicit": 2}),
    ]


class _SingleResponse(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("cert_id", CertId),
        ("cert_status", _CertStatus),
        ("this_update", core.GeneralizedTime),
        ("next_update", core.GeneralizedTime, {"explicit": 0, "optional": True}),
        ("single_extensions", Extensions, {"explicit": 1, "optional": True}),
    ]


class _SingleResponses(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _SingleResponse


class _ResponderId(core.Choice):  # type: ignore[misc]
    _alternatives = [  # noqa: RUF012
        ("by_name", Name, {"explicit": 1}),
        ("by_key", core.OctetString, {"explicit": 2}),
    ]


class _ResponseData(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer, {"explicit": 0, "default": 0}),
        ("responder_id", _ResponderId),
        ("produced_at", core.GeneralizedTime),
        ("responses", _SingleResponses),
        ("response_extensions", Extensions, {"explicit": 1, "optional": True}),
    ]


class _Certificates(core.Sequence):  # type: ignore[misc]
    """Opened by hand."""


class _BasicResponse(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("tbs_response_data", _ResponseData),
        ("signature_algorithm", AlgorithmIdentifier),
        ("signature", core.OctetBitString),
        ("certs", _Certificates, {"explicit": 0, "optional": True}),
    ]


class _KeyInfo(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", core.Any), ("public_key", core.OctetBitString)]  # noqa: RUF012


# ---------------------------------------------------------------- the question


def build_request(certificate: Certificate, issuer: Certificate, *, nonce: bytes | None) -> bytes:
    """A question about one certificate, DER, not signed: certID by SHA-256 and, where given, a nonce (RFC 9654)."""
    identifier = CertId(
        {
            "hash_algorithm": {"algorithm": SHA_256},
            "issuer_name_hash": hashlib.sha256(certificate.issuer_der).digest(),
            "issuer_key_hash": hashlib.sha256(key_bits(issuer)).digest(),
            "serial_number": certificate.serial,
        }
    )
    tbs: dict[str, Any] = {"request_list": [{"req_cert": identifier}]}
    if nonce is not None:
        tbs["request_extensions"] = [{"extn_id": NONCE, "extn_value": core.OctetString(nonce).dump()}]
    return bytes(_OcspRequest({"tbs_request": tbs}).dump())


def key_bits(certificate: Certificate) -> bytes:
    """Content of the subjectPublicKey BIT STRING, which issuerKeyHash and a responder's key name are made of."""
    return bytes(_KeyInfo.load(certificate.spki_der, strict=True)["public_key"].native)


# ---------------------------------------------------------------- what an answer says


_NEVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SingleResponse."""

    hash_oid: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    #: what the responder says; nothing of it is believed yet
    state: RevocationState
    reason: str
    revoked_at: dt.datetime | None
    this_update: dt.datetime
    next_update: dt.datetime | None

    def is_about(self, certificate: Certificate, issuer: Certificate) -> bool:
        if self.serial != certificate.serial:
            return False
        # SHA-1 may name the issuer here (RFC 5019, 2.1.1): whose word counts is proven by the signature
        digest = sha1_name if self.hash_oid == SHA_1 else DIGESTS.get(self.hash_oid)
        return digest is not None and (
            # the name as this certificate writes it or as the issuer does: they may order it differently
            self.issuer_name_hash in (digest(certificate.issuer_der), digest(issuer.subject_der))
            and self.issuer_key_hash == digest(key_bits(issuer))
        )


@dataclass(frozen=True, slots=True, eq=False)
class OcspResponse:
    """A parsed answer; nothing in it is verified. `problem` says why none of it may be used, "" when it may."""

    problem: str
    statements: tuple[Statement, ...] = ()
    produced_at: dt.datetime = _NEVER
    #: content of the nonce extension, as it stands
    nonce: bytes | None = None
    responder_name: NameKey | None = None
    #: SHA-1 of the responder's key bits
    responder_key: bytes | None = None
    certificates: tuple[Certificate, ...] = ()
    signature_oid: str = ""
    tbs: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)


def read_response(der: bytes) -> OcspResponse:
    """Parse an answer. Raises MalformedMessage (`bad_ocsp_response`)."""
    if len(der) > MAX_ANSWER_BYTES:
        raise _malformed(f"it has {len(der)} bytes, at most {MAX_ANSWER_BYTES} are read")
    return _parse(der)


def _malformed(why: str) -> MalformedMessage:
    return MalformedMessage(f"an OCSP answer cannot be read: {why}", code="bad_ocsp_response")


@lru_cache(maxsize=256)
def _parse(der: bytes) -> OcspResponse:
    try:
        return _read(der)
    except (*ASN1_ERRORS, MalformedMessage):
        raise _malformed("it is not RFC 6960 in DER") from None


def _read(der: bytes) -> OcspResponse:
    outer = _OcspResponse.load(der, strict=True)
    status = int.from_bytes(outer["response_status"].contents, "big")
    if status:
        return OcspResponse(_RESPONSE_STATUSES.get(status, f"it has the status {status}, which is not known"))
    inner = outer["response_bytes"]
    if inner["response_type"].dotted != BASIC_RESPONSE:
        return OcspResponse("it is of a type that is not known")
    raw_basic = inner["response"].native
    basic = _BasicResponse.load(raw_basic, strict=True)
    tbs = basic["tbs_response_data"]
    responses = tbs["responses"]
    raw_data, _, _, *enclosed = elements(raw_basic)
    raw_certificates = elements(first(enclosed[0])) if enclosed else ()
    extensions = _extensions(tbs["response_extensions"])
    problem = _critical_problem(extensions, understood=frozenset({NONCE}))
    if len(responses) > MAX_STATEMENTS or len(raw_certificates) > MAX_CERTIFICATES:
        raise ValueError("more than anybody needs")
    statements = []
    for response in responses:
        problem = problem or _critical_problem(_extensions(response["single_extensions"]), understood=frozenset())
        statements.append(_statement(response))
    nonce = extensions.get(NONCE)
    responder = tbs["responder_id"]
    return OcspResponse(
        problem,
        statements=tuple(statements),
        produced_at=read_time(tbs["produced_at"]),
        nonce=None if nonce is None else nonce.value,
        responder_name=key_of_name(responder.chosen) if responder.name == "by_name" else None,
        responder_key=responder.chosen.native if responder.name == "by_key" else None,
        certificates=tuple(Certificate.from_der(raw) for raw in raw_certificates),
        signature_oid=basic["signature_algorithm"]["algorithm"].dotted,
        tbs=raw_data,
        signature=basic["signature"].native,
    )


def _extensions(extensions: Any) -> dict[str, Any]:
    return {} if isinstance(extensions, core.Void) else dict(read_extensions(extensions))


def _critical_problem(extensions: Mapping[str, Any], *, understood: frozenset[str]) -> str:
    for oid, extension in extensions.items():
        if extension.critical and oid not in understood:
            return f"it has the critical extension {oid}, which is not understood"
    return ""


def _statement(response: Any) -> Statement:
    identifier, status, next_update = response["cert_id"], response["cert_status"], response["next_update"]
    reason, revoked_at = "", None
    if status.name == "revoked":
        raw_reason = status.chosen["revocation_reason"]
        reason = reason_name(0 if isinstance(raw_reason, core.Void) else int.from_bytes(raw_reason.contents, "big"))
        revoked_at = read_time(status.chosen["revocation_time"])
    return Statement(
        hash_oid=identifier["hash_algorithm"]["algorithm"].dotted,
        issuer_name_hash=identifier["issuer_name_hash"].native,
        issuer_key_hash=identifier["issuer_key_hash"].native,
        serial=identifier["serial_number"].native,
        state=RevocationState(status.name),
        reason=reason,
        revoked_at=revoked_at,
        this_update=read_time(response["this_update"]),
        next_update=None if isinstance(next_update, core.Void) else read_time(next_update),
    )


# ---------------------------------------------------------------- what it is worth


class _UnusableError(Exception):
    """Why the answer says nothing. Does not leave this module."""


def check_answer(
    answer: OcspAnswer,
    certificate: Certificate,
    issuer: Certificate,
    material: TrustMaterial,
    *,
    at: dt.datetime,
    boundaries: Boundaries | None = None,
    fetched: tuple[FetchedCrl, ...] = (),
) -> RevocationStatus:
    """What `answer` says at `at` about `certificate`, whose issuer is already established. Raises nothing.

    good and revoked come with source "ocsp"; so does the responder's own signed "unknown". An answer that fails a
    step is source "none". A stale revocation has `holds_before` ≤ `at`. "Revoked" with the reason certificateHold is
    as revoked as the rest, also for a certificate that was never issued (PKI.md section 3). `fetched` are lists by
    which a responder's own revocation may be judged. The moments at which the answer begins and ends are noted in
    `boundaries`.
    """
    boundaries = boundaries if boundaries is not None else Boundaries(at)
    rules = material.rules
    try:
        response = read_response(answer.der)  # 1
        _require(response.problem)  # 1, 2
        statement = _statement_about(response, certificate, issuer)  # 3
        _check_nonce(response, answer.nonce, rules)  # 4
        begin, end = _check_times(response, statement, at, rules, boundaries)  # 5
        is_stale = at >= end
        signed_at = response.produced_at if is_stale else at
        responder = _check_signer(response, answer.sha256, issuer, material, signed_at, fetched)  # 6
    except (_UnusableError, MalformedMessage) as error:
        return unknown(f"the OCSP answer of {answer.source} is not used: {error}")
    if responder is not None and not is_stale:
        begin, end = max(begin, responder.valid_from), min(end, responder.valid_until)
        boundaries.note(begin, end)
    said = statement.state.value
    if statement.revoked_at is not None:
        said = f"{said}, {statement.reason}, {statement.revoked_at.isoformat()}"
    if is_stale:
        said = f"{said} (the answer is stale, a revocation is not)"
    return RevocationStatus(
        statement.state,
        source="ocsp",
        as_of=statement.this_update,
        detail=f"the responder at {answer.source} says of {certificate.label}: {said}",
        holds_from=begin,
        holds_before=end,
        reason=statement.reason,
        revoked_at=statement.revoked_at,
        evidence=(DecidingEvidence("ocsp", answer.sha256, statement.this_update, answer.source, answer.der),),
    )


def _require(problem: str) -> None:
    if problem:
        raise _UnusableError(problem)


def _statement_about(response: OcspResponse, certificate: Certificate, issuer: Certificate) -> Statement:
    found = [s for s in response.statements if s.is_about(certificate, issuer)]
    if len(found) != 1:
        raise _UnusableError(
            "it is about another certificate" if not found else "it speaks twice about the certificate"
        )
    return found[0]


def _check_nonce(response: OcspResponse, sent: bytes | None, rules: RevocationRules) -> None:
    if sent is None:
        return
    if response.nonce is None:
        if rules.require_ocsp_nonce:
            raise _UnusableError("it does not repeat our nonce, so it may be an old one (rule require_ocsp_nonce)")
    elif response.nonce not in (core.OctetString(sent).dump(), sent):  # some repeat the bare bytes
        raise _UnusableError("it has another nonce than ours: it is not the answer to our question")


def _check_times(
    response: OcspResponse, statement: Statement, at: dt.datetime, rules: RevocationRules, boundaries: Boundaries
) -> tuple[dt.datetime, dt.datetime]:
    """(from when, until before when) the statement holds."""
    skew = dt.timedelta(seconds=rules.max_clock_skew_s)
    try:
        begin = max(statement.this_update, response.produced_at) - skew
        end = statement.next_update
        if end is None:
            end = statement.this_update + dt.timedelta(seconds=rules.max_ocsp_age_s)
    except OverflowError:
        raise _UnusableError("its times are beyond the calendar") from None
    if response.produced_at < statement.this_update - skew:
        raise _UnusableError("it was signed before the moment that it speaks about")
    boundaries.note(begin, end)
    if at < begin:
        raise _UnusableError(f"it is from the future, {response.produced_at.isoformat()}: check the clocks")
    is_for_good = statement.state is RevocationState.REVOKED and statement.reason != HOLD
    if at >= end and not is_for_good:
        raise _UnusableError(f"it is stale since {end.isoformat()}; ask again")
    return begin, end


def _check_signer(
    response: OcspResponse,
    sha256: str,
    issuer: Certificate,
    material: TrustMaterial,
    at: dt.datetime,
    fetched: tuple[FetchedCrl, ...],
) -> CertificationPath | None:
    """The path of the delegated responder; None when the issuer itself signed. Raises _UnusableError."""
    signed = SignedObject("answer", response.tbs, response.signature, response.signature_oid, response.signature_oid)
    named = (*response.certificates, *material.peers_named(response.responder_name))
    candidates = [c for c in dict.fromkeys((issuer, *named)) if _is_responder(response, c)]
    if not candidates:
        raise _UnusableError("the certificate of its responder is neither in it nor in the trust directory")
    reason = ""
    for candidate in candidates:
        try:
            path = None if _same_authority(candidate, issuer) else _responder_path(candidate, issuer, material, at)
            material.check_signed_by(signed, sha256, candidate, step=REVOCATION_STEP)
            if path is not None:
                _check_responder_revocation(candidate, issuer, material, at, fetched)
        except TrustRefused as error:
            reason = reason or error.message
        except _UnusableError as error:
            reason = reason or str(error)
        else:
            return path
    raise _UnusableError(reason)


def _is_responder(response: OcspResponse, certificate: Certificate) -> bool:
    if response.responder_name is not None:
        return certificate.subject_key == response.responder_name
    try:
        return sha1_name(key_bits(certificate)) == response.responder_key
    except ASN1_ERRORS:  # of a certificate in the answer that is not ours to judge
        return False


def _same_authority(candidate: Certificate, issuer: Certificate) -> bool:
    return candidate.spki_der == issuer.spki_der and candidate.subject_key == issuer.subject_key


def _responder_path(
    responder: Certificate, issuer: Certificate, material: TrustMaterial, at: dt.datetime
) -> CertificationPath:
    """RFC 6960, 4.2.2.2: appointed by the very authority whose certificate is in question.

    Raises TrustRefused, _UnusableError.
    """
    label = responder.label
    if OCSP_SIGNING not in responder.extended_key_usage:
        raise _UnusableError(f"{label} signed it and was not appointed to (its extended key usage lacks OCSP signing)")
    if responder.issuer_key != issuer.subject_key:
        raise _UnusableError(f"{label} signed it and answers for another authority")
    if responder.key_usage is not None and not responder.key_usage & {"digitalSignature", "nonRepudiation"}:
        raise _UnusableError(f"the key of {label} is not meant to sign")
    path = build_path(responder, material, at=at)
    if not _same_authority(path.certificates[1 % len(path.certificates)], issuer):
        raise _UnusableError(f"{label} signed it and was appointed by another authority of the same name")
    return path


def _check_responder_revocation(
    responder: Certificate,
    issuer: Certificate,
    material: TrustMaterial,
    at: dt.datetime,
    fetched: tuple[FetchedCrl, ...],
) -> None:
    # RFC 6960, 4.2.2.2.1. Old national responders carry the mark with an empty value; that it is there counts
    status = status_by_lists(responder, issuer, material, boundaries=Boundaries(at), fetched=fetched)
    if status.status is RevocationState.REVOKED:
        raise _UnusableError(f"its responder is revoked: {status.detail}")
    unchecked = status.status is RevocationState.UNKNOWN and OCSP_NO_CHECK not in responder.extensions
    if unchecked and not material.rules.trust_unchecked_responder:
        raise _UnusableError(
            f"whether its responder {responder.label} is revoked is not known (it has no ocsp-nocheck mark; rule"
            f" trust_unchecked_responder): {status.detail}"
        )
