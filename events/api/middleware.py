"""What every request passes before its route, and every answer after it."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.api.problems import Busy, problem
from events.config import Settings
from events.telemetry.logs import REQUEST_ID
from events.telemetry.metrics import REQUEST_SECONDS, REQUESTS, REQUESTS_UNDER_WAY

log = logging.getLogger(__name__)
access_log = logging.getLogger("events.api.accesslog")

#: Concurrent requests per process; more are answered 503.
MAX_REQUESTS = 1_000
#: Health checks are answered however busy the process is: a busy process is not a dead one.
PROBES = frozenset(("/livez", "/readyz"))
_REQUEST_ID_HEADER = "X-Request-ID"
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
#: Other methods are counted as `other`, so that callers cannot add metric labels.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_MAX_PATH_CHARACTERS = 1_024
#: A trusted proxy may forward something that is not an address.
_MAX_CLIENT_CHARACTERS = 64
#: Answers are one caller's data: no page, no frame, no cache.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def install(app: FastAPI, settings: Settings) -> None:
    """Add all middleware to `app`; the last one added is the outermost."""
    origins = settings.events_cors_origins.split()
    app.add_middleware(ConcurrencyLimit, max_requests=MAX_REQUESTS)
    if not settings.are_api_keys_on:
        app.add_middleware(LocalOnly, origins=origins)
    app.add_middleware(InternalErrors)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "Content-Encoding", _REQUEST_ID_HEADER),
            expose_headers=(_REQUEST_ID_HEADER, "Retry-After", "Link"),
        )
    app.add_middleware(Envelope)


class _Middleware:
    """Passes on what is not a request: the start and the stop of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.answer if scope["type"] == "http" else self._app)(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class Envelope(_Middleware):
    """
    Gives a request its id, an answer its headers, and both a line in the access log and metrics.

    The id is the caller's if it is valid. The application passes two values for the log through
    the scope: `route`, and in `state` the `key_id` of the caller's API key.
    """

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        given = Headers(scope=scope).get(_REQUEST_ID_HEADER, "")
        request_id = given if _VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        is_head = scope["method"] == "HEAD"
        # Answer HEAD as GET; the server drops the body (RFC 9110, section 9.3.2). A copy, because
        # the server must still know that the request was HEAD.
        inner = {"state": {}, **scope, "method": "GET" if is_head else scope["method"]}
        status, bytes_out = 500, 0

        async def send_noted(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[_REQUEST_ID_HEADER] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)  # a route may have set its own
            elif message["type"] == "http.response.body" and not is_head:
                bytes_out += len(message.get("body", b""))
            await send(message)

        token = REQUEST_ID.set(request_id)
        REQUESTS_UNDER_WAY.inc()
        try:
            await self._app(inner, receive, send_noted)
        finally:
            REQUESTS_UNDER_WAY.dec()
            _log(scope["method"], inner, status, bytes_out, time.perf_counter() - begin)
            REQUEST_ID.reset(token)


def _log(method: str, scope: Scope, status: int, bytes_out: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path_format", "unmatched")
    label = method if method in _METHODS else "other"
    REQUESTS.labels(label, route, str(status)).inc()
    REQUEST_SECONDS.labels(label, route).observe(seconds)
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    if len(path) > _MAX_PATH_CHARACTERS:
        path = f"{path[:_MAX_PATH_CHARACTERS]}…"
    client = scope.get("client")
    fields = {
        "method": method[:32],
        "route": route,
        "path": path,
        "status": status,
        "milliseconds": round(seconds * 1_000, 2),
        "bytes_out": bytes_out,
        "client": client[0][:_MAX_CLIENT_CHARACTERS] if client else None,
        "key_id": scope["state"].get("key_id"),
    }
    access_log.info(
        "%(client)s %(key_id)s %(method)s %(path)s %(status)s %(milliseconds)s ms "
        "%(bytes_out)s bytes",
        {name: "-" if value is None else value for name, value in fields.items()},
        extra=fields,
    )


class InternalErrors(_Middleware):
    """
    Answers an exception that no handler expects with a 500, and logs it.

    Starlette's own handler for this stands outside all middleware: its answer would have no
    request id, no security headers and no line in the access log.
    """

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False

        async def send_noted(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as exc:
            log.error("unexpected error", exc_info=exc)
            if is_started:  # the server cuts the connection, so that the client sees the failure
                raise
            await problem(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, send)


class LocalOnly(_Middleware):
    """
    Refuses requests from other machines, and from other sites in a local browser.

    Args:
        origins: Origins whose pages may call the API nevertheless (CORS).
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        super().__init__(app)
        self._origins = origins

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope)
        if reason is None:
            await self._app(scope, receive, send)
            return
        detail = (
            f"API keys are off (EVENTS_API_KEYS), so only local requests are served: {reason}. To "
            "serve others, set EVENTS_API_KEYS=on and create a key: python -m events keys create"
        )
        answer = problem(HTTPStatus.FORBIDDEN, detail, title="Only local requests are served")
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        for end in ("server", "client"):
            address = scope.get(end)
            if not address or not is_loopback(address[0]):
                return f"the address of the {end} is not a loopback address (127.0.0.1, ::1)"
        # Another site's page can point its own host name at 127.0.0.1 (DNS rebinding).
        if not _is_local_host(headers.get("host", "")):
            return "the Host header is not localhost, 127.0.0.1 or [::1]"
        # Browsers send some requests of any page without asking first.
        origin = headers.get("origin")
        if origin is None or origin in self._origins or _is_local_origin(origin):
            return None
        return "the Origin header names another site, which is not in EVENTS_CORS_ORIGINS"


def is_loopback(address: str) -> bool:
    """Whether an IP address is 127.0.0.0/8 or ::1. Host names and paths are not."""
    try:
        # An IPv6 address may name its network interface: `fe80::1%eth0`.
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_local_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    name = match[1].strip("[]").lower() if match else ""
    return name == "localhost" or is_loopback(name)


def _is_local_origin(origin: str) -> bool:
    try:
        return _is_local_host(urlsplit(origin).netloc)
    except ValueError:
        return False


class ConcurrencyLimit(_Middleware):
    """
    Answers 503 at once while `max_requests` are in flight.

    uvicorn's `limit_concurrency` would refuse health checks too, and count idle connections.
    """

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        super().__init__(app)
        self._free = max_requests

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if not self._free:
            detail = "too many requests in flight: send the same request again, that is safe"
            answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, title=Busy.title)
            await answer(scope, receive, send)
            return
        # One event loop runs all of this, so no lock is needed.
        self._free -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free += 1
