"""A socket to listen on, bound before anything else starts, so that a taken port is our error and names itself."""

from __future__ import annotations

import socket

from gateway.errors import OperatorError


def bind(host: str, port: int, *, setting: str) -> tuple[socket.socket, str]:
    """A bound socket and its address as `http://host:port`; port 0 takes a free one.

    Raises OperatorError (`port`) that tells to change `setting`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OperatorError(
            f"cannot listen on {host} port {port}: {error.strerror}; name another with {setting} (0 = a free one)",
            code="port",
        ) from None
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    return bound, f"http://{shown}:{bound.getsockname()[1]}"
