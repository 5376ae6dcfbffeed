"""Reads of one partition key's events and counters, all strongly consistent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from events.datamodels import (
    Tables,
    counter_bounds,
    customer_of,
    day_counts_of,
    event_of,
    key_bounds,
    stamp_key,
    stamped_day,
    stored_event_of,
)
from events.domain.timestamps import day_of
from events.dynamodb.customers import LAST_KEY
from events.dynamodb.requests import Requests
from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import MAX_SORT_KEY_BYTES, DayCounts, Event, StoredEvent, Window

log = logging.getLogger(__name__)

#: A voided event stays stored but does not count.
_NOT_VOIDED = "attribute_not_exists(voided_at)"


@dataclass(eq=False)
class Reader:
    """Reads of one store; safe to use from many threads. `shardreader` sums them by customer."""

    requests: Requests
    tables: Tables
    #: Runs the raw counts of one question at the same time.
    threads: Executor

    def day_counts(
        self,
        partition: str,
        first_day: str,
        last_day: str,
        *,
        by_type: bool,
        page_size: int | None = None,
    ) -> Iterator[DayCounts]:
        bounds = counter_bounds(first_day, last_day, by_type=by_type)
        limit: dict[str, Any] = {} if page_size is None else {"Limit": page_size}
        for item in self.requests.items(
            self.tables.counts, "counter_key", partition, *bounds, **limit
        ):
            try:
                yield day_counts_of(item)
            except ValueError as exc:
                log.warning("ignored an item of the counts table: %s", exc)

    def count_events(self, ranges: Iterable[tuple[str, Window]]) -> list[int]:
        """Count the stored events of each partition and range, all at the same time."""

        def count(part: tuple[str, Window]) -> int:
            pages = self.requests.pages(
                *self._events_in(*part), FilterExpression=_NOT_VOIDED, Select="COUNT"
            )
            return sum(int(page["Count"]) for page in pages)

        return list(self.threads.map(count, ranges))

    def count_events_by_type(
        self, ranges: Iterable[tuple[str, Window]]
    ) -> list[Mapping[str | None, int]]:
        # The event type is inside the sort key, which filter expressions cannot use.
        def count(part: tuple[str, Window]) -> Mapping[str | None, int]:
            return Counter(event.event_type for event in self.counted_events(*part))

        return list(self.threads.map(count, ranges))

    def stamps(self, partition: str, window: Window | None = None) -> dict[str, int]:
        """The days of a range that are spread over shards, with their numbers of shards."""
        low, high = stamp_key(""), stamp_key("~")
        if window is not None:
            low, high = (stamp_key(day_of(at)) for at in (window.start, window.end))
        return {
            day: int(item["shards"]["N"])
            for item in self.requests.items(self.tables.events, "event_key", partition, low, high)
            if (day := stamped_day(item)) is not None
        }

    def counted_events(
        self,
        partition: str,
        window: Window | None = None,
        *,
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        for item in self.requests.items(
            *self._events_in(partition, window),
            FilterExpression=_NOT_VOIDED,
            ProjectionExpression="event_key, shards",
        ):
            key = item["event_key"]["S"]
            try:
                event = event_of(customer_of(partition), key)
            except ValueError:
                if stamped_day(item) is None:
                    on_foreign(key)
            else:
                yield event

    def _events_in(self, partition: str, window: Window | None) -> tuple[str, str, str, str, str]:
        low, high = ("\0", LAST_KEY) if window is None else key_bounds(window)
        return self.tables.events, "event_key", partition, low, high

    def stored_events(
        self,
        partition: str,
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
                raise InvalidWindow(INVALID_CURSOR, "cursor")
            request["ExclusiveStartKey"] = {
                "customer_id": {"S": partition},
                "event_key": {"S": after},
            }
        for item in self.requests.items(*self._events_in(partition, window), **request):
            with suppress(ValueError):  # not an event
                yield item["event_key"]["S"], stored_event_of(item)

    def stored_partitions(self) -> Iterator[str]:
        """
        Every partition key with an event or a counter, once, in no order.

        Remembers none of them, and reads few items of each however many events there are.
        """
        yield from self._partitions(self.tables.events, "event_key")
        for partition in self._partitions(self.tables.counts, "counter_key"):
            events = self.requests.pages(*self._events_in(partition, None), Limit=1, Select="COUNT")
            # No customer's id starts with a space, but those of the registry and the plans do.
            if not (partition.startswith(" ") or any(page["Count"] for page in events)):
                yield partition

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
