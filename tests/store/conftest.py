"""The stores that the suite runs on. A new store is one more parameter of `subject`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from events.bootstrap import make_client
from events.config import Settings
from events.domain.retries import RetryPolicy
from events.service import EventService
from events.sql.store import SqlStore
from tests.store.scenes import Clock, Scene, make_scene
from tests.support import postgres
from tests.support.backdoor import Subject, dynamodb_subject
from tests.support.database import Database
from tests.support.pool import TablePool
from tests.support.sqlstore import MemoryStore, SqlTables

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


@pytest.fixture
def memory() -> Subject:
    """An empty store on SQLite in memory."""
    store = MemoryStore()
    return Subject(store, store)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Subject]:
    """An empty store on SQLite in a file."""
    store = SqlStore(f"sqlite:///{tmp_path}/events.db", retry=RetryPolicy(30))
    yield Subject(store, SqlTables(store))
    store.close()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database on a PostgreSQL server of this test run."""
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.server(programs) as server, postgres.database(server.url) as url:
        yield url


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Subject]:
    """An empty store on PostgreSQL."""
    store = SqlStore(postgresql_url, retry=RetryPolicy(30), writers=2)
    tables = SqlTables(store)
    tables.clear()
    yield Subject(store, tables)
    store.close()


#: Files whose tests meet DynamoDB Local in the first tier; the others meet it in the second.
_ON_DYNAMODB = ("test_store", "test_void", "test_lookup", "test_repair")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `subject` on each store."""
    if "subject" in metafunc.fixturenames:
        slow = pytest.mark.slow
        dynamodb_marks = [] if metafunc.module.__name__.endswith(_ON_DYNAMODB) else [slow]
        metafunc.parametrize(
            "subject",
            [
                "memory",
                pytest.param("dynamodb", marks=dynamodb_marks),
                pytest.param("sqlite", marks=slow),
                pytest.param("postgresql", marks=slow),
            ],
            indirect=True,
        )


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """Any empty store, with its back door."""
    subject: Subject = request.getfixturevalue(request.param)
    return subject


@pytest.fixture
def service(subject: Subject) -> EventService:
    """The service on any store. Closed with `subject`, whose client is shared."""
    return EventService(subject.store, write_threads=4)


@pytest.fixture(scope="module")
def clients(database: Database) -> Iterator[list[DynamoDBClient]]:
    """A client that faults can strike, and one for the back door."""
    settings = Settings(dynamodb_endpoint_url=database.endpoint_url)
    clients = [make_client(settings) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def scene(table_pool: TablePool, clients: list[DynamoDBClient]) -> Iterator[Scene]:
    """A store whose retries take no time."""
    clock = Clock()
    retry = RetryPolicy(
        15,
        base_seconds=0.01,
        cap_seconds=1,
        sleep=clock.sleep,
        clock=clock,
        jitter=random.Random(1).random,
    )
    with table_pool.take() as name, make_scene(name, clients, retry) as scene:
        yield scene
