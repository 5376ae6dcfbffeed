"""URLs, engines and errors of the two databases."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from events.errors import InvalidInput

#: How long SQLite waits for another process that writes, before the attempt is repeated.
_BUSY_SECONDS = 2.0
#: SQLite's error codes after which the same call may succeed: busy, locked, out of memory,
#: interrupted, I/O error, disk full, cannot open, protocol.
_SQLITE_PASSING = frozenset({5, 6, 7, 9, 10, 13, 14, 15})
#: PostgreSQL's errors for the same: connection, rollback, resources, operator intervention, lock
#: not available, idle in transaction.
_POSTGRESQL_PASSING = ("08", "40", "53", "57", "55P03", "25P03")
#: A statement that takes longer is ended: so a lock never blocks others forever. Every join here
#: finds rows by their key: other ways would read the whole table.
_POSTGRESQL_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=60s -c lock_timeout=10s "
    "-c idle_in_transaction_session_timeout=15s "
    "-c enable_hashjoin=off -c enable_mergejoin=off"
)

WINDOWED_SCHEMA = "customer_events_windowed"


def parse_url(url_text: str) -> URL:
    """The URL of a supported database; raises `InvalidInput`."""
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
    try:
        url = make_url(url_text)
        return url.set(drivername=drivers[url.get_backend_name()])
    except (ArgumentError, KeyError) as exc:
        raise InvalidInput(
            "EVENTS_DATABASE_URL is not the URL of a supported database: use sqlite:///events.db "
            "or postgresql://user@host/database, or leave it empty for DynamoDB"
        ) from exc


def windowed(url: URL) -> URL:
    """Where a database keeps windowed counts: in a file beside it, or in a schema of their own."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or ":memory:")
        return url.set(database=str(path.with_stem(f"{path.stem}_windowed")))
    options = f"{url.query.get('options', '')} -c search_path={WINDOWED_SCHEMA}".strip()
    return url.update_query_dict({"options": options})


def code_of(exc: DBAPIError) -> str:
    """The driver's name for an error."""
    original: Any = exc.orig
    code = getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None)
    return str(code or "no connection")


def may_pass(exc: DBAPIError) -> bool:
    original: Any = exc.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSING
    state = getattr(original, "sqlstate", None)
    if state is None:  # no connection
        return exc.connection_invalidated or type(original).__name__ == "OperationalError"
    return bool(state.startswith(_POSTGRESQL_PASSING))


# --- engines --------------------------------------------------------------------------------------


#: A lock or the pool lets one thread at a time use a connection.
_ANY_THREAD = {"check_same_thread": False}


@cache
def memory_engine() -> Engine:
    """Each connection of this engine is a new database in memory."""
    engine = create_engine("sqlite://", poolclass=NullPool, connect_args=_ANY_THREAD)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url, max_overflow=-1, connect_args={**_ANY_THREAD, "timeout": _BUSY_SECONDS}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    # Transactions begin where this module says, not before the first statement that writes.
    connection.isolation_level = None
    # Readers and the writer do not block each other, and a COMMIT is on the disk when it returns.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def postgresql_engine(url: URL) -> Engine:
    options = f"{url.query.get('options', '')} {_POSTGRESQL_OPTIONS}".strip()
    return create_engine(
        url,
        pool_size=8,
        max_overflow=12,
        pool_timeout=10,
        connect_args={"connect_timeout": 5, "options": options, "application_name": "events"},
    )
