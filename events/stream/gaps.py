"""Messages that were deleted before they were counted: said, because they cannot be read again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from events.stream import measures

log = logging.getLogger(__name__)

#: A rebalance waits for it.
_PATIENCE_SECONDS = 0.5


class Gaps:
    """Looks for them where a partition is taken over. The thread of the consumer uses it."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        #: Up to where each partition was looked at.
        self._known: dict[int, int] = {}
        self.missing = 0

    def look(self, partitions: Iterable[int]) -> None:
        """
        Hold where the group is against where partitions begin now, before anything is read.

        What Kafka does not answer in time is not known, and nothing is said of it.
        """
        places = [TopicPartition(self._topic, each) for each in partitions]
        if not places:
            return
        try:
            for place in self._consumer.committed(places, timeout=_PATIENCE_SECONDS):
                if place.offset < 0:  # nobody of this group was here before
                    continue
                low, _ = self._consumer.get_watermark_offsets(place, timeout=_PATIENCE_SECONDS)
                self._compare(place.partition, place.offset, low)
        except KafkaException as exc:
            log.warning("could not look for missing messages: %s", exc.args[0].name())

    def _compare(self, partition: int, committed: int, low: int) -> None:
        first = max(committed, self._known.get(partition, 0))
        if low <= first:
            return
        self._known[partition] = low
        self.missing += low - first
        measures.MISSING.labels(str(partition)).inc(low - first)
        log.error(
            "partition %s of %s: offsets %s to %s were deleted before they were counted; "
            "get them from elsewhere, the archive say",
            partition, self._topic, first, low - 1,
        )  # fmt: skip
