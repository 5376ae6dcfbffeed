"""Path and query parameters, validated before any use case runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.convertors import StringConvertor, register_url_convertor

from events.api.cursors import (
    BucketCursor,
    decode_bucket_cursor,
    decode_cursor,
    decode_instant,
    decode_position,
    decode_since,
)
from events.domain.calendars import parse_bound
from events.domain.parsing import check_customer_id, check_event_type
from events.domain.windows import EARLIEST, LATEST, window_between
from events.domain.zones import zone_named
from events.errors import InvalidEvent, InvalidInput, InvalidWindow
from events.models import BucketQuery, Calendar, ChangeCursor, Unit, Window
from events.queries import formats
from events.queries.customers import MOST_CUSTOMERS, Position

Format: TypeAlias = Literal["json", formats.Format]


def _whole_number(text: object) -> object:
    # pydantic alone also accepts `1_0` and ` 10`.
    if isinstance(text, str) and not re.fullmatch("-?[0-9]{1,18}", text):
        raise ValueError("is not a whole number")
    return text


def _read_with(read: Callable[[str], object]) -> BeforeValidator:
    """Read a text; in the OpenAPI description it is a string."""

    def validate(text: object) -> object:
        try:
            return read(str(text))
        except (InvalidEvent, InvalidWindow) as exc:
            raise ValueError(exc.reason) from exc
        except InvalidInput as exc:
            raise ValueError(str(exc)) from exc

    return BeforeValidator(validate, json_schema_input_type=str)


Instant = Annotated[datetime, _read_with(decode_instant)]
EventType = Annotated[str, _read_with(check_event_type)]
Cursor = Annotated[str, _read_with(decode_cursor)]
PageCursor = Annotated[BucketCursor, _read_with(decode_bucket_cursor)]
CustomersCursor = Annotated[Position, _read_with(decode_position)]
Since = Annotated[ChangeCursor | datetime, _read_with(decode_since)]
Zone = Annotated[tzinfo, _read_with(zone_named)]
_WHOLE = BeforeValidator(_whole_number)


class _AnyText(StringConvertor):
    """Any text, including slashes and line breaks; `CustomerId` validates it."""

    regex = r"(?s:.*)"


register_url_convertor("id", _AnyText())

CustomerId = Annotated[
    str,
    _read_with(check_customer_id),
    Path(
        description="Customer id, percent-encoded (`/` is `%2F`). Case-sensitive.",
        examples=["9d698ace49b14eaed7cc1ac64afef255"],
    ),
]


def _cursor_like(example: str) -> Any:
    text = "The previous page's `next`, with all other parameters unchanged."
    return Field(description=text, examples=[example])


_EventTypes = Annotated[list[EventType], Field(examples=[["page_view", "sign-in"]])]


class Parameters(BaseModel):
    """The query parameters of a route; others are refused."""

    # The text below a field describes it in the OpenAPI document.
    model_config = ConfigDict(
        extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


async def no_parameters(_: Annotated[Parameters, Query()]) -> None:
    """Refuse all query parameters: `DELETE …?start=…` would erase more than its sender means."""


class CountParameters(Parameters):
    """Query parameters of a question about buckets."""

    start: Instant = Field(examples=["2021-03-01T00:00:00Z"])
    """
    Start of the range, included: an ISO 8601 date, or date and time with any offset; UTC if it has
    no offset. A date alone is the start of that day in `timezone`. In a URL write `+` as `%2B`.
    """
    end: Instant = Field(examples=["2021-04-01T00:00:00Z"])
    """End of the range, excluded. Same format as `start`."""
    window: Literal["hour", "day", "week", "month"] = Field("hour", examples=["day"])
    """Length of a bucket: an hour, day, week (from Monday) or month of `timezone`."""
    timezone: Zone | None = Field(None, examples=["Europe/Berlin"])
    """IANA time zone; UTC by default. With it, the times of buckets have the zone's offset."""
    event_type: _EventTypes = []
    """Count only this event type; repeat it for several types."""
    group_by: Literal["event_type"] | None = Field(None, examples=["event_type"])
    """`event_type` adds the count of each event type to each bucket."""
    fill: Literal["zero"] | None = Field(None, examples=["zero"])
    """`zero` includes buckets without events; by default they are omitted."""
    limit: Annotated[int, Field(ge=1, le=10_000, examples=[744]), _WHOLE] = 1_000
    """Maximum buckets per page."""
    format: Format | None = Field(None, examples=["json"])
    """
    Format of the answer; overrides the `Accept` header. `jsonl` and `parquet` give the whole range
    at once, without `limit` and `cursor`.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_dates_in_zone(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Replace dates alone by instants; the fields themselves report what is invalid."""
        with suppress(InvalidInput, InvalidWindow, KeyError):
            zone = zone_named(values["timezone"])
            for name in ("start", "end"):
                values[name] = parse_bound(values[name], name, zone).isoformat()
        return values

    def calendar(self) -> Calendar | None:
        """None are UTC hours."""
        if self.window == "hour" and self.timezone is None:
            return None
        return Calendar(Unit(self.window), self.timezone or UTC)

    def question(self, customer_id: str = "") -> BucketQuery:
        return BucketQuery(
            customer_id=customer_id,
            window=window_between(self.start, self.end),
            event_types=frozenset(self.event_type),
            is_grouped=self.group_by is not None,
            is_filled=self.fill is not None,
            limit=self.limit,
            calendar=self.calendar(),
        )


class BucketParameters(CountParameters):
    """Query parameters of the route for one customer's buckets."""

    cursor: Annotated[PageCursor | None, _cursor_like("MjAyMS0wMy0wMVQyMzowMDowMC4wMDAwMDBa")] = (
        None
    )


class CustomerBucketParameters(CountParameters):
    """Query parameters of the route for several customers' buckets."""

    customer_id: Annotated[
        list[Annotated[str, _read_with(check_customer_id)]],
        Field(max_length=MOST_CUSTOMERS, examples=[["9d698ace49b14eaed7cc1ac64afef255"]]),
    ] = []
    """Count this customer's events; repeat it for up to 100 customers."""
    prefix: str | None = Field(None, examples=["9d69"])
    """In place of `customer_id`: all customers whose id has this prefix. Empty: all customers."""
    cursor: Annotated[
        CustomersCursor | None,
        _cursor_like("IzAjIzlkNjk4YWNlNDliMTRlYWVkN2NjMWFjNjRhZmVmMjU1"),
    ] = None


class RangeParameters(Parameters):
    """A range that may be open at either end."""

    start: Instant | None = Field(None, examples=["2021-03-01T00:00:00Z"])
    """Start of the range, included; the first event by default."""
    end: Instant | None = Field(None, examples=["2021-04-01T00:00:00Z"])
    """End of the range, excluded; the last event by default."""

    def window(self) -> Window:
        return window_between(self.start or EARLIEST, self.end or LATEST)


class EventParameters(RangeParameters):
    """Query parameters of the stored events route."""

    event_type: _EventTypes = []
    """Return only this event type; repeat it for several types."""
    transaction_id: str | None = Field(
        None, min_length=1, examples=["0a1ddc54-9a2f-4d9c-8f0e-6d1a4e1f2b3c"]
    )
    """Return only events with this transaction id."""
    order: Literal["oldest", "newest"] = Field("oldest", examples=["newest"])
    """Which events come first."""
    limit: Annotated[int, Field(ge=1, le=1_000, examples=[100]), _WHOLE] = 100
    """Maximum events per page."""
    cursor: Annotated[
        Cursor | None, _cursor_like("MjAyMS0wMy0wMVQwMDoxMDowNS42NTcwMDBaLXBhZ2Vfdmlldy10LTE")
    ] = None


class CustomerParameters(RangeParameters):
    """Query parameters of the customers route: totals are of the range."""

    prefix: str = Field("", examples=["9d69"])
    """Return only customers whose id has this prefix."""
    limit: Annotated[int, Field(ge=1, le=1_000, examples=[100]), _WHOLE] = 100
    """Maximum customers per page."""
    cursor: Annotated[
        Cursor | None, _cursor_like("OWQ2OThhY2U0OWIxNGVhZWQ3Y2MxYWM2NGFmZWYyNTU")
    ] = None


class ChangeParameters(Parameters):
    """Query parameters of the changes route."""

    since: Since | None = Field(None, examples=["MjAyNi0xMS0yNVQwMDowMDowMC4wMDAwMDBa"])
    """
    The previous page's `next`, or an instant such as 2026-11-25T00:00:00Z in the last 35 days. By
    default all logged changes.
    """
    limit: Annotated[int, Field(ge=1, le=1_000, examples=[1_000]), _WHOLE] = 1_000
    """Maximum changes per page."""
