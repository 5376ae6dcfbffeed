"""Writes to a topic and reads the archive with plain Kafka and pyiceberg clients."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any

from pyiceberg.catalog import Catalog, load_catalog

from events.archive.archiver import Archived, Archiver
from events.archive.catalog import open_catalog
from events.bootstrap import open_store
from events.config import Settings
from events.domain.windows import hour_of_day
from events.kafka.clients import Cluster, ensure_topics, make_producer
from events.kafka.messages import Record
from events.models import Event

PARTITIONS = 3


def message_of(event: Event) -> bytes:
    return json.dumps({**event._asdict(), "timestamp": event.timestamp.isoformat()}).encode()


def produce(
    settings: Settings, values: Iterable[bytes | Event | None], *, partitions: int = PARTITIONS
) -> None:
    """Send messages and wait for their acknowledgement; creates the topic if it is missing."""
    topic, cluster = settings.events_kafka_topic, Cluster.of(settings)
    ensure_topics(cluster, topic, partitions=partitions)
    records = (
        Record(topic, value.customer_id.encode(), message_of(value))
        if isinstance(value, Event)
        else Record(topic, str(number).encode(), value)
        for number, value in enumerate(values)
    )
    send_records(cluster, records)


def send_records(
    cluster: Cluster, records: Iterable[Record], *, partition: int = -1, **properties: Any
) -> None:
    """Send records, and wait until all are acknowledged; -1 lets Kafka choose a partition."""
    # One request at a time: see `test_a_message_is_done_only_when_kafka_has_it`.
    producer = make_producer(cluster, **{"max.in.flight": 1, **properties})
    failures = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            failures.append(error)

    for record in records:
        producer.produce(
            record.topic,
            record.value,
            record.key,
            partition,
            headers=list(record.headers),
            on_delivery=delivered,
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert failures == []


def produce_in_transaction(
    settings: Settings, events: Iterable[Event], *, partitions: int = PARTITIONS
) -> None:
    """Send events in a transaction, which ends with a marker; creates the topic if missing."""
    topic, cluster = settings.events_kafka_topic, Cluster.of(settings)
    ensure_topics(cluster, topic, partitions=partitions)
    producer = make_producer(cluster, **{"transactional.id": topic})
    producer.init_transactions(60)
    producer.begin_transaction()
    for event in events:
        producer.produce(topic, value=message_of(event))
    producer.commit_transaction(60)


def open_archive(settings: Settings) -> Catalog:
    return open_catalog(settings.iceberg_catalog_name, settings.iceberg_folder)


def make_archiver(settings: Settings, **options: Any) -> Archiver:
    return Archiver(
        Cluster.of(settings),
        settings.events_kafka_topic,
        group="tests-archive",
        open_catalog=partial(open_archive, settings),
        **options,
    )


def archive(settings: Settings, *, is_gap_accepted: bool = False) -> Archived:
    """Archive up to the topic's present end."""
    return make_archiver(
        settings, is_until_end=True, is_gap_accepted=is_gap_accepted, patience_seconds=60
    ).run()


def rows_of(settings: Settings, table: str) -> list[dict[str, Any]]:
    """The rows of a table of the archive; empty if the table does not exist."""
    folder = settings.iceberg_folder
    catalog = load_catalog(
        settings.iceberg_catalog_name,
        type="sql",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=f"file://{folder}/warehouse",
    )
    with closing(catalog):
        if not catalog.table_exists(("events", table)):
            return []
        rows: list[dict[str, Any]] = (
            catalog.load_table(("events", table)).scan().to_arrow().to_pylist()
        )
    return rows


def events_of(rows: Iterable[Mapping[str, Any]]) -> Counter[Event]:
    """The events of rows of the table `raw`, with how often each is there."""
    return Counter(
        Event(
            row["customer_id"],
            row["event_type"],
            row["transaction_id"],
            row["timestamp"].astimezone(UTC),
        )
        for row in rows
    )


def archived(settings: Settings) -> Counter[Event]:
    """Every event of the archive, with how often it is there."""
    return events_of(rows_of(settings, "raw"))


def offsets_of(settings: Settings, table: str) -> list[tuple[int, int]]:
    """(partition, offset) of the rows of a table, ascending."""
    return sorted((row["kafka_partition"], row["kafka_offset"]) for row in rows_of(settings, table))


def hour_counts_of(
    settings: Settings, table: str = "hourly_counts"
) -> Mapping[tuple[str, str, datetime], int]:
    """(customer, type, hour) → the count in a table of counts."""
    return {
        (row["customer_id"], row["event_type"], row["hour"].astimezone(UTC)): row["count"]
        for row in rows_of(settings, table)
    }


def hourly(events: Iterable[Event]) -> Mapping[tuple[str, str, datetime], int]:
    """(customer, type, hour) → distinct events, counted one by one."""
    return Counter(
        (
            event.customer_id,
            event.event_type,
            event.timestamp.replace(minute=0, second=0, microsecond=0),
        )
        for event in set(events)
    )


def served(settings: Settings) -> dict[tuple[str, str, datetime], int]:
    """The counts by type in the API's store; checks that the totals are their sums."""
    windowed = settings.model_copy(update={"events_counts": "windowed"})
    store = open_store(windowed, patience_seconds=10)
    counts: dict[tuple[str, str, datetime], int] = {}
    rest: Counter[tuple[str, datetime]] = Counter()
    for customer_id in store.customers(prefix="", after=None, limit=100):
        counters = (
            store.day_counts(customer_id, "0001-01-01", "9999-12-31", by_type=by_type)
            for by_type in (False, True)
        )
        for counter in chain.from_iterable(counters):
            for number, count in counter.hours.items():
                hour = hour_of_day(counter.day, number)
                if counter.event_type is None:
                    rest[customer_id, hour] += count
                else:
                    rest[customer_id, hour] -= count
                    counts[customer_id, counter.event_type, hour] = count
    store.close()
    assert set(rest.values()) <= {0}
    return counts
