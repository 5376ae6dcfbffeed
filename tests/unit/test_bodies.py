"""Request bodies: limits of time and memory, and the threads that wait for the store."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi import Request
from fastapi.responses import Response

from events.api.bodies import JSON, Bodies
from events.api.problems import BodyTooSlow, Busy, InvalidRequest, TooLarge


def request_with(*parts: bytes, is_endless: bool = False, **headers: str) -> Request:
    """A request whose body arrives in these parts; an endless one then stalls."""
    names = {"content-type": JSON, **headers}

    async def stream() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        if is_endless:
            await asyncio.Event().wait()

    header_map = {name.replace("_", "-"): value for name, value in names.items()}
    return cast("Request", SimpleNamespace(headers=header_map, stream=stream))


async def receive(bodies: Bodies, request: Request) -> bytes:
    async for body in bodies.receive(request, JSON):
        return body
    raise AssertionError


def test_a_body_that_stalls_is_refused_and_its_memory_is_free_again() -> None:
    bodies = Bodies(100, timeout_seconds=0.01)
    with pytest.raises(BodyTooSlow):
        asyncio.run(receive(bodies, request_with(b"x" * 50, is_endless=True)))
    assert bodies._buffered_bytes == 0


def test_bodies_in_flight_share_a_bounded_memory() -> None:
    bodies = Bodies(100, max_buffered_bytes=150)

    async def two() -> None:
        first = bodies.receive(request_with(b"x" * 100), JSON)
        assert await anext(first) == b"x" * 100
        with pytest.raises(Busy):
            await receive(bodies, request_with(b"x" * 51))
        await first.aclose()  # type: ignore[attr-defined] # it is a generator
        assert await receive(bodies, request_with(b"x" * 51)) == b"x" * 51

    asyncio.run(two())


@pytest.mark.parametrize(
    "request_", [request_with(content_length="101"), request_with(b"x" * 60, b"x" * 41)]
)
def test_a_body_over_the_limit_is_refused(request_: Request) -> None:
    with pytest.raises(TooLarge, match="100 bytes"):
        asyncio.run(receive(Bodies(100), request_))


def unzipped(body: bytes) -> bytes:
    return Bodies(1_000).read(request_with(content_encoding="gzip"), body, bytes)


def test_gzip_of_several_members_is_read_whole() -> None:
    assert unzipped(gzip.compress(b"abc") + gzip.compress(b"") + gzip.compress(b"def")) == b"abcdef"


def test_decompression_stops_at_the_limit() -> None:
    with pytest.raises(TooLarge):
        unzipped(gzip.compress(b"x" * 600) + gzip.compress(b"x" * 401))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(b"abc", mtime=0)[:-1], "cut off"),
        (gzip.compress(b"abc", mtime=0) + b"x", "cut off"),
        (b"abc", "is not gzip"),
        (gzip.compress(b"", mtime=0) * 101, "more than 100 gzip members"),
    ],
    ids=["cut off", "with a tail", "not gzip", "too many members"],
)
def test_invalid_gzip_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        unzipped(body)


def test_a_request_that_gets_no_thread_in_time_is_refused() -> None:
    bodies = Bodies(100)
    bodies.threads.total_tokens = 1
    is_running, is_over = threading.Event(), threading.Event()
    remaining: list[float] = []

    def hold(seconds: float) -> Response:
        remaining.append(seconds)
        is_running.set()
        assert is_over.wait(60)
        return Response("done")

    def work(seconds: float) -> Response:
        remaining.append(seconds)
        return Response("done")

    async def main() -> None:
        first = asyncio.create_task(bodies.in_thread(hold, patience_seconds=500))
        await asyncio.to_thread(is_running.wait, 60)
        late = asyncio.create_task(bodies.in_thread(work, patience_seconds=0))
        patient = asyncio.create_task(bodies.in_thread(work, patience_seconds=600))
        await asyncio.sleep(0)
        is_over.set()
        with pytest.raises(Busy):
            await late
        assert (await first).status_code == (await patient).status_code == 200

    asyncio.run(main())
    held, patient = remaining
    assert held <= 500 < patient < 600
