"""
Keep the archive quick: few large files, few snapshots, no file that nothing refers to.

    python -m jobs.compact --keep-days 7
    spark-submit --py-files jobs.zip … jobs/compact.py

The archiver may go on meanwhile: where both commit at once, one of them tries again. How far it has
come is in the table's properties as well as in its snapshots, so that it outlives these.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from events.bootstrap import load_settings
from events.config import Settings
from events.errors import EventsError, StoreUnavailable
from jobs.lib.session import HOURLY, RAW, REJECTED, WINDOWED, opened_session, table_name

EXIT_OK, EXIT_NOT_RUN = 0, 2

T = TypeVar("T")

#: What Iceberg says where another commit came first, by class.
_CONFLICTS = (
    "org.apache.iceberg.exceptions.CommitFailedException",
    "org.apache.iceberg.exceptions.ValidationException",
)
_MOST_ATTEMPTS = 6
#: A file that a commit under way has written is referred to by nothing yet; Iceberg itself takes no
#: less than a day.
_ORPHANS_OLDER_THAN = timedelta(days=3)
#: A century: what is kept for longer is kept for ever.
_MOST_DAYS = 36_500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        with opened_session("events compact", settings) as spark:
            for table in (RAW, REJECTED, HOURLY, WINDOWED):
                if spark.catalog.tableExists(table_name(settings, table)):
                    done = compact(spark, settings, table, keep_days=options.keep_days)
                    sys.stdout.write(json.dumps({"table": table, **done}) + "\n")
    except EventsError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return EXIT_NOT_RUN
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compact",
        description="Rewrite the small files of the archive's tables into large, sorted ones, "
        "forget old snapshots, and delete files that nothing refers to. Running it again is safe. "
        "It prints one JSON object for each table.",
    )
    parser.add_argument(
        "--keep-days",
        type=_days,
        default=7,
        metavar="N",
        help="how long snapshots are kept, to read the tables as they were (default: 7)",
    )
    return parser


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to {_MOST_DAYS:,}")
    return days


def compact(
    spark: SparkSession, settings: Settings, table: str, *, keep_days: float
) -> dict[str, Any]:
    """Look after one table; returns what was done to it."""
    catalog = settings.iceberg_catalog_name
    name = table_name(settings, table)
    now = datetime.now(UTC)

    def call(procedure: str, more: str = "") -> dict[str, Any]:
        statement = f"CALL {catalog}.system.{procedure}(table => '{name}'{more})"
        row = _despite_conflicts(lambda: spark.sql(statement).first(), f"{procedure} of {name}")
        return row.asDict() if row else {}

    # A day is a partition: two files of one are worth a rewrite. Sorted as the table says.
    is_sorted = table in (RAW, REJECTED)
    rewritten = call(
        "rewrite_data_files",
        f", strategy => '{'sort' if is_sorted else 'binpack'}', "
        "options => map('min-input-files', '2', 'partial-progress.enabled', 'true')",
    )
    manifests = call("rewrite_manifests")
    expired = call(
        "expire_snapshots", f", older_than => {_literal(now - timedelta(days=keep_days))}"
    )
    # After the expiry: what that leaves behind where it is cut off is found here.
    orphans = spark.sql(
        f"CALL {catalog}.system.remove_orphan_files(table => '{name}', "
        f"older_than => {_literal(now - _ORPHANS_OLDER_THAN)})"
    ).count()
    return {
        "files_rewritten": rewritten.get("rewritten_data_files_count", 0),
        "files_written": rewritten.get("added_data_files_count", 0),
        "manifests_rewritten": manifests.get("rewritten_manifests_count", 0),
        "files_expired": sum(
            number or 0 for key, number in expired.items() if key.startswith("deleted_")
        ),
        "orphans_removed": orphans,
    }


def _despite_conflicts(work: Callable[[], T], what: str) -> T:
    """
    Do some work again, from the table as it then is, where another commit came first.

    Iceberg's own retries do not help where what was to be replaced is gone: pyiceberg leaves out
    manifests of deleted files when it appends.

    Raises:
        StoreUnavailable: Others commit all the time.
    """
    for attempt in count(1):
        try:
            return work()
        except Py4JJavaError as exc:
            if exc.java_exception.getClass().getName() not in _CONFLICTS:
                raise
            if attempt == _MOST_ATTEMPTS:
                raise StoreUnavailable(f"{what}: others commit all the time, run it again") from exc
            time.sleep(random.uniform(0, attempt))  # noqa: S311 - spreads load, hides nothing
    raise AssertionError("the loop above has no end")


def _literal(at: datetime) -> str:
    return f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S.%f}'"


if __name__ == "__main__":
    sys.exit(main())
