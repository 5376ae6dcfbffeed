"""Erasing a customer: step by step, each of which leaves counters and events in agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Protocol

from events.domain.rollups import fitting
from events.models import DayCounts, Erasure, Event, StoredEvent

#: Looked at before they are erased; a customer that is written to keeps no step for long.
_EVENTS_AT_A_TIME = 1_000


class Store(Protocol):
    """What an erasure needs of a database. Every read is strongly consistent."""

    def first_stored(
        self, customer_id: str, number: int
    ) -> Sequence[tuple[str, StoredEvent | None]]:
        """The first items with their keys, in order of keys; None for what is no event."""

    def delete(self, events: Sequence[Event]) -> int:
        """
        Delete distinct events of one customer and UTC day and take them out of the counts.

        Returns:
            How many; those that are not stored, or voided, are left as they are.
        """

    def delete_voided(self, customer_id: str, key: str) -> None:
        """Delete a voided event; whatever else has this key by now stays."""

    def delete_foreign(self, customer_id: str, key: str) -> None:
        """Delete an item of the events' table whose key no event can have."""

    def all_counters(self, customer_id: str) -> Iterator[DayCounts | str]:
        """Every counter item; the key of one that is no counter, as it is."""

    def delete_counter(self, seen: DayCounts) -> bool:
        """Delete a counter item that is still what was seen; False if it has moved."""

    def delete_foreign_counter(self, customer_id: str, key: str) -> None:
        """Delete an item of the counters' table that is no counter."""

    def is_listed(self, customer_id: str) -> bool:
        """Whether the registry of customers has this one."""

    def begin_erasure(self, customer_id: str, *, is_listed: bool) -> datetime | None:
        """
        Mark a customer as being erased; a mark that is there stays.

        Args:
            is_listed: Mark it only if it is listed still; else list it for that.

        Returns:
            The time of the mark; None if it is not listed any more.
        """

    def seconds_to_wait(self, since: datetime) -> float:
        """How long until every write that began before the mark has ended."""

    def forget_changes(self, customer_id: str, since: datetime) -> bool:
        """
        Take a customer marked at `since` off the list of changes, some of it each time.

        Returns:
            Whether nothing of it is left there.
        """

    def finish_erasure(self, customer_id: str, since: datetime) -> bool:
        """Take a customer off the list; False if something was written since the mark."""


def erase(store: Store, customer_id: str, *, max_events: int) -> Erasure:
    """
    One step of erasing a customer: call it again, after its `wait_seconds`, until it is complete.

    Nothing has to be remembered between steps, and any of them may be cut off. Questions asked
    meanwhile are answered with what is left, exactly. While events of the customer keep arriving
    it is never complete: first stop those who send them.

    Args:
        max_events: About how many events one step erases, from 1 on.

    Raises:
        StoreUnavailable: The same call again goes on.
    """
    is_something_left = not _is_nothing_left(store, customer_id)
    if not is_something_left and not store.is_listed(customer_id):
        return Erasure(0, is_complete=True)
    # Where nothing is left, another one may be erasing it, and take it off the list just now.
    since = store.begin_erasure(customer_id, is_listed=not is_something_left)
    if since is None:
        return Erasure(0, is_complete=_is_nothing_left(store, customer_id))
    erased = 0
    while erased < max_events:
        # Read anew each time: nothing is deleted for what it was long ago.
        number = min(_EVENTS_AT_A_TIME, max_events - erased)
        items = store.first_stored(customer_id, number)
        if not items:
            break
        erased += _erase_items(store, customer_id, items)
    else:
        return Erasure(erased, is_complete=False)
    # The counters are read before it is seen that no event is left, so one that has not moved
    # since then counts none.
    counters = list(store.all_counters(customer_id))
    if store.first_stored(customer_id, 1):
        return Erasure(erased, is_complete=False)
    for counter in counters:
        if isinstance(counter, str):
            store.delete_foreign_counter(customer_id, counter)
        else:
            store.delete_counter(counter)
    wait_seconds = store.seconds_to_wait(since)
    if wait_seconds:
        return Erasure(erased, is_complete=False, wait_seconds=wait_seconds)
    is_complete = (
        _is_nothing_left(store, customer_id)
        and store.forget_changes(customer_id, since)
        and store.finish_erasure(customer_id, since)
    )
    return Erasure(erased, is_complete)


def _is_nothing_left(store: Store, customer_id: str) -> bool:
    return (
        not store.first_stored(customer_id, 1)
        and next(store.all_counters(customer_id), None) is None
    )


def _erase_items(
    store: Store, customer_id: str, items: Sequence[tuple[str, StoredEvent | None]]
) -> int:
    erased = 0
    counted: list[Event] = []
    for key, stored in items:
        if stored is None:
            store.delete_foreign(customer_id, key)
            erased += 1
        elif stored.voided_at is not None:
            store.delete_voided(customer_id, key)
            erased += 1
        else:
            counted.append(stored.event)
    for _, group in groupby(counted, lambda event: event.timestamp.toordinal()):
        left = list(group)
        while left:
            batch = left[: fitting(left)]
            erased += store.delete(batch)
            left = left[len(batch) :]
    return erased
