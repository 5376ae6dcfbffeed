"""POST /events and POST /events/void."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from events.api.bodies import (
    CSV,
    BodiesDep,
    Body,
    JsonBody,
    Parsed,
    media_type_of,
    parse_correction,
    parse_csv,
    parse_json,
)
from events.api.dependencies import ServiceDep, SettingsDep, SinkDep
from events.api.openapi import route_errors
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
#: Which outcomes each number of an answer counts.
_OUTCOMES: dict[type[BaseModel], dict[str, Outcome]] = {
    Receipts: {
        "inserted": Outcome.INSERTED,
        "duplicates": Outcome.DUPLICATE,
        "voided": Outcome.VOIDED,
    },
    AcceptedReceipts: {"accepted": Outcome.ACCEPTED},
    VoidReceipts: {
        "voided": Outcome.VOIDED,
        "already_voided": Outcome.ALREADY_VOIDED,
        "not_found": Outcome.NOT_FOUND,
    },
}
_ERRORS = route_errors(
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)


def _body(model: type[BaseModel], example: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The OpenAPI description of a request body."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "requestBody": {
            "required": True,
            "description": f"{' or '.join(['JSON', *others])}; gzip with `Content-Encoding: gzip`.",
            "content": {
                "application/json": {"schema": schema, "example": example},
                **{f"text/{name.lower()}": content for name, content in others.items()},
            },
        }
    }


@router.post(
    "/events",
    summary="Store and count events",
    dependencies=[Depends(allowed(Right.INGEST, about="each"))],
    response_model=Receipts,
    openapi_extra=_body(
        EventsIn,
        {"events": [EXAMPLE_EVENT]},
        CSV={
            "schema": {"type": "string"},
            "example": f"{','.join(EXAMPLE_EVENT)}\n{','.join(EXAMPLE_EVENT.values())}\n",
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
    body: Body,
) -> Response:
    """
    Store and count events, each exactly once, with a receipt for each.

    After 200 or 207, every event that is not `rejected` is durable, counted and visible to the
    next read. After 503, or no answer at all, send the same request again: events that were stored
    are then `duplicate`. The second copy of an event in a request is a `duplicate`.

    A body of type `text/csv` is read like a file of the CSV command: the columns `customer_id`,
    `event_type`, `transaction_id`, `timestamp`, with or without a header line, which may name them
    in another order. Each receipt then has the `line` of its row. If all rows are rejected, the
    `errors` of the 400 name each row, as in `line 2`.

    With `EVENTS_INGEST=kafka` the answer is 202 and `accepted`: durable, and counted a little
    later.
    """
    parse = parse_csv if media_type_of(request) == CSV else parse_json
    is_kafka = settings.events_ingest == "kafka"

    def work(seconds: float) -> Response:
        parsed = bodies.read(request, body, lambda text: parse(text, MAX_EVENTS))
        caller.check_each(Right.INGEST, parsed.customers)
        return _answer(
            parsed,
            lambda events: sink.ingest(events, timeout_seconds=seconds),
            AcceptedReceipts if is_kafka else Receipts,
            HTTPStatus.ACCEPTED if is_kafka else HTTPStatus.OK,
        )

    return await bodies.in_thread(work, patience_seconds=_patience(settings))


@router.post(
    "/events/void",
    summary="Void events",
    dependencies=[Depends(allowed(Right.ADMIN, about="each"))],
    response_model=VoidReceipts,
    openapi_extra=_body(VoidIn, {"reason": "sent by a test", "events": [EXAMPLE_EVENT]}),
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
            VoidReceipts,
        )

    return await bodies.in_thread(work, patience_seconds=_patience(settings))


def _patience(settings: Settings) -> float:
    return settings.events_store_patience_seconds + _QUEUE_SECONDS


# --- answers --------------------------------------------------------------------------------------


def _answer(
    parsed: Parsed,
    act: Callable[[list[Event]], Sequence[Outcome]],
    model: type[BaseModel],
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """
    Do what the request asks for its valid events, and answer with a receipt for each event.

    Args:
        act: Returns the outcome of each event.
        model: The body of the answer.
        status: The status of the answer if no event is rejected.
    """
    if not parsed.events:
        metrics.EVENTS.labels(_REJECTED).inc(len(parsed.rejections))
        return _all_rejected(parsed)
    outcomes = act([event for _, event in parsed.events])
    metrics.EVENTS.labels(_REJECTED).inc(len(parsed.rejections))
    numbers = Counter(outcomes)
    answer = model(
        **{name: numbers[outcome] for name, outcome in _OUTCOMES[model].items()},
        rejected=len(parsed.rejections),
        results=_receipts(parsed, outcomes),
    )
    # Written here, in the thread of this request: FastAPI would do it in the event loop.
    return Response(
        answer.model_dump_json(),
        HTTPStatus.MULTI_STATUS if parsed.rejections else status,
        media_type="application/json",
    )


def _receipts(parsed: Parsed, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A receipt for each event, in the order of the request."""
    receipts: list[dict[str, Any]] = [
        {"index": index, "status": outcome.value}
        for (index, _), outcome in zip(parsed.events, outcomes, strict=True)
    ]
    if parsed.rejections:
        receipts += [
            {"index": index, "status": _REJECTED, "error": str(exc)}
            for index, exc in parsed.rejections
        ]
        receipts.sort(key=lambda receipt: receipt["index"])
    for receipt, line in zip(receipts, parsed.lines, strict=False):  # JSON has no lines
        receipt["line"] = line
    return receipts


def _all_rejected(parsed: Parsed) -> Response:
    number = len(parsed.rejections)
    return problem(
        HTTPStatus.BAD_REQUEST,
        "the event is rejected: see errors"
        if number == 1
        else f"all {number:,} events are rejected: see errors",
        errors=[
            FieldProblem(field=_place(parsed, index, exc.field), detail=exc.reason)
            for index, exc in parsed.rejections
        ],
    )


def _place(parsed: Parsed, index: int, field: str | None) -> str:
    """Where a rejected event is in the request."""
    if parsed.lines:
        return f"line {parsed.lines[index]}"
    return f"events.{index}.{field}" if field else f"events.{index}"
