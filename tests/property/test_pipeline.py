"""However the store behaves, each event ends up counted, or in a dead letter if it is at fault."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import many_events
from tests.support.fakestream import FakeStore, Run, message_of

EVENTS = many_events(24)
MOODS = st.lists(
    st.tuples(st.sampled_from(["well", "away", "refusing"]), st.integers(1, 12)), max_size=8
)


@given(
    poison=st.sets(st.integers(0, 19), max_size=6),
    moods=MOODS,
    batch_events=st.integers(1, 12),
    arrivals=st.lists(st.integers(1, 8), min_size=1, max_size=8),
)
def test_all_messages_are_settled_and_only_poison_is_buried(
    poison: set[int], moods: list[tuple[str, int]], batch_events: int, arrivals: list[int]
) -> None:
    store = FakeStore(poison={EVENTS[index] for index in poison})
    run = Run(store, batch_events=batch_events)
    end = 0
    for turn, number in enumerate(arrivals):
        store.mood, steps = moods[turn] if turn < len(moods) else ("well", 2)
        offsets = range(end, min(end + number, 20))
        run.add(message_of(EVENTS[offset], offset) for offset in offsets)
        end = offsets.stop
        run.steps(steps)
        settled = {*store.accepted, *(EVENTS[message.offset] for message, _ in run.letters)}
        assert settled.issuperset(EVENTS[: run.due or 0]), "committed too early"
    store.mood = "well"
    # A refused event is judged only when the store accepts others.
    for index in range(4):
        run.add([message_of(EVENTS[20 + index], end + index)])
        run.steps(60)
    assert run.due == end + 4
    assert {message.offset for message, _ in run.letters} == {at for at in poison if at < end}
    expected = {EVENTS[offset] for offset in range(end) if offset not in poison}
    assert set(store.accepted) == expected | set(EVENTS[20:])
    assert (run.pipeline.bytes, run.pipeline.is_busy, run.offsets.open) == (0, False, 0)
