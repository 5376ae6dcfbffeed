"""What changed, over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta

import pytest

from events.config import Settings
from events.service import EventService
from tests.api.test_api import (
    Api,
    Json,
    bad_request,
    problem,
    serving,
    serving_fresh_tables,
)
from tests.support.database import Database
from tests.support.factories import DAY, HOUR_ZERO, event
from tests.support.fakes import FIRST_INGESTED_AT, MemoryStore

START = "2021-06-01T00:00:00.000000Z"
SETTLED = "2021-06-02T00:00:00.000000Z"


def changed(customer_id: str, day: str, minute: str) -> Json:
    return {"customer_id": customer_id, "day": day, "changed_in": f"2021-06-01T00:{minute}Z"}


@pytest.fixture
def api() -> Iterator[Api]:
    """An API on a store in memory, whose clock is a second further with each write."""
    with serving(Settings()) as api:
        store = MemoryStore()
        api.app.state.service.close()
        api.app.state.service = service = EventService(store, write_threads=1)
        service.ingest([event()])
        service.ingest([event("t-1", customer_id="globex", timestamp=HOUR_ZERO + DAY)])
        store.changes.add("acme", "2021-03-02", FIRST_INGESTED_AT + timedelta(minutes=5))
        yield api


ALL = [
    changed("acme", "2021-03-01", "00:00.000000"),
    changed("globex", "2021-03-02", "00:00.000000"),
    changed("acme", "2021-03-02", "05:00.000000"),
]


def test_changed_days_come_in_order_with_a_cursor_for_what_comes_later(api: Api) -> None:
    answer = api.client.get("/events/changes").json()
    cursor = answer.pop("next")
    assert answer == {"changes": ALL, "complete_until": SETTLED, "has_more": False}
    assert api.client.get(f"/events/changes?since={cursor}").json() == {
        "changes": [],
        "complete_until": SETTLED,
        "has_more": False,
        "next": cursor,
    }


def test_pages_give_each_change_once(api: Api) -> None:
    found: list[Json] = []
    address = "/events/changes?limit=1"
    for _ in range(10):
        page = api.client.get(address).json()
        found += page["changes"]
        if not page["has_more"]:
            break
        address = f"/events/changes?limit=1&since={page['next']}"
    assert found == ALL


def test_an_instant_begins_with_its_minute_or_just_after_it_with_the_one_before(api: Api) -> None:
    for text in ("2021-06-01T00:05:59Z", "2021-06-01T02:05:00%2B02:00", "2021-06-01 00:02"):
        assert api.client.get(f"/events/changes?since={text}").json()["changes"] == ALL[2:]
    just_after = api.client.get("/events/changes?since=2021-06-01T00:01:20Z").json()
    assert just_after["changes"] == ALL


def test_what_is_forgotten_is_gone_and_says_from_where_to_go_on(api: Api) -> None:
    assert problem(api.client.get("/events/changes?since=2021-05-31T23:59:59Z")) == {
        "type": "urn:events:problem:gone",
        "title": "Cursor expired",
        "status": 410,
        "detail": "the change log no longer reaches back that far: read again all buckets you "
        "keep, then follow the changes since 2021-06-01T00:00:00Z",
        "errors": [],
    }


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NO_CURSOR = "is no cursor: use `next` of the page before as it was given"


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ("2031-01-01", "lies in the future: give one that has passed"),
        ("2021-13-01", "'2021-13-01' is not a valid date and time: month must be in 1..12"),
        ("10", NO_CURSOR),
        ("", NO_CURSOR),
        ("*", NO_CURSOR),
        (cursor_of("x"), NO_CURSOR),
        (cursor_of(START + "#0"), NO_CURSOR),
        (cursor_of(START + "#10#a"), NO_CURSOR),
        (cursor_of("2021-06-01T00:00:00.000000"), None),
    ],
)
def test_a_since_that_cannot_be_is_refused(api: Api, since: str, reason: str | None) -> None:
    response = api.client.get(f"/events/changes?since={since}")
    if reason is None:
        assert response.status_code == 200
    else:
        assert problem(response) == bad_request(since=reason)


@pytest.mark.parametrize("key", ["x" * 2000, "\U0010ffff" * 256])
def test_a_forged_place_of_which_nothing_is_read_yet_does_no_harm(
    database: Database, key: str
) -> None:
    with serving_fresh_tables(database) as api:
        api.service.ingest([event()])
        end = api.client.get("/events/changes").json()["complete_until"]
        forged = cursor_of(f"{end}#0#{key}")
        response = api.client.get(f"/events/changes?since={forged}")
        # Nothing is settled yet, so nothing is read: it comes back as it was given.
        assert response.status_code == 200
        assert response.json()["next"] == forged
