"""RFC 3161 time stamps: who says that these bytes existed at which moment.

A token is CMS SignedData over a TSTInfo. Own ASN.1 types with open OIDs, since the national algorithms are in no
library's tables. A token is judged by a pure function, as often and as late as one likes.

Steps, as numbered in the code:
 1 structure: SignedData over one TSTInfo, one signer, within bounds
 2 the imprint is that of our bytes, the nonce is ours, the policy is one that we accept
 3 genTime is not from the future
 4 the stamper's certificate is the one that the signed attributes name (RFC 2634, RFC 5816)
 5 signature: content type, message digest, signature over the attributes
 6 the certificate is for time stamps and nothing else, marked critical (RFC 3161, 2.3)
 7 its path holds at genTime, and it was not revoked for a reason that reaches back to genTime
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from asn1crypto import core, x509

from gateway.errors import MalformedMessage, RevocationUnknown, TrustRefused
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import ASN1_ERRORS, AlgorithmIdentifier, Extensions, Name, read_time
from gateway.signing.der import elements, first
from gateway.signing.distinguished_names import NameKey, key_of_name
from gateway.signing.extensions import EXTENDED_KEY_USAGE, read_extensions
from gateway.trust.certificate_signatures import ALGORITHMS, SignedObject, check_signed_by
from gateway.trust.digests import DIGESTS, SHA_256, SHA_384, SHA_512, STREEBOG_512, sha1_name
from gateway.trust.evidence import NO_EVIDENCE, RevocationEvidence
from gateway.trust.fetching import Fetcher
from gateway.trust.path import build_path
from gateway.trust.revocation import check_path_revocation
from gateway.trust.store import TrustMaterial
from gateway.trust.verdict import CertificationPath, RevocationMode, RevocationState, RevocationStatus

TIMESTAMP_STEP: Final = "timestamp"
TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"
REQUEST_CONTENT_TYPE: Final = "application/timestamp-query"

#: a national token with its certificate has about 5 KB
MAX_TOKEN_BYTES: Final = 65_536
MAX_CERTIFICATES: Final = 8
MAX_ATTRIBUTES: Final = 32
NONCE_BYTES: Final = 8

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"

#: the first byte of what has [0] in SignedData and in SignerInfo: certificates, signed attributes
_TAG_0 = b"\xa0"

#: CMS may name only the key's algorithm, the digest standing beside it (RFC 3370, 3.2; RFC 5754, 3.2)
_BY_KEY_AND_DIGEST: Final = {
    ("1.2.840.113549.1.1.1", SHA_256): "1.2.840.113549.1.1.11",
    ("1.2.840.113549.1.1.1", SHA_384): "1.2.840.113549.1.1.12",
    ("1.2.840.113549.1.1.1", SHA_512): "1.2.840.113549.1.1.13",
    ("1.2.398.3.10.1.1.2.2", STREEBOG_512): "1.2.398.3.10.1.1.2.3.2",
}

#: revoked for these, what was stamped before stays stamped (RFC 3161, 4 (1)); for anything else it does not
_REACHES_FORWARD_ONLY: Final = frozenset({"affiliationChanged", "superseded", "cessationOfOperation"})

# ---------------------------------------------------------------- ASN.1 (RFC 3161, RFC 5652), OIDs left open


class _MessageImprint(core.Sequence):  # type: ignore[misc]
    _fields = [("hash_algorithm", AlgorithmIdentifier), ("hashed_message", core.OctetString)]  # noqa: RUF012


class _TimeStampReq(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("message_imprint", _MessageImprint),
        ("req_policy", core.ObjectIdentifier, {"optional": True}),
        ("nonce", core.Integer, {"optional": True}),
        ("cert_req", core.Boolean, {"default": False}),
        ("extensions", Extensions, {"implicit": 0, "optional": True}),
    ]


class _FreeText(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.UTF8String


class _PkiStatusInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("status", core.Integer),
        ("status_string", _FreeText, {"optional": True}),
        ("fail_info", core.BitString, {"optional": True}),
    ]


class _TimeStampResp(core.Sequence):  # type: ignore[misc]
    _fields = [("status", _PkiStatusInfo), ("time_stamp_token", core.Any, {"optional": True})]  # noqa: RUF012


class _Accuracy(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("seconds", core.Integer, {"optional": True}),
        ("millis", core.Integer, {"implicit": 0, "optional": True}),
        ("micros", core.Integer, {"implicit": 1, "optional": True}),
    ]


class _TstInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("policy", core.ObjectIdentifier),
        ("message_imprint", _MessageImprint),
        ("serial_number", core.Integer),
        ("gen_time", core.GeneralizedTime),
        ("accuracy", _Accuracy, {"optional": True}),
        ("ordering", core.Boolean, {"default": False}),
        ("nonce", core.Integer, {"optional": True}),
        ("tsa", x509.GeneralName, {"explicit": 0, "optional": True}),
        ("extensions", Extensions, {"implicit": 1, "optional": True}),
    ]


class _EncapsulatedContent(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("content_type", core.ObjectIdentifier),
        ("content", core.OctetString, {"explicit": 0}),
    ]


class _IssuerAndSerial(core.Sequence):  # type: ignore[misc]
    _fields = [("issuer", Name), ("serial_number", core.Integer)]  # noqa: RUF012


class _SignerIdentifier(core.Choice):  # type: ignore[misc]
    _alternatives = [  # noqa: RUF012
        ("issuer_and_serial_number", _IssuerAndSerial),
        ("subject_key_identifier", core.OctetString, {"implicit": 0}),
    ]


class _Attributes(core.Sequence):  # type: ignore[misc]
    """Opened by hand."""

    tag = 17  # SET


class _SignerInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("sid", _SignerIdentifier),
        ("digest_algorithm", AlgorithmIdentifier),
        ("signed_attrs", _Attributes, {"implicit": 0}),
        ("signature_algorithm", AlgorithmIdentifier),
        ("signature", core.OctetString),
        ("unsigned_attrs", _Attributes, {"implicit": 1, "optional": True}),
    ]


class _SignerInfos(core.SetOf):  # type: ignore[misc]
    _child_spec = _SignerInfo


class _Algorithms(core.SetOf):  # type: ignore[misc]
    _child_spec = AlgorithmIdentifier


class _Certificates(core.Sequence):  # type: ignore[misc]
    """Certificates and CRLs, opened by hand."""

    tag = 17  # SET


class _SignedData(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("digest_algorithms", _Algorithms),
        ("encap_content_info", _EncapsulatedContent),
        ("certificates", _Certificates, {"implicit": 0, "optional": True}),
        ("crls", _Certificates, {"implicit": 1, "optional": True}),
        ("signer_infos", _SignerInfos),
    ]


class _ContentInfo(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("content_type", core.ObjectIdentifier),
        ("content", _SignedData, {"explicit": 0}),
    ]


class _EssCertId(core.Sequence):  # type: ignore[misc]
    _fields = [("cert_hash", core.OctetString), ("issuer_serial", core.Any, {"optional": True})]  # noqa: RUF012


class _EssCertIds(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _EssCertId


class _SigningCertificate(core.Sequence):  # type: ignore[misc]
    _fields = [("certs", _EssCertIds), ("policies", core.Any, {"optional": True})]  # noqa: RUF012


class _EssCertIdV2(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("hash_algorithm", AlgorithmIdentifier, {"default": {"algorithm": SHA_256}}),
        ("cert_hash", core.OctetString),
        ("issuer_serial", core.Any, {"optional": True}),
    ]


class _EssCertIdsV2(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _EssCertIdV2


class _SigningCertificateV2(core.Sequence):  # type: ignore[misc]
    _fields = [("certs", _EssCertIdsV2), ("policies", core.Any, {"optional": True})]  # noqa: RUF012


# ---------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Imprint:
    """The digest that is stamped, and its algorithm's OID."""

    algorithm: str
    digest: bytes

    @classmethod
    def of(cls, data: bytes, algorithm: str = SHA_256) -> Imprint:
        """SHA-256 or, for GOST-2015 stampers, Streebog-512. KeyError for an algorithm that is not in the table."""
        return cls(algorithm, DIGESTS[algorithm](data))


@dataclass(frozen=True, slots=True)
class TimestampRules:
    """What a stamp must be like; the operator's to set. `revocation` has no default: the operator writes it."""

    revocation: RevocationMode
    #: OIDs of stamping policies that are accepted; () accepts every one
    policies: tuple[str, ...] = ()
    #: seconds by which the stamper's clock may be ahead of ours
    max_clock_skew_s: int = 60


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """A token that was found good."""

    gen_time: dt.datetime
    #: how far gen_time may be off; None when the stamper does not say
    accuracy: dt.timedelta | None
    policy: str
    serial: int
    certificate: Certificate
    path: CertificationPath
    revocation: RevocationStatus
    #: the exact bytes, to be kept with what was stamped
    token: bytes = field(repr=False)


def _refused(code: str, message: str) -> TrustRefused:
    return TrustRefused(code, f"the time stamp is not used: {message}", step=TIMESTAMP_STEP)


def _malformed(why: str) -> MalformedMessage:
    return MalformedMessage(f"a time stamp cannot be read: {why}", code="bad_timestamp")


# ---------------------------------------------------------------- asking


def build_request(imprint: Imprint, *, nonce: int | None, policy: str | None = None) -> bytes:
    """A TimeStampReq in DER that asks for the stamper's certificate too."""
    fields: dict[str, Any] = {
        "version": 1,
        "message_imprint": {
            "hash_algorithm": {"algorithm": imprint.algorithm},
            "hashed_message": imprint.digest,
        },
        "cert_req": True,
    }
    if policy is not None:
        fields["req_policy"] = policy
    if nonce is not None:
        fields["nonce"] = nonce
    return bytes(_TimeStampReq(fields).dump())


def read_reply(der: bytes) -> bytes:
    """The token in a TimeStampResp, not verified.

    Raises MalformedMessage (`bad_timestamp`), TrustRefused (`timestamp_rejected`) when the stamper gave none.
    """
    if len(der) > MAX_TOKEN_BYTES:
        raise _malformed(f"it has {len(der)} bytes, at most {MAX_TOKEN_BYTES} are read")
    try:
        reply = _TimeStampResp.load(der, strict=True)
        status = reply["status"]["status"].native
        token = elements(der)[1:]
    except ASN1_ERRORS:
        raise _malformed("it is not RFC 3161 in DER") from None
    if status not in (0, 1) or not token:
        raise _refused("timestamp_rejected", f"the stamper gave none (status {status})")
    return token[0]


def request_timestamp(
    imprint: Imprint,
    *,
    fetcher: Fetcher,
    url: str,
    material: TrustMaterial,
    rules: TimestampRules,
    at: dt.datetime,
    deadline_s: float = 10.0,
    policy: str | None = None,
    evidence: RevocationEvidence = NO_EVIDENCE,
) -> TimeStamp:
    """Have an imprint stamped, and verify what came. `at` is the present.

    Raises FetchFailed, and what `verify_token` and `read_reply` raise.
    """
    nonce = int.from_bytes(secrets.token_bytes(NONCE_BYTES), "big") | 1
    reply = fetcher.post(
        url,
        build_request(imprint, nonce=nonce, policy=policy),
        content_type=REQUEST_CONTENT_TYPE,
        deadline_s=deadline_s,
        max_bytes=MAX_TOKEN_BYTES,
    )
    return verify_token(
        read_reply(reply),
        imprint=imprint,
        material=material,
        rules=rules,
        at=at,
        nonce=nonce,
        policy=policy,
        evidence=evidence,
    )


# ---------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class _Info:
    """A TSTInfo."""

    imprint: Imprint
    policy: str
    serial: int
    gen_time: dt.datetime
    accuracy: dt.timedelta | None
    nonce: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Token:
    """What a token says, read whole; nothing of it is verified."""

    #: DER of the TSTInfo, over which the message digest is
    content: bytes
    info: _Info
    certificates: tuple[Certificate, ...]
    signer_issuer: NameKey | None
    signer_serial: int | None
    signer_ski: bytes | None
    digest_oid: str
    signature_oid: str
    signature: bytes
    #: SET OF signed attributes as it is signed (RFC 5652, 5.4)
    signed: bytes
    attributes: dict[str, bytes]


def verify_token(
    token: bytes,
    *,
    imprint: Imprint,
    material: TrustMaterial,
    rules: TimestampRules,
    at: dt.datetime,
    nonce: int | None = None,
    policy: str | None = None,
    evidence: RevocationEvidence = NO_EVIDENCE,
) -> TimeStamp:
    """Judge a token over `imprint` at `at` (timezone-aware, the moment of judging; the path is judged at genTime).

    `nonce` and `policy` are what was asked for; None compares nothing. Raises MalformedMessage (`bad_timestamp`),
    RevocationUnknown where the rules require revocation to be known, and TrustRefused of step "timestamp":
    `imprint_mismatch`, `nonce_mismatch`, `policy_not_accepted`, `from_the_future`, `signer_certificate`,
    `bad_signature`, `extended_key_usage`, `revoked`, and the codes of a certification path.
    """
    if at.tzinfo is None:
        raise ValueError("the time of judging needs a time zone")
    try:
        read = _read(token)  # 1
    except (*ASN1_ERRORS, MalformedMessage):
        raise _malformed("it is not RFC 3161 in DER") from None
    gen_time = read.info.gen_time
    _check_content(read.info, imprint, nonce, policy, rules)  # 2
    if gen_time > at + dt.timedelta(seconds=rules.max_clock_skew_s):  # 3
        raise _refused("from_the_future", f"it is from {gen_time.isoformat()}, later than {at.isoformat()}")
    signer = _signer(read, material)  # 4
    _check_signature(read, signer)  # 5
    _check_purpose(signer)  # 6
    path = _path(signer, material, gen_time)  # 7
    status = _revocation(path, material, rules, at, gen_time, evidence)
    return TimeStamp(
        gen_time=gen_time,
        accuracy=read.info.accuracy,
        policy=read.info.policy,
        serial=read.info.serial,
        certificate=signer,
        path=path,
        revocation=status,
        token=token,
    )


def _read(token: bytes) -> _Token:
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError("too long")
    outer = _ContentInfo.load(token, strict=True)
    if outer["content_type"].dotted != _SIGNED_DATA:
        raise ValueError("not SignedData")
    data = outer["content"]
    encapsulated, signers = data["encap_content_info"], data["signer_infos"]
    raw_data = elements(first(elements(token)[1]))
    if encapsulated["content_type"].dotted != _TST_INFO or len(signers) != 1:
        raise ValueError("not one signed TSTInfo")
    raw_certificates = [raw for part in raw_data if part[:1] == _TAG_0 for raw in elements(part)]
    if len(raw_certificates) > MAX_CERTIFICATES:
        raise ValueError("more certificates than anybody needs")
    signer = signers[0]
    content = bytes(encapsulated["content"].native)
    by_serial = signer["sid"].name == "issuer_and_serial_number"
    sid = signer["sid"].chosen
    raw_attributes = next((part for part in elements(first(raw_data[-1])) if part[:1] == _TAG_0), b"")
    return _Token(
        content=content,
        info=_info(content),
        certificates=tuple(Certificate.from_der(raw) for raw in raw_certificates),
        signer_issuer=key_of_name(sid["issuer"]) if by_serial else None,
        signer_serial=sid["serial_number"].native if by_serial else None,
        signer_ski=None if by_serial else sid.native,
        digest_oid=signer["digest_algorithm"]["algorithm"].dotted,
        signature_oid=signer["signature_algorithm"]["algorithm"].dotted,
        signature=signer["signature"].native,
        signed=b"\x31" + raw_attributes[1:],  # SET OF in place of [0] IMPLICIT
        attributes=_attributes(raw_attributes),
    )


def _info(content: bytes) -> _Info:
    info = _TstInfo.load(content, strict=True)
    extensions = {} if isinstance(info["extensions"], core.Void) else read_extensions(info["extensions"])
    if info["version"].native != 1 or any(extension.critical for extension in extensions.values()):
        raise ValueError("something in it is not understood")
    stamped = info["message_imprint"]
    return _Info(
        imprint=Imprint(stamped["hash_algorithm"]["algorithm"].dotted, stamped["hashed_message"].native),
        policy=info["policy"].dotted,
        serial=info["serial_number"].native,
        gen_time=read_time(info["gen_time"]),
        accuracy=_accuracy(info["accuracy"]),
        nonce=info["nonce"].native,
    )


def _attributes(raw: bytes) -> dict[str, bytes]:
    """Encoded value by type."""
    attributes = elements(raw)
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError("more attributes than anybody needs")
    found: dict[str, bytes] = {}
    for attribute in attributes:
        kind, values = elements(attribute)
        oid = core.ObjectIdentifier.load(kind, strict=True).dotted
        if oid in found:
            raise ValueError("an attribute occurs twice")
        (found[oid],) = elements(values)
    return found


def _accuracy(value: Any) -> dt.timedelta | None:
    if isinstance(value, core.Void):
        return None
    return dt.timedelta(
        seconds=value["seconds"].native or 0,
        milliseconds=value["millis"].native or 0,
        microseconds=value["micros"].native or 0,
    )


def _check_content(info: _Info, imprint: Imprint, nonce: int | None, policy: str | None, rules: TimestampRules) -> None:
    if info.imprint != imprint:
        raise _refused("imprint_mismatch", "it was given for other bytes")
    if nonce is not None and info.nonce != nonce:
        raise _refused("nonce_mismatch", "its nonce is not ours: it is not the answer to our request")
    if (policy is not None and info.policy != policy) or (rules.policies and info.policy not in rules.policies):
        raise _refused("policy_not_accepted", f"it was given under policy {info.policy}, which is not accepted")


def _signer(read: _Token, material: TrustMaterial) -> Certificate:
    """By sid among the token's certificates and those of the trust directory; the signed attributes must name it."""
    for certificate in dict.fromkeys((*read.certificates, *material.peers)):
        by_serial = (certificate.issuer_key, certificate.serial) == (read.signer_issuer, read.signer_serial)
        by_key = read.signer_ski is not None and certificate.ski == read.signer_ski
        if by_serial or by_key:
            if not _is_named(certificate, read.attributes):
                raise _refused("signer_certificate", "its signed attributes do not name its signer's certificate")
            return certificate
    raise _refused(
        "signer_certificate", "its signer's certificate is neither in it nor in the trust directory; put it there"
    )


def _is_named(certificate: Certificate, attributes: dict[str, bytes]) -> bool:
    """The first of the certificates in ESS signing-certificate (v2, else v1) is the signer's."""
    try:
        if (value := attributes.get(_SIGNING_CERTIFICATE_V2)) is not None:
            first = _SigningCertificateV2.load(value, strict=True)["certs"][0]
            digest = DIGESTS.get(first["hash_algorithm"]["algorithm"].dotted)
            return digest is not None and first["cert_hash"].native == digest(certificate.der)
        if (value := attributes.get(_SIGNING_CERTIFICATE)) is not None:
            # version 1 knows SHA-1 only (RFC 2634, 5.4.1); to exchange the certificate takes a second preimage
            named = _SigningCertificate.load(value, strict=True)["certs"][0]["cert_hash"].native
            return bool(named == sha1_name(certificate.der))
    except ASN1_ERRORS:
        return False
    return False


def _check_signature(read: _Token, signer: Certificate) -> None:
    oid = _BY_KEY_AND_DIGEST.get((read.signature_oid, read.digest_oid), read.signature_oid)
    row = ALGORITHMS.get(oid)
    if row is None or row.digest_oid != read.digest_oid:
        raise _refused(
            "algorithm_refused",
            f"it is signed by algorithm {read.signature_oid} with digest {read.digest_oid}, which is not accepted",
        )
    content_type = core.ObjectIdentifier(_TST_INFO).dump()
    digest = core.OctetString(DIGESTS[row.digest_oid](read.content)).dump()
    if read.attributes.get(_CONTENT_TYPE) != content_type or read.attributes.get(_MESSAGE_DIGEST) != digest:
        raise _refused("bad_signature", "what is signed is not what it says")
    check_signed_by(SignedObject("time stamp", read.signed, read.signature, oid, oid), signer, step=TIMESTAMP_STEP)


def _check_purpose(signer: Certificate) -> None:
    usage = signer.extensions.get(EXTENDED_KEY_USAGE)
    if usage is None or not usage.critical or signer.extended_key_usage != (TIME_STAMPING,):
        raise _refused(
            "extended_key_usage",
            f"{signer.label} is not a time stamper's certificate: its extended key usage must be that alone and be"
            " marked critical",
        )
    if signer.key_usage is not None and not signer.key_usage & {"digitalSignature", "nonRepudiation"}:
        raise _refused("key_usage", f"the key of {signer.label} is not meant to sign")


def _path(signer: Certificate, material: TrustMaterial, gen_time: dt.datetime) -> CertificationPath:
    try:
        return build_path(signer, material, at=gen_time)
    except TrustRefused as error:
        raise _refused(error.code, error.message) from None


def _revocation(
    path: CertificationPath,
    material: TrustMaterial,
    rules: TimestampRules,
    at: dt.datetime,
    gen_time: dt.datetime,
    evidence: RevocationEvidence,
) -> RevocationStatus:
    if rules.revocation is RevocationMode.OFF:
        return RevocationStatus(RevocationState.UNKNOWN, source="off", as_of=None, detail="it was not looked up")
    status = check_path_revocation(path, material, at=at, evidence=evidence)
    for one in status.each:
        if one.status is RevocationState.REVOKED and not _stays_stamped(one, gen_time):
            raise _refused("revoked", one.detail)
    unknown = any(one.status is RevocationState.UNKNOWN for one in status.each) or not status.each
    if unknown and rules.revocation is RevocationMode.REQUIRE:
        raise RevocationUnknown(f"whether the time stamper is revoked is not known: {status.detail}")
    return status


def _stays_stamped(status: RevocationStatus, gen_time: dt.datetime) -> bool:
    return status.reason in _REACHES_FORWARD_ONLY and status.revoked_at is not None and gen_time < status.revoked_at
