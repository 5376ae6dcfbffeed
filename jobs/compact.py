"""
Compact the archive: few large files, few snapshots, no orphan files.

    python -m jobs.compact --keep-days 7
    spark-submit --py-files jobs.zip … jobs/compact.py

The archiver may run meanwhile: if both commit at once, one of them retries. The archiver's position
is in the table's properties as well as in its snapshots, so it survives their expiry.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from events.config import Settings
from events.domain.retries import Backoff
from events.errors import StoreUnavailable
from jobs.lib.program import EXIT_OK, print_json
from jobs.lib.session import run_on_spark, table_name
from jobs.lib.tables import HOURLY, RAW, REJECTED, UNCOUNTED, WINDOWED

T = TypeVar("T")

#: Iceberg's errors if another commit was first.
_CONFLICTS = (
    "org.apache.iceberg.exceptions.CommitFailedException",
    "org.apache.iceberg.exceptions.ValidationException",
)
_MAX_ATTEMPTS = 6
#: Files of a commit in progress look like orphans; Iceberg itself accepts no less than a day.
_ORPHANS_OLDER_THAN = timedelta(days=3)
#: A century; longer means forever.
_MAX_DAYS = 36_500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    options = _parser().parse_args(arguments)
    return run_on_spark("events compact", partial(_compact_all, keep_days=options.keep_days))


def _compact_all(spark: SparkSession, settings: Settings, *, keep_days: float) -> int:
    for table in (RAW, REJECTED, HOURLY, WINDOWED, UNCOUNTED):
        if spark.catalog.tableExists(table_name(settings, table)):
            done = compact(spark, settings, table, keep_days=keep_days)
            print_json({"table": table, **done})
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compact",
        description="Rewrite the small files of the archive's tables into large, sorted ones, "
        "expire old snapshots, and delete orphan files. Running it again is safe. Prints one JSON "
        "object for each table.",
    )
    parser.add_argument(
        "--keep-days",
        type=_days,
        default=7,
        metavar="N",
        help="days to keep snapshots, for reading a table as it was (default: 7)",
    )
    return parser


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number from 0 to {_MAX_DAYS:,}")
    return days


def compact(
    spark: SparkSession, settings: Settings, table: str, *, keep_days: float
) -> dict[str, Any]:
    """Compact one table; returns what was done."""
    catalog = settings.iceberg_catalog_name
    name = table_name(settings, table)
    now = datetime.now(UTC)

    def call(procedure: str, more: str = "") -> dict[str, Any]:
        statement = f"CALL {catalog}.system.{procedure}(table => '{name}'{more})"
        row = _retry_conflicts(lambda: spark.sql(statement).first(), f"{procedure} of {name}")
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
    # After the expiry, because an interrupted expiry leaves orphan files.
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


def _retry_conflicts(work: Callable[[], T], step: str) -> T:
    """
    Repeat work on the current table if another commit came first.

    Iceberg's own retries do not help if the files to replace are gone: pyiceberg leaves out
    manifests of deleted files when it appends.

    Raises:
        StoreUnavailable: Other commits kept coming first.
    """
    backoff = Backoff(base_seconds=1)
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        try:
            return work()
        except Py4JJavaError as exc:
            if exc.java_exception.getClass().getName() not in _CONFLICTS:
                raise
            if attempt == _MAX_ATTEMPTS:
                raise StoreUnavailable(f"{step}: other commits come first: run it again") from exc
            time.sleep(backoff.next_wait())
    raise AssertionError("unreachable: the last attempt returns or raises")


def _literal(at: datetime) -> str:
    return f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S.%f}'"


if __name__ == "__main__":
    sys.exit(main())
