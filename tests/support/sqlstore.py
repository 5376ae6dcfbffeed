"""The store in memory that tests use, the back door to any SQL store, and a spy on any store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table, and_, delete, insert, select

from events.domain.retries import RetryPolicy
from events.models import Event
from events.service import Store
from events.sql.database import Database, Transaction
from events.sql.store import SqlStore
from events.sql.tables import CHANGE_CLOCK, COUNTS, CUSTOMERS, EVENTS, HOURS, METADATA, SCHEMA
from tests.support.backdoor import BackDoor
from tests.support.factories import Contents, counter_key, stored_key

#: When `MemoryStore` stores its first event; each later write comes a second after.
FIRST_INGESTED_AT = datetime(2021, 6, 1, tzinfo=UTC)


class SqlBackDoor:
    """The back door to the tables of a SQL store."""

    _database: Database

    def contents(self) -> Contents:
        rows = self._rows(EVENTS)
        keys = [(row.customer_id, stored_key(_event(row)), row.void_reason) for row in rows]
        counters = {
            (row.customer_id, counter_key(row.day, row.event_type if row.by_type else None)): {
                name: getattr(row, name) for name in HOURS if getattr(row, name)
            }
            for row in self._rows(COUNTS)
        }
        return Contents(
            events=sorted((name, key) for name, key, _ in keys),
            counters=counters,
            customers=sorted(row.customer_id for row in self._rows(CUSTOMERS)),
            voided=sorted(
                key for key, row in zip(keys, rows, strict=True) if row.voided_at is not None
            ),
        )

    def _rows(self, table: Table) -> Any:
        return self._database.read(lambda connection: connection.execute(select(table)).all())

    def _execute(self, *statements: Any) -> int:
        """Run statements in one transaction; returns how many rows they changed."""

        def work(transaction: Transaction) -> int:
            transaction.has_written = True
            return sum(transaction.connection.execute(each).rowcount for each in statements)

        return self._database.write(work)

    def clear(self) -> None:
        """Empty all tables, and keep the change clock and the version."""
        kept = (CHANGE_CLOCK, SCHEMA)
        self._execute(*(delete(table) for table in METADATA.sorted_tables if table not in kept))

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        values = {name: hours.get(hour, 0) for hour, name in enumerate(HOURS)}
        key = _counter_values(customer_id, day, event_type)
        row = {**key, **values, "updated_at": FIRST_INGESTED_AT}
        self._execute(delete(COUNTS).where(_is(COUNTS, key)), insert(COUNTS).values(row))

    def drop_counter(self, customer_id: str, day: str, event_type: str | None) -> None:
        key = _counter_values(customer_id, day, event_type)
        assert self._execute(delete(COUNTS).where(_is(COUNTS, key))) == 1

    def put_event(self, event: Event) -> None:
        values = {**_event_values(event), "ingested_at": FIRST_INGESTED_AT}
        self._execute(insert(EVENTS).values(values))

    def drop_event(self, event: Event) -> None:
        assert self._execute(delete(EVENTS).where(_is(EVENTS, _event_values(event)))) == 1

    def put_foreign(self, customer_id: str, key: str) -> bool:  # noqa: ARG002 - as in `BackDoor`
        return False  # the columns of the table allow events only

    def unlist(self, customer_id: str) -> None:
        assert self._execute(delete(CUSTOMERS).where(CUSTOMERS.c.customer_id == customer_id)) == 1


def _event(row: Any) -> Event:
    return Event(row.customer_id, row.event_type, row.transaction_id, row.occurred_at)


def _event_values(event: Event) -> dict[str, Any]:
    customer_id, event_type, transaction_id, at = event
    return {
        "customer_id": customer_id,
        "occurred_at": at,
        "event_type": event_type,
        "transaction_id": transaction_id,
    }


def _counter_values(customer_id: str, day: str, event_type: str | None) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "by_type": event_type is not None,
        "day": day,
        "event_type": event_type or "",
    }


def _is(table: Table, values: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in values.items()))


class SqlTables(SqlBackDoor):
    """The back door to one store."""

    def __init__(self, store: SqlStore) -> None:
        self._database = store._database


class MemoryStore(SqlBackDoor, SqlStore):
    """An empty store in memory, with its own back door."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        # The first second goes to the creation of the tables.
        seconds = count(-1)
        super().__init__(
            "sqlite://",
            retry=RetryPolicy(10),
            now=now or (lambda: FIRST_INGESTED_AT + timedelta(seconds=next(seconds))),
        )
        self.is_closed = False
        self.create_tables()
        # Tests look at the contents afterwards.
        self.close = self._note_closed

    def _note_closed(self) -> None:
        self.is_closed = True


if TYPE_CHECKING:
    # For mypy the spy has the methods of a store; it forwards them all.
    _Forwarding = MemoryStore
else:
    _Forwarding = object


class SpyStore(_Forwarding):
    """
    Any store; notes each call before forwarding it, except questions about batching.

    Args:
        before: Called with the method's name before each call.
    """

    def __init__(self, store: Store, before: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._before = before
        #: Each call: the method's name and its arguments.
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def lane_of(self, event: Event) -> Hashable:
        return self._store.lane_of(event)

    def fits_transaction(self, number_of_events: int, number_of_types: int) -> bool:
        return self._store.fits_transaction(number_of_events, number_of_types)

    def expect(self, events: Sequence[Event]) -> None:
        self._store.expect(events)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        def call(*args: object, **options: object) -> Any:
            self.calls.append((name, (*args, *options.values())))
            self._before(name)
            return attribute(*args, **options)

        return call


if TYPE_CHECKING:
    # mypy checks these against the protocols.
    _store: Store = MemoryStore()
    _back_door: BackDoor = MemoryStore()
