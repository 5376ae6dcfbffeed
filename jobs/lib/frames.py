"""Hourly counts of raw events, as Spark data frames."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from events.domain.windows import EARLIEST, LATEST
from events.models import Window
from jobs.lib.hourcounts import HourCount, hour_count_of, micros_of

_FOUR = ("customer_id", "event_type", "transaction_id", "timestamp")


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
