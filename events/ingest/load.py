"""Load the rows of a file into a sink: every row gets a receipt, and memory stays flat."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from events.errors import InvalidInput
from events.ingest.interrupts import Interrupted, Interrupts
from events.ingest.reading import Numbered, Rejection
from events.ingest.writer import PendingReceipts
from events.models import Event, Outcome

#: Rows that are read, then submitted, together.
_CHUNK_ROWS = 1_000
#: A chunk from a slow input is submitted after this time, at its next row.
_CHUNK_SECONDS = 1.0
#: Chunks in flight: enough to fill a transaction while another one is written, and the only memory
#: that a load needs.
_MAX_CHUNKS_AHEAD = 40

Records = Iterator[Numbered | Rejection]


class Sink(Protocol):
    """Where events go: the store or Kafka."""

    def check(self) -> None:
        """Raise an `EventsError` if the sink is not available."""

    def ingest(
        self, events: Sequence[Event], *, timeout_seconds: float | None = None
    ) -> list[Outcome]:
        """
        Return the outcome of each event, in order, once all events are durable.

        Raises:
            StoreUnavailable: Some events may not be durable; the same call again is safe.
            StoreRefused: Some events can never be stored.
        """

    def submit(self, events: Sequence[Event]) -> PendingReceipts:
        """Start to write events."""

    def drop_waiting(self) -> None:
        """Discard events that are submitted but not yet in flight; their receipts fail."""

    def drain(self) -> None:
        """Wait until every submitted event has its outcome."""


@dataclass(slots=True)
class LoadResult:
    """
    The receipts of one load, counted.

    After a whole load `read` is the sum of `rejected` and all `outcomes`. After a load that was
    stopped, `unknown` rows are left: they were read, and may or may not be written.
    """

    read: int = 0
    rejected: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, receipts: PendingReceipts) -> None:
        """Count the outcomes that are known so far."""
        self.outcomes.update(outcome for outcome in receipts.outcomes if outcome is not None)

    @property
    def unknown(self) -> int:
        return self.read - self.rejected - self.outcomes.total()


def load(
    records: Records,
    sink: Sink | None,
    result: LoadResult,
    *,
    interrupts: Interrupts,
    on_rejection: Callable[[Rejection], None],
    on_progress: Callable[[LoadResult], None],
) -> None:
    """
    Write the events of an input.

    Args:
        sink: None reads and checks every row, and writes nothing.
        result: Updated during the load, so that it is correct after an error too: it counts only
            outcomes that are known.
        on_progress: Called after each chunk that was read, and after each that was written.

    Raises:
        InvalidInput: Reading stopped before the end; all rows before that are written.
        Interrupted: A signal came; what was in flight is written, the rest was not sent.
        StoreUnavailable: Some events may not be written; running the same load again is safe.
        StoreRefused: The store does not accept some events.
    """
    begin = time.monotonic()
    ahead: deque[PendingReceipts] = deque()
    problem: InvalidInput | Interrupted | None = None
    is_more = True
    try:
        while is_more:
            chunk: list[Numbered | Rejection] = []
            until = time.monotonic() + _CHUNK_SECONDS
            try:
                with interrupts.waiting():
                    for record in islice(records, _CHUNK_ROWS):
                        chunk.append(record)  # one by one, to keep the rows before an error
                        if time.monotonic() > until:
                            break
                    else:
                        is_more = len(chunk) == _CHUNK_ROWS
            except (InvalidInput, Interrupted) as exc:
                problem = exc
                is_more = False
            events = []
            for record in chunk:
                if isinstance(record, Rejection):
                    on_rejection(record)
                else:
                    events.append(record[1])
            result.read += len(chunk)
            result.rejected += len(chunk) - len(events)
            if isinstance(problem, Interrupted):
                break  # these events are not sent: the result has them as unknown
            if sink is not None:
                ahead.append(sink.submit(events))
                while len(ahead) > (_MAX_CHUNKS_AHEAD if is_more else 0):
                    with interrupts.waiting():
                        ahead[0].wait()
                    result.add(ahead.popleft())
                    result.seconds = time.monotonic() - begin
                    on_progress(result)
            result.seconds = time.monotonic() - begin
            on_progress(result)
    finally:
        if ahead and sink is not None:
            sink.drop_waiting()
            sink.drain()
            for receipts in ahead:
                result.add(receipts)
        result.seconds = time.monotonic() - begin
    if problem is not None:
        raise problem
