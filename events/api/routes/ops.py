"""Operations: health checks and metrics."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel

from events.api.openapi import responses, route_errors
from events.api.problems import problem
from events.api.security import allowed
from events.auth.keys import Right
from events.telemetry.health import Readiness

router = APIRouter(tags=["operations"])

#: Folder in which the processes of one server share their metrics (prometheus_client's name).
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Status(BaseModel):
    """The service is healthy."""

    status: Literal["ok"] = "ok"


@router.get("/livez", summary="Liveness check", responses=responses(HTTPStatus.BAD_REQUEST))
async def get_livez() -> Status:
    """The process answers. Says nothing about the store."""
    return Status()


@router.get(
    "/readyz",
    summary="Readiness check",
    response_model=Status,
    responses=responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def get_readyz(request: Request) -> Status | Response:
    """
    The store answers a read of each table within 2 seconds and, with `EVENTS_INGEST=kafka`, Kafka
    has the topic. Otherwise 503. Also 503 as soon as the server begins to stop.
    """
    if request.app.state.is_stopping:
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the server is stopping: send requests to another server",
            title="The server is stopping",
        )
    readiness: Readiness = request.app.state.readiness
    await readiness.wait()
    return Status()


@router.get(
    "/metrics",
    summary="Metrics",
    dependencies=[Depends(allowed(Right.READ, about="all"))],
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "Metrics in the text format of Prometheus.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": 'events_receipts_total{outcome="inserted"} 2499.0\n',
                }
            },
        },
        **route_errors(),
    },
)
def get_metrics() -> Response:
    """Counts and times since the start, summed over all processes of this server."""
    registry = REGISTRY
    if os.environ.get(METRICS_FOLDER):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # theirs has no types
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
