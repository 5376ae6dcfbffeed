"""Loads events and counts of the archive into an empty store, from Spark's workers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

from pyspark.sql import DataFrame

from events.bootstrap import make_bulk_loader
from events.config import Settings
from jobs.lib.frames import by_customer_and_day, with_micros
from jobs.lib.hourcounts import day_counts, event_of, hour_count_of


def load(
    events: DataFrame, counts: DataFrame, settings: Settings, at: datetime, *, has_events: bool
) -> None:
    """
    Load customers, then events if `has_events`, then counters; may be repeated.

    In this order, so that an interrupted load never leaves an event of an unregistered customer.
    """
    plain = settings.model_dump()
    customers = counts.select("customer_id").distinct()
    customers.foreachPartition(partial(_put_customers, plain, at))
    if has_events:
        with_micros(events).foreachPartition(partial(_put_events, plain, at))
    by_customer_and_day(counts).foreachPartition(partial(_put_counts, plain, at))


# These run in Spark's workers; each makes its own client.


def _put_customers(plain: dict[str, Any], at: datetime, rows: Iterable[Any]) -> None:
    with closing(make_bulk_loader(Settings(**plain))) as loader:
        loader.put_customers((row["customer_id"] for row in rows), at)


def _put_events(plain: dict[str, Any], at: datetime, rows: Iterable[Any]) -> None:
    with closing(make_bulk_loader(Settings(**plain))) as loader:
        loader.put_events(map(event_of, rows), at)


def _put_counts(plain: dict[str, Any], at: datetime, rows: Iterable[Any]) -> None:
    with closing(make_bulk_loader(Settings(**plain))) as loader:
        loader.put_counts(day_counts(map(hour_count_of, rows)), at)
