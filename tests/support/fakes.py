"""A store in memory, and a spy on any store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from events.errors import InvalidWindow
from events.models import (
    MAX_ACTIONS,
    Change,
    ChangeCursor,
    DayCounts,
    Erasure,
    Event,
    Outcome,
    StoredEvent,
    Window,
)
from events.service import Store
from tests.support.backdoor import BackDoor
from tests.support.factories import Contents, counter_key, stored_key, time_text

#: When `MemoryStore` stores its first event; each later write comes a second after.
FIRST_INGESTED_AT = datetime(2021, 6, 1, tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class MemoryChanges:
    """
    A change log in memory, with minutes, that can be read at once.

    Args:
        known_from: Start of the first minute.
        settled_until: See `changes.Log`.
    """

    def __init__(
        self,
        known_from: datetime = FIRST_INGESTED_AT,
        settled_until: datetime = FIRST_INGESTED_AT + timedelta(days=1),
    ) -> None:
        self._known_from = known_from
        self._settled_until = settled_until
        self.listed: set[Change] = set()

    def add(self, customer_id: str, day: str, at: datetime) -> None:
        self.listed.add(Change(self.minute_of(at), customer_id, day))

    def forget(self, customer_id: str) -> None:
        self.listed = {change for change in self.listed if change.customer_id != customer_id}

    def known_from(self) -> ChangeCursor:
        return ChangeCursor(self._known_from)

    def settled_until(self) -> datetime:
        return self._settled_until

    def minute_of(self, at: datetime) -> datetime:
        return at.replace(second=0, microsecond=0)

    def first_minute_for(self, at: datetime) -> datetime:
        return self.minute_of(at - timedelta(seconds=30))

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        after = (cursor.minute, cursor.after_key or "")
        changes = sorted(
            change
            for change in self.listed
            if after < (change.minute, f"{change.customer_id}#{change.day}")
            and change.minute < until
        )
        if len(changes) <= limit:
            return changes, ChangeCursor(until)
        last = changes[limit - 1]
        return changes[:limit], ChangeCursor(last.minute, 0, f"{last.customer_id}#{last.day}")


class MemoryStore:
    """
    A `Store` without a database, and its own back door; safe to use from many threads.

    `write` fails on what DynamoDB would refuse: an item twice, or more than `MAX_ACTIONS`.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        seconds = count()
        self._now = now or (lambda: FIRST_INGESTED_AT + timedelta(seconds=next(seconds)))
        self._lock = threading.RLock()
        #: Customer → stored key → the event, or None for an item that is not an event.
        self._items: dict[str, dict[str, StoredEvent | None]] = {}
        self._counters: dict[tuple[str, str, str | None], DayCounts] = {}
        self._registered: set[str] = set()
        self.changes = MemoryChanges()
        self.is_closed = False

    # --- writing ----------------------------------------------------------------------------------

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        with self._lock:
            now = self._begin(events)
            self._registered.add(events[0].customer_id)
            return [self._write(event, now) for event in events]

    def _write(self, event: Event, now: datetime) -> Outcome:
        items = self._items.setdefault(event.customer_id, {})
        key = stored_key(event)
        if key in items:
            stored = items[key]
            is_voided = stored is not None and stored.voided_at is not None
            return Outcome.VOIDED if is_voided else Outcome.DUPLICATE
        items[key] = StoredEvent(event, now)
        self._add(event, 1, now)
        return Outcome.INSERTED

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        with self._lock:
            now = self._begin(events)
            return [self._void(event, reason, now) for event in events]

    def _void(self, event: Event, reason: str, now: datetime) -> Outcome:
        items = self._items.get(event.customer_id, {})
        stored = items.get(stored_key(event))
        if stored is None:
            return Outcome.NOT_FOUND
        if stored.voided_at is not None:
            return Outcome.ALREADY_VOIDED
        items[stored_key(event)] = stored._replace(voided_at=now, void_reason=reason)
        self._add(event, -1, now)
        return Outcome.VOIDED

    def _begin(self, events: Sequence[Event]) -> datetime:
        """Check what DynamoDB would refuse, and log the change; returns the time."""
        types = {event.event_type for event in events}
        assert len(set(events)) == len(events), "an event twice in one transaction"
        assert len({(e.customer_id, e.timestamp.date()) for e in events}) == 1, "not one day"
        assert len(events) + 1 + len(types) <= MAX_ACTIONS, "too many actions"
        now = self._now()
        self.changes.add(events[0].customer_id, time_text(events[0].timestamp)[:10], now)
        return now

    def _add(self, event: Event, number: int, now: datetime) -> None:
        day = time_text(event.timestamp)[:10]
        for event_type in (None, event.event_type):
            hours = Counter(self._counter(event.customer_id, day, event_type).hours)
            hours[event.timestamp.hour] += number
            self._put(DayCounts(event.customer_id, day, event_type, hours, now))

    def _counter(self, customer_id: str, day: str, event_type: str | None) -> DayCounts:
        nothing = DayCounts(customer_id, day, event_type, {})
        return self._counters.get((customer_id, day, event_type), nothing)

    def _put(self, counts: DayCounts) -> None:
        hours = {hour: number for hour, number in counts.hours.items() if number}
        key = counts.customer_id, counts.day, counts.event_type
        self._counters[key] = replace(counts, hours=hours)

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        with self._lock:
            items = self._items.get(customer_id, {})
            keys = sorted(items)[:max_events]
            now = self._now()
            for key in keys:
                stored = items.pop(key)
                if stored is not None and stored.voided_at is None:
                    self._add(stored.event, -1, now)
            if len(keys) == max_events:
                return Erasure(len(keys), is_complete=False)
            for counter in [key for key in self._counters if key[0] == customer_id]:
                del self._counters[counter]
            self.changes.forget(customer_id)
            self._registered.discard(customer_id)
            return Erasure(len(keys), is_complete=True)

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        with self._lock:
            was = self._counter(seen.customer_id, seen.day, seen.event_type)
            if (was.hours, was.updated_at) != (seen.hours, seen.updated_at):
                return False
            at = was.updated_at or self._now()
            self.changes.add(seen.customer_id, seen.day, at)
            self._put(replace(was, hours=recount.hours, updated_at=at))
            return True

    def register(self, customer_id: str) -> None:
        with self._lock:
            self._registered.add(customer_id)

    # --- reading ----------------------------------------------------------------------------------

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        assert page_size is None or page_size > 0
        with self._lock:
            counters = [
                counts
                for counts in self._counters.values()
                if counts.customer_id == customer_id
                and first_day <= counts.day <= last_day
                and (counts.event_type is not None) == by_type
            ]
        return iter(sorted(counters, key=lambda item: (item.day, item.event_type or "")))

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        return [sum(1 for _ in self.counted_events(customer_id, window)) for window in windows]

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        return [
            Counter(event.event_type for event in self.counted_events(customer_id, window))
            for window in windows
        ]

    def counted_events(
        self,
        customer_id: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        for key, stored in self._between(customer_id, window):
            if stored is None:
                on_foreign(key)
            elif stored.voided_at is None:
                yield stored.event

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent]]:
        assert page_size > 0
        start, end = time_text(window.start), time_text(window.end)
        is_before_end = after is not None and (after < end or window.end == _END_OF_TIME)
        if after is not None and not (start < after and is_before_end):
            raise InvalidWindow(
                "invalid cursor: pass the previous page's `next` unchanged", "cursor"
            )
        items = self._between(customer_id, window)
        return (
            (key, stored)
            for key, stored in (reversed(items) if is_newest_first else items)
            if stored is not None
            and (after is None or (key < after if is_newest_first else key > after))
        )

    def _between(
        self, customer_id: str, window: Window | None
    ) -> list[tuple[str, StoredEvent | None]]:
        with self._lock:
            items = self._items.get(customer_id, {})
            ordered = [(key, items[key]) for key in sorted(items)]
        if window is None:
            return ordered
        start, end = time_text(window.start), time_text(window.end)
        is_endless = window.end == _END_OF_TIME
        return [
            (key, stored)
            for key, stored in ordered
            if start <= key[:27] and (key[:27] < end or (is_endless and key[:27] == end))
        ]

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        with self._lock:
            # Python sorts strings in the order of their UTF-8 bytes.
            names = sorted(name for name in self._registered if name.startswith(prefix))
        return [name for name in names if after is None or name > after][:limit]

    def stored_customers(self) -> Iterator[str]:
        with self._lock:
            names = [name for name, items in self._items.items() if items]
            names += [customer_id for customer_id, _, _ in self._counters]
        return iter(dict.fromkeys(names))

    def is_listed(self, customer_id: str) -> bool:
        with self._lock:
            return customer_id in self._registered

    # --- what a store in memory need not do -------------------------------------------------------

    def check(self, *, patience_seconds: float = 0) -> None: ...

    def create_tables(self, *, patience_seconds: float | None = None) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    # --- its back door ----------------------------------------------------------------------------

    def contents(self) -> Contents:
        with self._lock:
            stored = [
                (name, key, stored)
                for name, items in self._items.items()
                for key, stored in items.items()
            ]
            return Contents(
                events=sorted((name, key) for name, key, _ in stored),
                counters={
                    (counts.customer_id, counter_key(counts.day, counts.event_type)): {
                        f"h{hour:02d}": number for hour, number in counts.hours.items()
                    }
                    for counts in self._counters.values()
                },
                customers=sorted(self._registered),
                voided=sorted(
                    (name, key, item.void_reason or "")
                    for name, key, item in stored
                    if item is not None and item.voided_at is not None
                ),
            )

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        with self._lock:
            self._put(DayCounts(customer_id, day, event_type, hours, self._now()))

    def drop_counter(self, customer_id: str, day: str, event_type: str | None) -> None:
        with self._lock:
            del self._counters[customer_id, day, event_type]

    def put_event(self, event: Event) -> None:
        with self._lock:
            stored = StoredEvent(event, self._now())
            self._items.setdefault(event.customer_id, {})[stored_key(event)] = stored

    def drop_event(self, event: Event) -> None:
        with self._lock:
            del self._items[event.customer_id][stored_key(event)]

    def put_foreign(self, customer_id: str, key: str) -> None:
        with self._lock:
            self._items.setdefault(customer_id, {})[key] = None

    def unlist(self, customer_id: str) -> None:
        with self._lock:
            self._registered.remove(customer_id)


if TYPE_CHECKING:
    # For mypy the spy has the methods of a store; it forwards them all.
    _Forwarding = MemoryStore
else:
    _Forwarding = object


class SpyStore(_Forwarding):
    """
    Any store; notes each call before forwarding it.

    Args:
        before: Called with the method's name before each call.
    """

    def __init__(self, store: Store, before: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._before = before
        #: Each call: the method's name and its arguments.
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        def call(*args: object, **options: object) -> Any:
            self.calls.append((name, (*args, *options.values())))
            self._before(name)
            return attribute(*args, **options)

        return call


if TYPE_CHECKING:
    # mypy checks these against the protocols.
    _store: Store = MemoryStore()
    _back_door: BackDoor = MemoryStore()
