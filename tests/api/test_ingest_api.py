"""Events over HTTP: taken in, corrected, looked up, erased; and every way a body can be wrong."""

from __future__ import annotations

import gzip
import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from events.api.bodies import Bodies
from events.bootstrap import make_client
from events.config import Settings
from events.models import Event
from tests.api.test_api import Api, serving
from tests.support.database import Database
from tests.support.factories import (
    HOUR,
    HOUR_ZERO,
    event,
    expected_contents,
    many_events,
    time_text,
)
from tests.support.fakes import DynamoBackDoor

Json = dict[str, Any]
PROBLEM = "application/problem+json"


@contextmanager
def serving_with(database: Database, **fields: Any) -> Iterator[tuple[Api, DynamoBackDoor]]:
    settings = Settings(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{uuid.uuid4().hex}",
        **fields,
    )
    client = make_client(settings)
    tables = DynamoBackDoor(client, settings.dynamodb_events_table_name)
    with serving(settings) as api:
        api.service.create_tables()
        yield api, tables
    tables.drop_tables()
    client.close()


@pytest.fixture
def served(database: Database) -> Iterator[tuple[Api, DynamoBackDoor]]:
    with serving_with(database) as both:
        yield both


@pytest.fixture
def api(served: tuple[Api, DynamoBackDoor]) -> Api:
    return served[0]


@pytest.fixture
def tables(served: tuple[Api, DynamoBackDoor]) -> DynamoBackDoor:
    return served[1]


def fields(each: Event) -> Json:
    return {
        "customer_id": each.customer_id,
        "event_type": each.event_type,
        "transaction_id": each.transaction_id,
        "timestamp": time_text(each.timestamp),
    }


def post(api: Api, body: object, path: str = "/events", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.client.post(
        path, content=content, headers={"Content-Type": "application/json", **names}
    )


def send(api: Api, *events: Event | object) -> Any:
    documents = [fields(each) if isinstance(each, Event) else each for each in events]
    return post(api, {"events": documents})


def void(api: Api, *events: Event | object, reason: object = "a test") -> Any:
    documents = [fields(each) if isinstance(each, Event) else each for each in events]
    return post(api, {"reason": reason, "events": documents}, "/events/void")


def receipts(*statuses: str) -> list[Json]:
    return [{"index": place, "status": status} for place, status in enumerate(statuses)]


# --- taking in ------------------------------------------------------------------------------------


def test_events_are_stored_counted_and_seen_by_the_next_read(
    api: Api, tables: DynamoBackDoor
) -> None:
    events = many_events(30, customers=2, hours=48, event_types=3)
    response = send(api, *events)
    assert (response.status_code, response.json()) == (
        200,
        {
            "inserted": 30,
            "duplicates": 0,
            "voided": 0,
            "rejected": 0,
            "results": receipts(*["inserted"] * 30),
        },
    )
    assert tables.contents() == expected_contents(events)
    total = api.buckets("start=2021-01-01&end=2022-01-01", customer_id="customer-0").json()["total"]
    assert total == sum(each.customer_id == "customer-0" for each in events)


def test_every_2xx_is_in_the_very_next_answer(api: Api) -> None:
    for number in range(1, 31):
        assert send(api, event(f"t-{number}")).json()["inserted"] == 1
        assert api.buckets("start=2021-03-01&end=2021-03-02").json()["total"] == number
        cut = api.buckets("start=2021-03-01T00:00:00Z&end=2021-03-01T00:30:00Z").json()
        assert cut["total"] == number


def test_an_event_that_comes_again_is_a_duplicate_in_the_same_request_and_any_later_one(
    api: Api, tables: DynamoBackDoor
) -> None:
    a, b = event("a"), event("b")
    response = send(api, a, b, a)
    assert response.status_code == 200
    assert response.json()["results"] == receipts("inserted", "inserted", "duplicate")
    again = send(api, b, a)
    assert again.json() == {
        "inserted": 0,
        "duplicates": 2,
        "voided": 0,
        "rejected": 0,
        "results": receipts("duplicate", "duplicate"),
    }
    assert tables.contents() == expected_contents([a, b])


def test_the_same_instant_in_another_spelling_is_the_same_event(api: Api) -> None:
    spelled = [
        {**fields(event("a")), "timestamp": text}
        for text in (
            "2021-03-01T01:00:00+01:00",
            "2021-03-01 00:00:00Z",
            "2021-02-28T19:00:00-0500",
        )
    ]
    assert [each["status"] for each in send(api, *spelled).json()["results"]] == [
        "inserted",
        "duplicate",
        "duplicate",
    ]


WRONG_EVENTS: list[tuple[object, str, str]] = [
    ({}, "events.1.customer_id", "is missing"),
    (7, "events.1", "is a number, not an object"),
    (None, "events.1", "is null, not an object"),
    ([], "events.1", "is an array, not an object"),
    ("x", "events.1", "is a string, not an object"),
    ({**fields(event()), "extra": 1}, "events.1", "has an unknown field 'extra'"),
    ({**fields(event()), "customer_id": 7}, "events.1.customer_id", "is a number, not a string"),
    ({**fields(event()), "customer_id": ""}, "events.1.customer_id", "is empty"),
    (
        {**fields(event()), "event_type": "a\nb"},
        "events.1.event_type",
        "has the control character U+000A at position 2",
    ),
    (
        {**fields(event()), "transaction_id": "\ud800"},
        "events.1.transaction_id",
        "is not valid UTF-8 at position 1",
    ),
    (
        {**fields(event()), "transaction_id": " x"},
        "events.1.transaction_id",
        "has white space at its start or end",
    ),
]


@pytest.mark.parametrize(("wrong", "field", "reason"), WRONG_EVENTS)
def test_a_wrong_event_is_rejected_with_its_place_and_the_others_are_stored(
    api: Api, tables: DynamoBackDoor, wrong: object, field: str, reason: str
) -> None:
    response = send(api, event("a"), wrong, event("b"))
    name = field.removeprefix("events.1").removeprefix(".")
    assert (response.status_code, response.json()) == (
        207,
        {
            "inserted": 2,
            "duplicates": 0,
            "voided": 0,
            "rejected": 1,
            "results": [
                {"index": 0, "status": "inserted"},
                {
                    "index": 1,
                    "status": "rejected",
                    "error": f"{name}: {reason}" if name else reason,
                },
                {"index": 2, "status": "inserted"},
            ],
        },
    )
    assert tables.contents() == expected_contents([event("a"), event("b")])


@pytest.mark.parametrize(("wrong", "field", "reason"), WRONG_EVENTS)
def test_nothing_acceptable_is_a_400_that_names_each_event(
    api: Api, tables: DynamoBackDoor, wrong: object, field: str, reason: str
) -> None:
    response = send(api, wrong, wrong)
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)
    assert response.json()["errors"] == [
        {"field": field.replace("1", "0", 1), "detail": reason},
        {"field": field, "detail": reason},
    ]
    assert tables.contents() == expected_contents([])


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        ("10", "'10'"),
        ("2021-03-01T00:00:00", "offset"),
        ("2021-03-01T00:00:60Z", "60"),
        ("2021-03-01T00:00:00Z\x00", "2021"),
        ("0001-01-01T00:00:00+01:00", "year"),
    ],
)
def test_a_wrong_timestamp_is_said_in_the_receipt(api: Api, timestamp: str, reason: str) -> None:
    response = send(api, event("a"), {**fields(event()), "timestamp": timestamp})
    assert response.status_code == 207
    error = response.json()["results"][1]["error"]
    assert error.startswith("timestamp: ")
    assert reason in error


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b"", "body", "is no JSON: Expecting value at line 1, column 1"),
        (b'{"events": [', "body", "is no JSON: Expecting value at line 1, column 13"),
        (b"\xff", "body", "is not valid UTF-8 at byte 1"),
        (b"\xef\xbb\xbf{}", "body", "is no JSON: Unexpected UTF-8 BOM"),
        (b'{"events": NaN}', "body", "is no JSON: NaN is no number of JSON"),
        (b"[" * 100_000, "body", "is nested too deeply"),
        (b'{"events": ' + b"9" * 5_000 + b"}", "body", "is no JSON: "),
        (b"[]", "body", "is an array, not an object"),
        (b'"x"', "body", "is a string, not an object"),
        (b"{}", "events", "is missing"),
        (b'{"events": {}}', "events", "is not an array"),
        (b'{"events": []}', "events", "is empty"),
        (b'{"events": [1], "events": [2]}', "events", "is given twice"),
        (b'{"\\ud800": 1, "\\ud800": 2}', r"\ud800", "is given twice"),
        (b'{"events": [1], "more": 2}', "body", "has an unknown field 'more'"),
    ],
)
def test_a_wrong_body_is_a_400_that_says_where(
    api: Api, body: bytes, field: str, detail: str
) -> None:
    response = post(api, body)
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert error["detail"].startswith(detail)


def test_a_field_that_is_there_twice_in_an_event_is_rejected(api: Api) -> None:
    whole = json.dumps(fields(event("a")))
    twice = whole.replace('{"customer_id"', '{"customer_id": "other", "customer_id"')
    response = post(api, f'{{"events": [{whole}, {twice}]}}'.encode())
    assert response.json()["results"] == [
        {"index": 0, "status": "inserted"},
        {"index": 1, "status": "rejected", "error": "customer_id: is given twice"},
    ]


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
     "application/jsonx", "multipart/form-data"],
)  # fmt: skip
def test_other_content_is_a_415(api: Api, kind: str) -> None:
    response = post(api, {"events": [fields(event())]}, Content_Type=kind)
    assert (response.status_code, response.headers["content-type"]) == (415, PROBLEM)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'],
)
def test_json_is_taken_however_it_is_named(api: Api, kind: str) -> None:
    assert post(api, {"events": [fields(event())]}, Content_Type=kind).status_code == 200


# --- sizes, gzip ----------------------------------------------------------------------------------


def test_a_gzip_body_is_taken_also_of_several_members(api: Api, tables: DynamoBackDoor) -> None:
    text = json.dumps({"events": [fields(event("a"))]}).encode()
    for body in (
        gzip.compress(text),
        gzip.compress(text[:9]) + gzip.compress(text[9:]),
        gzip.compress(b"") * 99 + gzip.compress(text),
    ):
        assert post(api, body, Content_Encoding="gzip").status_code == 200
    assert tables.contents() == expected_contents([event("a")])


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "is no gzip, as Content-Encoding says it is"),
        (gzip.compress(b"{}", mtime=0)[:-1], "is gzip that was cut off"),
        (gzip.compress(b"{}", mtime=0) + b"garbage", "is no gzip, as Content-Encoding says it is"),
        # 4 MB of them would take 20 seconds.
        (gzip.compress(b"", mtime=0) * 101, "is gzip of more than 100 members"),
    ],
)
def test_a_body_that_is_not_the_gzip_it_says_is_a_400(api: Api, body: bytes, detail: str) -> None:
    response = post(api, body, Content_Encoding="gzip")
    assert (response.status_code, response.json()["errors"]) == (
        400,
        [{"field": "body", "detail": detail}],
    )


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x"])
def test_another_content_encoding_is_a_415(api: Api, encoding: str) -> None:
    assert post(api, {"events": []}, Content_Encoding=encoding).status_code == 415


@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_body_over_the_limit_is_a_413_also_after_unzipping(
    database: Database, is_zipped: bool
) -> None:
    with serving_with(database, events_max_body_bytes=1_024) as (api, tables):
        text = json.dumps({"events": [fields(event("a"))]}).encode()
        for size, status in ((1_024, 200), (1_025, 413), (100_000, 413)):
            body = text.ljust(size)
            response = (
                post(api, gzip.compress(body), Content_Encoding="gzip")
                if is_zipped
                else post(api, body)
            )
            assert response.status_code == status, size
        assert response.headers["content-type"] == PROBLEM
        assert "1,024 bytes" in response.json()["detail"]
        assert tables.contents() == expected_contents([event("a")])


def test_as_many_events_as_the_limit_are_taken_and_one_more_is_a_413(
    database: Database,
) -> None:
    with serving_with(database) as (api, tables):
        events = many_events(1_001)
        response = send(api, *events)
        assert response.status_code == 413
        assert "1,000 events" in response.json()["detail"]
        assert tables.contents() == expected_contents([])
        assert send(api, *events[:1_000]).json()["inserted"] == 1_000


def test_bodies_that_come_together_share_their_memory(database: Database) -> None:
    """A client that sends slowly holds what it sent; when all is held, others wait their turn."""
    with serving_with(
        database,
        events_max_body_bytes=1_000_000,
    ) as (api, tables):
        api.app.state.bodies = Bodies(1_000_000, max_buffered_bytes=1_048_576)
        begun, go_on = threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield b" " * 900_000
            begun.set()
            assert go_on.wait(20)
            yield json.dumps({"events": [fields(event("slow"))]}).encode()

        bodies = api.app.state.bodies
        text = json.dumps({"events": [fields(event("other"))]}).encode()
        assert post(api, text.ljust(400_000)).status_code == 200
        assert bodies._bytes_held == 0
        bodies._bytes_held = 900_000  # as a slow client would hold it
        response = post(api, text.ljust(400_000))
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "send it again" in response.json()["detail"]
        assert bodies._bytes_held == 900_000
        bodies._bytes_held = 0
        assert post(api, text.ljust(400_000)).json()["duplicates"] == 1
        assert tables.contents() == expected_contents([event("other")])


# --- many at once ---------------------------------------------------------------------------------


def test_small_requests_for_one_customer_at_once_are_exact_and_share_transactions(
    api: Api, tables: DynamoBackDoor
) -> None:
    events = many_events(400, hours=2)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(partial(send, api), events + events[:100]))
    assert {each.status_code for each in answers} == {200}
    statuses = Counter(each.json()["results"][0]["status"] for each in answers)
    assert statuses == {"inserted": 400, "duplicate": 100}
    assert tables.contents() == expected_contents(events)


# --- corrections ----------------------------------------------------------------------------------


def test_voided_events_leave_the_counts_and_a_late_retry_does_not_bring_them_back(
    api: Api, tables: DynamoBackDoor
) -> None:
    events = [event(f"t-{number}", timestamp=HOUR_ZERO + number * HOUR) for number in range(5)]
    send(api, *events)
    response = void(api, events[1], events[3], events[1], event("never"), reason="wrong tariff")
    assert (response.status_code, response.json()) == (
        200,
        {
            "voided": 2,
            "already_voided": 1,
            "not_found": 1,
            "rejected": 0,
            "results": receipts("voided", "voided", "already_voided", "not_found"),
        },
    )
    assert api.buckets("start=2021-03-01&end=2021-03-02").json()["total"] == 3
    again = send(api, *events)
    assert again.json()["voided"] == 2
    assert again.json()["results"] == receipts(
        "duplicate", "voided", "duplicate", "voided", "duplicate"
    )
    assert tables.contents() == expected_contents(
        events, voided=[events[1], events[3]], reason="wrong tariff"
    )
    assert api.service.verify().is_equal


def test_a_correction_with_wrong_events_voids_the_others(api: Api) -> None:
    send(api, event("a"))
    response = void(api, {"customer_id": "acme"}, event("a"))
    assert response.status_code == 207
    assert response.json()["results"] == [
        {"index": 0, "status": "rejected", "error": "event_type: is missing"},
        {"index": 1, "status": "voided"},
    ]
    assert void(api, 1).status_code == 400


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        ("", "is empty"),
        (7, "is a number, not a string"),
        (None, "is null, not a string"),
        ("a\nb", "has the control character U+000A at position 2"),
        ("x" * 501, "has 501 characters, more than 500"),
    ],
)
def test_a_wrong_reason_is_a_400(api: Api, reason: object, detail: str) -> None:
    response = void(api, event("a"), reason=reason)
    assert (response.status_code, response.json()["errors"]) == (
        400,
        [{"field": "reason", "detail": detail}],
    )


# --- looking up -----------------------------------------------------------------------------------


def look(api: Api, query: str = "", customer_id: str = "acme") -> Any:
    return api.get(f"/events/customers/{quote(customer_id, safe='')}/events?{query}")


def transactions(response: Any) -> list[str]:
    return [each["transaction_id"] for each in response.json()["events"]]


def test_an_event_is_given_as_it_was_sent_and_with_what_is_known_of_it(api: Api) -> None:
    send(api, event("a", event_type="a-b/c"))
    void(api, event("a", event_type="a-b/c"), reason="why")
    (found,) = look(api).json()["events"]
    assert {name: found[name] for name in fields(event())} == fields(event("a", event_type="a-b/c"))
    assert (found["void_reason"], len(found["voided_at"]), len(found["ingested_at"])) == (
        "why",
        27,
        27,
    )


def test_pages_go_on_in_either_order_and_within_filters(api: Api) -> None:
    events = [
        event(f"t-{number}", event_type=f"k{number % 2}", timestamp=HOUR_ZERO + number * HOUR)
        for number in range(9)
    ]
    send(api, *events)
    for query, expected in (
        ("", range(9)),
        ("order=newest", range(8, -1, -1)),
        ("event_type=k1", (1, 3, 5, 7)),
        ("start=2021-03-01T02:00Z&end=2021-03-01T05:00Z&order=newest", (4, 3, 2)),
        ("transaction_id=t-4", (4,)),
    ):
        found: list[str] = []
        cursor = ""
        while cursor is not None:
            page = look(api, f"{query}&limit=2" + (f"&cursor={cursor}" if cursor else ""))
            assert page.status_code == 200, page.json()
            found += transactions(page)
            cursor = page.json()["next"]
        assert found == [f"t-{number}" for number in expected], query


def test_a_cursor_reaches_no_other_customer_and_no_other_window(api: Api) -> None:
    send(api, *(event(f"t-{n}", customer_id=name) for n in range(3) for name in ("acme", "other")))
    cursor = look(api, "limit=1").json()["next"]
    assert transactions(look(api, f"cursor={cursor}", "other")) == ["t-1", "t-2"]
    assert {
        each["customer_id"] for each in look(api, f"cursor={cursor}", "other").json()["events"]
    } == {"other"}
    for query in (
        f"cursor={cursor}&start=2021-04-01",
        f"cursor={cursor}&end=2021-02-01",
        "cursor=AA",
        "cursor=%2B%2B",
        "cursor=eA",
        "cursor=" + "eHh4" * 800,
    ):
        response = look(api, query)
        assert response.status_code == 400, query
        assert response.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("order=sideways", "order"),
        ("start=10", "start"), ("start=2021-03-02&end=2021-03-01", "start"), ("x=1", "x"),
        ("event_type=", "event_type"), ("transaction_id=", "transaction_id"),
        ("limit=1&limit=2", "limit"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_a_400_that_names_the_parameter(
    api: Api, query: str, field: str
) -> None:
    response = look(api, query)
    assert response.status_code == 400
    assert [each["field"] for each in response.json()["errors"]] == [field]


# --- erasing --------------------------------------------------------------------------------------


def test_a_customer_is_erased_step_by_step_and_the_others_stay(
    api: Api, tables: DynamoBackDoor
) -> None:
    events = many_events(300, customers=2)
    send(api, *events)
    first = api.client.delete("/events/customers/customer-0/events")
    mine = sum(each.customer_id == "customer-0" for each in events)
    # Every process may remember for a while that the customer is listed.
    assert (first.status_code, first.json()["events"], first.json()["is_complete"]) == (
        200,
        mine,
        False,
    )
    assert 30 < first.json()["wait_seconds"] <= 40
    contents = tables.contents()
    others = [each for each in events if each.customer_id == "customer-1"]
    assert (contents.events, contents.counters) == (
        expected_contents(others).events,
        expected_contents(others).counters,
    )
    unknown = api.client.delete("/events/customers/nobody/events")
    assert unknown.json() == {"events": 0, "is_complete": True, "wait_seconds": 0.0}
