"""Metronome's API for ingest and usage: https://docs.metronome.com/api-reference/usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from events.api.adapters import AdapterRoute, IngestDep, check_names
from events.api.bodies import BodiesDep, JsonBody
from events.api.cursors import encode_cursor
from events.api.dependencies import ServiceDep, SettingsDep
from events.api.parameters import Cursor, Parameters
from events.api.payloads import Parsed, array_of, parse_elements, plain
from events.api.problems import InvalidRequest
from events.api.routes.ingest import patience_of
from events.api.security import CallerDep, allowed
from events.auth.keys import Right
from events.domain.jsonevents import check_repeated, decode_object, string_of
from events.domain.parsing import COLUMNS, check_customer_id, check_event_type, parse_event
from events.domain.timestamps import format_timestamp, parse_instant
from events.domain.windows import end_of_hour, window_between
from events.errors import INVALID_CURSOR, InvalidEvent, InvalidWindow
from events.models import BucketCount, BucketQuery, Calendar, Event, RangeTotals, Unit, Window
from events.service import EventService

# Their vendor describes these routes; /openapi.json describes ours.
router = APIRouter(prefix="/metronome", route_class=AdapterRoute, include_in_schema=False)

_PROPERTIES = "properties"
#: An answer has about so many rows, of at most so many customers.
_ROWS_PER_PAGE, _CUSTOMERS_PER_PAGE = 1_000, 1_000


@router.post("/v1/ingest", dependencies=[Depends(allowed(Right.INGEST, about="each"))])
async def ingest_metronome_usage(ingest: IngestDep, body: JsonBody) -> Response:
    """Store a bare array of events; their `properties` are ignored."""
    has_properties = False

    def parse(text: bytes) -> Event:
        nonlocal has_properties
        fields = {name: bytes(value) for name, value in decode_object(text).items()}
        check_repeated(text, fields, COLUMNS)
        for name in COLUMNS:
            if name not in fields:
                raise InvalidEvent(name, "is missing")
        for name in fields:
            if name not in (*COLUMNS, _PROPERTIES):
                raise InvalidEvent(None, f"has an unknown field {name[:100]!r}")
        has_properties |= _PROPERTIES in fields
        customer_id, event_type, transaction_id, timestamp = (
            string_of(name, fields[name]) for name in COLUMNS
        )
        return parse_event(customer_id, event_type, transaction_id, timestamp)

    def parse_all(text: bytes, max_events: int) -> Parsed:
        return parse_elements(array_of(plain(text), max_events, field="body"), parse)

    answer = await ingest.run(body, parse_all, Response)
    if has_properties:
        answer.headers["Events-Ignored"] = _PROPERTIES
    return answer


class _Metric(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class _UsageBody(msgspec.Struct, forbid_unknown_fields=True):
    starting_on: str
    ending_before: str
    window_size: str
    customer_ids: list[str] | None = None
    billable_metrics: list[_Metric] | None = None


class UsageParameters(Parameters):
    """Query parameters of the usage route."""

    next_page: Cursor | None = None


@dataclass(frozen=True)
class _Usage:
    """A question about usage; `customers` None means all of them."""

    window: Window
    window_size: str
    customers: list[str] | None
    metrics: list[str]


@router.post("/v1/usage", dependencies=[Depends(allowed(Right.READ, about="each"))])
async def get_metronome_usage(
    request: Request,
    service: ServiceDep,
    settings: SettingsDep,
    bodies: BodiesDep,
    caller: CallerDep,
    parameters: Annotated[UsageParameters, Query()],
    body: JsonBody,
) -> Response:
    """The number of events of each customer and event type, by hour, by UTC day or in all."""

    def work(_: float) -> Response:
        usage = bodies.read(request, body, _parse_usage)
        if usage.customers is None:
            caller.check(Right.READ, None)
        caller.check_each(Right.READ, usage.customers or ())
        rows, position = _page(service, usage, _Position.parse(parameters.next_page))
        answer = {"next_page": None if position is None else position.cursor(), "data": rows}
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return await bodies.in_thread(work, patience_seconds=patience_of(settings))


def _parse_usage(text: bytes) -> _Usage:
    text = plain(text)
    try:
        body = msgspec.json.decode(text, type=_UsageBody)
        values = {name: bytes(value) for name, value in decode_object(text).items()}
        check_repeated(text, values, _UsageBody.__struct_fields__)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidEvent) as exc:
        raise InvalidRequest(
            "body", f"{exc}. Supported: counts by customer, billable metric and window"
        ) from exc
    size = body.window_size.upper()
    if size not in ("HOUR", "DAY", "NONE"):
        raise InvalidRequest("window_size", f"is {body.window_size[:20]!r}: use HOUR, DAY or NONE")
    start = parse_instant(body.starting_on, "starting_on")
    end = parse_instant(body.ending_before, "ending_before")
    customers = body.customer_ids and check_names(
        "customer_ids", body.customer_ids, check_customer_id
    )
    metrics = check_names(
        "billable_metrics", [metric.id for metric in body.billable_metrics or ()], check_event_type
    )
    window = window_between(start, end, names=("starting_on", "ending_before"))
    return _Usage(window, size, customers or None, metrics)


class _Position(NamedTuple):
    """Where a page starts: in the customer's bucket at `start`, or (None) after the customer."""

    customer_id: str
    start: str | None

    def cursor(self) -> str:
        return encode_cursor(f"{self.start or ''}#{self.customer_id}")

    @classmethod
    def parse(cls, text: str | None) -> _Position | None:
        if text is None:
            return None
        start, separator, customer_id = text.partition("#")
        if not (separator and customer_id):
            raise InvalidRequest("next_page", INVALID_CURSOR)
        return cls(customer_id, start or None)


def _page(
    service: EventService, usage: _Usage, position: _Position | None
) -> tuple[list[dict[str, Any]], _Position | None]:
    """Rows, and where the next page starts. A page may be empty without being the last."""
    rows: list[dict[str, Any]] = []
    for number, customer_id in enumerate(_customers(service, usage, position), 1):
        start = position.start if position and position.customer_id == customer_id else None
        more, next_start = _rows(service, usage, customer_id, start)
        rows += more
        if next_start is not None:
            return rows, _Position(customer_id, next_start)
        if len(rows) >= _ROWS_PER_PAGE or number == _CUSTOMERS_PER_PAGE:
            return rows, _Position(customer_id, None)
    return rows, None


def _customers(service: EventService, usage: _Usage, position: _Position | None) -> Iterator[str]:
    """The customers in order of their ids, from a position on."""
    after = None if position is None else position.customer_id
    if position is not None and position.start is not None:
        yield position.customer_id
    if usage.customers is not None:
        yield from (name for name in usage.customers if after is None or name > after)
        return
    for customer in service.all_customers(usage.window, after=after):
        if customer.total:
            yield customer.customer_id


def _rows(
    service: EventService, usage: _Usage, customer_id: str, start: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Rows of one customer, and the start of the first bucket that is left."""
    window = usage.window
    try:
        from_start = None if start is None else parse_instant(start, "next_page")
    except InvalidWindow as exc:
        raise InvalidRequest("next_page", INVALID_CURSOR) from exc
    query = BucketQuery(
        customer_id,
        window,
        event_types=frozenset(usage.metrics),
        is_grouped=True,
        limit=_ROWS_PER_PAGE,
        from_start=from_start,
        totals=RangeTotals(0, None),  # not shown, so not counted
        calendar=Calendar(Unit.DAY, UTC) if usage.window_size == "DAY" else None,
    )
    if usage.window_size == "NONE":
        totals = Counter(dict.fromkeys(usage.metrics, 0))
        for bucket in service.all_buckets(query):
            totals.update(bucket.counts or {})
        whole = BucketCount(window.start, 0, counts=dict(sorted(totals.items())), end=window.end)
        return _rows_of(customer_id, window, whole), None
    page = service.buckets(query)
    rows = [row for bucket in page.buckets for row in _rows_of(customer_id, window, bucket)]
    return rows, None if page.next_start is None else format_timestamp(page.next_start)


def _rows_of(customer_id: str, window: Window, bucket: BucketCount) -> list[dict[str, Any]]:
    start = max(bucket.start, window.start)
    end = min(bucket.end or end_of_hour(bucket.start), window.end)
    return [
        {
            "billable_metric_id": event_type,
            "billable_metric_name": event_type,
            "customer_id": customer_id,
            "start_timestamp": format_timestamp(start),
            "end_timestamp": format_timestamp(end),
            "value": count,
        }
        for event_type, count in (bucket.counts or {}).items()
    ]
