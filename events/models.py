"""Values that are passed between modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import NamedTuple

#: DynamoDB's limits on keys, in bytes of UTF-8
#: (Developer Guide, "Constraints in Amazon DynamoDB", "Primary key").
MAX_PARTITION_KEY_BYTES = 2048
MAX_SORT_KEY_BYTES = 1024
#: Actions that one transaction may have (API Reference, TransactWriteItems).
MAX_ACTIONS = 100
#: Partition keys over which a day of one customer may be spread.
MAX_SHARDS = 64


class Event(NamedTuple):
    """
    One immutable usage fact; two events are the same if all four fields are equal.

    A named tuple, because files hold millions of events and a dataclass takes three times as long
    to create. `timestamp` is aware, in UTC, to the microsecond.
    """

    customer_id: str
    event_type: str
    transaction_id: str
    timestamp: datetime


class Outcome(Enum):
    """
    The receipt of one event.

    Ingesting returns `INSERTED`, `DUPLICATE`, `VOIDED` (the event was voided earlier and stays
    voided) or `ACCEPTED` (Kafka has the event; it will be counted later). Voiding returns
    `VOIDED`, `ALREADY_VOIDED` or `NOT_FOUND`.
    """

    INSERTED = "inserted"
    DUPLICATE = "duplicate"
    VOIDED = "voided"
    ALREADY_VOIDED = "already_voided"
    NOT_FOUND = "not_found"
    ACCEPTED = "accepted"


class StoredEvent(NamedTuple):
    """
    An event as it is stored. `voided_at` and `void_reason` are None while the event counts.

    A voided event stays stored, so that a late retry cannot bring it back.
    """

    event: Event
    ingested_at: datetime
    voided_at: datetime | None = None
    void_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open range `[start, end)`; both aware, in UTC."""

    start: datetime
    end: datetime


class RangeTotals(NamedTuple):
    """Events in a whole range, and when a count of its days last changed; None without events."""

    total: int
    last_ingested_at: datetime | None


class Unit(Enum):
    """Length of a calendar period. Weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The hours, days, weeks or months of a time zone."""

    unit: Unit
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class BucketQuery:
    """A question about one customer's buckets."""

    customer_id: str
    window: Window
    #: Count only these; empty means all.
    event_types: frozenset[str] = frozenset()
    #: Also return counts per event type.
    is_grouped: bool = False
    #: Also return buckets without events.
    is_filled: bool = False
    #: Buckets per page, at least 1.
    limit: int = 1_000
    #: Start of the first bucket of this page; None is the first page.
    from_start: datetime | None = None
    #: Totals of the range from the first page; None counts them.
    totals: RangeTotals | None = None
    #: The periods that the buckets are; None are UTC hours.
    calendar: Calendar | None = None


class BucketCount(NamedTuple):
    """
    The events of one UTC hour, or of one period of a calendar, that lie in the window.

    A named tuple for the same reason as `Event`: one answer holds hundreds. `is_partial`: the
    window covers only part of the bucket. `counts`, if requested, has the count per event type; it
    sums to `count`. `end` is the end of a period in UTC; None for an hour. `customer_id` is set
    only where one answer has the buckets of several customers.
    """

    start: datetime
    count: int  # type: ignore[assignment] # hides tuple.count, which a bucket does not need
    is_partial: bool = False
    counts: Mapping[str, int] | None = None
    end: datetime | None = None
    customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class BucketPage:
    """
    One page of a window's buckets, ascending; the next one starts at `next_start`, if not None.

    `total` and `last_ingested_at` describe the whole window on every page. A page of periods may be
    short or empty without being the last.
    """

    customer_id: str
    window: Window
    total: int
    last_ingested_at: datetime | None
    buckets: tuple[BucketCount, ...]
    next_start: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChangeCursor:
    """A position in the change log: at the start of `minute`, or after one of its keys."""

    minute: datetime
    shard: int = 0
    after_key: str | None = None


class Change(NamedTuple):
    """A day of a customer whose counters may have changed in the minute that starts at `minute`."""

    minute: datetime
    customer_id: str
    day: str


@dataclass(frozen=True, slots=True)
class ChangePage:
    """
    One page of changes in order of their minutes.

    Every change made before `next_cursor.minute` is on this page or an earlier one. `has_more`: the
    next page may have changes now; otherwise ask again later.
    """

    changes: tuple[Change, ...]
    next_cursor: ChangeCursor
    has_more: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """
    The result of one step of an erasure that deleted this number of `events`.

    `is_complete`: no data of the customer is left in any table; otherwise wait `wait_seconds`
    before the next step.
    """

    events: int
    is_complete: bool
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DayCounts:
    """
    The counters of one customer and UTC day: of one event type, or (None) the total.

    `hours` maps an hour 0–23 to its count; hours without events are absent.
    """

    customer_id: str
    day: str
    event_type: str | None
    hours: Mapping[int, int]
    updated_at: datetime | None = None
    #: Over how many partition keys a store has spread the day; of a sum of them all, 1.
    shards: int = 1


@dataclass(frozen=True, slots=True)
class CustomerTotal:
    """A customer and the number of its events in the requested range."""

    customer_id: str
    total: int


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """One page of customers in byte order; the next one starts after the id `next_customer`."""

    customers: tuple[CustomerTotal, ...]
    next_customer: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """An hour whose counter differs from the recount; `event_type` None means the total."""

    customer_id: str
    hour: datetime
    event_type: str | None
    counter: int
    recount: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a recount."""

    customers: int = 0
    days: int = 0
    events: int = 0
    differences: tuple[Difference, ...] = ()
    #: (customer, day) whose counters changed during every recount and could not be compared.
    unsettled: tuple[tuple[str, str], ...] = ()
    #: (customer, key) of stored items that are not events.
    foreign: tuple[tuple[str, str], ...] = ()
    #: Customers with events that are missing in the registry.
    unlisted: tuple[str, ...] = ()
    #: How many counter and registry items were rewritten.
    repaired: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether every counter was compared and is right, and nothing else is wrong."""
        return not (self.differences or self.unsettled or self.foreign or self.unlisted)
