"""Many writers of one SQL database: threads, processes, and kill -9."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from events.domain.retries import RetryPolicy
from events.models import ChangeCursor, Event, Outcome, Verification
from events.service import EventService
from events.sql.store import SqlStore
from tests.support.factories import expected_contents, many_events, time_text
from tests.support.shell import free_port, until
from tests.support.sqlstore import SqlTables

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
EVENTS = many_events(3_000, customers=5, hours=100, event_types=4)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database that several stores can open."""
    address = f"sqlite:///{tmp_path}/events.db"
    if request.param == "postgresql":
        address = request.getfixturevalue("postgresql_url")
    with closing(SqlStore(address, retry=RetryPolicy(30))) as store:
        SqlTables(store).clear()
    return address


def open_service(url: str) -> EventService:
    return EventService(SqlStore(url, retry=RetryPolicy(60), writers=2), write_threads=2)


def feed(url: str, seed: int, events: Sequence[Event] = EVENTS) -> int:
    """Ingest events in a random order, in requests of many sizes; returns how many were new."""
    rng = random.Random(seed)
    mine = rng.sample(events, len(events))
    with closing(open_service(url)) as service:
        pending = []
        while mine:
            size = rng.choice([1, 7, 300])
            pending.append(service.submit(mine[:size]))
            del mine[:size]
        return sum(receipts.wait().count(Outcome.INSERTED) for receipts in pending)


def check(url: str, inserted: int) -> None:
    assert inserted == len(EVENTS)
    with closing(SqlStore(url, retry=RetryPolicy(30))) as store:
        assert SqlTables(store).contents() == expected_contents(EVENTS)


def test_threads_of_several_stores_count_each_event_once(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        check(url, sum(threads.map(partial(feed, url), range(4))))


def test_processes_on_one_database_count_each_event_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as processes:
        check(url, sum(processes.map(partial(feed, url), range(3))))


def test_verify_finds_no_difference_beside_writers_and_an_erasure(url: str) -> None:
    results: list[Verification] = []
    is_over = threading.Event()

    def erase_on() -> None:
        with closing(open_service(url)) as service:
            while not is_over.wait(0.05):
                service.erase("customer-0", max_events=50)

    with closing(open_service(url)) as service, ThreadPoolExecutor(3) as threads:
        eraser = threads.submit(erase_on)
        writers = [threads.submit(feed, url, seed) for seed in range(2)]
        while not all(writer.done() for writer in writers):
            results.append(service.verify())
        is_over.set()
        eraser.result()
        assert sum(writer.result() for writer in writers) >= len(EVENTS)
        while not service.erase("customer-0", max_events=1_000).is_complete:
            pass
        assert [result for result in results if result.differences or result.unlisted] == []
        assert service.verify().is_equal
    with closing(SqlStore(url, retry=RetryPolicy(30))) as store:
        others = [item for item in EVENTS if item.customer_id != "customer-0"]
        assert SqlTables(store).contents() == expected_contents(others)


def test_a_reader_of_changes_misses_none_beside_writers(url: str) -> None:
    """The copy of a reader that follows the changes ends up as the counters are."""
    copied: dict[tuple[str, str], dict[int, int]] = {}
    with closing(open_service(url)) as service, ThreadPoolExecutor(3) as threads:
        store = SqlStore(url, retry=RetryPolicy(30))
        writers = [threads.submit(feed, url, seed) for seed in range(3)]
        cursor: ChangeCursor | None = None
        is_last = False
        while not is_last:
            is_last = all(writer.done() for writer in writers)
            has_more = True
            while has_more:
                page = service.changes(cursor, limit=7)
                cursor, has_more = page.next_cursor, page.has_more
                for _, customer_id, day in page.changes:
                    for counts in store.day_counts(customer_id, day, day, by_type=False):
                        copied[customer_id, day] = dict(counts.hours)
        store.close()
    expected: dict[tuple[str, str], dict[int, int]] = {}
    for item in EVENTS:
        hours = expected.setdefault((item.customer_id, time_text(item.timestamp)[:10]), {})
        hours[item.timestamp.hour] = hours.get(item.timestamp.hour, 0) + 1
    assert copied == expected


def test_an_ingest_killed_at_any_moment_is_continued_exactly(
    url: str, tmp_path: Path, kills: int
) -> None:
    file = tmp_path / "events.csv"
    events = many_events(20_000, customers=5, hours=300, event_types=4)
    with file.open("w", encoding="utf-8", newline="") as stream:
        rows = (
            (item.customer_id, item.event_type, item.transaction_id, time_text(item.timestamp))
            for item in events
        )
        csv.writer(stream).writerows(rows)
    rng = random.Random(kills)
    command = [sys.executable, str(CHECKOUT / "ingest_events_from_file.py"), str(file)]
    environment = {"EVENTS_DATABASE_URL": url, "PATH": "/usr/bin:/bin"}
    for _ in range(kills):
        process = subprocess.Popen(
            command, env=environment, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        try:
            process.wait(rng.uniform(0.5, 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with closing(open_service(url)) as service:
            assert service.verify().is_equal
    assert subprocess.run(command, env=environment, cwd=tmp_path, check=False).returncode == 0
    with closing(SqlStore(url, retry=RetryPolicy(30))) as store:
        assert SqlTables(store).contents() == expected_contents(events)


def test_a_killed_service_keeps_what_it_acknowledged(url: str, tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    acknowledged: set[Event] = set()
    sent: list[Event] = []
    for number in range(kills):
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "events", "serve", "--port", str(port)],
            env={"EVENTS_DATABASE_URL": url, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        until(partial(is_ready, port))
        timer = threading.Timer(rng.uniform(0, 0.4), process.kill)
        batches = many_events(4_000, seed=number, customers=4, hours=50)
        while batches and process.poll() is None:
            batch, batches = batches[:5], batches[5:]
            sent += batch
            with suppress(OSError):
                post(port, batch)
                acknowledged |= set(batch)
                if timer.ident is None:
                    timer.start()
        timer.join()
        process.wait()
    assert acknowledged
    with closing(open_service(url)) as service:
        assert service.verify().is_equal
        receipts = dict(zip(sent, service.ingest(sent), strict=True))
    assert {receipts[item] for item in acknowledged} == {Outcome.DUPLICATE}
    with closing(SqlStore(url, retry=RetryPolicy(30))) as store:
        assert SqlTables(store).contents() == expected_contents(sent)


def is_ready(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        return bool(answer.status == 200)
    return False


def post(port: int, events: Sequence[Event]) -> None:
    """Send events over HTTP; returns once they are acknowledged."""
    body = [{**item._asdict(), "timestamp": time_text(item.timestamp)} for item in events]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/events",
        json.dumps({"events": body}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
