"""Kafka messages to events and dead letters, and back."""

from __future__ import annotations

import pytest

from events.errors import InvalidEvent
from events.kafka.messages import (
    Headers,
    Letter,
    Message,
    Record,
    dead_letter,
    decode,
    encode,
    read_letter,
    shortened,
)
from tests.support.factories import event

VALUE = (
    b'{"customer_id":"acme","event_type":"api_call","transaction_id":"t-0",'
    b'"timestamp":"2021-03-01T00:00:00.000000Z"}'
)


def message(value: bytes | None, *, key: bytes | None = b"acme", headers: Headers = ()) -> Message:
    return Message("events", 2, 41, 1_614_556_800_000, key, value, headers)


def received(record: Record) -> Message:
    """The record as it is read from its topic."""
    return Message(record.topic, 0, 7, 1_700_000_000_000, record.key, record.value, record.headers)


def why_not(value: bytes | None, *, max_bytes: int = 1_000) -> str:
    with pytest.raises(InvalidEvent) as caught:
        decode(message(value), max_bytes=max_bytes)
    return str(caught.value)


def test_an_event_is_a_json_object_keyed_by_its_customer() -> None:
    assert encode(event(), "events") == Record("events", b"acme", VALUE)


@pytest.mark.parametrize("customer_id", ["acme", "größe", "日本", "a\u2028b", '"\\'])
def test_what_is_encoded_is_decoded_to_the_same_event(customer_id: str) -> None:
    one = event("t-é", customer_id=customer_id)
    assert decode(received(encode(one, "events")), max_bytes=1_000) == one


@pytest.mark.parametrize("key", [None, b"", b"somebody else", b"\xff"])
def test_the_value_counts_whatever_the_key_is(key: bytes | None) -> None:
    assert decode(message(VALUE, key=key), max_bytes=1_000) == event()


def test_a_message_that_holds_no_event_says_why() -> None:
    assert why_not(None).startswith("has no value (a tombstone)")
    assert why_not(b"").startswith("is not valid JSON")
    assert why_not(b"{") == ("is not valid JSON: input data was truncated")
    assert why_not(b'{"customer_id":"\xff"}') == "event_type: is missing"
    assert why_not(b"[]") == "is an array, not an object"
    assert why_not(b"{}") == "customer_id: is missing"
    assert why_not(VALUE[:-1] + b',"x":1}') == "has an unknown field 'x'"
    assert why_not(VALUE, max_bytes=len(VALUE) - 1) == (
        f"has {len(VALUE)} bytes, more than {len(VALUE) - 1}"
    )
    assert decode(message(VALUE), max_bytes=len(VALUE)) == event()


def test_a_dead_letter_is_the_message_as_it_was_with_why_and_where_from() -> None:
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
def test_a_letter_that_is_read_gives_the_message_back(headers: Headers, field: str | None) -> None:
    bad = message(b"{", headers=headers)
    letter = dead_letter(bad, "events.dead-letter", InvalidEvent(field, "is no JSON"))
    assert read_letter(received(letter)) == Letter(
        0, 7, 1_700_000_000_000, "is no JSON", field, bad
    )


def test_a_letter_that_is_too_long_loses_its_value_and_then_all_but_ours() -> None:
    bad = message(b"x" * 100, headers=(("reason", b"mine"), ("trace", None)))
    whole = dead_letter(bad, "events.dead-letter", InvalidEvent(None, "too long"))
    ours = whole.headers[2:]

    no_value = shortened(whole)
    assert no_value == Record(
        whole.topic, b"acme", None, (*whole.headers, ("origin.value.bytes", b"100"))
    )
    bare = shortened(no_value)
    assert bare == Record(
        whole.topic,
        None,
        None,
        (*ours, ("origin.value.bytes", b"100"), ("origin.rest.bytes", b"19")),
    )
    assert shortened(bare) is None
    assert [read_letter(received(each)).is_whole for each in (whole, no_value, bare)] == [
        True,
        False,
        False,
    ]


def test_a_letter_of_a_tombstone_that_is_too_long_is_not_whole() -> None:
    whole = dead_letter(message(None), "events.dead-letter", InvalidEvent(None, "has no value"))
    bare = shortened(whole)
    assert bare == Record(whole.topic, None, None, (*whole.headers, ("origin.rest.bytes", b"4")))
    assert not read_letter(received(bare)).is_whole


def test_what_is_no_letter_of_ours_is_read_as_far_as_it_goes() -> None:
    foreign = Message("events.dead-letter", 0, 7, None, b"k", b"v", (("origin.offset", b"x"),))
    assert read_letter(foreign) == Letter(
        0,
        7,
        None,
        "",
        None,
        Message("", -1, -1, None, b"k", b"v", (("origin.offset", b"x"),)),
    )
