"""Settings to Kafka clients: what they send is kept, what is missing is made, errors are named."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from events.config import Settings
from events.errors import InvalidInput, StoreRefused, StoreUnavailable
from events.kafka.clients import (
    dead_letter_topic,
    ensure_topics,
    error_of,
    make_admin,
    make_consumer,
    make_producer,
    properties,
)


def test_a_message_that_is_acknowledged_is_read_by_a_new_group_from_the_beginning(
    settings: Settings,
) -> None:
    topic = settings.events_kafka_topic
    ensure_topics(settings, topic)
    producer = make_producer(settings)
    producer.produce(topic, key=b"acme", value=b"{}")
    assert producer.flush(30) == 0

    consumer = make_consumer(settings, group=settings.events_kafka_group)
    consumer.subscribe([topic])
    message = consumer.poll(30)
    consumer.close()

    assert message is not None
    assert message.error() is None
    assert (message.key(), message.value(), message.offset()) == (b"acme", b"{}", 0)


def test_a_reader_does_not_wait_once_its_queue_was_full(settings: Settings) -> None:
    topic, messages = settings.events_kafka_topic, 400
    ensure_topics(settings, topic)
    producer = make_producer(settings, **{"compression.type": "none", "batch.num.messages": 10})
    for number in range(messages):
        producer.produce(topic, key=b"acme", value=bytes([number % 256]) * 1_000)
        producer.poll(0)
    assert producer.flush(30) == 0

    # Ten messages a fetch, and no second fetch before those are taken: forty fetches.
    consumer = make_consumer(
        settings,
        group=settings.events_kafka_group,
        **{"queued.min.messages": 1, "fetch.message.max.bytes": 1_000},
    )
    consumer.subscribe([topic])
    assert consumer.poll(30) is not None
    begin = time.monotonic()
    read = 1
    while read < messages:
        read += len(consumer.consume(messages, 1))
    seconds = time.monotonic() - begin
    consumer.close()
    assert seconds < 20


def test_topics_are_made_once_with_the_partitions_that_are_set(settings: Settings) -> None:
    names = [settings.events_kafka_topic, dead_letter_topic(settings)]
    ensure_topics(settings, *names)
    ensure_topics(settings, *names)
    found = make_producer(settings).list_topics(timeout=30).topics
    assert [len(found[name].partitions) for name in names] == [3, 3]


def test_a_broker_that_is_not_there_is_unavailable() -> None:
    settings = Settings(events_kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(StoreUnavailable):
        ensure_topics(settings, "events", timeout_seconds=1)


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
def test_an_error_of_kafka_says_whether_trying_again_helps(
    code: int, error: type[Exception]
) -> None:
    assert isinstance(error_of(KafkaError(code), "it failed"), error)


def test_a_file_of_properties_adds_to_the_settings_and_does_not_replace_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(
        "# of the cluster\nsecurity.protocol = SASL_SSL\n\nsasl.password=a=b\n"
        "bootstrap.servers=elsewhere:1\n",
        encoding="utf-8",
    )
    found = properties(
        Settings(events_kafka_properties_file=str(file), events_kafka_bootstrap_servers="here:9092")
    )
    del found["logger"]
    assert found == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "a=b",
        "bootstrap.servers": "here:9092",
    }


@pytest.mark.parametrize("text", [None, "no value\n", b"\xff"])
def test_a_file_of_properties_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | bytes | None
) -> None:
    file = tmp_path / "kafka.properties"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InvalidInput, match=r"kafka\.properties"):
        properties(Settings(events_kafka_properties_file=str(file)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nope=1", 'No such configuration property: "nope"'),
        # A value may be a secret that was put behind the wrong name.
        ("security.protocol=hunter2", 'Invalid value for configuration property "security.'),
        ('security.protocol=hun"ter2', 'Invalid value for configuration property "security.'),
    ],
)
@pytest.mark.parametrize("make", [make_producer, make_admin, partial(make_consumer, group="g")])
def test_a_property_that_kafka_does_not_know_is_named_and_its_value_is_not(
    tmp_path: Path, make: Callable[[Settings], object], text: str, said: str
) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        make(Settings(events_kafka_properties_file=str(file)))
    assert str(caught.value).startswith(f"EVENTS_KAFKA_PROPERTIES_FILE: {said}")
    assert "ter2" not in str(caught.value)
