"""
Prometheus metrics of `consume`; no label holds an id.

They are not in `telemetry.metrics`, because importing them there would add them, all zero, to the
`/metrics` of the API.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("events_kafka_messages_total", "Messages read.", ["partition"])
#: `counted` (includes duplicates and voided events), `dead_letter`.
SETTLED = Counter("events_kafka_settled_total", "Messages settled, by outcome.", ["outcome"])
BATCH_EVENTS = Histogram(
    "events_kafka_batch_events",
    "Events in each batch handed to the store.",
    buckets=(1, 5, 10, 50, 100, 250, 500, 1_000, 5_000),
)
#: `committed`, `failed`; the next commit includes what a failed one would have committed.
COMMITS = Counter("events_kafka_commits_total", "Offset commits, by result.", ["result"])
LAG = Gauge("events_kafka_lag_messages", "Messages not committed yet.", ["partition"])
MISSING = Counter(
    "events_kafka_missing_messages_total",
    "Messages deleted before they were counted.",
    ["partition"],
)
OPEN = Gauge(
    "events_kafka_open_messages", "Messages from the first unsettled one to the last one read."
)
OPEN_BYTES = Gauge("events_kafka_open_bytes", "Bytes of unsettled messages.")
IS_PAUSED = Gauge("events_kafka_paused", "1 while reading is paused because too much is open.")
REBALANCES = Counter("events_kafka_rebalances_total", "Rebalances, by kind.", ["kind"])
STORE_WAITING = Counter(
    "events_kafka_store_waiting_seconds_total", "Seconds in which the store accepted nothing."
)
IS_WAITING = Gauge("events_kafka_waiting", "1 while waiting for `what`: store or kafka.", ["what"])
