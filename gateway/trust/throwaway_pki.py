"""A throw-away PKI for the sandbox, demos and tests, with the national profile (PKI.md section 3).

Root → issuing authority → an information system of ours, one of the simulated gateway, a legal entity's and a person's
signer, an expired and a revoked one; beside it a stranger with an authority of its own. Every subject says TEST,
every person and organisation is invented, every address ends in `.invalid`.

Layout of the directory:
  README.txt
  anchors/   what to trust: root.pem, issuing.pem, their CRLs, and shep.pem, gateway.pem as known peers
  keys/      NAME.pem (certificate) and NAME.key (PKCS#8, not encrypted, mode 0600)
             for gateway, shep, client, person, expired, revoked
  stranger/  root.pem, root.crl, stranger.pem, stranger.key: belongs to nobody that anchors/ knows
The authorities' own keys are not written: nothing can be issued later.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from gateway.errors import KeyMaterialError
from gateway.model import iin_control_digit

_ROOT_BITS: Final = 3_072
_BITS: Final = 2_048

_PERSON_ROLE = "1.2.398.3.3.4.1.1"
_LEGAL_ENTITY_ROLE = "1.2.398.3.3.4.1.2"
_RIGHT_TO_SIGN_ROLE = "1.2.398.3.3.4.1.2.2"
_INFORMATION_SYSTEM_ROLE = "1.2.398.3.3.4.1.2.6"
_POLICY = "1.2.398.3.3.2"
_POLICY_LEGAL_SIGN = "1.2.398.3.3.2.1"
_POLICY_PERSON_SIGN = "1.2.398.3.3.2.3"

_OCSP = "http://ocsp.pki.example.invalid/"
_CA_FILES = "http://pki.example.invalid/cert/"
_CRL_FILES = "http://crl.pki.example.invalid/"
_CPS = "http://pki.example.invalid/cps"

_ANCHORS = "anchors"
_KEYS = "keys"
_STRANGER = "stranger"

_README = """\
THROW-AWAY KEYS. Made by `gateway pki init` for a sandbox, a demonstration or tests, not encrypted.
They identify nobody and must never be trusted or used outside this machine. Delete the directory when done.

anchors/   give this to --trust: the root, the issuing authority, their CRLs, known peers
keys/      signers: gateway (our information system), shep (the simulated gateway), client (a legal entity's
           signer), person, expired, revoked
stranger/  a signer and an authority that anchors/ does not know
"""


@dataclass(frozen=True, slots=True)
class ThrowawayPki:
    """Where things are in a directory made by `init`."""

    directory: Path

    @property
    def anchors(self) -> Path:
        """The trust directory."""
        return self.directory / _ANCHORS

    def certificate(self, name: str) -> Path:
        """Certificate of `gateway`, `shep`, `client`, `person`, `expired`, `revoked` or `stranger`."""
        return self._folder(name) / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Private key of the same names."""
        return self._folder(name) / f"{name}.key"

    def _folder(self, name: str) -> Path:
        return self.directory / (_STRANGER if name == _STRANGER else _KEYS)


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    #: file name without suffix, in the addresses of what it issues
    file: str


@dataclass(frozen=True, slots=True)
class _Signer:
    name: str
    subject: x509.Name
    extended_key_usage: tuple[str, ...]
    policy: str
    lifetime_days: int
    #: days between issue and `now`
    age_days: int = 1
    revoked: bool = False


def init(directory: Path, *, now: dt.datetime) -> ThrowawayPki:
    """Make the PKI in `directory`, which must be empty or not exist. `now` is timezone-aware.

    Raises KeyMaterialError when the directory holds something or cannot be written.
    """
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    now = now.replace(microsecond=0)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise KeyMaterialError(f"{directory} is not empty: name a new directory, nothing is overwritten")
        _write(directory, now)
    except OSError as error:
        raise KeyMaterialError(f"{directory} cannot be written ({error.strerror}): name another directory") from None
    return ThrowawayPki(directory)


def _write(directory: Path, now: dt.datetime) -> None:
    anchors, keys, stranger = (directory / part for part in (_ANCHORS, _KEYS, _STRANGER))
    for folder in (anchors, keys, stranger):
        folder.mkdir()
    (directory / "README.txt").write_text(_README, encoding="utf-8")

    root = _root("НЕГІЗГІ ОРТАЛЫҚ (RSA) THROW-AWAY TEST", now, file="root")
    issuing = _issuing("ҰЛТТЫҚ ОРТАЛЫҚ (RSA) THROW-AWAY TEST", root, now, file="issuing")
    revoked: list[int] = []
    for signer in _signers():
        certificate, key = _issue(signer, issuing, now)
        _write_pair(keys / signer.name, certificate, key)
        if signer.revoked:
            revoked.append(certificate.serial_number)
        if signer.name in ("gateway", "shep"):
            (anchors / f"{signer.name}.pem").write_bytes(_pem(certificate))
    for authority, serials in ((root, ()), (issuing, revoked)):
        (anchors / f"{authority.file}.pem").write_bytes(_pem(authority.certificate))
        (anchors / f"{authority.file}.crl").write_bytes(_crl(authority, serials, now))

    foreign = _root("STRANGER TEST AUTHORITY (INVENTED)", now, file="root")
    certificate, key = _issue(
        _Signer(_STRANGER, _system_subject("TEST STRANGER SYSTEM", 9), *_INFORMATION_SYSTEM, lifetime_days=1_095),
        foreign,
        now,
    )
    (stranger / "root.pem").write_bytes(_pem(foreign.certificate))
    (stranger / "root.crl").write_bytes(_crl(foreign, (), now))
    _write_pair(stranger / _STRANGER, certificate, key)


# ---------------------------------------------------------------- who is in it


_INFORMATION_SYSTEM: Final = ((_LEGAL_ENTITY_ROLE, _INFORMATION_SYSTEM_ROLE), _POLICY)


def _signers() -> tuple[_Signer, ...]:
    email = ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string
    return (
        _Signer("gateway", _system_subject("TEST FUND INFORMATION SYSTEM", 1), *_INFORMATION_SYSTEM, 1_095),
        _Signer("shep", _system_subject("TEST SHEP SIMULATOR", 2), *_INFORMATION_SYSTEM, 1_095),
        _Signer(
            "client",
            _employee_subject("ТЕСТОВ ТЕСТ", "ТЕСТҰЛЫ", _invented_iin("850101300"), 3),
            (email, _LEGAL_ENTITY_ROLE, _RIGHT_TO_SIGN_ROLE),
            _POLICY_LEGAL_SIGN,
            365,
        ),
        _Signer(
            "person",
            _person_subject("СЫНАҚОВА ҮЛГІ", "ТЕСТҚЫЗЫ", _invented_iin("900202400")),
            (email, _PERSON_ROLE),
            _POLICY_PERSON_SIGN,
            365,
        ),
        _Signer("expired", _system_subject("TEST EXPIRED SYSTEM", 4), *_INFORMATION_SYSTEM, 365, age_days=400),
        _Signer("revoked", _system_subject("TEST REVOKED SYSTEM", 5), *_INFORMATION_SYSTEM, 1_095, revoked=True),
    )


def _invented_iin(beginning: str) -> str:
    """A number with a valid control digit, out of a day and the last two digits counted up."""
    return next(
        f"{beginning}{serial:02d}{digit}"
        for serial in range(100)
        if (digit := iin_control_digit(f"{beginning}{serial:02d}")) is not None
    )


def _invented_bin(number: int) -> str:
    # year and month of registration, 4 = legal entity, 0 = head office, serial; the same control digit as an IIN
    beginning = f"99014000{number:03d}"
    return f"{beginning}{iin_control_digit(beginning) or 0}"


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _system_subject(name: str, number: int) -> x509.Name:
    return _name(
        (NameOID.COMMON_NAME, name),
        (NameOID.USER_ID, f"1.2.398.999.{number}"),
        (NameOID.ORGANIZATION_NAME, f"TEST ORGANISATION {number} (INVENTED)"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{_invented_bin(number)}"),
        (NameOID.COUNTRY_NAME, "KZ"),
    )


def _person_subject(surname_and_name: str, patronymic: str, iin: str) -> x509.Name:
    return _name(
        (NameOID.COMMON_NAME, surname_and_name),
        (NameOID.SURNAME, surname_and_name.partition(" ")[0]),
        (NameOID.SERIAL_NUMBER, f"IIN{iin}"),
        (NameOID.COUNTRY_NAME, "KZ"),
        (NameOID.GIVEN_NAME, patronymic),
    )


def _employee_subject(surname_and_name: str, patronymic: str, iin: str, number: int) -> x509.Name:
    person = _person_subject(surname_and_name, patronymic, iin)
    return x509.Name(
        [
            *person,
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"TEST ORGANISATION {number} (INVENTED)"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"BIN{_invented_bin(number)}"),
        ]
    )


# ---------------------------------------------------------------- issuing


def _key_usage(*, sign: bool = False, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=sign,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _policies(oid: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), [_CPS])])


def _serial_number() -> int:
    return secrets.randbits(158) | 1 << 157  # 20 bytes, positive


def _root(name: str, now: dt.datetime, *, file: str) -> _Authority:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_ROOT_BITS)
    subject = _name((NameOID.COMMON_NAME, name), (NameOID.COUNTRY_NAME, "KZ"))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(_serial_number())
        .not_valid_before(now - dt.timedelta(days=1_095))
        .not_valid_after(now + dt.timedelta(days=3_650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(_policies("1.2.398.3.1.2"), critical=False)
        .sign(key, SHA256())
    )
    return _Authority(certificate, key, file)


def _issuing(name: str, root: _Authority, now: dt.datetime, *, file: str) -> _Authority:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    # national authorities of different years order the RDNs differently (PKI.md section 3): so do these two
    subject = _name((NameOID.COUNTRY_NAME, "KZ"), (NameOID.COMMON_NAME, name))
    builder = _issued_by(root, subject, key, now - dt.timedelta(days=730), now + dt.timedelta(days=1_825))
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(_policies(_POLICY), critical=False)
        .sign(root.key, SHA256())
    )
    return _Authority(certificate, key, file)


def _issue(signer: _Signer, issuer: _Authority, now: dt.datetime) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    begin = now - dt.timedelta(days=signer.age_days)
    usages = [x509.ObjectIdentifier(oid) for oid in signer.extended_key_usage]
    certificate = (
        _issued_by(issuer, signer.subject, key, begin, begin + dt.timedelta(days=signer.lifetime_days))
        .add_extension(_key_usage(sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_policies(signer.policy), critical=False)
        .sign(issuer.key, SHA256())
    )
    return certificate, key


def _issued_by(
    issuer: _Authority, subject: x509.Name, key: rsa.RSAPrivateKey, begin: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    issuer_identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    point = x509.DistributionPoint(
        full_name=[x509.UniformResourceIdentifier(f"{_CRL_FILES}{issuer.file}.crl")],
        relative_name=None,
        reasons=None,
        crl_issuer=None,
    )
    access = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(f"{_CA_FILES}{issuer.file}.cer")
        ),
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(_OCSP)),
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
        .add_extension(x509.CRLDistributionPoints([point]), critical=False)
        .add_extension(x509.AuthorityInformationAccess(access), critical=False)
    )


def _crl(authority: _Authority, revoked: Sequence[int], now: dt.datetime) -> bytes:
    """DER, in force from an hour ago for 180 days like the national ones."""
    issued = now - dt.timedelta(hours=1)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(issued)
        .next_update(issued + dt.timedelta(days=180))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for serial in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(serial)
            .revocation_date(issued)
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .build()
        )
    return builder.sign(authority.key, SHA256()).public_bytes(Encoding.DER)


# ---------------------------------------------------------------- files


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _write_pair(stem: Path, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
    stem.with_suffix(".pem").write_bytes(_pem(certificate))
    # created with its mode: a key is never readable by others, not even for a moment
    descriptor = os.open(stem.with_suffix(".key"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
