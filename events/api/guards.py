"""Who is served at all: this machine alone while API keys are off, and not too many at once."""

from __future__ import annotations

import re
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from events.api.problems import Busy, problem
from events.config import is_loopback

#: What proxies add; their clients may be anywhere.
_SIGNS_OF_A_PROXY = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
_HOW_TO_SERVE_OTHERS = (
    "API keys are off (EVENTS_API_KEYS), so this service answers its own machine only: {}. To "
    "serve others set EVENTS_API_KEYS=on and make a key with: python -m events keys create --help"
)
PROBES = frozenset(("/livez", "/readyz"))


class LocalOnly:
    """
    Refuses what may come from another machine, or from a page of another site in a browser here.

    Args:
        origins: Pages that may call nevertheless (CORS).
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._why_not(scope)):
            detail = _HOW_TO_SERVE_OTHERS.format(reason)
            refusal = problem(
                HTTPStatus.FORBIDDEN, detail, title="Only requests of this machine are answered"
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _why_not(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        for end, name in (("server", "address of the server"), ("client", "client")):
            address = scope.get(end)
            if not address or not is_loopback(address[0]):
                return f"the {name} of this request is none of this machine's own (127.0.0.1, ::1)"
        # What nginx sends on as long as it is told nothing else, without any of the headers below.
        if scope.get("http_version") == "1.0":
            return "this request came as HTTP/1.0, as through a proxy"
        for name in _SIGNS_OF_A_PROXY:
            if name in headers:
                return f"this request came through a proxy (it has {name})"
        # A page of another site can give its own name the address 127.0.0.1 (DNS rebinding).
        if not _is_own_name(headers.get("host", "")):
            return "the header Host is not localhost, 127.0.0.1 or [::1]"
        # Browsers send some requests of any page without asking first.
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and not _is_own_origin(origin):
            return "the header Origin is that of another site, and not one of EVENTS_CORS_ORIGINS"
        return None


def _is_own_name(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if not found:
        return False
    name = found[1].strip("[]")
    return name.lower() == "localhost" or is_loopback(name)


def _is_own_origin(origin: str) -> bool:
    try:
        return _is_own_name(urlsplit(origin).netloc)
    except ValueError:
        return False


class AtMost:
    """
    Answers 503 at once while too many requests are under way; whoever asks if it lives is let in.

    Args:
        requests: Under way at a time, in this process.
    """

    def __init__(self, app: ASGIApp, requests: int) -> None:
        self._app = app
        self._free = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if not self._free:
            refusal = problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many requests are under way here: send the same again, that is safe",
                title=Busy.title,
            )
            await refusal(scope, receive, send)
            return
        # One thread runs all of this: nobody comes between.
        self._free -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free += 1
