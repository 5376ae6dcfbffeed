"""Faults of reads and of single writes."""

from __future__ import annotations

import pytest

from events.dao import DynamoStore
from events.errors import StoreRefused, StoreUnavailable
from events.models import DayCounts, Outcome, Window
from tests.store.helpers import cases
from tests.store.scenes import Scene, read_all, whole_truth
from tests.support.factories import (
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    Contents,
    batches,
    days_of,
    event,
    expected_contents,
    many_events,
)
from tests.support.faults import LOST_ANSWERS, PASSING, error_instead, timeout

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


# --- reads and single writes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", cases(PASSING))
def test_a_read_is_retried_until_it_is_answered(scene: Scene, name: str, strikes: int) -> None:
    events = many_events(120, customers=2, hours=96, event_types=3)
    for group in days_of(events):
        scene.store.write(group)
    line = scene.strike(
        "Query", "GetItem", "Scan", faults={name: PASSING[name]}, chance=0.6, seed=len(name)
    )
    while line.struck[name] < strikes:
        assert read_all(scene.store) == whole_truth(events)


@pytest.mark.slow
def test_a_fault_between_pages_neither_skips_nor_repeats_events(scene: Scene) -> None:
    customer_id = "c" * 2048
    events = [
        event(f"{index:04d}" + "t" * 900, customer_id=customer_id, event_type="a")
        for index in range(800)
    ]
    for batch in batches(events):
        scene.store.write(batch)
    line = scene.strike("Query", faults=PASSING, chance=0.6)
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    for _ in range(5):
        assert list(scene.store.counted_events(customer_id)) == events
        assert scene.store.count_events(customer_id, [window] * 2) == [800] * 2
    assert line.struck.total() > len(PASSING)


@pytest.mark.parametrize("operation", ["Query", "GetItem", "Scan"])
def test_a_read_that_is_never_answered_is_unavailable(scene: Scene, operation: str) -> None:
    scene.store.write(many_events(3))
    line = scene.strike(operation, faults=PASSING)
    with pytest.raises(StoreUnavailable):
        read_all(scene.store)
    line.heal()
    assert read_all(scene.store) == whole_truth(many_events(3))


@pytest.mark.parametrize("operation", ["Query", "GetItem", "Scan", "PutItem", "UpdateItem"])
def test_a_refused_request_is_sent_once(scene: Scene, operation: str) -> None:
    line = scene.strike(
        operation, faults={"denied": error_instead("AccessDeniedException")}, strikes=1
    )
    with pytest.raises(StoreRefused, match="AccessDeniedException"):
        use_all(scene.store)
    assert len(line.sent) == 1


def use_all(store: DynamoStore) -> None:
    read_all(store)
    store.register("acme")
    nothing = DayCounts("acme", DAY_ZERO, None, {})
    store.repair(nothing, nothing)


def test_a_customer_is_registered_under_all_faults(scene: Scene) -> None:
    faults = {**PASSING, **LOST_ANSWERS}
    line = scene.strike("PutItem", faults=faults, chance=0.6)
    names = [f"customer-{index}" for index in range(60)]
    for name in names:
        scene.store.register(name)
    assert scene.tables.contents() == Contents(customers=sorted(names))
    assert set(line.struck) == set(faults)


def test_nothing_is_written_for_an_unregistered_customer(scene: Scene) -> None:
    line = scene.strike("PutItem", faults={"timeout": timeout})
    with pytest.raises(StoreUnavailable):
        scene.store.write([event()])
    assert scene.tables.contents() == Contents()
    line.heal()
    assert scene.store.write([event()]) == [INSERTED]
    assert scene.tables.contents() == expected_contents([event()])


@pytest.mark.parametrize("name", cases([*PASSING, *LOST_ANSWERS]))
def test_a_counter_is_repaired_once_under(scene: Scene, name: str) -> None:
    faults = {**PASSING, **LOST_ANSWERS}
    scene.tables.set_counter("acme", DAY_ZERO, None, {0: 5})
    line = scene.strike("UpdateItem", faults={name: faults[name]}, strikes=3)
    (seen,) = scene.store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=False)
    recount = DayCounts("acme", DAY_ZERO, None, {0: 4})
    assert scene.store.repair(seen, recount)
    # After a commit the next send finds that it was this repair which moved the counter.
    assert line.struck[name] == (1 if name in LOST_ANSWERS else 3)
    assert scene.tables.contents().counters == {("acme", "total#2021-03-01"): {"h00": 4}}
    assert not scene.store.repair(seen, recount)
