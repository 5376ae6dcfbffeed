"""What a recount finds and repairs, on every store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from events.domain.windows import EARLIEST, LATEST
from events.models import Difference, Verification, Window
from events.service import EventService
from tests.store.recounts import (
    CLEAN,
    DAMAGES,
    EVENTS,
    NEXT_DAY,
    Damage,
    difference,
    found_after,
    held,
    put_foreign,
    verify,
    wrong_total,
)
from tests.support.backdoor import Subject
from tests.support.factories import (
    DAY,
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    MICROSECOND,
    days_of,
    event,
    expected_contents,
    many_events,
)
from tests.support.sqlstore import MemoryStore

__all__ = ["held"]


def test_what_the_service_wrote_has_no_differences(held: Subject) -> None:
    assert verify(held.store) == CLEAN
    assert CLEAN.is_equal


def test_empty_tables_have_nothing_to_verify() -> None:
    assert verify(MemoryStore()) == Verification()


def test_every_customer_and_day_is_verified(held: Subject) -> None:
    others = many_events(60, customers=3, hours=100)
    for group in days_of(others):
        held.store.write(group)
    days = {(item.customer_id, item.timestamp.date()) for item in [*EVENTS, *others]}
    assert verify(held.store) == Verification(customers=4, days=len(days), events=65)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_difference_is_reported_once(held: Subject, damage: Damage) -> None:
    damage(held)
    before = held.tables.contents()
    reported: list[Difference] = []
    result = verify(held.store, on_difference=reported.append)
    assert result == found_after(damage)
    assert not result.is_equal
    assert reported == list(DAMAGES[damage])
    assert held.tables.contents() == before, "verify alone must not write"


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_difference_is_repaired(held: Subject, damage: Damage) -> None:
    damage(held)
    reported: list[Difference] = []
    result = verify(held.store, is_repairing=True, on_difference=reported.append)
    # One counter item holds all the hours of a day that differ.
    items = {(item.hour.date(), item.event_type) for item in DAMAGES[damage]}
    assert result == replace(found_after(damage), repaired=len(items))
    assert reported == list(DAMAGES[damage])
    again = verify(held.store)
    assert (again.differences, again.unsettled, again.repaired) == ((), (), 0)
    kept = held.tables.contents()
    # Counters that were set to zero may remain.
    counters = {key: hours for key, hours in kept.counters.items() if hours}
    stored = held.store.counted_events("acme")
    assert replace(kept, counters=counters) == expected_contents(stored)


def test_many_differences_are_found_and_repaired_at_once(
    held: Subject,
) -> None:
    held.store.write([event("t-1", customer_id="another", event_type="call")])
    held.tables.set_counter("acme", DAY_ZERO, None, {0: 2, 5: 3})
    held.tables.set_counter("acme", NEXT_DAY, "call", {0: 9})
    held.tables.set_counter("another", DAY_ZERO, None, {7: 1})
    expected = {
        difference(0, None, 2, 1),
        difference(24, "call", 9, 1),
        difference(0, None, 0, 1, customer_id="another"),
        difference(7, None, 1, 0, customer_id="another"),
    }
    result = verify(held.store, is_repairing=True)
    assert (set(result.differences), len(result.differences)) == (expected, 4)
    assert (result.customers, result.days, result.events, result.repaired) == (2, 3, 6, 3)
    assert verify(held.store) == Verification(customers=2, days=3, events=6)


def test_an_unregistered_customer_with_events_is_registered(held: Subject) -> None:
    held.tables.unlist("acme")
    expected = replace(CLEAN, unlisted=("acme",))
    assert verify(held.store) == expected
    assert not expected.is_equal
    assert not held.store.is_listed("acme")
    assert verify(held.store, is_repairing=True) == replace(expected, repaired=1)
    assert held.store.customers(prefix="", after=None, limit=10) == ["acme"]
    assert verify(held.store) == CLEAN


def test_a_registered_customer_without_events_is_fine(held: Subject) -> None:
    held.store.register("nobody")
    assert verify(held.store) == CLEAN


def test_customers_with_only_events_or_only_counters_are_found(
    held: Subject,
) -> None:
    held.tables.put_event(event("t-1", customer_id="only-events", event_type="call"))
    held.tables.set_counter("only-counters", DAY_ZERO, None, {3: 2})
    result = verify(held.store, is_repairing=True)
    assert set(result.differences) == {
        difference(0, None, 0, 1, customer_id="only-events"),
        difference(0, "call", 0, 1, customer_id="only-events"),
        difference(3, None, 2, 0, customer_id="only-counters"),
    }
    assert (result.customers, result.unlisted, result.repaired) == (3, ("only-events",), 4)
    again = verify(held.store)
    assert (again.differences, again.unlisted, again.repaired) == ((), (), 0)


@pytest.mark.parametrize(
    "key", ["restored by hand", "2021-03-01T00:00:00.000000Z-a%b-t-1", "zzz", "2021-03-01"]
)
def test_an_item_that_is_not_an_event_is_reported(held: Subject, key: str) -> None:
    foreign = put_foreign(held, key)
    before = held.tables.contents()
    for is_repairing in (False, True):
        result = verify(held.store, is_repairing=is_repairing)
        assert result == replace(CLEAN, foreign=foreign)
        assert result.is_equal == (not foreign)
    assert held.tables.contents() == before


def test_an_item_that_is_not_an_event_is_reported_once(held: Subject) -> None:
    key = "2021-03-01T00:00:00.000000Z-a%b-t-1"
    foreign = put_foreign(held, key)
    wrong_total(held)
    result = verify(held.store, is_repairing=True)
    assert result == replace(found_after(wrong_total), foreign=foreign, repaired=1)


def test_an_item_outside_the_years_does_not_end_the_recount(held: Subject) -> None:
    key = "0001-01-01T00:00:00.0+14:00-call-t-1"
    foreign = put_foreign(held, key)
    assert verify(held.store) == replace(CLEAN, foreign=foreign)


def test_only_the_customer_asked_for_is_verified(held: Subject) -> None:
    held.store.write([event("t-1", customer_id="another")])
    held.tables.set_counter("another", DAY_ZERO, None, {0: 5})
    assert verify(held.store, customer_id="acme") == CLEAN
    assert verify(held.store, customer_id="another").differences == (
        difference(0, None, 5, 1, customer_id="another"),
    )
    assert verify(held.store, customer_id="nobody") == Verification(customers=1)


@pytest.mark.parametrize(
    ("window", "days", "events", "is_found"),
    [
        (Window(HOUR_ZERO, HOUR_ZERO + DAY), 1, 4, True),
        # One instant of a day selects the whole day.
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
def test_a_window_restricts_the_recount_to_its_days(
    held: Subject, window: Window, days: int, events: int, is_found: bool
) -> None:
    wrong_total(held)
    # On none of these days; the key has no time at all.
    put_foreign(held, "zzz")
    differences = DAMAGES[wrong_total] if is_found else ()
    expected = Verification(customers=1, days=days, events=events, differences=differences)
    assert verify(held.store, window=window) == expected


def test_a_window_restricts_repairs_to_its_days(held: Subject) -> None:
    held.tables.set_counter("acme", DAY_ZERO, None, {0: 9})
    held.tables.set_counter("acme", NEXT_DAY, None, {0: 9})
    window = Window(HOUR_ZERO + DAY, HOUR_ZERO + DAY + HOUR)
    result = verify(held.store, window=window, is_repairing=True)
    assert (result.differences, result.repaired) == ((difference(24, None, 9, 1),), 1)
    assert verify(held.store).differences == (
        difference(0, None, 9, 1),
        difference(5, None, 0, 3),
    )


def test_the_first_and_last_day_of_time_are_verified(held: Subject) -> None:
    ends = [event("t-1", timestamp=EARLIEST), event("t-2", timestamp=LATEST)]
    for each in ends:
        held.store.write([each])
    assert verify(held.store) == Verification(customers=1, days=4, events=7)
    for window in (Window(EARLIEST, EARLIEST + HOUR), Window(LATEST - HOUR, LATEST)):
        assert verify(held.store, window=window) == Verification(customers=1, days=1, events=1)
    held.tables.set_counter("acme", "9999-12-31", None, {23: 8})
    result = verify(held.store, is_repairing=True)
    assert [(item.counter, item.recount) for item in result.differences] == [(8, 1)]
    assert verify(held.store).is_equal


def test_the_service_verifies_and_repairs(held: Subject) -> None:
    wrong_total(held)
    service = EventService(held.store, write_threads=1)
    reported: list[Difference] = []
    result = service.verify(
        customer_id="acme",
        window=Window(HOUR_ZERO, HOUR_ZERO + 2 * DAY),
        is_repairing=True,
        on_difference=reported.append,
    )
    assert result == replace(found_after(wrong_total), repaired=1)
    assert reported == list(DAMAGES[wrong_total])
    assert service.verify() == CLEAN
    service.close()
