"""Bodies of requests: received within limits of size, time and memory, unzipped."""

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

from events.api.problems import BodyTooSlow, Busy, InvalidRequest, TooLarge, UnsupportedContent

#: Bytes of all request bodies in memory, per process; more requests are answered 503.
MAX_BUFFERED_BYTES = 67_108_864
#: How long a client may take to send a body.
TIMEOUT_SECONDS = 30.0
#: Four megabytes of JSON can become 170 as objects, and Python parses one at a time anyway.
_READ_AT_A_TIME = 2
#: Requests that wait for the store at a time, in threads of their own: questions have the others.
_THREADS = 64
_GZIP = 31  # zlib's "window bits" for a gzip header and trailer
#: One gzip file after another is gzip too. Of empty ones a body has room for 200,000, and each
#: costs a copy of what follows it.
_MOST_MEMBERS = 100


JSON, CSV = "application/json", "text/csv"
Taken = TypeVar("Taken")


class Bodies:
    """
    All bodies that one process is receiving.

    Their bytes together are bounded, so that many clients at once, however slow, cannot fill the
    memory.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._most_bytes = max_bytes
        self._most_bytes_together = max_buffered_bytes
        self._timeout_seconds = timeout_seconds
        self._bytes_held = 0
        self._reading = threading.BoundedSemaphore(_READ_AT_A_TIME)
        self.threads = CapacityLimiter(_THREADS)

    async def receive(self, request: Request, *media_types: str) -> AsyncIterator[bytes]:
        """
        The body as it was sent; yields once, and counts its bytes as held until it goes on.

        Raises:
            UnsupportedContent: It is none of these types, nor gzip of one.
            TooLarge: It is longer than one body may be.
            BodyTooSlow: It did not arrive in time.
            Busy: All bodies together are longer than they may be.
        """
        _check_type(request, media_types)
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:18]) > self._most_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    async for part in request.stream():
                        if self._bytes_held + len(part) > self._most_bytes_together:
                            raise Busy("too many bodies are being received: send it again, later")
                        size += len(part)
                        self._bytes_held += len(part)
                        parts.append(part)
                        if size > self._most_bytes:
                            raise self._too_large()
            except TimeoutError as exc:
                raise BodyTooSlow(
                    f"the body did not arrive within {self._timeout_seconds:g} s"
                ) from exc
            body = b"".join(parts)
            parts.clear()  # they would be held as long as the body, and are as long
            yield body
        finally:
            self._bytes_held -= size

    def read(self, request: Request, body: bytes, take: Callable[[bytes], Taken]) -> Taken:
        """
        What `take` makes of the text that a body holds.

        Parsed events take more memory than their text: only a few bodies are read at a time.

        Raises:
            InvalidRequest: The gzip data is invalid or cut off.
            TooLarge: The text is too long once unzipped; no more than that is ever unzipped.
            EventsError: As `take` does.
        """
        with self._reading:
            if request.headers.get("content-encoding", "").lower() == "gzip":
                body = self._unzipped(body)
            return take(body)

    def _unzipped(self, body: bytes) -> bytes:
        parts: list[bytes] = []
        room = self._most_bytes
        members = 0
        try:
            while body:
                members += 1
                if members > _MOST_MEMBERS:
                    raise InvalidRequest("body", f"is gzip of more than {_MOST_MEMBERS} members")
                member = zlib.decompressobj(_GZIP)
                part = member.decompress(body, room + 1)
                if len(part) > room:
                    raise self._too_large()
                if not member.eof:
                    raise InvalidRequest("body", "is gzip that was cut off")
                parts.append(part)
                room -= len(part)
                body = member.unused_data
        except zlib.error as exc:
            raise InvalidRequest("body", "is no gzip, as Content-Encoding says it is") from exc
        return b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"a body may have {self._most_bytes:,} bytes, also after unzipping: send fewer events "
            "at a time"
        )


def media_type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_type(request: Request, media_types: tuple[str, ...]) -> None:
    if media_type_of(request) not in media_types:
        raise UnsupportedContent(f"send the header Content-Type: {' or '.join(media_types)}")
    _, *parameters = request.headers["content-type"].lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
            raise UnsupportedContent("send the body in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip"):
        raise UnsupportedContent("the only Content-Encoding supported is gzip")


async def in_thread(
    request: Request, work: Callable[[float], Response], *, patience_seconds: float
) -> Response:
    """
    The answer that `work` gives, in one of the threads for requests with bodies.

    Args:
        work: Gets what is left of the patience.
        patience_seconds: From now on; waiting for a thread counts.

    Raises:
        Busy: The patience was over before there was a thread.
    """
    bodies: Bodies = request.app.state.bodies
    begin = time.monotonic()

    def begun() -> Response:
        left = begin + patience_seconds - time.monotonic()
        if left <= 0:
            raise Busy("too many requests wait for the store: send the same again, that is safe")
        return work(left)

    return await to_thread.run_sync(begun, limiter=bodies.threads)


def _receives(*media_types: str) -> Callable[[Request], AsyncIterator[bytes]]:
    async def receive(request: Request) -> AsyncIterator[bytes]:
        bodies: Bodies = request.app.state.bodies
        async for body in bodies.receive(request, *media_types):
            yield body

    return receive


#: The body as it was sent; `read_body` unzips it in the thread of the route.
JsonBody = Annotated[bytes, Depends(_receives(JSON))]
Body = Annotated[bytes, Depends(_receives(JSON, CSV))]


def read_body(request: Request, body: bytes, take: Callable[[bytes], Taken]) -> Taken:
    """What `take` makes of the text that a body holds; see `Bodies.read`."""
    bodies: Bodies = request.app.state.bodies
    return bodies.read(request, body, take)
