"""
Writes to the shards of a busy customer; `docs/decisions/0017-shards.md` has the argument.

The parts that this file calls know only partition keys; here an event gets the one of its shard.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from events.datamodels import counter_item_key, day_counts_of, shard_key, shard_of
from events.domain.timestamps import day_of
from events.dynamodb.expressions import lane_of
from events.dynamodb.plans import Plans
from events.dynamodb.requests import Requests
from events.dynamodb.transactions import DayDiffers, EventTransactions
from events.errors import StoreUnavailable
from events.models import Event, Outcome

#: Days remembered to be spread over shards. Beyond this, all are forgotten and read again.
_MAX_DAYS = 50_000
#: How often a write is sent again because the day has another number of shards. A second time needs
#: an erasure in between.
_TRIES = 10

#: Changes events of one partition, on a day with this number of shards.
_Change = Callable[[Sequence[Event], int], list[Outcome]]


@dataclass(eq=False)
class ShardedWrites:
    """The writes of a store; safe to use from many threads."""

    requests: Requests
    counts_table: str
    transactions: EventTransactions
    plans: Plans
    #: Called with a customer, a day (proleptic ordinal), its shards, and how many events it got.
    on_written: Callable[[str, int, int, int], None] = lambda *_: None
    #: The shards of customers' days (proleptic ordinals) with several, when last seen. A belief:
    #: DynamoDB refuses a write that follows a wrong one. Single dict operations are atomic.
    _shards: dict[tuple[str, int], int] = field(default_factory=dict, init=False)

    def lane_of(self, event: Event, /) -> Hashable:
        """Customer, day, and if the day is spread over shards, the shard: what shares a total."""
        day = lane_of(event)
        shards = self._shards.get(day)
        return day if shards is None else (*day, shard_of(event, shards))

    def write(self, events: Sequence[Event]) -> list[Outcome]:
        customer_id, ordinal = lane_of(events[0])
        shards = self._shards.get((customer_id, ordinal), 1)
        if shards == 1 and not self.transactions.has_counters(customer_id, ordinal):
            shards = self.plans.shards_on(customer_id, day_of(events[0].timestamp))
        outcomes = self._in_shards(events, shards, self.transactions.write)
        shards = self._shards.get((customer_id, ordinal), 1)
        self.on_written(customer_id, ordinal, shards, len(events))
        return outcomes

    def void(self, events: Sequence[Event], reason: str) -> list[Outcome]:
        shards = self._shards.get(lane_of(events[0]), 1)
        if shards > 1:
            # "Not found" in one of several shards is true only if that is the event's shard.
            shards = self._stored_shards(events[0]) or 1
        return self._in_shards(
            events, shards, lambda part, number: self.transactions.void(part, reason, number)
        )

    def _in_shards(self, events: Sequence[Event], shards: int, change: _Change) -> list[Outcome]:
        """Change events shard by shard, until DynamoDB agrees about the number of shards."""
        day = lane_of(events[0])
        outcomes: dict[int, Outcome] = {}
        for _ in range(_TRIES):
            left: dict[int, list[int]] = {}
            for index, event in enumerate(events):
                if index not in outcomes:
                    left.setdefault(shard_of(event, shards), []).append(index)
            try:
                for shard, indexes in left.items():
                    part = [_in_shard(events[index], shard) for index in indexes]
                    outcomes |= zip(indexes, change(part, shards), strict=True)
            except DayDiffers:
                shards = self._stored_shards(events[0]) or self.plans.shards_on(
                    day[0], day_of(events[0].timestamp)
                )
            else:
                self._remember(day, shards)
                return [outcomes[index] for index in range(len(events))]
        raise StoreUnavailable("the day was erased again and again during this write")

    def _stored_shards(self, event: Event) -> int | None:
        """The number of shards of an event's day; None if the day has no counters."""
        item: Any = self.requests.get(
            self.counts_table,
            counter_item_key(event.customer_id, day_of(event.timestamp), None),
        )
        return day_counts_of(item).shards if item else None

    def _remember(self, day: tuple[str, int], shards: int) -> None:
        if shards == 1:
            self._shards.pop(day, None)
            return
        if len(self._shards) >= _MAX_DAYS:
            self._shards.clear()
        self._shards[day] = shards


def _in_shard(event: Event, shard: int) -> Event:
    if not shard:
        return event
    return event._replace(customer_id=shard_key(event.customer_id, shard))
