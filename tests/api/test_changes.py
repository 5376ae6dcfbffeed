"""What changed, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from events.config import Settings
from events.dao import DynamoStore
from tests.support.api import INVALID_CURSOR, Api, Json, bad_request, cursor_of, problem, serving
from tests.support.factories import DAY, HOUR_ZERO, event, time_text
from tests.support.sqlstore import FIRST_INGESTED_AT, MemoryStore

START = "2021-06-01T00:00:00.000000Z"
#: Just after the last change.
SETTLED = "2021-06-01T00:05:00.000001Z"


def changed(customer_id: str, day: str, minute: str) -> Json:
    return {"customer_id": customer_id, "day": day, "changed_in": f"2021-06-01T00:{minute}Z"}


@pytest.fixture
def api() -> Iterator[Api]:
    """An API on a store in memory whose clock the fixture moves."""
    clock = [FIRST_INGESTED_AT]
    with serving(Settings(), MemoryStore(now=lambda: clock[0])) as api:
        clock[0] += timedelta(seconds=1)
        api.service.ingest([event()])
        api.service.ingest([event("t-1", customer_id="globex", timestamp=HOUR_ZERO + DAY)])
        clock[0] = FIRST_INGESTED_AT + timedelta(minutes=5)
        api.service.ingest([event("t-2", timestamp=HOUR_ZERO + DAY)])
        yield api


ALL = [
    changed("acme", "2021-03-01", "00:00.000000"),
    changed("globex", "2021-03-02", "00:00.000000"),
    changed("acme", "2021-03-02", "05:00.000000"),
]


def test_changed_days_come_in_order(api: Api) -> None:
    answer = api.get("/events/changes").json()
    cursor = answer.pop("next")
    assert answer == {"changes": ALL, "complete_until": SETTLED, "has_more": False}
    assert api.get(f"/events/changes?since={cursor}").json() == {
        "changes": [],
        "complete_until": SETTLED,
        "has_more": False,
        "next": cursor,
    }


def test_pages_give_each_change_once(api: Api) -> None:
    changes: list[Json] = []
    address = "/events/changes?limit=1"
    for _ in range(10):
        page = api.get(address).json()
        changes += page["changes"]
        if not page["has_more"]:
            break
        address = f"/events/changes?limit=1&since={page['next']}"
    assert changes == ALL


def test_since_an_instant(api: Api) -> None:
    for text in ("2021-06-01T00:05:59Z", "2021-06-01T02:05:00%2B02:00", "2021-06-01 00:03"):
        assert api.get(f"/events/changes?since={text}").json()["changes"] == ALL[2:]
    just_after = api.get("/events/changes?since=2021-06-01T00:01:20Z").json()
    assert just_after["changes"] == ALL


def test_since_before_the_log_begins_is_a_410(api: Api) -> None:
    assert problem(api.get("/events/changes?since=2021-05-31T23:59:59Z")) == {
        "type": "urn:events:problem:gone",
        "title": "Cursor expired",
        "status": 410,
        "detail": "the change log no longer reaches back that far: read again all buckets you "
        "keep, then follow the changes since 2021-06-01T00:00:00Z",
        "errors": [],
    }


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ("2031-01-01", "must not be in the future"),
        ("2021-13-01", "'2021-13-01' is not a valid date and time: month must be in 1..12"),
        ("10", INVALID_CURSOR),
        ("", INVALID_CURSOR),
        ("*", INVALID_CURSOR),
        (cursor_of("x"), INVALID_CURSOR),
        (cursor_of(START + "#0"), INVALID_CURSOR),
        (cursor_of(START + "#10#a"), INVALID_CURSOR),
        (cursor_of("2021-06-01T00:00:00.000000"), None),
    ],
)
def test_an_invalid_since_is_a_400(api: Api, since: str, reason: str | None) -> None:
    response = api.get(f"/events/changes?since={since}")
    if reason is None:
        assert response.status_code == 200
    else:
        assert problem(response) == bad_request(since=reason)


@pytest.mark.parametrize("key", ["x" * 2000, "\U0010ffff" * 256])
def test_a_forged_cursor_does_no_harm(settings: Settings, store: DynamoStore, key: str) -> None:
    assert store
    with serving(settings) as api:
        api.service.ingest([event()])
        end = datetime.fromisoformat(api.get("/events/changes").json()["complete_until"])
        # This minute is not settled for a minute at least, so nothing is read and the cursor comes
        # back unchanged.
        forged = cursor_of(f"{time_text(end + timedelta(minutes=1))}#0#{key}")
        response = api.get(f"/events/changes?since={forged}")
        assert response.status_code == 200
        assert response.json()["next"] == forged
