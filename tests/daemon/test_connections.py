"""Small requests are answered where they arrive; everything else goes the ordinary way."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.daemon.connections import BoundedConnection
from gateway.exchange.serve import ServedReply
from gateway.listening import bind

HEAD = b"POST /small HTTP/1.1\r\nHost: x\r\n"
WAIT_S = 30


class Small:
    """Repeats what comes, up to ten bytes; "broken" breaks, "held" waits until it is let go."""

    path = "/small"

    def __init__(self) -> None:
        self.admitted: list[int] = []
        self.left: list[int] = []
        self.taken: list[bytes] = []
        self.held: list[Callable[[], None]] = []

    def admit(self, length: int) -> bool:
        if length > 10:
            return False
        self.admitted.append(length)
        return True

    def leave(self, length: int) -> None:
        self.left.append(length)

    def take(self, data: bytes, peer: str, done: Callable[[ServedReply | None], None]) -> None:
        assert peer == "127.0.0.1"
        self.taken.append(data)
        if data == b"held":
            self.held.append(lambda: done(ServedReply(200, data, "")))
        else:
            done(None if data == b"broken" else ServedReply(500 if data == b"fault" else 200, data, ""))


async def ordinary(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind: says that it was asked."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
    await send({"type": "http.response.body", "body": b"ordinary"})


@pytest.fixture
def small() -> Small:
    return Small()


@pytest.fixture
def port(small: Small) -> Iterator[int]:
    bound, url = bind("127.0.0.1", 0, setting="server.port")
    config = uvicorn.Config(
        ordinary,
        log_config=None,
        log_level="critical",
        lifespan="off",
        http=BoundedConnection.limited_to(8, small),
        timeout_graceful_shutdown=5,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
    bound.listen()
    with bound:
        thread.start()
        try:
            yield int(url.rpartition(":")[2])
        finally:
            running.should_exit = True
            thread.join()


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.socket.settimeout(WAIT_S)
        self._file = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def reply(self) -> tuple[int, dict[bytes, bytes], bytes]:
        status = int(self._file.readline().split()[1])
        headers: dict[bytes, bytes] = {}
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return status, headers, self._file.read(int(headers.get(b"content-length", b"0")))

    def is_closed(self) -> bool:
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with contextlib.closing(Client(port)) as client:
        yield client


def post(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def eventually(holds: Callable[[], Any]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_a_small_request_is_answered_and_the_connection_stays(client: Client, small: Small) -> None:
    for body in (b"one", b"fault"):
        client.send(post(body))
        status, headers, said = client.reply()
        assert (status, said) == (500 if body == b"fault" else 200, body)
        assert headers[b"content-type"] == b"text/xml; charset=utf-8"
        assert b"date" in headers
    assert small.admitted == small.left == [3, 5]


def test_requests_that_come_before_their_time_are_answered_in_their_order(client: Client, small: Small) -> None:
    client.send(post(b"held") + post(b"two") + post(b"much too long a body") + post(b"three"))
    eventually(lambda: small.held)
    assert small.taken == [b"held"]
    small.held[0]()
    assert [client.reply()[2] for _ in range(4)] == [b"held", b"two", b"ordinary", b"three"]
    assert small.admitted == small.left


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(post(b"much too long a body"), id="there is no room"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n", id="no length"),
        pytest.param(post(b"one").replace(b"POST", b"PUT"), id="another method"),
        pytest.param(post(b"one").replace(b"/small", b"/other"), id="another path"),
    ],
)
def test_what_is_out_of_the_ordinary_goes_the_ordinary_way(request_: bytes, client: Client, small: Small) -> None:
    client.send(request_)
    assert client.reply()[2] == b"ordinary"
    assert small.taken == small.admitted == []


def test_who_waits_for_leave_to_send_gets_it(client: Client, small: Small) -> None:
    client.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert client.reply()[0] == 100
    client.send(b"one")
    assert client.reply()[2] == b"ordinary"
    assert small.taken == []


def test_a_request_in_pieces_is_one_request(client: Client, small: Small) -> None:
    whole = post(b"one")
    client.send(*(whole[at : at + 7] for at in range(0, len(whole), 7)))
    assert client.reply()[2] == b"one"
    assert small.taken == [b"one"]


def test_who_asks_for_it_is_disconnected_after_the_answer(client: Client) -> None:
    client.send(post(b"one", b"Connection: close"))
    status, headers, _ = client.reply()
    assert (status, headers[b"connection"]) == (200, b"close")
    assert client.is_closed()


def test_a_defect_of_ours_is_said_and_ends_the_connection(client: Client, small: Small) -> None:
    client.send(post(b"broken"))
    status, _, said = client.reply()
    assert (status, said) == (500, b"")
    assert client.is_closed()
    assert small.left == [6]


def test_a_request_that_is_cut_gives_back_its_place_and_is_asked_of_nobody(port: int, small: Small) -> None:
    with contextlib.closing(Client(port)) as client:
        client.send(HEAD + b"Content-Length: 4\r\n\r\nhe")
        eventually(lambda: small.admitted)
    eventually(lambda: small.left == [4])
    assert small.taken == []


def test_an_answer_to_somebody_who_is_gone_is_thrown_away(port: int, small: Small) -> None:
    with contextlib.closing(Client(port)) as client:
        client.send(post(b"held"))
        eventually(lambda: small.held)
    with contextlib.closing(Client(port)) as other:
        other.send(post(b"one"))
        assert other.reply()[2] == b"one"
        assert small.left == [3], "what is under way keeps its place"
        small.held[0]()
        other.send(post(b"two"))
        assert other.reply()[2] == b"two"
    assert small.left == [3, 4, 3]
