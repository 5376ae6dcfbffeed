"""Cost of counting from Kafka, archiving and recounting, each compared with a bare loop."""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Message as KafkaMessage
from pyspark.sql import SparkSession

from benchmarks import bus
from benchmarks.ingest import events_of, ingest_file, with_tables
from benchmarks.measuring import (
    database,
    environment_of,
    expect,
    interleaved,
    print_table,
    rate_row,
    run_python,
    spread,
    times,
    write_events,
)
from events.archive.archiver import COMMIT_ROWS
from events.config import Settings
from events.domain.jsonevents import parse_message
from events.local.dynamodb import DynamoDBLocal
from events.local.javaserver import free_port
from jobs import recount
from jobs.lib.session import opened_session, table_name
from jobs.lib.tables import RAW
from resources.make_events import Plan

_COLUMNS = ("customer_id", "event_type", "transaction_id", "timestamp")
_MICROS = 1e6


def run(*, is_quick: bool) -> None:
    rounds = 1 if is_quick else 3
    with (
        database() as server,
        tempfile.TemporaryDirectory(prefix="events-benchmark-") as name,
        bus.broker(Path(name)) as broker,
    ):
        folder = Path(name)
        settings = bus.stream_settings(server, broker, folder)
        rows = 2_000 if is_quick else 30_000
        _compare_consume(server, settings, folder / "events.csv", rows=rows, rounds=rounds)
        settings = bus.stream_settings(server, broker, folder)
        rows = 20_000 if is_quick else 500_000
        archive = _compare_archive(settings, folder, rows=rows, rounds=rounds)
        _compare_recount(archive, rows=rows, rounds=rounds)


# --- count ----------------------------------------------------------------------------------------


def _compare_consume(
    server: DynamoDBLocal, settings: Settings, path: Path, *, rows: int, rounds: int
) -> None:
    write_events(path, Plan(rows=rows, days=3, plain=True))
    bus.send(settings, events_of(path))
    # Starting the interpreter, the client and the group costs the same without any event.
    nothing = _run(_renewed(server, settings, topic="none"), *_consume())
    processor: list[float] = []

    def consume() -> float:
        done = _run(_renewed(server, settings), *_consume())
        expect(done.output["inserted"], rows)
        processor.append((done.processor_seconds - nothing.processor_seconds) / rows * _MICROS)
        return rows / float(done.output["seconds"])

    def csv() -> float:
        seconds, inserted, _ = ingest_file(path, with_tables(server))
        expect(inserted, rows)
        return rows / seconds

    def bare() -> float:
        begin = time.perf_counter()
        expect(bus.read_all(settings, _parse), rows)
        return rows / (time.perf_counter() - begin)

    ours, beside = "`consume --until-end`", {"the same events as a file": csv, "bare loop": bare}
    figures = interleaved(rounds, {ours: consume, **beside})
    _print(
        f"Counting {rows:,} messages of 8 customers over 3 days",
        ours,
        figures,
    )
    used = statistics.median(processor)
    print(
        f"\nProcessor time: {used:.0f} µs an event ({spread(processor)}), so {_MICROS / used:,.0f} "
        f"events/s per core; its start took {nothing.processor_seconds:.1f} s of processor time, "
        f"and an empty topic {nothing.output['seconds']:.1f} s."
    )


def _consume() -> tuple[str, ...]:
    return ("consume", "--until-end", "--json", "--port", str(free_port()))


class _Ran(NamedTuple):
    """What a command printed, and the processor seconds that it used."""

    output: Mapping[str, Any]
    processor_seconds: float


def _run(settings: Settings, *command: str) -> _Ran:
    output, usage = run_python(settings, "-m", "events", *command)
    return _Ran(json.loads(output), usage.ru_utime + usage.ru_stime)


def _renewed(server: DynamoDBLocal, settings: Settings, *, topic: str = "") -> Settings:
    """The settings with new tables and a new group."""
    tables = with_tables(server).dynamodb_events_table_name
    name = uuid.uuid4().hex
    return settings.model_copy(
        update={
            "dynamodb_events_table_name": tables,
            "events_kafka_group": f"group-{name}",
            "events_kafka_topic": f"{topic}-{name}" if topic else settings.events_kafka_topic,
        }
    )


def _parse(messages: Sequence[KafkaMessage]) -> None:
    for message in messages:
        parse_message(_value(message))


# --- archive --------------------------------------------------------------------------------------


def _compare_archive(settings: Settings, folder: Path, *, rows: int, rounds: int) -> Settings:
    """Returns the settings of an archive with all messages."""
    path = folder / "archived.csv"
    write_events(path, Plan(rows=rows, days=3, plain=True))
    bus.send(settings, events_of(path))
    archived = settings
    processor: list[float] = []

    def archive() -> float:
        nonlocal archived
        catalog = str(folder / f"c{uuid.uuid4().hex}")
        archived = settings.model_copy(update={"events_iceberg_catalog": catalog})
        done = _run(archived, "archive", "--until-end", "--json")
        expect(done.output["archived"], rows)
        processor.append(done.processor_seconds / rows * _MICROS)
        return rows / float(done.output["seconds"])

    def bare() -> float:
        writer = _Parquet(folder / uuid.uuid4().hex, COMMIT_ROWS)
        begin = time.perf_counter()
        expect(bus.read_all(settings, writer.add), rows)
        writer.write()
        return rows / (time.perf_counter() - begin)

    ours = "`archive --until-end`"
    figures = interleaved(rounds, {ours: archive, "bare loop": bare})
    _print(f"Archiving {rows:,} messages over 3 days", ours, figures)
    print(
        f"\nProcessor time with start: {statistics.median(processor):.0f} µs an event. "
        f"The table has {_bytes(archived) / rows:.0f} bytes an event."
    )
    return archived


class _Parquet:
    """Writes parsed messages to files of so many rows, neither sorted nor partitioned."""

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._max_rows = rows
        self._rows: list[tuple[object, ...]] = []
        self._files = 0

    def add(self, messages: Sequence[KafkaMessage]) -> None:
        self._rows += [
            (*parse_message(_value(one)), one.partition(), one.offset()) for one in messages
        ]
        if len(self._rows) >= self._max_rows:
            self.write()

    def write(self) -> None:
        if self._rows:
            names = (*_COLUMNS, "kafka_partition", "kafka_offset")
            columns = [pa.array(column) for column in zip(*self._rows, strict=True)]
            path = self._folder / f"{self._files}.parquet"
            pq.write_table(pa.table(columns, names=list(names)), path, compression="zstd")
            self._files += 1
            self._rows = []


def _bytes(settings: Settings) -> int:
    """Bytes of the data files, without metadata."""
    files = Path(settings.iceberg_folder).rglob("*.parquet")
    return sum(file.stat().st_size for file in files)


# --- recount --------------------------------------------------------------------------------------


def _compare_recount(settings: Settings, *, rows: int, rounds: int) -> None:
    with _environment(settings):
        begin = time.perf_counter()
        with opened_session("benchmark", settings) as spark:
            started = time.perf_counter() - begin
            # The first query of a session takes far longer, whichever it is.
            first = _timed_recount(rows)
            _timed_bare(spark, settings, rows)
            ours = "`jobs.recount`"
            figures = interleaved(
                rounds,
                {
                    ours: lambda: rows / _timed_recount(rows),
                    "bare `count(DISTINCT …)`": lambda: (
                        rows / _timed_bare(spark, settings, rows, _DISTINCT)
                    ),
                    "bare `count(…)` of a column": lambda: (
                        rows / _timed_bare(spark, settings, rows)
                    ),
                },
            )
    _print(f"Recounting {rows:,} archived events, Spark on 2 cores", ours, figures)
    print(f"\nSpark started in {started:.1f} s; the first recount took {first:.1f} s.")


_DISTINCT = f"count(DISTINCT {', '.join(_COLUMNS)})"
#: Counts a column, because Iceberg answers count(*) from its metadata.
_PLAIN = "count(hash(transaction_id))"


def _timed_recount(rows: int) -> float:
    output = io.StringIO()
    begin = time.perf_counter()
    with contextlib.redirect_stdout(output):
        code = recount.main(["--json"])
    seconds = time.perf_counter() - begin
    expect(code, 0)
    expect(json.loads(output.getvalue())["events"], rows)
    return seconds


def _timed_bare(spark: SparkSession, settings: Settings, rows: int, counted: str = _PLAIN) -> float:
    begin = time.perf_counter()
    row = spark.sql(f"SELECT {counted} FROM {table_name(settings, RAW)}").first()
    seconds = time.perf_counter() - begin
    assert row is not None
    expect(int(row[0]), rows)
    return seconds


@contextlib.contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """Set the environment from which a job reads its settings."""
    before = dict(os.environ)
    os.environ.update(environment_of(settings))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# --- output ---------------------------------------------------------------------------------------


def _print(title: str, ours: str, figures: dict[str, list[float]]) -> None:
    print_table(
        title,
        ("variant", "events/s (median)", "lowest–highest", f"{ours} to it"),
        [
            rate_row(name, rates, "" if name == ours else times(figures[ours], rates))
            for name, rates in figures.items()
        ],
    )
    print(f"\nLoad average of one minute: {os.getloadavg()[0]:.1f}.")


def _value(message: KafkaMessage) -> bytes:
    value = message.value()
    return value if isinstance(value, bytes) else b""
