"""CloudEvents 1.0 in JSON and in the headers of Kafka records."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from events.domain.jsonevents import parse_message, parse_record
from events.errors import InvalidEvent
from events.ingest.reading import Rejection
from events.models import Event
from tests.support.csvinput import read

WHOLE = {
    "specversion": "1.0",
    "id": "42",
    "source": "/checkout",
    "type": "page.view",
    "subject": "acme",
    "time": "2021-03-01T10:00:00.5Z",
}
EVENT = Event("acme", "page.view", "/checkout 42", datetime(2021, 3, 1, 10, 0, 0, 500_000, UTC))
HEADERS = [(f"ce_{name}", value.encode()) for name, value in WHOLE.items()]


def refusal(parse: Callable[[], object]) -> tuple[str | None, str]:
    with pytest.raises(InvalidEvent) as refused:
        parse()
    return refused.value.field, refused.value.reason


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"data": {"time": "yesterday", "id": 7, "specversion": "9"}},
        {"data_base64": "AAAA", "datacontenttype": "application/octet-stream"},
        {"traceparent": "00-1-2-01", "partitionkey": "x", "sampledrate": 30},
        {"dataschema": None, "customer_id": "other", "timestamp": 5},
    ],
)
def test_a_cloud_event_is_an_event(others: dict[str, object]) -> None:
    for fields in (WHOLE | others, others | dict(reversed(WHOLE.items()))):
        text = json.dumps(fields).encode()
        assert parse_message(text) == EVENT
        assert parse_message(b"\xef\xbb\xbf" + text) == EVENT
        assert parse_record(text) == parse_record(text, [("ce_id", b"7")]) == EVENT
        assert read(text + b"\n\n" + text) == [(1, EVENT), (3, EVENT)]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"specversion": "0.3"}, "specversion", "is '0.3', not '1.0'"),
        ({"id": None}, "id", "is missing"),
        ({"id": ""}, "id", "is empty"),
        ({"id": 42}, "id", "is a number, not a string"),
        ({"source": None}, "source", "is missing"),
        (
            {"source": "/a b"},
            "source",
            "has white space, which would make transaction ids ambiguous",
        ),
        ({"subject": None}, "subject", "is missing"),
        ({"subject": " acme"}, "subject", "has white space at its start or end"),
        ({"type": ""}, "type", "is empty"),
        (
            {"time": None},
            "time",
            "is missing: a time made on receipt would count a retry twice",
        ),
        ({"time": "2021-03-01T10:00:00"}, "time", "has no offset: add Z or +00:00"),
        ({"subject": "a\u200bb"}, "subject", "has the invisible character U+200B (ZERO WIDTH "),
        ({"id": "4\n2"}, "id", "with its source, '/checkout 4\\n2', has the control character "),
        ({"id": "4 "}, "id", "with its source, '/checkout 4 ', has white space at its start or "),
    ],
)
def test_an_invalid_attribute_is_named(changes: dict[str, object], field: str, reason: str) -> None:
    fields = {name: value for name, value in (WHOLE | changes).items() if value is not None}
    as_json = refusal(lambda: parse_message(json.dumps(fields).encode()))
    null = refusal(lambda: parse_message(json.dumps(WHOLE | changes).encode()))

    assert as_json[0] == null[0] == field
    assert as_json[1].startswith(reason)
    if changes.get("id") != 42:
        headers = [(f"ce_{name}", str(value).encode()) for name, value in fields.items()]
        assert refusal(lambda: parse_record(b"data", headers)) == as_json


def test_an_attribute_that_occurs_twice_is_refused() -> None:
    text = json.dumps(WHOLE).encode()
    repeated = text.replace(b"{", b'{"id": "1", "data": {"id": "2"}, ', 1)

    assert refusal(lambda: parse_message(repeated)) == (None, "has 'id' twice")
    assert refusal(lambda: parse_record(None, [*HEADERS, ("ce_id", b"2")])) == (
        *("id", "has two headers"),
    )
    assert refusal(lambda: parse_record(None, [*HEADERS[1:], ("ce_specversion", b"\xff")])) == (
        *("specversion", "is not valid UTF-8"),
    )


@pytest.mark.parametrize("value", [None, b"", b"data", b"\xff", json.dumps({"id": 7}).encode()])
def test_the_headers_of_a_record_are_an_event_whatever_its_value(value: bytes | None) -> None:
    others = [("ce_traceparent", None), ("content-type", b"application/json"), ("id", b"7")]

    assert parse_record(value, [*others, *HEADERS]) == EVENT


def test_a_record_without_the_version_header_is_its_value() -> None:
    headers = [header for header in HEADERS if header[0] != "ce_specversion"]

    assert parse_record(json.dumps(WHOLE | {"id": "8"}).encode(), headers).transaction_id == (
        "/checkout 8"
    )
    assert refusal(lambda: parse_record(None, headers))[1].startswith("has no value (a tombstone)")


def test_source_and_id_stay_apart_in_the_transaction_id() -> None:
    pairs = [("a", "b c"), ("a", "b"), ("ab", "c"), ("a", "b%20c"), ("a/b", "c"), ("a", "/b c")]
    ids = {
        parse_message(json.dumps(WHOLE | {"source": source, "id": id}).encode()).transaction_id
        for source, id in pairs  # noqa: A001 - the attribute's name
    }
    assert len(ids) == len(pairs)


def test_a_line_of_a_file_that_is_an_invalid_cloud_event_is_rejected() -> None:
    row = json.dumps(WHOLE | {"time": "soon"})
    assert read(f"{json.dumps(WHOLE)}\n{row}".encode())[1] == Rejection(
        2,
        "time: 'soon' is not a date and time; write it like 2021-03-01T00:10:05.657Z",
        row,
    )
