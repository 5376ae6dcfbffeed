"""The change log's writing side: no change that a reader of the log could miss."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.bootstrap import make_client
from events.config import Settings
from events.datamodels import REGISTRY, Tables, registry_key
from events.domain.retries import RetryPolicy
from events.domain.windows import ALL_TIME
from events.dynamodb.requests import GarbledAnswer
from events.errors import ClockSkew, StoreRefused, StoreUnavailable
from events.models import DayCounts, Outcome
from events.queries.changes import changes
from tests.support.changescene import ChangeScene, scene, time_out
from tests.support.database import Database
from tests.support.factories import DAY_ZERO, HOUR_ZERO, event
from tests.support.faketime import START

__all__ = ["scene"]
MINUTE = timedelta(minutes=1)
NOTHING, THREE = DayCounts("acme", DAY_ZERO, None, {}), DayCounts("acme", DAY_ZERO, None, {0: 3})
#: Registers the customer, logs the day, writes.
FIRST_WRITE = ["PutItem", "PutItem", "TransactWriteItems"]


# --- logged before it changes ---------------------------------------------------------------------


def test_a_day_is_logged_before_the_request_that_changes_it(scene: ChangeScene) -> None:
    scene.store.write([event()])
    # The first request reads the plans of shards.
    assert scene.sent == ["Query", *FIRST_WRITE]
    scene.sent.clear()
    scene.time.advance(60)
    scene.store.void([event()], "a test")
    assert scene.sent == ["GetItem", "PutItem", "TransactWriteItems"]
    scene.sent.clear()
    scene.time.advance(60)
    assert scene.store.repair(NOTHING, THREE) is False  # the counter is something else by now
    assert scene.sent == ["Query", "PutItem", "UpdateItem"]
    assert scene.logged() == [(START + number * MINUTE, "acme") for number in range(3)]


def test_a_day_is_logged_once_per_minute(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.sent.clear()
    scene.time.advance(59)
    for number in range(5):
        scene.store.write([event(f"t-{number}")])
    assert scene.sent == ["TransactWriteItems"] * 5
    scene.sent.clear()
    scene.time.advance(1)
    scene.store.write([event("t-5")])
    assert scene.sent == ["PutItem", "TransactWriteItems"]


@pytest.mark.parametrize("action", ["write", "void", "repair"])
def test_each_change_is_read_from_the_log(scene: ChangeScene, action: str) -> None:
    scene.store.write([event(), event("t-1")])
    assert scene.changed_days() == {("acme", DAY_ZERO)}
    before = len(scene.all_changes())
    act(scene, action)
    assert len(scene.all_changes()) == before + 1


def act(scene: ChangeScene, action: str) -> None:
    if action == "write":
        scene.store.write([event("t-2")])
    elif action == "void":
        scene.store.void([event()], "a test")
    else:
        (seen,) = scene.store.day_counts("acme", DAY_ZERO, DAY_ZERO, by_type=False)
        assert scene.store.repair(seen, THREE)


def test_a_day_that_cannot_be_logged_is_not_changed(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.time.advance(60)
    scene.sent.clear()
    store = scene.make_store(retry=RetryPolicy(0))
    store.register("acme")
    scene.before("PutItem", time_out)
    scene.client.meta.events.register(
        "before-send.dynamodb.PutItem", fail := lambda **_: time_out()
    )
    with pytest.raises(StoreUnavailable):
        store.void([event()], "a test")
    scene.client.meta.events.unregister("before-send.dynamodb.PutItem", fail)
    assert "TransactWriteItems" not in scene.sent
    assert scene.store.count_events("acme", [ALL_TIME]) == [1]


@pytest.mark.parametrize("operation", ["TransactWriteItems", "UpdateItem"])
def test_a_retry_in_a_later_minute_is_logged_there(scene: ChangeScene, operation: str) -> None:
    def fail() -> None:
        scene.time.advance(60)
        time_out()

    scene.store.write([event()])
    scene.sent.clear()
    scene.before(operation, fail)
    act(scene, "write" if operation == "TransactWriteItems" else "repair")
    changed = [name for name in scene.sent if name in (operation, "PutItem")]
    assert changed[-2:] == ["PutItem", operation]
    assert scene.logged() == [(START, "acme"), (START + MINUTE, "acme")]


# --- the minute ends before the change ------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "operation"),
    [("write", "TransactWriteItems"), ("void", "TransactWriteItems"), ("repair", "UpdateItem")],
)
def test_a_process_stopped_before_its_request_logs_again(
    scene: ChangeScene, action: str, operation: str
) -> None:
    """A laptop that slept: readers have passed the minute in which the day was logged."""
    scene.store.write([event(), event("t-1")])
    scene.before(operation, lambda: scene.time.advance(600))
    act(scene, action)
    assert scene.logged() == [(START, "acme"), (START + 10 * MINUTE, "acme")]


def test_a_duplicate_reported_late_is_logged_again(scene: ChangeScene) -> None:
    """The first write may have been lost to readers: its process died after it was stopped."""
    scene.store.write([event()])
    scene.before("TransactWriteItems", lambda: scene.time.advance(600))
    assert scene.store.write([event()]) == [Outcome.DUPLICATE]
    assert scene.logged() == [(START, "acme"), (START + 10 * MINUTE, "acme")]


def test_a_repair_whose_answer_was_lost_is_logged_again_if_late(scene: ChangeScene) -> None:
    def lose(**_: Any) -> None:
        scene.client.meta.events.unregister("before-parse.dynamodb.UpdateItem", lose)
        scene.time.advance(600)
        raise GarbledAnswer

    scene.client.meta.events.register("before-parse.dynamodb.UpdateItem", lose)
    assert scene.store.repair(NOTHING, THREE)
    assert scene.logged() == [(START, "acme"), (START + 10 * MINUTE, "acme")]


def test_a_change_just_after_its_minute_needs_no_second_entry(scene: ChangeScene) -> None:
    scene.time.advance(59)
    scene.before("TransactWriteItems", lambda: scene.time.advance(15))
    scene.store.write([event()])
    assert scene.logged() == [(START, "acme")]
    scene.time.advance(60)
    assert scene.changed_days() == {("acme", DAY_ZERO)}


def test_a_day_is_logged_again_if_its_minute_ends_while_logging(scene: ChangeScene) -> None:
    """Such as when the table had to be created first: its readers begin with a later minute."""
    scene.client.delete_table(TableName=scene.tables.changes)
    scene.before("CreateTable", lambda: scene.time.advance(180))
    scene.store.write([event()])
    assert scene.logged() == [(START, "acme"), (START + 3 * MINUTE, "acme")]
    assert scene.changed_days() == {("acme", DAY_ZERO)}


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-3600, -32, 32, 3600])
def test_nothing_is_written_while_the_clock_is_wrong(scene: ChangeScene, seconds: int) -> None:
    scene.time.skew = timedelta(seconds=seconds)
    for action in (
        lambda: scene.store.write([event()]),
        lambda: scene.store.repair(NOTHING, THREE),
    ):
        with pytest.raises(ClockSkew, match="synchronize it with NTP"):
            action()
    assert {"TransactWriteItems", "UpdateItem"}.isdisjoint(scene.sent)
    scene.time.skew = timedelta()
    assert scene.store.write([event()]) == [Outcome.INSERTED]


@pytest.mark.parametrize("seconds", [-29, 29])
def test_a_clock_may_be_a_little_wrong(scene: ChangeScene, seconds: int) -> None:
    scene.time.skew = timedelta(seconds=seconds)
    assert scene.store.write([event()]) == [Outcome.INSERTED]


def test_no_reader_is_answered_while_its_clock_is_wrong(scene: ChangeScene) -> None:
    scene.time.skew = timedelta(hours=-1)
    with pytest.raises(ClockSkew):
        changes(scene.store.changes, None, limit=1)


def test_a_virtual_machine_whose_clock_stood_still_acknowledges_nothing(scene: ChangeScene) -> None:
    """Stopped between logging and writing; only DynamoDB's answer shows how long."""

    def stand_still() -> None:
        scene.time.skew = timedelta(hours=1)

    scene.before("TransactWriteItems", stand_still)
    with pytest.raises(ClockSkew):
        scene.store.write([event()])
    scene.sent.clear()
    with pytest.raises(ClockSkew):
        scene.store.write([event()])
    assert "TransactWriteItems" not in scene.sent
    # NTP sets the clock right. The sender sends the event again, and readers hear of its day.
    scene.time.advance(3600)
    scene.time.skew = timedelta()
    assert scene.store.write([event()]) == [Outcome.DUPLICATE]
    assert scene.logged()[-1] == (START + 60 * MINUTE, "acme")


# --- erased and unregistered customers ------------------------------------------------------------


def test_voiding_events_of_an_erased_customer_logs_nothing(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.erase("acme")
    assert scene.store.void([event(), event("t-1")], "a test") == [Outcome.NOT_FOUND] * 2
    assert scene.logged() == []


def test_an_erased_customer_that_returns_within_the_minute_is_logged(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.erase("acme")
    assert scene.logged() == []
    assert scene.time.now() < START + MINUTE
    scene.store.write([event()])
    assert scene.logged() == [(START, "acme")]


def test_every_day_of_an_erased_customer_that_returns_is_logged_again(scene: ChangeScene) -> None:
    """Also a day that was logged with another, and not written before the erasure."""
    first, second = event(), event(timestamp=HOUR_ZERO + timedelta(days=1))
    scene.store.register("acme")
    scene.store.expect([first, second])
    scene.store.write([first])
    assert scene.logged() == [(START, "acme")] * 2
    scene.erase("acme")
    assert scene.time.now() < START + MINUTE
    scene.store.write([first])
    scene.store.write([second])
    assert scene.logged() == [(START, "acme")] * 2


def test_days_logged_before_their_customer_was_erased_are_logged_again(scene: ChangeScene) -> None:
    """The answer of the request that logged them comes when the customer is back."""
    first, second, third = (event(timestamp=HOUR_ZERO + timedelta(days=day)) for day in range(3))

    def erase(**_: Any) -> None:
        scene.client.meta.events.unregister("after-call.dynamodb.BatchWriteItem", erase)
        scene.erase("acme")
        scene.store.write([third])

    scene.store.register("acme")
    scene.store.expect([first, second])
    scene.client.meta.events.register("after-call.dynamodb.BatchWriteItem", erase)
    scene.store.write([first])
    scene.store.write([second])
    assert scene.time.now() < START + MINUTE
    assert scene.logged() == [(START, "acme")] * 3


def test_events_of_a_customer_that_the_registry_lost_can_be_voided(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.client.delete_item(
        TableName=scene.tables.counts,
        Key={"customer_id": {"S": REGISTRY}, "counter_key": {"S": registry_key("acme")}},
    )
    scene.time.advance(60)
    outcomes = scene.store.void([event("t-1"), event()], "a test")
    assert outcomes == [Outcome.NOT_FOUND, Outcome.VOIDED]
    assert scene.logged() == [(START, "acme"), (START + MINUTE, "acme")]


# --- the table ------------------------------------------------------------------------------------


def test_tables_without_a_change_log_get_one_and_keep_their_items(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.client.delete_table(TableName=scene.tables.changes)
    store = scene.make_store()
    store.write([event("t-1")])
    assert scene.changed_days() == {("acme", DAY_ZERO)}
    assert store.count_events("acme", [ALL_TIME]) == [2]


def test_a_process_that_may_not_create_tables_creates_only_the_change_log(
    scene: ChangeScene,
) -> None:
    scene.store.write([event()])
    scene.client.delete_table(TableName=scene.tables.changes)
    careful = scene.make_store(may_make_tables=False)
    careful.check()
    assert scene.tables.changes not in scene.client.list_tables()["TableNames"]
    careful.void([event()], "a test")
    assert scene.changed_days() == {("acme", DAY_ZERO)}
    wrong = Tables.named(f"{scene.tables.events}x")
    with pytest.raises(StoreRefused, match="table not found"):
        scene.make_store(wrong, may_make_tables=False).void([event()], "a test")
    names = {wrong.events, wrong.counts, wrong.changes}
    assert names.isdisjoint(scene.client.list_tables()["TableNames"])


def test_a_recreated_table_is_logged_in_at_once(scene: ChangeScene) -> None:
    scene.store.write([event()])
    for name in (scene.tables.events, scene.tables.counts, scene.tables.changes):
        scene.client.delete_table(TableName=name)
    scene.store.write([event("t-1")])
    assert scene.changed_days() == {("acme", DAY_ZERO)}


def test_changes_expire_after_35_days(scene: ChangeScene) -> None:
    scene.store.write([event()])
    (item,) = scene.client.scan(TableName=scene.tables.changes)["Items"]
    assert int(item["expires_at"]["N"]) == (START + MINUTE + timedelta(days=35)).timestamp()
    described = scene.client.describe_time_to_live(TableName=scene.tables.changes)
    assert described["TimeToLiveDescription"] == {
        "AttributeName": "expires_at",
        "TimeToLiveStatus": "ENABLED",
    }


def test_two_processes_may_create_the_tables_at_once(
    scene: ChangeScene, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (scene.tables.events, scene.tables.counts, scene.tables.changes):
        scene.client.delete_table(TableName=name)
    other = make_client(Settings(dynamodb_endpoint_url=database.endpoint_url))

    def create() -> None:
        for definition in scene.tables.definitions():
            if definition["TableName"] not in other.list_tables()["TableNames"]:
                other.create_table(**definition)

    def expire() -> None:
        other.update_time_to_live(
            TableName=scene.tables.changes,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )

    scene.before("CreateTable", create)
    scene.before("UpdateTimeToLive", expire)
    scene.store.create_tables()
    assert scene.store.write([event()]) == [Outcome.INSERTED]
    assert [record.getMessage() for record in caplog.records] == []
    other.close()
