"""Which days' counters change: listed before each change, read once a slot of time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from events.calls import LONGEST_REQUEST_SECONDS, Calls
from events.clocks import StoreClock
from events.datamodels import (
    CHANGE_GAP,
    CHANGE_SHARDS,
    Tables,
    change_bounds,
    change_gap_item,
    change_gap_of,
    change_item,
    change_partition,
    change_shard,
)
from events.errors import InvalidWindow, StoreUnavailable
from events.listings import Day, Listing, Listings
from events.models import MAX_SORT_KEY_BYTES, Change, ChangeCursor
from events.transactions import RetryPolicy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: How long one slot is.
SLOT = timedelta(minutes=1)
#: How long a change is listed.
KEPT = timedelta(days=35)
#: Between the end of a slot and its being read: the longest request, and what clocks may differ.
GRACE = timedelta(seconds=LONGEST_REQUEST_SECONDS + 10)
#: Before and after every sort key that there can be.
_FIRST_KEY, _LAST_KEY = "\0", "\U0010ffff" * 256
#: Where it says from when on the list is whole.
_GAP: dict[str, Any] = {"change_slot": {"S": CHANGE_GAP}, "change_key": {"S": CHANGE_GAP}}
#: A place in a partition that is before all keys: each has more characters.
_BEFORE_ALL_KEYS = "\1"
#: Slots looked at for one page, and partitions at a time where little is found or erased.
_MOST_SLOTS = 240
_MOST_AT_A_TIME = 64
#: A clock that is still not right after so many listings is not believed.
_MOST_LISTINGS = 3


class ChangeLog:
    """
    The days of customers whose counters changed; safe to use from many threads.

    **Guarantee**: whoever reads a slot after `settled_until` has passed it finds every day whose
    counters were changed by a request sent in that slot. For a day is listed, durably, before the
    request that changes it is sent, in the slot in which it is sent; and no request is on its way
    for longer than `grace` allows. A listed day may be unchanged: a duplicate, or a writer that
    ended in between.

    Args:
        now: The clock of this machine; corrected by what the store says.
        slot: Length of a slot; the same for all that share a table.
        grace: See `GRACE`.
        kept: See `KEPT`.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        calls: Calls,
        tables: Tables,
        readers: Executor,
        *,
        now: Callable[[], datetime],
        slot: timedelta = SLOT,
        grace: timedelta = GRACE,
        kept: timedelta = KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._calls = calls
        self._table = tables.changes
        self._readers = readers
        self._store_clock = StoreClock(now)
        self._clock = clock
        self._slot = slot
        self._grace = grace
        self._kept = kept
        self._once = RetryPolicy(patience_seconds=0)
        self._listings = Listings(self._store_clock.now, clock)

    # --- writing ----------------------------------------------------------------------------------

    def ensure(self, customer_id: str, day: str) -> None:
        """
        List a day in the present slot, if that is not done yet.

        Called before each attempt to change the day's counters. One request that is not repeated:
        the attempt that it belongs to is what is made again.
        """
        if not self._listings.has((customer_id, day)):
            self._list((customer_id, day), self._once)

    def register(self, customer_id: str, day: str) -> None:
        """As `ensure`, tried for as long as any request is."""
        if not self._listings.has((customer_id, day)):
            self._list((customer_id, day), None)

    def confirm(self, customer_id: str, day: str, answer: Mapping[str, Any]) -> None:
        """
        List a day again if its change was answered so late that its slot may have been read.

        That takes a machine which stood still between the listing and the change.

        Args:
            answer: That of the change: its `Date` tells even where all clocks here stood still too.
        """
        self._learn(answer)
        if not self._listings.has((customer_id, day), grace=self._grace / 2):
            self._list((customer_id, day), None)

    def note_gap(self) -> None:
        """
        Note that counters were changed without being listed: nothing is known from before now.

        Whoever follows the list is told so, and reads anew.
        """
        asked_at = self._store_clock.local()
        answer = self._calls.one(self._client.describe_table, TableName=self._table)
        self._learn(answer, asked_at)
        # Of the slot after this one, or what was listed in this one would seem to be all.
        item = change_gap_item(self._floor(self._store_clock.now()) + self._slot)
        self._calls.one(self._client.put_item, TableName=self._table, Item=item)

    def doubt(self, customer_id: str, day: str) -> None:
        """
        As `confirm`, for a change that may have been made though it was not answered.

        One request that is not repeated, and no error if it fails: the change is none that is told
        to be made.
        """
        if not self._listings.has((customer_id, day), grace=self._grace / 2):
            with suppress(StoreUnavailable):
                self._list((customer_id, day), self._once)

    def forget(self, customer_id: str, day: str) -> None:
        """Do not believe that a day is listed."""
        self._listings.forget((customer_id, day))

    def forget_all(self) -> None:
        """The tables were made anew: nothing is listed."""
        self._listings.forget_all()

    def _list(self, key: Day, retry: RetryPolicy | None) -> None:
        # Again where the clock was set right meanwhile, by this answer or by one to another thread,
        # and the slot was another.
        for _ in range(_MOST_LISTINGS):
            asked_at, began = self._store_clock.local(), self._clock()
            slot = self._floor(self._store_clock.corrected(asked_at))
            answer = self._calls.one(
                self._client.put_item,
                TableName=self._table,
                Item=change_item(*key, slot, expires_at=slot + self._slot + self._kept),
                retry=retry,
            )
            self._learn(answer, asked_at)
            at = self._store_clock.corrected(asked_at)
            if self._floor(at) == slot:
                until = slot + self._slot
                self._listings.add(key, Listing(until, began + (until - at).total_seconds()))
                return

    def _learn(self, answer: Mapping[str, Any], asked_at: datetime | None = None) -> None:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        self._store_clock.learn(date, asked_at=asked_at, answered_at=self._store_clock.local())

    # --- reading ----------------------------------------------------------------------------------

    def known_from(self) -> ChangeCursor:
        """The first place from which on everything is known."""
        asked_at = self._store_clock.local()
        answer = self._calls.one(self._client.describe_table, TableName=self._table)
        self._learn(answer, asked_at)
        made_in = self._floor(answer["Table"]["CreationDateTime"].astimezone(UTC))
        # A slot more than is kept is being forgotten just now.
        oldest = self._floor(self._store_clock.now() - self._kept + self._slot)
        answer = self._calls.one(
            self._client.get_item, TableName=self._table, Key=_GAP, ConsistentRead=True
        )
        whole_from = change_gap_of(answer.get("Item", {})) or oldest
        if max(oldest, whole_from) > made_in:
            return ChangeCursor(max(oldest, whole_from))
        # A place in the list that was there before, if any, may be the beginning of this very slot,
        # and never one within it, as it was not settled.
        return ChangeCursor(made_in, 0, _BEFORE_ALL_KEYS)

    def settled_until(self) -> datetime:
        """End of the last slot that can be read: all requests sent in it have ended."""
        return self._floor(self._store_clock.now() - self._grace)

    def slot_of(self, at: datetime) -> datetime:
        """Start of the slot that holds `at`."""
        return self._floor(at)

    def first_slot_for(self, at: datetime) -> datetime:
        """Start of the first slot in which a change that is made from `at` on can be listed."""
        return self._floor(at - self._grace)

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
        until = min(until, cursor.slot + _MOST_SLOTS * self._slot)
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
        if not is_key or cursor.shard >= CHANGE_SHARDS or self._floor(cursor.slot) != cursor.slot:
            raise InvalidWindow("is no place in the list: use `next` as it was given", "since")

    def _partitions(self, cursor: ChangeCursor, until: datetime) -> Iterator[ChangeCursor]:
        while cursor.slot < until:
            yield cursor
            cursor = self._after(cursor)

    def _after(self, cursor: ChangeCursor) -> ChangeCursor:
        """The beginning of the next partition."""
        if cursor.shard + 1 < CHANGE_SHARDS:
            return ChangeCursor(cursor.slot, cursor.shard + 1)
        return ChangeCursor(cursor.slot + self._slot)

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
        end = self._floor(self._store_clock.now()) + self._slot
        number = min(most, -((first - end) // self._slot))
        slots = (first + place * self._slot for place in range(number))
        # Few at a time, so that whoever else reads need not wait for all.
        while some := list(islice(slots, _MOST_AT_A_TIME)):
            for _ in self._readers.map(partial(self._forget_in, customer_id), some):
                pass
        reached = first + number * self._slot
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

    def _floor(self, at: datetime) -> datetime:
        return at - (at - _EPOCH) % self._slot


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
