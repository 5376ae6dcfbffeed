"""Counts of one customer by UTC hour, or by day, week or month of a zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from events.api.media import MEDIA_TYPES, preferred
from events.api.openapi import responses
from events.api.parameters import BucketParameters, CustomerId, Service, encode_cursor
from events.api.problems import InvalidRequest
from events.api.responses import Streamed
from events.api.schemas import (
    Bucket,
    Buckets,
    CalendarBucket,
    CalendarBuckets,
    Windowed,
    WindowedBuckets,
)
from events.api.security import REFUSALS, allowed
from events.api.windowed import WINDOWED_HEADER, windowed_headers
from events.auth.keys import Right
from events.config import Settings
from events.domain.timestamps import format_timestamp
from events.domain.windows import floor_hour, window_between
from events.models import BucketPage, BucketQuery, Calendar, PeriodPage, Unit
from events.queries.formats import Counts, Format, bucket_object, csv_pieces, encoded, period_object
from events.service import EventService

router = APIRouter(tags=["counts"])

#: What this route writes itself: of two models the framework would try each, which takes as long
#: again as writing one.
ANSWERS = (Buckets, WindowedBuckets, CalendarBuckets)
_VARY = {"Vary": "Accept"}


@router.get(
    "/events/customers/{customer_id:id}/buckets",
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    summary="Events by UTC hour, or by day, week or month",
    response_model=None,
    responses={
        200: {
            "description": "The counts. An unknown customer has none.",
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
        **responses(
            HTTPStatus.BAD_REQUEST,
            *REFUSALS,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
def get_buckets(
    request: Request,
    service: Service,
    customer_id: CustomerId,
    parameters: Annotated[BucketParameters, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """
    How many events a customer sent in each one-hour UTC bucket of `[start, end)`, or, with
    `window`, in each day, week or month of `timezone`.

    Exact: each count is the number of distinct events stored. At most the first and the last
    bucket are partial, where the range begins or ends inside one. The days of a zone may have 23
    or 25 hours.
    """
    query = BucketQuery(
        customer_id=customer_id,
        window=window_between(parameters.start, parameters.end),
        event_types=frozenset(parameters.event_type),
        is_grouped=parameters.group_by is not None,
        is_filled=parameters.fill is not None,
        limit=parameters.limit,
        from_start=parameters.cursor,
    )
    calendar = _calendar(parameters)
    settings: Settings = request.app.state.settings
    # Lines and files have no other place for it.
    said = windowed_headers(settings)
    if said:
        _check_windowed(query, calendar)
    form = parameters.format or preferred(accept)
    if form == "jsonl" or form == "parquet":
        for name in ("limit", "cursor"):
            if name in parameters.model_fields_set:
                raise InvalidRequest(name, f"{form} gives the whole window: leave it out")
        return _export(service, query, calendar, form, more=said)
    page = service.buckets(query) if calendar is None else service.periods(query, calendar)
    if form == "csv":
        return _csv_answer(request, page, is_grouped=query.is_grouped, more=said)
    answer: Buckets | CalendarBuckets
    answer = _answer(page) if isinstance(page, BucketPage) else _calendar_answer(page)
    if settings.events_counts == "windowed":
        windowed = Windowed(watermark_seconds=settings.events_watermark_seconds)
        answer = WindowedBuckets(**answer.model_dump(), windowed=windowed)
    return Response(
        answer.model_dump_json(), headers={**_VARY, **said}, media_type="application/json"
    )


def _check_windowed(query: BucketQuery, calendar: Calendar | None) -> None:
    """Counts of a stream are of whole UTC hours, and there are no events to count the rest from."""
    if calendar is not None:
        raise InvalidRequest("window", "the counts here are windowed: ask for window=hour")
    for name, at in (("start", query.window.start), ("end", query.window.end)):
        if at != floor_hour(at):
            raise InvalidRequest(
                name, "is not on the hour: the counts here are windowed, of whole hours"
            )


def _calendar(parameters: BucketParameters) -> Calendar | None:
    if parameters.window != "hour":
        return Calendar(Unit(parameters.window), parameters.timezone or UTC)
    if parameters.timezone is not None:
        raise InvalidRequest(
            "timezone", "goes only with window=day, week or month: hours are UTC hours"
        )
    return None


def _answer(page: BucketPage) -> Buckets:
    return Buckets(
        customer_id=page.customer_id,
        start=format_timestamp(page.window.start),
        end=format_timestamp(page.window.end),
        total=page.total,
        last_ingested_at=_at(page.last_ingested_at),
        buckets=cast("list[Bucket]", [bucket_object(each) for each in page.buckets]),
        next=_next(page.next_start),
    )


def _calendar_answer(page: PeriodPage) -> CalendarBuckets:
    buckets = [period_object(page.calendar, each) for each in page.periods]
    return CalendarBuckets(
        customer_id=page.customer_id,
        start=format_timestamp(page.window.start),
        end=format_timestamp(page.window.end),
        window=page.calendar.unit.value,
        timezone=str(page.calendar.zone),
        total=page.total,
        last_ingested_at=_at(page.last_ingested_at),
        buckets=cast("list[CalendarBucket]", buckets),
        next=_next(page.next_start),
    )


def _at(at: datetime | None) -> str | None:
    return None if at is None else format_timestamp(at)


def _next(start: datetime | None) -> str | None:
    return None if start is None else encode_cursor(format_timestamp(start))


def _csv_answer(
    request: Request, page: BucketPage | PeriodPage, *, is_grouped: bool, more: Mapping[str, str]
) -> Response:
    """The page as CSV; with counts by type, one line for each type of an hour."""
    if isinstance(page, BucketPage):
        pieces = csv_pieces(page.buckets, None, is_grouped=is_grouped)
    else:
        pieces = csv_pieces(page.periods, page.calendar, is_grouped=is_grouped)
    headers = {**_headers("csv"), **more}
    next_page = _next(page.next_start)
    if next_page is not None:
        query = request.url.include_query_params(cursor=next_page).query
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response(b"".join(pieces), media_type="text/csv", headers=headers)


def _export(
    service: EventService,
    query: BucketQuery,
    calendar: Calendar | None,
    form: Format,
    *,
    more: Mapping[str, str],
) -> Response:
    """All of a window, sent while it is read: an answer that ends without its end is cut off."""
    counts: Counts
    if calendar is None:
        counts = service.all_buckets(query)
    else:
        counts = service.all_periods(query, calendar)
    pieces = encoded(form, counts, calendar, is_grouped=query.is_grouped)
    # The first is waited for, so that a store that does not answer is a 503 and no cut-off 200.
    first = next(pieces, b"")
    headers = {**_headers(form), **more}
    return Streamed(chain([first], pieces), media_type=MEDIA_TYPES[form], headers=headers)


def _headers(form: Format) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="buckets.{form}"',
        **_VARY,
    }
