"""A Kafka for the benchmarks of streams, events in it, and commands that use it."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from benchmarks.ingest import with_tables
from benchmarks.measuring import CHECKOUT, environment_of
from benchmarks.samples import metrics
from events.config import Settings
from events.kafka.clients import Cluster, ensure_topics, make_consumer, make_producer
from events.kafka.messages import encode
from events.local import kafka
from events.local.dynamodb import DynamoDBLocal
from events.local.javaserver import free_port
from events.local.kafka import KafkaLocal
from events.models import Event

_MAX_PER_READ = 1_000
_PATIENCE_SECONDS = 60.0
_STOP_SECONDS = 60.0


@contextmanager
def broker(folder: Path) -> Iterator[KafkaLocal]:
    """Start a Kafka with its data in a folder."""
    with kafka.start(data_folder=folder / "kafka") as server:
        yield server


def stream_settings(server: DynamoDBLocal, bus: KafkaLocal, folder: Path) -> Settings:
    """Settings with new tables, and with a topic, group and archive that nothing else uses."""
    name = uuid.uuid4().hex
    return with_tables(server).model_copy(
        update={
            "events_kafka_bootstrap_servers": bus.bootstrap_servers,
            "events_kafka_topic": f"events-{name}",
            "events_kafka_group": f"group-{name}",
            "events_iceberg_catalog": str(folder / f"c{name}"),
        }
    )


def send(settings: Settings, events: Iterable[Event]) -> None:
    """Send events to the topic, and wait until all are acknowledged."""
    topic, cluster = settings.events_kafka_topic, Cluster.of(settings)
    ensure_topics(cluster, topic)
    producer = make_producer(cluster, **{"linger.ms": 20})
    for event in events:
        record = encode(event, topic)
        while True:
            try:
                producer.produce(topic, record.value, record.key)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(_PATIENCE_SECONDS):
        raise RuntimeError("Kafka did not accept all messages: nothing is measured")


def read_all(settings: Settings, take: Callable[[list[KafkaMessage]], None]) -> int:
    """
    The bare loop: read the topic to its end with confluent-kafka, without a group.

    Args:
        take: Called with the messages of each read.

    Returns:
        The number of messages.
    """
    topic = settings.events_kafka_topic
    consumer: Consumer = make_consumer(Cluster.of(settings), group="bare-loop")
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        total = remaining = sum(
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
            for partition in partitions
        )
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        while remaining > 0:
            messages = consumer.consume(_MAX_PER_READ, timeout=1)
            take(messages)
            remaining -= len(messages)
    finally:
        consumer.close()
    return total


class Command:
    """A running command that serves its metrics at a port."""

    def __init__(self, settings: Settings, *command: str) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "events", *command, str(self.port)],
            cwd=CHECKOUT,
            env=environment_of(settings),
            stdout=subprocess.DEVNULL,
        )
        self.pid = self._process.pid

    def is_answering(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"a command ended with code {self._process.returncode}")
        try:
            metrics(self.port)
        except OSError:
            return False
        return True

    def stop(self) -> int:
        """Stop it by SIGTERM; returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
