"""Loading records into a sink: receipts, memory, failures in the middle, signals."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest

from events.errors import InvalidInput, StoreUnavailable
from events.ingest.interrupts import Interrupted, Interrupts
from events.ingest.load import LoadResult, Records, load
from events.ingest.reading import Numbered, Rejection
from events.ingest.writer import PendingReceipts
from events.models import Event, Outcome
from events.service import EventService
from tests.support.factories import Contents, event, expected_contents, many_events
from tests.support.sqlstore import MemoryStore, SpyStore


def numbered(events: Sequence[Event]) -> Iterator[Numbered]:
    return iter(enumerate(events, 1))


def ingest(
    records: Records,
    service: object,
    *,
    interrupts: Interrupts | None = None,
    on_rejection: Callable[[Rejection], None] = lambda _: None,
    on_progress: Callable[[LoadResult], None] = lambda _: None,
) -> tuple[LoadResult, Exception | None]:
    """The result without its time, and the exception."""
    result = LoadResult()
    problem: Exception | None = None
    try:
        load(
            records,
            cast("EventService | None", service),
            result,
            interrupts=interrupts or Interrupts(),
            on_rejection=on_rejection,
            on_progress=on_progress,
        )
    except (InvalidInput, Interrupted, StoreUnavailable) as exc:
        problem = exc
    assert result.seconds > 0
    result.seconds = 0
    return result, problem


def loaded(*, read: int, rejected: int = 0, inserted: int = 0, duplicates: int = 0) -> LoadResult:
    outcomes = {Outcome.INSERTED: inserted, Outcome.DUPLICATE: duplicates}
    return LoadResult(read, rejected, +Counter(outcomes))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def tables(store: MemoryStore) -> MemoryStore:
    """What `store` holds."""
    return store


@pytest.fixture
def failing_service(store: MemoryStore) -> Iterator[Callable[[int], EventService]]:
    """Makes a service whose store answers a number of writes and fails afterwards."""
    services = []

    def make(writes: int) -> EventService:
        left = iter(range(writes))

        def before(name: str) -> None:
            if name == "write" and next(left, None) is None:
                raise StoreUnavailable("gone")

        services.append(EventService(SpyStore(store, before), write_threads=1))
        return services[-1]

    yield make
    for service in services:
        service.drain()


# --- the result ------------------------------------------------------------------------------


def test_every_row_is_counted_in_the_result(service: EventService, tables: MemoryStore) -> None:
    events = many_events(2_345, customers=3)
    rejections = [Rejection(9_000 + number, "is bad", "row") for number in range(3)]
    again = list(enumerate(events[:100], 10_000))
    records: list[Numbered | Rejection] = [
        *rejections[:1],
        *enumerate(events, 1),
        *rejections[1:],
        *again,
    ]
    rejected: list[Rejection] = []
    shown: list[int] = []

    result, problem = ingest(
        iter(records),
        service,
        on_rejection=rejected.append,
        on_progress=lambda result: shown.append(result.read),
    )

    assert problem is None
    assert result == loaded(read=2_448, inserted=2_345, duplicates=100, rejected=3)
    assert rejected == rejections
    assert shown[:2] == [1_000, 2_000]
    assert shown[-1] == 2_448
    assert tables.contents() == expected_contents(events)


@pytest.mark.parametrize("number", [0, 1, 999, 1_000, 1_001, 2_000])
def test_any_number_of_rows_is_read_to_the_last(
    service: EventService, tables: MemoryStore, number: int
) -> None:
    events = many_events(number)

    result, problem = ingest(numbered(events), service)

    assert (result, problem) == (loaded(read=number, inserted=number), None)
    assert tables.contents() == expected_contents(events)


def test_without_a_sink_rows_are_only_read(tables: MemoryStore) -> None:
    rejection = Rejection(9, "is bad", "row")
    rejected: list[Rejection] = []

    result, problem = ingest(
        iter([(1, event()), rejection, (10, event())]), None, on_rejection=rejected.append
    )

    assert (result, problem) == (loaded(read=3, rejected=1), None)
    assert rejected == [rejection]
    assert tables.contents() == Contents()


def test_an_input_error_keeps_the_rows_before_it(
    service: EventService, tables: MemoryStore
) -> None:
    events = many_events(1_500)

    def records() -> Iterator[Numbered]:
        yield from numbered(events)
        raise InvalidInput("cut off")

    result, problem = ingest(records(), service)

    assert isinstance(problem, InvalidInput)
    assert str(problem) == "cut off"
    assert result == loaded(read=1_500, inserted=1_500)
    assert tables.contents() == expected_contents(events)


@pytest.mark.parametrize("writes", [0, 1])
def test_after_a_store_failure_the_result_is_what_is_stored(
    failing_service: Callable[[int], EventService], tables: MemoryStore, writes: int
) -> None:
    events = many_events(3_000, customers=50, hours=2)

    result, problem = ingest(numbered(events), failing_service(writes))

    contents = tables.contents()
    assert isinstance(problem, StoreUnavailable)
    assert str(problem) == "gone"
    assert result == loaded(read=result.read, inserted=len(contents.events))
    assert result.unknown > 0
    assert bool(result.outcomes) == (writes > 0)
    stored = set(contents.events)
    assert (
        contents.counters
        == expected_contents(
            e for e in events if expected_contents([e]).events[0] in stored
        ).counters
    )


def test_after_a_failure_the_rest_is_not_sent(
    store: MemoryStore,
) -> None:
    attempts = []

    def before(name: str) -> None:
        if name == "write":
            attempts.append(name)
            raise StoreUnavailable("gone")

    service = EventService(SpyStore(store, before), write_threads=1)
    _, problem = ingest(numbered(many_events(3_000, customers=500, hours=1)), service)
    service.drain()

    assert isinstance(problem, StoreUnavailable)
    # Hundreds of attempts in sequence would take hundreds of times the patience.
    assert len(attempts) < 10


# --- memory ------------------------------------------------------------------------


class RecordingService:
    """A sink that settles receipts when they are waited for."""

    def __init__(self) -> None:
        self.outstanding = 0
        self.submitted = 0

    def submit(self, events: Sequence[Event]) -> PendingReceipts:
        self.outstanding += 1
        self.submitted += len(events)
        return _LazyReceipts(len(events), self)

    def drop_waiting(self) -> None:
        raise AssertionError("nothing went wrong")

    def drain(self) -> None:
        raise AssertionError("nothing went wrong")


class _LazyReceipts(PendingReceipts):
    def __init__(self, size: int, service: RecordingService) -> None:
        super().__init__(size)
        self._service = service

    def wait(self, timeout_seconds: float | None = None) -> list[Outcome]:
        self._service.outstanding -= 1
        for index in range(len(self.outcomes)):
            self.settle(index, Outcome.INSERTED)
        return super().wait(timeout_seconds)


def test_at_most_forty_chunks_are_in_flight() -> None:
    service = RecordingService()
    outstanding: list[int] = []
    ahead: list[int] = []
    one = event()

    def records() -> Iterator[Numbered]:
        for line in range(1, 100_001):
            outstanding.append(service.outstanding)
            ahead.append(line - service.submitted)
            yield line, one

    result, problem = ingest(records(), service)

    assert (result, problem) == (loaded(read=100_000, inserted=100_000), None)
    assert max(outstanding) == 40
    # One chunk is read and not yet submitted.
    assert max(ahead) == 1_000
    assert service.outstanding == 0


# --- signals ---------------------------------------------------------------------------------


def test_a_signal_interrupts_the_wait_for_the_store() -> None:
    waited: list[int] = []

    class Hanging(PendingReceipts):
        def wait(self, timeout_seconds: float | None = None) -> list[Outcome]:
            signal.raise_signal(signal.SIGINT)
            assert timeout_seconds is None
            waited.append(len(self.outcomes))
            return []

    class Service(RecordingService):
        def submit(self, events: Sequence[Event]) -> PendingReceipts:
            return Hanging(len(events))

        def drop_waiting(self) -> None:
            pass

        def drain(self) -> None:
            pass

    with Interrupts() as interrupts:
        result, problem = ingest(numbered([event()]), Service(), interrupts=interrupts)

    assert isinstance(problem, Interrupted)
    assert result == loaded(read=1)
    assert waited == []


@pytest.mark.parametrize("is_reading", [False, True])
def test_after_a_signal_the_result_is_what_is_stored(
    service: EventService, tables: MemoryStore, *, is_reading: bool
) -> None:
    events = many_events(30_000, hours=24 * 5)

    def records() -> Iterator[Numbered]:
        for line, item in numbered(events):
            if is_reading and line == 5_500:
                signal.raise_signal(signal.SIGINT)
            yield line, item

    def show(result: LoadResult) -> None:
        if not is_reading and result.read == 5_000:
            signal.raise_signal(signal.SIGINT)

    with Interrupts() as interrupts:
        result, problem = ingest(records(), service, interrupts=interrupts, on_progress=show)

    contents = tables.contents()
    assert isinstance(problem, Interrupted)
    # The rows read of the next chunk are in the result, as unknown.
    read = 5_499 if is_reading else 5_000
    assert result == loaded(read=read, inserted=len(contents.events))
    assert result.outcomes.total() <= 5_000
    stored = set(contents.events)
    assert (
        contents.counters
        == expected_contents(
            e for e in events[:5_000] if expected_contents([e]).events[0] in stored
        ).counters
    )
