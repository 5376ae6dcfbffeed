"""Two transactions of one customer on PostgreSQL, the second inside the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, product
from typing import Any

import psycopg
import pytest

from events.domain.retries import RetryPolicy
from events.models import Outcome
from events.sql.store import SqlStore
from tests.store.recounts import verify
from tests.store.test_sql_faults import STATEMENTS, Striker
from tests.support.backdoor import Subject
from tests.support.factories import HOUR, event
from tests.support.shell import until
from tests.support.sqlstore import SqlTables

pytestmark = pytest.mark.slow
FIRST = event("first")
SECOND = event("second", timestamp=FIRST.timestamp + HOUR)
OTHER = event(customer_id="another")
TRANSACTIONS: dict[str, Callable[[SqlStore], Any]] = {
    "write": lambda store: store.write([FIRST, SECOND]),
    "void": lambda store: store.void([FIRST, SECOND], "x"),
    "erase": lambda store: store.erase("acme", max_events=10),
    "replace": lambda store: (store.erase("acme", max_events=10), store.write([SECOND])),
}


@pytest.fixture
def other(postgresql_url: str) -> Iterator[SqlStore]:
    """A second store on the same database."""
    with closing(SqlStore(postgresql_url, retry=RetryPolicy(60))) as store:
        yield store


KINDS = ("write", "void", "erase")
#: The last number is how often FIRST was written before: after two writes, the next searches first.
CASES = [
    *product(KINDS, KINDS, [0, 1]),
    *product(["write"], TRANSACTIONS, [2]),
]


@pytest.mark.parametrize(("first", "second", "writes"), CASES)
def test_a_transaction_between_any_two_statements_is_exact(
    postgresql: Subject,
    other: SqlStore,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    second: str,
    writes: int,
) -> None:
    store: Any = postgresql.store
    striker = Striker(store, monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        # Past the last statement it comes before the COMMIT.
        for number in range(1, STATEMENTS + 1):
            SqlTables(store).clear()
            store.write([OTHER])
            for _ in range(writes):
                store.write([FIRST])
            started: list[Future[Any]] = []

            def start(connection: Any, started: list[Future[Any]] = started) -> None:
                future = threads.submit(TRANSACTIONS[second], other)
                started.append(future)
                until(lambda: future.done() or is_waiting(connection.info.dsn))

            striker.arm(start, number)
            answers = [TRANSACTIONS[first](store), *(future.result() for future in started)]
            striker.disarm()
            where = f"{second} before statement {number} of {first}"
            assert verify(store).is_equal, where
            if (first, second) == ("write", "write"):
                receipts = Counter(chain.from_iterable(answers))
                assert receipts[Outcome.INSERTED] == (1 if writes else 2), where


def is_waiting(dsn: str) -> bool:
    """Whether a session waits for a lock of another."""
    query = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return row is not None and row[0] > 0
