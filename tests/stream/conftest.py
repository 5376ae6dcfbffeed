"""A real Kafka for the whole run; each test has topics, tables and an archive of its own."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from events.bootstrap import make_service
from events.config import Settings
from events.kafka.clients import (
    Cluster,
    dead_letter_topic,
    ensure_topics,
    make_admin,
    make_consumer,
)
from events.kafka.messages import Message, Record, encode, message_of
from events.models import Event
from events.service import EventService
from tests.stream.archives import PARTITIONS, send_records
from tests.support.broker import Broker, shared
from tests.support.database import Database
from tests.support.fixtures import tables
from tests.support.shell import Shell

__all__ = ["tables"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """py4j leaves closing its sockets to the garbage collector."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Broker]:
    """A Kafka that the whole run shares."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent  # of all workers
    with shared(folder) as broker:
        yield broker


@pytest.fixture
def settings(database: Database, broker: Broker, tmp_path: Path) -> Settings:
    """Settings with tables, topics, a group and an archive that no other test uses."""
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
        self.cluster = Cluster.of(settings)
        self.events = settings.events_kafka_topic
        self.dead_letters = dead_letter_topic(self.events)
        self.group = settings.events_kafka_group
        ensure_topics(self.cluster, self.events, self.dead_letters, partitions=PARTITIONS)

    def send(self, records: Sequence[Record], *, partition: int = -1, **properties: Any) -> None:
        send_records(self.cluster, records, partition=partition, **properties)

    def send_events(self, events: Sequence[Event], *, partition: int = -1) -> None:
        self.send([encode(event, self.events) for event in events], partition=partition)

    def delete(self, partition: int, *, before: int) -> None:
        """Delete messages, as retention does."""
        records = TopicPartition(self.events, partition, before)
        admin = make_admin(self.cluster)  # keep it: the answer never comes if it is collected
        (deleted,) = admin.delete_records([records]).values()
        deleted.result(60)

    def read(self, topic: str) -> list[Message]:
        """All messages of a topic, each partition in its order."""
        ends = self.ends(topic)
        with make_consumer(self.cluster, group="reader-of-tests") as consumer:
            consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
            messages: list[Message] = []
            while len(messages) < sum(ends.values()):
                message = consumer.poll(60)
                assert message is not None
                assert message.error() is None
                messages.append(message_of(message))
        return messages

    def ends(self, topic: str = "") -> dict[int, int]:
        """Partition → its end, for partitions that hold messages; of the events by default."""
        topic = topic or self.events
        with make_consumer(self.cluster, group="reader-of-tests") as consumer:
            ends = {
                partition: _end(consumer, TopicPartition(topic, partition))
                for partition in consumer.list_topics(topic, timeout=60).topics[topic].partitions
            }
        return {partition: end for partition, end in ends.items() if end}

    def committed(self) -> dict[int, int]:
        """Partition → what the group has committed."""
        with make_consumer(self.cluster, group=self.group) as consumer:
            topic = consumer.list_topics(self.events, timeout=60).topics[self.events]
            partitions = [TopicPartition(self.events, partition) for partition in topic.partitions]
            try:
                committed = consumer.committed(partitions, timeout=60)
            except KafkaException:  # the group has no coordinator yet
                return {}
        return {
            partition.partition: partition.offset
            for partition in committed
            if partition.offset >= 0
        }

    def are_committed(self) -> bool:
        return self.committed() == self.ends()


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    while True:
        try:
            return consumer.get_watermark_offsets(partition, timeout=60)[1]
        except KafkaException as exc:
            # A new partition has no leader for a moment.
            if exc.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            time.sleep(0.1)


@pytest.fixture
def topics(settings: Settings) -> Topics:
    """Both topics of this test, empty."""
    return Topics(settings)


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """
    Makes environments for commands.

    `member` is a fixed id in the consumer group: such a member takes its partitions back at once
    after it was killed.
    """

    def make(member: str = "") -> Mapping[str, str]:
        properties = tmp_path / f"kafka{member}.properties"
        fixed = f"group.instance.id={member}\n" if member else ""
        properties.write_text(fixed, encoding="utf-8")
        return {
            **settings.environment(),
            "EVENTS_KAFKA_PROPERTIES_FILE": str(properties),
        }

    return make


@pytest.fixture
def shell(tmp_path: Path, environment: Callable[..., Mapping[str, str]]) -> Iterator[Shell]:
    """A shell whose commands use the tables, topics and archive of this test."""
    shell = Shell(tmp_path / "here", environment())
    yield shell
    shell.end()


@pytest.fixture
def service(settings: Settings) -> Iterator[EventService]:
    """A service that creates its tables when it needs them."""
    with closing(make_service(settings)) as service:
        yield service


@pytest.fixture
def rng() -> random.Random:
    """A generator with a new seed in each run."""
    seed = random.SystemRandom().randrange(10_000)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(seed)


@pytest.fixture
def job_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of this test, for a job that runs in this process."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
