"""What a recount finds, and mends: the same tests on the fake in memory and on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from events import verification
from events.domain.windows import EARLIEST, LATEST
from events.models import Difference, Event, Verification, Window
from events.service import EventService, Store
from tests.support.factories import (
    DAY,
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    MICROSECOND,
    Contents,
    days_of,
    event,
    expected_contents,
    many_events,
)
from tests.support.fakes import MemoryStore, SpyStore, Subject

#: Two hours of two days: on the first a login at 00, a login and two calls at 05.
EVENTS = [
    event("t-1", event_type="login"),
    event("t-2", event_type="login", timestamp=HOUR_ZERO + 5 * HOUR),
    event("t-3", event_type="call", timestamp=HOUR_ZERO + 5 * HOUR),
    event("t-4", event_type="call", timestamp=HOUR_ZERO + 6 * HOUR - MICROSECOND),
    event("t-5", event_type="call", timestamp=HOUR_ZERO + DAY),
]
CLEAN = Verification(customers=1, days=2, events=5)
NEXT_DAY = "2021-03-02"


@pytest.fixture(autouse=True)
def _events(subject: Subject) -> None:
    """Every store here holds `EVENTS`."""
    for group in days_of(EVENTS):
        subject.store.write(group)


def verify(
    store: Store,
    *,
    customer_id: str | None = None,
    window: Window | None = None,
    is_repairing: bool = False,
    on_difference: Callable[[Difference], None] = lambda _: None,
) -> Verification:
    """Without the pauses."""
    return verification.verify(
        store,
        customer_id=customer_id,
        window=window,
        is_repairing=is_repairing,
        on_difference=on_difference,
        sleep=lambda _: None,
    )


def difference(
    hour: int,
    event_type: str | None,
    counter: int,
    recount: int,
    *,
    customer_id: str = "acme",
) -> Difference:
    return Difference(
        customer_id, HOUR_ZERO + hour * HOUR, event_type, counter=counter, recount=recount
    )


# --- what is found --------------------------------------------------------------------------------


def test_what_the_service_wrote_is_found_right(subject: Subject) -> None:
    assert verify(subject.store) == CLEAN
    assert CLEAN.is_equal


def test_nothing_is_found_in_empty_tables() -> None:
    assert verify(MemoryStore()) == Verification()


def test_every_customer_and_day_is_looked_at(subject: Subject) -> None:
    others = many_events(60, customers=3, hours=100)
    for group in days_of(others):
        subject.store.write(group)
    days = {(each.customer_id, each.timestamp.date()) for each in [*EVENTS, *others]}
    assert verify(subject.store) == Verification(customers=4, days=len(days), events=65)


def wrong_total(tables_of: Subject) -> None:
    tables_of.tables.set_counter("acme", DAY_ZERO, None, {0: 1, 5: 4})


def wrong_type(tables_of: Subject) -> None:
    tables_of.tables.set_counter("acme", DAY_ZERO, "call", {4: 1, 5: 1})


def total_without_events(tables_of: Subject) -> None:
    tables_of.tables.set_counter("acme", "2021-03-05", None, {0: 7})


def type_without_events(tables_of: Subject) -> None:
    tables_of.tables.set_counter("acme", DAY_ZERO, "a#b-c%", {23: 7})


def event_without_counters(tables_of: Subject) -> None:
    tables_of.tables.put_event(event("t-6", event_type="new", timestamp=HOUR_ZERO + 9 * HOUR))


def counters_without_event(tables_of: Subject) -> None:
    tables_of.tables.drop_event(EVENTS[0])


def lost_total(tables_of: Subject) -> None:
    tables_of.tables.drop_counter("acme", NEXT_DAY, None)


def lost_type(tables_of: Subject) -> None:
    tables_of.tables.drop_counter("acme", DAY_ZERO, "call")


def negative_total(tables_of: Subject) -> None:
    tables_of.tables.set_counter("acme", NEXT_DAY, None, {0: -1})


def types_mixed_up(tables_of: Subject) -> None:
    """The totals are right, and so is the sum of the types."""
    tables_of.tables.set_counter("acme", DAY_ZERO, "call", {5: 1})
    tables_of.tables.set_counter("acme", DAY_ZERO, "login", {0: 1, 5: 2})


#: What is done to the tables, and the differences that it makes.
DAMAGES: dict[Callable[[Subject], None], tuple[Difference, ...]] = {
    wrong_total: (difference(5, None, 4, 3),),
    wrong_type: (difference(4, "call", 1, 0), difference(5, "call", 1, 2)),
    total_without_events: (difference(96, None, 7, 0),),
    type_without_events: (difference(23, "a#b-c%", 7, 0),),
    event_without_counters: (difference(9, None, 0, 1), difference(9, "new", 0, 1)),
    counters_without_event: (difference(0, None, 1, 0), difference(0, "login", 1, 0)),
    lost_total: (difference(24, None, 0, 1),),
    lost_type: (difference(5, "call", 0, 2),),
    negative_total: (difference(24, None, -1, 1),),
    types_mixed_up: (difference(5, "call", 1, 2), difference(5, "login", 2, 1)),
}
EVENTS_AFTER: dict[Callable[[Subject], None], int] = {
    event_without_counters: 6,
    counters_without_event: 4,
}
DAYS_AFTER: dict[Callable[[Subject], None], int] = {total_without_events: 3}


def found_after(damage: Callable[[Subject], None]) -> Verification:
    return Verification(
        customers=1,
        days=DAYS_AFTER.get(damage, 2),
        events=EVENTS_AFTER.get(damage, 5),
        differences=DAMAGES[damage],
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_difference_is_found_and_told_once(
    subject: Subject, damage: Callable[[Subject], None]
) -> None:
    damage(subject)
    before = subject.tables.contents()
    told: list[Difference] = []
    found = verify(subject.store, on_difference=told.append)
    assert found == found_after(damage)
    assert not found.is_equal
    assert told == list(DAMAGES[damage])
    assert subject.tables.contents() == before, "a look must not touch"


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_difference_is_mended(subject: Subject, damage: Callable[[Subject], None]) -> None:
    damage(subject)
    told: list[Difference] = []
    found = verify(subject.store, is_repairing=True, on_difference=told.append)
    # One counter item holds all the hours of a day that differ.
    items = {(each.hour.date(), each.event_type) for each in DAMAGES[damage]}
    assert found == replace(found_after(damage), repaired=len(items))
    assert told == list(DAMAGES[damage])
    again = verify(subject.store)
    assert (again.differences, again.unsettled, again.repaired) == ((), (), 0)
    kept = subject.tables.contents()
    # Counters that were put to nothing may stay behind.
    counters = {key: hours for key, hours in kept.counters.items() if hours}
    stored = [each for each in subject.store.counted_events("acme") if isinstance(each, Event)]
    assert replace(kept, counters=counters) == expected_contents(stored)


def test_differences_of_many_days_and_customers_are_found_and_mended_at_once(
    subject: Subject,
) -> None:
    subject.store.write([event("t-1", customer_id="another", event_type="call")])
    subject.tables.set_counter("acme", DAY_ZERO, None, {0: 2, 5: 3})
    subject.tables.set_counter("acme", NEXT_DAY, "call", {0: 9})
    subject.tables.set_counter("another", DAY_ZERO, None, {7: 1})
    expected = {
        difference(0, None, 2, 1),
        difference(24, "call", 9, 1),
        difference(0, None, 0, 1, customer_id="another"),
        difference(7, None, 1, 0, customer_id="another"),
    }
    found = verify(subject.store, is_repairing=True)
    assert (set(found.differences), len(found.differences)) == (expected, 4)
    assert (found.customers, found.days, found.events, found.repaired) == (2, 3, 6, 3)
    assert verify(subject.store) == Verification(customers=2, days=3, events=6)


def test_a_customer_with_events_that_is_not_listed_is_found_and_listed(subject: Subject) -> None:
    subject.tables.unlist("acme")
    expected = replace(CLEAN, unlisted=("acme",))
    assert verify(subject.store) == expected
    assert not expected.is_equal
    assert not subject.store.is_listed("acme")
    assert verify(subject.store, is_repairing=True) == replace(expected, repaired=1)
    assert subject.store.customers(prefix="", after=None, limit=10) == ["acme"]
    assert verify(subject.store) == CLEAN


def test_a_customer_that_is_listed_and_has_no_events_is_all_right(subject: Subject) -> None:
    subject.store.register("nobody")
    assert verify(subject.store) == CLEAN


def test_a_customer_of_which_only_events_or_only_counters_are_left_is_found(
    subject: Subject,
) -> None:
    subject.tables.put_event(event("t-1", customer_id="only-events", event_type="call"))
    subject.tables.set_counter("only-counters", DAY_ZERO, None, {3: 2})
    found = verify(subject.store, is_repairing=True)
    assert set(found.differences) == {
        difference(0, None, 0, 1, customer_id="only-events"),
        difference(0, "call", 0, 1, customer_id="only-events"),
        difference(3, None, 2, 0, customer_id="only-counters"),
    }
    assert (found.customers, found.unlisted, found.repaired) == (3, ("only-events",), 4)
    again = verify(subject.store)
    assert (again.differences, again.unlisted, again.repaired) == ((), (), 0)


@pytest.mark.parametrize(
    "key", ["restored by hand", "2021-03-01T00:00:00.000000Z-a%b-t-1", "zzz", "2021-03-01"]
)
def test_an_item_that_is_no_event_is_named_and_left_alone(subject: Subject, key: str) -> None:
    subject.tables.put_foreign("acme", key)
    before = subject.tables.contents()
    for is_repairing in (False, True):
        found = verify(subject.store, is_repairing=is_repairing)
        assert found == replace(CLEAN, foreign=(("acme", key),))
        assert not found.is_equal
    assert subject.tables.contents() == before


def test_an_item_that_is_no_event_is_named_once_on_a_day_that_differs(subject: Subject) -> None:
    key = "2021-03-01T00:00:00.000000Z-a%b-t-1"
    subject.tables.put_foreign("acme", key)
    wrong_total(subject)
    found = verify(subject.store, is_repairing=True)
    assert found == replace(found_after(wrong_total), foreign=(("acme", key),), repaired=1)


def test_an_item_that_no_event_can_be_does_not_end_the_verification(subject: Subject) -> None:
    key = "0001-01-01T00:00:00.0+14:00-call-t-1"
    subject.tables.put_foreign("acme", key)
    assert verify(subject.store) == replace(CLEAN, foreign=(("acme", key),))


# --- where it looks -------------------------------------------------------------------------------


def test_only_the_customer_asked_for_is_looked_at(subject: Subject) -> None:
    subject.store.write([event("t-1", customer_id="another")])
    subject.tables.set_counter("another", DAY_ZERO, None, {0: 5})
    assert verify(subject.store, customer_id="acme") == CLEAN
    assert verify(subject.store, customer_id="another").differences == (
        difference(0, None, 5, 1, customer_id="another"),
    )
    assert verify(subject.store, customer_id="nobody") == Verification(customers=1)


@pytest.mark.parametrize(
    ("window", "days", "events", "is_found"),
    [
        (Window(HOUR_ZERO, HOUR_ZERO + DAY), 1, 4, True),
        # An instant of the day is enough for the whole of it.
        (Window(HOUR_ZERO + 7 * HOUR, HOUR_ZERO + 7 * HOUR + MICROSECOND), 1, 4, True),
        (Window(HOUR_ZERO + DAY - MICROSECOND, HOUR_ZERO + DAY), 1, 4, True),
        (Window(HOUR_ZERO + DAY - MICROSECOND, HOUR_ZERO + DAY + MICROSECOND), 2, 5, True),
        (Window(HOUR_ZERO + DAY, HOUR_ZERO + 2 * DAY), 1, 1, False),
        (Window(HOUR_ZERO - DAY, HOUR_ZERO), 0, 0, False),
        (Window(HOUR_ZERO + 2 * DAY, LATEST), 0, 0, False),
        (Window(EARLIEST, HOUR_ZERO), 0, 0, False),
        (Window(EARLIEST, LATEST), 2, 5, True),
    ],
)  # fmt: skip
def test_a_window_restricts_it_to_the_days_that_it_touches(
    subject: Subject, window: Window, days: int, events: int, is_found: bool
) -> None:
    wrong_total(subject)
    # Neither of these days, nor a time at all.
    subject.tables.put_foreign("acme", "zzz")
    differences = DAMAGES[wrong_total] if is_found else ()
    expected = Verification(customers=1, days=days, events=events, differences=differences)
    assert verify(subject.store, window=window) == expected


def test_a_window_mends_only_the_days_that_it_touches(subject: Subject) -> None:
    subject.tables.set_counter("acme", DAY_ZERO, None, {0: 9})
    subject.tables.set_counter("acme", NEXT_DAY, None, {0: 9})
    window = Window(HOUR_ZERO + DAY, HOUR_ZERO + DAY + HOUR)
    found = verify(subject.store, window=window, is_repairing=True)
    assert (found.differences, found.repaired) == ((difference(24, None, 9, 1),), 1)
    assert verify(subject.store).differences == (
        difference(0, None, 9, 1),
        difference(5, None, 0, 3),
    )


def test_the_first_and_the_last_day_there_is_are_looked_at(subject: Subject) -> None:
    ends = [event("t-1", timestamp=EARLIEST), event("t-2", timestamp=LATEST)]
    for each in ends:
        subject.store.write([each])
    assert verify(subject.store) == Verification(customers=1, days=4, events=7)
    for window in (Window(EARLIEST, EARLIEST + HOUR), Window(LATEST - HOUR, LATEST)):
        assert verify(subject.store, window=window) == Verification(customers=1, days=1, events=1)
    subject.tables.set_counter("acme", "9999-12-31", None, {23: 8})
    found = verify(subject.store, is_repairing=True)
    assert [(each.counter, each.recount) for each in found.differences] == [(8, 1)]
    assert verify(subject.store).is_equal


def test_the_service_verifies_and_mends(subject: Subject) -> None:
    wrong_total(subject)
    service = EventService(subject.store, write_threads=1)
    told: list[Difference] = []
    found = service.verify(
        customer_id="acme",
        window=Window(HOUR_ZERO, HOUR_ZERO + 2 * DAY),
        is_repairing=True,
        on_difference=told.append,
    )
    assert found == replace(found_after(wrong_total), repaired=1)
    assert told == list(DAMAGES[wrong_total])
    assert service.verify() == CLEAN
    service.close()


# --- while others write ---------------------------------------------------------------------------


def test_a_counter_that_moves_before_its_repair_is_not_overwritten(subject: Subject) -> None:
    late = event("late", event_type="login", timestamp=HOUR_ZERO + 5 * HOUR)

    def write_late(name: str) -> None:
        if name == "repair" and "write" not in spy.names():
            spy.write([late])

    spy = SpyStore(subject.store, write_late)
    subject.tables.set_counter("acme", DAY_ZERO, None, {0: 1, 5: 40})
    told: list[Difference] = []
    found = verify(spy, is_repairing=True, on_difference=told.append)
    # The first attempt was of no effect: the counter had gone on to 41, and 3 was out of date.
    assert spy.names().count("repair") == 2
    assert found == Verification(
        customers=1, days=2, events=5, differences=(difference(5, None, 40, 3),), repaired=1
    )
    assert told == [difference(5, None, 40, 3)]
    assert subject.tables.contents() == expected_contents([*EVENTS, late])


def disturbed(store: Store, moments: tuple[int, ...]) -> SpyStore:
    """The store with a new event just before these calls, counted from 1."""

    def write(_: str) -> None:
        number = len(spy.calls)
        if number in moments:
            name = f"new-{moments}-{number}"
            store.write([event(name, timestamp=HOUR_ZERO + 5 * HOUR)])

    spy = SpyStore(store, write)
    return spy


def test_a_write_between_any_two_reads_is_no_difference(subject: Subject) -> None:
    # The listing, the counters, the events, the counters, the registry; and once something has
    # moved, the day again.
    moments = [(first, first + more) for first in range(1, 8) for more in range(6)]
    for each in moments:
        spy = disturbed(subject.store, each)
        found = verify(spy)
        assert (found.differences, found.unsettled) == ((), ())
        assert len(spy.calls) >= 7
    # Most of them came before a call that there was.
    assert verify(subject.store).events > 5 + 1.5 * len(moments)


class HalfSeen(SpyStore):
    """Shows an event that is not counted yet in the first reads, as a commit in progress may."""

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


def test_a_difference_that_only_one_recount_of_the_day_shows_is_none(subject: Subject) -> None:
    before = subject.tables.contents()
    for reads in (1, 2):
        found = verify(HalfSeen(subject.store, reads), is_repairing=True)
        assert (found.differences, found.unsettled, found.repaired) == ((), (), 0)
    assert subject.tables.contents() == before
    # The same in two recounts of the day, one after the other, is a difference.
    assert verify(HalfSeen(subject.store, 3)).differences == (
        difference(0, None, 1, 2),
        difference(0, "api_call", 0, 1),
    )


def test_a_day_whose_counters_never_stand_still_is_unsettled(subject: Subject) -> None:
    places = iter(range(1_000))

    def write(name: str) -> None:
        if name in ("counted_events",):
            subject.store.write([event(f"more-{next(places)}", timestamp=HOUR_ZERO + HOUR)])

    told: list[Difference] = []
    spy = SpyStore(subject.store, write)
    found = verify(spy, is_repairing=True, on_difference=told.append)
    assert found.unsettled == (("acme", DAY_ZERO),)
    assert not found.is_equal
    assert (found.differences, found.repaired, told) == ((), 0, [])
    assert verify(subject.store).is_equal


def test_a_difference_on_a_day_that_never_stands_still_is_unsettled(subject: Subject) -> None:
    wrong_total(subject)
    places = iter(range(1_000))

    def write(name: str) -> None:
        if name == "counted_events":
            subject.store.write([event(f"more-{next(places)}", timestamp=HOUR_ZERO + 5 * HOUR)])

    found = verify(SpyStore(subject.store, write), is_repairing=True)
    assert (found.unsettled, found.differences, found.repaired) == ((("acme", DAY_ZERO),), (), 0)
    assert not verify(subject.store).is_equal


@pytest.mark.parametrize("is_repairing", [False, True])
def test_an_hour_that_stands_still_is_judged_while_another_never_does(
    subject: Subject, *, is_repairing: bool
) -> None:
    wrong_total(subject)
    places = iter(range(1_000))

    def write(name: str) -> None:
        # Not during the first recount, which is of all days.
        if name == "counted_events" and spy.names().count(name) > 1:
            subject.store.write([event(f"more-{next(places)}", timestamp=HOUR_ZERO + 9 * HOUR)])

    spy = SpyStore(subject.store, write)
    found = verify(spy, is_repairing=is_repairing)
    assert (found.differences, found.unsettled) == (DAMAGES[wrong_total], ())
    assert verify(subject.store).is_equal is is_repairing


def test_a_counter_that_moves_before_each_repair_is_told_once_and_unsettled() -> None:
    memory = MemoryStore()
    memory.write([event()])
    memory.set_counter("acme", DAY_ZERO, None, {0: 99})
    numbers = iter(range(50, 60))

    def spoil(name: str) -> None:
        if name == "repair":
            memory.set_counter("acme", DAY_ZERO, None, {0: next(numbers)})

    told: list[Difference] = []
    found = verify(SpyStore(memory, spoil), is_repairing=True, on_difference=told.append)
    assert told == [difference(0, None, 99, 1)]
    assert found == Verification(
        customers=1, days=1, events=1, differences=tuple(told), unsettled=(("acme", DAY_ZERO),)
    )
    assert memory.contents().counters["acme", "total#2021-03-01"] == {"h00": next(numbers) - 1}


def test_each_repair_rests_on_two_recounts_of_its_own() -> None:
    memory = MemoryStore()
    memory.write([event()])
    memory.set_counter("acme", DAY_ZERO, None, {0: 99})
    numbers = iter([50])

    def spoil_once(name: str) -> None:
        if name == "repair":
            for number in numbers:
                memory.set_counter("acme", DAY_ZERO, None, {0: number})

    spy = SpyStore(memory, spoil_once)
    found = verify(spy, is_repairing=True)
    recounts = [name for name in spy.names() if name in ("counted_events", "repair")]
    # The counter that moved is a new difference: what was sure of the old one says nothing of it.
    recount = "counted_events"
    # The first recount is of all days.
    assert recounts[1:] == [recount, recount, "repair", recount, recount, "repair", recount]
    assert (found.repaired, found.unsettled) == (1, ())


def test_the_pauses_between_recounts_grow() -> None:
    memory = MemoryStore()
    memory.write([event()])
    places = iter(range(1_000))
    spy = SpyStore(
        memory,
        lambda name: (
            memory.set_counter("acme", DAY_ZERO, None, {0: next(places)})
            if name == "counted_events"
            else None
        ),
    )
    memory.set_counter("acme", DAY_ZERO, None, {0: 99})
    pauses: list[float] = []
    verification.verify(spy, sleep=pauses.append)
    assert pauses == sorted(set(pauses))
    assert len(pauses) > 3


def test_the_back_door_shows_what_is_there() -> None:
    """Were it blind, every test above would pass."""
    memory = MemoryStore()
    assert memory.contents() == Contents()
    memory.write(EVENTS[:2])
    assert memory.contents() == expected_contents(EVENTS[:2])
    memory.set_counter("acme", DAY_ZERO, None, {0: 5})
    assert memory.contents() != expected_contents(EVENTS[:2])
