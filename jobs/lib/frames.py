"""Hourly counts of raw events, as Spark data frames and as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from events.domain.timestamps import day_of
from events.domain.windows import EARLIEST, LATEST
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
    """The events of a window, each once; all four fields are the identity."""
    if window.start != EARLIEST:
        raw = raw.where(f.col("timestamp") >= instant(window.start))
    if window.end != LATEST:
        raw = raw.where(f.col("timestamp") < instant(window.end))
    return raw.select(*_FOUR).distinct()


def hourly_counts(events: DataFrame) -> DataFrame:
    """Count distinct events: columns customer_id, event_type, hour, count."""
    return events.groupBy(
        "customer_id", "event_type", f.date_trunc("hour", f.col("timestamp")).alias("hour")
    ).agg(f.count("*").alias("count"))


# Spark converts datetimes to the machine's time zone, and not for all years. So timestamps pass
# between Spark and Python as microseconds.


def hour_counts(counts: DataFrame) -> Iterator[HourCount]:
    """The counts, ordered by customer; only one partition of them is in memory."""
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
    A timestamp in Spark SQL.

    `f.lit` would convert it in the machine's time zone and calendar: wrong by days before 1582, and
    by minutes before time zones existed.
    """
    return f.expr(f"timestamp_micros({micros_of(at)})")


def with_micros(events: DataFrame) -> DataFrame:
    """Events with the columns that `event_of` reads."""
    return events.select(*_FOUR[:3], f.unix_micros("timestamp").alias("micros"))


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def by_customer_and_day(counts: DataFrame) -> DataFrame:
    """
    Counts with the columns that `hour_count_of` reads; each customer and day is in one partition.

    One worker needs all types of a day: an hour's total is their sum, and a day is one item.
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
