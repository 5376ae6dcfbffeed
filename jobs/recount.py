"""
Recount the archive: distinct events by customer, type and UTC hour, in `events.hourly_counts`.

    python -m jobs.recount --start 2021-03-01 --end 2021-04-01 --compare
    spark-submit --py-files jobs.zip … jobs/recount.py --compare
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from events.bootstrap import make_bulk_loader, make_service, open_store
from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.domain.timestamps import format_timestamp
from events.domain.windows import EARLIEST, LATEST
from events.errors import InvalidInput, StoreRefused
from events.models import Event, Window
from jobs.lib.compare import Comparison, compare
from jobs.lib.frames import distinct_events, hour_counts, hourly_counts, instant, with_micros
from jobs.lib.hourcounts import event_of, micros_of
from jobs.lib.load import load
from jobs.lib.options import add_recount_options
from jobs.lib.program import EXIT_DIFFERENT, EXIT_OK
from jobs.lib.publish import make_tables
from jobs.lib.result import days_between, print_result
from jobs.lib.session import run_on_spark, table_name
from jobs.lib.tables import HOURLY, RAW
from jobs.lib.windowedcounts import publish, restore

_COLUMNS = "customer_id STRING, event_type STRING, hour TIMESTAMP, count BIGINT"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    options = _parser().parse_args(arguments)
    return run_on_spark("events recount", partial(_run, options=options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recount",
        description="Count the distinct events of the archive by customer, type and UTC hour. The "
        "result replaces these days in the table events.hourly_counts. Running it again is safe.",
        epilog="Exit code: 0 all well, 1 --compare found a difference, 2 could not run.",
    )
    add_recount_options(parser)
    then = parser.add_mutually_exclusive_group()
    then.add_argument(
        "--compare", action="store_true", help="compare with the counters in the store, both ways"
    )
    then.add_argument("--load", action="store_true", help="load the counts into an empty store")
    then.add_argument(
        "--load-events",
        action="store_true",
        help="load the events and counts into an empty store",
    )
    then.add_argument(
        "--restore-windowed",
        action="store_true",
        help="write the counts to events.windowed_counts, which lacks late events; needs an --end "
        "that the stream's watermark has passed",
    )
    parser.add_argument(
        "--to-store",
        "--to-dynamodb",
        action="store_true",
        help="with --restore-windowed: also write to the tables from which the API serves them",
    )
    return parser


def _run(spark: SparkSession, settings: Settings, options: argparse.Namespace) -> int:
    window = days_between(options.start, options.end)
    if options.restore_windowed and options.end is None:
        raise InvalidInput("--restore-windowed needs --end: a day that the watermark has passed")
    if options.to_store and not options.restore_windowed:
        raise InvalidInput("--to-store needs --restore-windowed; to load a store use --load")
    is_loading = options.load or options.load_events
    plan: dict[str, Any] = {}
    if is_loading:
        plan = begun_plan(spark, settings, window, has_events=options.load_events)
    # Read one snapshot throughout, whatever is archived meanwhile.
    raw = _raw(spark, settings, plan.get("snapshot") or _snapshot(spark, settings))
    events = distinct_events(raw, window)
    save(spark, settings, hourly_counts(events), window)
    counts = _saved(spark, settings, window)
    if options.restore_windowed:
        restore(spark, settings, window)
        if options.to_store:
            make_tables(settings)
            publish(spark, settings, counts)
    if is_loading:
        _load(events, counts, settings, plan)
    comparison = Comparison(events=_total(counts))
    if is_loading or options.compare:
        comparison = _compare(spark, events, counts, settings, window)
    is_equal = not comparison.differences
    if options.load_events:
        # With its events, the store can also be verified by itself.
        with closing(make_service(settings, may_make_tables=False)) as service:
            is_equal = is_equal and service.verify().is_equal
    print_result(
        comparison,
        is_json=options.json,
        is_equal=is_equal,
        is_compared=is_loading or options.compare,
    )
    return EXIT_OK if is_equal else EXIT_DIFFERENT


# --- the archive ----------------------------------------------------------------------------------


def _snapshot(spark: SparkSession, settings: Settings) -> int:
    name = table_name(settings, RAW)
    try:
        # The main branch: after a rollback its snapshot is not the newest one.
        row = spark.sql(f"SELECT snapshot_id FROM {name}.refs WHERE name = 'main'").first()  # noqa: S608 - checked
    except AnalysisException as exc:
        raise StoreRefused(f"table not found: {name}: run python -m events archive first") from exc
    if row is None:
        raise StoreRefused(f"the table {name} is empty: run python -m events archive first")
    return int(row[0])


def _raw(spark: SparkSession, settings: Settings, snapshot: int) -> DataFrame:
    return spark.read.option("versionAsOf", str(snapshot)).table(table_name(settings, RAW))


def save(spark: SparkSession, settings: Settings, counts: DataFrame, window: Window) -> None:
    """Replace these days in the table of counts, in one commit."""
    name = table_name(settings, HOURLY)
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {name} ({_COLUMNS}) USING iceberg PARTITIONED BY (days(hour))"
    )
    counts.writeTo(name).overwrite(_is_in(window))


def _saved(spark: SparkSession, settings: Settings, window: Window) -> DataFrame:
    return spark.table(table_name(settings, HOURLY)).where(_is_in(window))


def _is_in(window: Window) -> Any:
    is_in = f.lit(True)
    if window.start != EARLIEST:
        is_in = f.col("hour") >= instant(window.start)
    if window.end != LATEST:
        is_before = f.col("hour") < instant(window.end)
        is_in = is_before if window.start == EARLIEST else is_in & is_before
    return is_in


def _total(counts: DataFrame) -> int:
    row = counts.agg(f.sum("count")).first()
    return int(row[0] or 0) if row else 0


# --- the store ------------------------------------------------------------------------------------


def _compare(
    spark: SparkSession, events: DataFrame, counts: DataFrame, settings: Settings, window: Window
) -> Comparison:
    patience_seconds = INGEST_PATIENCE_SECONDS
    with closing(
        open_store(settings, patience_seconds=patience_seconds, may_make_tables=False)
    ) as store:
        store.check()
        return compare(hour_counts(counts), store, window, partial(_archived, spark, events))


def _archived(spark: SparkSession, events: DataFrame, candidates: Sequence[Event]) -> set[Event]:
    """The candidates that are in the archive."""
    if not candidates:
        return set()
    rows = [(*event[:3], micros_of(event.timestamp)) for event in candidates]
    columns = "customer_id STRING, event_type STRING, transaction_id STRING, micros BIGINT"
    wanted = spark.createDataFrame(rows, columns)
    archived = with_micros(events).join(
        wanted, ["customer_id", "event_type", "transaction_id", "micros"], "left_semi"
    )
    return set(map(event_of, archived.toLocalIterator()))


def begun_plan(
    spark: SparkSession, settings: Settings, window: Window, *, has_events: bool
) -> dict[str, Any]:
    """The plan of a load; an interrupted load resumes with its own snapshot."""
    plan = {
        "snapshot": _snapshot(spark, settings),
        "start": format_timestamp(window.start),
        "end": format_timestamp(window.end),
        "has_events": has_events,
    }
    with closing(make_bulk_loader(settings)) as loader:
        interrupted = json.loads(loader.under_way() or "{}")
        if {**interrupted, "snapshot": None} == {**plan, "snapshot": None}:
            plan = interrupted
        loader.begin(json.dumps(plan))
    return plan


def _load(events: DataFrame, counts: DataFrame, settings: Settings, plan: dict[str, Any]) -> None:
    with closing(make_bulk_loader(settings)) as loader:
        loaded_at = loader.begin(json.dumps(plan))
        load(events, counts, settings, loaded_at, has_events=plan["has_events"])
        loader.finish()


if __name__ == "__main__":
    sys.exit(main())
