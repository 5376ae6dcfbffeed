"""The change log: which days' counters are about to change, and the items that say so."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from events.datamodels import shortened_id
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp
from events.dynamodb.requests import MAX_PUT_TOGETHER, MAX_REQUEST_SECONDS, Requests
from events.errors import ClockSkew
from events.models import MAX_SORT_KEY_BYTES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

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
#: Partitions per minute. DynamoDB takes 1,000 writes a second in each (Developer Guide, "Best
#: practices for designing and using partition keys"). Changing this number needs a new table.
CHANGE_SHARDS = 4
#: Attribute that DynamoDB's time to live reads.
EXPIRES_AT = "expires_at"
#: Key of the item that says since when the log is complete.
CHANGE_GAP_KEY: dict[str, AttributeValueTypeDef] = {
    "change_slot": {"S": " gap"},
    "change_key": {"S": " gap"},
}
#: Customers with logged days, and expected days, that are remembered. Beyond this, all are
#: forgotten and logged again.
_MAX_REMEMBERED = 50_000
_ONCE = RetryPolicy(patience_seconds=0)

#: A customer and a day.
_Day = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Minutes:
    """The minutes of one change log. All processes that share the log use the same lengths."""

    #: This machine's clock; NTP keeps it right, and `check_clock` makes sure of that.
    now: Callable[[], datetime]
    #: How long a "minute" is; tests take shorter ones.
    length: timedelta = MINUTE
    grace: timedelta = GRACE

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
            ClockSkew: They differ by more than `MAX_SKEW`.
        """
        text = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        if text is None:
            return
        date, now = parsedate_to_datetime(text), self.now()
        if abs(now - date) > MAX_SKEW:
            raise ClockSkew(
                f"this machine's clock shows {now:%Y-%m-%d %H:%M:%S} UTC and DynamoDB's "
                f"{date:%Y-%m-%d %H:%M:%S}: synchronize it with NTP. They may differ by at most "
                f"{MAX_SKEW.total_seconds():g} s, or changes could be missed"
            )


@dataclass(eq=False)
class ChangeLog:
    """
    Logs each day of a customer before its counters change; safe to use from many threads.

    **Guarantee**: after a minute is settled (see `Minutes.settled_until`), its log names every day
    whose counters a request sent in that minute has changed. `docs/decisions/0010-changes.md` has
    the argument. A logged day may be unchanged: a duplicate arrived, or the writer died.
    """

    requests: Requests
    table: str
    minutes: Minutes
    #: For each customer, the minute in which each day was last logged. Single dict operations are
    #: atomic. A request that was sent before its customer was forgotten finds another dict here.
    _logged: dict[str, dict[str, datetime]] = field(default_factory=dict, init=False)
    #: Days that are about to be logged, and the minute in which `expect` named them.
    _expected: dict[_Day, datetime] = field(default_factory=dict, init=False)

    def expect(self, days: Iterable[_Day]) -> None:
        """Name days whose counters change soon: the request that logs one logs others with it."""
        minute = self.minutes.current()
        if len(self._expected) >= _MAX_REMEMBERED:
            self._expected.clear()
        for customer_id, day in days:
            if self._minute_of(customer_id, day) != minute:
                self._expected[customer_id, day] = minute

    def ensure_logged(self, customer_id: str, day: str) -> None:
        """
        Log a day in the current minute, unless this process has done so.

        Call this before each attempt to change the day's counters. It sends one request and does
        not retry: the caller's attempt has failed, and the next one calls this again.
        """
        self._expected.pop((customer_id, day), None)
        # Again if the minute ended meanwhile: creating a missing table takes long.
        while self._minute_of(customer_id, day) != (minute := self.minutes.current()):
            others = self._take_expected(minute)
            if others:
                self._log_together([(customer_id, day), *others], minute)
            if self._minute_of(customer_id, day) != minute:
                self._log(customer_id, day, _ONCE)

    def log_again_if_late(self, customer_id: str, day: str, answer: Mapping[str, Any]) -> None:
        """
        Log a day again if its counters changed so late that the minute may have been read.

        Call this with DynamoDB's answer before a change is reported as done. It is late only if
        this process was stopped (a laptop asleep, a paused container) after it logged the day.
        """
        try:
            self.minutes.check_clock(answer)
        except ClockSkew:
            # The clock stood still, perhaps with its virtual machine: what was logged is too old.
            self.forget_all()
            raise
        while (minute := self._minute_of(customer_id, day)) is None or (
            not self.minutes.is_in_time(minute)
        ):
            self._log(customer_id, day)

    def _minute_of(self, customer_id: str, day: str) -> datetime | None:
        """The minute in which this process last logged a day."""
        return self._logged.get(customer_id, {}).get(day)

    def _days_of(self, customer_id: str) -> dict[str, datetime]:
        """Where the answer to a request that is sent now is remembered."""
        if len(self._logged) >= _MAX_REMEMBERED:
            self._logged.clear()
        return self._logged.setdefault(customer_id, {})

    def _take_expected(self, minute: datetime) -> list[_Day]:
        """Days that one more request may log; those named in an earlier minute are dropped."""
        days: list[_Day] = []
        while len(days) < MAX_PUT_TOGETHER - 1:
            try:
                day, named_in = self._expected.popitem()
            except KeyError:
                break
            if named_in == minute:
                days.append(day)
        return days

    def _log(self, customer_id: str, day: str, retry: RetryPolicy | None = None) -> None:
        minute, logged = self.minutes.current(), self._days_of(customer_id)
        self._put(self._item(customer_id, day, minute), retry)
        logged[day] = minute

    def _log_together(self, days: list[_Day], minute: datetime) -> None:
        """Log several days with one request; DynamoDB may leave some out when it is busy."""
        items = {day: self._item(*day, minute) for day in days}
        logged = {customer_id: self._days_of(customer_id) for customer_id, _ in days}
        answer, left_out = self.requests.put_together(self.table, list(items.values()), retry=_ONCE)
        self.minutes.check_clock(answer)
        keys = [item["change_key"] for item in left_out]
        for (customer_id, day), item in items.items():
            if item["change_key"] not in keys:
                logged[customer_id][day] = minute

    def _item(
        self, customer_id: str, day: str, minute: datetime
    ) -> dict[str, AttributeValueTypeDef]:
        return {
            "change_slot": {"S": change_partition(minute, change_shard(customer_id))},
            "change_key": {"S": change_key(customer_id, day)},
            "customer_id": {"S": customer_id},
            "day": {"S": day},
            EXPIRES_AT: {"N": str(math.ceil(self.minutes.expiry_of(minute).timestamp()))},
        }

    def _put(self, item: Mapping[str, Any], retry: RetryPolicy | None = None) -> None:
        self.minutes.check_clock(
            self.requests.send(
                self.requests.client.put_item, TableName=self.table, Item=item, retry=retry
            )
        )

    def forget(self, customer_id: str) -> None:
        """Log this customer's days again before their next changes."""
        self._logged.pop(customer_id, None)

    def forget_all(self) -> None:
        """The table was recreated: nothing is logged."""
        self._logged.clear()

    def note_gap(self) -> None:
        """
        Note that counters changed without being logged. Readers must start again.

        The log is complete from the next minute on: the current one has changes, but not all.
        """
        whole_from = self.minutes.current() + self.minutes.length
        self._put({**CHANGE_GAP_KEY, "whole_from": {"S": format_timestamp(whole_from)}})


# --- keys and items of its table ------------------------------------------------------------------


def change_partition(minute: datetime, shard: int) -> str:
    return f"{format_timestamp(minute)}#{shard}"


def change_shard(customer_id: str) -> int:
    """The shard of each minute that logs this customer's changes."""
    return hashlib.sha256(customer_id.encode()).digest()[0] % CHANGE_SHARDS


def change_key(customer_id: str, day: str) -> str:
    """Sort key of a changed day, such as `acme#2021-03-01`."""
    return f"{shortened_id(customer_id, MAX_SORT_KEY_BYTES - len(f'#{day}'))}#{day}"
