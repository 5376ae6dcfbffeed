"""`kill -9` of the PostgreSQL server: nothing is lost, nothing counts twice."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import count
from typing import Any

import pytest

from events.domain.retries import RetryPolicy
from events.models import Event, Outcome
from events.service import EventService
from events.sql.store import SqlStore
from tests.support import postgres
from tests.support.factories import event, expected_contents, many_events
from tests.support.shell import until
from tests.support.sqlstore import SqlTables

pytestmark = pytest.mark.slow
WRITERS = 3
RETRY = RetryPolicy(300, cap_seconds=0.2)


class Feed:
    """Services that write the same events in requests of all sizes, each in its own order."""

    def __init__(self, url: str, seed: int) -> None:
        self._url, self._seed = url, seed
        self._events = many_events(200_000, seed=seed, customers=6, event_types=3, hours=100)
        self.is_over = threading.Event()
        #: By writer.
        self.receipts: list[list[tuple[Event, Outcome]]] = [[] for _ in range(WRITERS)]

    def write(self, number: int) -> None:
        rng = random.Random(self._seed + number)
        store = SqlStore(self._url, retry=RETRY, writers=2)
        with closing(EventService(store, write_threads=2)) as service:
            position = 0
            while not self.is_over.is_set():
                # Each writer follows the others closely: they meet on the same events.
                batch = self._events[position : position + rng.choice([1, 20, 300])]
                position += len(batch)
                rng.shuffle(batch)
                outcomes = service.ingest(batch)
                self.receipts[number] += zip(batch, outcomes, strict=True)

    def number_acknowledged(self) -> int:
        return sum(map(len, self.receipts))


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.server(programs) as server:
        yield server


def test_a_killed_server_loses_nothing_and_counts_nothing_twice(
    server: postgres.Server, kills: int
) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    with postgres.database(server.url) as url:
        feed = Feed(url, seed)
        with ThreadPoolExecutor(WRITERS) as threads:
            writers = [threads.submit(feed.write, number) for number in range(WRITERS)]
            try:
                for _ in range(kills):
                    before = feed.number_acknowledged()
                    until(partial(feed_has_gone_on, feed, writers, before))
                    feed.is_over.wait(rng.uniform(0, 0.15))
                    server.kill()
                    server.start()
            finally:
                feed.is_over.set()
            for writer in writers:
                writer.result()
        receipts = [receipt for each in feed.receipts for receipt in each]
        sent = {event for event, _ in receipts}
        outcomes = Counter(receipts)
        assert {outcomes[event, Outcome.INSERTED] for event in sent} == {1}, f"seed {seed}"
        with closing(SqlStore(url, retry=RETRY)) as store:
            assert SqlTables(store).contents() == expected_contents(sent), f"seed {seed}"


def feed_has_gone_on(feed: Feed, writers: Sequence[Future[None]], before: int) -> bool:
    assert not any(writer.done() for writer in writers)
    return feed.number_acknowledged() > before


@pytest.mark.parametrize("is_given_again", [False, True])
def test_the_id_of_a_transaction_that_was_lost_is_not_taken_for_a_commit(
    server: postgres.Server, monkeypatch: pytest.MonkeyPatch, is_given_again: bool
) -> None:
    """A server that is killed before COMMIT forgets the id, and may give it to another writer."""
    others_events = (event(f"{number}", customer_id="other") for number in count())
    with (
        postgres.database(server.url) as url,
        closing(SqlStore(url, retry=RETRY)) as store,
        closing(SqlStore(url, retry=RETRY)) as others,
    ):
        store.create_tables()
        dialect: Any = store._database._engine.dialect
        commit = dialect.do_commit

        def kill_and_commit(connection: Any) -> None:
            monkeypatch.setattr(dialect, "do_commit", commit)
            server.kill()
            server.start()
            if is_given_again:
                assert others.write([next(others_events)]) == [Outcome.INSERTED]
            commit(connection)

        batch = [event("a"), event("b")]
        monkeypatch.setattr(dialect, "do_commit", kill_and_commit)
        assert store.write(batch) == [Outcome.INSERTED, Outcome.INSERTED]
        monkeypatch.setattr(dialect, "do_commit", kill_and_commit)
        assert store.void(batch, "x") == [Outcome.VOIDED, Outcome.VOIDED]
