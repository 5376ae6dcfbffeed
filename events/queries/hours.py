"""The counts of a range by hour: every answer about counts is made from `HourReader`."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from events.domain.timestamps import day_of
from events.domain.windows import HOUR, floor_hour, hour_of_day, slices, split
from events.models import BucketQuery, DayCounts, RangeTotals, Window

#: Counter items held at a time, and fewer for a short page; those of one day are held together.
_MIN_ITEMS, _MAX_ITEMS = 50, 500
#: Stored events that one request to the store counts quickly; a busier hour is cut into slices.
_EVENTS_PER_SLICE = 4_000
_MAX_SLICES = 8
_MICROSECOND = timedelta(microseconds=1)


class Store(Protocol):
    """The reads that counting needs. Every read is strongly consistent."""

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        """
        Counters of the days from first to last, both included: totals, or one per event type.

        Days are in order, and types in order within a day. Days without events are absent.

        Args:
            page_size: Counters read from the database at a time; None is as many as it gives.
        """

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        """Count the stored events of each range, all ranges at the same time."""

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> Sequence[Mapping[str | None, int]]:
        """Like `count_events`, by event type; types without events are absent."""


@dataclass(slots=True)
class Hours:
    """
    Counts of some hours, ascending, and by event type if the counters of types were read.

    Hours without events may be absent.
    """

    counts: dict[datetime, int] = field(default_factory=dict)
    by_type: dict[datetime, dict[str, int]] = field(default_factory=dict)

    def add(self, day: DayCounts) -> None:
        midnight = hour_of_day(day.day, 0)
        for hour, count in day.hours.items():
            start = midnight + hour * HOUR
            self.counts[start] = self.counts.get(start, 0) + count
            if day.event_type is not None:
                self.by_type.setdefault(start, {})[day.event_type] = count

    def with_events(self) -> list[datetime]:
        return sorted(hour for hour, count in self.counts.items() if count)


def rest_of(query: BucketQuery) -> Window:
    """The range from the first bucket of the page on."""
    start, end = query.window.start, query.window.end
    return Window(start if query.from_start is None else max(start, query.from_start), end)


def clipped_hours(window: Window) -> set[datetime]:
    """Starts of the at most two hours that a range contains only partly."""
    return {floor_hour(piece.start) for piece in split(window).clipped}


class HourReader:
    """
    Reads the hours of a range from the page's first bucket on: iterate over it, or ask for totals.

    Whole hours come from the counters. An hour that the range contains only partly is counted from
    the stored events. Each iteration reads the hours of some days, and adds them to the totals.
    """

    def __init__(self, store: Store, query: BucketQuery) -> None:
        self._store = store
        self._query = query
        self._groups = self._read()
        #: Events in the hours read so far, their types if types are read, and when a count of
        #: their days last changed.
        self.total = 0
        self._types: set[str] = set()
        self._last_ingested_at: datetime | None = None

    def __iter__(self) -> Iterator[Hours]:
        return self._groups

    def totals(self) -> RangeTotals:
        """Totals of the whole range, whichever page is requested; reads the hours that are left."""
        query = self._query
        if query.totals is not None:
            return query.totals
        if query.from_start is not None:
            return HourReader(self._store, replace(query, from_start=None)).totals()
        deque(self._groups, maxlen=0)
        return RangeTotals(self.total, self._last_ingested_at)

    def types(self) -> list[str]:
        """Event types in the whole range, sorted; reads the hours that are left."""
        query = self._query
        if query.from_start is not None:
            whole = replace(query, from_start=None, totals=None)
            return HourReader(self._store, whole).types()
        deque(self._groups, maxlen=0)
        return sorted(self._types)

    def _read(self) -> Iterator[Hours]:
        query = self._query
        window = rest_of(query)
        if window.start == window.end:
            return
        first, last = day_of(window.start), day_of(window.end - _MICROSECOND)
        # Three more than the page shows: a zone's day may begin on the UTC day before, and the
        # first bucket of the next page is only known to be complete at the start of the one after
        # it.
        most = max(_MIN_ITEMS, min(query.limit + 3, _MAX_ITEMS))
        days = self._store.day_counts(
            query.customer_id,
            first,
            last,
            by_type=query.is_grouped or bool(query.event_types),
            # With totals, only one page is needed, not the whole range.
            page_size=None if query.totals is None else most + 1,
        )
        hours, items, day = Hours(), 0, ""
        for counts in days:
            if query.event_types and counts.event_type not in query.event_types:
                continue
            if items >= most and counts.day != day:
                yield self._settle(hours)
                hours, items = Hours(), 0
            hours.add(counts)
            items, day = items + 1, counts.day
            at = counts.updated_at
            if at is not None and (self._last_ingested_at is None or at > self._last_ingested_at):
                self._last_ingested_at = at
        yield self._settle(hours)

    def _settle(self, hours: Hours) -> Hours:
        """Count clipped hours from the stored events, and forget hours outside the range."""
        parts = split(rest_of(self._query))
        # An hour whose counter is zero has no events: events and counters always agree.
        clipped = [piece for piece in parts.clipped if hours.counts.get(floor_hour(piece.start))]
        busy = [hours.counts[floor_hour(piece.start)] for piece in clipped]
        for hour in list(hours.counts):
            if not parts.whole.start <= hour < parts.whole.end:
                del hours.counts[hour]
                hours.by_type.pop(hour, None)
        for piece, counts in zip(clipped, self.count_raw(clipped, busy), strict=True):
            hour = floor_hour(piece.start)
            hours.counts[hour] = sum(counts.values())
            hours.by_type[hour] = dict(
                sorted((name, count) for name, count in counts.items() if name is not None)
            )
        self.total += sum(hours.counts.values())
        for by_type in hours.by_type.values():
            self._types.update(name for name, count in by_type.items() if count)
        return hours

    def count_raw(
        self, pieces: Sequence[Window], busy: Sequence[int]
    ) -> list[Mapping[str | None, int]]:
        """
        Count parts of hours from the stored events, all at the same time.

        Args:
            busy: About how many events the hour of each part has.

        Returns:
            Counts by event type if the query needs types, else under the key None.
        """
        query = self._query
        cuts: list[Window] = []
        owners: list[int] = []
        for index, (piece, count) in enumerate(zip(pieces, busy, strict=True)):
            parts = slices(piece, min(_MAX_SLICES, 1 + count // _EVENTS_PER_SLICE))
            cuts += parts
            owners += [index] * len(parts)
        totals: list[Counter[str | None]] = [Counter() for _ in pieces]
        results: Sequence[Mapping[str | None, int]] = []
        if query.is_grouped or query.event_types:
            results = self._store.count_events_by_type(query.customer_id, cuts) if cuts else []
        elif cuts:
            numbers = self._store.count_events(query.customer_id, cuts)
            results = [{None: number} for number in numbers]
        for owner, counts in zip(owners, results, strict=True):
            for event_type, count in counts.items():
                if not query.event_types or event_type in query.event_types:
                    totals[owner][event_type] += count
        return list(totals)
