"""Who is in a throw-away hierarchy and what their certificates say: the national profile (PKI.md section 3).

Every person, organisation and system is invented and says so; control digits are valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.model import iin_control_digit
from gateway.trust.throwaway.keys import Family

PERSON_ROLE: Final = "1.2.398.3.3.4.1.1"
LEGAL_ENTITY_ROLE: Final = "1.2.398.3.3.4.1.2"
HEAD_ROLE: Final = "1.2.398.3.3.4.1.2.1"
RIGHT_TO_SIGN_ROLE: Final = "1.2.398.3.3.4.1.2.2"
EMPLOYEE_ROLE: Final = "1.2.398.3.3.4.1.2.5"
INFORMATION_SYSTEM_ROLE: Final = "1.2.398.3.3.4.1.2.6"
TREASURY_CLIENT: Final = "1.2.398.5.19.1.2.2.1"
_EMAIL_PROTECTION: Final = "1.3.6.1.5.5.7.3.4"
_CLIENT_AUTHENTICATION: Final = "1.3.6.1.5.5.7.3.2"
OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"

#: the policy of GOST-2015 certificates, and of those of information systems
POLICY: Final = "1.2.398.3.3.2"
_POLICY_LEGAL_SIGN: Final = "1.2.398.3.3.2.1"
_POLICY_PERSON_SIGN: Final = "1.2.398.3.3.2.3"
_POLICY_PERSON_AUTHENTICATE: Final = "1.2.398.3.3.2.4"
ROOT_POLICY: Final = "1.2.398.3.1.2"
#: under which a time stamp is issued
TSA_POLICIES: Final = {Family.RSA: "1.2.398.3.3.2.6.2", Family.GOST: "1.2.398.3.3.2.6.4"}

COMMON_NAME: Final = "2.5.4.3"
_SURNAME: Final = "2.5.4.4"
SERIAL_NUMBER: Final = "2.5.4.5"
COUNTRY: Final = "2.5.4.6"
_ORGANIZATION: Final = "2.5.4.10"
_ORGANIZATIONAL_UNIT: Final = "2.5.4.11"
_GIVEN_NAME: Final = "2.5.4.42"
_USER_ID: Final = "0.9.2342.19200300.100.1.1"

Subject: TypeAlias = tuple[tuple[str, str], ...]
"""(OID, text) of each RDN, in the order in which they are encoded."""

#: key usage of a signer's certificate: a GOST-2015 key does everything, RSA keys are for one thing
SIGNING_USAGE: Final = {
    Family.RSA: ("digitalSignature", "nonRepudiation"),
    Family.GOST: ("digitalSignature", "nonRepudiation", "keyAgreement"),
}
_AUTHENTICATION_USAGE: Final = ("digitalSignature", "keyEncipherment")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a hierarchy's services are, as its certificates say."""

    ocsp: str
    tsp: str
    #: with the slash at their ends
    crl_files: str
    certificate_files: str
    cps: str

    @classmethod
    def nowhere(cls) -> Addresses:
        return cls(
            "http://ocsp.pki.example.invalid/",
            "http://tsp.pki.example.invalid/",
            "http://crl.pki.example.invalid/",
            "http://pki.example.invalid/cert/",
            "http://pki.example.invalid/cps",
        )

    @classmethod
    def of_sandbox(cls, address: str) -> Addresses:
        """The services of a sandbox that listens on `address`, as http://127.0.0.1:8081."""
        base = address.rstrip("/")
        return cls(f"{base}/ocsp", f"{base}/tsp", f"{base}/crl/", f"{base}/cert/", f"{base}/cps")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the authority says of a certificate: in force, or revoked for a reason (RFC 5280, 5.3.1)."""

    #: 0 unspecified, 1 keyCompromise, 6 certificateHold …; None: not revoked
    reason: int | None = None
    #: revoked after the last complete CRL: only the delta CRL and OCSP say so
    lately: bool = False


@dataclass(frozen=True, slots=True)
class Signer:
    """One end-entity certificate to be minted."""

    name: str
    subject: Subject
    extended_key_usage: tuple[str, ...]
    #: of the RSA certificate; GOST-2015 has one policy for all
    rsa_policy: str
    lifetime_days: int
    #: days between issue and the moment of minting
    age_days: int = 1
    standing: Standing = Standing()
    #: None: the usage for signing of its family
    key_usage: tuple[str, ...] | None = None
    families: tuple[Family, ...] = tuple(Family)


_IS: Final = ((LEGAL_ENTITY_ROLE, INFORMATION_SYSTEM_ROLE), POLICY)


def signers() -> tuple[Signer, ...]:
    """Everyone whom the issuing authorities certify."""
    return (
        Signer("gateway", system_subject("TEST FUND INFORMATION SYSTEM", 1), *_IS, 1_095),
        Signer("shep", system_subject("TEST SHEP SIMULATOR", 2), *_IS, 1_095),
        Signer(
            "client",
            _employee_subject("ТЕСТОВ ТЕСТ", "ТЕСТҰЛЫ", invented_iin("850101300"), 3),
            (_EMAIL_PROTECTION, LEGAL_ENTITY_ROLE, RIGHT_TO_SIGN_ROLE),
            _POLICY_LEGAL_SIGN,
            365,
        ),
        Signer(
            "head",
            _employee_subject("СЫНАҚОВ БАСШЫ", "ТЕСТҰЛЫ", invented_iin("700303300"), 3),
            (_EMAIL_PROTECTION, LEGAL_ENTITY_ROLE, HEAD_ROLE),
            _POLICY_LEGAL_SIGN,
            365,
        ),
        Signer(
            "employee",
            _employee_subject("ҮЛГІЛІ ҚЫЗМЕТКЕР", "ТЕСТҚЫЗЫ", invented_iin("950404400"), 3),
            (_EMAIL_PROTECTION, LEGAL_ENTITY_ROLE, EMPLOYEE_ROLE),
            _POLICY_LEGAL_SIGN,
            365,
        ),
        Signer(
            "person",
            _person_subject("СЫНАҚОВА ҮЛГІ", "ТЕСТҚЫЗЫ", invented_iin("900202400")),
            (_EMAIL_PROTECTION, PERSON_ROLE),
            _POLICY_PERSON_SIGN,
            365,
        ),
        Signer(
            # GOST-2015 has one key for both, so only RSA knows a certificate for nothing but authentication
            "authentication",
            _person_subject("СЫНАҚОВА ҮЛГІ", "ТЕСТҚЫЗЫ", invented_iin("900202400")),
            (_CLIENT_AUTHENTICATION, PERSON_ROLE),
            _POLICY_PERSON_AUTHENTICATE,
            365,
            key_usage=_AUTHENTICATION_USAGE,
            families=(Family.RSA,),
        ),
        Signer(
            "treasury",
            _employee_subject("ҚАЗЫНАЕВ ТЕСТ", "ТЕСТҰЛЫ", invented_iin("800505300"), 6),
            (_EMAIL_PROTECTION, LEGAL_ENTITY_ROLE, RIGHT_TO_SIGN_ROLE, TREASURY_CLIENT),
            _POLICY_LEGAL_SIGN,
            365,
        ),
        Signer("expired", system_subject("TEST EXPIRED SYSTEM", 4), *_IS, 365, age_days=400),
        Signer(
            "revoked",
            system_subject("TEST REVOKED SYSTEM", 5),
            *_IS,
            1_095,
            standing=Standing(reason=1),
        ),
        Signer(
            "on_hold",
            system_subject("TEST SYSTEM ON HOLD", 7),
            *_IS,
            1_095,
            standing=Standing(reason=6),
        ),
        Signer(
            "revoked_lately",
            system_subject("TEST LATELY REVOKED SYSTEM", 8),
            *_IS,
            1_095,
            standing=Standing(reason=5, lately=True),
        ),
    )


def stranger() -> Signer:
    """Somebody certified by an authority that nobody here trusts."""
    return Signer("stranger", system_subject("TEST STRANGER SYSTEM", 9), *_IS, 1_095)


def policy_of(signer: Signer, family: Family) -> str:
    return signer.rsa_policy if family is Family.RSA else POLICY


# ---------------------------------------------------------------- subjects


def system_subject(name: str, number: int) -> Subject:
    """An information system: its OID, its organisation, and no person."""
    return (
        (COMMON_NAME, name),
        (_USER_ID, f"1.2.398.999.{number}"),
        *_organisation(number),
        (COUNTRY, "KZ"),
    )


def service_subject(name: str) -> Subject:
    """An authority's responder or time stamper."""
    return ((COMMON_NAME, name), (COUNTRY, "KZ"))


def _person_subject(surname_and_name: str, patronymic: str, iin: str) -> Subject:
    # the order of today's issuing authority, where GIVENNAME is the patronymic and comes last
    return (*_beginning(surname_and_name, iin), (_GIVEN_NAME, patronymic))


def _employee_subject(surname_and_name: str, patronymic: str, iin: str, number: int) -> Subject:
    return (*_beginning(surname_and_name, iin), *_organisation(number), (_GIVEN_NAME, patronymic))


def _beginning(surname_and_name: str, iin: str) -> Subject:
    return (
        (COMMON_NAME, surname_and_name),
        (_SURNAME, surname_and_name.partition(" ")[0]),
        (SERIAL_NUMBER, f"IIN{iin}"),
        (COUNTRY, "KZ"),
    )


def _organisation(number: int) -> Subject:
    return (
        (_ORGANIZATION, f"TEST ORGANISATION {number} (INVENTED)"),
        (_ORGANIZATIONAL_UNIT, f"BIN{invented_bin(number)}"),
    )


def invented_iin(beginning: str) -> str:
    """A number with a valid control digit, out of a day and the last two digits counted up."""
    return next(
        f"{beginning}{serial:02d}{digit}"
        for serial in range(100)
        if (digit := iin_control_digit(f"{beginning}{serial:02d}")) is not None
    )


def invented_bin(number: int) -> str:
    """A number of a legal entity with a valid control digit."""
    # year and month of registration, 4 = legal entity, 0 = head office, serial; the same control digit as an IIN
    beginning = f"99014000{number:03d}"
    return f"{beginning}{iin_control_digit(beginning) or 0}"


def authority_subject(name: str, *, country_first: bool = False) -> Subject:
    """A certification authority. National authorities of different years order the RDNs differently."""
    parts = ((COMMON_NAME, name), (COUNTRY, "KZ"))
    return parts[::-1] if country_first else parts
