"""One log line and the metrics of each request."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.telemetry.metrics import REQUEST_SECONDS, REQUESTS, REQUESTS_UNDER_WAY

log = logging.getLogger(__name__)

#: Other methods are counted as `other`, so that callers cannot add metric labels.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_MAX_PATH_CHARACTERS = 1_024
#: A trusted proxy may forward something that is not an address.
_MAX_CLIENT_CHARACTERS = 64


class AccessLog:
    """
    Logs and measures each request, also one that fails.

    The application passes two values through the scope: `route`, and in `state` the `key_id` of
    the caller's API key.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        # Copies of the scope share this dictionary.
        scope.setdefault("state", {})
        status, bytes_out = 500, 0

        async def send_noted(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and scope["method"] != "HEAD":
                bytes_out += len(message.get("body", b""))
            await send(message)

        REQUESTS_UNDER_WAY.inc()
        try:
            await self._app(scope, receive, send_noted)
        finally:
            REQUESTS_UNDER_WAY.dec()
            _log(scope, status, bytes_out, time.perf_counter() - begin)


def _log(scope: Scope, status: int, bytes_out: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = getattr(scope.get("route"), "path_format", "unmatched")
    REQUESTS.labels(method, route, str(status)).inc()
    REQUEST_SECONDS.labels(method, route).observe(seconds)
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    if len(path) > _MAX_PATH_CHARACTERS:
        path = f"{path[:_MAX_PATH_CHARACTERS]}…"
    client = scope.get("client")
    fields = {
        "method": scope["method"][:32],
        "route": route,
        "path": path,
        "status": status,
        "milliseconds": round(seconds * 1_000, 2),
        "bytes_out": bytes_out,
        "client": client[0][:_MAX_CLIENT_CHARACTERS] if client else None,
        "key_id": scope["state"].get("key_id"),
    }
    log.info(
        "%(client)s %(key_id)s %(method)s %(path)s %(status)s %(milliseconds)s ms "
        "%(bytes_out)s bytes",
        {name: "-" if value is None else value for name, value in fields.items()},
        extra=fields,
    )
