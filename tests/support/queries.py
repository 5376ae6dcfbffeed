"""Bucket queries, and their answers counted by hand; the service on a store in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from events.models import BucketCount, BucketQuery, Event, Window
from events.service import EventService
from tests.support.factories import HOUR, HOUR_ZERO, MICROSECOND, event
from tests.support.sqlstore import MemoryStore, SpyStore

MINUTE = timedelta(minutes=1)


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
    types = {name for tally in counts.values() for name in tally if query.is_filled}
    return tuple(
        BucketCount(
            hour,
            counts[hour].total(),
            hour < start or hour + HOUR > end,
            dict.fromkeys(types, 0) | dict(counts[hour]) if query.is_grouped else None,
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
