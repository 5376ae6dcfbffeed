"""The loop of `consume`: reads, pauses while too much is unsettled, and commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from events.errors import StoreRefused, StoreUnavailable
from events.ingest.writer import PendingReceipts
from events.kafka import metrics
from events.kafka.clients import Cluster, dead_letter_topic
from events.kafka.deadletters import DeadLetterSender
from events.kafka.member import GroupMember
from events.kafka.offsets import Offsets
from events.kafka.pipeline import Limits, Pipeline, Waiting
from events.kafka.producer import Sender
from events.models import Event

#: Messages read between two looks at the store's receipts.
_MAX_PER_TURN = 1_000
_POLL_SECONDS = 0.2
#: The same while receipts are due.
_BUSY_POLL_SECONDS = 0.01
_COMMIT_SECONDS = 0.5
_MEASURE_SECONDS = 1.0
#: How long a rebalance waits for messages in flight. The next owner reads abandoned messages again
#: and finds duplicates.
_HAND_OVER_SECONDS = 5.0
_CLOSE_SECONDS = 5.0


class CountConsumer:
    """
    Counts the messages of a topic. One thread runs it, and polls all the time.

    An offset is committed when every message before it in its partition is durable and counted, or
    is an acknowledged dead letter. Nothing else is ever committed. So however this process ends,
    its unfinished messages are read again, and an event that is read again is a duplicate.

    Args:
        submit: `EventService.submit`.
        sender: For dead letters; see `DeadLetterSender`.
        max_bytes: Reading pauses while so much is unsettled.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        group: str,
        *,
        submit: Callable[[Sequence[Event]], PendingReceipts],
        sender: Sender,
        limits: Limits,
        max_bytes: int,
    ) -> None:
        self._max_messages = limits.max_messages
        self._max_bytes = max_bytes
        self._offsets = Offsets()
        self._dead_letters = DeadLetterSender(sender, dead_letter_topic(topic))
        self.pipeline = Pipeline(submit, self._dead_letters.send, self._offsets, limits)
        self.member = GroupMember(
            cluster,
            topic,
            group,
            self._offsets,
            prefetch_bytes=max_bytes,
            on_revoke=self._finish_briefly,
            on_drop=self.pipeline.forget_dropped,
        )
        self._next_commit_at = 0.0
        self._next_measure_at = 0.0
        self._is_stopping = False
        #: When the loop turned last, on the monotonic clock.
        self.turned_at = time.monotonic()
        #: Whether the group knows that this member left; else it waits for the session to end.
        self.has_left = False
        self.messages_read = 0

    def problems(self) -> dict[str, str]:
        """What is wrong, by component. Any thread may call it."""
        if self._is_stopping:
            return {"consumer": "is stopping"}
        waiting = self.pipeline.waiting
        problems = {
            "dead_letters": self._dead_letters.problem and "Kafka refuses dead letters",
            "kafka": self.member.standing.problem,
            "store": waiting and waiting.value,
        }
        return {name: problem for name, problem in problems.items() if problem}

    def run(
        self,
        *,
        is_stopping: Callable[[], bool],
        ends: Mapping[int, int] | None = None,
        patience_seconds: float,
    ) -> None:
        """
        Consume until `is_stopping`, or until the group has committed everything before `ends`.

        Args:
            ends: Partition → the offset to read up to; None reads forever.
            patience_seconds: How long to finish messages in flight. With `ends` also how long the
                store may accept nothing, or Kafka be away.

        Raises:
            StoreUnavailable: With `ends`: the store or Kafka was away for longer.
            StoreRefused: With `ends`: the store refused for longer. Or Kafka refuses this member.
        """
        self.member.subscribe()
        try:
            while not is_stopping():
                self._turn()
                if ends is not None:
                    if self.member.has_committed(ends):
                        break
                    self._check_patience(patience_seconds)
        finally:
            self._is_stopping = True
            self._finish(patience_seconds)
            self.has_left = self.member.close()

    def _turn(self) -> None:
        self._pause_or_resume()
        is_busy = self.pipeline.is_busy or self._dead_letters.open
        timeout = _BUSY_POLL_SECONDS if is_busy else _POLL_SECONDS
        for _ in range(_MAX_PER_TURN):
            if (message := self.member.poll(timeout)) is None:
                break
            self.messages_read += 1
            self.pipeline.add(message, time.monotonic())
            if self._load() >= 1:
                break
            timeout = 0
        self._advance()

    def _advance(self) -> None:
        now = self.turned_at = time.monotonic()
        self._dead_letters.step(now)
        self.pipeline.step(now)
        if now >= self._next_commit_at:
            self._next_commit_at = now + _COMMIT_SECONDS
            self.member.commit()
        if now >= self._next_measure_at:
            self._next_measure_at = now + _MEASURE_SECONDS
            self.member.measure()
        self.member.check(now)

    def _load(self) -> float:
        """How much is unsettled, as a share of what may be."""
        return max(self._offsets.open / self._max_messages, self.pipeline.bytes / self._max_bytes)

    def _pause_or_resume(self) -> None:
        """Pause reading while too much is open; resume when half of it is settled."""
        load = self._load()
        if load >= 1:
            self.member.pause()
        elif load <= 0.5 and self.member.is_paused:
            self.member.resume()
        metrics.IS_PAUSED.set(self.member.is_paused)

    def _finish_briefly(self, is_open: Callable[[], bool]) -> None:
        """Before partitions are handed over, settle what can be settled within seconds."""
        deadline = time.monotonic() + _HAND_OVER_SECONDS
        self.pipeline.flush(time.monotonic())
        while is_open() and not self.pipeline.waiting and not self._is_stopping:
            now = time.monotonic()
            if now > deadline:
                break
            self._dead_letters.step(now)
            self.pipeline.step(now)
            time.sleep(_BUSY_POLL_SECONDS)

    def _finish(self, patience_seconds: float) -> None:
        """Stop reading and finish the work in flight; wait only briefly for what is down."""

        def is_over() -> bool:
            if self.pipeline.is_busy:
                return self.pipeline.waiting_seconds(time.monotonic()) > _CLOSE_SECONDS
            return not self._dead_letters.open or self.member.standing.problem is not None

        self.pipeline.flush(time.monotonic())
        self._advance_until(is_over, patience_seconds)
        self.member.commit()
        if self.member.standing.problem is None:
            self._advance_until(lambda: not self._offsets.uncommitted(), _CLOSE_SECONDS)
            self.member.gaps.check()

    def _advance_until(self, is_over: Callable[[], bool], patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
        while not is_over() and time.monotonic() < deadline:
            self.member.pause()
            self.member.serve(_BUSY_POLL_SECONDS)
            self._advance()

    def _check_patience(self, patience_seconds: float) -> None:
        now = time.monotonic()
        waiting = self.pipeline.waiting
        if waiting and self.pipeline.waiting_seconds(now) > patience_seconds:
            error = StoreRefused if waiting is Waiting.REFUSED else StoreUnavailable
            raise error(waiting.value)
        self.member.standing.check_patience(now, patience_seconds)
