"""What every request and answer passes, from the outside in."""

from __future__ import annotations

import re
import uuid

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.api.accesslog import Observed
from events.api.guards import AtMost, LocalOnly
from events.config import Settings
from events.telemetry.logs import REQUEST_ID

#: Concurrent requests per process; more are answered 503.
MAX_REQUESTS = 1_000
_REQUEST_ID_HEADER = "X-Request-ID"
_GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Answers are data of one caller: no page, no frame, no cache.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def install(app: FastAPI, settings: Settings) -> None:
    """Put all of it around an app."""
    origins = settings.events_cors_origins.split()
    # From the inside out. What fails here is answered with the 500 of `problems`.
    app.add_middleware(HeadAsGet)
    app.add_middleware(AtMost, requests=MAX_REQUESTS)
    if not settings.are_api_keys_on:
        app.add_middleware(LocalOnly, origins=origins)
    build = app.build_middleware_stack

    def build_middleware_stack() -> ASGIApp:
        """As the framework builds it; what follows is around its answer to a mistake as well."""
        stack = build()
        if origins:
            stack = CORSMiddleware(
                stack,
                allow_origins=origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=(
                    "Authorization",
                    "Content-Type",
                    "Content-Encoding",
                    _REQUEST_ID_HEADER,
                ),
                expose_headers=(_REQUEST_ID_HEADER, "Retry-After", "Link"),
            )
        return RequestId(Observed(SecurityHeaders(stack)))

    app.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign] # as `openapi`


class RequestId:
    """Gives each request an id: the caller's, if it can be one, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_REQUEST_ID_HEADER, "")
        request_id = given if _GOOD_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

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
    """Tells browsers to do nothing with an answer but read it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)  # a page has a policy of its own
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadAsGet:
    """Answers HEAD as GET without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_changed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                headers = MutableHeaders(scope=message)
                allowed = [each.strip() for each in headers.get("Allow", "").split(",")]
                if "GET" in allowed:
                    headers["Allow"] = ", ".join(sorted({*allowed, "HEAD"}))
            elif message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server must go on to know that it was HEAD.
        inner = {**scope, "method": "GET"} if is_head else scope
        try:
            await self._app(inner, receive, send_changed)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]
