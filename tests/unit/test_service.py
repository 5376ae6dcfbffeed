"""The use cases on the store in memory: buckets, pages, customers; and what they read for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from events.domain.windows import EARLIEST, LATEST
from events.errors import InvalidWindow, StoreUnavailable
from events.models import (
    BucketCount,
    BucketPage,
    BucketQuery,
    CustomerPage,
    CustomerTotal,
    Event,
    Outcome,
    Verification,
    Window,
)
from events.queries.buckets import MAX_FILLED_HOURS
from events.service import EventService
from tests.support.factories import (
    DAY,
    HOUR,
    HOUR_ZERO,
    MICROSECOND,
    event,
    expected_contents,
    many_events,
)
from tests.support.fakes import FIRST_INGESTED_AT, MemoryStore, SpyStore

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE
MINUTE = timedelta(minutes=1)
THREE_HOURS = Window(HOUR_ZERO, HOUR_ZERO + 3 * HOUR)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def spy(store: MemoryStore) -> SpyStore:
    return SpyStore(store)


@pytest.fixture
def service(spy: SpyStore) -> Iterator[EventService]:
    with closing(EventService(spy, write_threads=2)) as service:
        yield service


def ask(
    start: datetime,
    end: datetime,
    *event_types: str,
    customer_id: str = "acme",
    is_grouped: bool = False,
    is_filled: bool = False,
    limit: int = 1_000,
    from_start: datetime | None = None,
) -> BucketQuery:
    return BucketQuery(
        customer_id,
        Window(start, end),
        frozenset(event_types),
        is_grouped=is_grouped,
        is_filled=is_filled,
        limit=limit,
        from_start=from_start,
    )


def by_hand(events: Sequence[Event], query: BucketQuery) -> tuple[BucketCount, ...]:
    """All buckets of a question, from the raw events."""
    start, end = query.window.start, query.window.end
    counts: dict[datetime, Counter[str]] = {}
    for customer_id, event_type, _, at in set(events):
        is_asked = not query.event_types or event_type in query.event_types
        if customer_id == query.customer_id and start <= at < end and is_asked:
            hour = at.replace(minute=0, second=0, microsecond=0)
            counts.setdefault(hour, Counter())[event_type] += 1
    if query.is_filled and start < end:
        hour = start.replace(minute=0, second=0, microsecond=0)
        while hour < end:
            counts.setdefault(hour, Counter())
            hour += HOUR
    return tuple(
        BucketCount(
            hour,
            counts[hour].total(),
            hour < start or hour + HOUR > end,
            dict(counts[hour]) if query.is_grouped else None,
        )
        for hour in sorted(counts)
    )


def at(hours: float, *, minutes: float = 0) -> datetime:
    return HOUR_ZERO + hours * HOUR + minutes * MINUTE


#: Three in each of hours 0, 1 and 2, the first on the hour and the last just before the next.
NINE = [
    event(f"t-{hour}-{place}", event_type=kind, timestamp=at(hour) + offset)
    for hour in range(3)
    for place, (kind, offset) in enumerate(
        [("call", 0 * HOUR), ("login", 30 * MINUTE), ("call", HOUR - MICROSECOND)]
    )
]


# --- windows --------------------------------------------------------------------------------------


def test_whole_hours_give_one_bucket_each(service: EventService) -> None:
    service.ingest(NINE)
    assert service.buckets(ask(at(0), at(3))) == BucketPage(
        customer_id="acme",
        window=THREE_HOURS,
        total=9,
        last_ingested_at=FIRST_INGESTED_AT,
        buckets=(BucketCount(at(0), 3), BucketCount(at(1), 3), BucketCount(at(2), 3)),
        next_start=None,
    )


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # The first hour is cut.
        (at(0) + MICROSECOND, at(2), [(0, 2, True), (1, 3, False)]),
        (at(0, minutes=30), at(2), [(0, 2, True), (1, 3, False)]),
        (at(0, minutes=30) + MICROSECOND, at(2), [(0, 1, True), (1, 3, False)]),
        # The last hour is cut.
        (at(1), at(2) + MICROSECOND, [(1, 3, False), (2, 1, True)]),
        (at(1), at(2, minutes=30), [(1, 3, False), (2, 1, True)]),
        (at(1), at(3) - MICROSECOND, [(1, 3, False), (2, 2, True)]),
        # Both are.
        (at(0, minutes=10), at(2, minutes=10), [(0, 2, True), (1, 3, False), (2, 1, True)]),
        (at(0, minutes=10), at(1, minutes=10), [(0, 2, True), (1, 1, True)]),
        # Both ends are in one hour.
        (at(1), at(1, minutes=30), [(1, 1, True)]),
        (at(1), at(1, minutes=30) + MICROSECOND, [(1, 2, True)]),
        (at(1, minutes=30), at(1, minutes=31), [(1, 1, True)]),
        (at(1, minutes=20), at(2), [(1, 2, True)]),
        (at(1, minutes=31), at(1, minutes=59), []),
        # Empty.
        (at(1), at(1), []),
        (at(1, minutes=30), at(1, minutes=30), []),
        # Elsewhere.
        (at(3), at(24), []),
        (at(-24), at(0), []),
        (at(-24), at(0, minutes=10), [(0, 1, True)]),
        # Everything.
        (EARLIEST, LATEST, [(0, 3, False), (1, 3, False), (2, 3, False)]),
    ],
)
def test_a_window_counts_from_its_start_to_just_before_its_end(
    service: EventService, start: datetime, end: datetime, expected: list[tuple[int, int, bool]]
) -> None:
    service.ingest(NINE)
    page = service.buckets(ask(start, end))
    assert page.buckets == tuple(
        BucketCount(at(hour), count, is_partial) for hour, count, is_partial in expected
    )
    assert page.total == sum(count for _, count, _ in expected)
    assert page.next_start is None


def test_every_window_is_what_one_would_count_by_hand(service: EventService) -> None:
    events = many_events(300, hours=50, event_types=3)
    service.ingest(events)
    for first in range(-90, 3_600, 173):
        for length in (0, 1, 29, 60, 61, 600, 1_439, 1_440, 4_000):
            for kinds in ((), ("type-1",), ("type-0", "type-2", "nothing")):
                query = ask(
                    at(0, minutes=first),
                    at(0, minutes=first + length),
                    *kinds,
                    customer_id="customer-0",
                    is_grouped=bool(length % 2),
                    is_filled=bool(first % 2),
                )
                expected = by_hand(events, query)
                page = service.buckets(query)
                assert page.buckets == expected
                assert page.total == sum(each.count for each in expected)


def test_events_at_the_ends_of_time_are_counted(service: EventService) -> None:
    service.ingest([event("t-1", timestamp=EARLIEST), event("t-2", timestamp=LATEST)])
    page = service.buckets(ask(EARLIEST, LATEST))
    assert [(each.start, each.count) for each in page.buckets] == [
        (EARLIEST, 1),
        (LATEST.replace(minute=0, second=0, microsecond=0), 1),
    ]
    assert service.buckets(ask(LATEST - MINUTE, LATEST)).total == 1
    assert service.buckets(ask(EARLIEST, EARLIEST + MINUTE)).total == 1
    assert service.buckets(ask(LATEST - DAY, LATEST, is_filled=True)).total == 1


def test_a_customer_that_nobody_knows_has_no_buckets(service: EventService) -> None:
    service.ingest(NINE)
    query = ask(at(0), at(3, minutes=30), customer_id="nobody")
    assert service.buckets(query) == BucketPage("nobody", query.window, 0, None, ())


def test_thirty_years_with_few_events_are_one_read_and_few_buckets(
    service: EventService, spy: SpyStore
) -> None:
    days = [0, 1, 400, 5_000, 10_949]
    events = [event(f"t-{day}", timestamp=at(5) + day * DAY) for day in days]
    service.ingest(events)
    spy.calls.clear()
    page = service.buckets(ask(at(0), at(0) + 10_950 * DAY))
    assert page.buckets == tuple(BucketCount(at(5) + day * DAY, 1) for day in days)
    assert spy.calls == [("day_counts", ("acme", "2021-03-01", "2051-02-21", False))]


# --- what is read ---------------------------------------------------------------------------------


def test_whole_hours_never_touch_the_raw_events(service: EventService, spy: SpyStore) -> None:
    service.ingest(NINE)
    spy.calls.clear()
    service.buckets(ask(at(0), at(3)))
    service.buckets(ask(at(1), at(49), is_grouped=True))
    service.buckets(ask(at(-5), at(24), "call", is_filled=True))
    assert spy.calls == [
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", False)),
        ("day_counts", ("acme", "2021-03-01", "2021-03-03", True)),
        ("day_counts", ("acme", "2021-02-28", "2021-03-01", True)),
    ]


def test_of_the_raw_events_only_the_cut_hours_are_read(
    service: EventService, spy: SpyStore
) -> None:
    service.ingest(NINE)
    spy.calls.clear()
    service.buckets(ask(at(0, minutes=10), at(2, minutes=20)))
    service.buckets(ask(at(1, minutes=10), at(1, minutes=20), is_grouped=True))
    service.buckets(ask(at(1), at(2, minutes=20), "login"))
    assert spy.calls == [
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", False)),
        (
            "count_events",
            ("acme", [Window(at(0, minutes=10), at(1)), Window(at(2), at(2, minutes=20))]),
        ),
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", True)),
        ("count_events_by_type", ("acme", [Window(at(1, minutes=10), at(1, minutes=20))])),
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", True)),
        ("count_events_by_type", ("acme", [Window(at(2), at(2, minutes=20))])),
    ]


def test_cut_hours_without_events_are_not_read(service: EventService, spy: SpyStore) -> None:
    service.ingest([event("t-1", event_type="call", timestamp=at(5, minutes=30))])
    spy.calls.clear()
    assert service.buckets(ask(at(2, minutes=10), at(9, minutes=20))).total == 1
    assert service.buckets(ask(at(5, minutes=10), at(9), "login")).total == 0
    assert spy.names() == ["day_counts", "day_counts"]


def test_an_empty_window_reads_nothing(service: EventService, spy: SpyStore) -> None:
    service.buckets(ask(at(1, minutes=5), at(1, minutes=5), is_filled=True))
    assert spy.calls == []


@pytest.mark.parametrize("is_grouped", [False, True])
def test_a_busy_hour_is_counted_in_slices_that_are_the_hour(
    service: EventService, spy: SpyStore, store: MemoryStore, is_grouped: bool
) -> None:
    events = [
        event(f"t-{place}", event_type=f"type-{place % 2}", timestamp=at(7) + place * HOUR / 9_000)
        for place in range(9_000)
    ]
    for each in events:
        store.put_event(each)
    store.set_counter("acme", "2021-03-01", None, {7: 9_000})
    for kind in range(2):
        store.set_counter("acme", "2021-03-01", f"type-{kind}", {7: 4_500})
    query = ask(at(7) + MICROSECOND, at(8) - MICROSECOND, is_grouped=is_grouped)
    assert service.buckets(query).buckets == by_hand(events, query)
    _, (_, pieces) = spy.calls[-1]
    assert isinstance(pieces, list)
    assert 1 < len(pieces) <= 8
    assert [query.window.start, *(each.end for each in pieces)] == [
        *(each.start for each in pieces),
        query.window.end,
    ]


# --- types ----------------------------------------------------------------------------------------


def test_a_type_that_is_asked_for_is_counted_alone(service: EventService) -> None:
    service.ingest(NINE)
    assert service.buckets(ask(at(0), at(3), "login")).buckets == tuple(
        BucketCount(at(hour), 1) for hour in range(3)
    )
    assert service.buckets(ask(at(0), at(3), "login", "call", "nothing")).total == 9
    assert service.buckets(ask(at(0), at(3), "nothing")).buckets == ()
    # The login of hour 0 is at half past.
    assert service.buckets(ask(at(0, minutes=31), at(2), "login")).buckets == (
        BucketCount(at(1), 1),
    )


def test_buckets_are_grouped_by_type(service: EventService) -> None:
    service.ingest(NINE)
    page = service.buckets(ask(at(0, minutes=20), at(2), is_grouped=True))
    assert page.buckets == (
        BucketCount(at(0), 2, True, {"call": 1, "login": 1}),
        BucketCount(at(1), 3, False, {"call": 2, "login": 1}),
    )
    assert page.total == 5
    assert service.buckets(ask(at(0), at(1), "call", is_grouped=True)).buckets == (
        BucketCount(at(0), 2, False, {"call": 2}),
    )


def test_types_stand_in_order_in_every_group(service: EventService) -> None:
    kinds = ["z", "a", "é", "b#c", "b-c"]
    service.ingest([event(kind, event_type=kind, timestamp=at(0, minutes=5)) for kind in kinds])
    for start in (at(0), at(0, minutes=1)):
        (bucket,) = service.buckets(ask(start, at(1), is_grouped=True)).buckets
        assert list((bucket.counts or {}).items()) == [(kind, 1) for kind in sorted(kinds)]


# --- filling --------------------------------------------------------------------------------------


def test_filling_gives_every_hour_that_the_window_touches(service: EventService) -> None:
    service.ingest([event("t-1", timestamp=at(1, minutes=30))])
    page = service.buckets(ask(at(0, minutes=50), at(3, minutes=10), is_filled=True))
    assert page.buckets == (
        BucketCount(at(0), 0, True),
        BucketCount(at(1), 1),
        BucketCount(at(2), 0),
        BucketCount(at(3), 0, True),
    )
    assert page.total == 1


def test_filled_hours_without_events_have_no_types(service: EventService) -> None:
    service.ingest(NINE[:1])
    page = service.buckets(ask(at(0), at(2), is_filled=True, is_grouped=True))
    assert page.buckets == (
        BucketCount(at(0), 1, False, {"call": 1}),
        BucketCount(at(1), 0, False, {}),
    )


def test_filling_an_empty_window_gives_nothing(service: EventService) -> None:
    assert service.buckets(ask(at(1), at(1), is_filled=True)).buckets == ()
    assert service.buckets(ask(at(1, minutes=9), at(1, minutes=9), is_filled=True)).buckets == ()


def test_filling_is_allowed_up_to_its_cap(service: EventService) -> None:
    query = ask(at(0), at(0) + MAX_FILLED_HOURS * HOUR, is_filled=True, limit=20_000)
    assert len(service.buckets(query).buckets) == MAX_FILLED_HOURS == 10_000


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (at(0), at(0) + 10_001 * HOUR, "10,001"),
        (at(0) + MICROSECOND, at(0) + 10_000 * HOUR + MICROSECOND, "10,001"),
        (at(0), at(0) + 10_000 * HOUR + MICROSECOND, "10,001"),
        (EARLIEST, LATEST, "87,649,416"),
    ],
)
def test_filling_beyond_its_cap_is_an_error_that_names_it(
    service: EventService, spy: SpyStore, start: datetime, end: datetime, hours: str
) -> None:
    with pytest.raises(InvalidWindow, match=f"10,000.*{hours}") as caught:
        service.buckets(ask(start, end, is_filled=True))
    assert caught.value.parameter == "fill"
    assert spy.calls == []


# --- pages ----------------------------------------------------------------------------------------


def walk(service: EventService, query: BucketQuery, limit: int) -> list[BucketPage]:
    pages: list[BucketPage] = []
    start: datetime | None = None
    while not pages or start is not None:
        pages.append(
            service.buckets(
                BucketQuery(
                    query.customer_id,
                    query.window,
                    query.event_types,
                    query.is_grouped,
                    query.is_filled,
                    limit,
                    start,
                )
            )
        )
        start = pages[-1].next_start
    return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 30, 49, 50, 51])
@pytest.mark.parametrize(("is_filled", "is_grouped"), [(False, False), (True, False), (True, True)])
def test_pages_together_are_the_one_page_that_holds_all(
    service: EventService, limit: int, is_filled: bool, is_grouped: bool
) -> None:
    events = many_events(60, hours=50)
    service.ingest(events)
    query = ask(
        at(0, minutes=20),
        at(49, minutes=40),
        customer_id="customer-0",
        is_filled=is_filled,
        is_grouped=is_grouped,
    )
    whole = service.buckets(query)
    pages = walk(service, query, limit)
    assert whole.buckets == by_hand(events, query)
    assert tuple(bucket for page in pages for bucket in page.buckets) == whole.buckets
    assert all(len(page.buckets) == limit for page in pages[:-1])
    assert 1 <= len(pages[-1].buckets) <= limit
    # Of the whole window, on each.
    assert {(page.total, page.last_ingested_at) for page in pages} == {
        (whole.total, whole.last_ingested_at)
    }


def test_a_page_that_starts_where_an_hour_has_no_events_goes_on_with_the_next(
    service: EventService,
) -> None:
    service.ingest([event("t-1", timestamp=at(1)), event("t-2", timestamp=at(9))])
    page = service.buckets(ask(at(0), at(24), from_start=at(2)))
    assert page.buckets == (BucketCount(at(9), 1),)
    assert page.total == 2


@pytest.mark.parametrize(
    "start",
    [at(-1), at(3), at(4), at(1, minutes=30), at(1) + MICROSECOND, at(0, minutes=30)],
)
def test_a_page_that_starts_at_no_hour_of_the_window_is_an_error(
    service: EventService, spy: SpyStore, start: datetime
) -> None:
    with pytest.raises(InvalidWindow) as caught:
        service.buckets(ask(at(0, minutes=30), at(3), from_start=start))
    assert caught.value.parameter == "cursor"
    assert spy.calls == []


def test_the_first_hour_of_a_cut_window_can_start_a_page(service: EventService) -> None:
    service.ingest(NINE)
    page = service.buckets(ask(at(0, minutes=30), at(3), from_start=at(0), limit=1))
    assert (page.buckets, page.next_start) == ((BucketCount(at(0), 2, True),), at(1))


# --- when it last changed -------------------------------------------------------------------------


def test_the_last_ingest_is_that_of_the_days_that_the_window_touches() -> None:
    clock = [FIRST_INGESTED_AT]
    store = MemoryStore(now=lambda: clock[0])
    with closing(EventService(store, write_threads=1)) as service:
        # In the order of their days, but for the first, which came last.
        for place, day in enumerate([1, 2, 3, 0]):
            clock[0] = FIRST_INGESTED_AT + place * MINUTE
            service.ingest([event(f"t-{day}", timestamp=at(0) + day * DAY)])
        clock[0] += MINUTE
        assert service.ingest([event("t-2", timestamp=at(0) + 2 * DAY)]) == [DUPLICATE]

        def last(first_day: int, last_day: int) -> datetime | None:
            query = ask(at(0) + first_day * DAY, at(0) + last_day * DAY)
            return service.buckets(query).last_ingested_at

        assert last(0, 4) == FIRST_INGESTED_AT + 3 * MINUTE
        assert last(1, 4) == FIRST_INGESTED_AT + 2 * MINUTE
        assert last(1, 2) == FIRST_INGESTED_AT
        assert last(4, 9) is None
        assert last(0, 0) is None


# --- customers ------------------------------------------------------------------------------------


def test_customers_are_listed_with_their_events_in_the_window(service: EventService) -> None:
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
def test_pages_list_every_customer_once(service: EventService, limit: int) -> None:
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
    totals = Counter(each.customer_id for each in events)
    assert found == [CustomerTotal(name, totals[name]) for name in sorted(totals)]


# --- writing, and the rest ------------------------------------------------------------------------


def test_an_ingest_gives_the_outcome_of_each_event_in_order(
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


def test_what_is_dropped_is_not_written_and_can_be_sent_again() -> None:
    store = MemoryStore()
    is_under_way, gate = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "write":
            is_under_way.set()
            assert gate.wait(20)

    with closing(EventService(SpyStore(store, hold), write_threads=1)) as service:
        first = service.submit([event("t-1")])
        assert is_under_way.wait(20)
        second = service.submit([event("t-2")])
        service.drop_waiting()
        gate.set()
        service.drain()
        assert first.wait() == [INSERTED]
        with pytest.raises(StoreUnavailable):
            second.wait()
        assert store.contents() == expected_contents([event("t-1")])
        assert service.ingest([event("t-1"), event("t-2")]) == [DUPLICATE, INSERTED]


def test_closing_writes_what_was_submitted_and_closes_the_store() -> None:
    store = MemoryStore()
    service = EventService(store, write_threads=1)
    ticket = service.submit(many_events(50, hours=96))
    service.close()
    assert ticket.is_done()
    assert store.is_closed
    assert store.contents() == expected_contents(many_events(50, hours=96))


def test_the_store_is_checked_and_its_tables_are_made_when_asked(
    service: EventService, spy: SpyStore
) -> None:
    service.check()
    service.create_tables(patience_seconds=3)
    service.create_tables()
    assert spy.calls == [("check", (0,)), ("create_tables", (3,)), ("create_tables", (None,))]
