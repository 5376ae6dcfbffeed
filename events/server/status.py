"""Probes and metrics of a process that serves no API: /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from threading import Thread

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from events.errors import EventsError, InvalidInput
from events.telemetry.health import Health, Readiness

log = logging.getLogger(__name__)


@contextmanager
def served(host: str, port: int, health: Health) -> Iterator[int]:
    """
    Serve the probes while the context is open; yields the port.

    Args:
        port: 0 takes a free one.

    Raises:
        InvalidInput: The address is in use or invalid.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as exc:
        raise InvalidInput(f"--host {host} --port {port}: {exc.strerror}") from exc
    # Its own logging configuration would replace ours; probes are not logged.
    config = uvicorn.Config(
        make_status_app(health), log_config=None, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, args=([listener],), name="status", daemon=True)
    thread.start()
    actual_port = listener.getsockname()[1]
    log.setLevel(logging.INFO)  # always log the address: a supervisor may wait for this line
    log.info("probes are at http://%s:%s/readyz", host, actual_port)
    try:
        yield actual_port
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()


def make_status_app(health: Health) -> FastAPI:
    """Unlike the API's routes, /livez notices a loop that hangs and /readyz names each problem."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    checks = {name: Readiness(check) for name, check in health.checks.items()}

    @app.get("/livez")
    async def get_livez() -> Response:
        return _answer({} if health.is_alive() else {"loop": "has not turned for a while"})

    @app.get("/readyz")
    async def get_readyz() -> Response:
        failures = await asyncio.gather(*map(_failure, checks.values()))
        failed = {name: text for name, text in zip(checks, failures, strict=True) if text}
        return _answer({**failed, **health.problems()})

    @app.get("/metrics")
    def get_metrics() -> Response:
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app


async def _failure(readiness: Readiness) -> str | None:
    try:
        await readiness.wait()
    except (EventsError, RuntimeError):  # RuntimeError: the client is closed already
        # Not the error's text, which may name hosts and tables; the log has it.
        return "does not answer, or refuses"
    return None


def _answer(problems: Mapping[str, str]) -> Response:
    return JSONResponse(
        {"status": "waiting" if problems else "ok", **problems},
        HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK,
        {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
    )
