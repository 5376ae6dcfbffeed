"""Names in the archive's catalog, for jobs of either engine."""

from __future__ import annotations

from events.errors import StoreRefused

NAMESPACE = "events"
RAW, REJECTED = "raw", "raw_rejected"
HOURLY, WINDOWED = "hourly_counts", "windowed_counts"
#: Messages that the Flink stream did not count.
UNCOUNTED = "uncounted"
#: Table property: id of the stream in the table. Another stream would count its events again.
STREAM = "events.kafka-id"


def another_stream(table: str) -> StoreRefused:
    return StoreRefused(
        f"the table {table} has the counts of another checkpoint: use that checkpoint, or drop "
        "the table and count from the beginning of the topic"
    )
