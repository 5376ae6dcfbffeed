"""Whatever the store does: nothing is lost, nothing is committed too early, and it is said."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from events.bootstrap import make_client
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import Tables as TableNames
from events.domain.retries import RetryPolicy
from events.kafka.clients import dead_letter_topic, properties
from events.kafka.messages import Record, encode, read_letter
from events.models import Event
from events.service import EventService
from tests.store.test_faults import PASSING_OF_WRITES, Line, Send, body_of, error
from tests.stream.conftest import Topics
from tests.stream.runs import Running, running
from tests.support.factories import event, many_events
from tests.support.shell import until
from tests.support.tables import Tables, contents_of

NOTHING = {"read": 0, "counted": 0, "voided": 0, "dead_letters": 0}


@pytest.fixture
def line() -> Line:
    """Between the store and its database, for transactions."""
    return Line()


@pytest.fixture
def service(settings: Settings, line: Line) -> Iterator[EventService]:
    """A service that has little patience."""
    client = make_client(settings)
    client.meta.events.register("before-send.dynamodb.TransactWriteItems", line)  # type: ignore[arg-type] # it may answer
    store = DynamoStore(
        client,
        TableNames.named(settings.dynamodb_events_table_name),
        retry=RetryPolicy(0.5),
        readers=2,
    )
    service = EventService(store, write_threads=4)
    yield service
    service.close()
    line.close()


def sum_of(run: Running) -> dict[str, int]:
    """
    Messages read, counted and dead, of a run that is stopped.

    What was under way when a batch failed was stored, and is a duplicate of itself when its batch
    comes again: new ones and duplicates are told apart by the tables alone.
    """
    found = asdict(run.stop())
    del found["seconds"], found["has_left"]
    assert found.pop("missing") == 0
    found["counted"] = found.pop("inserted") + found.pop("duplicates")
    return found


def lag_of(run: Running) -> float:
    """Of the three partitions together."""
    return sum(
        run.measure(f'events_kafka_lag_messages{{partition="{number}"}}') for number in range(3)
    )


def refusing(*events: Event) -> Callable[[AWSPreparedRequest, Send], AWSResponse | None]:
    """Refuses a transaction with any of these; with all where there are none."""
    names = {each.transaction_id for each in events}

    def strike(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
        text = json.dumps(body_of(request))
        if names and not any(f'-{name}"' in text for name in names):
            send(request)
            return None
        return error(request, "AccessDeniedException")

    return strike


def test_what_passes_by_itself_changes_nothing(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(1_500, customers=40, hours=240)
    topics.send_events(events)
    line.faults = dict(PASSING_OF_WRITES)
    line.chance = 0.4
    with running(settings, service) as run:
        until(lambda: topics.committed() == topics.ends())
        found = sum_of(run)
    # How many transactions there are to strike depends on how events came together.
    assert line.struck.total() > 10
    assert found == {**NOTHING, "read": 1_500, "counted": 1_500}
    assert tables.contents() == contents_of(events)


def test_while_the_store_is_away_nothing_is_committed_and_it_is_said(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(300, customers=3)
    topics.send_events(events)
    line.faults = {"away": PASSING_OF_WRITES["no connection"]}
    with running(settings, service) as run:
        until(lambda: "store" in run.problems())
        assert run.problems()["store"] == "the store does not answer"
        assert run.measure('events_kafka_waiting{what="store"}') == 1
        assert run.get("/livez")[0] == 200
        assert topics.committed() == {}
        line.heal()
        until(lambda: run.problems() == {})
        until(lambda: topics.committed() == topics.ends())
        assert run.measure("events_kafka_store_waiting_seconds_total") > 0
        assert sum_of(run) == {**NOTHING, "read": 300, "counted": 300}
    assert tables.contents() == contents_of(events)


def test_a_store_that_refuses_everything_makes_no_dead_letter(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(60, customers=3)
    topics.send_events(events)
    line.faults = {"no rights": refusing()}
    with running(settings, service) as run:
        until(lambda: run.problems().get("store", "").startswith("the store refuses"))
        until(lambda: line.struck.total() > 8)
        assert (topics.committed(), topics.read(topics.dead_letters)) == ({}, [])
        line.heal()
        until(lambda: topics.committed() == topics.ends())
        assert sum_of(run) == {**NOTHING, "read": 60, "counted": 60}
    assert topics.read(topics.dead_letters) == []
    assert tables.contents() == contents_of(events)


def test_one_event_that_the_store_refuses_becomes_a_dead_letter_and_stops_no_other(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(400, customers=2)
    bad = event("poison", customer_id="customer-1")
    line.faults = {"poison": refusing(bad)}
    topics.send_events([*events[:200], bad, *events[200:]])
    with running(settings, service) as run:
        until(lambda: topics.committed() == topics.ends())
        assert run.problems() == {}
        assert sum_of(run) == {**NOTHING, "read": 401, "counted": 400, "dead_letters": 1}
    (letter,) = map(read_letter, topics.read(topics.dead_letters))
    assert letter.reason == "the store refuses this event, and takes others"
    assert letter.origin.value == encode(bad, topics.events).value
    assert tables.contents() == contents_of(events)


def test_what_is_no_event_is_a_dead_letter_as_it_was_and_all_others_are_counted(
    settings: Settings, service: EventService, tables: Tables, topics: Topics
) -> None:
    good = encode(event(), topics.events)
    headers = (("trace", b"1"), ("reason", b"mine"), ("none", None))
    bad = [
        Record(topics.events, b"acme", None),
        Record(topics.events, None, b"", headers),
        Record(topics.events, b"\xff", b"{"),
        Record(topics.events, b"acme", b'"\xff"'),
        Record(topics.events, b"acme", b'{"customer_id": "acme"}', headers),
        Record(topics.events, b"acme", b'{"pad": "' + b"x" * 100_000 + b'"}'),
    ]
    topics.send([bad[0], good, *bad[1:], good], partition=1)
    with running(settings, service) as run:
        until(lambda: topics.committed() == topics.ends())
        found = sum_of(run)
    assert found == {**NOTHING, "read": 8, "counted": 2, "dead_letters": 6}
    letters = sorted(
        map(read_letter, topics.read(topics.dead_letters)), key=lambda each: each.origin.offset
    )
    assert [
        Record(each.origin.topic, each.origin.key, each.origin.value, each.origin.headers)
        for each in letters
    ] == bad
    assert [(each.origin.partition, each.origin.offset) for each in letters] == [
        (1, offset) for offset in (0, 2, 3, 4, 5, 6)
    ]
    assert [each.field for each in letters] == [None] * 4 + ["event_type", None]
    assert all(each.reason and each.origin.timestamp for each in letters)
    assert tables.contents() == contents_of([event()])


def test_a_letter_that_is_larger_than_its_topic_takes_is_sent_without_what_is_too_large(
    settings: Settings, service: EventService
) -> None:
    small = NewTopic(dead_letter_topic(settings), 1, 1, config={"max.message.bytes": "2000"})
    admin = AdminClient(properties(settings))
    for future in admin.create_topics([small]).values():
        future.result()
    topics = Topics(settings)
    # Such that it cannot be made small.
    value = random.Random(0).randbytes(100_000)
    bad = [
        Record(topics.events, b"acme", value),
        Record(topics.events, b"acme", b"{"),
        Record(topics.events, b"acme", b"{", (("trace", value),)),
        Record(topics.events, value, None),
    ]
    topics.send(bad, partition=0)
    with running(settings, service) as run:
        until(lambda: topics.committed() == topics.ends())
        assert sum_of(run) == {**NOTHING, "read": 4, "dead_letters": 4}
    letters = {
        each.origin.offset: (each.origin.key, each.origin.value, each.is_whole)
        for each in map(read_letter, topics.read(topics.dead_letters))
    }
    assert letters == {
        0: (b"acme", None, False),
        1: (b"acme", b"{", True),
        2: (None, None, False),
        3: (None, None, False),
    }


def test_no_more_is_read_while_enough_is_open(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(3_000, customers=5)
    topics.send_events(events)
    line.faults = {"away": PASSING_OF_WRITES["no connection"]}
    with running(settings, service, max_messages=200, batch_events=50) as run:
        until(lambda: run.measure("events_kafka_paused") == 1)
        # With the ends of the three partitions.
        assert 200 <= run.measure("events_kafka_open_messages") <= 203
        until(lambda: lag_of(run) == 3_000)
        line.heal()
        until(lambda: topics.committed() == topics.ends())
        assert run.measure("events_kafka_paused") == 0
        until(lambda: lag_of(run) == 0)
        assert sum_of(run) == {**NOTHING, "read": 3_000, "counted": 3_000}
    assert tables.contents() == contents_of(events)


@pytest.mark.parametrize("before", [2_500, 3_000])
def test_messages_that_are_deleted_while_it_reads_are_missed(
    settings: Settings,
    service: EventService,
    line: Line,
    tables: Tables,
    topics: Topics,
    before: int,
) -> None:
    events = many_events(3_000, customers=5)
    topics.send_events(events, partition=0)
    line.faults = {"away": PASSING_OF_WRITES["no connection"]}
    measure = 'events_kafka_missing_messages_total{partition="0"}'
    with running(settings, service, max_messages=200, batch_events=50) as run:
        until(lambda: run.measure("events_kafka_paused") == 1)
        others = run.measure(measure)
        topics.delete(0, before=before)
        line.heal()
        until(lambda: topics.committed() == topics.ends())
        until(lambda: run.measure(measure) > others)
        found = run.stop()
    read_before = found.read - (3_000 - before)
    assert 200 <= read_before < before
    assert found.missing == before - read_before
    assert tables.contents() == contents_of([*events[:read_before], *events[before:]])
