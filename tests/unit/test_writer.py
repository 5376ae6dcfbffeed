"""Group commit: what shares a transaction, and what waits for what."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from events.errors import StoreRefused, StoreUnavailable
from events.models import MAX_ACTIONS, Event, Outcome
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, event, many_events
from tests.support.sqlstore import MemoryStore
from tests.support.writing import PATIENCE_SECONDS, Recorder, writing

#: A receipt that never comes hangs.
pytestmark = pytest.mark.timeout(120)

INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
ALREADY_VOIDED, NOT_FOUND = Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND


# --- lanes ----------------------------------------------------------------------------------------


def test_transactions_of_one_lane_run_one_after_another() -> None:
    busy: Counter[tuple[str, object]] = Counter()
    most = 0
    lock = threading.Lock()

    def write(events: Sequence[Event]) -> list[Outcome]:
        nonlocal most
        lane = events[0].customer_id, events[0].timestamp.date()
        with lock:
            busy[lane] += 1
            most = max(most, busy[lane])
        time.sleep(0)  # let another thread run
        with lock:
            busy[lane] -= 1
        return [INSERTED] * len(events)

    with writing(write, threads=8) as writer:
        pending = [
            writer.submit([item]) for item in many_events(600, customers=2, hours=48, event_types=5)
        ]
        assert [receipts.wait() for receipts in pending] == [[INSERTED]] * 600
    assert most == 1


def test_transactions_of_different_lanes_run_in_parallel() -> None:
    together = threading.Barrier(3)

    def write(events: Sequence[Event]) -> list[Outcome]:
        together.wait(PATIENCE_SECONDS)
        return [INSERTED] * len(events)

    with writing(write, threads=3) as writer:
        receipts = writer.submit(
            [event(), event(customer_id="another"), event(timestamp=HOUR_ZERO + DAY)]
        )
        assert receipts.wait() == [INSERTED] * 3


def test_a_transaction_holds_events_of_one_customer_and_day() -> None:
    recorder = Recorder()
    midnight = HOUR_ZERO + DAY
    events = [
        event("t-1", timestamp=midnight - MICROSECOND),
        event("t-2", timestamp=midnight),
        event("t-3", customer_id="another", timestamp=midnight),
        event("t-4", timestamp=HOUR_ZERO),
        event("t-5", timestamp=midnight + 23 * HOUR),
    ]
    with writing(recorder) as writer:
        writer.submit(events).wait()
    assert sorted(recorder.batches) == sorted(
        [[events[0], events[3]], [events[1], events[4]], [events[2]]]
    )


def test_events_that_arrive_in_flight_share_the_next_transaction() -> None:
    recorder = Recorder()
    recorder.hold()
    first, later = event("first"), [event(f"t-{index}") for index in range(10)]
    with writing(recorder) as writer:
        pending = [writer.submit([first])]
        recorder.wait_until_started()
        pending += [writer.submit([item]) for item in later]
        recorder.release()
        assert [receipts.wait() for receipts in pending] == [[INSERTED]] * 11
    assert recorder.batches == [[first], later]


def test_a_long_lane_does_not_block_the_others() -> None:
    recorder = Recorder()
    recorder.hold()
    long = [event(f"t-{index}", event_type=f"{index}") for index in range(200)]
    with writing(recorder, threads=1) as writer:
        pending = [writer.submit(long)]
        recorder.wait_until_started()
        pending.append(writer.submit([event(customer_id="another")]))
        recorder.release()
        for receipts in pending:
            receipts.wait()
    # The only thread turns to another lane after each transaction.
    assert [batch[0].customer_id for batch in recorder.batches][:3] == ["acme", "another", "acme"]


# --- what fits one transaction --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_types", "sizes"),
    [(1, [98, 98, 54]), (2, [97, 97, 56]), (10, [89, 89, 72]), (50, [49, 49, 49, 49, 49, 5]),
     (250, [49, 49, 49, 49, 49, 5])],
)  # fmt: skip
def test_a_transaction_is_filled_to_its_limit(event_types: int, sizes: list[int]) -> None:
    recorder = Recorder()
    events = [event(f"t-{index}", event_type=f"{index % event_types}") for index in range(250)]
    with writing(recorder) as writer:
        assert writer.submit(events).wait() == [INSERTED] * 250
    assert [item for batch in recorder.batches for item in batch] == events
    assert [len(batch) for batch in recorder.batches] == sizes
    for batch in recorder.batches:
        actions = len(batch) + 1 + len({item.event_type for item in batch})
        assert actions <= MAX_ACTIONS


def test_a_new_event_type_needs_room_for_its_counter() -> None:
    recorder = Recorder()
    # 97 puts and the counters of the day and one type: 99 actions, one is left.
    events = [event(f"t-{index}") for index in range(97)]
    new_type, same_type = event("new", event_type="other"), event("same")
    with writing(recorder) as writer:
        writer.submit([*events, same_type, new_type]).wait()
        writer.submit([*events, new_type, same_type]).wait()
    assert recorder.batches == [
        [*events, same_type],
        [new_type],
        events,
        [new_type, same_type],
    ]


def test_a_repeated_event_takes_no_room() -> None:
    recorder = Recorder()
    events = [event(f"t-{index}") for index in range(98)]
    with writing(recorder) as writer:
        outcomes = writer.submit([item for item in events for _ in range(3)]).wait()
    assert recorder.batches == [events]
    assert outcomes == [INSERTED, DUPLICATE, DUPLICATE] * 98


# --- twins ----------------------------------------------------------------------------------------


def test_a_repeated_event_is_a_duplicate() -> None:
    store = MemoryStore()
    with writing(store.write) as writer:
        assert writer.submit([event(), event(), event()]).wait() == [INSERTED, DUPLICATE, DUPLICATE]
        assert writer.submit([event(), event()]).wait() == [DUPLICATE, DUPLICATE]


def test_an_event_repeated_by_another_caller_is_a_duplicate() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder) as writer:
        held = writer.submit([event("held")])
        recorder.wait_until_started()
        first, second = writer.submit([event("t")]), writer.submit([event("u"), event("t")])
        recorder.release()
        assert [held.wait(), first.wait(), second.wait()] == [
            [INSERTED],
            [INSERTED],
            [INSERTED, DUPLICATE],
        ]
    assert recorder.batches == [[event("held")], [event("t"), event("u")]]


def test_a_repeated_event_escapes_the_refusal_of_the_first_caller() -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): StoreRefused("no")}
    with writing(recorder) as writer:
        recorder.hold()
        writer.submit([event("held")])
        recorder.wait_until_started()
        pending = [writer.submit([event("t"), event("bad")]), writer.submit([event("t")])]
        recorder.release()
        with pytest.raises(StoreRefused):
            pending[0].wait()
        assert pending[1].wait() == [INSERTED]


def test_a_repeated_event_shares_the_failure_of_the_first() -> None:
    recorder = Recorder()
    recorder.hold()
    error = StoreUnavailable("no answer")
    recorder.fails_on = {event("t"): error}
    with writing(recorder) as writer:
        held = writer.submit([event("held")])
        recorder.wait_until_started()
        pending = [writer.submit([event("t")]) for _ in range(3)]
        recorder.release()
        assert held.wait() == [INSERTED]
        for receipts in pending:
            with pytest.raises(StoreUnavailable, match="no answer"):
                receipts.wait()
            assert receipts.outcomes == [None]
    assert recorder.batches == [[event("held")], [event("t")]]


# --- corrections ----------------------------------------------------------------------------------


def test_voids_and_writes_keep_their_order_in_separate_batches() -> None:
    recorder = Recorder()
    done: list[tuple[str, list[str]]] = []

    def write(events: Sequence[Event]) -> list[Outcome]:
        done.append(("write", [item.transaction_id for item in events]))
        return recorder(events)

    def void(events: Sequence[Event], reason: str) -> list[Outcome]:
        done.append((reason, [item.transaction_id for item in events]))
        return [VOIDED] * len(events)

    with writing(write, void) as writer:
        recorder.hold()
        pending = [writer.submit([event("a")])]
        recorder.wait_until_started()
        pending += [
            writer.submit([event("b")]),
            writer.submit([event("a")], void_reason="test"),
            writer.submit([event("b")], void_reason="test"),
            writer.submit([event("c")], void_reason="other"),
            writer.submit([event("a"), event("d")]),
        ]
        recorder.release()
        assert [receipts.wait() for receipts in pending] == [
            [INSERTED], [INSERTED], [VOIDED], [VOIDED], [VOIDED], [INSERTED, INSERTED],
        ]  # fmt: skip
    assert done == [
        ("write", ["a"]),
        ("write", ["b"]),
        ("test", ["a", "b"]),
        ("other", ["c"]),
        ("write", ["a", "d"]),
    ]


@pytest.mark.parametrize(
    ("first", "twin"),
    [(VOIDED, ALREADY_VOIDED), (ALREADY_VOIDED, ALREADY_VOIDED), (NOT_FOUND, NOT_FOUND)],
)
def test_a_repeated_void_meets_what_the_first_left(first: Outcome, twin: Outcome) -> None:
    with writing(no_write, lambda _, __: [first]) as writer:
        receipts = writer.submit([event(), event()], void_reason="test")
        assert receipts.wait() == [first, twin]


def test_a_repeated_event_voided_earlier_is_reported_as_voided() -> None:
    with writing(lambda _: [VOIDED]) as writer:
        assert writer.submit([event(), event()]).wait() == [VOIDED, VOIDED]


def no_write(events: Sequence[Event]) -> list[Outcome]:
    raise AssertionError(f"unexpected write {events}")
