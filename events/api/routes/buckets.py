"""GET .../buckets: one customer's counts by UTC hour, or by day, week or month of a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from events.api.dependencies import ServiceDep, SettingsDep
from events.api.openapi import route_errors
from events.api.parameters import BucketParameters, CustomerId, encode_bucket_cursor
from events.api.problems import InvalidRequest
from events.api.responses import (
    MEDIA_TYPES,
    WINDOWED_HEADER,
    Streamed,
    preferred,
    windowed_headers,
)
from events.api.schemas import (
    Bucket,
    Buckets,
    CalendarBucket,
    CalendarBuckets,
    Windowed,
    WindowedBuckets,
)
from events.api.security import allowed
from events.auth.keys import Right
from events.domain.timestamps import format_timestamp
from events.domain.windows import floor_hour, window_between
from events.models import BucketPage, BucketQuery, Calendar, PeriodPage, Unit
from events.queries.formats import Counts, Format, count_object, csv_pieces, encoded
from events.service import EventService

router = APIRouter(tags=["counts"])

#: Answers that this route writes itself: with a union of models FastAPI would try each of them,
#: which takes as long again as writing one.
ANSWERS = (Buckets, WindowedBuckets, CalendarBuckets)


@router.get(
    "/events/customers/{customer_id:id}/buckets",
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    summary="Events by UTC hour, or by day, week or month",
    response_model=None,
    responses={
        200: {
            "description": "The counts. An unknown customer has no buckets.",
            "headers": WINDOWED_HEADER,
            "content": {
                "application/json": {
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
    Count a customer's events in each one-hour UTC bucket of `[start, end)`, or, with `window`, in
    each day, week or month of `timezone`.

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
    )
    calendar = _calendar(parameters)
    headers = {"Vary": "Accept", **windowed_headers(settings)}
    if settings.events_counts == "windowed":
        _check_windowed(query, calendar)
    name = parameters.format or preferred(accept)
    if name != "json":
        headers["Content-Disposition"] = f'attachment; filename="buckets.{name}"'
    if name == "jsonl" or name == "parquet":
        for parameter in ("limit", "cursor"):
            if parameter in parameters.model_fields_set:
                raise InvalidRequest(parameter, f"omit it: {name} gives the whole range")
        return _export(service, query, calendar, name, headers)
    page = service.buckets(query) if calendar is None else service.periods(query, calendar)
    if name == "csv":
        return _csv_answer(request, page, headers, is_grouped=query.is_grouped)
    answer: Buckets | CalendarBuckets
    answer = _answer(page) if isinstance(page, BucketPage) else _calendar_answer(page)
    if settings.events_counts == "windowed":
        windowed = Windowed(watermark_seconds=settings.events_watermark_seconds)
        answer = WindowedBuckets(**answer.model_dump(), windowed=windowed)
    return Response(answer.model_dump_json(), headers=headers, media_type="application/json")


def _check_windowed(query: BucketQuery, calendar: Calendar | None) -> None:
    """Windowed counts are of whole UTC hours; no events are stored to count parts of hours from."""
    if calendar is not None:
        raise InvalidRequest("window", "windowed counts are by hour: use window=hour")
    for name, at in (("start", query.window.start), ("end", query.window.end)):
        if at != floor_hour(at):
            raise InvalidRequest(name, "is not on the hour: windowed counts are of whole hours")


def _calendar(parameters: BucketParameters) -> Calendar | None:
    if parameters.window != "hour":
        return Calendar(Unit(parameters.window), parameters.timezone or UTC)
    if parameters.timezone is not None:
        raise InvalidRequest("timezone", "requires window=day, week or month: hours are UTC hours")
    return None


def _answer(page: BucketPage) -> Buckets:
    return Buckets(
        customer_id=page.customer_id,
        start=format_timestamp(page.window.start),
        end=format_timestamp(page.window.end),
        total=page.total,
        last_ingested_at=_at(page.last_ingested_at),
        buckets=cast("list[Bucket]", [count_object(bucket) for bucket in page.buckets]),
        next=encode_bucket_cursor(page),
    )


def _calendar_answer(page: PeriodPage) -> CalendarBuckets:
    buckets = [count_object(period, page.calendar) for period in page.periods]
    return CalendarBuckets(
        customer_id=page.customer_id,
        start=format_timestamp(page.window.start),
        end=format_timestamp(page.window.end),
        window=page.calendar.unit.value,
        timezone=str(page.calendar.zone),
        total=page.total,
        last_ingested_at=_at(page.last_ingested_at),
        buckets=cast("list[CalendarBucket]", buckets),
        next=encode_bucket_cursor(page),
    )


def _at(at: datetime | None) -> str | None:
    return None if at is None else format_timestamp(at)


def _csv_answer(
    request: Request, page: BucketPage | PeriodPage, headers: dict[str, str], *, is_grouped: bool
) -> Response:
    """The page as CSV; with counts by type, one line for each type of a bucket."""
    if isinstance(page, BucketPage):
        pieces = csv_pieces(page.buckets, None, is_grouped=is_grouped)
    else:
        pieces = csv_pieces(page.periods, page.calendar, is_grouped=is_grouped)
    cursor = encode_bucket_cursor(page)
    if cursor is not None:
        query = request.url.include_query_params(cursor=cursor).query
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response(b"".join(pieces), media_type="text/csv", headers=headers)


def _export(
    service: EventService,
    query: BucketQuery,
    calendar: Calendar | None,
    name: Format,
    headers: dict[str, str],
) -> Response:
    """The whole range, sent while it is read; if the store fails, the answer is cut off."""
    counts: Counts
    if calendar is None:
        counts = service.all_buckets(query)
    else:
        counts = service.all_periods(query, calendar)
    pieces = encoded(name, counts, calendar, is_grouped=query.is_grouped)
    # Wait for the first piece, so that a store that is down is a 503 and not a cut-off 200.
    first = next(pieces, b"")
    return Streamed(chain([first], pieces), media_type=MEDIA_TYPES[name], headers=headers)
