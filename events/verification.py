"""The proof: raw events recounted, and compared with the counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from typing import Protocol

from events.domain.rollups import day_increments
from events.domain.windows import ALL_TIME, HOUR, LATEST, day_of, hour_of_day
from events.models import DayCounts, Difference, Event, Verification, Window

#: How often hours are recounted whose counters move meanwhile, or which differ.
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
        """
        Counters of the days from first to last, both included: of the totals, or by type.

        Days in order, types in order within a day; days without events are absent.
        """

    def event_keys(self, customer_id: str, window: Window) -> Iterator[Event | str]:
        """The events stored in a window, in order of time; a key that no event has, as it is."""

    def all_event_keys(self, customer_id: str) -> Iterator[Event | str]:
        """As `event_keys`, of all time, and with keys that begin with no time."""

    def stored_customers(self) -> Iterator[str]:
        """Every customer with an item in any table, once."""

    def is_listed(self, customer_id: str) -> bool:
        """Whether the registry of customers has this one."""

    def register(self, customer_id: str) -> None:
        """List a customer."""

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        """Put a recount where the counter is still what was seen; False if it has moved."""


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
    Recount the raw events and compare every counter, of totals and of types.

    Safe while others write: an hour is judged only by a recount during which its counters did not
    move, and a difference only counts when two such recounts in a row show it.

    Args:
        customer_id: Only this one; None means all that have an item anywhere.
        window: Only the UTC days that it touches; None means all, and foreign items as well.
        is_repairing: Put the recount in the place of each counter that differs, on the condition
            that it is still what was read.
        on_difference: Called with each difference as it is found.

    Raises:
        StoreUnavailable: The store did not answer in time. What was repaired stays repaired.
    """
    if window is not None and window.start == window.end:
        return Verification()
    names = store.stored_customers() if customer_id is None else [customer_id]
    return _sum(
        [_Recount(store, name, window, is_repairing, on_difference, sleep).run() for name in names]
    )


class _Recount:
    """One customer's counters against its events."""

    def __init__(
        self,
        store: Store,
        customer_id: str,
        window: Window | None,
        is_repairing: bool,
        on_difference: Callable[[Difference], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._customer_id = customer_id
        self._window = window
        self._is_repairing = is_repairing
        self._on_difference = on_difference
        self._sleep = sleep
        self._days = 0
        self._events = 0
        self._differences: list[Difference] = []
        self._unsettled: list[tuple[str, str]] = []
        self._foreign: list[tuple[str, str]] = []
        self._unlisted: list[str] = []
        self._repaired = 0

    def run(self) -> Verification:
        window = self._window or ALL_TIME
        last_instant = max(window.start, window.end - _MICROSECOND)
        first, last = day_of(window.start), day_of(last_instant)
        before = self._counters(first, last)
        if self._window is None:
            recount = self._recounted(self._store.all_event_keys(self._customer_id), is_first=True)
        else:
            days = Window(_day(window.start).start, _day(last_instant).end)
            keys = self._store.event_keys(self._customer_id, days)
            recount = self._recounted(keys, is_first=True)
        after = self._counters(first, last)
        for day in sorted({*before, *recount, *after}):
            hours = self._moved(day, before, after) | self._moved(day, after, recount)
            if hours:
                self._judge(day, hours)
            self._days += 1
        # Looked at once more: what was counted may be erased by now, and rightly off the list.
        if (
            self._events
            and not self._store.is_listed(self._customer_id)
            and next(iter(self._store.all_event_keys(self._customer_id)), None) is not None
        ):
            self._unlisted.append(self._customer_id)
            if self._is_repairing:
                self._store.register(self._customer_id)
                self._repaired += 1
        return Verification(
            customers=1,
            days=self._days,
            events=self._events,
            differences=tuple(self._differences),
            unsettled=tuple(self._unsettled),
            foreign=tuple(self._foreign),
            unlisted=tuple(self._unlisted),
            repaired=self._repaired,
        )

    def _judge(self, day: str, hours: set[int]) -> None:
        """Recount hours of a day until their counters stand still, and say how they differ."""
        left = set(hours)
        seen: dict[int, list[Difference]] = {}
        reported: set[int] = set()
        pause = _FIRST_PAUSE_SECONDS
        for _ in range(_TRIES):
            before = self._counters(day, day)
            keys = self._store.event_keys(self._customer_id, _span(day, left))
            recount = self._recounted(keys)
            after = self._counters(day, day)
            moved = self._moved(day, before, after)
            found = self._compared(day, after, recount)
            sure: set[int] = set()
            for hour in sorted(left - moved):
                differences = [each for each in found if each.hour.hour == hour]
                # Twice the same with nothing moving in between: not a write half seen.
                if differences and differences == seen.get(hour):
                    sure.add(hour)
                seen[hour] = differences
                if hour in sure - reported:
                    reported.add(hour)
                    self._differences += differences
                    for difference in differences:
                        self._on_difference(difference)
                if not differences or (hour in sure and not self._is_repairing):
                    left.discard(hour)
            if not left:
                return
            if self._is_repairing:
                self._repair(day, after, recount, sure)
            self._sleep(pause)
            pause *= 2
        self._unsettled.append((self._customer_id, day))

    def _repair(self, day: str, counters: _Counters, recount: _Counters, hours: set[int]) -> None:
        """Put the recount of these hours in the place of what the counters have."""
        counted, stored = counters.get(day, {}), recount.get(day, {})
        for event_type in {**counted, **stored}:
            nothing = DayCounts(self._customer_id, day, event_type, {})
            was, is_now = counted.get(event_type, nothing), stored.get(event_type, nothing)
            kept = {hour: count for hour, count in was.hours.items() if hour not in hours}
            mended = kept | {hour: count for hour, count in is_now.hours.items() if hour in hours}
            if mended != was.hours and self._store.repair(was, replace(was, hours=mended)):
                self._repaired += 1

    def _counters(self, first: str, last: str) -> _Counters:
        counters: _Counters = {}
        for by_type in (False, True):
            for counts in self._store.day_counts(self._customer_id, first, last, by_type=by_type):
                counters.setdefault(counts.day, {})[counts.event_type] = counts
        return counters

    def _recounted(self, keys: Iterable[Event | str], *, is_first: bool = False) -> _Counters:
        """What the counters should be; memory follows the days, not the events."""
        counters: _Counters = {}
        for ordinal, events in groupby(self._only_events(keys, is_first), _ordinal):
            name = day_of(datetime.fromordinal(ordinal).replace(tzinfo=UTC))
            for event_type, hours in day_increments(events).items():
                counts = DayCounts(self._customer_id, name, event_type, hours)
                counters.setdefault(name, {})[event_type] = counts
        return counters

    def _only_events(self, keys: Iterable[Event | str], is_first: bool) -> Iterator[Event]:
        for key in keys:
            if isinstance(key, Event):
                self._events += is_first
                yield key
            elif is_first:
                self._foreign.append((self._customer_id, key))

    def _moved(self, day: str, before: _Counters, after: _Counters) -> set[int]:
        """The hours of a day at which the two are not the same."""
        return {each.hour.hour for each in self._compared(day, before, after)}

    def _compared(self, day: str, counters: _Counters, recount: _Counters) -> list[Difference]:
        """The hours of a day that differ, ascending; the total of an hour before its types."""
        counted, stored = counters.get(day, {}), recount.get(day, {})
        nothing = DayCounts(self._customer_id, day, None, {})
        differences = []
        for event_type in {**counted, **stored}:
            was = counted.get(event_type, nothing).hours
            is_now = stored.get(event_type, nothing).hours
            differences += [
                Difference(
                    self._customer_id,
                    hour_of_day(day, hour),
                    event_type,
                    counter=was.get(hour, 0),
                    recount=is_now.get(hour, 0),
                )
                for hour in {**was, **is_now}
                if was.get(hour, 0) != is_now.get(hour, 0)
            ]
        return sorted(differences, key=lambda each: (each.hour, each.event_type or ""))


def _day(at: datetime) -> Window:
    """The UTC day of `at`; the last day there is has no end."""
    start = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return Window(start, start + _DAY if LATEST - start > _DAY else LATEST)


def _ordinal(event: Event) -> int:
    return event.timestamp.toordinal()


def _span(day: str, hours: Collection[int]) -> Window:
    """From the first of some hours of a day to the end of the last."""
    last = hour_of_day(day, max(hours))
    return Window(hour_of_day(day, min(hours)), last + HOUR if LATEST - last > HOUR else LATEST)


def _sum(parts: Sequence[Verification]) -> Verification:
    joined = chain.from_iterable
    return Verification(
        customers=sum(each.customers for each in parts),
        days=sum(each.days for each in parts),
        events=sum(each.events for each in parts),
        differences=tuple(joined(each.differences for each in parts)),
        unsettled=tuple(joined(each.unsettled for each in parts)),
        foreign=tuple(joined(each.foreign for each in parts)),
        unlisted=tuple(joined(each.unlisted for each in parts)),
        repaired=sum(each.repaired for each in parts),
    )
