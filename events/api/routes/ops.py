"""For whoever runs the service: is it alive, can it answer, what has it done."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel

from events.api.problems import problem, responses
from events.api.security import REFUSALS, allowed
from events.auth.keys import Right
from events.telemetry.health import Readiness

router = APIRouter(tags=["operations"])

#: Where the processes of one server put their measures (prometheus_client's own name).
MEASURES_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Status(BaseModel):
    """The service is well."""

    status: Literal["ok"] = "ok"


@router.get("/livez", summary="Is the process alive", responses=responses(HTTPStatus.BAD_REQUEST))
async def get_livez() -> Status:
    """The process answers; says nothing of the store."""
    return Status()


@router.get(
    "/readyz",
    summary="Can it answer questions",
    response_model=Status,
    responses=responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def get_readyz(request: Request) -> Status | Response:
    """
    The store answers a read of each table within 2 s, and with `EVENTS_INGEST=kafka` Kafka knows
    the topic; 503 while it is not so, and from the moment on that the server was told to stop.
    """
    if request.app.state.is_stopping:
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the server was told to stop and finishes what it has: ask another",
            title="The server is stopping",
        )
    readiness: Readiness = request.app.state.readiness
    await readiness.wait()
    return Status()


@router.get(
    "/metrics",
    summary="What it has done",
    dependencies=[Depends(allowed(Right.READ, about="all"))],
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "Measures in the text format of Prometheus.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": 'events_receipts_total{outcome="inserted"} 2499.0\n',
                }
            },
        },
        **responses(
            HTTPStatus.BAD_REQUEST,
            *REFUSALS,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
def get_metrics() -> Response:
    """Counts and times since the start, of all processes of this server together."""
    registry = REGISTRY
    if os.environ.get(MEASURES_FOLDER):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # theirs has no types
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
