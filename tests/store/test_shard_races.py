"""Writers with other plans, an erasure and a reader: every order of their requests is exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import pytest

from benchmarks.simulated import SimulatedClient
from events.dao import DynamoStore, Timing
from events.datamodels import Tables, shard_of
from events.domain.retries import RetryPolicy
from events.domain.windows import ALL_TIME
from events.models import Event, Outcome
from tests.support.explorer import Inline, Programs, Run, Step, schedules
from tests.support.factories import DAY_ZERO, event

INSERTED = Outcome.INSERTED
READS = {"get_item", "query"}
#: Two events that lie in different shards of two, and not in shard 0 of four.
LEFT, RIGHT = (
    next(
        item
        for number in range(100)
        for item in [event(f"t-{number}")]
        if (shard_of(item, 2), shard_of(item, 4)) == shards
    )
    for shards in ((0, 2), (1, 3))
)


class World:
    """A database, and stores whose requests are steps of a run."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.client = SimulatedClient(self._before)
        self._tokens = count()
        self.inserted: Counter[Event] = Counter()
        #: The numbers of stored events so far.
        self.totals = [0]
        self._has_written = True

    def _before(self, operation: str, _: object) -> None:
        if self.run is not None:
            self.run.wait_for_turn()
        self._has_written |= operation not in READS

    def store(self, shards: int = 1) -> DynamoStore:
        """The store of a process that believes in a plan of so many shards."""
        store: Any = DynamoStore(
            self.client,  # type: ignore[arg-type] # has what the store calls
            Tables.named("t"),
            retry=RetryPolicy(1),
            # An erasure never gets to its last steps, which wait for the clock.
            timing=Timing(registered_for_seconds=1e6, request_seconds=1e6),
            new_token=lambda: f"token-{next(self._tokens)}",
        )
        store.plans.shards_on = lambda *_: shards
        for part in (store._readers, store.changes.readers):
            part.shutdown()
        reader = store.day_counts.__self__
        reader.threads = reader.reader.threads = store.changes.readers = Inline()
        return store  # type: ignore[no-any-return]

    def writer(self, store: DynamoStore, *batches: Sequence[Event]) -> Callable[[], None]:
        def write() -> None:
            for batch in batches:
                outcomes = store.write(batch)
                self.inserted.update(
                    item
                    for item, outcome in zip(batch, outcomes, strict=True)
                    if outcome is INSERTED
                )

        return write

    def check(self) -> None:
        """What holds after each step that may have changed something."""
        if not self._has_written:
            return
        self._has_written = False
        stored = [key for key in self.client.items("t") if not key[1].startswith("!")]
        assert len({key for _, key in stored}) == len(stored), "an event is stored in two shards"
        counted: Counter[tuple[str, str]] = Counter()
        for partition, key in stored:
            counted[partition, f"total#{key[:10]}"] += 1
        counters = {
            key: sum(int(value["N"]) for name, value in item.items() if name[0] == "h")
            for key, item in self.client.items("t_hourly_counts").items()
            if key[1].startswith("total")
        }
        assert {key: number for key, number in counters.items() if number} == counted
        marks = self.client.items("t")
        for partition, key in counters:
            customer_id, _, shard = partition.partition("\x1f")
            if shard:
                own = self.client.items("t_hourly_counts")[customer_id, key]
                shards = int(own["shards"]["N"])
                assert shards > int(shard)
                assert marks[customer_id, f"!{key[6:]}"]["shards"] == {"N": str(shards)}
                type_mark = self.client.items("t_hourly_counts")[customer_id, f"type#{key[6:]}#"]
                assert type_mark["shards"] == {"N": str(shards)}
        self.totals.append(len(stored))


def explore(make: Callable[[World], Programs], *, preemptions: int) -> list[World]:
    worlds: list[World] = []

    def run(prefix: Sequence[str]) -> Sequence[Step]:
        world = World()
        worlds.append(world)
        programs = make(world)
        world.run = Run(programs, prefix)
        world.run.go(world.check)
        return world.run.steps

    for _ in schedules(run, preemptions):
        pass
    return worlds


def read(world: World, store: DynamoStore) -> Callable[[], None]:
    """Count and look up; each answer is one that was right at some moment of the question."""

    def counted(*, by_type: bool) -> int:
        days = store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=by_type)
        return sum(sum(day.hours.values()) for day in days)

    def found() -> int:
        order: Any = {"after": None, "is_newest_first": False, "page_size": 9}
        return len(list(store.stored_events("acme", ALL_TIME, **order)))

    questions: list[Callable[[], int]] = [
        partial(counted, by_type=False),
        partial(counted, by_type=True),
        found,
    ]

    def ask() -> None:
        for question in questions:
            begin = len(world.totals)
            number = question()
            possible = world.totals[begin - 1 :]
            assert min(possible) <= number <= max(possible)

    return ask


def knowing(store: Any, shards: int) -> DynamoStore:
    """A store that saw the day in so many shards: it reads them before shard 0."""
    if shards > 1:
        store.day_counts.__self__._note("acme", {DAY_ZERO: shards})
    return store  # type: ignore[no-any-return]


def two_writers(world: World, *, known: int) -> Programs:
    stale, new = world.store(), world.store(2)
    return {
        "stale": world.writer(stale, [RIGHT], [LEFT, RIGHT]),
        "new": world.writer(new, [RIGHT, LEFT]),
        "reader": read(world, knowing(world.store(), known)),
    }


@pytest.mark.parametrize(
    ("known", "preemptions"),
    [(2, 1), *(pytest.param(known, 2, marks=pytest.mark.slow) for known in (1, 2))],
)
def test_writers_with_different_plans_count_each_event_once(known: int, preemptions: int) -> None:
    worlds = explore(partial(two_writers, known=known), preemptions=preemptions)
    assert all(world.inserted == Counter([LEFT, RIGHT]) for world in worlds)
    # The day got one shard in some orders, and two in others.
    assert {len(world.client.items("t")) for world in worlds} == {2, 3}


def erasure_and_writers(world: World) -> Programs:
    old, stale, new, eraser = world.store(2), world.store(1), world.store(4), world.store()
    old.write([LEFT, RIGHT])

    def erase() -> None:
        for _ in range(2):
            eraser.erase("acme", max_events=10)

    return {
        "eraser": erase,
        "old": world.writer(old, [RIGHT], [LEFT, RIGHT]),
        "stale": world.writer(stale, [RIGHT]),
        "new": world.writer(new, [RIGHT, LEFT]),
        "reader": read(world, world.store()),
        "knowing reader": read(world, knowing(world.store(), 2)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "preemptions"),
    [
        (["old"], 2),
        (["stale"], 2),
        (["new"], 2),
        (["reader"], 2),
        (["knowing reader"], 2),
        (["old", "stale"], 1),
        (["old", "new"], 1),
        (["stale", "new"], 1),
    ],
)
def test_a_day_that_is_erased_may_get_another_number_of_shards(
    others: list[str], preemptions: int
) -> None:
    def make(world: World) -> Programs:
        programs = erasure_and_writers(world)
        return {name: programs[name] for name in ["eraser", *others]}

    worlds = explore(make, preemptions=preemptions)
    assert len(worlds) > 100
    for world in worlds:
        # Whatever was erased: a writer that comes later finds each event that is stored.
        world.run = None
        stored = {key for _, key in world.client.items("t") if key[0] != "!"}
        assert world.store(8).write([LEFT, RIGHT]).count(INSERTED) == 2 - len(stored)
        world.check()
