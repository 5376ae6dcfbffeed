"""Records to Kafka, each with one answer: acknowledged for good, or an error of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from events.config import Settings
from events.errors import EventsError, StoreRefused, StoreUnavailable
from events.kafka.clients import error_of, make_producer
from events.kafka.messages import Record

#: Called once, in the thread that polls; None says that it is on all replicas in sync.
OnDone = Callable[[EventsError | None], None]

#: More than a broker takes by default, so that it is asked and not the client.
_LARGEST_BYTES = 100_000_000
#: Messages that wait for Kafka in one process.
MAX_QUEUED_MESSAGES = 10_000
#: Of a sender of messages that are not ours, and of any length.
ANY_LENGTH: Mapping[str, int] = MappingProxyType(
    {
        "message.max.bytes": _LARGEST_BYTES,
        # What is longer than the whole queue would never have room in it.
        "queue.buffering.max.kbytes": _LARGEST_BYTES // 1024 + 1,
        # A batch is refused as a whole: none suffers for a large one beside it.
        "batch.num.messages": 1,
    }
)


class TooLargeForKafka(StoreRefused):
    """A message is larger than its topic takes."""


class QueueIsFull(StoreUnavailable):
    """As much waits for Kafka as may; nothing was sent."""


class Sender:
    """
    An idempotent producer with a bounded queue; safe to use from many threads.

    After an error that ends librdkafka's producer the next record gets a new one.

    Args:
        patience_seconds: What is not acknowledged within it fails, and may be in Kafka
            nevertheless; None waits for ever.
        max_messages: Maximum messages in the queue.
        more: Further properties of librdkafka.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience_seconds: float | None,
        max_messages: int = MAX_QUEUED_MESSAGES,
        **more: Any,
    ) -> None:
        self._settings = settings
        self._properties = {
            "queue.buffering.max.messages": max_messages,
            "queue.buffering.max.kbytes": max(settings.events_kafka_max_bytes // 1024, 1),
            # 0 is no end.
            "message.timeout.ms": 0
            if patience_seconds is None
            else max(round(patience_seconds * 1000), 1),
            **more,
        }
        self._lock = threading.Lock()
        self._producer = make_producer(settings, **self._properties)
        self._is_over = False

    def send(self, record: Record, on_done: OnDone) -> None:
        """
        Begin to send; `poll` calls back.

        Raises:
            QueueIsFull: Nothing was sent.
            TooLargeForKafka: It never will be.
        """
        if self._is_over:
            self._renew()

        def delivered(error: KafkaError | None, _: Message) -> None:
            on_done(None if error is None else self._error_of(error))

        try:
            self._producer.produce(
                record.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                on_delivery=delivered,
            )
        except BufferError as exc:
            raise QueueIsFull("as much waits for Kafka as may: try again") from exc
        except KafkaException as exc:
            raise self._error_of(exc.args[0]) from exc

    def poll(self, timeout_seconds: float) -> None:
        """Call back for what is acknowledged or failed."""
        self._producer.poll(timeout_seconds)

    def drop_waiting(self) -> None:
        """Do not send what is in no request yet: it fails."""
        self._producer.purge(in_flight=False)

    def close(self, *, patience_seconds: float) -> None:
        """Send what waits; what is not acknowledged in time fails."""
        if self._producer.flush(patience_seconds):
            self._producer.purge()
            self._producer.flush(1)

    def _error_of(self, error: KafkaError) -> EventsError:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._is_over = True
            return StoreUnavailable(f"the producer begins anew: Kafka said {error.name()}")
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TooLargeForKafka("a message is larger than its topic in Kafka takes")
        if error.code() == KafkaError._PURGE_QUEUE or error.code() == KafkaError._PURGE_INFLIGHT:
            return StoreUnavailable("stopped before Kafka acknowledged a message")
        return error_of(error, "a message was not taken")

    def _renew(self) -> None:
        with self._lock:
            if self._is_over:
                over, self._producer = (
                    self._producer,
                    make_producer(self._settings, **self._properties),
                )
                over.purge()
                over.flush(1)
                self._is_over = False
