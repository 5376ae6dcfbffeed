"""Parse events from JSON objects."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from events.domain.cloudevents import ATTRIBUTES, SPEC_VERSION, attributes_in, event_of
from events.domain.parsing import COLUMNS, parse_event
from events.errors import InvalidEvent
from events.models import Event

T = TypeVar("T")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    customer_id: str
    event_type: str
    transaction_id: str
    timestamp: str


_event_decoder = msgspec.json.Decoder(_Fields)
#: Types of JSON values by their first character; any other character starts a number.
_JSON_TYPES = {"{": "an object", "[": "an array", '"': "a string", "n": "null"}
_JSON_TYPES |= dict.fromkeys("tf", "a boolean")
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
#: An escape sequence; group 1 is empty for half of a surrogate pair.
_ESCAPE = re.compile(
    rb"(\\u[dD][89abAB]HH\\u[dD][c-fC-F]HH|\\u(?![dD][89a-fA-F])|\\[^u])"
    rb"|\\u[dD][89a-fA-F]HH".replace(b"H", b"[0-9a-fA-F]")
)
_NOT_UTF8 = b"\xed\xa0\x80"  # half of a surrogate pair, encoded as if it were a character


def parse_message(text: bytes, *, is_stored: bool = False) -> Event:
    """
    Parse an event from a JSON object in UTF-8: our four fields, or a CloudEvent.

    `is_stored` is as for `parse_event`. Raises `InvalidEvent`.
    """
    try:
        fields = _event_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if text.startswith(BYTE_ORDER_MARK):
            return parse_message(text.removeprefix(BYTE_ORDER_MARK), is_stored=is_stored)
        if _is_cloud_event(text):
            return parse_cloud_event(text, is_stored=is_stored)
        customer_id, event_type, transaction_id, timestamp = _texts(text)  # names the invalid field
        return parse_event(customer_id, event_type, transaction_id, timestamp, is_stored=is_stored)
    if text.count(b'"') != 16:  # four names, four values, and escaped quotes or a repeated field
        _texts(text)
    return parse_event(
        fields.customer_id,
        fields.event_type,
        fields.transaction_id,
        fields.timestamp,
        is_stored=is_stored,
    )


def parse_record(value: bytes | None, headers: Iterable[tuple[str, bytes | None]] = ()) -> Event:
    """
    Parse an event from a Kafka record: a CloudEvent in its headers, or JSON in its value.

    Raises `InvalidEvent`.
    """
    attributes = attributes_in(headers)
    if attributes is not None:
        return event_of(attributes)
    if value is None:
        raise InvalidEvent(None, "has no value (a tombstone): void events to correct them")
    return parse_message(value)


def _is_cloud_event(text: bytes) -> bool:
    if SPEC_VERSION.encode() not in text:
        return False
    try:
        return SPEC_VERSION in decode_object(text)
    except InvalidEvent:
        return False


def parse_cloud_event(text: bytes, *, is_stored: bool = False) -> Event:
    """Parse a CloudEvent in JSON; raises `InvalidEvent`."""
    values = {name: bytes(value) for name, value in decode_object(text).items()}
    check_repeated(text, values, ATTRIBUTES)
    if values.keys() >= {SPEC_VERSION, *COLUMNS}:
        raise InvalidEvent(None, "has the fields of an event and of a CloudEvent: send one of them")
    attributes = {
        name: string_of(name, values[name])
        for name in ATTRIBUTES
        if values.get(name, b"null") != b"null"
    }
    return event_of(attributes, is_stored=is_stored)


def check_repeated(text: bytes, values: Mapping[str, bytes], names: Collection[str]) -> None:
    """
    Raise `InvalidEvent` if a JSON object has one of these names twice.

    msgspec keeps the last of its values without an error.
    """
    if text.count(b'"') == sum(2 + value.count(b'"') for value in values.values()):
        return
    try:
        keys = json.loads(text, object_pairs_hook=lambda pairs: [key for key, _ in pairs])
    except (ValueError, RecursionError) as exc:
        raise InvalidEvent(None, "is not valid JSON") from exc
    for name in names:
        if keys.count(name) > 1:
            raise InvalidEvent(None, f"has {name[:100]!r} twice")


def _texts(text: bytes) -> list[str]:
    fields = parse_fields(text, COLUMNS)
    return [string_of(name, fields[name]) for name in COLUMNS]


def parse_fields(text: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """
    Split a JSON object with exactly these fields, each once, into the JSON of its values.

    Raises `InvalidEvent`.
    """
    fields = {name: bytes(value) for name, value in decode_object(text).items()}
    for name in names:
        if name not in fields:
            raise InvalidEvent(name, "is missing")
    for name in fields:
        if name not in names:
            raise InvalidEvent(None, f"has an unknown field {name[:100]!r}")
    # msgspec keeps the last value of a repeated field; the names of the others left their quotes.
    if text.count(b'"') != sum(2 + value.count(b'"') for value in fields.values()):
        raise InvalidEvent(None, "has a field twice")
    return fields


def parse_array(text: bytes) -> list[bytes]:
    """Split a JSON array into the JSON of its elements; raises `InvalidEvent`."""
    return [bytes(element) for element in _decode(_array_decoder, text)]


def decode_object(text: bytes) -> dict[str, msgspec.Raw]:
    """Split a JSON object into the JSON of its values; raises `InvalidEvent`."""
    return _decode(_object_decoder, text)


def _decode(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as exc:
        expected = "an object" if decoder is _object_decoder else "an array"
        raise InvalidEvent(None, f"is {json_type(text)}, not {expected}") from exc
    except msgspec.DecodeError as exc:
        # Half of a surrogate pair (an id cut inside an emoji) makes msgspec refuse the whole text.
        # Only the event with that id is to be rejected.
        marked = _ESCAPE.sub(lambda match: match[1] or _NOT_UTF8, text)
        if marked != text:
            return _decode(decoder, marked)
        reason = str(exc).removeprefix("JSON is malformed: ")
        raise InvalidEvent(None, f"is not valid JSON: {reason[:1].lower()}{reason[1:]}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidEvent(None, "is not valid UTF-8") from exc
    except RecursionError as exc:
        raise InvalidEvent(None, "is nested too deeply") from exc


def string_of(field: str, text: bytes) -> str:
    """The text of a JSON string; raises `InvalidEvent`."""
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.ValidationError as exc:
        raise InvalidEvent(field, f"is {json_type(text)}, not a string") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidEvent(field, "is not valid UTF-8") from exc


def json_type(text: bytes) -> str:
    """What a JSON value is, such as "a number"."""
    return _JSON_TYPES.get(text.lstrip(b" \t\r\n")[:1].decode("latin-1"), "a number")
