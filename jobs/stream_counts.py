"""
Count the topic continuously by customer, type and UTC hour, in `events.windowed_counts`.

    python -m jobs.stream_counts --checkpoint FOLDER --until-end
    spark-submit --py-files jobs.zip … jobs/stream_counts.py --checkpoint s3a://bucket/checkpoint

The watermark limits its deduplication state: an event that is later than the watermark is not
counted here, whether it is a duplicate or not. Each printed line has the number of such events; a
recount of the archive counts them.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming.query import StreamingQuery

from events.config import Settings
from events.errors import EventsError, StoreRefused
from jobs.lib.options import add_stream_options, named, whole_number
from jobs.lib.program import EXIT_OK, print_json, set_on_signals
from jobs.lib.publish import make_tables
from jobs.lib.session import run_on_spark
from jobs.lib.tables import NAMESPACE
from jobs.lib.topic import messages
from jobs.lib.windowedcounts import add_batch, check_stream, make_table, publish

_FOUR = ["customer_id", "event_type", "transaction_id", "timestamp"]
_OBSERVED = "messages"
_SUMMED = ("read", "rejected", "ahead", "dropped_by_watermark")
_PROGRESS_SECONDS = 1
_ATTEMPTS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit code."""
    options = _parser().parse_args(arguments)
    return run_on_spark("events stream_counts", partial(_run, options=options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stream_counts",
        description="Count the topic continuously in events.windowed_counts. It may be killed at "
        "any moment: it resumes from its checkpoint and counts nothing twice. Prints one JSON "
        "object for each batch.",
        epilog="Exit code: 0 stopped, or at the end; 2 could not continue.",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FOLDER",
        help="folder of the state; one per table, used by one run at a time",
    )
    add_stream_options(
        parser,
        watermark="events more than this older than the newest event are not counted",
        kafka="for Spark's Kafka source, such as kafka.security.protocol=SSL",
    )
    parser.add_argument(
        "--most-a-batch",
        type=whole_number,
        default=500_000,
        metavar="N",
        help="maximum messages per batch (default: 500000)",
    )
    return parser


def _run(spark: SparkSession, settings: Settings, options: argparse.Namespace) -> int:
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {settings.iceberg_catalog_name}.{NAMESPACE}")
    make_table(spark, settings)
    if options.to_store:
        make_tables(settings)
    source = messages(
        spark,
        settings,
        max_per_batch=options.most_a_batch,
        options=named(options.kafka_option),
    )
    events = counted_once(
        source,
        watermark_seconds=options.watermark_seconds or settings.events_watermark_seconds,
        ahead_seconds=options.ahead_seconds,
    )
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        set_on_signals(stop)
    totals: Counter[str] = Counter()
    for attempt in range(1, _ATTEMPTS + 1):
        counter = BatchCounter(settings, is_published=options.to_store)
        try:
            _follow(_start(events, counter, options), stop, totals)
            break
        except StreamingQueryException as exc:
            if counter.refusal is not None:
                raise counter.refusal from exc
            problem = str(exc).splitlines()[0]  # Spark appends the whole query plan
            if attempt == _ATTEMPTS:
                raise StoreRefused(problem) from exc
            # Spark 4.1.1 fails after the first batch of a run if an earlier run began that batch
            # (SPARK-55271). The batch is complete by then, but its progress is not reported.
            sys.stderr.write(f"warning: restarted after: {problem}\n")
    print_json({"total": dict(totals)})
    return EXIT_OK


def counted_once(source: DataFrame, *, watermark_seconds: int, ahead_seconds: int) -> DataFrame:
    """
    The events of a stream without duplicates, late events, and events too far ahead.

    The timestamp is part of an event's identity. Spark forgets an event when the watermark has
    passed its timestamp, and from then on its duplicates are late themselves. So no event is
    counted twice, however late its duplicate comes.
    """
    is_event = f.col("reason").isNull()
    is_ahead = f.col("timestamp") > f.col("sent") + f.expr(f"INTERVAL {ahead_seconds} SECONDS")
    observed = source.observe(
        _OBSERVED,
        f.count("*").alias("read"),
        f.count_if(~is_event).alias("rejected"),
        f.count_if(is_event & is_ahead).alias("ahead"),
    )
    return (
        observed.where(is_event & ~is_ahead)
        .select(*_FOUR)
        .withWatermark("timestamp", f"{watermark_seconds} seconds")
        .dropDuplicatesWithinWatermark(_FOUR)
    )


class BatchCounter:
    """Spark calls it with each batch; `refusal` is the job's own error that ended the stream."""

    def __init__(self, settings: Settings, *, is_published: bool) -> None:
        self._settings = settings
        self._is_published = is_published
        self.refusal: EventsError | None = None

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        try:
            self._count(batch, batch_id)
        except EventsError as exc:
            self.refusal = exc
            raise

    def _count(self, batch: DataFrame, batch_id: int) -> None:
        session = batch.sparkSession
        stream_id = session.sparkContext.getLocalProperty("sql.streaming.queryId")
        if stream_id is None:
            raise StoreRefused("Spark gave no query id")
        check_stream(session, self._settings, stream_id)
        counts = add_batch(session, self._settings, batch, batch_id)
        if self._is_published:
            publish(session, self._settings, counts)


def _start(events: DataFrame, counter: BatchCounter, options: argparse.Namespace) -> StreamingQuery:
    writer = (
        events.writeStream.foreachBatch(counter)
        .outputMode("append")
        .queryName("stream_counts")
        .option("checkpointLocation", options.checkpoint)
    )
    if options.until_end:
        return writer.trigger(availableNow=True).start()
    return writer.start()


def _follow(query: StreamingQuery, stop: threading.Event, totals: Counter[str]) -> None:
    """Print the numbers of each batch and add them up, until the stream ends or is stopped."""
    printed = -1
    is_over = False
    while not is_over:
        try:
            is_over = bool(query.awaitTermination(_PROGRESS_SECONDS))
        finally:
            # Also report the batches before a failure.
            for progress in query.recentProgress:
                if progress["batchId"] > printed:
                    printed = progress["batchId"]
                    numbers = numbers_of(progress)
                    print_json(numbers)
                    totals.update({name: numbers[name] for name in _SUMMED})
        if stop.is_set() and not is_over:
            query.stop()
            is_over = True


def numbers_of(progress: Mapping[str, Any]) -> dict[str, Any]:
    """
    Numbers of one batch.

    `state_rows` are events kept to recognise duplicates; `dropped_by_watermark` are late events.
    """
    operators = progress["stateOperators"]
    observed = progress["observedMetrics"].get(_OBSERVED)
    return {
        "batch_id": progress["batchId"],
        "read": observed["read"] if observed else 0,
        "rejected": observed["rejected"] if observed else 0,
        "ahead": observed["ahead"] if observed else 0,
        "dropped_by_watermark": sum(
            operator["numRowsDroppedByWatermark"] for operator in operators
        ),
        "state_rows": sum(operator["numRowsTotal"] for operator in operators),
        "state_bytes": sum(operator["memoryUsedBytes"] for operator in operators),
        "watermark": progress["eventTime"].get("watermark"),
        "seconds": progress["batchDuration"] / 1_000,
    }


if __name__ == "__main__":
    sys.exit(main())
