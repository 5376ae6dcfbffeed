"""Missing tables are created, where that loses nothing."""

from __future__ import annotations

from contextlib import closing

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError

from events.dao import DynamoStore
from events.domain.retries import RetryPolicy
from events.errors import StoreRefused
from events.models import Event, Outcome, Window
from events.service import EventService
from tests.store.scenes import Scene
from tests.support.factories import (
    DAY_ZERO,
    HOUR,
    HOUR_ZERO,
    Contents,
    days_of,
    event,
    expected_contents,
    many_events,
)
from tests.support.faults import LOST_ANSWERS, PASSING, Send

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["events", "counts"])
def test_a_lost_table_is_not_recreated_beside_one_with_items(scene: Scene, lost: str) -> None:
    events = many_events(10)
    scene.store.write(events)
    client, names = scene.client, scene.tables.names
    client.delete_table(TableName=getattr(names, lost))
    hour = Window(HOUR_ZERO, HOUR_ZERO + HOUR)

    def read() -> None:
        if lost == "events":
            scene.store.count_events("customer-0", [hour])
        else:
            list(scene.store.day_counts("customer-0", DAY_ZERO, DAY_ZERO, by_type=False))

    def write() -> None:
        scene.store.write(many_events(5, seed=2))

    for act in (read, write, scene.store.create_tables):
        with pytest.raises(StoreRefused, match=f"table {getattr(names, lost)} not found"):
            act()
    assert client.list_tables()["TableNames"].count(getattr(names, lost)) == 0


def test_a_missing_table_is_created_beside_an_empty_one(scene: Scene) -> None:
    scene.client.delete_table(TableName=scene.tables.names.counts)
    events = many_events(10)
    assert scene.store.write(events) == [INSERTED] * 10
    assert scene.tables.contents() == expected_contents(events)


def test_a_store_that_may_not_create_tables_refuses(scene: Scene) -> None:
    scene.tables.drop_tables()
    store = DynamoStore(
        scene.client, scene.tables.names, retry=RetryPolicy(0), may_make_tables=False
    )
    with closing(store):
        for act in (store.check, lambda: list(store.stored_customers())):
            with pytest.raises(StoreRefused, match="table not found"):
                act()
    assert scene.tables.names.events not in scene.client.list_tables()["TableNames"]


def test_a_write_creates_missing_tables(scene: Scene) -> None:
    scene.tables.drop_tables()
    events = many_events(10)
    assert scene.store.write(events) == [INSERTED] * 10
    assert scene.tables.contents() == expected_contents(events)


def test_a_read_creates_missing_tables(scene: Scene) -> None:
    scene.tables.drop_tables()
    window = Window(HOUR_ZERO, HOUR_ZERO + HOUR)
    assert scene.store.count_events("acme", [window] * 4) == [0] * 4
    scene.tables.drop_tables()
    scene.store.check()
    assert list(scene.store.stored_customers()) == []
    assert scene.tables.contents() == Contents()


def test_tables_are_created_under_all_faults(scene: Scene) -> None:
    faults = {**PASSING, **LOST_ANSWERS}
    line = scene.strike("CreateTable", "DescribeTable", faults=faults, chance=0.6)
    books: list[Event] = []
    while set(line.struck) != set(faults):
        scene.tables.drop_tables()
        books = [event(f"t-{len(books)}", customer_id="acme")]
        assert scene.store.write(books) == [INSERTED]
        assert scene.tables.contents() == expected_contents(books)


def test_tables_that_vanish_are_created_again(
    scene: Scene,
) -> None:
    events = many_events(60, customers=3, hours=48)
    groups = days_of(events)
    for group in groups:
        scene.store.write(group)
    scene.tables.drop_tables()
    for group in groups:
        assert scene.store.write(group) == [INSERTED] * len(group)
    assert scene.tables.contents() == expected_contents(events)


def test_customers_are_registered_again_in_new_tables(scene: Scene) -> None:
    events = [event(customer_id="a"), event(customer_id="b")]
    for each in events:
        scene.store.write([each])
    scene.tables.drop_tables()
    assert list(scene.store.counted_events("a")) == []
    for each in events:
        assert scene.store.write([each]) == [INSERTED]
    assert scene.tables.contents() == expected_contents(events)


def test_many_threads_create_missing_tables_together(scene: Scene) -> None:
    events = many_events(80, hours=24 * 20)
    scene.tables.drop_tables()
    with closing(EventService(scene.store, write_threads=4)) as service:
        assert service.ingest(events) == [INSERTED] * 80
    assert scene.tables.contents() == expected_contents(events)


def test_a_retry_creates_tables_that_vanished_meanwhile(scene: Scene) -> None:
    def vanish(request: AWSPreparedRequest, _: Send) -> AWSResponse:
        scene.tables.drop_tables()
        raise ReadTimeoutError(endpoint_url=request.url, error="injected")

    line = scene.strike(faults={"vanish": vanish}, strikes=1)
    events = many_events(4)
    assert scene.store.write(events) == [INSERTED] * 4
    assert line.struck["vanish"] == 1
    assert scene.tables.contents() == expected_contents(events)
