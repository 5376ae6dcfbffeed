"""Transactions that change events and their counters together: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Column, Select, and_, delete, select, tuple_, update

from events.models import DayCounts, Erasure, Event, Outcome
from events.sql.database import Conflict, Database, Transaction
from events.sql.statements import as_json, in_order, statements
from events.sql.tables import (
    CHANGES,
    COUNTS,
    CUSTOMERS,
    EVENT_KEY,
    EVENTS,
    HOURS,
    values_for,
)


class EventTransactions:
    """
    The ways to change events and counters; safe to use from many threads.

    Counters equal the stored events at every moment, whatever fails. All transactions lock in one
    order and cannot deadlock: customers, events, counters, the change clock; and rows of one table
    in the order of their keys.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._statements = statements(database.dialect)
        #: Whether the last write found all its events stored: the next one probably will.
        self._is_resend = False

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """Store and count distinct events, each at most once forever; return the outcomes."""
        ordered = in_order(events)

        def work(transaction: Transaction) -> dict[Event, Outcome]:
            now, execute = self._now(), transaction.connection.execute
            rows = self._place(transaction, ordered)

            def find(statement: Select[Any]) -> dict[Event, Outcome]:
                return {
                    ordered[index]: Outcome.VOIDED if is_voided else Outcome.DUPLICATE
                    for index, is_voided in execute(statement, rows)
                }

            is_sqlite = self._database.is_sqlite
            stored = find(self._statements.find_events) if is_sqlite or self._is_resend else {}
            if len(stored) == len(ordered):
                return stored
            self._lock(transaction, {event.customer_id for event in ordered}, now)
            inserted = execute(self._statements.insert_events, {**rows, "now": now}).rowcount
            if not is_sqlite:  # other writers may have stored some since the search
                stored = find(self._statements.find_others) if inserted < len(ordered) else {}
            if inserted + len(stored) != len(ordered):
                raise Conflict
            if inserted:
                new = [event for event in ordered if event not in stored] if stored else ordered
                transaction.proof = _changed(new[0], EVENTS.c.ingested_at, now)
                self._count(transaction, new, 1, now)
            return stored

        stored = self._database.write(work)
        self._is_resend = len(stored) == len(events)
        return [stored.get(event, Outcome.INSERTED) for event in events]

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        """Mark distinct stored events as voided and uncount them; return the outcomes."""
        ordered = in_order(events)

        def work(transaction: Transaction) -> dict[Event, Outcome]:
            now, execute = self._now(), transaction.connection.execute
            rows = self._place(transaction, ordered)
            found = sorted(index for index, _ in execute(self._statements.find_events, rows))
            if not found:
                return {}
            stored = [ordered[index] for index in found]
            self._lock(transaction, {event.customer_id for event in stored}, now)
            outcomes, counted = {}, []
            rows = self._place(transaction, stored)
            for index, is_voided in execute(self._statements.lock_events, rows):
                event = stored[index]
                outcomes[event] = Outcome.ALREADY_VOIDED if is_voided else Outcome.VOIDED
                if not is_voided:
                    counted.append(event)
            if counted:
                rows = self._place(transaction, counted)
                execute(self._statements.void_events, {**rows, "reason": reason, "now": now})
                transaction.proof = _changed(counted[0], EVENTS.c.voided_at, now)
                self._count(transaction, counted, -1, now)
            return outcomes

        outcomes = self._database.write(work)
        return [outcomes.get(event, Outcome.NOT_FOUND) for event in events]

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        """Run one step of an erasure, which leaves no trace in the change log."""
        is_customer = EVENTS.c.customer_id == customer_id

        def work(transaction: Transaction) -> Erasure:
            now, execute = self._now(), transaction.connection.execute
            # Wait for transactions that write for the customer, and keep out later ones.
            self._lock(transaction, {customer_id}, now, is_erasure=True)
            key = EVENT_KEY[1:]
            first = (
                select(*EVENT_KEY, EVENTS.c.voided_at)
                .where(is_customer)
                .order_by(*key)
                .limit(max_events)
            )
            rows = execute(first).all()
            if rows:
                counted = [
                    Event(row.customer_id, row.event_type, row.transaction_id, row.occurred_at)
                    for row in rows
                    if row.voided_at is None
                ]
                counts = as_json(_count_rows(counted, -1))
                execute(self._statements.subtract_erased, {"rows": counts, "now": now})
                execute(
                    delete(EVENTS).where(
                        is_customer, tuple_(*key) <= values_for(key, rows[-1][1:4])
                    )
                )
            transaction.has_written = bool(rows)
            if len(rows) == max_events:
                return Erasure(len(rows), is_complete=False)
            for table in (COUNTS, CHANGES, CUSTOMERS):
                result = execute(delete(table).where(table.c.customer_id == customer_id))
                transaction.has_written |= result.rowcount > 0
            return Erasure(len(rows), is_complete=True)

        return self._database.write(work)

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        """Replace a counter by its recount; False if the counter has changed since `seen`."""
        by_type = seen.event_type is not None
        key = (seen.customer_id, by_type, seen.day, seen.event_type or "")
        is_counter = and_(
            *(item == value for item, value in zip(COUNTS.primary_key, key, strict=True))
        )
        hours = _columns(recount)

        def work(transaction: Transaction) -> bool:
            now, execute = self._now(), transaction.connection.execute
            row = execute(select(COUNTS).where(is_counter).with_for_update()).one_or_none()
            if row is None:
                if seen.updated_at is not None or seen.hours:
                    return False
                counts = as_json([(*key, *hours.values())])
                execute(self._statements.add_counts, {"rows": counts, "now": now})
            elif row.updated_at != seen.updated_at or _hours(row) != seen.hours:
                return False
            else:
                # Not its time: that is the time of the last ingest.
                execute(update(COUNTS).where(is_counter).values(hours))
            self._log(transaction, {(seen.customer_id, seen.day)}, now)
            return True

        return self._database.write(work)

    def register(self, customer_id: str) -> None:
        """Register a customer, also if it is registered already."""

        def work(transaction: Transaction) -> None:
            rows = as_json([(customer_id,)])
            transaction.connection.execute(
                self._statements.register, {"rows": rows, "now": self._now()}
            )
            transaction.has_written = True

        self._database.write(work)

    # --- steps ------------------------------------------------------------------------------------

    def _place(self, transaction: Transaction, ordered: Sequence[Event]) -> dict[str, str]:
        return self._statements.place(transaction.connection, ordered)

    def _lock(
        self,
        transaction: Transaction,
        names: set[str],
        now: datetime,
        *,
        is_erasure: bool = False,
    ) -> None:
        """
        Keep erasures of these customers out until the end; an erasure keeps out writers as well.

        Only a row that exists can be locked, so each customer is registered first.
        """
        customers = as_json([(name,) for name in sorted(names)])
        execute, statements = transaction.connection.execute, self._statements
        execute(statements.register, {"rows": customers, "now": now})
        if self._database.is_sqlite:
            return  # it has one writer
        lock = statements.lock_for_erasure if is_erasure else statements.lock_customers
        if len(execute(lock, {"rows": customers}).all()) != len(names):
            raise Conflict  # an erasure deleted some of them in between

    def _count(
        self, transaction: Transaction, events: Iterable[Event], sign: int, now: datetime
    ) -> None:
        """Add events to the counters, or subtract them, and log their days as changed."""
        counts = _count_rows(events, sign)
        transaction.connection.execute(
            self._statements.add_counts, {"rows": as_json(counts), "now": now}
        )
        self._log(transaction, {(customer_id, day) for customer_id, _, day, *_ in counts}, now)

    def _log(self, transaction: Transaction, days: set[tuple[str, str]], now: datetime) -> None:
        execute = transaction.connection.execute
        # The clock comes last: it is locked until the commit, and every other writer waits for it.
        changed_at = execute(self._statements.tick, {"now": now}).scalar_one()
        rows = as_json(sorted(days))
        execute(self._statements.log_changes, {"rows": rows, "now": changed_at})
        transaction.has_written = True


def _changed(event: Event, column: Column[Any], at: datetime) -> Select[Any]:
    """Find an event that was stored or voided at this instant."""
    key = event.customer_id, event.timestamp, event.event_type, event.transaction_id
    is_event = and_(*(item == value for item, value in zip(EVENT_KEY, key, strict=True)))
    return select(column).where(is_event, column == at)


def _count_rows(events: Iterable[Event], sign: int) -> list[tuple[Any, ...]]:
    """What events add to the counters, times `sign`, as rows in the order of their keys."""
    types: dict[tuple[str, int, str], list[int]] = {}
    for customer_id, event_type, _, at in events:
        key = customer_id, at.toordinal(), event_type
        hours = types.get(key)
        if hours is None:
            hours = types[key] = [0] * 24
        hours[at.hour] += sign
    totals: dict[tuple[str, int], list[int]] = {}
    for (customer_id, day, _), hours in types.items():
        total = totals.setdefault((customer_id, day), [0] * 24)
        total[:] = map(int.__add__, total, hours)
    rows = [
        (customer_id, True, date.fromordinal(day).isoformat(), event_type, *hours)
        for (customer_id, day, event_type), hours in types.items()
    ]
    rows += [
        (customer_id, False, date.fromordinal(day).isoformat(), "", *hours)
        for (customer_id, day), hours in totals.items()
    ]
    return sorted(rows)


def _columns(counts: DayCounts) -> dict[str, int]:
    return {name: counts.hours.get(hour, 0) for hour, name in enumerate(HOURS)}


def _hours(row: Any) -> dict[int, int]:
    """The hours of a counter that are not zero."""
    return {hour: row._mapping[name] for hour, name in enumerate(HOURS) if row._mapping[name]}
