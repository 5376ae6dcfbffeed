"""The events that `demo` sends."""

from __future__ import annotations

import json
import random
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import product
from threading import Event, Lock, Thread
from typing import Self

from events.config import Settings
from events.domain.parsing import COLUMNS
from events.domain.timestamps import utc_now
from events.domain.windows import HOUR, floor_hour
from events.kafka.bounds import read_ends
from events.kafka.clients import PARTITIONS, Cluster, make_producer

_TYPES = ("page_view", "search", "api_call")
_HISTORY_HOURS = 264
_BUSY = (240, "acme", "search")
_BAD = (
    b"not JSON",
    b'{"customer_id": "live-1", "event_type": "search", "timestamp": "2026-01-01T00:00:00Z"}',
    b'{"customer_id": "live-1", "event_type": "search", "transaction_id": "1", "timestamp": "x"}',
)


class Generator:
    """
    Sends messages to the topic while it is open.

    Of 100 messages about 10 repeat an event, 3 are late and 1 is invalid. An empty topic gets
    eleven days of past hours first, one of them too busy: closed hours, and an anomaly.
    """

    def __init__(self, settings: Settings, rate: int) -> None:
        self._cluster, self._topic = Cluster.of(settings), settings.events_kafka_topic
        self._producer = make_producer(self._cluster)
        self._interval_seconds = 1 / rate
        self._random = random.Random()  # noqa: S311 - invented events
        self._sent: deque[tuple[str, str, str, datetime]] = deque(maxlen=1_000)
        self._lock = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        if not read_ends(self._cluster, self._topic, group="demo"):
            self._send_history()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Send nothing meanwhile; Kafka has everything that was sent before."""
        with self._lock:
            self._producer.flush()
            yield

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            with self._lock:
                self._send_any(self._random.random())

    def _send_history(self) -> None:
        first = floor_hour(utc_now()) - _HISTORY_HOURS * HOUR
        for series in product(range(_HISTORY_HOURS), ("acme", "globex"), _TYPES):
            number, customer_id, event_type = series
            for _ in range(100 if series == _BUSY else self._random.randint(1, 3)):
                at = first + (number + self._random.random()) * HOUR
                # In all partitions: an empty one would delay Flink's watermark.
                partition = self._random.randrange(PARTITIONS)
                self._send(customer_id, event_type, uuid.uuid4().hex, at, partition)

    def _send_any(self, chance: float) -> None:
        if chance < 0.01:
            self._producer.produce(self._topic, self._random.choice(_BAD))
        elif chance < 0.11 and self._sent:
            self._send(*self._random.choice(self._sent))
        else:
            late = self._random.uniform(1, 48) * HOUR if chance > 0.97 else timedelta()
            customer_id = f"live-{self._random.randint(1, 8)}"
            event_type = self._random.choice(_TYPES)
            event = (customer_id, event_type, uuid.uuid4().hex, utc_now() - late)
            self._sent.append(event)
            self._send(*event)

    def _send(
        self, customer_id: str, event_type: str, transaction_id: str, at: datetime,
        partition: int = -1,
    ) -> None:  # fmt: skip
        # A repeated event may have another spelling of the same instant.
        at = at.astimezone(timezone(self._random.choice((-5, 0, 2)) * HOUR))
        fields = (customer_id, event_type, transaction_id, at.isoformat())
        value = json.dumps(dict(zip(COLUMNS, fields, strict=True)))
        self._producer.produce(self._topic, value, customer_id, partition)
        self._producer.poll(0)
