"""What every test may ask for: a real DynamoDB Local, fresh tables on it, and a service."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from events.bootstrap import make_client, make_store
from events.config import Settings
from events.dao import DynamoStore
from events.local import dynamodb
from events.service import EventService

PATIENCE_SECONDS = 10.0
#: Servers that live for a minute are over before the second compiler has anything to give: four
#: files of integration tests took 23 % less processor time without it. Not measured of the others.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def pytest_configure() -> None:
    os.environ.setdefault("JAVA_TOOL_OPTIONS", QUICK_JAVA)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a `.env` in the checkout decides what a test sees."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="session")
def database() -> Iterator[dynamodb.DynamoDBLocal]:
    """A DynamoDB Local in memory on a free port, for the whole run."""
    try:
        server = dynamodb.start()
    except dynamodb.LocalServerError as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no DynamoDB Local: {exc}")
    with server:
        yield server


@pytest.fixture
def settings(database: dynamodb.DynamoDBLocal) -> Settings:
    """Settings that name tables which nothing else uses."""
    return Settings(
        dynamodb_endpoint_url=database.endpoint_url,
        dynamodb_events_table_name=f"t{uuid.uuid4().hex}",
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[DynamoStore]:
    """An empty store whose tables are there; they are dropped afterwards."""
    store = make_store(settings, patience_seconds=PATIENCE_SECONDS)
    store.create_tables()
    yield store
    store.close()
    client = make_client(settings)
    for suffix in ("", "_hourly_counts", "_changes"):
        client.delete_table(TableName=settings.dynamodb_events_table_name + suffix)
    client.close()


@pytest.fixture
def service(store: DynamoStore) -> Iterator[EventService]:
    service = EventService(store, write_threads=4)
    yield service
    service.close()
