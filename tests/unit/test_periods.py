"""Days, weeks, months, exports and summaries on a store in memory, and what they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from events.domain.calendars import period_at, periods
from events.domain.windows import ALL_TIME, LATEST
from events.errors import InvalidWindow
from events.models import BucketCount, BucketPage, BucketQuery, Calendar, Event, Unit, Window
from events.queries.periods import MOST_CUT_HOURS
from events.queries.summary import Summary
from events.service import EventService
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, event, many_events
from tests.support.sqlstore import FIRST_INGESTED_AT, MemoryStore, SpyStore

MINUTE = timedelta(minutes=1)
KOLKATA = ZoneInfo("Asia/Kolkata")
BERLIN = ZoneInfo("Europe/Berlin")
MARCH = Window(HOUR_ZERO, HOUR_ZERO + 31 * DAY)
#: As Kolkata, with three quarters of an hour.
KATHMANDU = pytest.param("Asia/Kathmandu", marks=pytest.mark.slow)
INDIAN_DAYS = Calendar(Unit.DAY, KOLKATA)


@pytest.fixture
def spy() -> SpyStore:
    return SpyStore(MemoryStore())


@pytest.fixture
def service(spy: SpyStore) -> Iterator[EventService]:
    with closing(EventService(spy, write_threads=2)) as service:
        yield service


def by_hand(events: list[Event], query: BucketQuery, calendar: Calendar) -> tuple[BucketCount, ...]:
    """All periods of a question, from the raw events."""
    window = query.window
    counts: dict[Window, Counter[str]] = {}
    if query.is_filled:
        counts = {period: Counter() for period in periods(calendar, window)}
    for customer_id, event_type, _, at in set(events):
        is_asked = not query.event_types or event_type in query.event_types
        if customer_id == query.customer_id and window.start <= at < window.end and is_asked:
            counts.setdefault(period_at(calendar, at), Counter())[event_type] += 1
    zeros = {name: 0 for tally in counts.values() for name in tally if query.is_filled}
    return tuple(
        BucketCount(
            period.start,
            counts[period].total(),
            period.start < window.start or window.end < period.end,
            dict(sorted((zeros | counts[period]).items())) if query.is_grouped else None,
            period.end,
        )
        for period in sorted(counts, key=lambda period: period.start)
    )


def all_pages(service: EventService, query: BucketQuery) -> list[BucketPage]:
    pages = [service.buckets(query)]
    while pages[-1].next_start is not None:
        pages.append(service.buckets(replace(query, from_start=pages[-1].next_start)))
    return pages


def test_a_day_has_the_events_of_its_local_date(service: EventService) -> None:
    # In Kolkata the 2nd of March begins at 18:30 UTC, inside an hour.
    midnight = HOUR_ZERO + 18.5 * HOUR
    service.ingest(
        [event(f"t-{number}", timestamp=midnight + number * MICROSECOND) for number in range(-2, 3)]
    )
    assert service.buckets(BucketQuery("acme", MARCH, calendar=INDIAN_DAYS)) == BucketPage(
        "acme",
        MARCH,
        total=5,
        last_ingested_at=FIRST_INGESTED_AT,
        buckets=(
            BucketCount(midnight - DAY, 2, is_partial=True, end=midnight),
            BucketCount(midnight, 3, end=midnight + DAY),
        ),
    )


@pytest.mark.parametrize(
    "zone",
    ["UTC", "Asia/Kolkata", pytest.param("Europe/Berlin", marks=pytest.mark.slow), KATHMANDU],
)
@pytest.mark.parametrize("unit", [Unit.DAY, Unit.WEEK, Unit.MONTH])
@pytest.mark.parametrize("is_filled", [False, True])
@pytest.mark.parametrize(
    "window",
    [
        MARCH,
        Window(HOUR_ZERO + 3 * DAY + 18.25 * HOUR, HOUR_ZERO + 40 * DAY + 18.75 * HOUR),
        Window(HOUR_ZERO + 18.4 * HOUR, HOUR_ZERO + 18.6 * HOUR),
        Window(HOUR_ZERO, HOUR_ZERO),
    ],
    ids=["whole hours", "cut hours that midnights cut too", "one hour", "empty"],
)
def test_periods_pages_and_exports_equal_a_count_by_hand(
    service: EventService, zone: str, unit: Unit, is_filled: bool, window: Window
) -> None:
    events = many_events(600, hours=45 * 24)
    service.ingest(events)
    calendar = Calendar(unit, ZoneInfo(zone))
    for types, is_grouped in (
        (frozenset[str](), False),
        (frozenset[str](), True),
        (frozenset({"type-1"}), True),
    ):
        hours = BucketQuery("customer-0", window, types, is_grouped, is_filled, limit=10_000)
        query = replace(hours, calendar=calendar)
        expected = by_hand(events, query, calendar)
        page = service.buckets(query)
        assert (page.buckets, page.next_start) == (expected, None)
        assert page.total == sum(row.count for row in expected)
        assert page.total == service.buckets(hours).total
        assert tuple(service.all_buckets(query)) == expected
        pages = all_pages(service, replace(query, limit=7))
        assert tuple(row for page in pages for row in page.buckets) == expected
        assert {page.total for page in pages} == {page.total}
        assert tuple(service.all_buckets(hours)) == service.buckets(hours).buckets


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"])
def test_hours_of_a_zone_equal_a_count_by_hand(service: EventService, zone: str) -> None:
    events = many_events(200, hours=48)
    service.ingest(events)
    calendar = Calendar(Unit.HOUR, ZoneInfo(zone))
    window = Window(HOUR_ZERO + 3.1 * HOUR, HOUR_ZERO + 40.6 * HOUR)
    query = BucketQuery("customer-0", window, is_grouped=True, calendar=calendar, is_filled=True)
    expected = by_hand(events, query, calendar)
    assert service.buckets(query).buckets == tuple(service.all_buckets(query)) == expected
    pages = all_pages(service, replace(query, limit=7))
    assert tuple(row for page in pages for row in page.buckets) == expected


def test_whole_hours_are_never_counted_from_the_raw_events(
    service: EventService, spy: SpyStore
) -> None:
    service.ingest(many_events(300, hours=31 * 24))
    spy.calls.clear()
    query = BucketQuery("customer-0", MARCH, calendar=Calendar(Unit.DAY, BERLIN))
    service.buckets(query)
    list(service.all_buckets(query))
    assert spy.names() == ["day_counts", "day_counts"]


def test_hours_cut_by_midnight_are_counted_in_one_call(
    service: EventService, spy: SpyStore
) -> None:
    service.ingest([event("t", timestamp=HOUR_ZERO + 18 * HOUR + 40 * MINUTE)])
    spy.calls.clear()
    service.buckets(BucketQuery("acme", MARCH, calendar=INDIAN_DAYS))
    assert spy.names() == ["day_counts", "count_events"]
    hour = HOUR_ZERO + 18 * HOUR
    cut = [Window(hour, hour + 30 * MINUTE), Window(hour + 30 * MINUTE, hour + HOUR)]
    assert spy.calls[1] == ("count_events", ("acme", cut))


@pytest.mark.parametrize("unit", Unit)
def test_an_export_of_many_counters_equals_the_page(service: EventService, unit: Unit) -> None:
    # 600 counters of types: not all are held together, and what is does not end with a day's last.
    service.ingest(
        [
            event(f"t-{day}", timestamp=HOUR_ZERO + day * DAY + 18.75 * HOUR, event_type=event_type)
            for day in range(200)
            for event_type in "abc"
        ]
    )
    window = Window(HOUR_ZERO, HOUR_ZERO + 200 * DAY)
    query = BucketQuery("acme", window, is_grouped=True)
    assert tuple(service.all_buckets(query)) == service.buckets(query).buckets
    query = replace(query, calendar=Calendar(unit, KOLKATA))
    assert tuple(service.all_buckets(query)) == service.buckets(query).buckets


def test_a_page_with_many_cut_hours_ends_early(
    service: EventService,
) -> None:
    days = MOST_CUT_HOURS + 50
    events = [
        event(f"t-{day}", timestamp=HOUR_ZERO + day * DAY + 18.5 * HOUR) for day in range(days)
    ]
    service.ingest(events)
    window = Window(HOUR_ZERO, HOUR_ZERO + days * DAY)
    pages = all_pages(service, BucketQuery("acme", window, limit=10_000, calendar=INDIAN_DAYS))
    # The hour that a midnight cuts is of two days, the first of which has none of its events.
    assert [(len(page.buckets), page.total) for page in pages] == [(399, days), (51, days)]


def test_a_page_with_many_events_in_cut_hours_ends_early(
    service: EventService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.queries.periods.MOST_CUT_EVENTS", 6)
    monkeypatch.setattr("events.queries.periods._CUT_EVENTS_AT_A_TIME", 2)
    days = 7
    events = [
        event(f"t-{day}-{minute}", timestamp=HOUR_ZERO + day * DAY + 18 * HOUR + minute * MINUTE)
        for day in range(days)
        for minute in (15, 45)
    ]
    service.ingest(events)
    window = Window(HOUR_ZERO, HOUR_ZERO + days * DAY)
    pages = all_pages(service, BucketQuery("acme", window, calendar=INDIAN_DAYS))
    # A page counts three hours that a midnight cuts, of two events each. The last period of such a
    # page is left to the next page, because its second half may still grow.
    assert [len(page.buckets) for page in pages] == [3, 3, 2]
    assert {page.total for page in pages} == {len(events)}


def test_all_of_time_is_a_range(service: EventService) -> None:
    last = LATEST - MICROSECOND
    service.ingest([event("t-0"), event("t-1", timestamp=last), event("t-2", timestamp=LATEST)])
    calendar = Calendar(Unit.MONTH, KOLKATA)
    page = service.buckets(BucketQuery("acme", ALL_TIME, calendar=calendar))
    assert [(row.count, row.is_partial) for row in page.buckets] == [(1, False), (2, False)]


def test_filling_too_many_periods_is_refused(service: EventService) -> None:
    query = BucketQuery("acme", ALL_TIME, is_filled=True)
    message = "fill=zero gives at most 10,000 buckets, and this range has more"
    for ask in (service.buckets, service.all_buckets):
        with pytest.raises(InvalidWindow, match=message):
            ask(replace(query, calendar=Calendar(Unit.DAY, BERLIN)))
    with pytest.raises(InvalidWindow, match="at most 10,000 hours"):
        service.all_buckets(query)


@pytest.mark.parametrize("start", [HOUR_ZERO, HOUR_ZERO + 18.5 * HOUR + 60 * DAY])
def test_a_page_starts_where_a_period_of_the_range_starts(
    service: EventService, start: datetime
) -> None:
    with pytest.raises(InvalidWindow, match="invalid cursor"):
        service.buckets(BucketQuery("acme", MARCH, from_start=start, calendar=INDIAN_DAYS))


def test_an_export_reads_the_counters_once(service: EventService, spy: SpyStore) -> None:
    events = [event(f"t-{day}", timestamp=HOUR_ZERO + day * DAY) for day in range(1_200)]
    service.ingest(events)
    spy.calls.clear()
    query = BucketQuery("acme", Window(HOUR_ZERO, HOUR_ZERO + 2_000 * DAY))
    assert [row.start for row in service.all_buckets(query)] == [row.timestamp for row in events]
    months = service.all_buckets(replace(query, calendar=Calendar(Unit.MONTH, BERLIN)))
    assert sum(row.count for row in months) == 1_200
    assert spy.names() == ["day_counts", "day_counts"]


# --- summaries ------------------------------------------------------------------------------------


def test_a_summary_leaves_voided_events_out(service: EventService) -> None:
    events = [
        event("t-0", timestamp=HOUR_ZERO + 10 * MINUTE),
        event("t-1", timestamp=HOUR_ZERO + 20 * MINUTE),
        event("t-2", timestamp=HOUR_ZERO + 2 * HOUR, event_type="login"),
        event("t-3", timestamp=HOUR_ZERO + 2 * HOUR + 1 * MINUTE),
        event("t-4", timestamp=HOUR_ZERO + 3 * HOUR),
        event("t-5", timestamp=HOUR_ZERO + 3 * HOUR + 59 * MINUTE),
    ]
    service.ingest(events)
    service.void([events[0], events[5]], reason="wrong")
    assert service.summary("acme", ALL_TIME) == Summary(
        customer_id="acme",
        window=ALL_TIME,
        total=4,
        by_type={"api_call": 3, "login": 1},
        first_event_at=events[1].timestamp,
        last_event_at=events[4].timestamp,
        busiest=BucketCount(HOUR_ZERO + 2 * HOUR, 2),
        last_ingested_at=service.buckets(BucketQuery("acme", ALL_TIME)).last_ingested_at,
    )


def test_a_summary_of_a_range(service: EventService) -> None:
    events = [event(f"t-{at}", timestamp=HOUR_ZERO + at * MINUTE) for at in (10, 40, 50, 70)]
    service.ingest(events)
    window = Window(HOUR_ZERO + 30 * MINUTE, HOUR_ZERO + 60 * MINUTE)
    summary = service.summary("acme", window)
    assert (summary.total, summary.first_event_at, summary.last_event_at, summary.busiest) == (
        2,
        events[1].timestamp,
        events[2].timestamp,
        BucketCount(HOUR_ZERO, 2, is_partial=True),
    )


def test_a_summary_reads_counters_and_the_events_of_two_hours(
    service: EventService, spy: SpyStore
) -> None:
    service.ingest([event(f"t-{day}", timestamp=HOUR_ZERO + day * DAY) for day in range(10)])
    spy.calls.clear()
    service.summary("acme", ALL_TIME)
    assert spy.names() == ["day_counts", "stored_events", "stored_events"]
    first, last = (Window(at, at + HOUR) for at in (HOUR_ZERO, HOUR_ZERO + 9 * DAY))
    assert [arguments[1] for _, arguments in spy.calls[1:]] == [first, last]


def test_a_summary_skips_many_voided_events(service: EventService) -> None:
    seconds = timedelta(seconds=1)
    events = [
        event(f"t-{number}", timestamp=HOUR_ZERO + number * seconds) for number in range(1_001)
    ]
    service.ingest(events)
    service.void([row for row in events if row != events[500]], reason="wrong")
    summary = service.summary("acme", ALL_TIME)
    assert summary.total == 1
    assert summary.first_event_at == summary.last_event_at == events[500].timestamp


def test_the_busiest_hour_is_the_first_of_equal_hours(service: EventService) -> None:
    hours = (0, 5, 5, 30, 30, 31)
    service.ingest(
        [event(f"t-{index}", timestamp=HOUR_ZERO + at * HOUR) for index, at in enumerate(hours)]
    )
    assert service.summary("acme", ALL_TIME).busiest == BucketCount(HOUR_ZERO + 5 * HOUR, 2)


def test_a_summary_of_an_unknown_customer_reads_no_events(
    service: EventService, spy: SpyStore
) -> None:
    assert service.summary("nobody", ALL_TIME) == Summary(
        "nobody", ALL_TIME, 0, {}, None, None, None, None
    )
    assert spy.names() == ["day_counts"]
