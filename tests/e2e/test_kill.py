"""Whatever ends a run or its database, and whenever: counters equal events, and a re-run mends."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from events.local import dynamodb
from tests.support.database import Database
from tests.support.shell import CHECKOUT, HEADER, INGEST, Command, Ran, Shell, until
from tests.support.summaries import summary, untimed
from tests.support.tables import Contents, Tables, contents_of, recounted, rows_of

ROWS = 8_000
STOPPED = (
    "error: stopped before the end. Everything counted below is stored; run again to continue\n"
)
GO_ON = "Everything counted below is stored; run again to continue, which is safe"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several thousand rows: late, shuffled, some twice."""
    path = tmp_path_factory.mktemp("file") / "events.csv"
    arguments = ["--rows", str(ROWS), "--seed", "11", "--days", "14", "--output", str(path)]
    make = CHECKOUT / "resources" / "make_events.py"
    subprocess.run([sys.executable, make, *arguments], check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def expected(file: Path) -> Contents:
    """The tables after one clean run, counted with nothing of this project."""
    return contents_of(rows_of(file))


def said_of(label: str, ran: Ran) -> int:
    """The number beside a label of the summary."""
    (number,) = re.findall(rf"^  {label} +([0-9,]+)(?:  .*)?$", ran.out, re.MULTILINE)
    return int(number.replace(",", ""))


def wait_until_stored(tables: Tables, number: int, command: Command) -> None:
    until(lambda: tables.count() >= number or not command.is_running())


def wait_until_through(database: Database) -> None:
    """What a killed process had sent is done: the server has closed all that it left open."""
    server = psutil.Process(database.pid)
    until(
        lambda: all(
            each.status != psutil.CONN_CLOSE_WAIT for each in server.net_connections(kind="tcp")
        )
    )


def kill_when_stored(shell: Shell, file: Path, tables: Tables, *, number: int) -> None:
    """`kill -9` as soon as so many events are stored."""
    # One transaction at a time: a fast machine would be through before it is hit.
    command = shell.start(INGEST, file, "--workers", "1")
    wait_until_stored(tables, number, command)
    command.signal(signal.SIGKILL)
    assert command.ended().code == -signal.SIGKILL


def kill_after(shell: Shell, file: Path, *, seconds: float) -> None:
    """`kill -9` so long after the start."""
    command = shell.start(INGEST, file)
    time.sleep(seconds)
    command.signal(signal.SIGKILL)
    assert command.ended().code == -signal.SIGKILL


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


# --- the run is killed ----------------------------------------------------------------------------


def test_a_clean_run_stores_what_an_independent_count_says(
    shell: Shell, tables: Tables, file: Path, expected: Contents
) -> None:
    ran = shell.run(INGEST, file)

    distinct = len(expected.events)
    assert ran.code == 0
    assert untimed(ran.out) == summary(str(file), inserted=distinct, duplicates=ROWS - distinct)
    assert tables.contents() == expected


# Twenty runs and twenty reads of all there is: minutes on a machine that is busy.
@pytest.mark.timeout(1_200)
def test_killed_twenty_times_it_is_exact_each_time_and_the_next_run_ends_as_a_clean_one(
    database: Database, shell: Shell, tables: Tables, file: Path, expected: Contents
) -> None:
    rng = random.Random("twenty kills")
    distinct = len(expected.events)
    stored = []
    # Before or while the first events come in.
    for _ in range(4):
        kill_after(shell, file, seconds=rng.uniform(0.0, 0.5))
        wait_until_through(database)
        contents = tables.contents()
        assert_exact(contents)
        stored.append(len(contents.events))
    # In the middle: each re-run starts at the file's start, and is let come further.
    steps = 16
    for step in range(steps):
        share = 0.05 + 0.75 * (step + rng.random()) / steps
        kill_when_stored(shell, file, tables, number=max(int(distinct * share), stored[-1] + 1))
        wait_until_through(database)
        contents = tables.contents()
        assert_exact(contents)
        stored.append(len(contents.events))

    last = shell.run(INGEST, file)

    assert len(stored) == 20
    assert stored == sorted(stored)
    # They did hit the middle, and no event was ever lost again.
    assert sum(0 < number < distinct for number in stored) >= 12, stored
    assert all(before <= after for before, after in pairwise(stored))
    assert last.code == 0
    assert untimed(last.out) == summary(
        str(file), inserted=distinct - stored[-1], duplicates=ROWS - distinct + stored[-1]
    )
    assert tables.contents() == expected


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.7, 0.88])
def test_killed_on_fresh_tables_it_is_exact_and_the_next_run_ends_as_a_clean_one(
    database: Database,
    shell: Shell,
    tables: Tables,
    file: Path,
    expected: Contents,
    share: float,
) -> None:
    distinct = len(expected.events)
    kill_when_stored(shell, file, tables, number=int(distinct * share))
    wait_until_through(database)
    contents = tables.contents()
    assert_exact(contents)
    stored = len(contents.events)

    last = shell.run(INGEST, file)

    assert distinct * share <= stored < distinct
    assert last.code == 0
    assert untimed(last.out) == summary(
        str(file), inserted=distinct - stored, duplicates=ROWS - distinct + stored
    )
    assert tables.contents() == expected


# --- the run is told to stop ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_says_what_is_stored_and_the_next_run_goes_on(
    shell: Shell, tables: Tables, file: Path, expected: Contents, number: signal.Signals
) -> None:
    distinct = len(expected.events)
    # One transaction at a time: a fast machine would be through before it is hit.
    command = shell.start(INGEST, file, "--workers", "1")
    wait_until_stored(tables, distinct // 10, command)
    command.signal(number)
    stopped = command.ended(timeout_seconds=20)
    contents = tables.contents()
    last = shell.run(INGEST, file)

    assert (stopped.code, stopped.err) == (130, STOPPED)
    assert stopped.out.startswith(f"{file}: ")
    assert_exact(contents)
    stored = len(contents.events)
    assert distinct // 10 <= stored < distinct
    assert said_of("inserted", stopped) == stored
    assert (last.code, last.err) == (0, "")
    assert (said_of("inserted", last), said_of("duplicates", last)) == (
        distinct - stored,
        ROWS - distinct + stored,
    )
    assert tables.contents() == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_while_it_waits_for_input_that_never_ends_it_stops_at_once(
    shell: Shell, tables: Tables, number: signal.Signals
) -> None:
    lines = [f"acme,e,t-{place},2021-03-01T10:00:00Z\n" for place in range(2_500)]
    with pipe() as (reader, writer):
        command = shell.start(INGEST, "-", stdin=reader)
        os.write(writer, (HEADER + "".join(lines)).encode())
        wait_until_stored(tables, 2_000, command)
        time.sleep(0.2)
        begin = time.monotonic()
        command.signal(number)
        stopped = command.ended(timeout_seconds=20)

    assert time.monotonic() - begin < 5
    assert (stopped.code, stopped.err) == (130, STOPPED)
    contents = tables.contents()
    assert_exact(contents)
    assert said_of("inserted", stopped) == len(contents.events) >= 2_000
    assert stopped.out.startswith("standard input: ")


# --- the database stops ---------------------------------------------------------------------------


class OwnDatabase:
    """A DynamoDB Local on disk that can be stopped and started again where it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = dynamodb.start(data_folder=folder)
        self.port = self._server.port
        self.endpoint_url = self._server.endpoint_url
        self.process = psutil.Process(self._server.pid)

    def stop(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.process.resume()
        self._server.stop()

    def start(self) -> None:
        self._server = dynamodb.start(port=self.port, data_folder=self._folder)
        self.process = psutil.Process(self._server.pid)


@pytest.fixture
def own_database(database: Database, tmp_path: Path) -> Iterator[OwnDatabase]:
    del database  # where that one cannot run, this one cannot either: skipped for the same reason
    own = OwnDatabase(tmp_path / "data")
    yield own
    own.stop()


@pytest.fixture
def own_tables(own_database: OwnDatabase) -> Iterator[Tables]:
    tables = Tables(own_database.endpoint_url, "events")
    yield tables
    tables.client.close()


@pytest.fixture
def own_shell(tmp_path: Path, own_database: OwnDatabase) -> Iterator[Shell]:
    shell = Shell(
        tmp_path / "own",
        {
            "DYNAMODB_ENDPOINT_URL": own_database.endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": "events",
        },
    )
    yield shell
    shell.end()


def test_a_second_ctrl_c_ends_it_though_the_store_hangs(
    own_shell: Shell,
    own_tables: Tables,
    own_database: OwnDatabase,
    file: Path,
    expected: Contents,
) -> None:
    command = own_shell.start(INGEST, file)
    wait_until_stored(own_tables, len(expected.events) // 10, command)
    own_database.process.suspend()
    time.sleep(0.3)
    command.signal(signal.SIGINT)
    time.sleep(1)
    # The first waits for what is under way, which here takes for ever.
    assert command.is_running()
    command.signal(signal.SIGINT)
    begin = time.monotonic()
    ended = command.ended(timeout_seconds=30)
    took = time.monotonic() - begin
    own_database.process.resume()
    last = own_shell.run(INGEST, file)

    assert took < 5
    assert ended == Ran(130, "", "")
    assert last.code == 0
    assert own_tables.contents() == expected


def test_a_database_that_comes_back_in_time_costs_nothing(
    own_shell: Shell,
    own_tables: Tables,
    own_database: OwnDatabase,
    file: Path,
    expected: Contents,
) -> None:
    command = own_shell.start(INGEST, file)
    wait_until_stored(own_tables, len(expected.events) // 5, command)
    own_database.stop()
    assert command.is_running()
    own_database.start()
    ran = command.ended()

    assert (ran.code, ran.err) == (0, "")
    # An answer that was lost with the database may be told as a duplicate; it is counted once.
    assert (said_of("rejected", ran), said_of("inserted", ran) + said_of("duplicates", ran)) == (
        0,
        ROWS,
    )
    assert own_tables.contents() == expected


def test_a_database_that_stays_away_ends_the_run_and_a_later_one_ends_exact(
    own_shell: Shell,
    own_tables: Tables,
    own_database: OwnDatabase,
    file: Path,
    expected: Contents,
) -> None:
    command = own_shell.start(INGEST, file, "--patience", "2")
    wait_until_stored(own_tables, len(expected.events) // 5, command)
    own_database.stop()
    begin = time.monotonic()
    ended = command.ended(timeout_seconds=30)
    took = time.monotonic() - begin
    own_database.start()
    contents = own_tables.contents()
    last = own_shell.run(INGEST, file)

    assert took < 10
    assert (ended.code, ended.err) == (
        2,
        f"error: the store at {own_database.endpoint_url} did not answer in time "
        f"(EndpointConnectionError). {GO_ON}\n",
    )
    assert ended.out.startswith(f"{file}: ")
    assert_exact(contents)
    # What it says is stored is stored; an answer that was lost may be stored beside it.
    assert 0 < said_of("inserted", ended) <= len(contents.events) < len(expected.events)
    assert len(contents.events) - said_of("inserted", ended) <= said_of("unknown", ended)
    assert last.code == 0
    assert said_of("inserted", last) == len(expected.events) - len(contents.events)
    assert own_tables.contents() == expected
