"""Kafka clients: messages are kept, topics are created, errors are named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from events.config import Settings
from events.errors import InvalidInput, StoreRefused, StoreUnavailable
from events.kafka.clients import (
    Cluster,
    dead_letter_topic,
    ensure_topics,
    error_of,
    make_admin,
    make_consumer,
    make_producer,
    properties,
)


def test_a_new_group_reads_from_the_beginning(settings: Settings) -> None:
    cluster, topic = Cluster.of(settings), settings.events_kafka_topic
    ensure_topics(cluster, topic)
    producer = make_producer(cluster)
    producer.produce(topic, key=b"acme", value=b"{}")
    assert producer.flush(60) == 0

    consumer = make_consumer(cluster, group=settings.events_kafka_group)
    consumer.subscribe([topic])
    message = consumer.poll(60)
    consumer.close()

    assert message is not None
    assert message.error() is None
    assert (message.key(), message.value(), message.offset()) == (b"acme", b"{}", 0)


def test_topics_are_created_once_with_the_given_partitions(settings: Settings) -> None:
    cluster, topic = Cluster.of(settings), settings.events_kafka_topic
    names = [topic, dead_letter_topic(topic)]
    ensure_topics(cluster, *names, partitions=3)
    ensure_topics(cluster, *names, partitions=4)
    found = make_admin(cluster).list_topics(timeout=60).topics
    assert [len(found[name].partitions) for name in names] == [3, 3]


def test_a_broker_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        ensure_topics(Cluster("127.0.0.1:1"), "events", timeout_seconds=1)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (KafkaError._TRANSPORT, StoreUnavailable),
        (KafkaError._ALL_BROKERS_DOWN, StoreUnavailable),
        (KafkaError.NOT_LEADER_FOR_PARTITION, StoreUnavailable),
        (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, StoreUnavailable),
        (KafkaError.NOT_ENOUGH_REPLICAS, StoreUnavailable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, StoreRefused),
    ],
)
def test_errors_are_split_by_whether_a_retry_may_help(code: int, error: type[Exception]) -> None:
    assert isinstance(error_of(KafkaError(code), "it failed"), error)


def test_a_properties_file_adds_to_the_settings_and_replaces_none(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(
        "# of the cluster\nsecurity.protocol = SASL_SSL\n\nsasl.password=a=b\n"
        "bootstrap.servers=elsewhere:1\n",
        encoding="utf-8",
    )
    found = properties(Cluster("here:9092", str(file)))
    del found["logger"]
    assert found == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "a=b",
        "bootstrap.servers": "here:9092",
    }


@pytest.mark.parametrize("text", [None, "no value\n", b"\xff"])
def test_an_invalid_properties_file_is_named(tmp_path: Path, text: str | bytes | None) -> None:
    file = tmp_path / "kafka.properties"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InvalidInput, match=r"kafka\.properties"):
        properties(Cluster("here:9092", str(file)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope=1", 'No such configuration property: "nope"'),
        # The value may be a secret that stands after the wrong name.
        ("security.protocol=hunter2", 'Invalid value for configuration property "security.'),
        ('security.protocol=hun"ter2', 'Invalid value for configuration property "security.'),
    ],
)
@pytest.mark.parametrize("make", [make_producer, make_admin, partial(make_consumer, group="g")])
def test_an_invalid_property_is_named_without_its_value(
    tmp_path: Path, make: Callable[[Cluster], object], text: str, message: str
) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        make(Cluster("here:9092", str(file)))
    assert str(caught.value).startswith(f"EVENTS_KAFKA_PROPERTIES_FILE: {message}")
    assert "ter2" not in str(caught.value)
