"""GET .../buckets: one customer's counts by hour, day, week or month, of UTC or another zone."""

from __future__ import annotations

import logging
from itertools import chain
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Send

from events.api.dependencies import (
    WINDOWED_HEADER,
    ServiceDep,
    SettingsDep,
    windowed_headers,
)
from events.api.openapi import route_errors
from events.api.parameters import BucketParameters, CustomerId, Format, encode_bucket_cursor
from events.api.problems import InvalidRequest
from events.api.schemas import Buckets, CalendarBuckets, WindowedBuckets
from events.api.security import allowed
from events.auth.keys import Right
from events.domain.timestamps import format_timestamp
from events.domain.windows import floor_hour, window_between
from events.errors import EventsError
from events.models import BucketPage, BucketQuery, Calendar
from events.queries.formats import count_object, csv_pieces, encoded

log = logging.getLogger(__name__)

router = APIRouter(tags=["counts"])

MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
#: By media type in an `Accept` header, the format of the answer.
_FORMAT_OF: dict[str, Format] = {
    "*/*": "json",
    "application/jsonl": "jsonl",
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
}
#: Answers that this route writes itself: FastAPI would validate each bucket first.
ANSWERS = (Buckets, WindowedBuckets, CalendarBuckets)


@router.get(
    "/events/customers/{customer_id:id}/buckets",
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    summary="Events by hour, day, week or month",
    response_model=None,
    responses={
        200: {
            "description": "The counts. An unknown customer has no buckets.",
            "headers": WINDOWED_HEADER,
            "content": {
                MEDIA_TYPES["json"]: {
                    "schema": {
                        "anyOf": [
                            {"$ref": f"#/components/schemas/{model.__name__}"} for model in ANSWERS
                        ]
                    }
                },
                MEDIA_TYPES["csv"]: {
                    "schema": {"type": "string"},
                    "example": "ts_start_of_hour,count,partial\n"
                    "2021-03-01T00:00:00.000000Z,2499,false\n",
                },
                MEDIA_TYPES["jsonl"]: {
                    "schema": {"type": "string"},
                    "example": '{"ts_start_of_hour": "2021-03-01T00:00:00.000000Z", "count": 2499, '
                    '"partial": false}\n',
                },
                MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **route_errors(),
    },
)
def get_buckets(
    request: Request,
    service: ServiceDep,
    settings: SettingsDep,
    customer_id: CustomerId,
    parameters: Annotated[BucketParameters, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """
    Count a customer's events in each one-hour UTC bucket of `[start, end)`, or, with `window` and
    `timezone`, in each hour, day, week or month of a time zone.

    Each count is the number of distinct events stored. Only the first and the last bucket can be
    partial, if the range begins or ends inside them. Days of a time zone may have 23 or 25 hours.
    """
    cursor = parameters.cursor
    query = BucketQuery(
        customer_id=customer_id,
        window=window_between(parameters.start, parameters.end),
        event_types=frozenset(parameters.event_type),
        is_grouped=parameters.group_by is not None,
        is_filled=parameters.fill is not None,
        limit=parameters.limit,
        from_start=None if cursor is None else cursor.start,
        totals=None if cursor is None else cursor.totals,
        calendar=parameters.calendar(),
    )
    headers = {"Vary": "Accept", **windowed_headers(settings)}
    if settings.events_counts == "windowed":
        _check_windowed(query)
    name = parameters.format or _preferred(accept)
    if name != "json":
        headers["Content-Disposition"] = f'attachment; filename="buckets.{name}"'
    if name == "jsonl" or name == "parquet":
        for parameter in ("limit", "cursor"):
            if parameter in parameters.model_fields_set:
                raise InvalidRequest(parameter, f"omit it: {name} gives the whole range")
        pieces = encoded(name, query, service.all_buckets(query))
        # Wait for the first piece, so that a store that is down is a 503 and not a cut-off 200.
        first = next(pieces, b"")
        return Streamed(chain([first], pieces), media_type=MEDIA_TYPES[name], headers=headers)
    page = service.buckets(query)
    if name == "csv":
        return _csv_answer(request, query, page, headers)
    answer = _answer(page, query.calendar)
    if settings.events_counts == "windowed":
        answer["windowed"] = {"watermark_seconds": settings.events_watermark_seconds}
    return Response(msgspec.json.encode(answer), headers=headers, media_type=MEDIA_TYPES["json"])


def _preferred(accept: str) -> Format:
    """The first media type of an `Accept` header that this route writes; weights are ignored."""
    for media_range in accept.lower().split(","):
        media_type = media_range.partition(";")[0].strip()
        if media_type in _FORMAT_OF:
            return _FORMAT_OF[media_type]
    return "json"


def _check_windowed(query: BucketQuery) -> None:
    """Windowed counts are of whole UTC hours; no events are stored to count parts of hours from."""
    if query.calendar is not None:
        raise InvalidRequest("window", "windowed counts are by UTC hour: omit window and timezone")
    for name, at in (("start", query.window.start), ("end", query.window.end)):
        if at != floor_hour(at):
            raise InvalidRequest(name, "is not on the hour: windowed counts are of whole hours")


def _answer(page: BucketPage, calendar: Calendar | None) -> dict[str, Any]:
    at = page.last_ingested_at
    periods = {}
    if calendar is not None:
        periods = {"window": calendar.unit.value, "timezone": str(calendar.zone)}
    return {
        "customer_id": page.customer_id,
        "start": format_timestamp(page.window.start),
        "end": format_timestamp(page.window.end),
        **periods,
        "total": page.total,
        "last_ingested_at": None if at is None else format_timestamp(at),
        "buckets": [count_object(count, calendar) for count in page.buckets],
        "next": encode_bucket_cursor(page),
    }


def _csv_answer(
    request: Request, query: BucketQuery, page: BucketPage, headers: dict[str, str]
) -> Response:
    """The page as CSV; with counts by type, one line for each type of a bucket."""
    cursor = encode_bucket_cursor(page)
    if cursor is not None:
        link = request.url.include_query_params(cursor=cursor).query
        headers["Link"] = f'<?{link}>; rel="next"'
    body = b"".join(csv_pieces(query, page.buckets))
    return Response(body, headers=headers, media_type=MEDIA_TYPES["csv"])


class Streamed(StreamingResponse):
    """An answer that is cut off, without its end, if the store fails while it is sent."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except EventsError as exc:
            # The status 200 is sent already. The server closes the connection without the end of
            # the body, so the caller knows that the answer is incomplete.
            log.error("answer cut off: %s: %s", type(exc).__name__, exc)
