"""Group commit: what goes together, what waits for what, and whom an error reaches."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from events.errors import StoreRefused, StoreUnavailable
from events.ingest.writer import Writer
from events.models import MAX_ACTIONS, Event, Outcome
from tests.support.factories import DAY, HOUR, HOUR_ZERO, MICROSECOND, event, many_events
from tests.support.fakes import MemoryStore

#: A ticket that is never settled hangs.
pytestmark = pytest.mark.timeout(60)

INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
ALREADY_VOIDED, NOT_FOUND = Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND
#: Nothing here takes any time; what hangs is given up after this long.
PATIENCE_SECONDS = 20

Write = Callable[[Sequence[Event]], list[Outcome]]
Void = Callable[[Sequence[Event], str], list[Outcome]]


class Recorder:
    """A `write` that stores nothing, notes each batch, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.fails_on: dict[Event, BaseException] = {}

    def __call__(self, events: Sequence[Event]) -> list[Outcome]:
        self.batches.append(list(events))
        self.began.release()
        assert self.gate.wait(PATIENCE_SECONDS)
        for each in events:
            if each in self.fails_on:
                raise self.fails_on[each]
        return [INSERTED] * len(events)

    def hold(self) -> None:
        self.gate.clear()

    def let_go(self) -> None:
        self.gate.set()

    def wait_until_begun(self) -> None:
        assert self.began.acquire(timeout=PATIENCE_SECONDS)


@contextmanager
def writing(
    write: Write, void: Void = lambda events, _: [VOIDED] * len(events), *, threads: int = 4
) -> Iterator[Writer]:
    writer = Writer(write, void, threads=threads)
    try:
        yield writer
    finally:
        # It waits for what was never settled; not for ever.
        closing = in_thread(writer.close)
        closing.join(PATIENCE_SECONDS)
        assert not closing.is_alive(), "something is waiting for ever"


def no_void(events: Sequence[Event], reason: str) -> list[Outcome]:
    raise AssertionError(f"nobody asked to void {events} ({reason})")


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


# --- lanes ----------------------------------------------------------------------------------------


def test_transactions_of_one_customer_and_day_run_one_after_another() -> None:
    busy: Counter[tuple[str, object]] = Counter()
    most = 0
    lock = threading.Lock()

    def write(events: Sequence[Event]) -> list[Outcome]:
        nonlocal most
        lane = events[0].customer_id, events[0].timestamp.date()
        with lock:
            busy[lane] += 1
            most = max(most, busy[lane])
        time.sleep(0.0005)
        with lock:
            busy[lane] -= 1
        return [INSERTED] * len(events)

    with writing(write, threads=8) as writer:
        tickets = [
            writer.submit([each]) for each in many_events(600, customers=2, hours=48, event_types=5)
        ]
        assert [ticket.wait() for ticket in tickets] == [[INSERTED]] * 600
    assert most == 1


def test_days_of_which_several_come_at_once_are_announced_before_they_are_written() -> None:
    recorder = Recorder()
    told: list[tuple[Sequence[tuple[str, str]], int]] = []

    def announce(days: Sequence[tuple[str, str]]) -> None:
        told.append((list(days), len(recorder.batches)))

    writer = Writer(recorder, lambda _, __: [], threads=1, announce=announce)
    writer.submit([event()]).wait(PATIENCE_SECONDS)
    events = [event("t-1"), event("t-2", timestamp=HOUR_ZERO + DAY), event(customer_id="globex")]
    writer.submit([*events, *events]).wait(PATIENCE_SECONDS)
    writer.close()
    days = [("acme", "2021-03-01"), ("acme", "2021-03-02"), ("globex", "2021-03-01")]
    assert told == [(days, 1)]


def test_transactions_of_different_customers_or_days_run_at_the_same_time() -> None:
    together = threading.Barrier(3)

    def write(events: Sequence[Event]) -> list[Outcome]:
        together.wait(PATIENCE_SECONDS)
        return [INSERTED] * len(events)

    with writing(write, threads=3) as writer:
        ticket = writer.submit(
            [event(), event(customer_id="another"), event(timestamp=HOUR_ZERO + DAY)]
        )
        assert ticket.wait() == [INSERTED] * 3


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


def test_what_comes_while_a_transaction_is_under_way_goes_into_the_next_together() -> None:
    recorder = Recorder()
    recorder.hold()
    first, later = event("first"), [event(f"t-{place}") for place in range(10)]
    with writing(recorder) as writer:
        tickets = [writer.submit([first])]
        recorder.wait_until_begun()
        tickets += [writer.submit([each]) for each in later]
        recorder.let_go()
        assert [ticket.wait() for ticket in tickets] == [[INSERTED]] * 11
    assert recorder.batches == [[first], later]


def test_a_long_lane_does_not_keep_the_others_waiting() -> None:
    recorder = Recorder()
    recorder.hold()
    long = [event(f"t-{place}", event_type=f"{place}") for place in range(200)]
    with writing(recorder, threads=1) as writer:
        tickets = [writer.submit(long)]
        recorder.wait_until_begun()
        tickets.append(writer.submit([event(customer_id="another")]))
        recorder.let_go()
        for ticket in tickets:
            ticket.wait()
    # The one thread turns to another lane after each transaction.
    assert [batch[0].customer_id for batch in recorder.batches][:3] == ["acme", "another", "acme"]


# --- what fits one transaction --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_types", "sizes"),
    [(1, [98, 98, 54]), (2, [97, 97, 56]), (10, [89, 89, 72]), (50, [49, 49, 49, 49, 49, 5]),
     (250, [49, 49, 49, 49, 49, 5])],
)  # fmt: skip
def test_a_transaction_is_as_full_as_it_may_be_and_no_fuller(
    event_types: int, sizes: list[int]
) -> None:
    recorder = Recorder()
    events = [event(f"t-{place}", event_type=f"{place % event_types}") for place in range(250)]
    with writing(recorder) as writer:
        assert writer.submit(events).wait() == [INSERTED] * 250
    assert [each for batch in recorder.batches for each in batch] == events
    assert [len(batch) for batch in recorder.batches] == sizes
    for batch in recorder.batches:
        actions = len(batch) + 1 + len({each.event_type for each in batch})
        assert actions <= MAX_ACTIONS


def test_an_event_of_a_type_at_hand_fits_where_one_of_a_new_type_does_not() -> None:
    recorder = Recorder()
    # 97 puts and the counters of the day and one type: 99 actions, and one is free.
    events = [event(f"t-{place}") for place in range(97)]
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


def test_a_repetition_takes_no_room() -> None:
    recorder = Recorder()
    events = [event(f"t-{place}") for place in range(98)]
    with writing(recorder) as writer:
        outcomes = writer.submit([each for each in events for _ in range(3)]).wait()
    assert recorder.batches == [events]
    assert outcomes == [INSERTED, DUPLICATE, DUPLICATE] * 98


# --- twins ----------------------------------------------------------------------------------------


def test_a_twin_is_a_duplicate_also_where_the_first_was_one() -> None:
    store = MemoryStore()
    with writing(store.write) as writer:
        assert writer.submit([event(), event(), event()]).wait() == [INSERTED, DUPLICATE, DUPLICATE]
        assert writer.submit([event(), event()]).wait() == [DUPLICATE, DUPLICATE]


def test_a_twin_from_another_caller_is_a_duplicate() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder) as writer:
        held = writer.submit([event("held")])
        recorder.wait_until_begun()
        first, second = writer.submit([event("t")]), writer.submit([event("u"), event("t")])
        recorder.let_go()
        assert [held.wait(), first.wait(), second.wait()] == [
            [INSERTED],
            [INSERTED],
            [INSERTED, DUPLICATE],
        ]
    assert recorder.batches == [[event("held")], [event("t"), event("u")]]


def test_a_twin_does_not_share_what_is_wrong_in_the_request_of_the_first() -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): StoreRefused("no")}
    with writing(recorder) as writer:
        recorder.hold()
        writer.submit([event("held")])
        recorder.wait_until_begun()
        tickets = [writer.submit([event("t"), event("bad")]), writer.submit([event("t")])]
        recorder.let_go()
        with pytest.raises(StoreRefused):
            tickets[0].wait()
        assert tickets[1].wait() == [INSERTED]


def test_a_twin_shares_the_failure_of_the_first() -> None:
    recorder = Recorder()
    recorder.hold()
    error = StoreUnavailable("no answer")
    recorder.fails_on = {event("t"): error}
    with writing(recorder) as writer:
        held = writer.submit([event("held")])
        recorder.wait_until_begun()
        tickets = [writer.submit([event("t")]) for _ in range(3)]
        recorder.let_go()
        assert held.wait() == [INSERTED]
        for ticket in tickets:
            with pytest.raises(StoreUnavailable, match="no answer"):
                ticket.wait()
            assert ticket.outcomes == [None]
    assert recorder.batches == [[event("held")], [event("t")]]


# --- receipts and errors --------------------------------------------------------------------------


def test_outcomes_follow_the_order_of_a_ticket_over_many_lanes() -> None:
    store = MemoryStore()
    events = many_events(300, customers=4, hours=96)
    with writing(store.write) as writer:
        writer.submit(events[::2]).wait()
        outcomes = writer.submit(events).wait()
    assert outcomes == [DUPLICATE, INSERTED] * 150


def test_an_error_reaches_every_ticket_of_its_batch_and_no_other() -> None:
    recorder = Recorder()
    bad = event("bad", customer_id="bad")
    recorder.fails_on = {bad: StoreUnavailable("no answer")}
    good = [event(f"t-{place}") for place in range(5)]
    with writing(recorder) as writer:
        recorder.hold()
        held = writer.submit([event("held", customer_id="bad")])
        recorder.wait_until_begun()
        failing = [writer.submit([bad]), writer.submit([event("beside", customer_id="bad")])]
        passing = [writer.submit(good)]
        recorder.let_go()
        for ticket in failing:
            with pytest.raises(StoreUnavailable):
                ticket.wait()
        # The same lane again, after the error.
        passing.append(writer.submit([event("after", customer_id="bad")]))
        assert [ticket.wait() for ticket in [held, *passing]] == [
            [INSERTED],
            [INSERTED] * 5,
            [INSERTED],
        ]


@pytest.mark.parametrize("error", [StoreRefused("no"), RuntimeError("a bug")], ids=repr)
def test_what_is_wrong_in_one_request_does_not_touch_its_neighbours(error: Exception) -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): error}
    with writing(recorder) as writer:
        recorder.hold()
        first = writer.submit([event("held")])
        recorder.wait_until_begun()
        before = writer.submit([event("before"), event("before too")])
        bad = writer.submit([event("beside"), event("bad")])
        after = writer.submit([event("after")])
        recorder.let_go()
        with pytest.raises(type(error)):
            bad.wait()
        assert (first.wait(), before.wait(), after.wait()) == (
            [INSERTED],
            [INSERTED, INSERTED],
            [INSERTED],
        )
    assert [[each.transaction_id for each in batch] for batch in recorder.batches] == [
        ["held"],
        ["before", "before too", "beside", "bad", "after"],
        ["before", "before too"],
        ["beside", "bad"],
        ["after"],
    ]


def test_a_ticket_over_two_batches_fails_with_one_and_keeps_what_is_known_of_the_other() -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad", customer_id="bad"): StoreUnavailable("no answer")}
    with writing(recorder) as writer:
        ticket = writer.submit([event("good"), event("bad", customer_id="bad"), event("good")])
        with pytest.raises(StoreUnavailable):
            ticket.wait()
    assert ticket.is_done()
    assert ticket.outcomes == [INSERTED, None, DUPLICATE]


def test_a_ticket_that_fails_twice_is_told_the_first_error() -> None:
    gates = {"one": threading.Event(), "two": threading.Event()}
    both = threading.Barrier(3)

    def write(events: Sequence[Event]) -> list[Outcome]:
        both.wait(PATIENCE_SECONDS)
        assert gates[events[0].customer_id].wait(PATIENCE_SECONDS)
        raise StoreUnavailable(events[0].customer_id)

    with writing(write, threads=2) as writer:
        ticket = writer.submit([event(customer_id=name) for name in gates])
        both.wait(PATIENCE_SECONDS)
        for gate in ("two", "one"):
            gates[gate].set()
            with pytest.raises(StoreUnavailable, match="two"):
                ticket.wait()
        writer.drain()
        with pytest.raises(StoreUnavailable, match="two"):
            ticket.wait()
    assert ticket.outcomes == [None, None]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a bug"), MemoryError(), KeyboardInterrupt(), SystemExit(3), StopIteration()],
    ids=repr,
)
def test_any_error_of_a_write_reaches_the_caller(error: BaseException) -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): error}
    with writing(recorder) as writer:
        ticket = writer.submit([event("bad")])
        with pytest.raises(type(error)) as caught:
            ticket.wait()
        assert caught.value is error
        assert writer.submit([event("good")]).wait() == [INSERTED]


@pytest.mark.parametrize("outcomes", [[], [INSERTED], [INSERTED] * 3])
def test_a_write_that_gives_another_number_of_outcomes_is_an_error(
    outcomes: list[Outcome],
) -> None:
    with writing(lambda _: outcomes) as writer:
        with pytest.raises(ValueError, match="zip"):
            writer.submit([event("t-1"), event("t-2")]).wait()
        writer.drain()


def test_waiting_again_gives_the_same_answer() -> None:
    recorder = Recorder()
    recorder.fails_on = {event("bad"): StoreUnavailable("no answer")}
    with writing(recorder) as writer:
        good, bad = writer.submit([event("good")]), writer.submit([event("bad")])
        for _ in range(2):
            assert good.wait() == [INSERTED]
            with pytest.raises(StoreUnavailable):
                bad.wait()


# --- the end --------------------------------------------------------------------------------------


def test_a_ticket_of_nothing_is_done_at_once() -> None:
    with writing(Recorder()) as writer:
        ticket = writer.submit([])
        assert ticket.is_done()
        assert ticket.wait() == []


def test_a_ticket_is_not_done_before_its_last_event_is_written() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder, threads=1) as writer:
        ticket = writer.submit([event("t-1"), event("t-2", customer_id="another")])
        recorder.wait_until_begun()
        assert not ticket.is_done()
        recorder.let_go()
        assert ticket.wait() == [INSERTED, INSERTED]
        assert ticket.is_done()


def test_what_waits_is_dropped_and_what_is_under_way_is_finished() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder, threads=1) as writer:
        under_way = writer.submit([event("t-1")])
        recorder.wait_until_begun()
        # Of this one the first event waits in the same lane, the second for a thread.
        waiting = writer.submit([event("t-2"), event("t-3", customer_id="another")])
        half = writer.submit([event("t-1"), event("t-4", timestamp=HOUR_ZERO + DAY)])
        writer.drop_waiting()
        recorder.let_go()
        assert under_way.wait() == [INSERTED]
        for ticket in (waiting, half):
            with pytest.raises(StoreUnavailable):
                ticket.wait()
            assert ticket.outcomes == [None, None]
        writer.drain()
        assert recorder.batches == [[event("t-1")]]
        # It is not closed.
        assert writer.submit([event("t-5")]).wait() == [INSERTED]


def test_a_ticket_half_under_way_keeps_that_half_when_the_rest_is_dropped() -> None:
    recorder = Recorder()
    recorder.hold()
    with writing(recorder, threads=1) as writer:
        ticket = writer.submit([event("t-1"), event("t-2", customer_id="another")])
        recorder.wait_until_begun()
        writer.drop_waiting()
        with pytest.raises(StoreUnavailable):
            ticket.wait()
        assert ticket.outcomes == [None, None]
        recorder.let_go()
    assert ticket.outcomes == [INSERTED, None]


def test_what_waits_of_a_ticket_that_failed_is_not_sent_and_its_neighbours_are() -> None:
    recorder = Recorder()
    recorder.hold()
    recorder.fails_on = {event("t-1"): StoreUnavailable("gone")}
    with writing(recorder, threads=1) as writer:
        failed = writer.submit([event("t-1"), event("t-2", customer_id="another")])
        recorder.wait_until_begun()
        neighbour = writer.submit([event("t-3", customer_id="another")])
        recorder.let_go()
        with pytest.raises(StoreUnavailable):
            failed.wait()
        assert neighbour.wait() == [INSERTED]
    assert failed.outcomes == [None, None]
    assert [[each.transaction_id for each in batch] for batch in recorder.batches] == [
        ["t-1"],
        ["t-3"],
    ]


def test_dropping_with_nothing_waiting_changes_nothing() -> None:
    with writing(Recorder()) as writer:
        ticket = writer.submit([event()])
        ticket.wait()
        writer.drop_waiting()
        assert ticket.wait() == [INSERTED]


def test_draining_waits_for_all_that_was_submitted() -> None:
    recorder = Recorder()
    recorder.hold()
    drained = threading.Event()
    with writing(recorder) as writer:
        tickets = [
            writer.submit([event(f"t-{place}", timestamp=HOUR_ZERO + place % 3 * DAY)])
            for place in range(30)
        ]

        def drain() -> None:
            writer.drain()
            drained.set()

        thread = in_thread(drain)
        assert not drained.wait(0.02)
        recorder.let_go()
        assert drained.wait(PATIENCE_SECONDS)
        assert all(ticket.is_done() for ticket in tickets)
        thread.join(PATIENCE_SECONDS)


def test_closing_waits_for_all_that_was_submitted() -> None:
    recorder = Recorder()
    recorder.hold()
    writer = Writer(recorder, no_void, threads=2)
    ticket = writer.submit([event(f"t-{place}", event_type=f"{place}") for place in range(120)])
    thread = in_thread(writer.close)
    thread.join(0.02)
    assert thread.is_alive()
    recorder.let_go()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert ticket.is_done()
    assert ticket.wait() == [INSERTED] * 120


def test_what_comes_after_the_end_is_refused_and_closing_again_returns() -> None:
    recorder = Recorder()
    writer = Writer(recorder, no_void, threads=1)
    writer.close()
    with pytest.raises(RuntimeError):
        writer.submit([event()])
    thread = in_thread(writer.close)
    thread.join(1)
    assert not thread.is_alive(), "it waits for an event that was refused"
    assert recorder.batches == []


def test_events_from_many_threads_are_each_written_once() -> None:
    store = MemoryStore()
    events = many_events(400, customers=3, hours=48, event_types=4)
    with writing(store.write, threads=4) as writer:
        receipts: list[list[Outcome]] = []

        def ingest(first: int) -> None:
            for place in range(first, 400 + first, 8):
                receipts.append(writer.submit([events[place % 400], events[place % 200]]).wait())

        threads = [in_thread(partial(ingest, first)) for first in range(8)]
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert len(receipts) == 400
    assert sum(each.count(INSERTED) for each in receipts) == 400
    assert len(store.contents().events) == 400


# --- corrections ----------------------------------------------------------------------------------


def test_what_is_voided_goes_in_its_turn_and_never_in_one_transaction_with_what_is_stored() -> None:
    recorder = Recorder()
    done: list[tuple[str, list[str]]] = []

    def write(events: Sequence[Event]) -> list[Outcome]:
        done.append(("write", [each.transaction_id for each in events]))
        return recorder(events)

    def void(events: Sequence[Event], reason: str) -> list[Outcome]:
        done.append((reason, [each.transaction_id for each in events]))
        return [VOIDED] * len(events)

    with writing(write, void) as writer:
        recorder.hold()
        tickets = [writer.submit([event("a")])]
        recorder.wait_until_begun()
        tickets += [
            writer.submit([event("b")]),
            writer.submit([event("a")], void_reason="test"),
            writer.submit([event("b")], void_reason="test"),
            writer.submit([event("c")], void_reason="other"),
            writer.submit([event("a"), event("d")]),
        ]
        recorder.let_go()
        assert [ticket.wait() for ticket in tickets] == [
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
def test_the_twin_of_an_event_to_be_voided_meets_what_the_first_left(
    first: Outcome, twin: Outcome
) -> None:
    with writing(no_write, lambda _, __: [first]) as writer:
        ticket = writer.submit([event(), event()], void_reason="test")
        assert ticket.wait() == [first, twin]


def test_the_twin_of_an_event_that_was_voided_earlier_is_told_so_too() -> None:
    with writing(lambda _: [VOIDED]) as writer:
        assert writer.submit([event(), event()]).wait() == [VOIDED, VOIDED]


def no_write(events: Sequence[Event]) -> list[Outcome]:
    raise AssertionError(f"nobody asked to write {events}")
