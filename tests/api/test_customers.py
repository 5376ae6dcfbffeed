"""GET /events/customers, and one customer's summary."""

from __future__ import annotations

import pytest

from tests.support.api import (
    AT,
    DAY_ONE,
    INVALID_CURSOR,
    NOT_A_NUMBER,
    NOT_AN_INSTANT,
    UNKNOWN_PARAMETER,
    Api,
    Json,
    bad_request,
    bucket,
    problem,
    settled,
)
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event

MINUTE = HOUR / 60
#: In byte order of the ids.
CUSTOMERS = {"A": 1, "a": 2, "a b": 1, "a/b": 3, "ab": 1, "é": 2, "日本": 1, "😀": 1}


@pytest.fixture
def customers(api: Api) -> Api:
    """An API whose store has `CUSTOMERS`, and an event of `a/b` on another day."""
    api.service.ingest(
        [
            event(f"t-{number}", customer_id=customer_id, timestamp=HOUR_ZERO + number * MINUTE)
            for customer_id, total in CUSTOMERS.items()
            for number in range(total)
        ]
        + [event("t-late", customer_id="a/b", timestamp=HOUR_ZERO + 40 * DAY)]
    )
    return api


def page_of(totals: dict[str, int]) -> Json:
    rows = [{"customer_id": customer_id, "total": total} for customer_id, total in totals.items()]
    return {"customers": rows, "next": None}


@pytest.mark.parametrize(
    ("query", "totals"),
    [
        pytest.param("", {**CUSTOMERS, "a/b": 4}, id="all of time"),
        pytest.param(DAY_ONE, CUSTOMERS, id="a day"),
        pytest.param("start=2021-03-02", dict.fromkeys(CUSTOMERS, 0) | {"a/b": 1}, id="from"),
        pytest.param("end=2021-03-02", CUSTOMERS, id="until"),
        pytest.param(
            "start=2021-03-01T00:01:00Z&end=2021-03-01T00:02:00Z",
            dict.fromkeys(CUSTOMERS, 0) | {"a": 1, "a/b": 1, "é": 1},
            id="inside an hour",
        ),
        pytest.param("prefix=a&end=2021-03-02", {"a": 2, "a b": 1, "a/b": 3, "ab": 1}, id="prefix"),
        pytest.param("prefix=%C3%A9", {"é": 2}, id="prefix outside ASCII"),
        pytest.param("prefix=a%20", {"a b": 1}, id="prefix that ends with a space"),
        pytest.param("prefix=zz", {}, id="prefix of nobody"),
        pytest.param(f"prefix={'x' * 3_000}", {}, id="prefix longer than any id"),
        pytest.param("limit=8&end=2021-03-02", CUSTOMERS, id="limit that just fits"),
    ],
)
def test_customers_have_their_totals(customers: Api, query: str, totals: dict[str, int]) -> None:
    response = customers.get(f"/events/customers?{query}")
    assert (response.status_code, response.json()) == (200, page_of(totals))


@pytest.mark.parametrize("prefix", ["", "a"])
def test_pages_together_are_the_whole_answer(customers: Api, prefix: str) -> None:
    path = f"/events/customers?{DAY_ONE}&prefix={prefix}"
    whole = customers.get(path).json()
    assert len(whole["customers"]) == (4 if prefix else 8)
    for limit in (1, 2, 3, 7):
        rows: list[Json] = []
        page = customers.get(f"{path}&limit={limit}").json()
        while (cursor := page["next"]) is not None:
            assert len(page["customers"]) == limit
            rows += page["customers"]
            page = customers.get(f"{path}&limit={limit}&cursor={cursor}").json()
            assert page["next"] != cursor, "the same page again"
        assert {"customers": rows + page["customers"], "next": None} == whole


def test_no_customers_are_an_empty_list(api: Api) -> None:
    assert api.get("/events/customers").json() == page_of({})


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("event_type=a", {"event_type": UNKNOWN_PARAMETER}),
        ("prefix=a&prefix=b", {"prefix": "is given 2 times: give it once"}),
        ("prefix=%ff", {"query": "is not valid UTF-8"}),
        ("limit=0", {"limit": "input should be greater than or equal to 1"}),
        ("limit=1001", {"limit": "input should be less than or equal to 1000"}),
        ("limit=x", {"limit": NOT_A_NUMBER}),
        ("start=10", {"start": f"'10' {NOT_AN_INSTANT}"}),
        ("start=", {"start": "is empty"}),
        ("cursor=!", {"cursor": INVALID_CURSOR}),
        ("cursor=_w", {"cursor": INVALID_CURSOR}),
        ("cursor=", {"cursor": INVALID_CURSOR}),
    ],
)
def test_an_invalid_parameter_is_named(api: Api, query: str, errors: dict[str, str]) -> None:
    assert problem(api.get(f"/events/customers?{query}")) == bad_request(**errors)


# --- summary --------------------------------------------------------------------------------------


def test_a_summary(api: Api) -> None:
    api.service.ingest(
        [
            event("t-0"),
            *(
                event(f"t-{minute}", event_type=event_type, timestamp=HOUR_ZERO + minute * MINUTE)
                for minute, event_type in ((1_100, "a"), (1_110, "=1+1"), (1_125, "call"))
            ),
            event("t-9", timestamp=HOUR_ZERO + 27 * DAY),
        ]
    )
    path = "/events/customers/acme/summary"
    assert settled(api.get(path)) == {
        "customer_id": "acme",
        "start": None,
        "end": None,
        "total": 5,
        "by_type": {"=1+1": 1, "a": 1, "api_call": 2, "call": 1},
        "first_event_at": "2021-03-01T00:00:00.000000Z",
        "last_event_at": "2021-03-28T00:00:00.000000Z",
        "busiest_hour": bucket("2021-03-01T18", 3),
        "last_ingested_at": AT,
    }
    assert settled(api.get(f"{path}?start=2021-03-01T18:30:00Z&end=2021-03-28")) == {
        "customer_id": "acme",
        "start": "2021-03-01T18:30:00.000000Z",
        "end": "2021-03-28T00:00:00.000000Z",
        "total": 2,
        "by_type": {"=1+1": 1, "call": 1},
        "first_event_at": "2021-03-01T18:30:00.000000Z",
        "last_event_at": "2021-03-01T18:45:00.000000Z",
        "busiest_hour": bucket("2021-03-01T18", 2, partial=True),
        "last_ingested_at": AT,
    }


def test_a_summary_of_an_unknown_customer_is_empty(api: Api) -> None:
    assert settled(api.get("/events/customers/nobody/summary")) == {
        "customer_id": "nobody",
        "start": None,
        "end": None,
        "total": 0,
        "by_type": {},
        "first_event_at": None,
        "last_event_at": None,
        "busiest_hour": None,
        "last_ingested_at": None,
    }
