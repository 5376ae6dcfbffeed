"""The SQL database: the bill, the events in it, and how far each partition was read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from events.domain.timestamps import format_timestamp
from events.errors import InvalidInput, StoreUnavailable
from events.models import Event

_METADATA = MetaData()
#: Every event ever seen, kept forever: it identifies repeated events.
_SEEN = Table(
    "billing_seen",
    _METADATA,
    Column("event_id", LargeBinary(32), primary_key=True),
    Column("is_voided", Boolean, nullable=False),
    # With a rowid SQLite would keep each hash twice, in the table and in its index.
    sqlite_with_rowid=False,
)
_USAGE = Table(
    "billing_usage",
    _METADATA,
    Column("customer_id", String, primary_key=True),
    Column("hour", String(27), primary_key=True),
    Column("event_type", String, primary_key=True),
    Column("units", BigInteger, nullable=False),
)
#: All messages of a partition before `next_offset` are in the tables above.
_OFFSETS = Table(
    "billing_offsets",
    _METADATA,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)
_BAD = Table(
    "billing_bad_messages",
    _METADATA,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("reason", String, nullable=False),
)
#: `INSERT … ON CONFLICT` differs between databases.
_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_SECONDS_FOR_A_LOCK = 30
#: Any number that no other program uses in the same PostgreSQL database.
_LOCK_OF_TABLES = 4_171_208_119
#: Values in one statement: SQLite takes 32,766, PostgreSQL's drivers 65,535.
_MAX_VALUES = 10_000


class UsageKey(NamedTuple):
    """What units are billed for; `hour` is the start of a UTC hour as the API writes it."""

    customer_id: str
    hour: str
    event_type: str


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A message that is not a valid event."""

    partition: int
    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Consecutive messages of some partitions.

    Args:
        next_offsets: Partition → the offset after its last message here.
    """

    topic: str
    events: Sequence[Event]
    bad: Sequence[BadMessage]
    next_offsets: Mapping[int, int]


def key_of(event: Event) -> UsageKey:
    hour = event.timestamp.replace(minute=0, second=0, microsecond=0)
    return UsageKey(event.customer_id, format_timestamp(hour), event.event_type)


def event_id(event: Event) -> bytes:
    """A hash of the four fields; JSON keeps the fields apart."""
    fields = [*event[:3], format_timestamp(event.timestamp)]
    return hashlib.sha256(json.dumps(fields).encode()).digest()


class Ledger:
    """
    The bill. Each method is one transaction.

    Args:
        url: A URL of SQLAlchemy, such as `sqlite:///billing.sqlite`.
    """

    def __init__(self, url: str) -> None:
        try:
            engine = create_engine(url, pool_pre_ping=True, connect_args=_arguments_for(url))
        except (ArgumentError, NoSuchModuleError, ImportError) as exc:
            # Without the URL, which may hold a password.
            raise InvalidInput(
                f"the database URL is invalid ({type(exc).__name__}): use a URL such as "
                "sqlite:///billing.sqlite, and install its driver"
            ) from exc
        if engine.dialect.name not in _INSERTS:
            raise InvalidInput(
                f"the database {engine.dialect.name} is not supported: use SQLite or PostgreSQL"
            )
        self._engine = engine
        self._insert = _INSERTS[engine.dialect.name]

    def close(self) -> None:
        self._engine.dispose()

    def create_tables(self) -> None:
        """
        Create the missing tables; other processes may do so at the same time.

        Raises:
            StoreUnavailable: The database failed.
        """
        with self._transaction() as connection:
            if connection.dialect.name == "postgresql":
                # PostgreSQL's IF NOT EXISTS fails if two sessions create the same table.
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK_OF_TABLES)))
            for table in _METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition → the next offset; partitions that were never read are absent."""
        query = select(_OFFSETS.c.partition, _OFFSETS.c.next_offset)
        with self._transaction() as connection:
            rows = connection.execute(query.where(_OFFSETS.c.topic == topic))
            return {row.partition: row.next_offset for row in rows}

    def forget_offsets(self, topic: str) -> None:
        """Read the topic from its start again; nothing is billed twice."""
        with self._transaction() as connection:
            connection.execute(delete(_OFFSETS).where(_OFFSETS.c.topic == topic))

    def record(self, batch: Batch) -> int:
        """
        Bill the events that were never seen, and store how far the topic was read.

        Returns:
            The number of new events.
        """
        by_id = {event_id(event): event for event in batch.events}
        with self._transaction() as connection:
            new = self._see(connection, by_id, is_voided=False)
            self._add(connection, Counter(key_of(by_id[one]) for one in new))
            if batch.bad:
                rows = [
                    {
                        "topic": batch.topic,
                        "partition": bad.partition,
                        "offset": bad.offset,
                        "reason": bad.reason,
                    }
                    for bad in batch.bad
                ]
                connection.execute(self._insert(_BAD).values(rows).on_conflict_do_nothing())
            if batch.next_offsets:
                self._store_offsets(connection, batch)
        return len(new)

    def void(self, events: Collection[Event]) -> int:
        """
        Remove events from the bill for good, including events that the topic delivers later.

        Returns:
            The number of units removed.
        """
        by_id = {event_id(event): event for event in events}
        ids = iter(sorted(by_id))
        taken: Counter[UsageKey] = Counter()
        with self._transaction() as connection:
            while chunk := list(islice(ids, _MAX_VALUES)):
                new = self._see(connection, chunk, is_voided=True)
                billed = connection.execute(
                    update(_SEEN)
                    .where(_SEEN.c.event_id.in_([one for one in chunk if one not in new]))
                    .where(_SEEN.c.is_voided.is_(False))
                    .values(is_voided=True)
                    .returning(_SEEN.c.event_id)
                ).scalars()
                taken.update(key_of(by_id[one]) for one in billed)
            self._add(connection, {key: -number for key, number in taken.items()})
        return taken.total()

    def customers(self) -> list[str]:
        with self._transaction() as connection:
            return list(connection.execute(select(_USAGE.c.customer_id).distinct()).scalars())

    def units(self, customer_id: str) -> dict[UsageKey, int]:
        """Everything billed to a customer; keys without units are absent."""
        query = select(_USAGE).where(_USAGE.c.customer_id == customer_id, _USAGE.c.units != 0)
        with self._transaction() as connection:
            return {
                UsageKey(row.customer_id, row.hour, row.event_type): row.units
                for row in connection.execute(query)
            }

    def month(self, customer_id: str, month: str) -> dict[str, int]:
        """Event type → units of a customer in a UTC month like `2021-03`."""
        query = (
            select(_USAGE.c.event_type, func.sum(_USAGE.c.units).label("units"))
            .where(_USAGE.c.customer_id == customer_id, _USAGE.c.hour.startswith(f"{month}-"))
            .group_by(_USAGE.c.event_type)
        )
        with self._transaction() as connection:
            # PostgreSQL returns a decimal.
            units = {row.event_type: int(row.units) for row in connection.execute(query)}
        return {name: number for name, number in units.items() if number}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as exc:
            raise StoreUnavailable(
                f"the billing database failed ({type(exc).__name__}). Run again: nothing is lost "
                "and nothing is billed twice"
            ) from exc

    def _see(
        self, connection: Connection, ids: Collection[bytes], *, is_voided: bool
    ) -> set[bytes]:
        """Mark events as seen; returns the new ones."""
        if not ids:
            return set()
        # Sorted, so that two writers lock rows in the same order and cannot deadlock.
        rows = [{"event_id": one, "is_voided": is_voided} for one in sorted(ids)]
        statement = self._insert(_SEEN).values(rows).on_conflict_do_nothing()
        return set(connection.execute(statement.returning(_SEEN.c.event_id)).scalars())

    def _add(self, connection: Connection, units: Mapping[UsageKey, int]) -> None:
        if not units:
            return
        rows = [{**key._asdict(), "units": units[key]} for key in sorted(units)]
        statement = self._insert(_USAGE).values(rows)
        added = {"units": _USAGE.c.units + statement.excluded.units}
        keys = list(_USAGE.primary_key)
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=added))

    def _store_offsets(self, connection: Connection, batch: Batch) -> None:
        rows = [
            {"topic": batch.topic, "partition": partition, "next_offset": offset}
            for partition, offset in sorted(batch.next_offsets.items())
        ]
        statement = self._insert(_OFFSETS).values(rows)
        keys = list(_OFFSETS.primary_key)
        # Not the greater one: a run from the start goes back.
        changed = {"next_offset": statement.excluded.next_offset}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))


def _arguments_for(url: str) -> dict[str, Any]:
    """SQLite allows one writer at a time; this is how long others wait."""
    return {"timeout": _SECONDS_FOR_A_LOCK} if url.startswith("sqlite") else {}
