"""Whatever the store does and refuses: in the end each event is counted, or alone at fault."""

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
def test_every_message_is_done_and_only_poison_becomes_a_letter(
    poison: set[int], moods: list[tuple[str, int]], batch_events: int, arrivals: list[int]
) -> None:
    store = FakeStore(poison={EVENTS[place] for place in poison})
    run = Run(store, batch_events=batch_events)
    at = 0
    for place, number in enumerate(arrivals):
        store.mood, steps = moods[place] if place < len(moods) else ("well", 2)
        more = range(at, min(at + number, 20))
        run.take(message_of(EVENTS[each], each) for each in more)
        at = more.stop
        run.steps(steps)
        due = run.due or 0
        settled = {*store.taken, *(EVENTS[letter.offset] for letter, _ in run.letters)}
        assert settled.issuperset(EVENTS[:due]), "committed too early"
    store.mood = "well"
    # Something to compare with, for what was refused alone.
    for more_at in range(at, at + 4):
        run.take([message_of(EVENTS[20 + more_at - at], more_at)])
        run.steps(60)
    assert run.due == at + 4
    assert {letter.offset for letter, _ in run.letters} == {each for each in poison if each < at}
    expected = {EVENTS[each] for each in range(at) if each not in poison}
    assert set(store.taken) == expected | set(EVENTS[20:])
    assert (run.pipeline.bytes, run.pipeline.is_busy, run.offsets.open) == (0, False, 0)
