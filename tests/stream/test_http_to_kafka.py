"""`EVENTS_INGEST=kafka`: 202 means that Kafka has it, and what is consumed is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from events.app import create_app
from events.config import Settings
from events.errors import InvalidInput, StoreUnavailable
from events.kafka.messages import encode
from events.kafka.producer import KafkaSink
from events.local.kafka import KafkaLocal
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
    return [{**each._asdict(), "timestamp": time_text(each.timestamp)} for each in events]


def sent(topics: Topics) -> list[bytes]:
    return sorted(each.value or b"" for each in topics.read(topics.events))


def values_of(events: Sequence[Event]) -> list[bytes]:
    return sorted(encode(each, "").value or b"" for each in events)


def test_accepted_events_are_in_kafka_and_are_counted_once_they_are_consumed(
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
            "results": [{"index": place, "status": "accepted"} for place in range(500)],
        },
    )
    assert sent(topics) == values_of(events)
    assert tables.count() == 0
    # A retry is safe here as well.
    assert client.post("/events", json={"events": document_of(events)}).status_code == 202
    with running(settings, service):
        until(lambda: topics.committed() == topics.ends())
    assert tables.contents() == contents_of(events)
    window = {"start": "2021-03-01", "end": "2021-03-03"}
    path = f"/events/customers/{events[0].customer_id}/buckets"
    total = client.get(path, params=window).json()["total"]
    assert total == sum(each.customer_id == events[0].customer_id for each in events)
    measure = 'events_receipts_total{outcome="accepted"}'
    assert measure in client.get("/metrics").text


def test_what_is_rejected_has_a_receipt_and_is_not_sent(client: TestClient, topics: Topics) -> None:
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


def test_many_at_once_are_all_accepted(client: TestClient, topics: Topics) -> None:
    events = many_events(400, customers=20)
    statuses: list[int] = []

    def post(part: Sequence[Event]) -> None:
        statuses.append(client.post("/events", json={"events": document_of(part)}).status_code)

    threads = [
        threading.Thread(target=post, args=(events[first : first + 20],))
        for first in range(0, 400, 20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert statuses == [202] * 20
    assert sent(topics) == values_of(events)


def test_more_than_may_wait_for_kafka_fails_and_none_of_it_is_sent(
    settings: Settings, topics: Topics
) -> None:
    events = many_events(6)
    with closing(KafkaSink(settings, patience_seconds=10, max_messages=5)) as sink:
        with pytest.raises(StoreUnavailable, match="as much waits for Kafka as may"):
            sink.ingest(events)
        assert sink.ingest(events[:5]) == [Outcome.ACCEPTED] * 5
    assert sent(topics) == values_of(events[:5])


def test_a_queue_that_a_request_may_exceed_is_refused_at_the_start(settings: Settings) -> None:
    small = {"events_kafka_max_bytes": 8_388_607}
    with pytest.raises(InvalidInput, match=r"^EVENTS_KAFKA_MAX_BYTES is .* at least twice"):
        create_app(settings.model_copy(update={"events_ingest": "kafka", **small}))
    # Where nothing is queued, the limit is one of `consume` alone.
    create_app(settings.model_copy(update=small))


def test_without_a_broker_it_is_not_ready_and_answers_503_and_corrects_nevertheless(
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


def test_ready_means_the_store_and_kafka(client: TestClient, service: EventService) -> None:
    service.create_tables()
    until(lambda: client.get("/readyz").status_code == 200, timeout_seconds=20)


def test_topics_that_are_not_there_are_made(settings: Settings, client: TestClient) -> None:
    answer = client.post("/events", json={"events": document_of([event()])})
    assert answer.status_code == 202
    assert sent(Topics(settings)) == values_of([event()])


def test_a_broker_that_is_away_for_a_while_costs_no_accepted_event(
    own_broker: tuple[Settings, Callable[[], KafkaLocal]],
) -> None:
    own, start_broker = own_broker
    events = many_events(300)
    accepted: list[Event] = []

    def post(client: TestClient, part: Sequence[Event]) -> int:
        status = client.post("/events", json={"events": document_of(part)}).status_code
        if status == 202:
            accepted.extend(part)
        return status

    with api(own, events_store_patience_seconds=1) as client:
        with start_broker():
            until(lambda: post(client, events[:100]) == 202)
        assert post(client, events[100:200]) == 503
        with start_broker():
            until(lambda: post(client, events[200:]) == 202)
            found = set(sent(Topics(own)))
    assert set(values_of(accepted)) <= found <= set(values_of(events))
