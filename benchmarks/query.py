"""Time of a buckets request, against a bare Query and for customers with more and more events."""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks.measuring import database, fresh_settings, percentile, print_table
from benchmarks.serving import api
from events.bootstrap import make_client, make_service
from events.config import Settings
from events.datamodels import Tables
from events.domain.timestamps import day_of
from events.models import Event, Outcome, Window
from events.service import EventService

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MONTH = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 4, 1, tzinfo=UTC))
_HOUR = Window(datetime(2021, 3, 15, 12, tzinfo=UTC), datetime(2021, 3, 15, 13, tzinfo=UTC))
_MICROSECOND = timedelta(microseconds=1)


def run(*, is_quick: bool) -> None:
    sizes = (500, 2_000) if is_quick else (10_000, 100_000, 1_000_000)
    times = 30 if is_quick else 400
    with database() as server:
        settings = fresh_settings(server)
        with closing(make_service(settings, patience_seconds=60)) as service:
            service.create_tables()
            for size in sizes:
                fill(service, size)
        client = make_client(settings)
        with asking(settings) as ask:
            _compare(ask, client, settings, sizes, times)
        _read_raw(client, settings, size=sizes[1])
        client.close()


def _compare(
    ask: Callable[[str, Window], int],
    client: DynamoDBClient,
    settings: Settings,
    sizes: tuple[int, ...],
    times: int,
) -> None:
    table = Tables.named(settings.dynamodb_events_table_name).counts
    middle = sizes[1]
    variants: dict[str, Callable[[], object]] = {
        "31 days over HTTP": lambda: ask(name_of(middle), MONTH),
        "bare Query of the 31 items": lambda: _query(client, table, name_of(middle), MONTH),
        "1 hour over HTTP": lambda: ask(name_of(middle), _HOUR),
        "bare Query of the 1 item": lambda: _query(client, table, name_of(middle), _HOUR),
    }
    for size in sizes:
        if ask(name_of(size), MONTH) != size:
            raise RuntimeError(f"the answer for {size:,} events is wrong: nothing is measured")
    times_of = milliseconds(variants, times)
    pairs = list(times_of.items())
    rows = []
    for ((name, ours), (bare_name, bare)), aim in ((pairs[:2], "≤ 1.5 ×"), (pairs[2:], "")):
        ratio = f"{statistics.median(ours) / statistics.median(bare):.2f} ×"
        rows.append((name, *_quantiles(ours), ratio, aim))
        rows.append((bare_name, *_quantiles(bare), "", ""))
    print_table(
        f"Buckets of a customer with {middle:,} events, {times} questions each",
        ("variant", "p50", "p99", "HTTP to bare, p50", "aim"),
        rows,
    )
    print_growth(ask, sizes, times)


def print_growth(ask: Callable[[str, Window], int], sizes: Sequence[int], times: int) -> None:
    growing: dict[str, Callable[[], object]] = {
        f"{size:,}": (lambda size=size: ask(name_of(size), MONTH))  # type: ignore[misc]
        for size in sizes
    }
    times_of = milliseconds(growing, times)
    first = statistics.median(next(iter(times_of.values())))
    print_table(
        "The same 31 days over HTTP, of customers with more and more events",
        ("events", "p50", "p99", "to the fewest, p50", "aim"),
        [
            (name, *_quantiles(values), f"{statistics.median(values) / first:.2f} ×", "≤ 1.1 ×")
            for name, values in times_of.items()
        ],
    )


def _read_raw(client: DynamoDBClient, settings: Settings, *, size: int) -> None:
    """Time the same answer without counters: read every event of the range."""
    begin = time.perf_counter()
    pages, count = 0, 0
    for page in client.get_paginator("query").paginate(
        TableName=settings.dynamodb_events_table_name,
        KeyConditionExpression="customer_id = :customer",
        ExpressionAttributeValues={":customer": {"S": name_of(size)}},
        ConsistentRead=True,
    ):
        pages += 1
        count += page["Count"]
    seconds = time.perf_counter() - begin
    print(f"\nReading the {count:,} raw events instead: {seconds:,.1f} s, {pages} requests.")


def milliseconds(
    variants: Mapping[str, Callable[[], object]], times: int
) -> dict[str, list[float]]:
    """Time calls of all variants in turn; the first tenth is a warm-up and not counted."""
    results: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(times + times // 10):
        for name, act in variants.items():
            begin = time.perf_counter()
            act()
            if number >= times // 10:
                results[name].append((time.perf_counter() - begin) * 1000)
    return results


def _quantiles(values: list[float]) -> tuple[str, str]:
    return f"{percentile(values, 0.5):.2f} ms", f"{percentile(values, 0.99):.2f} ms"


# --- the two requests -----------------------------------------------------------------------------


def _query(client: DynamoDBClient, table: str, customer_id: str, window: Window) -> object:
    low, high = day_of(window.start), day_of(window.end - _MICROSECOND)
    return client.query(
        TableName=table,
        KeyConditionExpression="customer_id = :customer AND counter_key BETWEEN :low AND :high",
        ExpressionAttributeValues={
            ":customer": {"S": customer_id},
            ":low": {"S": f"total#{low}"},
            ":high": {"S": f"total#{high}"},
        },
        ConsistentRead=True,
    )["Items"]


@contextmanager
def asking(settings: Settings) -> Iterator[Callable[[str, Window], int]]:
    """
    Run the API in its own process, with one connection that stays open.

    Yields:
        A function that asks for a customer's buckets and returns their total. It parses the body,
        as the bare Query does.
    """
    with api(settings) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def ask(customer_id: str, window: Window) -> int:
            start, end = (quote(at.isoformat()) for at in (window.start, window.end))
            path = f"/events/customers/{quote(customer_id)}/buckets?start={start}&end={end}"
            connection.request("GET", path)
            response = connection.getresponse()
            body = json.loads(response.read())
            if response.status != 200:
                raise RuntimeError(f"the API answered {response.status}: {body}")
            return int(body["total"])

        yield ask
        connection.close()


# --- what is stored -------------------------------------------------------------------------------


def name_of(size: int) -> str:
    return f"customer-with-{size}"


def fill(service: EventService, size: int, types: Sequence[str] = ("page_view",)) -> None:
    """
    Store events spread evenly over the month and over the types.

    The service writes them: on DynamoDB Local its transactions are faster than BatchWriteItem.
    """
    step = (MONTH.end - MONTH.start) / size
    begin = time.perf_counter()
    for start in range(0, size, 20_000):
        events = [
            Event(
                name_of(size),
                types[number % len(types)],
                f"{number:09d}",
                MONTH.start + number * step,
            )
            for number in range(start, min(start + 20_000, size))
        ]
        if set(service.ingest(events)) != {Outcome.INSERTED}:
            raise RuntimeError("some events were stored before: nothing is measured")
    seconds = time.perf_counter() - begin
    sys.stderr.write(f"filled {size:,} events in {seconds:,.0f} s\n")
