"""Events to Kafka: each gets a receipt once all in-sync replicas have it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from events.domain.retries import Backoff
from events.errors import EventsError, StoreRefused, StoreUnavailable
from events.ingest.writer import PendingReceipts
from events.kafka.clients import (
    Cluster,
    check_topic,
    dead_letter_topic,
    ensure_topics,
    error_of,
    make_admin,
    make_producer,
)
from events.kafka.messages import Record, encode
from events.models import Event, Outcome
from events.telemetry import metrics

log = logging.getLogger(__name__)

#: Called once for each record, in a thread that polls or waits to send; None means: on all in-sync
#: replicas.
OnDone = Callable[[EventsError | None], None]

#: Maximum messages and bytes in memory per process: queued for Kafka (`produce` and the API), or
#: read but not yet committed (`consume`; its limit of messages is its own).
MAX_MESSAGES = 10_000
MAX_BYTES = 32 * 1024 * 1024
_POLL_SECONDS = 0.1
#: librdkafka rejects shorter timeouts.
_MIN_PATIENCE_SECONDS = 0.1
_CREATE_TIMEOUT_SECONDS = 2.0
#: More than a broker accepts by default, so that the broker decides and not the client.
_LONGEST_MESSAGE = 100_000_000
#: Properties to send messages of any length that others wrote.
ANY_LENGTH: Mapping[str, int] = {
    "message.max.bytes": _LONGEST_MESSAGE,
    # A message that is longer than the queue would never fit into it.
    "queue.buffering.max.kbytes": _LONGEST_MESSAGE // 1024 + 1,
    # The broker refuses a batch as a whole: keep a long message apart from all others.
    "batch.num.messages": 1,
}
_QUEUE_FULL = "too many messages wait for Kafka: try again"


class TooLargeForKafka(StoreRefused):
    """A message is longer than its topic accepts."""


class QueueIsFull(StoreUnavailable):
    """Too many messages wait for Kafka; nothing was sent."""


class Sender:
    """
    An idempotent producer with a bounded queue. Safe to use from many threads.

    After a fatal error of librdkafka's producer, the next record gets a new producer.

    Args:
        patience_seconds: A record that is not acknowledged in time fails, but may be in Kafka;
            None waits forever.
        more: Further librdkafka properties.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        patience_seconds: float | None,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        **more: Any,
    ) -> None:
        # 0 waits forever.
        milliseconds = 0 if patience_seconds is None else max(round(patience_seconds * 1000), 1)
        properties = {
            "queue.buffering.max.messages": max_messages,
            "queue.buffering.max.kbytes": max(max_bytes // 1024, 1),
            "message.timeout.ms": milliseconds,
            **more,
        }
        self._make_producer = partial(make_producer, cluster, **properties)
        self._lock = threading.Lock()
        self._producer = self._make_producer()
        self._is_dead = False

    def send(self, record: Record, on_done: OnDone, *, deadline: float = 0) -> None:
        """
        Queue a record; `poll` calls `on_done`.

        Args:
            deadline: Until when to wait while the queue is full, on the monotonic clock.

        Raises:
            QueueIsFull, TooLargeForKafka: Nothing was queued.
        """

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                on_done(self._error_of(error))
            elif message.offset() is None:
                self._send_again(record, on_done)
            else:
                on_done(None)

        while True:
            if self._is_dead:
                self._replace_producer()
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    on_delivery=delivered,
                )
            except BufferError as exc:
                if time.monotonic() > deadline:
                    raise QueueIsFull(_QUEUE_FULL) from exc
                self.poll(_POLL_SECONDS / 10)
            except KafkaException as exc:
                raise self._error_of(exc.args[0]) from exc
            else:
                return

    def _send_again(self, record: Record, on_done: OnDone) -> None:
        """
        Send a record that librdkafka reports as delivered, though Kafka gave it no offset.

        librdkafka concludes from a later batch's acknowledgement that Kafka has the earlier ones.
        That is wrong if Kafka did not know the producer yet: it accepts any sequence number then,
        so the first batch of a new topic may be rejected and the second stored (librdkafka 2.16).
        """
        try:
            self.send(record, on_done)
        except EventsError as exc:
            on_done(exc)

    def poll(self, timeout_seconds: float) -> None:
        """Call back for records that were acknowledged or failed."""
        self._producer.poll(timeout_seconds)

    def drop_waiting(self) -> None:
        """Fail the records that are not in flight yet."""
        self._producer.purge(in_flight=False)

    def close(self, *, patience_seconds: float) -> None:
        """Send the queued records; those not acknowledged in time fail."""
        if self._producer.flush(patience_seconds):
            self._producer.purge()
            self._producer.flush(1)

    def _error_of(self, error: KafkaError) -> EventsError:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._is_dead = True
            return StoreUnavailable(f"the Kafka producer failed and restarts: {error.name()}")
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TooLargeForKafka("the message is longer than its topic accepts")
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return StoreUnavailable("stopped before Kafka acknowledged the message")
        return error_of(error, "Kafka did not accept the message")

    def _replace_producer(self) -> None:
        with self._lock:
            if self._is_dead:
                dead, self._producer = self._producer, self._make_producer()
                dead.purge()
                dead.flush(1)
                self._is_dead = False


class KafkaSink:
    """
    A `Sink` that sends events to Kafka; a receipt says `ACCEPTED`. Any thread may use it.

    An event that failed or was not acknowledged in time may be in Kafka. Sending it again is safe:
    `consume` counts it once.

    Args:
        topic: Created with its dead-letter topic if it does not exist.
        patience_seconds: How long to wait for an acknowledgement.
        max_messages, max_bytes: How much may wait for Kafka.
        is_waiting_for_room: `submit` waits up to the patience while the queue is full; otherwise
            its events fail at once.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        *,
        patience_seconds: float,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        is_waiting_for_room: bool = False,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._max_messages = max_messages
        self._patience_seconds = max(patience_seconds, _MIN_PATIENCE_SECONDS)
        self._is_waiting_for_room = is_waiting_for_room
        self._sender = Sender(
            cluster,
            patience_seconds=self._patience_seconds,
            max_messages=max_messages,
            max_bytes=max_bytes,
            **{"linger.ms": 5},
        )
        self._admin = make_admin(cluster)
        self._lock = threading.Lock()
        self._is_idle = threading.Condition(self._lock)
        self._in_flight = 0
        self._is_closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, name="kafka", daemon=True),
            threading.Thread(target=self._create_topics, name="kafka-topics", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, events: Sequence[Event]) -> PendingReceipts:
        receipts = PendingReceipts(len(events))
        with self._lock:
            has_room = self._in_flight + len(events) <= self._max_messages
            if not has_room and not self._is_waiting_for_room:
                # Send all events of a call or none.
                receipts.fail(QueueIsFull(_QUEUE_FULL))
                return receipts
            self._in_flight += len(events)
        deadline = 0.0
        if self._is_waiting_for_room:
            deadline = time.monotonic() + self._patience_seconds
        for index, event in enumerate(events):
            on_done = partial(self._done, receipts, index)
            try:
                self._sender.send(encode(event, self._topic), on_done, deadline=deadline)
            except EventsError as exc:
                on_done(exc)
        return receipts

    def ingest(
        self, events: Sequence[Event], *, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        return self.submit(events).wait(timeout_seconds)

    def check(self) -> None:
        check_topic(self._admin, self._topic)

    def drop_waiting(self) -> None:
        self._sender.drop_waiting()

    def drain(self) -> None:
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._in_flight)

    def close(self) -> None:
        """Wait for the submitted events, then stop the threads and the producer."""
        self.drain()
        self._is_closed.set()
        for thread in self._threads:
            thread.join()
        self._sender.close(patience_seconds=0)

    def _done(self, receipts: PendingReceipts, index: int, error: EventsError | None) -> None:
        if isinstance(error, StoreRefused):
            log.error("Kafka refused an event: %s", error)
        with self._lock:
            self._in_flight -= 1
            if error is None:
                receipts.settle(index, Outcome.ACCEPTED)
            else:
                receipts.fail(error)
            if not self._in_flight:
                self._is_idle.notify_all()
        if error is None:
            metrics.EVENTS.labels(Outcome.ACCEPTED.value).inc()

    def _poll(self) -> None:
        while not self._is_closed.is_set():
            self._sender.poll(_POLL_SECONDS)

    def _create_topics(self) -> None:
        """Create the topics; Kafka may be away when the API starts."""
        backoff = Backoff(base_seconds=0.5)
        topics = (self._topic, dead_letter_topic(self._topic))
        while not self._is_closed.is_set():
            try:
                ensure_topics(self._cluster, *topics, timeout_seconds=_CREATE_TIMEOUT_SECONDS)
                return
            except (StoreUnavailable, StoreRefused) as exc:
                log.debug("cannot create the topics yet: %s", exc)
                self._is_closed.wait(backoff.next_wait())
