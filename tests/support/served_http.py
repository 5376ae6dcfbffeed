"""The API on a real socket in this process, and faults in front of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.app import create_app
from events.config import Settings
from events.service import EventService, Store
from tests.support.shell import free_port, until

BUSY, PROXY, JUNK, CUT, LOST = "busy", "proxy", "junk", "cut", "lost"


class Faults:
    """
    An application whose answers fail as `plan` says, in order; without a plan it works.

    `BUSY` is a 503, `PROXY` a proxy's 502, `JUNK` a proxy's page with status 200. `CUT` ends the
    connection before the request is handled, `LOST` after it: the events are then stored.
    """

    def __init__(self, app: ASGIApp, *plan: str) -> None:
        self._app = app
        self.plan = deque(plan)
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.requests += 1
        fault = self.plan.popleft() if self.plan else ""
        if fault == LOST:
            await self._app(scope, receive, _drop)
        if fault:
            await _answer(fault, send)
        else:
            await self._app(scope, receive, send)


async def _drop(_: Message) -> None:
    pass


async def _answer(fault: str, send: Send) -> None:
    status = {BUSY: 503, PROXY: 502}.get(fault, 200)
    body = b"<html>a proxy</html>"
    # Less than was announced: the server then closes the connection inside the answer.
    length = len(body) + (1_000 if fault in (CUT, LOST) else 0)
    headers = [(b"content-length", str(length).encode())]
    if fault == BUSY:
        headers.append((b"retry-after", b"0"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(app: ASGIApp, *, port: int | None = None) -> Iterator[str]:
    """Serve an application with uvicorn in a thread; gives its address."""
    port = port or free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def api_on(store: Store) -> FastAPI:
    """The whole API on a store of the test."""
    return create_app(Settings(), make_service=lambda _: EventService(store, write_threads=4))
