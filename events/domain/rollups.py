"""Fold events into counter increments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events.models import MAX_ACTIONS, Event

#: Event type, or None for the total → hour 0–23 → count.
DayIncrements = dict[str | None, dict[int, int]]


def day_increments(events: Iterable[Event]) -> DayIncrements:
    """What distinct events of one customer and UTC day add to the day's counters."""
    increments: DayIncrements = {}
    for event in events:
        hour = event.timestamp.hour
        for event_type in (None, event.event_type):
            hours = increments.setdefault(event_type, {})
            hours[hour] = hours.get(hour, 0) + 1
    return increments


def lane_of(event: Event) -> tuple[str, int]:
    """Customer, and day as a proleptic ordinal: what shares a total in DynamoDB."""
    return event.customer_id, event.timestamp.toordinal()


def fits_transaction(number_of_events: int, number_of_types: int) -> bool:
    """Whether events of one customer and day fit a DynamoDB transaction with their counters."""
    # One action for each event, one for the day's total, one for each type.
    return number_of_events + 1 + number_of_types <= MAX_ACTIONS


def fitting(events: Sequence[Event]) -> int:
    """How many events, from the first, fit into one transaction with their counters."""
    types: set[str] = set()
    for index, event in enumerate(events):
        types.add(event.event_type)
        if not fits_transaction(index + 1, len(types)):
            return index
    return len(events)
