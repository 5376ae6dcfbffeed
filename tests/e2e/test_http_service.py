"""The service under load and under attack: acknowledged events are stored, and it stays up."""

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
from concurrent.futures import Future, ThreadPoolExecutor
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


def document(row: Row) -> Json:
    customer, event_type, transaction_id, at = row
    return {
        "customer_id": customer,
        "event_type": event_type,
        "transaction_id": transaction_id,
        "timestamp": at.isoformat(),
    }


def body_of(rows: Sequence[Row]) -> bytes:
    return json.dumps({"events": [document(row) for row in rows]}).encode()


class Client:
    """Sends requests on one connection, and opens a new one when it breaks."""

    def __init__(self, port: int, timeout_seconds: float = 60) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Json]:
        type_ = {"Content-Type": "application/json"} if body is not None else {}
        try:
            self._connection.request(
                method,
                path,
                body,
                type_ | {name.replace("_", "-"): value for name, value in headers.items()},
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


def send_until_stored(
    port: int, batches: Sequence[Sequence[Row]], seen: Counter[str] | None = None
) -> Counter[str]:
    """
    Send as a good client does: the same request again after a 503, or after no answer.

    Returns:
        How often each status came, also in `seen`; "no answer" stands for a broken connection.
    """
    seen = Counter() if seen is None else seen
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

    def ask() -> int:
        client = Client(port)
        answers = 0
        while not is_over.wait(0.05):
            status, answer = client.request("GET", DAY)
            assert (status, answer["total"]) == (200, 1)
            answers += 1
        client.close()
        return answers

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            yield
        finally:
            is_over.set()
        assert asking.result(90) > 0, "others were not answered during the attack"
    assert command.is_running()
    grown = (peak_bytes(command) - before) / MEGABYTE
    assert grown < megabytes, f"{grown:.0f} MB more than before"


# --- acknowledged events are stored ---------------------------------------------------------------


@pytest.mark.slow
def test_counts_are_exact_after_the_database_restarts_under_load(
    tmp_path: Path, lone_shell: Shell
) -> None:
    """A killed database may lose its last transaction, but never a part of one."""
    rows = [row(number, f"customer-{number % 3}") for number in range(3_000)]
    data = tmp_path / "data"
    with ExitStack() as stack:
        database = stack.enter_context(dynamodb.start(data_folder=data))
        tables = Tables(database.endpoint_url, "load")
        port = free_port()
        settings = {
            "DYNAMODB_ENDPOINT_URL": database.endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": "load",
            # Shorter than a restart, so that clients see 503.
            "EVENTS_STORE_PATIENCE_SECONDS": "0.3",
        }
        command = serve(lone_shell, port, **settings)

        def send(part: Sequence[Row], seen: Counter[str], threads: ThreadPoolExecutor) -> None:
            for first in range(4):
                futures.append(
                    threads.submit(send_until_stored, port, batches_of(part[first::4], 5), seen)
                )

        seen: Counter[str] = Counter()
        futures: list[Future[Counter[str]]] = []
        with ThreadPoolExecutor(4) as threads:
            send(rows, seen, threads)
            for stored in (50, 250):
                until(lambda: seen["200"] >= stored)  # noqa: B023 - waited for here
                database.stop()
                refused = seen["503"]
                until(lambda: seen["503"] > refused)  # noqa: B023 - waited for here
                database = stack.enter_context(dynamodb.start(port=database.port, data_folder=data))
            for future in futures:
                future.result(300)
        assert tables.contents() == contents_of(rows)

        more = [row(number, f"customer-{number % 3}") for number in range(3_000, 4_500)]
        seen, futures = Counter(), []
        with ThreadPoolExecutor(4) as threads:
            send(more, seen, threads)
            until(lambda: seen["200"] >= 50)
            os.kill(database.pid, signal.SIGKILL)
            database.wait()
            database = stack.enter_context(dynamodb.start(port=database.port, data_folder=data))
            for future in futures:
                future.result(300)
        verified = lone_shell.run("-m", "events", "verify", settings=settings)
        assert verified.code == 0, verified.out
        send_until_stored(port, batches_of(rows + more, 500))
        assert tables.contents() == contents_of(rows + more)
        command.signal(signal.SIGTERM)
        assert command.ended(90).code == 0
        tables.client.close()


@pytest.fixture
def lone_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell without a database."""
    shell = Shell(tmp_path_factory.mktemp("http") / "here", {})
    yield shell
    shell.end()


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGKILL, "1"),
        (signal.SIGTERM, "2"),
        pytest.param(signal.SIGTERM, "1", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "2", marks=pytest.mark.slow),
    ],
)
def test_acknowledged_events_are_stored_when_the_service_ends_under_load(
    shell: Shell, tables: Tables, kills: int, number: signal.Signals, workers: str
) -> None:
    rng = random.Random(f"{number} {workers}")
    rows = [row(each) for each in range(6_000)]
    for attempt in range(kills):
        port = free_port()
        command = serve(shell, port, "--workers", workers)
        acknowledged: list[Row] = []
        refused: list[str] = []

        def send(
            batches: Sequence[Sequence[Row]],
            port: int = port,
            acknowledged: list[Row] = acknowledged,
            refused: list[str] = refused,
        ) -> None:
            client = Client(port)
            for batch in batches:
                try:
                    status, answer = client.send(batch)
                except (OSError, http.client.HTTPException):
                    return
                if status != 200:
                    refused.append(answer["detail"])
                    return
                acknowledged.extend(batch)

        parts = [rows[attempt % 3 * 4 + first :: 12] for first in range(4)]
        before = rng.randint(1, 60)
        with ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(send, batches_of(part, 7)) for part in parts]
            until(lambda: len(acknowledged) >= before * 7)  # noqa: B023 - waited for here
            processes = [psutil.Process(command.process.pid), *command.children()]
            if number == signal.SIGKILL:
                for process in processes:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            else:
                command.signal(number)
            command.process.wait(90)
            for future in futures:
                future.result(90)
        assert not refused
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
    assert command.ended(90).code == 0


# --- attacks --------------------------------------------------------------------------------------


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


@pytest.mark.slow
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


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(
    ("first_bytes", "status"),
    [
        pytest.param(HEAD + b"Content-Length: 1000\r\n\r\n{", b"408", id="slow bodies"),
        pytest.param(HEAD, b"", id="slow heads"),
        pytest.param(b"", b"", id="silent"),
    ],
)
def test_500_stalled_clients_are_closed_and_others_are_served(
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


@pytest.mark.slow
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


@pytest.mark.slow
@needs_proc
def test_gzip_bombs_are_refused_in_flat_memory(served: tuple[Command, int]) -> None:
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


@pytest.mark.slow
def test_many_small_requests_for_one_customer_are_all_counted(
    served: tuple[Command, int], tables: Tables
) -> None:
    _, port = served
    rows = [row(number) for number in range(1_200)]
    work: list[Callable[[], Counter[str]]] = [
        lambda part=part: send_until_stored(port, batches_of(part, 1))  # type: ignore[misc] # bound now
        for part in (rows[first::24] for first in range(24))
    ]
    with ThreadPoolExecutor(24) as threads:
        seen: Counter[str] = sum(threads.map(lambda send: send(), work), Counter())
    assert seen == {"200": 1_200}
    assert tables.contents() == contents_of(rows)
