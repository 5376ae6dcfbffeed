"""What the client of Kafka reads, as values."""

from __future__ import annotations

from confluent_kafka import Message as KafkaMessage

from events.stream.messages import Message, as_headers


def message_of(message: KafkaMessage) -> Message:
    """What was read, as a value."""
    kind, timestamp = message.timestamp()
    return Message(
        message.topic() or "",
        number_of(message.partition()),
        number_of(message.offset()),
        timestamp if kind else None,
        message.key(),
        message.value(),
        as_headers(message.headers()),  # type: ignore[arg-type] # read ones are a list of pairs
    )


def number_of(number: int | None) -> int:
    assert number is not None  # noqa: S101 - a message that was read has both
    return number
