"""What was deleted unread is said; what is left out for another reason is not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from events.kafka.gaps import Gaps

TOPIC = "events"
UNKNOWN = "could not look for missing messages: _TIMED_OUT"


class Broker:
    """What Kafka answers: where the group is, and where a partition begins."""

    def __init__(self, *, committed: dict[int, int] | None = None) -> None:
        self.group = committed or {}
        self.begins: dict[int, int] = {}
        self.is_away = False
        self.asked = 0

    def committed(self, places: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._answer(timeout)
        return [
            TopicPartition(TOPIC, each.partition, self.group.get(each.partition, OFFSET_INVALID))
            for each in places
        ]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        self._answer(timeout)
        return self.begins.get(place.partition, 0), 1_000_000

    def _answer(self, timeout: float) -> None:
        assert 0 < timeout < 5
        self.asked += 1
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def gaps_of(broker: Broker, *partitions: int) -> Gaps:
    gaps = Gaps(cast(Consumer, broker), TOPIC)
    gaps.begin(partitions)
    return gaps


def test_what_was_deleted_before_the_first_message_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(committed={0: 5, 1: 5})
    gaps = gaps_of(broker, 0, 1)
    broker.begins = {0: 9, 1: 5}
    gaps.came(0, 9)
    gaps.came(1, 5)
    gaps.look()
    assert gaps.missing == 4
    assert [each.getMessage() for each in caplog.records] == [
        "partition 0 of events: offsets 5 to 8 were deleted before they were counted; get them "
        "from elsewhere, the archive say"
    ]
    gaps.look()
    assert gaps.missing == 4


def test_what_is_deleted_between_two_messages_or_up_to_the_end_is_missing() -> None:
    broker = Broker(committed={0: 5})
    gaps = gaps_of(broker, 0)
    gaps.came(0, 5)
    broker.begins = {0: 20}
    gaps.came(0, 20)
    broker.begins = {0: 30}
    gaps.at_end(0, 30)
    gaps.look()
    assert gaps.missing == 14 + 9


def test_marks_and_what_was_compacted_away_are_not_missing() -> None:
    broker = Broker(committed={0: 5})
    broker.begins = {0: 3}
    gaps = gaps_of(broker, 0)
    for offset in (5, 7, 20):
        gaps.came(0, offset)
    gaps.at_end(0, 22)
    gaps.look()
    # Of what lies on both sides of the begin, only what lies before it.
    gaps.came(0, 40)
    broker.begins = {0: 25}
    gaps.look()
    assert gaps.missing == 3


def test_a_group_that_was_never_there_misses_nothing() -> None:
    broker = Broker()
    broker.begins = {0: 100}
    gaps = gaps_of(broker, 0)
    gaps.came(0, 100)
    gaps.look()
    assert gaps.missing == 0


def test_a_log_that_was_cut_is_read_from_there() -> None:
    broker = Broker(committed={0: 50})
    gaps = gaps_of(broker, 0)
    for offset in (50, 10, 11):
        gaps.came(0, offset)
    gaps.look()
    assert (gaps.missing, broker.asked) == (0, 1)


def test_kafka_is_not_asked_where_nothing_is_left_out() -> None:
    broker = Broker(committed={0: 0})
    gaps = gaps_of(broker, 0)
    for offset in range(10):
        gaps.came(0, offset)
    gaps.at_end(0, 10)
    gaps.look()
    assert broker.asked == 1


def test_what_is_not_answered_is_asked_again_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(committed={0: 0})
    gaps = gaps_of(broker, 0)
    for first, missing in ((8, 8), (20, 8 + 11)):
        caplog.clear()
        broker.begins, broker.is_away = {0: first}, True
        gaps.came(0, first)
        for _ in range(3):
            gaps.look()
        assert [each.getMessage() for each in caplog.records] == [UNKNOWN]
        broker.is_away = False
        gaps.look()
        assert gaps.missing == missing


def test_where_the_group_is_not_known_the_first_message_is_where_it_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(committed={0: 0})
    broker.is_away = True
    gaps = gaps_of(broker, 0)
    assert caplog.record_tuples == [("events.kafka.gaps", logging.WARNING, UNKNOWN)]
    broker.begins, broker.is_away = {0: 8}, False
    gaps.came(0, 8)
    gaps.came(0, 12)
    broker.begins = {0: 12}
    gaps.look()
    assert gaps.missing == 3


def test_a_partition_that_is_handed_over_is_looked_at_and_forgotten() -> None:
    broker = Broker(committed={0: 0})
    gaps = gaps_of(broker, 0)
    broker.begins = {0: 8}
    gaps.came(0, 8)
    gaps.drop([0])
    assert gaps.missing == 8
    # Another member read on; ours comes back where that one ended.
    broker.group = {0: 100}
    gaps.begin([0])
    broker.begins = {0: 101}
    gaps.came(0, 101)
    gaps.look()
    assert gaps.missing == 9
