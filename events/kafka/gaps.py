"""Messages that Kafka deleted before they were counted: reported, as they cannot be read again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, TopicPartition

from events.kafka import metrics
from events.kafka.offsets import Offsets

log = logging.getLogger(__name__)

#: A rebalance or the consumer's loop waits at most this long for an answer.
_TIMEOUT_SECONDS = 1.0


@dataclass
class Gaps:
    """
    Finds offsets that were skipped because their messages were deleted.

    Compaction and transaction markers also leave holes, but above the partition's low watermark;
    deleted messages lie below it. So a hole counts as missing only if it lies below the low
    watermark. (A hole left by compaction is miscounted if the messages around it are deleted before
    the next check.) The consumer's thread uses it.
    """

    consumer: Consumer
    topic: str
    offsets: Offsets
    #: How many messages were deleted before this consumer read them.
    missing: int = field(default=0, init=False)
    #: Whether the last check failed: logged once, not for each check.
    _is_check_failing: bool = field(default=False, init=False)

    def check(self) -> None:
        """Report the deleted messages among the holes since the last check."""
        for partition, holes in self.offsets.holes.items():
            at = TopicPartition(self.topic, partition)
            try:
                low, _ = self.consumer.get_watermark_offsets(at, timeout=_TIMEOUT_SECONDS)
            except KafkaException as exc:
                if not self._is_check_failing:
                    log.warning("cannot check for missing messages: %s", exc.args[0].name())
                self._is_check_failing = True
                return
            self._is_check_failing = False
            for first, hole_end in holes:
                if first < low:
                    end = min(hole_end, low)
                    self.missing += end - first
                    metrics.MISSING.labels(str(partition)).inc(end - first)
                    log.error(
                        "partition %s of %s: offsets %s to %s were deleted before they were "
                        "counted; restore them from another source, such as the archive",
                        partition, self.topic, first, end - 1,
                    )  # fmt: skip
            holes.clear()
