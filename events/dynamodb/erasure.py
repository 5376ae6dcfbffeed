"""Erase a customer in steps; after each step the counters equal the events left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from events.datamodels import HOURS, Tables, event_of, shard_key, stamp_key, stamped_day
from events.dynamodb.changefeed import ChangeFeed
from events.dynamodb.customers import LAST_KEY, Registry
from events.dynamodb.expressions import fitting
from events.dynamodb.plans import Plans
from events.dynamodb.requests import ConditionFailed, Requests
from events.dynamodb.transactions import EventTransactions
from events.models import Erasure, Event

Item = Mapping[str, Any]

#: Read before they are deleted. Few, so that no item is deleted long after it was read.
_EVENTS_PER_READ = 1_000
#: Minutes of the change log that one step searches; a few seconds' work.
_CHANGE_MINUTES_PER_STEP = 4_000


@dataclass(eq=False)
class Eraser:
    """Deletes a customer from all tables; safe to use from many threads."""

    requests: Requests
    tables: Tables
    registry: Registry
    changes: ChangeFeed
    transactions: EventTransactions
    plans: Plans

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        """
        Run one step of an erasure; see `service.Store.erase`.

        No state is kept between steps except the mark on the customer's registry item.
        """
        step = self._step(customer_id, max_events)
        if step.is_complete:
            self.plans.forget(customer_id)
        return step

    def _step(self, customer_id: str, max_events: int) -> Erasure:
        is_empty = self._is_empty(customer_id)
        if is_empty and not self.registry.is_listed(customer_id):
            return Erasure(0, is_complete=True)
        # If nothing is left, another process may be removing the registry item at this moment.
        since = self.registry.begin_erasure(customer_id, is_listed=is_empty)
        if since is None:
            return Erasure(0, is_complete=self._is_empty(customer_id))
        erased = 0
        for partition in _partitions(customer_id, self._marks(customer_id)):
            while erased < max_events:
                items = self._events(partition, min(_EVENTS_PER_READ, max_events - erased))
                if not items:
                    break
                erased += self._delete_events(items)
            else:
                return Erasure(erased, is_complete=False)
        if not self._delete_counters(customer_id):
            return Erasure(erased, is_complete=False)
        wait_seconds = self.registry.seconds_to_wait(since)
        if wait_seconds:
            return Erasure(erased, is_complete=False, wait_seconds=wait_seconds)
        is_complete = (
            self._is_empty(customer_id)
            and self._forget_changes(customer_id, since)
            and self.registry.finish_erasure(customer_id, since)
        )
        return Erasure(erased, is_complete)

    def _is_empty(self, customer_id: str) -> bool:
        """Whether shard 0 has neither events nor counters: then no shard has any."""
        return not self._events(customer_id, 1) and not any(self._counters(customer_id))

    def _delete_counters(self, customer_id: str) -> bool:
        """
        Delete the counters if no event is left; returns False if there is one.

        Read the counters first, then check that no event is left. So a counter that has not changed
        since it was read counts no event. And shard 0 last: to write to a shard whose counters are
        gone changes the items of that day in shard 0.
        """
        own = [*self._marks(customer_id), *self._counters(customer_id)]
        for partition in _partitions(customer_id, own)[1:]:
            counters = list(self._counters(partition))
            if self._events(partition, 1):
                return False
            for item in counters:
                self._delete_unchanged(item)
            if any(self._counters(partition)):
                return False
        if self._events(customer_id, 1):
            return False
        for item in own:
            self._delete_unchanged(item)
        return True

    def _marks(self, customer_id: str) -> list[Item]:
        """The items that store the numbers of shards of a customer's days."""
        low, high = stamp_key(""), stamp_key("~")
        items = self.requests.items(self.tables.events, "event_key", customer_id, low, high)
        return [item for item in items if stamped_day(item) is not None]

    def _events(self, partition: str, limit: int) -> Sequence[Item]:
        """A shard's first items, including voided events and items that are not events."""
        items = self.requests.items(
            self.tables.events, "event_key", partition, "\0", LAST_KEY, Limit=limit
        )
        return list(islice((item for item in items if stamped_day(item) is None), limit))

    def _counters(self, partition: str) -> Iterator[Item]:
        return self.requests.items(self.tables.counts, "counter_key", partition, "\0", LAST_KEY)

    def _delete_events(self, items: Sequence[Item]) -> int:
        """Delete items of one customer, in key order; returns how many."""
        erased = 0
        counted: list[Event] = []
        for item in items:
            condition = {}
            try:
                event = event_of(item["customer_id"]["S"], item["event_key"]["S"])
            except ValueError:
                pass  # not an event, so nothing counts it
            else:
                if "voided_at" not in item:
                    counted.append(event)
                    continue
                # If the answer to a first attempt was lost, the event may be stored again by now.
                condition = {"ConditionExpression": "attribute_exists(voided_at)"}
            with suppress(ConditionFailed):
                self.requests.send(
                    self.requests.client.delete_item,
                    TableName=self.tables.events,
                    Key={name: item[name] for name in ("customer_id", "event_key")},
                    **condition,
                )
            erased += 1
        for _, group in groupby(counted, lambda event: event.timestamp.date()):
            day = list(group)
            while day:
                batch = day[: fitting(day)]
                erased += self.transactions.delete(batch)
                day = day[len(batch) :]
        return erased

    def _delete_unchanged(self, item: Item) -> None:
        """Delete a mark or a counter, unless it has changed since it was read."""
        is_counter = "counter_key" in item
        names = {f"#a{index}": name for index, name in enumerate(sorted({*item, *HOURS}))}
        condition = " AND ".join(
            f"{alias} = {alias.replace('#', ':')}"
            if name in item
            else f"attribute_not_exists({alias})"
            for alias, name in names.items()
        )
        with suppress(ConditionFailed):
            self.requests.send(
                self.requests.client.delete_item,
                TableName=self.tables.counts if is_counter else self.tables.events,
                Key={
                    name: item[name]
                    for name in ("customer_id", "counter_key" if is_counter else "event_key")
                },
                # A repeated delete whose first answer was lost finds no item.
                ConditionExpression=f"attribute_not_exists(customer_id) OR ({condition})",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={
                    alias.replace("#", ":"): item[name]
                    for alias, name in names.items()
                    if name in item
                },
            )

    def _forget_changes(self, customer_id: str, since: datetime) -> bool:
        """Delete some of the customer's change log; returns whether none is left."""
        reached = self.changes.forget_customer(
            customer_id,
            self.registry.changes_forgotten_until(customer_id, since),
            max_minutes=_CHANGE_MINUTES_PER_STEP,
        )
        if reached is not None:
            self.registry.note_changes_forgotten(customer_id, since, reached)
        return reached is None


def _partitions(customer_id: str, own: Sequence[Item]) -> list[str]:
    """The partition keys of a customer's shards, by what shard 0 holds; that shard is first."""
    shards = max((int(item["shards"]["N"]) for item in own if "shards" in item), default=1)
    return [shard_key(customer_id, shard) for shard in range(shards)]
