"""A customer's stored events: looked up page by page, and erased."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, customer_path, document, errors_of
from tests.support.factories import HOUR, HOUR_ZERO, event, expected_contents, many_events
from tests.support.sqlstore import MemoryStore


def look_up(api: Api, query: str = "", customer_id: str = "acme") -> Any:
    return api.get(f"{customer_path(customer_id)}/events?{query}")


def transactions(response: Any) -> list[str]:
    return [row["transaction_id"] for row in response.json()["events"]]


def test_an_event_is_shown_as_it_was_sent(api: Api) -> None:
    sent = event("a", event_type="a-b/c")
    api.send(sent)
    api.void(sent, reason="why")
    (row,) = look_up(api).json()["events"]
    assert row.items() >= document(sent).items()
    assert (row["void_reason"], len(row["voided_at"]), len(row["ingested_at"])) == ("why", 27, 27)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", range(9)),
        ("order=newest", range(8, -1, -1)),
        ("event_type=k1", (1, 3, 5, 7)),
        ("start=2021-03-01T02:00Z&end=2021-03-01T05:00Z&order=newest", (4, 3, 2)),
        ("transaction_id=t-4", (4,)),
    ],
)
def test_pages_follow_each_other(api: Api, query: str, expected: range) -> None:
    api.send(
        *(
            event(f"t-{number}", event_type=f"k{number % 2}", timestamp=HOUR_ZERO + number * HOUR)
            for number in range(9)
        )
    )
    names: list[str] = []
    cursor = ""
    while cursor is not None:
        page = look_up(api, f"{query}&limit=2" + (f"&cursor={cursor}" if cursor else ""))
        assert page.status_code == 200, page.json()
        names += transactions(page)
        cursor = page.json()["next"]
    assert names == [f"t-{number}" for number in expected]


def test_a_cursor_shows_no_other_customer_and_no_other_range(api: Api) -> None:
    names = ("acme", "other")
    api.send(*(event(f"t-{number}", customer_id=name) for number in range(3) for name in names))
    cursor = look_up(api, "limit=1").json()["next"]
    other = look_up(api, f"cursor={cursor}", "other")
    assert transactions(other) == ["t-1", "t-2"]
    assert {row["customer_id"] for row in other.json()["events"]} == {"other"}
    for query in (
        f"cursor={cursor}&start=2021-04-01",
        f"cursor={cursor}&end=2021-02-01",
        "cursor=AA",
        "cursor=%2B%2B",
    ):
        assert set(errors_of(look_up(api, query))) == {"cursor"}, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("order=sideways", "order"),
        ("start=10", "start"), ("start=2021-03-02&end=2021-03-01", "start"), ("x=1", "x"),
        ("event_type=", "event_type"), ("transaction_id=", "transaction_id"),
        ("limit=1&limit=2", "limit"),
    ],
)  # fmt: skip
def test_an_invalid_parameter_is_named(api: Api, query: str, field: str) -> None:
    assert set(errors_of(look_up(api, query))) == {field}


def test_erasing_a_customer_leaves_the_others(api: Api, memory: MemoryStore) -> None:
    events = many_events(300, customers=2)
    api.send(*events)
    erased = sum(row.customer_id == "customer-0" for row in events)
    step = api.client.delete("/events/customers/customer-0/events")
    assert (step.status_code, step.json()["events"]) == (200, erased)
    others = expected_contents(row for row in events if row.customer_id == "customer-1")
    contents = memory.contents()
    assert (contents.events, contents.counters) == (others.events, others.counters)
    unknown = api.client.delete("/events/customers/nobody/events")
    assert unknown.json() == {"events": 0, "is_complete": True, "wait_seconds": 0.0}
