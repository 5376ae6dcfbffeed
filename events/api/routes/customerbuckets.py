"""GET /events/buckets: the counts of several customers in one request."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from events.api.counts import (
    MEDIA_TYPES,
    choose_format,
    csv_answer,
    customer_fields,
    json_answer,
    range_fields,
    streamed,
)
from events.api.cursors import encode_position
from events.api.dependencies import WINDOWED_HEADER, ServiceDep, SettingsDep
from events.api.openapi import route_errors
from events.api.parameters import CustomerBucketParameters
from events.api.problems import InvalidRequest
from events.api.schemas import CustomersBuckets
from events.api.security import CallerDep, allowed
from events.auth.keyring import Caller
from events.auth.keys import Right
from events.queries.customers import CustomersQuery
from events.queries.formats import csv_pieces, encoded

router = APIRouter(tags=["counts"])


@router.get(
    "/events/buckets",
    dependencies=[Depends(allowed(Right.READ, about="each"))],
    summary="Events of several customers by hour, day, week or month",
    response_model=None,
    responses={
        200: {
            "description": "The counts, customer by customer.",
            "headers": WINDOWED_HEADER,
            "content": {
                MEDIA_TYPES["json"]: {
                    "schema": {"$ref": f"#/components/schemas/{CustomersBuckets.__name__}"}
                },
                MEDIA_TYPES["csv"]: {
                    "schema": {"type": "string"},
                    "example": "customer_id,ts_start_of_hour,count,partial\n"
                    "acme,2021-03-01T00:00:00.000000Z,2499,false\n",
                },
                MEDIA_TYPES["jsonl"]: {
                    "schema": {"type": "string"},
                    "example": '{"customer_id": "acme", '
                    '"ts_start_of_hour": "2021-03-01T00:00:00.000000Z", "count": 2499, '
                    '"partial": false}\n',
                },
                MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **route_errors(),
    },
)
def get_customer_buckets(
    request: Request,
    service: ServiceDep,
    settings: SettingsDep,
    caller: CallerDep,
    parameters: Annotated[CustomerBucketParameters, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """
    Count the events of up to 100 customers, or of all customers whose id has a prefix.

    Each customer is counted as `/events/customers/{customer_id}/buckets` counts it. A page has at
    most `limit` buckets and 100 customers; a customer may continue on the next page. With an API
    key for one customer, `prefix` finds only that customer.
    """
    question = parameters.question()
    query = CustomersQuery(
        question,
        customer_ids=_customers(parameters, caller),
        prefix=parameters.prefix or "",
        after=parameters.cursor,
    )
    name, headers = choose_format(parameters, accept, question, settings)
    if name == "jsonl" or name == "parquet":
        counts = service.all_customer_buckets(query)
        return streamed(name, encoded(name, question, counts, has_customers=True), headers)
    page = service.customer_buckets(query)
    next_cursor = encode_position(page.next)
    if name == "csv":
        counts = (
            bucket._replace(customer_id=customer.customer_id)
            for customer in page.customers
            for bucket in customer.buckets
        )
        pieces = csv_pieces(question, counts, has_customers=True)
        return csv_answer(request, pieces, next_cursor, headers)
    answer = {
        **range_fields(question),
        "customers": [
            {
                "customer_id": customer.customer_id,
                **customer_fields(customer, question.calendar),
            }
            for customer in page.customers
        ],
        "next": next_cursor,
    }
    return json_answer(answer, headers, settings)


def _customers(parameters: CustomerBucketParameters, caller: Caller) -> tuple[str, ...] | None:
    """The customers of the request that the caller may see; None if a prefix names them."""
    names = tuple(dict.fromkeys(parameters.customer_id))
    if parameters.prefix is None and not names:
        raise InvalidRequest("customer_id", "is missing: name customers, or use prefix")
    if parameters.prefix is not None and names:
        raise InvalidRequest("prefix", "omit it, or omit customer_id: use one of the two")
    caller.check_each(Right.READ, names)
    if names or caller.customer_id is None:
        return names or None
    return (caller.customer_id,) if caller.customer_id.startswith(parameters.prefix or "") else ()
