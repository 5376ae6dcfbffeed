"""A member of a consumer group: partitions come and go, offsets are committed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from events.errors import StoreRefused, StoreUnavailable
from events.kafka import metrics
from events.kafka.clients import OF_ONE_BROKER, Cluster, check_topic, make_consumer
from events.kafka.gaps import Gaps
from events.kafka.messages import Message, message_of, position_of
from events.kafka.offsets import Offsets
from events.kafka.standing import Standing

log = logging.getLogger(__name__)

_CHECK_SECONDS = 2.0
_CHECK_TIMEOUT_SECONDS = 0.5
_GROUP_TIMEOUT_SECONDS = 1.0


class GroupMember:
    """
    A Kafka consumer in a group. One thread uses it; all callbacks run inside `poll`.

    Args:
        offsets: What this member has read, and may commit.
        on_revoke: May finish work in flight for a moment, before partitions are handed over. Its
            argument says whether any of their messages is unsettled.
        on_drop: Called after partitions were removed from `offsets`.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        group: str,
        offsets: Offsets,
        *,
        prefetch_bytes: int,
        on_revoke: Callable[[Callable[[], bool]], None],
        on_drop: Callable[[], None],
    ) -> None:
        self._topic = topic
        self._offsets = offsets
        self._on_revoke = on_revoke
        self._on_drop = on_drop
        self._paused: set[int] = set()
        self._next_check_at = 0.0
        self._consumer: Consumer = make_consumer(
            cluster,
            group=group,
            on_commit=self._committed,
            error_cb=self._handle_error,
            **{
                # A member that joins or leaves does not stop the others.
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": max(prefetch_bytes // 1024, 1_024),
            },
        )
        self.gaps = Gaps(self._consumer, topic, offsets)
        # After the client, which checks the properties.
        self.standing = Standing.of(cluster, group)

    def subscribe(self) -> None:
        """Join the group; Kafka must have answered a moment ago."""
        self.standing.begin(time.monotonic())
        self._consumer.subscribe(
            [self._topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose
        )

    def poll(self, timeout_seconds: float) -> Message | None:
        """
        The next message, or None: if there is none in time, or if Kafka reported an end or error.

        One message a call: a call for several may run a rebalance, and still return messages of a
        partition that the rebalance took away.

        Raises:
            StoreRefused: Kafka refuses this member.
        """
        if (message := self._consumer.poll(timeout_seconds)) is None:
            return None
        if (error := message.error()) is None:
            return message_of(message)
        if error.code() == KafkaError._PARTITION_EOF:
            self._offsets.reach_end(*position_of(message))
        else:
            self._handle_error(error)
        return None

    def serve(self, timeout_seconds: float) -> None:
        """
        Run callbacks while all partitions are paused.

        A message that arrives nevertheless is dropped unnoticed, and so is the end of its
        partition: noting that end would commit past the message.
        """
        self._consumer.poll(timeout_seconds)

    @property
    def is_paused(self) -> bool:
        return bool(self._paused)

    def pause(self) -> None:
        # Includes partitions that a rebalance brought since the last pause.
        if more := self._offsets.partitions - self._paused:
            self._consumer.pause(self._partitions(more))
            self._paused |= more

    def resume(self) -> None:
        self._consumer.resume(self._partitions(self._paused))
        self._paused.clear()

    def close(self) -> bool:
        """Leave the group; returns False if the broker is away and does not know."""
        # `close` would wait for the broker until the session ends.
        if self.standing.failure is not None:
            return False
        self._consumer.close()
        return True

    # --- offsets ----------------------------------------------------------------------------------

    def commit(self) -> None:
        """Send what may be committed; `uncommitted` shrinks when Kafka has it."""
        offsets = self._offsets.uncommitted()
        # While the broker is away librdkafka would keep the commit, and not end before it is sent.
        if offsets and self.standing.failure is None:
            try:
                self._consumer.commit(offsets=self._positions(offsets), asynchronous=True)
            except KafkaException:
                metrics.COMMITS.labels("failed").inc()

    def has_committed(self, ends: Mapping[int, int]) -> bool:
        """Whether the group has committed everything before `ends`, other members included."""
        ours = self._offsets.partitions
        committed = {number: self._offsets.committed_offset(number) for number in ours}
        if any((committed[number] or 0) < ends[number] for number in ours & ends.keys()):
            return False
        others = ends.keys() - ours
        if others and (ours or not self.standing.failure):
            committed |= self._committed_by_group(others)
        return all((committed.get(number) or 0) >= ends[number] for number in others)

    def measure(self) -> None:
        """Update the metrics of lag and health, and report missing messages."""
        for partition in self._offsets.partitions:
            # The ends that came with the last fetch: nothing is sent.
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), cached=True
            )
            start = self._offsets.start_of(partition)
            if high >= 0:
                lag = high - (max(low, 0) if start is None else start)
                metrics.LAG.labels(str(partition)).set(max(lag, 0))
        self.gaps.check()
        metrics.IS_WAITING.labels("kafka").set(self.standing.problem is not None)

    def _committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            if error is None and partition.error is None:
                self._offsets.note_committed(partition.partition, partition.offset)
        has_failed = error is not None or any(partition.error for partition in partitions)
        metrics.COMMITS.labels("failed" if has_failed else "committed").inc()

    def _committed_by_group(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """Partition → the group's committed offset or None; {} if Kafka does not answer."""
        try:
            committed = self._consumer.committed(
                self._partitions(partitions), timeout=_GROUP_TIMEOUT_SECONDS
            )
        except KafkaException as exc:
            log.info("cannot read the group's offsets yet: %s", exc.args[0].name())
            return {}
        # Kafka says -1001 where nothing was committed.
        return {
            partition.partition: partition.offset if partition.offset >= 0 else None
            for partition in committed
        }

    def _partitions(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]

    def _positions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, *position) for position in offsets.items()]

    # --- rebalances -------------------------------------------------------------------------------

    def _assign(self, _: Consumer, assigned: Sequence[TopicPartition]) -> None:
        metrics.REBALANCES.labels("assigned").inc()
        new = [partition.partition for partition in assigned]
        committed = self._committed_by_group(new) if new else {}
        for partition in new:
            self._offsets.assign(partition, committed=committed.get(partition))
        self.standing.join(time.monotonic())
        if new:
            log.info("assigned partitions: %s", sorted(self._offsets.partitions))

    def _revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        """Hand partitions over, and commit first: their next owner starts there."""
        metrics.REBALANCES.labels("revoked").inc()
        gone = {partition.partition for partition in revoked}
        self._on_revoke(lambda: any(self._offsets.open_of(partition) for partition in gone))
        uncommitted = self._offsets.uncommitted()
        due = {partition: uncommitted[partition] for partition in gone & uncommitted.keys()}
        if due and not self.standing.failure:
            try:
                consumer.commit(offsets=self._positions(due), asynchronous=False)
                metrics.COMMITS.labels("committed").inc()
            except KafkaException as exc:
                # The next owner reads these messages again, and finds duplicates.
                metrics.COMMITS.labels("failed").inc()
                log.warning("last commit of %s failed: %s", sorted(gone), exc.args[0].name())
        self._drop(gone)

    def _lose(self, _: Consumer, lost: Sequence[TopicPartition]) -> None:
        """Another member owns them already; a commit now could move its offsets back."""
        metrics.REBALANCES.labels("lost").inc()
        gone = {partition.partition for partition in lost}
        log.warning("lost partitions: %s; their messages in flight are read again", sorted(gone))
        self.standing.lose(time.monotonic())
        self._drop(gone)

    def _drop(self, gone: set[int]) -> None:
        self.gaps.check()
        for partition in gone:
            self._offsets.drop(partition)
            metrics.LAG.remove(str(partition))
        self._paused -= gone
        self._on_drop()

    # --- whether Kafka answers --------------------------------------------------------------------

    def check(self, now: float) -> None:
        """While Kafka fails, look now and then whether it answers again."""
        self.standing.step(now)
        is_due = now >= self._next_check_at and self.standing.may_recover
        if self.standing.failure is None or not is_due:
            return
        self._next_check_at = now + _CHECK_SECONDS
        with suppress(StoreUnavailable, StoreRefused):
            check_topic(self._consumer, self._topic, _CHECK_TIMEOUT_SECONDS)
            self.standing.begin(time.monotonic())

    def _handle_error(self, error: KafkaError) -> None:
        if error.fatal():
            raise StoreRefused(f"Kafka refuses this consumer: {error.name()}")
        if error.code() not in OF_ONE_BROKER:
            self.standing.fail(error, time.monotonic())
