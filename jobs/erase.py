"""
Erase a customer from the archive, including the files of older snapshots.

    python -m jobs.erase CUSTOMER --yes
    spark-submit --py-files jobs.zip … jobs/erase.py CUSTOMER --yes

Use it after `python -m events erase`, which erases the customer from the store. Kafka keeps its
messages until they expire; messages that are read later are archived again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from events.config import Settings
from events.domain.parsing import check_customer_id
from events.errors import InvalidInput
from jobs.compact import compact
from jobs.lib.program import EXIT_OK, exit_code_of, print_json
from jobs.lib.session import run_on_spark, table_name
from jobs.lib.tables import HOURLY, RAW, UNCOUNTED, WINDOWED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="erase",
        description="Erase a customer from the archive and its counts. Earlier snapshots expire. "
        "Rejected messages are not changed.",
    )
    parser.add_argument("customer", metavar="CUSTOMER", help="the customer's id")
    parser.add_argument("--yes", action="store_true", help="confirm: this cannot be undone")
    options = parser.parse_args(arguments)
    return exit_code_of(partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    customer_id = check_customer_id(options.customer)
    if not options.yes:
        raise InvalidInput("erasing cannot be undone: confirm it with --yes")
    return run_on_spark("events erase", partial(_erase, customer_id=customer_id))


def _erase(spark: SparkSession, settings: Settings, *, customer_id: str) -> int:
    for table in (RAW, HOURLY, WINDOWED, UNCOUNTED):
        name = table_name(settings, table)
        if not spark.catalog.tableExists(name):
            continue
        rows = spark.table(name).where(f.col("customer_id") == customer_id).count()
        spark.sql(f"DELETE FROM {name} WHERE customer_id = {literal(customer_id)}")  # noqa: S608 - a checked name and hex
        # Older snapshots keep the rows until they expire.
        compact(spark, settings, table, keep_days=0)
        print_json({"table": table, "rows_erased": rows})
    return EXIT_OK


def literal(text: str) -> str:
    """A string literal in hex, for a Spark SQL DELETE, which cannot bind parameters."""
    return f"CAST(X'{text.encode().hex()}' AS STRING)"


if __name__ == "__main__":
    sys.exit(main())
