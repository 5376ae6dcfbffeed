"""Kafka messages to rows of the archive, until they are committed."""

from __future__ import annotations

from datetime import datetime

from confluent_kafka import Message

from events.errors import InvalidEvent, InvalidInput
from events.parsing import parse_json, parse_object

#: Of keys and values that are held, whatever number of messages that is.
MOST_BYTES = 128 * 1024 * 1024

Row = tuple[object, ...]


class Batch:
    """
    Messages since the last commit, as rows without `archived_at`.

    `rejected` has (partition, offset) beside each row.
    """

    def __init__(self) -> None:
        self.events: list[Row] = []
        self.rejected: list[tuple[int, int, Row]] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.events) + len(self.rejected)

    @property
    def is_full(self) -> bool:
        return self._bytes >= MOST_BYTES

    def add(self, message: Message) -> None:
        """Keep a message: as an event, or with the reason why it is none."""
        partition, offset = _place(message)
        key, value = _bytes(message.key()), _bytes(message.value())
        try:
            event = parse_object(parse_json(value or b""))
        except InvalidEvent as exc:
            row = (exc.field, exc.reason, key, value, partition, offset)
            self.rejected.append((partition, offset, row))
        except InvalidInput as exc:
            reason = "has no value" if value is None else str(exc)
            self.rejected.append((partition, offset, (None, reason, key, value, partition, offset)))
        else:
            self.events.append((*event, partition, offset))
        self._bytes += len(key or b"") + len(value or b"")


def stamped(rows: list[Row], archived_at: datetime) -> list[Row]:
    return [(*row, archived_at) for row in rows]


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise TypeError("a message that was read has a place")
    return partition, offset


def _bytes(text: str | bytes | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text
