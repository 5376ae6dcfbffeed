"""Hourly counts as values, for jobs of either engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from events.domain.timestamps import day_of
from events.models import DayCounts, Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HourCount(NamedTuple):
    """Distinct events of one customer and type in one UTC hour."""

    customer_id: str
    event_type: str
    hour: datetime
    count: int  # type: ignore[assignment] # hides tuple.count, which nobody needs here


def hour_count_of(row: Any) -> HourCount:
    return HourCount(row["customer_id"], row["event_type"], _instant(row["micros"]), row["count"])


def event_of(row: Any) -> Event:
    return Event(
        row["customer_id"], row["event_type"], row["transaction_id"], _instant(row["micros"])
    )


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def day_counts(counts: Iterable[HourCount]) -> Iterator[DayCounts]:
    """
    The counters of each customer and day: all types together, then each type.

    Args:
        counts: Grouped by customer and day.
    """
    for (customer_id, day), group in groupby(
        counts, lambda count: (count.customer_id, _day(count))
    ):
        total: dict[int, int] = {}
        by_type: dict[str, dict[int, int]] = {}
        for count in sorted(group, key=attrgetter("event_type", "hour")):
            hour = count.hour.hour
            total[hour] = total.get(hour, 0) + count.count
            by_type.setdefault(count.event_type, {})[hour] = count.count
        yield DayCounts(customer_id, day, None, total)
        for event_type, hours in by_type.items():
            yield DayCounts(customer_id, day, event_type, hours)


def _day(count: HourCount) -> str:
    return day_of(count.hour)
