"""What is measured while the service runs, in the words of Prometheus; no label holds an id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

#: Receipts, by outcome: `inserted`, `duplicate`, `voided`, `rejected`, and those of corrections.
EVENTS = Counter("events_receipts_total", "Events by what became of them.", ["outcome"])
#: Requests to the store that were sent again, by the reason's code.
STORE_RETRIES = Counter(
    "events_store_retries_total", "Requests to the store sent again, by reason.", ["reason"]
)
TRANSACTION_CONFLICTS = Counter(
    "events_store_conflicts_total", "Transactions that met another one on an item."
)
TRANSACTION_ACTIONS = Histogram(
    "events_store_transaction_actions",
    "Actions of each transaction that was committed.",
    buckets=(3, 5, 10, 20, 50, 100),
)
REQUESTS = Counter(
    "events_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "events_http_request_seconds",
    "Time from a request's head to the end of its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REQUESTS_UNDER_WAY = Gauge(
    "events_http_requests_under_way", "Requests being answered now.", multiprocess_mode="livesum"
)
#: Messages in the archive: `event`, or `rejected` for those that no event could be made of.
ARCHIVED = Counter(
    "events_archive_messages_total", "Messages archived, by what they are.", ["kind"]
)
