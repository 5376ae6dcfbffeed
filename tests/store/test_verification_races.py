"""Recounts while others write, on every store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from events import verification
from events.models import Difference, Event, Verification
from events.service import Store
from tests.store.recounts import DAMAGES, EVENTS, difference, held, verify, wrong_total
from tests.support.backdoor import Subject
from tests.support.factories import DAY_ZERO, HOUR, HOUR_ZERO, Contents, event, expected_contents
from tests.support.sqlstore import MemoryStore, SpyStore

__all__ = ["held"]


def test_a_counter_that_changes_before_its_repair_is_kept(held: Subject) -> None:
    late = event("late", event_type="login", timestamp=HOUR_ZERO + 5 * HOUR)

    def write_late(name: str) -> None:
        if name == "repair" and "write" not in spy.names():
            spy.write([late])

    spy = SpyStore(held.store, write_late)
    held.tables.set_counter("acme", DAY_ZERO, None, {0: 1, 5: 40})
    reported: list[Difference] = []
    result = verify(spy, is_repairing=True, on_difference=reported.append)
    # The first attempt had no effect: the counter was 41 by then, and 3 was out of date.
    assert spy.names().count("repair") == 2
    assert result == Verification(
        customers=1, days=2, events=5, differences=(difference(5, None, 40, 3),), repaired=1
    )
    assert reported == [difference(5, None, 40, 3)]
    assert held.tables.contents() == expected_contents([*EVENTS, late])


def disturbed(store: Store, moments: tuple[int, ...]) -> SpyStore:
    """The store, with a new event written just before these calls, counted from 1."""

    def write(_: str) -> None:
        number = len(spy.calls)
        if number in moments:
            name = f"new-{moments}-{number}"
            store.write([event(name, timestamp=HOUR_ZERO + 5 * HOUR)])

    spy = SpyStore(store, write)
    return spy


def test_a_write_between_any_two_reads_is_not_a_difference(held: Subject) -> None:
    # Customers, counters, events, counters, registry; and after a change the day again.
    moments = [(first, first + more) for first in range(1, 8) for more in range(6)]
    for each in moments:
        spy = disturbed(held.store, each)
        result = verify(spy)
        assert (result.differences, result.unsettled) == ((), ())
        assert len(spy.calls) >= 7
    # Most writes happened before some call.
    assert verify(held.store).events > 5 + 1.5 * len(moments)


class HalfSeen(SpyStore):
    """Shows an event in the first reads that is not counted yet, like a commit in progress."""

    def __init__(self, store: Store, reads: int) -> None:
        super().__init__(store)
        self._reads = reads

    def _early(self) -> Iterator[Event]:
        self._reads -= 1
        if self._reads >= 0:
            yield event("early", timestamp=HOUR_ZERO)

    def counted_events(self, *args: Any, **options: Any) -> Iterator[Event]:
        yield from self._early()
        yield from self._store.counted_events(*args, **options)


def test_a_difference_needs_two_recounts(held: Subject) -> None:
    before = held.tables.contents()
    for reads in (1, 2):
        result = verify(HalfSeen(held.store, reads), is_repairing=True)
        assert (result.differences, result.unsettled, result.repaired) == ((), (), 0)
    assert held.tables.contents() == before
    # Two recounts of the day in a row that show the same are a difference.
    assert verify(HalfSeen(held.store, 3)).differences == (
        difference(0, None, 1, 2),
        difference(0, "api_call", 0, 1),
    )


def test_a_day_whose_counters_always_change_is_unsettled(held: Subject) -> None:
    numbers = iter(range(1_000))

    def write(name: str) -> None:
        if name in ("counted_events",):
            held.store.write([event(f"more-{next(numbers)}", timestamp=HOUR_ZERO + HOUR)])

    reported: list[Difference] = []
    spy = SpyStore(held.store, write)
    result = verify(spy, is_repairing=True, on_difference=reported.append)
    assert result.unsettled == (("acme", DAY_ZERO),)
    assert not result.is_equal
    assert (result.differences, result.repaired, reported) == ((), 0, [])
    assert verify(held.store).is_equal


def test_a_difference_in_an_hour_that_always_changes_is_unsettled(held: Subject) -> None:
    wrong_total(held)
    numbers = iter(range(1_000))

    def write(name: str) -> None:
        if name == "counted_events":
            held.store.write([event(f"more-{next(numbers)}", timestamp=HOUR_ZERO + 5 * HOUR)])

    result = verify(SpyStore(held.store, write), is_repairing=True)
    assert (result.unsettled, result.differences, result.repaired) == ((("acme", DAY_ZERO),), (), 0)
    assert not verify(held.store).is_equal


@pytest.mark.parametrize("is_repairing", [False, True])
def test_a_quiet_hour_is_judged_while_another_always_changes(
    held: Subject, *, is_repairing: bool
) -> None:
    wrong_total(held)
    numbers = iter(range(1_000))

    def write(name: str) -> None:
        # Not during the first recount, which is of all days.
        if name == "counted_events" and spy.names().count(name) > 1:
            held.store.write([event(f"more-{next(numbers)}", timestamp=HOUR_ZERO + 9 * HOUR)])

    spy = SpyStore(held.store, write)
    result = verify(spy, is_repairing=is_repairing)
    assert (result.differences, result.unsettled) == (DAMAGES[wrong_total], ())
    assert verify(held.store).is_equal is is_repairing


def test_a_counter_that_changes_before_each_repair_is_unsettled() -> None:
    memory = MemoryStore()
    memory.write([event()])
    memory.set_counter("acme", DAY_ZERO, None, {0: 99})
    numbers = iter(range(50, 60))

    def spoil(name: str) -> None:
        if name == "repair":
            memory.set_counter("acme", DAY_ZERO, None, {0: next(numbers)})

    reported: list[Difference] = []
    result = verify(SpyStore(memory, spoil), is_repairing=True, on_difference=reported.append)
    assert reported == [difference(0, None, 99, 1)]
    assert result == Verification(
        customers=1, days=1, events=1, differences=tuple(reported), unsettled=(("acme", DAY_ZERO),)
    )
    assert memory.contents().counters["acme", "total#2021-03-01"] == {"h00": next(numbers) - 1}


def test_each_repair_needs_two_recounts_of_its_own() -> None:
    memory = MemoryStore()
    memory.write([event()])
    memory.set_counter("acme", DAY_ZERO, None, {0: 99})
    numbers = iter([50])

    def spoil_once(name: str) -> None:
        if name == "repair":
            for number in numbers:
                memory.set_counter("acme", DAY_ZERO, None, {0: number})

    spy = SpyStore(memory, spoil_once)
    result = verify(spy, is_repairing=True)
    recounts = [name for name in spy.names() if name in ("counted_events", "repair")]
    # The changed counter is a new difference, which needs recounts of its own.
    recount = "counted_events"
    # The first recount is of all days.
    assert recounts[1:] == [recount, recount, "repair", recount, recount, "repair", recount]
    assert (result.repaired, result.unsettled) == (1, ())


def test_a_customer_erased_after_its_recount_is_not_registered_again() -> None:
    memory = MemoryStore()
    memory.write([event()])

    def erase(name: str) -> None:
        if name == "is_listed":
            memory.erase("acme", max_events=10)

    found = verify(SpyStore(memory, erase), is_repairing=True)
    assert found == Verification(customers=1, days=1, events=1)
    assert memory.contents() == expected_contents([])


def test_the_pauses_between_recounts_grow() -> None:
    memory = MemoryStore()
    memory.write([event()])
    numbers = iter(range(1_000))
    spy = SpyStore(
        memory,
        lambda name: (
            memory.set_counter("acme", DAY_ZERO, None, {0: next(numbers)})
            if name == "counted_events"
            else None
        ),
    )
    memory.set_counter("acme", DAY_ZERO, None, {0: 99})
    pauses: list[float] = []
    verification.verify(spy, sleep=pauses.append)
    assert pauses == sorted(set(pauses))
    assert len(pauses) > 3


def test_the_back_door_shows_the_contents() -> None:
    """If it showed nothing, every other test would pass."""
    memory = MemoryStore()
    assert memory.contents() == Contents()
    memory.write(EVENTS[:2])
    assert memory.contents() == expected_contents(EVENTS[:2])
    memory.set_counter("acme", DAY_ZERO, None, {0: 5})
    assert memory.contents() != expected_contents(EVENTS[:2])
