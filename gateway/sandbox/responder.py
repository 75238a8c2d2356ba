"""An OCSP responder's answer, made by hand for both key families, right or wrong on order (RFC 6960; PKI.md section 3).

The quirks are the national authority's: no nextUpdate, the responder named by its subject, and a certificate that was
never issued is answered "revoked, on hold, since 1970" (extended revoke, RFC 6960, 2.2 and 4.4.8).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asn1crypto import core, ocsp

from gateway.sandbox.authority_orders import AuthorityMisbehaviour
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import ASN1_ERRORS
from gateway.signing.gost.streebog import streebog512
from gateway.trust.throwaway import der
from gateway.trust.throwaway.certificates import Entry, encode_extensions
from gateway.trust.throwaway.keys import MintedKey, public_key_bits

_BASIC_RESPONSE: Final = "1.3.6.1.5.5.7.48.1.1"
_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
_EXTENDED_REVOKE: Final = "1.3.6.1.5.5.7.48.1.9"
_HOLD: Final = 6
_KEY_COMPROMISE: Final = 1
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: how far a stale answer lies back, and one from the future ahead
_FAR: Final = dt.timedelta(days=10)
_MOVED: Final = {AuthorityMisbehaviour.STALE: -_FAR, AuthorityMisbehaviour.FROM_FUTURE: _FAR}
#: CertStatus ::= CHOICE { good [0] NULL, revoked [1], unknown [2] NULL }
_GOOD, _UNKNOWN = 0x80, 0x82
MAX_QUESTIONS: Final = 100

_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    # what a certID may be made with
    "1.3.14.3.2.26": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "2.16.840.1.101.3.4.2.1": lambda data: hashlib.sha256(data).digest(),
    "2.16.840.1.101.3.4.2.2": lambda data: hashlib.sha384(data).digest(),
    "2.16.840.1.101.3.4.2.3": lambda data: hashlib.sha512(data).digest(),
    "1.2.398.3.10.1.3.3": streebog512,
}


class ResponseStatus(IntEnum):
    """RFC 6960, 4.2.1."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    TRY_LATER = 3
    UNAUTHORIZED = 6


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A certificate and its key that answer in an authority's name."""

    certificate: Certificate
    key: MintedKey


@dataclass(frozen=True, slots=True, eq=False)
class Responder:
    """Answers for what one authority has issued."""

    issuer: Certificate
    service: Service
    #: serial → None while in force
    issued: Mapping[int, Entry | None]
    #: signers with no right to answer: of another authority, and of this one for another purpose
    stranger: Service
    not_a_responder: Service


# ---------------------------------------------------------------- one question, one answer


@dataclass(frozen=True, slots=True)
class _Question:
    cert_id_der: bytes
    serial: int
    matches: Callable[[Certificate], bool]


def answer(
    data: bytes, responders: Sequence[Responder], *, now: dt.datetime, wrong: AuthorityMisbehaviour | None = None
) -> bytes:
    """DER of the OCSPResponse to an OCSPRequest. Raises nothing for what came from outside."""
    kinds = AuthorityMisbehaviour
    if wrong is kinds.TRY_LATER:
        return _refusal(ResponseStatus.TRY_LATER)
    if wrong is kinds.MALFORMED:
        return b"\x30\x03\x0a\x01"
    try:
        questions, nonce = _read(data)
    except ASN1_ERRORS:
        return _refusal(ResponseStatus.MALFORMED_REQUEST)
    responder = next((r for r in responders if all(question.matches(r.issuer) for question in questions)), None)
    if responder is None or not questions:
        return _refusal(ResponseStatus.UNAUTHORIZED)
    this_update = now + _MOVED.get(wrong, dt.timedelta()) if wrong else now
    singles = [_single(question, responder, this_update, wrong) for question in questions]
    service = responder.service
    if wrong is kinds.STRANGER_SIGNER:
        service = responder.stranger
    elif wrong is kinds.NOT_AUTHORISED:
        service = responder.not_a_responder
    response_data = der.sequence(
        der.explicit(1, service.certificate.subject_der),
        der.generalized_time(this_update),
        der.sequence(*singles),
        der.explicit(1, _extensions(nonce, wrong)),
    )
    signature = b"" if wrong is kinds.UNSIGNED else service.key.sign(response_data)
    if wrong is kinds.WRONG_SIGNATURE:
        signature = service.key.sign(response_data + b"\x00")
    basic = der.sequence(
        response_data,
        service.key.signature_algorithm.dump(),
        der.bits(signature),
        der.explicit(0, der.sequence(service.certificate.der)),
    )
    return der.sequence(
        der.enumerated(ResponseStatus.SUCCESSFUL),
        der.explicit(0, der.sequence(der.oid(_BASIC_RESPONSE), der.octets(basic))),
    )


def _read(data: bytes) -> tuple[list[_Question], bytes | None]:
    """Questions and the encoded value of the nonce extension. Raises what asn1crypto raises."""
    request = ocsp.OCSPRequest.load(data, strict=True)["tbs_request"]
    questions = []
    for one in request["request_list"]:
        cert_id = one["req_cert"]
        digest = _DIGESTS.get(cert_id["hash_algorithm"]["algorithm"].dotted)
        names, keys = cert_id["issuer_name_hash"].native, cert_id["issuer_key_hash"].native

        def matches(
            issuer: Certificate,
            digest: Callable[[bytes], bytes] | None = digest,
            expected: tuple[bytes, bytes] = (names, keys),
        ) -> bool:
            return digest is not None and expected == (
                digest(issuer.subject_der),
                digest(public_key_bits(issuer.spki_der)),
            )

        questions.append(_Question(der.sequence(cert_id.contents), cert_id["serial_number"].native, matches))
        if len(questions) > MAX_QUESTIONS:
            raise ValueError("too many questions")
    nonce = None
    for extension in request["request_extensions"] if request["request_extensions"].native is not None else ():
        if extension["extn_id"].dotted == _NONCE:
            nonce = extension["extn_value"].contents
    return questions, nonce


def _single(
    question: _Question, responder: Responder, this_update: dt.datetime, wrong: AuthorityMisbehaviour | None
) -> bytes:
    kinds = AuthorityMisbehaviour
    cert_id = question.cert_id_der
    if wrong is kinds.OTHER_SERIAL:
        other = ocsp.CertId.load(cert_id)
        _ = other.native
        other["serial_number"] = question.serial + 1
        cert_id = other.dump(force=True)
    if wrong is kinds.STATUS_UNKNOWN:
        status = der.element(_UNKNOWN)
    elif wrong is kinds.STATUS_REVOKED:
        status = _revoked(Entry(this_update - dt.timedelta(hours=1), _KEY_COMPROMISE))
    elif question.serial not in responder.issued:
        status = _revoked(Entry(_EPOCH, _HOLD))
    elif (entry := responder.issued[question.serial]) is not None:
        status = _revoked(entry)
    else:
        status = der.element(_GOOD)
    return der.sequence(cert_id, status, der.generalized_time(this_update))


def _revoked(entry: Entry) -> bytes:
    return der.explicit(1, der.generalized_time(entry.revoked_at), der.explicit(0, der.enumerated(entry.reason)))


def _extensions(nonce: bytes | None, wrong: AuthorityMisbehaviour | None) -> bytes:
    kinds = AuthorityMisbehaviour
    found = [(_EXTENDED_REVOKE, False, core.Null().dump())]
    if wrong is kinds.WRONG_NONCE:
        found.append((_NONCE, False, core.OctetString(hashlib.sha256(nonce or b"").digest()).dump()))
    elif nonce is not None and wrong is not kinds.NO_NONCE:
        found.append((_NONCE, False, nonce))
    return encode_extensions(found)


def _refusal(status: ResponseStatus) -> bytes:
    return der.sequence(der.enumerated(status))
