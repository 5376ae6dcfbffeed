"""Group commit: whom an error reaches, and how a writer ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import pytest

from events.errors import StoreRefused, StoreUnavailable
from events.ingest.writer import Writer
from events.models import Event, Outcome
from tests.support.factories import DAY, HOUR_ZERO, event, many_events
from tests.support.sqlstore import MemoryStore
from tests.support.writing import (
    PATIENCE_SECONDS,
    DynamoDBBatching,
    Recorder,
    in_thread,
    no_void,
    writing,
)

#: A receipt that never comes hangs.
pytestmark = pytest.mark.timeout(120)

INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
ALREADY_VOIDED, NOT_FOUND = Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND


# --- receipts and errors --------------------------------------------------------------------------


def test_outcomes_are_in_submission_order_over_many_lanes() -> None:
    store = MemoryStore()
    events = many_events(300, customers=4, hours=96)
    with writing(store.write) as writer:
        writer.submit(events[::2]).wait()
        outcomes = writer.submit(events).wait()
    assert outcomes == [DUPLICATE, INSERTED] * 150


def test_an_error_reaches_every_caller_of_its_batch_and_no_other() -> None:
    recorder = Recorder()
    bad = event("bad", customer_id="bad")
    recorder.fails_on = {bad: StoreUnavailable("no answer")}
    good = [event(f"t-{index}") for index in range(5)]
    with writing(recorder) as writer:
        recorder.hold()
        held = writer.submit([event("held", customer_id="bad")])
        recorder.wait_until_started()
        failing = [writer.submit([bad]), writer.submit([event("beside", customer_id="bad")])]
        passing = [writer.submit(good)]
        recorder.release()
        for receipts in failing:
            with pytest.raises(StoreUnavailable):
                receipts.wait()
        # The same lane continues after the error.
        passing.append(writer.submit([event("after", customer_id="bad")]))
        assert [receipts.wait() for receipts in [held, *passing]] == [
            [INSERTED],
            [INSERTED] * 5,
            [INSERTED],
        ]


@pytest.mark.parametrize("error", [StoreRefused("no"), RuntimeError("a bug")], ids=repr)
def test_a_refused_batch_is_retried_for_each_caller(error: Exception) -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): error}
    with writing(recorder) as writer:
        recorder.hold()
        first = writer.submit([event("held")])
        recorder.wait_until_started()
        before = writer.submit([event("before"), event("before too")])
        bad = writer.submit([event("beside"), event("bad")])
        after = writer.submit([event("after")])
        recorder.release()
        with pytest.raises(type(error)):
            bad.wait()
        assert (first.wait(), before.wait(), after.wait()) == (
            [INSERTED],
            [INSERTED, INSERTED],
            [INSERTED],
        )
    assert [[item.transaction_id for item in batch] for batch in recorder.batches] == [
        ["held"],
        ["before", "before too", "beside", "bad", "after"],
        ["before", "before too"],
        ["beside", "bad"],
        ["after"],
    ]


def test_a_failure_keeps_the_outcomes_of_other_batches() -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad", customer_id="bad"): StoreUnavailable("no answer")}
    with writing(recorder) as writer:
        receipts = writer.submit([event("good"), event("bad", customer_id="bad"), event("good")])
        with pytest.raises(StoreUnavailable):
            receipts.wait()
    assert receipts.is_done()
    assert receipts.outcomes == [INSERTED, None, DUPLICATE]


def test_the_first_error_is_kept() -> None:
    gates = {"one": threading.Event(), "two": threading.Event()}
    both = threading.Barrier(3)

    def write(events: Sequence[Event]) -> list[Outcome]:
        both.wait(PATIENCE_SECONDS)
        assert gates[events[0].customer_id].wait(PATIENCE_SECONDS)
        raise StoreUnavailable(events[0].customer_id)

    with writing(write, threads=2) as writer:
        receipts = writer.submit([event(customer_id=name) for name in gates])
        both.wait(PATIENCE_SECONDS)
        for gate in ("two", "one"):
            gates[gate].set()
            with pytest.raises(StoreUnavailable, match="two"):
                receipts.wait()
        writer.drain()
        with pytest.raises(StoreUnavailable, match="two"):
            receipts.wait()
    assert receipts.outcomes == [None, None]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a bug"), MemoryError(), KeyboardInterrupt(), SystemExit(3), StopIteration()],
    ids=repr,
)
def test_any_error_of_a_write_reaches_the_caller(error: BaseException) -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): error}
    with writing(recorder) as writer:
        receipts = writer.submit([event("bad")])
        with pytest.raises(type(error)) as caught:
            receipts.wait()
        assert caught.value is error
        assert writer.submit([event("good")]).wait() == [INSERTED]


@pytest.mark.parametrize("outcomes", [[], [INSERTED], [INSERTED] * 3])
def test_a_wrong_number_of_outcomes_is_an_error(
    outcomes: list[Outcome],
) -> None:
    with writing(lambda _: outcomes) as writer:
        with pytest.raises(ValueError, match="zip"):
            writer.submit([event("t-1"), event("t-2")]).wait()
        writer.drain()


def test_waiting_again_gives_the_same_result() -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): StoreUnavailable("no answer")}
    with writing(recorder) as writer:
        good, bad = writer.submit([event("good")]), writer.submit([event("bad")])
        for _ in range(2):
            assert good.wait() == [INSERTED]
            with pytest.raises(StoreUnavailable):
                bad.wait()


# --- the end --------------------------------------------------------------------------------------


def test_submitting_nothing_is_done_at_once() -> None:
    with writing(Recorder()) as writer:
        receipts = writer.submit([])
        assert receipts.is_done()
        assert receipts.wait() == []


def test_a_submission_is_done_after_its_last_event() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder, threads=1) as writer:
        receipts = writer.submit([event("t-1"), event("t-2", customer_id="another")])
        recorder.wait_until_started()
        assert not receipts.is_done()
        recorder.release()
        assert receipts.wait() == [INSERTED, INSERTED]
        assert receipts.is_done()


def test_dropping_spares_events_in_flight() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder, threads=1) as writer:
        under_way = writer.submit([event("t-1")])
        recorder.wait_until_started()
        # Its first event waits in the same lane, its second for a thread.
        waiting = writer.submit([event("t-2"), event("t-3", customer_id="another")])
        half = writer.submit([event("t-1"), event("t-4", timestamp=HOUR_ZERO + DAY)])
        writer.drop_waiting()
        recorder.release()
        assert under_way.wait() == [INSERTED]
        for receipts in (waiting, half):
            with pytest.raises(StoreUnavailable):
                receipts.wait()
            assert receipts.outcomes == [None, None]
        writer.drain()
        assert recorder.batches == [[event("t-1")]]
        # The writer continues.
        assert writer.submit([event("t-5")]).wait() == [INSERTED]


def test_dropping_keeps_the_outcomes_of_events_in_flight() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder, threads=1) as writer:
        receipts = writer.submit([event("t-1"), event("t-2", customer_id="another")])
        recorder.wait_until_started()
        writer.drop_waiting()
        with pytest.raises(StoreUnavailable):
            receipts.wait()
        assert receipts.outcomes == [None, None]
        recorder.release()
    assert receipts.outcomes == [INSERTED, None]


def test_waiting_events_of_a_failed_submission_are_not_sent() -> None:
    recorder = Recorder()
    recorder.hold()
    recorder.fails_on = {event("t-1"): StoreUnavailable("gone")}
    with writing(recorder, threads=1) as writer:
        failed = writer.submit([event("t-1"), event("t-2", customer_id="another")])
        recorder.wait_until_started()
        neighbour = writer.submit([event("t-3", customer_id="another")])
        recorder.release()
        with pytest.raises(StoreUnavailable):
            failed.wait()
        assert neighbour.wait() == [INSERTED]
    assert failed.outcomes == [None, None]
    assert [[item.transaction_id for item in batch] for batch in recorder.batches] == [
        ["t-1"],
        ["t-3"],
    ]


def test_dropping_nothing_changes_nothing() -> None:
    with writing(Recorder()) as writer:
        receipts = writer.submit([event()])
        receipts.wait()
        writer.drop_waiting()
        assert receipts.wait() == [INSERTED]


def test_draining_waits_for_everything_submitted() -> None:
    recorder = Recorder()
    recorder.hold()
    drained = threading.Event()
    with writing(recorder) as writer:
        pending = [
            writer.submit([event(f"t-{index}", timestamp=HOUR_ZERO + index % 3 * DAY)])
            for index in range(30)
        ]

        def drain() -> None:
            writer.drain()
            drained.set()

        thread = in_thread(drain)
        assert not drained.is_set()
        recorder.release()
        assert drained.wait(PATIENCE_SECONDS)
        assert all(receipts.is_done() for receipts in pending)
        thread.join(PATIENCE_SECONDS)


def test_draining_waits_for_a_transaction_in_flight() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder) as writer:
        writer.submit([event()])
        recorder.wait_until_started()
        thread = in_thread(writer.drain)
        thread.join(0.2)
        assert thread.is_alive()
        recorder.release()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_closing_waits_for_everything_submitted() -> None:
    recorder = Recorder()
    recorder.hold()
    writer = Writer(recorder, no_void, DynamoDBBatching(), threads=2)
    receipts = writer.submit([event(f"t-{index}", event_type=f"{index}") for index in range(120)])
    thread = in_thread(writer.close)
    thread.join(0.02)
    assert thread.is_alive()
    recorder.release()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert receipts.is_done()
    assert receipts.wait() == [INSERTED] * 120


def test_a_closed_writer_refuses_events_and_closes_again() -> None:
    recorder = Recorder()
    writer = Writer(recorder, no_void, DynamoDBBatching(), threads=1)
    writer.close()
    with pytest.raises(RuntimeError):
        writer.submit([event()])
    thread = in_thread(writer.close)
    thread.join(1)
    assert not thread.is_alive(), "closing waits for a refused event"
    assert recorder.batches == []


def test_events_from_many_threads_are_each_written_once() -> None:
    store = MemoryStore()
    events = many_events(400, customers=3, hours=48, event_types=4)
    with writing(store.write, threads=4) as writer:
        outcomes: list[list[Outcome]] = []

        def ingest(first: int) -> None:
            for index in range(first, 400 + first, 8):
                outcomes.append(writer.submit([events[index % 400], events[index % 200]]).wait())

        threads = [in_thread(partial(ingest, first)) for first in range(8)]
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert len(outcomes) == 400
    assert sum(outcome.count(INSERTED) for outcome in outcomes) == 400
    assert len(store.contents().events) == 400
