"""Answers about counts: their formats, and what one customer and several have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel
from starlette.types import Send

from events.api.dependencies import WINDOWED_HEADER, windowed_headers
from events.api.openapi import route_errors
from events.api.parameters import CountParameters, Format
from events.api.problems import InvalidRequest
from events.config import Settings
from events.domain.timestamps import format_timestamp
from events.domain.windows import floor_hour
from events.errors import EventsError
from events.models import BucketCount, BucketPage, BucketQuery, Calendar, Window
from events.queries.formats import count_object, encoded

log = logging.getLogger(__name__)

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
#: What the examples of answers answer.
_EXAMPLE = BucketQuery(
    "acme", Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 3, 2, tzinfo=UTC))
)


def count_answers(
    description: str, *models: type[BaseModel], has_customers: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route in all formats, for its OpenAPI description."""
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    hour = BucketCount(_EXAMPLE.window.start, 2_499, customer_id="acme" if has_customers else None)

    def described(name: Format) -> dict[str, Any]:
        match name:
            case "json":
                return {"schema": {"anyOf": references} if len(references) > 1 else references[0]}
            case "parquet":
                return {"schema": {"type": "string", "format": "binary"}}
        pieces = encoded(name, _EXAMPLE, [hour], has_customers=has_customers)
        return {"schema": {"type": "string"}, "example": b"".join(pieces).decode()}

    content = {media_type: described(name) for name, media_type in MEDIA_TYPES.items()}
    answer = {"description": description, "headers": WINDOWED_HEADER, "content": content}
    return {200: answer, **route_errors()}


def choose_format(
    parameters: CountParameters, accept: str, query: BucketQuery, settings: Settings
) -> tuple[Format, dict[str, str]]:
    """The format of an answer, and its headers."""
    if settings.events_counts == "windowed":
        _check_windowed(query)
    headers = {"Vary": "Accept", **windowed_headers(settings)}
    name = parameters.format or _preferred(accept)
    if name != "json":
        headers["Content-Disposition"] = f'attachment; filename="buckets.{name}"'
    if name not in ("json", "csv"):
        for parameter in ("limit", "cursor"):
            if parameter in parameters.model_fields_set:
                raise InvalidRequest(parameter, f"omit it: {name} gives the whole range")
    return name, headers


def _preferred(accept: str) -> Format:
    """The first media type of an `Accept` header with a known format; weights are ignored."""
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


def range_fields(query: BucketQuery) -> dict[str, Any]:
    fields = {
        "start": format_timestamp(query.window.start),
        "end": format_timestamp(query.window.end),
    }
    if query.calendar is not None:
        fields |= {"window": query.calendar.unit.value, "timezone": str(query.calendar.zone)}
    return fields


def customer_fields(page: BucketPage, calendar: Calendar | None) -> dict[str, Any]:
    at = page.last_ingested_at
    return {
        "total": page.total,
        "last_ingested_at": None if at is None else format_timestamp(at),
        "buckets": [count_object(count, calendar) for count in page.buckets],
    }


def json_answer(answer: dict[str, Any], headers: dict[str, str], settings: Settings) -> Response:
    if settings.events_counts == "windowed":
        answer["windowed"] = {"watermark_seconds": settings.events_watermark_seconds}
    return Response(msgspec.json.encode(answer), headers=headers, media_type=MEDIA_TYPES["json"])


def csv_answer(
    request: Request, pieces: Iterable[bytes], cursor: str | None, headers: dict[str, str]
) -> Response:
    """A page as CSV, with a link to the next one."""
    if cursor is not None:
        link = request.url.include_query_params(cursor=cursor).query
        headers["Link"] = f'<?{link}>; rel="next"'
    return Response(b"".join(pieces), headers=headers, media_type=MEDIA_TYPES["csv"])


def streamed(name: Format, pieces: Iterator[bytes], headers: dict[str, str]) -> Response:
    """The whole range, sent while it is read."""
    # Wait for the first piece, so that a store that is down is a 503 and not a cut-off 200.
    first = next(pieces, b"")
    return Streamed(chain([first], pieces), media_type=MEDIA_TYPES[name], headers=headers)


class Streamed(StreamingResponse):
    """An answer that is cut off, without its end, if the store fails while it is sent."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except EventsError as exc:
            # The status 200 is sent already. The server closes the connection without the end of
            # the body, so the caller knows that the answer is incomplete.
            log.error("answer cut off: %s: %s", type(exc).__name__, exc)
