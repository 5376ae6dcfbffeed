"""Event types, filling and pages of buckets."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from events.domain.windows import EARLIEST, LATEST
from events.errors import InvalidWindow
from events.models import BucketCount, BucketPage, BucketQuery
from events.queries.buckets import MAX_FILLED
from events.service import EventService
from tests.support.factories import HOUR, MICROSECOND, event, many_events
from tests.support.queries import NINE, ask, at, by_hand, service, spy, store
from tests.support.sqlstore import SpyStore

__all__ = ["service", "spy", "store"]


def test_only_the_types_asked_for_are_counted(service: EventService) -> None:
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


def test_types_are_in_order_in_every_group(service: EventService) -> None:
    types = ["z", "a", "é", "b#c", "b-c"]
    service.ingest([event(name, event_type=name, timestamp=at(0, minutes=5)) for name in types])
    for start in (at(0), at(0, minutes=1)):
        (bucket,) = service.buckets(ask(start, at(1), is_grouped=True)).buckets
        assert list((bucket.counts or {}).items()) == [(name, 1) for name in sorted(types)]


def test_filling_returns_every_hour_of_the_window(service: EventService) -> None:
    service.ingest([event("t-1", timestamp=at(1, minutes=30))])
    page = service.buckets(ask(at(0, minutes=50), at(3, minutes=10), is_filled=True))
    assert page.buckets == (
        BucketCount(at(0), 0, True),
        BucketCount(at(1), 1),
        BucketCount(at(2), 0),
        BucketCount(at(3), 0, True),
    )
    assert page.total == 1


def test_filled_buckets_have_every_type_of_the_range(service: EventService) -> None:
    service.ingest(NINE[:4])  # in hour 0 call, login, call; in hour 1 call
    query = ask(at(0), at(3), is_filled=True, is_grouped=True)
    expected = (
        BucketCount(at(0), 3, False, {"call": 2, "login": 1}),
        BucketCount(at(1), 1, False, {"call": 1, "login": 0}),
        BucketCount(at(2), 0, False, {"call": 0, "login": 0}),
    )
    assert service.buckets(query).buckets == tuple(service.all_buckets(query)) == expected
    last = service.buckets(replace(query, from_start=at(1), limit=1))
    assert last.buckets == expected[1:2]
    # Only types that the range has: hours 1 and 2 have no login.
    part = service.buckets(ask(at(1), at(3), "call", "login", is_filled=True, is_grouped=True))
    assert [bucket.counts for bucket in part.buckets] == [{"call": 1}, {"call": 0}]
    # Of hour 0 only the part without its login.
    cut = service.buckets(ask(at(0, minutes=31), at(2), is_filled=True, is_grouped=True))
    assert [bucket.counts for bucket in cut.buckets] == [{"call": 1}, {"call": 1}]
    nothing = service.buckets(ask(at(5), at(6), is_filled=True, is_grouped=True))
    assert nothing.buckets == (BucketCount(at(5), 0, False, {}),)


def test_filling_an_empty_window_returns_nothing(service: EventService) -> None:
    assert service.buckets(ask(at(1), at(1), is_filled=True)).buckets == ()
    assert service.buckets(ask(at(1, minutes=9), at(1, minutes=9), is_filled=True)).buckets == ()


def test_filling_is_allowed_up_to_its_limit(service: EventService) -> None:
    query = ask(at(0), at(0) + MAX_FILLED * HOUR, is_filled=True, limit=20_000)
    assert len(service.buckets(query).buckets) == MAX_FILLED == 10_000


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (at(0), at(0) + 10_001 * HOUR, "10,001"),
        (at(0) + MICROSECOND, at(0) + 10_000 * HOUR + MICROSECOND, "10,001"),
        (at(0), at(0) + 10_000 * HOUR + MICROSECOND, "10,001"),
        (EARLIEST, LATEST, "87,649,416"),
    ],
)
def test_filling_beyond_its_limit_is_an_error_that_names_it(
    service: EventService, spy: SpyStore, start: datetime, end: datetime, hours: str
) -> None:
    with pytest.raises(InvalidWindow, match=f"10,000.*{hours}") as caught:
        service.buckets(ask(start, end, is_filled=True))
    assert caught.value.parameter == "fill"
    assert spy.calls == []


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
def test_pages_together_equal_one_large_page(
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


def test_a_page_may_start_at_an_hour_without_events(
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
def test_a_page_start_outside_the_window_is_an_error(
    service: EventService, spy: SpyStore, start: datetime
) -> None:
    with pytest.raises(InvalidWindow) as caught:
        service.buckets(ask(at(0, minutes=30), at(3), from_start=start))
    assert caught.value.parameter == "cursor"
    assert spy.calls == []


def test_a_page_may_start_at_a_partial_first_hour(service: EventService) -> None:
    service.ingest(NINE)
    page = service.buckets(ask(at(0, minutes=30), at(3), from_start=at(0), limit=1))
    assert (page.buckets, page.next_start) == ((BucketCount(at(0), 2, True),), at(1))
