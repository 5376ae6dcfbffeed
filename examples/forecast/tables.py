"""The Iceberg tables of features and anomalies."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import (
    AlwaysFalse,
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThan,
    Or,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, TableProperties
from pyiceberg.transforms import DayTransform
from pyiceberg.types import LongType, NestedField, PrimitiveType, StringType, TimestamptzType

from events.archive.catalog import map_errors
from events.domain.windows import HOUR
from events.errors import StoreRefused
from examples.forecast.archive import spans
from examples.forecast.features import FeatureRow

if TYPE_CHECKING:
    import pandas as pd

MICROSECOND = timedelta(microseconds=1)
NAMESPACE = "forecast"
USAGE = "hourly_usage"
ANOMALIES = "anomalies"
#: Table property: what the features contain of the archive.
_READ = "forecast.read"
_KEY = ["customer_id", "event_type", "hour"]
_TIMES = {"hour", "known_at"}
_TEXTS = {"customer_id", "event_type", "reason"}
COLUMNS: dict[str, Sequence[str]] = {
    USAGE: [field.name for field in fields(FeatureRow)],
    ANOMALIES: (*_KEY, "known_at", "count", "expected_low", "expected_high", "reason"),
}
# pyiceberg's types lack the form with a column's name.
_equal: Any = EqualTo
_from: Any = GreaterThanOrEqual
_before: Any = LessThan


@dataclass(frozen=True, slots=True)
class Read:
    """The snapshot of the archive that was read, and when its newest message was archived."""

    snapshot_id: int
    until: datetime


def open_table(catalog: Catalog, name: str, *, may_create: bool = True) -> Table:
    """Open a table; raises `StoreRefused` if it does not exist and may not be created."""
    with map_errors(f"the table {NAMESPACE}.{name}"):
        if may_create:
            catalog.create_namespace_if_not_exists(NAMESPACE)
            return catalog.create_table_if_not_exists(
                (NAMESPACE, name),
                _schema(name),
                partition_spec=PartitionSpec(PartitionField(3, 1000, DayTransform(), "hour_day")),
                properties={TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true"},
            )
        if catalog.table_exists((NAMESPACE, name)):
            return catalog.load_table((NAMESPACE, name))
    raise StoreRefused(
        f"the table {NAMESPACE}.{name} does not exist: run python -m examples.forecast update first"
    )


def read_of(table: Table) -> Read | None:
    """What the features contain of the archive; None if they are empty."""
    text = table.properties.get(_READ)
    if text is None:
        return None
    document = json.loads(text)
    return Read(document["snapshot_id"], datetime.fromisoformat(document["until"]))


def starts_in(table: Table) -> Iterator[tuple[str, datetime, datetime]]:
    """Each customer's first hours with an event: customer, known at, hour."""
    with map_errors(_subject(table)):
        columns = ("customer_id", "hour", "known_at", "customer_age_hours")
        rows = table.scan(selected_fields=columns).to_arrow()
    age = pc.multiply(rows["customer_age_hours"], HOUR // MICROSECOND).cast(pa.duration("us"))
    starts = (
        rows.append_column("first", pc.subtract(rows["hour"], age))
        .group_by(["customer_id", "first"])
        .aggregate([("known_at", "min")])
    )
    names = ("customer_id", "known_at_min", "first")
    for customer_id, known_at, hour in zip(*(starts[n].to_pylist() for n in names), strict=True):
        yield customer_id, known_at.astimezone(UTC), hour.astimezone(UTC)


def replace_days(
    table: Table, rows: Iterable[FeatureRow], days: Collection[date] | None, read: Read
) -> int:
    """
    Replace the features of these days, or all, and remember what was read, in one commit.

    Returns:
        The number of rows written.

    Raises:
        Conflict: Another process changed the table since it was opened; nothing was written.
    """
    is_old: BooleanExpression = AlwaysTrue()
    if days is not None:
        ranges = (And(_from("hour", first), _before("hour", end)) for first, end in _times(days))
        is_old = Or(AlwaysFalse(), AlwaysFalse(), *ranges)
    remembered = {"snapshot_id": read.snapshot_id, "until": read.until.isoformat()}
    return _replace(
        table, map(attrgetter(*COLUMNS[USAGE]), rows), is_old, {_READ: json.dumps(remembered)}
    )


def replace_anomalies(
    table: Table, rows: Iterable[Sequence[object]], customer_id: str | None
) -> None:
    """Replace the anomalies of a customer, or of all."""
    _replace(
        table, rows, AlwaysTrue() if customer_id is None else _equal("customer_id", customer_id)
    )


def versions(table: Table) -> pd.DataFrame:
    """All rows: each hour as it was known at each time; raises `StoreRefused` if there are none."""
    with map_errors(_subject(table)):
        frame = table.scan().to_pandas()
    if frame.empty:
        raise StoreRefused(
            f"{_subject(table)} is empty: run python -m examples.forecast update first"
        )
    return frame


def _replace(
    table: Table,
    rows: Iterable[Sequence[object]],
    is_old: BooleanExpression,
    properties: Mapping[str, str] | None = None,
) -> int:
    schema = table.schema().as_arrow()
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    new = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
    # Without retries: they would replace what another process committed meanwhile.
    metadata = table.metadata
    no_retries = {**metadata.properties, TableProperties.COMMIT_NUM_RETRIES: "0"}
    table.metadata = metadata.model_copy(update={"properties": no_retries})
    with warnings.catch_warnings(), map_errors(_subject(table)):
        warnings.filterwarnings("ignore", "Delete operation did not match any records")
        with table.transaction() as transaction:
            transaction.set_properties({**(properties or {})})
            transaction.overwrite(new, is_old)
    return int(new.num_rows)


def _times(days: Collection[date]) -> Iterator[tuple[str, str]]:
    for first, end in spans(days):
        yield first.isoformat(), end.isoformat()


def _subject(table: Table) -> str:
    return f"the table {'.'.join(table.name())}"


def _schema(name: str) -> Schema:
    return Schema(
        *(
            NestedField(number, column, _type_of(column), required=True)
            for number, column in enumerate(COLUMNS[name], 1)
        )
    )


def _type_of(column: str) -> PrimitiveType:
    if column in _TIMES:
        return TimestamptzType()
    return StringType() if column in _TEXTS else LongType()
