"""Writes windowed counts to the tables from which the API serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from events.bootstrap import make_bulk_loader
from events.config import Settings
from events.models import DayCounts
from jobs.lib.frames import by_customer_and_day, day_counts, hour_count_of
from jobs.lib.session import WINDOWED, table_name


def make_tables(settings: Settings) -> None:
    """Create these tables if they do not exist."""
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
    with closing(make_bulk_loader(Settings(**plain), is_windowed=True)) as loader:

        def counts_of_customers() -> Iterator[DayCounts]:
            by_customer = groupby(day_counts(map(hour_count_of, rows)), attrgetter("customer_id"))
            for customer_id, counts in by_customer:
                loader.put_customers([customer_id], updated_at)
                yield from counts

        loader.set_hours(counts_of_customers(), updated_at)
