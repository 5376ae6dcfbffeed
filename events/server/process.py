"""Serve the API with uvicorn: in this process, or in several worker processes."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import Message, Receive, Scope, Send
from uvicorn.supervisors import Multiprocess

from events.api.routes.ops import METRICS_FOLDER
from events.config import Settings
from events.server.protocol import TimeoutProtocol
from events.telemetry import logs

log = logging.getLogger(__name__)

#: Idle time of a connection between two requests: longer than a proxy or load balancer in front.
KEEP_ALIVE_SECONDS = 75
#: How long requests in flight may take after the server has stopped accepting connections.
FINISH_SECONDS = 30
#: How long a worker may take to start, or to answer its supervisor on a busy machine.
WORKER_SECONDS = 60
#: Exit code of a program that a signal ended, without the signal's number.
_EXIT_BY_SIGNAL = 128
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_now(number: int) -> None:
    """
    Exit without waiting, for a second signal.

    No acknowledged event is lost: an event is acknowledged after it is stored.
    """
    os._exit(_EXIT_BY_SIGNAL + number)


@dataclass
class Drained:
    """
    An app that drains before its server stops.

    The first SIGTERM or SIGINT makes `/readyz` answer 503, so that load balancers send no more
    requests. After `drain_seconds` the server gets the signal: it stops accepting connections and
    finishes the requests in flight.

    Args:
        on_ready: Called when the app has started.
        on_second_signal: Called with the number of a signal that arrives while the server stops.
    """

    app: FastAPI
    drain_seconds: float = 0
    on_ready: Callable[[], None] = lambda: None
    on_second_signal: Callable[[int], None] = exit_now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_ready(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._handle_signals()
                self.on_ready()
            await send(message)

        await self.app(scope, receive, send_ready)

    def _handle_signals(self) -> None:
        """Stand in front of the handlers that uvicorn has installed."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            stop = signal.getsignal(number)

            def handle(number: int, frame: FrameType | None, stop: Any = stop) -> None:
                if self.app.state.is_stopping:
                    self.on_second_signal(number)
                elif self.drain_seconds:
                    later = partial(loop.call_later, self.drain_seconds, stop, number, frame)
                    loop.call_soon_threadsafe(later)
                else:
                    stop(number, frame)
                self.app.state.is_stopping = True

            signal.signal(number, handle)


def _config(app: Callable[..., Any], **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=TimeoutProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
        timeout_worker_healthcheck=WORKER_SECONDS,
        **more,
    )


def serve(app: Drained, sockets: Sequence[socket.socket]) -> bool:
    """Serve on listening sockets until a signal; returns whether the app started."""
    server = uvicorn.Server(_config(app))
    # uvicorn raises the signal again after it has stopped; that must not end this process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt, SystemExit):
        server.run(list(sockets))
    return server.started


# --- several processes ----------------------------------------------------------------------------


def serve_with_workers(
    make_app: Callable[[Settings], FastAPI],
    settings: Settings,
    sockets: Sequence[socket.socket],
    *,
    workers: int,
    drain_seconds: float = 0,
    on_ready: Callable[[], None],
) -> bool:
    """
    Serve with several processes until a signal. A worker that dies is replaced.

    Args:
        make_app: Called in each worker; must be importable there.
        on_ready: Called once all workers answer.

    Returns:
        Whether all workers started.
    """
    with tempfile.TemporaryDirectory(prefix="events-metrics-") as folder:
        # prometheus_client reads this variable when a worker imports it.
        os.environ[METRICS_FOLDER] = folder
        factory = partial(_make_worker_app, make_app, settings, drain_seconds)
        config = _config(factory, factory=True, workers=workers)
        supervisor = _Supervisor(config, list(sockets))
        supervisor.prepare(folder, on_ready)
        supervisor.run()
    return supervisor.is_ready


class _Supervisor(Multiprocess):
    """uvicorn's supervisor, which also reports readiness and honours a second signal."""

    is_ready = False

    def prepare(self, folder: str, on_ready: Callable[[], None]) -> None:
        self._folder = folder
        self._on_ready = on_ready

    def init_processes(self) -> None:
        with _sigint_blocked():
            super().init_processes()
        self._notice_deaths()
        self.is_ready = all(
            process.wait_until_ready(WORKER_SECONDS, self.should_exit) for process in self.processes
        )
        if self.is_ready:
            self._on_ready()
        else:
            log.error("a worker did not start, see above")
            self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        with _sigint_blocked():
            super().keep_subprocess_alive()
        self._notice_deaths()
        for pid in before - {process.pid for process in self.processes}:
            log.error("worker %s died and was replaced", pid)
            mark_process_dead(pid, self._folder)  # type: ignore[no-untyped-call] # has no types

    def _notice_deaths(self) -> None:
        """
        Close the workers' ends of the pipes through which they answer.

        Held open here, they would let the supervisor wait a minute for the answer of a worker that
        died, deaf to signals.
        """
        for process in self.processes:
            process.child_conn.close()

    def join_all(self) -> None:
        # Held open here, the sockets would accept connections that no worker serves.
        for listening in self.sockets:
            listening.close()
        for process in self.processes:
            while process.process.is_alive():
                process.process.join(0.1)
                for number in self.signal_queue:
                    if number in _STOP_SIGNALS:
                        self._kill_all()
                        exit_now(number)

    def _kill_all(self) -> None:
        for process in self.processes:
            process.process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """
    Block SIGINT here and, for good, in workers started inside this block.

    Ctrl-C reaches the whole process group, but only the supervisor stops a worker.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _make_worker_app(
    make_app: Callable[[Settings], FastAPI], settings: Settings, drain_seconds: float
) -> Drained:
    logs.configure(settings.events_log_format, settings.events_log_level)
    threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    # Some process managers signal every process: only the supervisor counts signals.
    return Drained(make_app(settings), drain_seconds=drain_seconds, on_second_signal=lambda _: None)


def _stop_with_supervisor() -> None:
    """If the supervisor dies, finish current requests and exit."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)


def welcome(sockets: Sequence[socket.socket]) -> str:
    """One line that says where the API answers."""
    urls = []
    for host, port, *_ in (listening.getsockname() for listening in sockets):
        urls.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    return (
        f"The API is ready at {', '.join(urls)}; /openapi.json describes it. "
        "SIGTERM or Ctrl-C stops it."
    )
