"""Writes windowed counts to the tables from which the API serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from events.bootstrap import make_bulk_loader
from events.config import Settings
from events.models import DayCounts
from jobs.lib.hourcounts import HourCount, day_counts


def make_tables(settings: Settings) -> None:
    """Create these tables if they do not exist."""
    with closing(make_bulk_loader(settings, is_windowed=True)) as loader:
        loader.create_tables()


def put_counts(settings: dict[str, Any], updated_at: datetime, counts: Iterable[HourCount]) -> None:
    """
    Write the counts of whole hours, all types of an hour together.

    It writes totals, not increments, so repeating it changes nothing.

    Args:
        settings: Plain, because Spark sends them to its workers.
        counts: Grouped by customer and day.
    """
    with closing(make_bulk_loader(Settings(**settings), is_windowed=True)) as loader:

        def counts_of_customers() -> Iterator[DayCounts]:
            by_customer = groupby(day_counts(counts), attrgetter("customer_id"))
            for customer_id, of_customer in by_customer:
                loader.put_customers([customer_id], updated_at)
                yield from of_customer

        loader.set_hours(counts_of_customers(), updated_at)
