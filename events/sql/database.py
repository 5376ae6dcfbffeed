"""Connections and transactions on SQLite and PostgreSQL: waiting, retries and errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Select,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events.domain.retries import RetryPolicy
from events.domain.timestamps import utc_now
from events.errors import StoreRefused, StoreUnavailable
from events.sql import schema
from events.sql.engines import (
    WINDOWED_SCHEMA,
    code_of,
    may_pass,
    memory_engine,
    postgresql_engine,
    sqlite_engine,
    windowed,
)

Result = TypeVar("Result")
log = logging.getLogger(__name__)

#: How often a transaction is repeated at once before it waits.
_MAX_CONFLICTS = 20
#: Any number that other programs do not use; it keeps two processes from creating the same table.
_SCHEMA_LOCK = 7_305_416_912
#: PostgreSQL's error for a transaction id that it has not given, or has forgotten in a crash.
_FUTURE_ID = "22023"
#: The cache, and a table in memory for the events that a transaction is about: to read them from
#: there takes half the time of reading them from JSON.
_PREPARE_SQLITE_WRITER = (
    "PRAGMA cache_size = -65536",
    "PRAGMA temp_store = MEMORY",
    "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (n INTEGER PRIMARY KEY, customer_id TEXT, "
    "occurred_at INTEGER, event_type TEXT, transaction_id TEXT)",
)


class Conflict(Exception):
    """Another transaction was faster: the same attempt now sees what it did."""


class _InProgress(Exception):
    """A transaction is still being committed."""


class Transaction:
    """A transaction that is rolled back unless it is committed."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        #: Whether there is anything to commit.
        self.has_written = False
        #: Finds a row only if this transaction was committed. Without it, a transaction whose
        #: COMMIT was not answered runs again.
        self.proof: Select[Any] | None = None


class Database:
    """
    One database; safe to use from many threads.

    Args:
        may_make_tables: Create a missing file and missing tables; False raises `StoreRefused`.
        is_windowed: The tables of windowed counts, which are apart from those of the events.
    """

    def __init__(
        self,
        url: URL,
        *,
        retry: RetryPolicy,
        may_make_tables: bool,
        is_windowed: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if is_windowed:
            url = windowed(url)
        self.dialect = url.get_backend_name()
        self.is_sqlite = self.dialect == "sqlite"
        self._label = url.render_as_string()
        self._retry = retry
        self._may_make_tables = may_make_tables
        self._is_windowed = is_windowed
        self._now = now
        self._has_tables = False
        #: SQLite has one writer at a time, and waiting for a lock is quicker than for a busy file.
        #: Guards `_writer`.
        self._writing = threading.RLock()
        self._writer: Connection | None = None
        #: A database in memory belongs to one connection, which reads as well.
        self._is_in_memory = self.is_sqlite and url.database in (None, "", ":memory:")
        self._file = Path(url.database or "") if self.is_sqlite and not self._is_in_memory else None
        if self._is_in_memory:
            self._engine = memory_engine()
        elif self.is_sqlite:
            self._engine = sqlite_engine(url)
        else:
            self._engine = postgresql_engine(url)

    def close(self) -> None:
        with self._writing:
            if self._writer is not None:
                self._writer.close()
        if not self._is_in_memory:
            self._engine.dispose()

    # --- reading ----------------------------------------------------------------------------------

    def read(
        self, work: Callable[[Connection], Result], *, patience_seconds: float | None = None
    ) -> Result:
        """Run statements that read, again after an error that may pass."""

        def attempt() -> Result:
            with self._connection() as connection:
                return work(connection)

        return self._repeat(attempt, patience_seconds)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if self._is_in_memory:
            with self._writing:
                yield self._writing_connection()
            return
        with self._engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    # --- writing ----------------------------------------------------------------------------------

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        """
        Run a transaction and commit it if it has written; again after an error that may pass.

        Returns the result of the attempt that was committed: if the answer to a COMMIT is lost,
        PostgreSQL is asked whether it succeeded. So a retry never meets its own rows as duplicates.
        """
        results: list[Result] = []
        #: PostgreSQL's id of a transaction whose COMMIT was not answered, and its proof.
        unanswered: list[tuple[str, Select[Any] | None]] = []

        def attempt() -> Result:
            if unanswered:
                if self._is_committed(*unanswered[0]):
                    return results[0]
                unanswered.clear()
            with self._transaction() as transaction:
                results[:] = [work(transaction)]
                if transaction.has_written:
                    if not self.is_sqlite:
                        query = text("SELECT CAST(pg_current_xact_id() AS text)")
                        transaction_id = transaction.connection.scalar(query)
                        unanswered[:] = [(transaction_id, transaction.proof)]
                    transaction.connection.commit()
                    unanswered.clear()
            return results[0]

        return self._repeat(attempt)

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        if not self.is_sqlite:
            with self._engine.connect() as connection:
                try:
                    yield Transaction(connection)
                except DBAPIError:
                    # After a COMMIT that failed, nobody knows in which state the session is.
                    connection.invalidate()
                    raise
            return
        with self._writing:
            connection = self._writing_connection()
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield Transaction(connection)
            finally:
                connection.rollback()
                # After a COMMIT that failed, SQLAlchemy's transaction has ended, SQLite's has not.
                connection.connection.rollback()

    def _writing_connection(self) -> Connection:
        if self._writer is None:
            writer = self._engine.connect()
            try:
                # Only here: each connection that reads would take as much memory.
                for statement in _PREPARE_SQLITE_WRITER:
                    writer.exec_driver_sql(statement)
            except BaseException:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _is_committed(self, transaction_id: str, proof: Select[Any] | None) -> bool:
        query = text("SELECT pg_xact_status(CAST(:id AS xid8))")
        with self._connection() as connection:
            try:
                status = connection.scalar(query, {"id": transaction_id})
            except DBAPIError as exc:
                if code_of(exc) != _FUTURE_ID:
                    raise
                return False
            if status == "in progress":
                raise _InProgress
            # A server that was killed may have given the id of a lost transaction to another one.
            is_proven = proof is not None and connection.execute(proof).first() is not None
        return status == "committed" and is_proven

    # --- attempts and their errors ----------------------------------------------------------------

    def _repeat(
        self, attempt: Callable[[], Result], patience_seconds: float | None = None
    ) -> Result:
        retry = self._retry
        if patience_seconds is not None:
            retry = replace(retry, patience_seconds=patience_seconds)
        error: Exception | None = None
        for _ in retry.attempts():
            try:
                self._ensure_tables()
                for _ in range(_MAX_CONFLICTS):
                    with suppress(Conflict):
                        return attempt()
            except DBAPIError as exc:
                if not may_pass(exc):
                    log.error("the database refused a statement: %s", exc.orig)
                    raise StoreRefused(
                        f"the database refused a statement ({code_of(exc)})"
                    ) from exc
                error = exc
            except (PoolTimeout, _InProgress) as exc:
                error = exc
        reason = code_of(error) if isinstance(error, DBAPIError) else "busy"
        raise StoreUnavailable(
            f"the database {self._label} did not answer in time ({reason})"
        ) from error

    # --- tables -----------------------------------------------------------------------------------

    def create_tables(self, *, patience_seconds: float | None = None) -> None:
        """Create missing tables; see `service.Store`."""
        self._has_tables = False
        self._repeat(lambda: None, patience_seconds)

    def _ensure_tables(self) -> None:
        if self._has_tables:
            return
        with self._writing:
            self._check_file()
            with self._connection() as connection:
                problem = schema.problem(connection)
            if problem and not self._may_make_tables:
                raise StoreRefused(f"{self._label}: {problem}")
            if problem:
                self._make_tables()
            self._has_tables = True

    def _check_file(self) -> None:
        if self._file is None or self._file.exists():
            return
        if not self._may_make_tables:
            raise StoreRefused(f"the database file {self._file} does not exist")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreRefused(f"cannot create {self._file.parent}: {exc.strerror}") from exc

    def _make_tables(self) -> None:
        with self._transaction() as transaction:
            connection = transaction.connection
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
                if self._is_windowed:
                    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {WINDOWED_SCHEMA}")
            schema.prepare(connection, now=self._now())
            connection.commit()
