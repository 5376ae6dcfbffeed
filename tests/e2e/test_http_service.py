"""The service under load: acknowledged events are stored, whatever ends."""

from __future__ import annotations

import http.client
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest

from events.local import dynamodb
from events.models import Event
from tests.support.httpclient import Client, batches_of, row, send_until_stored, serve
from tests.support.shell import Shell, free_port, until
from tests.support.tables import Tables, contents_of


@pytest.mark.slow
def test_counts_are_exact_after_the_database_restarts_under_load(
    tmp_path: Path, lone_shell: Shell
) -> None:
    """A killed database may lose its last transaction, but never a part of one."""
    rows = [row(number, f"customer-{number % 3}") for number in range(450)]
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

        def send(part: Sequence[Event], seen: Counter[str], threads: ThreadPoolExecutor) -> None:
            for first in range(4):
                futures.append(
                    threads.submit(send_until_stored, port, batches_of(part[first::4], 5), seen)
                )

        seen: Counter[str] = Counter()
        futures: list[Future[Counter[str]]] = []
        with ThreadPoolExecutor(4) as threads:
            send(rows, seen, threads)
            until(lambda: seen["200"] >= 20)
            database.stop()
            refused = seen["503"]
            until(lambda: seen["503"] > refused)
            database = stack.enter_context(dynamodb.start(port=database.port, data_folder=data))
            for future in futures:
                future.result(300)
        assert tables.contents() == contents_of(rows)

        more = [row(number, f"customer-{number % 3}") for number in range(450, 800)]
        seen, futures = Counter(), []
        with ThreadPoolExecutor(4) as threads:
            send(more, seen, threads)
            until(lambda: seen["200"] >= 20)
            os.kill(database.pid, signal.SIGKILL)
            database.wait()
            database = stack.enter_context(dynamodb.start(port=database.port, data_folder=data))
            for future in futures:
                future.result(300)
        verified = lone_shell.call("-m", "events", "verify", settings=settings)
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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_acknowledged_events_are_stored_when_the_service_ends_under_load(
    shell: Shell, tables: Tables, kills: int, number: signal.Signals
) -> None:
    rng = random.Random(number)
    rows = [row(item) for item in range(1_200)]
    for attempt in range(kills):
        port = free_port()
        command = serve(shell, port, "--workers", "12"[attempt % 2])
        acknowledged: list[Event] = []
        refused: list[str] = []

        def send(
            batches: Sequence[Sequence[Event]],
            port: int = port,
            acknowledged: list[Event] = acknowledged,
            refused: list[str] = refused,
        ) -> None:
            with closing(Client(port)) as client:
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
        before = rng.randint(1, 40)
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
