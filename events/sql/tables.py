"""The tables, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    MetaData,
    SmallInteger,
    String,
    Table,
    Tuple,
    TypeDecorator,
    tuple_,
)
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: microseconds since 1970 on SQLite, `timestamptz` on PostgreSQL."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(BigInteger() if is_sqlite else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return to_microseconds(value) if value and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _EPOCH + timedelta(microseconds=value)
        at: datetime = value.astimezone(UTC)
        return at


# Text is compared byte by byte: on SQLite by default, on PostgreSQL by the collation "C".
_Text = String().with_variant(String(collation="C"), "postgresql")

METADATA = MetaData()

#: Every event once, forever. A voided event stays, so that a late retry cannot bring it back.
EVENTS = Table(
    "customer_events",
    METADATA,
    Column("customer_id", _Text, primary_key=True),
    Column("occurred_at", Instant, primary_key=True),
    Column("event_type", _Text, primary_key=True),
    Column("transaction_id", _Text, primary_key=True),
    Column("ingested_at", Instant, nullable=False),
    Column("voided_at", Instant),
    Column("void_reason", _Text),
    sqlite_with_rowid=False,
)
EVENT_KEY = tuple(EVENTS.primary_key.columns)


def values_for(columns: Sequence[Column[Any]], values: Iterable[Any]) -> Tuple:
    """Values to compare with `tuple_(*columns)`."""
    return tuple_(*values, types=[item.type for item in columns])


#: Columns of the counters, one per UTC hour.
HOURS = tuple(f"h{hour:02d}" for hour in range(24))

#: The counters of each customer and UTC day: the total, and (`by_type`) one row per event type.
COUNTS = Table(
    "customer_events_hourly_counts",
    METADATA,
    Column("customer_id", _Text, primary_key=True),
    Column("by_type", Boolean, primary_key=True),
    Column("day", _Text, primary_key=True),
    #: Empty for the total.
    Column("event_type", _Text, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in HOURS),
    Column("updated_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

#: When each day of a customer last changed, by the change clock.
CHANGES = Table(
    "customer_events_changes",
    METADATA,
    Column("customer_id", _Text, primary_key=True),
    Column("day", _Text, primary_key=True),
    Column("changed_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)
CHANGE_ORDER = (CHANGES.c.changed_at, CHANGES.c.day, CHANGES.c.customer_id)
Index("customer_events_changes_in_order", *CHANGE_ORDER)

CUSTOMERS = Table(
    "customer_events_customers",
    METADATA,
    Column("customer_id", _Text, primary_key=True),
    Column("registered_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

#: One row. Each transaction that changes counters takes its next instant and keeps the row locked
#: until it commits: so the order of these instants is the order of the commits.
CHANGE_CLOCK = Table(
    "customer_events_change_clock",
    METADATA,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

API_KEYS = Table(
    "customer_events_api_keys",
    METADATA,
    Column("key_id", _Text, primary_key=True),
    Column("name", _Text, nullable=False),
    Column("rights", _Text, nullable=False),
    Column("customer_id", _Text),
    Column("digest", _Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
)

#: One row: the version of the tables. Alembic's table; `events.sql.schema` reads it.
SCHEMA = Table("customer_events_schema", METADATA, Column("version_num", _Text, primary_key=True))
