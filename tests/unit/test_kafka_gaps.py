"""Deleted messages are reported as missing; other holes between offsets are not."""

from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from events.kafka.gaps import Gaps
from events.kafka.offsets import Offsets


class Broker:
    """What Kafka answers about low watermarks."""

    def __init__(self) -> None:
        self.low: dict[int, int] = {}
        self.is_away = False
        self.requests = 0

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        assert 0 < timeout < 5
        self.requests += 1
        if self.is_away:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self.low.get(partition.partition, 0), 1_000_000


@pytest.fixture
def broker() -> Broker:
    return Broker()


def gaps_on(broker: Broker, starts: dict[int, int | None]) -> Gaps:
    offsets = Offsets()
    for partition, start in starts.items():
        offsets.assign(partition, committed=start)
    return Gaps(cast(Consumer, broker), "events", offsets)


def test_messages_deleted_before_the_first_read_are_missing(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    gaps = gaps_on(broker, {0: 5, 1: 5})
    broker.low = {0: 9, 1: 5}
    gaps.offsets.read(0, 9)
    gaps.offsets.read(1, 5)
    gaps.check()
    assert gaps.missing == 4
    assert [record.getMessage() for record in caplog.records] == [
        "partition 0 of events: offsets 5 to 8 were deleted before they were counted; restore "
        "them from another source, such as the archive"
    ]
    gaps.check()
    assert gaps.missing == 4


def test_messages_deleted_between_two_reads_or_up_to_the_end_are_missing(broker: Broker) -> None:
    gaps = gaps_on(broker, {0: 5})
    gaps.offsets.read(0, 5)
    broker.low = {0: 20}
    gaps.offsets.read(0, 20)
    broker.low = {0: 30}
    gaps.offsets.reach_end(0, 30)
    gaps.check()
    assert gaps.missing == 14 + 9


def test_transaction_markers_and_compacted_messages_are_not_missing(broker: Broker) -> None:
    broker.low = {0: 3}
    gaps = gaps_on(broker, {0: 5})
    for offset in (5, 7, 20):
        gaps.offsets.read(0, offset)
    gaps.offsets.reach_end(0, 22)
    gaps.check()
    assert gaps.missing == 0
    # Of a hole on both sides of the low watermark, only the part below it is missing.
    gaps.offsets.read(0, 40)
    broker.low = {0: 25}
    gaps.check()
    assert gaps.missing == 3


def test_a_new_group_misses_nothing_before_its_first_message(broker: Broker) -> None:
    broker.low = {0: 8}
    gaps = gaps_on(broker, {0: None})
    gaps.offsets.read(0, 8)
    gaps.check()
    assert gaps.missing == 0
    gaps.offsets.read(0, 12)
    broker.low = {0: 12}
    gaps.check()
    assert gaps.missing == 3


def test_offsets_that_go_back_after_a_truncation_are_not_missing(broker: Broker) -> None:
    gaps = gaps_on(broker, {0: 50})
    for offset in (50, 10, 11):
        gaps.offsets.read(0, offset)
    gaps.check()
    assert (gaps.missing, broker.requests) == (0, 0)


def test_kafka_is_not_asked_if_there_is_no_hole(broker: Broker) -> None:
    gaps = gaps_on(broker, {0: 0})
    for offset in range(10):
        gaps.offsets.read(0, offset)
    gaps.offsets.reach_end(0, 10)
    gaps.check()
    assert broker.requests == 0


def test_a_failed_check_is_repeated_and_logged_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    gaps = gaps_on(broker, {0: 0})
    for first, missing in ((8, 8), (20, 8 + 11)):
        caplog.clear()
        broker.low, broker.is_away = {0: first}, True
        gaps.offsets.read(0, first)
        for _ in range(3):
            gaps.check()
        assert [record.getMessage() for record in caplog.records] == [
            "cannot check for missing messages: _TIMED_OUT"
        ]
        broker.is_away = False
        gaps.check()
        assert gaps.missing == missing


def test_a_partition_that_comes_back_starts_at_its_new_offset(broker: Broker) -> None:
    gaps = gaps_on(broker, {0: 0})
    broker.low = {0: 8}
    gaps.offsets.read(0, 8)
    gaps.check()
    assert gaps.missing == 8
    gaps.offsets.drop(0)
    # Another member read up to 99.
    gaps.offsets.assign(0, committed=100)
    broker.low = {0: 101}
    gaps.offsets.read(0, 101)
    gaps.check()
    assert gaps.missing == 9
