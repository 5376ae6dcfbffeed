"""Any history of plans, processes, crashes and duplicates is counted as by hand."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from benchmarks.simulated import SimulatedClient
from events.dao import DynamoStore, Timing
from events.datamodels import Tables, customer_of, event_key, shard_key, shard_of
from events.domain.retries import RetryPolicy
from events.dynamodb.plans import Plan
from events.dynamodb.transactions import DayDiffers
from events.models import MAX_SHARDS, BucketQuery, Event, Outcome, Window
from events.service import EventService
from tests.property.strategies import events as any_events
from tests.support.factories import DAY, DAY_ZERO, HOUR, HOUR_ZERO, event

#: Nothing runs at the same time, so an erasure waits for nobody.
AT_ONCE = Timing(registered_for_seconds=0, request_seconds=0)
POOL = [event(f"t-{number}", timestamp=HOUR_ZERO + number % 5 * HOUR) for number in range(24)]
POOL += [item._replace(timestamp=item.timestamp + DAY) for item in POOL]
DAYS = st.sampled_from([DAY_ZERO, "2021-03-02"])
NUMBERS = st.sampled_from([1, 2, 4, 8, 64])
PROCESSES = st.integers(0, 2)
SOME = st.lists(st.sampled_from(POOL), min_size=1, max_size=12, unique=True)
STEPS = st.one_of(
    st.tuples(st.just("plan"), NUMBERS, DAYS),
    st.tuples(st.just("write"), PROCESSES, SOME),
    st.tuples(st.just("void"), PROCESSES, SOME),
    st.tuples(st.just("restart"), PROCESSES, st.none()),
    st.tuples(st.just("die after the stamp"), NUMBERS, DAYS),
    st.tuples(st.just("erase"), PROCESSES, st.none()),
)


@given(st.lists(STEPS, max_size=20))
@examples(derandomize=True, deadline=None, max_examples=60)
def test_any_history_is_counted_as_by_hand(steps: list[tuple[str, int, Any]]) -> None:
    client: Any = SimulatedClient()

    def new_store() -> DynamoStore:
        return DynamoStore(client, Tables.named("t"), retry=RetryPolicy(1), timing=AT_ONCE)

    # A process keeps the plans that it has read: its clock stands still.
    stores = [new_store() for _ in range(3)]
    stored: set[Event] = set()
    voided: set[Event] = set()
    for name, number, what in steps:
        if name == "plan":
            change = partial(Plan.with_shards, shards=number, from_day=what)
            stores[0].plans.change("acme", change)
        elif name == "restart":
            stores[number] = new_store()
        elif name == "die after the stamp" and number > 1:
            transactions = new_store().write.__self__.transactions  # type: ignore[attr-defined]
            try:
                transactions.open_shard(shard_key("acme", number - 1), what, number)
            except DayDiffers:
                assert any(item.timestamp.date().isoformat() == what for item in POOL)
        elif name == "erase":
            while not stores[number].erase("acme", max_events=5).is_complete:
                pass
            stored, voided = set(), set()
        elif name == "write":
            outcomes = _by_day(what, stores[number].write)
            assert outcomes == {
                item: Outcome.VOIDED if item in voided
                else Outcome.DUPLICATE if item in stored else Outcome.INSERTED
                for item in what
            }  # fmt: skip
            stored |= {*what}
        elif name == "void":
            store = stores[number]
            outcomes = _by_day(what, lambda batch, store=store: store.void(batch, "a test"))
            assert outcomes == {
                item: Outcome.ALREADY_VOIDED if item in voided
                else Outcome.VOIDED if item in stored else Outcome.NOT_FOUND
                for item in what
            }  # fmt: skip
            voided |= stored & {*what}
    service = EventService(stores[0], write_threads=1)
    assert service.verify().is_equal
    window = Window(HOUR_ZERO + HOUR / 2, HOUR_ZERO + DAY + 3 * HOUR)
    by_hand = Counter(item.timestamp for item in stored - voided)
    page = service.buckets(BucketQuery("acme", window))
    assert {bucket.start: bucket.count for bucket in page.buckets} == {
        at: number for at, number in by_hand.items() if window.start <= at < window.end
    }
    service.close()


def _by_day(batch: list[Event], change: Any) -> dict[Event, Outcome]:
    outcomes: dict[Event, Outcome] = {}
    for day in sorted({item.timestamp.date() for item in batch}):
        of_day = [item for item in batch if item.timestamp.date() == day]
        outcomes |= zip(of_day, change(of_day), strict=True)
    return outcomes


@given(any_events, st.integers(0, MAX_SHARDS - 1))
@examples(derandomize=True, deadline=None)
def test_a_shard_has_a_key_of_its_own(item: Event, shard: int) -> None:
    key = shard_key(item.customer_id, shard)
    assert customer_of(key) == item.customer_id
    others = {shard_key(item.customer_id, number) for number in range(MAX_SHARDS)}
    assert len(others) == MAX_SHARDS
    assert key in others
    # The shard depends on what makes two events the same, and on nothing else.
    assert shard_of(item, 64) % 8 == shard_of(item, 8) < 8
    assert event_key(item) == event_key(item._replace(customer_id=key))
    assert shard_of(item._replace(customer_id=key), 64) == shard_of(item, 64)


def test_shards_get_about_the_same_number_of_events() -> None:
    numbers = Counter(shard_of(event(f"t-{number}"), 16) for number in range(8_000))
    assert len(numbers) == 16
    assert max(numbers.values()) < 1.2 * min(numbers.values())
