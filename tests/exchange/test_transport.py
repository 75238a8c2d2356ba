"""Transport against real sockets: each phase at which a connection can break."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.errors import ConfigurationError, OutcomeUnknown, PeerUnavailable
from gateway.exchange import http_pool
from gateway.exchange.http_connection import Origin
from gateway.exchange.http_transport import HttpTransport
from gateway.exchange.transport import Post, Reply, one_by_one

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
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/bip-sync/"

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
def transport() -> Iterator[HttpTransport]:
    with HttpTransport() as opened:
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
    transport: HttpTransport,
    url: str,
    *,
    connect_timeout_s: float = 10,
    reply_timeout_s: float = 10,
    bound: int = 1000,
) -> Reply:
    return transport.post(
        url, b"<a/>", connect_timeout_s=connect_timeout_s, reply_timeout_s=reply_timeout_s, max_reply_bytes=bound
    )


def test_the_reply_comes_back_exactly(transport: HttpTransport, start: Callable[[Behaviour], Peer]) -> None:
    body = b"\xef\xbb\xbf <a>\r\n</a>\n"
    peer = start(answering(b"HTTP/1.1 500 X\r\nContent-Type: text/xml\r\nContent-Length: %d" % len(body), body))
    assert post(transport, peer.url) == Reply(500, "text/xml", body)


def test_the_request_is_what_the_channel_expects(transport: HttpTransport, start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    post(transport, peer.url)
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    assert body == b"<a/>"
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"content-type: text/xml; charset=utf-8", b'soapaction: ""', b"accept-encoding: identity"} <= lines


def test_a_connection_is_used_again(transport: HttpTransport, start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    post(transport, peer.url)
    post(transport, peer.url)
    assert len(peer.requests) == 2
    assert len(peer.threads) == 1


def test_a_redirect_is_not_followed(transport: HttpTransport, start: Callable[[Behaviour], Peer]) -> None:
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
    with HttpTransport() as opened:
        assert post(opened, peer.url).body == b"ok"
    assert proxy.requests == []


def test_packed_bytes_are_not_unpacked(transport: HttpTransport, start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3", b"abc"))
    assert post(transport, peer.url).body == b"abc"


def test_a_refused_connection_is_safe_to_ask_again(transport: HttpTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(PeerUnavailable, match="nothing was sent"):
        post(transport, url)


def test_tls_that_does_not_come_about_is_safe_to_ask_again(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def not_tls(connection: socket.socket, peer: Peer) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    peer = start(not_tls)
    with pytest.raises(PeerUnavailable, match="SSLError"):
        post(transport, peer.url.replace("http://", "https://"))


def test_a_connection_that_never_comes_about_ends_by_its_deadline(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def silent(connection: socket.socket, peer: Peer) -> None:
        peer.ended.wait()  # accepts, and never says a word of TLS

    peer = start(silent)
    with pytest.raises(PeerUnavailable, match="TimeoutError"):
        post(transport, peer.url.replace("http://", "https://"), connect_timeout_s=0.05)


def test_no_reply_in_time_is_outcome_unknown(transport: HttpTransport, start: Callable[[Behaviour], Peer]) -> None:
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
    transport: HttpTransport, start: Callable[[Behaviour], Peer], head: bytes
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
    transport: HttpTransport, start: Callable[[Behaviour], Peer], sent: bytes
) -> None:
    def cut(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(sent)

    peer = start(cut)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"


def test_a_connection_reset_after_the_request_is_outcome_unknown(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def reset(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    peer = start(reset)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"


def test_a_reply_over_the_bound_is_not_read_to_its_end(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
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
def test_an_address_that_is_none_is_a_configuration_error(transport: HttpTransport, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shep\.sync_url"):
        post(transport, url)


# ---------------------------------------------------------------- where a reply ends


def asking_twice(transport: HttpTransport, peer: Peer) -> list[Reply]:
    return [post(transport, peer.url), post(transport, peer.url)]


WHOLE = [
    (b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 4\r\n\r\nbody", Reply(200, "a", b"body")),
    (
        b"HTTP/1.1 500 X\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nbod\r\n1\r\ny\r\n0\r\nContent-Type: b\r\n\r\n",
        Reply(500, "", b"body"),
    ),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Reply(204, "", b"")),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", Reply(304, "", b"")),
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Type: b\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 4\r\n\r\nbody",
        Reply(200, "a", b"body"),
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nCONTENT-TYPE: b\r\nContent-Length: 0\r\n\r\n",
        Reply(200, "a, b", b""),
    ),
]


@pytest.mark.parametrize(("sent", "reply"), WHOLE)
def test_a_reply_is_read_wherever_it_is_split_and_the_connection_used_again(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], sent: bytes, reply: Reply
) -> None:
    def bytewise(connection: socket.socket, peer: Peer) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while read_request(connection, peer):
            for at in range(len(sent)):
                connection.sendall(sent[at : at + 1])

    peer = start(bytewise)
    assert asking_twice(transport, peer) == [reply, reply]
    assert len(peer.threads) == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Type: a\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_reply_without_a_length_ends_with_its_connection(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], head: bytes
) -> None:
    def once(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(head + b"bo")
        connection.sendall(b"dy")

    peer = start(once)
    assert [reply.body for reply in asking_twice(transport, peer)] == [b"body", b"body"]


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyH",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody and more",
    ],
)
def test_a_connection_about_which_there_is_doubt_is_not_used_again(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], sent: bytes
) -> None:
    peer = start(lambda connection, peer: answering_raw(connection, peer, sent))
    assert [reply.body for reply in asking_twice(transport, peer)] == [b"body", b"body"]
    assert len(peer.threads) == 2


def answering_raw(connection: socket.socket, peer: Peer, sent: bytes) -> None:
    while read_request(connection, peer):
        connection.sendall(sent)


@pytest.mark.parametrize(
    "last", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"], ids=["closes", "says more"]
)
def test_what_happens_on_a_connection_that_nobody_uses_is_seen_before_it_is_used_again(
    start: Callable[[Behaviour], Peer], last: bytes
) -> None:
    happened = threading.Event()

    def fickle(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
        if len(peer.requests) == 1:
            answered.wait()
            if last:
                connection.sendall(last)
            else:
                connection.shutdown(socket.SHUT_RDWR)
            happened.set()
        connection.recv(1)

    answered = threading.Event()
    peer = start(fickle)
    with HttpTransport() as opened:
        assert post(opened, peer.url).body == b"body"
        answered.set()
        happened.wait()
        assert post(opened, peer.url).body == b"body"
    assert len(peer.threads) == len(peer.requests) == 2


def test_a_connection_that_nobody_uses_is_closed_after_a_while(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[Behaviour], Peer]
) -> None:
    monkeypatch.setattr(http_pool, "IDLE_S", 0.01)
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    with HttpTransport() as opened:
        post(opened, peer.url)
        peer.threads[0].join()  # the other side was told so


def test_an_answer_before_the_whole_request_was_heard_counts_and_ends_the_connection(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def hasty(connection: socket.socket, peer: Peer) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        peer.ended.wait()

    peer = start(hasty)
    for _ in range(2):
        reply = transport.post(
            peer.url, b"a" * 20_000_000, connect_timeout_s=10, reply_timeout_s=10, max_reply_bytes=1000
        )
        assert reply.status == 413
    assert len(peer.threads) == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbodyandmore\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nbody",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_reply_that_does_not_say_where_it_ends_is_outcome_unknown(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], sent: bytes
) -> None:
    def answer(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(sent)
        peer.ended.wait()

    peer = start(answer)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
    ],
    ids=["header", "headers", "interim replies", "chunk extension", "trailers"],
)
def test_what_stands_around_a_body_has_a_bound_too(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], begins: bytes, goes_on: bytes
) -> None:
    def endless(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(begins)
        while not peer.ended.is_set():
            connection.sendall(goes_on * 1000)

    peer = start(endless)
    with pytest.raises(OutcomeUnknown, match="too much around its body") as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"


def test_a_reset_of_a_connection_that_was_used_before_is_outcome_unknown_and_nothing_is_sent_again(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    def reset_second(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        read_request(connection, peer)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    peer = start(reset_second)
    post(transport, peer.url)
    with pytest.raises(OutcomeUnknown) as caught:
        post(transport, peer.url)
    assert caught.value.code == "reply_cut"
    assert len(peer.requests) == 2


# ---------------------------------------------------------------- many at once


def test_a_message_does_not_show_its_content() -> None:
    assert "870101" not in repr(message("http://a/", b"870101300001"))


def message(url: str, content: bytes = b"<a/>", *, connect_timeout_s: float = 10, reply_timeout_s: float = 10) -> Post:
    return Post(url, content, connect_timeout_s, reply_timeout_s, 1000)


def echoing(connection: socket.socket, peer: Peer) -> None:
    while body := read_request(connection, peer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def test_of_many_at_once_each_has_its_own_outcome_in_their_order(start: Callable[[Behaviour], Peer]) -> None:
    all_there = threading.Barrier(20)

    def behave(connection: socket.socket, peer: Peer) -> None:
        body = read_request(connection, peer)
        all_there.wait()  # none is answered before all were sent
        if body == b"7":
            peer.ended.wait()
        elif body == b"11":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            connection.recv(1)

    peer = start(behave)
    posts = [message(peer.url, b"%d" % number, reply_timeout_s=0.2 if number == 7 else 60) for number in range(20)]
    with HttpTransport() as opened:
        outcomes = opened.post_many(posts)
    for number, outcome in enumerate(outcomes):
        if number in (7, 11):
            assert isinstance(outcome, OutcomeUnknown)
            assert outcome.code == {7: "reply_timeout", 11: "reply_cut"}[number]
        else:
            assert outcome == Reply(200, "", b"%d" % number)
    assert sorted(request.rpartition(b"\n")[2] for request in peer.requests) == sorted(one.content for one in posts)


def test_many_go_over_as_many_connections_as_are_allowed(start: Callable[[Behaviour], Peer]) -> None:
    peer = start(echoing)
    posts = [message(peer.url, b"%d" % number) for number in range(20)]
    with HttpTransport(max_connections=3) as opened:
        for _ in range(2):
            assert opened.post_many(posts) == tuple(Reply(200, "", one.content) for one in posts)
    assert len(peer.threads) == 3


def test_of_many_one_that_is_refused_does_not_touch_the_others(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    peer = start(echoing)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    first, refused, last = transport.post_many([message(peer.url), message(nowhere), message(peer.url)])
    assert first == last == Reply(200, "", b"<a/>")
    assert isinstance(refused, PeerUnavailable)
    assert "ConnectionRefusedError" in str(refused)


def test_of_many_one_without_an_address_keeps_all_back(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    peer = start(echoing)
    with pytest.raises(ConfigurationError):
        transport.post_many([message(peer.url), message("no address")])
    assert peer.requests == []
    assert transport.post_many([]) == ()


def test_a_mistake_of_ours_is_raised_and_nobody_waits_for_ever(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistaken: Any = "<a/>"
    url = start(echoing).url
    with pytest.raises(TypeError):
        transport.post_many([message(url), message(url, mistaken)])

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(socket, "getaddrinfo", broken)
    with pytest.raises(RuntimeError, match="broken"):
        transport.post_many([message(url)])


def test_who_finds_no_free_connection_in_time_may_ask_again(start: Callable[[Behaviour], Peer]) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def hold(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        begun.set()
        may_end.wait()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        echoing(connection, peer)

    peer = start(hold)
    with HttpTransport(max_connections=1) as opened, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, opened, peer.url)
        begun.wait()
        with pytest.raises(PeerUnavailable, match="TimeoutError"):
            post(opened, peer.url, connect_timeout_s=0.05)
        may_end.set()
        assert first.result().status == 200
        assert post(opened, peer.url).body == b"<a/>"
    assert len(peer.requests) == 2


def test_a_place_that_comes_to_who_has_just_given_up_goes_to_the_next(start: Callable[[Behaviour], Peer]) -> None:
    peer = start(echoing)
    origin = Origin(tls=False, host="127.0.0.1", port=peer.port)

    async def scenario() -> None:
        pool = http_pool.Pool(asyncio.get_running_loop(), ssl.create_default_context(), max_connections=1)
        taken = await pool.take(origin, 10)
        waiting = asyncio.create_task(pool.take(origin, 10))
        await asyncio.sleep(0)
        pool.give_back(taken)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        kept = pool.take_kept(origin)
        assert kept is not None
        kept.abort()
        pool.give_back(kept)

    asyncio.run(scenario())


def test_an_unused_connection_to_another_makes_room(start: Callable[[Behaviour], Peer]) -> None:
    one, other = start(echoing), start(echoing)
    with HttpTransport(max_connections=1) as opened:
        post(opened, one.url)
        post(opened, other.url)
        one.threads[0].join()  # the other side was told so
        assert post(opened, one.url).status == 200


def test_a_transport_that_can_only_post_sends_many_one_after_the_other(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    peer = start(echoing)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    reply, refused = one_by_one(transport, [message(peer.url), message(nowhere)])
    assert reply == Reply(200, "", b"<a/>")
    assert isinstance(refused, PeerUnavailable)


# ---------------------------------------------------------------- names and addresses


def test_an_address_may_hold_credentials_a_query_and_other_letters(
    transport: HttpTransport, start: Callable[[Behaviour], Peer]
) -> None:
    peer = start(echoing)
    post(transport, f"http://us%40er:s%3Acret@127.0.0.1:{peer.port}/пут ь?a=ж#part")
    lines = peer.requests[0].split(b"\r\n")
    assert lines[0] == b"POST /%D0%BF%D1%83%D1%82%20%D1%8C?a=%D0%B6 HTTP/1.1"
    assert f"Host: 127.0.0.1:{peer.port}".encode() in lines
    assert b"Authorization: Basic " + base64.b64encode(b"us@er:s:cret") in lines


@pytest.mark.parametrize("url", ["http:///a", "http://a\r\nX-A: b/", "http://a b/", "http://a..b/", "http://a:99999/"])
def test_an_address_that_would_change_the_request_is_a_configuration_error(transport: HttpTransport, url: str) -> None:
    with pytest.raises(ConfigurationError):
        post(transport, url)


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_the_second_address_of_a_name_is_tried_when_the_first_is_dead(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start(echoing)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()
    resolving_to(monkeypatch, dead, ("127.0.0.1", peer.port))
    assert post(transport, "http://register.test/").status == 200


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """An address where a connection is neither made nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        address: tuple[str, int] = listener.getsockname()
        for _ in range(3):  # the queue of what was not accepted is full
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        yield address


def test_an_address_that_says_nothing_takes_its_share_of_the_time_only(
    transport: HttpTransport,
    start: Callable[[Behaviour], Peer],
    monkeypatch: pytest.MonkeyPatch,
    deaf: tuple[str, int],
) -> None:
    peer = start(echoing)
    resolving_to(monkeypatch, deaf, ("127.0.0.1", peer.port))
    assert post(transport, "http://register.test/", connect_timeout_s=1).status == 200


def test_closing_ends_what_still_connects(deaf: tuple[str, int]) -> None:
    opened = HttpTransport()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, opened, f"http://127.0.0.1:{deaf[1]}/")
        while not asyncio.all_tasks(opened._loop):
            pass
        time.sleep(0.05)  # on its way, most likely; the outcome is the same before
        opened.close()
        assert isinstance(waiting.exception(), PeerUnavailable)


def test_a_connection_that_is_made_while_the_program_stops_carries_nothing(
    start: Callable[[Behaviour], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start(echoing)
    asked, may_end = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def slow(*names: Any, **options: Any) -> Any:
        asked.set()
        may_end.wait()
        return resolve(*names, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with ThreadPoolExecutor(1) as pool, HttpTransport() as opened:
        waiting = pool.submit(post, opened, peer.url)
        asked.wait()
        opened._closing = True
        may_end.set()
        error = waiting.exception()
        opened._closing = False
    assert isinstance(error, PeerUnavailable)
    assert "this program stopped" in str(error)
    assert peer.requests == []


def test_a_connection_that_was_closed_as_soon_as_it_was_made_is_safe_to_ask_again(
    start: Callable[[Behaviour], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start(echoing)
    monkeypatch.setattr(http_pool.Connection, "is_open", lambda self: self.abort())
    with HttpTransport() as opened, pytest.raises(PeerUnavailable, match="ConnectionResetError"):
        post(opened, peer.url)
    assert peer.requests == []


def test_a_name_that_is_not_found_is_safe_to_ask_again(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    with pytest.raises(PeerUnavailable, match="gaierror"):
        post(transport, "http://nowhere.test/")


def test_neither_an_exchange_nor_closing_waits_for_a_slow_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_end = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        asked.set()
        may_end.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    opened = HttpTransport()
    with pytest.raises(PeerUnavailable, match="TimeoutError"):
        post(opened, "http://slow.test/", connect_timeout_s=0.05)
    with ThreadPoolExecutor(1) as pool:
        asked.clear()
        waiting = pool.submit(post, opened, "http://slow.test/")
        asked.wait()
        opened.close()
        assert isinstance(waiting.exception(), PeerUnavailable)
    may_end.set()


def test_a_name_without_an_address_is_safe_to_ask_again(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving_to(monkeypatch)
    with pytest.raises(PeerUnavailable, match="nothing was sent"):
        post(transport, "http://empty.test/")


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "register.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "peer.pem"
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def over_tls(certificate: Path, behaviour: Behaviour) -> Behaviour:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behave(connection: socket.socket, peer: Peer) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            behaviour(wrapped, peer)

    return behave


def test_a_connection_over_tls_is_used_again(start: Callable[[Behaviour], Peer], certificate: Path) -> None:
    peer = start(over_tls(certificate, echoing))
    with HttpTransport(tls=ssl.create_default_context(cafile=certificate)) as opened:
        for content in (b"<a/>", b"a" * 500_000):
            reply = opened.post(
                f"https://127.0.0.1:{peer.port}/",
                content,
                connect_timeout_s=10,
                reply_timeout_s=10,
                max_reply_bytes=500_000,
            )
            assert reply.body == content
    assert len(peer.threads) == 1


def test_a_certificate_of_another_name_is_not_believed(
    start: Callable[[Behaviour], Peer], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start(over_tls(certificate, echoing))
    resolving_to(monkeypatch, ("127.0.0.1", peer.port))
    with (
        HttpTransport(tls=ssl.create_default_context(cafile=certificate)) as opened,
        pytest.raises(PeerUnavailable, match="SSLCertVerificationError"),
    ):
        post(opened, "https://another.test/")
    assert peer.requests == []


def test_a_certificate_of_nobody_we_know_is_not_believed(
    transport: HttpTransport, start: Callable[[Behaviour], Peer], certificate: Path
) -> None:
    peer = start(over_tls(certificate, echoing))
    with pytest.raises(PeerUnavailable, match="SSLCertVerificationError"):
        post(transport, f"https://127.0.0.1:{peer.port}/")
    assert peer.requests == []


def test_a_handshake_that_is_given_up_closes_its_connection(start: Callable[[Behaviour], Peer]) -> None:
    def silent(connection: socket.socket, peer: Peer) -> None:
        while connection.recv(65536):
            pass  # until the other side has closed

    peer = start(silent)
    with HttpTransport() as opened:
        with pytest.raises(PeerUnavailable, match="TimeoutError"):
            post(opened, f"https://127.0.0.1:{peer.port}/", connect_timeout_s=0.05)
        peer.threads[0].join()


# ---------------------------------------------------------------- the end


def test_closing_twice_is_harmless() -> None:
    opened = HttpTransport()
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
    opened = HttpTransport()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, opened, peer.url.replace("http:", f"{scheme}:"))
        begun.wait()
        opened.close()
        error = waiting.exception()
    assert type(error) is expected
    assert "this program stopped" in str(error)


def test_nothing_is_sent_after_closing(start: Callable[[Behaviour], Peer]) -> None:
    peer = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0"))
    opened = HttpTransport()
    opened.close()
    with pytest.raises(PeerUnavailable, match="stopping"):
        post(opened, peer.url)
    assert [type(outcome) for outcome in opened.post_many([message(peer.url)] * 2)] == [PeerUnavailable] * 2
    assert peer.requests == []


def test_closing_ends_what_still_waits_for_a_connection(start: Callable[[Behaviour], Peer]) -> None:
    begun = threading.Event()

    def hold(connection: socket.socket, peer: Peer) -> None:
        read_request(connection, peer)
        begun.set()
        peer.ended.wait()

    peer = start(hold)
    opened = HttpTransport(max_connections=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, opened, peer.url)
        begun.wait()
        second = pool.submit(post, opened, peer.url)
        while not asyncio.all_tasks(opened._loop):
            pass
        opened.close()
        assert isinstance(first.exception(), OutcomeUnknown)
        assert isinstance(second.exception(), PeerUnavailable)
    assert len(peer.requests) == 1
