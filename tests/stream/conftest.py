"""A real Kafka for the whole run, and topics on it that nothing else uses."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from pyspark.sql import SparkSession

from events.bootstrap import make_service
from events.config import Settings
from events.errors import InvalidInput
from events.kafka.clients import (
    dead_letter_topic,
    ensure_topics,
    make_admin,
    make_consumer,
    make_producer,
)
from events.kafka.messages import Message, Record, encode
from events.kafka.reading import message_of
from events.local import kafka
from events.local.javaserver import LocalServerError
from events.local.kafka import KafkaLocal
from events.models import Event
from events.service import EventService
from jobs.lib.session import opened_session
from tests.support.database import Database
from tests.support.factories import environment_of
from tests.support.shell import Shell, free_port
from tests.support.tables import Tables

PARTITIONS = 3

#: With a fixed member the next process takes over at once from one that was killed.
_QUICK = "session.timeout.ms=6000\nheartbeat.interval.ms=500\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """py4j drops its connections to Spark and leaves them to the garbage collector to close."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def broker() -> Iterator[kafka.KafkaLocal]:
    """A Kafka in a temporary folder on a free port, for the whole run."""
    try:
        server = kafka.start()
    except LocalServerError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Kafka: {exc}")
    with server:
        yield server


@pytest.fixture
def settings(database: Database, broker: kafka.KafkaLocal, tmp_path: Path) -> Settings:
    """Settings that name tables, topics, a group and an archive which nothing else uses."""
    name = uuid.uuid4().hex
    return Settings(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{name}",
        events_kafka_bootstrap_servers=broker.bootstrap_servers,
        events_kafka_topic=f"events-{name}",
        events_kafka_group=f"group-{name}",
        events_iceberg_catalog=str(tmp_path / "iceberg" / f"c{name}"),
    )


class Topics:
    """The topics of one test, written and read with plain clients."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.events = settings.events_kafka_topic
        self.dead_letters = dead_letter_topic(settings)
        ensure_topics(settings, self.events, self.dead_letters, partitions=PARTITIONS)

    def send(self, records: Sequence[Record], *, partition: int | None = None, **more: Any) -> None:
        """Send records, and wait until all are acknowledged; `more` is for the producer."""
        producer = make_producer(self.settings, **more)
        failures = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failures.append(error)

        for each in records:
            where = {} if partition is None else {"partition": partition}
            producer.produce(
                each.topic,
                each.value,
                each.key,
                headers=list(each.headers),
                on_delivery=delivered,
                **where,  # type: ignore[arg-type] # a number or not there
            )
            producer.poll(0)
        assert producer.flush(30) == 0
        assert failures == []

    def send_events(self, events: Sequence[Event], *, partition: int | None = None) -> None:
        self.send([encode(each, self.events) for each in events], partition=partition)

    def delete(self, partition: int, *, before: int) -> None:
        """What retention does."""
        place = TopicPartition(self.events, partition, before)
        admin = make_admin(self.settings)  # whoever lets go of it waits for its answer for ever
        (deleted,) = admin.delete_records([place]).values()
        deleted.result(30)

    def read(self, topic: str) -> list[Message]:
        """All that a topic holds now; of each partition in its order."""
        consumer = make_consumer(self.settings, group="reader-of-tests")
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1]
            for number in consumer.list_topics(topic, timeout=30).topics[topic].partitions
        }
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        found: list[Message] = []
        while len(found) < sum(ends.values()):
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None
            found.append(message_of(message))
        consumer.close()
        return found

    def ends(self) -> dict[int, int]:
        """By partition that holds something, its end."""
        consumer = make_consumer(self.settings, group="reader-of-tests")
        found = {
            number: consumer.get_watermark_offsets(TopicPartition(self.events, number), timeout=30)
            for number in consumer.list_topics(self.events, timeout=30)
            .topics[self.events]
            .partitions
        }
        consumer.close()
        return {number: end for number, (_, end) in found.items() if end}

    def committed(self) -> dict[int, int]:
        """By partition, what the group has committed."""
        consumer = make_consumer(self.settings, group=self.settings.events_kafka_group)
        asked = [TopicPartition(self.events, number) for number in range(PARTITIONS)]
        try:
            found = consumer.committed(asked, timeout=30)
        except KafkaException:  # the group's coordinator is not there yet
            return {}
        finally:
            consumer.close()
        return {each.partition: each.offset for each in found if each.offset >= 0}


@pytest.fixture
def own_broker(settings: Settings, tmp_path: Path) -> tuple[Settings, Callable[[], KafkaLocal]]:
    """Settings of a broker that only this test uses, and what starts it, again and again."""
    port = free_port()
    properties = tmp_path / "own.properties"
    # It is looked for often while it is away, and not waited for as long as a session lasts. Now
    # and then librdkafka leaves a request for the coordinator unsent until it times out, by itself
    # after a minute.
    own_properties = "reconnect.backoff.max.ms=500\nsocket.timeout.ms=10000\n"
    properties.write_text(own_properties + _QUICK, encoding="utf-8")
    own = settings.model_copy(
        update={
            "events_kafka_bootstrap_servers": f"127.0.0.1:{port}",
            "events_kafka_properties_file": str(properties),
        }
    )
    return own, partial(kafka.start, port=port, data_folder=tmp_path / "broker")


@pytest.fixture
def topics(settings: Settings) -> Topics:
    """Both topics of this test, empty."""
    return Topics(settings)


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    """The tables of this test; not there yet."""
    tables = Tables(settings.dynamodb_endpoint_url, settings.dynamodb_events_table_name)
    yield tables
    tables.drop()
    tables.client.close()


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """Makes environments whose commands use the tables and topics of this test."""

    def make(member: str = "") -> Mapping[str, str]:
        properties = tmp_path / f"kafka{member}.properties"
        fixed = f"group.instance.id={member}\n" if member else ""
        properties.write_text(_QUICK + fixed, encoding="utf-8")
        return {
            "DYNAMODB_ENDPOINT_URL": settings.dynamodb_endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": settings.dynamodb_events_table_name,
            "EVENTS_KAFKA_BOOTSTRAP_SERVERS": settings.events_kafka_bootstrap_servers,
            "EVENTS_KAFKA_TOPIC": settings.events_kafka_topic,
            "EVENTS_KAFKA_GROUP": settings.events_kafka_group,
            "EVENTS_KAFKA_PROPERTIES_FILE": str(properties),
        }

    return make


@pytest.fixture
def shell(tmp_path: Path, environment: Callable[..., Mapping[str, str]]) -> Iterator[Shell]:
    """A shell whose commands use the tables and topics of this test."""
    shell = Shell(tmp_path / "here", environment())
    yield shell
    shell.end()


@pytest.fixture
def service(settings: Settings) -> Iterator[EventService]:
    """A service on tables that are made when they are needed."""
    with closing(make_service(settings)) as service:
        yield service


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session for the whole run: jobs that are started in this process use it too."""
    try:
        # The session that is there is used by who opens one after that.
        opened = ExitStack()
        session = opened.enter_context(opened_session("tests", Settings()))
        with opened:
            yield session
    except (InvalidInput, LocalServerError) as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Spark: {exc}")


@pytest.fixture
def job_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of this test, for a job that is started in this process."""
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
