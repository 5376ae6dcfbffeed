"""examples/billing, run as its users run it: a bill, PostgreSQL or SQLite, and the API."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from events.app import create_app
from events.config import Settings
from events.kafka.clients import Cluster, ensure_topics, make_consumer
from events.kafka.messages import Record
from events.models import Event
from tests.stream.archives import PARTITIONS, message_of, send_records
from tests.support import postgres
from tests.support.factories import time_text
from tests.support.served_http import served
from tests.support.shell import Command, Shell, until

BILLING = ("-m", "examples.billing")
DATABASE = "billing.sqlite"
INVALID = [
    b"",
    b"no JSON",
    b"[]",
    b'{"customer_id": "acme", "event_type": "api_call", "transaction_id": "t-9"}',
    b'{"customer_id": "acme", "event_type": "api_call", "transaction_id": "t-9", '
    b'"timestamp": "yesterday"}',
]

#: Customer, start of the hour, event type.
UsageKey = tuple[str, str, str]
#: For tests of statements that PostgreSQL may treat differently.
on_both = pytest.mark.parametrize("bill_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    programs = postgres.programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.server(programs) as server:
        yield server.url


@pytest.fixture
def bill_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The database of this test; SQLite by default."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / DATABASE}"
    else:
        with postgres.database(request.getfixturevalue("postgresql")) as url:
            yield url


@pytest.fixture
def shell(tmp_path: Path, settings: Settings, bill_url: str) -> Iterator[Shell]:
    """A shell whose commands use the topic, tables and bill of this test."""
    ensure_topics(Cluster.of(settings), settings.events_kafka_topic, partitions=PARTITIONS)
    shell = Shell(
        tmp_path / "here",
        {
            "DYNAMODB_ENDPOINT_URL": settings.dynamodb_endpoint_url,
            "DYNAMODB_EVENTS_TABLE_NAME": settings.dynamodb_events_table_name,
            "EVENTS_KAFKA_BOOTSTRAP_SERVERS": settings.events_kafka_bootstrap_servers,
            "EVENTS_KAFKA_TOPIC": settings.events_kafka_topic,
            "EVENTS_RATE_PER_ADDRESS": "",
            "BILLING_DATABASE_URL": bill_url,
        },
    )
    yield shell
    shell.end()


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """The URL of the API of this test."""
    app = create_app(settings.model_copy(update={"events_rate_per_address": ""}))
    with served(app) as url:
        yield url


def bill(settings: Settings, *arguments: str) -> tuple[str, ...]:
    """The command that bills, in a group that no other test uses."""
    return (*BILLING, "run", "--group", settings.events_kafka_group, *arguments)


def until_end(settings: Settings) -> tuple[str, ...]:
    return bill(settings, "--until-end")


def send(
    settings: Settings, events: Iterable[Event], *, others: Sequence[bytes | None] = ()
) -> None:
    """Send events, and other messages after them."""
    topic = settings.events_kafka_topic
    records = [Record(topic, event.customer_id.encode(), message_of(event)) for event in events]
    records += [Record(topic, b"acme", message) for message in others]
    send_records(Cluster.of(settings), records)


def counted(events: Iterable[Event]) -> dict[UsageKey, int]:
    """The bill of these events, counted one by one."""
    return dict(
        Counter(
            (one.customer_id, f"{time_text(one.timestamp)[:13]}:00:00.000000Z", one.event_type)
            for one in set(events)
        )
    )


def rows(shell: Shell, query: str) -> list[tuple[Any, ...]]:
    with connected(shell) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def change(shell: Shell, statement: str) -> None:
    with connected(shell) as connection:
        connection.execute(text(statement))


@contextmanager
def connected(shell: Shell) -> Iterator[Connection]:
    """A connection to the bill without the example's code; commits at the end."""
    with _engine(shell.settings["BILLING_DATABASE_URL"]).begin() as connection:
        yield connection


@cache
def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def billed(shell: Shell) -> dict[UsageKey, int]:
    """The bill in the database, read without the example's code."""
    usage = rows(shell, "SELECT customer_id, hour, event_type, units FROM billing_usage")
    return {(str(a), str(b), str(c)): int(units) for a, b, c, units in usage}


def units_so_far(shell: Shell) -> int:
    """The units billed so far; 0 while the tables do not exist."""
    with suppress(DBAPIError):
        ((units,),) = rows(shell, "SELECT coalesce(sum(units), 0) FROM billing_usage")
        return int(units)
    return 0


def messages_committed(settings: Settings) -> int:
    """How many messages the group has read, for tools that show its lag."""
    topic = settings.events_kafka_topic
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    with closing(make_consumer(Cluster.of(settings), group=settings.events_kafka_group)) as one:
        return sum(max(0, partition.offset) for partition in one.committed(partitions, timeout=30))


def kill_when_billed(shell: Shell, command: Command, *, units: int) -> None:
    """Kill the command when so many units are billed."""
    until(lambda: units_so_far(shell) >= units or not command.is_running())
    command.signal(signal.SIGKILL)
    assert command.ended().code == -signal.SIGKILL


def repeated(events: Sequence[Event], *, seed: int) -> list[Event]:
    """These events, a third of them twice, shuffled."""
    rng = random.Random(seed)
    everything = [*events, *rng.sample(events, len(events) // 3)]
    rng.shuffle(everything)
    return everything


def summary(*, messages: int, billed: int, repeated: int, bad: int = 0) -> str:
    return f"{messages:,} messages: {billed:,} billed, {repeated:,} repeated, {bad:,} invalid\n"
