"""What is fuzzed: every reader of bytes that come from outside, each with what must hold when it accepts."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from random import Random

from lxml import etree

from gateway.errors import GatewayError, MalformedMessage
from gateway.shep import sync_channel
from gateway.shep.envelope import split
from gateway.shep.payload import PayloadCodec, decode
from gateway.signing import names
from gateway.signing.certificate import Certificate, read_certificates
from gateway.signing.distinguished_names import NameKey
from gateway.signing.enveloped import VerifiedElement, verify_enveloped
from gateway.signing.gost import pkcs12
from gateway.signing.issuer_names import parse_issuer_name
from gateway.signing.wss import VerifiedBody, verify_envelope
from gateway.trust.crl import read_crls
from gateway.xml import canonicalize, parse
from tests.fuzz import messages, seeds
from tests.fuzz.engine import Target, WrongAnswer
from tests.fuzz.mutations import of_bytes, of_der, of_xml

Mutation = Callable[[Random, bytes, bytes], bytes]


class _Known:
    """The certificates that a message may name."""

    def __init__(self) -> None:
        self._all = [seeds.key(label).certificate for label in ("genuine", "peer")]

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        return next((one for one in self._all if (one.issuer_key, one.serial) == (issuer_key, serial)), None)


# ---------------------------------------------------------------- the channel


def _read_message(data: bytes) -> None:
    _, body = split(parse(data))
    for element in _contents(body):
        for codec in PayloadCodec:
            try:
                decode(element, codec, root_name="{urn:r}Request")
            except GatewayError:  # the message was read; that another shape was expected is no refusal of it
                continue


def _contents(body: etree._Element) -> list[etree._Element]:
    """The data elements of a request or a reply. Raises MalformedMessage when it is neither."""
    found = []
    try:
        request = sync_channel.read_request(body)
        repr(request)
        found.append(request.data)
    except MalformedMessage:
        reply = sync_channel.read_reply(body)
        repr(reply)
        found.append(getattr(reply, "data", None) if isinstance(reply, sync_channel.SyncResponse) else None)
    return [one for one in found if one is not None]


# ---------------------------------------------------------------- signatures


class _Oracle:
    """What each signer has really signed: whatever is accepted in its name must be among it."""

    def __init__(self) -> None:
        self.signed: dict[str, set[bytes]] = {"genuine": set(), "peer": set()}

    def check(self, certificate: Certificate, canonical: bytes) -> None:
        for label, known in self.signed.items():
            # the same key: KeyInfo is not signed, so its certificate may come in another encoding; gateway.trust
            # judges what the certificate says
            if certificate.spki_der == seeds.key(label).certificate.spki_der:
                if canonical not in known:
                    raise WrongAnswer(f"{label} never signed what was accepted in its name")
                return
        raise WrongAnswer("a signature of somebody without a key was accepted")


def _verify_messages() -> Target:
    oracle, known = _Oracle(), _Known()
    for label in oracle.signed:
        oracle.signed[label] = {verify_envelope(one, certificates=known).canonical for one in seeds.signed(label)}

    def run(data: bytes) -> None:
        verified = verify_envelope(data, certificates=known)
        oracle.check(verified.certificate, verified.canonical)
        if canonicalize(verified.body, inclusive_prefixes=_prefixes(data)) != verified.canonical:
            raise WrongAnswer("what is handed on is not what was digested")
        repr(verified)
        repr(verified.steps)
        _check_isolation(verified)

    def mutate(random: Random, data: bytes, other: bytes) -> bytes:
        changed = of_xml(random, data, other)
        return _signed_by_peer(changed, oracle) if random.random() < 0.5 else changed

    return Target(
        "signed messages",
        run,
        (*seeds.signed("genuine"), *seeds.signed("peer")),
        mutate,
        (
            "gateway.signing.wss",
            "gateway.signing.signed_info",
            "gateway.signing.key_info",
            "gateway.signing.checks",
            "gateway.signing.isolation",
        ),
    )


def _check_isolation(verified: VerifiedBody) -> None:
    """An element cut out of the bytes received is the element that was verified."""
    for element in list(verified.body.iter(etree.Element))[:12]:
        try:
            alone = parse(verified.as_received(element))
        except GatewayError:
            continue
        if canonicalize(alone) != canonicalize(element):
            raise WrongAnswer("what is cut out of the message is not the element that was verified")


def _prefixes(data: bytes) -> tuple[str, ...]:
    transform = next(parse(data).iter(names.DS_TRANSFORM))
    listed = transform.find(names.EC_INCLUSIVE_NAMESPACES)
    return () if listed is None else tuple(str(listed.get("PrefixList", "")).split())


def _signed_by_peer(data: bytes, oracle: _Oracle) -> bytes:
    """Digest and signature made right again by a sender who is trusted and sends strange things."""
    try:
        root = parse(data)
        body = next(child for child in root if str(child.tag).endswith("}Body"))
        canonical = canonicalize(body, inclusive_prefixes=_prefixes(data), max_bytes=1_000_000)
        digest, value = next(root.iter(names.DS_DIGEST_VALUE)), next(root.iter(names.DS_SIGNATURE_VALUE))
        digest.text = b64encode(_sha256(canonical)).decode()
        for token in root.iter(names.WSSE_KEY_IDENTIFIER, names.DS_X509_CERTIFICATE):
            token.text = b64encode(seeds.key("peer").certificate.der).decode()
        for serial in root.iter(names.DS_X509_SERIAL_NUMBER):
            serial.text = str(seeds.key("peer").certificate.serial)
        signed_info = canonicalize(next(root.iter(names.DS_SIGNED_INFO)), max_bytes=1_000_000)
        value.text = b64encode(seeds.key("peer").sign(signed_info)).decode()
        changed = etree.tostring(root)
        again = next(child for child in parse(changed) if str(child.tag).endswith("}Body"))
        oracle.signed["peer"].add(canonicalize(again, inclusive_prefixes=_prefixes(changed), max_bytes=1_000_000))
        return changed
    except (GatewayError, StopIteration, ValueError):
        return data


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _verify_documents() -> Target:
    oracle, known = _Oracle(), _Known()

    def content(verified: VerifiedElement) -> bytes:
        return canonicalize(verified.element, exclusive=False, whole_document=True)

    for label in oracle.signed:
        oracle.signed[label] = {
            content(verify_enveloped(one, certificates=known)) for one in seeds.documents(label)
        }  # both carry the same document

    def run(data: bytes) -> None:
        verified = verify_enveloped(data, certificates=known)
        oracle.check(verified.signatures[0].certificate, content(verified))
        repr(verified)

    return Target(
        "signed documents",
        run,
        (*seeds.documents("genuine"), *seeds.documents("peer")),
        of_xml,
        ("gateway.signing.enveloped", "gateway.signing.signed_info", "gateway.signing.key_info"),
    )


# ---------------------------------------------------------------- keys, certificates, lists, answers


def _read_container(data: bytes) -> None:
    container = pkcs12.read_container(data, seeds.PASSWORD)
    repr(container)


def _mutate_container(random: Random, data: bytes, other: bytes) -> bytes:
    changed = of_der(random, data, other)
    if random.random() < 0.2:
        return changed
    try:
        return seeds.with_mac(changed)
    except Exception:  # asn1crypto raises anything over what is no container any more
        return changed


def _read_certificate(data: bytes) -> None:
    for one in read_certificates(data):
        repr((one, one.label, one.common_name, one.is_self_issued, one.unknown_critical_extensions, one.roles))
        repr((one.iin, one.bin, one.key_usage, one.policies, one.path_len, one.ski, one.aki, one.key_family))
        try:
            repr(one.public_key)
        except GatewayError:
            continue
        one.is_within_validity(seeds.NOW)


def _read_name(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedMessage("a name is text") from None
    repr(parse_issuer_name(text))


def _mutate_name(random: Random, data: bytes, other: bytes) -> bytes:
    words = (
        b"\\",
        b"\\,",
        b"\\2C",
        b"\\00",
        b"+",
        b"#04",
        b'"',
        b";",
        b"=",
        b"2.5.4.3=",
        b"OID.1.2=",
        b"\xd2\xb0",
        b" ",
    )
    return of_bytes(random, data, other, words).decode("utf-8", "ignore").encode()


_NAMES = (
    b"CN=A,O=B\\, C,C=KZ",
    "CN=ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (RSA),C=KZ".encode(),
    b'CN="quoted, name" + OU=x , 2.5.4.5=#130449494E31;C=KZ',
    b"serialNumber=IIN000000000000, OID.2.5.4.10=x\\20",
)


def _read_list(data: bytes) -> None:
    for one in read_crls(data):
        repr((one, one.label, one.unusable_because, one.scope))
        for at, serial in enumerate(one.serials()):
            repr(one.revocation_of(serial))
            if at > 100:
                break


def _read_ocsp_answer(data: bytes) -> None:
    from gateway.trust import ocsp  # see TARGETS

    answer = ocsp.read_response(data)
    repr(answer)
    certificate, issuer = seeds.key("genuine").certificate, Certificate.from_der(seeds.root().der)
    for statement in answer.statements:
        statement.is_about(certificate, issuer)


@cache
def targets() -> dict[str, Target]:
    """By name; minting their seeds takes a second."""
    found = [
        Target(
            "envelopes",
            _read_message,
            seeds.envelopes(),
            of_xml,
            ("gateway.xml", *(f"gateway.shep.{one}" for one in ("envelope", "sync_channel", "reading", "payload"))),
        ),
        _verify_messages(),
        _verify_documents(),
        Target("containers", _read_container, seeds.pfx(), _mutate_container,
               ("gateway.signing.gost.pkcs12", "gateway.signing.gost.asn1")),
        Target("certificates", _read_certificate, seeds.certificates(), of_der,
               ("gateway.signing.certificate", "gateway.signing.extensions", "gateway.signing.distinguished_names")),
        Target("issuer names", _read_name, _NAMES, _mutate_name, ("gateway.signing.issuer_names",)),
        Target("CRLs", _read_list, seeds.crls(), of_der, ("gateway.trust.crl",)),
        Target("OCSP answers", _read_ocsp_answer, seeds.ocsp_answers(), of_der, ("gateway.trust.ocsp",)),
        *messages.targets(),
    ]  # fmt: skip
    return {one.name: one for one in found}


NAMES = (
    "envelopes",
    "signed messages",
    "signed documents",
    "containers",
    "certificates",
    "issuer names",
    "CRLs",
    "OCSP answers",
    "async messages",
    "stored files",
    "Fund lists",
)

#: rounds of key derivation that a container may ask for here: each one costs time and teaches nothing
MAX_ITERATIONS = 2_000
