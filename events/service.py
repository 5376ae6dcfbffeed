"""The use cases: ingest, void and erase events; count them, look them up, prove the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn, Protocol

from events import verification
from events.domain.windows import ALL_TIME
from events.errors import InvalidWindow, NotAllowed
from events.ingest.writer import Batching, PendingReceipts, Writer
from events.models import (
    BucketCount,
    BucketPage,
    BucketQuery,
    ChangeCursor,
    ChangePage,
    CustomerPage,
    CustomerTotal,
    Difference,
    Erasure,
    Event,
    Outcome,
    StoredEvent,
    Verification,
    Window,
)
from events.queries import buckets as counting
from events.queries import changes, customers, lookup
from events.queries import summary as summaries
from events.queries.customers import CustomersPage, CustomersQuery
from events.queries.lookup import EventPage, EventQuery
from events.queries.summary import Summary

_TOTALS_AT_A_TIME = 8
_CUSTOMERS_PER_PAGE = 100


class Store(customers.Store, lookup.Store, verification.Store, Batching, Protocol):
    """What the use cases need of a database. Every read is strongly consistent."""

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """
        Store and count distinct events that may share a transaction, each at most once forever.

        At every moment, whatever fails, the counters equal the stored events.
        """

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        """
        Stop counting such events and keep them stored as voided.

        At every moment, whatever fails, the counters equal the stored events.
        """

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        """
        Delete some of a customer's data; repeat until it is complete.

        Any step may be cut off, and steps may run at the same time. After each step the counters
        equal the events that are left.

        Args:
            max_events: About how many events one step deletes, at least 1.

        Raises:
            StoreUnavailable: Repeat the call.
        """

    @property
    def changes(self) -> changes.Log:
        """The log of days whose counters changed."""

    def check(self, *, patience_seconds: float = 0) -> None:
        """
        Run one cheap read, by default without retries.

        Raises:
            StoreUnavailable: The store did not answer within `patience_seconds`.
            StoreRefused: The store answered with an error that a retry does not change.
        """

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """
        Create missing tables and wait until they can be used.

        Each request is retried for `patience_seconds`; None uses the store's own value.
        """

    def close(self) -> None:
        """Release threads and connections."""


def without_events(store: Any) -> Store:
    """Make a store read-only: counts by whole hours that `jobs/stream_counts.py` writes."""
    store.write = store.void = store.erase = store.counted_events = _refuse
    store.count_events = store.count_events_by_type = _no_events
    counts_only: Store = store
    return counts_only


def _refuse(*_: object, **__: object) -> NoReturn:
    raise NotAllowed(
        "windowed counts (EVENTS_COUNTS=windowed) are read-only and have no stored events"
    )


def _no_events(customer_id: str, windows: Sequence[Window]) -> list[Any]:  # noqa: ARG001 - as in `Store`
    if windows:
        raise InvalidWindow(
            "windowed counts have whole hours only: start and end the range on the hour"
        )
    return []


class EventService:
    """
    The use cases on one store; safe to use from many threads.

    Args:
        store: Closed with the service.
        write_threads: How many transactions may be in flight at the same time.
    """

    def __init__(self, store: Store, *, write_threads: int) -> None:
        self._store = store
        self._writer = Writer(store.write, store.void, store, threads=write_threads)
        self._totals = ThreadPoolExecutor(_TOTALS_AT_A_TIME, thread_name_prefix="totals")

    def close(self) -> None:
        """Write what was submitted, then close the store."""
        self._writer.close()
        self._totals.shutdown()
        self._store.close()

    def check(self, *, patience_seconds: float = 0) -> None:
        self._store.check(patience_seconds=patience_seconds)

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        self._store.create_tables(patience_seconds=patience_seconds)

    # --- writing ----------------------------------------------------------------------------------

    def submit(self, events: Sequence[Event]) -> PendingReceipts:
        """
        Start to store and count events; the result's `wait` returns the receipts.

        The events may be of any customers and days, in any order, and of any age.
        """
        return self._writer.submit(events)

    def ingest(
        self, events: Sequence[Event], *, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        Store and count events; see `submit` and `PendingReceipts.wait`.

        Returns:
            The outcome of each event, in order. All events are then durable, counted and visible
            to the next read.
        """
        return self.submit(events).wait(timeout_seconds)

    def void(
        self, events: Sequence[Event], *, reason: str, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        Stop counting stored events, permanently: a late retry does not bring them back.

        Returns:
            The outcome of each event, in order. None of them is counted any more. An event that
            was not stored leaves no trace: if it is sent later, it counts.

        Raises:
            StoreUnavailable: Some events may still count; repeating the call is safe.
            StoreRefused: The store refuses to void some of the events.
        """
        return self._writer.submit(events, void_reason=reason).wait(timeout_seconds)

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        """Delete some of a customer's data; repeat until it is complete (see `Store.erase`)."""
        return self._store.erase(customer_id, max_events=max_events)

    def drain(self) -> None:
        """Return when everything submitted has its receipts."""
        self._writer.drain()

    def drop_waiting(self) -> None:
        """Fail what is submitted but not yet in flight, instead of sending it."""
        self._writer.drop_waiting()

    # --- reading; the functions in `queries` document it ------------------------------------------

    def buckets(self, query: BucketQuery) -> BucketPage:
        return counting.buckets(self._store, query)

    def all_buckets(self, query: BucketQuery) -> Iterator[BucketCount]:
        return counting.all_buckets(self._store, query)

    def customer_buckets(self, query: CustomersQuery) -> CustomersPage:
        return customers.customer_buckets(self._store, query, self._totals)

    def all_customer_buckets(self, query: CustomersQuery) -> Iterator[BucketCount]:
        return customers.all_customer_buckets(self._store, query)

    def summary(self, customer_id: str, window: Window) -> Summary:
        return summaries.summary(self._store, customer_id, window)

    def customers(
        self, *, window: Window = ALL_TIME, prefix: str = "", after: str | None = None, limit: int
    ) -> CustomerPage:
        """
        Customers in byte order of their ids, each with its number of events in a range.

        Includes customers with 0 events in the range. Runs one count per customer on the page,
        eight at a time: the cost follows `limit` and the days in the range.

        Args:
            after: The last id of the previous page; None gives the first page.
        """
        names = self._store.customers(prefix=prefix, after=after, limit=limit + 1)
        page = names[:limit]

        def total(customer_id: str) -> CustomerTotal:
            return CustomerTotal(customer_id, counting.total(self._store, customer_id, window))

        totals = tuple(self._totals.map(total, page))
        return CustomerPage(totals, page[-1] if len(names) > limit else None)

    def all_customers(self, window: Window, *, after: str | None = None) -> Iterator[CustomerTotal]:
        """All customers after the id `after`, as `customers` gives them; memory stays flat."""
        while True:
            page = self.customers(window=window, after=after, limit=_CUSTOMERS_PER_PAGE)
            yield from page.customers
            after = page.next_customer
            if after is None:
                return

    def events(self, query: EventQuery) -> EventPage:
        return lookup.find(self._store, query)

    def all_events(self, query: EventQuery) -> Iterator[StoredEvent]:
        """The events of all pages from this one on; `query.limit` is the size of a page."""
        while True:
            page = self.events(query)
            yield from page.events
            if page.next_after is None:
                return
            query = replace(query, after=page.next_after)

    def changes(self, since: ChangeCursor | datetime | None, *, limit: int) -> ChangePage:
        return changes.changes(self._store.changes, since, limit=limit)

    # --- proof ------------------------------------------------------------------------------------

    def verify(
        self,
        *,
        customer_id: str | None = None,
        window: Window | None = None,
        is_repairing: bool = False,
        on_difference: Callable[[Difference], None] = lambda _: None,
    ) -> Verification:
        return verification.verify(
            self._store,
            customer_id=customer_id,
            window=window,
            is_repairing=is_repairing,
            on_difference=on_difference,
        )
