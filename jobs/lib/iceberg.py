"""The tables of counts through pyiceberg, for jobs without Spark."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import In
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, ancestors_of
from pyiceberg.transforms import DayTransform
from pyiceberg.types import (
    BinaryType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from events.archive.catalog import map_errors
from events.domain.timestamps import day_of
from events.domain.windows import LATEST
from events.errors import StoreRefused
from events.models import Event, Window
from jobs.lib.hourcounts import HourCount
from jobs.lib.tables import HOURLY, NAMESPACE, RAW, STREAM, UNCOUNTED, WINDOWED, another_stream

_COUNTS = (
    NestedField(1, "customer_id", StringType()),
    NestedField(2, "event_type", StringType()),
    NestedField(3, "hour", TimestamptzType()),
    NestedField(4, "count", LongType()),
)
_SCHEMAS = {
    HOURLY: Schema(*_COUNTS),
    WINDOWED: Schema(*_COUNTS, NestedField(5, "batch_id", LongType())),
    UNCOUNTED: Schema(
        NestedField(1, "reason", StringType(), doc="late, ahead, or why it cannot be read."),
        NestedField(2, "customer_id", StringType()),
        NestedField(3, "event_type", StringType()),
        NestedField(4, "transaction_id", StringType()),
        NestedField(5, "timestamp", TimestamptzType()),
        NestedField(6, "value", BinaryType(), doc="As received, if it cannot be read."),
        NestedField(7, "kafka_partition", IntegerType()),
        NestedField(8, "kafka_offset", LongType()),
    ),
}
DAY = timedelta(days=1)
_BY_DAY = PartitionSpec(PartitionField(3, 1000, DayTransform(), "hour_day"))


def make_table(catalog: Catalog, name: str) -> Table:
    """Open a table of counts, as Spark's jobs create it; create it if it does not exist."""
    with map_errors(f"the table {NAMESPACE}.{name}"):
        catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog.create_table_if_not_exists(
            (NAMESPACE, name),
            _SCHEMAS[name],
            partition_spec=PartitionSpec() if name == UNCOUNTED else _BY_DAY,
        )


def claim(table: Table, stream_id: str, *, is_new: bool) -> None:
    """
    Claim the table for this stream, or check that it belongs to it.

    Raises:
        StoreRefused: The table has counts of another stream, or those that a new one would repeat.
    """
    held = table.properties.get(STREAM, stream_id)
    has_counts = table.current_snapshot() is not None
    if held != stream_id or (has_counts and (is_new or STREAM not in table.properties)):
        raise another_stream(f"{NAMESPACE}.{WINDOWED}")
    if STREAM not in table.properties:
        with map_errors(f"the table {NAMESPACE}.{WINDOWED}"), table.transaction() as transaction:
            transaction.set_properties({STREAM: stream_id})


def archive_snapshot(catalog: Catalog) -> tuple[Table, int]:
    """The archive and its present snapshot, so that a job reads one state throughout."""
    name = f"{NAMESPACE}.{RAW}"
    with map_errors(f"the table {name}"):
        exists = catalog.table_exists((NAMESPACE, RAW))
        table = catalog.load_table((NAMESPACE, RAW)) if exists else None
    snapshot = table.current_snapshot() if table else None
    if table is None or snapshot is None:
        problem = "is empty" if table else "does not exist"
        raise StoreRefused(f"the table {name} {problem}: run python -m events archive first")
    return table, snapshot.snapshot_id


def hour_counts(table: Table, window: Window) -> Iterator[HourCount]:
    """The counts of a window, ordered by customer and hour."""
    yield from _ordered(_rows(table, window))


def _rows(table: Table, window: Window) -> pa.Table:
    with map_errors("the counts"):
        # Scans and files differ in the width of strings.
        rows = table.scan(row_filter=_is_in(window)).to_arrow()
        return rows.cast(table.schema().as_arrow())


def _is_in(window: Window) -> str:
    return f"hour >= '{window.start.isoformat()}' AND hour < '{window.end.isoformat()}'"


def remove_other_days(table: Table, window: Window, *, since: int | None) -> None:
    """
    Delete the counts of the days in a window that got no counts after a snapshot.

    Flink's INSERT OVERWRITE replaces the days for which it has rows, and leaves the others.
    """
    added = _days(pa.concat_tables(_added(table, since)))
    for day in sorted(_days(_rows(table, window)) - added):
        start = datetime.fromisoformat(f"{day}T00:00:00Z")
        with map_errors("the counts"):
            table.delete(_is_in(Window(start, start + DAY if LATEST - start > DAY else LATEST)))


def _days(rows: pa.Table) -> set[str]:
    return {day_of(hour) for hour in rows["hour"].unique().to_pylist()}


def _ordered(rows: pa.Table) -> Iterator[HourCount]:
    for batch in rows.sort_by([("customer_id", "ascending"), ("hour", "ascending")]).to_batches():
        for row in batch.to_pylist():
            yield HourCount(
                row["customer_id"], row["event_type"], row["hour"].astimezone(UTC), row["count"]
            )


def archived(table: Table, snapshot: int, candidates: Collection[Event]) -> set[Event]:
    """The candidates that are in the archive."""
    if not candidates:
        return set()
    ids = {event.transaction_id for event in candidates}
    is_candidate: Any = In  # its types lack the form with a column's name
    where = is_candidate("transaction_id", ids)
    rows = table.scan(row_filter=where, snapshot_id=snapshot).to_arrow().to_pylist()
    return {
        Event(
            row["customer_id"],
            row["event_type"],
            row["transaction_id"],
            row["timestamp"].astimezone(UTC),
        )
        for row in rows
    }.intersection(candidates)


def added_since(table: Table, snapshot: int | None) -> Iterator[HourCount]:
    """The counts of every hour that got a count after a snapshot, ordered by customer and hour."""
    added = pa.concat_tables(_added(table, snapshot))
    if added.num_rows == 0:
        return
    hours = added.select(["customer_id", "hour"]).group_by(["customer_id", "hour"]).aggregate([])
    times = hours["hour"].sort().to_pylist()
    counts = _rows(table, Window(times[0], times[-1] + timedelta(microseconds=1)))
    yield from _ordered(counts.join(hours, ["customer_id", "hour"], join_type="left semi"))


def _added(table: Table, last: int | None) -> Iterator[pa.Table]:
    yield table.schema().as_arrow().empty_table()
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if snapshot.snapshot_id == last:
            return
        if snapshot.summary and snapshot.summary.operation is Operation.REPLACE:
            continue
        for manifest in snapshot.manifests(table.io):
            if manifest.added_snapshot_id == snapshot.snapshot_id:
                for entry in manifest.fetch_manifest_entry(table.io):
                    if entry.status is ManifestEntryStatus.ADDED:
                        with table.io.new_input(entry.data_file.file_path).open() as file:
                            rows = pq.read_table(file)
                        yield rows.cast(table.schema().as_arrow())
