"""A small HTTP port for whoever runs a consumer: is it alive, is it well, what has it done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from events.errors import EventsError, InvalidInput

#: What is wrong, by what it is wrong with; empty where all is well.
Problems = dict[str, str]
_PATIENCE_SECONDS = 2.0


class Checks:
    """
    One check at a time, in a thread of its own, for all who ask meanwhile.

    Args:
        checks: By what they look at; each raises an error of ours and may take long.
    """

    def __init__(self, checks: dict[str, Callable[[], None]]) -> None:
        self._checks = checks
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(len(checks), thread_name_prefix="check")
        self._under_way: dict[str, Future[None]] = {}

    def problems(self) -> Problems:
        found = {}
        for name, check in self._checks.items():
            with self._lock:
                future = self._under_way.get(name)
                if future is None or future.done():
                    future = self._under_way[name] = self._threads.submit(check)
            try:
                future.result(_PATIENCE_SECONDS)
            except TimeoutError:
                found[name] = "does not answer in time"
            except (EventsError, RuntimeError):  # the second of a client that was closed
                # What they say may name hosts and tables: it is in the log.
                found[name] = "does not answer, or refuses"
        return found

    def close(self) -> None:
        self._threads.shutdown(wait=False)


@contextmanager
def served(
    host: str, port: int, *, is_alive: Callable[[], bool], problems: Callable[[], Problems]
) -> Iterator[int]:
    """
    Answer `/livez`, `/readyz` and `/metrics` while this is open; yields the port.

    Args:
        port: 0 takes a free one.

    Raises:
        InvalidInput: The address cannot be had.
    """
    handler = partial(_Handler, is_alive, problems)
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as exc:
        raise InvalidInput(f"--host {host} --port {port}: {exc.strerror}") from exc
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="status", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    #: A client that sends nothing holds its thread for no longer.
    timeout = 10

    def __init__(
        self, is_alive: Callable[[], bool], problems: Callable[[], Problems], *connection: object
    ) -> None:
        self._is_alive = is_alive
        self._problems = problems
        super().__init__(*connection)  # type: ignore[arg-type] # as the server gives them

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/livez":
                self._say({} if self._is_alive() else {"loop": "has not turned for a while"})
            case "/readyz":
                self._say(self._problems())
            case "/metrics":
                self._send(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
            case _:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"/livez, /readyz, /metrics\n")

    def _say(self, problems: Problems) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        body = {"status": "waiting" if problems else "ok", **problems}
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes are not news."""
