"""Loads and questions of the SQL stores, beside bare SQL, DuckDB and ClickHouse."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.ingest import ingest_file
from benchmarks.measuring import interleaved, median_ratio, percentile, print_table, spread
from benchmarks.query import MONTH, asking, milliseconds
from events.config import Settings
from tests.support import postgres

_EVENTS_PER_TRANSACTION = 20_000
_KEY = "customer_id, happened_at, event_type, transaction_id"
_BY_HOUR = (
    "WHERE customer_id = '{0}' AND happened_at >= '2021-03-01' AND happened_at < '2021-04-01' "
    "GROUP BY 1"
)
#: Not in the requirements: `pip install duckdb chdb`.
OPTIONAL = ("duckdb", "chdb")

#: Loads a file; returns seconds and the number of distinct events.
Load = Callable[[Path], tuple[float, int]]
#: Counts the events of a customer, by hour of a month.
Ask = Callable[[str], int]


def compare(path: Path, name: str, rows: int, distinct: int, *, rounds: int) -> None:
    """Load a file into each store, then ask each for a month of a customer by hour."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="events-benchmark-")))
        server = fresh_postgresql(stack)
        ours = {"ours on SQLite": Settings(events_database_url=f"sqlite:///{folder}/events.db")}
        peers: dict[str, tuple[Load, Ask]] = {}
        if server:
            url = stack.enter_context(postgres.database(server))
            ours["ours on PostgreSQL"] = Settings(events_database_url=url)
            for variant, has_counters in (("bare PostgreSQL", True), ("plain PostgreSQL", False)):
                other = stack.enter_context(postgres.database(server)).replace("+psycopg", "")
                connection = stack.enter_context(psycopg.connect(other))
                peers[variant] = _of_postgresql(connection, has_counters=has_counters)
        for module, peer in zip(OPTIONAL, (_duckdb, _clickhouse), strict=True):
            if find_spec(module):
                peers[module] = peer(stack, folder)
        loads = {
            **{variant: _ours(settings) for variant, settings in ours.items()},
            **{variant: load for variant, (load, _) in peers.items()},
        }
        _print_loads(path, name, rows, distinct, loads, rounds=rounds)
        customer = path.read_text(encoding="ascii").splitlines()[1].partition(",")[0]
        asks = {variant: ask for variant, (_, ask) in peers.items()}
        for variant, settings in ours.items():
            over_http = stack.enter_context(asking(settings))
            asks[variant] = lambda customer, ask=over_http: ask(customer, MONTH)  # type: ignore[misc]
        _print_questions(name, customer, asks)


def fresh_postgresql(stack: ExitStack) -> str | None:
    """The URL of a server that waits for the disk, as PostgreSQL does by default."""
    programs = postgres.programs()
    if programs is None:
        return None
    return stack.enter_context(postgres.server(programs, options=("fsync=on",))).url


def _print_loads(
    path: Path, name: str, rows: int, distinct: int, loads: Mapping[str, Load], *, rounds: int
) -> None:
    def timed(load: Load) -> float:
        seconds, stored = load(path)
        if stored != distinct:
            raise RuntimeError(f"{stored:,} events are stored, not {distinct:,}")
        return rows / seconds

    figures = interleaved(
        rounds,
        {variant: (lambda load=load: timed(load)) for variant, load in loads.items()},  # type: ignore[misc]
    )
    bases = [variant for variant in ("bare PostgreSQL", "plain PostgreSQL") if variant in figures]
    print_table(
        f"Load of {rows:,} events, {name}",
        ("variant", "events/s", "lowest–highest", *(f"÷ {base}" for base in bases)),
        [
            (
                variant,
                f"{statistics.median(values):,.0f}",
                spread(values),
                *(f"{median_ratio(values, figures[base]):.2f} ×" for base in bases),
            )
            for variant, values in figures.items()
        ],
    )


def _print_questions(name: str, customer: str, asks: Mapping[str, Ask]) -> None:
    answers = {variant: ask(customer) for variant, ask in asks.items()}
    if len(set(answers.values())) != 1:
        raise RuntimeError(f"the answers differ: {answers}")
    times = milliseconds(
        {variant: (lambda ask=ask: ask(customer)) for variant, ask in asks.items()},  # type: ignore[misc]
        50,
    )
    print_table(
        f"31 days of one customer by hour ({next(iter(answers.values())):,} events), {name}",
        ("variant", "p50", "p99"),
        [
            (variant, f"{percentile(values, 0.5):.1f} ms", f"{percentile(values, 0.99):.1f} ms")
            for variant, values in times.items()
        ],
    )


# --- the variants ---------------------------------------------------------------------------------


def _ours(settings: Settings) -> Load:
    def load(path: Path) -> tuple[float, int]:
        empty(settings.events_database_url)
        seconds, inserted, _ = ingest_file(path, settings)
        return seconds, inserted

    return load


def empty(url: str) -> None:
    if url.startswith("sqlite:"):
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)
        return
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def _of_postgresql(connection: psycopg.Connection[Any], *, has_counters: bool) -> tuple[Load, Ask]:
    """COPY, INSERT … ON CONFLICT and, with counters, an upsert of the new rows by hour."""
    insert = (
        f"INSERT INTO events SELECT {_KEY} FROM incoming ORDER BY {_KEY} ON CONFLICT DO NOTHING"
    )
    if has_counters:
        insert = f"""
            WITH new AS ({insert} RETURNING customer_id, event_type, happened_at)
            INSERT INTO counts
            SELECT customer_id, event_type, date_trunc('hour', happened_at), count(*)
            FROM new GROUP BY 1, 2, 3
            ON CONFLICT (customer_id, event_type, happened_at)
            DO UPDATE SET number = counts.number + excluded.number"""

    def load(path: Path) -> tuple[float, int]:
        connection.execute(
            f"""
            SET TIME ZONE 'UTC';
            DROP TABLE IF EXISTS events, counts, incoming;
            CREATE TABLE events (customer_id text COLLATE "C", happened_at timestamptz,
                event_type text COLLATE "C", transaction_id text COLLATE "C", PRIMARY KEY ({_KEY}));
            CREATE TABLE counts (customer_id text, event_type text, happened_at timestamptz,
                number bigint, PRIMARY KEY (customer_id, event_type, happened_at));
            CREATE TEMP TABLE incoming (customer_id text COLLATE "C", event_type text COLLATE "C",
                transaction_id text COLLATE "C", happened_at timestamptz);""".encode()
        )
        connection.commit()
        begin = time.perf_counter()
        with path.open("rb") as file:
            next(file)
            while lines := list(islice(file, _EVENTS_PER_TRANSACTION)):
                with (
                    connection.cursor() as cursor,
                    cursor.copy(b"COPY incoming FROM STDIN (FORMAT csv)") as copy,
                ):
                    copy.write(b"".join(lines))
                connection.execute(insert.encode())
                connection.execute(b"TRUNCATE incoming")
                connection.commit()
        seconds = time.perf_counter() - begin
        return seconds, _scalar(connection.execute(b"SELECT count(*) FROM events"))

    query = f"SELECT date_trunc('hour', happened_at), count(*) FROM events {_BY_HOUR}"
    return load, lambda customer: _sum(connection.execute(query.format(customer).encode()))


def _duckdb(stack: ExitStack, folder: Path) -> tuple[Load, Ask]:
    connection = stack.enter_context(closing(import_module("duckdb").connect(folder / "duck.db")))

    def load(path: Path) -> tuple[float, int]:
        connection.execute(
            "CREATE OR REPLACE TABLE events (customer_id TEXT, event_type TEXT, "
            f"transaction_id TEXT, happened_at TIMESTAMP, PRIMARY KEY ({_KEY}))"
        )
        begin = time.perf_counter()
        connection.execute(
            f"INSERT OR IGNORE INTO events SELECT DISTINCT * FROM read_csv('{path}')"
        )
        seconds = time.perf_counter() - begin
        return seconds, _scalar(connection.execute("SELECT count(*) FROM events"))

    query = f"SELECT date_trunc('hour', happened_at), count(*) FROM events {_BY_HOUR}"
    return load, lambda customer: _sum(connection.execute(query.format(customer)))


def _clickhouse(stack: ExitStack, folder: Path) -> tuple[Load, Ask]:
    session = import_module("chdb.session").Session(str(folder / "clickhouse"))
    stack.callback(session.close)

    def rows(query: str) -> Iterator[tuple[str, int]]:
        for line in str(session.query(query, "CSV")).splitlines():
            name, _, number = line.rpartition(",")
            yield name, int(number)

    def load(path: Path) -> tuple[float, int]:
        session.query("CREATE DATABASE IF NOT EXISTS b")
        session.query("DROP TABLE IF EXISTS b.events SYNC")
        session.query(
            "CREATE TABLE b.events (customer_id String, event_type String, transaction_id String, "
            f"happened_at DateTime64(6, 'UTC')) ENGINE = ReplacingMergeTree ORDER BY ({_KEY})"
        )
        begin = time.perf_counter()
        session.query(
            f"INSERT INTO b.events SELECT * FROM file('{path}', CSVWithNames, "
            "'customer_id String, event_type String, transaction_id String, timestamp "
            "DateTime64(6, ''UTC'')') SETTINGS date_time_input_format = 'best_effort'"
        )
        seconds = time.perf_counter() - begin
        return seconds, sum(number for _, number in rows("SELECT 1, count() FROM b.events FINAL"))

    query = f"SELECT toStartOfHour(happened_at), count() FROM b.events FINAL {_BY_HOUR}"
    return load, lambda customer: sum(number for _, number in rows(query.format(customer)))


def _scalar(result: Any) -> int:
    return int(result.fetchone()[0])


def _sum(result: Any) -> int:
    return sum(number for _, number in result.fetchall())
