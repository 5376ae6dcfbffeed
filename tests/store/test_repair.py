"""Repairing a counter, on every store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from events.models import DayCounts
from tests.support.backdoor import Subject
from tests.support.factories import DAY_ZERO, Contents, event, expected_contents


def counts(customer_id: str, hours: dict[int, int], event_type: str | None = None) -> DayCounts:
    return DayCounts(customer_id, DAY_ZERO, event_type, hours)


def as_seen(
    subject: Subject, customer_id: str, hours: dict[int, int], event_type: str | None = None
) -> DayCounts:
    """These counts, with all else as the store has it."""
    by_type = event_type is not None
    counters = subject.store.day_counts(customer_id, DAY_ZERO, DAY_ZERO, by_type=by_type)
    there = next((item for item in counters if item.event_type == event_type), None)
    return replace(there or counts(customer_id, {}, event_type), hours=hours)


@pytest.mark.parametrize("event_type", [None, "a#b"])
def test_an_unchanged_counter_is_repaired(subject: Subject, event_type: str | None) -> None:
    cases: dict[str, tuple[dict[int, int], dict[int, int]]] = {
        "too much": ({0: 3}, {0: 2}),
        "another hour": ({0: 3, 5: 1}, {0: 3, 6: 1}),
        "no counter": ({}, {23: 7}),
        "no events": ({7: 1, 8: 2}, {}),
        "below zero": ({4: -2}, {4: 1}),
        "every hour": (dict.fromkeys(range(24), 9), dict.fromkeys(range(24), 8)),
    }
    key = "total#2021-03-01" if event_type is None else f"type#2021-03-01#{event_type}"
    for name, (stored, recount) in cases.items():
        if stored:
            subject.tables.set_counter(name, DAY_ZERO, event_type, stored)
        seen = as_seen(subject, name, stored, event_type)
        assert subject.store.repair(seen, counts(name, recount, event_type))
    assert subject.tables.contents() == Contents(
        counters={
            (name, key): {f"h{hour:02d}": number for hour, number in recount.items()}
            for name, (_, recount) in cases.items()
        }
    )


def test_a_changed_counter_is_not_repaired(subject: Subject) -> None:
    cases: list[tuple[dict[int, int], dict[int, int]]] = [
        ({0: 3}, {0: 2}),
        ({0: 3}, {}),
        ({}, {0: 3}),
        ({0: 3, 1: 1}, {0: 3}),
        ({0: 3}, {0: 3, 1: 1}),
        ({0: 3}, {1: 3}),
    ]
    for index, (stored, _) in enumerate(cases):
        if stored:
            subject.tables.set_counter(f"c-{index}", DAY_ZERO, None, stored)
    before = subject.tables.contents()
    for index, (_, seen) in enumerate(cases):
        name = f"c-{index}"
        assert not subject.store.repair(as_seen(subject, name, seen), counts(name, {0: 99, 5: 1}))
    assert subject.tables.contents() == before


def test_a_counter_that_changed_and_changed_back_is_not_repaired(subject: Subject) -> None:
    subject.store.write([event("t-1"), event("t-2")])
    seen = as_seen(subject, "acme", {0: 2})
    assert subject.store.repair(seen, counts("acme", {0: 1}))
    subject.store.write([event("t-3")])
    # The first repair sent once more, as after a lost answer: 2 again, and not the 2 that was seen.
    assert not subject.store.repair(seen, counts("acme", {0: 1}))
    assert subject.tables.contents().counters["acme", "total#2021-03-01"] == {"h00": 2}


def test_a_repair_keeps_the_time_of_the_last_ingest(subject: Subject) -> None:
    subject.store.write([event("t-1")])
    seen = as_seen(subject, "acme", {0: 1})
    assert subject.store.repair(seen, counts("acme", {0: 5}))
    assert as_seen(subject, "acme", {}).updated_at == seen.updated_at


def test_a_repaired_counter_counts_on(subject: Subject) -> None:
    subject.store.write([event("t-1")])
    subject.tables.set_counter("acme", DAY_ZERO, None, {0: 40, 9: 2})
    assert subject.store.repair(as_seen(subject, "acme", {0: 40, 9: 2}), counts("acme", {0: 1}))
    subject.store.write([event("t-2")])
    assert subject.tables.contents() == expected_contents([event("t-1"), event("t-2")])
