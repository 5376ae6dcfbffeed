"""Compares a recount of the archive with the counters of the store, both ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from events.domain.timestamps import day_of
from events.domain.windows import end_of_hour, floor_hour, hour_of_day
from events.models import Difference, Event, Window
from events.service import Store
from jobs.lib.hourcounts import HourCount

_PAGE_SIZE = 1_000
#: Event type (None: all types), hour.
_Key = tuple[str | None, datetime]


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Result of a comparison.

    `voided` counts archived events that were voided later; the counters rightly leave them out.
    """

    customers: int = 0
    events: int = 0
    voided: int = 0
    differences: tuple[Difference, ...] = ()


def compare(
    recount: Iterable[HourCount],
    store: Store,
    window: Window,
    archived: Callable[[Sequence[Event]], Collection[Event]],
) -> Comparison:
    """
    Compare every counter of these whole days with the recount.

    Args:
        recount: Grouped by customer.
        archived: Returns the given events that are in the archive.
    """
    seen: set[str] = set()
    events = 0
    differences: list[Difference] = []
    for customer_id, group in groupby(recount, lambda count: count.customer_id):
        seen.add(customer_id)
        counted: Counter[_Key] = Counter()
        for count in group:
            events += count.count
            counted[None, count.hour] += count.count
            counted[count.event_type, count.hour] += count.count
        differences += _differences(customer_id, counted, store, window)
    for customer_id in store.stored_customers():
        if customer_id not in seen:
            surplus = _differences(customer_id, Counter(), store, window)
            seen.update([customer_id] if surplus else [])
            differences += surplus
    voided = archived(_voided(store, differences))
    left = tuple(_without(voided, differences))
    return Comparison(len(seen), events, len(voided), left)


def _differences(
    customer_id: str, recount: Counter[_Key], store: Store, window: Window
) -> list[Difference]:
    last = day_of(max(window.start, window.end - timedelta(microseconds=1)))
    counters: dict[_Key, int] = {
        (counts.event_type, hour_of_day(counts.day, hour)): count
        for by_type in (False, True)
        for counts in store.day_counts(customer_id, day_of(window.start), last, by_type=by_type)
        for hour, count in counts.hours.items()
    }
    return [
        Difference(customer_id, hour, event_type, counters.get((event_type, hour), 0), number)
        for event_type, hour in sorted(
            {*recount, *counters}, key=lambda key: (key[1], key[0] or "")
        )
        for number in [recount[event_type, hour]]
        if counters.get((event_type, hour), 0) != number
    ]


def _voided(store: Store, differences: Iterable[Difference]) -> list[Event]:
    """The voided events in the hours whose counters are lower than the recount."""
    hours = sorted(
        {(one.customer_id, one.hour) for one in differences if one.counter < one.recount}
    )
    return [
        stored.event
        for customer_id, hour in hours
        for _, stored in store.stored_events(
            customer_id,
            Window(hour, end_of_hour(hour)),
            after=None,
            is_newest_first=False,
            page_size=_PAGE_SIZE,
        )
        if stored.voided_at is not None
    ]


def _without(voided: Collection[Event], differences: Iterable[Difference]) -> Iterator[Difference]:
    """The differences that voided events do not explain."""
    number: Counter[tuple[str, datetime, str | None]] = Counter()
    for event in voided:
        for event_type in (None, event.event_type):
            number[event.customer_id, floor_hour(event.timestamp), event_type] += 1
    for difference in differences:
        voids = number[difference.customer_id, difference.hour, difference.event_type]
        if difference.counter != difference.recount - voids:
            yield difference
