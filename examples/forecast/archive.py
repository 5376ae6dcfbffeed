"""Reads `events.raw` of one snapshot: which days changed, and their distinct events by hour."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Operation, ancestors_of
from pyiceberg.types import TimestamptzType

from events.archive.catalog import map_errors
from events.domain.windows import HOUR
from events.errors import StoreRefused
from examples.forecast.features import Arrivals

RAW = ("events", "raw")
_SUBJECT = "the table events.raw"
_EVENT = ["customer_id", "event_type", "transaction_id", "timestamp"]
_SERIES = ["customer_id", "event_type", "hour"]
_DAY = timedelta(days=1)
#: Days that are in memory at the same time.
_DAYS_PER_SCAN = 7


@dataclass(frozen=True, slots=True)
class Archive:
    """
    The archive as of one snapshot.

    `until` is when its newest message was archived. `days` are the days with events, up to then.
    """

    table: Table
    snapshot_id: int
    until: datetime
    days: frozenset[date]

    def changed_days(self, since: int) -> frozenset[date] | None:
        """
        The days to which events were added after the snapshot `since`.

        Returns:
            None if everything has to be read again: events were deleted, or the snapshot is not
            in the table's history any more.
        """
        with map_errors(_SUBJECT):
            for snapshot in ancestors_of(
                self.table.snapshot_by_id(self.snapshot_id), self.table.metadata
            ):
                if snapshot.snapshot_id == since:
                    break
                operation = snapshot.summary.operation if snapshot.summary else None
                # A compaction replaces files and leaves the rows as they are.
                if operation not in (Operation.APPEND, Operation.REPLACE):
                    return None
            else:
                return None
            added = self.table.incremental_append_scan(
                from_snapshot_id_exclusive=since, to_snapshot_id_inclusive=self.snapshot_id
            )
            return frozenset(_days_of(added.plan_files(), self.table))

    def arrivals(self, days: Iterable[date]) -> list[Arrivals]:
        """The distinct events of these days, by hour and by when they became known."""
        held = self.days.intersection(days)
        return [one for first, end in spans(held) for one in self._arrivals(first, end)]

    def _arrivals(self, first: datetime, end: datetime) -> Iterator[Arrivals]:
        with map_errors(_SUBJECT):
            rows = self.table.scan(
                f"timestamp >= '{first.isoformat()}' AND timestamp < '{end.isoformat()}'",
                selected_fields=(*_EVENT, "archived_at"),
                snapshot_id=self.snapshot_id,
            ).to_arrow()
        # A duplicate adds nothing: an event is known from the first time that it was archived.
        events = rows.group_by(_EVENT).aggregate([("archived_at", "min")])
        hour = pc.floor_temporal(events["timestamp"], unit="hour")
        over, archived_at = pc.add(hour, pa.scalar(HOUR)), events["archived_at_min"]
        known_at = pc.if_else(pc.greater(over, archived_at), over, archived_at)
        counted = (
            events.append_column("hour", hour)
            .append_column("known_at", known_at)
            .filter(pc.less_equal(over, pa.scalar(self.until)))
            .group_by([*_SERIES, "known_at"])
            .aggregate([([], "count_all")])
        )
        columns = [counted[name].to_pylist() for name in (*_SERIES, "known_at", "count_all")]
        for customer_id, event_type, at, known, count in zip(*columns, strict=True):
            yield Arrivals(
                customer_id, event_type, at.astimezone(UTC), known.astimezone(UTC), count
            )


def open_archive(catalog: Catalog) -> Archive:
    """
    The archive as it is now.

    Raises:
        StoreRefused: There is none, or it is empty.
    """
    with map_errors(_SUBJECT):
        exists = catalog.table_exists(RAW)
        table = catalog.load_table(RAW) if exists else None
        snapshot = table.current_snapshot() if table else None
        files = list(table.scan().plan_files()) if table and snapshot else []
    if table is None or snapshot is None or not files:
        problem = "is empty" if exists else "does not exist"
        raise StoreRefused(f"{_SUBJECT} {problem}: run python -m events archive first")
    until = max(_bounds(task.file, table, "archived_at")[1] for task in files)
    days = frozenset(day for day in _days_of(files, table) if day <= until.date())
    return Archive(table, snapshot.snapshot_id, until, days)


def spans(days: Collection[date]) -> Iterator[tuple[datetime, datetime]]:
    """Ranges `[start, end)` that consist of these days, of a week at most."""
    numbered = enumerate(sorted(days))
    for _, group in groupby(numbered, key=lambda pair: pair[1].toordinal() - pair[0]):
        consecutive = [day for _, day in group]
        for index in range(0, len(consecutive), _DAYS_PER_SCAN):
            span = consecutive[index : index + _DAYS_PER_SCAN]
            yield _midnight(span[0]), _midnight(span[-1]) + _DAY


def _days_of(tasks: Iterable[FileScanTask], table: Table) -> Iterator[date]:
    for task in tasks:
        first, last = (at.date() for at in _bounds(task.file, table, "timestamp"))
        for number in range((last - first).days + 1):
            yield first + number * _DAY


def _bounds(file: DataFile, table: Table, column: str) -> tuple[datetime, datetime]:
    """The least and the greatest value in a file, from Iceberg's statistics."""
    number = table.schema().find_field(column).field_id
    least, greatest = (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
        for micros in (
            from_bytes(TimestamptzType(), bounds[number])
            for bounds in (file.lower_bounds, file.upper_bounds)
        )
    )
    return least, greatest


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
