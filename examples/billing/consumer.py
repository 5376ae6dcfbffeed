"""Reads a topic into the ledger, which also knows where to continue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from events.domain.jsonevents import parse_record
from events.errors import EventsError, InvalidEvent, StoreRefused
from events.kafka.clients import Cluster, error_of, make_consumer
from events.kafka.messages import headers_of, position_of
from events.kafka.standing import Standing
from events.models import Event
from examples import shown
from examples.billing.ledger import BadMessage, Batch, Ledger

_TIMEOUT_SECONDS = 10
_SECONDS_TO_FILL_A_BATCH = 1


@dataclass(slots=True)
class Totals:
    """Messages of one run; `messages` is the sum of the others."""

    messages: int = 0
    billed: int = 0
    repeated: int = 0
    bad: int = 0


@dataclass(slots=True, kw_only=True)
class Biller:
    """
    Reads a topic into a ledger.

    Args:
        member: Name of this process in its group. A process that comes back under its name gets
            its partitions at once; of two processes with one name, the older is cut off.
        batch_size: Maximum messages per SQL transaction.
        on_bad: Called with each invalid message.
    """

    cluster: Cluster
    topic: str
    ledger: Ledger
    group: str
    member: str
    batch_size: int
    on_bad: Callable[[BadMessage], None]
    totals: Totals = field(default_factory=Totals)
    _ours: set[int] = field(default_factory=set)
    #: Our partitions that were read to their end at some time.
    _finished: set[int] = field(default_factory=set)
    _standing: Standing = field(init=False)

    def __post_init__(self) -> None:
        self._standing = Standing.of(self.cluster, self.group)

    def run(self, *, is_until_end: bool) -> None:
        """
        Bill messages until the process is stopped.

        Args:
            is_until_end: Return when our partitions were read to their end. A process without
                partitions waits until the group gives it some.

        Raises:
            StoreUnavailable: Kafka or the database failed; the same call again is safe.
            StoreRefused: The topic, or its next message, does not exist.
        """
        consumer = make_consumer(
            self.cluster,
            group=self.group,
            **{
                "group.instance.id": self.member,
                "enable.partition.eof": True,
                # A bill must not skip messages that were deleted before they were read.
                "auto.offset.reset": "error",
            },
        )
        try:
            self._check_topic(consumer)
            self._standing.begin(time.monotonic())
            consumer.subscribe([self.topic], on_assign=self._assign, on_revoke=self._revoke)
            while not (is_until_end and self._ours and self._ours == self._finished):
                messages = consumer.consume(self.batch_size, timeout=_SECONDS_TO_FILL_A_BATCH)
                self._bill(consumer, messages)
                self._standing.step(time.monotonic())
        except KafkaException as exc:
            raise error_of(exc.args[0], f"cannot read the topic {self.topic}") from exc
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Continue at the ledger's offsets; the group's offsets are ignored."""
        next_offsets = self.ledger.next_offsets(self.topic)
        for partition in partitions:
            if partition.topic != self.topic:
                # A member that comes back gets its old partitions, whatever it subscribes to.
                raise StoreRefused(
                    f"the group {self.group} still knows {self.member} as a reader of "
                    f"{partition.topic}: use another --group, or wait a minute"
                )
            partition.offset = next_offsets.get(partition.partition, OFFSET_BEGINNING)
        self._ours, self._finished = {partition.partition for partition in partitions}, set()
        consumer.assign(partitions)
        self._standing.join(time.monotonic())

    def _revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        # Called between two batches: nothing is in flight.
        self._ours, self._finished = set(), set()
        self._standing.lose(time.monotonic())

    def _bill(self, consumer: Consumer, messages: Sequence[Message]) -> None:
        # Some messages may be from before a rebalance in the same call. Whatever offset is stored
        # last, everything before it is billed, by us or by another process.
        events: list[Event] = []
        bad: list[BadMessage] = []
        next_offsets: dict[int, int] = {}
        finished: set[int] = set()
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise self._error(error)
            partition, offset = position_of(message)
            if error is not None:
                finished.add(partition)
                # Skip transaction markers, which are not messages and may be deleted.
                next_offsets[partition] = offset
                continue
            try:
                events.append(_event_of(message))
            except InvalidEvent as exc:
                bad.append(BadMessage(partition, offset, shown(str(exc))))
            next_offsets[partition] = offset + 1
        if next_offsets:
            new = self.ledger.record(Batch(self.topic, events, bad, next_offsets))
            self.totals.messages += len(events) + len(bad)
            self.totals.billed += new
            self.totals.repeated += len(events) - new
            self.totals.bad += len(bad)
            # Only for tools that show the lag; nobody continues at these offsets.
            consumer.commit(
                offsets=[
                    TopicPartition(self.topic, *position) for position in next_offsets.items()
                ],
                asynchronous=True,
            )
            for one in bad:
                self.on_bad(one)
        self._finished |= finished & self._ours

    def _check_topic(self, consumer: Consumer) -> None:
        error = consumer.list_topics(self.topic, timeout=_TIMEOUT_SECONDS).topics[self.topic].error
        if error is not None:
            raise self._error(error)

    def _error(self, error: KafkaError) -> EventsError:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            return StoreRefused(
                f"the next message of the topic {self.topic} does not exist: it was deleted before "
                "it was read, or the topic was recreated. `run --from-start` reads all messages "
                "and bills nothing twice; then `reconcile` reports what is missing"
            )
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return StoreRefused(f"topic not found: {self.topic}")
        return error_of(error, f"cannot read the topic {self.topic}")


def _event_of(message: Message) -> Event:
    return parse_record(message.value(), headers_of(message))
