"""POST /events: rates against the CSV command, write units, and both routes by workers."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Clients, Request, Sent, clients
from benchmarks.eventrequests import check, fill, requests_of, send, spread_over
from benchmarks.ingest import (
    bare_transactions,
    events_of,
    ingest_file,
    transactions_of,
    with_tables,
)
from benchmarks.measuring import (
    database,
    interleaved,
    percentile,
    print_table,
    rate_row,
    times,
    write_events,
)
from benchmarks.serving import api
from events.bootstrap import make_client
from events.config import Settings
from events.local.dynamodb import DynamoDBLocal
from resources.make_events import Plan

_MONTH = "start=2021-03-01T00:00:00Z&end=2021-04-01T00:00:00Z"
#: Counter items in a transaction of events of one type: the total, and the type.
_COUNTERS = 2
#: Write units of one action of at most 1 KB (Developer Guide, "Amazon DynamoDB Transactions").
_UNITS_PER_ACTION = 2
_LONE_EVENT_UNITS = _UNITS_PER_ACTION * (1 + _COUNTERS)
#: Clients, and how many events they send one by one, which takes a few seconds.
_ONE_BY_ONE = ((1, 200), (8, 800), (32, 1_600))


@dataclass(frozen=True, slots=True)
class Load:
    """How many clients send how many events, and how many events per request."""

    clients: int
    events: int
    batch: int = 1

    @property
    def name(self) -> str:
        return f"{self.clients} × {self.batch:,}"


def run(*, is_quick: bool) -> None:
    rounds = 1 if is_quick else 3
    share = 0.02 if is_quick else 1
    with (
        database() as server,
        tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder,
        clients() as senders,
    ):
        _compare(server, senders, Path(folder, "events.csv"), share, rounds)
        _one_by_one(server, senders, share, rounds)
        _routes(server, senders, share, rounds)


# --- against the CSV command ----------------------------------------------------------------------


def _compare(
    server: DynamoDBLocal, senders: Clients, path: Path, share: float, rounds: int
) -> None:
    rows = int(32_000 * share)
    write_events(path, Plan(rows=rows, days=3, plain=True))
    events = events_of(path)
    transactions = transactions_of(server, path)
    # Fewer events where each costs more, so that all loads take about as long.
    loads = [
        *(Load(number, int(size * share)) for number, size in _ONE_BY_ONE),
        *(Load(number, int(6_400 * share), 100) for number in (1, 8, 32)),
        *(Load(number, rows, 1_000) for number in (1, 8, 32)),
    ]  # fmt: skip

    def from_file() -> float:
        settings = with_tables(server)
        seconds, _, _ = ingest_file(path, settings)
        check(settings, rows)
        return rows / seconds

    def over_http(load: Load) -> Callable[[], float]:
        requests = requests_of(events[: load.events], load.batch)

        def measure() -> float:
            settings = with_tables(server)
            sent = send(settings, senders, requests, clients=load.clients, events=load.events)
            return load.events / sent.seconds

        return measure

    figures = interleaved(
        rounds,
        {
            "CSV command": from_file,
            "bare transactions": lambda: rows / bare_transactions(server, transactions),
            **{load.name: over_http(load) for load in loads},
        },
    )
    csv, bare = figures["CSV command"], figures["bare transactions"]
    print_table(
        f"Events a second over HTTP, of {rows:,} events over 3 days",
        ("clients × events a request", "events/s (median)", "lowest–highest", "to the CSV command",
         "to bare transactions", "aim"),
        [
            rate_row(
                name,
                rates,
                times(rates, csv),
                times(rates, bare),
                "≥ 0.8 × the CSV command" if name.endswith(" 1,000") else "",
            )
            for name, rates in figures.items()
        ],
    )  # fmt: skip
    print("\nRequests of 1 and 100 events send fewer of the same events: they are slower.")


# --- one customer's events, one by one ------------------------------------------------------------


def _one_by_one(server: DynamoDBLocal, senders: Clients, share: float, rounds: int) -> None:
    loads = [Load(number, int(size * share)) for number, size in _ONE_BY_ONE]
    units: dict[str, list[float]] = {load.name: [] for load in loads}
    slowest: dict[str, list[float]] = {load.name: [] for load in loads}
    rates: dict[str, list[float]] = {load.name: [] for load in loads}

    def one_by_one(load: Load) -> Callable[[], float]:
        requests = requests_of(spread_over("acme", load.events, days=1), 1)

        def measure() -> float:
            settings = with_tables(server)
            sent = send(settings, senders, requests, clients=load.clients, events=load.events)
            units[load.name].append(_units_per_event(settings, load.events))
            slowest[load.name].append(percentile(sent.milliseconds, 0.99))
            rates[load.name].append(load.events / sent.seconds)
            return percentile(sent.milliseconds, 0.5)

        return measure

    figures = interleaved(rounds, {load.name: one_by_one(load) for load in loads})
    print_table(
        "One customer's events of one day and type, each in a request of its own",
        ("clients", "write units an event", "of a lone event's", "events/s", "p50", "p99"),
        [
            (
                f"{load.clients}",
                f"{statistics.median(units[load.name]):.2f}",
                f"{statistics.median(units[load.name]) / _LONE_EVENT_UNITS:.2f} ×",
                f"{statistics.median(rates[load.name]):,.0f}",
                f"{statistics.median(figures[load.name]):.1f} ms",
                f"{statistics.median(slowest[load.name]):.1f} ms",
            )
            for load in loads
        ],
    )


def _units_per_event(settings: Settings, events: int) -> float:
    """
    Write units per event of one customer, day and type, as AWS would count them.

    All events of a transaction have the same `ingested_at`, and two transactions of one customer
    and day never run at the same time. So the stored items tell how many transactions there were.
    """
    client = make_client(settings)
    stamps = [
        item["ingested_at"]["S"]
        for page in client.get_paginator("scan").paginate(
            TableName=settings.dynamodb_events_table_name, ConsistentRead=True
        )
        for item in page["Items"]
    ]
    client.close()
    if len(stamps) != events:
        raise RuntimeError(f"{len(stamps):,} events are stored, not {events:,}")
    return _UNITS_PER_ACTION * (events + _COUNTERS * len(set(stamps))) / events


# --- both routes, by clients and workers ----------------------------------------------------------


def _routes(server: DynamoDBLocal, senders: Clients, share: float, rounds: int) -> None:
    asked = spread_over("asked", max(31, int(6_200 * share)), days=31)
    question = Request(
        f"/events/customers/asked/buckets?{_MONTH}", None, b'{"customer_id":"asked","start":"2021'
    )
    results: dict[tuple[str, int, int], list[Sent]] = {}

    def ask(workers: int, number: int) -> Callable[[], float]:
        times = max(1, int((200 if number == 1 else 640) * share) // number) * number
        # One customer per client: group commit of one customer's events is measured above.
        events = [
            event
            for group in zip(
                *(
                    spread_over(f"sender-{client}", times // number, days=1)
                    for client in range(number)
                ),
                strict=True,
            )
            for event in group
        ]

        def measure() -> float:
            settings = with_tables(server)
            fill(settings, asked)
            with api(settings, workers=workers) as port:
                for name, requests in (
                    ("POST of 1 event", requests_of(events, 1)),
                    ("GET of 31 days", [question] * times),
                ):
                    sent = senders.send(port, requests, clients=number)
                    results.setdefault((name, number, workers), []).append(sent)
            check(settings, len(asked) + len(events))
            return percentile(sent.milliseconds, 0.5)

        return measure

    interleaved(
        rounds,
        {
            f"{number} clients, {workers} workers": ask(workers, number)
            for number in (1, 32)
            for workers in (1, 2)
        },
    )

    def median(sent: Sequence[Sent], figure: Callable[[Sent], float]) -> float:
        return statistics.median(map(figure, sent))

    print_table(
        "Both routes, by clients and workers",
        ("request", "clients", "workers", "p50", "p99", "requests/s"),
        [
            (
                name,
                f"{number}",
                f"{workers}",
                f"{median(sent, lambda run: percentile(run.milliseconds, 0.5)):.1f} ms",
                f"{median(sent, lambda run: percentile(run.milliseconds, 0.99)):.1f} ms",
                f"{median(sent, lambda run: len(run.milliseconds) / run.seconds):,.0f}",
            )
            for (name, number, workers), sent in sorted(results.items(), reverse=True)
        ],
    )
