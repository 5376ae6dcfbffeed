"""Paging a long range reads each day a constant number of times, however many pages there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from events.models import BucketPage, BucketQuery, Calendar, DayCounts, RangeTotals, Unit, Window
from events.queries import periods
from events.queries.customers import CustomersQuery, Position
from events.service import EventService
from tests.support.factories import DAY, HOUR_ZERO, event
from tests.support.sqlstore import MemoryStore, SpyStore

DAYS = 2_000
YEARS = Window(HOUR_ZERO, HOUR_ZERO + DAYS * DAY)
QUERY = BucketQuery("acme", YEARS, limit=100)
CALENDAR = Calendar(Unit.DAY, ZoneInfo("Europe/Berlin"))


class CountingStore(SpyStore):
    """A store that counts the counter items that are read, and the ranges counted from events."""

    items = ranges = 0

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.page_sizes: list[int] = []

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        if page_size is not None:
            self.page_sizes.append(page_size)
        for counts in self._store.day_counts(customer_id, first_day, last_day, by_type=by_type):
            self.items += 1
            yield counts

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        self.ranges += len(windows)
        return self._store.count_events(customer_id, windows)


@pytest.fixture
def store() -> CountingStore:
    """One event a day: the counters are one item a day."""
    return CountingStore()


@pytest.fixture
def service(store: CountingStore) -> Iterator[EventService]:
    with closing(EventService(store, write_threads=1)) as service:
        service.ingest([event(f"t-{day}", timestamp=HOUR_ZERO + day * DAY) for day in range(DAYS)])
        yield service


def all_pages(
    service: EventService, query: BucketQuery, calendar: Calendar | None
) -> list[BucketPage]:
    """Every page, as the API asks for it: with the totals of the page before."""
    query = replace(query, calendar=calendar)
    pages: list[BucketPage] = []
    while not pages or pages[-1].next_start is not None:
        if pages:
            totals = RangeTotals(pages[-1].total, pages[-1].last_ingested_at)
            query = replace(query, from_start=pages[-1].next_start, totals=totals)
        pages.append(service.buckets(query))
    return pages


@pytest.mark.parametrize("calendar", [None, CALENDAR], ids=["hours", "days"])
def test_paging_is_linear(
    service: EventService, store: CountingStore, calendar: Calendar | None
) -> None:
    pages = all_pages(service, QUERY, calendar)
    assert len(pages) == 20
    assert {page.total for page in pages} == {DAYS}
    # The first page reads all days, for the total; the others what they show, and one bucket more.
    assert store.items <= 2 * DAYS + len(pages) * 10


@pytest.mark.parametrize("calendar", [None, CALENDAR], ids=["hours", "days"])
def test_a_later_page_reads_only_what_it_shows(
    service: EventService, store: CountingStore, calendar: Calendar | None
) -> None:
    first, *_ = all_pages(service, QUERY, calendar)
    store.items, store.page_sizes = 0, []
    totals = RangeTotals(first.total, first.last_ingested_at)
    query = replace(QUERY, from_start=first.next_start, totals=totals, calendar=calendar)
    assert len(service.buckets(query).buckets) == 100
    assert store.items <= 105
    assert store.page_sizes == [104]


@pytest.mark.parametrize("limit", [100, 3_000])
def test_paging_through_customers_is_linear(
    service: EventService, store: CountingStore, limit: int
) -> None:
    for name in ("beta", "gamma", "delta"):
        days = (HOUR_ZERO + day * DAY for day in range(100))
        service.ingest([event("t", customer_id=name, timestamp=at) for at in days])
    query = CustomersQuery(replace(QUERY, limit=limit))
    pages = [service.customer_buckets(query)]
    while pages[-1].next is not None:
        pages.append(service.customer_buckets(replace(query, after=pages[-1].next)))
    events = DAYS + 3 * 100
    assert sum(len(part.buckets) for page in pages for part in page.customers) == events
    # Customers that were read together, and did not fit on the page, are read again.
    assert store.items <= 2 * DAYS + 9 * 100 + len(pages) * 60


def test_a_page_of_customers_counts_a_limited_number_of_cut_hours(
    service: EventService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periods, "MOST_CUT_HOURS", 10)
    at = HOUR_ZERO + 18.6 / 24 * DAY
    for number in range(30):
        service.ingest([event("t", customer_id=f"c-{number:02}", timestamp=at)])
    calendar = Calendar(Unit.DAY, ZoneInfo("Asia/Kolkata"))
    query = CustomersQuery(replace(QUERY, calendar=calendar), prefix="c-")
    page = service.customer_buckets(query)
    assert 10 <= len(page.customers) <= 10 + 8
    assert page.next == Position(page.customers[-1].customer_id)
    rest = service.customer_buckets(replace(query, after=page.next))
    names = [part.customer_id for part in (*page.customers, *rest.customers)]
    assert names == [f"c-{number:02}" for number in range(len(names))]


def test_a_page_in_a_zone_of_half_hours_counts_few_hours_from_events(
    service: EventService, store: CountingStore
) -> None:
    service.ingest(
        [event(f"h-{day}", timestamp=HOUR_ZERO + (day + 18.6 / 24) * DAY) for day in range(DAYS)]
    )
    calendar = replace(CALENDAR, zone=ZoneInfo("Asia/Kolkata"))
    page = service.buckets(replace(QUERY, limit=10, calendar=calendar))
    assert (len(page.buckets), page.total) == (10, 2 * DAYS)
    assert store.ranges <= 4 * 12
