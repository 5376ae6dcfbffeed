"""A store in memory, a spy on any store, and the back door to what a store holds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from events.dao import DynamoStore, Timing
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
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
from tests.support.factories import Contents, stored_key, time_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: When the memory store takes in its first event; each later write comes a second after.
FIRST_INGESTED_AT = datetime(2021, 6, 1, tzinfo=UTC)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_REGISTRY = " customers"


class BackDoor(Protocol):
    """What a manual delete, an import or a restore does: items changed past the service."""

    def contents(self) -> Contents:
        """Everything there is."""

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        """Put these hours in the place of whatever the counter holds."""

    def drop_counter(self, customer_id: str, day: str, event_type: str | None) -> None: ...

    def put_event(self, event: Event) -> None:
        """Store an event and count it nowhere."""

    def drop_event(self, event: Event) -> None:
        """Take an event away, and leave it counted."""

    def put_foreign(self, customer_id: str, key: str) -> None:
        """Store an item that is no event."""

    def unlist(self, customer_id: str) -> None: ...


@dataclass(frozen=True)
class Subject:
    """A store to test, and the back door to it."""

    store: Store
    tables: BackDoor


class MemoryChanges:
    """
    A list of changes in memory, with slots of a minute, that is read at once.

    Args:
        known_from: Start of the first slot.
        settled_until: As for `changes.Log`.
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
        self.listed.add(Change(self.slot_of(at), customer_id, day))

    def forget(self, customer_id: str) -> None:
        self.listed = {each for each in self.listed if each.customer_id != customer_id}

    def known_from(self) -> ChangeCursor:
        return ChangeCursor(self._known_from)

    def settled_until(self) -> datetime:
        return self._settled_until

    def slot_of(self, at: datetime) -> datetime:
        return at.replace(second=0, microsecond=0)

    def first_slot_for(self, at: datetime) -> datetime:
        return self.slot_of(at - timedelta(seconds=30))

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        after = (cursor.slot, cursor.after_key or "")
        found = sorted(
            each
            for each in self.listed
            if after < (each.slot, f"{each.customer_id}#{each.day}") and each.slot < until
        )
        if len(found) <= limit:
            return found, ChangeCursor(until)
        last = found[limit - 1]
        return found[:limit], ChangeCursor(last.slot, 0, f"{last.customer_id}#{last.day}")


class MemoryStore:
    """
    A `Store` without a database, and its own back door; safe to use from many threads.

    `write` fails on what DynamoDB would refuse: an item twice, or more than `MAX_ACTIONS`.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        seconds = count()
        self._now = now or (lambda: FIRST_INGESTED_AT + timedelta(seconds=next(seconds)))
        self._lock = threading.RLock()
        #: Customer → stored key → the event, or None for an item that is none.
        self._items: dict[str, dict[str, StoredEvent | None]] = {}
        self._counters: dict[tuple[str, str, str | None], DayCounts] = {}
        self._listed: set[str] = set()
        self.changes = MemoryChanges()
        self.is_closed = False

    # --- the store --------------------------------------------------------------------------------

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        self._check(events)
        with self._lock:
            items = self._items.setdefault(events[0].customer_id, {})
            self._listed.add(events[0].customer_id)
            now = self._now()
            self._tell(events, now)
            outcomes = []
            for each in events:
                if stored_key(each) in items:
                    stored = items[stored_key(each)]
                    is_voided = stored is not None and stored.voided_at is not None
                    outcomes.append(Outcome.VOIDED if is_voided else Outcome.DUPLICATE)
                    continue
                outcomes.append(Outcome.INSERTED)
                items[stored_key(each)] = StoredEvent(each, now)
                self._add(each, 1, now)
            return outcomes

    def _tell(self, events: Sequence[Event], now: datetime) -> None:
        self.changes.add(events[0].customer_id, time_text(events[0].timestamp)[:10], now)

    def _check(self, events: Sequence[Event]) -> None:
        types = {each.event_type for each in events}
        assert len(set(events)) == len(events), "an event twice in one transaction"
        assert len({(e.customer_id, e.timestamp.date()) for e in events}) == 1, "not one lane"
        assert len(events) + 1 + len(types) <= MAX_ACTIONS, "too many actions"

    def announce(self, days: Sequence[tuple[str, str]]) -> None:
        """There is nothing to prepare."""

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        self._check(events)
        with self._lock:
            items = self._items.get(events[0].customer_id, {})
            now = self._now()
            self._tell(events, now)
            outcomes = []
            for each in events:
                stored = items.get(stored_key(each))
                if stored is None:
                    outcomes.append(Outcome.NOT_FOUND)
                elif stored.voided_at is not None:
                    outcomes.append(Outcome.ALREADY_VOIDED)
                else:
                    outcomes.append(Outcome.VOIDED)
                    items[stored_key(each)] = stored._replace(voided_at=now, void_reason=reason)
                    self._add(each, -1, now)
            return outcomes

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
            for counter in [each for each in self._counters if each[0] == customer_id]:
                del self._counters[counter]
            self.changes.forget(customer_id)
            self._listed.discard(customer_id)
            return Erasure(len(keys), is_complete=True)

    def _add(self, event: Event, number: int, now: datetime) -> None:
        day = time_text(event.timestamp)[:10]
        for event_type in (None, event.event_type):
            was = self._counter(event.customer_id, day, event_type)
            hours = Counter(was.hours)
            hours[event.timestamp.hour] += number
            self._put(replace(was, hours=_without_zeros(hours), updated_at=now))

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
        if after is not None and not (
            time_text(window.start) < after
            and (after < time_text(window.end) or window.end == _END_OF_TIME)
        ):
            raise InvalidWindow(
                "invalid cursor: pass the previous page's `next` unchanged", "cursor"
            )
        return (
            (key, stored)
            for key, stored in self._between(customer_id, window, is_newest_first=is_newest_first)
            if stored is not None
            and (after is None or (key < after if is_newest_first else key > after))
        )

    def _between(
        self, customer_id: str, window: Window | None, *, is_newest_first: bool = False
    ) -> Iterator[tuple[str, StoredEvent | None]]:
        with self._lock:
            items = sorted(
                self._items.get(customer_id, {}).items(),
                key=lambda item: item[0],
                reverse=is_newest_first,
            )
        if window is None:
            return iter(items)
        start, end = time_text(window.start), time_text(window.end)
        is_endless = window.end == _END_OF_TIME
        return (
            (key, stored)
            for key, stored in items
            if start <= key[:27] and (key[:27] < end or (is_endless and key[:27] == end))
        )

    def _counter(self, customer_id: str, day: str, event_type: str | None) -> DayCounts:
        nothing = DayCounts(customer_id, day, event_type, {})
        return self._counters.get((customer_id, day, event_type), nothing)

    def _put(self, counts: DayCounts) -> None:
        self._counters[counts.customer_id, counts.day, counts.event_type] = counts

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
            found = [
                each
                for each in self._counters.values()
                if each.customer_id == customer_id
                and first_day <= each.day <= last_day
                and (each.event_type is not None) == by_type
            ]
        return iter(sorted(found, key=lambda each: (each.day, each.event_type or "")))

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        return [counts.total() for counts in self._count(customer_id, windows)]

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        return list(self._count(customer_id, windows))

    def _count(self, customer_id: str, windows: Sequence[Window]) -> list[Counter[str | None]]:
        return [
            Counter(each.event_type for each in self.counted_events(customer_id, window))
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

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        with self._lock:
            # The order of Python's strings is that of their bytes in UTF-8.
            names = sorted(name for name in self._listed if name.startswith(prefix))
        return [name for name in names if after is None or name > after][:limit]

    def stored_customers(self) -> Iterator[str]:
        with self._lock:
            names = [name for name, items in self._items.items() if items]
            names += [customer_id for customer_id, _, _ in self._counters]
        return iter(dict.fromkeys(names))

    def is_listed(self, customer_id: str) -> bool:
        with self._lock:
            return customer_id in self._listed

    def register(self, customer_id: str) -> None:
        with self._lock:
            self._listed.add(customer_id)

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        with self._lock:
            was = self._counter(seen.customer_id, seen.day, seen.event_type)
            if (was.hours, was.updated_at) != (seen.hours, seen.updated_at):
                return False
            at = was.updated_at or self._now()
            self.changes.add(seen.customer_id, seen.day, at)
            self._put(replace(was, hours=_without_zeros(recount.hours), updated_at=at))
            return True

    def check(self, *, patience_seconds: float = 0) -> None:
        """It is always there."""

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """They are always there."""

    def close(self) -> None:
        self.is_closed = True

    # --- its back door ----------------------------------------------------------------------------

    def contents(self) -> Contents:
        with self._lock:
            return Contents(
                events=sorted((name, key) for name, items in self._items.items() for key in items),
                counters={
                    (each.customer_id, _counter_key(each.day, each.event_type)): {
                        f"h{hour:02d}": number for hour, number in each.hours.items()
                    }
                    for each in self._counters.values()
                },
                customers=sorted(self._listed),
                voided=sorted(
                    (name, key, stored.void_reason or "")
                    for name, items in self._items.items()
                    for key, stored in items.items()
                    if stored is not None and stored.voided_at is not None
                ),
            )

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        with self._lock:
            was = self._counter(customer_id, day, event_type)
            self._put(replace(was, hours=_without_zeros(hours), updated_at=self._now()))

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
            self._listed.remove(customer_id)


class DynamoBackDoor:
    """The back door to the tables in DynamoDB, with a client of its own."""

    def __init__(self, client: DynamoDBClient, events_table: str) -> None:
        self._client = client
        self._events = events_table
        self._counts = f"{events_table}_hourly_counts"
        self._changes = f"{events_table}_changes"

    @property
    def names(self) -> Tables:
        return Tables(self._events, self._counts, self._changes)

    def drop_tables(self) -> None:
        for table in (self._events, self._counts, self._changes):
            with suppress(self._client.exceptions.ResourceNotFoundException):
                self._client.delete_table(TableName=table)

    def contents(self) -> Contents:
        events: list[tuple[str, str]] = []
        counters: dict[tuple[str, str], dict[str, int]] = {}
        customers: list[str] = []
        voided: list[tuple[str, str, str]] = []
        for item in self._scan(self._events):
            key = item["customer_id"]["S"], item["event_key"]["S"]
            events.append(key)
            names = {"customer_id", "event_key", "ingested_at"}
            if "voided_at" in item:
                names |= {"voided_at", "void_reason"}
                voided.append((*key, item["void_reason"]["S"]))
            assert set(item) == names
        for item in self._scan(self._counts):
            key = item.pop("customer_id")["S"], item.pop("counter_key")["S"]
            if key[0] == _REGISTRY:
                item.pop("erasing_since", None)
                item.pop("changes_forgotten_until", None)
                assert set(item) == {"registered_id", "registered_at"}
                customers.append(item["registered_id"]["S"])
                continue
            assert "S" in item.pop("updated_at")
            item.pop("repaired_at", None)
            hours = {hour: int(number["N"]) for hour, number in item.items()}
            counters[key] = {hour: number for hour, number in hours.items() if number}
        return Contents(sorted(events), counters, sorted(customers), sorted(voided))

    def _scan(self, table: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        for page in pages:
            yield from page["Items"]

    def set_counter(
        self, customer_id: str, day: str, event_type: str | None, hours: Mapping[int, int]
    ) -> None:
        self._client.put_item(
            TableName=self._counts,
            Item={
                "customer_id": {"S": customer_id},
                "counter_key": {"S": _counter_key(day, event_type)},
                "updated_at": {"S": "2021-06-01T00:00:00.000000Z"},
                **{f"h{hour:02d}": {"N": str(number)} for hour, number in hours.items()},
            },
        )

    def drop_counter(self, customer_id: str, day: str, event_type: str | None) -> None:
        self._delete(self._counts, customer_id, counter_key=_counter_key(day, event_type))

    def put_event(self, event: Event) -> None:
        self.put_foreign(event.customer_id, stored_key(event))

    def drop_event(self, event: Event) -> None:
        self._delete(self._events, event.customer_id, event_key=stored_key(event))

    def put_foreign(self, customer_id: str, key: str) -> None:
        self._client.put_item(
            TableName=self._events,
            Item={
                "customer_id": {"S": customer_id},
                "event_key": {"S": key},
                "ingested_at": {"S": "2021-06-01T00:00:00.000000Z"},
            },
        )

    def unlist(self, customer_id: str) -> None:
        self._delete(self._counts, _REGISTRY, counter_key=customer_id)

    def _delete(self, table: str, customer_id: str, **sort_key: str) -> None:
        ((name, value),) = sort_key.items()
        answer = self._client.delete_item(
            TableName=table,
            Key={"customer_id": {"S": customer_id}, name: {"S": value}},
            ReturnValues="ALL_OLD",
        )
        assert "Attributes" in answer, "there was nothing to delete"


def _without_zeros(hours: Mapping[int, int]) -> dict[int, int]:
    return {hour: number for hour, number in hours.items() if number}


def _counter_key(day: str, event_type: str | None) -> str:
    return f"total#{day}" if event_type is None else f"type#{day}#{event_type}"


#: An erasure need not wait long until all writers know of it.
BRIEF = Timing(registered_for_seconds=0.05, request_seconds=0.05)


@contextmanager
def dynamodb_subject(
    client: DynamoDBClient, events_table: str, *, timing: Timing = BRIEF
) -> Iterator[Subject]:
    """A store on existing tables. Its client can be used again afterwards."""
    store = DynamoStore(client, Tables.named(events_table), retry=RetryPolicy(10), timing=timing)
    yield Subject(store, DynamoBackDoor(client, events_table))
    store.close()


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
        if not callable(attribute) or name == "announce":
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
