"""Events taken in and corrected over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from events.api.bodies import Body, in_thread, read_json
from events.api.dependencies import SinkDep
from events.api.parameters import Service, SettingsOfApp
from events.api.patterns import ID_PATTERN, CustomerIdText, KeyPartText, TimestampText
from events.api.problems import FieldProblem, problem, responses
from events.api.receipts import AcceptedReceipts, Receipts, VoidReceipts
from events.api.security import REFUSALS, CallerDep, allowed
from events.api.taken import Parsed, take_correction, take_events
from events.auth.keys import Right
from events.config import Settings
from events.domain.parsing import MAX_REASON_CHARACTERS
from events.models import Outcome
from events.telemetry import metrics

router = APIRouter(tags=["events"])

#: The store's own patience is over sooner, unless others are in line before this request.
_LONGER_THAN_THE_STORE_SECONDS = 15.0
_REJECTED = "rejected"
#: Maximum events in one request.
MAX_EVENTS = 1_000


class EventIn(BaseModel):
    """One usage event; two are the same when all four fields are equal."""

    model_config = ConfigDict(extra="forbid")

    customer_id: CustomerIdText = Field(
        description="Not empty, no control characters, no white space at its ends; at most 2,048 "
        "bytes of UTF-8.",
        examples=["9d698ace49b14eaed7cc1ac64afef255"],
    )
    event_type: KeyPartText = Field(
        description="As `customer_id`; together with `transaction_id` at most 995 bytes of "
        "UTF-8, where `%` and `-` of the event type take three each.",
        examples=["page_view"],
    )
    transaction_id: KeyPartText = Field(
        description="As `event_type`.",
        examples=["0a1ddc54-9a2f-4d9c-8f0e-6d1a4e1f2b3c"],
    )
    timestamp: TimestampText = Field(
        description="When it happened: RFC 3339 with an offset; counted to the microsecond.",
        examples=["2021-03-01T00:10:05.657Z"],
    )


class EventsIn(BaseModel):
    """Events to take in."""

    model_config = ConfigDict(extra="forbid")

    events: list[EventIn] = Field(min_length=1, description="At most 1,000, as it is set up.")


class VoidIn(BaseModel):
    """Events to take out of the counts, and why."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        min_length=1,
        max_length=MAX_REASON_CHARACTERS,
        pattern=ID_PATTERN,
        description="Kept with each of the events.",
        examples=["sent by a test"],
    )
    events: list[EventIn] = Field(min_length=1, description="At most 1,000, as it is set up.")


#: Bodies that the routes read themselves, and so describe themselves.
BODIES: tuple[type[BaseModel], ...] = (EventsIn, VoidIn)

_EXAMPLE_EVENT = {
    "customer_id": "9d698ace49b14eaed7cc1ac64afef255",
    "event_type": "page_view",
    "transaction_id": "0a1ddc54-9a2f-4d9c-8f0e-6d1a4e1f2b3c",
    "timestamp": "2021-03-01T00:10:05.657Z",
}
_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    *REFUSALS,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


def _body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "description": "JSON, or gzip of it with `Content-Encoding: gzip`.",
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
                    "example": example,
                }
            },
        }
    }


@router.post(
    "/events",
    summary="Take events in",
    dependencies=[Depends(allowed(Right.INGEST, about="each"))],
    response_model=Receipts,
    openapi_extra=_body(EventsIn, {"events": [_EXAMPLE_EVENT]}),
    responses={
        200: {"description": "All are stored and counted, now or earlier."},
        202: {
            "model": AcceptedReceipts,
            "description": "With `EVENTS_INGEST=kafka`: Kafka has all of them, on all replicas in "
            "sync; they are counted once they are consumed.",
        },
        207: {
            "model": Receipts | AcceptedReceipts,
            "description": "Some are rejected, all others stored, or accepted.",
        },
        **responses(*_ERRORS),
    },
)
async def post_events(
    request: Request,
    sink: SinkDep,
    settings: SettingsOfApp,
    caller: CallerDep,
    body: Body,
) -> Response:
    """
    Store and count events, each at most once for ever, with a receipt for each.

    When the answer is 200 or 207, every event that is not `rejected` is durable, counted, and seen
    by the next read. After 503, or no answer at all, send the same again: what was stored is then
    a `duplicate`. The same event twice in one request is a `duplicate` the second time.

    A service that runs with `EVENTS_INGEST=kafka` answers 202 and `accepted` instead: durable, and
    counted a little later.
    """

    def work(seconds: float) -> Response:
        parsed = read_json(request, body, lambda document: take_events(document, MAX_EVENTS))
        caller.check_each(Right.INGEST, parsed.customers)
        if not parsed.events:
            return _nothing_acceptable(parsed)
        outcomes = sink.ingest([event for _, event in parsed.events], timeout_seconds=seconds)
        numbers = Counter(outcomes)
        if settings.events_ingest == "kafka":
            accepted = AcceptedReceipts(
                accepted=numbers[Outcome.ACCEPTED],
                rejected=len(parsed.rejections),
                results=_receipts(parsed, outcomes),
            )
            return _answer(parsed, accepted, whole=HTTPStatus.ACCEPTED)
        receipts = Receipts(
            inserted=numbers[Outcome.INSERTED],
            duplicates=numbers[Outcome.DUPLICATE],
            voided=numbers[Outcome.VOIDED],
            rejected=len(parsed.rejections),
            results=_receipts(parsed, outcomes),
        )
        return _answer(parsed, receipts)

    return await in_thread(request, work, patience_seconds=_patience(settings))


@router.post(
    "/events/void",
    summary="Take events out of the counts",
    dependencies=[Depends(allowed(Right.ADMIN, about="each"))],
    response_model=VoidReceipts,
    openapi_extra=_body(VoidIn, {"reason": "sent by a test", "events": [_EXAMPLE_EVENT]}),
    responses={
        200: {"description": "None of them is counted."},
        207: {"model": VoidReceipts, "description": "Some are rejected, no other is counted."},
        **responses(*_ERRORS),
    },
)
async def void_events(
    request: Request,
    service: Service,
    settings: SettingsOfApp,
    caller: CallerDep,
    body: Body,
) -> Response:
    """
    Correct the counts: events named by their four fields are counted no more.

    Each stays stored with the time and the reason, so that a late retry of it answers `voided` and
    does not bring it back. After 503 send the same again.
    """

    def work(seconds: float) -> Response:
        reason, parsed = read_json(
            request, body, lambda document: take_correction(document, MAX_EVENTS)
        )
        caller.check_each(Right.ADMIN, parsed.customers)
        if not parsed.events:
            return _nothing_acceptable(parsed)
        outcomes = service.void(
            [event for _, event in parsed.events], reason=reason, timeout_seconds=seconds
        )
        numbers = Counter(outcomes)
        receipts = VoidReceipts(
            voided=numbers[Outcome.VOIDED],
            already_voided=numbers[Outcome.ALREADY_VOIDED],
            not_found=numbers[Outcome.NOT_FOUND],
            rejected=len(parsed.rejections),
            results=_receipts(parsed, outcomes),
        )
        return _answer(parsed, receipts)

    return await in_thread(request, work, patience_seconds=_patience(settings))


def _patience(settings: Settings) -> float:
    return settings.events_store_patience_seconds + _LONGER_THAN_THE_STORE_SECONDS


def _answer(parsed: Parsed, receipts: BaseModel, *, whole: HTTPStatus = HTTPStatus.OK) -> Response:
    """The answer with receipts; `whole` where none is rejected."""
    metrics.EVENTS.labels(_REJECTED).inc(len(parsed.rejections))
    status = HTTPStatus.MULTI_STATUS if parsed.rejections else whole
    # Written here, in the thread: the framework would do it where all requests wait for it.
    return Response(receipts.model_dump_json(), status, media_type="application/json")


def _receipts(parsed: Parsed, outcomes: Sequence[Outcome]) -> list[Any]:
    """A receipt for each event, in the order sent."""
    receipts: list[dict[str, Any]] = [
        {"index": place, "status": outcome.value}
        for (place, _), outcome in zip(parsed.events, outcomes, strict=True)
    ]
    if parsed.rejections:
        receipts += [
            {"index": place, "status": _REJECTED, "error": str(exc)}
            for place, exc in parsed.rejections
        ]
        receipts.sort(key=lambda receipt: receipt["index"])
    return receipts


def _nothing_acceptable(parsed: Parsed) -> Response:
    number = len(parsed.rejections)
    metrics.EVENTS.labels(_REJECTED).inc(number)
    return problem(
        HTTPStatus.BAD_REQUEST,
        "the event is rejected, see errors"
        if number == 1
        else f"all {number:,} events are rejected, see errors",
        errors=[
            FieldProblem(
                field=f"events.{place}.{exc.field}" if exc.field else f"events.{place}",
                detail=exc.reason,
            )
            for place, exc in parsed.rejections
        ],
    )
