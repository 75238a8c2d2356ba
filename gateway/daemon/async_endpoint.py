"""POST /shep/async and ?wsdl: from the socket to the Receiver of gateway.exchange.asynchronous and back, bounded."""

from __future__ import annotations

from functools import partial
from typing import Final

import anyio.to_thread
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.daemon.assembly import Gateway, now
from gateway.exchange.admission import Admission
from gateway.exchange.serve import ServedReply
from gateway.shep import contract
from gateway.telemetry import step

ASYNC_PATH: Final = "/shep/async"
_XML: Final = "text/xml; charset=utf-8"
#: how often the log says that pushes are turned away
_TOLD_EVERY_S: Final = 1.0
_LOG: Final = structlog.get_logger()


def async_routes(gateway: Gateway) -> list[Route]:
    """The participant's side of AsyncChannel (IAsyncChannelClient)."""
    options = gateway.loaded.settings.server
    receiver = gateway.asynchronous.receiver
    admission = Admission(max_requests=options.max_requests_in_hand, max_bytes=options.max_bytes_in_hand)
    told_at_s = 0.0

    def turn_away(headers: dict[str, str] | None = None) -> Response:
        nonlocal told_at_s
        at = now()
        if at.timestamp() - told_at_s >= _TOLD_EVERY_S:
            told_at_s = at.timestamp()
            _LOG.warning(
                "exchange",
                action="turned_away",
                flow="in.push",
                in_hand=admission.requests,
                in_hand_bytes=admission.bytes,
                turned_away=admission.turned_away,
            )
        return _answer(receiver.overloaded(at=at), headers)

    async def push(request: Request) -> Response:
        if not admission.enter():
            return turn_away()
        held = 0
        try:
            received_at = now()
            peer = request.client.host if request.client else ""
            received = bytearray()
            async for chunk in request.stream():
                if not admission.take(len(chunk)):
                    # the rest is not read: the connection cannot be used again
                    return turn_away({"connection": "close"})
                held += len(chunk)
                if held > options.max_request_bytes:
                    refuse = partial(receiver.refuse_too_large, held, received_at=received_at, peer=peer)
                    reply = await anyio.to_thread.run_sync(refuse)
                    # nor is the rest of this one
                    return _answer(reply, {"connection": "close"})
                received += chunk
            data = bytes(received)
            return _answer(
                await anyio.to_thread.run_sync(lambda: receiver.handle(data, received_at=received_at, peer=peer))
            )
        except ClientDisconnect:
            # cut in the middle: nobody is left to answer, and nothing of it was read
            _LOG.warning("exchange", action="request_cut", received_bytes=held)
            return Response(status_code=400)
        finally:
            admission.leave(held)

    async def wsdl(request: Request) -> Response:
        if "wsdl" not in request.query_params:
            return Response("This is a SOAP endpoint: POST to it, or ask for ?wsdl.\n", 405, {"allow": "POST"})
        base = options.public_url or str(request.base_url).rstrip("/")
        document = contract.served_wsdl(f"{base}{ASYNC_PATH}", contract.ASYNC_CHANNEL_CLIENT)
        return Response(document, media_type=_XML)

    return [Route(ASYNC_PATH, push, methods=["POST"]), Route(ASYNC_PATH, wsdl, methods=["GET"])]


class _Acknowledgement(Response):
    """What goes back: step 9 is when it is sent, and not when it is made."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with step(9, "in.push"):
            await super().__call__(scope, receive, send)


def _answer(reply: ServedReply, headers: dict[str, str] | None = None) -> Response:
    return _Acknowledgement(reply.body, reply.status, headers, media_type=_XML)
