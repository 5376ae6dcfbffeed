"""Connections of clients that stall, and of those that speak no HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from events.server.protocol import ImpatientProtocol

HEAD_SECONDS = 0.4
HEAD = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
LARGE = b"x" * 8_000_000


class Quick(ImpatientProtocol):
    head_timeout_seconds: ClassVar[float] = HEAD_SECONDS
    stall_timeout_seconds: ClassVar[float] = 0.3
    unread_body_timeout_seconds: ClassVar[float] = 0.5


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, at `/large` with much, at `/no` without reading it."""
    assert scope["type"] == "http"
    length, more = 0, scope["path"] != "/no"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message["more_body"]
    body = LARGE if scope["path"] == "/large" else str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def talk(client: Client) -> tuple[bytes, float]:
    """What a client got, and how long its connection was open; it must not stay with the server."""

    async def main() -> tuple[bytes, float]:
        config = uvicorn.Config(
            application, http=Quick, ws="none", log_config=None, timeout_keep_alive=2
        )
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: Quick(config, state, {}), "127.0.0.1", 0
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            begin = time.monotonic()
            got = await asyncio.wait_for(client(reader, writer), 10)
            seconds = time.monotonic() - begin
            writer.close()
            await asyncio.sleep(0.05)
            assert state.connections == set()
        return got, seconds

    return asyncio.run(main())


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All until the server closes, in order or not."""
    got = b""
    try:
        while part := await reader.read(65_536):
            got += part
    except ConnectionResetError:
        pass
    return got


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def dribble(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Send a byte at a time, for as long as the other end takes them."""
    for byte in text:
        writer.write(bytes([byte]))
        try:
            await writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0.05)


def test_a_client_that_says_nothing_is_closed() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:  # noqa: ARG001 - a client
        return await rest(reader)

    got, seconds = talk(silent)
    assert got == b""
    assert HEAD_SECONDS * 0.9 < seconds < HEAD_SECONDS + 1


def test_so_is_one_that_sends_a_head_byte_by_byte() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        sending = asyncio.create_task(dribble(writer, HEAD))
        got = await rest(reader)
        await sending
        return got

    assert talk(slow)[0] == b""


def test_the_time_of_a_later_head_begins_with_its_first_byte() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD)
        first = await answer(reader)
        # Idle for longer than a head may take: that is not its time.
        await asyncio.sleep(HEAD_SECONDS * 1.5)
        writer.write(HEAD)
        second = await answer(reader)
        sending = asyncio.create_task(dribble(writer, HEAD))
        third = await rest(reader)
        await sending
        return b"|".join((first, second, third))

    got, seconds = talk(slow)
    assert got == b"0|0|"
    assert seconds < 2 * HEAD_SECONDS * 1.5 + 1


def test_the_begin_of_a_head_that_came_with_the_one_before_counts_too() -> None:
    async def pipelined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + HEAD[:10])
        return await answer(reader) + await rest(reader)

    got, seconds = talk(pipelined)
    assert got == b"0"
    # Not the time for which an idle connection is kept.
    assert seconds < 1.5


def test_a_body_may_take_longer_than_a_head() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20\r\n\r\n")
        await dribble(writer, b"x" * 20)
        return await answer(reader)

    got, seconds = talk(slow)
    assert got == b"20"
    assert seconds > HEAD_SECONDS * 2


REFUSED = b"POST /no HTTP/1.1\r\nhost: localhost\r\n"


def test_a_client_that_goes_on_sending_what_was_refused_is_cut_off() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REFUSED + b"transfer-encoding: chunked\r\n\r\n")
        got = await answer(reader)
        await dribble(writer, b"1\r\nx\r\n" * 100)
        return got

    got, seconds = talk(endless)
    assert got == b"0"
    assert 0.4 < seconds < 1.5


def test_one_that_ends_its_body_in_time_may_send_the_next_request() -> None:
    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REFUSED + b"content-length: 4\r\n\r\nab")
        first = await answer(reader)
        await asyncio.sleep(0.2)
        writer.write(b"cd")
        # Longer than the rest of that body had.
        await asyncio.sleep(0.5)
        writer.write(HEAD)
        return first + await answer(reader)

    got, _ = talk(patient)
    assert got == b"00"


def test_a_client_that_does_not_take_its_answer_is_dropped() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.sleep(1.2)
        return await rest(reader)

    got, _ = talk(deaf)
    assert 0 < len(got) < len(LARGE)


def test_one_that_takes_it_gets_all_of_it() -> None:
    async def good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        got = await answer(reader)
        # The connection is still good.
        writer.write(HEAD)
        assert await answer(reader) == b"0"
        return got

    assert talk(good)[0] == LARGE


def test_what_is_no_http_is_answered_with_a_problem_and_the_headers_of_all_answers() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"HELO there\r\n\r\n")
        return await rest(reader)

    head, _, body = talk(other)[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    for header in (
        b"content-type: application/problem+json",
        b"x-content-type-options: nosniff",
        b"cache-control: no-store",
        b"connection: close",
    ):
        assert header in head.lower().split(b"\r\n")
    assert json.loads(body)["status"] == 400


def test_a_head_that_is_too_long_is_refused() -> None:
    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 200_000)
        return await rest(reader)

    assert talk(long)[0][:12] in (b"HTTP/1.1 400", b"")


def test_a_body_that_breaks_off_into_nonsense_ends_its_request() -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"3\r\nabc\r\nnonsense\r\n")
        return await rest(reader)

    assert talk(broken)[0].startswith(b"HTTP/1.1 400 ")
