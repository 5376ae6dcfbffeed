"""A topic as an archive reads it: all partitions, from its own offsets, no gap in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import (
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)

from events.archive.positions import Position
from events.config import Settings
from events.errors import StoreRefused, StoreUnavailable
from events.kafka.clients import error_of, make_admin, make_consumer
from events.kafka.reading import number_of

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0
#: Of librdkafka, for messages that nobody asked for yet: of all partitions, and of each.
_QUEUE_KILOBYTES = 16 * 1024
_QUEUE_MESSAGES = 10_000
_MESSAGES_AT_A_TIME = 2_000
_NO_TOPIC = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages `[first, end)` of a partition that the archive lacks and the topic has no more."""

    partition: int
    first: int
    end: int

    def __str__(self) -> str:
        return f"partition {self.partition}: offsets {self.first} to {self.end - 1}"


class MessagesMissing(StoreRefused):
    """The topic no longer has messages that are not archived yet."""

    def __init__(self, topic: str, gaps: tuple[Gap, ...]) -> None:
        super().__init__(
            f"the topic {topic} no longer has messages that are not archived "
            f"({'; '.join(map(str, gaps))}): they were deleted before they were read. Where they "
            "cannot be had from elsewhere, --accept-gap goes on after them and notes the gap in "
            "the table"
        )
        self.gaps = gaps


class TopicReader:
    """
    Reads every partition of the topic from a position on.

    The position is the caller's: no consumer group holds one.

    Args:
        position: Partitions that are not in it are read from their beginning.

    Raises, here and wherever it reads:
        MessagesMissing: The topic begins after the position.
        StoreUnavailable: Kafka does not answer.
        StoreRefused: Kafka says no, or the topic is another one than that of the position.
    """

    def __init__(self, settings: Settings, position: Position) -> None:
        self._topic = settings.events_kafka_topic
        self._consumer = make_consumer(
            settings,
            group=f"{settings.events_kafka_group}-archive",
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": _QUEUE_KILOBYTES,
                "queued.min.messages": _QUEUE_MESSAGES,
            },
        )
        try:
            self.topic_id = self._check_topic_id(settings, position)
            self.start = self._begin(position)
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def _check_topic_id(self, settings: Settings, position: Position) -> str:
        admin = make_admin(settings)
        (future,) = admin.describe_topics(
            TopicCollection([self._topic]), request_timeout=_TIMEOUT_SECONDS
        ).values()
        try:
            topic_id = str(future.result().topic_id or "")
        except KafkaException as exc:
            raise self._error(exc.args[0]) from exc
        if position.topic_id and topic_id != position.topic_id:
            raise StoreRefused(
                f"the topic {self._topic} was made anew since it was archived, and its offsets "
                "began again: archive it into another table, or under another name"
            )
        return topic_id

    def _begin(self, position: Position) -> dict[int, int]:
        """Take all partitions at their next offset; returns those."""
        self._ends = {each: self._bounds(each) for each in self.partitions()}
        start: dict[int, int] = {}
        gaps = []
        for partition, (low, high) in self._ends.items():
            wanted = position.next_offsets.get(partition)
            if wanted is None:
                if low:
                    log.warning(
                        "partition %s of %s begins at offset %s: what was before is not archived",
                        partition, self._topic, low,
                    )  # fmt: skip
                wanted = low
            if wanted < low:
                gaps.append(Gap(partition, wanted, low))
            if wanted > high:
                raise StoreRefused(
                    f"partition {partition} of the topic {self._topic} ends at offset {high}, and "
                    f"the archive holds it up to {wanted}: it has lost messages, or is another one"
                )
            start[partition] = wanted
        if gaps:
            raise MessagesMissing(self._topic, tuple(gaps))
        self._consumer.assign(
            [TopicPartition(self._topic, partition, at) for partition, at in start.items()]
        )
        self._left = {each for each, (_, high) in self._ends.items() if start[each] < high}
        self._at = dict(start)
        return start

    def partitions(self) -> list[int]:
        """The partitions that the topic has now."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=_TIMEOUT_SECONDS)
        except KafkaException as exc:
            raise self._error(exc.args[0]) from exc
        topic = found.topics[self._topic]
        if topic.error is not None:
            raise self._error(topic.error)
        return sorted(topic.partitions)

    def _bounds(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic, partition)
        try:
            found = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_SECONDS)
        except KafkaException as exc:
            raise self._error(exc.args[0]) from exc
        if found is None:
            raise StoreUnavailable(f"the topic {self._topic}: Kafka did not answer in time")
        return found

    @property
    def next_offsets(self) -> dict[int, int]:
        """By partition, the offset before which every message was given."""
        return dict(self._at)

    @property
    def is_at_end(self) -> bool:
        """Whether all is read that the topic had when this began."""
        return not self._left

    def read(self, timeout_seconds: float) -> Iterator[Message]:
        """What messages there are within this time; it may be none."""
        for message in self._consumer.consume(_MESSAGES_AT_A_TIME, timeout_seconds):
            error = message.error()
            if error is None:
                partition, offset = number_of(message.partition()), number_of(message.offset())
                self._at[partition] = offset + 1
                if offset + 1 >= self._ends[partition][1]:
                    self._left.discard(partition)
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                # Its last offsets may be those of no message: the marks of a transaction.
                partition, offset = number_of(message.partition()), number_of(message.offset())
                self._at[partition] = max(self._at[partition], offset)
                self._left.discard(partition)
            else:
                self._fail(error, message.partition())

    def _fail(self, error: KafkaError, partition: int | None) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition in self._at:
            low, _ = self._bounds(partition)
            if self._at[partition] < low:
                raise MessagesMissing(self._topic, (Gap(partition, self._at[partition], low),))
        raise self._error(error)

    def _error(self, error: KafkaError) -> StoreUnavailable | StoreRefused:
        if error.code() in _NO_TOPIC:
            # It may come: whoever sends the first message makes it.
            return StoreUnavailable(f"there is no topic {self._topic}")
        return error_of(error, f"the topic {self._topic}")
