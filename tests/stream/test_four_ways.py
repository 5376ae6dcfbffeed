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
from jobs import recount
from tests.stream.archives import hour_counts_of
from tests.support.shell import CHECKOUT, INGEST, Command, Shell, free_port, until
from tests.support.tables import Row, rows_of

pytestmark = pytest.mark.usefixtures("spark", "job_environment")

ROWS = 4_000
#: Customer, event type, start of the hour → events.
Counts = Mapping[tuple[str, str, datetime], int]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Late and shuffled rows, a tenth of them twice, some with another spelling of the time."""
    path = tmp_path_factory.mktemp("file") / "events.csv"
    arguments = ["--rows", str(ROWS), "--seed", "21", "--duplicates", "0.1", "--days", "20"]
    make = CHECKOUT / "resources" / "make_events.py"
    subprocess.run([sys.executable, make, *arguments, "--output", path], check=True, timeout=60)
    return path


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


def counted_by_hand(rows: list[Row]) -> Counts:
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

    name = by_csv.dynamodb_events_table_name
    ran = shell.run(INGEST, file, "--json", settings={"DYNAMODB_EVENTS_TABLE_NAME": name})
    assert json.loads(ran.out)["inserted"] == distinct, ran.err
    assert stored(by_csv) == right

    command, url = serve(shell, by_http.dynamodb_events_table_name)
    assert post(file, url) == {"inserted": distinct, "duplicate": ROWS - distinct}
    command.end()
    assert stored(by_http) == right

    ran = shell.run("-m", "events", "produce", file, "--json")
    assert json.loads(ran.out)["accepted"] == ROWS, ran.err
    name = by_kafka.dynamodb_events_table_name
    consume = ("-m", "events", "consume", "--until-end", "--port", str(free_port()), "--json")
    ran = shell.run(*consume, settings={"DYNAMODB_EVENTS_TABLE_NAME": name})
    assert json.loads(ran.out)["inserted"] == distinct, ran.err
    assert stored(by_kafka) == right

    ran = shell.run("-m", "events", "archive", "--until-end", "--json")
    assert json.loads(ran.out)["archived"] == ROWS, ran.err
    assert recount.main([]) == 0
    assert hour_counts_of(settings) == right

    flink = ("-m", "jobs.flink_counts", "stream", "--checkpoint", "flink", "--until-end", "--drain")
    ran = shell.start(*flink, "--watermark-seconds", "3000000").ended(timeout_seconds=300)
    assert ran.code == 0, ran.err
    assert hour_counts_of(settings, "windowed_counts") == right
