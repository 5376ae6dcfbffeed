"""A group member commits nothing that was not processed, also while it finishes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from events.kafka import member as module
from events.kafka.clients import Cluster
from events.kafka.member import GroupMember
from events.kafka.offsets import Offsets


class FakeMessage:
    """A message, or the end of its partition."""

    def __init__(self, offset: int, *, is_end: bool = False) -> None:
        self._offset = offset
        self._error = KafkaError(KafkaError._PARTITION_EOF) if is_end else None

    def error(self) -> KafkaError | None:
        return self._error

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "events"

    def timestamp(self) -> tuple[int, int]:
        return 0, 0

    def key(self) -> bytes:
        return b"acme"

    value = key

    def headers(self) -> None:
        return None


class FakeConsumer:
    """A librdkafka consumer that delivers these messages."""

    def __init__(self, messages: Iterator[FakeMessage]) -> None:
        self._messages = messages

    def poll(self, _timeout: float) -> FakeMessage | None:
        return next(self._messages, None)

    def get_watermark_offsets(self, _: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout
        return 8, 9


@pytest.fixture
def offsets() -> Offsets:
    offsets = Offsets()
    offsets.assign(0)
    return offsets


def member_with(
    monkeypatch: pytest.MonkeyPatch, offsets: Offsets, messages: list[FakeMessage]
) -> GroupMember:
    def make(*_: Any, **__: Any) -> FakeConsumer:
        return FakeConsumer(iter(messages))

    monkeypatch.setattr(module, "make_consumer", make)
    return GroupMember(
        Cluster("here:9092"),
        "events",
        "group",
        offsets,
        prefetch_bytes=1,
        on_revoke=lambda _: None,
        on_drop=lambda: None,
    )


def test_the_end_of_a_partition_is_committed(
    monkeypatch: pytest.MonkeyPatch, offsets: Offsets
) -> None:
    member = member_with(monkeypatch, offsets, [FakeMessage(0), FakeMessage(3, is_end=True)])
    message = member.poll(0)
    assert message is not None
    entry = offsets.read(0, message.offset)
    assert entry is not None
    assert member.poll(0) is None
    assert offsets.uncommitted() == {}
    entry.settle()
    assert offsets.uncommitted() == {0: 3}


def test_a_message_dropped_while_finishing_is_not_committed(
    monkeypatch: pytest.MonkeyPatch, offsets: Offsets
) -> None:
    entry = offsets.read(0, 0)
    assert entry is not None
    member = member_with(monkeypatch, offsets, [FakeMessage(1), FakeMessage(2, is_end=True)])
    member.serve(0)
    member.serve(0)
    entry.settle()
    assert offsets.uncommitted() == {0: 1}


def test_a_partition_is_checked_for_deleted_messages_before_it_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, offsets: Offsets
) -> None:
    offsets.assign(0, committed=5)
    member = member_with(monkeypatch, offsets, [])
    offsets.read(0, 8)
    member._lose(member._consumer, [TopicPartition("events", 0)])
    assert (member.gaps.missing, offsets.partitions) == (3, frozenset())
