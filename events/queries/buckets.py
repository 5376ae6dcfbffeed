"""Counts by hour: whole hours from the counters, cut ones from the raw events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from events.domain.windows import HOUR, count_hours, day_of, floor_hour, hour_of_day, slices, split
from events.domain.windows import hours as hours_of
from events.errors import InvalidWindow
from events.models import BucketCount, BucketPage, BucketQuery, DayCounts, Window

#: The most hours that `is_filled` may ask for: a little more than a year.
MAX_FILLED_HOURS = 10_000
#: Raw events that one request to the store counts well; an hour with more is cut in slices.
_EVENTS_PER_SLICE = 4_000
_MAX_SLICES = 8
_MICROSECOND = timedelta(microseconds=1)


class Store(Protocol):
    """What counting needs of a database. Every read is strongly consistent."""

    def day_counts(
        self, customer_id: str, first_day: str, last_day: str, *, by_type: bool
    ) -> Iterator[DayCounts]:
        """
        Counters of the days from first to last, both included: of the totals, or by type.

        Days in order, types in order within a day; days without events are absent.
        """

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        """How many events count in each window; all counted at once."""

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> Sequence[Mapping[str | None, int]]:
        """The same by event type; types without events are absent."""


def total(store: Store, customer_id: str, window: Window) -> int:
    """A customer's events in a window."""
    return sum(count_hours_of(store, BucketQuery(customer_id, window)).counts.values())


def buckets(store: Store, query: BucketQuery) -> BucketPage:
    """
    A customer's events by UTC hour.

    Whole hours come from the counters: the cost follows the days asked, not the events held.
    Only the at most two hours that the window cuts are counted from the raw events.

    Raises:
        InvalidWindow: More than `MAX_FILLED_HOURS` are to be filled, or the page starts
            outside the window.
        StoreUnavailable: The store did not answer in time.
    """
    window = query.window
    check_filled(query)
    start = query.from_start
    if start is not None and (start != floor_hour(start) or not _touches(window, start)):
        raise InvalidWindow("is no hour of this window: use `next` as it was given", "cursor")

    found = count_hours_of(store, query)
    if query.is_filled:
        starts = list(hours_of(window))
    else:
        starts = sorted(hour for hour, count in found.counts.items() if count)
    if start is not None:
        starts = [hour for hour in starts if hour >= start]
    clipped = {floor_hour(piece.start) for piece in split(window).clipped}
    buckets = tuple(
        BucketCount(
            hour,
            found.counts.get(hour, 0),
            hour in clipped,
            found.by_type.get(hour, {}) if query.is_grouped else None,
        )
        for hour in starts[: query.limit]
    )
    return BucketPage(
        customer_id=query.customer_id,
        window=window,
        total=sum(found.counts.values()),
        last_ingested_at=found.last_ingested_at,
        buckets=buckets,
        next_start=starts[query.limit] if len(starts) > query.limit else None,
    )


def check_filled(query: BucketQuery) -> None:
    """Raises `InvalidWindow` where too many hours are to be filled."""
    number = count_hours(query.window) if query.is_filled else 0
    if number > MAX_FILLED_HOURS:
        raise InvalidWindow(
            f"fill=zero gives at most {MAX_FILLED_HOURS:,} hours, and this window has "
            f"{number:,}: ask for a shorter one, or leave fill out",
            "fill",
        )


def count_hours_of(store: Store, query: BucketQuery) -> Hours:
    """The counts of the hours of a window, cut ones as far as it covers them."""
    found = Hours()
    for day in days_of(store, query):
        found.add(day)
    clip(store, query, found)
    return found


def clip(store: Store, query: BucketQuery, found: Hours) -> None:
    """Have the hours that the window cuts counted from the raw events; forget those outside it."""
    parts = split(query.window)
    pieces = []
    for piece in parts.clipped:
        hour = floor_hour(piece.start)
        # An hour whose counter is zero has no events: events and counters are never apart.
        if found.counts.get(hour):
            pieces.append(piece)
    busy = [found.counts[floor_hour(piece.start)] for piece in pieces]
    found.keep(parts.whole)
    for piece, counts in zip(pieces, count_raw(store, query, pieces, busy), strict=True):
        found.put(floor_hour(piece.start), counts)


def days_of(store: Store, query: BucketQuery) -> Iterator[DayCounts]:
    """The counters of the days that the window touches, hours outside it included."""
    window = query.window
    if window.start == window.end:
        return
    by_type = query.is_grouped or bool(query.event_types)
    first, last = day_of(window.start), day_of(window.end - _MICROSECOND)
    for day in store.day_counts(query.customer_id, first, last, by_type=by_type):
        if not query.event_types or day.event_type in query.event_types:
            yield day


def count_raw(
    store: Store, query: BucketQuery, pieces: Sequence[Window], busy: Sequence[int]
) -> list[Mapping[str | None, int]]:
    """
    Count pieces of hours from the stored events, all at the same time.

    Args:
        busy: About how many events each piece's hour has.

    Returns:
        Counts by event type where types matter, else under None.
    """
    cuts: list[Window] = []
    owners: list[int] = []
    for place, (piece, count) in enumerate(zip(pieces, busy, strict=True)):
        parts = slices(piece, min(_MAX_SLICES, 1 + count // _EVENTS_PER_SLICE))
        cuts += parts
        owners += [place] * len(parts)
    totals: list[Counter[str | None]] = [Counter() for _ in pieces]
    found: Sequence[Mapping[str | None, int]] = []
    if query.is_grouped or query.event_types:
        found = store.count_events_by_type(query.customer_id, cuts) if cuts else []
    elif cuts:
        numbers = store.count_events(query.customer_id, cuts)
        found = [{None: number} for number in numbers]
    for owner, counts in zip(owners, found, strict=True):
        for event_type, count in counts.items():
            if not query.event_types or event_type in query.event_types:
                totals[owner][event_type] += count
    return list(totals)


@dataclass(slots=True)
class Hours:
    """
    What is known of some hours: their counts, by event type where counters of types were added,
    and when any of the counters last changed. Hours without events may be absent.
    """

    counts: dict[datetime, int] = field(default_factory=dict)
    by_type: dict[datetime, dict[str, int]] = field(default_factory=dict)
    last_ingested_at: datetime | None = None

    def add(self, day: DayCounts) -> None:
        at = day.updated_at
        if at is not None and (self.last_ingested_at is None or at > self.last_ingested_at):
            self.last_ingested_at = at
        midnight = hour_of_day(day.day, 0)
        for hour, count in day.hours.items():
            start = midnight + hour * HOUR
            self.counts[start] = self.counts.get(start, 0) + count
            if day.event_type is not None:
                self.by_type.setdefault(start, {})[day.event_type] = count

    def keep(self, window: Window) -> None:
        """Forget the hours outside a window of whole hours."""
        if not self.counts or window.start <= min(self.counts) <= max(self.counts) < window.end:
            return
        outside = [hour for hour in self.counts if not window.start <= hour < window.end]
        for hour in outside:
            del self.counts[hour]
            self.by_type.pop(hour, None)

    def put(self, hour: datetime, counts: Mapping[str | None, int]) -> None:
        """Set the counts of one hour."""
        self.counts[hour] = sum(counts.values())
        types = sorted((kind, count) for kind, count in counts.items() if kind is not None)
        self.by_type[hour] = dict(types)


def _touches(window: Window, hour: datetime) -> bool:
    return floor_hour(window.start) <= hour < window.end
