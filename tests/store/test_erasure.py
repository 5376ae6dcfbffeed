"""Erasing a customer, on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING

import pytest

from events.dao import DynamoStore, Timing
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.models import Erasure, Outcome
from events.service import EventService
from tests.support.backdoor import DynamoBackDoor, Subject, dynamodb_subject
from tests.support.factories import Contents, event, expected_contents, many_events
from tests.support.faketime import FakeTime
from tests.support.pool import TablePool

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INSERTED = Outcome.INSERTED


def erase_all(service: EventService, customer_id: str, *, max_events: int = 1_000) -> int:
    """Run steps until the erasure is complete; returns how many events they deleted."""
    erased = 0
    for _ in range(100):
        step = service.erase(customer_id, max_events=max_events)
        erased += step.events
        if step.is_complete:
            return erased
        threading.Event().wait(step.wait_seconds)
    raise AssertionError("the erasure never ends")


@pytest.mark.parametrize("max_events", [1, 7, 10_000])
def test_an_erasure_deletes_one_customer_from_all_tables(
    subject: Subject, service: EventService, max_events: int
) -> None:
    events = many_events(30, customers=2, hours=60, event_types=4)
    service.ingest(events)
    mine = [item for item in events if item.customer_id == "customer-0"]
    others = [item for item in events if item.customer_id != "customer-0"]
    service.void(mine[:3], reason="x")
    foreign_items = subject.tables.put_foreign("customer-0", "no event")
    erased = erase_all(service, "customer-0", max_events=max_events)
    assert erased == len(mine) + foreign_items
    assert subject.tables.contents() == expected_contents(others)


def before_once(client: DynamoDBClient, operation: str, act: Callable[[], object]) -> None:
    """Run `act` before the client sends its next request of this kind."""
    name = f"before-send.dynamodb.{operation}"

    def hook(**_: object) -> None:
        client.meta.events.unregister(name, hook)
        act()

    client.meta.events.register(name, hook)


def test_an_event_stored_again_survives_the_delete_of_its_voided_item(
    dynamodb: Subject, shared_client: DynamoDBClient
) -> None:
    """As if the answer to a first delete was lost, and the event came before the second."""
    dynamodb.store.write([event("a")])
    dynamodb.store.void([event("a")], "x")

    def store_again() -> None:
        dynamodb.tables.drop_event(event("a"))
        assert dynamodb.store.write([event("a")]) == [INSERTED]

    before_once(shared_client, "DeleteItem", store_again)
    assert dynamodb.store.erase("acme", max_events=1) == Erasure(1, is_complete=False)
    assert dynamodb.tables.contents() == expected_contents([event("a")])


def test_counts_are_exact_after_each_step_of_an_erasure(service: EventService) -> None:
    service.ingest(many_events(200, hours=30, event_types=5))
    for _ in range(3):
        step = service.erase("customer-0", max_events=40)
        assert step == Erasure(40, is_complete=False)
        assert service.verify().is_equal
    assert service.verify().events == 80


def test_an_erasure_finished_by_another_process_registers_nobody(
    dynamodb: Subject, shared_client: DynamoDBClient
) -> None:
    dynamodb.store.register("acme")
    before_once(shared_client, "UpdateItem", lambda: dynamodb.tables.unlist("acme"))
    assert dynamodb.store.erase("acme", max_events=1) == Erasure(0, is_complete=True)
    assert dynamodb.tables.contents() == Contents()


def test_erasing_an_unknown_customer_completes_at_once(
    subject: Subject, service: EventService
) -> None:
    assert service.erase("nobody", max_events=1) == Erasure(0, is_complete=True)
    assert subject.tables.contents() == Contents()


def test_counters_and_a_registration_without_events_are_erased(
    subject: Subject, service: EventService
) -> None:
    service.ingest([event("a"), event("b")])
    subject.tables.drop_event(event("a"))
    subject.tables.drop_event(event("b"))
    assert erase_all(service, "acme") == 0
    assert subject.tables.contents() == Contents()


def test_an_erased_customer_can_come_again(subject: Subject, service: EventService) -> None:
    service.ingest([event("a")])
    erase_all(service, "acme")
    assert service.ingest([event("a")]) == [INSERTED]
    assert subject.tables.contents() == expected_contents([event("a")])


@pytest.mark.slow
def test_an_erasure_cannot_complete_while_another_process_writes(table_pool: TablePool) -> None:
    """The writer counts on a registration that it remembers; clocks are passed in."""
    timing = Timing(registered_for_seconds=20, request_seconds=20)
    with table_pool.take() as name, FakeTime(table_pool.client) as time:
        eraser, writer = (
            DynamoStore(
                table_pool.client,
                Tables.named(name),
                retry=RetryPolicy(10),
                timing=timing,
                now=time.now,
                clock=time.seconds,
            )
            for _ in range(2)
        )
        tables = DynamoBackDoor(table_pool.client, name)
        for number in range(30):
            time.advance(5)
            writer.write([event(f"t-{number}")])
            step = eraser.erase("acme", max_events=1_000)
            assert (step.events, step.is_complete) == (1, False)
        # Now the writer pauses. Its last registration was at most 20 s ago.
        time.advance(step.wait_seconds)
        assert eraser.erase("acme", max_events=1_000) == Erasure(0, is_complete=True)
        assert tables.contents() == Contents()
        writer.write([event("late")])
        assert tables.contents() == expected_contents([event("late")])


@pytest.mark.slow
def test_an_erasure_during_writes_deletes_all_events(
    table_pool: TablePool,
) -> None:
    timing = Timing(registered_for_seconds=0.3, request_seconds=0.3)
    client = table_pool.client
    with (
        table_pool.take() as name,
        dynamodb_subject(client, name, timing=timing) as subject,
    ):
        writer = DynamoStore(client, Tables.named(name), retry=RetryPolicy(10), timing=timing)
        is_over = threading.Event()

        def write_on() -> int:
            for number in count():
                writer.write([event(f"t-{number}")])
                if is_over.wait(0.02):
                    return number + 1
            raise AssertionError

        with ThreadPoolExecutor(1) as threads:
            written = threads.submit(write_on)
            erased = sum(subject.store.erase("acme", max_events=1_000).events for _ in range(30))
            is_over.set()
        erased += erase_all(EventService(subject.store, write_threads=1), "acme")
        assert erased == written.result()
        assert subject.tables.contents() == Contents()
