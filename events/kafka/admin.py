"""Ends of a topic's partitions, and a group put back to their beginning."""

from __future__ import annotations

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from events.config import Settings
from events.errors import InvalidInput
from events.kafka.clients import error_of, make_admin, make_consumer

_TIMEOUT_SECONDS = 10.0


def ends(settings: Settings, topic: str) -> dict[int, int]:
    """By partition that holds anything, the offset after its last message as of now."""
    return {each: high for each, (low, high) in bounds(settings, topic).items() if high > low}


def bounds(settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """By partition, the offset of its first message and the one after its last, as of now."""
    # It joins no group, and is closed at the end of the `with`.
    with make_consumer(settings, group=settings.events_kafka_group) as consumer:
        return _bounds(consumer, topic)


def rewind(settings: Settings, topic: str, group: str) -> None:
    """
    Have a group begin at the first messages that are still there.

    Raises:
        InvalidInput: The group has members, who would go on where they are.
        StoreUnavailable: Kafka does not answer.
        StoreRefused: It will not.
    """
    admin = make_admin(settings)
    try:
        description = (
            admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_SECONDS)[group]
        ).result()
        if description.members:
            raise InvalidInput(
                f"the group {group} has {len(description.members)} active members: stop them "
                "before it is put back to the beginning"
            )
        to = [
            TopicPartition(topic, each, low) for each, (low, _) in bounds(settings, topic).items()
        ]
        asked = [ConsumerGroupTopicPartitions(group, to)]
        admin.alter_consumer_group_offsets(asked, request_timeout=_TIMEOUT_SECONDS)[group].result()
    except KafkaException as exc:
        what = f"the group {group} could not be put back to the beginning"
        raise error_of(exc.args[0], what) from exc


def _bounds(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    try:
        found = consumer.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics[topic]
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            # Else what we may not see would look like an empty topic.
            raise KafkaException(found.error)
        return {
            each: consumer.get_watermark_offsets(
                TopicPartition(topic, each), timeout=_TIMEOUT_SECONDS
            )
            for each in found.partitions
        }
    except KafkaException as exc:
        raise error_of(exc.args[0], f"the ends of the topic {topic} cannot be read") from exc
