"""Events and dead letters as Kafka messages."""

from __future__ import annotations

import json

import pytest

from events.errors import InvalidEvent
from events.kafka.messages import (
    DeadLetter,
    Headers,
    Message,
    Record,
    dead_letter,
    decode,
    encode,
    parse_dead_letter,
    shorten,
)
from tests.support.factories import event

VALUE = (
    b'{"customer_id":"acme","event_type":"api_call","transaction_id":"t-0",'
    b'"timestamp":"2021-03-01T00:00:00.000000Z"}'
)


def message(value: bytes | None, *, key: bytes | None = b"acme", headers: Headers = ()) -> Message:
    return Message("events", 2, 41, 1_614_556_800_000, key, value, headers)


def received(record: Record) -> Message:
    """The record as a reader of its topic gets it."""
    return Message(record.topic, 0, 7, 1_700_000_000_000, record.key, record.value, record.headers)


def reason_of(value: bytes | None, *, max_bytes: int = 1_000) -> str:
    with pytest.raises(InvalidEvent) as caught:
        decode(message(value), max_bytes=max_bytes)
    return str(caught.value)


def test_an_event_is_a_json_object_keyed_by_its_customer() -> None:
    assert encode(event(), "events") == Record("events", b"acme", VALUE)


@pytest.mark.parametrize("customer_id", ["acme", "größe", "日本", "a\u2028b", '"\\'])
def test_decoding_an_encoded_event_gives_it_back(customer_id: str) -> None:
    original = event("t-é", customer_id=customer_id)
    assert decode(received(encode(original, "events")), max_bytes=1_000) == original


@pytest.mark.parametrize("key", [None, b"", b"somebody else", b"\xff"])
def test_the_key_of_a_message_does_not_matter(key: bytes | None) -> None:
    assert decode(message(VALUE, key=key), max_bytes=1_000) == event()


def test_an_invalid_message_has_a_reason() -> None:
    assert reason_of(None).startswith("has no value (a tombstone)")
    assert reason_of(b"{") == "is not valid JSON: input data was truncated"
    assert reason_of(VALUE.replace(b"acme", b"\xff")).startswith("customer_id: is not valid UTF-8")
    assert reason_of(b"[]") == "is an array, not an object"
    assert reason_of(b"{}") == "customer_id: is missing"
    assert reason_of(VALUE[:-1] + b',"x":1}') == "has an unknown field 'x'"
    assert reason_of(VALUE, max_bytes=len(VALUE) - 1) == (
        f"has {len(VALUE)} bytes, more than {len(VALUE) - 1}"
    )
    assert decode(message(VALUE), max_bytes=len(VALUE)) == event()


def test_a_dead_letter_is_the_message_with_reason_and_origin() -> None:
    headers: Headers = (("trace", b"1"), ("empty", None))
    bad = message(b"\xff\x00", key=None, headers=headers)
    reason = "is é or \ud800"
    assert dead_letter(bad, "events.dead-letter", InvalidEvent("timestamp", reason)) == Record(
        "events.dead-letter",
        None,
        b"\xff\x00",
        (
            *headers,
            ("reason", b"is \xc3\xa9 or \\ud800"),
            ("field", b"timestamp"),
            ("origin.topic", b"events"),
            ("origin.partition", b"2"),
            ("origin.offset", b"41"),
            ("origin.timestamp", b"1614556800000"),
        ),
    )


@pytest.mark.parametrize(
    "headers", [(), (("trace", b"1"), ("trace", None)), (("reason", b"mine"), ("field", b"x"))]
)
@pytest.mark.parametrize("field", [None, "timestamp"])
def test_parsing_a_dead_letter_gives_the_message_back(headers: Headers, field: str | None) -> None:
    bad = message(b"{", headers=headers)
    letter = dead_letter(bad, "events.dead-letter", InvalidEvent(field, "is not JSON"))
    assert parse_dead_letter(received(letter)) == DeadLetter(
        0, 7, 1_700_000_000_000, "is not JSON", field, bad
    )


def test_a_dead_letter_that_is_too_long_loses_its_value_then_the_rest() -> None:
    bad = message(b"x" * 100, headers=(("reason", b"mine"), ("trace", None)))
    whole = dead_letter(bad, "events.dead-letter", InvalidEvent(None, "too long"))
    ours = whole.headers[2:]

    no_value = shorten(whole)
    assert no_value == Record(
        whole.topic, b"acme", None, (*whole.headers, ("origin.value.bytes", b"100"))
    )
    bare = shorten(no_value)
    assert bare == Record(
        whole.topic,
        None,
        None,
        (*ours, ("origin.value.bytes", b"100"), ("origin.rest.bytes", b"19")),
    )
    assert shorten(bare) is None
    assert [parse_dead_letter(received(letter)).is_whole for letter in (whole, no_value, bare)] == [
        True,
        False,
        False,
    ]


def test_a_shortened_dead_letter_of_a_tombstone_is_not_whole() -> None:
    whole = dead_letter(message(None), "events.dead-letter", InvalidEvent(None, "has no value"))
    bare = shorten(whole)
    assert bare == Record(whole.topic, None, None, (*whole.headers, ("origin.rest.bytes", b"4")))
    assert not parse_dead_letter(received(bare)).is_whole


def test_a_dead_letter_of_another_program_is_parsed_as_far_as_possible() -> None:
    foreign = Message("events.dead-letter", 0, 7, None, b"k", b"v", (("origin.offset", b"x"),))
    assert parse_dead_letter(foreign) == DeadLetter(
        0,
        7,
        None,
        "",
        None,
        Message("", -1, -1, None, b"k", b"v", (("origin.offset", b"x"),)),
    )


def test_a_cloud_event_is_read_from_value_or_headers() -> None:
    attributes = {
        "specversion": "1.0",
        "id": "t-0",
        "source": "a",
        "type": "api_call",
        "subject": "acme",
        "time": "2021-03-01T00:00:00Z",
    }
    value = json.dumps(attributes).encode()
    headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())

    for structured in (message(value), message(b"\xef\xbb\xbf" + value)):
        assert decode(structured, max_bytes=1_000) == event("a t-0")
    for data in (None, b"\xff", VALUE):
        assert decode(message(data, headers=headers), max_bytes=1_000) == event("a t-0")
    assert decode(message(VALUE, headers=headers[1:]), max_bytes=1_000) == event()
