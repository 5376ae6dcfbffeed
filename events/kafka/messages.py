"""Kafka messages to events, to dead letters, and back; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from events.domain.parsing import parse_message
from events.domain.timestamps import format_timestamp
from events.errors import InvalidEvent
from events.models import Event

Headers = tuple[tuple[str, bytes | None], ...]

REASON = "reason"
FIELD = "field"
ORIGIN_TOPIC = "origin.topic"
ORIGIN_PARTITION = "origin.partition"
ORIGIN_OFFSET = "origin.offset"
ORIGIN_TIMESTAMP = "origin.timestamp"
#: Stands where the value was longer than the topic of the dead letters takes; says how long.
VALUE_BYTES = "origin.value.bytes"
#: The same for the key and the headers together.
REST_BYTES = "origin.rest.bytes"
#: Of a reason, in characters: a sender chooses some of its words.
_LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """
    A message as Kafka keeps it.

    `timestamp` is in milliseconds since 1970, None where there is none. Headers may repeat.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of what it holds."""
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(len(name) + len(value or b"") for name, value in self.headers)
        )


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be sent; Kafka chooses the partition by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def encode(event: Event, topic: str) -> Record:
    """The message of an event: a JSON object, keyed by its customer."""
    value = {
        "customer_id": event.customer_id,
        "event_type": event.event_type,
        "transaction_id": event.transaction_id,
        "timestamp": format_timestamp(event.timestamp),
    }
    return Record(
        topic,
        event.customer_id.encode(),
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def decode(message: Message, *, max_bytes: int) -> Event:
    """
    The event that a message holds. Its value counts alone, whatever the key is.

    Args:
        max_bytes: A value that is longer is not looked at.

    Raises:
        InvalidEvent: It holds none.
    """
    value = message.value
    if value is None:
        raise InvalidEvent(None, "has no value (a tombstone): events are corrected by voiding them")
    if len(value) > max_bytes:
        raise InvalidEvent(None, f"has {len(value):,} bytes, more than {max_bytes:,}")
    return parse_message(value)


def dead_letter(message: Message, topic: str, error: InvalidEvent) -> Record:
    """
    The letter for a message that cannot be counted: as it was, with why and where it was.

    Our headers come last and begin with `reason`, whatever headers it had.
    """
    ours: list[tuple[str, bytes | None]] = [(REASON, _text(error.reason[:_LONGEST_REASON]))]
    if error.field is not None:
        ours.append((FIELD, _text(error.field)))
    ours += [
        (ORIGIN_TOPIC, message.topic.encode()),
        (ORIGIN_PARTITION, str(message.partition).encode()),
        (ORIGIN_OFFSET, str(message.offset).encode()),
    ]
    if message.timestamp is not None:
        ours.append((ORIGIN_TIMESTAMP, str(message.timestamp).encode()))
    return Record(topic, message.key, message.value, (*message.headers, *ours))


def shortened(letter: Record) -> Record | None:
    """
    A letter that its topic did not take, without the longest part of what it still has.

    First goes the value, then key and headers of the message: its place in the origin says where
    to look. None where only ours are left.
    """
    if letter.value is not None:
        size = str(len(letter.value)).encode()
        return Record(letter.topic, letter.key, None, (*letter.headers, (VALUE_BYTES, size)))
    first = _first_of_ours(letter.headers)
    if letter.key is None and not first:
        return None
    rest = Message(letter.topic, -1, -1, key=letter.key, headers=letter.headers[:first])
    size = str(rest.size).encode()
    return Record(letter.topic, None, None, (*letter.headers[first:], (REST_BYTES, size)))


@dataclass(frozen=True, slots=True)
class Letter:
    """
    A dead letter as it is read.

    `origin` is the message as it was; `reason` is empty where the letter is none of ours.
    `is_whole` is False where something was left out.
    """

    partition: int
    offset: int
    timestamp: int | None
    reason: str
    field: str | None
    origin: Message
    is_whole: bool = True


def read_letter(message: Message) -> Letter:
    """The letter that a message of the dead letters' topic holds."""
    first = _first_of_ours(message.headers)
    ours = dict(message.headers[first:])
    origin = Message(
        topic=_read(ours, ORIGIN_TOPIC) or "",
        partition=_number(ours, ORIGIN_PARTITION, -1),
        offset=_number(ours, ORIGIN_OFFSET, -1),
        timestamp=_number(ours, ORIGIN_TIMESTAMP, -1) if ORIGIN_TIMESTAMP in ours else None,
        key=message.key,
        value=message.value,
        headers=message.headers[:first],
    )
    return Letter(
        message.partition,
        message.offset,
        message.timestamp,
        _read(ours, REASON) or "",
        _read(ours, FIELD),
        origin,
        is_whole=VALUE_BYTES not in ours and REST_BYTES not in ours,
    )


def _first_of_ours(headers: Headers) -> int:
    """Where ours begin; the last `reason` is ours, the message itself may have had others."""
    names = [name for name, _ in headers]
    return len(names) - 1 - names[::-1].index(REASON) if REASON in names else len(names)


def as_headers(pairs: Sequence[tuple[str, bytes | None]] | None) -> Headers:
    """Headers as the client gives them, which is None for none."""
    return tuple((name, value) for name, value in pairs or ())


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _read(headers: dict[str, bytes | None], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def _number(headers: dict[str, bytes | None], name: str, otherwise: int) -> int:
    text = _read(headers, name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else otherwise
