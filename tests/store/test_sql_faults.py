"""Faults of SQLite and PostgreSQL at any statement: nothing is lost, nothing counts twice."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from events.domain.retries import RetryPolicy
from events.errors import StoreRefused, StoreUnavailable
from events.models import Outcome
from events.sql.store import SqlStore
from tests.support.backdoor import Subject
from tests.support.factories import event, expected_contents, many_events
from tests.support.sqlstore import SqlTables

pytestmark = pytest.mark.slow
INSERTED, DUPLICATE, VOIDED = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
#: A transaction has about seven statements, and its COMMIT.
STATEMENTS = 8

Strike = Callable[[Any], None]


def busy(_: Any) -> None:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode, error.sqlite_errorname = 5, "SQLITE_BUSY"
    raise error


def disk_full(_: Any) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode, error.sqlite_errorname = 13, "SQLITE_FULL"
    raise error


def deadlock(_: Any) -> None:
    raise psycopg.errors.DeadlockDetected("injected")


def serialization_failure(_: Any) -> None:
    raise psycopg.errors.SerializationFailure("injected")


def terminated(connection: Any) -> None:
    """The server ends the session; the next use of the connection fails."""
    with psycopg.connect(connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.info.backend_pid])


def lost(connection: Any) -> None:
    connection.close()
    raise psycopg.OperationalError("injected: the connection is lost")


class Striker:
    """Strikes a store once, at its nth statement, before its COMMIT or after it."""

    def __init__(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        dialect: Any = store._database._engine.dialect
        self._execute, self._commit = dialect.do_execute, dialect.do_commit
        self._strike: Strike | None = None
        self._countdown = 0
        self._is_after_commit = False
        self.has_struck = False
        monkeypatch.setattr(dialect, "do_execute", self._do_execute)
        monkeypatch.setattr(dialect, "do_commit", self._do_commit)

    def arm(self, strike: Strike, number: int, *, is_after_commit: bool = False) -> None:
        """The next strike: at this statement, or at the first COMMIT."""
        self._strike, self._countdown = strike, number
        self._is_after_commit = is_after_commit
        self.has_struck = False

    def disarm(self) -> None:
        self._strike = None

    def _fire(self, connection: Any) -> None:
        strike, self._strike = self._strike, None
        if strike is not None:
            self.has_struck = True
            strike(connection)

    def _do_execute(self, cursor: Any, *arguments: Any, **options: Any) -> None:
        self._countdown -= 1
        if not self._countdown:
            self._fire(cursor.connection)
        self._execute(cursor, *arguments, **options)

    def _do_commit(self, connection: Any) -> None:
        raw = getattr(connection, "driver_connection", connection)
        if not self._is_after_commit and self._strike is not None:
            self._fire(raw)
        self._commit(connection)
        if self._is_after_commit:
            self._fire(raw)


def strike_many(
    subject: Subject,
    striker: Striker,
    strikes: int,
    seed: int,
    kinds: list[Strike],
    *,
    after_commit: Strike | None = None,
) -> None:
    """Write and void batches, each under a strike; the receipts and the tables must be right."""
    rng = random.Random(seed)
    events = many_events(strikes * 4, seed=seed, customers=3, hours=60)
    stored: set[Any] = set()
    voided: set[Any] = set()
    struck = 0
    while struck < strikes:
        if after_commit and rng.random() < 0.4:
            striker.arm(after_commit, 0, is_after_commit=True)
        else:
            striker.arm(rng.choice(kinds), rng.randint(1, STATEMENTS))
        batch = rng.sample(events, 12)
        if rng.random() < 0.3:
            outcomes = subject.store.void(batch, "x")
            assert outcomes == [
                Outcome.ALREADY_VOIDED
                if item in voided
                else VOIDED
                if item in stored
                else Outcome.NOT_FOUND
                for item in batch
            ], f"seed {seed}, strike {struck}"
            voided |= stored & set(batch)
        else:
            outcomes = subject.store.write(batch)
            assert outcomes == [
                VOIDED if item in voided else DUPLICATE if item in stored else INSERTED
                for item in batch
            ], f"seed {seed}, strike {struck}"
            stored |= set(batch)
        struck += striker.has_struck
        striker.disarm()
        if not striker.has_struck and len(stored) == len(events):
            events += many_events(strikes, seed=seed + struck + 1, customers=3, hours=60)
    assert subject.tables.contents() == expected_contents(stored, voided=voided, reason="x")


@pytest.mark.parametrize("seed", range(3))
def test_a_busy_file_or_a_full_disk_at_any_statement_is_survived(
    sqlite: Subject, monkeypatch: pytest.MonkeyPatch, strikes: int, seed: int
) -> None:
    assert isinstance(sqlite.store, SqlStore)
    striker = Striker(sqlite.store, monkeypatch)
    strike_many(sqlite, striker, strikes, seed, [busy, disk_full])


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_connection_at_any_statement_is_survived(
    postgresql: Subject, monkeypatch: pytest.MonkeyPatch, strikes: int, seed: int
) -> None:
    assert isinstance(postgresql.store, SqlStore)
    striker = Striker(postgresql.store, monkeypatch)
    kinds = [terminated, lost, deadlock, serialization_failure]
    strike_many(postgresql, striker, strikes, seed, kinds, after_commit=lost)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/events.db", retry=RetryPolicy(0))
    store.create_tables()
    yield store
    store.close()


def test_a_full_disk_is_unavailable_and_loses_nothing(impatient: SqlStore) -> None:
    first, more = many_events(50, hours=2), many_events(5_000, seed=1, hours=400)
    impatient.write(first)
    connection = impatient._database._writing_connection()
    connection.exec_driver_sql("PRAGMA max_page_count = 30")
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        impatient.write(more)
    assert SqlTables(impatient).contents() == expected_contents(first)
    connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert impatient.write(more) == [INSERTED] * 5_000
    assert SqlTables(impatient).contents() == expected_contents([*first, *more])


def test_a_locked_file_is_unavailable_until_it_is_free(impatient: SqlStore, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        impatient.write([event()])
    # Readers do not wait for the writer.
    assert impatient.customers(prefix="", after=None, limit=1) == []
    other.execute("ROLLBACK")
    other.close()
    assert impatient.write([event()]) == [INSERTED]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"no database" * 100)
    store = SqlStore(f"sqlite:///{tmp_path}/events.db", retry=RetryPolicy(10))
    with pytest.raises(StoreRefused, match="SQLITE_NOTADB"):
        store.check()
    store.close()


def test_a_missing_file_is_refused_unless_it_may_be_created(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/events.db"
    store = SqlStore(url, retry=RetryPolicy(10), may_make_tables=False)
    with pytest.raises(StoreRefused, match="does not exist"):
        store.check()
    assert not (tmp_path / "new").exists()
    creating = SqlStore(url, retry=RetryPolicy(10))
    creating.check()
    store.check()
    for each in (store, creating):
        each.close()


def test_a_server_that_is_away_is_unavailable() -> None:
    store = SqlStore("postgresql://x:secret@127.0.0.1:9/x", retry=RetryPolicy(0))
    with pytest.raises(StoreUnavailable, match=r"x:\*\*\*@127") as refusal:
        store.write([event()])
    assert "secret" not in str(refusal.value)
    store.close()
