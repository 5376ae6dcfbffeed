"""Bodies of requests and answers. Most answers are written as dictionaries, which is quicker."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from events.domain.parsing import MAX_REASON_CHARACTERS
from events.domain.timestamps import format_timestamp

#: The text below a field describes it in the OpenAPI document.
DOCUMENTED = ConfigDict(use_attribute_docstrings=True)

Timestamp = Annotated[datetime, PlainSerializer(format_timestamp, return_type=str)]
CustomerIdOut = Annotated[str, Field(examples=["9d698ace49b14eaed7cc1ac64afef255"])]
Count = Annotated[int, Field(ge=0, examples=[2499])]
Next = Annotated[
    str | None,
    Field(description="Pass this as `cursor` to get the next page; null on the last page."),
]
_Start = Annotated[str, Field(examples=["2021-03-01T00:00:00.000000Z"])]
_End = Annotated[str, Field(examples=["2021-04-01T00:00:00.000000Z"])]
_LastIngestedAt = Field(
    description="When a count in the range's days last changed; null without events.",
    examples=["2026-01-02T03:04:05.678901Z"],
)
_IsPartial = Annotated[
    bool,
    Field(description="The range contains only a part of this bucket; `count` is of that part."),
]
_ByType = Annotated[
    dict[str, int],
    Field(
        description="Counts by event type, with `group_by=event_type`; they sum to `count`.",
        examples=[{"page_view": 1499, "sign-in": 1000}],
    ),
]


class Body(BaseModel):
    """The body of an answer."""

    model_config = DOCUMENTED


# --- counts ---------------------------------------------------------------------------------------


class Bucket(TypedDict):
    """The count of one UTC hour."""

    ts_start_of_hour: _Start
    count: Count
    partial: _IsPartial
    counts: NotRequired[_ByType]


@with_config(DOCUMENTED)
class CalendarBucket(TypedDict):
    """The count of one hour, day, week or month of a time zone."""

    start: Annotated[str, Field(examples=["2021-03-28T00:00:00.000000+01:00"])]
    """Local time with its offset; historic offsets may have seconds."""
    end: Annotated[str, Field(examples=["2021-03-29T00:00:00.000000+02:00"])]
    """Excluded."""
    count: Count
    partial: _IsPartial
    counts: NotRequired[_ByType]


class _Range(Body):
    customer_id: CustomerIdOut
    start: _Start
    end: _End
    total: Count
    """Events in the whole range, as counted for the first page."""
    last_ingested_at: str | None = _LastIngestedAt


class Buckets(_Range):
    """One page of the buckets of a range, ascending."""

    buckets: list[Bucket]
    next: Next


class Windowed(Body):
    """Which events streaming counts do not include."""

    watermark_seconds: int = Field(examples=[86_400])
    """Events more than this many seconds older than the newest are not counted."""


class WindowedBuckets(Buckets):
    """A page of streaming counts (`EVENTS_COUNTS=windowed`): whole hours, without late events."""

    windowed: Windowed


class CalendarBuckets(_Range):
    """One page of the hours, days, weeks or months of a time zone in a range, ascending."""

    window: Literal["hour", "day", "week", "month"]
    timezone: str = Field(examples=["Europe/Berlin"])
    buckets: list[CalendarBucket]
    next: str | None
    """
    Pass this as `cursor` to get the next page; null on the last page. In zones whose hours or days
    start inside a UTC hour, a page may be short without being the last.
    """


@with_config(DOCUMENTED)
class CustomerBuckets(TypedDict):
    """The buckets of one of several customers."""

    customer_id: CustomerIdOut
    total: Count
    """The customer's events in the whole range, as counted for its first page."""
    last_ingested_at: Annotated[str | None, _LastIngestedAt]
    buckets: list[Bucket] | list[CalendarBucket]


class CustomersBuckets(Body):
    """One page of the buckets of several customers; one customer may have several pages."""

    start: _Start
    end: _End
    window: Literal["hour", "day", "week", "month"] | None = None
    """Absent for UTC hours, as is `timezone`."""
    timezone: str | None = Field(None, examples=["Europe/Berlin"])
    customers: list[CustomerBuckets]
    windowed: Windowed | None = None
    """Only in streaming counts (`EVENTS_COUNTS=windowed`)."""
    next: Next


class CustomerSummary(Body):
    """A customer's events at a glance."""

    customer_id: CustomerIdOut
    start: Timestamp | None
    """Start of the range; null if not given."""
    end: Timestamp | None
    """End of the range; null if not given."""
    total: Count
    by_type: dict[str, int] = Field(examples=[{"page_view": 2419, "sign-in": 1000}])
    """Counts by event type; they sum to `total`."""
    first_event_at: Timestamp | None = Field(examples=["2021-03-01T00:10:05.657000Z"])
    """
    Timestamp of the first event that is not voided; null without events, or if its hour has more
    than 10,000 voided events before it.
    """
    last_event_at: Timestamp | None = Field(examples=["2021-03-31T23:59:58.000001Z"])
    """Timestamp of the last event that is not voided."""
    busiest_hour: Bucket | None
    """The hour with the most events (the first of equal hours); null without events."""
    last_ingested_at: Timestamp | None = _LastIngestedAt


# --- events sent, and their receipts --------------------------------------------------------------

EXAMPLE_EVENT = {
    "customer_id": "9d698ace49b14eaed7cc1ac64afef255",
    "event_type": "page_view",
    "transaction_id": "0a1ddc54-9a2f-4d9c-8f0e-6d1a4e1f2b3c",
    "timestamp": "2021-03-01T00:10:05.657Z",
}


class EventIn(Body):
    """One usage event. Two events are the same when all four fields are equal."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{**EXAMPLE_EVENT}]})

    customer_id: str = Field(min_length=1)
    """
    No control characters, no white space at either end, at most 2,048 bytes of UTF-8.
    Case-sensitive.
    """
    event_type: str = Field(min_length=1)
    """
    Same characters as `customer_id`. `event_type` and `transaction_id` together have at most 995
    bytes of UTF-8; `%` and `-` in `event_type` count as three bytes.
    """
    transaction_id: str = Field(min_length=1)
    """Same characters as `customer_id`."""
    timestamp: str
    """When the event happened: RFC 3339 with an offset, kept to the microsecond."""


class EventsIn(Body):
    """Events to store and count."""

    model_config = ConfigDict(extra="forbid")

    events: list[EventIn] = Field(min_length=1)
    """At most 1,000 by default."""


class VoidIn(EventsIn):
    """Events to void, and the reason."""

    reason: str = Field(min_length=1, max_length=MAX_REASON_CHARACTERS, examples=["sent by a test"])
    """Stored with each event."""


_Index = Annotated[int, Field(ge=0, description="Position of the event in the request, from 0.")]
_Line = Annotated[
    int, Field(ge=1, description="Line of the row in a CSV body, from 1; absent for JSON.")
]
_Error = Annotated[
    str,
    Field(
        description="Why the event was rejected.",
        examples=["timestamp: has no offset from UTC, such as Z or +01:00"],
    ),
]


@with_config(DOCUMENTED)
class Receipt(TypedDict):
    """The result for one event."""

    index: _Index
    line: NotRequired[_Line]
    status: Literal["inserted", "duplicate", "voided", "rejected"]
    """
    `inserted`: stored and counted. `duplicate`: stored and counted before. `voided`: voided before,
    and not counted again. `rejected`: see `error`.
    """
    error: NotRequired[_Error]


class Receipts(Body):
    """One receipt for each event of the request, in the same order."""

    inserted: Count
    duplicates: Count
    voided: Count
    rejected: Count
    results: list[Receipt]


@with_config(DOCUMENTED)
class AcceptedReceipt(TypedDict):
    """The result for one event that was sent to Kafka."""

    index: _Index
    line: NotRequired[_Line]
    status: Literal["accepted", "rejected"]
    """
    `accepted`: Kafka stored the event; it is counted when it is consumed, unless it is a duplicate.
    `rejected`: see `error`.
    """
    error: NotRequired[_Error]


class AcceptedReceipts(Body):
    """One receipt for each event that was sent to Kafka, in the order of the request."""

    accepted: Count
    rejected: Count
    results: list[AcceptedReceipt]


@with_config(DOCUMENTED)
class VoidReceipt(TypedDict):
    """The result for one event of a correction."""

    index: _Index
    status: Literal["voided", "already_voided", "not_found", "rejected"]
    """
    `voided`: by this request. `already_voided`: by an earlier request. `not_found`: no such event
    is stored. `rejected`: see `error`.
    """
    error: NotRequired[_Error]


class VoidReceipts(Body):
    """One receipt for each event of the correction, in the same order."""

    voided: Count
    already_voided: Count
    not_found: Count
    rejected: Count
    results: list[VoidReceipt]
