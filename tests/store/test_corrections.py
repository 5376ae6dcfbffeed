"""Voided, looked up and erased: on the store in memory and on DynamoDB alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from events.config import Settings
from events.dao import DynamoStore, Timing
from events.datamodels import Tables
from events.domain.retries import RetryPolicy
from events.domain.windows import ALL_TIME
from events.models import (
    BucketQuery,
    Erasure,
    Outcome,
    StoredEvent,
    Window,
)
from events.queries.lookup import MOST_LOOKED_AT, EventQuery, find
from events.service import EventService
from tests.support.factories import (
    DAY,
    HOUR,
    HOUR_ZERO,
    Contents,
    event,
    expected_contents,
    many_events,
    stored_key,
)
from tests.support.fakes import DynamoBackDoor, Subject, dynamodb_subject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
ALREADY_VOIDED, NOT_FOUND = Outcome.ALREADY_VOIDED, Outcome.NOT_FOUND
NOTHING = Contents()


@pytest.fixture
def service(subject: Subject) -> EventService:
    # Closed with the subject: its client is shared.
    return EventService(subject.store, write_threads=4)


def erase_all(service: EventService, customer_id: str, *, max_events: int = 1_000) -> int:
    """Steps until nothing is left; returns how many events were erased."""
    erased = 0
    for _ in range(100):
        step = service.erase(customer_id, max_events=max_events)
        erased += step.events
        if step.is_complete:
            return erased
        threading.Event().wait(step.wait_seconds)
    raise AssertionError("the erasure never ends")


# --- voiding --------------------------------------------------------------------------------------


def test_voided_events_are_counted_no_more_and_stay_stored(
    subject: Subject, service: EventService
) -> None:
    events = many_events(40, customers=2, hours=48, event_types=3)
    service.ingest(events)
    gone = events[::3]
    assert service.void(gone, reason="test run") == [VOIDED] * len(gone)
    assert subject.tables.contents() == expected_contents(events, voided=gone, reason="test run")
    assert service.verify().is_equal


def test_a_late_retry_of_a_voided_event_does_not_bring_it_back(
    subject: Subject, service: EventService
) -> None:
    events = many_events(5)
    service.ingest(events)
    service.void(events[:2], reason="wrong")
    new = event("new")
    for _ in range(2):
        outcomes = service.ingest([*events, new])
        assert outcomes[:5] == [VOIDED, VOIDED, DUPLICATE, DUPLICATE, DUPLICATE]
    assert subject.tables.contents() == expected_contents(
        [*events, new], voided=events[:2], reason="wrong"
    )


def test_voiding_again_changes_nothing_and_keeps_the_first_reason(
    subject: Subject, service: EventService
) -> None:
    service.ingest([event("a"), event("b")])
    assert service.void([event("a")], reason="first") == [VOIDED]
    before = subject.tables.contents()
    assert service.void([event("a"), event("a")], reason="second") == [ALREADY_VOIDED] * 2
    assert subject.tables.contents() == before
    assert before.voided == [("acme", "2021-03-01T00:00:00.000000Z-api_call-a", "first")]


def test_what_is_not_stored_is_not_found_and_leaves_no_trace(
    subject: Subject, service: EventService
) -> None:
    assert service.void([event("a")], reason="x") == [NOT_FOUND]
    assert subject.tables.contents() == NOTHING
    service.ingest([event("a")])
    other = [
        event("b"),
        event("a", event_type="other"),
        event("a", customer_id="other"),
        event("a", timestamp=HOUR_ZERO + timedelta(microseconds=1)),
    ]
    assert service.void([*other, event("a")], reason="x") == [NOT_FOUND] * 4 + [VOIDED]
    assert subject.tables.contents() == expected_contents(
        [event("a")], voided=[event("a")], reason="x"
    )
    assert service.ingest([event("b")]) == [INSERTED]


def test_buckets_cut_hours_and_totals_leave_voided_events_out(service: EventService) -> None:
    events = [event(f"t-{n}", timestamp=HOUR_ZERO + n * timedelta(minutes=10)) for n in range(12)]
    service.ingest(events)
    service.void([events[1], events[4], events[7]], reason="x")
    window = Window(HOUR_ZERO + timedelta(minutes=5), HOUR_ZERO + timedelta(minutes=75))
    for query in (
        BucketQuery("acme", window),
        BucketQuery("acme", window, is_grouped=True),
        BucketQuery("acme", window, event_types=frozenset({"api_call"})),
    ):
        page = service.buckets(query)
        # 10 to 50 minutes without 10 and 40; 60 and 70 without 70.
        assert [(each.start, each.count) for each in page.buckets] == [
            (HOUR_ZERO, 3),
            (HOUR_ZERO + HOUR, 1),
        ]
    assert service.customers(limit=10).customers[0].total == 9


def test_an_hour_of_which_everything_is_voided_has_no_bucket(service: EventService) -> None:
    service.ingest([event("a"), event("b", timestamp=HOUR_ZERO + HOUR)])
    service.void([event("a")], reason="x")
    page = service.buckets(BucketQuery("acme", Window(HOUR_ZERO, HOUR_ZERO + DAY)))
    assert [each.start for each in page.buckets] == [HOUR_ZERO + HOUR]


def test_threads_that_store_and_void_the_same_events_leave_exact_counts(
    subject: Subject, service: EventService
) -> None:
    events = many_events(300, hours=3)

    def work(number: int) -> list[Outcome]:
        mine = events[number::2] + events[:50]
        return service.void(mine, reason="x") if number % 2 else service.ingest(mine)

    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(work, [0, 1, 0, 1, 1, 0, 1, 0]))
    contents = subject.tables.contents()
    stored = set(contents.events)
    voided = [
        each
        for each in events
        if ("customer-0", stored_key(each)) in {(name, key) for name, key, _ in contents.voided}
    ]
    kept = [each for each in events if ("customer-0", stored_key(each)) in stored]
    assert contents == expected_contents(kept, voided=voided, reason="x")
    assert sum(each.count(INSERTED) for each in receipts) == len(kept)
    assert sum(each.count(VOIDED) for each in receipts[1::2]) >= len(voided) / 2
    assert service.verify().is_equal


# --- looking up -----------------------------------------------------------------------------------


def look(service: EventService, **query: object) -> list[str]:
    """Transactions of all pages, in order."""
    found: list[str] = []
    after: str | None = None
    for _ in range(1_000):
        fields = {"customer_id": "acme", "window": ALL_TIME, **query, "after": after}
        page = service.events(EventQuery(**fields))  # type: ignore[arg-type] # as the tests give them
        found += [each.event.transaction_id for each in page.events]
        after = page.next_after
        if after is None:
            return found
    raise AssertionError("the pages never end")


def test_an_event_is_found_with_all_that_is_known_of_it(
    service: EventService,
) -> None:
    service.ingest([event("a"), event("b", timestamp=HOUR_ZERO + HOUR)])
    service.void([event("b", timestamp=HOUR_ZERO + HOUR)], reason="a test")
    page = service.events(EventQuery("acme", ALL_TIME))
    assert page.next_after is None
    first, second = page.events
    assert first == StoredEvent(event("a"), first.ingested_at, None, None)
    assert second == StoredEvent(
        event("b", timestamp=HOUR_ZERO + HOUR), second.ingested_at, second.voided_at, "a test"
    )
    assert first.ingested_at <= (second.voided_at or datetime.min.replace(tzinfo=UTC))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 11])
@pytest.mark.parametrize("is_newest_first", [False, True])
def test_pages_of_any_size_give_every_event_once_in_order(
    service: EventService, limit: int, is_newest_first: bool
) -> None:
    events = [event(f"t-{n:02d}", timestamp=HOUR_ZERO + (n // 3) * HOUR) for n in range(10)]
    service.ingest([*events, event("other", customer_id="acme2")])
    names = [each.transaction_id for each in events]
    found = look(service, limit=limit, is_newest_first=is_newest_first)
    assert found == (names[::-1] if is_newest_first else names)


def test_a_window_and_filters_choose_events(service: EventService) -> None:
    events = [
        event(f"t-{n}", event_type=f"type-{n % 3}", timestamp=HOUR_ZERO + n * HOUR)
        for n in range(12)
    ]
    service.ingest(events)
    window = Window(HOUR_ZERO + 2 * HOUR, HOUR_ZERO + 9 * HOUR)
    assert look(service, window=window) == [f"t-{n}" for n in range(2, 9)]
    assert look(service, window=window, is_newest_first=True, limit=2) == [
        f"t-{n}" for n in range(8, 1, -1)
    ]
    types = frozenset({"type-1", "type-2"})
    assert look(service, window=window, event_types=types, limit=2) == [
        "t-2",
        "t-4",
        "t-5",
        "t-7",
        "t-8",
    ]
    assert look(service, transaction_id="t-7") == ["t-7"]
    assert look(service, transaction_id="t-7", window=window, event_types=types) == ["t-7"]
    assert look(service, transaction_id="t-11", window=window) == []
    assert look(service, customer_id="nobody") == []


def test_a_question_looks_through_a_bounded_number_of_events() -> None:
    class Endless:
        def __init__(self) -> None:
            self.looked_at = 0

        def stored_events(self, *_: object, **__: object) -> Iterator[tuple[str, StoredEvent]]:
            while True:
                self.looked_at += 1
                yield f"key-{self.looked_at}", StoredEvent(event("x"), HOUR_ZERO)

    store = Endless()
    page = find(store, EventQuery("acme", ALL_TIME, transaction_id="y"))
    assert (page.events, page.next_after) == ((), f"key-{MOST_LOOKED_AT}")
    assert store.looked_at == MOST_LOOKED_AT + 1


def test_an_item_that_is_no_event_is_passed_over(subject: Subject, service: EventService) -> None:
    service.ingest([event("a"), event("b")])
    subject.tables.put_foreign("acme", "2021-03-01T00:00:00.000000Z-no")
    assert look(service, limit=1) == ["a", "b"]


# --- erasing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_events", [1, 7, 10_000])
def test_an_erased_customer_leaves_nothing_in_any_table_and_the_others_everything(
    subject: Subject, service: EventService, max_events: int
) -> None:
    events = many_events(30, customers=2, hours=60, event_types=4)
    service.ingest(events)
    mine = [each for each in events if each.customer_id == "customer-0"]
    others = [each for each in events if each.customer_id != "customer-0"]
    service.void(mine[:3], reason="x")
    subject.tables.put_foreign("customer-0", "no event")
    assert erase_all(service, "customer-0", max_events=max_events) == len(mine) + 1
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


def test_counts_are_exact_after_each_step(service: EventService) -> None:
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
    assert dynamodb.tables.contents() == NOTHING


def test_a_customer_that_nobody_knows_is_erased_at_once(
    subject: Subject, service: EventService
) -> None:
    assert service.erase("nobody", max_events=1) == Erasure(0, is_complete=True)
    assert subject.tables.contents() == NOTHING


def test_counters_that_count_nothing_and_a_listing_without_events_are_erased(
    subject: Subject, service: EventService
) -> None:
    service.ingest([event("a"), event("b")])
    subject.tables.drop_event(event("a"))
    subject.tables.drop_event(event("b"))
    assert erase_all(service, "acme") == 0
    assert subject.tables.contents() == NOTHING


def test_an_erased_customer_can_come_again(subject: Subject, service: EventService) -> None:
    service.ingest([event("a")])
    erase_all(service, "acme")
    assert service.ingest([event("a")]) == [INSERTED]
    assert subject.tables.contents() == expected_contents([event("a")])


def test_what_is_written_meanwhile_is_erased_too_and_the_list_is_right_at_every_end(
    settings: Settings, shared_client: DynamoDBClient
) -> None:
    """A second process writes on, with what it remembers of the list, until it is told to stop."""
    timing = Timing(registered_for_seconds=0.3, request_seconds=0.3)
    with dynamodb_subject(
        shared_client, settings.dynamodb_events_table_name, timing=timing
    ) as subject:
        eraser = subject.store
        writer = DynamoStore(
            shared_client,
            Tables.named(settings.dynamodb_events_table_name),
            retry=RetryPolicy(10),
            timing=timing,
        )
        is_over = threading.Event()
        written = 0

        def write_on() -> None:
            nonlocal written
            while not is_over.wait(0.02):
                writer.write([event(f"t-{written}")])
                written += 1

        thread = threading.Thread(target=write_on)
        thread.start()
        try:
            while not written:
                is_over.wait(0.01)
            erased = 0
            for _ in range(30):
                step = eraser.erase("acme", max_events=1_000)
                erased += step.events
                assert not step.is_complete, "it was written to all the time"
                is_over.wait(min(step.wait_seconds, 0.05))
        finally:
            is_over.set()
            thread.join()
        while not (step := eraser.erase("acme", max_events=1_000)).is_complete:
            erased += step.events
            threading.Event().wait(step.wait_seconds)
        assert erased + step.events == written
        assert subject.tables.contents() == NOTHING
        # The other process remembers a listing that is gone, but not for long.
        threading.Event().wait(0.6)
        writer.write([event("late")])
        assert subject.tables.contents() == expected_contents([event("late")])
        assert isinstance(subject.tables, DynamoBackDoor)
