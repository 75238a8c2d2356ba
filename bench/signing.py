"""Signing and verifying one envelope, against one bare RSA-2048 signature of the same run.

Goals: sign ≤ 1.5 ×, verify (structure, digest, signature; the certificate is known) ≤ 0.6 ×. Other stacks do the same
work on the same message beside it where they are installed. With GOST-2015-512 the goal is, for each backend, 2 × one
bare signature (or verification) plus Streebog-512 of the same bytes.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from lxml import etree

from bench._measure import median_us
from gateway.signing import names
from gateway.signing.algorithms import GOST_2015_512_URI, SIGNATURES
from gateway.signing.certificate import Certificate
from gateway.signing.certificate_asn1 import CertificateStructure, SubjectPublicKeyInfo
from gateway.signing.distinguished_names import NameKey
from gateway.signing.enveloped import sign_enveloped, verify_enveloped
from gateway.signing.gost import asn1, curves, engine
from gateway.signing.gost.backend import GostBackend
from gateway.signing.gost.own import OwnBackend
from gateway.signing.key_info import KeyInfoForm
from gateway.signing.keys import SigningKey, SoftwareKey, load_signing_key
from gateway.signing.national import using_backend
from gateway.signing.wss import sign_body, verify_envelope
from gateway.xml import canonicalize, parse

#: bytes of the message on the wire, signed in the form of the gateway's own answers (issuer and serial number)
MESSAGE_BYTES = 4_096
SIGN_GOAL = 1.5
VERIFY_GOAL = 0.6
NATIONAL_GOAL = 2.0


class _Known:
    def __init__(self, certificate: Certificate) -> None:
        self._key = (certificate.issuer_key, certificate.serial)
        self._certificate = certificate

    def find(self, issuer_key: NameKey, serial: int) -> Certificate | None:
        return self._certificate if (issuer_key, serial) == self._key else None


def _mint(folder: Path, private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "TEST BENCH"), x509.NameAttribute(NameOID.COUNTRY_NAME, "KZ")]
    )
    start = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(private_key, hashes.SHA256())
    )
    stem = folder / type(private_key).__name__
    key_path, certificate_path = stem.with_suffix(".key"), stem.with_suffix(".pem")
    key_path.write_bytes(private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return key_path, certificate_path


def envelope(size_bytes: int) -> bytes:
    """An unsigned envelope of nearly that size, shaped as a register's answer."""
    start = (
        f'<soap:Envelope xmlns:soap="{names.SOAP_11}"><soap:Header/><soap:Body>'
        '<ns2:SendMessageResponse xmlns:ns2="http://bip.bee.kz/SyncChannel/v10/Types"><response><responseInfo>'
        "<messageId>7d0c7f6e-2b60-4d6e-9d55-4b5a3c6a1e01</messageId>"
        "<responseDate>2025-06-01T10:00:00+05:00</responseDate><status><code>SCSS001</code>"
        "<message>Message has been processed successfully</message></status></responseInfo><responseData><data>"
    )
    end = "</data></responseData></response></ns2:SendMessageResponse></soap:Body></soap:Envelope>"
    record = (  # names in two bytes a letter, as they are
        "<record><surname>ӘБІЛҚАСЫМОВА</surname><name>АЙША</name><birthDate>1990-01-01+06:00</birthDate>"
        "<document><type><code>002</code><nameRu>УДОСТОВЕРЕНИЕ</nameRu></type><number>000000000</number></document></record>"
    )
    fixed = len((start + end).encode())
    count, rest = divmod(max(0, size_bytes - fixed), len(record.encode()))
    filler = f"<note>{'x' * max(0, rest - 13)}</note>"
    return (start + record * count + filler + end).encode()


def _other_stacks(
    unsigned: bytes, key_path: Path, certificate_path: Path
) -> tuple[dict[str, Callable[[], object]], list[str]]:
    """The same work by libraries that are installed."""
    work: dict[str, Callable[[], object]] = {}
    missing = []
    try:
        import signxml  # noqa: PLC0415
    except ImportError:
        missing.append("signxml")
    else:
        private_key = load_pem_private_key(key_path.read_bytes(), None)
        certificate_pem = certificate_path.read_bytes()
        method = signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0

        def signxml_sign() -> bytes:
            root = parse(unsigned)
            root[1].set("Id", "id-1")
            signer = signxml.XMLSigner(method=signxml.SignatureConstructionMethod.detached, c14n_algorithm=method)
            root[0].append(signer.sign(root, key=private_key, cert=certificate_pem.decode(), reference_uri="#id-1"))
            return etree.tostring(root)

        signxml_signed = signxml_sign()
        work["signxml sign"] = signxml_sign
        work["signxml verify"] = lambda: signxml.XMLVerifier().verify(
            signxml_signed, x509_cert=certificate_pem.decode()
        )
    try:
        import xmlsec  # noqa: PLC0415
        from zeep.wsse.signature import MemorySignature  # noqa: PLC0415
    except ImportError:
        missing.append("xmlsec and zeep")
    else:
        zeep = MemorySignature(
            key_path.read_bytes(),
            certificate_path.read_bytes(),
            signature_method=xmlsec.Transform.RSA_SHA256,
            digest_method=xmlsec.Transform.SHA256,
        )

        def zeep_sign() -> bytes:
            return etree.tostring(zeep.apply(parse(unsigned), {})[0])

        zeep_signed = zeep_sign()
        work["zeep WS-Security sign"] = zeep_sign
        work["zeep WS-Security verify"] = lambda: zeep.verify(parse(zeep_signed))

        xmlsec_key = xmlsec.Key.from_memory(key_path.read_bytes(), xmlsec.KeyFormat.PEM)

        def xmlsec_sign() -> bytes:
            root = parse(unsigned)
            root[1].set("Id", "id-1")
            template = xmlsec.template.create(root, xmlsec.Transform.EXCL_C14N, xmlsec.Transform.RSA_SHA256)
            root[0].append(template)
            reference = xmlsec.template.add_reference(template, xmlsec.Transform.SHA256, uri="#id-1")
            xmlsec.template.add_transform(reference, xmlsec.Transform.EXCL_C14N)
            context = xmlsec.SignatureContext()
            context.key = xmlsec_key
            context.register_id(root[1], "Id")
            context.sign(template)
            return etree.tostring(root)

        xmlsec_signed = xmlsec_sign()
        xmlsec_public = xmlsec.Key.from_memory(certificate_path.read_bytes(), xmlsec.KeyFormat.CERT_PEM)

        def xmlsec_verify() -> None:
            root = parse(xmlsec_signed)
            context = xmlsec.SignatureContext()
            context.key = xmlsec_public
            context.register_id(root[1], "Id")
            context.verify(root[0][0])

        work["python-xmlsec sign"] = xmlsec_sign
        work["python-xmlsec verify"] = xmlsec_verify
    return work, missing


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_path, certificate_path = _mint(folder, rsa_key)
        key = load_signing_key(key_path, certificate_path=certificate_path)
        ec_key = load_signing_key(*_ec(folder))
        _run(rsa_key, key, ec_key, key_path, certificate_path)
        _run_national(ec_key.certificate)


def _ec(folder: Path) -> tuple[Path, None, Path]:
    key_path, certificate_path = _mint(folder, ec.generate_private_key(ec.SECP256R1()))
    return key_path, None, certificate_path


def _run(
    rsa_key: rsa.RSAPrivateKey, key: SigningKey, ec_key: SigningKey, key_path: Path, certificate_path: Path
) -> None:
    overhead = len(sign_body(parse(envelope(1_000))[1], key, form=KeyInfoForm.ISSUER_SERIAL)) - 1_000
    unsigned = envelope(MESSAGE_BYTES - overhead)
    body = parse(unsigned)[1]
    document = parse(unsigned)[1][0]
    large_body = parse(envelope(10 * MESSAGE_BYTES))[1]
    inline = sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER)
    named = sign_body(body, key, form=KeyInfoForm.ISSUER_SERIAL)
    curve = sign_body(body, ec_key, form=KeyInfoForm.KEY_IDENTIFIER)
    large = sign_body(large_body, key, form=KeyInfoForm.ISSUER_SERIAL)
    enveloped = sign_enveloped(document, key)
    known = _Known(key.certificate)
    pkcs1, sha256 = padding.PKCS1v15(), hashes.SHA256()
    signature = rsa_key.sign(unsigned, pkcs1, sha256)
    public_key = rsa_key.public_key()
    bare = "RSA-2048 signature, bare"
    goals = {
        "sign_body, issuer and serial": SIGN_GOAL,
        "verify_envelope, issuer and serial": VERIFY_GOAL,
    }
    work: dict[str, Callable[[], object]] = {
        bare: lambda: rsa_key.sign(unsigned, pkcs1, sha256),
        "RSA-2048 verification, bare": lambda: public_key.verify(signature, unsigned, pkcs1, sha256),
        "sign_body, issuer and serial": lambda: sign_body(body, key, form=KeyInfoForm.ISSUER_SERIAL),
        "verify_envelope, issuer and serial": lambda: verify_envelope(named, certificates=known),
        "  the same, and the Body parsed": lambda: verify_envelope(named, certificates=known).body,
        f"sign_body, {len(large) // 1000} KB": lambda: sign_body(large_body, key, form=KeyInfoForm.ISSUER_SERIAL),
        f"verify_envelope, {len(large) // 1000} KB": lambda: verify_envelope(large, certificates=known),
        "sign_body, key identifier": lambda: sign_body(body, key, form=KeyInfoForm.KEY_IDENTIFIER),
        "verify_envelope, key identifier": lambda: verify_envelope(inline),
        "sign_body, ECDSA P-256": lambda: sign_body(body, ec_key, form=KeyInfoForm.KEY_IDENTIFIER),
        "verify_envelope, ECDSA P-256": lambda: verify_envelope(curve),
        "sign_enveloped": lambda: sign_enveloped(document, key),
        "verify_enveloped": lambda: verify_enveloped(enveloped),
    }
    others, missing = _other_stacks(unsigned, key_path, certificate_path)
    medians = median_us(work | others)
    print(
        f"signing: a message of {len(named)} bytes with issuer and serial, {len(inline)} with its certificate,"
        f" {len(unsigned)} unsigned; CPU of one thread, median"
    )
    print(f"{'':38}{'µs':>8}{'× RSA':>9}  goal")
    for what, us in medians.items():
        ratio = us / medians[bare]
        goal = goals.get(what)
        verdict = "" if goal is None else f"≤ {goal} {'met' if ratio <= goal else 'NOT MET'}"
        print(f"{what:38}{us:8.0f}{ratio:9.2f}  {verdict}".rstrip())
    if missing:
        print(f"not installed, so not beside it: {', '.join(missing)}")


# ---------------------------------------------------------------- national signatures


def _backends() -> dict[str, GostBackend]:
    found: dict[str, GostBackend] = {"own": OwnBackend(allow_variable_time=True)}
    usable = engine.available()
    if usable.usable:
        found["engine"] = engine.EngineBackend.shared()
    else:
        print(f"engine: {usable.reason}")
    return found


def _national_key(template: Certificate, backend: GostBackend) -> SoftwareKey:
    """A key whose certificate is the template's with another public key in it: who issued it is not asked here."""
    private_key = (2**500 + 4_711).to_bytes(64, "little")
    spki = asn1.write_public_key(asn1.PublicKey(asn1.GOST_2015_512, backend.public_key512(private_key)))
    made = CertificateStructure.load(template.der)
    made["tbs_certificate"]["subject_public_key_info"] = SubjectPublicKeyInfo.load(spki)
    certificate = Certificate.from_der(made.dump(force=True))
    return SoftwareKey(certificate, SIGNATURES[GOST_2015_512_URI], private_key)


def _run_national(template: Certificate) -> None:
    for name, backend in _backends().items():
        with using_backend(backend):
            _measure_national(name, backend, _national_key(template, backend))


def _measure_national(name: str, backend: GostBackend, key: SoftwareKey) -> None:
    body = parse(envelope(MESSAGE_BYTES))[1]
    document = body[0]
    signed = sign_body(body, key, form=KeyInfoForm.ISSUER_SERIAL)
    enveloped = sign_enveloped(document, key)
    known = _Known(key.certificate)
    digested = verify_envelope(signed, certificates=known).canonical
    signed_info = canonicalize(parse(signed)[0][0][0][0])
    public_key = key.certificate.spki_der[-128:]
    private_key = key._private_key
    value = key.sign(signed_info)
    digest512 = backend.digest512

    def bare_sign() -> None:
        digest512(digested)
        backend.sign512(private_key, digest512(signed_info))

    def bare_verify() -> None:
        digest512(digested)
        backend.verify512(public_key, digest512(signed_info), value)

    work: dict[str, Callable[[], object]] = {
        "bare signature and Streebog": bare_sign,
        "bare verification and Streebog": bare_verify,
        "sign_body": lambda: sign_body(body, key, form=KeyInfoForm.ISSUER_SERIAL),
        "verify_envelope": lambda: verify_envelope(signed, certificates=known),
        "sign_enveloped": lambda: sign_enveloped(document, key),
        "verify_enveloped": lambda: verify_enveloped(enveloped),
    }
    for _ in range(curves.USES_BEFORE_TABLE):  # the table of the signer's key, as in a running daemon
        bare_verify()
    medians = median_us(work, rounds=15)
    print(f"GOST-2015-512 by {name}: a message of {len(signed)} bytes")
    print(f"{'':38}{'µs':>8}{'× bare':>9}  goal")
    for what, us in medians.items():
        bare = medians["bare signature and Streebog" if "sign_" in what else "bare verification and Streebog"]
        ratio = us / bare
        verdict = f"≤ {NATIONAL_GOAL} {'met' if ratio <= NATIONAL_GOAL else 'NOT MET'}"
        print(f"{what:38}{us:8.0f}" + ("" if "bare" in what else f"{ratio:9.2f}  {verdict}"))
