"""The writing side of the change log: which days' counters are about to change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from events.domain.retries import RetryPolicy
from events.dynamodb.changeitems import change_gap_item, change_item
from events.dynamodb.minutes import Minutes
from events.dynamodb.requests import Requests
from events.errors import ClockSkew

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Customer, and day as `YYYY-MM-DD`.
_Day = tuple[str, str]
#: Logged days that are remembered. Beyond this, all are forgotten and logged again.
_MAX_REMEMBERED = 50_000
_ONCE = RetryPolicy(patience_seconds=0)


class ChangeLog:
    """
    Logs each day of a customer before its counters change; safe to use from many threads.

    **Guarantee**: after a minute is settled (see `Minutes.settled_until`), its log names every day
    whose counters a request sent in that minute has changed. `docs/decisions/0010-changes.md` has
    the argument. A logged day may be unchanged: a duplicate arrived, or the writer died.
    """

    def __init__(
        self, client: DynamoDBClient, requests: Requests, table: str, minutes: Minutes
    ) -> None:
        self._client = client
        self._requests = requests
        self._table = table
        self._minutes = minutes
        #: The minute in which each day was last logged. Single dict operations are atomic.
        self._logged: dict[_Day, datetime] = {}

    def ensure_logged(self, customer_id: str, day: str) -> None:
        """
        Log a day in the current minute, unless this process has done so.

        Call this before each attempt to change the day's counters. It sends one request and does
        not retry: the caller's attempt has failed, and the next one calls this again.
        """
        # Again if the minute ended meanwhile: creating a missing table takes long.
        while self._logged.get((customer_id, day)) != self._minutes.current():
            self._log((customer_id, day), _ONCE)

    def log_again_if_late(self, customer_id: str, day: str, answer: Mapping[str, Any]) -> None:
        """
        Log a day again if its counters changed so late that the minute may have been read.

        Call this before a change is reported as done. It is late only if this process was stopped
        (a laptop asleep, a paused container) after it logged the day.

        Args:
            answer: DynamoDB's answer to the change.
        """
        try:
            self._minutes.check_clock(answer)
        except ClockSkew:
            # The clock stood still, perhaps with its virtual machine: what was logged is too old.
            self.forget_all()
            raise
        while not self._is_in_time((customer_id, day)):
            self._log((customer_id, day))

    def _is_in_time(self, day: _Day) -> bool:
        minute = self._logged.get(day)
        return minute is not None and self._minutes.is_in_time(minute)

    def _log(self, day: _Day, retry: RetryPolicy | None = None) -> None:
        minute = self._minutes.current()
        answer = self._requests.send(
            self._client.put_item,
            TableName=self._table,
            Item=change_item(*day, minute, expires_at=self._minutes.expiry_of(minute)),
            retry=retry,
        )
        self._minutes.check_clock(answer)
        if len(self._logged) >= _MAX_REMEMBERED:
            self._logged.clear()
        self._logged[day] = minute

    def forget(self, customer_id: str, day: str) -> None:
        """Log this day again before its next change."""
        self._logged.pop((customer_id, day), None)

    def forget_all(self) -> None:
        """The table was recreated: nothing is logged."""
        self._logged.clear()

    def note_gap(self) -> None:
        """
        Note that counters changed without being logged. Readers must start again.

        The log is complete from the next minute on: the current one has changes, but not all.
        """
        item = change_gap_item(self._minutes.current() + self._minutes.length)
        answer = self._requests.send(self._client.put_item, TableName=self._table, Item=item)
        self._minutes.check_clock(answer)
