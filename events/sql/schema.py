"""The tables of a database: create them, or bring those of an older version to this one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Table, insert, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from events.errors import StoreRefused
from events.sql.tables import CHANGE_CLOCK, EVENTS, METADATA, SCHEMA

#: The tables that this code needs: the revision of the newest file in `migrations/versions`.
VERSION = "0001"
#: The version of tables that were created before versions were stored.
_UNSTORED = "0001"
MIGRATIONS = Path(__file__).parent / "migrations"


def problem(connection: Connection, *, version: str = VERSION) -> str | None:
    """
    What `prepare` would have to do.

    Raises:
        StoreRefused: The tables belong to a newer version of this code.
    """
    tables = set(inspect(connection).get_table_names())
    if missing := [name for name in METADATA.tables if name not in tables]:
        return f"table {missing[0]} not found"
    stored = connection.scalar(select(SCHEMA.c.version_num)) or _UNSTORED
    if stored > version:
        raise StoreRefused(
            f"the tables have version {stored}, and this program knows versions up to {version}: "
            "install the version of events that other processes use"
        )
    if stored == version:
        return None
    return f"the tables have version {stored}, not {version}: run python -m events schema create"


def prepare(
    connection: Connection,
    *,
    now: datetime,
    version: str = VERSION,
    migrations: Path = MIGRATIONS,
) -> None:
    """Create missing tables, or migrate older ones; in the caller's transaction."""
    dialect = connection.dialect.name
    is_new = not inspect(connection).has_table(EVENTS.name)
    for statement in _creation(SCHEMA, dialect):
        connection.exec_driver_sql(statement)
    stored = connection.scalar(select(SCHEMA.c.version_num))
    if stored is None:
        stored = version if is_new else _UNSTORED
        connection.execute(insert(SCHEMA), {"version_num": stored})
    if stored < version:
        _migrate(connection, migrations)
        return
    for statement in schema(dialect):
        connection.exec_driver_sql(statement)
    if connection.scalar(select(CHANGE_CLOCK.c.id)) is None:
        at = now.replace(microsecond=0)
        connection.execute(insert(CHANGE_CLOCK), {"id": 1, "created_at": at, "changed_at": at})


def _migrate(connection: Connection, folder: Path) -> None:
    # Imported here, because few processes ever need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@cache
def schema(dialect: str) -> tuple[str, ...]:
    """The statements that create what is missing."""
    return tuple(text for table in METADATA.sorted_tables for text in _creation(table, dialect))


def _creation(table: Table, dialect: str) -> Iterator[str]:
    compiler = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}[dialect]()
    elements: list[ExecutableDDLElement] = [
        CreateTable(table, if_not_exists=True),
        *(CreateIndex(index, if_not_exists=True) for index in table.indexes),
    ]
    for element in elements:
        yield str(element.compile(dialect=compiler)).strip()


def script(dialect: str) -> tuple[str, ...]:
    """The statements for people who create the tables themselves."""
    return *schema(dialect), _FIRST_INSTANT[dialect], _FIRST_VERSION


#: Starts the change clock.
_FIRST_INSTANT = {
    "sqlite": """INSERT INTO customer_events_change_clock
SELECT 1, seconds * 1000000, seconds * 1000000
FROM (SELECT CAST(strftime('%s', 'now') AS INTEGER) AS seconds) WHERE true
ON CONFLICT DO NOTHING""",
    "postgresql": """INSERT INTO customer_events_change_clock
VALUES (1, date_trunc('second', now()), date_trunc('second', now()))
ON CONFLICT DO NOTHING""",
}
_FIRST_VERSION = f"""INSERT INTO customer_events_schema
SELECT '{VERSION}' WHERE NOT EXISTS (SELECT 1 FROM customer_events_schema)"""  # noqa: S608 - a constant
