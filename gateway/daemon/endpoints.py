"""The endpoints of docs/reference/contract.md."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.daemon.assembly import Gateway, now
from gateway.daemon.async_endpoint import async_routes
from gateway.daemon.observing import Observing
from gateway.daemon.readiness import readiness
from gateway.daemon.sync_endpoint import SYNC_PATH, SyncEndpoint
from gateway.shep import contract

_XML: Final = "text/xml; charset=utf-8"

Lifespan = Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]


class App:
    """Everything that is served. The path of the load is served before any routing."""

    def __init__(self, gateway: Gateway, lifespan: Lifespan | None = None, observing: Observing | None = None) -> None:
        self.sync = SyncEndpoint(gateway)
        self._rest = _other_endpoints(gateway, lifespan, observing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == SYNC_PATH and scope["method"] == "POST":
            await self.sync(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


def _other_endpoints(gateway: Gateway, lifespan: Lifespan | None, observing: Observing | None) -> Starlette:
    async def wsdl(request: Request) -> Response:
        if "wsdl" not in request.query_params:
            return Response("This is a SOAP endpoint: POST to it, or ask for ?wsdl.\n", 405, {"allow": "POST"})
        base = gateway.loaded.settings.server.public_url or str(request.base_url).rstrip("/")
        return Response(contract.served_wsdl(f"{base}{SYNC_PATH}"), media_type=_XML)

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        checks = await anyio.to_thread.run_sync(lambda: readiness(gateway, now()))
        document = {"ready": all(check.ok for check in checks), "checks": {check.name: check.code for check in checks}}
        return JSONResponse(document, 200 if document["ready"] else 503)

    return Starlette(
        routes=[
            Route(SYNC_PATH, wsdl, methods=["GET"]),
            *async_routes(gateway),
            Route("/health/live", live, methods=["GET"]),
            Route("/health/ready", ready, methods=["GET"]),
            *(() if observing is None else (observing.route(gateway),)),
        ],
        lifespan=lifespan,
    )
