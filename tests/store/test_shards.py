"""Days that are spread over shards: every answer is the same, and exact."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from benchmarks.simulated import SimulatedClient
from events.dao import DynamoStore
from events.datamodels import Tables, shard_key, shard_of
from events.domain.retries import RetryPolicy
from events.domain.windows import ALL_TIME
from events.dynamodb.bulk import BulkLoader
from events.dynamodb.plans import Plan
from events.errors import InvalidInput, StoreRefused
from events.models import BucketQuery, Calendar, Event, Outcome, Unit, Verification, Window
from events.queries.lookup import EventQuery
from events.service import EventService
from tests.support.backdoor import BRIEF
from tests.support.factories import DAY, HOUR, HOUR_ZERO, event, many_events, stored_key
from tests.support.pool import TablePool
from tests.support.sqlstore import MemoryStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
#: Three days, of which only the second is spread over shards.
EVENTS = many_events(150, hours=72, event_types=3)
CUSTOMER = "customer-0"
DAY_ZERO, SECOND_DAY, THIRD_DAY = "2021-03-01", "2021-03-02", "2021-03-03"


@dataclass
class Place:
    """Tables, and new processes that use them."""

    client: DynamoDBClient
    name: str
    stores: list[DynamoStore] = field(default_factory=list)

    def store(self) -> DynamoStore:
        """The store of a new process."""
        tables = Tables.named(self.name)
        store = DynamoStore(self.client, tables, retry=RetryPolicy(10), timing=BRIEF)
        # The client is shared.
        self.stores.append(store)
        return store

    def plan(self, shards: int, from_day: str, *, customer_id: str = CUSTOMER) -> None:
        self.store().plans.change(customer_id, lambda plan: plan.with_shards(shards, from_day))

    def items(self, suffix: str = "") -> list[dict[str, Any]]:
        request: Any = {"TableName": self.name + suffix}
        items: list[Any] = []
        while True:
            page = self.client.scan(Limit=1_000, ConsistentRead=True, **request)
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                return items
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def partitions(self) -> set[str]:
        return {item["customer_id"]["S"] for item in self.items()}


@pytest.fixture(params=["simulated", pytest.param("dynamodb", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "simulated":
        yield Place(SimulatedClient(), "t")  # type: ignore[arg-type] # has what the store calls
        return
    pool: TablePool = request.getfixturevalue("table_pool")
    with pool.take() as name:
        yield Place(pool.client, name)


@pytest.fixture
def sharded(place: Place) -> Place:
    """All events are stored; those of the second day are in four shards."""
    place.plan(4, SECOND_DAY)
    place.plan(1, THIRD_DAY)
    service = EventService(place.store(), write_threads=2)
    assert service.ingest(EVENTS) == [INSERTED] * len(EVENTS)
    assert place.partitions() == {shard_key(CUSTOMER, shard) for shard in range(4)}
    return place


QUESTIONS = [
    BucketQuery(CUSTOMER, ALL_TIME),
    BucketQuery(CUSTOMER, ALL_TIME, limit=5),
    BucketQuery(CUSTOMER, ALL_TIME, is_grouped=True),
    BucketQuery(CUSTOMER, ALL_TIME, event_types=frozenset({"type-1"})),
    BucketQuery(CUSTOMER, Window(HOUR_ZERO + DAY + HOUR / 2, HOUR_ZERO + 1.9 * DAY)),
    BucketQuery(CUSTOMER, Window(HOUR_ZERO + HOUR / 3, HOUR_ZERO + 2.3 * DAY), is_grouped=True),
    BucketQuery(CUSTOMER, ALL_TIME, calendar=Calendar(Unit.DAY, ZoneInfo("Asia/Kathmandu"))),
]


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_sharded_days_are_counted_as_others(sharded: Place, number: int) -> None:
    plain = EventService(MemoryStore(), write_threads=1)
    plain.ingest(EVENTS)
    service, query = EventService(sharded.store(), write_threads=1), QUESTIONS[number]
    for _ in range(20):
        page, expected = service.buckets(query), plain.buckets(query)
        assert page.last_ingested_at is not None
        assert replace(page, last_ingested_at=expected.last_ingested_at) == expected
        if page.next_start is None:
            break
        query = replace(query, from_start=page.next_start)
    assert list(service.all_buckets(QUESTIONS[number])) == list(
        plain.all_buckets(QUESTIONS[number])
    )


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_looking_up_events_merges_shards_in_order(sharded: Place, is_newest_first: bool) -> None:
    service = EventService(sharded.store(), write_threads=1)
    query = EventQuery(CUSTOMER, ALL_TIME, limit=20, is_newest_first=is_newest_first)
    found: list[Event] = []
    while True:
        page = service.events(query)
        found += [stored.event for stored in page.events]
        if page.next_after is None:
            break
        query = replace(query, after=page.next_after)
    assert found == sorted(EVENTS, key=stored_key, reverse=is_newest_first)


def test_any_process_finds_the_duplicates_of_a_sharded_day(sharded: Place) -> None:
    # A plan of another process cannot change a day that has events.
    sharded.plan(8, DAY_ZERO)
    service = EventService(sharded.store(), write_threads=2)
    assert service.ingest(EVENTS) == [DUPLICATE] * len(EVENTS)
    assert service.verify() == Verification(customers=1, days=3, events=len(EVENTS))
    assert service.customers(limit=9).customers[0].total == len(EVENTS)
    assert sharded.partitions() == {shard_key(CUSTOMER, shard) for shard in range(4)}


def test_a_voided_event_of_a_shard_stays_voided(sharded: Place) -> None:
    service = EventService(sharded.store(), write_threads=2)
    gone, unknown = EVENTS[::3], many_events(9, seed=9, hours=72)
    assert service.void(gone, reason="a test") == [VOIDED] * len(gone)
    assert service.void(gone, reason="a test") == [Outcome.ALREADY_VOIDED] * len(gone)
    assert service.void(unknown, reason="a test") == [Outcome.NOT_FOUND] * len(unknown)
    assert service.ingest(gone) == [VOIDED] * len(gone)
    assert service.verify().events == len(EVENTS) - len(gone)
    assert service.verify().is_equal


def test_erasing_a_sharded_customer_leaves_nothing(sharded: Place) -> None:
    service = EventService(sharded.store(), write_threads=2)
    other = event(customer_id="other")
    service.ingest([other])
    steps = 0
    while not service.erase(CUSTOMER, max_events=40).is_complete:
        assert service.verify().differences == ()
        steps += 1
    assert steps >= len(EVENTS) // 40
    assert sharded.partitions() == {"other"}
    left = {
        item.get("registered_id", item["customer_id"])["S"]
        for item in sharded.items("_hourly_counts")
    }
    assert left == {"other"}
    assert sharded.store().plans.all() == []
    # Its days may get any number of shards now.
    sharded.plan(2, DAY_ZERO)
    assert EventService(sharded.store(), write_threads=2).ingest(EVENTS) == [INSERTED] * len(EVENTS)
    assert service.verify() == Verification(customers=2, days=4, events=len(EVENTS) + 1)


def test_days_of_version_0_1_stay_in_one_shard(place: Place) -> None:
    EventService(place.store(), write_threads=1).ingest(EVENTS[:100])
    before = place.items("_hourly_counts")
    assert {name for item in before for name in item} <= {
        "customer_id", "counter_key", "updated_at", "registered_id", "registered_at",
        *(f"h{hour:02d}" for hour in range(24)),
    }  # fmt: skip
    place.plan(8, "2021-01-01")
    service = EventService(place.store(), write_threads=2)
    assert service.ingest(EVENTS).count(INSERTED) == 50
    assert place.partitions() == {CUSTOMER}
    assert service.verify().is_equal


def test_a_process_that_died_after_its_stamp_leaves_a_usable_day(place: Place) -> None:
    place.plan(4, SECOND_DAY)
    dead = place.store().write.__self__  # type: ignore[attr-defined] # a method
    dead.transactions.open_shard(shard_key(CUSTOMER, 3), SECOND_DAY, 4)
    place.plan(2, SECOND_DAY)
    service = EventService(place.store(), write_threads=2)
    assert service.buckets(BucketQuery(CUSTOMER, ALL_TIME)).total == 0
    service.ingest(EVENTS)
    assert len(place.partitions()) == 4
    assert service.verify() == Verification(customers=1, days=3, events=len(EVENTS))


# --- the proof ------------------------------------------------------------------------------------


def test_verify_repairs_the_counter_of_a_shard(sharded: Place) -> None:
    total = {"customer_id": {"S": shard_key(CUSTOMER, 3)}, "counter_key": {"S": "total#2021-03-02"}}
    sharded.client.update_item(
        TableName=f"{sharded.name}_hourly_counts",
        Key=total,
        UpdateExpression="ADD h05 :n",
        ExpressionAttributeValues={":n": {"N": "7"}},
    )
    service = EventService(sharded.store(), write_threads=1)
    found = service.verify(customer_id=CUSTOMER)
    assert [(item.counter - item.recount, item.event_type) for item in found.differences] == [
        (7, None)
    ]
    assert service.verify(is_repairing=True).repaired == 1
    assert service.verify().is_equal


def test_verify_repairs_a_lost_table_of_counters(sharded: Place) -> None:
    for item in sharded.items("_hourly_counts"):
        key = {name: item[name] for name in ("customer_id", "counter_key")}
        sharded.client.delete_item(TableName=f"{sharded.name}_hourly_counts", Key=key)
    service = EventService(sharded.store(), write_threads=1)
    assert not service.verify().is_equal
    service.verify(is_repairing=True)
    assert service.verify() == Verification(customers=1, days=3, events=len(EVENTS))
    assert EventService(sharded.store(), write_threads=2).ingest(EVENTS) == [DUPLICATE] * len(
        EVENTS
    )
    assert service.buckets(BucketQuery(CUSTOMER, ALL_TIME)).total == len(EVENTS)


@pytest.mark.parametrize("shard", [0, 2, 9])
def test_verify_reports_an_event_in_a_wrong_shard(sharded: Place, shard: int) -> None:
    at = HOUR_ZERO + DAY
    new = (event(f"n-{number}", customer_id=CUSTOMER, timestamp=at) for number in range(99))
    misplaced = next(item for item in new if shard_of(item, 4) != shard)
    sharded.client.put_item(
        TableName=sharded.name,
        Item={
            "customer_id": {"S": shard_key(CUSTOMER, shard)},
            "event_key": {"S": stored_key(misplaced)},
            "ingested_at": {"S": "2021-06-01T00:00:00.000000Z"},
        },
    )
    found = EventService(sharded.store(), write_threads=1).verify()
    assert [key for _, key in found.foreign] == [stored_key(misplaced)]
    assert not found.is_equal


# --- requests -------------------------------------------------------------------------------------


def test_a_customer_without_shards_costs_no_more_requests() -> None:
    sent: list[str] = []
    client: Any = SimulatedClient(lambda operation, _: sent.append(operation))
    place = Place(client, "t")
    store = place.store()
    service = EventService(store, write_threads=1)
    day = Window(HOUR_ZERO, HOUR_ZERO + DAY)
    write = ["put_item", "transact_write_items"]
    for ask, expected in (
        # The first write of a minute reads the plans of all customers.
        (lambda: store.write([event()]), ["query", "put_item", *write]),
        (lambda: store.write([event("t-1")]), ["transact_write_items"]),
        (lambda: store.write([event(timestamp=HOUR_ZERO - DAY)]), write),
        (lambda: service.buckets(BucketQuery("acme", day)), ["query"]),
        (lambda: service.buckets(BucketQuery("acme", day, is_grouped=True)), ["query"]),
        (
            lambda: service.buckets(
                BucketQuery("acme", Window(HOUR_ZERO - HOUR / 2, HOUR_ZERO + HOUR / 2))
            ),
            ["query", "query"],
        ),
        # Whether other shards have events is asked at the same time.
        (lambda: service.events(EventQuery("acme", day)), ["query", "query"]),
        (lambda: service.void([event()], reason="a test"), ["get_item", "transact_write_items"]),
    ):
        sent.clear()
        ask()
        assert sorted(sent) == sorted(expected)


def test_the_shards_of_a_day_are_written_side_by_side(place: Place) -> None:
    place.plan(4, DAY_ZERO)
    store = place.store()
    assert len({store.lane_of(item) for item in EVENTS}) == 3
    EventService(store, write_threads=1).ingest(EVENTS)
    lanes = {(item.timestamp.date(), shard_of(item, 4)): store.lane_of(item) for item in EVENTS}
    assert len(set(lanes.values())) == len(lanes) == 12


def test_a_customer_known_to_be_sharded_is_asked_for_all_shards_at_once() -> None:
    asked: list[str] = []
    all_asked = threading.Barrier(4)
    is_known = False

    def before(operation: str, request: Any) -> None:
        if operation == "query" and request["TableName"] == "t_hourly_counts" and is_known:
            asked.append(request["ExpressionAttributeValues"][":partition"]["S"])
            if len(asked) < 5:
                all_asked.wait(60)

    place = Place(SimulatedClient(before), "t")  # type: ignore[arg-type] # has what the store calls
    place.plan(4, SECOND_DAY)
    place.plan(1, THIRD_DAY)
    service = EventService(place.store(), write_threads=1)
    service.ingest(EVENTS)
    query = BucketQuery(CUSTOMER, Window(HOUR_ZERO, HOUR_ZERO + 2 * DAY))
    first = service.buckets(query)
    is_known = True
    assert service.buckets(query) == first
    assert sorted(asked) == [shard_key(CUSTOMER, shard) for shard in range(4)]
    # Of days on which nobody saw shards, only one is asked.
    service.buckets(BucketQuery(CUSTOMER, Window(HOUR_ZERO + 2 * DAY, HOUR_ZERO + 3 * DAY)))
    assert asked[4:] == [CUSTOMER]


@pytest.mark.parametrize("shards", [2, 4, 8])
def test_what_is_remembered_of_shards_changes_no_count(sharded: Place, shards: int) -> None:
    query = BucketQuery(CUSTOMER, Window(HOUR_ZERO + HOUR / 2, HOUR_ZERO + 3 * DAY))
    expected = EventService(sharded.store(), write_threads=1).buckets(query)
    store = sharded.store()
    store.day_counts.__self__._note(CUSTOMER, {SECOND_DAY: shards})  # type: ignore[attr-defined] # a method
    assert EventService(store, write_threads=1).buckets(query) == expected


# --- plans ----------------------------------------------------------------------------------------


def test_a_plan_holds_from_its_day_on() -> None:
    plan = Plan("acme").with_shards(4, "2021-03-02").with_shards(8, "2021-04-01")
    days = ["2021-03-01", "2021-03-02", "2021-03-31", "2021-04-01", "9999-12-31"]
    assert [plan.shards_on(day) for day in days] == [1, 4, 4, 8, 8]
    later = plan.with_shards(2, "2021-03-05", is_pinned=True)
    assert [later.shards_on(day) for day in days] == [1, 4, 2, 2, 2]
    assert (plan.is_pinned, later.is_pinned) == (False, True)


def test_plans_are_stored_and_read_again(place: Place) -> None:
    place.plan(4, SECOND_DAY)
    place.plan(8, DAY_ZERO, customer_id="日本")
    place.plan(2, "2021-05-01")
    plans = place.store().plans
    expected = [
        Plan(CUSTOMER, {SECOND_DAY: 4, "2021-05-01": 2}),
        Plan("日本", {DAY_ZERO: 8}),
    ]
    assert plans.all() == expected
    assert plans.get(CUSTOMER) == expected[0]
    assert plans.get("nobody") == Plan("nobody")
    # No customer comes of a plan.
    assert list(place.store().stored_customers()) == []


def test_an_id_too_long_for_shards_gets_no_plan(place: Place) -> None:
    place.plan(2, DAY_ZERO, customer_id="l" * 2045)
    with pytest.raises(InvalidInput, match="too long"):
        place.plan(2, DAY_ZERO, customer_id="l" * 2046)


def test_days_loaded_beside_a_plan_have_one_shard(place: Place) -> None:
    source = MemoryStore()
    EventService(source, write_threads=1).ingest(EVENTS)
    place.plan(4, DAY_ZERO)
    loader = BulkLoader(place.client, Tables.named(place.name), retry=RetryPolicy(10))
    at = loader.begin("plan")
    loader.put_customers([CUSTOMER], at)
    loader.put_events(EVENTS, at)
    for by_type in (False, True):
        loader.put_counts(source.day_counts(CUSTOMER, DAY_ZERO, "2021-03-03", by_type=by_type), at)
    loader.finish()
    service = EventService(place.store(), write_threads=2)
    assert service.ingest(EVENTS) == [DUPLICATE] * len(EVENTS)
    assert place.partitions() == {CUSTOMER}
    assert service.verify() == Verification(customers=1, days=3, events=len(EVENTS))
    with pytest.raises(StoreRefused, match="is not empty"):
        loader.begin("plan")


def test_a_writer_learns_of_a_plan_within_a_minute() -> None:
    now = [0.0]
    client: Any = SimulatedClient()
    tables = Tables.named("t")
    store = DynamoStore(client, tables, retry=RetryPolicy(10), clock=lambda: now[0])
    store.write([event()])
    Place(client, "t").plan(4, DAY_ZERO, customer_id="acme")
    days = [HOUR_ZERO.replace(tzinfo=UTC) + timedelta(days=number) for number in (1, 2)]
    numbers = []
    for day in days:
        store.write([event(f"t-{number}", timestamp=day) for number in range(40)])
        numbers.append(len({key[0] for key in client.items("t")}))
        now[0] += 61
    assert numbers == [1, 4]
