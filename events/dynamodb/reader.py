"""Reads of events and counters, all strongly consistent; `service.Store` documents them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from events.datamodels import (
    REGISTRY,
    Tables,
    counter_bounds,
    day_counts_of,
    event_of,
    key_bounds,
    stored_event_of,
)
from events.dynamodb.customers import LAST_KEY
from events.dynamodb.requests import Requests
from events.errors import InvalidWindow
from events.models import MAX_SORT_KEY_BYTES, DayCounts, Event, StoredEvent, Window

log = logging.getLogger(__name__)

#: A voided event stays stored but does not count.
_NOT_VOIDED = "attribute_not_exists(voided_at)"


@dataclass(eq=False)
class Reader:
    """Reads of one store; safe to use from many threads."""

    requests: Requests
    tables: Tables
    #: Runs the raw counts of one question at the same time.
    threads: Executor

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        bounds = counter_bounds(first_day, last_day, by_type=by_type)
        limit: dict[str, Any] = {} if page_size is None else {"Limit": page_size}
        for item in self.requests.items(
            self.tables.counts, "counter_key", customer_id, *bounds, **limit
        ):
            try:
                yield day_counts_of(item)
            except ValueError as exc:
                log.warning("ignored an item of the counts table: %s", exc)

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        def count(window: Window) -> int:
            pages = self.requests.pages(
                *self._events_in(customer_id, window), FilterExpression=_NOT_VOIDED, Select="COUNT"
            )
            return sum(int(page["Count"]) for page in pages)

        return list(self.threads.map(count, windows))

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        # The event type is inside the sort key, which filter expressions cannot use.
        def count(window: Window) -> Mapping[str | None, int]:
            return Counter(event.event_type for event in self.counted_events(customer_id, window))

        return list(self.threads.map(count, windows))

    def counted_events(
        self,
        customer_id: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        for item in self.requests.items(
            *self._events_in(customer_id, window),
            FilterExpression=_NOT_VOIDED,
            ProjectionExpression="event_key",
        ):
            key = item["event_key"]["S"]
            try:
                event = event_of(customer_id, key)
            except ValueError:
                on_foreign(key)
            else:
                yield event

    def _events_in(self, customer_id: str, window: Window | None) -> tuple[str, str, str, str, str]:
        low, high = ("\0", LAST_KEY) if window is None else key_bounds(window)
        return self.tables.events, "event_key", customer_id, low, high

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent]]:
        request: dict[str, Any] = {"ScanIndexForward": not is_newest_first, "Limit": page_size}
        if after is not None:
            low, high = key_bounds(window)
            if not low < after < high or len(after.encode()) > MAX_SORT_KEY_BYTES:
                raise InvalidWindow(
                    "invalid cursor: pass the previous page's `next` unchanged", "cursor"
                )
            request["ExclusiveStartKey"] = {
                "customer_id": {"S": customer_id},
                "event_key": {"S": after},
            }
        for item in self.requests.items(*self._events_in(customer_id, window), **request):
            with suppress(ValueError):  # not an event
                yield item["event_key"]["S"], stored_event_of(item)

    def stored_customers(self) -> Iterator[str]:
        """
        Every customer with an event or a counter, once, in no order.

        Remembers none of them, and reads few items per customer however many events there are.
        """
        yield from self._partitions(self.tables.events, "event_key")
        for customer_id in self._partitions(self.tables.counts, "counter_key"):
            events = self.requests.pages(
                *self._events_in(customer_id, None), Limit=1, Select="COUNT"
            )
            if customer_id != REGISTRY and not any(page["Count"] for page in events):
                yield customer_id

    def _partitions(self, table: str, sort_key: str) -> Iterator[str]:
        """Partition keys of a table. Each read starts after the last key of the one before."""
        request: dict[str, Any] = {}
        while True:
            page = self.requests.send(
                self.requests.client.scan,
                TableName=table,
                Limit=1,
                ConsistentRead=True,
                ProjectionExpression="customer_id",
                **request,
            )
            for item in page["Items"]:
                yield item["customer_id"]["S"]
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            request["ExclusiveStartKey"] = {
                "customer_id": last["customer_id"],
                sort_key: {"S": LAST_KEY},
            }
