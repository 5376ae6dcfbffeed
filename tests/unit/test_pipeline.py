"""Batches under way: nothing is given up, and only what is at fault itself becomes a letter."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from events.kafka.messages import Message
from events.kafka.pipeline import Waiting
from events.models import Outcome
from tests.support.factories import event, many_events
from tests.support.fakestream import FakeStore, Run, message_of

REFUSED = "the store refuses this event, and takes others"


def test_a_batch_goes_when_it_is_full_or_old() -> None:
    store = FakeStore()
    run = Run(store)
    events = many_events(6)
    run.take(message_of(each, at) for at, each in enumerate(events))
    run.steps(1, seconds=0.1)
    assert store.submitted == [events[:4]]
    run.steps(1, seconds=0.8)
    assert store.submitted == [events[:4]]
    run.steps(1, seconds=0.2)
    assert store.submitted == [events[:4], events[4:]]


def test_several_batches_are_under_way_and_are_committed_in_order() -> None:
    store = FakeStore(is_slow=True)
    run = Run(store)
    run.take(message_of(each, at) for at, each in enumerate(many_events(8)))
    run.steps(1)
    assert (len(store.submitted), run.due) == (2, None)
    (first, second), store.waiting = store.waiting, []
    store.waiting = [second]
    store.work()
    run.steps(1)
    assert run.due is None, "the first batch is not done"
    store.waiting = [first]
    store.work()
    run.steps(1)
    assert run.offsets.uncommitted() == {0: 8}
    assert (run.pipeline.bytes, run.offsets.open, run.pipeline.is_busy) == (0, 0, False)


def test_what_is_no_event_is_done_once_its_letter_is_acknowledged() -> None:
    run = Run(FakeStore(), are_letters_taken=False)
    run.take([Message("events", 0, 0, value=b"{"), message_of(event(), 1)])
    run.steps(4)
    assert [why for _, why in run.letters] == ["is not valid JSON: input data was truncated"]
    assert run.offsets.uncommitted() == {}
    run.acknowledge()
    assert run.offsets.uncommitted() == {0: 2}
    assert (run.pipeline.dead_letters, run.pipeline.bytes) == (1, 0)


@pytest.mark.parametrize(
    ("mood", "waiting"), [("away", Waiting.UNAVAILABLE), ("refusing", Waiting.REFUSED)]
)
def test_while_the_store_takes_nothing_all_wait_and_one_part_at_a_time_is_tried(
    mood: str, waiting: Waiting
) -> None:
    store = FakeStore(mood=mood)
    run = Run(store)
    events = many_events(40)
    run.take(message_of(each, at) for at, each in enumerate(events))
    run.steps(40, seconds=0.5)
    tried = len(store.submitted)
    assert run.pipeline.waiting is waiting
    assert 10 < run.pipeline.waiting_seconds(run.now) <= 20
    assert tried <= 10 + 8, "ten batches at first, then one at a time, ever more seldom"
    assert (run.due, run.letters, store.taken) == (None, [], [])
    store.mood = "well"
    run.steps(40, seconds=0.5)
    assert run.pipeline.waiting is None
    assert (run.due, run.letters) == (40, [])
    assert sorted(store.taken) == sorted(events)


def test_an_event_that_the_store_refuses_while_it_takes_others_becomes_a_letter() -> None:
    events = many_events(16)
    store = FakeStore(poison={events[5], events[6]})
    run = Run(store, batch_events=8)
    run.take(message_of(each, at) for at, each in enumerate(events))
    run.steps(60, seconds=0.3)
    assert sorted((message.offset, why) for message, why in run.letters) == [
        (5, REFUSED),
        (6, REFUSED),
    ]
    assert run.due == 16
    assert set(store.taken) == {*events} - store.poison  # type: ignore[operator] # it is a set
    assert run.pipeline.outcomes == Counter({Outcome.INSERTED: 14})


def test_an_event_that_is_refused_alone_waits_for_another_and_stops_none() -> None:
    bad, good = many_events(2)
    store = FakeStore(poison={bad})
    run = Run(store)
    run.take([message_of(bad, 0)])
    run.steps(100)
    assert (run.due, run.letters) == (None, [])
    run.take([message_of(good, 1)])
    run.steps(2)
    assert store.taken == [good]
    run.steps(20)
    assert [why for _, why in run.letters] == [REFUSED]
    assert set(store.taken) == {good}
    assert run.offsets.uncommitted() == {0: 2}
    assert not run.pipeline.is_busy
    assert run.pipeline.outcomes == Counter({Outcome.INSERTED: 1})


def test_no_event_becomes_a_letter_because_everything_was_refused_for_a_while() -> None:
    store = FakeStore()
    run = Run(store, batch_events=1)
    events = many_events(30)
    for at, each in enumerate(events):
        store.mood = "refusing" if 5 <= at < 20 else "well"
        run.take([message_of(each, at)])
        run.steps(5)
    run.steps(60)
    assert (run.letters, run.due) == ([], 30)


def test_what_the_store_had_taken_of_a_batch_is_not_sent_again() -> None:
    events = many_events(4)
    store = FakeStore(poison={events[2]})
    run = Run(store)
    run.take(message_of(each, at) for at, each in enumerate(events))
    run.steps(1)
    store.poison = ()
    run.steps(10)
    assert sorted(store.taken) == sorted(events)
    assert run.due == 4


def test_of_a_partition_that_was_handed_over_nothing_is_held_or_tried() -> None:
    store = FakeStore(mood="away")
    run = Run(store)
    run.offsets.assign(1)
    events = many_events(10)
    run.take(message_of(each, at, partition=at % 2) for at, each in enumerate(events))
    run.steps(3)
    run.offsets.drop(0)
    run.pipeline.forget_dropped()
    store.mood = "well"
    run.steps(60)
    assert sorted(store.taken) == sorted(events[1::2])
    assert (run.pipeline.bytes, run.pipeline.is_busy) == (0, False)
    assert run.offsets.uncommitted() == {1: 10}


def test_that_the_store_takes_nothing_is_said_once_and_that_it_does_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "events.kafka")
    store = FakeStore(mood="away")
    run = Run(store)
    run.take(message_of(each, at) for at, each in enumerate(many_events(8)))
    run.steps(30)
    store.mood = "well"
    run.steps(30)
    assert [each.getMessage() for each in caplog.records] == [
        "nothing is lost, and it is tried again until it works: the store does not answer (away)",
        "the store takes events again",
    ]
