"""The page at `/` and its script and style. It holds no data: what it shows it asks the API."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Nothing of another host, nothing inline; a picture of the chart is made by way of a `blob:`.
#: Text that would become markup is refused by the browser itself (`trusted-types`).
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


class _File(NamedTuple):
    content: bytes
    media_type: str
    etag: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return _File(content, _MEDIA_TYPES[path.suffix], f'"{digest}"')


# Read once: they are small, and a name that is not here leads nowhere, whatever is in it.
FILES = {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}


@router.get("/")
async def get_page(request: Request) -> Response:
    """The page itself."""
    return _answer(request, FILES["index.html"])


@router.get("/static/{name}")
async def get_static(request: Request, name: str) -> Response:
    """What the page loads."""
    if name not in FILES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return _answer(request, FILES[name])


def _answer(request: Request, file: _File) -> Response:
    # Asked about each time, so that a page never runs with the script of another version.
    headers = {
        "ETag": file.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": PAGE_POLICY,
    }
    if file.etag in _tags(request.headers.get("if-none-match", "")):
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    return Response(file.content, HTTPStatus.OK, headers, file.media_type)


def _tags(text: str) -> set[str]:
    """What If-None-Match names; a proxy that compresses makes tags weak."""
    return {each.strip().removeprefix("W/") for each in text.split(",")}
