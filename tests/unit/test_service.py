"""Customers and writing, on a store in memory."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest

from events.domain.windows import EARLIEST, LATEST
from events.errors import StoreUnavailable
from events.models import BucketCount, CustomerPage, CustomerTotal, Outcome, Verification, Window
from events.queries.lookup import EventQuery
from events.service import EventService
from tests.support.factories import HOUR_ZERO, event, expected_contents, many_events
from tests.support.queries import NINE, ask, at, service, spy, store
from tests.support.sqlstore import MemoryStore, SpyStore

__all__ = ["service", "spy", "store"]
INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


def test_customers_have_their_totals_in_the_window(service: EventService) -> None:
    service.ingest(
        [
            *NINE,
            event("t-1", customer_id="B", timestamp=at(1, minutes=10)),
            event("t-2", customer_id="B", timestamp=at(30)),
            event("t-1", customer_id="é", timestamp=LATEST),
        ]
    )
    assert service.customers(limit=10) == CustomerPage(
        (CustomerTotal("B", 2), CustomerTotal("acme", 9), CustomerTotal("é", 1))
    )
    window = Window(at(0, minutes=30), at(1, minutes=10))
    assert service.customers(window=window, limit=10) == CustomerPage(
        (CustomerTotal("B", 0), CustomerTotal("acme", 3), CustomerTotal("é", 0))
    )
    assert service.customers(window=Window(at(1), at(1)), prefix="a", limit=10) == CustomerPage(
        (CustomerTotal("acme", 0),)
    )
    assert service.customers(prefix="nobody", limit=10) == CustomerPage(())


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 11, 12, 100])
def test_pages_return_each_customer_once(service: EventService, limit: int) -> None:
    events = many_events(200, customers=11)
    service.ingest(events)
    found: list[CustomerTotal] = []
    after: str | None = None
    while True:
        page = service.customers(prefix="customer-", after=after, limit=limit)
        assert len(page.customers) <= limit
        found += page.customers
        after = page.next_customer
        if after is None:
            break
        assert after == page.customers[-1].customer_id
    totals = Counter(item.customer_id for item in events)
    assert found == [CustomerTotal(name, totals[name]) for name in sorted(totals)]


def test_all_pages_come_one_after_the_other(service: EventService) -> None:
    customers = [f"c-{number:03d}" for number in range(250)]
    service.ingest([*NINE, *(event("t-1", customer_id=name) for name in customers)])
    window = Window(at(0), at(3))
    everybody = [CustomerTotal("acme", 9), *(CustomerTotal(name, 1) for name in customers)]
    assert list(service.all_customers(window)) == everybody
    assert list(service.all_customers(window, after="c-248")) == everybody[-1:]
    stored = service.all_events(EventQuery("acme", window, limit=2))
    assert [item.event for item in stored] == sorted(NINE, key=lambda item: item.timestamp)


def test_an_ingest_returns_the_outcome_of_each_event(
    service: EventService, store: MemoryStore
) -> None:
    events = many_events(200, customers=3, hours=72, event_types=4)
    assert service.ingest(events[::2]) == [INSERTED] * 100
    mixed = [*events, events[1], events[0]]
    assert service.ingest(mixed) == [DUPLICATE, INSERTED] * 100 + [DUPLICATE, DUPLICATE]
    assert service.ingest([]) == []
    assert store.contents() == expected_contents(events)
    assert service.verify() == Verification(customers=3, days=9, events=200)


def test_late_events_of_any_age_are_counted_in_their_own_hour(service: EventService) -> None:
    old = event("t-1", timestamp=datetime(1815, 6, 18, 11, 35, tzinfo=UTC))
    service.ingest([event("t-2")])
    assert service.ingest([old]) == [INSERTED]
    page = service.buckets(ask(EARLIEST, LATEST))
    assert page.buckets == (
        BucketCount(datetime(1815, 6, 18, 11, tzinfo=UTC), 1),
        BucketCount(HOUR_ZERO, 1),
    )


def test_dropped_events_are_not_written_and_can_be_sent_again() -> None:
    store = MemoryStore()
    is_under_way, gate = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "write":
            is_under_way.set()
            assert gate.wait(60)

    with closing(EventService(SpyStore(store, hold), write_threads=1)) as service:
        first = service.submit([event("t-1")])
        assert is_under_way.wait(60)
        second = service.submit([event("t-2")])
        service.drop_waiting()
        gate.set()
        service.drain()
        assert first.wait() == [INSERTED]
        with pytest.raises(StoreUnavailable):
            second.wait()
        assert store.contents() == expected_contents([event("t-1")])
        assert service.ingest([event("t-1"), event("t-2")]) == [DUPLICATE, INSERTED]


def test_closing_writes_submitted_events_and_closes_the_store() -> None:
    store = MemoryStore()
    service = EventService(store, write_threads=1)
    ticket = service.submit(many_events(50, hours=96))
    service.close()
    assert ticket.is_done()
    assert store.is_closed
    assert store.contents() == expected_contents(many_events(50, hours=96))


def test_the_store_is_checked_and_its_tables_are_created(
    service: EventService, spy: SpyStore
) -> None:
    service.check()
    service.create_tables(patience_seconds=3)
    service.create_tables()
    assert spy.calls == [("check", (0,)), ("create_tables", (3,)), ("create_tables", (None,))]
