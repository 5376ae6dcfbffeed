"""An offset is committed when everything read before it is done, and not sooner."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from events.kafka.offsets import Offsets, Place

#: What may happen to one partition: `take` after a gap, `done` of some place, `commit`.
RUNS = st.lists(
    st.tuples(st.sampled_from(["take", "done", "commit"]), st.integers(1, 30)), max_size=80
)


@given(RUNS)
def test_what_may_be_committed_is_the_end_of_the_prefix_that_is_done(
    steps: list[tuple[str, int]],
) -> None:
    offsets = Offsets()
    offsets.assign(0)
    taken: list[tuple[Place, int]] = []
    at = -1
    committed: int | None = None
    for what, number in steps:
        if what == "take":
            at += number
            place = offsets.take(0, at)
            assert place is not None
            taken.append((place, at))
        elif what == "done" and taken:
            taken[number % len(taken)][0].done()
        elif what == "commit" and (due := offsets.uncommitted()):
            committed = due[0]
            offsets.committed(0, committed)
        prefix = 0
        while prefix < len(taken) and taken[prefix][0].is_done:
            prefix += 1
        due_at = taken[prefix - 1][1] + 1 if prefix else None
        assert offsets.uncommitted() == ({} if due_at in (None, committed) else {0: due_at})
        assert offsets.open_of(0) == len(taken) - prefix
        assert offsets.committed_offset(0) == committed
        begin = taken[0][1] if taken and due_at is None else due_at
        assert offsets.begin_of(0) == (begin if committed is None else committed)


@given(st.integers(0, 20), st.integers(0, 20))
def test_what_was_under_way_before_a_partition_came_back_moves_nothing(
    before: int, after: int
) -> None:
    offsets = Offsets()
    offsets.assign(0)
    old = [place for at in range(before) if (place := offsets.take(0, at))]
    offsets.drop(0)
    offsets.assign(0)
    new = [place for at in range(after) if (place := offsets.take(0, at))]
    for place in old:
        assert not place.is_ours
        place.done()
    assert offsets.uncommitted() == {}
    for place in new:
        assert place.is_ours
        place.done()
    assert offsets.uncommitted() == ({0: after} if after else {})


def test_a_message_of_a_partition_that_is_not_ours_is_not_taken() -> None:
    offsets = Offsets()
    assert offsets.take(0, 5) is None
    offsets.assign(0)
    assert offsets.take(1, 5) is None
    assert offsets.take(0, 5) is not None
    assert offsets.open == 1


def test_what_is_read_again_from_a_log_that_was_cut_is_committed_after_what_was_read_before() -> (
    None
):
    offsets = Offsets()
    offsets.assign(0)
    before = [place for at in (7, 8, 9) if (place := offsets.take(0, at))]
    after = [place for at in (8, 9) if (place := offsets.take(0, at))]
    for place in (after[0], before[1], before[2]):
        place.done()
    assert offsets.uncommitted() == {}
    before[0].done()
    assert offsets.uncommitted() == {0: 9}
    offsets.committed(0, 9)
    after[1].done()
    assert offsets.uncommitted() == {0: 10}


def test_the_end_of_a_partition_is_reached_after_what_was_read_before_it() -> None:
    offsets = Offsets()
    offsets.assign(0)
    offsets.at_end(0, 0)
    assert offsets.uncommitted() == {}
    place = offsets.take(0, 5)
    assert place is not None
    offsets.at_end(0, 9)  # what lies between is no message
    assert offsets.uncommitted() == {}
    place.done()
    assert offsets.uncommitted() == {0: 9}
    offsets.at_end(0, 9)
    assert offsets.open == 0


def test_partitions_do_not_wait_for_each_other() -> None:
    offsets = Offsets()
    for number in (0, 1):
        offsets.assign(number)
    assert offsets.take(0, 0) is not None
    place = offsets.take(1, 7)
    assert place is not None
    place.done()
    assert offsets.uncommitted() == {1: 8}
    assert offsets.partitions == {0, 1}
