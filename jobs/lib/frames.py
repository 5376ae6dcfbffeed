"""Raw events to hourly counts, as Spark computes them and as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from events.domain.windows import EARLIEST, LATEST, day_of
from events.models import DayCounts, Event, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOUR = ("customer_id", "event_type", "transaction_id", "timestamp")


class HourCount(NamedTuple):
    """Distinct events of one customer and type in one UTC hour."""

    customer_id: str
    event_type: str
    hour: datetime
    count: int  # type: ignore[assignment] # hides tuple.count, which nobody needs here


def distinct_events(raw: DataFrame, window: Window) -> DataFrame:
    """The events of a window, each once; all four fields make an event what it is."""
    if window.start != EARLIEST:
        raw = raw.where(f.col("timestamp") >= instant(window.start))
    if window.end != LATEST:
        raw = raw.where(f.col("timestamp") < instant(window.end))
    return raw.select(*_FOUR).distinct()


def hourly_counts(events: DataFrame) -> DataFrame:
    """Columns customer_id, event_type, hour, count; of distinct events."""
    return events.groupBy(
        "customer_id", "event_type", f.date_trunc("hour", f.col("timestamp")).alias("hour")
    ).agg(f.count("*").alias("count"))


# Python's datetimes of Spark are in the zone of the machine, and do not reach all years: so times
# cross as microseconds.


def hour_counts(counts: DataFrame) -> Iterator[HourCount]:
    """Counts by customer, in order of the customers; never more than a part of them in memory."""
    rows = counts.select(
        "customer_id", "event_type", f.unix_micros("hour").alias("micros"), "count"
    ).orderBy("customer_id")
    for row in rows.toLocalIterator():
        yield hour_count_of(row)


def hour_count_of(row: Any) -> HourCount:
    return HourCount(row["customer_id"], row["event_type"], _instant(row["micros"]), row["count"])


def event_of(row: Any) -> Event:
    return Event(
        row["customer_id"], row["event_type"], row["transaction_id"], _instant(row["micros"])
    )


def instant(at: datetime) -> Column:
    """
    A time in Spark's SQL.

    `f.lit` would pass it through a calendar of the machine's zone: days off before 1582, minutes
    off before there were zones.
    """
    return f.expr(f"timestamp_micros({micros_of(at)})")


def with_micros(events: DataFrame) -> DataFrame:
    """Events as `event_of` reads them."""
    return events.select(*_FOUR[:3], f.unix_micros("timestamp").alias("micros"))


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def by_customer_and_day(counts: DataFrame) -> DataFrame:
    """
    Counts as `hour_count_of` reads them, all of a customer and day in one partition, together.

    The total of an hour is the sum of its types, and a day is one item: one worker makes both.
    """
    return (
        counts.withColumn("micros", f.unix_micros("hour"))
        .withColumn("day", f.to_date("hour"))
        .repartition("customer_id", "day")
        .sortWithinPartitions("customer_id", "day")
        .select("customer_id", "event_type", "micros", "count")
    )


def day_counts(counts: Iterable[HourCount]) -> Iterator[DayCounts]:
    """
    The counters of each customer and day: of all types, then of each.

    Args:
        counts: All of a customer and day one after the other.
    """
    for (customer_id, day), group in groupby(counts, lambda each: (each.customer_id, _day(each))):
        total: dict[int, int] = {}
        by_type: dict[str, dict[int, int]] = {}
        for each in sorted(group, key=attrgetter("event_type", "hour")):
            hour = each.hour.hour
            total[hour] = total.get(hour, 0) + each.count
            by_type.setdefault(each.event_type, {})[hour] = each.count
        yield DayCounts(customer_id, day, None, total)
        for event_type, hours in by_type.items():
            yield DayCounts(customer_id, day, event_type, hours)


def _day(count: HourCount) -> str:
    return day_of(count.hour)
