"""Many writers at once, and the counts are still exact."""

from __future__ import annotations

import csv
import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from events.bootstrap import make_client, make_service
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import Tables
from events.domain.columns import row_parser
from events.domain.retries import RetryPolicy
from events.models import Difference, Event, Outcome, Verification
from events.service import EventService
from tests.support.backdoor import DynamoBackDoor
from tests.support.factories import HOUR, HOUR_ZERO, event, expected_contents, many_events

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


SAMPLE = Path(__file__).parents[2] / "resources" / "events.csv"
INSERTED = Outcome.INSERTED
#: Writers in step wait this long for each other, on a machine that does much else.
PATIENCE_SECONDS = 60


def sample_rows(number: int) -> list[list[str]]:
    """That many rows from all over the sample, duplicates among them."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert number <= len(rows)
    return rows[:: len(rows) // number]


def facts(number: int) -> set[tuple[str, str, str, datetime]]:
    """The distinct events of these rows, read with nothing of this project."""
    return {
        (customer_id, event_type, transaction_id, datetime.fromisoformat(at).astimezone(UTC))
        for customer_id, event_type, transaction_id, at in sample_rows(number)
    }


def counted_by_hand(number: int) -> Counter[tuple[str, str, str, str]]:
    """Customer, type (or "" for all), day and hour, and how many events there are."""
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for customer_id, event_type, _, at in facts(number):
        for kind in (event_type, ""):
            counted[customer_id, kind, f"{at:%Y-%m-%d}", f"h{at:%H}"] += 1
    return counted


def counted_in(tables: DynamoBackDoor) -> Counter[tuple[str, str, str, str]]:
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for (customer_id, key), hours in tables.contents().counters.items():
        kind, day, *event_type = key.split("#", 2)
        assert kind == ("type" if event_type else "total")
        for hour, number in hours.items():
            counted[customer_id, "".join(event_type), day, hour] = number
    return counted


def feed(settings: Settings, number: int, seed: int) -> int:
    """Ingest rows of the sample in a random order; returns how many were inserted."""
    events = [row_parser()(row) for row in sample_rows(number)]
    random.Random(seed).shuffle(events)
    with closing(make_service(settings, patience_seconds=PATIENCE_SECONDS)) as service:
        tickets = [service.submit(piece) for piece in (events[0::2], events[1::2])]
        return sum(ticket.wait().count(INSERTED) for ticket in tickets)


@pytest.fixture
def tables(settings: Settings) -> Iterator[DynamoBackDoor]:
    client = make_client(settings)
    tables = DynamoBackDoor(client, settings.dynamodb_events_table_name)
    yield tables
    tables.drop_tables()
    client.close()


def check_the_sample(
    settings: Settings, tables: DynamoBackDoor, number: int, inserted: list[int]
) -> None:
    distinct, by_hand = facts(number), counted_by_hand(number)
    assert sum(inserted) == len(distinct)
    assert sum(item > 0 for item in inserted) > 1, "one did all the work: that proves nothing"
    assert counted_in(tables) == by_hand
    assert len(tables.contents().events) == len(distinct)
    with closing(make_service(settings)) as service:
        assert service.verify() == Verification(
            customers=len({customer_id for customer_id, _, _, _ in distinct}),
            days=len({(customer, day) for customer, kind, day, _ in by_hand if not kind}),
            events=len(distinct),
        )


@pytest.mark.slow
def test_threads_that_ingest_the_same_events_count_each_once(
    settings: Settings, tables: DynamoBackDoor
) -> None:
    settings = settings.model_copy(update={"events_write_threads": 2})
    with ThreadPoolExecutor(4) as threads:
        inserted = list(threads.map(partial(feed, settings, 400), range(4)))
    check_the_sample(settings, tables, 400, inserted)


@pytest.mark.slow  # three Python processes
def test_processes_that_ingest_the_same_events_count_each_once(
    settings: Settings, tables: DynamoBackDoor
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as processes:
        inserted = list(processes.map(partial(feed, settings, 900), range(3)))
    check_the_sample(settings, tables, 900, inserted)


# --- one service ----------------------------------------------------------------------------------


class Transactions:
    """How many a client sent."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._numbers = count(1)
        self.sent = 0
        client.meta.events.register("before-send.dynamodb.TransactWriteItems", self._send)

    def _send(self, **_: object) -> None:
        self.sent = next(self._numbers)


@pytest.fixture
def client(settings: Settings) -> DynamoDBClient:
    return make_client(settings)  # closed with the store


@pytest.fixture
def shared(
    settings: Settings,
    client: DynamoDBClient,
    tables: DynamoBackDoor,  # noqa: ARG001 - dropped after the service is closed
) -> Iterator[EventService]:
    names = Tables.named(settings.dynamodb_events_table_name)
    store = DynamoStore(client, names, retry=RetryPolicy(PATIENCE_SECONDS))
    with closing(EventService(store, write_threads=4)) as service:
        yield service


def test_small_ingests_of_one_customer_share_transactions(
    shared: EventService, client: DynamoDBClient, tables: DynamoBackDoor
) -> None:
    transactions = Transactions(client)
    threads_number, calls = 32, 8
    start = threading.Barrier(threads_number)

    def ingest(thread: int) -> list[Outcome]:
        start.wait(PATIENCE_SECONDS)
        outcomes = []
        for call in range(calls):
            # One event of this thread, and one that every thread sends.
            own = event(f"t-{thread}-{call}", timestamp=HOUR_ZERO + thread % 24 * HOUR)
            outcomes += shared.ingest([own, event(f"all-{call}")])
        return outcomes

    with ThreadPoolExecutor(threads_number) as threads:
        outcomes = [item for some in threads.map(ingest, range(threads_number)) for item in some]
    distinct = [
        event(f"t-{thread}-{call}", timestamp=HOUR_ZERO + thread % 24 * HOUR)
        for thread in range(threads_number)
        for call in range(calls)
    ] + [event(f"all-{call}") for call in range(calls)]
    assert outcomes.count(INSERTED) == len(distinct)
    assert tables.contents() == expected_contents(distinct)
    assert transactions.sent < len(distinct) / 4


def test_an_ingest_is_visible_to_the_next_read(shared: EventService) -> None:
    shared.create_tables()

    def ingest(thread: int) -> list[int]:
        seen = []
        for call in range(15):
            at = HOUR_ZERO + call * timedelta(days=1)
            shared.ingest([event(f"t-{thread}-{call}", customer_id=f"c-{thread}", timestamp=at)])
            seen.append(shared.customers(prefix=f"c-{thread}", limit=1).customers[0].total)
        return seen

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ingest, range(8))) == [list(range(1, 16))] * 8


@pytest.mark.slow
def test_verify_finds_no_difference_during_writes(
    settings: Settings, shared: EventService, tables: DynamoBackDoor
) -> None:
    events = many_events(600, customers=2, hours=72, event_types=3)
    shared.create_tables()
    differences: list[Difference] = []
    found: list[Verification] = []

    def write(seed: int) -> int:
        rng = random.Random(seed)
        mine = rng.sample(events, len(events))
        inserted = 0
        with closing(make_service(settings, patience_seconds=PATIENCE_SECONDS)) as service:
            for first in range(0, len(mine), 20):
                inserted += service.ingest(mine[first : first + 20]).count(INSERTED)
        return inserted

    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write, seed) for seed in range(2)]
        while not all(writer.done() for writer in writers):
            found.append(shared.verify(on_difference=differences.append))
        assert sum(writer.result() for writer in writers) == len(events)
    assert len(found) > 1
    assert any(0 < item.events < len(events) for item in found), "it was over before it was read"
    assert differences == []
    assert {(item.differences, item.foreign, item.unlisted) for item in found} == {((), (), ())}
    assert tables.contents() == expected_contents(events)
    assert shared.verify() == Verification(customers=2, days=6, events=len(events))


def test_one_of_several_writers_of_an_event_inserts_it(
    settings: Settings, shared: EventService, tables: DynamoBackDoor
) -> None:
    shared.create_tables()
    start = threading.Barrier(4)
    events: list[Event] = [event(f"t-{place}") for place in range(20)]

    def race(_: int) -> list[Outcome]:
        with closing(make_service(settings, patience_seconds=PATIENCE_SECONDS)) as service:
            outcomes = []
            for each in events:
                start.wait(PATIENCE_SECONDS)
                outcomes += service.ingest([each])
            return outcomes

    with ThreadPoolExecutor(4) as threads:
        receipts = list(threads.map(race, range(4)))
    assert [item.count(INSERTED) for item in zip(*receipts, strict=True)] == [1] * len(events)
    assert tables.contents() == expected_contents(events)
