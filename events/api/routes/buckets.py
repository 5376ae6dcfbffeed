"""GET .../buckets: one customer's counts by hour, day, week or month, of UTC or another zone."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from events.api.counts import (
    MEDIA_TYPES,
    choose_format,
    csv_answer,
    customer_fields,
    json_answer,
    range_fields,
    streamed,
)
from events.api.cursors import encode_bucket_cursor
from events.api.dependencies import WINDOWED_HEADER, ServiceDep, SettingsDep
from events.api.openapi import route_errors
from events.api.parameters import BucketParameters, CustomerId
from events.api.schemas import Buckets, CalendarBuckets, WindowedBuckets
from events.api.security import allowed
from events.auth.keys import Right
from events.queries.formats import csv_pieces, encoded

router = APIRouter(tags=["counts"])

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
    query = replace(
        parameters.question(customer_id),
        from_start=None if cursor is None else cursor.start,
        totals=None if cursor is None else cursor.totals,
    )
    name, headers = choose_format(parameters, accept, query, settings)
    if name == "jsonl" or name == "parquet":
        return streamed(name, encoded(name, query, service.all_buckets(query)), headers)
    page = service.buckets(query)
    next_cursor = encode_bucket_cursor(page)
    if name == "csv":
        return csv_answer(request, csv_pieces(query, page.buckets), next_cursor, headers)
    answer = {
        "customer_id": customer_id,
        **range_fields(query),
        **customer_fields(page, query.calendar),
        "next": next_cursor,
    }
    return json_answer(answer, headers, settings)
