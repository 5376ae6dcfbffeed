"""Plans: how many shards the days of a busy customer get when their first event arrives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from events.datamodels import PLANS, registry_key, shard_key
from events.dynamodb.customers import LAST_KEY
from events.dynamodb.requests import ConditionFailed, Requests
from events.errors import InvalidInput, StoreRefused
from events.models import MAX_PARTITION_KEY_BYTES, MAX_SHARDS

#: How old the plans that a writer follows may be.
_FRESH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How many shards a customer's days get. A day that has events keeps the number that it has.

    `days` maps a UTC day to the number from that day on. `is_pinned`: not changed automatically.
    """

    customer_id: str
    days: Mapping[str, int] = field(default_factory=dict)
    is_pinned: bool = False

    def shards_on(self, day: str) -> int:
        begun = [first for first in self.days if first <= day]
        return self.days[max(begun)] if begun else 1

    def with_shards(self, shards: int, from_day: str, *, is_pinned: bool = False) -> Plan:
        """This plan up to a day; from that day on, the given number."""
        kept = {first: number for first, number in self.days.items() if first < from_day}
        return replace(self, days={**kept, from_day: shards}, is_pinned=is_pinned)


@dataclass(eq=False)
class Plans:
    """
    The plans in the counts table; safe to use from many threads.

    A plan is advice. The truth about a day is stored with its counters, so a writer with an old
    plan is corrected when it writes.
    """

    requests: Requests
    table: str
    clock: Callable[[], float]
    _plans: Mapping[str, Plan] = field(default_factory=dict, init=False)
    _fresh_until: float = field(default=-math.inf, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def shards_on(self, customer_id: str, day: str) -> int:
        """The planned number of shards, at most a minute old."""
        # Others wait, so that no day begins with one shard because a plan is being read.
        with self._lock:
            if self._fresh_until < self.clock():
                try:
                    self._plans = {plan.customer_id: plan for plan in self.all()}
                except StoreRefused:  # logged; the writes may be allowed all the same
                    self._plans = {}
                self._fresh_until = self.clock() + _FRESH_SECONDS
        plan = self._plans.get(customer_id)
        return 1 if plan is None else plan.shards_on(day)

    def all(self) -> list[Plan]:
        """All plans, as they are stored now."""
        items = self.requests.items(self.table, "counter_key", PLANS, " ", LAST_KEY)
        return [_plan_of(item) for item in items]

    def get(self, customer_id: str) -> Plan:
        item = self.requests.get(self.table, _key(customer_id))
        return _plan_of(item) if item else Plan(customer_id)

    def change(self, customer_id: str, change: Callable[[Plan], Plan]) -> Plan:
        """
        Change a customer's plan, also while other processes do; returns the plan.

        Raises:
            InvalidInput: The customer's id is so long that its shards would have no keys.
        """
        if len(shard_key(customer_id, MAX_SHARDS).encode()) > MAX_PARTITION_KEY_BYTES:
            raise InvalidInput("this customer's id is too long for shards")
        while True:
            old = self.get(customer_id)
            new = change(old)
            if new == old:
                return old
            condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(customer_id)"}
            if old.days:
                condition = {
                    "ConditionExpression": "shards_from = :old AND is_pinned = :pinned",
                    "ExpressionAttributeValues": {
                        ":old": _item(old)["shards_from"],
                        ":pinned": _item(old)["is_pinned"],
                    },
                }
            try:
                self.requests.send(
                    self.requests.client.put_item,
                    TableName=self.table,
                    Item=_item(new),
                    **condition,
                )
            except ConditionFailed:
                # Another process changed it, or the answer to a first attempt was lost.
                continue
            self._fresh_until = -math.inf
            return new

    def forget(self, customer_id: str) -> None:
        """Delete the plan of an erased customer."""
        self.requests.send(
            self.requests.client.delete_item, TableName=self.table, Key=_key(customer_id)
        )


def _key(customer_id: str) -> dict[str, Any]:
    return {"customer_id": {"S": PLANS}, "counter_key": {"S": registry_key(customer_id)}}


def _item(plan: Plan) -> dict[str, Any]:
    return {
        **_key(plan.customer_id),
        "planned_id": {"S": plan.customer_id},
        "shards_from": {"M": {day: {"N": str(number)} for day, number in plan.days.items()}},
        "is_pinned": {"BOOL": plan.is_pinned},
    }


def _plan_of(item: Mapping[str, Any]) -> Plan:
    return Plan(
        item["planned_id"]["S"],
        {day: int(number["N"]) for day, number in item["shards_from"]["M"].items()},
        item["is_pinned"]["BOOL"],
    )
