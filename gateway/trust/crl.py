"""What one certificate revocation list says (RFC 5280, section 5). Whether it may be used is decided in revocation.py.

Read with asn1crypto and an own walk over the entries: `cryptography` refuses the national CRL whose inner and outer
AlgorithmIdentifier differ by a NULL (PKI.md section 3), and building an object for each of 50,000 entries takes
seconds. The walk notes where each serial stands; an entry is opened when it is asked for.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from asn1crypto import core, x509

from gateway.errors import MalformedMessage
from gateway.signing.certificate_asn1 import ASN1_ERRORS, AlgorithmIdentifier, Extensions, Name, read_time
from gateway.signing.der import first
from gateway.signing.distinguished_names import NameKey, key_of_name, name_text
from gateway.signing.extensions import AUTHORITY_KEY_IDENTIFIER, ExtensionValue, read_extensions
from gateway.signing.pem import is_pem, pem_blocks

#: the national CRLs of today have 10 KB to 5 MB
MAX_CRL_BYTES: Final = 64_000_000

_CRL_NUMBER = "2.5.29.20"
_REASON_CODE = "2.5.29.21"
_INVALIDITY_DATE = "2.5.29.24"
_DELTA_CRL_INDICATOR = "2.5.29.27"
_ISSUING_DISTRIBUTION_POINT = "2.5.29.28"
_CERTIFICATE_ISSUER = "2.5.29.29"

_UNDERSTOOD = frozenset({_CRL_NUMBER, _DELTA_CRL_INDICATOR, _ISSUING_DISTRIBUTION_POINT, AUTHORITY_KEY_IDENTIFIER})
_UNDERSTOOD_IN_ENTRY = frozenset({_REASON_CODE, _INVALIDITY_DATE})

_REASONS = {  # RFC 5280, 5.3.1
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}


def reason_name(code: int) -> str:
    """RFC 5280's word for a reason; an unknown number is "unspecified"."""
    return _REASONS.get(code, "unspecified")


class _RevokedCertificates(core.Sequence):  # type: ignore[misc]
    """Opened by hand: only its content bytes are used."""


class _TbsCertList(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer, {"optional": True}),
        ("signature", AlgorithmIdentifier),
        ("issuer", Name),
        ("this_update", x509.Time),
        ("next_update", x509.Time, {"optional": True}),
        ("revoked_certificates", _RevokedCertificates, {"optional": True}),
        ("crl_extensions", Extensions, {"explicit": 0, "optional": True}),
    ]


class _CertificateList(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("tbs_cert_list", _TbsCertList),
        ("signature_algorithm", AlgorithmIdentifier),
        ("signature", core.OctetBitString),
    ]


class _IssuingDistributionPoint(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("distribution_point", x509.DistributionPointName, {"explicit": 0, "optional": True}),
        ("only_user_certificates", core.Boolean, {"implicit": 1, "default": False}),
        ("only_ca_certificates", core.Boolean, {"implicit": 2, "default": False}),
        ("only_some_reasons", core.BitString, {"implicit": 3, "optional": True}),
        ("indirect", core.Boolean, {"implicit": 4, "default": False}),
        ("only_attribute_certificates", core.Boolean, {"implicit": 5, "default": False}),
    ]


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry. `reason` is RFC 5280's word; "certificateHold" is as revoked as the rest (PKI.md section 3)."""

    revoked_at: dt.datetime
    reason: str


@dataclass(frozen=True, slots=True)
class CrlScope:
    """Which certificates of its issuer the list is about (issuingDistributionPoint)."""

    users: bool = True
    authorities: bool = True
    #: full names of the distribution point; () when the list does not say
    distribution_points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CertificateRevocationList:
    """A parsed CRL. Make one with `read_crls`."""

    sha256: str
    issuer: str
    issuer_key: NameKey
    this_update: dt.datetime
    next_update: dt.datetime | None
    number: int | None
    #: BaseCRLNumber of a delta CRL: it tells what changed since the complete list of that number. None: complete
    base_number: int | None
    signature_oid: str
    tbs_signature_oid: str
    tbs: bytes
    signature: bytes
    scope: CrlScope
    #: why no status may be taken from it, "" when nothing stands against it
    unusable_because: str
    _entries: bytes = field(default=b"")
    #: serial → (begin, end) of its entry's content in `_entries`
    _places: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._places)

    def serials(self) -> Iterator[int]:
        """Every serial that it names."""
        return iter(self._places)

    def __repr__(self) -> str:
        return f"CertificateRevocationList({self.issuer}, number {self.number}, {len(self)} entries)"

    @property
    def label(self) -> str:
        number = "" if self.number is None else f" number {self.number}"
        return f"{'delta CRL' if self.is_delta else 'CRL'}{number} of {self.issuer}"

    @property
    def is_delta(self) -> bool:
        return self.base_number is not None

    def revocation_of(self, serial: int) -> Revocation | None:
        """The entry for a serial, or None when the list does not name it.

        An entry whose date or reason cannot be read still revokes.
        """
        place = self._places.get(serial)
        if place is None:
            return None
        try:
            return _read_entry(self._entries[place[0] : place[1]])
        except ASN1_ERRORS:
            return Revocation(self.this_update, "unspecified")


def read_crls(data: bytes) -> tuple[CertificateRevocationList, ...]:
    """Every CRL of a PEM file, or the one of a DER file; () when a PEM file holds none.

    Raises MalformedMessage (`bad_crl`, `bad_pem`).
    """
    if len(data) > MAX_CRL_BYTES:
        raise MalformedMessage(f"a CRL has {len(data)} bytes, at most {MAX_CRL_BYTES} are read", code="bad_crl")
    blocks = pem_blocks(data, "X509 CRL") if is_pem(data) else (data,)
    try:
        return tuple(_read(block) for block in blocks)
    except ASN1_ERRORS:
        raise MalformedMessage("a CRL cannot be read: it is not RFC 5280 in DER", code="bad_crl") from None


def _read(der: bytes) -> CertificateRevocationList:
    outer = _CertificateList.load(der, strict=True)
    tbs = outer["tbs_cert_list"]
    raw_extensions = tbs["crl_extensions"]
    extensions = {} if isinstance(raw_extensions, core.Void) else read_extensions(raw_extensions)
    revoked = tbs["revoked_certificates"]
    entries = b"" if isinstance(revoked, core.Void) else bytes(revoked.contents)
    places, entry_problem = _index(entries)
    scope, scope_problem = _read_scope(extensions.get(_ISSUING_DISTRIBUTION_POINT))
    next_update = tbs["next_update"]
    number = _number(extensions.get(_CRL_NUMBER))
    base_number = _number(extensions.get(_DELTA_CRL_INDICATOR))
    return CertificateRevocationList(
        sha256=hashlib.sha256(der).hexdigest(),
        issuer=name_text(tbs["issuer"]),
        issuer_key=key_of_name(tbs["issuer"]),
        this_update=read_time(tbs["this_update"]),
        next_update=None if isinstance(next_update, core.Void) else read_time(next_update),
        number=number,
        base_number=base_number,
        signature_oid=outer["signature_algorithm"]["algorithm"].dotted,
        tbs_signature_oid=tbs["signature"]["algorithm"].dotted,
        tbs=first(der),
        signature=outer["signature"].native,
        scope=scope,
        unusable_because=_extension_problem(extensions)
        or _delta_problem(number, base_number)
        or scope_problem
        or entry_problem,
        _entries=entries,
        _places=MappingProxyType(places),
    )


def _extension_problem(extensions: Mapping[str, ExtensionValue]) -> str:
    for oid, extension in extensions.items():
        if extension.critical and oid not in _UNDERSTOOD:
            return f"it has the critical extension {oid}, which is not understood"
    return ""


def _number(extension: ExtensionValue | None) -> int | None:
    if extension is None:
        return None
    number = core.Integer.load(extension.value, strict=True).native
    return int(number)


def _delta_problem(number: int | None, base_number: int | None) -> str:
    # RFC 5280, 5.2.4: without a number of its own nobody can tell whether it is newer than a complete list
    if base_number is not None and (number is None or number < base_number):
        return "it is a delta CRL whose own number is missing or below that of its base"
    return ""


def _read_scope(extension: ExtensionValue | None) -> tuple[CrlScope, str]:
    if extension is None:
        return CrlScope(), ""
    point = _IssuingDistributionPoint.load(extension.value, strict=True)
    if point["indirect"].native:
        return CrlScope(), "it is an indirect CRL (it may speak for other issuers)"
    if not isinstance(point["only_some_reasons"], core.Void):
        return CrlScope(), "it lists only some reasons of revocation"
    if point["only_attribute_certificates"].native:
        return CrlScope(), "it is about attribute certificates"
    names: tuple[str, ...] = ()
    if not isinstance(point["distribution_point"], core.Void):
        names = full_names(point["distribution_point"])
        if not names:
            return CrlScope(), "its distribution point is named in a form that is not understood"
    return (
        CrlScope(
            users=not point["only_ca_certificates"].native,
            authorities=not point["only_user_certificates"].native,
            distribution_points=names,
        ),
        "",
    )


def full_names(point_name: Any) -> tuple[str, ...]:
    """URIs of a DistributionPointName; () for the form relative to the issuer's name."""
    if point_name.name != "full_name":
        return ()
    return tuple(name.chosen.native for name in point_name.chosen if name.name == "uniform_resource_identifier")


# ---------------------------------------------------------------- entries

_SEQUENCE = 0x30
_INTEGER = 0x02
#: BOOLEAN TRUE: only an entry that holds these bytes can have a critical extension
_TRUE = b"\x01\x01\xff"


def _elements(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(tag, content begin, content end) of each DER element. Raises ValueError when one runs over the end."""
    while position < end:
        if end - position < 2:
            raise ValueError("an element is cut")
        tag, length = data[position], data[position + 1]
        begin = position + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or begin + size > end:
                raise ValueError("a length is not DER")
            length = int.from_bytes(data[begin : begin + size], "big")
            begin += size
        position = begin + length
        if position > end:
            raise ValueError("an element is cut")
        yield tag, begin, position


def _index(entries: bytes) -> tuple[dict[int, tuple[int, int]], str]:
    """Where each serial stands, and why the list is unusable for what its entries say ("" when it is not)."""
    places: dict[int, tuple[int, int]] = {}
    problem = ""
    for tag, begin, end in _elements(entries, 0, len(entries)):
        if tag != _SEQUENCE:
            raise ValueError("an entry is not a SEQUENCE")
        serial_tag, serial_begin, serial_end = next(_elements(entries, begin, end), (0, 0, 0))
        if serial_tag != _INTEGER or serial_begin == serial_end:
            raise ValueError("an entry has no serial number")
        places[int.from_bytes(entries[serial_begin:serial_end], "big", signed=True)] = (begin, end)
        if not problem and entries.find(_TRUE, serial_end, end) >= 0:
            problem = _entry_problem(entries[begin:end])
    return places, problem


def _entry_extensions(content: bytes) -> dict[str, ExtensionValue]:
    found = list(_elements(content, 0, len(content)))
    if len(found) < 3:
        return {}
    # the element with its header: from the end of the date to the end of the entry
    return read_extensions(Extensions.load(content[found[1][2] : found[2][2]], strict=True))


def _entry_problem(content: bytes) -> str:
    # RFC 5280, 5.3: a critical entry extension that is not understood forbids the use of the whole list
    for oid, extension in _entry_extensions(content).items():
        if extension.critical and oid == _CERTIFICATE_ISSUER:
            return "it is an indirect CRL (an entry names another issuer)"
        if extension.critical and oid not in _UNDERSTOOD_IN_ENTRY:
            return f"an entry has the critical extension {oid}, which is not understood"
    return ""


def _read_entry(content: bytes) -> Revocation:
    found = list(_elements(content, 0, len(content)))
    revoked_at = read_time(x509.Time.load(content[found[0][2] : found[1][2]], strict=True))
    reason = _entry_extensions(content).get(_REASON_CODE)
    code = 0 if reason is None else int.from_bytes(core.Enumerated.load(reason.value, strict=True).contents, "big")
    return Revocation(revoked_at, reason_name(code))
