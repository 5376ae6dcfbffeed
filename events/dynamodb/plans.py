"""Plans: how many shards the days of a busy customer get, set by people or doubled when busy."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError

from events.datamodels import PLANS, registry_key, shard_key
from events.domain.timestamps import day_of
from events.dynamodb.answers import is_throttle
from events.dynamodb.customers import LAST_KEY
from events.dynamodb.requests import ConditionFailed, Requests
from events.errors import EventsError, InvalidInput, StoreRefused
from events.models import MAX_PARTITION_KEY_BYTES, MAX_SHARDS
from events.telemetry import metrics

log = logging.getLogger(__name__)

#: How old the plans that a writer follows may be.
_FRESH_SECONDS = 60.0
#: Events of one shard in five minutes from which on its customer needs more shards: 300 a second.
#: A partition key takes 500 (Developer Guide, "Best practices for designing partition keys").
WINDOW_SECONDS = 300
EVENTS_PER_SHARD = 300 * WINDOW_SECONDS
#: The same for transactions that DynamoDB throttled.
THROTTLES = 20
_DAY = timedelta(days=1)


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


# --- doubling ---


@dataclass(eq=False)
class AutoShards:
    """Watches what this process writes; safe to use from many threads."""

    plans: Plans
    now: Callable[[], datetime]
    clock: Callable[[], float]
    #: Never more shards than this; 1 switches the automatic off.
    max_shards: int
    _window: int = field(default=0, init=False)
    _events: Counter[str] = field(default_factory=Counter, init=False)
    _throttles: Counter[str] = field(default_factory=Counter, init=False)
    #: The day (proleptic ordinal) on which each busy customer's shards were last doubled.
    _doubled: dict[str, int] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def note_failure(self, customer_id: str, failure: Exception) -> None:
        """Note that an attempt to write failed."""
        if isinstance(failure, ClientError) and is_throttle({**failure.response}):
            with self._lock:
                self._begin_window()
                self._throttles[customer_id] += 1

    def note_written(self, customer_id: str, ordinal: int, shards: int, events: int) -> None:
        """Note events of a day; double the shards of the following days if they are too many."""
        if self.max_shards == 1:
            return
        now = self.now()
        today = now.toordinal()
        if ordinal < today:
            return  # old events, such as a file's: they do not say how busy tomorrow will be
        with self._lock:
            self._begin_window()
            self._events[customer_id] += events
            is_busy = self._events[customer_id] >= EVENTS_PER_SHARD * shards
            if not (is_busy or self._throttles[customer_id] >= THROTTLES):
                return
            if self._doubled.get(customer_id) == today:
                return
            self._doubled[customer_id] = today
        self._double(customer_id, shards, day_of(now + _DAY))

    def _begin_window(self) -> None:
        """Forget what was noted more than five minutes ago."""
        window = int(self.clock() // WINDOW_SECONDS)
        if window != self._window:
            self._window = window
            self._events.clear()
            self._throttles.clear()

    def _double(self, customer_id: str, shards: int, tomorrow: str) -> None:
        doubled = min(2 * shards, self.max_shards)

        def change(plan: Plan) -> Plan:
            # Another process may have done it, or an operator planned as many.
            if plan.is_pinned or plan.shards_on(tomorrow) >= doubled:
                return plan
            return plan.with_shards(doubled, tomorrow)

        try:
            plan = self.plans.change(customer_id, change)
        except EventsError as exc:
            log.warning("customer %r needs more shards, but: %s", customer_id, exc)
            return
        if plan.is_pinned or plan.shards_on(tomorrow) <= shards:
            log.warning(
                "customer %r is too busy for its %d shards: see `events shards`",
                customer_id,
                shards,
            )
            return
        metrics.SHARDS_DOUBLED.inc()
        log.warning(
            "customer %r is busy: from %s on its days have %d shards instead of %d",
            customer_id,
            tomorrow,
            plan.shards_on(tomorrow),
            shards,
        )
