"""Doubles the shards of a customer that is too busy for those that it has."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from botocore.exceptions import ClientError

from events.domain.timestamps import day_of
from events.dynamodb.answers import is_throttle
from events.dynamodb.plans import Plan, Plans
from events.errors import EventsError
from events.telemetry import metrics

log = logging.getLogger(__name__)

#: Events of one shard in five minutes from which on its customer needs more shards: 300 a second.
#: A partition key takes 500 (Developer Guide, "Best practices for designing partition keys").
WINDOW_SECONDS = 300
EVENTS_PER_SHARD = 300 * WINDOW_SECONDS
#: The same for transactions that DynamoDB throttled.
THROTTLES = 20
_DAY = timedelta(days=1)


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
