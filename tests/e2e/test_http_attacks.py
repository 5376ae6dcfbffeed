"""The service under attack: it stays up, in flat memory, and serves others."""

from __future__ import annotations

import gzip
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.httpclient import DAY, Client, batches_of, body_of, row, send_until_stored, serve
from tests.support.shell import Command, Shell, free_port
from tests.support.tables import Tables, contents_of

pytestmark = pytest.mark.slow
MEGABYTE = 1_000_000


@pytest.fixture
def served(shell: Shell) -> Iterator[tuple[Command, int]]:
    """A service that has answered one write and one read."""
    port = free_port()
    command = serve(shell, port)
    client = Client(port)
    assert client.send([row(0)])[0] == 200
    assert client.request("GET", DAY)[0] == 200
    client.close()
    yield command, port
    command.signal(signal.SIGTERM)
    assert command.ended(90).code == 0


def peak_bytes(command: Command) -> int:
    """Peak memory of the process."""
    for line in Path(f"/proc/{command.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc"
)


@contextmanager
def stays_up_and_flat(command: Command, port: int, *, megabytes: float) -> Iterator[None]:
    """Around an attack: the service answers others meanwhile and afterwards, in flat memory."""
    before = peak_bytes(command)
    is_over = threading.Event()

    def ask() -> None:
        client = Client(port)
        while True:
            status, answer = client.request("GET", DAY)
            assert (status, answer["total"]) == (200, 1)
            if is_over.wait(0.05):
                break
        client.close()

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            yield
        finally:
            is_over.set()
        asking.result(90)
    assert command.is_running()
    grown = (peak_bytes(command) - before) / MEGABYTE
    assert grown < megabytes, f"{grown:.0f} MB more than before"


@contextmanager
def connections(port: int, number: int, first_bytes: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent these bytes, and nothing more."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(number):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.settimeout(120)
            connection.sendall(first_bytes)
            sockets.append(connection)
        yield sockets


HEAD = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@needs_proc
def test_clients_that_disconnect_within_a_body_store_nothing(
    served: tuple[Command, int], tables: Tables
) -> None:
    command, port = served
    text = body_of([row(7)])
    before = tables.contents()
    with stays_up_and_flat(command, port, megabytes=20):
        for cut in (1, len(text) // 2, len(text) - 1):
            with connections(
                port, 20, HEAD + b"Content-Length: %d\r\n\r\n" % len(text) + text[:cut]
            ):
                pass
        with connections(port, 20, HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"eve'):
            pass
    assert tables.contents() == before
    assert "Traceback" not in command.err


@needs_proc
def test_500_stalled_clients_are_closed_and_others_are_served(served: tuple[Command, int]) -> None:
    command, port = served
    slow_body = HEAD + b"Content-Length: 1000\r\n\r\n{"
    with (
        stays_up_and_flat(command, port, megabytes=30),
        connections(port, 200, slow_body) as slow_bodies,
        connections(port, 150, HEAD) as slow_heads,
        connections(port, 150, b"") as silent,
    ):
        for sockets, status in ((slow_bodies, b"408"), (slow_heads, b""), (silent, b"")):
            for connection in sockets:
                answer = b""
                while part := connection.recv(4_096):
                    answer += part
                assert answer[9:12] == status


@needs_proc
def test_a_body_of_100_megabytes_is_refused_in_flat_memory(
    served: tuple[Command, int],
) -> None:
    command, port = served

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * MEGABYTE

    with stays_up_and_flat(command, port, megabytes=40):
        for headers in ({"Content_Length": str(100 * MEGABYTE)}, {"Transfer_Encoding": "chunked"}):
            client = Client(port)
            status, answer = client.request("POST", "/events", chunks(), **headers)
            assert (status, answer["title"]) == (413, "Request too large")
            client.close()


@needs_proc
def test_gzip_bombs_are_refused_in_flat_memory(served: tuple[Command, int]) -> None:
    command, port = served
    bombs = [
        gzip.compress(b" " * (120 * MEGABYTE), 9),
        gzip.compress(b'{"events": [' + b"[" * (50 * MEGABYTE), 9),
        gzip.compress(b" " * 100_000, 9) * 1_000,
    ]
    assert all(len(bomb) < 0.5 * MEGABYTE for bomb in bombs)

    def send(bomb: bytes) -> int:
        client = Client(port)
        status, _ = client.request("POST", "/events", bomb, Content_Encoding="gzip")
        client.close()
        return status

    with (
        stays_up_and_flat(command, port, megabytes=60),
        ThreadPoolExecutor(8) as threads,
    ):
        assert set(threads.map(send, bombs * 3)) == {413}


def test_many_small_requests_for_one_customer_are_all_counted(
    served: tuple[Command, int], tables: Tables
) -> None:
    _, port = served
    rows = [row(number) for number in range(480)]
    work: list[Callable[[], Counter[str]]] = [
        lambda part=part: send_until_stored(port, batches_of(part, 1))  # type: ignore[misc] # bound now
        for part in (rows[first::24] for first in range(24))
    ]
    with ThreadPoolExecutor(24) as threads:
        seen: Counter[str] = sum(threads.map(lambda send: send(), work), Counter())
    assert seen == {"200": 480}
    assert tables.contents() == contents_of(rows)
