"""A real Kafka for the whole run, and topics on it that nothing else uses."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.config import Settings
from events.local import dynamodb, kafka
from events.local.server import LocalServerError


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
def settings(
    database: dynamodb.DynamoDBLocal, broker: kafka.KafkaLocal, tmp_path: Path
) -> Settings:
    """Settings that name tables, topics, a group and an archive which nothing else uses."""
    name = uuid.uuid4().hex
    return Settings(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{name}",
        events_kafka_bootstrap_servers=broker.bootstrap_servers,
        events_kafka_topic=f"events-{name}",
        events_kafka_partitions=3,
        events_kafka_group=f"group-{name}",
        events_iceberg_folder=str(tmp_path / "iceberg"),
    )
