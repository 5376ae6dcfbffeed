"""Group commit: events from many callers become full transactions, one at a time per lane."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple, Protocol

from events.errors import StoreRefused, StoreUnavailable
from events.models import Event, Outcome
from events.telemetry import metrics


class Batching(Protocol):
    """Which events may share a transaction, by the limits of the store."""

    def lane_of(self, event: Event, /) -> Hashable:
        """
        The lane of an event. Only events of one lane may share a transaction.

        Transactions of one lane run one after another; those of different lanes run in parallel.
        """

    def fits_transaction(self, number_of_events: int, number_of_types: int, /) -> bool:
        """Whether so many distinct events of one lane fit one transaction."""

    def expect(self, events: Sequence[Event], /) -> None:
        """Learn of events of different lanes that are written soon, to prepare for all at once."""


class PendingReceipts:
    """
    The receipts of one `submit`: the outcome of each of its events, in order.

    `outcomes` holds None for events whose outcome is unknown: not written yet or, after a failure,
    perhaps written. Sending those again is safe.
    """

    def __init__(self, size: int, void_reason: str | None = None) -> None:
        #: Why the events are voided; None ingests them.
        self.void_reason = void_reason
        self.outcomes: list[Outcome | None] = [None] * size
        self._unsettled = size
        self._error: BaseException | None = None
        self._done = threading.Event()
        if not size:
            self._done.set()

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome]:
        """
        Wait until every event is durable and counted, or until the first error.

        Args:
            timeout_seconds: After this, events that are not in flight are not sent; None waits
                forever.

        Raises:
            StoreUnavailable: Some events may not be stored; the same call again is safe.
            StoreRefused: The store refuses some of them.
        """
        if not self._done.wait(timeout_seconds):
            # Without the writer's lock: receipts that it settles meanwhile are right as well.
            self.fail(StoreUnavailable("the store took too long"))
        if isinstance(self._error, (StoreUnavailable, StoreRefused)):
            # A new exception for each caller, or they would share one traceback.
            raise type(self._error)(str(self._error)) from self._error
        if self._error is not None:
            raise self._error
        return [outcome for outcome in self.outcomes if outcome is not None]

    def is_done(self) -> bool:
        return self._done.is_set()

    # The writer calls these two while it holds its lock.

    def settle(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self._unsettled -= 1
        if not self._unsettled:
            self._done.set()

    def fail(self, error: BaseException) -> None:
        """Keep the first error. Waiting events are not sent; events in flight are finished."""
        if self._error is None and self._unsettled:
            self._error = error
            self._done.set()

    @property
    def has_failed(self) -> bool:
        return self._error is not None


class _Entry(NamedTuple):
    """One submitted event, and where its outcome goes."""

    event: Event
    receipts: PendingReceipts
    position: int


#: The distinct events of one transaction, each with all entries that wait for it.
_Batch = dict[Event, list[_Entry]]
Write = Callable[[Sequence[Event]], list[Outcome]]
Void = Callable[[Sequence[Event], str], list[Outcome]]

#: The outcome of a repeated event in one transaction, by the outcome of the first.
_REPEATED_AFTER_WRITE = {Outcome.INSERTED: Outcome.DUPLICATE}
_REPEATED_AFTER_VOID = {Outcome.VOIDED: Outcome.ALREADY_VOIDED}


class Writer:
    """
    Group commit; safe to use from many threads.

    Events wait in lanes. Transactions of one lane would conflict, so they run one after another;
    transactions of different lanes run in parallel. While one is in flight its lane fills, from any
    number of callers, and the next takes all that fit.

    Args:
        write: Stores and counts distinct events of one lane that fit a transaction.
        void: Uncounts such events and marks them as voided.
        threads: Maximum transactions in flight.
    """

    def __init__(self, write: Write, void: Void, batching: Batching, *, threads: int) -> None:
        self._write = write
        self._void = void
        self._batching = batching
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._lock = threading.Lock()
        self._is_idle = threading.Condition(self._lock)
        #: The waiting entries of each lane; a lane exists while it waits or is in flight.
        self._lanes: dict[Hashable, deque[_Entry]] = {}
        self._is_closed = False

    def submit(self, events: Sequence[Event], *, void_reason: str | None = None) -> PendingReceipts:
        """
        Take events to store and count, or to void for a reason; return at once.

        `wait` on the result returns when all are durable and counted.
        """
        receipts = PendingReceipts(len(events), void_reason)
        new_lanes: dict[Hashable, Event] = {}
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the writer is closed")
            lanes, lane_of = self._lanes, self._batching.lane_of
            for position, event in enumerate(events):
                key = lane_of(event)
                lane = lanes.get(key)
                if lane is None:
                    lane = lanes[key] = deque()
                    new_lanes[key] = event
                lane.append(_Entry(event, receipts, position))
        if void_reason is None:
            # An event that is voided may be unknown, and then nothing may be written for it.
            self._batching.expect(list(new_lanes.values()))
        for key in new_lanes:
            self._threads.submit(self._run, key)
        return receipts

    def drop_waiting(self) -> None:
        """Do not send events that are not in flight yet; their callers get an error."""
        error = StoreUnavailable("stopped before everything was sent")
        with self._lock:
            for lane in self._lanes.values():
                for entry in lane:
                    entry.receipts.fail(error)
                lane.clear()

    def drain(self) -> None:
        """Wait until no event waits or is in flight."""
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._lanes)

    def close(self) -> None:
        """Take no more events, write those that wait, then end the threads."""
        with self._lock:
            self._is_closed = True
        self.drain()
        self._threads.shutdown()

    def _run(self, key: Hashable) -> None:
        """Write one transaction of a lane, then queue the lane again."""
        with self._lock:
            lane = self._lanes[key]
            batch = _take_batch(lane, self._batching.fits_transaction)
        try:
            self._commit(batch)
        finally:
            # Whatever happened, the lane must go on.
            with self._lock:
                is_empty = not lane
                if is_empty:
                    del self._lanes[key]
                    self._is_idle.notify_all()
            if not is_empty:
                self._threads.submit(self._run, key)

    def _commit(self, batch: _Batch) -> None:
        """Write a batch and give every caller its outcomes or the error."""
        if not batch:
            return
        events = list(batch)
        reason = batch[events[0]][0].receipts.void_reason
        try:
            results = self._write(events) if reason is None else self._void(events, reason)
            outcomes = dict(zip(events, results, strict=True))
        except BaseException as exc:  # noqa: BLE001 - callers must get every error
            if not isinstance(exc, StoreUnavailable) and self._retry_each_caller(batch):
                return
            with self._lock:
                for entry in chain.from_iterable(batch.values()):
                    entry.receipts.fail(exc)
        else:
            with self._lock:
                counts = _settle(batch, outcomes, is_voiding=reason is not None)
            for outcome, number in counts.items():
                metrics.EVENTS.labels(outcome.value).inc(number)

    def _retry_each_caller(self, batch: _Batch) -> bool:
        """
        Write a refused batch again, one caller at a time: only the one at fault gets the error.

        Returns False, and nothing is written, if the batch has one caller.
        """
        batches: dict[int, _Batch] = {}
        for event, entries in batch.items():
            for entry in entries:
                batches.setdefault(id(entry.receipts), {}).setdefault(event, []).append(entry)
        if len(batches) == 1:
            return False
        for part in batches.values():
            self._commit(part)
        return True


def _take_batch(lane: deque[_Entry], fits: Callable[[int, int], bool]) -> _Batch:
    """Take entries that fit one transaction: all are ingested, or all voided for one reason."""
    batch: _Batch = {}
    void_reason: str | None = None
    types: set[str] = set()
    while lane:
        entry = lane[0]
        event = entry.event
        if entry.receipts.has_failed:
            # The caller has the error already and sends all of its events again.
            lane.popleft()
            continue
        if not batch:
            void_reason = entry.receipts.void_reason
        elif entry.receipts.void_reason != void_reason:
            break
        entries = batch.get(event)
        if entries is not None:
            # No store takes an event twice in one transaction: a repeated event shares the first.
            entries.append(entry)
        else:
            types.add(event.event_type)
            if not fits(len(batch) + 1, len(types)):
                break
            batch[event] = [entry]
        lane.popleft()
    return batch


def _settle(batch: _Batch, outcomes: dict[Event, Outcome], *, is_voiding: bool) -> Counter[Outcome]:
    """Give every entry of a batch its outcome; return how often each occurred."""
    repeated = _REPEATED_AFTER_VOID if is_voiding else _REPEATED_AFTER_WRITE
    counts: Counter[Outcome] = Counter()
    for event, entries in batch.items():
        outcome = outcomes[event]
        for entry in entries:
            entry.receipts.settle(entry.position, outcome)
            counts[outcome] += 1
            outcome = repeated.get(outcome, outcome)
    return counts
