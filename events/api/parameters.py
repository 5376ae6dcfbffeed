"""Path and query parameters, validated before any use case runs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.convertors import StringConvertor, register_url_convertor

from events.domain.parsing import check_customer_id, check_event_type
from events.domain.timestamps import format_timestamp, parse_instant, zone_named
from events.errors import InvalidEvent, InvalidInput, InvalidWindow
from events.models import BucketPage, ChangeCursor, PeriodPage, RangeTotals
from events.queries.buckets import INVALID_CURSOR

MAX_BUCKETS, DEFAULT_BUCKETS = 10_000, 1_000
MAX_CUSTOMERS, DEFAULT_CUSTOMERS = 1_000, 100
MAX_EVENTS, DEFAULT_EVENTS = 1_000, 100
_ZONE_NAME = re.compile("[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")


def _instant(text: object) -> datetime:
    try:
        return parse_instant(str(text), "")
    except InvalidWindow as exc:
        raise ValueError(exc.reason) from exc


def _zone(text: object) -> tzinfo:
    if not _ZONE_NAME.fullmatch(str(text)):
        raise ValueError("is not an IANA time zone such as Europe/Berlin or UTC")
    try:
        return zone_named(str(text))
    except InvalidInput as exc:
        raise ValueError(str(exc)) from exc


def encode_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _cursor(text: str) -> str:
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if decoded:
            return decoded.decode()
    except ValueError:  # not base64, or not UTF-8
        pass
    raise ValueError(INVALID_CURSOR)


@dataclass(frozen=True, slots=True)
class BucketCursor:
    """Start of a page's first bucket, and the totals of the range that the first page counted."""

    start: datetime
    totals: RangeTotals | None  # None in cursors of versions before 0.2


def encode_bucket_cursor(page: BucketPage | PeriodPage) -> str | None:
    """The `next` of a page, which carries the totals so that only the first page counts them."""
    if page.next_start is None:
        return None
    at = "" if page.last_ingested_at is None else format_timestamp(page.last_ingested_at)
    return encode_cursor(f"{format_timestamp(page.next_start)}#{page.total}#{at}")


def _bucket_cursor(text: str) -> BucketCursor:
    try:
        start, *carried = _cursor(text).split("#")
        if not carried:
            return BucketCursor(_instant(start), None)
        total, at = carried
        if not re.fullmatch("[0-9]{1,18}", total):
            raise ValueError(INVALID_CURSOR)
        totals = RangeTotals(int(total), _instant(at) if at else None)
        return BucketCursor(_instant(start), totals)
    except ValueError as exc:
        raise ValueError(INVALID_CURSOR) from exc


def encode_change_cursor(cursor: ChangeCursor) -> str:
    text = format_timestamp(cursor.minute)
    if cursor.shard or cursor.after_key is not None:
        text += f"#{cursor.shard}#{cursor.after_key or ''}"
    return encode_cursor(text)


def _since(text: object) -> ChangeCursor | datetime:
    # A cursor starts with a year too, but in base64.
    if re.match("[0-9]{4}-", str(text)):
        return _instant(text)
    at, *rest = _cursor(str(text)).split("#", 2)
    try:
        slot = _instant(at)
    except ValueError as exc:
        raise ValueError(INVALID_CURSOR) from exc
    if not rest:
        return ChangeCursor(slot)
    if len(rest) != 2 or not re.fullmatch("[0-9]", rest[0]):
        raise ValueError(INVALID_CURSOR)
    return ChangeCursor(slot, int(rest[0]), rest[1] or None)


def _whole_number(text: object) -> object:
    # pydantic alone also accepts `1_0` and ` 10`.
    if isinstance(text, str) and not re.fullmatch("-?[0-9]{1,18}", text):
        raise ValueError("is not a whole number")
    return text


def _checked(check: Callable[[str], str]) -> BeforeValidator:
    """Validate with a function that raises `InvalidEvent`."""

    def validate(text: str) -> str:
        try:
            return check(text)
        except InvalidEvent as exc:
            raise ValueError(exc.reason) from exc

    return BeforeValidator(validate, json_schema_input_type=str)


# In the OpenAPI description all of these are strings; these functions check them.
Instant = Annotated[datetime, BeforeValidator(_instant, json_schema_input_type=str)]
EventType = Annotated[str, _checked(check_event_type)]
Cursor = Annotated[str, BeforeValidator(_cursor, json_schema_input_type=str)]
PageCursor = Annotated[BucketCursor, BeforeValidator(_bucket_cursor, json_schema_input_type=str)]
Since = Annotated[ChangeCursor | datetime, BeforeValidator(_since, json_schema_input_type=str)]
Zone = Annotated[tzinfo, BeforeValidator(_zone, json_schema_input_type=str)]
WholeNumber = Annotated[int, BeforeValidator(_whole_number)]


class _AnyText(StringConvertor):
    """Any text, including slashes and line breaks; `CustomerId` validates it."""

    regex = r"(?s:.*)"


register_url_convertor("id", _AnyText())

CustomerId = Annotated[
    str,
    _checked(check_customer_id),
    Path(
        description="Customer id, percent-encoded (`/` is `%2F`). Case-sensitive.",
        examples=["9d698ace49b14eaed7cc1ac64afef255"],
    ),
]


class BucketParameters(BaseModel):
    """Query parameters of the buckets route."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    start: Instant = Field(
        description="Start of the range, included: an ISO 8601 date, or date and time with any "
        "offset; UTC if it has no offset. In a URL write `+` as `%2B`.",
        examples=["2021-03-01T00:00:00Z"],
    )
    end: Instant = Field(
        description="End of the range, excluded. Same format as `start`.",
        examples=["2021-04-01T00:00:00Z"],
    )
    window: Literal["hour", "day", "week", "month"] = Field(
        default="hour",
        description="Length of a bucket: a UTC hour, or a day, week (from Monday) or month of "
        "`timezone`.",
        examples=["day"],
    )
    timezone: Zone | None = Field(
        default=None,
        description="IANA time zone of days, weeks and months; UTC by default. Not allowed with "
        "`window=hour`.",
        examples=["Europe/Berlin"],
    )
    event_type: list[EventType] = Field(
        default=[],
        description="Count only this event type; repeat it for several types.",
        examples=[["page_view", "sign-in"]],
    )
    group_by: Literal["event_type"] | None = Field(
        default=None,
        description="`event_type` adds the count of each event type to each bucket.",
        examples=["event_type"],
    )
    fill: Literal["zero"] | None = Field(
        default=None,
        description="`zero` includes buckets without events; by default they are omitted.",
        examples=["zero"],
    )
    limit: WholeNumber = Field(
        default=DEFAULT_BUCKETS,
        ge=1,
        le=MAX_BUCKETS,
        description="Maximum buckets per page.",
        examples=[744],
    )
    cursor: PageCursor | None = Field(
        default=None,
        description="The previous page's `next`, with all other parameters unchanged.",
        examples=["MjAyMS0wMy0wMVQyMzowMDowMC4wMDAwMDBa"],
    )
    format: Literal["json", "csv", "jsonl", "parquet"] | None = Field(
        default=None,
        description="Format of the answer; overrides the `Accept` header. `jsonl` and `parquet` "
        "give the whole range at once, without `limit` and `cursor`.",
        examples=["json"],
    )


class RangeParameters(BaseModel):
    """A range that may be open at either end."""

    model_config = ConfigDict(extra="forbid")

    start: Instant | None = Field(
        default=None,
        description="Start of the range, included; the first event by default.",
        examples=["2021-03-01T00:00:00Z"],
    )
    end: Instant | None = Field(
        default=None,
        description="End of the range, excluded; the last event by default.",
        examples=["2021-04-01T00:00:00Z"],
    )


class EventParameters(RangeParameters):
    """Query parameters of the stored events route."""

    event_type: list[EventType] = Field(
        default=[],
        description="Return only this event type; repeat it for several types.",
        examples=[["page_view", "sign-in"]],
    )
    transaction_id: str | None = Field(
        default=None,
        min_length=1,
        description="Return only events with this transaction id.",
        examples=["0a1ddc54-9a2f-4d9c-8f0e-6d1a4e1f2b3c"],
    )
    order: Literal["oldest", "newest"] = Field(
        default="oldest", description="Which events come first.", examples=["newest"]
    )
    limit: WholeNumber = Field(
        default=DEFAULT_EVENTS,
        ge=1,
        le=MAX_EVENTS,
        description="Maximum events per page.",
        examples=[100],
    )
    cursor: Cursor | None = Field(
        default=None,
        description="The previous page's `next`, with all other parameters unchanged.",
        examples=["MjAyMS0wMy0wMVQwMDoxMDowNS42NTcwMDBaLXBhZ2Vfdmlldy10LTE"],
    )


class CustomerParameters(RangeParameters):
    """Query parameters of the customers route: totals are of the range."""

    prefix: str = Field(
        default="", description="Return only customers whose id has this prefix.", examples=["9d69"]
    )
    limit: WholeNumber = Field(
        default=DEFAULT_CUSTOMERS,
        ge=1,
        le=MAX_CUSTOMERS,
        description="Maximum customers per page.",
        examples=[100],
    )
    cursor: Cursor | None = Field(
        default=None,
        description="The previous page's `next`, with all other parameters unchanged.",
        examples=["OWQ2OThhY2U0OWIxNGVhZWQ3Y2MxYWM2NGFmZWYyNTU"],
    )
