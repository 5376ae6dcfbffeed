"""A recording `write` for a Writer, and a Writer that is closed within a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from events.dynamodb import expressions
from events.ingest.writer import Void, Write, Writer
from events.models import Event, Outcome

#: Nothing here takes time; give up on a hang after this long.
PATIENCE_SECONDS = 60


class Recorder:
    """A `write` that stores nothing, records each batch, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.fails_on: dict[Event, BaseException] = {}

    def __call__(self, events: Sequence[Event]) -> list[Outcome]:
        self.batches.append(list(events))
        self.started.release()
        assert self.gate.wait(PATIENCE_SECONDS)
        for each in events:
            if each in self.fails_on:
                raise self.fails_on[each]
        return [Outcome.INSERTED] * len(events)

    def hold(self) -> None:
        self.gate.clear()

    def release(self) -> None:
        self.gate.set()

    def wait_until_started(self) -> None:
        assert self.started.acquire(timeout=PATIENCE_SECONDS)


class DynamoDBBatching:
    """Batches as DynamoDB's store makes them; nothing comes before a transaction."""

    lane_of = staticmethod(expressions.lane_of)
    fits_transaction = staticmethod(expressions.fits_transaction)

    def expect(self, events: Sequence[Event]) -> None:
        pass


@contextmanager
def writing(
    write: Write, void: Void = lambda events, _: [Outcome.VOIDED] * len(events), *, threads: int = 4
) -> Iterator[Writer]:
    writer = Writer(write, void, DynamoDBBatching(), threads=threads)
    try:
        yield writer
    finally:
        # Closing waits for receipts that never come; not forever.
        closing = in_thread(writer.close)
        closing.join(PATIENCE_SECONDS)
        assert not closing.is_alive(), "something waits forever"


def no_void(events: Sequence[Event], reason: str) -> list[Outcome]:
    raise AssertionError(f"unexpected void {events} ({reason})")


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread
