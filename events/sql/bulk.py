"""Bulk loading of empty tables, and counts without events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TypeVar

from sqlalchemy import Executable, delete, select

from events.domain.retries import RetryPolicy
from events.domain.timestamps import utc_now
from events.errors import StoreRefused
from events.models import DayCounts, Event
from events.sql.database import Database, Transaction
from events.sql.engines import parse_url
from events.sql.statements import as_json, in_order
from events.sql.tables import COUNTS, EVENTS, HOURS
from events.sql.transactions import EventTransactions

Item = TypeVar("Item")

_ROWS_PER_TRANSACTION = 5_000
#: The counter that marks a load has the plan as its type. No customer has this id, because ids do
#: not start with white space.
_MARK_KEY = (" loading", False, "load")
_NO_HOURS = (0,) * len(HOURS)
_IS_MARK = COUNTS.c.customer_id == _MARK_KEY[0]


class BulkLoader(EventTransactions):
    """
    Puts events, counters and customers on their own; `dynamodb.bulk.BulkLoader` documents it.

    May be used by several processes at the same time.
    """

    def __init__(
        self,
        url: str,
        *,
        retry: RetryPolicy,
        is_windowed: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        database = Database(
            parse_url(url), retry=retry, may_make_tables=True, is_windowed=is_windowed, now=now
        )
        super().__init__(database, now=now)
        self._read_counts = self._statements.add_counts.returning(
            *COUNTS.primary_key, *(COUNTS.c[name] for name in HOURS)
        )
        self.create_tables = database.create_tables
        self.close = database.close

    def under_way(self) -> str | None:
        """The plan of a load that was started and not finished, if any."""
        mark = select(COUNTS.c.event_type).where(_IS_MARK)
        return self._database.read(lambda connection: connection.scalar(mark))

    def begin(self, plan: str) -> datetime:
        """Mark the tables as being loaded; returns the time that every row gets."""

        def work(transaction: Transaction) -> datetime:
            execute, now = transaction.connection.execute, self._now()
            # Two loads that start at once wait for each other here.
            execute(self._statements.tick, {"now": now})
            mark = execute(select(COUNTS).where(_IS_MARK)).one_or_none()
            if mark is None:
                for table in (EVENTS, COUNTS):
                    if execute(select(table.c.customer_id).limit(1)).first():
                        raise StoreRefused(
                            f"the table {table.name} is not empty. Load into a new database: set "
                            "EVENTS_DATABASE_URL to another one"
                        )
                rows = as_json([(*_MARK_KEY, plan, *_NO_HOURS)])
                execute(self._statements.add_counts, {"rows": rows, "now": now})
                transaction.has_written = True
                return now
            if mark.event_type != plan:
                raise StoreRefused(
                    f"another load into this database was not finished: {mark.event_type}. "
                    "Run that load again, or delete the tables first"
                )
            begun_at: datetime = mark.updated_at
            return begun_at

        return self._database.write(work)

    def put_customers(self, customer_ids: Iterable[str], at: datetime) -> None:
        for batch in _batches(customer_ids):
            rows = as_json([(name,) for name in sorted(set(batch))])
            self._run(self._statements.register, rows=rows, now=at)

    def put_events(self, events: Iterable[Event], at: datetime) -> None:
        """Store distinct events without counting them."""
        for batch in _batches(events):
            self._database.write(partial(self._put_events, in_order(batch), at))

    def _put_events(self, ordered: Sequence[Event], at: datetime, transaction: Transaction) -> None:
        values = {**self._place(transaction, ordered), "now": at}
        transaction.connection.execute(self._statements.insert_events, values)
        transaction.has_written = True

    def put_counts(self, counts: Iterable[DayCounts], at: datetime) -> None:
        self.set_hours(counts, at)

    def set_hours(self, counts: Iterable[DayCounts], at: datetime) -> None:
        """Replace some hours of counters; the other hours of the day stay."""
        for batch in _batches(counts):
            counters: dict[tuple[str, bool, str, str], dict[int, int]] = {}
            for day in batch:
                key = (
                    day.customer_id, day.event_type is not None, day.day, day.event_type or "",
                )  # fmt: skip
                counters.setdefault(key, {}).update(day.hours)
            self._database.write(partial(self._set_hours, dict(sorted(counters.items())), at))

    def _set_hours(
        self,
        counters: Mapping[tuple[str, bool, str, str], Mapping[int, int]],
        at: datetime,
        transaction: Transaction,
    ) -> None:
        # Adding nothing locks the counters, and returns what they are.
        rows = as_json([(*key, *_NO_HOURS) for key in counters])
        found = transaction.connection.execute(self._read_counts, {"rows": rows, "now": at})
        changes = [
            (*key, *(counters[key].get(hour, count) - count for hour, count in enumerate(row[4:])))
            for row in found
            for key in [tuple(row[:4])]
        ]
        values = {"rows": as_json(sorted(changes)), "now": at}
        transaction.connection.execute(self._statements.add_counts, values)
        self._log(transaction, {(customer_id, day) for customer_id, _, day, _ in counters}, at)

    def finish(self) -> None:
        """Remove the mark."""
        self._run(delete(COUNTS).where(_IS_MARK))

    def _run(self, statement: Executable, **values: object) -> None:
        def work(transaction: Transaction) -> None:
            transaction.connection.execute(statement, values)
            transaction.has_written = True

        self._database.write(work)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _ROWS_PER_TRANSACTION)):
        yield batch
