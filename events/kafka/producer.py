"""Events to Kafka: a receipt for each once all replicas in sync have it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from events.config import Settings
from events.errors import EventsError, StoreRefused, StoreUnavailable
from events.ingest.writer import Ticket
from events.kafka.backoff import Backoff
from events.kafka.clients import dead_letter_topic, ensure_topics
from events.kafka.health import TopicCheck
from events.kafka.messages import encode
from events.kafka.sender import MAX_QUEUED_MESSAGES, QueueIsFull, Sender
from events.models import Event, Outcome
from events.telemetry import metrics

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
#: librdkafka takes no shorter one.
_LEAST_PATIENCE_SECONDS = 0.1
_SECONDS_TO_ASK = 2.0


class KafkaSink:
    """
    Takes events as the service does, and answers `ACCEPTED`; safe to use from many threads.

    What failed or got no answer in time may be in Kafka nevertheless, and sending it again is safe:
    it is counted once, by what it is.

    Args:
        patience_seconds: How long to wait for an acknowledgement.
        is_waiting_for_room: `submit` waits while the queue is full, for as long; without it such
            events fail at once.
        max_messages: Maximum events in the queue.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience_seconds: float,
        is_waiting_for_room: bool = False,
        max_messages: int = MAX_QUEUED_MESSAGES,
    ) -> None:
        self._settings = settings
        self._topic = settings.events_kafka_topic
        self._patience_seconds = max(patience_seconds, _LEAST_PATIENCE_SECONDS)
        self._is_waiting_for_room = is_waiting_for_room
        self._most_waiting = max_messages
        self._sender = Sender(
            settings,
            patience_seconds=self._patience_seconds,
            max_messages=max_messages,
            **{"linger.ms": 5},
        )
        self._is_topic_there = TopicCheck(settings, self._topic)
        self._lock = threading.Lock()
        self._is_idle = threading.Condition(self._lock)
        self._waiting = 0
        self._is_closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, name="kafka", daemon=True),
            threading.Thread(target=self._make_topics, name="kafka-topics", daemon=True),
        ]
        for each in self._threads:
            each.start()

    def submit(self, events: Sequence[Event]) -> Ticket:
        """Begin to send events; the ticket's `wait` returns once all are acknowledged."""
        ticket = Ticket(len(events))
        with self._lock:
            has_room = self._waiting + len(events) <= self._most_waiting
            if not has_room and not self._is_waiting_for_room:
                # Before anything of it is sent.
                ticket.fail(QueueIsFull("as much waits for Kafka as may: try again"))
                return ticket
            self._waiting += len(events)
        deadline = time.monotonic() + self._patience_seconds
        for place, event in enumerate(events):
            done = partial(self._done, ticket, place)
            try:
                self._send(event, done, deadline)
            except EventsError as exc:
                done(exc)
        return ticket

    def ingest(
        self, events: Sequence[Event], *, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        Send events; returns when all are acknowledged.

        Raises:
            StoreUnavailable: Some may not be in Kafka; the same call again is safe.
            StoreRefused: Kafka will not take some of them.
        """
        return self.submit(events).wait(timeout_seconds)

    def check(self) -> None:
        """Ask for the topic; raises `StoreUnavailable` or `StoreRefused`. One thread at a time."""
        self._is_topic_there()

    def drop_waiting(self) -> None:
        """Do not send what is submitted and not under way yet; those tickets fail."""
        self._sender.drop_waiting()

    def drain(self) -> None:
        """Return when all that was submitted is answered, at the latest after the patience."""
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._waiting)

    def close(self) -> None:
        """Finish what was submitted, then let go of everything."""
        self.drain()
        self._is_closed.set()
        for each in self._threads:
            each.join()
        self._sender.close(patience_seconds=0)

    def _send(
        self, event: Event, done: Callable[[EventsError | None], None], deadline: float
    ) -> None:
        while True:
            try:
                self._sender.send(encode(event, self._topic), done)
            except QueueIsFull:
                if not self._is_waiting_for_room or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS / 10)
            else:
                return

    def _done(self, ticket: Ticket, place: int, error: EventsError | None) -> None:
        if isinstance(error, StoreRefused):
            log.error("Kafka refused an event: %s", error)
        with self._lock:
            self._waiting -= 1
            if error is None:
                ticket.settle(place, Outcome.ACCEPTED)
            else:
                ticket.fail(error)
            if not self._waiting:
                self._is_idle.notify_all()
        if error is None:
            metrics.EVENTS.labels(Outcome.ACCEPTED.value).inc()

    def _poll(self) -> None:
        while not self._is_closed.is_set():
            self._sender.poll(_POLL_SECONDS)

    def _make_topics(self) -> None:
        """Until they are there; Kafka may be away when this begins."""
        backoff = Backoff(base_seconds=0.5)
        names = (self._topic, dead_letter_topic(self._settings))
        while not self._is_closed.is_set():
            try:
                ensure_topics(self._settings, *names, timeout_seconds=_SECONDS_TO_ASK)
            except (StoreUnavailable, StoreRefused) as exc:
                log.debug("topics could not be made: %s", exc)
                now = time.monotonic()
                self._is_closed.wait(backoff.next_at(now) - now)
            else:
                return
