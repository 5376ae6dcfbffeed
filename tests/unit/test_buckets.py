"""Buckets by hour, and what is read for them."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import pytest

from events.domain.windows import EARLIEST, LATEST
from events.models import BucketCount, BucketPage, Outcome, Window
from events.service import EventService
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, event, many_events
from tests.support.queries import MINUTE, NINE, ask, at, by_hand, service, spy, store
from tests.support.sqlstore import FIRST_INGESTED_AT, MemoryStore, SpyStore

__all__ = ["service", "spy", "store"]
INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE
THREE_HOURS = Window(HOUR_ZERO, HOUR_ZERO + 3 * HOUR)


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
def test_a_window_includes_its_start_and_excludes_its_end(
    service: EventService, start: datetime, end: datetime, expected: list[tuple[int, int, bool]]
) -> None:
    service.ingest(NINE)
    page = service.buckets(ask(start, end))
    assert page.buckets == tuple(
        BucketCount(at(hour), count, is_partial) for hour, count, is_partial in expected
    )
    assert page.total == sum(count for _, count, _ in expected)
    assert page.next_start is None


def test_every_window_equals_a_count_by_hand(service: EventService) -> None:
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
                assert page.total == sum(item.count for item in expected)


def test_events_at_the_ends_of_time_are_counted(service: EventService) -> None:
    service.ingest([event("t-1", timestamp=EARLIEST), event("t-2", timestamp=LATEST)])
    page = service.buckets(ask(EARLIEST, LATEST))
    assert [(bucket.start, bucket.count) for bucket in page.buckets] == [
        (EARLIEST, 1),
        (LATEST.replace(minute=0, second=0, microsecond=0), 1),
    ]
    assert service.buckets(ask(LATEST - MINUTE, LATEST)).total == 1
    assert service.buckets(ask(EARLIEST, EARLIEST + MINUTE)).total == 1
    assert service.buckets(ask(LATEST - DAY, LATEST, is_filled=True)).total == 1


def test_an_unknown_customer_has_no_buckets(service: EventService) -> None:
    service.ingest(NINE)
    query = ask(at(0), at(3, minutes=30), customer_id="nobody")
    assert service.buckets(query) == BucketPage("nobody", query.window, 0, None, ())


def test_thirty_years_with_few_events_are_one_read(service: EventService, spy: SpyStore) -> None:
    days = [0, 1, 400, 5_000, 10_949]
    events = [event(f"t-{day}", timestamp=at(5) + day * DAY) for day in days]
    service.ingest(events)
    spy.calls.clear()
    page = service.buckets(ask(at(0), at(0) + 10_950 * DAY))
    assert page.buckets == tuple(BucketCount(at(5) + day * DAY, 1) for day in days)
    assert spy.calls == [("day_counts", ("acme", "2021-03-01", "2051-02-21", False, None))]


def test_whole_hours_do_not_read_raw_events(service: EventService, spy: SpyStore) -> None:
    service.ingest(NINE)
    spy.calls.clear()
    service.buckets(ask(at(0), at(3)))
    service.buckets(ask(at(1), at(49), is_grouped=True))
    service.buckets(ask(at(-5), at(24), "call", is_filled=True))
    assert spy.calls == [
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", False, None)),
        ("day_counts", ("acme", "2021-03-01", "2021-03-03", True, None)),
        ("day_counts", ("acme", "2021-02-28", "2021-03-01", True, None)),
    ]


def test_only_partial_hours_read_raw_events(service: EventService, spy: SpyStore) -> None:
    service.ingest(NINE)
    spy.calls.clear()
    service.buckets(ask(at(0, minutes=10), at(2, minutes=20)))
    service.buckets(ask(at(1, minutes=10), at(1, minutes=20), is_grouped=True))
    service.buckets(ask(at(1), at(2, minutes=20), "login"))
    assert spy.calls == [
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", False, None)),
        (
            "count_events",
            ("acme", [Window(at(0, minutes=10), at(1)), Window(at(2), at(2, minutes=20))]),
        ),
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", True, None)),
        ("count_events_by_type", ("acme", [Window(at(1, minutes=10), at(1, minutes=20))])),
        ("day_counts", ("acme", "2021-03-01", "2021-03-01", True, None)),
        ("count_events_by_type", ("acme", [Window(at(2), at(2, minutes=20))])),
    ]


def test_partial_hours_without_events_are_not_read(service: EventService, spy: SpyStore) -> None:
    service.ingest([event("t-1", event_type="call", timestamp=at(5, minutes=30))])
    spy.calls.clear()
    assert service.buckets(ask(at(2, minutes=10), at(9, minutes=20))).total == 1
    assert service.buckets(ask(at(5, minutes=10), at(9), "login")).total == 0
    assert spy.names() == ["day_counts", "day_counts"]


def test_an_empty_window_reads_nothing(service: EventService, spy: SpyStore) -> None:
    service.buckets(ask(at(1, minutes=5), at(1, minutes=5), is_filled=True))
    assert spy.calls == []


@pytest.mark.slow
@pytest.mark.parametrize("is_grouped", [False, True])
def test_a_busy_partial_hour_is_counted_in_slices(
    service: EventService, spy: SpyStore, store: MemoryStore, is_grouped: bool
) -> None:
    events = [
        event(f"t-{place}", event_type=f"type-{place % 2}", timestamp=at(7) + place * HOUR / 9_000)
        for place in range(9_000)
    ]
    store.write(events)
    query = ask(at(7) + MICROSECOND, at(8) - MICROSECOND, is_grouped=is_grouped)
    assert service.buckets(query).buckets == by_hand(events, query)
    _, (_, pieces) = spy.calls[-1]
    assert isinstance(pieces, list)
    assert 1 < len(pieces) <= 8
    assert [query.window.start, *(item.end for item in pieces)] == [
        *(item.start for item in pieces),
        query.window.end,
    ]


def test_the_last_ingest_is_of_the_days_of_the_window() -> None:
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
