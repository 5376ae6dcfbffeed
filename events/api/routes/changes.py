"""GET /events/changes: which days' counts may have changed."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from events.api.cursors import encode_change_cursor
from events.api.dependencies import ServiceDep
from events.api.openapi import route_errors
from events.api.parameters import ChangeParameters
from events.api.schemas import DOCUMENTED, Body, Timestamp
from events.api.security import allowed
from events.auth.keys import Right

router = APIRouter(tags=["counts"])


@with_config(DOCUMENTED)
class ChangedDay(TypedDict):
    """A customer's UTC day whose counts may have changed."""

    customer_id: str
    day: Annotated[str, Field(examples=["2021-03-01"])]
    """The UTC day of the events."""
    changed_in: Timestamp
    """Start of the minute in which the counts changed."""


class Changes(Body):
    """One page of changes, ordered by the minute of the change."""

    changes: list[ChangedDay]
    complete_until: Timestamp
    """All changes before this time are on this page or on earlier pages."""
    has_more: bool
    """If true, ask for the next page at once; else in a minute."""
    next: str
    """Pass this as `since` to get later changes."""


@router.get(
    "/events/changes",
    summary="Days whose counts may have changed",
    dependencies=[Depends(allowed(Right.READ, about="all"))],
    responses=route_errors(HTTPStatus.GONE),
)
def get_changes(service: ServiceDep, parameters: Annotated[ChangeParameters, Query()]) -> Changes:
    """
    List the customers' days whose counts may have changed: by new, late or voided events, or by a
    repair.

    Use it to keep a copy of the counts: ask for the buckets of each day in the list, and keep
    `next`. No change is skipped, with any number of writers and after any crash. A change is listed
    100 to 160 seconds after it was made. A day may be listed twice, or without a change (a
    duplicate arrived). An erased customer is not listed. 410: changes since then may have been
    deleted from the log; read the buckets that you need again.
    """
    page = service.changes(parameters.since, limit=parameters.limit)
    return Changes(
        changes=[
            {"customer_id": change.customer_id, "day": change.day, "changed_in": change.minute}
            for change in page.changes
        ],
        complete_until=page.next_cursor.minute,
        has_more=page.has_more,
        next=encode_change_cursor(page.next_cursor),
    )
