"""Messages to the ledger, which also says where to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from events.config import Settings
from events.domain.parsing import parse_message
from events.errors import EventsError, InvalidEvent, StoreRefused
from events.kafka.clients import Cluster, error_of, make_consumer
from events.models import Event
from examples.billing.invoices import shown
from examples.billing.ledger import BadMessage, Batch, Ledger

_SECONDS_TO_FIND_THE_TOPIC = 10
_SECONDS_TO_FILL_A_BATCH = 1


@dataclass(slots=True)
class Totals:
    """What one run did. `messages` is the sum of the other three."""

    messages: int = 0
    billed: int = 0
    repeated: int = 0
    bad: int = 0


@dataclass(slots=True)
class Biller:
    """
    Reads a topic into a ledger.

    Args:
        member: Name of this process in its group. It comes back under it and gets its partitions
            at once; another process of the same name is cut off.
        batch_size: Messages in one SQL transaction, at most.
        on_bad: Told of each message that is no event.
    """

    settings: Settings
    ledger: Ledger
    group: str
    member: str
    batch_size: int
    on_bad: Callable[[BadMessage], None]
    totals: Totals = field(default_factory=Totals)
    _ours: set[int] = field(default_factory=set)
    #: Those of ours whose end was reached at some time.
    _ended: set[int] = field(default_factory=set)

    def run(self, *, is_until_end: bool) -> None:
        """
        Bill what comes, until the process is stopped.

        Args:
            is_until_end: Return once all that is in our partitions was read; one that has none,
                because others of its group hold them, waits for some.

        Raises:
            StoreUnavailable: Kafka or the database failed; the same again is safe.
            StoreRefused: The topic, or what comes next in it, is not there.
        """
        consumer = make_consumer(
            Cluster.of(self.settings),
            group=self.group,
            **{
                "group.instance.id": self.member,
                "enable.partition.eof": True,
                # A bill must not step over what was deleted before it was read.
                "auto.offset.reset": "error",
            },
        )
        topic = self.settings.events_kafka_topic
        try:
            _check_topic(consumer, topic)
            consumer.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke)
            while not (is_until_end and self._ours and self._ours == self._ended):
                self._take(
                    consumer, consumer.consume(self.batch_size, timeout=_SECONDS_TO_FILL_A_BATCH)
                )
        except KafkaException as exc:
            raise error_of(exc.args[0], "the topic could not be read") from exc
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on where the ledger says; what the group knows of offsets is not asked."""
        topic = self.settings.events_kafka_topic
        known = self.ledger.next_offsets(topic)
        for each in partitions:
            if each.topic != topic:
                # A member that comes back gets what it had, whatever it subscribes to now.
                raise StoreRefused(
                    f"the group {self.group} still knows {self.member} as a reader of "
                    f"{each.topic}: name another --group, or wait a minute"
                )
            each.offset = known.get(each.partition, OFFSET_BEGINNING)
        self._ours, self._ended = {each.partition for each in partitions}, set()
        consumer.assign(partitions)

    def _revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        # Between two batches: nothing of ours is under way.
        self._ours, self._ended = set(), set()

    def _take(self, consumer: Consumer, messages: Sequence[Message]) -> None:
        topic = self.settings.events_kafka_topic
        # Some may be of before a rebalance that happened in the same call. Whatever offset comes
        # last here, all before it is billed then, be it by somebody else.
        events: list[Event] = []
        bad: list[BadMessage] = []
        next_offsets: dict[int, int] = {}
        ended: set[int] = set()
        for message in messages:
            partition, offset = _place(message)
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise _error(error, topic)
                ended.add(partition)
                # After the marks of a transaction, which are no messages and may be deleted.
                next_offsets[partition] = offset
                continue
            try:
                events.append(_event(message))
            except InvalidEvent as exc:
                bad.append(BadMessage(partition, offset, shown(str(exc))))
            next_offsets[partition] = offset + 1
        if next_offsets:
            new = self.ledger.record(Batch(topic, events, bad, next_offsets))
            # For those who watch the lag. It may be lost: nobody goes on from there.
            consumer.commit(
                offsets=[TopicPartition(topic, *each) for each in next_offsets.items()],
                asynchronous=True,
            )
            self._count(events, bad, new)
        self._ended |= ended & self._ours

    def _count(self, events: Sequence[Event], bad: Sequence[BadMessage], new: int) -> None:
        self.totals.messages += len(events) + len(bad)
        self.totals.billed += new
        self.totals.repeated += len(events) - new
        self.totals.bad += len(bad)
        for each in bad:
            self.on_bad(each)


def _check_topic(consumer: Consumer, topic: str) -> None:
    found = consumer.list_topics(topic, timeout=_SECONDS_TO_FIND_THE_TOPIC).topics[topic]
    if found.error is not None:
        raise _error(found.error, topic)


def _event(message: Message) -> Event:
    value: Any = message.value()
    if value is None:
        raise InvalidEvent(None, "has no value")
    return parse_message(value)


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    # The client's types allow for messages that are not from a broker.
    return -1 if partition is None else partition, -1 if offset is None else offset


def _error(error: KafkaError, topic: str) -> EventsError:
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        return StoreRefused(
            f"what comes next in the topic {topic} is not there: it was deleted before it was "
            "read, or the topic was made anew. `run --from-start` reads all that there is and "
            "bills nothing twice; then `reconcile` says what is missing"
        )
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return StoreRefused(f"the topic {topic} is not there")
    return error_of(error, f"the topic {topic} could not be read")
