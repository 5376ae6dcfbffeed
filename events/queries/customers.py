"""Counts of several customers in one answer, customer by customer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import BucketCount, BucketPage, BucketQuery, RangeTotals
from events.queries import hours as counting
from events.queries.buckets import all_buckets, buckets, check_filled
from events.queries.periods import Budget

#: Customers on one page, and in one question that names them.
MOST_CUSTOMERS = 100
_CUSTOMERS_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Position:
    """
    Where a page begins: after a customer, or, with `start`, at one of this customer's buckets.

    `totals` are of that customer's range, as its first page counted them.
    """

    customer_id: str
    start: datetime | None = None
    totals: RangeTotals | None = None


@dataclass(frozen=True, slots=True)
class CustomersQuery:
    """
    One question about the buckets of several customers.

    Args:
        question: What is asked about each customer; its `customer_id` is not used. `limit` is the
            number of buckets per page, of all customers together.
        customer_ids: These customers, in this order; None asks about all customers with `prefix`,
            in byte order of their ids.
    """

    question: BucketQuery
    customer_ids: tuple[str, ...] | None = None
    prefix: str = ""
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class CustomersPage:
    """
    One page of customers; the next one starts at `next`, if not None.

    The buckets of one customer may continue on the next page. A page may be short, or without
    buckets, and not be the last.
    """

    customers: tuple[BucketPage, ...]
    next: Position | None = None


class Store(counting.Store, Protocol):
    """The reads that these questions need. Every read is strongly consistent."""

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        """Registered customers with this prefix in byte order, starting after the id `after`."""


@dataclass(slots=True)
class _Page:
    """A page being filled, and what it may still count from stored events."""

    room: int
    customers: list[BucketPage] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    #: The most buckets that a customer on this page has: the guess for the next customers.
    most: int = 1

    def add(self, page: BucketPage, spent: Budget) -> None:
        self.customers.append(page)
        self.room -= len(page.buckets)
        self.most = max(self.most, len(page.buckets))
        self.budget.cut_hours -= spent.cut_hours
        self.budget.cut_events -= spent.cut_events

    def is_full(self) -> bool:
        return self.room <= 0 or self.budget.is_spent()

    def customers_at_a_time(self) -> int:
        """How many customers to read at the same time, so that few are read in vain."""
        if not self.customers:
            return 1
        return max(1, min(_CUSTOMERS_AT_A_TIME, self.room // self.most))


def customer_buckets(store: Store, query: CustomersQuery, threads: Executor) -> CustomersPage:
    """
    One page of the buckets of several customers.

    Each customer's range is read as `buckets` reads it: its first page reads the whole range, a
    later one what it shows. A page reads at most seven customers that it does not show.

    Raises:
        InvalidWindow: See `buckets`; or the page does not start at one of these customers.
        StoreUnavailable: The store did not answer in time.
    """
    check_filled(query.question)
    names, has_more = _names(store, query)
    page = _Page(query.question.limit)

    def read(question: BucketQuery) -> tuple[BucketPage, Budget]:
        budget = replace(page.budget)
        result = buckets(store, question, budget)
        spent = Budget(
            page.budget.cut_hours - budget.cut_hours, page.budget.cut_events - budget.cut_events
        )
        return result, spent

    index = 0
    while index < len(names):
        wave = names[index : index + page.customers_at_a_time()]
        questions = [_question_about(name, query, page.room) for name in wave]
        # All of a wave is read before its first is added: they share one budget.
        for result, spent in list(threads.map(read, questions)):
            if len(result.buckets) > page.room:
                if not page.room:
                    return CustomersPage(tuple(page.customers), Position(names[index - 1]))
                cut = result.buckets[page.room].start
                result = replace(result, buckets=result.buckets[: page.room], next_start=cut)
            page.add(result, spent)
            index += 1
            if result.next_start is not None:
                totals = RangeTotals(result.total, result.last_ingested_at)
                position = Position(result.customer_id, result.next_start, totals)
                return CustomersPage(tuple(page.customers), position)
        if page.is_full():
            break
    is_last = index == len(names) and not has_more
    return CustomersPage(tuple(page.customers), None if is_last else Position(names[index - 1]))


def all_customer_buckets(store: Store, query: CustomersQuery) -> Iterator[BucketCount]:
    """
    All buckets of all customers of a question, each with its customer. Memory stays flat.

    `InvalidWindow` is raised at once, `StoreUnavailable` at any moment.
    """
    check_filled(query.question)
    return _all(store, query)


def _all(store: Store, query: CustomersQuery) -> Iterator[BucketCount]:
    has_more = True
    while has_more:
        names, has_more = _names(store, query)
        for name in names:
            for bucket in all_buckets(store, replace(query.question, customer_id=name)):
                yield bucket._replace(customer_id=name)
        if names:
            query = replace(query, after=Position(names[-1]))


def _names(store: Store, query: CustomersQuery) -> tuple[Sequence[str], bool]:
    """The next `MOST_CUSTOMERS` of a question, and whether there are more."""
    after, names = query.after, query.customer_ids
    is_within = after is not None and after.start is not None
    if names is not None:
        if after is not None:
            if after.customer_id not in names:
                raise InvalidWindow(INVALID_CURSOR, "cursor")
            names = names[names.index(after.customer_id) + (not is_within) :]
        return names[:MOST_CUSTOMERS], len(names) > MOST_CUSTOMERS
    if after is not None and not after.customer_id.startswith(query.prefix):
        raise InvalidWindow(INVALID_CURSOR, "cursor")
    first = [after.customer_id] if after is not None and is_within else []
    limit = MOST_CUSTOMERS - len(first) + 1
    found = store.customers(
        prefix=query.prefix, after=None if after is None else after.customer_id, limit=limit
    )
    return [*first, *found][:MOST_CUSTOMERS], len(found) == limit


def _question_about(customer_id: str, query: CustomersQuery, limit: int) -> BucketQuery:
    question = replace(query.question, customer_id=customer_id, limit=limit)
    after = query.after
    if after is None or after.customer_id != customer_id:
        return question
    return replace(question, from_start=after.start, totals=after.totals)
