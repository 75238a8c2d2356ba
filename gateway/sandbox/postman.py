"""Brings what is due to the participants over HTTP, one message after the other: the order is always the same."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from typing import Final

import httpx

from gateway.sandbox.dispatch import Dispatch, Push

_HEADERS: Final = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""', "Accept-Encoding": "identity"}
PUSH_TIMEOUT_S: Final = 30.0
_MAX_REPLY_BYTES: Final = 2_000_000
#: the clock may be a test's own: it is looked at again at least this often
_LOOK_AGAIN_S: Final = 0.2


class Postman:
    """`deliver_due` delivers; `running` does so in a thread whenever something is due."""

    def __init__(self, dispatch: Dispatch, *, now: Callable[[], dt.datetime]) -> None:
        self._dispatch = dispatch
        self._now = now
        self._stopping = threading.Event()
        self._client = httpx.Client(trust_env=False, follow_redirects=False, timeout=PUSH_TIMEOUT_S)

    def deliver_due(self) -> int:
        """Everything that is due now, once. How many pushes that were."""
        count = 0
        while not self._stopping.is_set():
            push = self._dispatch.next_push(now=self._now())
            if push is None:
                break
            status, reply = self._post(push)
            self._dispatch.pushed(push, status, reply, now=self._now())
            count += 1
        return count

    def _post(self, push: Push) -> tuple[int | None, bytes]:
        try:
            with self._client.stream("POST", push.url, content=push.message, headers=_HEADERS) as response:
                reply = bytearray()
                for chunk in response.iter_raw():
                    reply += chunk
                    if len(reply) > _MAX_REPLY_BYTES:
                        return None, b""
                return response.status_code, bytes(reply)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None, b""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A thread that delivers for the length of the block; a push under way then ends by its time limit at most."""
        thread = threading.Thread(target=self._run, name="sandbox-postman", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._dispatch.news.set()
            self._client.close()
            thread.join(timeout=1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._dispatch.news.clear()
            with contextlib.suppress(RuntimeError):  # the client was closed in the middle of a push
                self.deliver_due()
            due = self._dispatch.next_due()
            wait_s = _LOOK_AGAIN_S if due is None else (due - self._now()).total_seconds()
            self._dispatch.news.wait(min(max(wait_s, 0.0), _LOOK_AGAIN_S))
