"""A database at a distance: its answers are repeated a round trip after each request."""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

ROUND_TRIP_SECONDS = 0.007
#: What the store reads of an answer's header.
_KEPT_HEADERS = ("Content-Type", "x-amz-crc32", "x-amzn-RequestId")


class _Repeater:
    """
    Answers equal requests as the database answered the first one. For data that does not change.

    The database's own processor time, which AWS spends elsewhere, is left out of what is timed.
    """

    def __init__(self, endpoint_url: str) -> None:
        self._database = urlsplit(endpoint_url).netloc
        self._answers: dict[tuple[bytes, bytes], bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client is done, or the benchmark.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                headers = dict(re.findall(rb"(?m)^([\w-]+): (.*)\r$", head))
                lower = {name.lower(): value for name, value in headers.items()}
                body = await reader.readexactly(int(lower[b"content-length"]))
                key = lower[b"x-amz-target"], body
                if key in self._answers:
                    await asyncio.sleep(ROUND_TRIP_SECONDS)
                else:
                    self._answers[key] = await asyncio.to_thread(self._forward, headers, body)
                writer.write(self._answers[key])
        writer.close()

    def _forward(self, headers: dict[bytes, bytes], body: bytes) -> bytes:
        connection = http.client.HTTPConnection(self._database, timeout=30)
        sent = {name.decode(): value.decode() for name, value in headers.items()}
        connection.request("POST", "/", body, sent)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {response.headers[name]}" for name in _KEPT_HEADERS]
        lines += [f"Content-Length: {len(content)}", "", ""]
        return "\r\n".join(lines).encode() + content


@contextmanager
def at_a_distance(endpoint_url: str) -> Iterator[str]:
    """Yields the endpoint of the same database, a round trip away."""
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def serve() -> None:
        server = await asyncio.start_server(_Repeater(endpoint_url).serve, "127.0.0.1", 0)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        port = server.sockets[0].getsockname()[1]
        started.set_result((port, partial(loop.call_soon_threadsafe, stop.set)))
        await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    port, stop = started.result(timeout=60)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()
        thread.join()
