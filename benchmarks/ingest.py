"""What exact counting costs: the CSV command against the bare requests it is made of."""

from __future__ import annotations

import copy
import json
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.measuring import (
    database,
    expect,
    fresh_settings,
    interleaved,
    print_table,
    rate_row,
    run_python,
    times,
    write_events,
)
from events.bootstrap import make_client, make_service, make_store
from events.config import Settings
from events.datamodels import Tables
from events.ingest.files import open_lines
from events.ingest.reading import Rejection
from events.ingest.records import read_records
from events.local.dynamodb import DynamoDBLocal
from events.models import Event
from resources.make_events import Plan

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

T = TypeVar("T")
#: BatchWriteItem takes this many items (API Reference, BatchWriteItem).
_BATCH = 25


def run(*, is_quick: bool) -> None:
    rounds = 1 if is_quick else 5
    with database() as server, tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        # Few events a customer and day make small transactions, many make full ones.
        for name, days, rows in (
            ("31 days: small transactions", 31, 2_000 if is_quick else 30_000),
            ("3 days: full transactions", 3, 2_000 if is_quick else 30_000),
        ):
            path = Path(folder, f"{days}.csv")
            write_events(path, Plan(rows=rows, days=days, plain=True))
            _compare(server, path, name, rows, rounds)
        _compare_duplicates(server, Path(folder), rows=1_000 if is_quick else 20_000, rounds=rounds)


def ingest_file(path: Path, settings: Settings) -> tuple[float, int, int]:
    """
    Our whole path: the one place that says what is measured.

    Returns:
        Seconds from the first row read to the last one durable and counted, without the start of
        the interpreter; events inserted; duplicates.
    """
    output, _ = run_python(settings, "ingest_events_from_file.py", "--json", str(path))
    answer = json.loads(output)
    return answer["seconds"], answer["inserted"], answer["duplicates"]


def _compare(server: DynamoDBLocal, path: Path, name: str, rows: int, rounds: int) -> None:
    transactions = transactions_of(server, path)
    items = [
        action["Put"]["Item"]
        for transaction in transactions
        for action in transaction
        if "Put" in action
    ]
    some, few = items[: len(items) // 4], items[: len(items) // 20]
    used = with_tables(server)

    def first_run() -> float:
        nonlocal used
        used = with_tables(server)
        seconds, inserted, _ = ingest_file(path, used)
        expect(inserted, rows)
        return rows / seconds

    def second_run() -> float:
        seconds, _, duplicates = ingest_file(path, used)
        expect(duplicates, rows)
        return rows / seconds

    figures = interleaved(
        rounds,
        {
            "CSV command": first_run,
            "the same file again": second_run,
            "bare transactions": lambda: rows / bare_transactions(server, transactions),
            "bare BatchWriteItem": lambda: len(some) / _bare_batches(server, some),
            "bare put_item": lambda: len(few) / _bare_puts(server, few),
        },
    )
    first = figures["CSV command"]
    aims = {"bare transactions": 0.9, "bare BatchWriteItem": 2, "bare put_item": 10}
    again = figures["the same file again"]
    table = [
        rate_row("CSV command", first, "", ""),
        *(
            rate_row(other, figures[other], times(first, figures[other]), f"≥ {aim} ×")
            for other, aim in aims.items()
        ),
        rate_row(
            "the same file again (its rate to the first)", again, times(again, first), "≥ 1 ×"
        ),
    ]
    size = statistics.mean(map(len, transactions))
    print_table(
        f"Ingest of {rows:,} events over {name} ({len(transactions):,} of {size:.0f} actions)",
        ("variant", "events/s (median)", "lowest–highest", "CSV command to it", "aim"),
        table,
    )
    print(f"\nBatchWriteItem is measured on {len(some):,} of the items, put_item on {len(few):,}.")


def _compare_duplicates(server: DynamoDBLocal, folder: Path, *, rows: int, rounds: int) -> None:
    """A duplicate cancels its whole transaction, and the rest of that is sent again."""
    figures = interleaved(
        rounds,
        {
            f"{share:.0%} duplicates": _ingest_with_duplicates(server, folder, rows, share)
            for share in (0.0, 0.01, 0.05)
        },
    )
    without = next(iter(figures.values()))
    print_table(
        f"Ingest of {rows:,} rows over 3 days, some of them duplicates",
        ("file", "rows/s (median)", "lowest–highest", "to none"),
        [rate_row(name, rates, times(rates, without)) for name, rates in figures.items()],
    )


def _ingest_with_duplicates(
    server: DynamoDBLocal, folder: Path, rows: int, share: float
) -> Callable[[], float]:
    path = folder / f"duplicates-{share}.csv"
    write_events(path, Plan(rows=rows, days=3, duplicates=share))

    def measure() -> float:
        seconds, inserted, duplicates = ingest_file(path, with_tables(server))
        expect(inserted + duplicates, rows)
        return rows / seconds

    return measure


# --- the bare loops -------------------------------------------------------------------------------


def bare_transactions(
    server: DynamoDBLocal, transactions: Sequence[list[TransactWriteItemTypeDef]]
) -> float:
    """The same action lists, made beforehand; nothing else, and nothing is judged."""
    settings = with_tables(server)
    tables = Tables.named(settings.dynamodb_events_table_name)
    work = copy.deepcopy(transactions)
    for action in (action for actions in work for action in actions):
        if "Put" in action:
            action["Put"]["TableName"] = tables.events
        else:
            action["Update"]["TableName"] = tables.counts
    client = make_client(settings)
    return _in_threads(
        settings.events_write_threads,
        work,
        lambda actions: client.transact_write_items(
            TransactItems=actions, ClientRequestToken=str(uuid.uuid4())
        ),
    )


def _bare_batches(server: DynamoDBLocal, items: Sequence[Any]) -> float:
    """The same event items: no counters, no condition, so no dedupe and no receipts."""
    settings = with_tables(server)
    table = settings.dynamodb_events_table_name
    client = make_client(settings)
    puts = [{"PutRequest": {"Item": item}} for item in items]

    def write(batch: list[Any]) -> None:
        left: Any = {table: batch}
        while left:
            left = client.batch_write_item(RequestItems=left).get("UnprocessedItems")

    work = [puts[start : start + _BATCH] for start in range(0, len(puts), _BATCH)]
    return _in_threads(settings.events_write_threads, work, write)


def _bare_puts(server: DynamoDBLocal, items: Sequence[Any]) -> float:
    settings = with_tables(server)
    table = settings.dynamodb_events_table_name
    client = make_client(settings)
    return _in_threads(1, items, lambda item: client.put_item(TableName=table, Item=item))


def _in_threads(threads: int, work: Iterable[T], act: Callable[[T], object]) -> float:
    """Seconds until all is done; each thread takes the next piece as soon as it is free."""
    left = iter(work)
    lock = threading.Lock()
    errors: list[Exception] = []

    def run_until_empty() -> None:
        while not errors:
            with lock:
                piece = next(left, None)
            if piece is None:
                return
            try:
                act(piece)
            except Exception as exc:  # noqa: BLE001 - raised again below, in the main thread
                errors.append(exc)

    workers = [threading.Thread(target=run_until_empty) for _ in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begin
    if errors:
        raise errors[0]
    return seconds


# --- preparation ----------------------------------------------------------------------------------


def transactions_of(server: DynamoDBLocal, path: Path) -> list[list[TransactWriteItemTypeDef]]:
    """The action lists that the service itself sends for a file, caught on their way."""
    caught: list[list[TransactWriteItemTypeDef]] = []

    def catch(params: dict[str, Any], **_: object) -> None:
        caught.append(params["TransactItems"])

    with closing(make_service(with_tables(server), patience_seconds=60)) as service:
        # Only here is the inside looked at; what is measured is not touched.
        client = service._store._client  # type: ignore[attr-defined]
        client.meta.events.register("provide-client-params.dynamodb.TransactWriteItems", catch)
        for start in range(0, len(events := events_of(path)), 20_000):
            service.submit(events[start : start + 20_000])
        service.drain()
    return caught


def events_of(path: Path) -> list[Event]:
    with open_lines(str(path)) as source:
        return [record[1] for record in read_records(source) if not isinstance(record, Rejection)]


def with_tables(server: DynamoDBLocal) -> Settings:
    settings = fresh_settings(server)
    with closing(make_store(settings, patience_seconds=10)) as store:
        store.create_tables()
    return settings
