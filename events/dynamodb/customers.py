"""The registry: which customers exist, and which of them are being erased."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from events.datamodels import REGISTRY, registry_item, registry_key, registry_prefix
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp
from events.dynamodb.requests import ConditionFailed, Requests

#: After every possible sort key: 256 times the last character, 1,024 bytes.
LAST_KEY = "\U0010ffff" * 256
#: How long a registration is not repeated. Erasures rely on it: see `finish_erasure`.
REGISTERED_FOR_SECONDS = 20.0
#: Customers remembered as registered. Beyond this, all are forgotten and registered again.
_MAX_REMEMBERED = 50_000
_ONCE = RetryPolicy(patience_seconds=0)


@dataclass(eq=False)
class Registry:
    """The registry of customers; safe to use from many threads."""

    requests: Requests
    table: str
    now: Callable[[], datetime]
    clock: Callable[[], float]
    #: See `REGISTERED_FOR_SECONDS`.
    registered_for_seconds: float
    #: The longest that one request can take.
    request_seconds: float
    #: Until when each customer's registration is not repeated. Single dict operations are atomic.
    _registered_until: dict[str, float] = field(default_factory=dict, init=False)

    def register_if_needed(self, customer_id: str) -> bool:
        """
        Register a customer, unless this process did so recently; return whether it sent a request.

        Call this before each attempt to write that does not require the day's counter: so a
        customer is registered before it has events. One request, not retried (see `ensure_logged`).
        """
        if self._registered_until.get(customer_id, -math.inf) >= self.clock():
            return False
        self.register(customer_id, retry=_ONCE)
        return True

    def register(self, customer_id: str, retry: RetryPolicy | None = None) -> None:
        """Register a customer, also if it is registered already."""
        sent_at = self.clock()
        # Replaces the item, so that the mark of an erasure goes away.
        self.requests.send(
            self.requests.client.put_item,
            TableName=self.table,
            Item=registry_item(customer_id, self.now()),
            retry=retry,
        )
        if len(self._registered_until) >= _MAX_REMEMBERED:
            self._registered_until.clear()
        self._registered_until[customer_id] = sent_at + self.registered_for_seconds

    def forget(self, customer_id: str) -> None:
        """Register this customer again before its next new day."""
        self._registered_until.pop(customer_id, None)

    def forget_all(self) -> None:
        """The tables were recreated: no customer is registered."""
        self._registered_until.clear()

    def is_listed(self, customer_id: str) -> bool:
        return bool(self.requests.get(self.table, self._key(customer_id)))

    def _key(self, customer_id: str) -> dict[str, Any]:
        return {"customer_id": {"S": REGISTRY}, "counter_key": {"S": registry_key(customer_id)}}

    def customers(self, *, prefix: str, after: str | None, limit: int) -> list[str]:
        """
        Registered customers with this prefix, after `after`, in byte order of their ids.

        An id longer than a sort key may be (1,024 bytes) is sorted by its first 900 bytes.
        """
        # The registry key of a very long id is its start and a digest, so the key's prefix is only
        # a bound, and each id is checked itself.
        names: list[str] = []
        start = registry_prefix(prefix)
        low = max(start or " ", registry_key(after) if after else "")
        for item in self.requests.items(
            self.table, "counter_key", REGISTRY, low, LAST_KEY, Limit=limit + 1
        ):
            name = item["registered_id"]["S"]
            if not item["counter_key"]["S"].startswith(start):
                break
            if name.startswith(prefix) and name != after:
                names.append(name)
            if len(names) == limit:
                break
        return names

    # --- erasing ----------------------------------------------------------------------------------

    def begin_erasure(self, customer_id: str, *, is_listed: bool) -> datetime | None:
        """
        Mark a customer as being erased; an existing mark stays.

        Args:
            is_listed: Mark the customer only if it is registered; otherwise register it for that.

        Returns:
            The time of the mark; None if the customer is not registered any more.
        """
        condition: dict[str, Any] = {}
        if is_listed:
            condition["ConditionExpression"] = "attribute_exists(customer_id)"
        self.forget(customer_id)
        try:
            answer = self.requests.send(
                self.requests.client.update_item,
                TableName=self.table,
                Key=self._key(customer_id),
                UpdateExpression=(
                    "SET erasing_since = if_not_exists(erasing_since, :now), "
                    "registered_id = :id, registered_at = if_not_exists(registered_at, :now)"
                ),
                ExpressionAttributeValues={
                    ":now": {"S": format_timestamp(self.now())},
                    ":id": {"S": customer_id},
                },
                ReturnValues="ALL_NEW",
                **condition,
            )
        except ConditionFailed:
            return None
        return datetime.fromisoformat(answer["Attributes"]["erasing_since"]["S"])

    def seconds_to_wait(self, since: datetime) -> float:
        """Seconds until `finish_erasure` may be called for a customer marked at `since`."""
        wait = timedelta(seconds=self.registered_for_seconds + self.request_seconds)
        return max(0.0, (since + wait - self.now()).total_seconds())

    def finish_erasure(self, customer_id: str, since: datetime) -> bool:
        """
        Remove a customer from the registry if nobody wrote for it since the mark.

        Call this when nothing else of the customer is left. Then a write that requires a counter
        fails. Any other write that began later than `REGISTERED_FOR_SECONDS` after the mark has
        registered the customer again, which removed the mark. Writes that began earlier have ended
        after `seconds_to_wait`. So if the mark still exists, nothing was written since nothing was
        left, and nothing will be before the customer is registered again.

        Returns:
            False if the mark is gone: look for what was written, and start again.
        """
        try:
            self.requests.send(
                self.requests.client.delete_item,
                TableName=self.table,
                Key=self._key(customer_id),
                ConditionExpression="erasing_since = :since",
                ExpressionAttributeValues={":since": {"S": format_timestamp(since)}},
            )
        except ConditionFailed:
            # If an answer was lost, this very call may have removed the customer.
            return not self.is_listed(customer_id)
        return True

    def changes_forgotten_until(self, customer_id: str, since: datetime) -> datetime | None:
        """How far the erasure marked at `since` has cleared the change log."""
        item = self.requests.get(self.table, self._key(customer_id))
        if item.get("erasing_since") != {"S": format_timestamp(since)}:
            return None
        until = item.get("changes_forgotten_until")
        return None if until is None else datetime.fromisoformat(until["S"])

    def note_changes_forgotten(self, customer_id: str, since: datetime, until: datetime) -> None:
        """Note how far this step got. If the mark is gone, the next step starts again."""
        with suppress(ConditionFailed):
            self.requests.send(
                self.requests.client.update_item,
                TableName=self.table,
                Key=self._key(customer_id),
                UpdateExpression="SET changes_forgotten_until = :until",
                ConditionExpression="erasing_since = :since",
                ExpressionAttributeValues={
                    ":until": {"S": format_timestamp(until)},
                    ":since": {"S": format_timestamp(since)},
                },
            )
