"""Whoever follows the list of changes misses none, however many write and whatever kills them."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from events.dao import DynamoStore
from events.domain.windows import ALL_TIME
from events.models import ChangeCursor
from events.queries.changes import changes
from events.service import EventService
from tests.support.changeswriter import CUSTOMERS, GRACE, SLOT, make_store
from tests.support.database import Database
from tests.support.shell import CHECKOUT

WRITERS = 3

#: Customer and day → hour → count.
Mirror = dict[tuple[str, str], Mapping[int, int]]


class Follower:
    """A job that keeps a copy of the counters, and reads only days that it is told of."""

    def __init__(self, store: DynamoStore) -> None:
        self._store = store
        self._cursor: ChangeCursor | None = None
        self.mirror: Mirror = {}

    def follow(self) -> None:
        """Take in all there is now."""
        while True:
            page = changes(self._store.changes, self._cursor, limit=5)
            for _, customer_id, day in page.changes:
                self.mirror.pop((customer_id, day), None)
                self.mirror |= counters(self._store, customer_id, day, day)
            self._cursor = page.next_cursor
            if not page.has_more:
                return

    def has_passed(self, at: datetime) -> bool:
        return self._cursor is not None and self._cursor.slot > at


def counters(
    store: DynamoStore,
    customer_id: str,
    first_day: str = "0001-01-01",
    last_day: str = "9999-12-31",
) -> Mirror:
    return {
        (customer_id, each.day): each.hours
        for each in store.day_counts(customer_id, first_day, last_day, by_type=False)
    }


def start_writer(database: Database, table: str, seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.changeswriter",
            database.endpoint_url,
            table,
            str(seed),
        ],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
    )


def wait_for_batches(writer: subprocess.Popen[bytes], number: int) -> None:
    assert writer.stdout is not None
    assert len(writer.stdout.read(number)) == number, "a writer ended by itself"


def kill(writer: subprocess.Popen[bytes]) -> None:
    writer.kill()
    writer.communicate()


def test_a_follower_has_every_counter_right_after_writers_were_killed_at_any_moment(
    database: Database, kills: int
) -> None:
    table = f"t{uuid.uuid4().hex}"
    store = make_store(database.endpoint_url, table)
    store.create_tables()
    follower = Follower(store)
    rng = random.Random(5)
    is_over = threading.Event()
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            while not is_over.wait(0.2):
                follower.follow()
        except BaseException as exc:  # noqa: BLE001 - the test below must hear of it
            failures.append(exc)

    thread = threading.Thread(target=follow)
    thread.start()
    writers = [start_writer(database, table, seed) for seed in range(WRITERS)]
    try:
        for number in range(kills):
            place = number % WRITERS
            wait_for_batches(writers[place], rng.randint(1, 30))
            time.sleep(rng.uniform(0, 0.05))
            kill(writers[place])
            writers[place] = start_writer(database, table, WRITERS + number)
        for each in writers:
            wait_for_batches(each, 1)
    finally:
        for each in writers:
            kill(each)
        is_over.set()
        thread.join()
    assert failures == []
    ended_at = datetime.now(UTC)
    deadline = time.monotonic() + 60
    while not follower.has_passed(ended_at):
        assert time.monotonic() < deadline
        time.sleep((SLOT + GRACE).total_seconds() / 4)
        follower.follow()
    everything: Mirror = {}
    for number in range(CUSTOMERS):
        everything |= counters(store, f"customer-{number}")
    assert follower.mirror == everything
    assert len(follower.mirror) > 100
    service = EventService(store, write_threads=1)
    assert service.verify(window=ALL_TIME).is_equal
    service.close()
