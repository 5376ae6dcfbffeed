"""An offset may be committed once everything read before it is settled, and not sooner."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from events.kafka.offsets import Offsets, OpenOffset

#: What may happen to a partition: `read` after a hole, `settle` any offset, `commit`.
RUNS = st.lists(
    st.tuples(st.sampled_from(["read", "settle", "commit"]), st.integers(1, 30)), max_size=80
)


def read(offsets: Offsets, partition: int, offset: int) -> OpenOffset:
    entry = offsets.read(partition, offset)
    assert entry is not None
    return entry


@given(RUNS, st.none() | st.integers(0, 40))
def test_the_committable_offset_is_the_end_of_the_settled_prefix(
    steps: list[tuple[str, int]], committed: int | None
) -> None:
    offsets = Offsets()
    offsets.assign(0, committed=committed)
    entries: list[OpenOffset] = []
    last = -1
    for step, number in steps:
        if step == "read":
            last += number
            entries.append(read(offsets, 0, last))
        elif step == "settle" and entries:
            entries[number % len(entries)].settle()
        elif step == "commit" and (due := offsets.uncommitted()):
            committed = due[0]
            offsets.note_committed(0, committed)
        prefix = 0
        while prefix < len(entries) and entries[prefix].is_settled:
            prefix += 1
        end = entries[prefix - 1].offset + 1 if prefix else None
        assert offsets.uncommitted() == ({} if end in (None, committed) else {0: end})
        assert offsets.open_of(0) == len(entries) - prefix
        assert offsets.committed_offset(0) == committed
        start = entries[0].offset if entries and end is None else end
        assert offsets.start_of(0) == (start if committed is None else committed)


@given(st.integers(0, 20), st.integers(0, 20))
def test_work_from_before_a_partition_came_back_moves_nothing(before: int, after: int) -> None:
    offsets = Offsets()
    offsets.assign(0)
    old = [read(offsets, 0, offset) for offset in range(before)]
    offsets.drop(0)
    offsets.assign(0)
    new = [read(offsets, 0, offset) for offset in range(after)]
    for entry in old:
        assert not entry.is_ours
        entry.settle()
    assert offsets.uncommitted() == {}
    for entry in new:
        assert entry.is_ours
        entry.settle()
    assert offsets.uncommitted() == ({0: after} if after else {})


def test_messages_of_other_partitions_are_ignored() -> None:
    offsets = Offsets()
    assert offsets.read(0, 5) is None
    offsets.assign(0)
    assert offsets.read(1, 5) is None
    assert offsets.read(0, 5) is not None
    assert offsets.open == 1


def test_messages_after_a_truncation_are_committed_after_the_earlier_ones() -> None:
    offsets = Offsets()
    offsets.assign(0)
    before = [read(offsets, 0, offset) for offset in (7, 8, 9)]
    after = [read(offsets, 0, offset) for offset in (8, 9)]
    for entry in (after[0], before[1], before[2]):
        entry.settle()
    assert offsets.uncommitted() == {}
    before[0].settle()
    assert offsets.uncommitted() == {0: 9}
    offsets.note_committed(0, 9)
    after[1].settle()
    assert offsets.uncommitted() == {0: 10}


def test_the_end_of_a_partition_is_committed_after_the_messages_before_it() -> None:
    offsets = Offsets()
    offsets.assign(0)
    offsets.reach_end(0, 0)
    assert offsets.uncommitted() == {}
    entry = read(offsets, 0, 5)
    offsets.reach_end(0, 9)  # offsets 6 to 8 are transaction markers
    assert offsets.uncommitted() == {}
    entry.settle()
    assert offsets.uncommitted() == {0: 9}
    offsets.reach_end(0, 9)
    assert offsets.open == 0


def test_partitions_do_not_wait_for_each_other() -> None:
    offsets = Offsets()
    for partition in (0, 1):
        offsets.assign(partition)
    read(offsets, 0, 0)
    read(offsets, 1, 7).settle()
    assert offsets.uncommitted() == {1: 8}
    assert offsets.partitions == {0, 1}
