"""One server process: it takes requests until told to stop, and then finishes what it has."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from events.server.protocol import ImpatientProtocol

#: Idle time of a connection between two requests: longer than a proxy or load balancer in front.
KEEP_ALIVE_SECONDS = 75
#: How long requests under way may take once nothing more is taken in.
FINISH_SECONDS = 30
#: What a shell says of a program that a signal ended.
_EXIT_BY_SIGNAL = 128


def end_at_once(number: int) -> None:
    """
    The end without waiting, for a second signal.

    Nothing that was acknowledged is lost: an acknowledgement is sent when all is stored.
    """
    os._exit(_EXIT_BY_SIGNAL + number)


class Server(uvicorn.Server):
    """
    An API on sockets that listen already.

    The first SIGTERM or SIGINT makes `/readyz` say 503. After the drain time no
    connection is taken any more, and what is under way is finished.

    Args:
        on_ready: Called when it answers.
        on_second_signal: Called with the number of a signal that comes while it stops.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        drain_seconds: float = 0,
        on_ready: Callable[[], None],
        on_second_signal: Callable[[int], None] = end_at_once,
    ) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                self._app,
                http=ImpatientProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=FINISH_SECONDS,
            )
        )
        self._drain_seconds = drain_seconds
        self._on_ready = on_ready
        self._on_second_signal = on_second_signal
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        # uvicorn would raise the signal again at the end; here a good end is exit code 0.
        if self._stop_at is not None:
            self._on_second_signal(sig)
            return
        self._app.state.is_stopping = True
        self._stop_at = time.monotonic() + self._drain_seconds
        if not self._drain_seconds:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)


def welcome(sockets: Sequence[socket.socket]) -> str:
    """Where it answers, in one line."""
    places = ", ".join(_url(*each.getsockname()[:2]) for each in sockets)
    return f"The API answers at {places}; /openapi.json describes it. SIGTERM or Ctrl-C stops it."


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
