"""The store on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime

from sqlalchemy import select

from events.domain.retries import RetryPolicy
from events.domain.timestamps import utc_now
from events.models import Event
from events.sql.changefeed import ChangeFeed
from events.sql.database import Database
from events.sql.engines import parse_url
from events.sql.reader import Reader
from events.sql.tables import CHANGE_CLOCK
from events.sql.transactions import EventTransactions

#: Events in one transaction: enough to share the cost of a commit, and soon done.
_MAX_EVENTS = 20_000


class SqlStore:
    """
    A `service.Store` on a SQL database; safe to use from many threads.

    Args:
        url: Such as `sqlite:///events.db`, `sqlite://` (in memory) or `postgresql://…`.
        retry: For each transaction and each read.
        writers: How many transactions PostgreSQL runs at the same time.
        may_make_tables: Create missing tables; False raises `StoreRefused` instead.
        is_windowed: Read windowed counts instead of those of events.
    """

    def __init__(
        self,
        url: str,
        *,
        retry: RetryPolicy,
        writers: int = 1,
        may_make_tables: bool = True,
        is_windowed: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        database = Database(
            parse_url(url),
            retry=retry,
            may_make_tables=may_make_tables,
            is_windowed=is_windowed,
            now=now,
        )
        self._database = database
        self._lanes = 1 if database.is_sqlite else writers
        transactions, reader = EventTransactions(database, now=now), Reader(database)
        self.changes = ChangeFeed(database, now=now)
        # The store's methods that its parts implement; `service.Store` documents them.
        self.write = transactions.write
        self.void = transactions.void
        self.erase = transactions.erase
        self.repair = transactions.repair
        self.register = transactions.register
        self.day_counts = reader.day_counts
        self.count_events = reader.count_events
        self.count_events_by_type = reader.count_events_by_type
        self.counted_events = reader.counted_events
        self.stored_events = reader.stored_events
        self.stored_customers = reader.stored_customers
        self.customers = reader.customers
        self.is_listed = reader.is_listed
        self.create_tables = database.create_tables
        self.close = database.close

    def lane_of(self, event: Event) -> Hashable:
        # SQLite has one writer. On PostgreSQL the writers of one process never meet.
        return hash(event.customer_id) % self._lanes

    def fits_transaction(self, number_of_events: int, number_of_types: int) -> bool:  # noqa: ARG002 - as in `Store`
        return number_of_events <= _MAX_EVENTS

    def expect(self, events: Sequence[Event]) -> None:
        """Do nothing: all that a write needs is in its transaction."""

    def check(self, *, patience_seconds: float = 0) -> None:
        """Read one row; raises `StoreUnavailable` or `StoreRefused`."""
        self._database.read(
            lambda connection: connection.execute(select(CHANGE_CLOCK)).one(),
            patience_seconds=patience_seconds,
        )
