"""Bulk loading of SQL databases, and windowed counts beside exact ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from events.domain.retries import RetryPolicy
from events.errors import StoreRefused
from events.models import DayCounts, Event, Window
from events.sql.bulk import BulkLoader
from events.sql.store import SqlStore
from tests.support import postgres
from tests.support.factories import DAY, HOUR_ZERO, event, expected_contents, many_events
from tests.support.sqlstore import SqlTables

AT = datetime(2021, 4, 1, tzinfo=UTC)
RETRY = RetryPolicy(30)
EVENTS = many_events(500, customers=3, event_types=3, hours=60)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/events.db"
        return
    server = request.getfixturevalue("postgresql_url").rpartition("/")[0]
    with postgres.database(server) as database_url:
        yield database_url


def counters_of(events: list[Event]) -> list[DayCounts]:
    """The counters that an ingest of these events writes."""
    with closing(SqlStore("sqlite://", retry=RETRY)) as store:
        store.write(events)
        return [
            counts
            for name in store.stored_customers()
            for by_type in (False, True)
            for counts in store.day_counts(name, "0001-01-01", "9999-12-31", by_type=by_type)
        ]


def load(loader: BulkLoader, events: list[Event]) -> None:
    at = loader.begin("plan")
    loader.put_customers((item.customer_id for item in events), at)
    loader.put_events(events, at)
    loader.put_counts(counters_of(events), at)


def test_loaded_tables_equal_those_of_an_ingest(url: str) -> None:
    with closing(BulkLoader(url, retry=RETRY)) as loader:
        load(loader, EVENTS[:100])  # interrupted: the next run starts again
        assert loader.under_way() == "plan"
        load(loader, EVENTS)
        loader.finish()
        assert loader.under_way() is None
    with closing(SqlStore(url, retry=RETRY)) as store:
        assert SqlTables(store).contents() == expected_contents(EVENTS)
        changes, _ = store.changes.read(
            store.changes.known_from(), store.changes.settled_until(), limit=99
        )
        assert {(change.customer_id, change.day) for change in changes} == {
            (item.customer_id, item.timestamp.date().isoformat()) for item in EVENTS
        }


def test_a_load_into_tables_that_are_not_empty_is_refused(url: str) -> None:
    with closing(SqlStore(url, retry=RETRY)) as store:
        store.write([event()])
        with (
            closing(BulkLoader(url, retry=RETRY)) as loader,
            pytest.raises(StoreRefused, match="customer_events is not empty"),
        ):
            loader.begin("plan")
        assert SqlTables(store).contents() == expected_contents([event()])


def test_of_two_loads_at_once_one_is_refused(url: str) -> None:
    refused = []

    def begin(plan: str) -> None:
        with closing(BulkLoader(url, retry=RETRY)) as loader:
            try:
                loader.begin(plan)
            except StoreRefused as exc:
                refused.append(str(exc))

    threads = [threading.Thread(target=partial(begin, f"plan {n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert all("another load into this database was not finished" in text for text in refused)


def test_windowed_counts_leave_the_exact_ones_alone(url: str) -> None:
    at, days = AT, ("2021-03-01", "2021-03-31")
    with (
        closing(SqlStore(url, retry=RETRY)) as exact,
        closing(SqlStore(url, retry=RETRY, is_windowed=True)) as windowed,
        closing(BulkLoader(url, retry=RETRY, is_windowed=True)) as loader,
    ):
        exact.write(EVENTS)
        loader.create_tables()
        loader.put_customers(["acme"], at)
        for hours in ({0: 1, 5: 4}, {0: 3}, {0: 3}):  # totals: a repeated batch changes nothing
            loader.set_hours([DayCounts("acme", "2021-03-01", None, hours)], at)
        assert SqlTables(exact).contents() == expected_contents(EVENTS)
        assert windowed.customers(prefix="", after=None, limit=9) == ["acme"]
        (counts,) = windowed.day_counts("acme", *days, by_type=False)
        assert counts == DayCounts("acme", "2021-03-01", None, {0: 3, 5: 4}, at)
        assert list(windowed.counted_events("acme", Window(HOUR_ZERO, HOUR_ZERO + DAY))) == []
        windowed.check()
