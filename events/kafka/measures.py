"""What is measured of a consumer, in the words of Prometheus; no label holds an id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("events_kafka_messages_total", "Messages read.", ["partition"])
#: `counted` (also what is a duplicate or voided), `dead_letter`.
SETTLED = Counter("events_kafka_settled_total", "Messages by what became of them.", ["outcome"])
BATCH_EVENTS = Histogram(
    "events_kafka_batch_events",
    "Events of each batch handed to the store.",
    buckets=(1, 5, 10, 50, 100, 250, 500, 1_000, 5_000),
)
#: `committed`, `failed`: the next one commits what this one would have.
COMMITS = Counter("events_kafka_commits_total", "Commits of offsets by result.", ["result"])
LAG = Gauge(
    "events_kafka_lag_messages", "Messages of a partition that are not committed.", ["partition"]
)
MISSING = Counter(
    "events_kafka_missing_messages_total", "Deleted before they were counted.", ["partition"]
)
OPEN = Gauge(
    "events_kafka_open_messages", "Messages from the first that is not done on to the last read."
)
OPEN_BYTES = Gauge("events_kafka_open_bytes", "Bytes of the messages that are not done.")
IS_PAUSED = Gauge("events_kafka_paused", "1 while no more is read: enough is open.")
REBALANCES = Counter("events_kafka_rebalances_total", "Changes of partitions, by kind.", ["kind"])
STORE_WAITING = Counter(
    "events_kafka_store_waiting_seconds_total", "Time in which the store took nothing."
)
IS_WAITING = Gauge(
    "events_kafka_waiting", "1 while there is waiting for it: store, kafka.", ["what"]
)
