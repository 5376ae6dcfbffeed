"""What there is of a customer: from the counters, and two looks at the raw events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

from events.domain.windows import HOUR, LATEST, floor_hour, split
from events.models import BucketCount, BucketQuery, Window
from events.queries import buckets as counting
from events.queries import lookup

#: Voided events looked through for the first or last one that counts.
MOST_LOOKED_AT = 10_000
_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class Summary:
    """
    A customer's events in a window.

    `by_type` sums to `total`. `first_event_at` and `last_event_at` leave voided events out.
    `busiest` is the hour with the most events (the first of several); None without events.
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
    """What a summary needs of a database. Every read is strongly consistent."""


def summary(store: Store, customer_id: str, window: Window) -> Summary:
    """
    What there is of a customer in a window.

    The counters name the first and the last hour that has any, so that only those are looked into.
    More than `MOST_LOOKED_AT` voided events there leave the first or last event unsaid.
    """
    found = counting.count_hours_of(store, BucketQuery(customer_id, window, is_grouped=True))
    hours = sorted(hour for hour, count in found.counts.items() if count)
    by_type: Counter[str] = Counter()
    for hour in hours:
        by_type.update(found.by_type.get(hour, {}))
    busiest = None
    if hours:
        cut = {floor_hour(piece.start) for piece in split(window).clipped}
        most = max(hours, key=lambda hour: found.counts[hour])  # of equal ones the first
        busiest = BucketCount(most, found.counts[most], most in cut)
    return Summary(
        customer_id=customer_id,
        window=window,
        total=by_type.total(),
        by_type=dict(sorted(by_type.items())),
        first_event_at=_edge(store, customer_id, window, hours[0], is_last=False)
        if hours
        else None,
        last_event_at=_edge(store, customer_id, window, hours[-1], is_last=True) if hours else None,
        busiest=busiest,
        last_ingested_at=found.last_ingested_at,
    )


def _edge(
    store: Store, customer_id: str, window: Window, hour: datetime, *, is_last: bool
) -> datetime | None:
    """When the first or last event that counts of an hour happened."""
    end = LATEST if LATEST - hour < HOUR else hour + HOUR
    stored = store.stored_events(
        customer_id,
        Window(max(hour, window.start), min(end, window.end)),
        after=None,
        is_newest_first=is_last,
        page_size=_AT_A_TIME,
    )
    for _, each in islice(stored, MOST_LOOKED_AT):
        if each.voided_at is None:
            return each.event.timestamp
    return None
