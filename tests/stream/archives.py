"""What is in a topic and in the archive, as plain Kafka and pyiceberg clients see it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pyiceberg.catalog import load_catalog

from events.config import Settings
from events.kafka.clients import ensure_topics, make_producer
from events.models import Event

Place = tuple[int, int]
#: Of the topics that the tests make.
PARTITIONS = 3


def message_of(event: Event) -> bytes:
    return json.dumps({**event._asdict(), "timestamp": event.timestamp.isoformat()}).encode()


def produce(
    settings: Settings,
    values: Iterable[bytes | Event | None],
    *,
    partitions: int = PARTITIONS,
) -> None:
    """Send messages, and wait until all are acknowledged; the topic is made if need be."""
    topic = settings.events_kafka_topic
    ensure_topics(settings, topic, partitions=partitions)
    producer = make_producer(settings)
    for number, value in enumerate(values):
        text = message_of(value) if isinstance(value, Event) else value
        key = value.customer_id.encode() if isinstance(value, Event) else str(number).encode()
        producer.produce(topic, key=key, value=text)
        producer.poll(0)
    assert producer.flush(30) == 0


def produce_in_transaction(settings: Settings, events: Iterable[Event]) -> None:
    """Send events that are there once the mark behind them is; the topic is made if need be."""
    ensure_topics(settings, settings.events_kafka_topic, partitions=1)
    producer = make_producer(settings, **{"transactional.id": settings.events_kafka_topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    for event in events:
        producer.produce(settings.events_kafka_topic, value=message_of(event))
    producer.commit_transaction(30)


def rows_of(settings: Settings, table: str) -> list[dict[str, Any]]:
    """The rows of a table of the archive; none where it is not there."""
    folder = settings.iceberg_folder
    with load_catalog(
        settings.iceberg_catalog_name,
        type="sql",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=f"file://{folder}/warehouse",
    ) as catalog:
        if not catalog.table_exists(("events", table)):
            return []
        rows: list[dict[str, Any]] = (
            catalog.load_table(("events", table)).scan().to_arrow().to_pylist()
        )
    return rows


def archived(settings: Settings) -> Counter[Event]:
    """Every event of the archive, as often as it is there."""
    return Counter(
        Event(
            row["customer_id"],
            row["event_type"],
            row["transaction_id"],
            row["timestamp"].astimezone(UTC),
        )
        for row in rows_of(settings, "raw")
    )


def places(settings: Settings, table: str) -> list[Place]:
    """Where the rows of a table were in the topic, ascending."""
    return sorted((row["kafka_partition"], row["kafka_offset"]) for row in rows_of(settings, table))


def hourly(events: Iterable[Event]) -> Mapping[tuple[str, str, datetime], int]:
    """Distinct events by customer, type and hour, counted one by one."""
    return Counter(
        (
            each.customer_id,
            each.event_type,
            each.timestamp.replace(minute=0, second=0, microsecond=0),
        )
        for each in set(events)
    )
