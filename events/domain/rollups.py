"""Events to increments per bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events.models import MAX_ACTIONS, Event

#: Event type → hour 0–23 → count; None stands for all types together.
DayIncrements = dict[str | None, dict[int, int]]


def day_increments(events: Iterable[Event]) -> DayIncrements:
    """
    What distinct events of one customer and one UTC day add to that day's counters.

    Returns:
        One entry for the total (None) and one for each event type; the types' hours sum to the
        total's. Empty for no events.
    """
    increments: DayIncrements = {}
    for event in events:
        hour = event.timestamp.hour
        for counter in (None, event.event_type):
            hours = increments.setdefault(counter, {})
            hours[hour] = hours.get(hour, 0) + 1
    return increments


def fitting(events: Sequence[Event]) -> int:
    """How many of these, from the first on, one transaction holds together with their counters."""
    types: set[str] = set()
    for place, event in enumerate(events):
        types.add(event.event_type)
        # One action for each event, one for the total, one for each type.
        if place + 1 + 1 + len(types) > MAX_ACTIONS:
            return place
    return len(events)
