"""The tables of SQL stores: who creates them, and what a role needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from events.bootstrap import make_service, sql_schema
from events.cli.main import main
from events.config import Settings
from events.domain.retries import RetryPolicy
from events.errors import InvalidInput, StoreRefused
from events.models import Outcome
from events.sql.store import SqlStore
from events.sql.tables import schema
from tests.support import postgres
from tests.support.factories import event


@pytest.fixture
def empty_database(postgresql_url: str) -> Iterator[str]:
    """The URL of a new database of the test run's PostgreSQL server, without tables."""
    server = postgresql_url.rpartition("/")[0]
    with postgres.database(server) as url:
        yield url


def test_schema_create_makes_all_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    monkeypatch.setenv("EVENTS_DATABASE_URL", url)
    assert main(["schema", "create"]) == 0
    assert main(["schema", "create"]) == 0, "running it again is safe"
    assert main(["verify"]) == 0
    capsys.readouterr()
    assert main(["schema", "print"]) == 0
    printed = capsys.readouterr().out
    assert all(statement in printed for statement in schema("sqlite"))


def test_schema_commands_need_a_database_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "create"]) == 2
    assert main(["schema", "print"]) == 2
    assert "EVENTS_DATABASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["mysql://host/x", "events.db", "sqlite:events.db", "postgres"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="EVENTS_DATABASE_URL is not"):
        make_service(Settings(events_database_url=url))


@pytest.mark.slow
def test_a_role_that_may_not_create_tables_can_do_everything_else(empty_database: str) -> None:
    address = empty_database.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in sql_schema(Settings(events_database_url=empty_database)):
            connection.execute(statement.encode())
        connection.execute("DROP ROLE IF EXISTS events")
        connection.execute("CREATE ROLE events LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO events"
        )
    url = empty_database.replace("//bill@", "//events@")
    with closing(SqlStore(url, retry=RetryPolicy(5))) as store:
        store.create_tables()
        assert store.write([event("a"), event("b")]) == [Outcome.INSERTED] * 2
        assert store.void([event("a")], "x") == [Outcome.VOIDED]
        assert (
            len(store.changes.read(store.changes.known_from(), store.changes.now(), limit=9)) == 2
        )
        assert store.erase("acme", max_events=10).is_complete
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP OWNED BY events")
        connection.execute("DROP ROLE events")


@pytest.mark.slow
def test_missing_tables_are_refused_unless_they_may_be_created(empty_database: str) -> None:
    with closing(SqlStore(empty_database, retry=RetryPolicy(5), may_make_tables=False)) as reader:
        with pytest.raises(StoreRefused, match="table customer_events not found"):
            reader.check()
        with closing(SqlStore(empty_database, retry=RetryPolicy(5))) as store:
            store.create_tables()
        reader.check()
