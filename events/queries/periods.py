"""Counts by day, week or month of a time zone, made from the counts by UTC hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from events.domain.calendars import period_at
from events.domain.calendars import periods as periods_of
from events.domain.windows import HOUR, LATEST
from events.errors import InvalidWindow
from events.models import BucketQuery, Calendar, PeriodCount, PeriodPage, Window
from events.queries.buckets import INVALID_CURSOR, MAX_FILLED_HOURS, fill
from events.queries.hours import (
    Hours,
    RunningTotals,
    Store,
    count_raw,
    read_hours,
    rest_of,
    rest_of_totals,
)

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
class _Page:
    """How many stored events a page may still count, and where it ended if it reached the limit."""

    cut_hours: int = field(default_factory=lambda: MOST_CUT_HOURS)
    cut_events: int = field(default_factory=lambda: MOST_CUT_EVENTS)
    next_start: datetime | None = None

    def is_spent(self) -> bool:
        return self.cut_hours <= 0 or self.cut_events <= 0


def periods(store: Store, query: BucketQuery, calendar: Calendar) -> PeriodPage:
    """
    One page of a customer's events by day, week or month.

    Whole hours come from the counters. An hour in which a period begins is counted from the stored
    events, part by part; a page with many such hours ends early. The reads are as for
    `buckets.buckets`.

    Raises:
        InvalidWindow: `fill=zero` asks for too many periods, or the page does not start where a
            period of the range does.
        StoreUnavailable: The store did not answer in time.
    """
    check_filled(query, calendar)
    if query.from_start is not None and not _begins(calendar, query.window, query.from_start):
        raise InvalidWindow(INVALID_CURSOR, "cursor")
    running, page = RunningTotals(), _Page()
    hours = read_hours(store, query, running)
    rows: list[PeriodCount] = []
    for row in _filled(query, calendar, _periods(store, query, calendar, hours, running, page)):
        if len(rows) == query.limit or row.period.start == page.next_start:
            page.next_start = row.period.start
            break
        rows.append(row)
    totals = rest_of_totals(store, query, hours, running)
    return PeriodPage(
        customer_id=query.customer_id,
        window=query.window,
        calendar=calendar,
        total=totals.total,
        last_ingested_at=totals.last_ingested_at,
        periods=tuple(rows),
        next_start=page.next_start,
    )


def all_periods(store: Store, query: BucketQuery, calendar: Calendar) -> Iterator[PeriodCount]:
    """All of a customer's events by day, week or month; like `buckets.all_buckets`."""
    check_filled(query, calendar)
    running = RunningTotals()
    hours = read_hours(store, query, running)
    return _filled(query, calendar, _periods(store, query, calendar, hours, running, None))


def check_filled(query: BucketQuery, calendar: Calendar) -> None:
    """Raises `InvalidWindow` if `fill=zero` asks for too many periods."""
    if not query.is_filled:
        return
    touched = islice(periods_of(calendar, query.window), MAX_FILLED_HOURS + 1)
    if sum(1 for _ in touched) > MAX_FILLED_HOURS:
        raise InvalidWindow(
            f"fill=zero gives at most {MAX_FILLED_HOURS:,} buckets, and this range has more: "
            "shorten the range, ask for a longer window, or omit fill",
            "fill",
        )


def _filled(
    query: BucketQuery, calendar: Calendar, rows: Iterator[PeriodCount]
) -> Iterator[PeriodCount]:
    if not query.is_filled:
        return rows
    counts: dict[str, int] | None = {} if query.is_grouped else None
    return fill(
        periods_of(calendar, rest_of(query)),
        rows,
        lambda row: row.period,
        lambda period: PeriodCount(period, 0, _is_partial(query, period), counts),
    )


def _periods(
    store: Store,
    query: BucketQuery,
    calendar: Calendar,
    groups: Iterator[Hours],
    totals: RunningTotals,
    page: _Page | None,
) -> Iterator[PeriodCount]:
    """
    The periods with events, ascending.

    They end where the limits of `page` are reached; None has no limits.
    """
    growing: PeriodCount | None = None  # its last hours may be in the next batch
    for hours in groups:
        for batch in _batches(query, calendar, hours):
            if page is not None and growing is not None and page.is_spent():
                page.next_start = growing.period.start
                return
            for row in _tally(store, query, batch, hours, totals, page):
                if growing is not None and growing.period == row.period:
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
        end = window.end if LATEST - hour < HOUR else min(hour + HOUR, window.end)
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
    store: Store,
    query: BucketQuery,
    parts: list[Part],
    hours: Hours,
    totals: RunningTotals,
    page: _Page | None,
) -> list[PeriodCount]:
    """Sum parts by period. Cut hours are counted from the stored events, all at the same time."""
    cuts = [(part.hour, part.cut) for part in parts if part.cut is not None]
    busy = {hour: hours.counts[hour] for hour, _ in cuts}
    results = count_raw(store, query, [cut for _, cut in cuts], [busy[hour] for hour, _ in cuts])
    # In the total, the stored events replace the counters of these hours, so that the periods sum
    # to the total also while events arrive.
    totals.total += sum(sum(counts.values()) for counts in results) - sum(busy.values())
    if page is not None:
        page.cut_hours -= len(busy)
        page.cut_events -= sum(busy.values())
    raw = iter(results)
    # By their starts: hashing a range takes longer than all else here.
    counts: dict[datetime, int] = {}
    by_type: dict[datetime, Counter[str]] = {}
    spans: dict[datetime, Window] = {}
    for period, hour, cut in parts:
        start = period.start
        spans[start] = period
        of_part: Mapping[str | None, int] | Mapping[str, int]
        if cut is None:
            number = hours.counts[hour]
            of_part = hours.by_type.get(hour, {})
        else:
            of_part = next(raw)
            number = sum(of_part.values())
        counts[start] = counts.get(start, 0) + number
        if query.is_grouped:
            by_type.setdefault(start, Counter()).update(
                {name: number for name, number in of_part.items() if name is not None and number}
            )
    return [
        PeriodCount(
            spans[start],
            count,
            _is_partial(query, spans[start]),
            dict(sorted(by_type[start].items())) if query.is_grouped else None,
        )
        for start, count in counts.items()
    ]


def _sum(one: PeriodCount, other: PeriodCount) -> PeriodCount:
    counts = None
    if one.counts is not None and other.counts is not None:
        counts = dict(sorted((Counter(one.counts) + Counter(other.counts)).items()))
    return one._replace(count=one.count + other.count, counts=counts)


def _is_partial(query: BucketQuery, period: Window) -> bool:
    return period.start < query.window.start or query.window.end < period.end


def _begins(calendar: Calendar, window: Window, start: datetime) -> bool:
    period = period_at(calendar, start)
    return period.start == start and window.start < period.end and start < window.end
