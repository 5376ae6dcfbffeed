"""Messages that were deleted before they were counted: said, because they cannot be read again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from events.kafka import measures

log = logging.getLogger(__name__)

#: A rebalance waits for it, or the loop.
_PATIENCE_SECONDS = 1.0
#: Of a partition, between two looks; of more the first are not looked at.
_MOST_LEFT_OUT = 10_000


class Gaps:
    """
    Finds where what is read leaves offsets out that were deleted.

    Offsets are left out as well where messages were compacted away, and where the marks of a
    transaction stand. Those lie after the place where the partition begins, what was deleted lies
    before it; so Kafka is asked for that place. One that is passed and only then deleted, before
    the next look, is taken for one that was not read. The thread of the consumer uses it.
    """

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        #: What each partition of ours goes on with, where that is known.
        self._next: dict[int, int] = {}
        #: Left out since the last look: by partition, from here up to there.
        self._left_out: dict[int, deque[tuple[int, int]]] = {}
        #: How many offsets were deleted before this consumer came to them.
        self.missing = 0
        #: Whether the last look was in vain: that is said once, not at each look.
        self._is_unknown = False

    def begin(self, partitions: Iterable[int]) -> None:
        """They are ours now, and go on where the group is."""
        places = [TopicPartition(self._topic, each) for each in partitions]
        for place in places:
            self._next.pop(place.partition, None)
        try:
            found = self._consumer.committed(places, timeout=_PATIENCE_SECONDS) if places else []
        except KafkaException as exc:
            # Not even a rebalance waits longer: what is missing before the first message is unseen.
            _say_unknown(exc)
            return
        # A partition in which nobody of this group was before has nothing to miss.
        self._next |= {each.partition: each.offset for each in found if each.offset >= 0}

    def came(self, partition: int, offset: int) -> None:
        """A message was read."""
        self.at_end(partition, offset)
        self._next[partition] = offset + 1

    def at_end(self, partition: int, end: int) -> None:
        """All before `end` was read."""
        expected = self._next.get(partition, end)
        self._next[partition] = end
        # Less than expected: its log was cut, and what is written there now is new.
        if end > expected:
            kept = self._left_out.setdefault(partition, deque(maxlen=_MOST_LEFT_OUT))
            kept.append((expected, end))

    def look(self) -> None:
        """Say what was deleted of all that was left out since the last look."""
        for partition, left_out in list(self._left_out.items()):
            place = TopicPartition(self._topic, partition)
            try:
                low, _ = self._consumer.get_watermark_offsets(place, timeout=_PATIENCE_SECONDS)
            except KafkaException as exc:
                if not self._is_unknown:
                    _say_unknown(exc)
                self._is_unknown = True
                return
            self._is_unknown = False
            del self._left_out[partition]
            for first, end in left_out:
                self._miss(partition, first, min(end, low))

    def drop(self, partitions: Iterable[int]) -> None:
        """They are another's now."""
        self.look()
        for each in partitions:
            self._left_out.pop(each, None)
            self._next.pop(each, None)

    def _miss(self, partition: int, first: int, end: int) -> None:
        if end <= first:
            return
        self.missing += end - first
        measures.MISSING.labels(str(partition)).inc(end - first)
        log.error(
            "partition %s of %s: offsets %s to %s were deleted before they were counted; "
            "get them from elsewhere, the archive say",
            partition, self._topic, first, end - 1,
        )  # fmt: skip


def _say_unknown(exc: KafkaException) -> None:
    log.warning("could not look for missing messages: %s", exc.args[0].name())
