"""One log line and the measures of each request."""

from __future__ import annotations

import logging
import time
from collections import deque

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.telemetry.metrics import REQUEST_SECONDS, REQUESTS, REQUESTS_UNDER_WAY

log = logging.getLogger(__name__)

#: Others are `other`: a label's values are few, whatever is sent.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_OTHER, _UNMATCHED = "other", "unmatched"
#: The client went away before it was answered (as nginx logs it).
CUT_OFF = 499
_MOST_OF_A_PATH = 1_024
#: A proxy that is believed may hand on what is no address.
_MOST_OF_AN_ADDRESS = 64


class Observed:
    """
    Logs and measures each request: also one that fails, and one that its client cut off.

    The innermost application tells two things through the scope: `route`, and in `state` the
    `key_id` of the API key, if there was one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        # The key's id is told in a dictionary that all copies of the scope share.
        scope.setdefault("state", {})
        exchange = _Exchange(receive, send, has_body=_has_body(scope))
        REQUESTS_UNDER_WAY.inc()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            # It is answered and in the log already: the server need not say it again.
            if not exchange.is_answered:
                raise
        finally:
            REQUESTS_UNDER_WAY.dec()
            _note(scope, exchange, time.perf_counter() - begin)


class _Exchange:
    """What passes between one client and the application."""

    def __init__(self, receive: Receive, send: Send, *, has_body: bool) -> None:
        self._receive = receive
        self._send = send
        self._is_body_to_come = has_body
        self._ahead: deque[Message] = deque()
        self._is_cut_off = False
        self._status = 0
        self.bytes_out = 0
        self.is_answered = False

    @property
    def status(self) -> int:
        if self._is_cut_off:
            return CUT_OFF
        # Without an answer of ours the server says 500.
        return self._status or 500

    async def receive(self) -> Message:
        return self._ahead.popleft() if self._ahead else await self._next()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            await self._look_for_a_cut()
        elif message["type"] == "http.response.body":
            self.bytes_out += len(message.get("body", b""))
            self.is_answered = not message.get("more_body", False)
        await self._send(message)

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._is_body_to_come = message.get("more_body", False)
        elif message["type"] == "http.disconnect" and not self.is_answered:
            self._is_cut_off = True
        return message

    async def _look_for_a_cut(self) -> None:
        """
        Ask whether the client is still there; waits for nothing.

        uvicorn tells it only to those who receive, and drops what is sent to nobody. Not asked
        while a body is to come: it is for the application to take.
        """
        while not self._is_body_to_come and not self._is_cut_off:
            with anyio.CancelScope() as scope:
                scope.cancel()
                message = await self._next()
            if scope.cancelled_caught:
                return
            self._ahead.append(message)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _note(scope: Scope, exchange: _Exchange, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else _OTHER
    route = getattr(scope.get("route"), "path_format", _UNMATCHED)
    status = exchange.status
    REQUESTS.labels(method, route, str(status)).inc()
    REQUEST_SECONDS.labels(method, route).observe(seconds)
    raw_path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    path = raw_path if len(raw_path) <= _MOST_OF_A_PATH else f"{raw_path[:_MOST_OF_A_PATH]}…"
    client = scope.get("client")
    fields = {
        "method": scope["method"][:32],
        "route": route,
        "path": path,
        "status": status,
        "milliseconds": round(seconds * 1_000, 2),
        "bytes_out": exchange.bytes_out,
        "client": client[0][:_MOST_OF_AN_ADDRESS] if client else None,
        "key_id": scope["state"].get("key_id"),
    }
    log.info(
        "%(client)s %(key_id)s %(method)s %(path)s %(status)s %(milliseconds)s ms "
        "%(bytes_out)s bytes",
        {name: "-" if value is None else value for name, value in fields.items()},
        extra=fields,
    )
