"""GET .../summary: one customer at a glance."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query

from events.api.dependencies import ServiceDep
from events.api.openapi import route_errors
from events.api.parameters import CustomerId, RangeParameters
from events.api.schemas import Bucket, CustomerSummary
from events.api.security import allowed
from events.auth.keys import Right
from events.domain.timestamps import format_timestamp
from events.domain.windows import EARLIEST, LATEST, window_between
from events.queries.formats import count_object

router = APIRouter(tags=["counts"])


@router.get(
    "/events/customers/{customer_id:id}/summary",
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    summary="One customer at a glance",
    responses=route_errors(),
)
def get_summary(
    service: ServiceDep, customer_id: CustomerId, parameters: Annotated[RangeParameters, Query()]
) -> CustomerSummary:
    """
    Total, counts by event type, first and last event, and busiest hour of a customer.

    The cost follows the days with events, not the number of events.
    """
    summary = service.summary(
        customer_id, window_between(parameters.start or EARLIEST, parameters.end or LATEST)
    )
    busiest = None if summary.busiest is None else count_object(summary.busiest)
    return CustomerSummary(
        customer_id=customer_id,
        start=_text(parameters.start),
        end=_text(parameters.end),
        total=summary.total,
        by_type=dict(summary.by_type),
        first_event_at=_text(summary.first_event_at),
        last_event_at=_text(summary.last_event_at),
        busiest_hour=cast("Bucket | None", busiest),
        last_ingested_at=_text(summary.last_ingested_at),
    )


def _text(at: datetime | None) -> str | None:
    return None if at is None else format_timestamp(at)
