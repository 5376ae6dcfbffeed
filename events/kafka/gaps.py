"""Messages that Kafka deleted before they were counted: reported, as they cannot be read again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from events.kafka import metrics

log = logging.getLogger(__name__)

#: A rebalance or the consumer's loop waits at most this long for an answer.
_TIMEOUT_SECONDS = 1.0
#: Holes kept for each partition between two checks; if there are more, the oldest are dropped.
_MAX_HOLES = 10_000


class Gaps:
    """
    Finds offsets that were skipped because their messages were deleted.

    Compaction and transaction markers also leave holes, but above the partition's low watermark;
    deleted messages lie below it. So a hole counts as missing only if it lies below the low
    watermark. (A hole left by compaction is miscounted if the messages around it are deleted before
    the next check.) The consumer's thread uses it.
    """

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        #: Partition → the offset that should come next, if it is known.
        self._next: dict[int, int] = {}
        #: Partition → holes `[first, end)` since the last check.
        self._holes: dict[int, deque[tuple[int, int]]] = {}
        #: How many messages were deleted before this consumer read them.
        self.missing = 0
        #: Whether the last check failed: logged once, not for each check.
        self._is_check_failing = False

    def assign(self, starts: Mapping[int, int | None]) -> None:
        """
        Start partitions at the group's committed offsets.

        Where that is None (unknown, or never read) nothing is missing before the first message.
        """
        for partition, start in starts.items():
            self._next.pop(partition, None)
            if start is not None:
                self._next[partition] = start

    def read(self, partition: int, offset: int) -> None:
        """Note that a message was read."""
        self.reach_end(partition, offset)
        self._next[partition] = offset + 1

    def reach_end(self, partition: int, end: int) -> None:
        """Note that everything before `end` was read."""
        expected = self._next.get(partition, end)
        self._next[partition] = end
        # `end < expected`: the log was truncated, and the messages from `end` on are new.
        if end > expected:
            holes = self._holes.setdefault(partition, deque(maxlen=_MAX_HOLES))
            holes.append((expected, end))

    def check(self) -> None:
        """Report the deleted messages among the holes since the last check."""
        for partition, holes in list(self._holes.items()):
            at = TopicPartition(self._topic, partition)
            try:
                low, _ = self._consumer.get_watermark_offsets(at, timeout=_TIMEOUT_SECONDS)
            except KafkaException as exc:
                if not self._is_check_failing:
                    log.warning("cannot check for missing messages: %s", exc.args[0].name())
                self._is_check_failing = True
                return
            self._is_check_failing = False
            del self._holes[partition]
            for first, end in holes:
                if first < low:
                    self._report(partition, first, min(end, low))

    def drop(self, partitions: Iterable[int]) -> None:
        """Stop partitions that now belong to another consumer."""
        self.check()
        for partition in partitions:
            self._holes.pop(partition, None)
            self._next.pop(partition, None)

    def _report(self, partition: int, first: int, end: int) -> None:
        self.missing += end - first
        metrics.MISSING.labels(str(partition)).inc(end - first)
        log.error(
            "partition %s of %s: offsets %s to %s were deleted before they were counted; "
            "restore them from another source, such as the archive",
            partition, self._topic, first, end - 1,
        )  # fmt: skip
