"""Parse events from JSON objects, and validate their fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from events.domain.timestamps import parse_timestamp
from events.errors import InvalidEvent
from events.models import MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, Event

T = TypeVar("T")

COLUMNS = ("customer_id", "event_type", "transaction_id", "timestamp")

#: The stored key is `<27 characters>-<event type, % and - escaped>-<transaction id>`.
_KEY_OVERHEAD_BYTES = 29
MAX_REASON_CHARACTERS = 500
#: Control characters (Unicode category Cc), and surrogates, which UTF-8 cannot encode.
_NOT_IN_IDS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def parse_event(
    customer_id: str,
    event_type: str,
    transaction_id: str,
    timestamp: str,
    parse_time: Callable[[str], datetime] = parse_timestamp,
) -> Event:
    """
    Make an event of four texts. Files, HTTP and Kafka all use this function.

    Ids must be non-empty, without control characters and without white space at either end; they
    are kept byte for byte. Their length is limited by `MAX_PARTITION_KEY_BYTES` and
    `MAX_SORT_KEY_BYTES`. `parse_time` reads the timestamp.

    Raises:
        InvalidEvent: Names the first invalid field and the reason.
    """
    customer_id = check_customer_id(customer_id)
    event_type, room = _checked_event_type(event_type)
    if not (
        transaction_id.isascii()
        and transaction_id.isprintable()
        and 0 < len(transaction_id) <= room
        and transaction_id[0] != " " != transaction_id[-1]
    ):
        _check_id("transaction_id", transaction_id)
        size = len(transaction_id.encode())
        if size > room:
            raise InvalidEvent(
                "transaction_id",
                f"has {size:,} bytes of UTF-8, but only {room:,} are left in the "
                f"{MAX_SORT_KEY_BYTES:,}-byte key beside this event_type",
            )
    return Event(customer_id, event_type, transaction_id, parse_time(timestamp))


# The same customers and types occur many times: each is checked once, and all its events share
# one string. The caches take at most 24 MB, with ids of the maximum length.
@lru_cache(maxsize=8_192)
def check_customer_id(text: str) -> str:
    """Return `text` if it is a valid customer id; raises `InvalidEvent`."""
    _check_id("customer_id", text)
    size = len(text.encode())
    if size > MAX_PARTITION_KEY_BYTES:
        raise InvalidEvent(
            "customer_id", f"has {size:,} bytes of UTF-8, more than {MAX_PARTITION_KEY_BYTES:,}"
        )
    return text


@lru_cache(maxsize=8_192)
def _checked_event_type(text: str) -> tuple[str, int]:
    """The event type, and the bytes that it leaves for a transaction id."""
    _check_id("event_type", text)
    size = len(text.encode()) + 2 * (text.count("%") + text.count("-"))
    room = MAX_SORT_KEY_BYTES - _KEY_OVERHEAD_BYTES - size
    if room < 1:
        longest = MAX_SORT_KEY_BYTES - _KEY_OVERHEAD_BYTES - 1
        raise InvalidEvent(
            "event_type",
            f"takes {size:,} bytes of the key (% and - take three each), more than {longest:,}",
        )
    return text, room


def _check_id(field: str, text: str) -> None:
    if not text:
        raise InvalidEvent(field, "is empty")
    invalid = _NOT_IN_IDS.search(text)
    if invalid is not None:
        reason = f"has the control character U+{ord(invalid[0]):04X}"
        if invalid[0] >= "\ud800":
            reason = "is not valid UTF-8"
        raise InvalidEvent(field, f"{reason} at position {invalid.start() + 1}")
    if text[0].isspace() or text[-1].isspace():
        raise InvalidEvent(field, "has white space at its start or end")


def check_event_type(text: str) -> str:
    """Return `text` if it is a valid event type; raises `InvalidEvent`."""
    return _checked_event_type(text)[0]


# --- JSON -----------------------------------------------------------------------------------------


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


def parse_message(text: bytes) -> Event:
    """Parse an event from a JSON object in UTF-8; raises `InvalidEvent`."""
    try:
        fields = _event_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        customer_id, event_type, transaction_id, timestamp = _texts(text)  # names the invalid field
        return parse_event(customer_id, event_type, transaction_id, timestamp)
    if text.count(b'"') != 16:  # four names, four values, and escaped quotes or a repeated field
        _texts(text)
    return parse_event(
        fields.customer_id, fields.event_type, fields.transaction_id, fields.timestamp
    )


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


def parse_void_reason(text: bytes) -> str:
    """The reason of a correction from its JSON; raises `InvalidEvent`."""
    return check_void_reason(string_of("reason", text))


def check_void_reason(text: str) -> str:
    """Return `text` if it is a valid reason for a correction; raises `InvalidEvent`."""
    _check_id("reason", text)
    if len(text) > MAX_REASON_CHARACTERS:
        raise InvalidEvent(
            "reason", f"has {len(text):,} characters, more than {MAX_REASON_CHARACTERS}"
        )
    return text
