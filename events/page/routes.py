"""The dashboard: static files, which hold no data and ask the API for all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
#: Nothing from other hosts, nothing inline; the chart's picture is a `blob:` URL.
#: `trusted-types` makes the browser itself refuse text that would become markup.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
#: Browsers revalidate each time, so that a page never runs with another version's script.
_HEADERS = {"Cache-Control": "no-cache", "Content-Security-Policy": PAGE_POLICY}


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Serve the page at `/` and its files at `/static/`."""
    files = _Files(directory=STATIC)

    @app.get("/", include_in_schema=False)
    async def get_page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    app.mount("/static", files)
