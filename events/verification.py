"""The proof: recount the raw events and compare every counter."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from events.domain.windows import ALL_TIME, HOUR, LATEST
from events.models import DayCounts, Difference, Event, Verification, Window

#: How often a day is recounted while its counters change or differ.
_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.05
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)

#: Day → event type, or None for the total → counters.
_Counters = dict[str, dict[str | None, DayCounts]]


class Store(Protocol):
    """What a recount needs of a database. Every read is strongly consistent."""

    def day_counts(
        self, customer_id: str, first_day: str, last_day: str, *, by_type: bool
    ) -> Iterator[DayCounts]:
        """As for `queries.hours.Store`."""

    def counted_events(
        self,
        customer_id: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """
        All events that are not voided, in order of time.

        Args:
            window: None reads all that is stored for the customer.
            on_foreign: Called with the key of each stored item that is not an event, written by
                other software.
        """

    def stored_customers(self) -> Iterator[str]:
        """Every customer with an event or a counter, once, registered or not."""

    def is_listed(self, customer_id: str) -> bool:
        """Whether the customer is in the registry."""

    def register(self, customer_id: str) -> None:
        """Add a customer to the registry."""

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        """Replace a counter by its recount; False if the counter has changed since `seen`."""


def verify(
    store: Store,
    *,
    customer_id: str | None = None,
    window: Window | None = None,
    is_repairing: bool = False,
    on_difference: Callable[[Difference], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Verification:
    """
    Recount the raw events and compare every counter, of totals and of event types.

    Safe while others write: a difference is reported only if two recounts in a row show it and
    the hour's counters did not change during either.

    Args:
        customer_id: Only this customer; None verifies all that have an event or a counter.
        window: Only the UTC days that it touches; None verifies everything.
        is_repairing: Replace each counter that differs by its recount, unless it has changed
            since it was read.
        on_difference: Called with each difference when it is found.

    Raises:
        StoreUnavailable: The store did not answer in time. Repairs made until then remain.
    """
    if window is not None and window.start == window.end:
        return Verification()
    verifier = _Verifier(store, window and _whole_days(window), is_repairing, on_difference, sleep)
    for name in store.stored_customers() if customer_id is None else [customer_id]:
        verifier.verify(name)
    return verifier.result


def recount(customer_id: str, events: Iterable[Event]) -> _Counters:
    """
    Fold events into the counters that should exist. Memory follows the days, not the events.

    This is the independent half of the proof: it shares no code with what writes counters.
    """
    counts: dict[tuple[str, str | None], dict[int, int]] = {}
    for event in events:
        day, hour = event.timestamp.date().isoformat(), event.timestamp.hour
        for event_type in (None, event.event_type):
            hours = counts.setdefault((day, event_type), {})
            hours[hour] = hours.get(hour, 0) + 1
    counters: _Counters = {}
    for (day, event_type), hours in counts.items():
        counters.setdefault(day, {})[event_type] = DayCounts(customer_id, day, event_type, hours)
    return counters


@dataclass(slots=True)
class _Verifier:
    """Compares one customer after the other and keeps only the result."""

    _store: Store
    _days: Window | None
    _is_repairing: bool
    _on_difference: Callable[[Difference], None]
    _sleep: Callable[[float], None]
    result: Verification = field(default_factory=Verification)

    def _note(self, **more: Any) -> None:
        """Add to the fields of the result."""
        sums = {name: getattr(self.result, name) + value for name, value in more.items()}
        self.result = replace(self.result, **sums)

    def verify(self, customer_id: str) -> None:
        days = self._days or ALL_TIME
        first, last = _day_of(days.start), _day_of(days.end - _MICROSECOND)
        before = self._counters(customer_id, first, last)
        stored = recount(customer_id, self._stored_events(customer_id))
        after = self._counters(customer_id, first, last)
        days_seen = sorted({*before, *stored, *after})
        for day in days_seen:
            # An hour that changed meanwhile, or that differs.
            hours = _hours(_compare(customer_id, day, before, after))
            hours |= _hours(_compare(customer_id, day, after, stored))
            if hours:
                self._judge(customer_id, day, hours)
        self._note(customers=1, days=len(days_seen))
        if stored:
            self._check_registry(customer_id)

    def _stored_events(self, customer_id: str) -> Iterator[Event]:
        def note_foreign(key: str) -> None:
            self._note(foreign=((customer_id, key),))

        number = 0
        stored = self._store.counted_events(customer_id, self._days, on_foreign=note_foreign)
        for event in stored:
            number += 1
            yield event
        self._note(events=number)

    def _check_registry(self, customer_id: str) -> None:
        # Look for events again: the customer may have been erased since the recount.
        if (
            not self._store.is_listed(customer_id)
            and next(self._store.counted_events(customer_id), None) is not None
        ):
            self._note(unlisted=(customer_id,))
            if self._is_repairing:
                self._store.register(customer_id)
                self._note(repaired=1)

    def _judge(self, customer_id: str, day: str, hours: set[int]) -> None:
        """Recount hours of a day until their counters do not change, and report differences."""
        left = set(hours)
        seen: dict[int, list[Difference]] = {}
        reported: set[int] = set()
        pause = _FIRST_PAUSE_SECONDS
        for _ in range(_TRIES):
            before = self._counters(customer_id, day, day)
            stored = recount(customer_id, self._store.counted_events(customer_id, _span(day, left)))
            after = self._counters(customer_id, day, day)
            moved = _hours(_compare(customer_id, day, before, after))
            found = _compare(customer_id, day, after, stored)
            confirmed: set[int] = set()
            for hour in sorted(left - moved):
                differences = [item for item in found if item.hour.hour == hour]
                # The same in two recounts without a change in between: not a write in progress.
                if differences and differences == seen.get(hour):
                    confirmed.add(hour)
                seen[hour] = differences
                if hour in confirmed - reported:
                    reported.add(hour)
                    self._note(differences=tuple(differences))
                    for difference in differences:
                        self._on_difference(difference)
                if not differences or (hour in confirmed and not self._is_repairing):
                    left.discard(hour)
            if not left:
                return
            if self._is_repairing:
                self._repair(customer_id, day, after, stored, confirmed)
            self._sleep(pause)
            pause *= 2
        self._note(unsettled=((customer_id, day),))

    def _repair(
        self, customer_id: str, day: str, counters: _Counters, stored: _Counters, hours: set[int]
    ) -> None:
        """Replace these hours of the day's counters by the recount."""
        of_day, recounted = counters.get(day, {}), stored.get(day, {})
        for event_type in {**of_day, **recounted}:
            nothing = DayCounts(customer_id, day, event_type, {})
            seen, counted = of_day.get(event_type, nothing), recounted.get(event_type, nothing)
            kept = {hour: count for hour, count in seen.hours.items() if hour not in hours}
            right = {hour: count for hour, count in counted.hours.items() if hour in hours}
            repaired = replace(seen, hours=kept | right)
            if repaired.hours != seen.hours and self._store.repair(seen, repaired):
                self._note(repaired=1)

    def _counters(self, customer_id: str, first: str, last: str) -> _Counters:
        counters: _Counters = {}
        for by_type in (False, True):
            for counts in self._store.day_counts(customer_id, first, last, by_type=by_type):
                counters.setdefault(counts.day, {})[counts.event_type] = counts
        return counters


def _compare(
    customer_id: str, day: str, counters: _Counters, stored: _Counters
) -> list[Difference]:
    """Differences of one day in order of hours; an hour's total comes before its types."""
    was, is_now = _of_day(counters, day), _of_day(stored, day)
    return [
        Difference(customer_id, _hour_of(day, key[0]), key[1], was.get(key, 0), is_now.get(key, 0))
        for key in sorted(was.keys() | is_now.keys(), key=lambda key: (key[0], key[1] or ""))
        if was.get(key, 0) != is_now.get(key, 0)
    ]


def _of_day(counters: _Counters, day: str) -> dict[tuple[int, str | None], int]:
    """(hour, event type) → count."""
    return {
        (hour, event_type): count
        for event_type, counts in counters.get(day, {}).items()
        for hour, count in counts.hours.items()
    }


def _hours(differences: Iterable[Difference]) -> set[int]:
    return {difference.hour.hour for difference in differences}


def _day_of(at: datetime) -> str:
    return at.date().isoformat()


def _hour_of(day: str, hour: int) -> datetime:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


def _whole_days(window: Window) -> Window:
    """The UTC days that a window touches. The last day of time ends at `LATEST`."""
    last_day = _hour_of(_day_of(max(window.start, window.end - _MICROSECOND)), 0)
    return Window(_hour_of(_day_of(window.start), 0), _later(last_day, _DAY))


def _span(day: str, hours: Collection[int]) -> Window:
    """From the first to the end of the last of some hours of a day."""
    return Window(_hour_of(day, min(hours)), _later(_hour_of(day, max(hours)), HOUR))


def _later(at: datetime, by: timedelta) -> datetime:
    return at + by if LATEST - at > by else LATEST
