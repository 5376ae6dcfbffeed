"""Pages and whole ranges of counts, by UTC hour or by day, week or month of a time zone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile

from events.domain.calendars import period_at, periods
from events.domain.windows import count_hours, floor_hour
from events.domain.windows import hours as hours_of
from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import BucketCount, BucketPage, BucketQuery, Window
from events.queries.hours import HourReader, Store, clipped_hours, rest_of
from events.queries.periods import Budget, count_periods, is_partial

#: Maximum buckets with `fill=zero`: of hours, a little more than a year.
MAX_FILLED = 10_000


def total(store: Store, customer_id: str, window: Window) -> int:
    """Count a customer's events in a range."""
    return HourReader(store, BucketQuery(customer_id, window)).totals().total


def buckets(store: Store, query: BucketQuery, budget: Budget | None = None) -> BucketPage:
    """
    One page of a customer's events by UTC hour, or by the periods of `query.calendar`.

    The cost follows the days read, not the events held. The first page reads the whole range,
    because it counts the total; a later page reads from its first bucket to its last, if `query`
    has the totals of the first.

    Args:
        budget: What the page may count from stored events; without it, as much as one page may.

    Raises:
        InvalidWindow: `fill=zero` asks for too many buckets, or the page does not start where a
            bucket of the range does.
        StoreUnavailable: The store did not answer in time.
    """
    check_filled(query)
    _check_start(query)
    reader, budget = HourReader(store, query), budget or Budget()
    rows = _buckets(reader, query, budget)
    # The last buckets of a page whose budget is spent are not complete.
    rows = takewhile(lambda row: row.start != budget.next_start, rows) if query.calendar else rows
    page = list(islice(rows, query.limit + 1))
    totals = reader.totals()
    if query.is_filled and query.is_grouped:
        page = list(_with_types(page, reader.types()))
    return BucketPage(
        customer_id=query.customer_id,
        window=query.window,
        total=totals.total,
        last_ingested_at=totals.last_ingested_at,
        buckets=tuple(page[: query.limit]),
        next_start=page[query.limit].start if len(page) > query.limit else budget.next_start,
    )


def all_buckets(store: Store, query: BucketQuery) -> Iterator[BucketCount]:
    """
    All buckets of a range. Memory stays flat however long the range is.

    The counters are read during the iteration: an hour has its count of that moment. Filled
    buckets by type read the range twice, first for its types. `InvalidWindow` is raised at once,
    `StoreUnavailable` at any moment.
    """
    check_filled(query)
    rows = _buckets(HourReader(store, query), query, None)
    if query.is_filled and query.is_grouped:
        return _with_types(rows, HourReader(store, query).types())
    return rows


def _buckets(
    reader: HourReader, query: BucketQuery, budget: Budget | None
) -> Iterator[BucketCount]:
    if query.calendar is None:
        rows = _count_hours(reader, query)
    else:
        rows = count_periods(reader, query, query.calendar, budget)
    return _fill(query, rows) if query.is_filled else rows


def _count_hours(reader: HourReader, query: BucketQuery) -> Iterator[BucketCount]:
    partial = clipped_hours(query.window)
    return (
        BucketCount(
            hour,
            hours.counts[hour],
            hour in partial,
            hours.by_type.get(hour, {}) if query.is_grouped else None,
        )
        for hours in reader
        for hour in hours.with_events()
    )


def _fill(query: BucketQuery, rows: Iterator[BucketCount]) -> Iterator[BucketCount]:
    """Every bucket of the range: the next of `rows` if it has this start, else an empty one."""
    window = rest_of(query)
    counts: dict[str, int] | None = {} if query.is_grouped else None
    if query.calendar is None:
        partial = clipped_hours(query.window)
        slots = (BucketCount(hour, 0, hour in partial, counts) for hour in hours_of(window))
    else:
        slots = (
            BucketCount(period.start, 0, is_partial(query, period), counts, period.end)
            for period in periods(query.calendar, window)
        )
    row = next(rows, None)
    for empty in slots:
        if row is not None and row.start == empty.start:
            yield row
            row = next(rows, None)
        else:
            yield empty


def _with_types(rows: Iterable[BucketCount], types: Sequence[str]) -> Iterator[BucketCount]:
    """Count the types that a bucket lacks as 0."""
    zeros = dict.fromkeys(types, 0)
    for row in rows:
        counts = zeros | dict(row.counts or {})
        # A type that arrived after the types were read.
        if len(counts) > len(zeros):
            counts = dict(sorted(counts.items()))
        yield row._replace(counts=counts)


def check_filled(query: BucketQuery) -> None:
    """Raises `InvalidWindow` if `fill=zero` asks for too many buckets."""
    if not query.is_filled:
        return
    if query.calendar is None:
        number = count_hours(query.window)
        if number > MAX_FILLED:
            raise InvalidWindow(
                f"fill=zero gives at most {MAX_FILLED:,} hours, and this range has {number:,}: "
                "shorten the range or omit fill",
                "fill",
            )
    elif next(islice(periods(query.calendar, query.window), MAX_FILLED, None), None):
        raise InvalidWindow(
            f"fill=zero gives at most {MAX_FILLED:,} buckets, and this range has more: "
            "shorten the range, ask for a longer window, or omit fill",
            "fill",
        )


def _check_start(query: BucketQuery) -> None:
    """Raises `InvalidWindow` unless the page starts where a bucket of the range does."""
    window, start = query.window, query.from_start
    if start is None:
        return
    if query.calendar is None:
        is_start = start == floor_hour(start) >= floor_hour(window.start)
    else:
        period = period_at(query.calendar, start)
        is_start = period.start == start and window.start < period.end
    if not is_start or start >= window.end:
        raise InvalidWindow(INVALID_CURSOR, "cursor")
