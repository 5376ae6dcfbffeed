"""The list of changes on a real database: listed before it is changed, read once it is settled."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError

from events.bootstrap import make_client
from events.config import Settings
from events.dao import DynamoStore, Timing
from events.datamodels import REGISTRY, Tables, registry_key
from events.domain.retries import RetryPolicy
from events.domain.timestamps import format_timestamp, utc_now
from events.domain.windows import ALL_TIME
from events.dynamodb.changeitems import CHANGE_SHARDS, EXPIRES_AT
from events.dynamodb.changelog import ChangeLog
from events.dynamodb.requests import GarbledAnswer
from events.dynamodb.slots import KEPT
from events.errors import ChangesForgotten, InvalidWindow, StoreRefused, StoreUnavailable
from events.models import Change, ChangeCursor, DayCounts, Outcome
from events.queries.changes import changes
from tests.support.backdoor import DynamoBackDoor
from tests.support.database import Database
from tests.support.factories import DAY, DAY_ZERO, HOUR_ZERO, days_of, event, many_events

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


SLOT = timedelta(seconds=0.2)
GRACE = timedelta(seconds=0.2)
QUICK = Timing(registered_for_seconds=0, request_seconds=0, slot=SLOT, grace=GRACE)
#: With slots of a minute.
SLOW = Timing(registered_for_seconds=0, request_seconds=0)
#: Until whatever is under way is settled.
SETTLED = 0.5


@pytest.fixture
def client(database: Database) -> Iterator[DynamoDBClient]:
    client = make_client(Settings(dynamodb_endpoint_url=database.endpoint_url))
    yield client
    client.close()


@pytest.fixture
def tables(client: DynamoDBClient) -> Iterator[Tables]:
    """Names of tables, dropped afterwards."""
    name = f"t{uuid.uuid4().hex}"
    yield Tables.named(name)
    DynamoBackDoor(client, name).drop_tables()


@contextmanager
def opened(client: DynamoDBClient, tables: Tables, **more: Any) -> Iterator[DynamoStore]:
    """A store whose slots are over soon; its client is not its own."""
    store = DynamoStore(
        client,
        tables,
        **{
            "retry": RetryPolicy(5),
            "timing": QUICK,
            **more,
        },
    )
    yield store


@pytest.fixture
def store(client: DynamoDBClient, tables: Tables) -> Iterator[DynamoStore]:
    with opened(client, tables) as store:
        store.create_tables()
        yield store


@pytest.fixture
def sent(client: DynamoDBClient) -> list[str]:
    """The operations that are sent from now on."""
    operations: list[str] = []

    def note(request: AWSPreparedRequest, **_: Any) -> None:
        target = request.headers["X-Amz-Target"]
        operations.append((target if isinstance(target, str) else target.decode()).split(".")[1])

    client.meta.events.register("before-send.dynamodb", note)
    return operations


def all_changes(store: DynamoStore, *, limit: int = 1_000) -> list[Change]:
    """Everything listed until now, page by page."""
    time.sleep(SETTLED)
    found: list[Change] = []
    cursor: ChangeCursor | None = None
    while True:
        page = changes(store.changes, cursor, limit=limit)
        found += page.changes
        assert len(page.changes) <= limit
        cursor = page.next_cursor
        if not page.has_more:
            return found


def slot_of(at: datetime, length: timedelta = SLOT) -> datetime:
    """Start of the slot that holds a moment; slots begin with the hour."""
    return at - (at - at.replace(minute=0, second=0, microsecond=0)) % length


def days(found: list[Change]) -> set[tuple[str, str]]:
    return {(each.customer_id, each.day) for each in found}


# --- listed before it is changed ------------------------------------------------------------------


def test_a_day_is_listed_before_the_request_that_changes_it(
    client: DynamoDBClient, tables: Tables, sent: list[str]
) -> None:
    slots = replace(QUICK, slot=timedelta(seconds=2), grace=timedelta(seconds=20))
    with opened(client, tables, timing=slots) as store:
        store.create_tables()
        store.write([event()])
        assert sent[-2:] == ["PutItem", "TransactWriteItems"]
        sent.clear()
        time.sleep(2.1)
        store.void([event()], "a test")
        # Listed a second time where a slot ends just then.
        assert [each for each, _ in groupby(sent)] == ["GetItem", "PutItem", "TransactWriteItems"]


def test_voided_events_are_listed(store: DynamoStore) -> None:
    store.write([event()])
    assert days(all_changes(store)) == {("acme", DAY_ZERO)}
    before = len(all_changes(store))
    store.void([event()], "a test")
    assert len(all_changes(store)) > before


def test_a_day_is_listed_once_in_a_slot_however_many_requests_change_it(
    client: DynamoDBClient, tables: Tables, sent: list[str]
) -> None:
    with opened(client, tables, timing=SLOW) as store:
        store.create_tables()
        store.write([event("t-0")])
        sent.clear()
        if datetime.now(UTC).second > 50:
            pytest.skip("the minute ends just now")
        for number in range(5):
            store.write([event(f"t-{number + 1}")])
        assert sent == ["TransactWriteItems"] * 5


def test_days_that_are_expected_are_listed_together(
    client: DynamoDBClient, tables: Tables, sent: list[str]
) -> None:
    events = [event(customer_id=f"customer-{number}") for number in range(60)]
    slots = replace(QUICK, slot=timedelta(minutes=5), grace=timedelta(0))
    with opened(client, tables, timing=slots) as store:
        store.create_tables()
        store.announce([(each.customer_id, DAY_ZERO) for each in events])
        sent.clear()
        for each in events:
            store.write([each])
        # 25 a request; one more where the slot ends under way.
        assert 3 <= sent.count("BatchWriteItem") <= 4
        listed = client.scan(TableName=tables.changes)["Items"]
    assert {item["customer_id"]["S"] for item in listed} == {each.customer_id for each in events}
    # A customer that is new is listed among the customers by itself.
    assert sent.count("PutItem") == 60
    assert sent.count("TransactWriteItems") == 60


def test_a_day_that_came_back_unlisted_from_a_request_for_many_is_listed_by_itself(
    client: DynamoDBClient, tables: Tables, sent: list[str]
) -> None:
    requests: list[Any] = []

    def note(request: AWSPreparedRequest, **_: Any) -> None:
        assert isinstance(request.body, bytes)
        requests.extend(json.loads(request.body)["RequestItems"][tables.changes])

    def throttle(response_dict: dict[str, Any], **_: Any) -> None:
        response_dict["body"] = json.dumps(
            {"UnprocessedItems": {tables.changes: requests[:1]}}
        ).encode()
        del response_dict["headers"]["x-amz-crc32"]

    with opened(client, tables, timing=replace(SLOW, slot=DAY)) as store:
        store.create_tables()
        store.announce([("globex", DAY_ZERO), ("initech", DAY_ZERO)])
        sent.clear()
        client.meta.events.register("before-send.dynamodb.BatchWriteItem", note)
        client.meta.events.register_first("before-parse.dynamodb.BatchWriteItem", throttle)
        store._changes.ensure("acme", DAY_ZERO)
        assert sent == ["BatchWriteItem", "PutItem"]
        client.meta.events.unregister("before-parse.dynamodb.BatchWriteItem", throttle)
        # The others were taken, or are listed when their turn comes.
        store._changes.ensure("globex", DAY_ZERO)
        assert sent[2:] in ([], ["PutItem"])


def test_a_day_that_cannot_be_listed_is_not_changed(
    store: DynamoStore, client: DynamoDBClient, sent: list[str]
) -> None:
    def fail(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="", error="injected")

    store.write([event("t-0")])
    time.sleep(2 * SLOT.total_seconds())
    client.meta.events.register("before-send.dynamodb.PutItem", fail)
    sent.clear()
    with pytest.raises(StoreUnavailable):
        store.write([event("t-1")])
    assert "TransactWriteItems" not in sent
    client.meta.events.unregister("before-send.dynamodb.PutItem", fail)
    assert store.count_events("acme", [ALL_TIME]) == [1]


def test_a_repair_is_listed(store: DynamoStore) -> None:
    seen = DayCounts("acme", DAY_ZERO, None, {})
    assert store.repair(seen, DayCounts("acme", DAY_ZERO, None, {0: 3}))
    assert days(all_changes(store)) == {("acme", DAY_ZERO)}


def test_a_change_that_was_answered_too_late_for_its_slot_is_listed_again(
    client: DynamoDBClient, tables: Tables
) -> None:
    """A machine that slept between the listing and the request."""

    def sleep(**_: Any) -> None:
        time.sleep(4 * SLOT.total_seconds())

    with opened(client, tables) as store:
        store.create_tables()
        store.write([event("t-0")])
        client.meta.events.register("before-send.dynamodb.TransactWriteItems", sleep)
        began = datetime.now(UTC)
        store.write([event("t-1")])
        client.meta.events.unregister("before-send.dynamodb.TransactWriteItems", sleep)
        slots = [each.slot for each in all_changes(store)]
    assert max(slots) > began + 2 * SLOT


def test_a_change_that_was_made_too_late_for_its_slot_is_listed_again_though_its_answer_was_lost(
    client: DynamoDBClient, tables: Tables
) -> None:
    def sleep_and_fail(**_: Any) -> None:
        time.sleep(4 * SLOT.total_seconds())
        raise ReadTimeoutError(endpoint_url="", error="injected")

    with opened(client, tables, retry=RetryPolicy(0)) as store:
        store.create_tables()
        client.meta.events.register("before-send.dynamodb.TransactWriteItems", sleep_and_fail)
        began = datetime.now(UTC)
        with pytest.raises(StoreUnavailable):
            store.write([event()])
        client.meta.events.unregister("before-send.dynamodb.TransactWriteItems", sleep_and_fail)
        slots = [each.slot for each in all_changes(store)]
    assert max(slots) > began + 2 * SLOT


def test_a_change_is_listed_again_if_only_its_answer_shows_how_late_it_was(
    client: DynamoDBClient, tables: Tables
) -> None:
    """A virtual machine that was stopped: none of its clocks saw it."""

    def date_later(response_dict: dict[str, Any], **_: Any) -> None:
        at = parsedate_to_datetime(response_dict["headers"]["date"]) + timedelta(hours=1)
        response_dict["headers"]["date"] = format_datetime(at, usegmt=True)

    with opened(client, tables, timing=SLOW) as store:
        store.create_tables()
        store._changes.ensure("acme", DAY_ZERO)
        client.meta.events.register("before-parse.dynamodb", date_later)
        stopped_at = datetime.now(UTC)
        store.write([event()])
        client.meta.events.unregister("before-parse.dynamodb", date_later)
    slots = [item["change_slot"]["S"] for item in client.scan(TableName=tables.changes)["Items"]]
    assert max(slots) > format_timestamp(stopped_at + timedelta(minutes=50))


def test_a_repair_is_listed_before_each_attempt(
    client: DynamoDBClient, tables: Tables, sent: list[str]
) -> None:
    def fail(**_: Any) -> None:
        client.meta.events.unregister("before-send.dynamodb.UpdateItem", fail)
        time.sleep(2.1)
        raise ReadTimeoutError(endpoint_url="", error="injected")

    slots = replace(QUICK, slot=timedelta(seconds=2), grace=timedelta(seconds=20))
    with opened(client, tables, timing=slots) as store:
        store.create_tables()
        client.meta.events.register("before-send.dynamodb.UpdateItem", fail)
        sent.clear()
        seen = DayCounts("acme", DAY_ZERO, None, {})
        assert store.repair(seen, DayCounts("acme", DAY_ZERO, None, {0: 3}))
    # The one that fails is not noted: what is asked about it alone comes first.
    assert sent[:2] == ["PutItem", "PutItem"]
    assert [each for each, _ in groupby(sent)] == ["PutItem", "UpdateItem"]


def test_a_repair_of_which_the_answer_was_lost_is_listed_again_if_it_was_too_late(
    client: DynamoDBClient, tables: Tables
) -> None:
    def lose(**_: Any) -> None:
        client.meta.events.unregister("before-parse.dynamodb.UpdateItem", lose)
        raise GarbledAnswer

    def sleep(**_: Any) -> None:
        time.sleep(4 * SLOT.total_seconds())

    with opened(client, tables) as store:
        store.create_tables()
        client.meta.events.register("before-parse.dynamodb.UpdateItem", lose)
        client.meta.events.register("before-send.dynamodb.UpdateItem", sleep)
        seen = DayCounts("acme", DAY_ZERO, None, {})
        assert store.repair(seen, DayCounts("acme", DAY_ZERO, None, {0: 3}))
        ended = datetime.now(UTC)
        client.meta.events.unregister("before-send.dynamodb.UpdateItem", sleep)
        slots = [each.slot for each in all_changes(store)]
    assert max(slots) > ended - 2 * SLOT


# --- whose clock ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_writer_whose_clock_is_off_lists_by_the_store_s(
    client: DynamoDBClient, tables: Tables, hours: int
) -> None:
    def wrong() -> datetime:
        return utc_now() + timedelta(hours=hours)

    slots = replace(QUICK, slot=timedelta(seconds=10), grace=GRACE)
    with opened(client, tables, now=wrong, timing=slots) as store:
        store.create_tables()
        began = datetime.now(UTC)
        store.write([event()])
        # In the slot of the wrong clock it stands too, and there nobody is misled by it.
        found = listed_near(store, began)
    assert days(found) == {("acme", DAY_ZERO)}


def listed_near(store: DynamoStore, at: datetime) -> list[Change]:
    """What is listed in the slot of a moment, before and after it, with slots of ten seconds."""
    now = slot_of(at, timedelta(seconds=10))
    return [
        each
        for slot in (now - timedelta(seconds=10), now, now + timedelta(seconds=10))
        for shard in range(CHANGE_SHARDS)
        for each in store.changes.read(
            ChangeCursor(slot, shard), slot + timedelta(seconds=1), limit=9
        )[0]
    ]


@pytest.mark.parametrize("hours", [-30, 30])
def test_threads_that_find_the_clock_wrong_at_once_all_list_by_the_store_s(
    client: DynamoDBClient, tables: Tables, hours: int
) -> None:
    def wrong() -> datetime:
        return utc_now() + timedelta(hours=hours)

    slots = replace(QUICK, slot=timedelta(seconds=10), grace=GRACE)
    with opened(client, tables, now=wrong, timing=slots) as store:
        store.create_tables()

        def let_another_be_first(**_: Any) -> None:
            client.meta.events.unregister("before-send.dynamodb.PutItem", let_another_be_first)
            store._changes.ensure("globex", DAY_ZERO)

        client.meta.events.register("before-send.dynamodb.PutItem", let_another_be_first)
        began = datetime.now(UTC)
        store._changes.ensure("acme", DAY_ZERO)
        found = listed_near(store, began)
    assert days(found) == {("acme", DAY_ZERO), ("globex", DAY_ZERO)}


# --- read once it is settled ----------------------------------------------------------------------


def test_a_change_is_not_told_before_its_slot_is_settled(store: DynamoStore) -> None:
    store.write([event()])
    page = changes(store.changes, None, limit=10)
    assert (page.changes, page.has_more) == ((), False)
    assert days(all_changes(store)) == {("acme", DAY_ZERO)}


@pytest.mark.parametrize("limit", [1, 3, 7, 1_000])
def test_pages_of_any_size_tell_each_change_once(store: DynamoStore, limit: int) -> None:
    events = many_events(60, customers=12, hours=72)
    for day in days_of(events):
        store.write(day)
    whole, paged = all_changes(store), all_changes(store, limit=limit)
    assert paged == whole
    assert len(set(whole)) == len(whole)
    assert days(whole) == {(each.customer_id, f"{each.timestamp:%Y-%m-%d}") for each in events}
    assert [each.slot for each in whole] == sorted(each.slot for each in whole)


@pytest.mark.parametrize(
    "customer_id", ["a#2021-03-01", "日" * 682, "l" * 2048, "m" * 1013, "n" * 1014, "é %", "😀"]
)
def test_any_id_is_listed_and_can_be_forgotten(store: DynamoStore, customer_id: str) -> None:
    store.write([event(customer_id=customer_id)])
    store.write([event(customer_id=f"{customer_id[:300]}#2021-03-01")])
    assert {each.customer_id for each in all_changes(store, limit=1)} == {
        customer_id,
        f"{customer_id[:300]}#2021-03-01",
    }
    assert erased(store, customer_id)
    assert {each.customer_id for each in all_changes(store)} == {f"{customer_id[:300]}#2021-03-01"}


def erased(store: DynamoStore, customer_id: str) -> bool:
    for _ in range(100):
        step = store.erase(customer_id, max_events=1_000)
        if step.is_complete:
            return True
        time.sleep(step.wait_seconds)
    return False


@pytest.mark.parametrize(
    "cursor",
    [
        ChangeCursor(HOUR_ZERO + timedelta(microseconds=1)),
        ChangeCursor(HOUR_ZERO, CHANGE_SHARDS),
        ChangeCursor(HOUR_ZERO, 0, "x" * 1025),
        ChangeCursor(HOUR_ZERO, 0, "\0"),
    ],
)
def test_a_place_that_no_list_has_is_refused(store: DynamoStore, cursor: ChangeCursor) -> None:
    with pytest.raises(InvalidWindow, match="since"):
        store.changes.read(cursor, HOUR_ZERO + DAY, limit=1)


def test_a_long_silence_is_read_in_several_short_pages(store: DynamoStore) -> None:
    store.write([event()])
    time.sleep(SETTLED)
    start = slot_of(datetime.now(UTC) - timedelta(minutes=10))
    found, place = store.changes.read(
        ChangeCursor(start), store.changes.settled_until(), limit=1_000
    )
    assert found == []
    assert start < place.slot < store.changes.settled_until()


def test_a_full_page_looks_no_further(store: DynamoStore, sent: list[str]) -> None:
    start = slot_of(datetime.now(UTC))
    store.write([event()])
    sent.clear()
    found, place = store.changes.read(ChangeCursor(start), start + DAY, limit=1)
    assert days(found) == {("acme", DAY_ZERO)}
    assert sent.count("Query") < 100
    assert store.changes.read(place, start + DAY, limit=1)[0] == []


# --- what is forgotten ----------------------------------------------------------------------------


def test_nothing_is_known_from_before_the_table_was_made_nor_longer_ago_than_is_kept(
    client: DynamoDBClient, tables: Tables
) -> None:
    short = replace(QUICK, slot=SLOT, grace=GRACE, kept=timedelta(seconds=1))
    with opened(client, tables) as store, opened(client, tables, timing=short) as forgetful:
        store.create_tables()
        made_at = store.changes.known_from()
        with pytest.raises(ChangesForgotten):
            changes(store.changes, made_at.slot - SLOT, limit=1)
        time.sleep(1.5)
        assert store.changes.known_from() == made_at
        assert forgetful.changes.known_from().slot > made_at.slot


def test_a_place_in_a_list_from_before_it_was_made_anew_in_the_same_minute_is_refused(
    client: DynamoDBClient, tables: Tables
) -> None:
    with opened(client, tables, timing=SLOW) as store:
        store.create_tables()
        first = changes(store.changes, None, limit=1).next_cursor
        assert changes(store.changes, first, limit=1).next_cursor == first
        with pytest.raises(ChangesForgotten):
            changes(store.changes, ChangeCursor(first.slot), limit=1)


def test_after_counters_were_filled_past_the_list_followers_begin_anew(
    store: DynamoStore,
) -> None:
    store.write([event()])
    all_changes(store)
    before = ChangeCursor(store.changes.settled_until())
    store._changes.note_gap()
    with pytest.raises(ChangesForgotten) as refusal:
        changes(store.changes, before, limit=10)
    assert all_changes(store) == []
    store.write([event("t-1")])
    found = all_changes(store)
    assert days(found) == {("acme", DAY_ZERO)}
    assert found[0].slot >= refusal.value.known_from


def test_what_was_listed_in_the_minute_of_a_gap_does_not_seem_to_be_all_of_it(
    client: DynamoDBClient, tables: Tables
) -> None:
    with opened(client, tables, timing=SLOW) as store:
        store.create_tables()
        now = datetime.now(UTC)
        store._changes.note_gap()
        assert store.changes.known_from().slot > now


def test_a_change_goes_away_by_itself_after_five_weeks(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    before = datetime.now(UTC)
    store.write([event()])
    items = client.scan(TableName=tables.changes)["Items"]
    expiries = [datetime.fromtimestamp(int(item["expires_at"]["N"]), UTC) for item in items]
    assert before + KEPT <= min(expiries)
    assert max(expiries) <= datetime.now(UTC) + KEPT + timedelta(seconds=5)
    described = client.describe_time_to_live(TableName=tables.changes)["TimeToLiveDescription"]
    assert described == {"AttributeName": "expires_at", "TimeToLiveStatus": "ENABLED"}


def test_another_process_that_makes_the_tables_at_the_same_time_is_no_error(
    database: Database,
    client: DynamoDBClient,
    tables: Tables,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def be_first(**_: object) -> None:
        other = make_client(Settings(dynamodb_endpoint_url=database.endpoint_url))
        other.update_time_to_live(
            TableName=tables.changes,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRES_AT},
        )
        other.close()

    client.meta.events.register("before-send.dynamodb.UpdateTimeToLive", be_first)
    with opened(client, tables) as store:
        store.create_tables()
    assert [each.getMessage() for each in caplog.records] == []
    described = client.describe_time_to_live(TableName=tables.changes)["TimeToLiveDescription"]
    assert described["TimeToLiveStatus"] == "ENABLED"


def test_an_erasure_is_told_to_nobody_and_leaves_no_change_behind(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    for name in ("acme", "acme2", "globex"):
        store.write([event(customer_id=name), event("t-1", customer_id=name)])
    time.sleep(SETTLED)
    store.void([event("t-1")], "a test")
    assert erased(store, "acme")
    left = {item["customer_id"]["S"] for item in client.scan(TableName=tables.changes)["Items"]}
    assert left == {"acme2", "globex"}


def test_an_erasure_clears_a_long_list_in_steps_and_goes_on_where_it_was(
    store: DynamoStore, sent: list[str]
) -> None:
    store.write([event()])
    since = store._registry.begin_erasure("acme", is_listed=True)
    assert since is not None
    start = datetime.now(UTC) - timedelta(minutes=20)
    store._registry.note_changes_forgotten("acme", since, slot_of(start))
    sent.clear()
    assert not store.erase("acme", max_events=10).is_complete
    assert 4_000 <= sent.count("Query") < 4_020
    assert erased(store, "acme")
    assert days(all_changes(store)) == set()


class WatchedExecutor(ThreadPoolExecutor):
    """Notes how much was given to it at most that was not done."""

    def __init__(self) -> None:
        super().__init__(2)
        self._open = 0
        self.most_open = 0
        self._watch = threading.Lock()

    def submit(self, *args: Any, **more: Any) -> Future[Any]:
        with self._watch:
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        future = super().submit(*args, **more)
        future.add_done_callback(self._close)
        return future

    def _close(self, _: Future[Any]) -> None:
        with self._watch:
            self._open -= 1


def test_an_erasure_leaves_room_for_other_readers(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    with WatchedExecutor() as readers:
        log = ChangeLog(client, store._calls, tables, readers, now=utc_now, slot=SLOT, grace=GRACE)
        start = slot_of(datetime.now(UTC) - timedelta(minutes=1))
        assert log.feed.forget_customer("acme", start, most=200) == start + 200 * SLOT
    assert readers.most_open <= 64


def test_to_void_events_of_an_erased_customer_lists_nothing(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    store.write([event()])
    assert erased(store, "acme")
    assert store.void([event(), event("t-1")], "a test") == [Outcome.NOT_FOUND] * 2
    assert client.scan(TableName=tables.changes)["Items"] == []


def test_events_of_a_customer_that_the_list_of_customers_lost_are_voided_and_listed(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    store.write([event()])
    client.delete_item(
        TableName=tables.counts,
        Key={"customer_id": {"S": REGISTRY}, "counter_key": {"S": registry_key("acme")}},
    )
    before = len(all_changes(store))
    assert store.void([event("t-1"), event()], "a test") == [Outcome.NOT_FOUND, Outcome.VOIDED]
    assert len(all_changes(store)) > before


# --- the table ------------------------------------------------------------------------------------


def test_tables_from_before_there_was_a_list_get_one_and_keep_what_they_hold(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    store.write([event()])
    client.delete_table(TableName=tables.changes)
    with opened(client, tables) as after:
        after.write([event("t-1")])
        assert days(all_changes(after)) == {("acme", DAY_ZERO)}
        assert after.count_events("acme", [ALL_TIME]) == [2]


def test_a_change_whose_list_was_made_in_the_next_slot_is_told_to_who_begins_with_that(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    second = timedelta(seconds=1)

    def wait_for_the_next_slot(**_: Any) -> None:
        now = datetime.now(UTC)
        time.sleep((slot_of(now, second) + second - now).total_seconds() + 0.01)

    store.write([event()])
    client.delete_table(TableName=tables.changes)
    in_seconds = replace(QUICK, slot=second, grace=second)
    with opened(client, tables, timing=in_seconds) as after:
        client.meta.events.register("before-send.dynamodb.CreateTable", wait_for_the_next_slot)
        after.write([event("t-1")])
        time.sleep(3 * second.total_seconds())
        assert days(all_changes(after)) == {("acme", DAY_ZERO)}


def test_who_may_not_make_tables_makes_the_list_beside_those_that_are_there_and_no_other(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    store.write([event()])
    client.delete_table(TableName=tables.changes)
    with opened(client, tables, may_make_tables=False) as careful:
        careful.check()
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.describe_table(TableName=tables.changes)
        careful.void([event()], "a test")
    assert days(all_changes(store)) == {("acme", DAY_ZERO)}
    wrong = Tables.named(f"{tables.events}x")
    with (
        opened(client, wrong, may_make_tables=False) as mistaken,
        pytest.raises(StoreRefused, match="there is no table"),
    ):
        mistaken.void([event()], "a test")
    assert not [name for name in client.list_tables()["TableNames"] if name in names_of(wrong)]


def names_of(tables: Tables) -> tuple[str, ...]:
    return tables.events, tables.counts, tables.changes


def test_a_table_that_was_made_anew_is_listed_in_at_once(
    store: DynamoStore, client: DynamoDBClient, tables: Tables
) -> None:
    store.write([event()])
    for name in names_of(tables):
        client.delete_table(TableName=name)
    store.write([event("t-1")])
    assert days(all_changes(store)) == {("acme", DAY_ZERO)}
