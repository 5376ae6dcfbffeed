"""POST of single events on SQLite and PostgreSQL, beside DynamoDB Local."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.clients import clients
from benchmarks.eventrequests import check, requests_of, spread_over
from benchmarks.measuring import (
    database,
    fresh_settings,
    interleaved,
    median_ratio,
    percentile,
    print_table,
    spread,
)
from benchmarks.serving import api
from benchmarks.sqlpeers import empty, fresh_postgresql
from events.config import Settings
from tests.support import postgres

_CLIENTS = 32


def compare_posts(*, requests: int, rounds: int) -> None:
    """POST of one event by 32 clients, on each store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="events-benchmark-")))
        dynamodb, senders = stack.enter_context(database()), stack.enter_context(clients())
        server = fresh_postgresql(stack)
        latencies: dict[str, list[float]] = {}

        def post(name: str, settings: Settings) -> float:
            events = [
                event
                for group in zip(
                    *(
                        spread_over(f"sender-{client}", requests // _CLIENTS, days=1)
                        for client in range(_CLIENTS)
                    ),
                    strict=True,
                )
                for event in group
            ]
            with api(settings) as port:
                sent = senders.send(port, requests_of(events, 1), clients=_CLIENTS)
            check(settings, len(events))
            latencies.setdefault(name, []).extend(sent.milliseconds)
            return len(events) / sent.seconds

        def on_sql(name: str, url: str) -> float:
            empty(url)
            return post(name, Settings(events_database_url=url))

        variants: dict[str, Callable[[], float]] = {
            "DynamoDB Local": lambda: post("DynamoDB Local", fresh_settings(dynamodb)),
            "SQLite": lambda: on_sql("SQLite", f"sqlite:///{folder}/events.db"),
        }
        if server:
            url = stack.enter_context(postgres.database(server))
            variants["PostgreSQL"] = lambda: on_sql("PostgreSQL", url)
        figures = interleaved(rounds, variants)
    base = figures["DynamoDB Local"]
    print_table(
        f"POST of one event, {_CLIENTS} clients",
        ("store", "requests/s", "lowest–highest", "p50", "p99", "÷ DynamoDB Local"),
        [
            (
                name,
                f"{statistics.median(values):,.0f}",
                spread(values),
                f"{percentile(latencies[name], 0.5):.0f} ms",
                f"{percentile(latencies[name], 0.99):.0f} ms",
                f"{median_ratio(values, base):.2f} ×",
            )
            for name, values in figures.items()
        ],
    )
