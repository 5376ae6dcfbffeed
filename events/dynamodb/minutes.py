"""The minutes of the change log: which one is written now, and which ones may be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from events.dynamodb.requests import MAX_REQUEST_SECONDS
from events.errors import ClockSkew

MINUTE = timedelta(minutes=1)
#: How far the clock of a process may be from DynamoDB's.
MAX_SKEW = timedelta(seconds=30)
#: From the end of a minute until it is read. It covers a slow clock of the writer and a fast one of
#: the reader, the answer that the writer's clock was checked by, and the request that makes the
#: change.
GRACE = 2 * MAX_SKEW + 2 * timedelta(seconds=MAX_REQUEST_SECONDS)
#: How long DynamoDB keeps a change.
KEPT = timedelta(days=35)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Minutes:
    """The minutes of one change log. All processes that share the log use the same lengths."""

    #: This machine's clock; NTP keeps it right, and `check_clock` makes sure of that.
    now: Callable[[], datetime]
    #: How long a "minute" is; tests take shorter ones.
    length: timedelta = MINUTE
    grace: timedelta = GRACE
    max_skew: timedelta = MAX_SKEW

    def holding(self, at: datetime) -> datetime:
        """Start of the minute that holds `at`."""
        return at - (at - _EPOCH) % self.length

    def current(self) -> datetime:
        """Start of the current minute."""
        return self.holding(self.now())

    def is_in_time(self, minute: datetime) -> bool:
        """
        Whether what a writer has finished by now is seen by all who read the log of `minute`.

        A reader waits longer than this, by its own clock and by any other that passes
        `check_clock`.
        """
        return self.now() < minute + self.length + self.grace / 6

    def settled_until(self) -> datetime:
        """End of the last minute that can be read: all requests sent in it have ended."""
        return self.holding(self.now() - self.grace)

    def first_for(self, at: datetime) -> datetime:
        """Start of the first minute that may log a change made at `at` or later."""
        return self.holding(at - self.grace)

    def first_of_table(self, created_at: datetime) -> datetime:
        """Start of the first minute that a writer whose clock is slow logs in a new table."""
        return self.holding(created_at - 0.6 * self.grace)

    def oldest(self) -> datetime:
        """Start of the oldest minute whose changes are all kept."""
        # The changes of the minute before are expiring now.
        return self.holding(self.now() - KEPT + self.length)

    def expiry_of(self, minute: datetime) -> datetime:
        """When the changes of a minute expire."""
        return minute + self.length + KEPT

    def check_clock(self, answer: Mapping[str, Any]) -> None:
        """
        Compare this machine's clock with the `Date` of an answer that DynamoDB just sent.

        Raises:
            ClockSkew: They differ by more than `max_skew`.
        """
        text = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        if text is None:
            return
        date, now = parsedate_to_datetime(text), self.now()
        if abs(now - date) > self.max_skew:
            raise ClockSkew(
                f"this machine's clock shows {now:%Y-%m-%d %H:%M:%S} UTC and DynamoDB's "
                f"{date:%Y-%m-%d %H:%M:%S}: synchronize it with NTP. They may differ by at most "
                f"{self.max_skew.total_seconds():g} s, or changes could be missed"
            )
