"""Which days' counters change: listed, in the present slot of time, before each change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.dynamodb.changefeed import ChangeFeed
from events.dynamodb.changeitems import change_gap_item, change_item
from events.dynamodb.listings import Day, Listing, Listings
from events.dynamodb.requests import Calls
from events.dynamodb.slots import GRACE, KEPT, SLOT, Slots
from events.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Days listed in one request (API Reference, BatchWriteItem).
_MOST_TOGETHER = 25
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
        self._slots = Slots(now, length=slot, grace=grace, kept=kept)
        self._clock = clock
        self._once = RetryPolicy(patience_seconds=0)
        self._listings = Listings(self._slots.clock.now, clock)
        #: What is listed, to be read.
        self.feed = ChangeFeed(client, calls, self._table, readers, self._slots)

    def ensure(self, customer_id: str, day: str) -> None:
        """
        List a day in the present slot, if that is not done yet.

        Called before each attempt to change the day's counters. One request that is not repeated:
        the attempt that it belongs to is what is made again.
        """
        if not self._listings.has((customer_id, day)):
            self._list((customer_id, day), self._once)
        else:
            self._listings.drop_expected((customer_id, day))

    def expect(self, days: Iterable[Day]) -> None:
        """Hear of days that will be changed soon: the first that is listed takes others along."""
        self._listings.expect(days)

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
        self._slots.learn(answer)
        if not self._listings.has((customer_id, day), grace=self._slots.grace / 2):
            self._list((customer_id, day), None)

    def note_gap(self) -> None:
        """
        Note that counters were changed without being listed: nothing is known from before now.

        Whoever follows the list is told so, and reads anew.
        """
        self.feed.made_at()  # for the clock
        # Of the slot after this one, or what was listed in this one would seem to be all.
        item = change_gap_item(self._slots.holding(self._slots.clock.now()) + self._slots.length)
        self._calls.one(self._client.put_item, TableName=self._table, Item=item)

    def doubt(self, customer_id: str, day: str) -> None:
        """
        As `confirm`, for a change that may have been made though it was not answered.

        One request that is not repeated, and no error if it fails: the change is none that is told
        to be made.
        """
        if not self._listings.has((customer_id, day), grace=self._slots.grace / 2):
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
        # and the slot was another; or where the slot ended meanwhile: a table that had to be made
        # first may be of the next one, and who begins to follow there would not see this.
        for _ in range(_MOST_LISTINGS):
            asked_at, began = self._slots.clock.local(), self._clock()
            slot = self._slots.holding(self._slots.clock.corrected(asked_at))
            days = self._listings.take(key, _MOST_TOGETHER)
            answer, listed = self._put(days, slot, retry)
            self._slots.learn(answer, asked_at)
            at = self._slots.clock.corrected(asked_at)
            if slot == self._slots.holding(at) == self._slots.holding(self._slots.clock.now()):
                until = slot + self._slots.length
                for each in listed:
                    self._listings.add(each, Listing(until, began + (until - at).total_seconds()))
                return

    def _put(
        self, days: Sequence[Day], slot: datetime, retry: RetryPolicy | None
    ) -> tuple[Mapping[str, Any], list[Day]]:
        """
        List days in a slot, the first for certain.

        Returns:
            The store's last answer, and the days that are listed.
        """
        expires_at = self._slots.expiry_of(slot)
        items = {day: change_item(*day, slot, expires_at=expires_at) for day in days}
        if len(days) > 1:
            answer = self._calls.one(
                self._client.batch_write_item,
                RequestItems={
                    self._table: [{"PutRequest": {"Item": item}} for item in items.values()]
                },
                retry=retry,
            )
            # Throttled ones come back, in an answer that says all is well.
            left = [each["PutRequest"]["Item"] for each in _unprocessed(answer, self._table)]
            listed = [day for day in days if items[day] not in left]
            if days[0] in listed:
                return answer, listed
        answer = self._calls.one(
            self._client.put_item, TableName=self._table, Item=items[days[0]], retry=retry
        )
        return answer, [days[0]]


def _unprocessed(answer: Mapping[str, Any], table: str) -> list[Any]:
    requests: list[Any] = answer.get("UnprocessedItems", {}).get(table, [])
    return requests
