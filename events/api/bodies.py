"""Request bodies: received and decompressed within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from fastapi.responses import Response

from events.api.dependencies import from_state
from events.api.problems import BodyTooSlow, Busy, InvalidRequest, TooLarge, UnsupportedContent

#: Bytes of all request bodies in memory, per process; more requests are answered 503.
MAX_BUFFERED_BYTES = 67_108_864
#: How long a client may take to send a body.
TIMEOUT_SECONDS = 30.0
#: 4 MB of JSON can become 170 MB of objects, and Python parses one body at a time anyway.
_MAX_PARSING = 2
#: Requests with a body that may wait for the store. Reads have other threads, so that a slow
#: write does not block them.
_THREADS = 64
_GZIP_NAMES = ("gzip", "x-gzip")
#: ASCII is a part of UTF-8.
_CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
_GZIP = 31  # zlib's "window bits" for a gzip header and trailer
#: A 4 MB body has room for 200,000 empty gzip members, each of which copies the rest of the body.
_MAX_MEMBERS = 100

JSON, CSV, CLOUD_EVENT = "application/json", "text/csv", "application/cloudevents+json"
_STRUCTURED = "application/cloudevents"
T = TypeVar("T")


class Bodies:
    """The request bodies in flight in one process; together they use a bounded amount of memory."""

    def __init__(
        self,
        max_bytes: int,
        *,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._timeout_seconds = timeout_seconds
        self._buffered_bytes = 0
        self._parsing = threading.BoundedSemaphore(_MAX_PARSING)
        self.threads = CapacityLimiter(_THREADS)

    async def receive(self, request: Request, *media_types: str) -> AsyncIterator[bytes]:
        """
        Yield the body once, as it was sent. Its bytes count as buffered until the generator ends.

        Raises:
            UnsupportedContent: The content type or encoding is not supported.
            TooLarge: The body is too long.
            BodyTooSlow: The body did not arrive in time.
            Busy: Too many bytes of bodies are in memory.
        """
        _check_type(request, media_types)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:18]) > self._max_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    async for part in request.stream():
                        if self._buffered_bytes + len(part) > self._max_buffered_bytes:
                            raise Busy(
                                "too many request bodies in memory: send the request again later"
                            )
                        size += len(part)
                        self._buffered_bytes += len(part)
                        parts.append(part)
                        if size > self._max_bytes:
                            raise self._too_large()
            except TimeoutError as exc:
                raise BodyTooSlow(
                    f"the request body did not arrive within {self._timeout_seconds:g} s"
                ) from exc
            body = b"".join(parts)
            parts.clear()  # otherwise the body would be in memory twice
            yield body
        finally:
            self._buffered_bytes -= size

    async def in_thread(
        self, work: Callable[[float], Response], *, patience_seconds: float
    ) -> Response:
        """
        Run `work` in a thread for requests with bodies.

        Args:
            work: Called with the seconds that remain of the patience.
            patience_seconds: From now; waiting for a thread counts.

        Raises:
            Busy: No thread became free in time.
        """
        deadline = time.monotonic() + patience_seconds

        def run() -> Response:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise Busy(
                    "too many requests wait for the store: send the same request again, that is "
                    "safe"
                )
            return work(remaining)

        return await to_thread.run_sync(run, limiter=self.threads)

    def read(self, request: Request, body: bytes, parse: Callable[[bytes], T]) -> T:
        """
        Decompress a body and parse it, at most `_MAX_PARSING` bodies at a time.

        Raises:
            InvalidRequest: The gzip data is invalid or cut off.
            TooLarge: The decompressed body is too long; decompression stops at the limit.
            EventsError: Raised by `parse`.
        """
        with self._parsing:
            if request.headers.get("content-encoding", "").lower() in _GZIP_NAMES:
                body = self._decompress(body)
            return parse(body)

    def _decompress(self, body: bytes) -> bytes:
        """A gzip file may consist of several members, one after another."""
        parts: list[bytes] = []
        room = self._max_bytes
        try:
            while body:
                if len(parts) == _MAX_MEMBERS:
                    raise InvalidRequest("body", f"has more than {_MAX_MEMBERS} gzip members")
                member = zlib.decompressobj(_GZIP)
                part = member.decompress(body, room + 1)
                if len(part) > room:
                    raise self._too_large()
                if not member.eof:
                    raise InvalidRequest("body", "gzip data is cut off")
                parts.append(part)
                room -= len(part)
                body = member.unused_data
        except zlib.error as exc:
            raise InvalidRequest("body", "is not gzip, but Content-Encoding is gzip") from exc
        return b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the request body exceeds {self._max_bytes:,} bytes, before or after decompression: "
            "send fewer events per request"
        )


def media_type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def has_cloud_event(request: Request) -> bool:
    """
    Whether the headers are a CloudEvent in binary mode; the body is then its data.

    In structured and batch mode, headers may only repeat what the body says.
    """
    is_structured = media_type_of(request).startswith(_STRUCTURED)
    return "ce-specversion" in request.headers and not is_structured


def _check_type(request: Request, media_types: tuple[str, ...]) -> None:
    if CLOUD_EVENT in media_types and has_cloud_event(request):
        return
    if media_type_of(request) not in media_types:
        raise UnsupportedContent(f"send the header Content-Type: {' or '.join(media_types)}")
    _, *parameters = request.headers["content-type"].lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in _CHARSETS:
            raise UnsupportedContent("send the body in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() not in (
        "identity",
        *_GZIP_NAMES,
    ):
        raise UnsupportedContent("the only Content-Encoding supported is gzip")


BodiesDep = Annotated[Bodies, Depends(from_state("bodies"))]


def receives(*media_types: str) -> Callable[[Request, Bodies], AsyncIterator[bytes]]:
    """A dependency that receives a body of these types."""

    async def receive(request: Request, bodies: BodiesDep) -> AsyncIterator[bytes]:
        async for body in bodies.receive(request, *media_types):
            yield body

    return receive


#: A body as it was sent. Routes pass it to `Bodies.read`, in their own thread.
JsonBody = Annotated[bytes, Depends(receives(JSON))]
