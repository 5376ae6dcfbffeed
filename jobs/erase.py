"""
Erase a customer from the archive, including the files of older snapshots.

    python -m jobs.erase CUSTOMER --yes
    spark-submit --py-files jobs.zip … jobs/erase.py CUSTOMER --yes

Use it after `python -m events erase`, which erases the customer from the store. Kafka keeps its
messages until they expire; messages that are read later are archived again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from pyspark.sql import functions as f

from events.bootstrap import load_settings
from events.domain.parsing import check_customer_id
from events.errors import EventsError, InvalidInput
from jobs.compact import compact
from jobs.lib.session import opened_session, table_name
from jobs.lib.tables import HOURLY, RAW, UNCOUNTED, WINDOWED

EXIT_OK, EXIT_NOT_RUN = 0, 2


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
    try:
        customer_id = check_customer_id(options.customer)
        if not options.yes:
            raise InvalidInput("erasing cannot be undone: confirm it with --yes")
        settings = load_settings()
        with opened_session("events erase", settings) as spark:
            for table in (RAW, HOURLY, WINDOWED, UNCOUNTED):
                name = table_name(settings, table)
                if not spark.catalog.tableExists(name):
                    continue
                rows = spark.table(name).where(f.col("customer_id") == customer_id).count()
                spark.sql(f"DELETE FROM {name} WHERE customer_id = {literal(customer_id)}")  # noqa: S608 - a checked name and hex
                # Older snapshots keep the rows until they expire.
                compact(spark, settings, table, keep_days=0)
                sys.stdout.write(json.dumps({"table": table, "rows_erased": rows}) + "\n")
    except EventsError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return EXIT_NOT_RUN
    return EXIT_OK


def literal(text: str) -> str:
    """A string literal in hex, for a Spark SQL DELETE, which cannot bind parameters."""
    return f"CAST(X'{text.encode().hex()}' AS STRING)"


if __name__ == "__main__":
    sys.exit(main())
