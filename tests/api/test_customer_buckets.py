"""Several customers in one request: GET /events/buckets."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from events.auth.keys import Right
from tests.support.api import (
    AT,
    INVALID_CURSOR,
    Api,
    Json,
    bad_request,
    bucket,
    cursor_of,
    documents,
    problem,
)
from tests.support.factories import HOUR, HOUR_ZERO, event
from tests.support.guarded import ITS_CUSTOMER
from tests.support.guarded import serving as serving_with_keys

DAY_ONE = "start=2021-03-01&end=2021-03-02"
#: By hand: a has 3 events in two hours, b none on this day, =c one at 18:45, a/é two types.
EVENTS = [
    event("t-1", customer_id="a", event_type="x", timestamp=HOUR_ZERO),
    event("t-2", customer_id="a", event_type="x", timestamp=HOUR_ZERO + 0.5 * HOUR),
    event("t-3", customer_id="a", event_type="y", timestamp=HOUR_ZERO + 18.75 * HOUR),
    event("t-4", customer_id="b", event_type="x", timestamp=HOUR_ZERO + 48 * HOUR),
    event("t-5", customer_id="=c", event_type="x", timestamp=HOUR_ZERO + 18.75 * HOUR),
    event("t-6", customer_id="a/é", event_type="x", timestamp=HOUR_ZERO + HOUR),
    event("t-7", customer_id="a/é", event_type="y", timestamp=HOUR_ZERO + HOUR),
]
A = [bucket("2021-03-01T00", 2), bucket("2021-03-01T18", 1)]
C = [bucket("2021-03-01T18", 1)]
AE = [bucket("2021-03-01T01", 2)]


@pytest.fixture
def stored(api: Api) -> Api:
    api.service.ingest(EVENTS)
    return api


def customer(name: str, buckets: list[Json], total: int | None = None) -> Json:
    return {
        "customer_id": name,
        "total": sum(bucket["count"] for bucket in buckets) if total is None else total,
        "last_ingested_at": AT if buckets else None,
        "buckets": buckets,
    }


def ask(api: Api, query: str) -> Json:
    response = api.get(f"/events/buckets?{query}")
    assert response.status_code == 200, response.text
    body: Json = response.json()
    for item in body["customers"]:
        item["last_ingested_at"] = item["last_ingested_at"] and AT
    return body


def pages(api: Api, query: str) -> Iterator[Json]:
    page = ask(api, query)
    yield page
    while (cursor := page["next"]) is not None:
        page = ask(api, f"{query}&cursor={cursor}")
        assert page["next"] != cursor
        yield page


@pytest.mark.parametrize(
    ("query", "customers"),
    [
        ("customer_id=a", [customer("a", A)]),
        ("customer_id=b&customer_id=a", [customer("b", []), customer("a", A)]),
        ("customer_id=a&customer_id=a", [customer("a", A)]),
        ("customer_id=nobody", [customer("nobody", [])]),
        ("prefix=a", [customer("a", A), customer("a/é", AE)]),
        ("prefix=a/%C3%A9", [customer("a/é", AE)]),
        (
            "prefix=",
            [customer("=c", C), customer("a", A), customer("a/é", AE), customer("b", [])],
        ),
        ("prefix=nobody", []),
        (
            "customer_id=a&customer_id=%3Dc&event_type=y",
            [customer("a", A[1:]), customer("=c", [])],
        ),
    ],
)
def test_each_customer_has_its_own_buckets(stored: Api, query: str, customers: list[Json]) -> None:
    assert ask(stored, f"{DAY_ONE}&{query}") == {
        "start": "2021-03-01T00:00:00.000000Z",
        "end": "2021-03-02T00:00:00.000000Z",
        "customers": customers,
        "next": None,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "query",
    [
        "prefix=",
        "prefix=&group_by=event_type&window=hour&timezone=Asia/Kolkata",
        "customer_id=b&customer_id=a/%C3%A9&customer_id=a&customer_id=%3Dc",
        "prefix=a&window=day&timezone=Asia/Kolkata&fill=zero&group_by=event_type",
    ],
)
def test_pages_and_every_format_give_what_one_customer_has(
    stored: Api, query: str, limit: int
) -> None:
    query = f"{DAY_ONE}&{query}"
    lines: list[Json] = []
    totals: dict[str, int] = {}
    for page in pages(stored, f"{query}&limit={limit}"):
        assert sum(len(item["buckets"]) for item in page["customers"]) <= limit
        for item in page["customers"]:
            assert totals.setdefault(item["customer_id"], item["total"]) == item["total"]
            lines += [{"customer_id": item["customer_id"], **row} for row in item["buckets"]]
    alone = "&".join(
        part for part in query.split("&") if not part.startswith(("prefix", "customer_id"))
    )
    expected = []
    for name in totals:
        body = stored.buckets(alone, customer_id=name).json()
        assert totals[name] == body["total"]
        expected += [{"customer_id": name, **row} for row in body["buckets"]]
    assert lines == expected
    text = stored.get(f"/events/buckets?{query}&format=jsonl").text
    assert [json.loads(line) for line in text.splitlines()] == expected


def test_csv_and_parquet_name_the_customer_of_each_line(stored: Api) -> None:
    response = stored.get(f"/events/buckets?{DAY_ONE}&prefix=&format=csv&limit=2")
    assert response.text == (
        "customer_id,ts_start_of_hour,count,partial\n"
        "'=c,2021-03-01T18:00:00.000000Z,1,false\n"
        "a,2021-03-01T00:00:00.000000Z,2,false\n"
    )
    link = response.headers["link"]
    rest = stored.get("/events/buckets" + link[1 : link.index(">")])
    assert rest.text.splitlines()[1:] == [
        "a,2021-03-01T18:00:00.000000Z,1,false",
        "a/é,2021-03-01T01:00:00.000000Z,2,false",
    ]
    empty = stored.get(f"/events/buckets?{DAY_ONE}&prefix=none&format=csv&group_by=event_type")
    assert empty.text == "customer_id,ts_start_of_hour,event_type,count,partial\n"
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    content = stored.get(f"/events/buckets?{DAY_ONE}&prefix=a&format=parquet").content
    table = parquet.read_table(io.BytesIO(content))
    assert table.column("customer_id").to_pylist() == ["a", "a", "a/é"]
    assert table.column("count").to_pylist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("", {"customer_id": "is missing: name customers, or use prefix"}),
        (
            "prefix=&customer_id=a",
            {"prefix": "omit it, or omit customer_id: use one of the two"},
        ),
        ("customer_id=", {"customer_id": "is empty"}),
        ("prefix=&cursor=x", {"cursor": INVALID_CURSOR}),
        (f"prefix=a&cursor={cursor_of('#0##b')}", {"cursor": INVALID_CURSOR}),
        (f"customer_id=a&cursor={cursor_of('#0##b')}", {"cursor": INVALID_CURSOR}),
        (
            f"prefix=&cursor={cursor_of('2021-03-01T00:30:00.000000Z#3##a')}",
            {"cursor": INVALID_CURSOR},
        ),
        ("prefix=a&prefix=b", {"prefix": "is given 2 times: give it once"}),
        ("prefix=&format=jsonl&limit=1", {"limit": "omit it: jsonl gives the whole range"}),
    ],
)
def test_an_invalid_question_names_its_parameter(
    stored: Api, query: str, errors: dict[str, str]
) -> None:
    response = stored.get(f"/events/buckets?{DAY_ONE}&{query}")
    assert problem(response) == bad_request(**errors)


def test_a_hundred_customers_are_allowed(api: Api) -> None:
    names = "".join(f"&customer_id=c-{number}" for number in range(100))
    assert len(ask(api, DAY_ONE + names)["customers"]) == 100
    response = api.get(f"/events/buckets?{DAY_ONE}{names}&customer_id=more")
    assert "at most 100 items" in problem(response)["detail"]


def test_a_key_for_one_customer_sees_only_that_customer() -> None:
    with serving_with_keys() as api:
        writer = api.key(Right.INGEST)
        sent = {"events": documents(event("t-9", customer_id="acme"))}
        assert api.request("POST", "/events", writer, json=sent).status_code == 200
        token = api.key(Right.READ, customer_id=ITS_CUSTOMER)
        own = "acme%2F%C3%A9"
        for query, names in (
            (f"customer_id={own}", [ITS_CUSTOMER]),
            ("prefix=", [ITS_CUSTOMER]),
            ("prefix=acme", [ITS_CUSTOMER]),
            ("prefix=b", []),
        ):
            answer = api.get(f"/events/buckets?{DAY_ONE}&{query}", token)
            assert answer.status_code == 200
            assert [item["customer_id"] for item in answer.json()["customers"]] == names
        for query in ("customer_id=acme", f"customer_id={own}&customer_id=acme"):
            assert api.get(f"/events/buckets?{DAY_ONE}&{query}", token).status_code == 403
