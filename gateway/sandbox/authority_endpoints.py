"""The simulated authority's addresses in the sandbox's Starlette application."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Final

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import OperatorError
from gateway.sandbox.authority import Authority
from gateway.sandbox.authority_orders import read_authority_order

ORDERS_PATH: Final = "/sandbox/authority"
#: questions and orders have a few hundred bytes
MAX_QUESTION_BYTES: Final = 20_000
_OCSP_RESPONSE: Final = "application/ocsp-response"
_TSP_REPLY: Final = "application/timestamp-reply"
_CRL: Final = "application/pkix-crl"
_CERTIFICATE: Final = "application/pkix-cert"


def routes(authority: Authority, *, now: Callable[[], dt.datetime]) -> list[Route]:
    """The authority's addresses. `now` is asked once for each request."""

    async def answered(request: Request, answer: Callable[..., bytes], media_type: str) -> Response:
        try:
            data = await read_at_most(request, MAX_QUESTION_BYTES)
        except ClientDisconnect:
            return Response(status_code=400)
        if data is None:
            return Response("a question has a few hundred bytes\n", 413)
        return Response(await anyio.to_thread.run_sync(lambda: answer(data, now=now())), media_type=media_type)

    async def ocsp(request: Request) -> Response:
        return await answered(request, authority.ocsp, _OCSP_RESPONSE)

    async def tsp(request: Request) -> Response:
        return await answered(request, authority.stamp, _TSP_REPLY)

    async def crl(request: Request) -> Response:
        return _file(authority.crls, request, _CRL)

    async def certificate(request: Request) -> Response:
        return _file(authority.certificates, request, _CERTIFICATE)

    async def place(request: Request) -> Response:
        try:
            data = await read_at_most(request, MAX_QUESTION_BYTES)
            order = read_authority_order(json.loads(data or b"null"))
        except ClientDisconnect:
            return Response(status_code=400)
        except (ValueError, RecursionError):
            return JSONResponse({"error": {"code": "bad_order", "message": "the order is not JSON"}}, 400)
        except OperatorError as error:
            return JSONResponse({"error": {"code": error.code, "message": error.message}}, 400)
        authority.orders.place(order)
        return JSONResponse(order.as_dict(), 201)

    async def waiting(_: Request) -> Response:
        return JSONResponse([order.as_dict() for order in authority.orders.waiting()])

    async def clear(_: Request) -> Response:
        authority.orders.clear()
        return Response(status_code=204)

    return [
        Route("/ocsp", ocsp, methods=["POST"]),
        Route("/tsp", tsp, methods=["POST"]),
        Route("/crl/{name}", crl, methods=["GET"]),
        Route("/cert/{name}", certificate, methods=["GET"]),
        Route(ORDERS_PATH, place, methods=["POST"]),
        Route(ORDERS_PATH, waiting, methods=["GET"]),
        Route(ORDERS_PATH, clear, methods=["DELETE"]),
    ]


def _file(files: Mapping[str, bytes], request: Request, media_type: str) -> Response:
    found = files.get(request.path_params["name"])
    if found is None:
        return Response(f"there are {', '.join(files)}\n", 404)
    return Response(found, media_type=media_type)


async def read_at_most(request: Request, limit: int) -> bytes | None:
    """The body, or None as soon as it is longer than `limit`. Raises ClientDisconnect."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            return None
    return bytes(received)
