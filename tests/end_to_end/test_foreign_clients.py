"""Clients that know only our served ?wsdl, and a message that xmlsec1 signed: nothing of our own on the asking side."""

from __future__ import annotations

import base64
import datetime as dt
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import xmlsec
import zeep
from lxml import etree
from zeep.wsse.signature import Signature

from gateway.model import Iin
from gateway.sandbox.population import Population
from tests.end_to_end.program import World

SERVICE = "FUND_CONSUMER_STATUS"
CONTRACT = "urn:shep-gateway:fund:consumer-status:v1"
TYPES = "http://bip.bee.kz/SyncChannel/v10/Types"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
DS = "http://www.w3.org/2000/09/xmldsig#"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"


class SignsWithOneKeyAndChecksWithAnother:
    """zeep's own WS-Security: its Signature can do both, with one certificate each."""

    def __init__(self, world: World, name: str) -> None:
        sha256 = {
            "signature_method": xmlsec.constants.TransformRsaSha256,
            "digest_method": xmlsec.constants.TransformSha256,
        }
        keys = world.pki
        self._ours = Signature(str(keys.key(name)), str(keys.certificate(name)), **sha256)
        self._theirs = Signature(str(keys.key("gateway")), str(keys.certificate("gateway")), **sha256)

    def apply(self, envelope: etree._Element, headers: dict[str, str]) -> tuple[etree._Element, dict[str, str]]:
        return self._ours.apply(envelope, headers)

    def verify(self, envelope: etree._Element) -> etree._Element:
        return self._theirs.verify(envelope)


def zeep_client(world: World, name: str = "client") -> zeep.Client:
    return zeep.Client(f"{world.daemon.url}?wsdl", wsse=SignsWithOneKeyAndChecksWithAnother(world, name))


def ask_with_zeep(client: zeep.Client, iin: str, service: str = SERVICE) -> object:
    # zeep would send an element given for anyType as its repr(): the payload is grafted into the built message
    message = {
        "requestInfo": {
            "messageId": str(uuid.uuid4()),
            "serviceId": service,
            "messageDate": dt.datetime.now(dt.UTC),
            "sender": {"senderId": "clinic", "password": "hush-hush"},
        },
        "requestData": {"data": ""},
    }
    plugin = Graft(iin)
    client.plugins = [plugin]
    return client.service.SendMessage(request=message)


class Graft(zeep.Plugin):
    """Puts our payload into the empty <data> before zeep signs."""

    def __init__(self, iin: str) -> None:
        self._iin = iin

    def egress(self, envelope, http_headers, operation, binding_options):
        data = envelope.find(".//data")
        data.text = None
        request = etree.SubElement(data, f"{{{CONTRACT}}}consumerStatusRequest")
        etree.SubElement(request, "iin").text = self._iin
        return envelope, http_headers


@pytest.fixture
def known_person(world: World, population: Population) -> Iin:
    """Someone with a disability, about whom the register has been asked."""
    iin = population.exhibit("disabled_indefinitely")
    asked = world.run("query", "cbdi", "--iin", iin.value)
    assert asked.code == 0, asked.stderr
    return iin


def test_zeep_with_its_own_ws_security_gets_a_signed_answer_and_takes_its_signature(
    world: World, known_person: Iin
) -> None:
    answer = ask_with_zeep(zeep_client(world), known_person.value)
    assert answer.responseInfo.status.code == "SCSS001"
    (response,) = [part for part in answer.responseData.data if isinstance(part, etree._Element)]
    standing = {etree.QName(element).localname: element.text for element in response.iter("*")}
    assert standing["consumer"] == "true"
    assert standing["category"] == "person_with_disability"
    assert "004 p.47" in [element.text for element in response.iter("citation")]


def test_zeep_reads_our_faults_as_faults(world: World) -> None:
    client = zeep_client(world)
    with pytest.raises(zeep.exceptions.Fault) as refused:
        ask_with_zeep(client, "900101300017", service="NO_SUCH_SERVICE")
    assert fault_code(refused.value.detail) == "SCE004"


def test_a_stranger_with_zeep_is_refused_by_his_certificate(world: World) -> None:
    with pytest.raises(zeep.exceptions.Fault) as refused:
        ask_with_zeep(zeep_client(world, "stranger"), "900101300017")
    assert fault_code(refused.value.detail) == "SCE005"


# ---------------------------------------------------------------- plain HTTP with a message signed by xmlsec1


def envelope(iin: str, *, service: str = SERVICE, certificate: str = "") -> str:
    """An unsigned message with an empty signature for xmlsec1 to fill in."""
    return (
        f'<soap:Envelope xmlns:soap="{SOAP}"><soap:Header><wsse:Security xmlns:wsse="{WSSE}" soap:mustUnderstand="1">'
        f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo>'
        '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
        '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>'
        '<ds:Reference URI="#body"><ds:Transforms>'
        '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>'
        '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue/></ds:Reference>'
        "</ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><wsse:SecurityTokenReference>"
        "<wsse:KeyIdentifier "
        'EncodingType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary" '
        'ValueType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3">'
        f"{certificate}</wsse:KeyIdentifier></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature></wsse:Security>"
        f'</soap:Header><soap:Body xmlns:wsu="{WSU}" wsu:Id="body">'
        f'<n:SendMessage xmlns:n="{TYPES}"><request><requestInfo>'
        f"<messageId>{uuid.uuid4()}</messageId><serviceId>{service}</serviceId>"
        f"<messageDate>{dt.datetime.now(dt.UTC).isoformat()}</messageDate>"
        "<sender><senderId>clinic</senderId><password>hush-hush</password></sender></requestInfo><requestData><data>"
        f'<c:consumerStatusRequest xmlns:c="{CONTRACT}"><iin>{iin}</iin></c:consumerStatusRequest>'
        "</data></requestData></request></n:SendMessage></soap:Body></soap:Envelope>"
    )


def signed_by_xmlsec1(world: World, folder: Path, text: str, name: str = "client") -> bytes:
    unsigned, signed = folder / f"{uuid.uuid4()}.xml", folder / f"{uuid.uuid4()}.xml"
    unsigned.write_text(text, encoding="utf-8")
    subprocess.run(
        ["xmlsec1", "--sign", "--privkey-pem", str(world.pki.key(name)), "--id-attr:Id", f"{SOAP}:Body",
         "--output", str(signed), str(unsigned)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return signed.read_bytes()


def certificate_text(world: World, name: str) -> str:
    pem = world.pki.certificate(name).read_text()
    return "".join(pem.split("-----")[2].split())


def post(world: World, message: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(
        world.daemon.url, content=message, headers=headers or {"Content-Type": "text/xml"}, trust_env=False, timeout=60
    )


def fault_code(tree: etree._Element) -> str:
    (info,) = tree.iter(f"{{{TYPES}}}SendMessageFault1_SendMessageFault")
    return info.findtext("errorCode")


def xmlsec1_takes(world: World, folder: Path, reply: bytes) -> bool:
    file = folder / f"{uuid.uuid4()}.xml"
    file.write_bytes(reply)
    checked = subprocess.run(
        ["xmlsec1", "--verify", "--pubkey-cert-pem", str(world.pki.certificate("gateway")),
         "--id-attr:Id", f"{SOAP}:Body", str(file)],
        check=False,
        capture_output=True,
    )  # fmt: skip
    return checked.returncode == 0


def test_a_message_signed_by_xmlsec1_gets_an_answer_that_xmlsec1_verifies(
    world: World, known_person: Iin, tmp_path: Path
) -> None:
    text = envelope(known_person.value, certificate=certificate_text(world, "client"))
    reply = post(world, signed_by_xmlsec1(world, tmp_path, text))
    assert reply.status_code == 200
    assert xmlsec1_takes(world, tmp_path, reply.content)
    assert not xmlsec1_takes(world, tmp_path, reply.content.replace(b">true<", b">fals<"))
    tree = etree.fromstring(reply.content)
    assert [element.text for element in tree.iter("consumer")] == ["true"]
    assert len(list(tree.iter("messageId"))) >= 2  # of the response, and of the message that it rests on


def test_a_person_nobody_asked_about_is_neither_yes_nor_no(
    world: World, population: Population, tmp_path: Path
) -> None:
    stranger = population.person(150)
    text = envelope(stranger.value, certificate=certificate_text(world, "client"))
    tree = etree.fromstring(post(world, signed_by_xmlsec1(world, tmp_path, text)).content)
    assert [element.text for element in tree.iter("code")] == ["NO_DATA"]
    assert not list(tree.iter("consumer"))


def forged(message: bytes) -> bytes:
    """The signed Body moved into the header, another one in its place: the signature itself stays true."""
    tree = etree.fromstring(message)
    header, body = tree
    other = etree.fromstring(etree.tostring(body))
    for element in other.iter("iin"):
        element.text = "900101300017"
    other.attrib.clear()
    tree.replace(body, other)
    etree.SubElement(header, "moved").append(body)
    return etree.tostring(tree)


def bad_inputs(world: World, folder: Path) -> Iterator[tuple[str, bytes, str]]:
    genuine = signed_by_xmlsec1(world, folder, envelope("900101300017", certificate=certificate_text(world, "client")))
    unsigned = re.sub(rb"<soap:Header>.*</soap:Header>", b"", genuine, flags=re.DOTALL)
    yield "unsigned", unsigned, "SCE007"
    for name in ("stranger", "expired", "revoked"):
        text = envelope("900101300017", certificate=certificate_text(world, name))
        yield name, signed_by_xmlsec1(world, folder, text, name), "SCE005"
    yield "forged by wrapping", forged(genuine), "SCE006"
    yield "changed after signing", genuine.replace(b"clinic", b"clinik"), "SCE006"
    yield "too large", b"<a>" + b"x" * 250_000 + b"</a>", "SCE001"
    yield "not XML", b"hello", "SCE001"
    yield "empty", b"", "SCE001"
    yield "cut in the middle", genuine[: len(genuine) // 2], "SCE001"
    yield "with a DOCTYPE", b"<!DOCTYPE a>" + genuine.removeprefix(b'<?xml version="1.0"?>').lstrip(), "SCE001"
    text = envelope("900101300017", service="NOBODY", certificate=certificate_text(world, "client"))
    yield "for an unknown service", signed_by_xmlsec1(world, folder, text), "SCE004"
    text = envelope("900101300018", certificate=certificate_text(world, "client"))
    yield "about an invalid IIN", signed_by_xmlsec1(world, folder, text), "SCE001"


def test_every_kind_of_bad_input_gets_a_signed_fault_with_its_code_and_is_journalled(
    world: World, tmp_path: Path
) -> None:
    def count() -> int:
        listed = world.run("journal", "list", "--direction", "in", "--limit", "10000", "--json")
        return len(listed.stdout.splitlines())

    before = count()
    kinds = list(bad_inputs(world, tmp_path))
    for kind, message, code in kinds:
        reply = post(world, message)
        assert (kind, reply.status_code) == (kind, 500)
        assert (kind, fault_code(etree.fromstring(reply.content))) == (kind, code)
        assert xmlsec1_takes(world, tmp_path, reply.content), kind
        assert "Traceback" not in reply.text
    assert count() == before + len(kinds)
    assert httpx.get(f"{world.daemon_root}/health/ready", trust_env=False, timeout=60).status_code == 200


def test_nothing_of_a_body_nor_a_password_reaches_the_log(world: World, known_person: Iin, tmp_path: Path) -> None:
    text = envelope(known_person.value, certificate=certificate_text(world, "client"))
    post(world, signed_by_xmlsec1(world, tmp_path, text))
    for _, message, _ in bad_inputs(world, tmp_path):
        post(world, message)
    for process in (world.daemon, world.sandbox):
        said = process.said()
        assert "hush-hush" not in said
        assert known_person.value not in said
        assert not re.search(r"(?<![0-9a-f])\d{12}(?![0-9a-f])", said)


def test_a_reply_to_base64_of_anything_is_a_fault_and_the_process_lives_on(world: World) -> None:
    for message in (base64.b64encode(b"x" * 100), b"\x00" * 100, b"\xff\xfe<\x00a\x00/\x00>\x00"):
        assert post(world, message, {"Content-Type": "application/octet-stream"}).status_code == 500
    assert httpx.get(f"{world.daemon_root}/health/live", trust_env=False).json() == {"live": True}
