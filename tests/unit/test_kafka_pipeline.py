"""The pipeline gives no message up, and buries only events that are at fault themselves."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from events.kafka.messages import Message
from events.kafka.pipeline import Waiting
from events.models import Outcome
from tests.support.factories import event, many_events
from tests.support.fakestream import FakeStore, Run, message_of, messages_of

REFUSED = "the store refuses this event but accepts others"


def test_a_batch_is_submitted_when_it_is_full_or_old() -> None:
    store = FakeStore()
    run = Run(store)
    events = many_events(6)
    run.add(messages_of(events))
    run.steps(1, seconds=0.1)
    assert store.submitted == [events[:4]]
    run.steps(1, seconds=0.8)
    assert store.submitted == [events[:4]]
    run.steps(1, seconds=0.2)
    assert store.submitted == [events[:4], events[4:]]


def test_batches_in_flight_together_are_committed_in_order() -> None:
    store = FakeStore(is_slow=True)
    run = Run(store)
    run.add(messages_of(many_events(8)))
    run.steps(1)
    assert (len(store.submitted), run.due) == (2, None)
    (first, second), store.waiting = store.waiting, []
    store.waiting = [second]
    store.work()
    run.steps(1)
    assert run.due is None, "the first batch is not settled"
    store.waiting = [first]
    store.work()
    run.steps(1)
    assert run.offsets.uncommitted() == {0: 8}
    assert (run.pipeline.bytes, run.offsets.open, run.pipeline.is_busy) == (0, 0, False)


def test_an_invalid_message_is_settled_by_its_acknowledged_dead_letter() -> None:
    run = Run(FakeStore(), are_letters_acknowledged=False)
    run.add([Message("events", 0, 0, value=b"{"), message_of(event(), 1)])
    run.steps(4)
    assert len(run.letters) == 1
    assert run.offsets.uncommitted() == {}
    run.acknowledge()
    assert run.offsets.uncommitted() == {0: 2}
    assert (run.pipeline.dead_letters, run.pipeline.bytes) == (1, 0)


@pytest.mark.parametrize(
    ("mood", "waiting"), [("away", Waiting.UNAVAILABLE), ("refusing", Waiting.REFUSED)]
)
def test_a_store_that_accepts_nothing_is_probed_seldom(mood: str, waiting: Waiting) -> None:
    store = FakeStore(mood=mood)
    run = Run(store)
    events = many_events(40)
    run.add(messages_of(events))
    run.steps(40, seconds=0.5)
    assert run.pipeline.waiting is waiting
    assert 10 < run.pipeline.waiting_seconds(run.now) <= 20
    assert len(store.submitted) <= 10 + 8, "ten batches, then one probe at a time, ever later"
    assert (run.due, run.letters, store.accepted) == (None, [], [])
    store.mood = "well"
    run.steps(40, seconds=0.5)
    assert run.pipeline.waiting is None
    assert (run.due, run.letters) == (40, [])
    assert sorted(store.accepted) == sorted(events)


def test_events_refused_among_accepted_ones_become_dead_letters() -> None:
    events = many_events(16)
    poison = {events[5], events[6]}
    store = FakeStore(poison=poison)
    run = Run(store, batch_events=8)
    run.add(messages_of(events))
    run.steps(60, seconds=0.3)
    letters = sorted((message.offset, reason) for message, reason in run.letters)
    assert letters == [(5, REFUSED), (6, REFUSED)]
    assert run.due == 16
    assert set(store.accepted) == set(events) - poison
    assert run.pipeline.outcomes == Counter({Outcome.INSERTED: 14})


def test_a_lone_refused_event_waits_for_another_and_blocks_none() -> None:
    bad, good = many_events(2)
    store = FakeStore(poison={bad})
    run = Run(store)
    run.add([message_of(bad, 0)])
    run.steps(100)
    assert (run.due, run.letters) == (None, [])
    run.add([message_of(good, 1)])
    run.steps(2)
    assert store.accepted == [good]
    run.steps(20)
    assert [reason for _, reason in run.letters] == [REFUSED]
    assert set(store.accepted) == {good}
    assert run.offsets.uncommitted() == {0: 2}
    assert not run.pipeline.is_busy
    assert run.pipeline.outcomes == Counter({Outcome.INSERTED: 1})


def test_a_store_that_refuses_all_for_a_while_makes_no_dead_letter() -> None:
    store = FakeStore()
    run = Run(store, batch_events=1)
    for offset, one in enumerate(many_events(30)):
        store.mood = "refusing" if 5 <= offset < 20 else "well"
        run.add([message_of(one, offset)])
        run.steps(5)
    run.steps(60)
    assert (run.letters, run.due) == ([], 30)


def test_a_refusal_counts_only_if_the_store_accepts_others_meanwhile() -> None:
    first, *others, last = many_events(23)
    store = FakeStore(mood="refusing")
    run = Run(store, batch_events=1)
    run.add([message_of(first, 0)])
    run.steps(2)
    store.mood = "well"  # for one event: `first` is queued again, behind more than fit in flight
    run.add(message_of(one, offset) for offset, one in enumerate(others, 1))
    run.steps(1)
    store.mood = "refusing"
    run.steps(400)
    assert store.submitted.count([first]) >= 2
    store.mood = "well"
    run.add([message_of(last, 22)])
    run.steps(60)
    assert (run.letters, run.due) == ([], 23)


def test_accepted_events_of_a_refused_batch_are_not_sent_again() -> None:
    events = many_events(4)
    store = FakeStore(poison={events[2]})
    run = Run(store)
    run.add(messages_of(events))
    run.steps(1)
    store.poison = ()
    run.steps(10)
    assert sorted(store.accepted) == sorted(events)
    assert run.due == 4


def test_messages_of_a_lost_partition_are_forgotten() -> None:
    store = FakeStore(mood="away")
    run = Run(store)
    run.offsets.assign(1)
    events = many_events(10)
    run.add(message_of(one, offset, partition=offset % 2) for offset, one in enumerate(events))
    run.steps(3)
    run.offsets.drop(0)
    run.pipeline.forget_dropped()
    store.mood = "well"
    run.steps(60)
    assert sorted(store.accepted) == sorted(events[1::2])
    assert (run.pipeline.bytes, run.pipeline.is_busy) == (0, False)
    assert run.offsets.uncommitted() == {1: 10}


def test_a_wait_for_the_store_and_its_end_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "events.kafka")
    store = FakeStore(mood="away")
    run = Run(store)
    run.add(messages_of(many_events(8)))
    run.steps(30)
    store.mood = "well"
    run.steps(30)
    assert [record.getMessage() for record in caplog.records] == [
        "retrying until the store accepts events, none is lost: the store does not answer (away)",
        "the store accepts events again",
    ]
