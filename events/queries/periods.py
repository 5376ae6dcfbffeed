"""Counts by day, week or month of a time zone, made from the counts by UTC hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from events.domain.calendars import period_at
from events.domain.windows import end_of_hour
from events.models import BucketCount, BucketQuery, Calendar, Window
from events.queries.hours import HourReader, Hours, rest_of

#: In some zones a period begins inside a UTC hour. A page that counts so many of these hours, or
#: so many events in them, ends early.
MOST_CUT_HOURS = 400
MOST_CUT_EVENTS = 500_000
#: Such hours, and about as many events in them, that are counted at the same time.
_CUT_HOURS_AT_A_TIME = 50
_CUT_EVENTS_AT_A_TIME = 50_000


class Part(NamedTuple):
    """The part of an hour that lies in one period; `cut` None is the whole hour."""

    period: Window
    hour: datetime
    cut: Window | None


@dataclass(slots=True)
class Budget:
    """How many stored events a page may still count, and where it ended if it spent that."""

    cut_hours: int = field(default_factory=lambda: MOST_CUT_HOURS)
    cut_events: int = field(default_factory=lambda: MOST_CUT_EVENTS)
    next_start: datetime | None = None

    def is_spent(self) -> bool:
        return self.cut_hours <= 0 or self.cut_events <= 0


def count_periods(
    reader: HourReader, query: BucketQuery, calendar: Calendar, budget: Budget | None
) -> Iterator[BucketCount]:
    """
    The periods with events, ascending, up to where `budget` is spent; None has no end.

    Whole hours come from the counters. An hour in which a period begins is counted from the stored
    events, part by part.
    """
    growing: BucketCount | None = None  # its last hours may be in the next batch
    for hours in reader:
        for batch in _batches(query, calendar, hours):
            if budget is not None and growing is not None and budget.is_spent():
                budget.next_start = growing.start
                return
            for row in _tally(reader, query, batch, hours, budget):
                if growing is not None and growing.start == row.start:
                    growing = _sum(growing, row)
                    continue
                if growing is not None and growing.count:
                    yield growing
                growing = row
    if growing is not None and growing.count:
        yield growing


def _batches(query: BucketQuery, calendar: Calendar, hours: Hours) -> Iterator[list[Part]]:
    """The parts of hours with events, ascending, with a limited number of cut hours at a time."""
    window = rest_of(query)
    most = min(_CUT_HOURS_AT_A_TIME, query.limit + 1)
    batch: list[Part] = []
    cut_hours = cut_events = 0
    period: Window | None = None
    for hour in hours.with_events():
        start = max(hour, window.start)
        end = min(end_of_hour(hour), window.end)
        at = start
        while at < end:
            if period is None or at >= period.end:
                period = period_at(calendar, at)
            until = min(end, period.end)
            batch.append(
                Part(period, hour, None if (at, until) == (start, end) else Window(at, until))
            )
            at = until
        if batch[-1].cut is not None:
            cut_hours += 1
            cut_events += hours.counts[hour]
        if cut_hours == most or cut_events >= _CUT_EVENTS_AT_A_TIME:
            yield batch
            batch, cut_hours, cut_events = [], 0, 0
    yield batch


def _tally(
    reader: HourReader,
    query: BucketQuery,
    parts: list[Part],
    hours: Hours,
    budget: Budget | None,
) -> list[BucketCount]:
    """Sum parts by period. Cut hours are counted from the stored events, all at the same time."""
    cuts = [(part.hour, part.cut) for part in parts if part.cut is not None]
    busy = {hour: hours.counts[hour] for hour, _ in cuts}
    results = reader.count_raw([cut for _, cut in cuts], [busy[hour] for hour, _ in cuts])
    # In the total, the stored events replace the counters of these hours, so that the periods sum
    # to the total also while events arrive.
    reader.total += sum(sum(counts.values()) for counts in results) - sum(busy.values())
    if budget is not None:
        budget.cut_hours -= len(busy)
        budget.cut_events -= sum(busy.values())
    raw = iter(results)
    # By their starts: hashing a range takes longer than all else here.
    spans: dict[datetime, Window] = {}
    tallies: dict[datetime, dict[str | None, int]] = {}
    for period, hour, cut in parts:
        of_part: Mapping[Any, int] = {None: hours.counts[hour]}
        if cut is not None:
            of_part = next(raw)
        elif query.is_grouped:
            of_part = hours.by_type.get(hour, {})
        spans[period.start] = period
        tally = tallies.setdefault(period.start, {})
        for event_type, count in of_part.items():
            tally[event_type] = tally.get(event_type, 0) + count
    return [
        BucketCount(
            start,
            sum(tally.values()),
            is_partial(query, spans[start]),
            _by_type(tally) if query.is_grouped else None,
            spans[start].end,
        )
        for start, tally in tallies.items()
    ]


def _by_type(tally: Mapping[Any, int]) -> dict[str, int]:
    return dict(sorted((name, count) for name, count in tally.items() if name and count))


def _sum(one: BucketCount, other: BucketCount) -> BucketCount:
    counts = None
    if one.counts is not None and other.counts is not None:
        counts = _by_type(Counter(one.counts) + Counter(other.counts))
    return one._replace(count=one.count + other.count, counts=counts)


def is_partial(query: BucketQuery, period: Window) -> bool:
    """Whether the range covers only part of a period."""
    return period.start < query.window.start or query.window.end < period.end
