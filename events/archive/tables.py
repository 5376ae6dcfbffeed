"""The Iceberg tables of the archive: their columns, and commits that carry Kafka's offsets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BinaryType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from events.archive.catalog import Conflict, naming_errors
from events.archive.positions import Position, position_of
from events.errors import InvalidInput

NAMESPACE = "events"
RAW = "raw"
REJECTED = "raw_rejected"
#: In the table's properties: messages that were gone before they were archived.
GAPS = "events.kafka-gaps."
#: In the table's properties, and in the summary of each snapshot of ours; the topic's name follows.
POSITION = "events.kafka-position."

_PLACE = (
    NestedField(5, "kafka_partition", IntegerType(), required=True),
    NestedField(6, "kafka_offset", LongType(), required=True),
    NestedField(7, "archived_at", TimestamptzType(), required=True),
)
_RAW_SCHEMA = Schema(
    NestedField(1, "customer_id", StringType(), required=True),
    NestedField(2, "event_type", StringType(), required=True),
    NestedField(3, "transaction_id", StringType(), required=True),
    NestedField(4, "timestamp", TimestamptzType(), required=True),
    *_PLACE,
)
_REJECTED_SCHEMA = Schema(
    NestedField(1, "field", StringType(), doc="The field at fault, where it is one."),
    NestedField(2, "reason", StringType(), required=True),
    NestedField(3, "key", BinaryType(), doc="As it was."),
    NestedField(4, "value", BinaryType(), doc="As it was."),
    *_PLACE,
)
_LAYOUTS = {
    RAW: (
        _RAW_SCHEMA,
        PartitionSpec(PartitionField(4, 1000, DayTransform(), "timestamp_day")),
        # pyiceberg writes rows as they come, so they are sorted before; Spark heeds it.
        SortOrder(SortField(1, IdentityTransform()), SortField(4, IdentityTransform())),
    ),
    REJECTED: (
        _REJECTED_SCHEMA,
        PartitionSpec(PartitionField(7, 1000, DayTransform(), "archived_at_day")),
        SortOrder(SortField(5, IdentityTransform()), SortField(6, IdentityTransform())),
    ),
}
_SORTED_BY = {
    RAW: [("customer_id", "ascending"), ("timestamp", "ascending")],
    REJECTED: [("kafka_partition", "ascending"), ("kafka_offset", "ascending")],
}
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PROPERTIES = {
    # A commit a minute would leave half a million files of metadata in a year.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "100",
    "write.parquet.compression-codec": "zstd",
}


class ArchiveTable:
    """
    One table of the archive, as it was when it was opened.

    Raises, also when it is opened:
        StoreUnavailable: The catalog does not answer. After a commit it is not known whether it was
            made: open the table anew.
        StoreRefused: The catalog says no.
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        schema, spec, order = _LAYOUTS[name]
        self._name = name
        self._columns = [field.name for field in schema.fields]
        with naming_errors(f"the table {NAMESPACE}.{name}"):
            catalog.create_namespace_if_not_exists(NAMESPACE)
            self._table = catalog.create_table_if_not_exists(
                (NAMESPACE, name),
                schema,
                partition_spec=spec,
                sort_order=order,
                properties=_PROPERTIES,
            )
        found = self._table.schema()
        missing = [name for name in self._columns if name not in found.column_names]
        if missing:
            raise InvalidInput(
                f"the table {NAMESPACE}.{name} is none of the archive's: it lacks {missing}"
            )

    def position(self, topic: str) -> Position:
        """
        How far this table holds a topic.

        The newest snapshot that says so counts, because a table that was rolled back to an earlier
        snapshot holds less. Those of a compaction do not say; and where none is left that does,
        because the older ones have expired, the table's own property does.
        """
        return _position(self._table, topic)

    def append(
        self,
        rows: Iterable[tuple[object, ...]],
        topic: str,
        *,
        before: Position,
        after: Position,
        more: Mapping[str, str] = _NOTHING,
    ) -> None:
        """
        Add rows and the position after them, in one commit or not at all.

        Args:
            before: The position that the rows follow on.
            more: Properties that the table gets as well.

        Raises:
            Conflict: The table's position is not `before` (any more): nothing was added.
        """
        what = f"the table {NAMESPACE}.{self._name}"
        with naming_errors(what):
            self._table.refresh()
        if self.position(topic) != before:
            raise Conflict(f"{what}: another commit was first")
        # pyiceberg tries again by itself on the table as it then is, whatever that holds by then:
        # what another archiver has committed meanwhile would be there twice. Not with 0 retries,
        # which must be said in its copy of the metadata: as a property it would bind Spark too.
        metadata = self._table.metadata
        once = {**metadata.properties, TableProperties.COMMIT_NUM_RETRIES: "0"}
        self._table.metadata = metadata.model_copy(update={"properties": once})
        told = {f"{POSITION}{topic}": after.as_text()}
        with naming_errors(what), self._table.transaction() as transaction:
            transaction.set_properties({**told, **more})
            # The commit holds only on the snapshot that it was built on: the one just looked at.
            transaction.append(self._arrow(rows), snapshot_properties=told)

    def gaps(self, topic: str) -> list[str]:
        """What was noted of messages that this table lacks."""
        return [
            str(each) for each in json.loads(self._table.properties.get(f"{GAPS}{topic}", "[]"))
        ]

    def note_gaps(
        self, gaps: Iterable[str], topic: str, *, before: Position, after: Position
    ) -> None:
        """Move the position past messages that are gone, and note in the table which they are."""
        noted = json.dumps([*self.gaps(topic), *gaps])
        self.append((), topic, before=before, after=after, more={f"{GAPS}{topic}": noted})

    def _arrow(self, rows: Iterable[tuple[object, ...]]) -> pa.Table:
        schema = self._table.schema().as_arrow()
        schema = pa.schema([schema.field(name) for name in self._columns])
        columns = list(zip(*rows, strict=True)) or [()] * len(self._columns)
        arrays = [
            pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
        ]
        return pa.table(arrays, schema=schema).sort_by(_SORTED_BY[self._name])


def _position(table: Table, topic: str) -> Position:
    name = f"{POSITION}{topic}"
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        text = snapshot.summary[name] if snapshot.summary else None
        if text:
            return position_of(str(text))
    text = table.properties.get(name)
    return position_of(text) if text else Position()
