"""The Iceberg tables of the archive, and commits that carry Kafka's offsets with the rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import TableProperties
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

from events.archive.catalog import Conflict, map_errors
from events.errors import InvalidInput, StoreRefused

NAMESPACE = "events"
RAW = "raw"
REJECTED = "raw_rejected"
#: Prefix of the table property that lists messages which were deleted before they were archived.
GAPS = "events.kafka-gaps."
#: Prefix of the position in the table's properties and in the summary of each of our snapshots.
#: The topic's name follows both prefixes.
POSITION = "events.kafka-position."

_ORIGIN = (
    NestedField(5, "kafka_partition", IntegerType(), required=True),
    NestedField(6, "kafka_offset", LongType(), required=True),
    NestedField(7, "archived_at", TimestamptzType(), required=True),
)
_RAW_SCHEMA = Schema(
    NestedField(1, "customer_id", StringType(), required=True),
    NestedField(2, "event_type", StringType(), required=True),
    NestedField(3, "transaction_id", StringType(), required=True),
    NestedField(4, "timestamp", TimestamptzType(), required=True),
    *_ORIGIN,
)
_REJECTED_SCHEMA = Schema(
    NestedField(1, "field", StringType(), doc="The invalid field, if it is one field."),
    NestedField(2, "reason", StringType(), required=True),
    NestedField(3, "key", BinaryType(), doc="As received."),
    NestedField(4, "value", BinaryType(), doc="As received."),
    *_ORIGIN,
)
_LAYOUTS = {
    RAW: (
        _RAW_SCHEMA,
        PartitionSpec(PartitionField(4, 1000, DayTransform(), "timestamp_day")),
        # Spark sorts by this order; for pyiceberg, which does not, we sort the rows ourselves.
        SortOrder(SortField(1, IdentityTransform()), SortField(4, IdentityTransform())),
    ),
    REJECTED: (
        _REJECTED_SCHEMA,
        PartitionSpec(PartitionField(7, 1000, DayTransform(), "archived_at_day")),
        SortOrder(SortField(5, IdentityTransform()), SortField(6, IdentityTransform())),
    ),
}
_PROPERTIES = {
    # With a commit a minute, a year would leave half a million metadata files.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "100",
    "write.parquet.compression-codec": "zstd",
}


@dataclass(frozen=True, slots=True)
class Position:
    """How far a table holds a topic."""

    #: Another one if the topic is recreated under the same name. Empty if Kafka gives none.
    topic_id: str = ""
    #: Partition → offset of the first message that is not in the table.
    next_offsets: Mapping[int, int] = field(default_factory=dict)

    def to_json(self) -> str:
        offsets = {str(number): self.next_offsets[number] for number in sorted(self.next_offsets)}
        return json.dumps({"topic_id": self.topic_id, "next_offsets": offsets})

    @classmethod
    def from_json(cls, text: str) -> Position:
        """Raises `StoreRefused` for an invalid position."""
        try:
            document = json.loads(text)
            offsets = document["next_offsets"].items()
            return cls(str(document["topic_id"]), {int(key): int(value) for key, value in offsets})
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise StoreRefused(f"invalid Kafka position in the table: {text[:100]!r}") from exc


class ArchiveTable:
    """
    One table of the archive, as it was when it was opened; created if it does not exist.

    Raises, also when it is opened:
        StoreUnavailable: The catalog does not answer. After a commit the outcome is unknown: open
            the table again.
        StoreRefused: The catalog refuses.
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        schema, spec, order = _LAYOUTS[name]
        self._subject = f"the table {NAMESPACE}.{name}"
        self._columns = [field.name for field in schema.fields]
        self._sorting = [
            (schema.find_field(field.source_id).name, "ascending") for field in order.fields
        ]
        with map_errors(self._subject):
            catalog.create_namespace_if_not_exists(NAMESPACE)
            self._table = catalog.create_table_if_not_exists(
                (NAMESPACE, name),
                schema,
                partition_spec=spec,
                sort_order=order,
                properties=_PROPERTIES,
            )
        existing = self._table.schema().column_names
        missing = [column for column in self._columns if column not in existing]
        if missing:
            names = ", ".join(missing)
            raise InvalidInput(f"{self._subject} is not an archive: it has no column {names}")

    def position(self, topic: str) -> Position:
        """
        How far this table holds a topic.

        The newest snapshot with a position counts, because a table that was rolled back to an
        earlier snapshot holds less. Snapshots of a compaction have no position. If all snapshots
        with one have expired, the table's property counts.
        """
        name = f"{POSITION}{topic}"
        table = self._table
        for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
            text = snapshot.summary[name] if snapshot.summary else None
            if text:
                return Position.from_json(str(text))
        text = table.properties.get(name)
        return Position.from_json(text) if text else Position()

    def append(
        self,
        rows: Iterable[tuple[object, ...]],
        topic: str,
        *,
        before: Position,
        after: Position,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """
        Add rows and the position after them, in one commit or not at all.

        Args:
            before: The position where the rows start.
            properties: Table properties to set in the same commit.

        Raises:
            Conflict: The table's position is not `before` any more; nothing was added.
        """
        with map_errors(self._subject):
            self._table.refresh()
        if self.position(topic) != before:
            raise Conflict(f"{self._subject}: another commit was first")
        # By default pyiceberg retries on the table as it then is, and would add rows that another
        # archiver committed meanwhile. Turn that off in pyiceberg's copy of the metadata only: as
        # a table property it would bind Spark too.
        metadata = self._table.metadata
        no_retries = {**metadata.properties, TableProperties.COMMIT_NUM_RETRIES: "0"}
        self._table.metadata = metadata.model_copy(update={"properties": no_retries})
        position = {f"{POSITION}{topic}": after.to_json()}
        with map_errors(self._subject), self._table.transaction() as transaction:
            transaction.set_properties({**position, **(properties or {})})
            # The commit succeeds only on the snapshot whose position was checked above.
            transaction.append(self._to_arrow(rows), snapshot_properties=position)

    def skip(self, gaps: Iterable[str], topic: str, *, before: Position, after: Position) -> None:
        """Move the position past deleted messages, and note them in the table."""
        name = f"{GAPS}{topic}"
        noted = json.loads(self._table.properties.get(name, "[]"))
        properties = {name: json.dumps([*noted, *gaps])}
        self.append((), topic, before=before, after=after, properties=properties)

    def _to_arrow(self, rows: Iterable[tuple[object, ...]]) -> pa.Table:
        schema = self._table.schema().as_arrow()
        schema = pa.schema([schema.field(name) for name in self._columns])
        columns = list(zip(*rows, strict=True)) or [()] * len(self._columns)
        arrays = [
            pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
        ]
        return pa.table(arrays, schema=schema).sort_by(self._sorting)
