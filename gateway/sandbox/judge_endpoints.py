"""What a test or a judge sets and reads at run time: faults, participants, what came and what was delivered."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import OperatorError
from gateway.sandbox.authority_endpoints import read_at_most
from gateway.sandbox.faults import FaultScript, parse_fault_script
from gateway.sandbox.participants import read_participant
from gateway.sandbox.simulator import SimulatedGateway

MAX_DOCUMENT_BYTES: Final = 1_000_000


def routes(simulator: SimulatedGateway, *, now: Callable[[], dt.datetime]) -> list[Route]:
    """Addresses under /sandbox/. `now` is asked once for each request."""
    dispatch = simulator.dispatch

    async def received(_: Request) -> Response:
        return JSONResponse(simulator.received.as_dict())

    async def forget(_: Request) -> Response:
        simulator.received.clear()
        return Response(status_code=204)

    async def deliveries(_: Request) -> Response:
        return JSONResponse(dispatch.deliveries())

    async def faults(_: Request) -> Response:
        return JSONResponse(FaultScript(simulator.orders.waiting(), simulator.orders.seed).as_dict())

    async def set_faults(request: Request) -> Response:
        def place(data: bytes) -> Any:
            script = parse_fault_script(data, sorted(simulator.systems))
            simulator.orders.replace(script.faults, seed=script.seed)
            return script.as_dict()

        return await _taken(request, place)

    async def no_faults(_: Request) -> Response:
        simulator.orders.clear()
        return Response(status_code=204)

    async def participants(_: Request) -> Response:
        return JSONResponse([one.as_dict() for one in dispatch.participants.known()])

    async def set_participant(request: Request) -> Response:
        def put(data: bytes) -> Any:
            participant = read_participant(json.loads(data or b"null"))
            dispatch.participants.put(participant)
            return participant.as_dict()

        return await _taken(request, put)

    async def no_participants(_: Request) -> Response:
        dispatch.participants.clear()
        return Response(status_code=204)

    async def send(request: Request) -> Response:
        return await _taken(request, lambda data: dispatch.send(json.loads(data or b"null"), now=now()))

    return [
        Route("/sandbox/received", received, methods=["GET"]),
        Route("/sandbox/received", forget, methods=["DELETE"]),
        Route("/sandbox/deliveries", deliveries, methods=["GET"]),
        Route("/sandbox/faults", faults, methods=["GET"]),
        Route("/sandbox/faults", set_faults, methods=["POST"]),
        Route("/sandbox/faults", no_faults, methods=["DELETE"]),
        Route("/sandbox/participants", participants, methods=["GET"]),
        Route("/sandbox/participants", set_participant, methods=["POST"]),
        Route("/sandbox/participants", no_participants, methods=["DELETE"]),
        Route("/sandbox/send", send, methods=["POST"]),
    ]


async def _taken(request: Request, take: Callable[[bytes], Any]) -> Response:
    """201 with what `take` makes of the body, or 400 with what is wrong with it."""
    try:
        data = await read_at_most(request, MAX_DOCUMENT_BYTES)
        if data is None:
            return _wrong("too_large", f"at most {MAX_DOCUMENT_BYTES} bytes are read")
        return JSONResponse(take(data), 201)
    except ClientDisconnect:
        return Response(status_code=400)
    except OperatorError as error:
        return _wrong(error.code, error.message)
    except (ValueError, RecursionError):
        return _wrong("not_json", "the document is not JSON")


def _wrong(code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, 400)
