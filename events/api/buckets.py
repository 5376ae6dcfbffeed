"""Counts of one customer by UTC hour."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, NotRequired

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from events.api.auth import REFUSALS, allowed
from events.api.parameters import BucketParameters, CustomerId, Service, encode_cursor
from events.api.problems import responses
from events.apikeys import Right
from events.models import BucketCount, BucketPage, BucketQuery
from events.timestamps import format_timestamp
from events.windows import window_between

router = APIRouter(tags=["counts"])

_JSON_RANGES = ("application/json", "application/*", "*/*")
#: A cell that begins so is run as a formula by spreadsheets (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Bucket(TypedDict):
    """The events of one UTC hour."""

    # A dictionary, not a model: hundreds are made for one answer, ten times as fast.
    ts_start_of_hour: Annotated[str, Field(examples=["2021-03-01T00:00:00.000000Z"])]
    count: Annotated[int, Field(ge=0, examples=[2499])]
    partial: Annotated[
        bool,
        Field(
            description="The window cuts this hour: `count` has only what lies inside the window.",
            examples=[False],
        ),
    ]
    counts: NotRequired[
        Annotated[
            dict[str, int],
            Field(
                description="By event type, if `group_by=event_type`; they sum to `count`.",
                examples=[{"page_view": 1499, "sign-in": 1000}],
            ),
        ]
    ]


class Buckets(BaseModel):
    """One page of a window's buckets, ascending."""

    customer_id: str = Field(examples=["9d698ace49b14eaed7cc1ac64afef255"])
    start: str = Field(examples=["2021-03-01T00:00:00.000000Z"])
    end: str = Field(examples=["2021-04-01T00:00:00.000000Z"])
    total: int = Field(
        ge=0, description="Events in the whole window, whichever page this is.", examples=[3419]
    )
    last_ingested_at: str | None = Field(
        description="When a count of the days asked last changed; null if they have none.",
        examples=["2026-01-02T03:04:05.678901Z"],
    )
    buckets: list[Bucket]
    next: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last.", examples=[None]
    )


@router.get(
    "/events/customers/{customer_id:id}/buckets",
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    summary="Events by UTC hour",
    response_model=Buckets,
    responses={
        200: {
            "description": "The counts. An unknown customer has none.",
            "content": {
                "text/csv": {
                    "schema": {"type": "string"},
                    "example": "ts_start_of_hour,count,partial\n"
                    "2021-03-01T00:00:00.000000Z,2499,false\n",
                }
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
    response: Response,
    service: Service,
    customer_id: CustomerId,
    parameters: Annotated[BucketParameters, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Buckets | Response:
    """
    How many events a customer sent in each one-hour UTC bucket of `[start, end)`.

    Exact: each count is the number of distinct events stored. At most the first and the last
    bucket are partial, where the window begins or ends inside an hour.
    """
    page = service.buckets(
        BucketQuery(
            customer_id=customer_id,
            window=window_between(parameters.start, parameters.end),
            event_types=frozenset(parameters.event_type),
            is_grouped=parameters.group_by is not None,
            is_filled=parameters.fill is not None,
            limit=parameters.limit,
            from_start=parameters.cursor,
        )
    )
    if parameters.format == "csv" or (parameters.format is None and _prefers_csv(accept)):
        return _csv_answer(request, page, is_grouped=parameters.group_by is not None)
    response.headers["Vary"] = "Accept"
    return _answer(page)


def _answer(page: BucketPage) -> Buckets:
    return Buckets(
        customer_id=page.customer_id,
        start=format_timestamp(page.window.start),
        end=format_timestamp(page.window.end),
        total=page.total,
        last_ingested_at=format_timestamp(page.last_ingested_at) if page.last_ingested_at else None,
        buckets=[_bucket(bucket) for bucket in page.buckets],
        next=_next(page),
    )


def _bucket(bucket: BucketCount) -> Bucket:
    answer: Bucket = {
        "ts_start_of_hour": _hour(bucket.start),
        "count": bucket.count,
        "partial": bucket.is_partial,
    }
    if bucket.counts is not None:
        answer["counts"] = dict(bucket.counts)
    return answer


def _hour(start: datetime) -> str:
    # As `format_timestamp`, in a third of the time: hundreds of hours share a few days.
    return _day(start.toordinal()) + _HOURS_OF_DAY[start.hour]


@lru_cache(maxsize=4_096)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


_HOURS_OF_DAY = tuple(f"T{hour:02d}:00:00.000000Z" for hour in range(24))


def _next(page: BucketPage) -> str | None:
    return None if page.next_start is None else encode_cursor(format_timestamp(page.next_start))


def _prefers_csv(accept: str) -> bool:
    """Whether `text/csv` is liked better than JSON (RFC 9110, section 12.5.1); a tie: the first."""
    best, is_csv = 0.0, False
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in media_range.split(";"))
        weights = [each.removeprefix("q=") for each in parameters if each.startswith("q=")]
        weight = _weight(weights[0]) if weights else 1.0
        if weight > best and media_type in ("text/csv", "text/*", *_JSON_RANGES):
            best, is_csv = weight, media_type not in _JSON_RANGES
    return is_csv


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](?:\.[0-9]{0,3})?", text) else 0.0


def _csv_answer(request: Request, page: BucketPage, *, is_grouped: bool) -> Response:
    """The page as CSV; with counts by type, one line for each type of an hour."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("ts_start_of_hour", *(["event_type"] if is_grouped else []), "count", "partial"))
    for bucket in page.buckets:
        partial = "true" if bucket.is_partial else "false"
        if bucket.counts is None:
            rows.writerow((_hour(bucket.start), bucket.count, partial))
        else:
            # An hour without events (`fill=zero`) keeps its line.
            for event_type, count in (bucket.counts or {"": 0}).items():
                rows.writerow((_hour(bucket.start), _defused(event_type), count, partial))
    headers = {"Content-Disposition": 'attachment; filename="buckets.csv"', "Vary": "Accept"}
    next_page = _next(page)
    if next_page is not None:
        query = request.url.include_query_params(cursor=next_page).query
        headers["Link"] = f'<?{query}>; rel="next"'
    return Response(text.getvalue(), media_type="text/csv", headers=headers)


def _defused(cell: str) -> str:
    """`cell` such that no spreadsheet runs it."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
