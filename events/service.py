"""Use cases: take events in, correct them, count them, look them up, prove the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from events import verification
from events.domain.windows import ALL_TIME
from events.dynamodb import erasure
from events.ingest.writer import Ticket, Writer
from events.models import (
    BucketCount,
    BucketPage,
    BucketQuery,
    Calendar,
    ChangeCursor,
    ChangePage,
    CustomerPage,
    CustomerTotal,
    Difference,
    Erasure,
    Event,
    EventPage,
    EventQuery,
    Outcome,
    PeriodCount,
    PeriodPage,
    Summary,
    Verification,
    Window,
)
from events.queries import buckets as counting
from events.queries import changes, exports, lookup, periods
from events.queries import summary as summaries

_CUSTOMERS_AT_A_TIME = 8


class Store(counting.Store, lookup.Store, erasure.Store, verification.Store, Protocol):
    """What the use cases need of a database. Every read is strongly consistent."""

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """
        Store and count distinct events of one customer and UTC day, each at most once for ever.

        Whatever fails, counters and stored events agree at every moment.
        """

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        """
        Take such events out of the counts, and keep them stored as voided.

        Whatever fails, counters and stored events agree at every moment.
        """

    @property
    def changes(self) -> changes.Log:
        """Which days' counters changed."""

    def announce(self, days: Sequence[tuple[str, str]]) -> None:
        """
        Hear of customers and days that will be written soon; it need not do anything.

        Returns at once, and what it is told may never come.
        """

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        """Listed customers with this prefix, in byte order, from the one after `after` on."""

    def check(self, *, patience_seconds: float = 0) -> None:
        """
        One cheap read, by default asked once; raises `StoreUnavailable` or `StoreRefused`.
        """

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """
        Make what tables are not there, and wait until they can be used.

        Args:
            patience_seconds: How long to go on asking; None is the store's own.
        """

    def close(self) -> None:
        """Let go of threads and connections."""


class EventService:
    """
    The use cases on one store; safe to use from many threads.

    Args:
        store: Closed with the service.
        write_threads: Transactions in flight at a time.
    """

    def __init__(self, store: Store, *, write_threads: int) -> None:
        self._store = store
        self._writer = Writer(
            store.write, store.void, threads=write_threads, announce=store.announce
        )
        self._listing = ThreadPoolExecutor(_CUSTOMERS_AT_A_TIME, thread_name_prefix="list")

    def close(self) -> None:
        """Finish what was submitted, then let go of everything."""
        self._writer.close()
        self._listing.shutdown()
        self._store.close()

    def check(self, *, patience_seconds: float = 0) -> None:
        """One cheap read of the store; raises `StoreUnavailable` or `StoreRefused`."""
        self._store.check(patience_seconds=patience_seconds)

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """Make what tables are not there, and wait until they can be used."""
        self._store.create_tables(patience_seconds=patience_seconds)

    # --- writing ----------------------------------------------------------------------------------

    def submit(self, events: Sequence[Event]) -> Ticket:
        """
        Begin to store and count events; the ticket's `wait` gives the receipt of each.

        Events of any customers and days, in any order, also ones stored long ago: those are
        duplicates, for ever.
        """
        return self._writer.submit(events)

    def ingest(
        self, events: Sequence[Event], *, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        Store and count events.

        Args:
            timeout_seconds: After this the store counts as unavailable; None waits for ever.

        Returns:
            The outcome of each, in order. When this returns, all are durable, counted, and seen
            by the next read.

        Raises:
            StoreUnavailable: Some may not be stored; the same call again is safe.
            StoreRefused: The store will not take some of them.
        """
        return self.submit(events).wait(timeout_seconds)

    def void(
        self, events: Sequence[Event], *, reason: str, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        Take stored events out of the counts, for good: a late retry does not bring them back.

        Args:
            timeout_seconds: As for `ingest`.

        Returns:
            The outcome of each, in order. When this returns, none of them is counted. An event
            that is not stored leaves no trace: if it comes later, it is counted.

        Raises:
            StoreUnavailable: Some may be counted still; the same call again is safe.
            StoreRefused: The store will not void some of them.
        """
        return self._writer.submit(events, void_reason=reason).wait(timeout_seconds)

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        """Erase some of what is stored of a customer; see `erasure.erase`."""
        return erasure.erase(self._store, customer_id, max_events=max_events)

    def drain(self) -> None:
        """Return when all that was submitted is answered."""
        self._writer.drain()

    def drop_waiting(self) -> None:
        """Do not send what is submitted and not under way yet; those tickets fail."""
        self._writer.drop_waiting()

    # --- counting ---------------------------------------------------------------------------------

    def buckets(self, query: BucketQuery) -> BucketPage:
        """A customer's events by UTC hour; see `counting.buckets`."""
        return counting.buckets(self._store, query)

    def periods(self, query: BucketQuery, calendar: Calendar) -> PeriodPage:
        """The same by day, week or month of a zone; see `periods.periods`."""
        return periods.periods(self._store, query, calendar)

    def all_buckets(self, query: BucketQuery) -> Iterator[BucketCount]:
        """All of a window by UTC hour, one after the other; see `exports.buckets`."""
        return exports.buckets(self._store, query)

    def all_periods(self, query: BucketQuery, calendar: Calendar) -> Iterator[PeriodCount]:
        """The same by day, week or month of a zone; see `exports.periods`."""
        return exports.periods(self._store, query, calendar)

    def summary(self, customer_id: str, window: Window) -> Summary:
        """What there is of a customer in a window; see `summaries.summary`."""
        return summaries.summary(self._store, customer_id, window)

    def customers(
        self, *, window: Window = ALL_TIME, prefix: str = "", after: str | None = None, limit: int
    ) -> CustomerPage:
        """
        Customers in byte order of their ids, each with the number of its events in a window.

        A customer without events in the window is listed with 0.

        Args:
            after: The id that the page before ended with; None is the first page.
        """
        names = self._store.customers(prefix=prefix, after=after, limit=limit + 1)
        page = names[:limit]

        def total(customer_id: str) -> CustomerTotal:
            return CustomerTotal(customer_id, counting.total(self._store, customer_id, window))

        totals = tuple(self._listing.map(total, page))
        return CustomerPage(totals, page[-1] if len(names) > limit else None)

    def events(self, query: EventQuery) -> EventPage:
        """A customer's stored events, voided ones too; see `lookup.find`."""
        return lookup.find(self._store, query)

    def changes(self, since: ChangeCursor | datetime | None, *, limit: int) -> ChangePage:
        """Days whose counters may have changed since a point; see `changes.changes`."""
        return changes.changes(self._store.changes, since, limit=limit)

    # --- proving ----------------------------------------------------------------------------------

    def verify(
        self,
        *,
        customer_id: str | None = None,
        window: Window | None = None,
        is_repairing: bool = False,
        on_difference: Callable[[Difference], None] = lambda _: None,
    ) -> Verification:
        """Recount the raw events and compare; see `verification.verify`."""
        return verification.verify(
            self._store,
            customer_id=customer_id,
            window=window,
            is_repairing=is_repairing,
            on_difference=on_difference,
        )
