"""What the client of Kafka reads, as values."""

from __future__ import annotations

import logging
from operator import methodcaller

from confluent_kafka import Message as KafkaMessage

from events.kafka.messages import Headers, Message, as_headers

log = logging.getLogger(__name__)

#: Not called as a method is: where confluent-kafka 2.16 fails it gives a broken list as well as the
#: error, and Python, at a call that it has specialized, believes the list and crashes.
_read_headers = methodcaller("headers")


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
        _headers(message),
    )


def _headers(message: KafkaMessage) -> Headers:
    """
    The headers; none where a name is no UTF-8, which the client cannot read.

    Whoever sends may write such a name. To fail would stop the partition at this message for good,
    and what is counted is the value.
    """
    try:
        return as_headers(_read_headers(message))
    except (SystemError, UnicodeDecodeError):  # the first is how confluent-kafka 2.16 says it
        place = (message.topic(), message.partition(), message.offset())
        log.warning("the headers of a message are left out, a name is no UTF-8: %s %s:%s", *place)
        return ()


def number_of(number: int | None) -> int:
    assert number is not None  # noqa: S101 - a message that was read has both
    return number
