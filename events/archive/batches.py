"""Kafka messages to rows of the archive, until they are committed."""

from __future__ import annotations

from datetime import datetime

from confluent_kafka import Message

from events.domain.parsing import parse_message
from events.errors import InvalidEvent
from events.kafka.reading import number_of

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
        partition, offset = number_of(message.partition()), number_of(message.offset())
        key, value = message.key(), message.value()
        try:
            if value is None:
                raise InvalidEvent(None, "has no value")
            event = parse_message(value)
        except InvalidEvent as exc:
            row = (exc.field, exc.reason, key, value, partition, offset)
            self.rejected.append((partition, offset, row))
        else:
            self.events.append((*event, partition, offset))
        self._bytes += len(key or b"") + len(value or b"")


def stamped(rows: list[Row], archived_at: datetime) -> list[Row]:
    return [(*row, archived_at) for row in rows]
