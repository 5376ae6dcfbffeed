"""The store on DynamoDB: events, their counters, the registry of customers."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from events.calls import UNKNOWN_OUTCOME, Calls, ConditionFailed, judge, not_sent, reasons, refused
from events.datamodels import (
    REGISTRY,
    Tables,
    counter_bounds,
    counter_key,
    day_counts_of,
    event_of,
    key_bounds,
    keys_of,
    registry_item,
    registry_key,
    registry_prefix,
    repair_expressions,
    utc_now,
    was_repaired_at,
    write_actions,
)
from events.errors import StoreRefused
from events.models import DayCounts, Event, Outcome, Window
from events.transactions import Answer, RetryPolicy, judge_cancellation

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

log = logging.getLogger(__name__)

#: After every sort key that there can be: 256 of the last character, 1,024 bytes.
_LAST_KEY = "\U0010ffff" * 256
#: Customers remembered as listed; past that all are listed again as they come.
_MAX_REGISTERED = 50_000


class DynamoStore:
    """
    Events and their counters in two tables; safe to use from many threads.

    Args:
        client: Made for one attempt a call (`total_max_attempts=1`): the retries are here.
        retry: For each single request.
        readers: How many raw counts run at a time.
        may_make_tables: Whether a request that finds no table makes it, or is refused.
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
    ) -> None:
        self._client = client
        self._tables = tables
        self._retry = retry
        self._calls = Calls(
            client,
            tables.definitions(),
            retry,
            on_tables_made=self._forget_registered,
            may_make_tables=may_make_tables,
        )
        self._now = now
        self._new_token = new_token
        self._registered: set[str] = set()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="count")

    def close(self) -> None:
        self._readers.shutdown()
        self._client.close()

    # --- writing ----------------------------------------------------------------------------------

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        """
        Store events and count them, each at most once for ever.

        Every transaction holds events together with what they add to the counters, so that at no
        moment, whatever fails, a counter differs from the events stored.

        Args:
            events: Distinct, of one customer and UTC day; with one action for each, one for the
                day and one for each event type at most `MAX_ACTIONS`.

        Returns:
            The outcome of each event, in order.

        Raises:
            StoreUnavailable: Some events may not be stored; the same call again is safe.
            StoreRefused: The store will not take them.
        """
        # Listed before it is counted: a listing may show a customer with nothing yet, but never
        # lacks one that has events.
        self._register(events[0].customer_id)
        keys = keys_of(events)
        outcomes = [Outcome.INSERTED] * len(events)
        left = list(range(len(events)))
        while left:
            actions = write_actions(
                self._tables, [events[i] for i in left], [keys[i] for i in left], self._now()
            )
            duplicates = self._transact(actions, len(left), events[0].customer_id)
            if not duplicates:
                break
            for place in duplicates:
                outcomes[left[place]] = Outcome.DUPLICATE
            # What the duplicates would have added goes with them: the counters are folded anew.
            left = [i for place, i in enumerate(left) if place not in duplicates]
        return outcomes

    def _transact(
        self, actions: list[TransactWriteItemTypeDef], number_of_puts: int, customer_id: str
    ) -> frozenset[int]:
        """
        Commit one list of actions, or find the puts that stand in its way.

        One token for one list: after a lost answer the resend gets the outcome of the first
        send, instead of meeting its own events as duplicates.

        Returns:
            Empty if all is committed; else the places of the duplicates, and nothing is.
        """
        token = self._new_token()
        failure: Exception | None = None
        duplicates: frozenset[int] = frozenset()
        for _ in self._retry.attempts():
            if duplicates:
                return duplicates
            try:
                self._client.transact_write_items(TransactItems=actions, ClientRequestToken=token)
            except ClientError as exc:
                answer = judge(exc)
                if answer is Answer.REFUSE:
                    raise refused("writing", exc) from exc
                if answer is Answer.CANCELLED:
                    why = judge_cancellation(reasons(exc), number_of_puts)
                    if why.refused:
                        raise StoreRefused(
                            f"the store cancelled a write: {', '.join(sorted(set(why.refused)))}"
                        ) from exc
                    duplicates = frozenset(why.duplicates)
                    if duplicates and not why.is_busy:
                        return duplicates
                elif answer is Answer.MAKE_TABLES:
                    self.create_tables()
                    self.register(customer_id)
                failure = exc
            except UNKNOWN_OUTCOME as exc:
                failure = exc
            except BotoCoreError as exc:
                raise not_sent(exc) from exc
            else:
                return frozenset()
        if duplicates:
            return duplicates
        raise self._calls.unavailable(failure) from failure

    def _register(self, customer_id: str) -> None:
        """List a customer; once in a while, and the same item however often."""
        if customer_id in self._registered:
            return
        self._calls.one(
            self._client.put_item,
            TableName=self._tables.counts,
            Item=registry_item(customer_id, self._now()),
        )
        if len(self._registered) >= _MAX_REGISTERED:
            self._registered.clear()
        self._registered.add(customer_id)

    def _forget_registered(self) -> None:
        self._registered.clear()

    def register(self, customer_id: str) -> None:
        """List a customer, whether or not it was listed before."""
        self._registered.discard(customer_id)
        self._register(customer_id)

    def repair(self, seen: DayCounts, recount: DayCounts) -> bool:
        """Put a recount where the counter is still what was seen; False if it has moved."""
        now = self._now()
        update, condition, values = repair_expressions(seen, recount.hours, now)
        try:
            self._calls.one(
                self._client.update_item,
                TableName=self._tables.counts,
                Key={
                    "customer_id": {"S": seen.customer_id},
                    "counter_key": {"S": counter_key(seen.day, seen.event_type)},
                },
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as exc:
            # After a lost answer it is this very repair that moved it.
            return was_repaired_at(exc.item, now)
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
            self._tables.events, "event_key", customer_id, low, high, Select="COUNT"
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
        """The events stored in a window, in order of time; a key that no event has, as it is."""
        low, high = key_bounds(window)
        yield from self._events(customer_id, low, high)

    def all_event_keys(self, customer_id: str) -> Iterator[Event | str]:
        """As `event_keys`, of all time, and with keys that begin with no time."""
        yield from self._events(customer_id, "\0", _LAST_KEY)

    def _events(self, customer_id: str, low: str, high: str) -> Iterator[Event | str]:
        pages = self._calls.pages(
            self._tables.events,
            "event_key",
            customer_id,
            low,
            high,
            ProjectionExpression="event_key",
        )
        for page in pages:
            for item in page["Items"]:
                key = item["event_key"]["S"]
                try:
                    yield event_of(customer_id, key)
                except ValueError:
                    yield key

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        """
        Listed customers with this prefix, in byte order of their ids, from the one after.

        One that is longer than a sort key may be, 1,024 bytes, stands where its first 900 do.
        """
        # A registry key is the id, or of a very long id its start and a digest: the prefix of the
        # key is a bound, and the id itself is looked at.
        names: list[str] = []
        start = registry_prefix(prefix)
        low = max(start or " ", registry_key(after) if after else "")
        for page in self._calls.pages(
            self._tables.counts, "counter_key", REGISTRY, low, _LAST_KEY, Limit=limit + 1
        ):
            for item in page["Items"]:
                name = item["registered_id"]["S"]
                if not item["counter_key"]["S"].startswith(start):
                    return names
                if name.startswith(prefix) and name != after:
                    names.append(name)
                if len(names) == limit:
                    return names
        return names

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
                    sort_key: {"S": _LAST_KEY},
                }

    def is_listed(self, customer_id: str) -> bool:
        """Whether the registry has a customer."""
        answer = self._calls.one(
            self._client.get_item,
            TableName=self._tables.counts,
            Key={
                "customer_id": {"S": REGISTRY},
                "counter_key": {"S": registry_key(customer_id)},
            },
            ConsistentRead=True,
        )
        return "Item" in answer

    def check(self, *, patience_seconds: float = 0) -> None:
        """One cheap read of each table, by default asked once; raises as every read does."""
        retry = replace(self._retry, patience_seconds=patience_seconds)
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
