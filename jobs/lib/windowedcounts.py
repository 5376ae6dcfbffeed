"""Adds the counts of one batch of a stream to the windowed counts, once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from events.config import Settings
from events.models import Window
from jobs.lib.frames import by_customer_and_day, hourly_counts
from jobs.lib.hourcounts import hour_count_of, micros_of
from jobs.lib.publish import put_counts
from jobs.lib.session import table_name
from jobs.lib.tables import HOURLY, STREAM, WINDOWED, another_stream

_COLUMNS = "customer_id STRING, event_type STRING, hour TIMESTAMP, count BIGINT, batch_id BIGINT"
#: `batch_id` of hours that a recount wrote: before every batch.
NO_BATCH = -1


def make_table(spark: SparkSession, settings: Settings) -> None:
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {table_name(settings, WINDOWED)} ({_COLUMNS}) "
        "USING iceberg PARTITIONED BY (days(hour))"
    )


def check_stream(spark: SparkSession, settings: Settings, stream_id: str) -> None:
    """
    Claim the table for this stream, or check that it belongs to it.

    Raises:
        StoreRefused: The table belongs to a stream with another checkpoint.
    """
    name = table_name(settings, WINDOWED)
    properties = {
        row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()
    }
    if properties.get(STREAM, stream_id) != stream_id:
        raise another_stream(name)
    if STREAM not in properties:
        spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{STREAM}' = '{stream_id}')")


def add_batch(
    spark: SparkSession, settings: Settings, events: DataFrame, batch_id: int
) -> DataFrame:
    """
    Add the counts of a batch's events, in one commit.

    The commit also sets the batch's number on each hour that the batch touches. So if Spark repeats
    a batch, because the process was killed before Spark noted it as done, no hour adds it twice.

    Returns:
        The counts of the batch.
    """
    # Compute the batch once, here: MERGE ignores Spark's cache and would compute the batch again,
    # which doubles the reported state.
    counts = hourly_counts(events).localCheckpoint()
    if counts.isEmpty():
        return counts
    counts.createOrReplaceTempView("added")
    spark.sql(
        f"""
        MERGE INTO {table_name(settings, WINDOWED)} held
        USING (SELECT *, CAST({batch_id} AS BIGINT) AS batch_id FROM added) added
        ON held.customer_id = added.customer_id
            AND held.event_type = added.event_type
            AND held.hour = added.hour
        WHEN MATCHED AND held.batch_id < added.batch_id THEN
            UPDATE SET count = held.count + added.count, batch_id = added.batch_id
        WHEN NOT MATCHED THEN INSERT *
        """  # noqa: S608 - a checked name and a number
    )
    return counts


def restore(spark: SparkSession, settings: Settings, window: Window) -> None:
    """
    Replace the windowed counts of a window by the recount, where they differ or are missing.

    Only for hours before the stream's watermark, to which the stream adds nothing any more.
    """
    # A view on a table cannot be merged from (Spark 4.1.1: "No plan for TableReference").
    spark.sql(
        f"""
        MERGE INTO {table_name(settings, WINDOWED)} held
        USING (
            SELECT customer_id, event_type, hour, count, CAST({NO_BATCH} AS BIGINT) AS batch_id
            FROM {table_name(settings, HOURLY)}
            WHERE hour >= timestamp_micros({micros_of(window.start)})
                AND hour < timestamp_micros({micros_of(window.end)})
        ) recounted
        ON held.customer_id = recounted.customer_id
            AND held.event_type = recounted.event_type
            AND held.hour = recounted.hour
        WHEN MATCHED AND held.count <> recounted.count THEN
            UPDATE SET count = recounted.count
        WHEN NOT MATCHED THEN INSERT *
        """  # noqa: S608 - checked names and numbers
    )


def publish(spark: SparkSession, settings: Settings, touched: DataFrame) -> None:
    """Write the present counts of every hour in `touched` to DynamoDB."""
    hours = touched.select("customer_id", "hour").distinct()
    counts = spark.table(table_name(settings, WINDOWED)).join(
        hours, ["customer_id", "hour"], "left_semi"
    )
    by_customer_and_day(counts).foreachPartition(
        partial(_put, settings.model_dump(), datetime.now(UTC))
    )


def _put(settings: dict[str, Any], updated_at: datetime, rows: Iterable[Any]) -> None:
    put_counts(settings, updated_at, map(hour_count_of, rows))
