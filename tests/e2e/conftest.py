"""The commands as a user runs them, and the tables as plain boto3 sees them."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import psutil
import pytest

from events.config import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CHECKOUT = Path(__file__).parents[2]
INGEST = CHECKOUT / "ingest_events_from_file.py"
SAMPLE = CHECKOUT / "resources" / "events.csv"
HEADER = "customer_id,event_type,transaction_id,timestamp\n"
TIMEOUT_SECONDS = 60.0
#: Where a runtime or an unpacked DynamoDB Local lies is not for these tests to choose.
_KEPT = ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "DYNAMODB_LOCAL_HOME")
_REGISTRY = " customers"
#: When what is put past the service came in.
STAMP = "2021-06-01T00:00:00.000000Z"

#: Runs a command whose standard output is on a disk that is full.
ON_FULL_DISK = (
    "import subprocess, sys\n"
    "with open('/dev/full', 'wb') as out:\n"
    "    sys.exit(subprocess.run([sys.executable, *sys.argv[1:]], stdout=out).returncode)\n"
)
needs_full_disk = pytest.mark.skipif(
    not Path("/dev/full").is_char_device(), reason="there is no /dev/full"
)

#: Customer, event type, transaction, instant.
Row = tuple[str, str, str, datetime]


# --- commands -------------------------------------------------------------------------------------


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str


class Command:
    """A command under way. Its output goes to files: it never waits for somebody to read it."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def signal(self, number: int) -> None:
        assert self.process.poll() is None, f"it ended too soon: {self.out}{self.err}"
        if number == signal.SIGINT:  # Ctrl-C on a terminal reaches the whole group
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def ended(self, timeout_seconds: float = TIMEOUT_SECONDS) -> Ran:
        """Wait for its end. Whatever happened, a user must not see a traceback."""
        code = self.process.wait(timeout_seconds)
        ran = Ran(code, self.out, self.err)
        assert "Traceback" not in ran.out + ran.err, ran.out + ran.err
        return ran

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """End it and what it started, whatever state they are in."""
        processes: list[psutil.Process] = []
        if self.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                processes = self.children()
            self.process.kill()
        self.process.wait()
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.kill()


class Shell:
    """
    Runs commands in a folder of their own, with an environment that holds nothing of this machine.

    Args:
        settings: Environment variables beside `PATH`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self._notes = folder.with_name(f"{folder.name}.output")
        self._notes.mkdir()
        folder.mkdir()
        self._commands: list[Command] = []

    def start(
        self,
        *arguments: str | Path,
        stdin: int = subprocess.DEVNULL,
        terminal: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Command:
        """
        Start Python with these arguments.

        Args:
            terminal: Where standard error goes instead of its file.
            settings: Added to those of this shell.
        """
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        out, err = (self._notes / f"{len(self._commands)}.{name}" for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=self.folder,
                # What a killed program leaves behind goes with the folder of the test.
                env={
                    **kept,
                    "PYTHONPATH": str(CHECKOUT),
                    "TMPDIR": str(self._notes),
                    **self.settings,
                    **(settings or {}),
                },
                stdin=stdin,
                start_new_session=True,
                stdout=out_file,
                stderr=err_file if terminal is None else terminal,
            )
        command = Command(process, out, err)
        self._commands.append(command)
        return command

    def run(
        self,
        *arguments: str | Path,
        stdin: bytes | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run Python with these arguments to its end."""
        if stdin is None:
            return self.start(*arguments, settings=settings).ended()
        command = self.start(*arguments, settings=settings, stdin=subprocess.PIPE)
        command.process.communicate(stdin, TIMEOUT_SECONDS)
        return command.ended()

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file into the folder of the commands."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def end(self) -> None:
        for command in self._commands:
            command.end()


def until(is_so: Callable[[], object], *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Return once something is so; it is asked often, and not so often that it slows the rest."""
    deadline = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {timeout_seconds:g} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether anything listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- tables ---------------------------------------------------------------------------------------


class Contents(NamedTuple):
    """
    Both tables, but for the stamps of when something came in.

    `events` are (customer, stored key), ascending; `counters` maps (customer, stored key) to
    `h00` … `h23` as they stand there; `customers` are the listed ones, ascending.
    """

    events: list[tuple[str, str]]
    counters: dict[tuple[str, str], dict[str, int]]
    customers: list[str]


class Tables:
    """Both tables, read and changed with boto3 alone."""

    def __init__(self, endpoint_url: str, name: str) -> None:
        self.name = name
        self._events, self._counts = name, f"{name}_hourly_counts"
        self._changes = f"{name}_changes"
        self.client: DynamoDBClient = boto3.client(
            "dynamodb",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def are_there(self) -> bool:
        """Whether anybody made one of them."""
        for table in (self._events, self._counts):
            with suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.describe_table(TableName=table)
                return True
        return False

    def contents(self) -> Contents:
        """What is stored now. Tables that nobody made are empty ones."""
        events: list[tuple[str, str]] = []
        counters: dict[tuple[str, str], dict[str, int]] = {}
        customers: list[str] = []
        for item in self._scan(self._events):
            assert set(item) - {"voided_at", "void_reason"} == {
                "customer_id",
                "event_key",
                "ingested_at",
            }
            events.append((item["customer_id"]["S"], item["event_key"]["S"]))
        for item in self._scan(self._counts):
            key = item.pop("customer_id")["S"], item.pop("counter_key")["S"]
            if key[0] == _REGISTRY:
                customers.append(item["registered_id"]["S"])
                continue
            assert set(item.pop("updated_at")) == {"S"}
            item.pop("repaired_at", None)
            counters[key] = {hour: int(number["N"]) for hour, number in sorted(item.items())}
        return Contents(sorted(events), counters, sorted(customers))

    def fill(self, contents: Contents) -> None:
        """Make the tables and put these items in, as an ingest of them would."""
        for table, sort_key in ((self._events, "event_key"), (self._counts, "counter_key")):
            self.client.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[
                    {"AttributeName": "customer_id", "KeyType": "HASH"},
                    {"AttributeName": sort_key, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "customer_id", "AttributeType": "S"},
                    {"AttributeName": sort_key, "AttributeType": "S"},
                ],
            )
        for customer_id, key in contents.events:
            self.put_event(customer_id, key)
        for (customer_id, key), hours in contents.counters.items():
            for hour, count in hours.items():
                self.add(customer_id, key, hour, count)
        for customer_id in contents.customers:
            self.client.put_item(
                TableName=self._counts,
                Item={
                    "customer_id": {"S": _REGISTRY},
                    "counter_key": {"S": customer_id},
                    "registered_id": {"S": customer_id},
                    "registered_at": {"S": STAMP},
                },
            )

    def _scan(self, table: str) -> Iterator[dict[str, Any]]:
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        with suppress(self.client.exceptions.ResourceNotFoundException):
            for page in pages:
                yield from page["Items"]

    def count(self) -> int:
        """How many events are stored."""
        try:
            pages = self.client.get_paginator("scan").paginate(
                TableName=self._events, Select="COUNT", ConsistentRead=True
            )
            return sum(page["Count"] for page in pages)
        except self.client.exceptions.ResourceNotFoundException:
            return 0

    def add(self, customer_id: str, counter_key: str, hour: str, number: int) -> None:
        """Falsify a counter: `number` more than were counted."""
        self.client.update_item(
            TableName=self._counts,
            Key={"customer_id": {"S": customer_id}, "counter_key": {"S": counter_key}},
            UpdateExpression="ADD #hour :number SET updated_at = :now",
            ExpressionAttributeNames={"#hour": hour},
            ExpressionAttributeValues={":number": {"N": str(number)}, ":now": {"S": STAMP}},
        )

    def put_event(self, customer_id: str, key: str) -> None:
        """Store an item and count it nowhere."""
        self.client.put_item(
            TableName=self._events,
            Item={
                "customer_id": {"S": customer_id},
                "event_key": {"S": key},
                "ingested_at": {"S": STAMP},
            },
        )

    def unlist(self, customer_id: str) -> None:
        self.client.delete_item(
            TableName=self._counts,
            Key={"customer_id": {"S": _REGISTRY}, "counter_key": {"S": customer_id}},
        )

    def drop(self) -> None:
        for table in (self._events, self._counts, self._changes):
            with suppress(self.client.exceptions.ResourceNotFoundException):
                self.client.delete_table(TableName=table)


# --- what must be there, counted with nothing of this project -------------------------------------


def rows_of(path: Path) -> list[Row]:
    """The rows of a good file with a header, duplicates included."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (
                row["customer_id"],
                row["event_type"],
                row["transaction_id"],
                datetime.fromisoformat(row["timestamp"]).astimezone(UTC),
            )
            for row in csv.DictReader(file)
        ]


def contents_of(rows: Iterable[Row]) -> Contents:
    """What both tables hold once these rows came in, each as often as it likes."""
    events = sorted({(row[0], _key(row)) for row in rows})
    return Contents(events, recounted(events), sorted({customer for customer, _ in events}))


def _key(row: Row) -> str:
    _, event_type, transaction_id, at = row
    kind = "".join({"%": "%25", "-": "%2D"}.get(each, each) for each in event_type)
    return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z-{kind}-{transaction_id}"


def recounted(events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, int]]:
    """The counters that stored events, (customer, key), must have: counted one by one."""
    counters: dict[tuple[str, str], dict[str, int]] = {}
    for customer_id, key in events:
        day, hour = key[:10], f"h{key[11:13]}"
        kind = key[28:].split("-")[0].replace("%2D", "-").replace("%25", "%")
        for counter in (f"total#{day}", f"type#{day}#{kind}"):
            hours = counters.setdefault((customer_id, counter), {})
            hours[hour] = hours.get(hour, 0) + 1
    return counters


# --- fixtures -------------------------------------------------------------------------------------


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    """The tables of this test; not there yet."""
    tables = Tables(settings.dynamodb_endpoint_url, settings.dynamodb_events_table_name)
    yield tables
    tables.drop()
    tables.client.close()


@pytest.fixture
def shell(tmp_path: Path, settings: Settings, tables: Tables) -> Iterator[Shell]:
    """A shell whose commands use the tables of this test."""
    shell = Shell(
        tmp_path / "here",
        {
            "DYNAMODB_ENDPOINT_URL": settings.dynamodb_endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": tables.name,
        },
    )
    yield shell
    shell.end()
