"""Pages and whole ranges of counts by UTC hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

from events.domain.windows import count_hours, floor_hour
from events.domain.windows import hours as hours_of
from events.errors import InvalidWindow
from events.models import BucketCount, BucketPage, BucketQuery, Window
from events.queries.hours import (
    RunningTotals,
    Store,
    clipped_hours,
    read_hours,
    read_totals,
    rest_of,
    rest_of_totals,
)

#: Maximum hours with `fill=zero`: a little more than a year.
MAX_FILLED_HOURS = 10_000
INVALID_CURSOR = "invalid cursor: pass the previous page's `next` unchanged"

Slot = TypeVar("Slot")
Row = TypeVar("Row")


def total(store: Store, customer_id: str, window: Window) -> int:
    """Count a customer's events in a range."""
    return read_totals(store, BucketQuery(customer_id, window)).total


def buckets(store: Store, query: BucketQuery) -> BucketPage:
    """
    One page of a customer's events by UTC hour.

    The cost follows the days read, not the events held. The first page reads the whole range,
    because it counts the total; a later page reads from its first bucket to its last, if `query`
    has the totals of the first.

    Raises:
        InvalidWindow: `fill=zero` asks for too many hours, or the page starts outside the range.
        StoreUnavailable: The store did not answer in time.
    """
    check_filled(query)
    window, start = query.window, query.from_start
    if start is not None and (start != floor_hour(start) or not _touches(window, start)):
        raise InvalidWindow(INVALID_CURSOR, "cursor")
    running = RunningTotals()
    rows = _buckets(store, query, running)
    page = list(islice(rows, query.limit + 1))
    totals = rest_of_totals(store, query, rows, running)
    return BucketPage(
        customer_id=query.customer_id,
        window=window,
        total=totals.total,
        last_ingested_at=totals.last_ingested_at,
        buckets=tuple(page[: query.limit]),
        next_start=page[query.limit].start if len(page) > query.limit else None,
    )


def all_buckets(store: Store, query: BucketQuery) -> Iterator[BucketCount]:
    """
    All of a customer's events by UTC hour. Memory stays flat however long the range is.

    The counters are read once, during the iteration: an hour has its count of that moment.
    `InvalidWindow` is raised at once, `StoreUnavailable` at any moment.
    """
    check_filled(query)
    return _buckets(store, query, RunningTotals())


def _buckets(store: Store, query: BucketQuery, totals: RunningTotals) -> Iterator[BucketCount]:
    partial = clipped_hours(query.window)
    rows = (
        BucketCount(
            hour,
            hours.counts[hour],
            hour in partial,
            hours.by_type.get(hour, {}) if query.is_grouped else None,
        )
        for hours in read_hours(store, query, totals)
        for hour in hours.with_events()
    )
    if not query.is_filled:
        return rows
    counts: dict[str, int] | None = {} if query.is_grouped else None
    return fill(
        hours_of(rest_of(query)),
        rows,
        lambda row: row.start,
        lambda hour: BucketCount(hour, 0, hour in partial, counts),
    )


def fill(
    slots: Iterable[Slot],
    rows: Iterator[Row],
    slot_of: Callable[[Row], Slot],
    empty: Callable[[Slot], Row],
) -> Iterator[Row]:
    """A row for each slot: the next of `rows` if it is of this slot, else an empty one."""
    row = next(rows, None)
    for slot in slots:
        if row is not None and slot_of(row) == slot:
            yield row
            row = next(rows, None)
        else:
            yield empty(slot)


def check_filled(query: BucketQuery) -> None:
    """Raises `InvalidWindow` if `fill=zero` asks for too many hours."""
    number = count_hours(query.window) if query.is_filled else 0
    if number > MAX_FILLED_HOURS:
        raise InvalidWindow(
            f"fill=zero gives at most {MAX_FILLED_HOURS:,} hours, and this range has {number:,}: "
            "shorten the range or omit fill",
            "fill",
        )


def _touches(window: Window, hour: datetime) -> bool:
    return floor_hour(window.start) <= hour < window.end
