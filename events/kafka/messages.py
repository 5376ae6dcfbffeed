"""Kafka messages as values: events, dead letters, and the way back."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from operator import methodcaller

from confluent_kafka import Message as KafkaMessage

from events.domain.jsonevents import parse_record
from events.domain.timestamps import format_timestamp
from events.errors import InvalidEvent
from events.models import Event

log = logging.getLogger(__name__)

Headers = tuple[tuple[str, bytes | None], ...]

# Headers of a dead letter.
REASON = "reason"
FIELD = "field"
ORIGIN_TOPIC = "origin.topic"
ORIGIN_PARTITION = "origin.partition"
ORIGIN_OFFSET = "origin.offset"
ORIGIN_TIMESTAMP = "origin.timestamp"
#: Size of a value that was left out because the dead-letter topic does not accept its length.
VALUE_BYTES = "origin.value.bytes"
#: The same for the message's key and headers together.
REST_BYTES = "origin.rest.bytes"
#: Characters of a reason; it may quote text that the sender chose.
_MAX_REASON = 1_000
#: Not a plain method call: if `headers` fails, confluent-kafka 2.16 returns a broken list together
#: with the error, and CPython's specialized call of a method uses the list and crashes.
_read_headers = methodcaller("headers")


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read. `timestamp` is in milliseconds since 1970, or None."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(len(name) + len(value or b"") for name, value in self.headers)
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A message to send; Kafka chooses the partition by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    A dead letter that was read.

    `origin` is the message as it was. `reason` is empty if another program wrote the dead letter.
    `is_whole` is False if a part of the message was left out.
    """

    partition: int
    offset: int
    timestamp: int | None
    reason: str
    field: str | None
    origin: Message
    is_whole: bool = True


def message_of(message: KafkaMessage) -> Message:
    """The client's message as a value."""
    timestamp_type, timestamp = message.timestamp()
    return Message(
        message.topic() or "",
        *position_of(message),
        timestamp if timestamp_type else None,
        message.key(),
        message.value(),
        headers_of(message),
    )


def position_of(message: KafkaMessage) -> tuple[int, int]:
    """The partition and the offset."""
    partition, offset = message.partition(), message.offset()
    # Only a message that was not read has none.
    assert partition is not None and offset is not None  # noqa: S101, PT018
    return partition, offset


def headers_of(message: KafkaMessage) -> Headers:
    """
    The headers; empty if a name is not UTF-8, which the client cannot read.

    Any sender may write such a name. An error would stop the partition at this message forever,
    and only the value is counted.
    """
    try:
        pairs: Sequence[tuple[str, bytes | None]] | None = _read_headers(message)
    except (SystemError, UnicodeDecodeError):  # confluent-kafka 2.16 raises SystemError
        origin = (message.topic(), message.partition(), message.offset())
        log.warning("ignored the headers of a message: a name is not UTF-8: %s %s:%s", *origin)
        return ()
    return tuple((name, value) for name, value in pairs or ())


def encode(event: Event, topic: str) -> Record:
    """The message for an event: a JSON object, keyed by its customer."""
    document = {**event._asdict(), "timestamp": format_timestamp(event.timestamp)}
    value = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Record(topic, event.customer_id.encode(), value.encode())


def decode(message: Message, *, max_bytes: int) -> Event:
    """The event in a message, or `InvalidEvent`. The key does not matter."""
    value = message.value
    if value is not None and len(value) > max_bytes:
        raise InvalidEvent(None, f"has {len(value):,} bytes, more than {max_bytes:,}")
    return parse_record(value, message.headers)


# --- dead letters ---------------------------------------------------------------------------------


def dead_letter(message: Message, topic: str, error: InvalidEvent) -> Record:
    """
    The dead letter for a message that cannot be counted: the message, the reason and the origin.

    Our headers come after the message's own and start with `reason`.
    """
    ours = {
        REASON: error.reason[:_MAX_REASON],
        FIELD: error.field,
        ORIGIN_TOPIC: message.topic,
        ORIGIN_PARTITION: message.partition,
        ORIGIN_OFFSET: message.offset,
        ORIGIN_TIMESTAMP: message.timestamp,
    }
    headers = [
        (name, str(value).encode("utf-8", "backslashreplace"))
        for name, value in ours.items()
        if value is not None
    ]
    return Record(topic, message.key, message.value, (*message.headers, *headers))


def shorten(letter: Record) -> Record | None:
    """
    A dead letter that is too long, without its longest remaining part.

    The value goes first, then the message's key and headers; the origin says where to find them.
    Returns None if only our headers are left.
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


def parse_dead_letter(message: Message) -> DeadLetter:
    """The dead letter in a message of the dead-letter topic."""
    first = _first_of_ours(message.headers)
    ours = dict(message.headers[first:])
    origin = Message(
        topic=_text(ours, ORIGIN_TOPIC) or "",
        partition=_number(ours, ORIGIN_PARTITION, -1),
        offset=_number(ours, ORIGIN_OFFSET, -1),
        timestamp=_number(ours, ORIGIN_TIMESTAMP, -1) if ORIGIN_TIMESTAMP in ours else None,
        key=message.key,
        value=message.value,
        headers=message.headers[:first],
    )
    return DeadLetter(
        message.partition,
        message.offset,
        message.timestamp,
        _text(ours, REASON) or "",
        _text(ours, FIELD),
        origin,
        is_whole=VALUE_BYTES not in ours and REST_BYTES not in ours,
    )


def _first_of_ours(headers: Headers) -> int:
    """Index of our first header: the last `reason`, since the message may have its own."""
    names = [name for name, _ in headers]
    return len(names) - 1 - names[::-1].index(REASON) if REASON in names else len(names)


def _text(headers: dict[str, bytes | None], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def _number(headers: dict[str, bytes | None], name: str, default: int) -> int:
    text = _text(headers, name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else default
