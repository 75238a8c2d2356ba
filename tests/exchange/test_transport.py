"""Transport against real sockets: each phase at which a connection can break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from gateway.errors import ConfigurationError, OutcomeUnknown, PeerUnavailable
from gateway.exchange.transport import HttpxTransport, Reply

Behaviour = Callable[[socket.socket, "Peer"], None]


@dataclass
class Peer:
    """One listening socket whose behaviour towards each connection is a function."""

    behaviour: Behaviour
    requests: list[bytes] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads: list[threading.Thread] = []
        self.connections: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/bip-sync/"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.behaviour(connection, self)

    def close(self) -> None:
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepting.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # kept alive by the client, or closed already
        for thread in self.threads:
            thread.join()


def read_request(connection: socket.socket, peer: Peer) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    peer.requests.append(head + b"\r\n\r\n" + body)
    return body


def answering(head: bytes, body: bytes = b"") -> Behaviour:
    def behave(connection: socket.socket, peer: Peer) -> None:
        while read_request(connection, peer):
            connection.sendall(head + b"\r\n\r\n" + body)

    return behave


@pytest.fixture(scope="module")
def transport() -> Iterator[HttpxTransport]:
    with HttpxTransport() as opened:
        yield opened


@pytest.fixture
def start() -> Iterator[Callable[[Behaviour], Peer]]:
    peers: list[Peer] = []

    def begin(behaviour: Behaviour) -> Peer:
        peers.append(Peer(behaviour))
        return peers[-1]

    yield begin
    for peer in peers:
        peer.close()


def post(
    transport: HttpxTransport,
    url: str,
    *,
    connect_timeout_s: float = 10,
    reply_timeout_s: float = 10,
    bound: int = 1000,
) -> Reply:
    return transport.post(
        url, b"<a/>", connect_timeout_s=connect_timeout_s, reply_timeout_s=reply_timeout_s, max_reply_bytes=bound
    )


def test_the_reply_comes_back_exactly(transport: HttpxTransport, start: Callable[[Behaviour], Peer]) -> None:
    body = b"\xef\xbb\xbf <a>\r\n</a>\n"
    peer = start(answering(b"HTTP/1.1 500 X\r\nContent-Type: text/xml\r\nContent-Length: %d" % len(body), body))
    assert post(transport, peer.url) == Reply(500, "text/xml", body)


def test_the_request_is_what_the_channel_expects(transport: HttpxTransport, start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    post(transport, peer.url)
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    assert body == b"<a/>"
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"content-type: text/xml; charset=utf-8", b'soapaction: ""', b"accept-encoding: identity"} <= lines


def test_a_connection_is_used_again(transport: HttpxTransport, start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    post(transport, peer.url)
    post(transport, peer.url)
    assert len(peer.requests) == 2
    assert len(peer.threads) == 1


def test_a_redirect_is_not_followed(transport: HttpxTransport, start: Callable[[Behaviour], Peer]) -> None:
    other = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    peer = start(answering(b"HTTP/1.1 307 Moved\r\nLocation: " + other.url.encode() + b"\r\nContent-Length: 0"))
    assert post(transport, peer.url).status == 307
    assert other.requests == []


def test_a_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[Behaviour], Peer]
) -> None:
    proxy = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2", b"ok"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    with HttpxTransport() as opened:
        assert post(opened, peer.url).body == b"ok"
    assert proxy.requests == []


def test_packed_bytes_are_not_unpacked(transport: HttpxTransport, start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3", b"abc"))
    assert post(transport, peer.url).body == b"abc"


def test_a_refused_connection_is_safe_to_ask_again(transport: HttpxTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(PeerUnavailable, match="nothing was sent"):
        post(transport, url)


def test_tls_that_does_not_come_about_is_safe_to_ask_again(
    transport: HttpxTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def not_tls(connection: socket.socket, peer: Peer) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    peer = start(not_tls)
    with pytest.raises(PeerUnavailable, match="ConnectError"):
        post(transport, peer.url.replace("http://", "https://"))


def test_a_connection_that_never_comes_about_ends_by_its_deadline(
    transport: HttpxTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def silent(connection: socket.socket, peer: Peer) -> None:
        peer.ended.wait()  # accepts, and never says a word of TLS

    peer = start(silent)
    with pytest.raises(PeerUnavailable, match="ConnectTimeout"):
        post(transport, peer.url.replace("http://", "https://"), connect_timeout_s=0.05)


def test_no_reply_in_time_is_outcome_unknown(transport: HttpxTransport, start: Callable[[Behaviour], Peer]) -> None:
    def mute(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        peer.ended.wait()

    peer = start(mute)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url, reply_timeout_s=0.05)
    assert caught.value.code == "reply_timeout"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_dripping_sender_ends_by_the_total_deadline(
    transport: HttpxTransport, start: Callable[[Behaviour], Peer], head: bytes
) -> None:
    def drip(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(head)
        while not peer.ended.wait(0.01):
            connection.sendall(b"a")

    peer = start(drip)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url, reply_timeout_s=0.15, bound=1_000_000)
    assert caught.value.code == "reply_timeout"


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a", b"not http at all\r\n\r\n"],
    ids=["nothing", "half a status line", "half a body", "not HTTP"],
)
def test_a_reply_cut_anywhere_is_outcome_unknown(
    transport: HttpxTransport, start: Callable[[Behaviour], Peer], sent: bytes
) -> None:
    def cut(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(sent)

    peer = start(cut)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"


def test_a_connection_reset_after_the_request_is_outcome_unknown(
    transport: HttpxTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def reset(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    peer = start(reset)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"


def test_a_reply_over_the_bound_is_not_read_to_its_end(
    transport: HttpxTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def endless(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
        while not peer.ended.is_set():
            connection.sendall(b"a" * 65536)

    peer = start(endless)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url, bound=100_000)
    assert caught.value.code == "reply_too_large"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "no address", "http://a:notaport/"])
def test_an_address_that_is_none_is_a_configuration_error(transport: HttpxTransport, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shep\.sync_url"):
        post(transport, url)


def test_closing_twice_is_harmless() -> None:
    opened = HttpxTransport()
    opened.close()
    opened.close()


@pytest.mark.parametrize(("scheme", "expected"), [("http", OutcomeUnknown), ("https", PeerUnavailable)])
def test_closing_ends_what_is_under_way_with_what_is_known_of_it(
    start: Callable[[Behaviour], Peer], scheme: str, expected: type[Exception]
) -> None:
    begun = threading.Event()

    def hold(connection: socket.socket, peer: Peer) -> None:
        connection.recv(65536)  # a request, or the first words of TLS that are never answered
        begun.set()
        peer.ended.wait()

    peer = start(hold)
    opened = HttpxTransport()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, opened, peer.url.replace("http:", f"{scheme}:"))
        begun.wait()
        opened.close()
        error = waiting.exception()
    assert type(error) is expected
    assert "this program stopped" in str(error)


def test_nothing_is_sent_after_closing(start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    opened = HttpxTransport()
    opened.close()
    with pytest.raises(PeerUnavailable, match="stopping"):
        post(opened, peer.url)
    assert peer.requests == []


def test_closing_ends_what_still_waits_for_a_connection(start: Callable[[Behaviour], Peer]) -> None:
    begun = threading.Event()

    def hold(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        begun.set()
        peer.ended.wait()

    peer = start(hold)
    opened = HttpxTransport(max_connections=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, opened, peer.url)
        begun.wait()
        second = pool.submit(post, opened, peer.url)
        while len(asyncio.all_tasks(opened._loop)) < 2:
            pass
        opened.close()
        assert isinstance(first.exception(), OutcomeUnknown)
        assert isinstance(second.exception(), PeerUnavailable)
    assert len(peer.requests) == 1
