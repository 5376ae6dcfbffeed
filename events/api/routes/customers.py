"""GET /events/customers: all customers with their totals."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from events.api.dependencies import ServiceDep, SettingsDep
from events.api.openapi import route_errors
from events.api.parameters import CustomerParameters, encode_cursor
from events.api.responses import WINDOWED_HEADER, windowed_headers
from events.api.security import allowed
from events.auth.keys import Right
from events.domain.windows import EARLIEST, LATEST, window_between

router = APIRouter(tags=["counts"])


class Customer(BaseModel):
    """A customer and its number of events in the range."""

    customer_id: str = Field(examples=["9d698ace49b14eaed7cc1ac64afef255"])
    total: int = Field(ge=0, examples=[3419])


class Customers(BaseModel):
    """One page of customers, ordered by the bytes of their ids."""

    customers: list[Customer]
    next: str | None = Field(
        description="Pass this as `cursor` to get the next page; null on the last page.",
        examples=[None],
    )


@router.get(
    "/events/customers",
    dependencies=[Depends(allowed(Right.READ, about="all"))],
    summary="Customers with their totals",
    responses={
        200: {"description": "The customers.", "headers": WINDOWED_HEADER},
        **route_errors(),
    },
)
def list_customers(
    service: ServiceDep,
    settings: SettingsDep,
    parameters: Annotated[CustomerParameters, Query()],
    response: Response,
) -> Customers:
    """
    List every customer that ever sent an event, with its number of events in the range.

    A customer without events in the range has the total 0.
    """
    page = service.customers(
        window=window_between(parameters.start or EARLIEST, parameters.end or LATEST),
        prefix=parameters.prefix,
        after=parameters.cursor,
        limit=parameters.limit,
    )
    response.headers.update(windowed_headers(settings))
    return Customers(
        customers=[
            Customer(customer_id=customer.customer_id, total=customer.total)
            for customer in page.customers
        ],
        next=None if page.next_customer is None else encode_cursor(page.next_customer),
    )
