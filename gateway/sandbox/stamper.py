"""A time stamping authority's answer, for both key families, right or wrong on order (RFC 3161, RFC 5816)."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto import cms, core, tsp

from gateway.sandbox.authority_orders import AuthorityMisbehaviour
from gateway.sandbox.responder import Service
from gateway.signing.certificate_asn1 import ASN1_ERRORS
from gateway.trust.throwaway import der
from gateway.trust.throwaway.keys import Family
from gateway.trust.throwaway.profile import TSA_POLICIES

_STREEBOG_512: Final = "1.2.398.3.10.1.3.3"
#: digest → bytes: what a stamp may be asked for; SHA-1 is refused by name
_IMPRINTS: Final[Mapping[str, int]] = {
    "2.16.840.1.101.3.4.2.1": 32,
    "2.16.840.1.101.3.4.2.2": 48,
    "2.16.840.1.101.3.4.2.3": 64,
    _STREEBOG_512: 64,
}
_FAR: Final = dt.timedelta(days=10)
#: bits of PKIFailureInfo (RFC 3161, 2.4.2)
_BAD_ALGORITHM, _BAD_DATA_FORMAT, _UNACCEPTED_POLICY, _SYSTEM_FAILURE = 0, 5, 15, 25
_GRANTED, _REJECTION = 0, 2
#: RFC 5652, 5.1 and 5.3
_SIGNED_DATA_VERSION, _SIGNER_VERSION = 3, 1
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"


@dataclass(frozen=True, slots=True, eq=False)
class Stamper:
    """Stamps in the name of one hierarchy."""

    family: Family
    service: Service
    stranger: Service
    not_a_stamper: Service


@dataclass(frozen=True, slots=True)
class _Wish:
    imprint: Any
    digest_oid: str
    policy: str | None
    nonce: int | None
    wants_certificate: bool


def stamp(
    data: bytes,
    stampers: Mapping[Family, Stamper],
    *,
    now: dt.datetime,
    wrong: AuthorityMisbehaviour | None = None,
) -> bytes:
    """DER of the TimeStampResp to a TimeStampReq. Raises nothing for what came from outside.

    The family is that of the policy asked for, else of the imprint's digest.
    """
    kinds = AuthorityMisbehaviour
    if wrong is kinds.MALFORMED:
        return b"\x30\x03\x02\x01"
    if wrong is kinds.TRY_LATER:
        return _rejection(_SYSTEM_FAILURE)
    try:
        wish = _read(data)
    except ASN1_ERRORS:
        return _rejection(_BAD_DATA_FORMAT)
    if wish is None:
        return _rejection(_BAD_ALGORITHM)
    by_policy = {policy: family for family, policy in TSA_POLICIES.items()}
    if wish.policy is not None and wish.policy not in by_policy:
        return _rejection(_UNACCEPTED_POLICY)
    family = by_policy[wish.policy] if wish.policy else _family_of(wish.digest_oid)
    stamper = stampers.get(family)
    if stamper is None:
        return _rejection(_UNACCEPTED_POLICY if wish.policy else _BAD_ALGORITHM)
    moved = {kinds.STALE: -_FAR, kinds.FROM_FUTURE: _FAR}
    at = (now + moved[wrong] if wrong in moved else now).astimezone(dt.UTC).replace(microsecond=0)
    service = stamper.service
    if wrong is kinds.STRANGER_SIGNER:
        service = stamper.stranger
    elif wrong is kinds.NOT_AUTHORISED:
        service = stamper.not_a_stamper
    info = _info(wish, TSA_POLICIES[family], at, wrong)
    token = _token(info, service, at, with_certificate=wish.wants_certificate, wrong=wrong)
    return der.sequence(der.sequence(core.Integer(_GRANTED).dump()), token)


def _read(data: bytes) -> _Wish | None:
    """None for a digest that is not stamped. Raises what asn1crypto raises."""
    request = tsp.TimeStampReq.load(data, strict=True)
    imprint = request["message_imprint"]
    oid = imprint["hash_algorithm"]["algorithm"].dotted
    size = len(imprint["hashed_message"].native)
    policy, nonce = request["req_policy"], request["nonce"]
    if oid not in _IMPRINTS:
        return None
    if size != _IMPRINTS[oid]:
        raise ValueError("an imprint of another length")
    return _Wish(
        imprint,
        oid,
        None if isinstance(policy, core.Void) else policy.dotted,
        None if isinstance(nonce, core.Void) else nonce.native,
        bool(request["cert_req"].native),
    )


def _family_of(digest_oid: str) -> Family:
    return Family.GOST if digest_oid == _STREEBOG_512 else Family.RSA


def _info(wish: _Wish, policy: str, at: dt.datetime, wrong: AuthorityMisbehaviour | None) -> bytes:
    kinds = AuthorityMisbehaviour
    imprint = wish.imprint
    if wrong is kinds.OTHER_IMPRINT:
        size = _IMPRINTS[wish.digest_oid]
        imprint = {
            "hash_algorithm": {"algorithm": wish.digest_oid},
            "hashed_message": hashlib.shake_256(wish.imprint.dump()).digest(size),
        }
    nonce = wish.nonce
    if wrong is kinds.WRONG_NONCE:
        nonce = (wish.nonce or 0) + 1
    elif wrong is kinds.NO_NONCE:
        nonce = None
    content: dict[str, Any] = {
        "version": "v1",
        "policy": policy,
        "message_imprint": imprint,
        "serial_number": secrets.randbits(64),
        "gen_time": core.GeneralizedTime(at),
        "accuracy": {"seconds": 1},
    }
    if nonce is not None:
        content["nonce"] = nonce
    return bytes(tsp.TSTInfo(content).dump())


def _token(
    info: bytes, service: Service, at: dt.datetime, *, with_certificate: bool, wrong: AuthorityMisbehaviour | None
) -> bytes:
    key, certificate = service.key, service.certificate
    attributes = cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["tst_info"]},
            {"type": "signing_time", "values": [cms.Time({"utc_time": core.UTCTime(at)})]},
            {"type": "message_digest", "values": [key.digest(info)]},
            # binds the stamp to this one certificate (RFC 5816)
            {
                "type": "signing_certificate_v2",
                "values": [tsp.SigningCertificateV2({"certs": [{"cert_hash": bytes.fromhex(certificate.sha256)}]})],
            },
        ]
    )
    signed = attributes.dump()
    if wrong is AuthorityMisbehaviour.WRONG_SIGNATURE:
        signed += b"\x00"
    digest_algorithm = _algorithm(key.digest_oid)
    signer = der.sequence(
        core.Integer(_SIGNER_VERSION).dump(),
        der.sequence(certificate.issuer_der, core.Integer(certificate.serial).dump()),
        digest_algorithm,
        b"\xa0" + attributes.dump()[1:],  # [0] IMPLICIT in place of SET OF
        _algorithm(key.signature_oid),
        der.octets(key.sign(signed)),
    )
    signers = () if wrong is AuthorityMisbehaviour.UNSIGNED else (signer,)
    data = der.sequence(
        core.Integer(_SIGNED_DATA_VERSION).dump(),
        der.element(der.SET, digest_algorithm),
        der.sequence(der.oid(_TST_INFO), der.explicit(0, der.octets(info))),
        *((der.explicit(0, certificate.der),) if with_certificate else ()),
        der.element(der.SET, *signers),
    )
    return der.sequence(der.oid(_SIGNED_DATA), der.explicit(0, data))


def _algorithm(oid: str) -> bytes:
    return der.sequence(der.oid(oid), core.Null().dump())


def _rejection(failure_bit: int) -> bytes:
    bits = tuple(int(place == failure_bit) for place in range(failure_bit + 1))
    status = der.sequence(core.Integer(_REJECTION).dump(), core.BitString(bits).dump())
    return der.sequence(status)
