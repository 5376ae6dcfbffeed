"""Slots of time by the store's clock, in which changes are listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from events.dynamodb.answers import LONGEST_REQUEST_SECONDS
from events.dynamodb.clocks import StoreClock

#: How long one slot is.
SLOT = timedelta(minutes=1)
#: How long a change is listed.
KEPT = timedelta(days=35)
#: Between the end of a slot and its being read: the longest request, and what clocks may differ.
GRACE = timedelta(seconds=LONGEST_REQUEST_SECONDS + 10)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Slots:
    """
    The slots of one table of changes; safe to use from many threads.

    Args:
        now: The clock of this machine; corrected by what the store says.
        length: Of a slot; the same for all that share a table.
        grace: See `GRACE`.
        kept: See `KEPT`.
    """

    def __init__(
        self, now: Callable[[], datetime], *, length: timedelta, grace: timedelta, kept: timedelta
    ) -> None:
        self.clock = StoreClock(now)
        self.length = length
        self.grace = grace
        self._kept = kept

    def holding(self, at: datetime) -> datetime:
        """Start of the slot that holds `at`."""
        return at - (at - _EPOCH) % self.length

    def settled_until(self) -> datetime:
        """End of the last slot that can be read: all requests sent in it have ended."""
        return self.holding(self.clock.now() - self.grace)

    def first_for(self, at: datetime) -> datetime:
        """Start of the first slot in which a change that is made from `at` on can be listed."""
        return self.holding(at - self.grace)

    def oldest(self) -> datetime:
        """Start of the first slot of which everything is kept."""
        # A slot more than is kept is being forgotten just now.
        return self.holding(self.clock.now() - self._kept + self.length)

    def expiry_of(self, slot: datetime) -> datetime:
        """When what is listed in a slot is too old to be kept."""
        return slot + self.length + self._kept

    def learn(self, answer: Mapping[str, Any], asked_at: datetime | None = None) -> None:
        """Look at the `Date` of one of the store's answers; see `StoreClock.learn`."""
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        self.clock.learn(date, asked_at=asked_at, answered_at=self.clock.local())
