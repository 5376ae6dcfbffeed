"""Request bodies: received within limits of size, time and memory, and parsed to events."""

from __future__ import annotations

import asyncio
import io
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from fastapi.responses import Response

from events.api.dependencies import from_state
from events.api.problems import BodyTooSlow, Busy, InvalidRequest, TooLarge, UnsupportedContent
from events.domain.parsing import parse_array, parse_fields, parse_message, parse_void_reason
from events.errors import InvalidEvent, InvalidInput
from events.ingest.reading import Rejection
from events.ingest.records import read_records
from events.ingest.source import BLOCK_BYTES, LineInput
from events.models import MAX_PARTITION_KEY_BYTES, Event

#: Bytes of all request bodies in memory, per process; more requests are answered 503.
MAX_BUFFERED_BYTES = 67_108_864
#: How long a client may take to send a body.
TIMEOUT_SECONDS = 30.0
#: 4 MB of JSON can become 170 MB of objects, and Python parses one body at a time anyway.
_MAX_PARSING = 2
#: Requests with a body that may wait for the store. Reads have other threads, so that a slow
#: write does not block them.
_THREADS = 64
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's "window bits" for a gzip header and trailer
#: A 4 MB body has room for 200,000 empty gzip members, each of which copies the rest of the body.
_MAX_MEMBERS = 100

_KINDS = {"jsonl": "JSON", "parquet": "Parquet"}
JSON, CSV = "application/json", "text/csv"
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
            if request.headers.get("content-encoding", "").lower() == "gzip":
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


BodiesDep = Annotated[Bodies, Depends(from_state("bodies"))]


def _receives(*media_types: str) -> Callable[[Request, Bodies], AsyncIterator[bytes]]:
    async def receive(request: Request, bodies: BodiesDep) -> AsyncIterator[bytes]:
        async for body in bodies.receive(request, *media_types):
            yield body

    return receive


#: A body as it was sent. Routes pass it to `Bodies.read`, in their own thread.
JsonBody = Annotated[bytes, Depends(_receives(JSON))]
Body = Annotated[bytes, Depends(_receives(JSON, CSV))]


# --- events in a body -----------------------------------------------------------------------------


class Parsed(NamedTuple):
    """
    The valid events and the rejections of a request, each with its index.

    `lines` has the line of each row of a CSV body, by index. `customers` are all customers that
    the request names, also in rejected JSON objects.
    """

    events: list[tuple[int, Event]]
    rejections: list[tuple[int, InvalidEvent]]
    lines: list[int]
    customers: set[str]


def parse_json(text: bytes, max_events: int) -> Parsed:
    return _parse_events(_fields(text, "events")["events"], max_events)


def parse_correction(text: bytes, max_events: int) -> tuple[str, Parsed]:
    fields = _fields(text, "events", "reason")
    try:
        reason = parse_void_reason(fields["reason"])
    except InvalidEvent as exc:
        raise InvalidRequest("reason", exc.reason) from exc
    return reason, _parse_events(fields["events"], max_events)


def _fields(text: bytes, *names: str) -> dict[str, bytes]:
    try:
        return parse_fields(text, names)
    except InvalidEvent as exc:
        raise InvalidRequest(exc.field or "body", exc.reason) from exc


def _parse_events(text: bytes, max_events: int) -> Parsed:
    try:
        elements = parse_array(text)
    except InvalidEvent as exc:
        raise InvalidRequest("events", exc.reason) from exc
    if not elements:
        raise InvalidRequest("events", "is empty")
    if len(elements) > max_events:
        raise TooLarge(
            f"a request may have {max_events:,} events, and this one has {len(elements):,}"
        )
    parsed = Parsed([], [], [], set())
    for index, element in enumerate(elements):
        try:
            event = parse_message(element)
        except InvalidEvent as exc:
            parsed.rejections.append((index, exc))
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                claimed = msgspec.json.decode(element, type=_Claim).customer_id
                # A longer id belongs to no customer; do not keep it.
                parsed.customers.add(claimed[: MAX_PARTITION_KEY_BYTES + 1])
        else:
            parsed.events.append((index, event))
            parsed.customers.add(event.customer_id)
    return parsed


class _Claim(msgspec.Struct):
    """The customer that a JSON object names, even if the object is not a valid event."""

    customer_id: str


def parse_csv(text: bytes, max_events: int) -> Parsed:
    if text.startswith(_GZIP_MAGIC):  # the reader of files would unzip it, without a limit
        raise InvalidRequest("body", "is gzip: send the header Content-Encoding: gzip")
    parsed = Parsed([], [], [], set())
    source = LineInput(
        "the CSV", io.BytesIO(text), is_owned=True, block_bytes=BLOCK_BYTES, is_plain=True
    )
    try:
        if source.kind != "csv":
            raise InvalidRequest("body", f"is {_KINDS[source.kind]}, not CSV")
        for index, record in enumerate(read_records(source)):
            if index == max_events:
                raise TooLarge(f"a request may have {max_events:,} rows, and this one has more")
            if isinstance(record, Rejection):
                parsed.lines.append(record.line)
                parsed.rejections.append((index, InvalidEvent(None, record.reason)))
            else:
                line, event = record
                parsed.lines.append(line)
                parsed.events.append((index, event))
                parsed.customers.add(event.customer_id)
    except InvalidInput as exc:
        raise InvalidRequest("body", str(exc)) from exc
    if not parsed.lines:
        raise InvalidRequest("body", "has no rows: send at least one event")
    return parsed
