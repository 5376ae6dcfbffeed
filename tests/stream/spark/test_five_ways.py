"""One file in five ways gives the same counts: CSV, HTTP, Kafka, and through Spark and Flink."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from events.bootstrap import make_client, make_store
from events.config import Settings
from events.datamodels import Tables
from events.models import Event
from jobs import recount
from tests.stream.archives import hour_counts_of, produce
from tests.stream.archives import rows_of as rows_of_table
from tests.support.shell import CHECKOUT, INGEST, Command, Shell, free_port, until
from tests.support.tables import rows_of

pytestmark = pytest.mark.usefixtures("spark", "job_environment")

ROWS = 800
#: Rows and messages with invalid events.
BAD = [
    ",api_call,bad-0,2021-03-01T00:00:00Z",
    "bad,,bad-1,2021-03-01T00:00:00Z",
    "bad,api_call,,2021-03-01T00:00:00Z",
    "bad,api_call,bad-3,soon",
    "bad,api_call,bad-4,2021-02-30T00:00:00Z",
    "bad,api_call,bad-5,2021-03-01T00:00:00",
    "bad,api_call,bad-6,0000-03-01T00:00:00Z",
    " bad,api_call,bad-7,2021-03-01T00:00:00Z",
]
#: Customer, event type, start of the hour → events.
Counts = Mapping[tuple[str, str, datetime], int]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Late and shuffled rows, a tenth of them twice, some with another spelling of the time."""
    path = tmp_path_factory.mktemp("file") / "events.csv"
    arguments = ["--rows", str(ROWS), "--seed", "21", "--duplicates", "0.1", "--days", "6"]
    make = CHECKOUT / "resources" / "make_events.py"
    subprocess.run([sys.executable, make, *arguments, "--output", path], check=True, timeout=60)
    return path


def with_bad_rows(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(BAD, 1):
        lines.insert(number * ROWS // len(BAD), line)
    return "\n".join(lines) + "\n"


def bad_messages() -> list[bytes]:
    names = ("customer_id", "event_type", "transaction_id", "timestamp")
    return [json.dumps(dict(zip(names, row.split(","), strict=True))).encode() for row in BAD]


@pytest.fixture
def other_tables(settings: Settings) -> Iterator[Callable[[], Settings]]:
    """Makes settings with tables of their own; the tables are dropped afterwards."""
    made: list[Settings] = []

    def make() -> Settings:
        name = f"t{uuid.uuid4().hex}"
        made.append(settings.model_copy(update={"dynamodb_events_table_name": name}))
        return made[-1]

    yield make
    for settings in made:
        with closing(make_client(settings)) as client:
            tables = Tables.named(settings.dynamodb_events_table_name)
            for table in (tables.events, tables.counts, tables.changes):
                client.delete_table(TableName=table)


def counted_by_hand(rows: list[Event]) -> Counts:
    return Counter(
        (customer_id, event_type, at.replace(minute=0, second=0, microsecond=0))
        for customer_id, event_type, _, at in set(rows)
    )


def stored(settings: Settings) -> Counts:
    """The counts in a store."""
    with closing(make_store(settings, patience_seconds=10)) as store:
        return {
            (day.customer_id, day.event_type, datetime.fromisoformat(f"{day.day}T{hour:02}Z")): n
            for name in store.customers(prefix="", after=None, limit=1_000)
            for day in store.day_counts(name, "0001-01-01", "9999-12-31", by_type=True)
            for hour, n in day.hours.items()
            if day.event_type is not None
        }


def post(file: Path, url: str) -> Counter[str]:
    """Send a file in requests of 500 events; returns the number of receipts by status."""
    with file.open(encoding="utf-8", newline="") as text:
        events = list(csv.DictReader(text))
    receipts: Counter[str] = Counter()
    for first in range(0, len(events), 500):
        request = urllib.request.Request(
            f"{url}/events",
            json.dumps({"events": events[first : first + 500]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            results = json.load(answer)["results"]
        receipts.update(result["status"] for result in results)
    return receipts


def serve(shell: Shell, name: str) -> tuple[Command, str]:
    """Start the API on tables of this name, and wait until it answers."""
    port = free_port()
    command = shell.start(
        *("-m", "events", "serve", "--port", str(port)),
        settings={"DYNAMODB_EVENTS_TABLE_NAME": name},
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return bool(urllib.request.urlopen(f"{url}/livez", timeout=5).status == 200)
        except OSError:
            return False

    until(answers)
    return command, url


def test_five_ways_of_ingest_give_the_same_correct_counts(
    shell: Shell,
    settings: Settings,
    file: Path,
    other_tables: Callable[[], Settings],
) -> None:
    by_csv, by_http, by_kafka = (other_tables() for _ in range(3))
    rows = rows_of(file)
    distinct = len(set(rows))
    right = counted_by_hand(rows)
    assert len(rows) == ROWS
    assert 0.8 * ROWS < distinct < 0.95 * ROWS

    whole = shell.write("whole.csv", with_bad_rows(file))

    name = by_csv.dynamodb_events_table_name
    ran = shell.call(INGEST, whole, "--json", settings={"DYNAMODB_EVENTS_TABLE_NAME": name})
    summary = json.loads(ran.out)
    assert (summary["inserted"], summary["rejected"]) == (distinct, len(BAD)), ran.err
    assert stored(by_csv) == right

    command, url = serve(shell, by_http.dynamodb_events_table_name)
    receipts = {"inserted": distinct, "duplicate": ROWS - distinct, "rejected": len(BAD)}
    assert post(whole, url) == receipts
    command.end()
    assert stored(by_http) == right

    ran = shell.call("-m", "events", "produce", whole, "--json")
    summary = json.loads(ran.out)
    assert (summary["accepted"], summary["rejected"]) == (ROWS, len(BAD)), ran.err
    produce(settings, bad_messages())
    name = by_kafka.dynamodb_events_table_name
    consume = ("-m", "events", "consume", "--until-end", "--port", str(free_port()), "--json")
    ran = shell.call(*consume, settings={"DYNAMODB_EVENTS_TABLE_NAME": name})
    summary = json.loads(ran.out)
    assert (summary["inserted"], summary["dead_letters"]) == (distinct, len(BAD)), ran.err
    assert stored(by_kafka) == right

    ran = shell.call("-m", "events", "archive", "--until-end", "--json")
    summary = json.loads(ran.out)
    assert (summary["archived"], summary["rejected"]) == (ROWS, len(BAD)), ran.err
    assert recount.main([]) == 0
    assert hour_counts_of(settings) == right

    flink = ("-m", "jobs.flink_counts", "stream", "--checkpoint", "flink", "--until-end", "--drain")
    ran = shell.start(*flink, "--watermark-seconds", "3000000").ended(timeout_seconds=300)
    assert ran.code == 0, ran.err
    assert hour_counts_of(settings, "windowed_counts") == right
    assert len(rows_of_table(settings, "uncounted")) == len(BAD)
