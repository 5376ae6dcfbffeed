"""Counts by day, week or month of a time zone: hours rolled up, cut ones from the raw events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from events.calendars import period_at
from events.calendars import periods as periods_of
from events.counting import MAX_FILLED_HOURS, Hours, Store, count_raw, days_of, touches
from events.errors import InvalidWindow
from events.models import BucketQuery, Calendar, PeriodCount, PeriodPage, Window
from events.windows import HOUR, LATEST, floor_hour, split

#: What one page counts of the raw events, where periods begin inside an hour; then it ends early.
MOST_CUT_HOURS = 400
MOST_CUT_EVENTS = 500_000


class Part(NamedTuple):
    """What one period and the window have of an hour."""

    period: Window
    hour: datetime
    range: Window

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole hour, which a counter holds."""
        return self.range.end - self.range.start == HOUR


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
    start = query.from_start
    if start is not None and not _begins(calendar, window, start):
        raise InvalidWindow("is no window of this range: use `next` as it was given", "cursor")
    found = Hours()
    for day in days_of(store, query):
        found.add(day)
    parts = list(parts_of(calendar, window, found))
    asked: Iterable[Window]
    if query.is_filled:
        asked = periods_of(calendar, window)
    else:
        asked = dict.fromkeys(part.period for part in parts)
    page, end = _page(query, asked, parts, found)

    edges = {floor_hour(piece.start) for piece in split(window).clipped}
    # The hours at the ends too, whichever page this is: the total needs them.
    chosen = [part for part in parts if part.period in page or part.hour in edges]
    counted = tally(store, query, chosen, found)
    by_period = {each.period: each for each in counted.periods}
    rows = []
    for period in page:
        row = by_period.get(period) or empty(query, period)
        if row.count or query.is_filled:
            rows.append(row)
    total = sum({part.hour: found.counts[part.hour] for part in parts}.values())
    # What was counted from the raw events counts, so that one page sums to the total, also while
    # events arrive. Hours with a part on another page keep their counter.
    elsewhere = Counter(part.hour for part in parts) - Counter(part.hour for part in chosen)
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
    for hour in sorted(hour for hour, count in found.counts.items() if count):
        if not touches(window, hour):
            continue
        at = max(hour, window.start)
        end = window.end if LATEST - hour < HOUR else min(hour + HOUR, window.end)
        while at < end:
            if period is None or at >= period.end:
                period = period_at(calendar, at)
            until = min(end, period.end)
            yield Part(period, hour, Window(at, until))
            at = until


def tally(store: Store, query: BucketQuery, parts: Sequence[Part], found: Hours) -> Tally:
    """What the periods of some parts have in them: counters, and raw events all counted at once."""
    cut = [part for part in parts if not part.is_whole]
    raw = iter(
        count_raw(
            store, query, [part.range for part in cut], [found.counts[part.hour] for part in cut]
        )
    )
    result = Tally()
    counts: dict[Window, int] = defaultdict(int)
    by_type: dict[Window, Counter[str]] = defaultdict(Counter)
    for part in parts:
        of_part: Mapping[str | None, int] | Mapping[str, int]
        if part.is_whole:
            number, of_part = found.counts[part.hour], found.by_type.get(part.hour, {})
        else:
            of_part = next(raw)
            number = sum(of_part.values())
            result.raw_hours[part.hour] += number
        counts[part.period] += number
        if query.is_grouped:
            by_type[part.period].update({kind: each for kind, each in of_part.items() if kind})
    result.periods = [
        PeriodCount(
            period,
            count,
            is_cut(query.window, period),
            dict(sorted(by_type[period].items())) if query.is_grouped else None,
        )
        for period, count in counts.items()
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
) -> tuple[dict[Window, None], datetime | None]:
    """The periods of the page asked for, and the start of the first one after it."""
    cut: dict[Window, list[datetime]] = defaultdict(list)
    for part in parts:
        if not part.is_whole:
            cut[part.period].append(part.hour)
    page: dict[Window, None] = {}
    hours: set[datetime] = set()
    events = 0
    for period in asked:
        if query.from_start is not None and period.start < query.from_start:
            continue
        is_costly = len(hours) >= MOST_CUT_HOURS or events >= MOST_CUT_EVENTS
        if len(page) == query.limit or (is_costly and period in cut):
            return page, period.start
        page[period] = None
        new = set(cut.get(period, ())) - hours
        hours |= new
        events += sum(found.counts[hour] for hour in new)
    return page, None
