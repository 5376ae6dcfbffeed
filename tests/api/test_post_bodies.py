"""POST /events: bodies as clients send them by mistake. Each is refused with what to do."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from tests.support.api import Api, errors_of
from tests.support.factories import event, expected_contents
from tests.support.sqlstore import MemoryStore

T0 = "2021-03-01T00:00:00Z"
ONE = {"customer_id": "acme", "event_type": "api_call", "transaction_id": "t-0", "timestamp": T0}
TEXT = json.dumps(ONE).encode()
LINES = TEXT + b"\n" + TEXT.replace(b"t-0", b"t-1") + b"\n"
CSV = f"customer_id,event_type,transaction_id,timestamp\nacme,api_call,t-0,{T0}\n".encode()
CLOUD = {"specversion": "1.0", "id": "0", "source": "s", "type": "t", "subject": "c", "time": T0}


def one(**changes: object) -> bytes:
    return json.dumps(ONE | changes).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(TEXT, mtime=0), "is gzip: send the header Content-Encoding: gzip"),
        (LINES, "is JSON Lines: send the header Content-Type: application/x-ndjson"),
        (LINES.replace(b"\n", b"\r\n"), "is JSON Lines: send the header Content-Type: "),
        (TEXT.decode().encode("utf-16"), "is UTF-16: send UTF-8"),
        (TEXT.decode().encode("utf-16-le"), "is UTF-16: send UTF-8"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (CSV, "is not valid JSON: invalid character (byte 0)"),
        (b"customer_id=acme", "is not valid JSON: invalid character (byte 0)"),
        (b"// one event\n" + TEXT, "is not valid JSON: invalid character (byte 0)"),
        (TEXT.replace(b'"', b"'"), "is not valid JSON: object keys must be strings"),
        (TEXT[:-1] + b',"x":NaN}', "is not valid JSON: invalid character"),
        (TEXT[:-1], "is not valid JSON: input data was truncated"),
        (TEXT + b"x", "is not valid JSON: trailing characters"),
        (TEXT + b"\0", "is not valid JSON: trailing characters"),
        (TEXT + TEXT, "is not valid JSON: trailing characters"),
        (b'{"events":[%s,]}' % TEXT, "is not valid JSON: trailing comma in array"),
        (TEXT.replace(b"acme", b"ac\tme"), "is not valid JSON: invalid character (byte 19)"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"null", "is null, not an object"),
        (b'"events"', "is a string, not an object"),
        (b'{"events":[%s],"events":[]}' % TEXT, "has a field twice"),
        (b'{"events":[%s],"batch":1}' % TEXT, "has an unknown field 'batch'"),
    ],
)
def test_a_body_that_is_not_events_in_json_is_refused(
    api: Api, memory: MemoryStore, body: bytes, reason: str
) -> None:
    response = api.post(body)

    assert response.status_code == 400
    assert list(errors_of(response)) == ["body"]
    assert errors_of(response)["body"].startswith(reason)
    assert memory.contents() == expected_contents([])


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (b'{"events":null}', "events", "is null, not an array"),
        (b'{"events":{}}', "events", "is an object, not an array"),
        (b'{"Events":[]}', "events", "is missing"),
        (b'{"events":[[%s]]}' % TEXT, "events.0", "is an array, not an object"),
        (one(customer_id=7), "events.0.customer_id", "is a number, not a string"),
        (one(customer_id=True), "events.0.customer_id", "is a boolean, not a string"),
        (one(transaction_id=None), "events.0.transaction_id", "is null, not a string"),
        (one(timestamp=1614556800), "events.0.timestamp", "is a number, not a string"),
        (one(timestamp="2021-03-01"), "events.0.timestamp", "'2021-03-01' has no time of day; "),
        (one(timestamp="2021-03-01T00:00:00"), "events.0.timestamp", "has no offset: add Z or "),
        (one(value=1), "events.0", "has an unknown field 'value'"),
        (TEXT[:-1] + b',"customer_id":"b"}', "events.0", "has a field twice"),
        (TEXT[:-1] + b',"customer\\u005fid":"b"}', "events.0", "has a field twice"),
        (one(customer_id="a\0b"), "events.0.customer_id", "has the control character U+0000 at "),
        (one(customer_id="\ud83d"), "events.0.customer_id", "is not valid UTF-8"),
        (TEXT.replace(b"acme", b"gr\xf6"), "events.0.customer_id", "is not valid UTF-8"),
        (TEXT.replace(b"acme", b"\xc0\xaf"), "events.0.customer_id", "is not valid UTF-8"),
        (json.dumps(CLOUD | {"id": 7}).encode(), "events.0.id", "is a number, not a string"),
        (json.dumps(CLOUD | {"specversion": 1.0}).encode(), "events.0.specversion", "is a number"),
        (one(**CLOUD), "events.0", "has the fields of an event and of a CloudEvent: send "),
    ],
)
def test_an_invalid_event_is_refused_by_field(
    api: Api, memory: MemoryStore, body: bytes, field: str, reason: str
) -> None:
    response = api.post(body)

    assert response.status_code == 400
    assert list(errors_of(response)) == [field]
    assert errors_of(response)[field].startswith(reason)
    assert memory.contents() == expected_contents([])


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (
            gzip.compress(LINES, mtime=0),
            {"body": "is gzip: send the header Content-Encoding: gzip"},
        ),
        (LINES.decode().encode("utf-16"), {"body": "is UTF-16: send UTF-8"}),
        (b"[" + TEXT + b"]", {"line 1": "is an array, not an object"}),
        (LINES.replace(b"\n", b"\r"), {"line 1": "is not valid JSON: trailing characters"}),
        (TEXT + TEXT, {"line 1": "is not valid JSON: trailing characters"}),
        (b"\x1e" + TEXT, {"line 1": "is not valid JSON: invalid character (byte 0)"}),
        (TEXT + b",\n{}", {"line 1": "is not valid JSON: trailing", "line 2": "customer_id: is "}),
    ],
)
def test_lines_that_are_not_events_are_refused(
    api: Api, memory: MemoryStore, body: bytes, reasons: dict[str, str]
) -> None:
    response = api.post(body, Content_Type="application/x-ndjson")

    assert response.status_code == 400
    errors = errors_of(response)
    assert {place: errors[place][: len(start)] for place, start in reasons.items()} == reasons
    assert len(errors) == len(reasons)
    assert memory.contents() == expected_contents([])


@pytest.mark.parametrize(
    ("body", "headers", "status", "detail"),
    [
        (TEXT, {"Content_Type": "text/plain"}, 415, "send the header Content-Type: application/"),
        (TEXT, {"Content_Type": "application/json; charset=utf-16"}, 415, "send the body in UTF-8"),
        (zlib.compress(TEXT), {"Content_Encoding": "deflate"}, 415, "the only Content-Encoding "),
        (TEXT, {"Content_Encoding": "gzip, gzip"}, 415, "the only Content-Encoding supported is "),
        (TEXT, {"Content_Encoding": "gzip"}, 400, "body: is not gzip, but Content-Encoding is gz"),
        (
            gzip.compress(TEXT, mtime=0)[:-9],
            {"Content_Encoding": "gzip"},
            400,
            "body: gzip data is cut off",
        ),
        (
            gzip.compress(TEXT, mtime=0) + b"\0",
            {"Content_Encoding": "gzip"},
            400,
            "body: gzip data is cut off",
        ),
    ],
)
def test_headers_that_contradict_the_body_are_refused(
    api: Api, memory: MemoryStore, body: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    response = api.post(body, **headers)

    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)
    assert memory.contents() == expected_contents([])


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.replace(b"customer_id", b"customer\\u005fid"), "application/json"),
        (TEXT, 'Application/JSON; charset="UTF-8"'),
        (TEXT, "application/json; charset=us-ascii"),
        (TEXT + b"\r\n\r\n", "application/x-ndjson"),
        (CSV.decode().encode("utf-16"), "text/csv"),
        (CSV.decode().encode("utf-16-le"), "text/csv"),
        (CSV, "text/csv; header=present"),
        (CSV.replace(b",", b";"), "text/csv"),
    ],
)
def test_unusual_bodies_that_have_one_meaning_are_read(
    api: Api, memory: MemoryStore, body: bytes, content_type: str
) -> None:
    assert api.post(body, Content_Type=content_type).json()["inserted"] == 1
    assert memory.contents() == expected_contents([event()])
