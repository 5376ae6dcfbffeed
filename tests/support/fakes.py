"""A store in memory, a spy on any store, and the back door to what a store holds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.customers import Registry
from events.errors import InvalidWindow
from events.models import (
    MAX_ACTIONS,
    Change,
    ChangeCursor,
    DayCounts,
    Event,
    Outcome,
    StoredEvent,
    Window,
)
from events.queries.changes import Log
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
        self._erasing: dict[str, datetime] = {}
        self.changes = MemoryChanges()
        self.is_closed = False

    # --- the store --------------------------------------------------------------------------------

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        self._check(events)
        with self._lock:
            items = self._items.setdefault(events[0].customer_id, {})
            self._list(events[0].customer_id)
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

    def delete(self, events: Sequence[Event]) -> int:
        self._check(events)
        with self._lock:
            items = self._items.get(events[0].customer_id, {})
            now = self._now()
            deleted = 0
            for each in events:
                stored = items.get(stored_key(each))
                if stored is not None and stored.voided_at is None:
                    del items[stored_key(each)]
                    self._add(each, -1, now)
                    deleted += 1
            return deleted

    def delete_voided(self, customer_id: str, key: str) -> None:
        with self._lock:
            stored = self._items.get(customer_id, {}).get(key)
            if stored is not None and stored.voided_at is not None:
                del self._items[customer_id][key]

    def delete_foreign(self, customer_id: str, key: str) -> None:
        with self._lock:
            assert self._items.get(customer_id, {}).get(key) is None, "an event"
            self._items.get(customer_id, {}).pop(key, None)

    def delete_counter(self, seen: DayCounts) -> bool:
        with self._lock:
            was = self._counter(seen.customer_id, seen.day, seen.event_type)
            if (was.hours, was.updated_at) != (seen.hours, seen.updated_at):
                return False
            self._counters.pop((seen.customer_id, seen.day, seen.event_type), None)
            return True

    def delete_foreign_counter(self, customer_id: str, key: str) -> None:
        """There are none here."""

    def first_stored(self, customer_id: str, number: int) -> list[tuple[str, StoredEvent | None]]:
        with self._lock:
            return sorted(self._items.get(customer_id, {}).items(), key=lambda item: item[0])[
                :number
            ]

    def all_counters(self, customer_id: str) -> Iterator[DayCounts | str]:
        with self._lock:
            return iter(
                [each for each in self._counters.values() if each.customer_id == customer_id]
            )

    def begin_erasure(self, customer_id: str, *, is_listed: bool) -> datetime | None:
        with self._lock:
            if is_listed and customer_id not in self._listed:
                return None
            self._listed.add(customer_id)
            return self._erasing.setdefault(customer_id, self._now())

    def seconds_to_wait(self, since: datetime) -> float:
        assert since in self._erasing.values(), "marked, and nobody wrote meanwhile"
        return 0.0

    def forget_changes(self, customer_id: str, since: datetime) -> bool:
        with self._lock:
            assert since in self._erasing.values(), "marked, and nobody wrote meanwhile"
            listed = self.changes.listed
            listed -= {each for each in listed if each.customer_id == customer_id}
            return True

    def finish_erasure(self, customer_id: str, since: datetime) -> bool:
        with self._lock:
            if self._erasing.get(customer_id) != since:
                return customer_id not in self._listed
            del self._erasing[customer_id]
            self._listed.discard(customer_id)
            return True

    def _list(self, customer_id: str) -> None:
        self._listed.add(customer_id)
        self._erasing.pop(customer_id, None)

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
    ) -> Iterator[tuple[str, StoredEvent | None]]:
        assert page_size > 0
        if after is not None and not (
            time_text(window.start) < after
            and (after < time_text(window.end) or window.end == _END_OF_TIME)
        ):
            raise InvalidWindow("is no place in this window: use `next` as it was given", "cursor")
        return (
            (key, stored)
            for key, stored in self._between(customer_id, window, is_newest_first=is_newest_first)
            if after is None or (key < after if is_newest_first else key > after)
        )

    def _between(
        self, customer_id: str, window: Window, *, is_newest_first: bool = False
    ) -> Iterator[tuple[str, StoredEvent | None]]:
        start, end = time_text(window.start), time_text(window.end)
        is_endless = window.end == _END_OF_TIME
        with self._lock:
            items = sorted(
                self._items.get(customer_id, {}).items(),
                key=lambda item: item[0],
                reverse=is_newest_first,
            )
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
        self, customer_id: str, first_day: str, last_day: str, *, by_type: bool
    ) -> Iterator[DayCounts]:
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
            Counter(
                each.event_type
                for each in self.event_keys(customer_id, window)
                if isinstance(each, Event)
            )
            for window in windows
        ]

    def event_keys(self, customer_id: str, window: Window) -> Iterator[Event | str]:
        return _counted(self._between(customer_id, window))

    def all_event_keys(self, customer_id: str) -> Iterator[Event | str]:
        with self._lock:
            items = sorted(self._items.get(customer_id, {}).items(), key=lambda item: item[0])
        return _counted(items)

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
            self._list(customer_id)

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


def _counted(items: Iterable[tuple[str, StoredEvent | None]]) -> Iterator[Event | str]:
    for key, stored in items:
        if stored is None:
            yield key
        elif stored.voided_at is None:
            yield stored.event


def _without_zeros(hours: Mapping[int, int]) -> dict[int, int]:
    return {hour: number for hour, number in hours.items() if number}


def _counter_key(day: str, event_type: str | None) -> str:
    return f"total#{day}" if event_type is None else f"type#{day}#{event_type}"


@contextmanager
def dynamodb_subject(
    client: DynamoDBClient,
    events_table: str,
    *,
    make_registry: Callable[..., Registry] = Registry,
    make_changes: Callable[..., ChangeLog] = ChangeLog,
) -> Iterator[Subject]:
    """
    A store on tables of its own, which are dropped afterwards.

    Args:
        client: Also for others after this: making one takes as long as a whole test.
        make_registry: As for `DynamoStore`.
        make_changes: As for `DynamoStore`.
    """
    store = DynamoStore(
        client,
        Tables.named(events_table),
        retry=RetryPolicy(10),
        make_registry=make_registry,
        make_changes=make_changes,
    )
    store.create_tables()
    tables = DynamoBackDoor(client, events_table)
    yield Subject(store, tables)
    # Of the client this only lets go of connections.
    store.close()
    tables.drop_tables()


class SpyStore:
    """
    Any store, with something done before each call, and each call noted.

    Args:
        before: Called with the method's name, before the method.
    """

    def __init__(self, store: Store, before: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._before = before
        #: Each call: the method's name and its arguments.
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def _note(self, name: str, *arguments: object) -> None:
        self.calls.append((name, arguments))
        self._before(name)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        self._note("write", events)
        return self._store.write(events)

    def announce(self, days: Sequence[tuple[str, str]]) -> None:
        self._store.announce(days)

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        self._note("void", events, reason)
        return self._store.void(events, reason)

    def delete(self, events: Sequence[Event]) -> int:
        self._note("delete", events)
        return self._store.delete(events)

    def delete_voided(self, customer_id: str, key: str) -> None:
        self._note("delete_voided", customer_id, key)
        self._store.delete_voided(customer_id, key)

    def delete_foreign(self, customer_id: str, key: str) -> None:
        self._note("delete_foreign", customer_id, key)
        self._store.delete_foreign(customer_id, key)

    def delete_counter(self, seen: DayCounts) -> bool:
        self._note("delete_counter", seen)
        return self._store.delete_counter(seen)

    def delete_foreign_counter(self, customer_id: str, key: str) -> None:
        self._note("delete_foreign_counter", customer_id, key)
        self._store.delete_foreign_counter(customer_id, key)

    def first_stored(
        self, customer_id: str, number: int
    ) -> Sequence[tuple[str, StoredEvent | None]]:
        self._note("first_stored", customer_id, number)
        return self._store.first_stored(customer_id, number)

    def all_counters(self, customer_id: str) -> Iterator[DayCounts | str]:
        self._note("all_counters", customer_id)
        return self._store.all_counters(customer_id)

    def begin_erasure(self, customer_id: str, *, is_listed: bool) -> datetime | None:
        self._note("begin_erasure", customer_id, is_listed)
        return self._store.begin_erasure(customer_id, is_listed=is_listed)

    def seconds_to_wait(self, since: datetime) -> float:
        self._note("seconds_to_wait", since)
        return self._store.seconds_to_wait(since)

    @property
    def changes(self) -> Log:
        return self._store.changes

    def forget_changes(self, customer_id: str, since: datetime) -> bool:
        self._note("forget_changes", customer_id, since)
        return self._store.forget_changes(customer_id, since)

    def finish_erasure(self, customer_id: str, since: datetime) -> bool:
        self._note("finish_erasure", customer_id, since)
        return self._store.finish_erasure(customer_id, since)

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent | None]]:
        self._note("stored_events", customer_id, window, after, is_newest_first, page_size)
        return self._store.stored_events(
            customer_id,
            window,
            after=after,
            is_newest_first=is_newest_first,
            page_size=page_size,
        )

    def day_counts(
        self, customer_id: str, first_day: str, last_day: str, *, by_type: bool
    ) -> Iterator[DayCounts]:
        self._note("day_counts", customer_id, first_day, last_day, by_type)
        return self._store.day_counts(customer_id, first_day, last_day, by_type=by_type)

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        self._note("count_events", customer_id, windows)
        return self._store.count_events(customer_id, windows)

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> Sequence[Mapping[str | None, int]]:
        self._note("count_events_by_type", customer_id, windows)
        return self._store.count_events_by_type(customer_id, windows)

    def event_keys(self, customer_id: str, window: Window) -> Iterator[Event | str]:
        self._note("event_keys", customer_id, window)
        return self._store.event_keys(customer_id, window)

    def all_event_keys(self, customer_id: str) -> Iterator[Event | str]:
        self._note("all_event_keys", customer_id)
        return self._store.all_event_keys(customer_id)

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        self._note("customers", prefix, after, limit)
        return self._store.customers(prefix=prefix, after=after, limit=limit)

    def stored_customers(self) -> Iterator[str]:
        self._note("stored_customers")
        return self._store.stored_customers()

    def is_listed(self, customer_id: str) -> bool:
        self._note("is_listed", customer_id)
        return self._store.is_listed(customer_id)

    def register(self, customer_id: str) -> None:
        self._note("register", customer_id)
        self._store.register(customer_id)

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        self._note("repair", seen, recount)
        return self._store.repair(seen, recount)

    def check(self, *, patience_seconds: float = 0) -> None:
        self._note("check")
        self._store.check(patience_seconds=patience_seconds)

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        self._note("create_tables", patience_seconds)
        self._store.create_tables(patience_seconds=patience_seconds)

    def close(self) -> None:
        self._note("close")
        self._store.close()


if TYPE_CHECKING:
    # mypy holds these to the protocols.
    _store: Store = MemoryStore()
    _back_door: BackDoor = MemoryStore()
    _spy: Store = SpyStore(MemoryStore())
