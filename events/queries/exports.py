"""All counts of a window, one after the other: memory stays flat however long it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from events.domain.calendars import periods as periods_of
from events.domain.windows import floor_hour, hours, split
from events.models import BucketCount, BucketQuery, Calendar, PeriodCount
from events.queries import buckets as counting
from events.queries import periods as rolled
from events.queries.buckets import Hours, Store

#: Counter items held at a time, but for those of one day.
_ITEMS_AT_A_TIME = 500


def buckets(store: Store, query: BucketQuery) -> Iterator[BucketCount]:
    """
    All of a customer's events by UTC hour; the question's page and its limit say nothing here.

    The counters are read while it goes on, once each: hours that change meanwhile have the count of
    the moment at which they were read.

    Raises:
        InvalidWindow: As for `counting.buckets`; at once.
        StoreUnavailable: The store did not answer in time; at any moment.
    """
    counting.check_filled(query)
    return _filled_hours(query, _hours(store, query)) if query.is_filled else _hours(store, query)


def periods(store: Store, query: BucketQuery, calendar: Calendar) -> Iterator[PeriodCount]:
    """The same by day, week or month of a zone; raises as `buckets`."""
    rolled.check_filled(query, calendar)
    found = _periods(store, query, calendar)
    return _filled_periods(query, calendar, found) if query.is_filled else found


def _hours(store: Store, query: BucketQuery) -> Iterator[BucketCount]:
    cut = {floor_hour(piece.start) for piece in split(query.window).clipped}
    for found in _days(store, query):
        counting.clip(store, query, found)
        for hour in sorted(hour for hour, count in found.counts.items() if count):
            counts = found.by_type.get(hour, {}) if query.is_grouped else None
            yield BucketCount(hour, found.counts[hour], hour in cut, counts)


def _periods(store: Store, query: BucketQuery, calendar: Calendar) -> Iterator[PeriodCount]:
    open_: PeriodCount | None = None  # its last days may be still to come
    for found in _days(store, query):
        parts = list(rolled.parts_of(calendar, query.window, found))
        for each in rolled.tally(store, query, parts, found).periods:
            if open_ is not None and open_.period == each.period:
                open_ = _sum(open_, each)
                continue
            if open_ is not None and open_.count:
                yield open_
            open_ = each
    if open_ is not None and open_.count:
        yield open_


def _sum(one: PeriodCount, other: PeriodCount) -> PeriodCount:
    counts = None
    if one.counts is not None and other.counts is not None:
        counts = dict(sorted((Counter(one.counts) + Counter(other.counts)).items()))
    return one._replace(count=one.count + other.count, counts=counts)


def _days(store: Store, query: BucketQuery) -> Iterator[Hours]:
    """The counters of some whole days at a time, ascending."""
    found, items, last = Hours(), 0, ""
    for day in counting.days_of(store, query):
        if items >= _ITEMS_AT_A_TIME and day.day != last:
            yield found
            found, items = Hours(), 0
        found.add(day)
        items, last = items + 1, day.day
    yield found


def _filled_hours(query: BucketQuery, found: Iterator[BucketCount]) -> Iterator[BucketCount]:
    cut = {floor_hour(piece.start) for piece in split(query.window).clipped}
    following = next(found, None)
    for hour in hours(query.window):
        if following is not None and following.start == hour:
            yield following
            following = next(found, None)
        else:
            yield BucketCount(hour, 0, hour in cut, {} if query.is_grouped else None)


def _filled_periods(
    query: BucketQuery, calendar: Calendar, found: Iterator[PeriodCount]
) -> Iterator[PeriodCount]:
    following = next(found, None)
    for period in periods_of(calendar, query.window):
        if following is not None and following.period == period:
            yield following
            following = next(found, None)
        else:
            yield rolled.empty(query, period)
