"""Long bodies over real sockets: what is known at each point where the connection can break."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.errors import ConfigurationError, MalformedMessage, OutcomeUnknown, PeerUnavailable
from gateway.exchange.streaming import HttpStreaming

Behaviour = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: "


@contextmanager
def peer(behaviour: Behaviour) -> Iterator[str]:
    """A server that behaves once so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    behaviour(connection)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://login:pass%20word@127.0.0.1:{listener.getsockname()[1]}/path/?query=1"
        thread.join()


def received(connection: socket.socket) -> tuple[bytes, bytes]:
    """Headers and body of the request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return head, body


def post(url: str, pieces: list[bytes], *, timeout_s: float = 20.0) -> tuple[int, bytes]:
    came = bytearray()
    status = HttpStreaming().post(
        url, iter(pieces), sum(map(len, pieces)), came.extend, connect_timeout_s=5, transfer_timeout_s=timeout_s
    )
    return status, bytes(came)


def test_a_message_goes_in_pieces_as_one_and_its_reply_comes_in_pieces() -> None:
    heads: list[bytes] = []

    def answering(connection: socket.socket) -> None:
        head, body = received(connection)
        heads.append(head)
        connection.sendall(HEAD + str(len(body)).encode() + b"\r\n\r\n" + body)

    pieces = [b"a" * 100_000, b"", b"b" * 100_000]
    with peer(answering) as url:
        assert post(url, pieces) == (200, b"".join(pieces))
    (head,) = heads
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /path/?query=1 HTTP/1.1"
    assert b"Authorization: Basic bG9naW46cGFzcyB3b3Jk" in lines
    assert b"Accept-Encoding: identity" in lines
    assert b'SOAPAction: ""' in lines


def test_a_redirect_is_not_followed() -> None:
    def redirecting(connection: socket.socket) -> None:
        received(connection)
        connection.sendall(b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")

    with peer(redirecting) as url:
        assert post(url, [b"x"]) == (307, b"")


def test_where_nobody_listens_nothing_was_sent() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(PeerUnavailable, match="safe to ask again"):
        post(f"http://127.0.0.1:{port}/", [b"x"])


def test_a_server_without_a_known_certificate_gets_nothing() -> None:
    sent: list[bytes] = []

    def no_tls(connection: socket.socket) -> None:
        sent.append(connection.recv(65_536))
        connection.sendall(b"this is no handshake")

    with peer(no_tls) as url, pytest.raises(PeerUnavailable):
        post(url.replace("http://", "https://"), [b"a secret"])
    assert b"secret" not in b"".join(sent)
    assert HttpStreaming()._tls.verify_mode is ssl.CERT_REQUIRED


def _says_nothing(connection: socket.socket) -> None:
    received(connection)


def _half_an_answer(connection: socket.socket) -> None:
    received(connection)
    connection.sendall(HEAD + b"100\r\n\r\nhalf")


def _no_http(connection: socket.socket) -> None:
    received(connection)
    connection.sendall(b"hello\r\n\r\n")


def _hangs_up_at_once(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize("behaviour", [_says_nothing, _half_an_answer, _no_http, _hangs_up_at_once])
def test_whatever_breaks_after_the_first_byte_is_not_known(behaviour: Behaviour) -> None:
    with peer(behaviour) as url, pytest.raises(OutcomeUnknown) as unknown:
        post(url, [b"x" * 65_536] * 200)
    assert unknown.value.code == "reply_cut"
    assert "pass" not in unknown.value.message


def test_a_peer_that_drips_is_cut_off_at_the_deadline() -> None:
    over = threading.Event()

    def dripping(connection: socket.socket) -> None:
        received(connection)
        connection.sendall(HEAD + b"1000000\r\n\r\n")
        while not over.wait(0.05):
            connection.sendall(b".")

    with peer(dripping) as url:
        with pytest.raises(OutcomeUnknown) as unknown:
            post(url, [b"x"], timeout_s=0.5)
        over.set()
    assert unknown.value.code == "reply_timeout"


def test_a_peer_that_takes_nothing_is_cut_off_at_the_deadline() -> None:
    over = threading.Event()
    with peer(lambda _: over.wait(20)) as url:
        with pytest.raises(OutcomeUnknown) as unknown:
            post(url, [b"x" * 65_536] * 1_000, timeout_s=0.5)
        over.set()
    assert unknown.value.code == "reply_timeout"


def test_what_the_taker_of_the_reply_raises_ends_the_exchange() -> None:
    def answering(connection: socket.socket) -> None:
        received(connection)
        connection.sendall(HEAD + b"4\r\n\r\nlong")

    def refuse(_: bytes) -> None:
        raise MalformedMessage("too much", code="too_large")

    with peer(answering) as url, pytest.raises(MalformedMessage):
        HttpStreaming().post(url, [b"x"], 1, refuse, connect_timeout_s=5, transfer_timeout_s=20)


@pytest.mark.parametrize("url", ["", "ftp://host/", "http:///path", "http://host:port/", "not an address"])
def test_an_address_that_is_none_is_ours_to_mend(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shep\.sync_url"):
        post(url, [b"x"])


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate of 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "peer.pem"
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + key_pem)
    return path


def over_tls(certificate: Path, behaviour: Behaviour) -> Behaviour:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            behaviour(secured)

    return behave


def test_a_long_body_goes_and_comes_over_tls(certificate: Path) -> None:
    def echoing(connection: socket.socket) -> None:
        _, body = received(connection)
        connection.sendall(HEAD + str(len(body)).encode() + b"\r\n\r\n" + body)

    came = bytearray()
    streams = HttpStreaming(tls=ssl.create_default_context(cafile=certificate))
    with peer(over_tls(certificate, echoing)) as url:
        https = url.replace("http://", "https://")
        pieces = [b"a" * 100_000] * 3
        streams.post(https, pieces, 300_000, came.extend, connect_timeout_s=5, transfer_timeout_s=20)
    assert came == b"a" * 300_000


def test_a_drip_over_tls_is_cut_off_at_the_deadline(certificate: Path) -> None:
    over = threading.Event()

    def dripping(connection: socket.socket) -> None:
        received(connection)
        connection.sendall(HEAD + b"1000000\r\n\r\n")
        while not over.wait(0.05):
            connection.sendall(b".")

    streams = HttpStreaming(tls=ssl.create_default_context(cafile=certificate))
    with peer(over_tls(certificate, dripping)) as url:
        with pytest.raises(OutcomeUnknown) as unknown:
            streams.post(
                url.replace("http://", "https://"),
                [b"x"],
                1,
                bytearray().extend,
                connect_timeout_s=5,
                transfer_timeout_s=0.5,
            )
        over.set()
    assert unknown.value.code == "reply_timeout"


def test_a_certificate_that_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    seen: list[bytes] = []
    with (
        peer(over_tls(certificate, lambda connection: seen.append(connection.recv(100)))) as url,
        pytest.raises(PeerUnavailable, match="SSLCertVerificationError"),
    ):
        post(url.replace("http://", "https://"), [b"a secret"])
    assert b"".join(seen) == b""
