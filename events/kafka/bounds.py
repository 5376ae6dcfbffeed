"""Where the partitions of a topic begin and end, and where a group starts to read them."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from events.errors import InvalidInput
from events.kafka.clients import Cluster, make_admin, make_consumer, map_errors

_TIMEOUT_SECONDS = 10.0


def read_ends(cluster: Cluster, topic: str, *, group: str) -> dict[int, int]:
    """Partition → the offset after its last message; empty partitions are left out."""
    bounds = read_bounds(cluster, topic, group=group)
    return {partition: high for partition, (low, high) in bounds.items() if high > low}


def read_bounds(cluster: Cluster, topic: str, *, group: str) -> dict[int, tuple[int, int]]:
    """Partition → the offset of its first message, and the offset after its last one."""
    # The consumer does not join the group.
    with (
        make_consumer(cluster, group=group) as consumer,
        map_errors(f"cannot read the ends of the topic {topic}"),
    ):
        metadata = consumer.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics[topic]
        error = metadata.error
        if error is not None and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            # Otherwise a topic that we have no right to see would look empty.
            raise KafkaException(error)
        return {
            partition: consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=_TIMEOUT_SECONDS
            )
            for partition in metadata.partitions
        }


def rewind_group(cluster: Cluster, topic: str, *, group: str, since: int) -> None:
    """
    Reset a group's offsets to the first message of each partition since a point in time.

    Args:
        since: In milliseconds since 1970; 0 is the first message that exists.

    Raises `InvalidInput` if the group has active members, which would continue where they are.
    """
    admin = make_admin(cluster)
    with map_errors(f"cannot reset the consumer group {group}"):
        descriptions = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_SECONDS)
        if members := descriptions[group].result().members:
            raise InvalidInput(
                f"the consumer group {group} has {len(members)} active members: stop "
                "them before you reset it; a killed member leaves the group after some seconds"
            )
        starts = _read_starts(cluster, topic, group=group, since=since)
        request = [ConsumerGroupTopicPartitions(group, starts)]
        reset = admin.alter_consumer_group_offsets(request, request_timeout=_TIMEOUT_SECONDS)
        reset[group].result()


def _read_starts(cluster: Cluster, topic: str, *, group: str, since: int) -> list[TopicPartition]:
    """The first message of each partition since a point in time, else its end."""
    bounds = read_bounds(cluster, topic, group=group)
    if not since:
        return [TopicPartition(topic, partition, low) for partition, (low, _) in bounds.items()]
    times = [TopicPartition(topic, partition, since) for partition in bounds]
    with make_consumer(cluster, group=group) as consumer:
        starts: list[TopicPartition] = consumer.offsets_for_times(times, timeout=_TIMEOUT_SECONDS)
    for start in starts:
        if start.error is not None:
            raise KafkaException(start.error)
        if start.offset < 0:
            start.offset = bounds[start.partition][1]
    return starts


def read_committed(
    cluster: Cluster, topic: str, partitions: Iterable[int], *, group: str
) -> dict[int, int]:
    """Partition → the offset that a group has committed; partitions without one are left out."""
    # The consumer does not join the group.
    with (
        make_consumer(cluster, group=group) as consumer,
        map_errors(f"cannot read the offsets of the consumer group {group}"),
    ):
        committed = consumer.committed(
            [TopicPartition(topic, partition) for partition in partitions],
            timeout=_TIMEOUT_SECONDS,
        )
    return {one.partition: one.offset for one in committed if one.offset >= 0}
