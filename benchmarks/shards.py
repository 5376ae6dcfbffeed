"""
How many events a second does one customer get, by its number of shards, and what do reads cost?

For the writes, DynamoDB's limits are simulated, in simulated time: a partition key takes 1,000
write units a second (Developer Guide, "Best practices for designing and using partition keys
effectively"), an action of a transaction two for each 1 KB, a throttled transaction is cancelled,
and a round trip takes 5 to 10 ms. Unused capacity, which DynamoDB may lend for five minutes, is
left out. The reads are timed twice: on DynamoDB Local, which computes all shards of an answer on
the same cores, and with its answers repeated a round trip after each request.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice
from statistics import median
from typing import Any, NamedTuple

from benchmarks.distance import ROUND_TRIP_SECONDS, at_a_distance
from benchmarks.measuring import database, fresh_settings, percentile, print_table
from benchmarks.query import MONTH, asking, milliseconds, name_of
from benchmarks.simulated import SimulatedClient, throttled
from events.bootstrap import make_store
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import Tables, shard_of
from events.domain.retries import RetryPolicy
from events.dynamodb.plans import Plan
from events.models import Event
from events.service import EventService

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
    _compare_reads((1, 16), events=500 if is_quick else 10_000, times=30 if is_quick else 400)


def _compare_reads(numbers: tuple[int, ...], *, events: int, times: int) -> None:
    """Time 31 days over HTTP, of customers with the same events in different numbers of shards."""
    step = (MONTH.end - MONTH.start) / events
    with database() as server:
        settings = fresh_settings(server)
        with closing(make_store(settings, patience_seconds=60)) as store:
            service = EventService(store, write_threads=4)
            service.create_tables()
            for shards in numbers:
                customer_id = name_of(shards)
                store.plans.change(
                    customer_id, partial(Plan.with_shards, shards=shards, from_day="2021-03-01")
                )
                service.ingest(
                    [
                        Event(customer_id, "page_view", f"{number}", MONTH.start + number * step)
                        for number in range(events)
                    ]
                )
        title = f"31 days over HTTP of a customer with {events:,} events, {times} questions each"
        _time_reads(settings, numbers, events, times, f"{title}, on DynamoDB Local")
        with at_a_distance(server.endpoint_url) as endpoint_url:
            far = settings.model_copy(update={"dynamodb_endpoint_url": endpoint_url})
            trip = f"{1000 * ROUND_TRIP_SECONDS:.0f} ms"
            _time_reads(far, numbers, events, times, f"{title}, a round trip of {trip} away")


def _time_reads(
    settings: Settings, numbers: tuple[int, ...], events: int, times: int, title: str
) -> None:
    with asking(settings) as ask:
        variants: dict[str, Callable[[], object]] = {
            f"{shards}": partial(ask, name_of(shards), MONTH) for shards in numbers
        }
        if {act() for act in variants.values()} != {events}:
            raise RuntimeError("an answer is wrong: nothing is measured")
        times_of = milliseconds(variants, times)
    one = median(times_of["1"])
    print_table(
        title,
        ["shards", "p50", "p99", "to one shard, p50", "aim"],
        [
            [
                shards,
                f"{percentile(values, 0.5):.2f} ms",
                f"{percentile(values, 0.99):.2f} ms",
                f"{median(values) / one:.2f} ×",
                "" if shards == "1" else "≤ 2.5 ×",
            ]
            for shards, values in times_of.items()
        ],
    )
