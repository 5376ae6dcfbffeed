"""The dead letters: listed, and sent back to where they came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from events.config import INGEST_PATIENCE_SECONDS, Settings
from events.errors import EventsError, InvalidInput, StoreUnavailable
from events.kafka import admin as groups
from events.kafka.clients import dead_letter_topic, error_of, make_consumer
from events.kafka.messages import Letter, Message, Record, read_letter
from events.kafka.offsets import Offsets, Place
from events.kafka.reading import message_of
from events.kafka.sender import ANY_LENGTH, QueueIsFull, Sender, TooLargeForKafka

#: Added to the group's name for how far the letters were sent back.
REPLAY_SUFFIX = ".dead-letter-replay"
_POLL_SECONDS = 10.0
_TIMEOUT_SECONDS = 10.0
_LETTERS_BETWEEN_COMMITS = 500
#: A partition and an offset in it.
At = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    What a replay did.

    `unsendable` are those that are no letters about the topic of the events, are not whole, or are
    longer than that topic takes by now; they stay where they are, as all do.
    """

    sent: int
    unsendable: int


def letters(settings: Settings) -> Iterator[Letter]:
    """All letters that there are now, by partition and offset."""
    topic = dead_letter_topic(settings)
    with closing(_reader(settings)) as reader:
        for message in _messages(reader, topic, groups.bounds(settings, topic)):
            yield read_letter(message)


def replay(
    settings: Settings,
    *,
    only: Collection[At] = (),
    is_again: bool = False,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Replayed:
    """
    Send letters back as the messages that they were, up to the end that there is now.

    What is acknowledged is noted in a group of its own, so that the next replay begins after it.
    A letter may be sent twice where this one is cut off; an event that comes twice is a duplicate.

    Args:
        only: These alone, whatever was sent before; nothing is noted then.
        is_again: From the beginning, whatever was sent before.
        is_stopping: Asked at each letter; what was sent then is noted.

    Raises:
        InvalidInput: One of `only` is not there.
        StoreUnavailable: Kafka did not acknowledge in time; the same call again is safe.
        StoreRefused: Kafka will not take one.
    """
    topic = dead_letter_topic(settings)
    group = f"{settings.events_kafka_group}{REPLAY_SUFFIX}"
    patience_seconds = INGEST_PATIENCE_SECONDS
    sender = Sender(settings, patience_seconds=patience_seconds, **ANY_LENGTH)
    with closing(_reader(settings, group)) as reader:
        bounds = groups.bounds(settings, topic)
        run = _Replay(settings, sender)
        try:
            if only:
                for at in sorted(only):
                    run.send(_one(reader, topic, at, bounds), None)
            else:
                if not is_again:
                    bounds = _after_committed(reader, topic, bounds)
                for number in bounds:
                    run.offsets.assign(number)
                for message in _messages(reader, topic, bounds):
                    if is_stopping():
                        break
                    run.send(message, run.offsets.take(message.partition, message.offset))
                    if run.sent % _LETTERS_BETWEEN_COMMITS == 0:
                        run.commit(reader, topic)
        finally:
            sender.close(patience_seconds=patience_seconds)
            run.commit(reader, topic)
        if run.problem is not None:
            raise run.problem
    return Replayed(run.acknowledged, run.unsendable)


class _Replay:
    """What was sent of one replay, and how far all of it is acknowledged."""

    def __init__(self, settings: Settings, sender: Sender) -> None:
        self._topic = settings.events_kafka_topic
        self._sender = sender
        self.offsets = Offsets()
        self.sent = 0
        self.acknowledged = 0
        self.unsendable = 0
        self.problem: EventsError | None = None

    def send(self, message: Message, place: Place | None) -> None:
        if self.problem is not None:
            raise self.problem
        letter = read_letter(message)
        origin = letter.origin
        if origin.topic != self._topic or not letter.is_whole:
            self.unsendable += 1
            if place is not None:
                place.done()
            return

        def done(error: EventsError | None) -> None:
            if isinstance(error, TooLargeForKafka):
                # To end here would keep back all that come after it, each time.
                self.unsendable += 1
            elif error is not None:
                self.problem = error
                return
            else:
                self.acknowledged += 1
            if place is not None:
                place.done()

        record = Record(origin.topic, origin.key, origin.value, origin.headers)
        self.sent += 1
        while True:
            try:
                self._sender.send(record, done)
            except QueueIsFull:
                self._sender.poll(0.1)
            except TooLargeForKafka as exc:
                done(exc)
                break
            else:
                break
        self._sender.poll(0)

    def commit(self, reader: Consumer, topic: str) -> None:
        due = self.offsets.uncommitted()
        if not due:
            return
        offsets = [TopicPartition(topic, number, at) for number, at in due.items()]
        try:
            reader.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exc:
            raise error_of(exc.args[0], "what was sent back could not be noted") from exc
        for number, at in due.items():
            self.offsets.committed(number, at)


def _reader(settings: Settings, group: str = "") -> Consumer:
    """A consumer that is given its partitions, and joins no group."""
    return make_consumer(
        settings, group=group or settings.events_kafka_group, **{"enable.partition.eof": True}
    )


def _messages(
    reader: Consumer, topic: str, bounds: Mapping[int, tuple[int, int]]
) -> Iterator[Message]:
    """The messages from the first bound up to the second, one partition after the other."""
    for number, (begin, end) in sorted(bounds.items()):
        if begin >= end:
            continue
        reader.assign([TopicPartition(topic, number, begin)])
        at = begin
        while at < end:
            read = reader.poll(_POLL_SECONDS)
            if read is None:
                raise StoreUnavailable(f"Kafka gave nothing of {topic} for {_POLL_SECONDS:g} s")
            error = read.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    break
                raise error_of(error, f"{topic} cannot be read")
            message = message_of(read)
            at = message.offset + 1
            if message.offset < end:
                yield message


def _one(reader: Consumer, topic: str, at: At, bounds: Mapping[int, tuple[int, int]]) -> Message:
    number, offset = at
    begin, end = bounds.get(number, (0, 0))
    if begin <= offset < end:
        for message in _messages(reader, topic, {number: (offset, offset + 1)}):
            return message
    raise InvalidInput(f"--offset {number}:{offset}: {topic} has no such message")


def _after_committed(
    reader: Consumer, topic: str, bounds: Mapping[int, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """The bounds without the letters that were sent back."""
    asked = [TopicPartition(topic, number) for number in bounds]
    try:
        found = reader.committed(asked, timeout=_TIMEOUT_SECONDS)
    except KafkaException as exc:
        raise error_of(exc.args[0], "what was sent back before cannot be read") from exc
    after = {each.partition: each.offset for each in found}
    return {number: (max(after[number], begin), end) for number, (begin, end) in bounds.items()}
