"""GET /events/customers: all customers with their totals."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from events.api.cursors import encode_cursor
from events.api.dependencies import WINDOWED_HEADER, ServiceDep, SettingsDep, windowed_headers
from events.api.openapi import route_errors
from events.api.parameters import CustomerParameters
from events.api.schemas import Body, Count, CustomerIdOut, Next
from events.api.security import allowed
from events.auth.keys import Right

router = APIRouter(tags=["counts"])


class Customer(Body):
    """A customer and its number of events in the range."""

    customer_id: CustomerIdOut
    total: Count


class Customers(Body):
    """One page of customers, ordered by the bytes of their ids."""

    customers: list[Customer]
    next: Next


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
        window=parameters.window(),
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
