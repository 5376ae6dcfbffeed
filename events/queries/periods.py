"""Counts by day, week or month of a time zone: hours rolled up, cut ones from the raw events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from events.domain.calendars import period_at
from events.domain.calendars import periods as periods_of
from events.domain.windows import HOUR, LATEST, floor_hour, split
from events.errors import InvalidWindow
from events.models import BucketQuery, Calendar, PeriodCount, PeriodPage, Window
from events.queries.buckets import MAX_FILLED_HOURS, Hours, Store, count_raw, days_of

#: What one page counts of the raw events, where periods begin inside an hour; then it ends early.
MOST_CUT_HOURS = 400
MOST_CUT_EVENTS = 500_000


class Part(NamedTuple):
    """What one period and the window have of an hour; `cut` None is the whole of it."""

    period: Window
    hour: datetime
    cut: Window | None


@dataclass(slots=True)
class Tally:
    """Counts by period, ascending, and by hour where that was counted from the raw events."""

    periods: list[PeriodCount] = field(default_factory=list)
    raw_hours: Counter[datetime] = field(default_factory=Counter)


def periods(store: Store, query: BucketQuery, calendar: Calendar) -> PeriodPage:
    """
    A customer's events by day, week or month.

    Whole hours come from the counters. An hour in which a period begins, which only happens in
    zones whose offset is no whole hour, is counted from the raw events, part by part, where it has
    any; a page with many of those ends early.

    Raises:
        InvalidWindow: More than `MAX_FILLED_HOURS` periods are to be filled, or the page starts
            where no period of the window does.
        StoreUnavailable: The store did not answer in time.
    """
    window = query.window
    check_filled(query, calendar)
    if query.from_start is not None and not _begins(calendar, window, query.from_start):
        raise InvalidWindow("is no window of this range: use `next` as it was given", "cursor")
    found = Hours()
    for day in days_of(store, query):
        found.add(day)
    parts = list(parts_of(calendar, window, found))
    asked: Iterable[Window]
    if query.is_filled:
        asked = periods_of(calendar, window)
    else:
        asked = {part.period.start: part.period for part in parts}.values()
    page, end = _page(query, asked, parts, found)

    edges = {floor_hour(piece.start) for piece in split(window).clipped}
    # The hours at the ends too, whichever page this is: the total needs them.
    chosen = [part for part in parts if part.period.start in page or part.hour in edges]
    counted = tally(store, query, chosen, found)
    by_start = {each.period.start: each for each in counted.periods}
    rows = []
    for start, period in page.items():
        row = by_start.get(start) or empty(query, period)
        if row.count or query.is_filled:
            rows.append(row)
    total = sum({part.hour: found.counts[part.hour] for part in parts}.values())
    # What was counted from the raw events counts, so that one page sums to the total, also while
    # events arrive. Hours with a part on another page keep their counter.
    elsewhere: set[datetime] = set()
    if len(chosen) < len(parts):
        elsewhere = {hour for _, hour, cut in set(parts).difference(chosen) if cut is not None}
    for hour, count in counted.raw_hours.items():
        if hour not in elsewhere:
            total += count - found.counts[hour]
    return PeriodPage(
        customer_id=query.customer_id,
        window=window,
        calendar=calendar,
        total=total,
        last_ingested_at=found.last_ingested_at,
        periods=tuple(rows),
        next_start=end,
    )


def check_filled(query: BucketQuery, calendar: Calendar) -> None:
    """Raises `InvalidWindow` where too many periods are to be filled."""
    if not query.is_filled:
        return
    touched = islice(periods_of(calendar, query.window), MAX_FILLED_HOURS + 1)
    if sum(1 for _ in touched) > MAX_FILLED_HOURS:
        raise InvalidWindow(
            f"fill=zero gives at most {MAX_FILLED_HOURS:,} windows, and this range has more: ask "
            "for a shorter one, for longer windows, or leave fill out",
            "fill",
        )


def parts_of(calendar: Calendar, window: Window, found: Hours) -> Iterator[Part]:
    """The hours with events inside a window, in the parts that periods cut them in; ascending."""
    period: Window | None = None
    first = floor_hour(window.start)
    for hour in sorted(hour for hour, count in found.counts.items() if count):
        if not first <= hour < window.end:
            continue
        at = max(hour, window.start)
        end = window.end if LATEST - hour < HOUR else min(hour + HOUR, window.end)
        while at < end:
            if period is None or at >= period.end:
                period = period_at(calendar, at)
            until = min(end, period.end)
            yield Part(period, hour, None if until - at == HOUR else Window(at, until))
            at = until


def tally(store: Store, query: BucketQuery, parts: Sequence[Part], found: Hours) -> Tally:
    """What the periods of some parts have in them: counters, and raw events all counted at once."""
    pieces = [part.cut for part in parts if part.cut is not None]
    busy = [found.counts[part.hour] for part in parts if part.cut is not None]
    raw = iter(count_raw(store, query, pieces, busy))
    result = Tally()
    # By their starts: a window's own hash takes longer than all else here.
    periods: dict[datetime, Window] = {}
    counts: dict[datetime, int] = defaultdict(int)
    by_type: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for period, hour, cut in parts:
        start = period.start
        periods[start] = period
        of_part: Mapping[str | None, int] | Mapping[str, int]
        if cut is None:
            counts[start] += found.counts[hour]
            of_part = found.by_type.get(hour, {})
        else:
            of_part = next(raw)
            number = sum(of_part.values())
            counts[start] += number
            result.raw_hours[hour] += number
        if query.is_grouped:
            of_period = by_type[start]
            for kind, number in of_part.items():
                if kind is not None and number:
                    of_period[kind] += number
    result.periods = [
        PeriodCount(
            periods[start],
            count,
            is_cut(query.window, periods[start]),
            dict(sorted(by_type[start].items())) if query.is_grouped else None,
        )
        for start, count in counts.items()
    ]
    return result


def empty(query: BucketQuery, period: Window) -> PeriodCount:
    return PeriodCount(period, 0, is_cut(query.window, period), {} if query.is_grouped else None)


def is_cut(window: Window, period: Window) -> bool:
    """Whether a period has instants outside a window."""
    return period.start < window.start or window.end < period.end


def _begins(calendar: Calendar, window: Window, start: datetime) -> bool:
    period = period_at(calendar, start)
    return period.start == start and window.start < period.end and start < window.end


def _page(
    query: BucketQuery, asked: Iterable[Window], parts: Sequence[Part], found: Hours
) -> tuple[dict[datetime, Window], datetime | None]:
    """The periods of the page asked for by their starts, and the start of the first one after."""
    cut: dict[datetime, set[datetime]] = defaultdict(set)
    for part in parts:
        if part.cut is not None:
            cut[part.period.start].add(part.hour)
    page: dict[datetime, Window] = {}
    hours: set[datetime] = set()
    events = 0
    for period in asked:
        start = period.start
        if query.from_start is not None and start < query.from_start:
            continue
        is_costly = len(hours) >= MOST_CUT_HOURS or events >= MOST_CUT_EVENTS
        if len(page) == query.limit or (is_costly and start in cut):
            return page, start
        page[start] = period
        if start in cut:
            events += sum(found.counts[hour] for hour in cut[start] - hours)
            hours |= cut[start]
    return page, None
