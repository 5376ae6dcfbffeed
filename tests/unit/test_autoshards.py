"""A busy customer's following days get twice the shards; a plan by an operator may forbid it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from benchmarks.simulated import SimulatedClient, throttled
from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.dynamodb.plans import EVENTS_PER_SHARD, THROTTLES, AutoShards, Plan
from tests.support.factories import DAY, HOUR_ZERO, event

TODAY = HOUR_ZERO.toordinal()
TOMORROW = "2021-03-02"


class Process:
    """A process whose clocks stand at noon of the first day until a test moves them."""

    def __init__(self, client: Any, *, max_shards: int = 16) -> None:
        self.now = HOUR_ZERO + DAY / 2
        store = DynamoStore(client, Tables.named("t"), retry=RetryPolicy(10), clock=self._clock)
        self.plans = store.plans
        self.auto = AutoShards(store.plans, lambda: self.now, self._clock, max_shards)

    def _clock(self) -> float:
        return (self.now - datetime.min.replace(tzinfo=self.now.tzinfo)).total_seconds()

    def write(self, events: int, *, shards: int = 1, ordinal: int | None = None) -> None:
        today = self.now.toordinal()
        self.auto.note_written("acme", ordinal or today, shards, events)

    def plan(self) -> Plan:
        return self.plans.get("acme")


@pytest.fixture
def process() -> Process:
    return Process(SimulatedClient())


def test_a_busy_customer_gets_twice_the_shards_from_tomorrow(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    process.write(EVENTS_PER_SHARD - 1)
    assert process.plan() == Plan("acme")
    with caplog.at_level(logging.WARNING):
        process.write(1)
    assert process.plan() == Plan("acme", {TOMORROW: 2})
    assert "from 2021-03-02 on its days have 2 shards instead of 1" in caplog.text
    # Once a day.
    process.write(10 * EVENTS_PER_SHARD)
    assert process.plan() == Plan("acme", {TOMORROW: 2})
    process.now += DAY
    process.write(2 * EVENTS_PER_SHARD - 1, shards=2)
    assert process.plan() == Plan("acme", {TOMORROW: 2})
    process.write(1, shards=2)
    assert process.plan() == Plan("acme", {TOMORROW: 2, "2021-03-03": 4})


def test_the_rate_counts_five_minutes(process: Process) -> None:
    for _ in range(5):
        process.write(EVENTS_PER_SHARD - 1)
        process.now += timedelta(minutes=5)
    assert process.plan() == Plan("acme")


def test_old_events_do_not_make_a_customer_busy(process: Process) -> None:
    process.write(10 * EVENTS_PER_SHARD, ordinal=TODAY - 1)
    assert process.plan() == Plan("acme")


def test_throttled_writes_make_a_customer_busy(process: Process) -> None:
    for _ in range(THROTTLES):
        process.write(1)
        assert process.plan() == Plan("acme")
        process.auto.note_failure("acme", throttled(3))
        process.auto.note_failure("other", throttled(3))
        process.auto.note_failure("acme", ValueError("not a throttle"))
    process.write(1)
    assert process.plan() == Plan("acme", {TOMORROW: 2})


@pytest.mark.parametrize(("max_shards", "planned"), [(1, {}), (2, {TOMORROW: 2})])
def test_a_cap_holds(max_shards: int, planned: dict[str, int]) -> None:
    process = Process(SimulatedClient(), max_shards=max_shards)
    process.write(EVENTS_PER_SHARD)
    process.now += DAY
    process.write(2 * EVENTS_PER_SHARD, shards=2)
    assert process.plan() == Plan("acme", planned)


def test_a_pinned_plan_stays(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    pinned = Plan("acme", {TOMORROW: 1}, is_pinned=True)
    process.plans.change("acme", lambda _: pinned)
    process.write(EVENTS_PER_SHARD)
    assert process.plan() == pinned
    assert "customer 'acme' is too busy for its 1 shards" in caplog.text


def test_several_processes_double_once() -> None:
    client = SimulatedClient()
    processes = [Process(client) for _ in range(3)]
    for process in processes:
        process.write(EVENTS_PER_SHARD)
    assert processes[0].plan() == Plan("acme", {TOMORROW: 2})


def test_a_store_watches_what_it_writes() -> None:
    now = HOUR_ZERO + DAY / 2
    failures = iter([throttled(3)] * THROTTLES)

    def before(operation: str, _: object) -> None:
        if operation == "transact_write_items":
            for failure in failures:
                raise failure

    client: Any = SimulatedClient(before)
    store = DynamoStore(
        client,
        Tables.named("t"),
        retry=RetryPolicy(10, sleep=lambda _: None, clock=lambda: 0.0),
        now=lambda: now,
        max_shards=4,
    )
    store.write([event(timestamp=now)])
    assert store.plans.get("acme") == Plan("acme", {TOMORROW: 2})
