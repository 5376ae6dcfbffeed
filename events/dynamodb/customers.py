"""The list of customers, and the mark of one that is being erased."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from events.datamodels import (
    REGISTRY,
    Tables,
    registry_item,
    registry_key,
    registry_prefix,
)
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp
from events.dynamodb.answers import LONGEST_REQUEST_SECONDS
from events.dynamodb.requests import Calls, ConditionFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: After every sort key that there can be: 256 of the last character, 1,024 bytes.
LAST_KEY = "\U0010ffff" * 256
#: A writer that cannot count on a counter of the customer lists it again once this has passed since
#: it last did. An erasure rests on it: see `finish_erasure`.
LISTED_FOR_SECONDS = 20.0
#: Customers remembered as listed; past that all are listed again as they come.
_MOST_REMEMBERED = 50_000


class Registry:
    """
    Which customers there are; safe to use from many threads.

    Args:
        listed_for_seconds: How long a listing is not repeated.
        grace_seconds: How much longer a request that was sent in this time may take.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        calls: Calls,
        tables: Tables,
        *,
        now: Callable[[], datetime],
        listed_for_seconds: float = LISTED_FOR_SECONDS,
        grace_seconds: float = LONGEST_REQUEST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._calls = calls
        self._table = tables.counts
        self._now = now
        self._clock = clock
        self._once = RetryPolicy(patience_seconds=0)
        self._listed_for_seconds = listed_for_seconds
        self._wait = timedelta(seconds=listed_for_seconds + grace_seconds)
        self._lock = threading.Lock()
        #: Until when each customer needs no listing.
        self._listed_until: dict[str, float] = {}

    def ensure(self, customer_id: str) -> None:
        """
        List a customer, if that was not done a short while ago.

        Called before each attempt to write that does not count on a counter to be there, so that
        the list shows a customer before it has events, and lacks none that has.
        """
        now = self._clock()
        if self._listed_until.get(customer_id, -math.inf) < now:
            # Once: the attempt that it belongs to is what is made again.
            self._list(customer_id, now, retry=self._once)

    def register(self, customer_id: str) -> None:
        """List a customer, whether or not it was listed before."""
        self._list(customer_id, self._clock())

    def forget(self, customer_id: str) -> None:
        """Do not believe that a customer is listed."""
        with self._lock:
            self._listed_until.pop(customer_id, None)

    def _list(self, customer_id: str, sent_at: float, retry: RetryPolicy | None = None) -> None:
        # Whole, so that the mark of an erasure goes away.
        self._calls.one(
            self._client.put_item,
            TableName=self._table,
            Item=registry_item(customer_id, self._now()),
            retry=retry,
        )
        with self._lock:
            if len(self._listed_until) >= _MOST_REMEMBERED:
                self._listed_until.clear()
            self._listed_until[customer_id] = sent_at + self._listed_for_seconds

    def forget_all(self) -> None:
        """The tables were made anew: nobody is listed."""
        with self._lock:
            self._listed_until.clear()

    def is_listed(self, customer_id: str) -> bool:
        """Whether a customer is on the list."""
        return bool(self._item(customer_id))

    def _item(self, customer_id: str) -> Mapping[str, Any]:
        answer = self._calls.one(
            self._client.get_item,
            TableName=self._table,
            Key=self._key(customer_id),
            ConsistentRead=True,
        )
        item: Mapping[str, Any] = answer.get("Item", {})
        return item

    def _key(self, customer_id: str) -> dict[str, Any]:
        return {"customer_id": {"S": REGISTRY}, "counter_key": {"S": registry_key(customer_id)}}

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
            self._table, "counter_key", REGISTRY, low, LAST_KEY, Limit=limit + 1
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

    # --- erasing ----------------------------------------------------------------------------------

    def begin_erasure(self, customer_id: str, *, is_listed: bool) -> datetime | None:
        """
        Mark a customer as being erased; a mark that is there stays.

        Args:
            is_listed: Mark it only if it is listed still; else list it for that.

        Returns:
            The time of the mark; None if it is not listed any more.
        """
        only_if: dict[str, Any] = {}
        if is_listed:
            only_if["ConditionExpression"] = "attribute_exists(customer_id)"
        self.forget(customer_id)
        try:
            answer = self._calls.one(
                self._client.update_item,
                TableName=self._table,
                Key=self._key(customer_id),
                UpdateExpression=(
                    "SET erasing_since = if_not_exists(erasing_since, :now), "
                    "registered_id = :id, registered_at = if_not_exists(registered_at, :now)"
                ),
                ExpressionAttributeValues={
                    ":now": {"S": format_timestamp(self._now())},
                    ":id": {"S": customer_id},
                },
                ReturnValues="ALL_NEW",
                **only_if,
            )
        except ConditionFailed:
            return None
        return datetime.fromisoformat(answer["Attributes"]["erasing_since"]["S"])

    def seconds_to_wait(self, since: datetime) -> float:
        """How long until a customer marked at `since` may be taken off; 0 is now."""
        return max(0.0, (since + self._wait - self._now()).total_seconds())

    def finish_erasure(self, customer_id: str, since: datetime) -> bool:
        """
        Take a customer off the list, if nobody wrote for it since the mark.

        For when nothing else of it is left. An attempt to write that counts on a counter cannot
        succeed then. Any other that began later than `LISTED_FOR_SECONDS` after the mark listed the
        customer anew, and so removed the mark; those that began before have ended once
        `seconds_to_wait` is over. So where the mark still stands after that wait, nothing was
        written since nothing was left, and nothing can be before the customer is listed again.

        Returns:
            False if the mark is gone: look for what was written, and begin again.
        """
        try:
            self._calls.one(
                self._client.delete_item,
                TableName=self._table,
                Key=self._key(customer_id),
                ConditionExpression="erasing_since = :since",
                ExpressionAttributeValues={":since": {"S": format_timestamp(since)}},
            )
        except ConditionFailed:
            # After a lost answer it may be this very call that took it off.
            return not self.is_listed(customer_id)
        return True

    def changes_forgotten_until(self, customer_id: str, since: datetime) -> datetime | None:
        """How far the list of changes was cleared for the erasure marked at `since`."""
        item = self._item(customer_id)
        if item.get("erasing_since") != {"S": format_timestamp(since)}:
            return None
        until = item.get("changes_forgotten_until")
        return None if until is None else datetime.fromisoformat(until["S"])

    def note_changes_forgotten(self, customer_id: str, since: datetime, until: datetime) -> None:
        """Note that for the next step; where the mark is gone, that one begins anew."""
        with suppress(ConditionFailed):
            self._calls.one(
                self._client.update_item,
                TableName=self._table,
                Key=self._key(customer_id),
                UpdateExpression="SET changes_forgotten_until = :until",
                ConditionExpression="erasing_since = :since",
                ExpressionAttributeValues={
                    ":until": {"S": format_timestamp(until)},
                    ":since": {"S": format_timestamp(since)},
                },
            )
