"""The service under load and under attack: what it acknowledged is there, and it stays up."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from events.local import dynamodb
from tests.support.shell import Command, Shell, free_port, is_open, until
from tests.support.tables import Row, Tables, contents_of

Json = dict[str, Any]
HOUR_ZERO = datetime(2021, 3, 1, tzinfo=UTC)
DAY = "/events/customers/acme/buckets?start=2021-03-01&end=2021-03-02"
NO_LIMITS = {
    "EVENTS_RATE_PER_ADDRESS": "",
    "EVENTS_RATE_PER_KEY": "",
    "EVENTS_LOG_LEVEL": "warning",
}
MEGABYTE = 1_000_000


# --- clients --------------------------------------------------------------------------------------


def row(number: int, customer: str = "acme") -> Row:
    at = HOUR_ZERO + timedelta(minutes=number % 1440, microseconds=number)
    return customer, f"e{number % 2}", f"t-{number}", at


def document(each: Row) -> Json:
    customer, event_type, transaction_id, at = each
    return {
        "customer_id": customer,
        "event_type": event_type,
        "transaction_id": transaction_id,
        "timestamp": at.isoformat(),
    }


def body_of(rows: Sequence[Row]) -> bytes:
    return json.dumps({"events": [document(each) for each in rows]}).encode()


class Client:
    """Sends requests on one connection, and a new one where that breaks."""

    def __init__(self, port: int, timeout_seconds: float = 30) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Json]:
        kind = {"Content-Type": "application/json"} if body is not None else {}
        try:
            self._connection.request(
                method,
                path,
                body,
                kind | {name.replace("_", "-"): value for name, value in headers.items()},
                encode_chunked="Transfer_Encoding" in headers,
            )
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except BaseException:
            self._connection.close()
            raise

    def send(self, rows: Sequence[Row]) -> tuple[int, Json]:
        return self.request("POST", "/events", body_of(rows))

    def close(self) -> None:
        self._connection.close()


def send_until_stored(port: int, batches: Sequence[Sequence[Row]]) -> Counter[str]:
    """
    What a good client does: the same again after 503, or no answer.

    Returns:
        How often each status came; 0 stands for no answer.
    """
    seen: Counter[str] = Counter()
    client = Client(port)
    for batch in batches:
        while True:
            try:
                status, answer = client.send(batch)
            except (OSError, http.client.HTTPException):
                seen["no answer"] += 1
                time.sleep(0.05)
                continue
            seen[str(status)] += 1
            if status == 200:
                assert answer["rejected"] == 0
                break
            assert status == 503, answer
            time.sleep(0.05)
    client.close()
    return seen


def batches_of(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


# --- the service ----------------------------------------------------------------------------------


def serve(shell: Shell, port: int, *arguments: str, **settings: str) -> Command:
    command = shell.start(
        "-m", "events", "serve", "--port", str(port), *arguments, settings=NO_LIMITS | settings
    )
    until(lambda: is_open(port) or not command.is_running())
    assert command.is_running(), command.err
    return command


@pytest.fixture
def served(shell: Shell) -> Iterator[tuple[Command, int]]:
    """A service whose clients have a second to send a body."""
    port = free_port()
    command = serve(shell, port, EVENTS_BODY_TIMEOUT_SECONDS="1")
    client = Client(port)
    assert client.send([row(0)])[0] == 200
    assert client.request("GET", DAY)[0] == 200
    client.close()
    yield command, port
    command.signal(signal.SIGTERM)
    assert command.ended(40).code == 0


def peak_bytes(command: Command) -> int:
    """The most memory that the process ever had."""
    for line in Path(f"/proc/{command.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc"
)


@contextmanager
def stays_up_and_flat(command: Command, port: int, *, megabytes: float) -> Iterator[None]:
    """
    Around an attack: the service answers others meanwhile and afterwards, in flat memory.

    Where each of 500 clients kept one of the 40 threads for a second, others would wait for ten.
    """
    before = peak_bytes(command)
    is_over = threading.Event()
    slowest = 0.0

    def ask() -> None:
        nonlocal slowest
        client = Client(port)
        while not is_over.wait(0.05):
            begin = time.monotonic()
            status, answer = client.request("GET", DAY)
            assert (status, answer["total"]) == (200, 1)
            slowest = max(slowest, time.monotonic() - begin)
        client.close()

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            yield
        finally:
            is_over.set()
        asking.result(20)
    assert command.is_running()
    assert slowest < 5, f"others waited {slowest:.2f} s"
    grown = (peak_bytes(command) - before) / MEGABYTE
    assert grown < megabytes, f"{grown:.0f} MB more than before"


# --- what was acknowledged is there ---------------------------------------------------------------


def test_a_database_that_is_stopped_and_started_under_load_ends_with_exact_counts(
    tmp_path: Path, lone_shell: Shell
) -> None:
    """The last time it is killed: it may lose its last transaction, but never half of one."""
    rows = [row(number, f"customer-{number % 3}") for number in range(3_000)]
    with ExitStack() as opened:
        database = opened.enter_context(dynamodb.start(data_folder=tmp_path / "data"))
        tables = Tables(database.endpoint_url, "load")
        port = free_port()
        settings = {
            "DYNAMODB_ENDPOINT_URL": database.endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": "load",
            # Less than it takes to start again: clients see 503.
            "EVENTS_STORE_PATIENCE_SECONDS": "0.3",
        }
        command = serve(lone_shell, port, **settings)
        parts = [batches_of(rows[first::4], 5) for first in range(4)]
        with ThreadPoolExecutor(4) as threads:
            sending = [threads.submit(send_until_stored, port, part) for part in parts]
            for seconds in (1.0, 1.0):
                time.sleep(seconds)
                database.stop()
                time.sleep(0.8)
                database = opened.enter_context(
                    dynamodb.start(port=database.port, data_folder=tmp_path / "data")
                )
            seen = sum((each.result(120) for each in sending), Counter())
        assert seen["503"] > 0, "it was never down"
        assert tables.contents() == contents_of(rows)
        more = [row(number, f"customer-{number % 3}") for number in range(3_000, 4_500)]
        with ThreadPoolExecutor(2) as threads:
            sending = [
                threads.submit(send_until_stored, port, batches_of(more[first::2], 5))
                for first in range(2)
            ]
            time.sleep(0.7)
            os.kill(database.pid, signal.SIGKILL)
            database.wait()
            database = opened.enter_context(
                dynamodb.start(port=database.port, data_folder=tmp_path / "data")
            )
            for each in sending:
                each.result(120)
        # Whatever it lost with its life, it lost whole; and sending all again is safe.
        verified = lone_shell.run("-m", "events", "verify", settings=settings)
        assert verified.code == 0, verified.out
        send_until_stored(port, batches_of(rows + more, 500))
        assert tables.contents() == contents_of(rows + more)
        command.signal(signal.SIGTERM)
        assert command.ended(40).code == 0
        tables.client.close()


@pytest.fixture
def lone_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell that knows no database."""
    shell = Shell(tmp_path_factory.mktemp("http") / "here", {})
    yield shell
    shell.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_ends_under_load_has_all_that_it_acknowledged(
    shell: Shell, tables: Tables, number: signal.Signals, workers: str
) -> None:
    rows = [row(each) for each in range(20_000)]
    for attempt in range(3):
        port = free_port()
        command = serve(shell, port, "--workers", workers)
        acknowledged: list[Row] = []
        refused: list[str] = []

        def send(part: Sequence[Sequence[Row]], port: int = port) -> None:
            client = Client(port)
            for batch in part:
                try:
                    status, answer = client.send(batch)
                except (OSError, http.client.HTTPException):
                    return
                if status == 200:
                    acknowledged.extend(batch)  # noqa: B023 - ends within the round
                else:
                    refused.append(answer["detail"])  # noqa: B023 - as above
                    return

        with ThreadPoolExecutor(4) as threads:
            sending = [
                threads.submit(send, batches_of(rows[attempt * 4 + first :: 12], 7))
                for first in range(4)
            ]
            until(lambda: acknowledged)  # noqa: B023 - as above
            time.sleep(random.Random(attempt).uniform(0.1, 0.8))
            processes = [psutil.Process(command.process.pid), *command.children()]
            if number == signal.SIGKILL:
                for each in processes:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            else:
                command.signal(number)
            command.process.wait(40)
            for future in sending:
                future.result(40)
        assert not refused
        assert acknowledged, "it ended too soon"
        stored = {key for _, key in tables.contents().events}
        missing = {key for _, key in contents_of(acknowledged).events} - stored
        assert not missing
        if number == signal.SIGTERM:
            assert command.process.returncode == 0
    port = free_port()
    command = serve(shell, port)
    send_until_stored(port, batches_of(rows, 1_000))
    assert tables.contents() == contents_of(rows)
    command.signal(signal.SIGTERM)
    assert command.ended(40).code == 0


# --- attacks --------------------------------------------------------------------------------------


@contextmanager
def connections(port: int, number: int, first_bytes: bytes) -> Iterator[list[socket.socket]]:
    """Connections that each have sent this, and nothing more."""
    with ExitStack() as opened:
        sockets = []
        for _ in range(number):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.settimeout(20)
            connection.sendall(first_bytes)
            sockets.append(connection)
        yield sockets


HEAD = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@needs_proc
def test_clients_that_are_cut_off_within_a_body_leave_nothing(
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
        time.sleep(0.3)
    assert tables.contents() == before
    assert "Traceback" not in command.err


@needs_proc
@pytest.mark.parametrize(
    ("first_bytes", "status"),
    [
        pytest.param(HEAD + b"Content-Length: 1000\r\n\r\n{", b"408", id="slow bodies"),
        pytest.param(HEAD, b"", id="slow heads"),
        pytest.param(b"", b"", id="silent"),
    ],
)
def test_five_hundred_slow_clients_do_not_keep_others_waiting_and_are_let_go(
    served: tuple[Command, int], first_bytes: bytes, status: bytes
) -> None:
    command, port = served
    with (
        stays_up_and_flat(command, port, megabytes=60),
        connections(port, 500, first_bytes) as sockets,
    ):
        for connection in sockets:
            answer = b""
            while part := connection.recv(4_096):
                answer += part
            assert answer[9:12] == status


@needs_proc
def test_a_body_of_a_hundred_megabytes_is_refused_in_flat_memory(
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
            assert (status, answer["title"]) == (413, "The request is too large")
            client.close()


@needs_proc
def test_gzip_bombs_cost_no_more_memory_than_the_limit(served: tuple[Command, int]) -> None:
    command, port = served
    bombs = [
        gzip.compress(b" " * (300 * MEGABYTE), 9),
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
        assert set(threads.map(send, bombs * 4)) == {413}


def test_many_small_requests_for_one_customer_all_end_well(
    served: tuple[Command, int], tables: Tables
) -> None:
    _, port = served
    rows = [row(number) for number in range(1_200)]
    work: list[Callable[[], Counter[str]]] = [
        lambda part=part: send_until_stored(port, batches_of(part, 1))  # type: ignore[misc] # bound now
        for part in (rows[first::24] for first in range(24))
    ]
    with ThreadPoolExecutor(24) as threads:
        seen: Counter[str] = sum(threads.map(lambda each: each(), work), Counter())
    assert seen == {"200": 1_200}
    assert tables.contents() == contents_of(rows)
