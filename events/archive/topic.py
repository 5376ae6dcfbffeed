"""Reads a topic for the archive: all partitions, from given offsets; every gap is an error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicCollection, TopicPartition

from events.archive.tables import Position
from events.domain.jsonevents import parse_record
from events.errors import InvalidEvent, StoreRefused, StoreUnavailable
from events.kafka.clients import Cluster, error_of, make_admin, make_consumer
from events.kafka.messages import headers_of, position_of

log = logging.getLogger(__name__)

#: Bytes of keys and values in one batch, however many messages that is.
_MAX_BATCH_BYTES = 128 * 1024 * 1024
_TIMEOUT_SECONDS = 10.0
#: What librdkafka prefetches: kilobytes in all, messages in each partition.
_PREFETCH_KILOBYTES = 16 * 1024
_PREFETCH_MESSAGES = 10_000
_MESSAGES_PER_READ = 2_000
_NO_TOPIC = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)

Row = tuple[object, ...]


@dataclass(slots=True)
class Batch:
    """Messages since the last commit, as rows without `archived_at`."""

    events: list[Row] = field(default_factory=list)
    #: (partition, offset, row).
    rejected: list[tuple[int, int, Row]] = field(default_factory=list)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self.events) + len(self.rejected)

    @property
    def is_full(self) -> bool:
        return self._bytes >= _MAX_BATCH_BYTES

    def add(self, message: Message) -> None:
        """Keep a message: as an event, or with the reason why it is not one."""
        partition, offset = position_of(message)
        key, value = message.key(), message.value()
        try:
            event = parse_record(value, headers_of(message))
        except InvalidEvent as exc:
            row = (exc.field, exc.reason, key, value, partition, offset)
            self.rejected.append((partition, offset, row))
        else:
            self.events.append((*event, partition, offset))
        self._bytes += len(key or b"") + len(value or b"")


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages `[first, end)` of a partition that are neither in the archive nor in the topic."""

    partition: int
    first: int
    end: int

    def __str__(self) -> str:
        return f"partition {self.partition}: offsets {self.first} to {self.end - 1}"


class MessagesMissing(StoreRefused):
    """Messages were deleted from the topic before they were archived."""

    def __init__(self, topic: str, gaps: tuple[Gap, ...]) -> None:
        super().__init__(
            f"messages of the topic {topic} were deleted before they were archived "
            f"({'; '.join(map(str, gaps))}). If you cannot restore them, use --accept-gap: it "
            "skips them and notes the gap in the table"
        )
        self.gaps = gaps


class TopicReader:
    """
    Reads every partition of a topic from a position on, or else from its beginning.

    The caller keeps the position; the reader does not join the group.

    Raises, here and while reading:
        MessagesMissing: The topic starts after the position.
        StoreUnavailable: Kafka does not answer.
        StoreRefused: Kafka refuses, or the topic is not the one of the position.
    """

    def __init__(self, cluster: Cluster, topic: str, *, group: str, position: Position) -> None:
        self._topic = topic
        self._admin = make_admin(cluster)
        self._consumer = make_consumer(
            cluster,
            group=group,
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": _PREFETCH_KILOBYTES,
                "queued.min.messages": _PREFETCH_MESSAGES,
            },
        )
        try:
            self.topic_id = str(self._describe().topic_id or "")
            if position.topic_id and self.topic_id != position.topic_id:
                raise StoreRefused(
                    f"the topic {topic} was recreated since it was archived, and its offsets "
                    "started again: archive it into another table, or rename it"
                )
            #: Partition → the offset before which every message was returned.
            self.next_offsets = self._begin(position)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._consumer.close()

    def _describe(self) -> Any:
        """The client's `TopicDescription`."""
        names = TopicCollection([self._topic])
        with self._mapped_errors():
            topics = self._admin.describe_topics(names, request_timeout=_TIMEOUT_SECONDS)
            return topics[self._topic].result()

    def _begin(self, position: Position) -> dict[int, int]:
        """Assign all partitions at their next offset; returns these offsets."""
        self._ends = {partition: self._bounds(partition) for partition in self.partitions()}
        start: dict[int, int] = {}
        gaps = []
        for partition, (low, high) in self._ends.items():
            next_offset = position.next_offsets.get(partition)
            if next_offset is None:
                if low:
                    log.warning(
                        "partition %s of %s starts at offset %s: earlier messages are not archived",
                        partition, self._topic, low,
                    )  # fmt: skip
                next_offset = low
            if next_offset < low:
                gaps.append(Gap(partition, next_offset, low))
            if next_offset > high:
                raise StoreRefused(
                    f"partition {partition} of the topic {self._topic} ends at offset {high}, but "
                    f"the archive holds it up to {next_offset}: the topic lost messages, or it is "
                    "another topic"
                )
            start[partition] = next_offset
        if gaps:
            raise MessagesMissing(self._topic, tuple(gaps))
        self._consumer.assign(
            [TopicPartition(self._topic, partition, offset) for partition, offset in start.items()]
        )
        self._unfinished = {
            partition for partition, (_, high) in self._ends.items() if start[partition] < high
        }
        return start

    def partitions(self) -> list[int]:
        """The partitions that the topic has now."""
        return sorted(partition.id for partition in self._describe().partitions)

    def _bounds(self, partition: int) -> tuple[int, int]:
        topic_partition = TopicPartition(self._topic, partition)
        with self._mapped_errors():
            return self._consumer.get_watermark_offsets(topic_partition, timeout=_TIMEOUT_SECONDS)

    @property
    def is_at_end(self) -> bool:
        """Whether everything was read that the topic had at the start."""
        return not self._unfinished

    def read(self, timeout_seconds: float) -> Iterator[Message]:
        """The messages that arrive in time; maybe none."""
        for message in self._consumer.consume(_MESSAGES_PER_READ, timeout_seconds):
            error = message.error()
            if error is None:
                partition, offset = position_of(message)
                self.next_offsets[partition] = offset + 1
                if offset + 1 >= self._ends[partition][1]:
                    self._unfinished.discard(partition)
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                # The last offsets may belong to transaction markers, which are not messages.
                partition, offset = position_of(message)
                self.next_offsets[partition] = max(self.next_offsets[partition], offset)
                self._unfinished.discard(partition)
            else:
                self._fail(error, message.partition())

    def _fail(self, error: KafkaError, partition: int | None) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition in self.next_offsets:
            low, _ = self._bounds(partition)
            next_offset = self.next_offsets[partition]
            if next_offset < low:
                raise MessagesMissing(self._topic, (Gap(partition, next_offset, low),))
        raise self._error(error)

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as exc:
            raise self._error(exc.args[0]) from exc

    def _error(self, error: KafkaError) -> StoreUnavailable | StoreRefused:
        if error.code() in _NO_TOPIC:
            # It may still come: the first producer creates it.
            return StoreUnavailable(f"topic not found: {self._topic}")
        return error_of(error, f"the topic {self._topic}")
