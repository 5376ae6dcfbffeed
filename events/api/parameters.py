"""What a request may ask: parameters, checked at the edge."""

from __future__ import annotations

import base64
import re
from collections import Counter
from datetime import datetime, tzinfo
from typing import Annotated, Literal
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.convertors import StringConvertor, register_url_convertor

from events.api.patterns import (
    ZONE_PATTERN,
    CursorText,
    CustomerIdText,
    InstantText,
    KeyPartText,
    SinceText,
    ZoneText,
)
from events.api.problems import InvalidRequest
from events.config import Settings
from events.domain.parsing import check_customer_id, check_event_type
from events.domain.timestamps import format_timestamp, parse_instant, zone_named
from events.errors import InvalidEvent, InvalidInput, InvalidWindow
from events.models import ChangeCursor
from events.service import EventService

MAX_BUCKETS, DEFAULT_BUCKETS = 10_000, 1_000
MAX_CUSTOMERS, DEFAULT_CUSTOMERS = 1_000, 100
MAX_EVENTS, DEFAULT_EVENTS = 1_000, 100
_NO_CURSOR = "is no cursor: use `next` of the page before as it was given"
_MAY_REPEAT = frozenset({"event_type"})


# Neither of these two waits for anything: `async` keeps them, and what needs nothing else, off the
# threads, which may all be waiting for the store.
async def get_service(request: Request) -> EventService:
    service: EventService = request.app.state.service
    return service


Service = Annotated[EventService, Depends(get_service)]


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SettingsOfApp = Annotated[Settings, Depends(get_settings)]


async def check_request(request: Request) -> None:
    """
    Refuse what the framework would let through with another meaning.

    It takes the last of a parameter given twice, and puts U+FFFD where bytes are no UTF-8, which
    would ask about another customer.

    Raises:
        InvalidRequest: Either is so.
    """
    for part, name in (("raw_path", "path"), ("query_string", "query")):
        try:
            unquote_to_bytes(request.scope[part]).decode()
        except UnicodeDecodeError as exc:
            raise InvalidRequest(name, "is not valid UTF-8") from exc
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1 and name not in _MAY_REPEAT:
            raise InvalidRequest(name, f"is given {times} times: give it once")


def _instant(text: object) -> datetime:
    try:
        return parse_instant(str(text), "")
    except InvalidWindow as exc:
        raise ValueError(exc.reason) from exc


def _customer_id(text: str) -> str:
    try:
        return check_customer_id(text)
    except InvalidEvent as exc:
        raise ValueError(exc.reason) from exc


def _event_type(text: str) -> str:
    try:
        return check_event_type(text)
    except InvalidEvent as exc:
        raise ValueError(exc.reason) from exc


def _zone(text: object) -> tzinfo:
    if not re.fullmatch(ZONE_PATTERN, str(text)):
        raise ValueError("is no IANA time zone such as Europe/Berlin or UTC")
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
    except ValueError:  # no base64, or no UTF-8 in it
        pass
    raise ValueError(_NO_CURSOR)


def _cursor_hour(text: str) -> datetime:
    try:
        return _instant(_cursor(text))
    except ValueError as exc:
        raise ValueError(_NO_CURSOR) from exc


def encode_change_cursor(cursor: ChangeCursor) -> str:
    text = format_timestamp(cursor.slot)
    if cursor.shard or cursor.after_key is not None:
        text += f"#{cursor.shard}#{cursor.after_key or ''}"
    return encode_cursor(text)


def _since(text: object) -> ChangeCursor | datetime:
    # A cursor begins with the year too, but in base64.
    if re.match("[0-9]{4}-", str(text)):
        return _instant(text)
    at, *rest = _cursor(str(text)).split("#", 2)
    try:
        slot = _instant(at)
    except ValueError as exc:
        raise ValueError(_NO_CURSOR) from exc
    if not rest:
        return ChangeCursor(slot)
    if len(rest) != 2 or not re.fullmatch("[0-9]", rest[0]):
        raise ValueError(_NO_CURSOR)
    return ChangeCursor(slot, int(rest[0]), rest[1] or None)


def _whole_number(text: object) -> object:
    # pydantic alone also takes 1_0 and " 10".
    if isinstance(text, str) and not re.fullmatch("-?[0-9]{1,18}", text):
        raise ValueError("is no whole number")
    return text


# The types of their JSON are for the description alone: the functions are what is checked.
Instant = Annotated[datetime, BeforeValidator(_instant, json_schema_input_type=InstantText)]
EventType = Annotated[str, BeforeValidator(_event_type, json_schema_input_type=KeyPartText)]
Cursor = Annotated[str, BeforeValidator(_cursor, json_schema_input_type=CursorText)]
HourCursor = Annotated[datetime, BeforeValidator(_cursor_hour, json_schema_input_type=CursorText)]
Since = Annotated[
    ChangeCursor | datetime, BeforeValidator(_since, json_schema_input_type=SinceText)
]
Zone = Annotated[tzinfo, BeforeValidator(_zone, json_schema_input_type=ZoneText)]
WholeNumber = Annotated[int, BeforeValidator(_whole_number)]


class _AnyText(StringConvertor):
    """Any text at all, slashes and line breaks too; what an id may be is checked afterwards."""

    regex = r"(?s:.*)"


register_url_convertor("id", _AnyText())

CustomerId = Annotated[
    str,
    BeforeValidator(_customer_id, json_schema_input_type=CustomerIdText),
    Path(
        description="The customer, percent-encoded: `/` is `%2F`. Case and every byte count.",
        examples=["9d698ace49b14eaed7cc1ac64afef255"],
    ),
]


class BucketParameters(BaseModel):
    """Query parameters of the buckets route."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    start: Instant = Field(
        description="Start of the window, included: an ISO 8601 date, or date and time, with any "
        "offset. Without one it is UTC. In an address `+` is `%2B`.",
        examples=["2021-03-01T00:00:00Z"],
    )
    end: Instant = Field(
        description="End of the window, not included; as `start`.",
        examples=["2021-04-01T00:00:00Z"],
    )
    window: Literal["hour", "day", "week", "month"] = Field(
        default="hour",
        description="How long a bucket is: UTC hours, or days, weeks (from Monday) or months of "
        "`timezone`.",
        examples=["day"],
    )
    timezone: Zone | None = Field(
        default=None,
        description="IANA name of the zone of days, weeks and months; without it UTC. Hours are "
        "UTC hours and take none.",
        examples=["Europe/Berlin"],
    )
    event_type: list[EventType] = Field(
        default=[],
        description="Count only these types; may be given several times.",
        examples=[["page_view", "sign-in"]],
    )
    group_by: Literal["event_type"] | None = Field(
        default=None,
        description="`event_type` adds the count of each type to each bucket.",
        examples=["event_type"],
    )
    fill: Literal["zero"] | None = Field(
        default=None,
        description="`zero` gives every hour (day, week, month) of the window; without it those "
        "without events are left out.",
        examples=["zero"],
    )
    limit: WholeNumber = Field(
        default=DEFAULT_BUCKETS,
        ge=1,
        le=MAX_BUCKETS,
        description="Buckets on one page.",
        examples=[744],
    )
    cursor: HourCursor | None = Field(
        default=None,
        description="`next` of the page before, with all else as it was.",
        examples=["MjAyMS0wMy0wMVQyMzowMDowMC4wMDAwMDBa"],
    )
    format: Literal["json", "csv", "jsonl", "parquet"] | None = Field(
        default=None,
        description="`csv` gives CSV, as `Accept: text/csv` does. `jsonl` and `parquet` give the "
        "whole window, whatever its length, and take neither `limit` nor `cursor`.",
        examples=["json"],
    )


class RangeParameters(BaseModel):
    """A window that may be left open at either end."""

    model_config = ConfigDict(extra="forbid")

    start: Instant | None = Field(
        default=None,
        description="Start of the window, included; without it from the first event on.",
        examples=["2021-03-01T00:00:00Z"],
    )
    end: Instant | None = Field(
        default=None,
        description="End of the window, not included; without it to the last event.",
        examples=["2021-04-01T00:00:00Z"],
    )


class EventParameters(RangeParameters):
    """Query parameters of the stored events route."""

    event_type: list[EventType] = Field(
        default=[],
        description="Only these types; may be given several times.",
        examples=[["page_view", "sign-in"]],
    )
    transaction_id: str | None = Field(
        default=None,
        min_length=1,
        description="Only events with this transaction id.",
        examples=["0a1ddc54-9a2f-4d9c-8f0e-6d1a4e1f2b3c"],
    )
    order: Literal["oldest", "newest"] = Field(
        default="oldest", description="Which come first.", examples=["newest"]
    )
    limit: WholeNumber = Field(
        default=DEFAULT_EVENTS,
        ge=1,
        le=MAX_EVENTS,
        description="Events on one page.",
        examples=[100],
    )
    cursor: Cursor | None = Field(
        default=None,
        description="`next` of the page before, with all else as it was.",
        examples=["MjAyMS0wMy0wMVQwMDoxMDowNS42NTcwMDBaLXBhZ2Vfdmlldy10LTE"],
    )


class CustomerParameters(BaseModel):
    """Query parameters of the customers route."""

    model_config = ConfigDict(extra="forbid")

    start: Instant | None = Field(
        default=None,
        description="Start of the window in which events are counted; without it all before `end`.",
        examples=["2021-03-01T00:00:00Z"],
    )
    end: Instant | None = Field(
        default=None,
        description="End of that window, not included; without it all from `start` on.",
        examples=["2021-04-01T00:00:00Z"],
    )
    prefix: str = Field(
        default="", description="Only customers whose id begins so.", examples=["9d69"]
    )
    limit: WholeNumber = Field(
        default=DEFAULT_CUSTOMERS,
        ge=1,
        le=MAX_CUSTOMERS,
        description="Customers on one page.",
        examples=[100],
    )
    cursor: Cursor | None = Field(
        default=None,
        description="`next` of the page before, with all else as it was.",
        examples=["OWQ2OThhY2U0OWIxNGVhZWQ3Y2MxYWM2NGFmZWYyNTU"],
    )
