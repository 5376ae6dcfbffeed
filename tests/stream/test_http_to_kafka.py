"""`EVENTS_INGEST=kafka`: 202 means that Kafka has the event; `consume` counts it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from events.app import create_app
from events.config import Settings
from events.errors import StoreUnavailable
from events.kafka.clients import Cluster
from events.kafka.messages import encode
from events.kafka.producer import KafkaSink
from events.models import Event, Outcome
from events.service import EventService
from tests.stream.conftest import Topics
from tests.stream.runs import running
from tests.support.factories import event, many_events, time_text
from tests.support.served import client_of
from tests.support.shell import free_port, until
from tests.support.tables import Tables, contents_of


@contextmanager
def api(settings: Settings, **more: object) -> Iterator[TestClient]:
    changed = settings.model_copy(update={"events_ingest": "kafka", **more})
    with client_of(create_app(changed)) as client:
        yield client


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with api(settings) as client:
        yield client


def document_of(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [{**one._asdict(), "timestamp": time_text(one.timestamp)} for one in events]


def sent(topics: Topics) -> list[bytes]:
    return sorted(message.value or b"" for message in topics.read(topics.events))


def values_of(events: Sequence[Event]) -> list[bytes]:
    return sorted(encode(one, "").value or b"" for one in events)


def test_accepted_events_are_in_kafka_and_counted_when_consumed(
    client: TestClient,
    settings: Settings,
    service: EventService,
    topics: Topics,
    tables: Tables,
) -> None:
    events = many_events(500, customers=20)
    answer = client.post("/events", json={"events": document_of(events)})
    assert (answer.status_code, answer.json()) == (
        202,
        {
            "accepted": 500,
            "rejected": 0,
            "results": [{"index": index, "status": "accepted"} for index in range(500)],
        },
    )
    assert sent(topics) == values_of(events)
    assert tables.count() == 0
    # A retry is safe.
    assert client.post("/events", json={"events": document_of(events)}).status_code == 202
    with running(settings, service):
        until(topics.are_committed)
    assert tables.contents() == contents_of(events)
    window = {"start": "2021-03-01", "end": "2021-03-03"}
    path = f"/events/customers/{events[0].customer_id}/buckets"
    total = client.get(path, params=window).json()["total"]
    assert total == sum(one.customer_id == events[0].customer_id for one in events)
    measure = 'events_receipts_total{outcome="accepted"}'
    assert measure in client.get("/metrics").text


def test_a_rejected_event_has_a_receipt_and_is_not_sent(client: TestClient, topics: Topics) -> None:
    good, bad = document_of([event()])[0], {"customer_id": "acme"}
    answer = client.post("/events", json={"events": [bad, good]})
    assert (answer.status_code, answer.json()) == (
        207,
        {
            "accepted": 1,
            "rejected": 1,
            "results": [
                {"index": 0, "status": "rejected", "error": "event_type: is missing"},
                {"index": 1, "status": "accepted"},
            ],
        },
    )
    assert client.post("/events", json={"events": [bad]}).status_code == 400
    assert sent(topics) == values_of([event()])


def test_concurrent_requests_are_all_accepted(client: TestClient, topics: Topics) -> None:
    events = many_events(400, customers=20)
    statuses: list[int] = []

    def post(part: Sequence[Event]) -> None:
        statuses.append(client.post("/events", json={"events": document_of(part)}).status_code)

    threads = [
        threading.Thread(target=post, args=(events[first : first + 20],))
        for first in range(0, 400, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 20
    assert sent(topics) == values_of(events)


def test_a_request_longer_than_the_queue_fails_and_sends_nothing(
    settings: Settings, topics: Topics
) -> None:
    events = many_events(6)
    sink = KafkaSink(Cluster.of(settings), topics.events, patience_seconds=60, max_messages=5)
    with closing(sink):
        with pytest.raises(StoreUnavailable, match="too many messages wait for Kafka"):
            sink.ingest(events)
        assert sink.ingest(events[:5]) == [Outcome.ACCEPTED] * 5
    assert sent(topics) == values_of(events[:5])


def test_without_a_broker_events_get_503_and_corrections_work(
    settings: Settings, service: EventService, tables: Tables
) -> None:
    service.ingest([event()])
    away = f"127.0.0.1:{free_port()}"
    with api(
        settings, events_kafka_bootstrap_servers=away, events_store_patience_seconds=1
    ) as client:
        ready = client.get("/readyz")
        answer = client.post("/events", json={"events": document_of([event("t-1")])})
        void = {"reason": "sent by a test", "events": document_of([event()])}
        voided = client.post("/events/void", json=void)
    assert (ready.status_code, answer.status_code, voided.status_code) == (503, 503, 200)
    assert answer.headers["Retry-After"] == "1"
    assert away not in json.dumps([ready.json(), answer.json()])
    assert voided.json()["voided"] == 1
    assert tables.count() == 1


def test_readiness_needs_the_store_and_kafka(client: TestClient, service: EventService) -> None:
    service.create_tables()
    until(lambda: client.get("/readyz").status_code == 200)


def test_a_small_queue_slows_a_file_down_and_loses_nothing(
    settings: Settings, topics: Topics
) -> None:
    events = many_events(500)
    sink = KafkaSink(
        Cluster.of(settings),
        topics.events,
        patience_seconds=60,
        max_messages=50,
        is_waiting_for_room=True,
    )
    with closing(sink):
        assert sink.ingest(events) == [Outcome.ACCEPTED] * 500
    assert sent(topics) == values_of(events)


def test_missing_topics_are_created(settings: Settings, client: TestClient) -> None:
    answer = client.post("/events", json={"events": document_of([event()])})
    assert answer.status_code == 202
    assert sent(Topics(settings)) == values_of([event()])
