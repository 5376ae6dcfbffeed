"""One customer at a glance: from the counters, and the stored events of two hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

from events.domain.windows import end_of_hour
from events.models import BucketCount, BucketQuery, Window
from events.queries import hours as counting
from events.queries import lookup

#: Voided events that are skipped to find the first or last event that counts.
MOST_LOOKED_AT = 10_000
_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Summary:
    """
    A customer's events in a range.

    `by_type` sums to `total`. `first_event_at` and `last_event_at` leave voided events out.
    `busiest` is the hour with the most events (the first of equal ones); None without events.
    """

    customer_id: str
    window: Window
    total: int
    by_type: Mapping[str, int]
    first_event_at: datetime | None
    last_event_at: datetime | None
    busiest: BucketCount | None
    last_ingested_at: datetime | None


class Store(counting.Store, lookup.Store, Protocol):
    """The reads that a summary needs. Every read is strongly consistent."""


def summary(store: Store, customer_id: str, window: Window) -> Summary:
    """
    Total, counts by type, busiest hour, first and last event of a customer in a range.

    The counters name the first and the last hour with events; only these are looked into. If more
    than `MOST_LOOKED_AT` voided events come before the first event, or after the last, it is None.
    """
    by_type: Counter[str] = Counter()
    first = last = busiest = None
    partial = counting.clipped_hours(window)
    query = BucketQuery(customer_id, window, is_grouped=True)
    reader = counting.HourReader(store, query)
    for hours in reader:
        for hour in hours.with_events():
            first, last = first or hour, hour
            by_type.update(hours.by_type[hour])
            count = hours.counts[hour]
            if busiest is None or count > busiest.count:  # the first of equal hours
                busiest = BucketCount(hour, count, hour in partial)
    totals = reader.totals()
    return Summary(
        customer_id=customer_id,
        window=window,
        total=totals.total,
        by_type=dict(sorted(by_type.items())),
        first_event_at=first and _edge(store, customer_id, window, first, is_last=False),
        last_event_at=last and _edge(store, customer_id, window, last, is_last=True),
        busiest=busiest,
        last_ingested_at=totals.last_ingested_at,
    )


def _edge(
    store: Store, customer_id: str, window: Window, hour: datetime, *, is_last: bool
) -> datetime | None:
    """Timestamp of the first or last event of an hour that is not voided."""
    stored_events = store.stored_events(
        customer_id,
        Window(max(hour, window.start), min(end_of_hour(hour), window.end)),
        after=None,
        is_newest_first=is_last,
        page_size=_PAGE_SIZE,
    )
    for _, stored in islice(stored_events, MOST_LOOKED_AT):
        if stored.voided_at is None:
            return stored.event.timestamp
    return None
