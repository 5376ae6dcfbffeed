"""Windowed counts to where the query API reads them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from events.bootstrap import make_bulk_loader
from events.config import Settings
from jobs.counts import day_counts, hour_count_of
from jobs.session import WINDOWED, table_name


def make_tables(settings: Settings) -> None:
    """Make the tables in DynamoDB where they are not there."""
    loader = make_bulk_loader(settings, is_windowed=True)
    loader.create_tables()
    loader.close()


def publish(spark: SparkSession, settings: Settings, touched: DataFrame) -> None:
    """
    Put the counts of every hour that these counts are of, as the table has them now.

    The numbers themselves and no differences: the same once more is the same.
    """
    hours = touched.select("customer_id", "hour").distinct()
    counts = (
        spark.table(table_name(settings, WINDOWED))
        .join(hours, ["customer_id", "hour"], "left_semi")
        .withColumn("micros", f.unix_micros("hour"))
        .withColumn("day", f.to_date("hour"))
        # The total of an hour is the sum of its types: they must come to one worker together.
        .repartition("customer_id", "day")
        .sortWithinPartitions("customer_id", "day")
        .select("customer_id", "event_type", "micros", "count")
    )
    counts.foreachPartition(partial(_put, settings.model_dump(), datetime.now(UTC)))


def _put(plain: dict[str, Any], at: datetime, rows: Iterable[Any]) -> None:
    loader = make_bulk_loader(Settings(**plain), is_windowed=True)
    listed: set[str] = set()
    for counts in day_counts(map(hour_count_of, rows)):
        if counts.customer_id not in listed:
            loader.put_customers([counts.customer_id], at)
            listed.add(counts.customer_id)
        loader.set_hours([counts], at)
    loader.close()
