"""The tables of SQL stores: who creates them, and what a role needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, inspect, select, update

from events.bootstrap import make_service, sql_schema
from events.cli.main import main
from events.config import Settings
from events.domain.retries import RetryPolicy
from events.errors import InvalidInput, StoreRefused
from events.models import Outcome
from events.sql.schema import MIGRATIONS, VERSION, prepare, problem, schema
from events.sql.store import SqlStore
from events.sql.tables import CUSTOMERS, SCHEMA
from tests.support import postgres
from tests.support.factories import HOUR_ZERO, event


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


# --- versions -------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.db"
    database_url: str = request.getfixturevalue("empty_database")
    return database_url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A database with the tables of this version, and one event."""
    with closing(SqlStore(url, retry=RetryPolicy(5))) as store:
        store.write([event()])
    engine = create_engine(url)
    yield engine
    engine.dispose()


def versions(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(SCHEMA.c.version_num)))


def set_version(engine: Engine, version: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(SCHEMA).values(version_num=version))


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Migrations of a later version, which has one more column."""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "100%")
    (folder / "versions" / "v0002_a_column.py").write_text(
        """
from alembic import op
from sqlalchemy import Column, String

revision, down_revision = "0002", "0001"


def upgrade():
    op.add_column("customer_events_customers", Column("note", String))
"""
    )
    return folder


def test_new_tables_have_the_version_of_the_newest_migration(engine: Engine) -> None:
    newest = max((MIGRATIONS / "versions").glob("v*.py")).name
    assert versions(engine) == [VERSION] == [newest[1:5]]


def test_tables_without_a_version_are_adopted(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        SCHEMA.drop(connection)
    with closing(SqlStore(url, retry=RetryPolicy(5))) as store:
        assert store.write([event()]) == [Outcome.DUPLICATE]
    assert versions(engine) == [VERSION]


@pytest.mark.parametrize("has_version", [True, False])
def test_older_tables_are_migrated(engine: Engine, later: Path, has_version: bool) -> None:
    if not has_version:
        with engine.begin() as connection:
            SCHEMA.drop(connection)
    for _ in range(2):  # once is enough, and a second time changes nothing
        with engine.begin() as connection:
            prepare(connection, now=HOUR_ZERO, version="0002", migrations=later)
    assert versions(engine) == ["0002"]
    with engine.connect() as connection:
        assert problem(connection, version="0002") is None
        names = {item["name"] for item in inspect(connection).get_columns(CUSTOMERS.name)}
    assert names == {"customer_id", "registered_at", "note"}


def test_older_tables_are_refused_to_a_reader(engine: Engine, url: str) -> None:
    set_version(engine, "0000")
    with (
        closing(SqlStore(url, retry=RetryPolicy(5), may_make_tables=False)) as store,
        pytest.raises(StoreRefused, match=f"version 0000, not {VERSION}: run python -m events sch"),
    ):
        store.check()


def test_tables_of_a_newer_version_are_refused(engine: Engine, url: str) -> None:
    set_version(engine, "9999")
    with (
        closing(SqlStore(url, retry=RetryPolicy(5))) as store,
        pytest.raises(StoreRefused, match="version 9999, and this program knows versions up to"),
    ):
        store.write([event("new")])
    assert versions(engine) == ["9999"]


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
