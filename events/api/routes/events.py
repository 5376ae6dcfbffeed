"""One customer's stored events: at a glance, one by one, and erased."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query
from pydantic import Field, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from events.api.cursors import encode_cursor
from events.api.dependencies import ServiceDep
from events.api.openapi import route_errors
from events.api.parameters import (
    CustomerId,
    EventParameters,
    RangeParameters,
    no_parameters,
)
from events.api.schemas import DOCUMENTED, Body, Bucket, Count, CustomerSummary, Timestamp
from events.api.security import KeyRingDep, allowed
from events.auth.keys import Right
from events.queries.formats import count_object
from events.queries.lookup import EventQuery

router = APIRouter()

#: Events that one request erases: about a second's work.
_EVENTS_PER_STEP = 5_000


@with_config(DOCUMENTED)
class EventOut(TypedDict):
    """A stored event."""

    customer_id: str
    event_type: str
    transaction_id: str
    timestamp: Timestamp
    ingested_at: Timestamp
    voided_at: Timestamp | None
    """Since when the event is not counted; null if it is counted."""
    void_reason: str | None


class Events(Body):
    """One page of stored events, ordered by time."""

    events: list[EventOut]
    next: str | None
    """
    Pass this as `cursor` to get the next page; null on the last page. If a filter matches few
    events, a page may be short or empty without being the last.
    """


class Erased(Body):
    """The result of one step of an erasure."""

    events: Count
    """Events that this request erased."""
    is_complete: bool
    """Nothing of the customer is left. If false, send the request again."""
    wait_seconds: float = Field(ge=0)
    """How long to wait before the next request."""


@router.get(
    "/events/customers/{customer_id:id}/summary",
    summary="One customer at a glance",
    tags=["counts"],
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    responses=route_errors(),
)
def get_summary(
    service: ServiceDep, customer_id: CustomerId, parameters: Annotated[RangeParameters, Query()]
) -> CustomerSummary:
    """
    Total, counts by event type, first and last event, and busiest hour of a customer.

    The cost follows the days with events, not the number of events.
    """
    summary = service.summary(customer_id, parameters.window())
    busiest = None if summary.busiest is None else count_object(summary.busiest)
    return CustomerSummary(
        customer_id=customer_id,
        start=parameters.start,
        end=parameters.end,
        total=summary.total,
        by_type=dict(summary.by_type),
        first_event_at=summary.first_event_at,
        last_event_at=summary.last_event_at,
        busiest_hour=cast("Bucket | None", busiest),
        last_ingested_at=summary.last_ingested_at,
    )


@router.get(
    "/events/customers/{customer_id:id}/events",
    summary="Stored events",
    tags=["events"],
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    responses=route_errors(),
)
def get_events(
    service: ServiceDep, customer_id: CustomerId, parameters: Annotated[EventParameters, Query()]
) -> Events:
    """
    List a customer's stored events, including voided events, oldest or newest first.

    With `transaction_id` it finds an event by its id. The cost follows the events in the range.
    """
    page = service.events(
        EventQuery(
            customer_id=customer_id,
            window=parameters.window(),
            event_types=frozenset(parameters.event_type),
            transaction_id=parameters.transaction_id,
            is_newest_first=parameters.order == "newest",
            limit=parameters.limit,
            after=parameters.cursor,
        )
    )
    return Events(
        events=[
            {
                "customer_id": stored.event.customer_id,
                "event_type": stored.event.event_type,
                "transaction_id": stored.event.transaction_id,
                "timestamp": stored.event.timestamp,
                "ingested_at": stored.ingested_at,
                "voided_at": stored.voided_at,
                "void_reason": stored.void_reason,
            }
            for stored in page.events
        ],
        next=None if page.next_after is None else encode_cursor(page.next_after),
    )


@router.delete(
    "/events/customers/{customer_id:id}/events",
    summary="Erase a customer",
    tags=["events"],
    dependencies=[Depends(allowed(Right.ADMIN, about="customer")), Depends(no_parameters)],
    responses=route_errors(),
)
def erase_customer(service: ServiceDep, key_ring: KeyRingDep, customer_id: CustomerId) -> Erased:
    """
    Erase everything stored about a customer, step by step: events, voided events, counts, and
    finally the API keys bound to the customer.

    Send the request again until `is_complete` is true, which takes at least 40 seconds, because
    every process must learn of it. Each step may be interrupted. First stop all senders of this
    customer's events.
    """
    step = service.erase(customer_id, max_events=_EVENTS_PER_STEP)
    if step.is_complete and key_ring is not None:
        key_ring.forget(customer_id)
    return Erased(
        events=step.events, is_complete=step.is_complete, wait_seconds=round(step.wait_seconds, 3)
    )
