"""A broker that is away, for a while or at the start or end, costs no event."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest
from fastapi.testclient import TestClient

from events.app import create_app
from events.config import Settings
from events.errors import EventsError
from events.kafka.clients import Cluster
from events.kafka.messages import Record, encode
from events.kafka.producer import Sender
from events.local import kafka
from events.models import Event
from events.service import EventService
from tests.stream.archives import archived, make_archiver, produce
from tests.stream.conftest import Topics
from tests.stream.runs import running, start
from tests.support.broker import Broker, Proxy, SpoilingProxy
from tests.support.factories import many_events, time_text
from tests.support.served import client_of
from tests.support.shell import Shell, free_port, until
from tests.support.tables import Tables, contents_of

#: Look often for a broker that is away, and wait briefly for it. Now and then librdkafka leaves a
#: request for the coordinator unsent until it times out, by default after a minute.
PROPERTIES = "reconnect.backoff.max.ms=500\nsocket.timeout.ms=10000\n"
pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture
def properties(tmp_path: Path) -> str:
    file = tmp_path / "away.properties"
    file.write_text(PROPERTIES, encoding="utf-8")
    return str(file)


@pytest.fixture
def proxy(broker: Broker) -> Proxy:
    return Proxy(broker)


@pytest.fixture
def away(settings: Settings, proxy: Proxy, properties: str) -> Settings:
    """Settings that reach Kafka through the proxy."""
    return settings.model_copy(
        update={
            "events_kafka_bootstrap_servers": proxy.bootstrap_servers,
            "events_kafka_properties_file": properties,
        }
    )


def test_a_consumer_survives_a_restart_of_the_broker(
    settings: Settings, properties: str, service: EventService, tables: Tables, tmp_path: Path
) -> None:
    port, data = free_port(), tmp_path / "broker"
    own = settings.model_copy(
        update={
            "events_kafka_bootstrap_servers": f"127.0.0.1:{port}",
            "events_kafka_properties_file": properties,
        }
    )
    events = many_events(1_000, customers=20)
    with ExitStack() as stack:
        with kafka.start(port=port, data_folder=data):
            topics = Topics(own)
            topics.send_events(events[:500])
            run = stack.enter_context(running(own, service))
            until(lambda: topics.committed())
        until(lambda: "kafka" in run.problems())
        with kafka.start(port=port, data_folder=data):
            topics.send_events(events[500:])
            until(lambda: run.problems() == {})
            until(topics.are_committed)
            assert run.stop().read >= 1_000
    assert tables.contents() == contents_of(events)


def test_a_consumer_waits_for_a_broker_that_is_not_there_yet(
    away: Settings, proxy: Proxy, topics: Topics, service: EventService
) -> None:
    topics.send_events(many_events(10))
    with running(away, service) as run:
        until(lambda: "kafka" in run.problems())
        assert run.get("/livez")[0] == 200
        with proxy:
            until(lambda: run.problems() == {})
            until(topics.are_committed)
            assert run.stop().inserted == 10


def test_a_consumer_can_be_stopped_while_the_broker_is_away(
    away: Settings, proxy: Proxy, topics: Topics, shell: Shell
) -> None:
    topics.send_events(many_events(10))
    with proxy:
        run = start(shell, settings=away.environment())
        until(lambda: run.counted() == 10)
        until(topics.are_committed)
    until(lambda: "Kafka does not answer" in run.command.err)
    run.command.signal(signal.SIGTERM)
    ran = run.command.ended()
    summary = json.loads(ran.out)
    assert (ran.code, summary["inserted"], summary["has_left"]) == (0, 10, False)


def test_an_archiver_waits_for_a_broker_that_went_away(
    away: Settings, settings: Settings, proxy: Proxy
) -> None:
    first, later = many_events(10), many_events(10, seed=1)
    produce(settings, first)
    archiver = make_archiver(away, commit_seconds=0.5)
    thread = Thread(target=archiver.run)
    with proxy:
        thread.start()
        until(lambda: archiver.result.archived == 10)
    produce(settings, later)
    # It looks at the topic every half minute, waits for it for ten seconds, and so learns of it.
    until(lambda: archiver.problem, timeout_seconds=180)
    with proxy:  # the archiver pauses for up to half a minute between its attempts
        until(lambda: archiver.result.archived == 20, timeout_seconds=180)
        archiver.stop()
        thread.join()
    assert archiver.problem is None
    assert archived(settings) == Counter([*first, *later])


def test_the_api_loses_no_accepted_event(away: Settings, proxy: Proxy, topics: Topics) -> None:
    events = many_events(300)
    accepted: list[Event] = []

    def post(client: TestClient, part: Sequence[Event]) -> int:
        document = [{**event._asdict(), "timestamp": time_text(event.timestamp)} for event in part]
        status = client.post("/events", json={"events": document}).status_code
        if status == 202:
            accepted.extend(part)
        return status

    changed = away.model_copy(update={"events_ingest": "kafka", "events_store_patience_seconds": 1})
    with client_of(create_app(changed)) as client:
        with proxy:
            until(lambda: post(client, events[:100]) == 202)
        assert post(client, events[100:200]) == 503
        with proxy:
            until(lambda: post(client, events[200:]) == 202)
    sent = {message.value for message in topics.read(topics.events)}
    values = [encode(event, "").value for event in events]
    assert {encode(event, "").value for event in accepted} <= sent <= set(values)


def test_a_message_is_done_only_when_kafka_has_it(broker: Broker, topics: Topics) -> None:
    """
    Kafka accepts any sequence number from a producer that it does not know.

    If a producer's first batch for a partition is rejected (the topic was just created, say) and
    its second is stored, librdkafka 2.16 reports both as delivered.
    """
    done: list[EventsError | None] = []
    with (proxy := SpoilingProxy(broker)):
        sender = Sender(Cluster(f"127.0.0.1:{broker.proxy}"), patience_seconds=60)

        def are_done() -> bool:
            sender.poll(0.1)
            return len(done) == 2

        sender.send(Record(topics.events, b"one key", b"first"), done.append)
        until(proxy.is_holding.is_set)
        sender.send(Record(topics.events, b"one key", b"second"), done.append)
        until(are_done)
        sender.close(patience_seconds=60)
    assert done == [None, None]
    assert {message.value for message in topics.read(topics.events)} == {b"first", b"second"}
