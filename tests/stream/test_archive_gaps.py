"""An archiver without messages, topic, Kafka or catalog stops with an error, or waits."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import closing

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.cimpl import NewPartitions

from events.archive.topic import MessagesMissing
from events.config import Settings
from events.errors import StoreRefused, StoreUnavailable
from events.kafka.clients import Cluster, make_admin
from tests.stream.archives import (
    archive,
    archived,
    make_archiver,
    open_archive,
    produce,
    produce_in_transaction,
)
from tests.support.factories import many_events
from tests.support.shell import until


def delete_before(settings: Settings, end: int) -> None:
    """Delete messages of partition 0, as retention does."""
    admin = make_admin(Cluster.of(settings))
    (deleted,) = admin.delete_records(
        [TopicPartition(settings.events_kafka_topic, 0, end)]
    ).values()
    deleted.result(60)


def fail(settings: Settings) -> None:
    make_archiver(settings, is_until_end=True, patience_seconds=0).run()


def test_deleted_messages_stop_it_until_the_gap_is_accepted(settings: Settings) -> None:
    first, later = many_events(5), many_events(6, seed=1)
    produce(settings, first, partitions=1)
    archive(settings)
    produce(settings, later)
    delete_before(settings, 8)

    with pytest.raises(MessagesMissing, match="partition 0: offsets 5 to 7"):
        archive(settings)
    assert archived(settings).total() == 5

    assert archive(settings, is_gap_accepted=True).archived == 3
    assert archived(settings) == Counter([*first, *later[3:]])
    with closing(open_archive(settings)) as catalog:
        properties = catalog.load_table(("events", "raw")).properties
    gaps = properties[f"events.kafka-gaps.{settings.events_kafka_topic}"]
    assert json.loads(gaps) == ["partition 0: offsets 5 to 7"]


def test_a_deleted_transaction_marker_is_not_a_missing_message(settings: Settings) -> None:
    produce_in_transaction(settings, many_events(3), partitions=1)
    assert archive(settings).archived == 3
    delete_before(settings, 4)
    assert archive(settings).archived == 0


def test_a_recreated_topic_is_refused(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    produce(settings, many_events(5))
    archive(settings)
    admin = make_admin(Cluster.of(settings))
    admin.delete_topics([topic])[topic].result()
    until(lambda: topic not in admin.list_topics(timeout=60).topics)
    produce(settings, many_events(50, seed=1))
    with pytest.raises(StoreRefused, match="was recreated"):
        archive(settings)


def test_new_partitions_are_archived_too(settings: Settings) -> None:
    topic = settings.events_kafka_topic
    produce(settings, many_events(5))
    archive(settings)
    admin = make_admin(Cluster.of(settings))
    admin.create_partitions([NewPartitions(topic, 6)])[topic].result()
    until(lambda: len(admin.list_topics(topic, timeout=60).topics[topic].partitions) == 6)
    produce(settings, many_events(60, seed=1, customers=40))
    done = archive(settings)
    assert done.archived == 60
    assert len(done.next_offsets) == 6
    assert archived(settings).total() == 65


def test_a_topic_that_does_not_exist_yet_is_waited_for(settings: Settings) -> None:
    with pytest.raises(StoreUnavailable, match="topic not found"):
        fail(settings)
    archiver = make_archiver(settings, commit_seconds=0.1)
    thread = threading.Thread(target=archiver.run)
    thread.start()
    until(lambda: archiver.problem)
    produce(settings, many_events(3))
    until(lambda: archiver.result.archived == 3)
    archiver.stop()
    thread.join()


def test_a_kafka_that_does_not_answer_is_named(settings: Settings) -> None:
    nowhere = {"events_kafka_bootstrap_servers": "127.0.0.1:1"}
    with pytest.raises(StoreUnavailable, match="Kafka says"):
        fail(settings.model_copy(update=nowhere))


def test_a_catalog_that_cannot_be_opened_is_named(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"events_iceberg_catalog": f"{__file__}/events"})
    with pytest.raises(StoreUnavailable, match="the catalog in"):
        fail(nowhere)
