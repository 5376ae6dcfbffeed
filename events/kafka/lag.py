"""How far a consumer is behind in its partitions."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, TopicPartition

from events.kafka import measures
from events.kafka.offsets import Offsets

#: The loop waits for it, once for each partition of which nothing was read yet.
_PATIENCE_SECONDS = 0.5


class Lag:
    """Measures it. The thread of the consumer uses it."""

    def __init__(self, consumer: Consumer, topic: str, offsets: Offsets) -> None:
        self._consumer = consumer
        self._topic = topic
        self._offsets = offsets
        #: Where partitions began of which nothing was read yet.
        self._begins: dict[int, int] = {}

    def measure(self) -> None:
        """Up to the ends that the client heard of last."""
        self._ask_begins()
        for each in self._offsets.partitions:
            _, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, each), cached=True
            )
            begin = self._offsets.begin_of(each)
            if begin is None:
                begin = self._begins.get(each)
            if high >= 0 and begin is not None:
                measures.LAG.labels(str(each)).set(max(high - begin, 0))

    def drop(self, partition: int) -> None:
        """It is another's now."""
        self._begins.pop(partition, None)
        measures.LAG.remove(str(partition))

    def _ask_begins(self) -> None:
        unknown = [
            TopicPartition(self._topic, each)
            for each in self._offsets.partitions
            if each not in self._begins and self._offsets.begin_of(each) is None
        ]
        if not unknown:
            return
        try:
            found = self._consumer.committed(unknown, timeout=_PATIENCE_SECONDS)
        except KafkaException:
            return
        self._begins |= {each.partition: max(each.offset, 0) for each in found}
