"""What changed since a point."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from events.api.dependencies import ServiceDep
from events.api.openapi import responses
from events.api.parameters import Since, WholeNumber, encode_change_cursor
from events.api.security import REFUSALS, allowed
from events.auth.keys import Right
from events.domain.timestamps import format_timestamp

router = APIRouter(tags=["counts"])

MAX_CHANGES, DEFAULT_CHANGES = 1_000, 1_000


class ChangeParameters(BaseModel):
    """Query parameters of the changes route."""

    model_config = ConfigDict(extra="forbid")

    since: Since | None = Field(
        default=None,
        description="`next` of the page before, as it was given; or an instant like "
        "2026-11-25T00:00:00Z, not longer ago than 35 days. Without it all that is known.",
        examples=["MjAyNi0xMS0yNVQwMDowMDowMC4wMDAwMDBa"],
    )
    limit: WholeNumber = Field(
        default=DEFAULT_CHANGES,
        ge=1,
        le=MAX_CHANGES,
        description="Changes on one page.",
        examples=[1000],
    )


class ChangedDay(TypedDict):
    """A day of a customer whose counters may have changed."""

    customer_id: str
    day: Annotated[str, Field(description="The UTC day of the events.", examples=["2021-03-01"])]
    changed_in: Annotated[
        str, Field(description="Start of the minute in which they did, on the store's clock.")
    ]


class Changes(BaseModel):
    """One page of changes, in order of the minutes in which they were made."""

    changes: list[ChangedDay]
    complete_until: str = Field(
        description="All changes made before this are on this page or those before it."
    )
    has_more: bool = Field(
        description="Whether to ask for the next page at once; else a minute later is soon enough."
    )
    next: str = Field(description="Send it as `since` for what comes after this page; keep it.")


@router.get(
    "/events/changes",
    summary="What changed since a point",
    dependencies=[Depends(allowed(Right.READ, about="all"))],
    response_model=Changes,
    responses=responses(
        HTTPStatus.BAD_REQUEST,
        *REFUSALS,
        HTTPStatus.GONE,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def get_changes(service: ServiceDep, parameters: Annotated[ChangeParameters, Query()]) -> Changes:
    """
    Days of customers whose counts may have changed: by new events, late ones, voided ones, repairs.

    For whoever keeps numbers of their own: ask for the buckets of each day that is listed, and keep
    `next`. None is missed, however many write at a time and whatever crashes. A change is listed 30
    to 90 seconds after it was made. A day may be listed again, or without a change (a duplicate
    arrived). An erased customer is not listed. 410: so much time has passed that something may be
    missed; read anew what matters.
    """
    page = service.changes(parameters.since, limit=parameters.limit)
    return Changes(
        changes=[
            {
                "customer_id": each.customer_id,
                "day": each.day,
                "changed_in": format_timestamp(each.minute),
            }
            for each in page.changes
        ],
        complete_until=format_timestamp(page.next_cursor.minute),
        has_more=page.has_more,
        next=encode_change_cursor(page.next_cursor),
    )
