"""GET …/buckets: the counts of one customer, and of several in one request."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from events.api.counts import (
    choose_format,
    count_answers,
    csv_answer,
    customer_fields,
    json_answer,
    range_fields,
    streamed,
)
from events.api.cursors import encode_bucket_cursor, encode_position
from events.api.dependencies import ServiceDep, SettingsDep
from events.api.parameters import BucketParameters, CustomerBucketParameters, CustomerId
from events.api.problems import InvalidRequest
from events.api.schemas import Buckets, CalendarBuckets, CustomersBuckets, WindowedBuckets
from events.api.security import CallerDep, allowed
from events.auth.keyring import Caller
from events.auth.keys import Right
from events.queries.customers import CustomersQuery
from events.queries.formats import csv_pieces, encoded

router = APIRouter(tags=["counts"])

#: Answers that these routes write themselves: FastAPI would validate each bucket first.
ANSWERS = (Buckets, WindowedBuckets, CalendarBuckets, CustomersBuckets)


@router.get(
    "/events/customers/{customer_id:id}/buckets",
    dependencies=[Depends(allowed(Right.READ, about="customer"))],
    summary="Events by hour, day, week or month",
    response_model=None,
    responses=count_answers(
        "The counts. An unknown customer has no buckets.",
        Buckets,
        WindowedBuckets,
        CalendarBuckets,
    ),
)
def get_buckets(
    request: Request,
    service: ServiceDep,
    settings: SettingsDep,
    customer_id: CustomerId,
    parameters: Annotated[BucketParameters, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """
    Count a customer's events in each one-hour UTC bucket of `[start, end)`, or, with `window` and
    `timezone`, in each hour, day, week or month of a time zone.

    Each count is the number of distinct events stored. Only the first and the last bucket can be
    partial, if the range begins or ends inside them. Days of a time zone may have 23 or 25 hours.
    """
    cursor = parameters.cursor
    query = replace(
        parameters.question(customer_id),
        from_start=None if cursor is None else cursor.start,
        totals=None if cursor is None else cursor.totals,
    )
    name, headers = choose_format(parameters, accept, query, settings)
    if name != "json" and name != "csv":
        return streamed(name, encoded(name, query, service.all_buckets(query)), headers)
    page = service.buckets(query)
    next_cursor = encode_bucket_cursor(page)
    if name == "csv":
        return csv_answer(request, csv_pieces(query, page.buckets), next_cursor, headers)
    answer = {
        "customer_id": customer_id,
        **range_fields(query),
        **customer_fields(page, query.calendar),
        "next": next_cursor,
    }
    return json_answer(answer, headers, settings)


@router.get(
    "/events/buckets",
    dependencies=[Depends(allowed(Right.READ, about="each"))],
    summary="Events of several customers by hour, day, week or month",
    response_model=None,
    responses=count_answers(
        "The counts, customer by customer.", CustomersBuckets, has_customers=True
    ),
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
    if name != "json" and name != "csv":
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
