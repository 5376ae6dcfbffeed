"""The HTTP API on a real database: whole answers, and every way a request can be wrong."""

from __future__ import annotations

import base64
import csv
import json
import logging
import random
import re
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from events.app import create_app
from events.bootstrap import make_client
from events.config import Settings
from events.errors import StoreUnavailable
from events.models import Event, Outcome
from events.service import EventService
from tests.support.database import Database
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, event, many_events, time_text
from tests.support.served import as_served

Json = dict[str, Any]

MINUTE = timedelta(minutes=1)
DAY_ONE = "start=2021-03-01&end=2021-03-02"
#: Stands for the time of a last change, once its form is seen to be right.
AT = "<a time in UTC>"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")

ACME = [
    event("t-1", timestamp=HOUR_ZERO),
    event("t-2", timestamp=HOUR_ZERO + 15 * MINUTE, event_type="sign-in"),
    event("t-3", timestamp=HOUR_ZERO + HOUR - MICROSECOND),
    event("t-4", timestamp=HOUR_ZERO + HOUR),
    event("t-5", timestamp=HOUR_ZERO + 5 * HOUR + 30 * MINUTE, event_type="a/b"),
    event("t-6", timestamp=HOUR_ZERO + DAY - MICROSECOND),
    event("t-7", timestamp=HOUR_ZERO + DAY),
]
#: Types that a spreadsheet would run, and some that only look like it.
FORMULAS = ["+1", "-1", "1=1", "=1+1", "@x", 'a"b', "a,b", "a=1"]
ODD_IDS = [
    "a/b", "a%b", "a%2Fb", "a%252Fb", "a?b", "a?start=1", "a#b", "a b", "a+b", "a&b=c;d", "a\\b",
    "a/buckets", "buckets", "/", "//", "a/", "/buckets/", "100%", "%", "%2F", "é", "e\u0301",
    "日本", "😀", "\u200b", "acme/../b", "'\"<>", "x" * 2048, "日" * 682,
]  # fmt: skip


# --- the API under test ---------------------------------------------------------------------------


class Api(NamedTuple):
    """An application that is up, and the service it stands on."""

    client: TestClient
    app: FastAPI

    @property
    def service(self) -> EventService:
        service: EventService = self.app.state.service
        return service

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def buckets(self, query: str, *, customer_id: str = "acme", **headers: str) -> Any:
        return self.get(
            f"/events/customers/{quote(customer_id, safe='')}/buckets?{query}", **headers
        )


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    app = create_app(settings)
    with TestClient(as_served(app), raise_server_exceptions=False) as client:
        yield Api(client, app)


@contextmanager
def serving_fresh_tables(database: Database) -> Iterator[Api]:
    """An API on tables of its own, for longer than a test: so nothing is read from outside."""
    settings = Settings.model_construct(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{uuid.uuid4().hex}",
    )
    with serving(settings) as api:
        api.service.create_tables()
        yield api
    client = make_client(settings)
    for suffix in ("", "_hourly_counts", "_changes"):
        client.delete_table(TableName=settings.dynamodb_events_table_name + suffix)
    client.close()


@pytest.fixture(scope="module")
def api(database: Database) -> Iterator[Api]:
    """One API for all tests that keep to customers of their own; `acme` has `ACME`."""
    with serving_fresh_tables(database) as api:
        api.service.ingest(ACME)
        yield api


def bucket(hour: str, count: int, *, partial: bool = False, **counts: dict[str, int]) -> Json:
    """The bucket of an hour like `2021-03-01T05`."""
    return {
        "ts_start_of_hour": f"{hour}:00:00.000000Z",
        "count": count,
        "partial": partial,
        **counts,
    }


def answer(
    start: str,
    end: str,
    buckets: list[Json],
    *,
    customer_id: str = "acme",
    total: int | None = None,
    last_ingested_at: str | None = AT,
    next_page: str | None = None,
) -> Json:
    """A whole answer; a time is whole, or like `2021-03-01T05:30`."""
    return {
        "customer_id": customer_id,
        "start": start if start.endswith("Z") else f"{start}:00.000000Z",
        "end": end if end.endswith("Z") else f"{end}:00.000000Z",
        "total": sum(each["count"] for each in buckets) if total is None else total,
        "last_ingested_at": last_ingested_at,
        "buckets": buckets,
        "next": next_page,
    }


def settled(response: Any) -> Json:
    """The body of a good answer, with `AT` for the one time that no test can know."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    body: Json = response.json()
    if body["last_ingested_at"] is not None:
        assert _TIME.fullmatch(body["last_ingested_at"])
        body["last_ingested_at"] = AT
    return body


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


# --- windows --------------------------------------------------------------------------------------

DAY_ONE_BUCKETS = [
    bucket("2021-03-01T00", 3),
    bucket("2021-03-01T01", 1),
    bucket("2021-03-01T05", 1),
    bucket("2021-03-01T23", 1),
]


def test_a_day_answers_with_its_hours_that_have_events(api: Api) -> None:
    response = api.buckets("start=2021-03-01T00:00:00Z&end=2021-03-02T00:00:00Z")
    assert settled(response) == {
        "customer_id": "acme",
        "start": "2021-03-01T00:00:00.000000Z",
        "end": "2021-03-02T00:00:00.000000Z",
        "total": 6,
        "last_ingested_at": AT,
        "buckets": [
            {"ts_start_of_hour": "2021-03-01T00:00:00.000000Z", "count": 3, "partial": False},
            {"ts_start_of_hour": "2021-03-01T01:00:00.000000Z", "count": 1, "partial": False},
            {"ts_start_of_hour": "2021-03-01T05:00:00.000000Z", "count": 1, "partial": False},
            {"ts_start_of_hour": "2021-03-01T23:00:00.000000Z", "count": 1, "partial": False},
        ],
        "next": None,
    }
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("start", "end", "buckets"),
    [
        pytest.param(
            "2021-03-01T00:15",
            "2021-03-01T05:45",
            [
                bucket("2021-03-01T00", 2, partial=True),
                bucket("2021-03-01T01", 1),
                bucket("2021-03-01T05", 1, partial=True),
            ],
            id="partial at both ends",
        ),
        pytest.param(
            "2021-03-01T00:15",
            "2021-03-01T00:59",
            [bucket("2021-03-01T00", 1, partial=True)],
            id="both ends inside one hour",
        ),
        pytest.param(
            "2021-03-01T00:00",
            "2021-03-01T00:15",
            [bucket("2021-03-01T00", 1, partial=True)],
            id="the event at the end is not in it",
        ),
        pytest.param("2021-03-01T00:16", "2021-03-01T00:59", [], id="a piece without events"),
        pytest.param("2021-03-01T02:30", "2021-03-01T03:30", [], id="hours without events"),
        pytest.param("2021-03-01T00:00", "2021-03-01T00:00", [], id="an empty window"),
        pytest.param("2021-03-01T00:15", "2021-03-01T00:15", [], id="an empty window in an hour"),
        pytest.param(
            "2021-03-01T01:00",
            "2021-03-01T02:00",
            [bucket("2021-03-01T01", 1)],
            id="one whole hour",
        ),
        pytest.param(
            "2021-03-01T23:30",
            "2021-03-02T00:30",
            [
                bucket("2021-03-01T23", 1, partial=True),
                bucket("2021-03-02T00", 1, partial=True),
            ],
            id="two partial hours across midnight",
        ),
    ],
)
def test_a_window_has_what_lies_from_its_start_up_to_its_end(
    api: Api, start: str, end: str, buckets: list[Json]
) -> None:
    at = None if start == end else AT
    assert settled(api.buckets(f"start={start}:00Z&end={end}:00Z")) == answer(
        start, end, buckets, last_ingested_at=at
    )


def test_a_window_may_begin_and_end_at_any_microsecond(api: Api) -> None:
    query = "start=2021-03-01T00:59:59.999999Z&end=2021-03-01T01:00:00.000001Z"
    assert settled(api.buckets(query)) == answer(
        "2021-03-01T00:59:59.999999Z",
        "2021-03-01T01:00:00.000001Z",
        [bucket("2021-03-01T00", 1, partial=True), bucket("2021-03-01T01", 1, partial=True)],
    )


def test_all_of_time_is_a_window(api: Api) -> None:
    query = "start=0001-01-01&end=9999-12-31T23:59:59.999999Z"
    assert settled(api.buckets(query)) == answer(
        "0001-01-01T00:00",
        "9999-12-31T23:59:59.999999Z",
        [*DAY_ONE_BUCKETS, bucket("2021-03-02T00", 1)],
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2021-03-01", "2021-03-02"),
        ("2021-03-01T00:00", "2021-03-02T00:00"),
        ("2021-03-01T00:00:00", "2021-03-02T00:00:00"),
        ("2021-03-01 00:00:00Z", "2021-03-02 00:00:00Z"),
        ("2021-03-01+00:00:00Z", "2021-03-02%2000:00:00Z"),
        ("2021-03-01T01:00:00%2B01:00", "2021-03-02T01:00:00%2B01"),
        ("2021-03-01T05:30:00%2B0530", "2021-03-01T12:00:00-12:00"),
        ("2021-02-28T16:00-08:00", "2021-03-02T05:45%2B05:45"),
        ("2021-03-01T00:00:00.0000009Z", "2021-03-02T00:00:00.000000%2B00:00"),
    ],
)
def test_any_way_to_write_the_same_window_gives_the_same_answer(
    api: Api, start: str, end: str
) -> None:
    response = api.buckets(f"start={start}&end={end}")
    assert settled(response) == answer("2021-03-01T00:00", "2021-03-02T00:00", DAY_ONE_BUCKETS)


def test_an_offset_of_half_an_hour_cuts_the_utc_hours_at_the_ends(api: Api) -> None:
    query = "start=2021-03-01T00:00:00%2B05:30&end=2021-03-02T00:00:00%2B05:30"
    assert settled(api.buckets(query)) == answer(
        "2021-02-28T18:30",
        "2021-03-01T18:30",
        [
            bucket("2021-03-01T00", 3),
            bucket("2021-03-01T01", 1),
            bucket("2021-03-01T05", 1),
        ],
    )


def test_fill_gives_every_hour_of_the_window(api: Api) -> None:
    query = "start=2021-03-01T00:30:00Z&end=2021-03-01T05:31:00Z&fill=zero"
    assert settled(api.buckets(query)) == answer(
        "2021-03-01T00:30",
        "2021-03-01T05:31",
        [
            bucket("2021-03-01T00", 1, partial=True),
            bucket("2021-03-01T01", 1),
            bucket("2021-03-01T02", 0),
            bucket("2021-03-01T03", 0),
            bucket("2021-03-01T04", 0),
            bucket("2021-03-01T05", 1, partial=True),
        ],
    )


def test_the_longest_window_that_fill_takes_has_10_000_hours(api: Api) -> None:
    end = time_text(HOUR_ZERO + 10_000 * HOUR)
    response = api.buckets(f"start=2021-03-01&end={end}&fill=zero&limit=10000")
    body = settled(response)
    assert [each["ts_start_of_hour"] for each in body["buckets"]] == [
        time_text(HOUR_ZERO + place * HOUR) for place in range(10_000)
    ]
    assert (body["total"], body["next"]) == (7, None)

    end = time_text(HOUR_ZERO + 10_000 * HOUR + MICROSECOND)
    response = api.buckets(f"start=2021-03-01&end={end}&fill=zero&limit=10000")
    assert problem(response) == bad_request(
        fill="fill=zero gives at most 10,000 hours, and this window has 10,001: "
        "ask for a shorter one, or leave fill out"
    )


def test_an_unknown_customer_has_no_buckets(api: Api) -> None:
    assert settled(api.buckets(DAY_ONE, customer_id="nobody")) == answer(
        "2021-03-01T00:00",
        "2021-03-02T00:00",
        [],
        customer_id="nobody",
        last_ingested_at=None,
    )


def test_thirty_years_of_a_quiet_customer_are_one_answer(api: Api) -> None:
    years = range(1994, 2024)
    api.service.ingest(
        [
            event(f"t-{year}", customer_id="quiet", timestamp=datetime(year, 7, 1, 12, tzinfo=UTC))
            for year in years
        ]
    )
    response = api.buckets("start=1994-01-01&end=2024-01-01", customer_id="quiet")
    assert settled(response) == answer(
        "1994-01-01T00:00",
        "2024-01-01T00:00",
        [bucket(f"{year}-07-01T12", 1) for year in years],
        customer_id="quiet",
    )


# --- types ----------------------------------------------------------------------------------------


def test_a_type_asked_for_is_counted_alone(api: Api) -> None:
    assert settled(api.buckets(f"{DAY_ONE}&event_type=sign-in")) == answer(
        "2021-03-01T00:00", "2021-03-02T00:00", [bucket("2021-03-01T00", 1)]
    )


def test_types_asked_for_are_counted_together_and_in_partial_hours_too(api: Api) -> None:
    query = "start=2021-03-01T00:15:00Z&end=2021-03-01T05:31:00Z&event_type=sign-in&event_type=a/b"
    assert settled(api.buckets(query)) == answer(
        "2021-03-01T00:15",
        "2021-03-01T05:31",
        [bucket("2021-03-01T00", 1, partial=True), bucket("2021-03-01T05", 1, partial=True)],
    )


def test_a_type_that_nobody_sent_has_no_buckets(api: Api) -> None:
    assert settled(api.buckets(f"{DAY_ONE}&event_type=SIGN-IN")) == answer(
        "2021-03-01T00:00", "2021-03-02T00:00", [], last_ingested_at=None
    )


def test_grouped_buckets_have_the_count_of_each_type(api: Api) -> None:
    query = "start=2021-03-01T00:15:00Z&end=2021-03-01T06:00:00Z&group_by=event_type"
    assert settled(api.buckets(query)) == answer(
        "2021-03-01T00:15",
        "2021-03-01T06:00",
        [
            bucket("2021-03-01T00", 2, partial=True, counts={"api_call": 1, "sign-in": 1}),
            bucket("2021-03-01T01", 1, counts={"api_call": 1}),
            bucket("2021-03-01T05", 1, counts={"a/b": 1}),
        ],
    )


def test_grouped_buckets_have_only_the_types_asked_for_and_none_where_there_are_none(
    api: Api,
) -> None:
    query = (
        "start=2021-03-01&end=2021-03-01T02:00Z&group_by=event_type&event_type=sign-in&fill=zero"
    )
    assert settled(api.buckets(query)) == answer(
        "2021-03-01T00:00",
        "2021-03-01T02:00",
        [
            bucket("2021-03-01T00", 1, counts={"sign-in": 1}),
            bucket("2021-03-01T01", 0, counts={}),
        ],
    )


# --- against a count by hand ----------------------------------------------------------------------


def test_any_window_filter_and_grouping_is_what_a_count_by_hand_gives(api: Api) -> None:
    events = [
        each._replace(customer_id="random")
        for each in many_events(400, seed=7, event_types=3, hours=60)
    ]
    api.service.ingest(events)
    rng = random.Random(7)
    for _ in range(60):
        first, last = sorted(
            HOUR_ZERO
            + HOUR * rng.randrange(-3, 63)
            + rng.choice([0 * HOUR, MINUTE * rng.randrange(60), MICROSECOND * rng.randrange(3**14)])
            for _ in range(2)
        )
        types = rng.sample(["type-0", "type-1", "type-2", "type-3"], rng.randrange(4))
        is_grouped, is_filled = rng.random() < 0.5, rng.random() < 0.5
        query = f"start={time_text(first)}&end={time_text(last)}&limit=10000"
        query += "".join(f"&event_type={each}" for each in types)
        query += "&group_by=event_type" * is_grouped + "&fill=zero" * is_filled
        body = settled(api.buckets(query, customer_id="random"))
        buckets = counted_by_hand(events, first, last, types, is_grouped, is_filled)
        total = sum(each["count"] for each in buckets)
        assert (body["buckets"], body["total"]) == (buckets, total), query


def counted_by_hand(
    events: Iterable[Event],
    start: datetime,
    end: datetime,
    types: list[str],
    is_grouped: bool,
    is_filled: bool,
) -> list[Json]:
    hours: dict[datetime, Counter[str]] = {}
    hour = start.replace(minute=0, second=0, microsecond=0)
    while is_filled and hour < end:
        hours[hour] = Counter()
        hour += HOUR
    for each in events:
        if start <= each.timestamp < end and (not types or each.event_type in types):
            at = each.timestamp.replace(minute=0, second=0, microsecond=0)
            hours.setdefault(at, Counter())[each.event_type] += 1
    return [
        {
            "ts_start_of_hour": time_text(at),
            "count": counts.total(),
            "partial": at < start or end < at + HOUR,
            **({"counts": dict(sorted(counts.items()))} if is_grouped else {}),
        }
        for at, counts in sorted(hours.items())
    ]


# --- pages ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paged(api: Api) -> str:
    """A customer with events in every second hour of a day, of two types."""
    api.service.ingest(
        [
            event(
                f"t-{hour}-{kind}",
                customer_id="paged",
                event_type=kind,
                timestamp=HOUR_ZERO + hour * HOUR + 30 * MINUTE,
            )
            for hour in range(0, 24, 2)
            for kind in ("a", "b")
        ]
    )
    return "paged"


@pytest.mark.parametrize("limit", [1, 2, 5, 11, 12, 13])
@pytest.mark.parametrize(
    "options",
    [
        "",
        "&fill=zero",
        "&group_by=event_type",
        "&event_type=b",
        "&event_type=a&event_type=b&fill=zero&group_by=event_type",
    ],
)
def test_all_pages_together_are_the_one_page(
    api: Api, paged: str, limit: int, options: str
) -> None:
    query = f"start=2021-03-01T00:15:00Z&end=2021-03-01T22:45:00Z{options}"
    whole = settled(api.buckets(query, customer_id=paged))
    pages = list(all_pages(api, f"{query}&limit={limit}", customer_id=paged))
    buckets = [each for page in pages for each in page["buckets"]]
    assert buckets == whole["buckets"]
    assert [len(page["buckets"]) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 1 <= len(pages[-1]["buckets"]) <= limit
    assert whole["next"] is None
    for page in pages:
        assert {**page, "buckets": [], "next": None} == {**whole, "buckets": []}


def all_pages(api: Api, query: str, *, customer_id: str) -> Iterator[Json]:
    page = settled(api.buckets(query, customer_id=customer_id))
    yield page
    while (following := page["next"]) is not None:
        page = settled(api.buckets(f"{query}&cursor={following}", customer_id=customer_id))
        assert page["next"] != following, "the same page for ever"
        yield page


def test_a_page_has_1_000_buckets_where_no_limit_is_given(api: Api) -> None:
    body = settled(api.buckets("start=2021-03-01&end=2021-05-01&fill=zero"))
    assert [each["ts_start_of_hour"] for each in body["buckets"]] == [
        time_text(HOUR_ZERO + place * HOUR) for place in range(1_000)
    ]
    assert body["next"] == cursor(time_text(HOUR_ZERO + 1_000 * HOUR))


def test_an_event_that_comes_between_two_pages_moves_no_bucket(api: Api) -> None:
    early, late = (
        event(f"t-{hour}", customer_id="moving", timestamp=HOUR_ZERO + hour * HOUR)
        for hour in (3, 9)
    )
    api.service.ingest([early, late])
    first = settled(api.buckets(f"{DAY_ONE}&limit=1", customer_id="moving"))
    assert first["buckets"] == [bucket("2021-03-01T03", 1)]
    api.service.ingest([event("t-0", customer_id="moving", timestamp=HOUR_ZERO)])
    second = settled(api.buckets(f"{DAY_ONE}&limit=1&cursor={first['next']}", customer_id="moving"))
    assert second == answer(
        "2021-03-01T00:00",
        "2021-03-02T00:00",
        [bucket("2021-03-01T09", 1)],
        customer_id="moving",
        total=3,
    )


# --- customers of every name ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd_ids(api: Api) -> dict[str, int]:
    """Customers with odd names, and how many events each of them has."""
    numbers = {customer_id: place + 1 for place, customer_id in enumerate(ODD_IDS)}
    api.service.ingest(
        [
            event(f"t-{place}", customer_id=customer_id)
            for customer_id, number in numbers.items()
            for place in range(number)
        ]
    )
    return numbers


@pytest.mark.parametrize("customer_id", ODD_IDS, ids=lambda text: ascii(text[:12]))
def test_any_id_is_asked_about_with_its_escapes_and_never_taken_for_another(
    api: Api, odd_ids: dict[str, int], customer_id: str
) -> None:
    number = odd_ids[customer_id]
    assert settled(api.buckets(DAY_ONE, customer_id=customer_id)) == answer(
        "2021-03-01T00:00",
        "2021-03-02T00:00",
        [bucket("2021-03-01T00", number)],
        customer_id=customer_id,
    )


def test_a_slash_may_also_stand_unescaped(api: Api, odd_ids: dict[str, int]) -> None:
    body = settled(api.get(f"/events/customers/a/buckets/buckets?{DAY_ONE}"))
    assert (body["customer_id"], body["total"]) == ("a/buckets", odd_ids["a/buckets"])


@pytest.mark.usefixtures("odd_ids")
def test_a_slash_too_many_at_the_end_never_leads_to_another_customer(api: Api) -> None:
    response = api.get(f"/events/customers/{quote('a%2Fb')}/buckets/?{DAY_ONE}")
    asked_about = response.json()["customer_id"] if response.status_code == 200 else "a%2Fb"
    assert asked_about == "a%2Fb"


# --- CSV ------------------------------------------------------------------------------------------

DAY_ONE_CSV = """\
ts_start_of_hour,count,partial
2021-03-01T00:00:00.000000Z,2,true
2021-03-01T01:00:00.000000Z,1,false
2021-03-01T05:00:00.000000Z,1,true
"""


@pytest.mark.parametrize(
    ("option", "headers"),
    [
        pytest.param("&format=csv", {}, id="by parameter"),
        pytest.param("", {"accept": "text/csv"}, id="by header"),
        pytest.param("&format=csv", {"accept": "application/json"}, id="parameter before header"),
    ],
)
def test_csv_is_given_where_it_is_asked_for(api: Api, option: str, headers: dict[str, str]) -> None:
    query = f"start=2021-03-01T00:15:00Z&end=2021-03-01T05:45:00Z{option}"
    response = api.buckets(query, **headers)
    assert response.status_code == 200
    assert response.text == DAY_ONE_CSV
    assert {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-length", "x-request-id")
    } == {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": 'attachment; filename="buckets.csv"',
        "vary": "Accept",
    }


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("TEXT/CSV; charset=utf-8", "text/csv; charset=utf-8"),
        ("text/html, text/csv", "text/csv; charset=utf-8"),
        ("text/csv, */*;q=0.1", "text/csv; charset=utf-8"),
        ("application/json, text/csv", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/html", "application/json"),
        ("text/csvx", "application/json"),
        # RFC 9110, section 12.4.2: a weight of 0 means "not acceptable", a lower one is less liked.
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=0.1, application/json", "application/json"),
        ("application/json;q=0.1, text/csv", "text/csv; charset=utf-8"),
    ],
)
def test_the_accept_header_chooses_the_form(api: Api, accept: str, media_type: str) -> None:
    response = api.buckets(DAY_ONE, accept=accept)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.headers["vary"] == "Accept"


def test_format_json_is_stronger_than_the_header(api: Api) -> None:
    response = api.buckets(f"{DAY_ONE}&format=json", accept="text/csv")
    assert settled(response) == answer("2021-03-01T00:00", "2021-03-02T00:00", DAY_ONE_BUCKETS)


def test_an_error_is_a_problem_also_where_csv_is_asked_for(api: Api) -> None:
    assert problem(api.buckets("start=2021-03-01&format=csv", accept="text/csv")) == bad_request(
        end="is missing"
    )


def test_no_cell_is_run_as_a_formula_and_no_type_is_lost(api: Api) -> None:
    api.service.ingest(
        [event(f"t-{kind}", customer_id="formulas", event_type=kind) for kind in FORMULAS]
    )
    query = f"{DAY_ONE}&format=csv&group_by=event_type"
    response = api.buckets(query, customer_id="formulas")
    hour = "2021-03-01T00:00:00.000000Z"
    assert response.text == (
        "ts_start_of_hour,event_type,count,partial\n"
        f"{hour},'+1,1,false\n"
        f"{hour},'-1,1,false\n"
        f"{hour},1=1,1,false\n"
        f"{hour},'=1+1,1,false\n"
        f"{hour},'@x,1,false\n"
        f'{hour},"a""b",1,false\n'
        f'{hour},"a,b",1,false\n'
        f"{hour},a=1,1,false\n"
    )
    # JSON has no such danger, and the types as they are.
    body = settled(api.buckets(f"{DAY_ONE}&group_by=event_type", customer_id="formulas"))
    assert body["buckets"] == [
        bucket("2021-03-01T00", 8, counts=dict.fromkeys(sorted(FORMULAS), 1))
    ]


@pytest.mark.parametrize("customer_id", ["paged", "a?b", "a#b"])
def test_csv_pages_are_linked_and_together_are_the_one_page(
    api: Api, paged: str, customer_id: str
) -> None:
    if customer_id != paged:
        api.service.ingest(
            [
                event(f"t-{hour}", customer_id=customer_id, timestamp=HOUR_ZERO + hour * HOUR)
                for hour in (3, 4, 5)
            ]
        )
    # Escapes that must not be lost on the way, and a parameter that stands twice.
    query = (
        "start=2021-03-01T02:30:00%2B01:00&end=2021-03-01T22:45:00Z"
        "&event_type=api_call&event_type=b&event_type=%26%2B%25%C3%A9&format=csv"
    )
    whole = api.buckets(query, customer_id=customer_id)
    assert "link" not in whole.headers
    path = f"/events/customers/{quote(customer_id, safe='')}/buckets"
    pages = [api.get(f"{path}?{query}&limit=2")]
    while "link" in pages[-1].headers:
        link = re.fullmatch(r'<(.*)>; rel="next"', pages[-1].headers["link"])
        assert link
        pages.append(api.get(path + link[1]))
        assert pages[-1].headers.get("link") != link[0], "the same page for ever"
    lines = [page.text.splitlines() for page in pages]
    assert [line for page in lines for line in page[1:]] == whole.text.splitlines()[1:]
    assert {page[0] for page in lines} == {"ts_start_of_hour,count,partial"}
    assert len(pages) > 1


def test_filled_csv_has_every_hour_also_by_type(api: Api) -> None:
    query = "start=2021-03-01&end=2021-03-01T06:00:00Z&fill=zero&format=csv"
    for grouping in ("", "&group_by=event_type"):
        rows = list(csv.DictReader(api.buckets(query + grouping).text.splitlines()))
        hours = sorted({row["ts_start_of_hour"] for row in rows})
        assert hours == [time_text(HOUR_ZERO + place * HOUR) for place in range(6)], grouping
        assert sum(int(row["count"]) for row in rows) == 5, grouping


# --- what is written is visible -------------------------------------------------------------------


def test_what_was_ingested_is_in_the_very_next_answer(api: Api) -> None:
    for number in range(1, 6):
        at = HOUR_ZERO + 30 * MINUTE
        assert api.service.ingest([event(f"t-{number}", customer_id="visible", timestamp=at)]) == [
            Outcome.INSERTED
        ]
        whole = settled(api.buckets(DAY_ONE, customer_id="visible"))
        assert (whole["total"], whole["buckets"]) == (number, [bucket("2021-03-01T00", number)])
        piece = "start=2021-03-01T00:30:00Z&end=2021-03-01T00:31:00Z"
        cut = settled(api.buckets(piece, customer_id="visible"))
        assert cut["buckets"] == [bucket("2021-03-01T00", number, partial=True)]


def test_a_duplicate_changes_nothing_in_the_answer_and_a_late_event_does(api: Api) -> None:
    first = event("t-1", customer_id="late")
    api.service.ingest([first])
    before = api.buckets(DAY_ONE, customer_id="late").json()
    assert api.service.ingest([first]) == [Outcome.DUPLICATE]
    assert api.buckets(DAY_ONE, customer_id="late").json() == before

    api.service.ingest([event("t-2", customer_id="late")])
    after = api.buckets(DAY_ONE, customer_id="late").json()
    assert after["last_ingested_at"] > before["last_ingested_at"]
    assert after == {
        **before,
        "total": 2,
        "buckets": [bucket("2021-03-01T00", 2)],
        "last_ingested_at": after["last_ingested_at"],
    }


# --- requests that are wrong ----------------------------------------------------------------------


def problem(response: Any) -> Json:
    """The body of an error."""
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert body["status"] == response.status_code
    return body


def bad_request(**errors: str) -> Json:
    """A 400 that names these fields, in this order."""
    return {
        "type": "urn:events:problem:bad-request",
        "title": "Invalid request",
        "status": 400,
        "detail": "; ".join(f"{field}: {detail}" for field, detail in errors.items()),
        "errors": [{"field": field, "detail": detail} for field, detail in errors.items()],
    }


NOT_FOUND: Json = {
    "type": "urn:events:problem:not-found",
    "title": "Not found",
    "status": 404,
    "detail": "no such path: /openapi.json lists all paths",
    "errors": [],
}
NOT_ALLOWED: Json = {
    "type": "urn:events:problem:method-not-allowed",
    "title": "Method not allowed",
    "status": 405,
    "detail": "Method Not Allowed",
    "errors": [],
}
OUR_FAULT: Json = {
    "type": "urn:events:problem:internal-server-error",
    "title": "Internal error",
    "status": 500,
    "detail": "the service failed: see its log",
    "errors": [],
}
STORE_DOWN: Json = {
    "type": "urn:events:problem:service-unavailable",
    "title": "Store not available",
    "status": 503,
    "detail": "the store did not answer in time: send the same request again, that is safe",
    "errors": [],
}

NO_INSTANT = "is not an ISO 8601 date and time like 2021-03-01T00:00:00Z"
NO_CURSOR = "is no cursor: use `next` of the page before as it was given"
OTHER_CURSOR = "is no hour of this window: use `next` as it was given"
NO_NUMBER = "is no whole number"


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("", {"start": "is missing", "end": "is missing"}),
        ("start=2021-03-01", {"end": "is missing"}),
        ("end=2021-03-01", {"start": "is missing"}),
        ("start=&end=", {"start": "is empty", "end": "is empty"}),
        (f"{DAY_ONE}&start=2021-03-01", {"start": "is given 2 times: give it once"}),
        (f"{DAY_ONE}&limit=1&limit=1&limit=1", {"limit": "is given 3 times: give it once"}),
        (f"{DAY_ONE}&x=1&x=2", {"x": "is given 2 times: give it once"}),
        (f"{DAY_ONE}&limits=1", {"limits": "unknown query parameter"}),
        (f"{DAY_ONE}&End=2021-03-02", {"End": "unknown query parameter"}),
        (f"{DAY_ONE}&prefix=a", {"prefix": "unknown query parameter"}),
        (f"{DAY_ONE}&group_by=hour", {"group_by": "input should be 'event_type'"}),
        (f"{DAY_ONE}&group_by=", {"group_by": "input should be 'event_type'"}),
        (f"{DAY_ONE}&fill=none", {"fill": "input should be 'zero'"}),
        (
            f"{DAY_ONE}&format=xml",
            {"format": "input should be 'json', 'csv', 'jsonl' or 'parquet'"},
        ),
        (f"{DAY_ONE}&limit=0", {"limit": "input should be greater than or equal to 1"}),
        (f"{DAY_ONE}&limit=-1", {"limit": "input should be greater than or equal to 1"}),
        (f"{DAY_ONE}&limit=10001", {"limit": "input should be less than or equal to 10000"}),
        (f"{DAY_ONE}&limit=x", {"limit": NO_NUMBER}),
        (f"{DAY_ONE}&limit=", {"limit": NO_NUMBER}),
        (f"{DAY_ONE}&limit=1e3", {"limit": NO_NUMBER}),
        (f"{DAY_ONE}&limit=1_0", {"limit": NO_NUMBER}),
        (f"{DAY_ONE}&limit=x&fill=y", {"fill": "input should be 'zero'", "limit": NO_NUMBER}),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_wrong(
    api: Api, query: str, errors: dict[str, str]
) -> None:
    assert problem(api.buckets(query)) == bad_request(**errors)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("10", f"'10' {NO_INSTANT}"),
        ("now", f"'now' {NO_INSTANT}"),
        ("1614556800", f"'1614556800' {NO_INSTANT}"),
        ("20210301", f"'20210301' {NO_INSTANT}"),
        ("2021-03", f"'2021-03' {NO_INSTANT}"),
        ("2021-W09-1", f"'2021-W09-1' {NO_INSTANT}"),
        ("2021-03-01T10Z", f"'2021-03-01T10Z' {NO_INSTANT}"),
        ("2021-03-01Z", f"'2021-03-01Z' {NO_INSTANT}"),
        ("10000-01-01", f"'10000-01-01' {NO_INSTANT}"),
        ("-2021-03-01", f"'-2021-03-01' {NO_INSTANT}"),
        ("2021-03-01T00:00:00GMT", f"'2021-03-01T00:00:00GMT' {NO_INSTANT}"),
        ("2021-03-01%00", f"'2021-03-01\\x00' {NO_INSTANT}"),
        ("2021-03-01%0A", f"'2021-03-01\\n' {NO_INSTANT}"),
        ("%D9%A2021-03-01", f"'\\u0662021-03-01' {NO_INSTANT}"),
        ("9" * 5_000, "has 5,000 characters; write it like 2021-03-01T00:00:00Z"),
        (
            "2021-03-01T00:00:00+01:00",
            "'2021-03-01T00:00:00 01:00' has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z",
        ),
        ("0000-01-01", "is outside the years 0001 to 9999"),
        ("0001-01-01T00:00:00%2B00:01", "is outside the years 0001 to 9999 in UTC"),
        ("9999-12-31T23:30:00-01:00", "is outside the years 0001 to 9999 in UTC"),
        (
            "2021-02-29",
            "'2021-02-29' is not a valid date and time: day is out of range for month",
        ),
        (
            "2021-03-01T24:00:00Z",
            "'2021-03-01T24:00:00Z' is not a valid date and time: hour must be in 0..23",
        ),
        (
            "2021-03-01T00:00:60Z",
            "'2021-03-01T00:00:60Z' is a leap second, which UTC datetimes cannot hold: "
            "send second 59",
        ),
    ],
)
def test_what_is_no_instant_is_refused_with_the_reason(api: Api, text: str, detail: str) -> None:
    assert problem(api.buckets(f"start={text}&end=2021-03-02")) == bad_request(start=detail)
    assert problem(api.buckets(f"start=2021-03-01&end={text}")) == bad_request(end=detail)


def test_an_offset_of_more_than_a_day_is_refused_in_words_for_callers(api: Api) -> None:
    body = problem(api.buckets("start=2021-03-01T00:00:00%2B25:00&end=2021-03-02"))
    assert [each["field"] for each in body["errors"]] == ["start"]
    assert "timedelta" not in body["detail"]


def test_a_window_that_ends_before_it_starts_is_refused(api: Api) -> None:
    body = problem(api.buckets("start=2021-03-02&end=2021-03-01"))
    assert body == bad_request(
        start="2021-03-02 00:00:00+00:00 is after end, 2021-03-01 00:00:00+00:00: swap them"
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        pytest.param("", NO_CURSOR, id="empty"),
        pytest.param("!!", NO_CURSOR, id="garbage"),
        pytest.param("%C3%A9", NO_CURSOR, id="no ASCII"),
        pytest.param("_w", NO_CURSOR, id="base64 of no UTF-8"),
        pytest.param("A", NO_CURSOR, id="base64 cut off"),
        pytest.param(cursor("hello"), NO_CURSOR, id="base64 of no hour"),
        pytest.param(cursor("acme"), NO_CURSOR, id="of the list of customers"),
        pytest.param(cursor("10000-01-01T00:00:00Z"), NO_CURSOR, id="beyond time"),
        pytest.param(cursor("2021-02-28T23:00:00Z"), OTHER_CURSOR, id="before the window"),
        pytest.param(cursor("2021-03-02T00:00:00Z"), OTHER_CURSOR, id="at the window's end"),
        pytest.param(cursor("2021-03-01T00:30:00Z"), OTHER_CURSOR, id="inside an hour"),
    ],
)
def test_what_is_no_cursor_of_this_question_is_refused(api: Api, text: str, detail: str) -> None:
    assert problem(api.buckets(f"{DAY_ONE}&cursor={text}")) == bad_request(cursor=detail)


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("", {"customer_id": "is empty"}),
        ("%20a", {"customer_id": "has white space at its start or end"}),
        ("a%C2%A0", {"customer_id": "has white space at its start or end"}),
        ("a%00b", {"customer_id": "has the control character U+0000 at position 2"}),
        ("a%0Db", {"customer_id": "has the control character U+000D at position 2"}),
        ("a%0Ab", {"customer_id": "has the control character U+000A at position 2"}),
        ("a%0A", {"customer_id": "has the control character U+000A at position 2"}),
        ("a%C2%85", {"customer_id": "has the control character U+0085 at position 2"}),
        ("x" * 2049, {"customer_id": "has 2,049 bytes of UTF-8, more than 2,048"}),
        ("%E6%97%A5" * 683, {"customer_id": "has 2,049 bytes of UTF-8, more than 2,048"}),
        ("a%ffb", {"path": "is not valid UTF-8"}),
        ("%ED%A0%80", {"path": "is not valid UTF-8"}),
        ("%C3", {"path": "is not valid UTF-8"}),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_an_id_that_no_customer_can_have_is_refused(
    api: Api, path: str, errors: dict[str, str]
) -> None:
    response = api.get(f"/events/customers/{path}/buckets?{DAY_ONE}")
    assert problem(response) == bad_request(**errors)


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("event_type=", {"event_type": "is empty"}),
        ("event_type=a%00b", {"event_type": "has the control character U+0000 at position 2"}),
        ("event_type=a&event_type=%20", {"event_type": "has white space at its start or end"}),
        (
            f"event_type={'x' * 995}",
            {"event_type": "takes 995 bytes of the key (% and - take three each), more than 994"},
        ),
        ("event_type=%ff", {"query": "is not valid UTF-8"}),
        ("%ff=1", {"query": "is not valid UTF-8"}),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_type_that_no_event_can_have_is_refused(
    api: Api, query: str, errors: dict[str, str]
) -> None:
    assert problem(api.buckets(f"{DAY_ONE}&{query}")) == bad_request(**errors)


@pytest.mark.parametrize(
    "path",
    ["/nope", "/event", "/events/customers/acme", "/events/customers/acme/hours", "/%ff"],
)
def test_an_address_that_is_not_there_is_a_problem_too(api: Api, path: str) -> None:
    response = api.get(path)
    assert (response.status_code, problem(response)) == (404, NOT_FOUND)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/events/customers/acme/buckets", "/events/customers", "/livez", "/readyz"]
)
def test_another_method_is_a_problem_that_names_the_right_one(
    api: Api, method: str, path: str
) -> None:
    response = api.client.request(method, path)
    assert (response.status_code, problem(response)) == (405, NOT_ALLOWED)
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/events", "POST"), ("/events/void", "POST")],
)
def test_what_cannot_be_read_is_a_problem_that_names_the_right_method(
    api: Api, path: str, allowed: str
) -> None:
    response = api.get(path)
    assert (response.status_code, problem(response)) == (405, NOT_ALLOWED)
    assert response.headers["allow"] == allowed


# --- the list of customers ------------------------------------------------------------------------

#: In the order of the bytes of their ids.
CUSTOMERS = {"A": 1, "a": 2, "a b": 1, "a/b": 3, "ab": 1, "é": 2, "日本": 1, "😀": 1}


@pytest.fixture(scope="module")
def listing(database: Database) -> Iterator[Api]:
    """An API whose tables hold `CUSTOMERS`; `a/b` has an event on another day as well."""
    with serving_fresh_tables(database) as api:
        api.service.ingest(
            [
                event(f"t-{place}", customer_id=customer_id, timestamp=HOUR_ZERO + place * MINUTE)
                for customer_id, number in CUSTOMERS.items()
                for place in range(number)
            ]
            + [event("t-late", customer_id="a/b", timestamp=HOUR_ZERO + 40 * DAY)]
        )
        yield api


def listed(totals: dict[str, int], next_page: str | None = None) -> Json:
    return {
        "customers": [
            {"customer_id": customer_id, "total": total} for customer_id, total in totals.items()
        ],
        "next": next_page,
    }


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
        pytest.param("prefix=%20customers", {}, id="prefix of the registry itself"),
        pytest.param(f"prefix={'x' * 3_000}", {}, id="prefix longer than any id"),
        pytest.param("limit=8&end=2021-03-02", CUSTOMERS, id="limit that just fits"),
    ],
)
def test_customers_are_listed_with_their_events_in_the_window(
    listing: Api, query: str, totals: dict[str, int]
) -> None:
    response = listing.get(f"/events/customers?{query}")
    assert (response.status_code, response.json()) == (200, listed(totals))


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("prefix", ["", "a"])
def test_all_pages_of_customers_together_are_the_one_page(
    listing: Api, limit: int, prefix: str
) -> None:
    path = f"/events/customers?{DAY_ONE}&prefix={prefix}"
    found: list[Json] = []
    page = listing.get(f"{path}&limit={limit}").json()
    while (following := page["next"]) is not None:
        assert len(page["customers"]) == limit
        found += page["customers"]
        page = listing.get(f"{path}&limit={limit}&cursor={following}").json()
        assert page["next"] != following, "the same page for ever"
    found += page["customers"]
    assert {"customers": found, "next": None} == listing.get(path).json()
    assert len(found) == (8 if not prefix else 4)


def test_no_customers_are_an_empty_list(settings: Settings) -> None:
    with serving(settings) as api:
        response = api.get("/events/customers")
        assert (response.status_code, response.json()) == (200, listed({}))


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("customer=a", {"customer": "unknown query parameter"}),
        ("event_type=a", {"event_type": "unknown query parameter"}),
        ("prefix=a&prefix=b", {"prefix": "is given 2 times: give it once"}),
        ("prefix=%ff", {"query": "is not valid UTF-8"}),
        ("limit=0", {"limit": "input should be greater than or equal to 1"}),
        ("limit=1001", {"limit": "input should be less than or equal to 1000"}),
        ("limit=x", {"limit": NO_NUMBER}),
        ("start=10", {"start": f"'10' {NO_INSTANT}"}),
        ("start=", {"start": "is empty"}),
        ("cursor=!", {"cursor": NO_CURSOR}),
        ("cursor=_w", {"cursor": NO_CURSOR}),
        ("cursor=", {"cursor": NO_CURSOR}),
        (
            "start=2021-03-02&end=2021-03-01",
            {
                "start": "2021-03-02 00:00:00+00:00 is after end, "
                "2021-03-01 00:00:00+00:00: swap them"
            },
        ),
    ],
)
def test_a_wrong_question_about_customers_is_refused(
    listing: Api, query: str, errors: dict[str, str]
) -> None:
    assert problem(listing.get(f"/events/customers?{query}")) == bad_request(**errors)


# --- operations, and a store that fails -----------------------------------------------------------

#: How many `def` routes run at a time: AnyIO's default.
REQUEST_THREADS = 40
QUESTIONS = [f"/events/customers/acme/buckets?{DAY_ONE}", "/events/customers", "/readyz"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_service_on_its_store_is_alive_and_ready(api: Api, path: str) -> None:
    response = api.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_service_makes_its_tables_when_it_is_first_asked(settings: Settings) -> None:
    with serving(settings) as api:
        assert api.get("/readyz").status_code == 200
        assert settled(api.buckets(DAY_ONE)) == answer(
            "2021-03-01T00:00", "2021-03-02T00:00", [], last_ingested_at=None
        )


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def impatient(endpoint_url: str) -> Settings:
    """Settings that give up after one attempt; the table's name is a word to look for."""
    return Settings(
        dynamodb_endpoint_url=endpoint_url,
        dynamodb_events_table_name="hidden_table",
        events_store_patience_seconds=0,
    )


def test_a_store_that_is_down_is_a_503_that_says_when_to_ask_again_and_names_nothing(
    closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(impatient(f"http://127.0.0.1:{closed_port}")) as api:
        for path in QUESTIONS:
            caplog.clear()
            response = api.get(path)
            assert (response.status_code, problem(response)) == (503, STORE_DOWN), path
            assert response.headers["retry-after"] == "1", path
            for hidden in ("127.0.0.1", str(closed_port), "hidden_table", "ConnectionError"):
                assert hidden not in response.text + str(response.headers), path
            # Whoever runs it reads where and why.
            assert f"http://127.0.0.1:{closed_port}" in caplog.text, path


def test_a_service_whose_store_is_down_is_alive_all_the_same(closed_port: int) -> None:
    with serving(impatient(f"http://127.0.0.1:{closed_port}")) as api:
        response = api.get("/livez")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


@contextmanager
def store_that_says(status: int, code: str) -> Iterator[str]:
    """An endpoint that answers every request with one error."""
    body = json.dumps(
        {
            "__type": f"com.amazonaws.dynamodb.v20120810#{code}",
            "message": "User: arn:aws:iam::1:user/hidden_user may not read hidden_table",
        }
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "AccessDeniedException", OUR_FAULT),
        (400, "ValidationException", OUR_FAULT),
        (400, "UnrecognizedClientException", OUR_FAULT),
        (400, "ProvisionedThroughputExceededException", STORE_DOWN),
        (500, "InternalServerError", STORE_DOWN),
        (503, "ServiceUnavailable", STORE_DOWN),
    ],
)
def test_what_the_store_says_is_for_the_log_and_not_for_the_caller(
    status: int, code: str, expected: Json, caplog: pytest.LogCaptureFixture
) -> None:
    with store_that_says(status, code) as url, serving(impatient(url)) as api:
        for path in QUESTIONS:
            caplog.clear()
            response = api.get(path)
            assert (response.status_code, problem(response)) == (expected["status"], expected)
            assert response.headers.get("retry-after") == ("1" if expected is STORE_DOWN else None)
            for hidden in ("hidden_table", "hidden_user", code, "127.0.0.1"):
                assert hidden not in response.text + str(response.headers), path
            assert code in caplog.text, path


class _HangingService:
    """A service whose store neither answers nor refuses, until it is released."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.released = threading.Event()

    def buckets(self, query: object) -> object:
        self.entered.release()
        self.released.wait(timeout=60)
        raise StoreUnavailable(f"too late for {query}")


def test_a_service_is_alive_however_many_requests_wait_for_its_store(settings: Settings) -> None:
    hanging = _HangingService()
    with serving(settings) as api, ThreadPoolExecutor(50) as pool:
        real = api.service
        api.app.state.service = hanging
        waiting = [pool.submit(api.buckets, DAY_ONE) for _ in range(REQUEST_THREADS)]
        try:
            for _ in waiting:
                assert hanging.entered.acquire(timeout=30)
            response = pool.submit(api.get, "/livez").result(timeout=5)
        finally:
            hanging.released.set()
            statuses = [each.result().status_code for each in waiting]
            api.app.state.service = real
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert statuses == [503] * REQUEST_THREADS


class _BrokenService:
    """A service with a mistake in it."""

    def buckets(self, query: object) -> object:
        raise RuntimeError(f"hidden reason: {query}")


def test_a_mistake_of_ours_is_a_500_without_a_trace_of_it(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(settings) as api:
        real = api.service
        api.app.state.service = _BrokenService()
        response = api.buckets(DAY_ONE)
        api.app.state.service = real
    assert (response.status_code, problem(response)) == (500, OUR_FAULT)
    for hidden in ("hidden reason", "RuntimeError", "Traceback", ".py"):
        assert hidden not in response.text
    errors = [each for each in caplog.records if each.levelno == logging.ERROR and each.exc_info]
    assert [str(each.exc_info[1])[:13] for each in errors if each.exc_info] == ["hidden reason"]


# --- the description ------------------------------------------------------------------------------


def test_the_examples_of_all_parameters_together_are_a_good_question(api: Api) -> None:
    document = api.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        if "get" not in operations:
            continue
        query, parts = [], {}
        for parameter in operations["get"].get("parameters", []):
            example = parameter["schema"].get("examples", [None])[0]
            if parameter["in"] == "path":
                parts[parameter["name"]] = quote(str(example), safe="")
            elif example is not None:
                values = example if isinstance(example, list) else [example]
                query += [f"{parameter['name']}={quote(str(value), safe='')}" for value in values]
        response = api.get(f"{path.format(**parts)}?{'&'.join(query)}")
        # What changed is forgotten in time, so no example of an instant or a cursor stays good.
        good = 410 if path == "/events/changes" else 200
        assert response.status_code == good, (path, response.text)


def test_the_examples_of_bodies_are_taken(api: Api) -> None:
    for path, operations in api.get("/openapi.json").json()["paths"].items():
        if "post" in operations:
            content = operations["post"]["requestBody"]["content"]["application/json"]
            response = api.client.post(path, json=content["example"])
            assert response.status_code == 200, (path, response.text)


def test_the_examples_of_errors_are_what_is_answered(api: Api) -> None:
    path = "/events/customers/{customer_id}/buckets"
    responses = api.get("/openapi.json").json()["paths"][path]["get"]["responses"]
    examples = {
        status: described["content"]["application/problem+json"]["example"]
        for status, described in responses.items()
        # Those of a key are looked at where keys are on: test_access.py.
        if status not in ("200", "401", "403", "429")
    }
    assert examples == {
        "400": problem(api.buckets("end=2021-03-02")),
        "500": OUR_FAULT,
        "503": STORE_DOWN,
    }
