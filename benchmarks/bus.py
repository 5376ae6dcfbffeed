"""What the benchmarks of the streams need: a Kafka, events in it, and our commands beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from benchmarks.ingest import with_tables
from benchmarks.measuring import CHECKOUT
from events.config import Settings
from events.kafka.clients import Cluster, ensure_topics, make_consumer, make_producer
from events.kafka.messages import encode
from events.local import kafka
from events.local.dynamodb import DynamoDBLocal
from events.local.kafka import KafkaLocal
from events.models import Event

_READ_AT_ONCE = 1_000
_PATIENCE_SECONDS = 60.0


@contextmanager
def broker(folder: Path) -> Iterator[KafkaLocal]:
    """A Kafka with its data in a folder."""
    with kafka.start(data_folder=folder / "kafka") as server:
        yield server


def stream_settings(server: DynamoDBLocal, bus: KafkaLocal, folder: Path) -> Settings:
    """Fresh tables, which are there, and a topic, a group and an archive that nothing else uses."""
    name = uuid.uuid4().hex
    return with_tables(server).model_copy(
        update={
            "events_kafka_bootstrap_servers": bus.bootstrap_servers,
            "events_kafka_topic": f"events-{name}",
            "events_kafka_group": f"group-{name}",
            "events_iceberg_catalog": str(folder / f"c{name}"),
        }
    )


def environment(settings: Settings) -> Mapping[str, str]:
    """The environment of a child process with the same settings."""
    own = {name.upper(): str(value) for name, value in settings.model_dump().items()}
    return {**os.environ, **own, "EVENTS_LOG_LEVEL": "warning"}


def send(settings: Settings, events: Iterable[Event]) -> None:
    """Put events into the topic of the settings, and wait until it has them."""
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
        raise RuntimeError("Kafka did not take all messages: nothing is measured")


def read_all(settings: Settings, take: Callable[[list[KafkaMessage]], None]) -> int:
    """
    The bare loop: read the topic to its end with confluent-kafka, without a group.

    Args:
        take: Called with the messages of each read.

    Returns:
        How many there were.
    """
    topic = settings.events_kafka_topic
    consumer: Consumer = make_consumer(Cluster.of(settings), group="bare-loop")
    try:
        found = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        left = sum(
            consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=30)[1]
            for each in found
        )
        total = left
        consumer.assign([TopicPartition(topic, each, 0) for each in found])
        while left > 0:
            messages = consumer.consume(_READ_AT_ONCE, timeout=1)
            take(messages)
            left -= len(messages)
    finally:
        consumer.close()
    return total


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command said in its JSON, and the processor seconds that it took."""

    said: Mapping[str, Any]
    processor_seconds: float


def run_command(settings: Settings, *command: str) -> Ran:
    """`python -m …` to its end; raises where its exit code is not 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=CHECKOUT,
        env=environment(settings),
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        text = process.stdout.read()
        # wait4 gives what this one child used; getrusage what all children did.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
    return Ran(json.loads(text), usage.ru_utime + usage.ru_stime)
