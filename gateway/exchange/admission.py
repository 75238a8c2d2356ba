"""How much may be in hand at one moment. What comes beyond it is told so at once, before anything of it is read.

The bound keeps memory flat and answers quick: what waits in a queue longer than its sender waits is work for nobody.
For one event loop: not for several threads.
"""

from __future__ import annotations


class Admission:
    """Requests in hand and their bytes, both bounded."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        #: how many were turned away since the start
        self.turned_away = 0

    def has_room(self, count: int) -> bool:
        """Whether one more request of so many bytes would be let in. Nothing is held or counted by asking."""
        return self.requests < self._max_requests and self.bytes + count <= self._max_bytes

    def enter(self) -> bool:
        """Let one more request in; False: it is turned away. Who was let in leaves by `leave`."""
        if self.requests >= self._max_requests:
            self.turned_away += 1
            return False
        self.requests += 1
        return True

    def take(self, count: int) -> bool:
        """Hold `count` more bytes; False, holding none of them: there is no room. What is held is given to `leave`."""
        if self.bytes + count > self._max_bytes:
            self.turned_away += 1
            return False
        self.bytes += count
        return True

    def leave(self, held_bytes: int) -> None:
        """A request is out of our hands, and the bytes that were taken for it."""
        self.requests -= 1
        self.bytes -= held_bytes
