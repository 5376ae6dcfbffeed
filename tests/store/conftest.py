"""The stores that the suite runs on. A new store is one more parameter of `subject`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from events.bootstrap import make_client
from events.config import Settings
from tests.support.database import Database
from tests.support.fakes import MemoryStore, Subject, dynamodb_subject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="package")
def shared_client(database: Database) -> Iterator[DynamoDBClient]:
    """One client for many stores: making a client takes as long as a test."""
    client = make_client(Settings(dynamodb_endpoint_url=database.endpoint_url))
    yield client
    client.close()


@pytest.fixture
def dynamodb(settings: Settings, shared_client: DynamoDBClient) -> Iterator[Subject]:
    """An empty store on DynamoDB whose erasures wait only briefly."""
    with dynamodb_subject(shared_client, settings.dynamodb_events_table_name) as subject:
        yield subject


@pytest.fixture(params=["memory", "dynamodb"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Any empty store, with its back door."""
    if request.param == "memory":
        memory = MemoryStore()
        return Subject(memory, memory)
    subject: Subject = request.getfixturevalue(request.param)
    return subject
