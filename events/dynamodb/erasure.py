"""Erase a customer in steps; after each step the counters equal the events left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from events.datamodels import HOURS, Tables, event_of
from events.dynamodb.changefeed import ChangeFeed
from events.dynamodb.customers import LAST_KEY, Registry
from events.dynamodb.expressions import fitting
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

    def erase(self, customer_id: str, *, max_events: int) -> Erasure:
        """
        Run one step of an erasure; see `service.Store.erase`.

        No state is kept between steps except the mark on the customer's registry item.
        """
        is_empty = self._is_empty(customer_id)
        if is_empty and not self.registry.is_listed(customer_id):
            return Erasure(0, is_complete=True)
        # If nothing is left, another process may be removing the registry item at this moment.
        since = self.registry.begin_erasure(customer_id, is_listed=is_empty)
        if since is None:
            return Erasure(0, is_complete=self._is_empty(customer_id))
        erased = 0
        while erased < max_events:
            items = self._events(customer_id, min(_EVENTS_PER_READ, max_events - erased))
            if not items:
                break
            erased += self._delete_events(items)
        else:
            return Erasure(erased, is_complete=False)
        # Read the counters first, then check that no event is left. So a counter that has not
        # changed since it was read counts no event.
        counters = list(self._counters(customer_id))
        if self._events(customer_id, 1):
            return Erasure(erased, is_complete=False)
        for counter in counters:
            self._delete_counter(counter)
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
        """Whether the customer has neither events nor counters."""
        return not self._events(customer_id, 1) and not any(self._counters(customer_id))

    def _events(self, customer_id: str, limit: int) -> Sequence[Item]:
        """The customer's first items, including voided events and items that are not events."""
        items = self.requests.items(
            self.tables.events, "event_key", customer_id, "\0", LAST_KEY, Limit=limit
        )
        return list(islice(items, limit))

    def _counters(self, customer_id: str) -> Iterator[Item]:
        return self.requests.items(self.tables.counts, "counter_key", customer_id, "\0", LAST_KEY)

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

    def _delete_counter(self, item: Item) -> None:
        """Delete a counter unless it has changed since it was read."""
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
                TableName=self.tables.counts,
                Key={name: item[name] for name in ("customer_id", "counter_key")},
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
