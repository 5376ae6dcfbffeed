"""Brings the features up to date with the archive."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain

from pyiceberg.catalog import Catalog

from events.domain.windows import HOUR
from examples.forecast.archive import Archive, open_archive
from examples.forecast.features import REACH, feature_rows, starts_of
from examples.forecast.tables import USAGE, Read, open_table, read_of, replace_days, starts_in

_DAY = timedelta(days=1)
_REACH_DAYS = REACH * HOUR // _DAY


@dataclass(frozen=True, slots=True)
class Updated:
    """Days that were computed, and rows that were written; `is_complete`: all days there are."""

    days: int
    rows: int
    is_complete: bool = False


def update(catalog: Catalog) -> Updated:
    """
    Compute the features of the days that new events may have changed, and replace them.

    The rows and the snapshot of the archive from which they were computed are one commit. A run
    that ends before it has changed nothing, and the next run does the same work.

    Raises:
        Conflict: Another run was first; this one wrote nothing.
    """
    archive, table = open_archive(catalog), open_table(catalog, USAGE)
    every_day = _reached(archive, archive.days)
    read = read_of(table)
    if read and read.snapshot_id == archive.snapshot_id:
        return Updated(0, 0)
    changed = archive.changed_days(read.snapshot_id) if read else None
    if read is None or changed is None:
        known, days = [], every_day
    else:
        known = list(starts_in(table))
        # Hours that are over since the last run have no row yet.
        over = {day for day in every_day if day >= (read.until - HOUR).date()}
        days = _reached(archive, changed) | over
    before = starts_of(known)
    while True:
        arrivals = archive.arrivals(_reaching(archive, days))
        first = ((one.customer_id, one.known_at, one.hour) for one in arrivals)
        starts = starts_of(chain(known, first))
        # A new start changes the age of the customer in all later rows.
        moved = [
            start.hour.date()
            for customer_id in before
            for start in starts[customer_id]
            if start not in before[customer_id]
        ]
        later = {day for day in every_day if moved and day >= min(moved)}
        if later <= days:
            break
        days |= later
    rows = feature_rows(arrivals, starts, until=archive.until, days=days)
    replaced = None if changed is None else days
    written = replace_days(table, rows, replaced, Read(archive.snapshot_id, archive.until))
    return Updated(len(days), written, is_complete=changed is None)


def _reached(archive: Archive, days: Collection[date]) -> set[date]:
    """The days whose rows depend on events of these days."""
    last = archive.until.date()
    return {
        day + number * _DAY
        for day in days
        if day <= last
        for number in range(_REACH_DAYS + 1)
        if day + number * _DAY <= last
    }


def _reaching(archive: Archive, days: Collection[date]) -> set[date]:
    """The days with events on which the rows of these days depend."""
    numbers = range(_REACH_DAYS + 1)
    return {day for day in archive.days if any(day + number * _DAY in days for number in numbers)}
