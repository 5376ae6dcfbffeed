"""What exact counting costs on SQL: against the bare statements, other databases, DynamoDB."""

from __future__ import annotations

import csv
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

from benchmarks import memory, sqlpeers, sqlposts
from benchmarks.ingest import ingest_file
from benchmarks.measuring import interleaved, median_ratio, print_table, spread, write_events
from benchmarks.query import asking, fill, print_growth
from events.bootstrap import make_service
from events.config import Settings
from resources.make_events import Plan

_EVENTS_PER_TRANSACTION = 20_000
_DUPLICATES = 0.05
_SCHEMA = f"""
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
CREATE TABLE events (
    customer_id TEXT, at TEXT, event_type TEXT, transaction_id TEXT, ingested_at INTEGER,
    PRIMARY KEY (customer_id, at, event_type, transaction_id)) WITHOUT ROWID;
CREATE TABLE counts (
    customer_id TEXT, event_type TEXT, day TEXT, {", ".join(f"h{hour:02d}" for hour in range(24))},
    PRIMARY KEY (customer_id, event_type, day)) WITHOUT ROWID;
"""


def run(*, is_quick: bool) -> None:
    rows, rounds = (20_000, 1) if is_quick else (1_000_000, 3)
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        for name, is_shuffled in (("in order of time", False), ("shuffled", True)):
            path = Path(folder, f"{name}.csv")
            _write(path, rows, is_shuffled=is_shuffled)
            _compare(path, name, rows, rounds)
            distinct = round(rows * (1 - _DUPLICATES))
            sqlpeers.compare(path, name, rows, distinct, rounds=rounds)
    sqlposts.compare_posts(requests=640 if is_quick else 3_200, rounds=rounds)
    _grow((500, 2_000) if is_quick else (10_000, 1_000_000, 10_000_000))
    memory.run_on_sqlite(is_quick=is_quick)


def _grow(sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="events-benchmark-") as folder:
        settings = Settings(events_database_url=f"sqlite:///{folder}/events.db")
        with closing(make_service(settings, patience_seconds=60)) as service:
            for size in sizes:
                fill(service, size)
        with asking(settings) as ask:
            print_growth(ask, sizes, 200)


def _write(path: Path, rows: int, *, is_shuffled: bool) -> None:
    """A file of events, some of them twice."""
    distinct = round(rows * (1 - _DUPLICATES))
    write_events(path, Plan(rows=distinct, days=31, plain=True))
    header, *lines = path.read_text(encoding="ascii").splitlines(keepends=True)
    rng = random.Random(1)
    lines += rng.choices(lines, k=rows - distinct)
    if is_shuffled:
        rng.shuffle(lines)
    path.write_text(header + "".join(lines), encoding="ascii")


def _compare(path: Path, name: str, rows: int, rounds: int) -> None:
    numbers = count()
    used = [Settings()]

    def first_run() -> float:
        database = path.with_suffix(f".{next(numbers)}.db")
        used[0] = Settings(events_database_url=f"sqlite:///{database}")
        seconds, inserted, duplicates = ingest_file(path, used[0])
        assert inserted + duplicates == rows
        return rows / seconds

    def second_run() -> float:
        seconds, _, duplicates = ingest_file(path, used[0])
        assert duplicates == rows
        return rows / seconds

    def bare() -> float:
        database = path.with_suffix(f".{next(numbers)}.db")
        return rows / _bare(path, database)

    figures = interleaved(
        rounds,
        {"CSV command": first_run, "the same file again": second_run, "bare statements": bare},
    )
    first, other = figures["CSV command"], figures["bare statements"]
    table = [
        (variant, f"{sorted(values)[len(values) // 2]:,.0f}", spread(values))
        for variant, values in figures.items()
    ]
    print_table(
        f"Ingest of {rows:,} events into SQLite, {name}, {_DUPLICATES:.0%} duplicates",
        ("variant", "events/s (median)", "lowest–highest"),
        table,
    )
    print(f"\nCSV command to bare statements: {median_ratio(first, other):.2f} × (aim ≥ 0.7 ×).")


def _bare(path: Path, database: Path) -> float:
    """Seconds to read the rows and store and count them without any check or receipt."""
    begin = time.perf_counter()
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript(_SCHEMA)
    with path.open(encoding="ascii", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for batch in _batches(rows):
            _store(connection, batch)
    connection.close()
    return time.perf_counter() - begin


def _batches(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    batch: list[list[str]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _EVENTS_PER_TRANSACTION:
            yield batch
            batch = []
    if batch:
        yield batch


def _store(connection: sqlite3.Connection, batch: Sequence[Sequence[str]]) -> None:
    keys = sorted({(customer, at, kind, transaction) for customer, kind, transaction, at in batch})
    connection.execute("BEGIN IMMEDIATE")
    new = [
        key
        for key in keys
        if connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, 1) ON CONFLICT DO NOTHING", key
        ).rowcount
    ]
    counters: dict[tuple[str, str, str], Counter[str]] = {}
    for customer, at, kind, _ in new:
        for event_type in ("", kind):
            counters.setdefault((customer, event_type, at[:10]), Counter())[at[11:13]] += 1
    for key, hours in sorted(counters.items()):
        names = [f"h{hour}" for hour in hours]
        connection.execute(
            f"INSERT INTO counts (customer_id, event_type, day, {', '.join(names)}) "
            f"VALUES (?, ?, ?{', ?' * len(names)}) ON CONFLICT DO UPDATE SET "
            + ", ".join(f"{name} = coalesce({name}, 0) + excluded.{name}" for name in names),
            (*key, *hours.values()),
        )
    connection.execute("COMMIT")
