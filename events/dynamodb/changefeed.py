"""The reading side of the change log: page by page, and cleared of an erased customer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from events.dynamodb.changelog import (
    CHANGE_GAP_KEY,
    CHANGE_SHARDS,
    Minutes,
    change_key,
    change_partition,
    change_shard,
)
from events.dynamodb.requests import Requests
from events.errors import INVALID_CURSOR, InvalidWindow
from events.models import MAX_SORT_KEY_BYTES, Change, ChangeCursor

#: Before and after every possible sort key.
_FIRST_KEY, _LAST_KEY = "\0", "\U0010ffff" * 256
#: Before every sort key of a change: those have more characters.
_BEFORE_ALL_KEYS = "\1"
#: Minutes that one page looks at.
_MAX_MINUTES = 240
#: Partitions read at a time while they hold little.
_MAX_AT_A_TIME = 64


@dataclass(eq=False)
class ChangeFeed:
    """A `queries.changes.Log` of what `ChangeLog` has logged; safe to use from many threads."""

    requests: Requests
    table: str
    #: Runs several reads at a time.
    readers: Executor
    minutes: Minutes

    def __post_init__(self) -> None:
        self.now = self.minutes.now
        self.settled_until = self.minutes.settled_until
        self.first_minute_for = self.minutes.first_for

    # --- reading ----------------------------------------------------------------------------------

    def known_from(self) -> ChangeCursor:
        """Raises `ClockSkew` if this machine's clock cannot tell which minutes are settled."""
        answer = self.requests.send(self.requests.client.describe_table, TableName=self.table)
        self.minutes.check_clock(answer)
        created_at = answer["Table"]["CreationDateTime"].astimezone(UTC)
        first = self.minutes.first_of_table(created_at)
        known_from = self.minutes.oldest()
        if gap := self.requests.get(self.table, CHANGE_GAP_KEY):
            known_from = max(known_from, datetime.fromisoformat(gap["whole_from"]["S"]))
        if known_from > first:
            return ChangeCursor(known_from)
        # A cursor into an earlier table of this name may be the start of this very minute, but not
        # a position within it, because that minute was not settled.
        return ChangeCursor(first, 0, _BEFORE_ALL_KEYS)

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        """
        One call looks at a bounded number of minutes.

        Raises `InvalidWindow` if the position does not exist.
        """
        self._check(cursor)
        until = min(until, cursor.minute + _MAX_MINUTES * self.minutes.length)
        partitions = self._partitions(cursor, until)
        changes: list[Change] = []
        position, at_a_time = cursor, CHANGE_SHARDS
        while room := limit - len(changes):
            batch = list(islice(partitions, at_a_time))
            if not batch:
                break
            pages = self.readers.map(partial(self._read, limit=room), batch)
            for partition, page in zip(batch, pages, strict=True):
                for key, change in page:
                    if len(changes) == limit:
                        return changes, position
                    changes.append(change)
                    position = replace(partition, after_key=key)
                position = self._next_partition(partition)
            # Read more at a time only while twice as much would fit: nothing is read in vain.
            new_room = limit - len(changes)
            will_fit = 2 * (room - new_room) <= new_room
            at_a_time = min(_MAX_AT_A_TIME, 2 * at_a_time) if will_fit else 1
        return changes, position

    def _check(self, cursor: ChangeCursor) -> None:
        key = cursor.after_key
        is_key = key is None or (
            _FIRST_KEY < key < _LAST_KEY and len(key.encode()) <= MAX_SORT_KEY_BYTES
        )
        is_minute = self.minutes.holding(cursor.minute) == cursor.minute
        if not (is_key and is_minute and cursor.shard < CHANGE_SHARDS):
            raise InvalidWindow(INVALID_CURSOR, "since")

    def _partitions(self, cursor: ChangeCursor, until: datetime) -> Iterator[ChangeCursor]:
        while cursor.minute < until:
            yield cursor
            cursor = self._next_partition(cursor)

    def _next_partition(self, cursor: ChangeCursor) -> ChangeCursor:
        if cursor.shard + 1 < CHANGE_SHARDS:
            return ChangeCursor(cursor.minute, cursor.shard + 1)
        return ChangeCursor(cursor.minute + self.minutes.length)

    def _read(self, cursor: ChangeCursor, *, limit: int) -> list[tuple[str, Change]]:
        """Changes of one partition with their sort keys; at most `limit` + 1."""
        partition = change_partition(cursor.minute, cursor.shard)
        request: dict[str, Any] = {"Limit": limit + 1}
        if cursor.after_key is not None:
            request["ExclusiveStartKey"] = {
                "change_slot": {"S": partition},
                "change_key": {"S": cursor.after_key},
            }
        items = self._items(partition, _FIRST_KEY, _LAST_KEY, **request)
        return [
            (
                item["change_key"]["S"],
                Change(cursor.minute, item["customer_id"]["S"], item["day"]["S"]),
            )
            for item in islice(items, limit + 1)
        ]

    def _items(self, partition: str, low: str, high: str, **request: Any) -> Iterator[Any]:
        return self.requests.items(
            self.table, "change_key", partition, low, high, partition_key="change_slot", **request
        )

    # --- erasing ----------------------------------------------------------------------------------

    def forget_customer(
        self, customer_id: str, since: datetime | None, *, max_minutes: int
    ) -> datetime | None:
        """
        Delete a customer's logged changes, minute by minute.

        Args:
            since: Where the previous step ended; None starts at the beginning.

        Returns:
            Where the next step continues; None if nothing is left.
        """
        first = self.known_from().minute if since is None else since
        end = self.minutes.current() + self.minutes.length
        number = min(max_minutes, -((first - end) // self.minutes.length))
        minutes = (first + index * self.minutes.length for index in range(number))
        # A few at a time, so that other reads do not wait for all of them.
        while batch := list(islice(minutes, _MAX_AT_A_TIME)):
            for _ in self.readers.map(partial(self._forget_in, customer_id), batch):
                pass
        reached = first + number * self.minutes.length
        return reached if reached < end else None

    def _forget_in(self, customer_id: str, minute: datetime) -> None:
        partition = change_partition(minute, change_shard(customer_id))
        # The bounds hold all changes of this customer, and perhaps changes of others.
        first, last = (change_key(customer_id, day) for day in ("0000-00-00", "9999-99-99"))
        for item in self._items(partition, first, last):
            if item["customer_id"]["S"] == customer_id:
                self.requests.send(
                    self.requests.client.delete_item,
                    TableName=self.table,
                    Key={name: item[name] for name in ("change_slot", "change_key")},
                )
