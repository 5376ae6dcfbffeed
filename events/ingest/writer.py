"""Events from many callers to full transactions, one at a time for each customer and day."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import chain

from events.errors import StoreRefused, StoreUnavailable
from events.models import MAX_ACTIONS, Event, Outcome
from events.telemetry import metrics

#: Customer, and day as a proleptic ordinal.
_LaneKey = tuple[str, int]


class Ticket:
    """
    What one `submit` is owed: the outcome of each of its events, in its order.

    `outcomes` holds None where nothing is known yet, or ever after a failure: such an event may
    be stored or not, and sending it again is safe.
    """

    def __init__(self, size: int, void_reason: str | None = None) -> None:
        #: Why its events are to be voided; None is an ingest.
        self.void_reason = void_reason
        self.outcomes: list[Outcome | None] = [None] * size
        self._left = size
        self._error: BaseException | None = None
        self._done = threading.Event()
        if not size:
            self._done.set()

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome]:
        """
        The outcomes, once every event is durable and counted; an error as soon as there is one.

        Args:
            timeout_seconds: After this, what still waits is not sent; None waits for ever.

        Raises:
            StoreUnavailable: Some events may not be stored; the same call again is safe.
            StoreRefused: The store will not take some of them.
        """
        if not self._done.wait(timeout_seconds):
            # Without the writer's lock: whatever it settles meanwhile is true as well.
            self.fail(StoreUnavailable("the store took too long"))
        if isinstance(self._error, (StoreUnavailable, StoreRefused)):
            # One of its own for each caller, who would else share its trace.
            raise type(self._error)(str(self._error)) from self._error
        if self._error is not None:
            raise self._error
        return [outcome for outcome in self.outcomes if outcome is not None]

    def is_done(self) -> bool:
        return self._done.is_set()

    # The writer calls these two under its lock.

    def settle(self, place: int, outcome: Outcome) -> None:
        self.outcomes[place] = outcome
        self._left -= 1
        if not self._left:
            self._done.set()

    def fail(self, error: BaseException) -> None:
        """The first error stands; what still waits is not sent, what is in flight is finished."""
        if self._error is None and self._left:
            self._error = error
            self._done.set()

    @property
    def has_failed(self) -> bool:
        return self._error is not None


_Entry = tuple[Event, Ticket, int]
#: The distinct events of one transaction, and who waits for each.
_Batch = dict[Event, list[_Entry]]
Write = Callable[[Sequence[Event]], list[Outcome]]
Void = Callable[[Sequence[Event], str], list[Outcome]]
#: Customers and days, `YYYY-MM-DD`.
Announce = Callable[[Sequence[tuple[str, str]]], None]

#: What a second event of the same transaction meets, by what became of the first.
_TWIN_OF_STORED = {Outcome.INSERTED: Outcome.DUPLICATE}
_TWIN_OF_VOIDED = {Outcome.VOIDED: Outcome.ALREADY_VOIDED}


class Writer:
    """
    Group commit. Safe to use from many threads.

    A counter item belongs to one customer and day, so transactions of one lane would conflict
    with each other and those of two lanes never do: lanes run at the same time, the transactions
    of one lane one after another. While one is in flight the lane fills, from however many
    callers, and the next takes all that fits.

    Args:
        write: Stores and counts distinct events of one customer and day, at most as many as
            `MAX_ACTIONS` allows; see `Store.write`.
        void: The same, to take them out of the counts; see `Store.void`.
        threads: Transactions in flight at a time.
        announce: Told of days that will be written soon, in that order, where there are several.
    """

    def __init__(
        self, write: Write, void: Void, *, threads: int, announce: Announce = lambda _: None
    ) -> None:
        self._write = write
        self._void = void
        self._announce = announce
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._lock = threading.Lock()
        self._is_idle = threading.Condition(self._lock)
        #: What waits of each customer and day; there while it waits or is in flight.
        self._lanes: dict[_LaneKey, deque[_Entry]] = {}
        self._is_closed = False

    def submit(self, events: Sequence[Event], *, void_reason: str | None = None) -> Ticket:
        """
        Take events in; an event that comes twice is a duplicate the second time.

        Args:
            void_reason: Void them for this reason; None stores and counts them.

        Returns:
            At once; its `wait` returns after the last of the events is durable and counted.

        Raises:
            RuntimeError: The writer is closed.
        """
        ticket = Ticket(len(events), void_reason)
        started: list[_LaneKey] = []
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the writer is closed")
            lanes = self._lanes
            for place, event in enumerate(events):
                key = (event.customer_id, event.timestamp.toordinal())
                lane = lanes.get(key)
                if lane is None:
                    lane = lanes[key] = deque()
                    started.append(key)
                lane.append((event, ticket, place))
        if len(started) > 1:
            self._announce([(name, date.fromordinal(day).isoformat()) for name, day in started])
        for key in started:
            self._threads.submit(self._run, key)
        return ticket

    def drop_waiting(self) -> None:
        """Fail every ticket that has events which are not in flight yet; those are not sent."""
        error = StoreUnavailable("stopped before everything was sent")
        with self._lock:
            for lane in self._lanes.values():
                for _, ticket, _ in lane:
                    ticket.fail(error)
                lane.clear()

    def drain(self) -> None:
        """Return when nothing waits and nothing is in flight."""
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._lanes)

    def close(self) -> None:
        """Take nothing more in, write what is waiting, then end the threads."""
        with self._lock:
            self._is_closed = True
        self.drain()
        self._threads.shutdown()

    def _run(self, key: _LaneKey) -> None:
        """Write one transaction of a lane, and line up for the next."""
        with self._lock:
            lane = self._lanes[key]
            batch = _take(lane)
        try:
            self._commit(batch)
        finally:
            # Whatever happened, the lane must go on.
            with self._lock:
                is_over = not lane
                if is_over:
                    del self._lanes[key]
                    self._is_idle.notify_all()
            if not is_over:
                self._threads.submit(self._run, key)

    def _commit(self, batch: _Batch) -> None:
        """Write a batch, and tell all who wait for it."""
        if not batch:
            return
        events = list(batch)
        reason = batch[events[0]][0][1].void_reason
        try:
            found = self._write(events) if reason is None else self._void(events, reason)
            outcomes = dict(zip(events, found, strict=True))
        except BaseException as exc:  # noqa: BLE001 - whatever it is, callers must hear of it
            parts = _parted(batch)
            if len(parts) > 1 and not isinstance(exc, StoreUnavailable):
                # Something in one caller's events, of which the others must not hear.
                for part in parts:
                    self._commit(part)
                return
            with self._lock:
                for _, ticket, _ in chain.from_iterable(batch.values()):
                    ticket.fail(exc)
        else:
            with self._lock:
                receipts = _settle(batch, outcomes, is_voiding=reason is not None)
            for outcome, number in receipts.items():
                metrics.EVENTS.labels(outcome.value).inc(number)


def _take(waiting: deque[_Entry]) -> _Batch:
    """Take what fits one transaction and is either all to be stored or all to be voided alike."""
    batch: _Batch = {}
    void_reason: str | None = None
    counters: set[str | None] = {None}
    while waiting:
        entry = waiting[0]
        event, ticket, _ = entry
        if ticket.has_failed:
            # Its caller has the error already, and sends all of it again.
            waiting.popleft()
            continue
        if not batch:
            void_reason = ticket.void_reason
        elif ticket.void_reason != void_reason:
            break
        if event in batch:
            # DynamoDB refuses one item twice in a transaction; the twin shares the first's fate.
            batch[event].append(entry)
        else:
            event_type = event.event_type
            more = 1 if event_type in counters else 2
            if len(batch) + len(counters) + more > MAX_ACTIONS:
                break
            counters.add(event_type)
            batch[event] = [entry]
        waiting.popleft()
    return batch


def _parted(batch: _Batch) -> list[_Batch]:
    """A batch as one for each caller; what several sent is in the batch of each."""
    parts: dict[int, _Batch] = {}
    for event, entries in batch.items():
        for entry in entries:
            parts.setdefault(id(entry[1]), {}).setdefault(event, []).append(entry)
    return list(parts.values())


def _settle(batch: _Batch, outcomes: dict[Event, Outcome], *, is_voiding: bool) -> Counter[Outcome]:
    """Tell all who wait for a batch; returns how many receipts of each kind there were."""
    twin_of = _TWIN_OF_VOIDED if is_voiding else _TWIN_OF_STORED
    receipts: Counter[Outcome] = Counter()
    for event, entries in batch.items():
        (_, first, first_place), *twins = entries
        outcome = outcomes[event]
        first.settle(first_place, outcome)
        receipts[outcome] += 1
        twin = twin_of.get(outcome, outcome)
        for _, ticket, place in twins:
            ticket.settle(place, twin)
            receipts[twin] += 1
    return receipts
