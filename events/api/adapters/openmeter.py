"""OpenMeter's API for events and meter queries: https://openmeter.io/docs/api."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field

from events.api.adapters import AdapterRoute, IngestDep, check_names
from events.api.bodies import CLOUD_EVENT, JSON, has_cloud_event, receives
from events.api.dependencies import ServiceDep
from events.api.parameters import EventType, Instant, Parameters, Zone
from events.api.payloads import Parsed, array_of, parse_binary, parse_elements, plain
from events.api.problems import InvalidRequest
from events.api.security import CallerDep, allowed
from events.auth.keys import Right
from events.domain.jsonevents import parse_cloud_event
from events.domain.parsing import check_customer_id
from events.domain.timestamps import format_timestamp
from events.domain.windows import EARLIEST, end_of_hour, window_between
from events.models import BucketQuery, Calendar, Unit, Window
from events.service import EventService

# Their vendor describes these routes; /openapi.json describes ours.
router = APIRouter(prefix="/openmeter", route_class=AdapterRoute, include_in_schema=False)

#: More rows, or more customers without `subject`, are refused.
_MAX_ROWS, _MAX_CUSTOMERS = 100_000, 1_000
_CloudEvents = Annotated[
    bytes, Depends(receives(CLOUD_EVENT, "application/cloudevents-batch+json", JSON))
]


@router.post("/api/v1/events", dependencies=[Depends(allowed(Right.INGEST, about="each"))])
async def ingest_openmeter_events(
    request: Request, ingest: IngestDep, body: _CloudEvents
) -> Response:
    """Store one CloudEvent or an array. OpenMeter's Python client takes only 204 for success."""

    def parse(text: bytes, max_events: int) -> Parsed:
        if has_cloud_event(request):
            return parse_binary(request, text, max_events)
        text = plain(text)
        is_array = text.lstrip()[:1] == b"["
        elements = array_of(text, max_events, field="body") if is_array else [text]
        return parse_elements(elements, parse_cloud_event)

    return await ingest.run(body, parse, lambda: Response(status_code=HTTPStatus.NO_CONTENT))


class MeterParameters(Parameters):
    """Query parameters of the meter route; OpenMeter's others are refused by name."""

    start: Instant | None = Field(None, alias="from")
    end: Instant | None = Field(None, alias="to")
    window_size: Literal["HOUR", "DAY", "MONTH"] | None = Field(None, alias="windowSize")
    zone: Zone | None = Field(None, alias="windowTimeZone")
    subject: list[str] = Field([])
    group_by: list[Literal["subject"]] = Field([], alias="groupBy")


@router.get(
    "/api/v1/meters/{slug:id}/query",
    dependencies=[Depends(allowed(Right.READ, about="each"))],
    response_model=None,
)
def query_openmeter_meter(
    service: ServiceDep,
    caller: CallerDep,
    slug: Annotated[EventType, Path()],
    parameters: Annotated[MeterParameters, Query()],
) -> Response:
    """
    Count the events of the type `slug`, by window and by subject.

    As in OpenMeter, `subject` also groups by subject, and windows without events are absent.
    """
    subjects = check_names("subject", parameters.subject, check_customer_id)
    if not subjects:
        caller.check(Right.READ, None)
    caller.check_each(Right.READ, subjects)
    window = window_between(
        EARLIEST if parameters.start is None else parameters.start,
        parameters.end or datetime.now(UTC),
        names=("from", "to"),
    )
    is_grouped = bool(subjects or parameters.group_by)
    counts: Counter[tuple[datetime, datetime, str | None]] = Counter()
    for customer_id in subjects or _customers(service, window):
        query = BucketQuery(
            customer_id, window, event_types=frozenset([slug]), calendar=_calendar(parameters)
        )
        subject = customer_id if is_grouped else None
        for bucket in service.all_buckets(query):
            end = bucket.end or end_of_hour(bucket.start)
            counts[max(bucket.start, window.start), min(end, window.end), subject] += bucket.count
        if len(counts) > _MAX_ROWS:
            raise InvalidRequest("from", f"gives more than {_MAX_ROWS:,} rows: ask for less time")
    if parameters.window_size is None:
        counts = _whole(counts, parameters)
    answer: dict[str, Any] = {
        "from": _text(parameters.start),
        "to": _text(parameters.end),
        "windowSize": parameters.window_size,
        "data": [
            {
                "value": count,
                "windowStart": format_timestamp(start),
                "windowEnd": format_timestamp(end),
                "subject": subject,
                "groupBy": {"subject": subject} if subject is not None else {},
            }
            for (start, end, subject), count in sorted(counts.items(), key=_order)
        ],
    }
    given = {name: value for name, value in answer.items() if value is not None}
    return Response(msgspec.json.encode(given), media_type="application/json")


def _order(row: tuple[tuple[datetime, datetime, str | None], int]) -> tuple[datetime, str]:
    (start, _, subject), _ = row
    return start, subject or ""


def _text(at: datetime | None) -> str | None:
    return None if at is None else format_timestamp(at)


def _calendar(parameters: MeterParameters) -> Calendar | None:
    size, zone = parameters.window_size, parameters.zone
    if size is None or (size == "HOUR" and zone is None):
        return None
    return Calendar(Unit(size.lower()), zone or UTC)


def _whole(
    counts: Counter[tuple[datetime, datetime, str | None]], parameters: MeterParameters
) -> Counter[tuple[datetime, datetime, str | None]]:
    """The sum of all windows for each subject; without `from` and `to`, of those with events."""
    if not counts:
        return counts
    start = parameters.start or min(start for start, _, _ in counts)
    end = parameters.end or max(end for _, end, _ in counts)
    whole: Counter[tuple[datetime, datetime, str | None]] = Counter()
    for (_, _, subject), count in counts.items():
        whole[start, end, subject] += count
    return whole


def _customers(service: EventService, window: Window) -> Iterator[str]:
    """All customers with events in a range."""
    active = (customer for customer in service.all_customers(window) if customer.total)
    for number, customer in enumerate(active, 1):
        if number > _MAX_CUSTOMERS:
            raise InvalidRequest(
                "subject", f"name it: more than {_MAX_CUSTOMERS:,} subjects have events"
            )
        yield customer.customer_id
