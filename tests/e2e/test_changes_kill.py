"""Readers of the change log miss nothing, however many processes write and are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event as Signal
from threading import Thread

import pytest

from events.dao import DynamoStore
from events.domain.windows import ALL_TIME
from events.models import ChangeCursor
from events.queries.changes import changes
from events.service import EventService
from tests.support.changeswriter import CUSTOMERS, make_store
from tests.support.database import Database
from tests.support.shell import CHECKOUT, until

WRITERS = 2
SEED = 5

#: Customer and day → hour → count.
Mirror = dict[tuple[str, str], Mapping[int, int]]


class Follower:
    """A job that keeps a copy of the counters, and reads only the days that the log names."""

    def __init__(self, store: DynamoStore) -> None:
        self._store = store
        self._cursor: ChangeCursor | None = None
        self.mirror: Mirror = {}

    def follow(self) -> None:
        """Read all changes that are settled."""
        while True:
            page = changes(self._store.changes, self._cursor, limit=5)
            for _, customer_id, day in page.changes:
                self.mirror.pop((customer_id, day), None)
                self.mirror |= counters(self._store, customer_id, day, day)
            self._cursor = page.next_cursor
            if not page.has_more:
                return

    def has_passed(self, at: datetime) -> bool:
        self.follow()
        return self._cursor is not None and self._cursor.minute > at

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow all the while, in a thread."""
        is_over = Signal()
        failures: list[BaseException] = []

        def follow() -> None:
            try:
                while not is_over.wait(0.2):
                    self.follow()
            except BaseException as exc:  # noqa: BLE001 - the test must see it
                failures.append(exc)

        thread = Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
        assert failures == []


def counters(
    store: DynamoStore,
    customer_id: str,
    first_day: str = "0001-01-01",
    last_day: str = "9999-12-31",
) -> Mirror:
    return {
        (customer_id, counts.day): counts.hours
        for counts in store.day_counts(customer_id, first_day, last_day, by_type=False)
    }


class Writer:
    """A process that writes until it is killed."""

    def __init__(self, database: Database, table: str, seed: int) -> None:
        program = [sys.executable, "-m", "tests.support.changeswriter"]
        self._process = subprocess.Popen(
            [*program, database.endpoint_url, table, str(seed)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
        )

    def wait_for_batches(self, number: int) -> None:
        assert self._process.stdout is not None
        assert len(self._process.stdout.read(number)) == number, "the writer ended by itself"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.slow  # it ends when the last changes are settled
def test_a_follower_misses_nothing_while_writers_are_killed(database: Database, kills: int) -> None:
    table = f"t{uuid.uuid4().hex}"
    store = make_store(database.endpoint_url, table)
    store.create_tables()
    follower = Follower(store)
    rng = random.Random(SEED)
    writers = [Writer(database, table, seed) for seed in range(WRITERS)]
    # The writers end before the follower: it might never catch up with them on a busy machine.
    with follower.following():
        try:
            for number in range(kills):
                index = number % WRITERS
                writers[index].wait_for_batches(rng.randint(1, 10))
                time.sleep(rng.uniform(0, 0.05))  # kill at any moment of a write
                writers[index].kill()
                writers[index] = Writer(database, table, WRITERS + number)
            for writer in writers:
                writer.wait_for_batches(5)
        finally:
            for writer in writers:
                writer.kill()
    ended_at = datetime.now(UTC)
    until(lambda: follower.has_passed(ended_at), every_seconds=0.3)
    everything: Mirror = {}
    for number in range(CUSTOMERS):
        everything |= counters(store, f"customer-{number}")
    assert follower.mirror == everything
    assert len(follower.mirror) > 30
    service = EventService(store, write_threads=1)
    assert service.verify(window=ALL_TIME).is_equal
    service.close()
