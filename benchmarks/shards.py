"""
How many events a second does one customer get, by its number of shards?

DynamoDB's limits are simulated, in simulated time: a partition key takes 1,000 write units a second
(Developer Guide, "Best practices for designing and using partition keys effectively"), an action of
a transaction two for each 1 KB, a throttled transaction is cancelled, and a round trip takes 5 to
10 ms. Unused capacity, which DynamoDB may lend for five minutes, is left out.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any, NamedTuple

from benchmarks.measuring import print_table
from benchmarks.simulated import SimulatedClient, throttled
from events.dao import DynamoStore
from events.datamodels import Tables, shard_of
from events.domain.retries import RetryPolicy
from events.models import Event

_FIRST_DAY = datetime(2021, 3, 1, tzinfo=UTC)
_UNITS_PER_SECOND = 1_000
_ROUND_TRIP_SECONDS = 0.005, 0.010
_PER_TRANSACTION = 97
#: Of the last table; the aim of one customer.
_OFFERED = 7_000


class Clock:
    """The time of the lane that writes."""

    def __init__(self) -> None:
        self.now = 0.0
        #: Its fraction of a second moves with the simulation.
        self.jitter = random.Random(7)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Limits:
    """What a partition key takes: the units that it has left, and since when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[tuple[str, str], tuple[float, float]] = {}
        self.units = 0
        self.throttled = 0

    def __call__(self, operation: str, request: Mapping[str, Any]) -> None:
        low, high = _ROUND_TRIP_SECONDS
        self._clock.sleep(low + (high - low) * self._clock.jitter.random())
        if operation != "transact_write_items":
            self.units += operation in ("put_item", "update_item", "delete_item")
            return
        units: dict[tuple[str, str], int] = defaultdict(int)
        for action in request["TransactItems"]:
            ((_, fields),) = action.items()
            partition = (fields.get("Key") or fields["Item"])["customer_id"]["S"]
            units[fields["TableName"], partition] += 2
        for key, needed in units.items():
            left, since = self._left.get(key, (_UNITS_PER_SECOND, 0.0))
            left = min(_UNITS_PER_SECOND, left + (self._clock.now - since) * _UNITS_PER_SECOND)
            self._left[key] = left, self._clock.now
            if left < needed:
                self.throttled += 1
                raise throttled(len(request["TransactItems"]))
        for key, needed in units.items():
            left, since = self._left[key]
            self._left[key] = left - needed, since
        self.units += sum(units.values())


class Result(NamedTuple):
    events_per_second: float
    units_per_event: float
    #: Of 100 transactions that were sent.
    throttled_percent: float


def simulate(shards: int, *, seconds: float, offered: float) -> Result:
    """
    One customer's events of one day, all of different ids, for some seconds.

    Args:
        offered: Events that arrive in a second; they wait in the lane of their shard.
    """
    clock = Clock()
    limits = Limits(clock)
    client: Any = SimulatedClient(limits)
    retry = RetryPolicy(500, sleep=clock.sleep, clock=clock, jitter=clock.jitter.random)
    store = DynamoStore(client, Tables.named("t"), retry=retry, clock=clock)
    day = f"{_FIRST_DAY:%Y-%m-%d}"
    store.plans.change("acme", lambda plan: plan.with_shards(shards, day))
    limits.units = 0
    arrivals = _arrivals(shards, offered)
    waiting: dict[int, list[Event]] = defaultdict(list)
    arrived = 0.0
    turns = [(0.0, shard) for shard in range(shards)]
    written = transactions = 0
    while turns:
        clock.now, shard = heapq.heappop(turns)
        new = int((clock.now - arrived) * offered)
        arrived += new / offered
        for of_shard, event in islice(arrivals, new):
            waiting[of_shard].append(event)
        batch = waiting[shard][:_PER_TRANSACTION]
        if batch:
            store.write(batch)
            del waiting[shard][: len(batch)]
            written += len(batch) * (clock.now <= seconds)
            transactions += 1
        else:
            clock.sleep(0.001)
        if clock.now <= seconds:
            heapq.heappush(turns, (clock.now, shard))
    sent = transactions + limits.throttled
    return Result(written / seconds, limits.units / written, 100 * limits.throttled / sent)


def _arrivals(shards: int, offered: float) -> Iterator[tuple[int, Event]]:
    for number in count():
        event = Event("acme", "api_call", f"t-{offered:.0f}-{number}", _FIRST_DAY)
        yield shard_of(event, shards), event


def run(*, is_quick: bool) -> None:
    seconds = 2.0 if is_quick else 10.0
    numbers = (1, 4) if is_quick else (1, 2, 4, 8, 16, 32)
    # Twice what the shards take: their lanes are never empty.
    full = {shards: simulate(shards, seconds=seconds, offered=1_000 * shards) for shards in numbers}
    given = {shards: simulate(shards, seconds=seconds, offered=_OFFERED) for shards in numbers}
    print_table(
        "How busy may one customer be?",
        ["shards", "events/s", "÷ one shard", "÷ linear", "write units per event",
         f"throttled at {_OFFERED:,} events/s"],
        [
            [
                f"{shards}",
                f"{result.events_per_second:,.0f}",
                f"{result.events_per_second / full[1].events_per_second:.1f} ×",
                f"{result.events_per_second / full[1].events_per_second / shards:.2f} ×",
                f"{result.units_per_event:.2f}",
                f"{given[shards].throttled_percent:.0f} %",
            ]
            for shards, result in full.items()
        ],
    )  # fmt: skip
