"""The list of changes as it is read, page by page, and cleared of a customer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from events.dynamodb.changeitems import (
    CHANGE_GAP_KEY,
    CHANGE_SHARDS,
    change_bounds,
    change_gap_of,
    change_partition,
    change_shard,
)
from events.dynamodb.requests import Calls
from events.dynamodb.slots import Slots
from events.errors import InvalidWindow
from events.models import MAX_SORT_KEY_BYTES, Change, ChangeCursor

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Before and after every sort key that there can be.
_FIRST_KEY, _LAST_KEY = "\0", "\U0010ffff" * 256
#: A place in a partition that is before all keys: each has more characters.
_BEFORE_ALL_KEYS = "\1"
#: Slots looked at for one page, and partitions at a time where little is found or erased.
_MOST_SLOTS = 240
_MOST_AT_A_TIME = 64


class ChangeFeed:
    """
    What `ChangeLog` has listed; safe to use from many threads.

    Args:
        table: Of the changes.
        readers: Runs several reads at a time.
    """

    def __init__(
        self, client: DynamoDBClient, calls: Calls, table: str, readers: Executor, slots: Slots
    ) -> None:
        self._client = client
        self._calls = calls
        self._table = table
        self._readers = readers
        self._slots = slots

    # --- reading ----------------------------------------------------------------------------------

    def known_from(self) -> ChangeCursor:
        """The first place from which on everything is known."""
        made_in = self._slots.holding(self.made_at())
        oldest = self._slots.oldest()
        answer = self._calls.one(
            self._client.get_item, TableName=self._table, Key=CHANGE_GAP_KEY, ConsistentRead=True
        )
        whole_from = change_gap_of(answer.get("Item", {})) or oldest
        if max(oldest, whole_from) > made_in:
            return ChangeCursor(max(oldest, whole_from))
        # A place in the list that was there before, if any, may be the beginning of this very slot,
        # and never one within it, as it was not settled.
        return ChangeCursor(made_in, 0, _BEFORE_ALL_KEYS)

    def made_at(self) -> datetime:
        """When the table was made; the answer sets the clock right."""
        asked_at = self._slots.clock.local()
        answer = self._calls.one(self._client.describe_table, TableName=self._table)
        self._slots.learn(answer, asked_at)
        made_at: datetime = answer["Table"]["CreationDateTime"].astimezone(UTC)
        return made_at

    def settled_until(self) -> datetime:
        """End of the last slot that can be read: all requests sent in it have ended."""
        return self._slots.settled_until()

    def first_slot_for(self, at: datetime) -> datetime:
        """Start of the first slot in which a change that is made from `at` on can be listed."""
        return self._slots.first_for(at)

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        """
        Changes from a place on, and the place after them.

        Strongly consistent. Looks at a bounded number of slots, so a page may be short, also empty,
        and not be the last.

        Args:
            until: Start of the first slot that is not read.
            limit: At most so many, from 1 on.

        Raises:
            InvalidWindow: No list has this place.
        """
        self._check(cursor)
        until = min(until, cursor.slot + _MOST_SLOTS * self._slots.length)
        partitions = self._partitions(cursor, until)
        changes: list[Change] = []
        place, at_a_time = cursor, CHANGE_SHARDS
        while left := limit - len(changes):
            places = list(islice(partitions, at_a_time))
            if not places:
                break
            for part, found in zip(
                places, self._readers.map(partial(self._read, limit=left), places), strict=True
            ):
                for key, change in found:
                    if len(changes) == limit:
                        return changes, place
                    changes.append(change)
                    place = replace(part, after_key=key)
                place = self._after(part)
            # More at a time as long as they will fit, so that little is read for nothing.
            found_now = left - (limit - len(changes))
            will_fit = 2 * found_now <= limit - len(changes)
            at_a_time = min(_MOST_AT_A_TIME, 2 * at_a_time) if will_fit else 1
        return changes, place

    def _check(self, cursor: ChangeCursor) -> None:
        key = cursor.after_key
        is_key = key is None or (
            _FIRST_KEY < key < _LAST_KEY and len(key.encode()) <= MAX_SORT_KEY_BYTES
        )
        if (
            not is_key
            or cursor.shard >= CHANGE_SHARDS
            or self._slots.holding(cursor.slot) != cursor.slot
        ):
            raise InvalidWindow("is no place in the list: use `next` as it was given", "since")

    def _partitions(self, cursor: ChangeCursor, until: datetime) -> Iterator[ChangeCursor]:
        while cursor.slot < until:
            yield cursor
            cursor = self._after(cursor)

    def _after(self, cursor: ChangeCursor) -> ChangeCursor:
        """The beginning of the next partition."""
        if cursor.shard + 1 < CHANGE_SHARDS:
            return ChangeCursor(cursor.slot, cursor.shard + 1)
        return ChangeCursor(cursor.slot + self._slots.length)

    def _read(self, place: ChangeCursor, *, limit: int) -> Sequence[tuple[str, Change]]:
        """Changes of one partition with their keys: one more than the limit, if there are."""
        partition = change_partition(place.slot, place.shard)
        request: dict[str, Any] = {"Limit": limit + 1}
        if place.after_key is not None:
            request["ExclusiveStartKey"] = {
                "change_slot": {"S": partition},
                "change_key": {"S": place.after_key},
            }
        return [
            (
                item["change_key"]["S"],
                Change(place.slot, item["customer_id"]["S"], item["day"]["S"]),
            )
            for page in self._pages(partition, _FIRST_KEY, _LAST_KEY, limit + 1, **request)
            for item in page
        ]

    def _pages(
        self, partition: str, low: str, high: str, most: int | None = None, **request: Any
    ) -> Iterator[list[Any]]:
        pages = self._calls.pages(
            self._table, "change_key", partition, low, high, partition_key="change_slot", **request
        )
        number = 0
        for page in pages:
            yield page["Items"]
            number += len(page["Items"])
            if most is not None and number >= most:
                return

    # --- erasing ----------------------------------------------------------------------------------

    def forget_customer(
        self, customer_id: str, since: datetime | None, *, most: int
    ) -> datetime | None:
        """
        Delete what is listed of a customer, slot by slot.

        Args:
            since: Where the step before ended; None is the beginning.
            most: Slots to look at in this step.

        Returns:
            Where the next step goes on; None if nothing is left.
        """
        first = self.known_from().slot if since is None else since
        end = self._slots.holding(self._slots.clock.now()) + self._slots.length
        number = min(most, -((first - end) // self._slots.length))
        slots = (first + place * self._slots.length for place in range(number))
        # Few at a time, so that whoever else reads need not wait for all.
        while some := list(islice(slots, _MOST_AT_A_TIME)):
            for _ in self._readers.map(partial(self._forget_in, customer_id), some):
                pass
        reached = first + number * self._slots.length
        return reached if reached < end else None

    def _forget_in(self, customer_id: str, slot: datetime) -> None:
        partition = change_partition(slot, change_shard(customer_id))
        low, high = change_bounds(customer_id)
        for page in self._pages(partition, low, high):
            for item in page:
                if item["customer_id"]["S"] == customer_id:
                    self._calls.one(
                        self._client.delete_item,
                        TableName=self._table,
                        Key={name: item[name] for name in ("change_slot", "change_key")},
                    )
