"""Reads of events and counters, all strongly consistent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

#: A voided event stays stored but does not count.
_NOT_VOIDED = "attribute_not_exists(voided_at)"


class Reader:
    """
    Reads of one store; safe to use from many threads.

    Args:
        threads: Runs the raw counts of one question at the same time.
    """

    def __init__(
        self, client: DynamoDBClient, requests: Requests, tables: Tables, threads: Executor
    ) -> None:
        self._client = client
        self._requests = requests
        self._tables = tables
        self._threads = threads

    def day_counts(
        self,
        customer_id: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        """Counters of the days from first to last, both included; see `buckets.Store`."""
        low, high = counter_bounds(first_day, last_day, by_type=by_type)
        limit: dict[str, Any] = {} if page_size is None else {"Limit": page_size}
        for page in self._requests.pages(
            self._tables.counts, "counter_key", customer_id, low, high, **limit
        ):
            for item in page["Items"]:
                try:
                    yield day_counts_of(item)
                except ValueError as exc:
                    log.warning("ignored an item of the counts table: %s", exc)

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        """Count raw events in each window, all windows at the same time."""
        return list(self._threads.map(partial(self._count, customer_id), windows))

    def _count(self, customer_id: str, window: Window) -> int:
        pages = self._event_pages(customer_id, *key_bounds(window), Select="COUNT")
        return sum(int(page["Count"]) for page in pages)

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        """Like `count_events`, by event type; types without events are absent."""
        # The event type is inside the sort key, which filter expressions cannot use.
        return list(self._threads.map(partial(self._count_by_type, customer_id), windows))

    def _count_by_type(self, customer_id: str, window: Window) -> Mapping[str | None, int]:
        return Counter(event.event_type for event in self.counted_events(customer_id, window))

    def counted_events(
        self,
        customer_id: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """All events that are not voided, in order of time; see `verification.Store`."""
        low, high = ("\0", LAST_KEY) if window is None else key_bounds(window)
        for page in self._event_pages(customer_id, low, high, ProjectionExpression="event_key"):
            for item in page["Items"]:
                key = item["event_key"]["S"]
                try:
                    event = event_of(customer_id, key)
                except ValueError:
                    on_foreign(key)
                else:
                    yield event

    def _event_pages(
        self, customer_id: str, low: str, high: str, **request: Any
    ) -> Iterator[dict[str, Any]]:
        return self._requests.pages(
            self._tables.events,
            "event_key",
            customer_id,
            low,
            high,
            FilterExpression=_NOT_VOIDED,
            **request,
        )

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent]]:
        """All events in a window with their keys, voided ones included; see `lookup.Store`."""
        low, high = key_bounds(window)
        request: dict[str, Any] = {"ScanIndexForward": not is_newest_first, "Limit": page_size}
        if after is not None:
            if not low < after < high or len(after.encode()) > MAX_SORT_KEY_BYTES:
                raise InvalidWindow(
                    "invalid cursor: pass the previous page's `next` unchanged", "cursor"
                )
            request["ExclusiveStartKey"] = {
                "customer_id": {"S": customer_id},
                "event_key": {"S": after},
            }
        for page in self._requests.pages(
            self._tables.events, "event_key", customer_id, low, high, **request
        ):
            for item in page["Items"]:
                with suppress(ValueError):  # not an event
                    yield item["event_key"]["S"], stored_event_of(item)

    def stored_customers(self) -> Iterator[str]:
        """
        Every customer with an event or a counter, once, in no order.

        Remembers none of them, and reads few items per customer however many events there are.
        """
        yield from self._partitions(self._tables.events, "event_key")
        for customer_id in self._partitions(self._tables.counts, "counter_key"):
            if customer_id != REGISTRY and not self._has_events(customer_id):
                yield customer_id

    def _partitions(self, table: str, sort_key: str) -> Iterator[str]:
        """Partition keys of a table. Each read starts after the last key of the one before."""
        request: dict[str, Any] = {}
        while True:
            page = self._requests.send(
                self._client.scan,
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

    def _has_events(self, customer_id: str) -> bool:
        pages = self._requests.pages(
            self._tables.events, "event_key", customer_id, "\0", LAST_KEY, Limit=1, Select="COUNT"
        )
        return any(page["Count"] for page in pages)
