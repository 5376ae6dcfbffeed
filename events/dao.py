"""The store on DynamoDB: events, their counters, the list of customers."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from events.datamodels import (
    REGISTRY,
    Tables,
    counter_bounds,
    counter_key,
    day_counts_of,
    event_of,
    key_bounds,
    stored_event_of,
)
from events.domain.retries import RetryPolicy
from events.domain.timestamps import utc_now
from events.dynamodb.changefeed import ChangeFeed
from events.dynamodb.changeitems import EXPIRES_AT
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.customers import LAST_KEY, Registry
from events.dynamodb.expressions import (
    repair_expressions,
    unchanged_expressions,
    was_repaired_at,
)
from events.dynamodb.requests import Calls, ConditionFailed
from events.dynamodb.transactions import Commits
from events.errors import InvalidWindow
from events.models import MAX_SORT_KEY_BYTES, DayCounts, Event, Outcome, StoredEvent, Window

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

#: Slots of the list of changes that one step of an erasure looks at: some seconds' work.
_SLOTS_A_STEP = 4_000
#: A voided event stays stored, and is counted nowhere.
_NOT_VOIDED = "attribute_not_exists(voided_at)"


class DynamoStore:
    """
    Events and their counters in two tables; safe to use from many threads.

    Args:
        client: Made for one attempt a call (`total_max_attempts=1`): the retries are here.
        retry: For each single request.
        readers: How many raw counts run at a time.
        may_make_tables: Whether a request that finds no table makes it, or is refused.
        make_registry: Makes the list of customers.
        make_changes: Makes the list of changes.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Tables,
        *,
        retry: RetryPolicy,
        readers: int = 8,
        may_make_tables: bool = True,
        now: Callable[[], datetime] = utc_now,
        new_token: Callable[[], str] = lambda: str(uuid.uuid4()),
        make_registry: Callable[..., Registry] = Registry,
        make_changes: Callable[..., ChangeLog] = ChangeLog,
    ) -> None:
        self._client = client
        self._tables = tables
        self._retry = retry
        self._now = now
        self._calls = Calls(
            client,
            tables.definitions(),
            retry,
            on_tables_made=self._forget_all,
            may_make_tables=may_make_tables,
            expiring={tables.changes: EXPIRES_AT},
        )
        self._may_make_tables = may_make_tables
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="count")
        self._registry = make_registry(client, self._calls, tables, now=now)
        self._changes = make_changes(client, self._calls, tables, self._readers, now=now)
        self._commits = Commits(
            client,
            self._calls,
            self._registry,
            self._changes,
            tables,
            retry,
            now=now,
            new_token=new_token,
        )

    def _forget_all(self) -> None:
        self._registry.forget_all()
        self._changes.forget_all()

    def close(self) -> None:
        self._readers.shutdown()
        self._client.close()

    # --- writing ----------------------------------------------------------------------------------

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """Store events and count them; see `Commits`."""
        return self._commits.write(events)

    def announce(self, days: Sequence[tuple[str, str]]) -> None:
        """Hear of days that will be written soon, to list several of them in one request."""
        self._changes.expect(days)

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        """Take stored events out of the counts, and keep them as voided; see `Commits`."""
        return self._commits.void(events, reason)

    def delete(self, events: Sequence[Event]) -> int:
        """Delete events and take them out of the counts; see `Commits`."""
        return self._commits.delete(events)

    def delete_voided(self, customer_id: str, key: str) -> None:
        """Delete a voided event; whatever else has this key by now stays."""
        # After a lost answer the event may be stored again, and counted.
        with suppress(ConditionFailed):
            self._calls.one(
                self._client.delete_item,
                TableName=self._tables.events,
                Key={"customer_id": {"S": customer_id}, "event_key": {"S": key}},
                ConditionExpression="attribute_exists(voided_at)",
            )

    def delete_foreign(self, customer_id: str, key: str) -> None:
        """Delete an item of the events' table whose key no event can have."""
        self._calls.one(
            self._client.delete_item,
            TableName=self._tables.events,
            Key={"customer_id": {"S": customer_id}, "event_key": {"S": key}},
        )

    def delete_counter(self, seen: DayCounts) -> bool:
        """Delete a counter item that is still what was seen; False if it has moved."""
        condition, values = unchanged_expressions(seen)
        try:
            self._calls.one(
                self._client.delete_item,
                TableName=self._tables.counts,
                Key=_counter(seen),
                ConditionExpression=f"attribute_not_exists(customer_id) OR ({condition})",
                ExpressionAttributeValues=values,
            )
        except ConditionFailed:
            return False
        return True

    def delete_foreign_counter(self, customer_id: str, key: str) -> None:
        """Delete an item of the counters' table that is no counter."""
        self._calls.one(
            self._client.delete_item,
            TableName=self._tables.counts,
            Key={"customer_id": {"S": customer_id}, "counter_key": {"S": key}},
        )

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        """Put a recount where the counter is still what was seen; False if it has moved."""
        now = self._now()
        update, condition, values = repair_expressions(seen, recount.hours, now)
        answer: Mapping[str, Any] = {}
        try:
            answer = self._calls.one(
                self._client.update_item,
                before_each=partial(self._changes.register, seen.customer_id, seen.day),
                TableName=self._tables.counts,
                Key=_counter(seen),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as exc:
            # After a lost answer it is this very repair that moved it.
            if not was_repaired_at(exc.item, now):
                return False
        self._changes.confirm(seen.customer_id, seen.day, answer)
        return True

    # --- reading ----------------------------------------------------------------------------------

    def day_counts(
        self, customer_id: str, first_day: str, last_day: str, *, by_type: bool
    ) -> Iterator[DayCounts]:
        """
        The counters of the days from first to last, both included, strongly consistent.

        Args:
            by_type: The counters of each event type instead of those of the total.

        Yields:
            Days in order, and types in order within a day; days without events are absent.
        """
        low, high = counter_bounds(first_day, last_day, by_type=by_type)
        for page in self._calls.pages(self._tables.counts, "counter_key", customer_id, low, high):
            for item in page["Items"]:
                try:
                    yield day_counts_of(item)
                except ValueError as exc:
                    log.warning("the counters' table has a foreign item: %s", exc)

    def count_events(self, customer_id: str, windows: Sequence[Window]) -> list[int]:
        """How many events are stored in each window, strongly consistent; all counted at once."""
        return list(self._readers.map(lambda window: self._count(customer_id, window), windows))

    def _count(self, customer_id: str, window: Window) -> int:
        low, high = key_bounds(window)
        pages = self._calls.pages(
            self._tables.events,
            "event_key",
            customer_id,
            low,
            high,
            Select="COUNT",
            FilterExpression=_NOT_VOIDED,
        )
        return sum(int(page["Count"]) for page in pages)

    def count_events_by_type(
        self, customer_id: str, windows: Sequence[Window]
    ) -> list[Mapping[str | None, int]]:
        """As `count_events`, by event type; types without events are absent."""
        # The type is in the key, on which no filter expression works: the keys are read.
        return list(
            self._readers.map(lambda window: self._count_by_type(customer_id, window), windows)
        )

    def _count_by_type(self, customer_id: str, window: Window) -> Mapping[str | None, int]:
        return Counter(
            event.event_type
            for event in self.event_keys(customer_id, window)
            if isinstance(event, Event)
        )

    def event_keys(self, customer_id: str, window: Window) -> Iterator[Event | str]:
        """
        The events that count in a window, in order of time; a key that no event has, as it is.
        """
        low, high = key_bounds(window)
        yield from self._events(customer_id, low, high)

    def all_event_keys(self, customer_id: str) -> Iterator[Event | str]:
        """As `event_keys`, of all time, and with keys that begin with no time."""
        yield from self._events(customer_id, "\0", LAST_KEY)

    def _events(self, customer_id: str, low: str, high: str) -> Iterator[Event | str]:
        pages = self._calls.pages(
            self._tables.events,
            "event_key",
            customer_id,
            low,
            high,
            ProjectionExpression="event_key",
            FilterExpression=_NOT_VOIDED,
        )
        for page in pages:
            for item in page["Items"]:
                key = item["event_key"]["S"]
                try:
                    yield event_of(customer_id, key)
                except ValueError:
                    yield key

    def stored_events(
        self,
        customer_id: str,
        window: Window,
        *,
        after: str | None,
        is_newest_first: bool,
        page_size: int,
    ) -> Iterator[tuple[str, StoredEvent | None]]:
        """All events stored in a window, voided ones too; see `lookup.Store`."""
        low, high = key_bounds(window)
        request: dict[str, Any] = {"ScanIndexForward": not is_newest_first, "Limit": page_size}
        if after is not None:
            if not low < after < high or len(after.encode()) > MAX_SORT_KEY_BYTES:
                raise InvalidWindow(
                    "is no place in this window: use `next` as it was given", "cursor"
                )
            request["ExclusiveStartKey"] = {
                "customer_id": {"S": customer_id},
                "event_key": {"S": after},
            }
        yield from _stored(
            self._calls.pages(self._tables.events, "event_key", customer_id, low, high, **request)
        )

    def first_stored(self, customer_id: str, number: int) -> list[tuple[str, StoredEvent | None]]:
        """The first items of a customer, whatever they are; None for what is no event."""
        pages = self._calls.pages(
            self._tables.events, "event_key", customer_id, "\0", LAST_KEY, Limit=number
        )
        return list(islice(_stored(pages), number))

    def all_counters(self, customer_id: str) -> Iterator[DayCounts | str]:
        """Every counter item of a customer; the key of one that is no counter, as it is."""
        for page in self._calls.pages(
            self._tables.counts, "counter_key", customer_id, "\0", LAST_KEY
        ):
            for item in page["Items"]:
                try:
                    yield day_counts_of(item)
                except ValueError:
                    yield item["counter_key"]["S"]

    # --- the list of customers --------------------------------------------------------------------

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        """Listed customers; see `Registry.customers`."""
        return self._registry.customers(prefix=prefix, after=after, limit=limit)

    def is_listed(self, customer_id: str) -> bool:
        """Whether a customer is on the list."""
        return self._registry.is_listed(customer_id)

    def register(self, customer_id: str) -> None:
        """List a customer, whether or not it was listed before."""
        self._registry.register(customer_id)

    def begin_erasure(self, customer_id: str, *, is_listed: bool) -> datetime | None:
        """Mark a customer as being erased; see `Registry`."""
        return self._registry.begin_erasure(customer_id, is_listed=is_listed)

    def seconds_to_wait(self, since: datetime) -> float:
        """How long until a customer marked at `since` may be taken off; see `Registry`."""
        return self._registry.seconds_to_wait(since)

    def finish_erasure(self, customer_id: str, since: datetime) -> bool:
        """Take a customer off the list, if nobody wrote for it since; see `Registry`."""
        return self._registry.finish_erasure(customer_id, since)

    # --- the list of changes ----------------------------------------------------------------------

    @property
    def changes(self) -> ChangeFeed:
        """Which days' counters changed."""
        return self._changes.feed

    def forget_changes(self, customer_id: str, since: datetime) -> bool:
        """Take a customer that is being erased off the list of changes; see `erasure.Store`."""
        reached = self._registry.changes_forgotten_until(customer_id, since)
        reached = self._changes.feed.forget_customer(customer_id, reached, most=_SLOTS_A_STEP)
        if reached is not None:
            self._registry.note_changes_forgotten(customer_id, since, reached)
        return reached is None

    def stored_customers(self) -> Iterator[str]:
        """
        Every customer with an item in either table, once; in the store's order.

        One small read for each customer and table, however many events there are: each continues
        after the last key that the customer before could have.
        """
        seen: set[str] = set()
        for table, sort_key in (
            (self._tables.events, "event_key"),
            (self._tables.counts, "counter_key"),
        ):
            request: dict[str, Any] = {}
            while True:
                page = self._calls.one(
                    self._client.scan,
                    TableName=table,
                    Limit=1,
                    ConsistentRead=True,
                    ProjectionExpression="customer_id",
                    **request,
                )
                for item in page["Items"]:
                    customer_id = item["customer_id"]["S"]
                    if customer_id != REGISTRY and customer_id not in seen:
                        seen.add(customer_id)
                        yield customer_id
                last = page.get("LastEvaluatedKey")
                if not last:
                    break
                request["ExclusiveStartKey"] = {
                    "customer_id": last["customer_id"],
                    sort_key: {"S": LAST_KEY},
                }

    def check(self, *, patience_seconds: float = 0) -> None:
        """
        One cheap read of each table, by default asked once; raises as every read does.

        The table of changes is left out where tables may not be made: who only reads the others can
        do without, and who writes makes it.
        """
        retry = replace(self._retry, patience_seconds=patience_seconds)
        if self._may_make_tables:
            self._calls.one(
                self._client.get_item,
                TableName=self._tables.changes,
                Key={"change_slot": {"S": " "}, "change_key": {"S": " "}},
                retry=retry,
            )
        for table, sort_key in (
            (self._tables.events, "event_key"),
            (self._tables.counts, "counter_key"),
        ):
            self._calls.one(
                self._client.get_item,
                TableName=table,
                Key={"customer_id": {"S": REGISTRY}, sort_key: {"S": " "}},
                retry=retry,
            )

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """
        Make the tables that are not there, and wait until they can be used.

        Args:
            patience_seconds: For each request; None is that of this store.
        """
        self._calls.create_tables(patience_seconds=patience_seconds)


def _counter(counts: DayCounts) -> dict[str, Any]:
    return {
        "customer_id": {"S": counts.customer_id},
        "counter_key": {"S": counter_key(counts.day, counts.event_type)},
    }


def _stored(pages: Iterator[dict[str, Any]]) -> Iterator[tuple[str, StoredEvent | None]]:
    for page in pages:
        for item in page["Items"]:
            try:
                yield item["event_key"]["S"], stored_event_of(item)
            except ValueError:
                yield item["event_key"]["S"], None
