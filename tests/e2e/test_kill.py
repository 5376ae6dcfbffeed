"""Whatever ends an ingest or its database: counters equal events, and running again repairs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from events.config import Settings
from events.local import dynamodb
from tests.support.database import Database
from tests.support.factories import Contents
from tests.support.fixtures import shell_on
from tests.support.shell import CHECKOUT, HEADER, INGEST, Command, Shell
from tests.support.summaries import number_of, summary, untimed
from tests.support.tables import Tables, contents_of, recounted, rows_of

ROWS = 400
#: One signal is enough for the first tier.
STOP_CASES = [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
STOPPED = (
    "error: stopped before the end. Everything counted below is stored; run again to continue\n"
)
CONTINUE = "Everything counted below is stored; run again to continue, which is safe"


def make_file(folder: Path, rows: int) -> Path:
    """A file of late and shuffled events, some twice."""
    path = folder / "events.csv"
    arguments = ["--rows", str(rows), "--seed", "11", "--days", "14", "--output", str(path)]
    make = CHECKOUT / "resources" / "make_events.py"
    subprocess.run([sys.executable, make, *arguments], check=True, timeout=240)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("file"), ROWS)


@pytest.fixture(scope="module")
def expected(file: Path) -> Contents:
    """The tables after one clean run, counted without code of this project."""
    return contents_of(rows_of(file))


def start_slowly(shell: Shell, file: Path) -> Command:
    """One transaction at a time: a fast machine would be done before it is hit."""
    return shell.start(INGEST, file, "--workers", "1")


def wait_until_stored(tables: Tables, number: int, command: Command) -> None:
    tables.wait_until_stored(number, while_so=command.is_running)


def kill(command: Command, database: Database) -> None:
    """`kill -9`, then wait until the database is done with everything the process had sent."""
    command.signal(signal.SIGKILL)
    assert command.ended().code == -signal.SIGKILL
    database.wait_until_settled()


def assert_exact(contents: Contents) -> None:
    """Each counter is the number of stored events in it, and each customer is listed."""
    assert contents.counters == recounted(contents.events)
    assert set(contents.customers) >= {customer for customer, _ in contents.events}


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that stays open for writing."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


# --- kill -9 --------------------------------------------------------------------------------------


@pytest.mark.timeout(1_200)
def test_counters_are_exact_after_each_kill_and_the_next_run_completes(
    database: Database, shell: Shell, tables: Tables, tmp_path: Path, kills: int
) -> None:
    (tmp_path / "file").mkdir()
    rows = 400 + 200 * kills
    file = make_file(tmp_path / "file", rows)
    expected = contents_of(rows_of(file))
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")  # pytest shows it when the test fails
    rng = random.Random(seed)
    distinct = len(expected.events)

    # Before or while the first events are stored.
    command = shell.start(INGEST, file)
    time.sleep(rng.uniform(0.0, 1.0))
    kill(command, database)
    stored = [len(tables.contents().events)]
    # In the middle: each run starts at the file's start, and gets further than the one before.
    for step in range(kills):
        share = 0.05 + 0.75 * (step + rng.random()) / kills
        command = start_slowly(shell, file)
        wait_until_stored(tables, max(int(distinct * share), stored[-1] + 1), command)
        kill(command, database)
        contents = tables.contents()
        assert_exact(contents)
        stored.append(len(contents.events))
    last = shell.call(INGEST, file)

    assert stored == sorted(stored)
    assert all(0 < number < distinct for number in stored[1:]), stored
    assert last.code == 0
    assert untimed(last.out) == summary(
        str(file), inserted=distinct - stored[-1], duplicates=rows - distinct + stored[-1]
    )
    assert tables.contents() == expected
    # Not even a killed run leaves a file behind.
    assert shell.names() == []
    assert [path.name for path in file.parent.iterdir()] == [file.name]


# --- Ctrl-C and SIGTERM ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP_CASES)
def test_a_stopped_run_reports_what_is_stored_and_the_next_one_completes(
    shell: Shell, tables: Tables, file: Path, expected: Contents, number: signal.Signals
) -> None:
    distinct = len(expected.events)
    command = start_slowly(shell, file)
    wait_until_stored(tables, distinct // 10, command)
    command.signal(number)
    stopped = command.ended()
    contents = tables.contents()
    last = shell.call(INGEST, file)

    assert (stopped.code, stopped.err) == (130, STOPPED)
    assert stopped.out.startswith(f"{file}: ")
    assert_exact(contents)
    stored = len(contents.events)
    assert distinct // 10 <= stored < distinct
    assert number_of("inserted", stopped) == stored
    assert (last.code, last.err) == (0, "")
    assert (number_of("inserted", last), number_of("duplicates", last)) == (
        distinct - stored,
        ROWS - distinct + stored,
    )
    assert tables.contents() == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP_CASES)
def test_a_run_that_waits_for_input_can_be_stopped(
    shell: Shell, tables: Tables, number: signal.Signals
) -> None:
    lines = [f"acme,e,t-{index},2021-03-01T10:00:00Z\n" for index in range(2_500)]
    with pipe() as (reader, writer):
        command = shell.start(INGEST, "-", stdin=reader)
        os.write(writer, (HEADER + "".join(lines)).encode())
        wait_until_stored(tables, 2_000, command)
        command.signal(number)
        stopped = command.ended()

    assert (stopped.code, stopped.err) == (130, STOPPED)
    contents = tables.contents()
    assert_exact(contents)
    assert number_of("inserted", stopped) == len(contents.events) >= 2_000
    assert stopped.out.startswith("standard input: ")


# --- the database stops ---------------------------------------------------------------------------


class OwnDatabase:
    """A DynamoDB Local on disk that can be stopped, and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = dynamodb.start(data_folder=folder)
        self.port = self._server.port
        self.endpoint_url = self._server.endpoint_url
        self.process = psutil.Process(self._server.pid)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self.process.suspend()
        try:
            yield
        finally:
            self.process.resume()

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server = dynamodb.start(port=self.port, data_folder=self._folder)
        self.process = psutil.Process(self._server.pid)


@pytest.fixture(scope="module")
def own_database(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnDatabase]:
    """Each test leaves it running, and has tables of its own."""
    del database  # skips for the same reason if DynamoDB Local cannot run here
    own = OwnDatabase(tmp_path_factory.mktemp("own") / "data")
    yield own
    own.stop()


@pytest.fixture
def own_tables(own_database: OwnDatabase, settings: Settings) -> Iterator[Tables]:
    tables = Tables(own_database.endpoint_url, settings.dynamodb_events_table_name)
    yield tables
    tables.client.close()


@pytest.fixture
def own_shell(tmp_path: Path, own_tables: Tables) -> Iterator[Shell]:
    with shell_on(own_tables, tmp_path) as shell:
        yield shell


@pytest.mark.slow  # it starts a database twice
def test_a_database_that_comes_back_in_time_costs_nothing(
    own_shell: Shell,
    own_tables: Tables,
    own_database: OwnDatabase,
    file: Path,
    expected: Contents,
) -> None:
    command = start_slowly(own_shell, file)
    wait_until_stored(own_tables, len(expected.events) // 5, command)
    own_database.stop()
    assert command.is_running()
    own_database.start()
    ran = command.ended(timeout_seconds=300)

    assert (ran.code, ran.err) == (0, "")
    # An event whose receipt was lost with the database may be reported as a duplicate.
    assert number_of("rejected", ran) == 0
    assert number_of("inserted", ran) + number_of("duplicates", ran) == ROWS
    assert own_tables.contents() == expected


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_run_whose_store_hangs(
    own_shell: Shell,
    own_tables: Tables,
    own_database: OwnDatabase,
    file: Path,
    expected: Contents,
) -> None:
    command = start_slowly(own_shell, file)
    wait_until_stored(own_tables, len(expected.events) // 10, command)
    with own_database.hanging():
        command.signal(signal.SIGINT)
        time.sleep(2)  # the first signal waits for the transaction in flight, here forever
        assert command.is_running()
        command.signal(signal.SIGINT)
        ended = command.ended()
    last = own_shell.call(INGEST, file)

    assert (ended.code, ended.out, ended.err) == (130, "", "")
    assert last.code == 0
    assert own_tables.contents() == expected


@pytest.mark.slow
def test_a_run_without_database_ends_and_the_next_run_completes(
    own_shell: Shell,
    own_tables: Tables,
    own_database: OwnDatabase,
    file: Path,
    expected: Contents,
) -> None:
    command = own_shell.start(INGEST, file, "--workers", "1", "--patience", "2")
    wait_until_stored(own_tables, len(expected.events) // 5, command)
    own_database.stop()
    ended = command.ended()
    own_database.start()
    contents = own_tables.contents()
    last = own_shell.call(INGEST, file)

    assert ended.code == 2
    assert ended.err.startswith(f"error: the store at {own_database.endpoint_url} did not answer")
    assert ended.err.endswith(f". {CONTINUE}\n")
    assert ended.err.count("\n") == 1
    assert ended.out.startswith(f"{file}: ")
    assert_exact(contents)
    # What it reports as stored is stored; an event whose answer was lost may be stored too.
    assert 0 < number_of("inserted", ended) <= len(contents.events) < len(expected.events)
    unreported = len(contents.events) - number_of("inserted", ended)
    assert unreported <= number_of("unknown", ended)
    assert last.code == 0
    assert number_of("inserted", last) == len(expected.events) - len(contents.events)
    assert own_tables.contents() == expected
