"""Kafka to exact counts: polls, pauses, commits what is done, hands partitions over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from events.config import Settings
from events.errors import StoreRefused, StoreUnavailable
from events.kafka import measures
from events.kafka.clients import make_consumer
from events.kafka.gaps import Gaps
from events.kafka.health import OF_ONE_BROKER, check_topic
from events.kafka.lag import Lag
from events.kafka.letters import Letters
from events.kafka.offsets import Offsets
from events.kafka.pipeline import Pipeline
from events.kafka.reading import message_of, number_of
from events.kafka.state import State

log = logging.getLogger(__name__)

#: Messages taken between two looks at what the store has done.
_MOST_A_TURN = 1_000
_POLL_SECONDS = 0.2
#: The same while something is under way, of which the end is to be seen.
_BUSY_POLL_SECONDS = 0.01
_COMMIT_SECONDS = 0.5
_MEASURE_SECONDS = 1.0
#: How long a rebalance waits for what is under way; what is abandoned comes again, and is a
#: duplicate then.
_HAND_OVER_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_CHECK_SECONDS = 2.0
_WHAT_PASSES = "Kafka does not answer; what is read stays, and is tried again until it works"


class CountConsumer:
    """
    One member of the group. One thread runs it, and polls at all times.

    An offset is committed once every message before it, of its partition, is durable and counted,
    or a dead letter that was acknowledged. Nothing else is ever committed, so whatever ends this
    process, what it had not finished comes again; and an event that comes again is a duplicate.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        offsets: Offsets,
        letters: Letters,
        *,
        max_messages: int,
    ) -> None:
        self._topic = settings.events_kafka_topic
        self._most_open = max_messages
        self._most_bytes = settings.events_kafka_max_bytes
        self._pipeline = pipeline
        self._offsets = offsets
        self._letters = letters
        self._paused: set[int] = set()
        self._next_commit_at = 0.0
        self._next_measure_at = 0.0
        self._next_check_at = 0.0
        self._problem_since = time.monotonic()
        self._has_joined = False
        #: It told the group that it goes, which need not wait for the end of its session then.
        self.has_left = False
        self.read = 0
        self.state = State()
        self._consumer: Consumer = make_consumer(
            settings,
            group=settings.events_kafka_group,
            on_commit=self._on_commit,
            error_cb=self._on_error,
            **{
                # A member that comes or goes stops nobody else.
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.partition.eof": True,
                # What the client fetches ahead, beside what is held here.
                "queued.max.messages.kbytes": max(self._most_bytes // 1024, 1_024),
            },
        )
        self._lag = Lag(self._consumer, self._topic, offsets)
        self.gaps = Gaps(self._consumer, self._topic)

    def run(
        self,
        *,
        is_stopping: Callable[[], bool],
        ends: Mapping[int, int] | None = None,
        patience_seconds: float,
    ) -> None:
        """
        Consume until told to stop, or until all up to `ends` is committed by the group.

        Args:
            is_stopping: Asked at each turn; then what is under way is finished.
            ends: By partition, the offset to read up to; None goes on for ever.
            patience_seconds: How long to finish when told to stop; with `ends`, also how long
                the store may take nothing, or Kafka be away.

        Raises:
            StoreUnavailable: With `ends`, the store took nothing for so long, or Kafka was away.
            StoreRefused: The same, or Kafka will not have this member.
        """
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not is_stopping():
                self._turn()
                if ends is not None:
                    if self._is_at(ends):
                        break
                    self._check_patience(patience_seconds)
        finally:
            self.state.is_stopping = True
            self._finish(patience_seconds)
            # A broker that is away would be waited for as long as a session lasts.
            if self.state.kafka_problem is None:
                self._consumer.close()
                self.has_left = True

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._hold_back()
        timeout = _BUSY_POLL_SECONDS if self._is_busy() else _POLL_SECONDS
        for _ in range(_MOST_A_TURN):
            # One at a time: a message of a partition that a rebalance took away in the same call
            # would else come after the news of it.
            message = self._consumer.poll(timeout)
            if message is None:
                break
            self._take(message)
            if self._is_full():
                break
            timeout = 0
        self._advance()

    def _advance(self) -> None:
        now = time.monotonic()
        self.state.turn()
        self._letters.step(now)
        self._pipeline.step(now)
        if now >= self._next_commit_at:
            self._next_commit_at = now + _COMMIT_SECONDS
            self._commit()
        if now >= self._next_measure_at:
            self._next_measure_at = now + _MEASURE_SECONDS
            self._lag.measure()
            self.gaps.look()
            measures.IS_WAITING.labels("kafka").set(self.state.kafka_problem is not None)
        waiting = self._pipeline.waiting
        self.state.store_problem = None if waiting is None else waiting.value
        if self.state.kafka_problem and now >= self._next_check_at:
            self._next_check_at = now + _CHECK_SECONDS
            self._check_kafka()

    def _is_busy(self) -> bool:
        return self._pipeline.is_busy or self._letters.open > 0

    def _take(self, message: KafkaMessage) -> None:
        error = message.error()
        if error is None:
            self.read += 1
            taken = message_of(message)
            self.gaps.came(taken.partition, taken.offset)
            self._pipeline.take(taken, time.monotonic())
        elif error.code() == KafkaError._PARTITION_EOF:
            partition, end = number_of(message.partition()), number_of(message.offset())
            self.gaps.at_end(partition, end)
            self._offsets.at_end(partition, end)
        else:
            self._on_error(error)

    def _is_full(self) -> bool:
        return self._offsets.open >= self._most_open or self._pipeline.bytes >= self._most_bytes

    def _hold_back(self) -> None:
        """Read no more while enough is open, and again when half of it is done."""
        is_half = (
            self._offsets.open <= self._most_open // 2
            and self._pipeline.bytes <= self._most_bytes // 2
        )
        # Also those that a rebalance brought meanwhile.
        if self._is_full() and (more := self._offsets.partitions - self._paused):
            self._consumer.pause(self._at(more))
            self._paused |= more
        elif is_half and self._paused:
            self._consumer.resume(self._at(self._paused))
            self._paused.clear()
        measures.IS_PAUSED.set(bool(self._paused))

    def _finish(self, patience_seconds: float) -> None:
        """Read no more, and finish what is under way; of what is away not for long."""

        def is_over() -> bool:
            if self._pipeline.is_busy:
                return self._pipeline.waiting_seconds(time.monotonic()) > _CLOSE_SECONDS
            return not self._letters.open or self.state.kafka_problem is not None

        self._pipeline.flush(time.monotonic())
        self._serve_until(is_over, patience_seconds)
        self._commit()
        if self.state.kafka_problem is None:
            self._serve_until(lambda: not self._offsets.uncommitted(), _CLOSE_SECONDS)
            self.gaps.look()

    def _serve_until(self, is_over: Callable[[], bool], patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
        while not is_over() and time.monotonic() < deadline:
            if more := self._offsets.partitions - self._paused:
                self._consumer.pause(self._at(more))
                self._paused |= more
            # What comes nevertheless is not taken: it is not committed either.
            self._consumer.poll(_BUSY_POLL_SECONDS)
            self._advance()

    def _check_patience(self, patience_seconds: float) -> None:
        waiting = self._pipeline.waiting
        if waiting and self._pipeline.waiting_seconds(time.monotonic()) > patience_seconds:
            refused = waiting.name == "REFUSED"
            raise (StoreRefused if refused else StoreUnavailable)(waiting.value)
        problem = self.state.kafka_problem
        if problem and time.monotonic() - self._problem_since > patience_seconds:
            raise StoreUnavailable(f"Kafka does not answer: {problem}")

    # --- offsets ----------------------------------------------------------------------------------

    def _commit(self) -> None:
        offsets = self._offsets.uncommitted()
        # The client would keep it for a broker that is away, and not end before.
        if offsets and self.state.kafka_problem is None:
            try:
                self._consumer.commit(offsets=self._at(offsets), asynchronous=True)
            except KafkaException:
                measures.COMMITS.labels("failed").inc()

    def _on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            if error is None and each.error is None:
                self._offsets.committed(each.partition, each.offset)
        is_failed = error is not None or any(each.error for each in partitions)
        measures.COMMITS.labels("failed" if is_failed else "committed").inc()

    def _is_at(self, ends: Mapping[int, int]) -> bool:
        """Whether the group, whose other members may have the rest, has committed all of it."""
        ours = {
            each: self._offsets.committed_offset(each) or 0 for each in self._offsets.partitions
        }
        if any(ours[each] < end for each, end in ends.items() if each in ours):
            return False
        others = [each for each in ends if each not in ours]
        if not others:
            return True
        if not ours and self.state.kafka_problem:
            return False
        try:
            found = self._consumer.committed(self._at(others), timeout=_CHECK_SECONDS)
        except KafkaException:
            return False
        return all(each.offset >= ends[each.partition] for each in found)

    def _at(self, partitions: Any) -> list[TopicPartition]:
        """Partitions of the topic, with their offsets where there are any."""
        if isinstance(partitions, Mapping):
            return [TopicPartition(self._topic, each, at) for each, at in partitions.items()]
        return [TopicPartition(self._topic, each) for each in sorted(partitions)]

    # --- the group --------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        measures.REBALANCES.labels("assigned").inc()
        self._has_joined = True
        for each in partitions:
            self._offsets.assign(each.partition)
        self.gaps.begin(each.partition for each in partitions)
        if self.state.kafka_problem:
            self._kafka_answers()
        if partitions:
            log.info("has the partitions %s", sorted(self._offsets.partitions))

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Hand partitions over: with what is done committed, the next owner begins after it."""
        measures.REBALANCES.labels("revoked").inc()
        gone = {each.partition for each in partitions}
        deadline = time.monotonic() + _HAND_OVER_SECONDS
        self._pipeline.flush(time.monotonic())
        while any(self._offsets.open_of(each) for each in gone):
            now = time.monotonic()
            if now > deadline or self._pipeline.waiting or self.state.is_stopping:
                break
            self._letters.step(now)
            self._pipeline.step(now)
            time.sleep(_BUSY_POLL_SECONDS)
        done = {each: at for each, at in self._offsets.uncommitted().items() if each in gone}
        if done and not self.state.kafka_problem:
            try:
                consumer.commit(offsets=self._at(done), asynchronous=False)
                measures.COMMITS.labels("committed").inc()
            except KafkaException as exc:
                # The next owner does it again, and finds duplicates.
                measures.COMMITS.labels("failed").inc()
                log.warning("the last commit of %s failed: %s", sorted(gone), exc.args[0].name())
        self._drop(gone)

    def _on_lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """They are another's already: to commit now could take back what that one did."""
        measures.REBALANCES.labels("lost").inc()
        gone = {each.partition for each in partitions}
        log.warning("lost the partitions %s: what was under way is done again", sorted(gone))
        self._drop(gone)

    def _drop(self, gone: set[int]) -> None:
        self.gaps.drop(gone)
        for each in gone:
            self._offsets.drop(each)
            self._lag.drop(each)
        self._paused -= gone
        self._pipeline.forget_dropped()

    # --- Kafka's health ---------------------------------------------------------------------------

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            raise StoreRefused(f"Kafka will not have this consumer: {error.name()}")
        if error.code() in OF_ONE_BROKER:
            return
        if self.state.kafka_problem is None:
            log.warning("%s (%s)", _WHAT_PASSES, error.name())
            self._problem_since = time.monotonic()
        self.state.kafka_problem = f"Kafka said {error.name()}"

    def _check_kafka(self) -> None:
        if not self._has_joined:
            return
        try:
            check_topic(self._consumer, self._topic, 0.5)
        except (StoreUnavailable, StoreRefused):
            return
        self._kafka_answers()

    def _kafka_answers(self) -> None:
        log.info("Kafka answers")
        self.state.kafka_problem = None
