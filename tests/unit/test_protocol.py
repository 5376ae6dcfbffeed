"""Clients that stall, and clients that do not speak HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import ClassVar

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from events.server.protocol import TimeoutProtocol

HEAD = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
REFUSED = b"POST /no HTTP/1.1\r\nhost: localhost\r\n"
LARGE = b"x" * 8_000_000
HEAD_SECONDS = 0.3


class Quick(TimeoutProtocol):
    """Short timeouts; uvicorn's own would let an idle connection live for ten minutes."""

    head_seconds: ClassVar[float] = HEAD_SECONDS
    write_seconds: ClassVar[float] = 0.3
    unread_body_seconds: ClassVar[float] = 0.5


class Patient(TimeoutProtocol):
    """Only heads have a short timeout."""

    head_seconds: ClassVar[float] = HEAD_SECONDS


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the length of the body; `/large` much data, `/no` without reading the body."""
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


def talk(client: Client, protocol: type[TimeoutProtocol] = Quick) -> bytes:
    """What a client received; afterwards the server must have forgotten the connection."""

    async def main() -> bytes:
        config = uvicorn.Config(
            application, http=protocol, ws="none", log_config=None, timeout_keep_alive=600
        )
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config, state, {}), "127.0.0.1", 0
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            received = await asyncio.wait_for(client(reader, writer), 60)
            writer.close()
            async with asyncio.timeout(60):
                while state.connections:
                    await asyncio.sleep(0.01)
        return received

    return asyncio.run(main())


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes or aborts the connection."""
    received = b""
    try:
        while part := await reader.read(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def dribble(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send one byte at a time, until the server closes the connection."""
    for byte in data:
        writer.write(bytes([byte]))
        try:
            await writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(0.05)


def test_the_private_class_is_the_one_of_this_uvicorn() -> None:
    """TimeoutProtocol extends a class that uvicorn does not document: read its diff, then bump."""
    assert uvicorn.__version__.startswith("0.54.")


def test_a_silent_client_is_closed() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
        return await rest(reader)

    assert talk(silent) == b""


def test_a_head_sent_byte_by_byte_is_closed() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        sending = asyncio.create_task(dribble(writer, HEAD))
        received = await rest(reader)
        await sending
        return received

    assert talk(slow) == b""


def test_the_timeout_of_a_later_head_starts_with_its_first_byte() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD)
        first = await answer(reader)
        await asyncio.sleep(HEAD_SECONDS * 1.5)  # an idle connection has no such timeout
        writer.write(HEAD)
        second = await answer(reader)
        sending = asyncio.create_task(dribble(writer, HEAD))
        third = await rest(reader)
        await sending
        return b"|".join((first, second, third))

    assert talk(slow) == b"0|0|"


def test_part_of_a_pipelined_head_has_the_timeout_too() -> None:
    async def pipelined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + HEAD[:10])
        return await answer(reader) + await rest(reader)

    assert talk(pipelined) == b"0"


def test_a_body_may_take_longer_than_a_head() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 15\r\n\r\n")
        await dribble(writer, b"x" * 15)
        return await answer(reader)

    assert talk(slow) == b"15"


def test_a_client_that_keeps_sending_a_refused_body_is_closed() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REFUSED + b"transfer-encoding: chunked\r\n\r\n")
        received = await answer(reader)
        await dribble(writer, b"1\r\nx\r\n" * 10_000)
        return received

    assert talk(endless) == b"0"


def test_a_client_that_ends_its_refused_body_may_send_another_request() -> None:
    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REFUSED + b"content-length: 4\r\n\r\nab")
        first = await answer(reader)
        writer.write(b"cd" + HEAD)
        return first + await answer(reader)

    assert talk(patient, Patient) == b"00"


def test_a_client_that_does_not_read_its_answer_is_closed() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.sleep(1.2)
        return await rest(reader)

    assert 0 < len(talk(deaf)) < len(LARGE)


def test_a_client_that_reads_its_answer_gets_all_of_it() -> None:
    async def good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        received = await answer(reader)
        writer.write(HEAD)
        assert await answer(reader) == b"0", "the connection still works"
        return received

    assert talk(good, Patient) == LARGE


def test_invalid_http_gets_the_usual_error_body_and_headers() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"HELO there\r\n\r\n")
        return await rest(reader)

    head, _, body = talk(other).partition(b"\r\n\r\n")
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

    assert talk(long)[:12] in (b"HTTP/1.1 400", b"")


def test_an_invalid_chunk_ends_its_request() -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"3\r\nabc\r\nnonsense\r\n")
        return await rest(reader)

    assert talk(broken).startswith(b"HTTP/1.1 400 ")
