"""Writes windowed counts to the DynamoDB tables from which the API serves them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from events.bootstrap import make_bulk_loader
from events.config import Settings
from jobs.lib.frames import by_customer_and_day, day_counts, hour_count_of
from jobs.lib.session import WINDOWED, table_name


def make_tables(settings: Settings) -> None:
    """Create the DynamoDB tables if they do not exist."""
    with closing(make_bulk_loader(settings, is_windowed=True)) as loader:
        loader.create_tables()


def publish(spark: SparkSession, settings: Settings, touched: DataFrame) -> None:
    """
    Write the present counts of every hour in `touched`.

    It writes totals, not increments, so repeating it changes nothing.
    """
    hours = touched.select("customer_id", "hour").distinct()
    counts = spark.table(table_name(settings, WINDOWED)).join(
        hours, ["customer_id", "hour"], "left_semi"
    )
    by_customer_and_day(counts).foreachPartition(
        partial(_put, settings.model_dump(), datetime.now(UTC))
    )


def _put(plain: dict[str, Any], updated_at: datetime, rows: Iterable[Any]) -> None:
    registered: set[str] = set()
    with closing(make_bulk_loader(Settings(**plain), is_windowed=True)) as loader:
        for counts in day_counts(map(hour_count_of, rows)):
            if counts.customer_id not in registered:
                loader.put_customers([counts.customer_id], updated_at)
                registered.add(counts.customer_id)
            loader.set_hours([counts], updated_at)
