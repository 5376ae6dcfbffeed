"""Faults that pass: nothing is lost or counted twice, and receipts are right."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError

from events.dao import DynamoStore
from events.domain.retries import RetryPolicy
from events.models import Erasure, Event, Outcome
from events.service import EventService
from tests.store.helpers import cases
from tests.store.scenes import Books, Scene, deliveries, make_scene
from tests.support.factories import (
    DAY,
    DAY_ZERO,
    HOUR_ZERO,
    event,
    expected_contents,
    many_events,
    stored_key,
)
from tests.support.faults import LOST_ANSWERS, PASSING_OF_WRITES, Send, mixed_reasons, reset
from tests.support.pool import TablePool

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INSERTED, DUPLICATE = Outcome.INSERTED, Outcome.DUPLICATE


# --- faults that pass -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases(PASSING_OF_WRITES))
def test_writes_are_exact_under(scene: Scene, name: str, strikes: int) -> None:
    line = scene.strike(faults={name: PASSING_OF_WRITES[name]}, chance=0.6, seed=len(name))
    books = Books()
    for batch in deliveries(seed=len(name)):
        right = books.receipts(batch)
        assert scene.store.write(batch) == right
        if line.struck[name] >= strikes:
            break
    assert scene.tables.contents() == expected_contents(books.events)


def test_writes_are_exact_under_all_faults_at_once(scene: Scene, strikes: int) -> None:
    line = scene.strike(faults=PASSING_OF_WRITES, chance=0.5, seed=7)
    events: list[Event] = []
    rng = random.Random(7)
    inserted = 0
    with closing(EventService(scene.store, write_threads=4)) as service:
        while min(line.struck[name] for name in PASSING_OF_WRITES) < strikes / 8:
            # Some faults only meet events that are new.
            events += many_events(100, seed=len(events), customers=4, hours=96, event_types=3)
            tickets = [service.submit(rng.sample(events, 5)) for _ in range(40)]
            inserted += sum(ticket.wait().count(INSERTED) for ticket in tickets)
        line.heal()
        outcomes = service.ingest(events)
        assert inserted + outcomes.count(INSERTED) == len(events)
        assert scene.tables.contents() == expected_contents(events)
        result = service.verify()
    assert (result.events, result.differences, result.unsettled) == (len(events), (), ())


@pytest.mark.parametrize("name", cases(PASSING_OF_WRITES))
def test_voids_and_erasures_are_exact_under(scene: Scene, name: str, strikes: int) -> None:
    line = scene.strike(faults={name: PASSING_OF_WRITES[name]}, chance=0.6, seed=len(name))
    stored: set[Event] = set()
    voided: set[Event] = set()
    rng = random.Random(len(name))
    for rounds, batch in enumerate(deliveries(seed=len(name))):
        right = [
            Outcome.VOIDED if e in voided else DUPLICATE if e in stored else INSERTED for e in batch
        ]
        assert scene.store.write(batch) == right
        stored.update(batch)
        some = rng.sample(batch, rng.randint(1, len(batch)))
        never = some[0]._replace(transaction_id="never sent")
        assert scene.store.void([*some, never], "x") == [
            *(Outcome.ALREADY_VOIDED if e in voided else Outcome.VOIDED for e in some),
            Outcome.NOT_FOUND,
        ]
        voided.update(some)
        if line.struck[name] >= strikes or (name == "conflict among duplicates" and rounds > 100):
            break
    assert scene.tables.contents() == expected_contents(stored, voided=voided, reason="x")
    gone: set[Event] = set()
    for customer_id in {e.customer_id for e in stored}:
        mine = sorted((e for e in stored if e.customer_id == customer_id), key=stored_key)
        half = mine[: len(mine) // 2]
        assert scene.store.erase(customer_id, max_events=len(half)) == Erasure(
            len(half), is_complete=False
        )
        gone.update(half)
    contents = scene.tables.contents()
    assert contents.events == expected_contents(stored - gone).events
    assert {k: v for k, v in contents.counters.items() if v} == {
        k: v for k, v in expected_contents(stored - gone - voided).counters.items() if v
    }


def test_a_void_whose_answer_was_lost_is_done_once(scene: Scene) -> None:
    events = many_events(5)
    scene.store.write(events)
    scene.strike(faults=LOST_ANSWERS, strikes=len(LOST_ANSWERS))
    assert scene.store.void(events, "x") == [Outcome.VOIDED] * 5
    assert scene.store.void(events, "x") == [Outcome.ALREADY_VOIDED] * 5
    assert scene.tables.contents() == expected_contents(events, voided=events, reason="x")


def test_a_customer_is_registered_with_a_new_day_every_20_seconds(scene: Scene) -> None:
    """An erasure counts on it: see `Registry.finish_erasure`."""
    line = scene.strike("PutItem")
    now = [0.0]
    scene.store._registry.clock = lambda: now[0]
    for seconds, day, listings in (
        (0.0, 0, 1), (19.0, 1, 1), (21.0, 2, 2), (30.0, 3, 2), (60.0, 3, 2), (99.0, 0, 2),
        (99.0, 4, 3),
    ):  # fmt: skip
        now[0] = seconds
        scene.store.write([event(f"t-{seconds}", timestamp=HOUR_ZERO + day * DAY)])
        listed = [item for item in line.sent if "counter_key" in item["Item"]]
        assert len(listed) == listings, (seconds, day)


def test_a_day_whose_counters_are_gone_is_registered_again(scene: Scene) -> None:
    """As after an erasure by another process, which this one has not heard of."""
    events = many_events(12, hours=1, event_types=2)
    scene.store.write(events[:4])
    scene.tables.unlist("customer-0")
    for each in events[:4]:
        scene.tables.drop_event(each)
    for event_type in (None, "type-0", "type-1"):
        scene.tables.drop_counter("customer-0", DAY_ZERO, event_type)
    line = scene.strike()
    assert scene.store.write(events[2:8]) == [INSERTED] * 6
    assert [len(set(item)) for item in (line.tokens(),)] == [2], "a new list, a new token"
    assert scene.tables.contents() == expected_contents(events[2:8])
    assert scene.store.write(events[6:]) == [DUPLICATE] * 2 + [INSERTED] * 4
    assert len(line.sent) == 4, "counted on again: one cancelled for duplicates, one done"
    assert scene.tables.contents() == expected_contents(events[2:])


def test_an_event_whose_answer_was_lost_is_inserted_once(scene: Scene) -> None:
    line = scene.strike(faults=LOST_ANSWERS, strikes=len(LOST_ANSWERS))
    events = many_events(5)
    assert scene.store.write(events) == [INSERTED] * 5
    assert line.struck == Counter(dict.fromkeys(LOST_ANSWERS, 1))
    assert scene.store.write(events) == [DUPLICATE] * 5
    assert scene.tables.contents() == expected_contents(events)


def test_a_lost_cancellation_still_finds_the_duplicates(scene: Scene) -> None:
    events = many_events(9)
    scene.store.write(events[:4])

    def lose(request: AWSPreparedRequest, send: Send) -> AWSResponse:
        send(request)
        raise ReadTimeoutError(endpoint_url=request.url, error="injected")

    line = scene.strike(faults={"lost": lose}, strikes=2)
    assert scene.store.write(events) == [DUPLICATE] * 4 + [INSERTED] * 5
    assert line.struck["lost"] == 2
    assert scene.tables.contents() == expected_contents(events)


# --- client tokens --------------------------------------------------------------------------------


def test_a_list_of_actions_keeps_its_token_over_retries(scene: Scene) -> None:
    faults = {name: fault for name, fault in PASSING_OF_WRITES.items() if fault != mixed_reasons}
    line = scene.strike(faults=faults, strikes=len(faults))
    scene.store.write(many_events(4))
    assert len(line.sent) == len(faults) + 1
    assert set(line.tokens()) == {line.tokens()[0]}
    assert all(item == line.sent[0] for item in line.sent)


def test_a_list_without_its_duplicates_has_a_new_token(scene: Scene) -> None:
    events = many_events(10)
    scene.store.write(events[:3])
    line = scene.strike(faults={"reset": reset}, strikes=2)
    scene.store.write(events)
    # Twice cut off and then found to have duplicates; then the rest.
    first, second = line.tokens()[0], line.tokens()[-1]
    assert line.tokens() == [first, first, first, second]
    assert first != second
    assert line.puts() == [10, 10, 10, 7]


def test_each_write_has_its_own_token(scene: Scene) -> None:
    line = scene.strike()
    for index in range(20):
        scene.store.write([event(f"t-{index}")])
    assert len(set(line.tokens())) == 20


@pytest.mark.parametrize("patience_seconds", [10, 0])
def test_a_throttle_among_duplicates_delays_the_rest(
    table_pool: TablePool, clients: list[DynamoDBClient], patience_seconds: float
) -> None:
    """The list without its duplicates has a patience of its own."""
    waits: list[float] = []
    retry = RetryPolicy(patience_seconds, sleep=waits.append, jitter=lambda: 1.0)
    events = many_events(6)
    with table_pool.take() as name, make_scene(name, clients, retry) as scene:
        scene.store.write(events[:2])
        line = scene.strike(faults={"mixed": mixed_reasons}, strikes=1)
        assert scene.store.write(events) == [DUPLICATE] * 2 + [INSERTED] * 4
        assert line.struck["mixed"] == 1
        assert waits == [0.05]
        assert line.puts() == [6, 4]
        assert scene.tables.contents() == expected_contents(events)


def test_events_that_another_writer_stores_first_are_duplicates(
    scene: Scene, clients: list[DynamoDBClient]
) -> None:
    events = many_events(8)
    indexes = iter([5, 2, 7])
    other = DynamoStore(clients[1], scene.tables.names, retry=RetryPolicy(10))

    def be_first(request: AWSPreparedRequest, send: Send) -> AWSResponse:
        index = next(indexes, None)
        if index is not None:
            assert other.write([events[index]]) == [INSERTED]
        return send(request)

    line = scene.strike(faults={"be first": be_first})
    right = [DUPLICATE if index in (5, 2, 7) else INSERTED for index in range(8)]
    assert scene.store.write(events) == right
    assert line.puts() == [8, 7, 6, 5]
    assert len(set(line.tokens())) == 4
    assert scene.tables.contents() == expected_contents(events)
    other.close()
