"""Prometheus metrics. Labels never hold an id, so that they stay few."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter(
    "events_receipts_total",
    "Events by outcome: inserted, duplicate, voided, rejected, …",
    ["outcome"],
)
STORE_RETRIES = Counter(
    "events_store_retries_total", "Retried requests to the store, by error code.", ["reason"]
)
TRANSACTION_CONFLICTS = Counter(
    "events_store_conflicts_total", "Transactions that conflicted with another transaction."
)
TRANSACTION_ACTIONS = Histogram(
    "events_store_transaction_actions",
    "Actions per committed transaction.",
    buckets=(3, 5, 10, 20, 50, 100),
)
SHARDS_DOUBLED = Counter(
    "events_shards_doubled_total", "Customers whose shards were doubled because they were busy."
)
REQUESTS = Counter(
    "events_http_requests_total", "HTTP requests answered.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "events_http_request_seconds",
    "Seconds from a request's headers to the end of its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REQUESTS_UNDER_WAY = Gauge(
    "events_http_requests_under_way", "HTTP requests in flight.", multiprocess_mode="livesum"
)
ARCHIVED = Counter(
    "events_archive_messages_total",
    "Archived messages by kind: event, or rejected if invalid.",
    ["kind"],
)
