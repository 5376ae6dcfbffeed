"""What every request passes before its route, and every answer after it."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.api.accesslog import AccessLog
from events.api.problems import Busy, internal_error, problem
from events.config import Settings, is_loopback
from events.telemetry.logs import REQUEST_ID

log = logging.getLogger(__name__)

#: Concurrent requests per process; more are answered 503.
MAX_REQUESTS = 1_000
#: Health checks are answered however busy the process is: a busy process is not a dead one.
PROBES = frozenset(("/livez", "/readyz"))
_REQUEST_ID_HEADER = "X-Request-ID"
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
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
    app.add_middleware(HeadAsGet)
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
    app.add_middleware(SecurityHeaders)
    app.add_middleware(AccessLog)
    app.add_middleware(RequestId)


class RequestId:
    """Gives each request an id: the caller's if it is valid, otherwise a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_REQUEST_ID_HEADER, "")
        request_id = given if _VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_REQUEST_ID_HEADER] = request_id
            await send(message)

        token = REQUEST_ID.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            REQUEST_ID.reset(token)


class SecurityHeaders:
    """Adds `SECURITY_HEADERS` that a route has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class InternalErrors:
    """
    Answers an exception that no handler expects with a 500, and logs it.

    Starlette's own handler for this stands outside all middleware: its answer would have no
    request id, no security headers and no line in the access log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False

        async def send_noted(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as exc:
            if scope["type"] != "http":
                raise
            log.error("unexpected error", exc_info=exc)
            if is_started:  # the server cuts the connection, so that the client sees the failure
                raise
            await internal_error()(scope, receive, send)


class LocalOnly:
    """
    Refuses requests from other machines, and from other sites in a local browser.

    Args:
        origins: Origins whose pages may call the API nevertheless (CORS).
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope) if scope["type"] == "http" else None
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


def _is_local_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    name = match[1].strip("[]").lower() if match else ""
    return name == "localhost" or is_loopback(name)


def _is_local_origin(origin: str) -> bool:
    try:
        return _is_local_host(urlsplit(origin).netloc)
    except ValueError:
        return False


class ConcurrencyLimit:
    """
    Answers 503 at once while `max_requests` are in flight.

    uvicorn's `limit_concurrency` would refuse health checks too, and count idle connections.
    """

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        self._app = app
        self._free = max_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
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


class HeadAsGet:
    """Answers HEAD as GET; the server drops the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: the server must still know that the request was HEAD.
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send)
        finally:
            scope["route"] = inner.get("route")
