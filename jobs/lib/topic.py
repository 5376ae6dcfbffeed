"""A topic as a stream of events, parsed by the parser of files and HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from events.config import Settings
from events.domain.jsonevents import parse_record
from events.errors import InvalidEvent
from jobs.lib.hourcounts import micros_of

#: An invalid message becomes a row with a reason and nothing else.
_COLUMNS = (
    "customer_id STRING, event_type STRING, transaction_id STRING, micros BIGINT, reason STRING"
)


def messages(
    spark: SparkSession, settings: Settings, *, max_per_batch: int, options: Mapping[str, str]
) -> DataFrame:
    """
    The topic from its beginning, with the columns of an event, `sent` and `reason`.

    Args:
        max_per_batch: Maximum messages per batch.
        options: Options of Spark's Kafka source, such as `kafka.security.protocol`.
    """
    source = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.events_kafka_bootstrap_servers)
        .option("subscribe", settings.events_kafka_topic)
        .option("startingOffsets", "earliest")
        .option("includeHeaders", "true")
        # Stop if messages were deleted before they were read.
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", str(max_per_batch))
    )
    for name, value in options.items():
        source = source.option(name, value)
    # Without Arrow, for which Spark needs pandas.
    parse = f.udf(_row, _COLUMNS, useArrow=False)
    parsed = source.load().select(
        parse("value", "headers").alias("parsed"), f.col("timestamp").alias("sent")
    )
    return parsed.select(
        "parsed.customer_id",
        "parsed.event_type",
        "parsed.transaction_id",
        f.timestamp_micros("parsed.micros").alias("timestamp"),
        "parsed.reason",
        "sent",
    )


def _row(
    value: bytes | None, headers: Sequence[Sequence[Any]] | None
) -> tuple[str | None, str | None, str | None, int | None, str | None]:
    try:
        event = parse_record(
            None if value is None else bytes(value),
            [(name, None if text is None else bytes(text)) for name, text in headers or ()],
        )
    except InvalidEvent as exc:
        return None, None, None, None, str(exc)
    return *event[:3], micros_of(event.timestamp), None
