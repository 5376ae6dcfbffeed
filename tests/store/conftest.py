"""The stores that the suite runs on. A new store is one more parameter of `subject`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from events.service import EventService
from tests.support.backdoor import Subject, dynamodb_subject
from tests.support.fakes import MemoryStore
from tests.support.pool import TablePool

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def shared_client(table_pool: TablePool) -> DynamoDBClient:
    """The client of the fixture `dynamodb`, and of other tests that need not have their own."""
    return table_pool.client


@pytest.fixture
def dynamodb(table_pool: TablePool) -> Iterator[Subject]:
    """An empty store on DynamoDB whose erasures wait only briefly."""
    with table_pool.take() as name, dynamodb_subject(table_pool.client, name) as subject:
        yield subject


@pytest.fixture(params=["memory", "dynamodb"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Any empty store, with its back door."""
    if request.param == "memory":
        memory = MemoryStore()
        return Subject(memory, memory)
    subject: Subject = request.getfixturevalue(request.param)
    return subject


@pytest.fixture
def service(subject: Subject) -> EventService:
    """The service on any store. Closed with `subject`, whose client is shared."""
    return EventService(subject.store, write_threads=4)
