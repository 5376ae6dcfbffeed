"""Each route once, on a real database; the details are tested on a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.routing import iter_route_contexts

from events.config import Settings
from events.dao import DynamoStore
from tests.support.api import (
    AT,
    DAY_ONE,
    Api,
    all_pages,
    bucket,
    document,
    errors_of,
    serving,
    settled,
)
from tests.support.factories import HOUR, HOUR_ZERO, event

EVENTS = [
    event("t-1"),
    event("t-2", event_type="sign-in", timestamp=HOUR_ZERO + HOUR / 2),
    event("t-3", timestamp=HOUR_ZERO + HOUR),
]


@pytest.fixture
def api(settings: Settings, store: DynamoStore) -> Iterator[Api]:
    """The API on fresh tables in DynamoDB Local."""
    assert store
    with serving(settings) as api:
        yield api


def test_buckets(api: Api) -> None:
    api.service.ingest(EVENTS)
    query = "start=2021-03-01T00:15:00Z&end=2021-03-02&group_by=event_type"
    assert settled(api.buckets(query))["buckets"] == [
        bucket("2021-03-01T00", 1, partial=True, counts={"sign-in": 1}),
        bucket("2021-03-01T01", 1, counts={"api_call": 1}),
    ]
    pages = list(all_pages(api, f"{DAY_ONE}&limit=1"))
    assert [page["buckets"][0]["count"] for page in pages] == [2, 1]
    assert {page["total"] for page in pages} == {3}
    csv = api.buckets(f"{DAY_ONE}&window=day&format=csv")
    assert csv.text.splitlines()[1].endswith(",3,false")


def test_post_events(api: Api) -> None:
    for status in ("inserted", "duplicate"):
        response = api.send(*EVENTS)
        assert (response.status_code, response.json()["results"][2]["status"]) == (200, status)
        assert api.buckets(DAY_ONE).json()["total"] == 3


def test_void(api: Api) -> None:
    api.service.ingest(EVENTS)
    response = api.void(EVENTS[0], event("other"))
    assert (response.status_code, response.json()["voided"]) == (200, 1)
    assert api.send(EVENTS[0]).json()["voided"] == 1
    assert api.buckets(DAY_ONE).json()["total"] == 2
    assert api.service.verify().is_equal


def test_stored_events(api: Api) -> None:
    api.service.ingest(EVENTS)
    page = api.get("/events/customers/acme/events?order=newest&limit=2").json()
    assert [row["transaction_id"] for row in page["events"]] == ["t-3", "t-2"]
    page = api.get(f"/events/customers/acme/events?order=newest&cursor={page['next']}").json()
    assert [row["transaction_id"] for row in page["events"]] == ["t-1"]
    for cursor in ("eA", "eHh4" * 800):  # not keys of this range
        response = api.get(f"/events/customers/acme/events?cursor={cursor}")
        assert set(errors_of(response)) == {"cursor"}


def test_erase(api: Api) -> None:
    api.service.ingest(EVENTS)
    step = api.client.delete("/events/customers/acme/events").json()
    assert (step["events"], step["is_complete"]) == (3, False)
    assert step["wait_seconds"] > 0
    assert api.buckets(DAY_ONE).json()["total"] == 0


def test_customers(api: Api) -> None:
    api.service.ingest([*EVENTS, event(customer_id="globex")])
    first = api.get("/events/customers?limit=1").json()
    assert first["customers"] == [{"customer_id": "acme", "total": 3}]
    second = api.get(f"/events/customers?cursor={first['next']}").json()
    assert second == {"customers": [{"customer_id": "globex", "total": 1}], "next": None}


def test_summary(api: Api) -> None:
    api.service.ingest(EVENTS)
    assert settled(api.get("/events/customers/acme/summary")) == {
        "customer_id": "acme",
        "start": None,
        "end": None,
        "total": 3,
        "by_type": {"api_call": 2, "sign-in": 1},
        "first_event_at": "2021-03-01T00:00:00.000000Z",
        "last_event_at": "2021-03-01T01:00:00.000000Z",
        "busiest_hour": bucket("2021-03-01T00", 2),
        "last_ingested_at": AT,
    }


def test_changes(api: Api) -> None:
    api.service.ingest(EVENTS)
    page = api.get("/events/changes").json()
    # A change is listed only some time after the write: the cursor finds it later.
    assert (page["changes"], page["has_more"]) == ([], False)
    assert api.get(f"/events/changes?since={page['next']}").status_code == 200
    assert api.get("/events/changes?since=2021-01-01").status_code == 410


def test_buckets_of_several_customers(api: Api) -> None:
    api.service.ingest([*EVENTS, event(customer_id="globex")])
    page = api.get(
        f"/events/buckets?customer_id=acme&customer_id=globex&window=day&{DAY_ONE}"
    ).json()
    assert [(row["customer_id"], row["total"]) for row in page["customers"]] == [
        ("acme", 3),
        ("globex", 1),
    ]


def test_drop_in_routes(api: Api) -> None:
    one = document(EVENTS[0])
    assert api.post([one], "/metronome/v1/ingest").status_code == 200
    usage = {
        "starting_on": "2021-03-01T00:00:00Z",
        "ending_before": "2021-03-02T00:00:00Z",
        "window_size": "NONE",
        "customer_ids": ["acme"],
        "billable_metrics": [{"id": "api_call"}],
    }
    assert api.post(usage, "/metronome/v1/usage").json()["data"][0]["value"] == 1
    sent = {
        "specversion": "1.0",
        "subject": "acme",
        "type": "api_call",
        "source": "app",
        "id": "t-9",
        "time": "2021-03-01T05:00:00Z",
    }
    assert api.post(sent, "/openmeter/api/v1/events").status_code == 204
    query = "subject=acme&from=2021-03-01T00:00:00Z&to=2021-03-02T00:00:00Z"
    meter = api.get(f"/openmeter/api/v1/meters/api_call/query?{query}").json()
    assert [row["value"] for row in meter["data"]] == [2]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/", "/openapi.json"])
def test_operations(api: Api, path: str) -> None:
    assert api.get(path).status_code == 200


def test_tables_are_created_by_the_first_read(settings: Settings) -> None:
    with serving(settings) as api:
        assert settled(api.buckets(DAY_ONE))["buckets"] == []
        assert api.get("/events/customers").json() == {"customers": [], "next": None}


def test_each_route_has_a_test_here(api: Api) -> None:
    """Fails when a route is added: give it a test in this file, then add it to this set."""
    assert {route.path for route in iter_route_contexts(api.app.routes)} == {
        "/", "/static", "/openapi.json", "/livez", "/readyz", "/metrics",
        "/events", "/events/void", "/events/changes", "/events/customers", "/events/buckets",
        "/events/customers/{customer_id:id}/buckets",
        "/events/customers/{customer_id:id}/summary",
        "/events/customers/{customer_id:id}/events",
        "/metronome/v1/ingest", "/metronome/v1/usage",
        "/openmeter/api/v1/events", "/openmeter/api/v1/meters/{slug:id}/query",
    }  # fmt: skip
