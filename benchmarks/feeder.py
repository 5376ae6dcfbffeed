"""Sends messages at a steady rate, and computes what readers must find."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b

from events.config import Settings
from events.kafka.clients import Cluster, make_producer
from resources.make_events import Plan, lines

#: Distinct events by customer, type and start of the UTC hour.
Hours = Counter[tuple[str, str, datetime]]

#: One message in so many is invalid.
BAD_EVERY = 1_000
DUPLICATES = 0.05
_BAD = (b"no JSON", b'{"customer_id":"a"}', b"\xff\xfe", b"[]")
_TURN_SECONDS = 0.02
_PATIENCE_SECONDS = 60.0


class Expected:
    """
    What a correct reader finds. It shares no code with our readers: it splits lines at commas and
    reads timestamps with the standard library.
    """

    def __init__(self) -> None:
        self.hours: Hours = Counter()
        self.events = 0
        self.bad = 0
        self._seen: set[int] = set()

    @property
    def distinct(self) -> int:
        return len(self._seen)

    def add(self, customer: str, event_type: str, transaction: str, timestamp: str) -> None:
        at = datetime.fromisoformat(timestamp).astimezone(UTC)
        self.events += 1
        # A hash, because a million of them take a tenth of the memory of the texts.
        text = f"{customer},{event_type},{transaction},{at.isoformat()}"
        digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        if digest not in self._seen:
            self._seen.add(digest)
            self.hours[customer, event_type, at.replace(minute=0, second=0, microsecond=0)] += 1


class Feeder:
    """
    Sends messages in a thread; `expected` is complete when the thread has ended.

    Args:
        backlog: Messages that are sent at once; the others follow at `rate` per second.
    """

    def __init__(self, settings: Settings, *, messages: int, rate: int, backlog: int = 0) -> None:
        self.expected = Expected()
        self.sent = 0
        #: The longest delay behind its schedule; if it is large, the rate was lower.
        self.seconds_late = 0.0
        self.seconds = 0.0
        self._settings = settings
        self._messages = messages
        self._rate = rate
        self._backlog = backlog
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="feeder")

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def is_running(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._feed()
        except Exception as exc:  # noqa: BLE001 - raised in `is_running`
            self._error = exc

    def _feed(self) -> None:
        topic = self._settings.events_kafka_topic
        producer = make_producer(Cluster.of(self._settings), **{"linger.ms": 5})
        begin = time.monotonic()
        for key, value in self._pairs():
            while True:
                due = begin + max(self.sent - self._backlog, 0) / self._rate
                late = time.monotonic() - due
                if late >= 0:
                    break
                producer.poll(0)
                if self._stop.wait(_TURN_SECONDS):
                    return
            if self.sent >= self._backlog:
                self.seconds_late = max(self.seconds_late, late)
            producer.produce(topic, value, key)
            self.sent += 1
            if not self.sent % 100:
                producer.poll(0)
        if producer.flush(_PATIENCE_SECONDS):
            raise RuntimeError("Kafka did not accept all messages")
        self.seconds = time.monotonic() - begin

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        bad = self._messages // BAD_EVERY
        plan = Plan(rows=self._messages - bad, days=3, duplicates=DUPLICATES)
        rows = lines(plan)
        next(rows)
        for number in range(self._messages):
            if number % BAD_EVERY == BAD_EVERY - 1 and self.expected.bad < bad:
                self.expected.bad += 1
                yield str(number).encode(), _BAD[number // BAD_EVERY % len(_BAD)]
                continue
            fields = next(rows).rstrip("\n").split(",")
            self.expected.add(*fields)
            yield fields[0].encode(), _json(fields)


def _json(fields: list[str]) -> bytes:
    names = ("customer_id", "event_type", "transaction_id", "timestamp")
    return json.dumps(dict(zip(names, fields, strict=True))).encode()
