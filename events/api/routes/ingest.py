"""POST /events and POST /events/void."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from events.api.bodies import BodiesDep, JsonBody
from events.api.dependencies import ServiceDep, SettingsDep, SinkDep
from events.api.openapi import route_errors
from events.api.parameters import no_parameters
from events.api.payloads import CsvOptions, EventsBody, Parsed, parse_correction, parser_of
from events.api.problems import FieldProblem, problem
from events.api.schemas import (
    EXAMPLE_EVENT,
    AcceptedReceipts,
    EventsIn,
    Receipts,
    VoidIn,
    VoidReceipts,
)
from events.api.security import CallerDep, allowed
from events.auth.keys import Right
from events.config import Settings
from events.domain.cloudevents import ATTRIBUTES, SPEC_VERSION
from events.models import Event, Outcome
from events.telemetry import metrics

router = APIRouter(tags=["events"])

#: Request bodies that these routes read and describe themselves.
BODIES: tuple[type[BaseModel], ...] = (EventsIn, VoidIn)
#: Maximum events in one request.
MAX_EVENTS = 1_000
#: Added to the store's own patience, because a request may wait for others before it.
_QUEUE_SECONDS = 15.0
_REJECTED = "rejected"
#: Which outcomes an answer counts, by the name of the number.
_INGESTED = {
    "inserted": Outcome.INSERTED,
    "duplicates": Outcome.DUPLICATE,
    "voided": Outcome.VOIDED,
}
_ACCEPTED = {"accepted": Outcome.ACCEPTED}
_VOIDED = {
    "voided": Outcome.VOIDED,
    "already_voided": Outcome.ALREADY_VOIDED,
    "not_found": Outcome.NOT_FOUND,
}
_ERRORS = route_errors(
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)


_EVENT = {"$ref": "#/components/schemas/EventIn"}
_CLOUD_EVENT: dict[str, Any] = {
    "type": "object",
    "required": list(ATTRIBUTES),
    "properties": {name: {"type": "string", "minLength": 1} for name in ATTRIBUTES}
    | {SPEC_VERSION: {"const": "1.0"}},
}
_EXAMPLE_CLOUD_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": EXAMPLE_EVENT["transaction_id"],
    "source": "/checkout",
    "type": EXAMPLE_EVENT["event_type"],
    "subject": EXAMPLE_EVENT["customer_id"],
    "time": EXAMPLE_EVENT["timestamp"],
}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _body(
    schema: dict[str, Any],
    example: object,
    others: Mapping[str, tuple[dict[str, Any], object]] | None = None,
) -> dict[str, Any]:
    """The OpenAPI description of a JSON body, and of others by media type."""
    types = {"application/json": (schema, example), **(others or {})}
    return {
        "requestBody": {
            "required": True,
            "description": "Compressed or not; gzip with `Content-Encoding: gzip`.",
            "content": {
                media_type: {"schema": schema, "example": example}
                for media_type, (schema, example) in types.items()
            },
        }
    }


@router.post(
    "/events",
    summary="Store and count events",
    dependencies=[Depends(allowed(Right.INGEST, about="each"))],
    response_model=Receipts,
    openapi_extra=_body(
        {"anyOf": [_reference(EventsIn), {"type": "array", "items": _EVENT}, _EVENT]},
        {"events": [EXAMPLE_EVENT]},
        {
            "text/csv": (
                {"type": "string"},
                f"{','.join(EXAMPLE_EVENT)}\n{','.join(EXAMPLE_EVENT.values())}\n",
            ),
            "application/x-ndjson": ({"type": "string"}, json.dumps(EXAMPLE_EVENT) + "\n"),
            "application/cloudevents+json": (_CLOUD_EVENT, _EXAMPLE_CLOUD_EVENT),
            "application/cloudevents-batch+json": (
                {"type": "array", "items": _CLOUD_EVENT},
                [_EXAMPLE_CLOUD_EVENT],
            ),
        },
    ),
    responses={
        200: {"description": "All events are stored and counted."},
        202: {
            "model": AcceptedReceipts,
            "description": "With `EVENTS_INGEST=kafka`: all in-sync replicas of Kafka stored the "
            "events. They are counted when they are consumed.",
        },
        207: {
            "model": Receipts | AcceptedReceipts,
            "description": "Some events are rejected; the others are stored, or accepted.",
        },
        **_ERRORS,
    },
)
async def post_events(
    request: Request,
    sink: SinkDep,
    settings: SettingsDep,
    bodies: BodiesDep,
    caller: CallerDep,
    body: EventsBody,
    options: Annotated[CsvOptions, Query()],
) -> Response:
    """
    Store and count events, each exactly once, with a receipt for each.

    After 200 or 207, every event that is not `rejected` is durable, counted and visible to the
    next read. After 503, or no answer at all, send the same request again: events that were stored
    are then `duplicate`. The second copy of an event in a request is a `duplicate`.

    The body is an object with `events`, an array of events, one event, JSON Lines
    (`application/x-ndjson`), CSV (`text/csv`, read like a file of the command line), or CloudEvents
    1.0 in structured, batch or binary mode. With JSON Lines and CSV each receipt has the `line` of
    its event. If all events are rejected, the `errors` of the 400 name each, as in `line 2`.

    With `EVENTS_INGEST=kafka` the answer is 202 and `accepted`: durable, and counted a little
    later.
    """
    parse = parser_of(request, options)
    is_kafka = settings.events_ingest == "kafka"

    def work(seconds: float) -> Response:
        parsed = bodies.read(request, body, lambda text: parse(text, MAX_EVENTS))
        caller.check_each(Right.INGEST, parsed.customers)
        return _answer(
            parsed,
            lambda events: sink.ingest(events, timeout_seconds=seconds),
            _ACCEPTED if is_kafka else _INGESTED,
            HTTPStatus.ACCEPTED if is_kafka else HTTPStatus.OK,
        )

    return await bodies.in_thread(work, patience_seconds=patience_of(settings))


@router.post(
    "/events/void",
    summary="Void events",
    dependencies=[Depends(allowed(Right.ADMIN, about="each")), Depends(no_parameters)],
    response_model=VoidReceipts,
    openapi_extra=_body(
        _reference(VoidIn), {"reason": "sent by a test", "events": [EXAMPLE_EVENT]}
    ),
    responses={
        200: {"description": "None of the events is counted any more."},
        207: {
            "model": VoidReceipts,
            "description": "Some events are rejected; the others are not counted any more.",
        },
        **_ERRORS,
    },
)
async def void_events(
    request: Request,
    service: ServiceDep,
    settings: SettingsDep,
    bodies: BodiesDep,
    caller: CallerDep,
    body: JsonBody,
) -> Response:
    """
    Take events out of the counts. An event is named by its four fields.

    The event stays stored, with the time and the reason, so that a late retry of it is answered
    `voided` and not counted again. After 503 send the same request again.
    """

    def work(seconds: float) -> Response:
        reason, parsed = bodies.read(request, body, lambda text: parse_correction(text, MAX_EVENTS))
        caller.check_each(Right.ADMIN, parsed.customers)
        return _answer(
            parsed,
            lambda events: service.void(events, reason=reason, timeout_seconds=seconds),
            _VOIDED,
        )

    return await bodies.in_thread(work, patience_seconds=patience_of(settings))


def patience_of(settings: Settings) -> float:
    """How long a request may take to be stored, in seconds."""
    return settings.events_store_patience_seconds + _QUEUE_SECONDS


# --- answers --------------------------------------------------------------------------------------


def _answer(
    parsed: Parsed,
    act: Callable[[list[Event]], Sequence[Outcome]],
    names: Mapping[str, Outcome],
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """
    Do what the request asks for its valid events, and answer with a receipt for each event.

    Args:
        act: Returns the outcome of each event.
        names: The outcomes that the answer counts, by the name of the number.
        status: The status of the answer if no event is rejected.
    """
    rejected = len(parsed.rejections)
    outcomes = act([event for _, event in parsed.events]) if parsed.events else []
    metrics.EVENTS.labels(_REJECTED).inc(rejected)
    if not outcomes:
        return rejections_of(parsed)
    receipts: list[dict[str, Any]] = [
        {"index": index, "status": outcome.value}
        for (index, _), outcome in zip(parsed.events, outcomes, strict=True)
    ]
    if rejected:
        receipts += [
            {"index": index, "status": _REJECTED, "error": str(exc)}
            for index, exc in parsed.rejections
        ]
        receipts.sort(key=lambda receipt: receipt["index"])
    for receipt, line in zip(receipts, parsed.lines, strict=False):  # JSON has no lines
        receipt["line"] = line
    numbers = Counter(outcomes)
    answer = {name: numbers[outcome] for name, outcome in names.items()}
    # Written here, in the thread of this request: FastAPI would do it in the event loop.
    return Response(
        msgspec.json.encode({**answer, "rejected": rejected, "results": receipts}),
        HTTPStatus.MULTI_STATUS if rejected else status,
        media_type="application/json",
    )


def rejections_of(parsed: Parsed, detail: str = "") -> Response:
    """A 400 with all rejections; without a `detail`, it says that all events are rejected."""
    errors = []
    for index, exc in parsed.rejections:
        place = f"line {parsed.lines[index]}" if parsed.lines else f"events.{index}"
        if exc.field and not parsed.lines:
            place += f".{exc.field}"
        errors.append(FieldProblem(field=place, detail=exc.reason))
    subject = "the event is" if len(errors) == 1 else f"all {len(errors):,} events are"
    detail = detail or f"{subject} rejected: see errors"
    return problem(HTTPStatus.BAD_REQUEST, detail, errors=errors)
