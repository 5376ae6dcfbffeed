"""Values that cross files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import NamedTuple

#: DynamoDB's bounds on keys, in bytes of UTF-8
#: (Developer Guide, "Constraints in Amazon DynamoDB", "Primary key").
MAX_PARTITION_KEY_BYTES = 2048
MAX_SORT_KEY_BYTES = 1024
#: TransactWriteItems takes this many actions (API Reference, TransactWriteItems).
MAX_ACTIONS = 100


class Event(NamedTuple):
    """
    One immutable usage fact; two events are the same when all four fields are equal.

    A named tuple, not a dataclass: files hold millions, and it is made three times as fast.
    `timestamp` is aware, in UTC, to the microsecond.
    """

    customer_id: str
    event_type: str
    transaction_id: str
    timestamp: datetime


class Outcome(Enum):
    """
    The receipt of one event.

    Of an ingest: `INSERTED`, `DUPLICATE`, `VOIDED` for one that was voided earlier and stays so, or
    `ACCEPTED` for one that Kafka has and that is counted later. Of a correction: `VOIDED`,
    `ALREADY_VOIDED`, or `NOT_FOUND` for one that is not stored.
    """

    INSERTED = "inserted"
    DUPLICATE = "duplicate"
    VOIDED = "voided"
    ALREADY_VOIDED = "already_voided"
    NOT_FOUND = "not_found"
    ACCEPTED = "accepted"


class StoredEvent(NamedTuple):
    """
    An event with what is known of it.

    `voided_at` and `void_reason` are None for one that is counted. A voided one stays stored, so
    that a late retry cannot bring it back.
    """

    event: Event
    ingested_at: datetime
    voided_at: datetime | None = None
    void_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open range `[start, end)` a caller asks about; both aware, in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class BucketQuery:
    """
    A question about one customer's buckets.

    Args:
        event_types: Only these; empty means all.
        is_grouped: Give the counts by event type as well.
        is_filled: Give the hours without events too.
        limit: Buckets on one page, from 1 on.
        from_start: Start of the first bucket of this page; None is the first page.
    """

    customer_id: str
    window: Window
    event_types: frozenset[str] = frozenset()
    is_grouped: bool = False
    is_filled: bool = False
    limit: int = 1_000
    from_start: datetime | None = None


class BucketCount(NamedTuple):
    """
    The events of one UTC hour, as far as the window covers it.

    A named tuple for the same reason as `Event`: an answer holds hundreds.

    `is_partial` says that the window cuts the hour, so that `count` may be less than the hour's.
    `counts` holds the count by event type where it was asked for; it then sums to `count`.
    """

    start: datetime
    count: int  # type: ignore[assignment] # hides tuple.count, which nobody needs of a bucket
    is_partial: bool = False
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class BucketPage:
    """
    One page of a window's buckets, ascending.

    `total` and `last_ingested_at` are of the whole window, whichever page this is.
    `next_start` is the start of the first bucket of the next page; None on the last.
    """

    customer_id: str
    window: Window
    total: int
    last_ingested_at: datetime | None
    buckets: tuple[BucketCount, ...]
    next_start: datetime | None = None


class Unit(Enum):
    """How long a period of the calendar is. A week begins on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days, weeks or months of a time zone."""

    unit: Unit
    zone: tzinfo


class PeriodCount(NamedTuple):
    """
    The events of one day, week or month, as far as the window covers it.

    `period` is the whole of it, in UTC; the rest is as for `BucketCount`.
    """

    period: Window
    count: int  # type: ignore[assignment] # as for `BucketCount`
    is_partial: bool = False
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class PeriodPage:
    """
    One page of a window's periods, ascending; all else is as for `BucketPage`.

    A page may be short, also empty, and not be the last.
    """

    customer_id: str
    window: Window
    calendar: Calendar
    total: int
    last_ingested_at: datetime | None
    periods: tuple[PeriodCount, ...]
    next_start: datetime | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """
    What there is of a customer in a window.

    `by_type` sums to `total`. `first_event_at` and `last_event_at` are of the events that count.
    `busiest` is the first of the hours with the most events; None where there are none.
    """

    customer_id: str
    window: Window
    total: int
    by_type: Mapping[str, int]
    first_event_at: datetime | None
    last_event_at: datetime | None
    busiest: BucketCount | None
    last_ingested_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """
    A question about one customer's stored events.

    Args:
        event_types: Only these; empty means all.
        transaction_id: Only this one; None means all.
        is_newest_first: From the end of the window to its start.
        limit: Events on one page, from 1 on.
        after: Key of the event that the page before ended with; None is the first page.
    """

    customer_id: str
    window: Window
    event_types: frozenset[str] = frozenset()
    transaction_id: str | None = None
    is_newest_first: bool = False
    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """
    One page of stored events in order of time.

    `next_after` is the key after which the next page goes on; None on the last. A page may hold
    fewer events than asked and still not be the last, where a filter leaves most of them out.
    """

    events: tuple[StoredEvent, ...]
    next_after: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeCursor:
    """
    A place in the list of changes: before the whole of `slot`, or after one of its keys.

    `slot` is the start of it, aware, in UTC.
    """

    slot: datetime
    shard: int = 0
    after_key: str | None = None


class Change(NamedTuple):
    """A day of a customer whose counters may have changed in the slot that starts at `slot`."""

    slot: datetime
    customer_id: str
    day: str


@dataclass(frozen=True, slots=True)
class ChangePage:
    """
    One page of changes in order of their slots.

    Every change that was made before `next_cursor.slot` is on this page or those before it.
    `has_more`: there may be more right away; else ask again later.
    """

    changes: tuple[Change, ...]
    next_cursor: ChangeCursor
    has_more: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """
    What one step of an erasure did.

    Args:
        events: Stored events that this step erased.
        is_complete: Nothing of the customer is left in any table.
        wait_seconds: Before the next step; 0 is at once.
    """

    events: int
    is_complete: bool
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DayCounts:
    """
    The counters of one customer and UTC day, for one event type or (`event_type` None) all.

    `hours` maps the hour 0–23 to a count above zero; hours without events are absent.
    """

    customer_id: str
    day: str
    event_type: str | None
    hours: Mapping[int, int]
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CustomerTotal:
    """A customer and the number of its events in the window asked."""

    customer_id: str
    total: int


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """One page of customers in byte order of their ids; `next_customer` starts the next page."""

    customers: tuple[CustomerTotal, ...]
    next_customer: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One hour whose counter is not the recount; `event_type` None is the total."""

    customer_id: str
    hour: datetime
    event_type: str | None
    counter: int
    recount: int


@dataclass(frozen=True, slots=True)
class Verification:
    """
    What a recount found.

    `unsettled` names the (customer, day) pairs whose counters kept moving while they were
    recounted; nothing is said about those. `foreign` names stored items, (customer, key), that
    are no events. `unlisted` names customers with events that the registry lacks. `repaired`
    counts counter and registry items rewritten.
    """

    customers: int = 0
    days: int = 0
    events: int = 0
    differences: tuple[Difference, ...] = ()
    unsettled: tuple[tuple[str, str], ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()
    unlisted: tuple[str, ...] = ()
    repaired: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether everything was found to be as it should, and nothing was left out."""
        return not (self.differences or self.unsettled or self.foreign or self.unlisted)
