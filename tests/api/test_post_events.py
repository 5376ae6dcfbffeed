"""POST /events with JSON: receipts, rejections and limits."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from events.api.bodies import Bodies
from events.config import Settings
from tests.support.api import (
    DAY_ONE,
    Api,
    bad_request,
    document,
    errors_of,
    problem,
    receipts,
    serving,
)
from tests.support.factories import event, expected_contents, many_events
from tests.support.sqlstore import MemoryStore

# --- good events ----------------------------------------------------------------------------------


def test_events_are_stored_and_counted(api: Api, memory: MemoryStore) -> None:
    events = many_events(30, customers=2, hours=48, event_types=3)
    response = api.send(*events)
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
    assert memory.contents() == expected_contents(events)


def test_every_2xx_is_visible_to_the_next_read(api: Api) -> None:
    for number in range(1, 31):
        assert api.send(event(f"t-{number}")).json()["inserted"] == 1
        assert api.buckets(DAY_ONE).json()["total"] == number
        part = api.buckets("start=2021-03-01T00:00:00Z&end=2021-03-01T00:30:00Z").json()
        assert part["total"] == number


def test_a_repeated_event_is_a_duplicate(api: Api, memory: MemoryStore) -> None:
    a, b = event("a"), event("b")
    assert api.send(a, b, a).json()["results"] == receipts("inserted", "inserted", "duplicate")
    assert api.send(b, a).json() == {
        "inserted": 0,
        "duplicates": 2,
        "voided": 0,
        "rejected": 0,
        "results": receipts("duplicate", "duplicate"),
    }
    assert memory.contents() == expected_contents([a, b])


def test_one_instant_in_three_spellings_is_one_event(api: Api) -> None:
    timestamps = "2021-03-01T01:00:00+01:00", "2021-03-01 00:00:00Z", "2021-02-28T19:00:00-0500"
    response = api.send(*({**document(event()), "timestamp": text} for text in timestamps))
    assert response.json()["results"] == receipts("inserted", "duplicate", "duplicate")


def test_concurrent_requests_for_one_customer_are_exact(api: Api, memory: MemoryStore) -> None:
    events = many_events(200, hours=2)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(api.send, events + events[:50]))
    assert {answer.status_code for answer in answers} == {200}
    statuses = Counter(answer.json()["results"][0]["status"] for answer in answers)
    assert statuses == {"inserted": 200, "duplicate": 50}
    assert memory.contents() == expected_contents(events)


# --- invalid events -------------------------------------------------------------------------------

GOOD = document(event())


@pytest.mark.parametrize(
    ("invalid", "field", "reason"),
    [
        ({}, "customer_id", "is missing"),
        (7, "", "is a number, not an object"),
        (None, "", "is null, not an object"),
        ([], "", "is an array, not an object"),
        ("x", "", "is a string, not an object"),
        (True, "", "is a boolean, not an object"),
        (GOOD | {"extra": 1}, "", "has an unknown field 'extra'"),
        (GOOD | {"customer_id": 7}, "customer_id", "is a number, not a string"),
        (GOOD | {"customer_id": ""}, "customer_id", "is empty"),
        (
            GOOD | {"event_type": "a\nb"},
            "event_type",
            "has the control character U+000A at position 2",
        ),
        (GOOD | {"transaction_id": "\ud800"}, "transaction_id", "is not valid UTF-8"),
        (GOOD | {"transaction_id": " x"}, "transaction_id", "has white space at its start or end"),
        (
            GOOD | {"timestamp": "2021-03-01T00:00:60Z"},
            "timestamp",
            "'2021-03-01T00:00:60Z' is a leap second, which UTC datetimes cannot hold: "
            "send second 59",
        ),
    ],
    ids=ascii,
)
def test_only_the_invalid_event_is_rejected(
    api: Api, memory: MemoryStore, invalid: object, field: str, reason: str
) -> None:
    response = api.send(invalid, invalid)
    place = f".{field}" if field else ""
    assert errors_of(response) == {f"events.0{place}": reason, f"events.1{place}": reason}
    assert memory.contents() == expected_contents([])

    response = api.send(event("a"), invalid, event("b"))
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
                    "error": f"{field}: {reason}" if field else reason,
                },
                {"index": 2, "status": "inserted"},
            ],
        },
    )
    assert memory.contents() == expected_contents([event("a"), event("b")])


@pytest.mark.parametrize("before", ["", '{"customer_id": "other", ', '{"customer_id": "a\\"b", '])
def test_a_repeated_field_is_rejected(api: Api, before: str) -> None:
    good = json.dumps(GOOD)
    twice = good.replace("{", before or '{"event_type": "x", ', 1)
    response = api.post(f'{{"events": [{good}, {twice}]}}'.encode())
    assert response.json()["results"] == [
        {"index": 0, "status": "inserted"},
        {"index": 1, "status": "rejected", "error": "has a field twice"},
    ]


def test_escaped_quotes_and_emoji_are_kept(api: Api, memory: MemoryStore) -> None:
    events = [event('a"b\\'), event("😀"), event("\\ud800")]
    assert api.send(*events).json()["inserted"] == 3
    assert memory.contents() == expected_contents(events)


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b'{"events": [', "body", "is not valid JSON: input data was truncated"),
        (b"\xff", "body", "is not valid JSON: invalid character (byte 0)"),
        (
            b'{"events": ["\\ud8", ""]}',
            "body",
            "is not valid JSON: invalid character in unicode escape (byte 18)",
        ),
        (b'{"events": NaN}', "body", "is not valid JSON: invalid character (byte 11)"),
        (b"[" * 100_000, "body", "is nested too deeply"),
        (b'{"events": ' + b"[" * 100_000, "body", "is nested too deeply"),
        (b'{"events": ' + b"9" * 5_000 + b"}", "events", "is a number, not an array"),
        (b'"x"', "body", "is a string, not an object"),
        (b"{}", "events", "is missing"),
        (b'{"events": {}}', "events", "is an object, not an array"),
        (b'{"events": []}', "events", "is empty"),
        (b'{"events": [1], "events": [2]}', "body", "has a field twice"),
        (b'{"\\ud800": 1, "\\ud800": 2}', "body", "is not valid UTF-8"),
        (b'{"events": [1], "more": 2}', "body", "has an unknown field 'more'"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_an_invalid_body_is_a_400(api: Api, body: bytes, field: str, detail: str) -> None:
    assert problem(api.post(body)) == bad_request(**{field: detail})


# --- content types, sizes, gzip -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=latin-1", 415),
        ("application/jsonx", 415),
        ("multipart/form-data", 415),
    ],
)
def test_content_types(api: Api, content_type: str, status: int) -> None:
    response = api.post({"events": [GOOD]}, Content_Type=content_type)
    assert response.status_code == status
    if status == 415:
        problem(response)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x"])
def test_other_content_encodings_are_a_415(api: Api, encoding: str) -> None:
    assert api.post({"events": []}, Content_Encoding=encoding).status_code == 415


def test_gzip_of_one_or_several_members(api: Api, memory: MemoryStore) -> None:
    text = json.dumps({"events": [GOOD]}).encode()
    for body in (
        gzip.compress(text, mtime=0),
        gzip.compress(text[:9], mtime=0) + gzip.compress(text[9:], mtime=0),
        gzip.compress(b"", mtime=0) * 9 + gzip.compress(text, mtime=0),
    ):
        assert api.post(body, Content_Encoding="gzip").status_code == 200
    assert memory.contents() == expected_contents([event()])


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        gzip.compress(b"{}", mtime=0)[:-1],
        gzip.compress(b"{}", mtime=0) + b"garbage",
        # A body of 4 MB could hold 200,000, which take 20 seconds.
        gzip.compress(b"", mtime=0) * 101,
    ],
    ids=["not gzip", "cut off", "garbage after it", "too many members"],
)
def test_invalid_gzip_is_a_400(api: Api, body: bytes) -> None:
    assert set(errors_of(api.post(body, Content_Encoding="gzip"))) == {"body"}


@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_body_over_the_limit_is_a_413(memory: MemoryStore, is_zipped: bool) -> None:
    text = json.dumps({"events": [GOOD]}).encode()
    with serving(Settings(events_max_body_bytes=1_024), memory) as api:
        for size, status in ((1_024, 200), (1_025, 413), (100_000, 413)):
            body, headers = text.ljust(size), {}
            if is_zipped:
                body, headers = gzip.compress(body), {"Content_Encoding": "gzip"}
            response = api.post(body, **headers)
            assert response.status_code == status, size
    assert "1,024 bytes" in problem(response)["detail"]
    assert memory.contents() == expected_contents([event()])


def test_1_000_events_are_accepted_and_1_001_are_a_413(api: Api, memory: MemoryStore) -> None:
    events = many_events(1_001)
    response = api.send(*events)
    assert response.status_code == 413
    assert "1,000 events" in problem(response)["detail"]
    assert memory.contents() == expected_contents([])
    assert api.send(*events[:1_000]).json()["inserted"] == 1_000


def test_bodies_in_flight_share_a_memory_limit(api: Api, memory: MemoryStore) -> None:
    """Slow clients hold what they sent; once the limit is reached, others get a 503."""
    bodies = api.app.state.bodies = Bodies(1_000_000, max_buffered_bytes=1_048_576)
    text = json.dumps({"events": [GOOD]}).encode().ljust(400_000)
    bodies._buffered_bytes = 900_000  # as a slow client would hold them
    response = api.post(text)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "send the request again" in problem(response)["detail"]
    assert bodies._buffered_bytes == 900_000
    assert memory.contents() == expected_contents([])
    bodies._buffered_bytes = 0
    assert api.post(text).json()["inserted"] == 1
    assert bodies._buffered_bytes == 0
