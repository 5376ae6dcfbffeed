"""A real Kafka for the whole run, and topics on it that nothing else uses."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from events.config import Settings
from events.errors import InvalidInput
from events.local import dynamodb, kafka
from events.local.server import LocalServerError
from jobs.session import opened_session


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
        events_iceberg_catalog=f"c{name}",
    )


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session for the whole run: jobs that are started in this process use it too."""
    try:
        with opened_session("tests", Settings()) as session:
            yield session
    except (InvalidInput, LocalServerError) as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Spark: {exc}")


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of this test, for a job that is started in this process."""
    for name, value in settings.model_dump().items():
        monkeypatch.setenv(name.upper(), str(value))
