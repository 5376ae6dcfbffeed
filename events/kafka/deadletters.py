"""Dead letters: sent until acknowledged, listed, and replayed to the topic they came from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, TopicPartition

from events.domain.retries import Backoff
from events.errors import EventsError, InvalidEvent, InvalidInput, StoreUnavailable
from events.kafka.bounds import read_bounds
from events.kafka.clients import Cluster, dead_letter_topic, error_of, make_consumer, map_errors
from events.kafka.messages import (
    DeadLetter,
    Message,
    Record,
    dead_letter,
    message_of,
    parse_dead_letter,
    shorten,
)
from events.kafka.offsets import Offsets
from events.kafka.producer import ANY_LENGTH, Sender, TooLargeForKafka

log = logging.getLogger(__name__)

#: Suffix of the group that remembers how far dead letters were replayed.
_REPLAY_SUFFIX = ".dead-letter-replay"
_TIMEOUT_SECONDS = 10.0
_LETTERS_PER_COMMIT = 500
#: Partition → offsets `[first, end)`.
Bounds = Mapping[int, tuple[int, int]]


# --- sending --------------------------------------------------------------------------------------


class DeadLetterSender:
    """
    Sends dead letters, each again until it is acknowledged. One thread uses it.

    Its `Sender` must have no timeout, so that a failure means that Kafka refused the record.
    """

    def __init__(self, sender: Sender, topic: str) -> None:
        self._sender = sender
        self._topic = topic
        self._backoff = Backoff()
        self._failed: list[tuple[Record, Callable[[], None]]] = []
        self._retry_at = 0.0
        #: Dead letters that are not acknowledged yet.
        self.open = 0
        #: Why Kafka refused the last dead letter; None while it accepts them.
        self.problem: EventsError | None = None

    def send(
        self, message: Message, error: InvalidEvent, on_acknowledged: Callable[[], None]
    ) -> None:
        self.open += 1
        self._send(dead_letter(message, self._topic, error), on_acknowledged)

    def step(self, now: float) -> None:
        """Call back for acknowledged dead letters, and resend the refused ones."""
        self._sender.poll(0)
        if self._failed and now >= self._retry_at:
            failed, self._failed = self._failed, []
            for record, on_acknowledged in failed:
                self._send(record, on_acknowledged)

    def _send(self, record: Record, on_acknowledged: Callable[[], None]) -> None:
        def on_done(error: EventsError | None) -> None:
            if error is None:
                self.open -= 1
                if self.problem is not None:
                    log.info("Kafka accepts dead letters again")
                self.problem = None
                self._backoff.reset()
                on_acknowledged()
            elif isinstance(error, TooLargeForKafka) and (shorter := shorten(record)):
                self._send(shorter, on_acknowledged)
            else:
                if self.problem is None:
                    text = "cannot send a dead letter, retrying until Kafka accepts it: %s"
                    log.warning(text, error)
                self.problem = error
                self._failed.append((record, on_acknowledged))
                self._retry_at = time.monotonic() + self._backoff.next_wait()

        try:
            self._sender.send(record, on_done)
        except EventsError as exc:
            on_done(exc)


# --- listing and replaying ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    Result of a replay.

    `unsendable` dead letters are not whole, not from this topic, or longer than it accepts by now.
    """

    sent: int
    unsendable: int


def read_dead_letters(cluster: Cluster, topic: str, *, group: str) -> Iterator[DeadLetter]:
    """All present dead letters of a topic, by partition and offset."""
    letters = dead_letter_topic(topic)
    with closing(_make_reader(cluster, group)) as reader:
        bounds = read_bounds(cluster, letters, group=group)
        for message in _read(reader, letters, bounds):
            yield parse_dead_letter(message)


def replay(
    cluster: Cluster,
    topic: str,
    *,
    group: str,
    patience_seconds: float,
    only: Collection[tuple[int, int]] = (),
    is_again: bool = False,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Replayed:
    """
    Send the messages of dead letters back to their topic, up to the current end.

    A consumer group of its own remembers how far the replay got; the next replay starts there. If a
    replay is cut off, a dead letter may be sent twice; the second event is a duplicate.

    Args:
        group: The group of `consume`; its name with a suffix is the replay's group.
        patience_seconds: How long to wait for an acknowledgement.
        only: Replay these (partition, offset) alone, even if replayed before; moves no offsets.
        is_again: Start at the beginning.

    Raises:
        InvalidInput: A dead letter of `only` does not exist.
        StoreUnavailable, StoreRefused: Kafka did not accept all; the same call again is safe.
    """
    letters = dead_letter_topic(topic)
    group = f"{group}{_REPLAY_SUFFIX}"
    messages: Iterator[Message]
    sender = Sender(cluster, patience_seconds=patience_seconds, **ANY_LENGTH)
    with closing(_make_reader(cluster, group)) as reader:
        bounds = read_bounds(cluster, letters, group=group)
        run = _Replay(topic, sender)
        try:
            if only:
                positions = sorted(only)
                messages = (_read_one(reader, letters, *position, bounds) for position in positions)
            else:
                if not is_again:
                    bounds = _after_committed(reader, letters, bounds)
                for partition in bounds:
                    run.offsets.assign(partition)
                messages = _read(reader, letters, bounds)
            for message in messages:
                if is_stopping():
                    break
                run.send(message)
                if run.sent % _LETTERS_PER_COMMIT == 0:
                    run.commit(reader, letters)
        finally:
            sender.close(patience_seconds=patience_seconds)
            run.commit(reader, letters)
        if run.problem is not None:
            raise run.problem
    return Replayed(run.acknowledged, run.unsendable)


@dataclass(slots=True)
class _Replay:
    """Counts of one replay, and how far everything before is acknowledged."""

    topic: str
    sender: Sender
    #: Has no partitions, and commits nothing, if single dead letters are replayed.
    offsets: Offsets = field(default_factory=Offsets)
    sent: int = 0
    acknowledged: int = 0
    unsendable: int = 0
    problem: EventsError | None = None

    def send(self, message: Message) -> None:
        if self.problem is not None:
            raise self.problem
        offset = self.offsets.read(message.partition, message.offset)
        letter = parse_dead_letter(message)
        origin = letter.origin

        def on_done(error: EventsError | None) -> None:
            if isinstance(error, TooLargeForKafka):
                # To stop here would block all later dead letters forever.
                self.unsendable += 1
            elif error is not None:
                self.problem = error
                return
            else:
                self.acknowledged += 1
            if offset is not None:
                offset.settle()

        if origin.topic != self.topic or not letter.is_whole:
            on_done(TooLargeForKafka("cannot be replayed"))
            return
        self.sent += 1
        record = Record(origin.topic, origin.key, origin.value, origin.headers)
        try:
            self.sender.send(record, on_done, deadline=math.inf)
        except TooLargeForKafka as exc:
            on_done(exc)
        self.sender.poll(0)

    def commit(self, reader: Consumer, topic: str) -> None:
        if not (due := self.offsets.uncommitted()):
            return
        offsets = [TopicPartition(topic, partition, offset) for partition, offset in due.items()]
        with map_errors("cannot commit how far dead letters are replayed"):
            reader.commit(offsets=offsets, asynchronous=False)
        for partition, offset in due.items():
            self.offsets.note_committed(partition, offset)


def _make_reader(cluster: Cluster, group: str) -> Consumer:
    """A consumer that reads the partitions it is given and never joins its group."""
    return make_consumer(cluster, group=group, **{"enable.partition.eof": True})


def _read(reader: Consumer, topic: str, bounds: Bounds) -> Iterator[Message]:
    """The messages within the bounds, one partition after the other."""
    for partition, (first, end) in sorted(bounds.items()):
        if first >= end:
            continue
        reader.assign([TopicPartition(topic, partition, first)])
        next_offset = first
        while next_offset < end:
            message = reader.poll(_TIMEOUT_SECONDS)
            if message is None:
                seconds = f"{_TIMEOUT_SECONDS:g} s"
                raise StoreUnavailable(f"Kafka sent nothing from the topic {topic} for {seconds}")
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    break
                raise error_of(error, f"cannot read the topic {topic}")
            value = message_of(message)
            next_offset = value.offset + 1
            if value.offset < end:
                yield value


def _read_one(reader: Consumer, topic: str, partition: int, offset: int, bounds: Bounds) -> Message:
    first, end = bounds.get(partition, (0, 0))
    if first <= offset < end:
        for message in _read(reader, topic, {partition: (offset, offset + 1)}):
            return message
    raise InvalidInput(f"--offset {partition}:{offset}: not found in the topic {topic}")


def _after_committed(reader: Consumer, topic: str, bounds: Bounds) -> dict[int, tuple[int, int]]:
    """The bounds without the dead letters that were replayed before."""
    partitions = [TopicPartition(topic, partition) for partition in bounds]
    with map_errors("cannot read how far dead letters are replayed"):
        committed = reader.committed(partitions, timeout=_TIMEOUT_SECONDS)
    after = {position.partition: position.offset for position in committed}
    return {
        partition: (max(after[partition], first), end) for partition, (first, end) in bounds.items()
    }
