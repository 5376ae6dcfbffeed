"""The change log: days that wait to be written are logged with one request."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from events.service import EventService
from tests.support.changescene import ChangeScene, scene
from tests.support.factories import HOUR_ZERO, event
from tests.support.faketime import START

__all__ = ["scene"]
MINUTE = timedelta(minutes=1)


def test_days_that_are_written_soon_are_logged_together(scene: ChangeScene) -> None:
    scene.store.register("acme")
    events = [event(timestamp=HOUR_ZERO + timedelta(days=number)) for number in range(30)]
    scene.store.expect(events)
    scene.sent.clear()
    for one in events:
        scene.store.write([one])
    changes = [name for name in scene.sent if name != "Query"]
    assert changes[:2] == ["BatchWriteItem", "TransactWriteItems"]
    assert Counter(changes) == {"BatchWriteItem": 2, "TransactWriteItems": 30}
    assert scene.logged() == [(START, "acme")] * 30


def test_a_day_that_dynamodb_leaves_out_is_logged_alone(scene: ChangeScene) -> None:
    events = [event(customer_id=f"customer-{number}") for number in range(3)]
    for one in events:
        scene.store.register(one.customer_id)
    changes = scene.tables.changes

    def leave_out(parsed: dict[str, Any], **_: Any) -> None:
        left_out = []
        for item in scene.client.scan(TableName=changes)["Items"]:
            if item["customer_id"]["S"] in ("customer-0", "customer-2"):
                key = {name: item[name] for name in ("change_slot", "change_key")}
                scene.client.delete_item(TableName=changes, Key=key)
                left_out.append({"PutRequest": {"Item": item}})
        parsed["UnprocessedItems"] = {changes: left_out}

    scene.client.meta.events.register("after-call.dynamodb.BatchWriteItem", leave_out)
    scene.store.expect(events)
    for one in events:
        scene.store.write([one])
    scene.client.meta.events.unregister("after-call.dynamodb.BatchWriteItem", leave_out)
    assert scene.sent.count("BatchWriteItem") == 1
    assert scene.logged() == [(START, one.customer_id) for one in events]


def test_a_day_is_not_logged_long_after_its_write_was_given_up(scene: ChangeScene) -> None:
    """Its customer may have been erased, and the log would keep the id."""
    scene.store.expect([event(customer_id="given-up")])
    scene.time.advance(60)
    scene.store.write([event()])
    assert scene.logged() == [(START + MINUTE, "acme")]


def test_what_is_voided_is_not_expected(scene: ChangeScene) -> None:
    service = EventService(scene.store, write_threads=4)
    service.void([event(customer_id=f"customer-{number}") for number in range(5)], reason="a test")
    scene.store.write([event()])
    assert scene.logged() == [(START, "acme")]
