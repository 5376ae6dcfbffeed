"""
The statements that write. Each takes any number of rows.

The rows are one JSON document, except events on SQLite: these are in a temporary table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    FromClause,
    Insert,
    Interval,
    Select,
    String,
    Subquery,
    Text,
    Update,
    and_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from events.domain.timestamps import format_timestamp
from events.models import Event
from events.sql.tables import (
    CHANGE_CLOCK,
    CHANGES,
    COUNTS,
    CUSTOMERS,
    EVENT_KEY,
    EVENTS,
    HOURS,
    Instant,
    to_microseconds,
)

Row = tuple[Any, ...]

#: Rows of one INSERT: SQLite takes 32,766 parameters, and each row has four.
_MAX_ROWS_INSERTED = 4_096
_INSERT_INCOMING = (
    "INSERT INTO incoming (customer_id, occurred_at, event_type, transaction_id) VALUES "
)


def as_json(rows: Sequence[Sequence[Any]]) -> str:
    """The parameter `rows` of a statement."""
    return msgspec.json.encode(rows).decode()


class Statements:
    """
    The statements for one of the two databases.

    Rows have the columns of the primary key, in its order; rows of counters have the hours as well.
    Sort the rows: so two transactions lock rows in the same order, and cannot deadlock.
    """

    def __init__(self, dialect: str) -> None:
        self._is_sqlite = dialect == "sqlite"
        self.register = self._register()
        customers = self._registered_customers()
        # Writers share the first lock; the second waits for all of them.
        self.lock_customers = customers.with_for_update(read=True, key_share=True)
        self.lock_for_erasure = customers.with_for_update()
        self.find_events = self._find_events()
        self.insert_events = self._insert_events()
        self.lock_events = self.find_events.order_by(*EVENT_KEY).with_for_update(of=EVENTS)
        self.void_events = self._void_events()
        self.add_counts = self._add_counts(is_ingest=True)
        self.subtract_erased = self._add_counts(is_ingest=False)
        self.tick = self._tick()
        self.log_changes = self._log_changes()

    def in_order(self, events: Iterable[Event]) -> list[tuple[Row, Event]]:
        """Events with their rows, in the order of their keys."""
        instant: Callable[[datetime], object] = (
            to_microseconds if self._is_sqlite else format_timestamp
        )
        pairs = []
        for event in events:
            customer_id, event_type, transaction_id, at = event
            pairs.append(((customer_id, instant(at), event_type, transaction_id), event))
        pairs.sort()
        return pairs

    def place(self, connection: Connection, rows: Sequence[Row]) -> dict[str, str]:
        """
        Put these rows where the statements about events read them.

        Returns:
            The parameters that those statements need.
        """
        if not self._is_sqlite:
            return {"rows": as_json(rows)}
        connection.exec_driver_sql("DELETE FROM incoming")
        first = 0
        while rest := len(rows) - first:
            # Powers of two: so there are few different statements, and SQLite keeps all compiled.
            number = min(1 << (rest.bit_length() - 1), _MAX_ROWS_INSERTED)
            values = tuple(chain.from_iterable(rows[first : first + number]))
            connection.exec_driver_sql(_insert_incoming(number), values)
            first += number
        return {}

    def _events(self) -> FromClause:
        """The rows that `place` stored."""
        if not self._is_sqlite:
            return self._rows(*EVENT_KEY)
        index = column("n", BigInteger) - literal_column("1")
        key = (column(item.name, item.type) for item in EVENT_KEY)
        return select(index.label("n"), *key).select_from(table("incoming")).subquery()

    def _rows(self, *columns: Column[Any]) -> Subquery:
        """The rows of the parameter `rows`, in their order; `n` is the index of each."""
        parameter = bindparam("rows", type_=Text)
        each: FromClause
        fields: list[ColumnElement[Any]]
        index: ColumnElement[Any] = column("key", BigInteger)
        value: ColumnElement[Any] = column("value", JSONB)
        if self._is_sqlite:
            each = func.json_each(parameter).table_valued("key", "value")
            fields = [
                func.json_extract(value, literal_column(f"'$[{number}]'"), type_=item.type)
                for number, item in enumerate(columns)
            ]
        else:
            elements = func.jsonb_array_elements(cast(parameter, JSONB))
            each = elements.table_valued("value", with_ordinality="key").render_derived()
            index = index - literal_column("1")
            fields = [
                cast(value.op("->>")(literal_column(str(number))), item.type)
                for number, item in enumerate(columns)
            ]
        labels = [field.label(item.name) for field, item in zip(fields, columns, strict=True)]
        return select(index.label("n"), *labels).select_from(each).subquery("incoming")

    def _insert(self, table: Any) -> Any:
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    def _register(self) -> Insert:
        """Register customers that are not registered."""
        incoming = self._rows(CUSTOMERS.c.customer_id)
        rows = select(incoming.c.customer_id, _NOW).where(true())
        insert: Insert = (
            self._insert(CUSTOMERS)
            .from_select(["customer_id", "registered_at"], rows)
            .on_conflict_do_nothing()
        )
        return insert

    def _registered_customers(self) -> Select[Any]:
        incoming = self._rows(CUSTOMERS.c.customer_id)
        return (
            select(CUSTOMERS.c.customer_id)
            .where(CUSTOMERS.c.customer_id.in_(select(incoming.c.customer_id)))
            .order_by(CUSTOMERS.c.customer_id)
        )

    def _find_events(self) -> Select[Any]:
        """The index of each event that is stored, and whether it is voided."""
        incoming = self._events()
        return select(incoming.c.n, EVENTS.c.voided_at.is_not(None)).select_from(
            incoming.join(EVENTS, _is_same_event(incoming))
        )

    def _insert_events(self) -> Insert:
        """Insert events that are not stored."""
        incoming = self._events()
        names = [item.name for item in EVENT_KEY]
        rows = select(*(incoming.c[name] for name in names), _NOW).where(true())
        insert = self._insert(EVENTS).from_select([*names, "ingested_at"], rows)
        # The number of new rows tells whether another writer was faster.
        options = {"preserve_rowcount": True}
        statement: Insert = insert.on_conflict_do_nothing().execution_options(**options)
        return statement

    def _void_events(self) -> Update:
        incoming = self._events()
        return (
            update(EVENTS)
            .where(_is_same_event(incoming))
            .values(voided_at=_NOW, void_reason=bindparam("reason", type_=String))
        )

    def _add_counts(self, *, is_ingest: bool) -> Insert:
        """Add to counters. An erasure, which leaves no trace, keeps their times."""
        key = list(COUNTS.primary_key.columns)
        incoming = self._rows(*key, *(COUNTS.c[name] for name in HOURS))
        names = [*(item.name for item in key), *HOURS]
        rows = select(*(incoming.c[name] for name in names), _NOW).where(true())
        insert = self._insert(COUNTS).from_select([*names, "updated_at"], rows)
        sums = {name: COUNTS.c[name] + insert.excluded[name] for name in HOURS}
        if is_ingest:
            sums["updated_at"] = insert.excluded.updated_at
        upsert: Insert = insert.on_conflict_do_update(index_elements=key, set_=sums)
        return upsert

    def _tick(self) -> Any:
        """Lock the change clock and return its next instant."""
        at = CHANGE_CLOCK.c.changed_at
        following: ColumnElement[Any]
        if self._is_sqlite:
            following = func.max(type_coerce(at, BigInteger) + 1, _NOW)
        else:
            # The server's clock, because the machines that write may have different times.
            later = type_coerce(at, DateTime) + literal_column("interval '1 microsecond'", Interval)
            following = func.greatest(later, func.clock_timestamp())
        return update(CHANGE_CLOCK).values(changed_at=following).returning(at)

    def _log_changes(self) -> Insert:
        incoming = self._rows(CHANGES.c.customer_id, CHANGES.c.day)
        rows = select(incoming.c.customer_id, incoming.c.day, _NOW).where(true())
        insert = self._insert(CHANGES).from_select(["customer_id", "day", "changed_at"], rows)
        upsert: Insert = insert.on_conflict_do_update(
            index_elements=["customer_id", "day"],
            set_={"changed_at": insert.excluded.changed_at},
        )
        return upsert


_NOW = bindparam("now", type_=Instant)


@cache
def _insert_incoming(number: int) -> str:
    return _INSERT_INCOMING + ", ".join(["(?, ?, ?, ?)"] * number)


def _is_same_event(incoming: FromClause) -> ColumnElement[bool]:
    return and_(*(item == incoming.c[item.name] for item in EVENT_KEY))


@cache
def statements(dialect: str) -> Statements:
    return Statements(dialect)
