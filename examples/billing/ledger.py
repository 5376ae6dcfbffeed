"""The SQL database: what was billed, which events that was, and how far each partition is read."""

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
#: Every event that was ever taken into account, for ever: what makes a repetition one.
_SEEN = Table(
    "billing_seen",
    _METADATA,
    Column("event_id", LargeBinary(32), primary_key=True),
    Column("is_voided", Boolean, nullable=False),
    # Or SQLite would keep each hash twice, in the table and in its index.
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
#: Everything of a partition before `next_offset` is in the tables above.
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
#: `INSERT … ON CONFLICT` is no SQL of all databases.
_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_SECONDS_FOR_A_LOCK = 30
#: Any number, as long as nobody else of the same PostgreSQL database takes it.
_LOCK_OF_TABLES = 4_171_208_119
#: Values of one statement: SQLite takes 32,766 of them, PostgreSQL's drivers 65,535.
_MOST_AT_A_TIME = 10_000


class Place(NamedTuple):
    """Where units are billed; `hour` is the start of a UTC hour as the API writes it."""

    customer_id: str
    hour: str
    event_type: str


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A message that no event could be made of."""

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


def place_of(event: Event) -> Place:
    hour = event.timestamp.replace(minute=0, second=0, microsecond=0)
    return Place(event.customer_id, format_timestamp(hour), event.event_type)


def event_id(event: Event) -> bytes:
    """32 bytes that stand for the four fields; JSON keeps apart where one ends."""
    fields = [*event[:3], format_timestamp(event.timestamp)]
    return hashlib.sha256(json.dumps(fields).encode()).digest()


class Ledger:
    """
    The bill. Each method is one transaction: all of it happens, or none.

    Args:
        url: As SQLAlchemy reads it, such as `sqlite:///billing.sqlite`.
    """

    def __init__(self, url: str) -> None:
        try:
            engine = create_engine(url, pool_pre_ping=True, connect_args=_arguments_for(url))
        except (ArgumentError, NoSuchModuleError, ImportError) as exc:
            # The URL may hold a password: it is not repeated.
            raise InvalidInput(
                f"the address of the database cannot be used ({type(exc).__name__}): write it "
                "like sqlite:///billing.sqlite, and install the driver that it names"
            ) from exc
        if engine.dialect.name not in _INSERTS:
            raise InvalidInput(f"the database is {engine.dialect.name}, not SQLite or PostgreSQL")
        self._engine = engine
        self._insert = _INSERTS[engine.dialect.name]

    def close(self) -> None:
        self._engine.dispose()

    def create_tables(self) -> None:
        """
        Make the tables that are missing; others may do so at the same moment.

        Raises:
            StoreUnavailable: The database failed.
        """
        with self._transaction() as connection:
            if connection.dialect.name == "postgresql":
                # There IF NOT EXISTS alone can fail where two make the same table.
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK_OF_TABLES)))
            for table in _METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition → where to go on; a partition that was never read is absent."""
        query = select(_OFFSETS.c.partition, _OFFSETS.c.next_offset)
        with self._transaction() as connection:
            rows = connection.execute(query.where(_OFFSETS.c.topic == topic))
            return {row.partition: row.next_offset for row in rows}

    def forget_offsets(self, topic: str) -> None:
        """Read the topic from its start again; what was billed stays, and is not billed again."""
        with self._transaction() as connection:
            connection.execute(delete(_OFFSETS).where(_OFFSETS.c.topic == topic))

    def record(self, batch: Batch) -> int:
        """
        Bill the events that were never seen, and note how far the topic is read.

        Returns:
            How many were new.
        """
        by_id = {event_id(each): each for each in batch.events}
        with self._transaction() as connection:
            new = self._see(connection, by_id, is_voided=False)
            self._add(connection, Counter(place_of(by_id[each]) for each in new))
            if batch.bad:
                rows = [
                    {
                        "topic": batch.topic,
                        "partition": each.partition,
                        "offset": each.offset,
                        "reason": each.reason,
                    }
                    for each in batch.bad
                ]
                connection.execute(self._insert(_BAD).values(rows).on_conflict_do_nothing())
            if batch.next_offsets:
                self._go_on_at(connection, batch)
        return len(new)

    def void(self, events: Collection[Event]) -> int:
        """
        Take events out of the bill for good, also those that the bus brings only later.

        Returns:
            How many units that took.
        """
        by_id = {event_id(each): each for each in events}
        ids = iter(sorted(by_id))
        taken: Counter[Place] = Counter()
        with self._transaction() as connection:
            # An hour may have had more of them than a statement takes.
            while some := list(islice(ids, _MOST_AT_A_TIME)):
                new = self._see(connection, some, is_voided=True)
                billed = connection.execute(
                    update(_SEEN)
                    .where(_SEEN.c.event_id.in_([each for each in some if each not in new]))
                    .where(_SEEN.c.is_voided.is_(False))
                    .values(is_voided=True)
                    .returning(_SEEN.c.event_id)
                ).scalars()
                taken.update(place_of(by_id[each]) for each in billed)
            self._add(connection, {place: -number for place, number in taken.items()})
        return taken.total()

    def customers(self) -> list[str]:
        with self._transaction() as connection:
            return list(connection.execute(select(_USAGE.c.customer_id).distinct()).scalars())

    def units(self, customer_id: str) -> dict[Place, int]:
        """All that is billed to a customer; places without units are absent."""
        query = select(_USAGE).where(_USAGE.c.customer_id == customer_id, _USAGE.c.units != 0)
        with self._transaction() as connection:
            return {
                Place(row.customer_id, row.hour, row.event_type): row.units
                for row in connection.execute(query)
            }

    def month(self, customer_id: str, month: str) -> dict[str, int]:
        """Event type → units of a customer in a month of UTC, like `2021-03`."""
        query = (
            select(_USAGE.c.event_type, func.sum(_USAGE.c.units).label("units"))
            .where(_USAGE.c.customer_id == customer_id, _USAGE.c.hour.startswith(f"{month}-"))
            .group_by(_USAGE.c.event_type)
        )
        with self._transaction() as connection:
            # PostgreSQL sums whole numbers to a decimal.
            found = {row.event_type: int(row.units) for row in connection.execute(query)}
        return {name: number for name, number in found.items() if number}

    def bad_messages(self, topic: str) -> int:
        query = select(func.count()).select_from(_BAD).where(_BAD.c.topic == topic)
        with self._transaction() as connection:
            return int(connection.execute(query).scalar_one())

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as exc:
            raise StoreUnavailable(
                f"the database of the bill failed ({type(exc).__name__}). Run again: what was "
                "under way is either billed or not, and is not billed twice"
            ) from exc

    def _see(
        self, connection: Connection, ids: Collection[bytes], *, is_voided: bool
    ) -> set[bytes]:
        """Note events as seen; returns those that were not."""
        if not ids:
            return set()
        # In one order for all: two writers then wait for one another, and never in a circle.
        rows = [{"event_id": each, "is_voided": is_voided} for each in sorted(ids)]
        statement = self._insert(_SEEN).values(rows).on_conflict_do_nothing()
        return set(connection.execute(statement.returning(_SEEN.c.event_id)).scalars())

    def _add(self, connection: Connection, units: Mapping[Place, int]) -> None:
        if not units:
            return
        rows = [{**place._asdict(), "units": units[place]} for place in sorted(units)]
        statement = self._insert(_USAGE).values(rows)
        added = {"units": _USAGE.c.units + statement.excluded.units}
        keys = list(_USAGE.primary_key)
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=added))

    def _go_on_at(self, connection: Connection, batch: Batch) -> None:
        rows = [
            {"topic": batch.topic, "partition": partition, "next_offset": offset}
            for partition, offset in sorted(batch.next_offsets.items())
        ]
        statement = self._insert(_OFFSETS).values(rows)
        keys = list(_OFFSETS.primary_key)
        # Not the greater of the two: whoever reads a topic from its start again goes back.
        going_on = {"next_offset": statement.excluded.next_offset}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=going_on))


def _arguments_for(url: str) -> dict[str, Any]:
    """SQLite lets one write at a time; the others wait so long."""
    return {"timeout": _SECONDS_FOR_A_LOCK} if url.startswith("sqlite") else {}
