"""Whatever the store does: no event is lost, no offset committed too early, and probes say it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from confluent_kafka.cimpl import NewTopic

from events.bootstrap import make_client
from events.config import Settings
from events.dao import DynamoStore
from events.datamodels import Tables as TableNames
from events.domain.retries import RetryPolicy
from events.kafka.clients import Cluster, dead_letter_topic, make_admin
from events.kafka.messages import Record, encode, parse_dead_letter
from events.kafka.pipeline import Limits
from events.models import Event
from events.service import EventService
from tests.stream.archives import PARTITIONS
from tests.stream.conftest import Topics
from tests.stream.runs import Running, running
from tests.support.factories import event, many_events
from tests.support.faults import PASSING_OF_WRITES, Line, Send, body_of, error
from tests.support.shell import until
from tests.support.tables import Tables, contents_of

NOTHING = {"read": 0, "counted": 0, "voided": 0, "dead_letters": 0}
SMALL = Limits(max_messages=200, batch_events=50)


@pytest.fixture
def line() -> Line:
    """Between the store and its database, for transactions."""
    return Line()


@pytest.fixture
def service(settings: Settings, line: Line) -> Iterator[EventService]:
    """A service with little patience."""
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


def summary_of(run: Running) -> dict[str, int]:
    """
    The summary of a run that is stopped, without missing messages.

    New events and duplicates are counted together: if a batch fails after an event was stored, the
    event becomes a duplicate of itself when the batch is sent again.
    """
    summary = asdict(run.stop())
    del summary["seconds"], summary["has_left"]
    assert summary.pop("missing") == 0
    summary["counted"] = summary.pop("inserted") + summary.pop("duplicates")
    return summary


def lag_of(run: Running) -> float:
    """The lag of all partitions together."""
    return sum(
        run.metric(f'events_kafka_lag_messages{{partition="{partition}"}}')
        for partition in range(PARTITIONS)
    )


def refusing(*events: Event) -> Callable[[AWSPreparedRequest, Send], AWSResponse | None]:
    """Refuses a transaction with any of these events; every transaction if none is given."""
    names = {one.transaction_id for one in events}

    def strike(request: AWSPreparedRequest, send: Send) -> AWSResponse | None:
        text = json.dumps(body_of(request))
        if names and not any(f'-{name}"' in text for name in names):
            send(request)
            return None
        return error(request, "AccessDeniedException")

    return strike


def test_transient_faults_change_nothing(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(1_500, customers=40, hours=240)
    topics.send_events(events)
    line.faults = dict(PASSING_OF_WRITES)
    line.chance = 0.4
    with running(settings, service) as run:
        until(topics.are_committed)
        summary = summary_of(run)
    # How many transactions can fail depends on how the events were grouped.
    assert line.struck.total() > 10
    assert summary == {**NOTHING, "read": 1_500, "counted": 1_500}
    assert tables.contents() == contents_of(events)


def test_nothing_is_committed_while_the_store_is_away(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(300, customers=3)
    topics.send_events(events)
    line.faults = {"away": PASSING_OF_WRITES["no connection"]}
    with running(settings, service) as run:
        until(lambda: "store" in run.problems())
        assert run.problems()["store"] == "the store does not answer"
        until(lambda: run.metric('events_kafka_waiting{what="store"}') == 1)
        assert run.get("/livez")[0] == 200
        assert topics.committed() == {}
        line.heal()
        until(lambda: run.problems() == {})
        until(topics.are_committed)
        assert run.metric("events_kafka_store_waiting_seconds_total") > 0
        assert summary_of(run) == {**NOTHING, "read": 300, "counted": 300}
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
        until(topics.are_committed)
        assert summary_of(run) == {**NOTHING, "read": 60, "counted": 60}
    assert topics.read(topics.dead_letters) == []
    assert tables.contents() == contents_of(events)


def test_an_event_that_the_store_refuses_alone_becomes_a_dead_letter(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(400, customers=2)
    bad = event("poison", customer_id="customer-1")
    line.faults = {"poison": refusing(bad)}
    topics.send_events([*events[:200], bad, *events[200:]])
    with running(settings, service) as run:
        until(topics.are_committed)
        until(lambda: run.problems() == {})
        assert summary_of(run) == {**NOTHING, "read": 401, "counted": 400, "dead_letters": 1}
    (letter,) = map(parse_dead_letter, topics.read(topics.dead_letters))
    assert letter.reason == "the store refuses this event but accepts others"
    assert letter.origin.value == encode(bad, topics.events).value
    assert tables.contents() == contents_of(events)


def test_invalid_messages_become_dead_letters_with_reason_and_origin(
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
        until(topics.are_committed)
        summary = summary_of(run)
    assert summary == {**NOTHING, "read": 8, "counted": 2, "dead_letters": 6}
    letters = sorted(
        map(parse_dead_letter, topics.read(topics.dead_letters)),
        key=lambda letter: letter.origin.offset,
    )
    origins = [letter.origin for letter in letters]
    assert [
        Record(origin.topic, origin.key, origin.value, origin.headers) for origin in origins
    ] == bad
    assert [(origin.partition, origin.offset) for origin in origins] == [
        (1, offset) for offset in (0, 2, 3, 4, 5, 6)
    ]
    assert [letter.field for letter in letters] == [None] * 4 + ["event_type", None]
    assert all(letter.reason and letter.origin.timestamp for letter in letters)
    assert tables.contents() == contents_of([event()])


def test_a_dead_letter_that_is_too_long_for_its_topic_is_shortened(
    settings: Settings, service: EventService
) -> None:
    name = dead_letter_topic(settings.events_kafka_topic)
    small = NewTopic(name, 1, 1, config={"max.message.bytes": "2000"})
    admin = make_admin(Cluster.of(settings))
    for future in admin.create_topics([small]).values():
        future.result()
    topics = Topics(settings)
    long = random.Random(0).randbytes(100_000)  # cannot be compressed
    bad = [
        Record(topics.events, b"acme", long),
        Record(topics.events, b"acme", b"{"),
        Record(topics.events, b"acme", b"{", (("trace", long),)),
        Record(topics.events, long, None),
    ]
    topics.send(bad, partition=0)
    with running(settings, service) as run:
        until(topics.are_committed)
        assert summary_of(run) == {**NOTHING, "read": 4, "dead_letters": 4}
    letters = {
        letter.origin.offset: (letter.origin.key, letter.origin.value, letter.is_whole)
        for letter in map(parse_dead_letter, topics.read(topics.dead_letters))
    }
    assert letters == {
        0: (b"acme", None, False),
        1: (b"acme", b"{", True),
        2: (None, None, False),
        3: (None, None, False),
    }


def test_reading_pauses_while_too_much_is_unsettled(
    settings: Settings, service: EventService, line: Line, tables: Tables, topics: Topics
) -> None:
    events = many_events(3_000, customers=5)
    topics.send_events(events)
    line.faults = {"away": PASSING_OF_WRITES["no connection"]}
    with running(settings, service, limits=SMALL) as run:
        until(lambda: run.metric("events_kafka_paused") == 1)
        # The end of each partition counts as one message.
        assert 200 <= run.metric("events_kafka_open_messages") <= 203
        until(lambda: lag_of(run) == 3_000)
        line.heal()
        until(topics.are_committed)
        until(lambda: run.metric("events_kafka_paused") == 0)
        until(lambda: lag_of(run) == 0)
        assert summary_of(run) == {**NOTHING, "read": 3_000, "counted": 3_000}
    assert tables.contents() == contents_of(events)


@pytest.mark.parametrize("before", [2_500, 3_000])
def test_messages_deleted_while_it_is_reading_are_missing(
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
    metric = 'events_kafka_missing_messages_total{partition="0"}'
    with running(settings, service, limits=SMALL) as run:
        until(lambda: run.metric("events_kafka_paused") == 1)
        of_other_tests = run.metric(metric)
        topics.delete(0, before=before)
        line.heal()
        until(topics.are_committed)
        until(lambda: run.metric(metric) > of_other_tests)
        consumed = run.stop()
    read_before = consumed.read - (3_000 - before)
    assert 200 <= read_before < before
    assert consumed.missing == before - read_before
    assert tables.contents() == contents_of([*events[:read_before], *events[before:]])
