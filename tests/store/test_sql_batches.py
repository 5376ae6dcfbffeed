"""What shares a transaction on a SQL store, and when a change is listed."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime

import pytest

from events.models import Event, Outcome
from events.queries.changes import changes
from events.service import EventService
from events.sql.store import SqlStore
from tests.support.backdoor import Subject
from tests.support.factories import DAY_ZERO, event, expected_contents, many_events
from tests.support.sqlstore import MemoryStore, SpyStore


@pytest.fixture(params=["memory", pytest.param("postgresql", marks=pytest.mark.slow)])
def sql(request: pytest.FixtureRequest) -> Subject:
    subject: Subject = request.getfixturevalue(request.param)
    return subject


def test_waiting_events_of_all_customers_share_one_transaction() -> None:
    store = MemoryStore()
    is_under_way, gate = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "write":
            is_under_way.set()
            assert gate.wait(60)

    spy = SpyStore(store, hold)
    events = many_events(1_000, customers=40, hours=900, event_types=9)
    with closing(EventService(spy, write_threads=4)) as service:
        first = service.submit([event()])
        assert is_under_way.wait(60)
        waiting = [service.submit(events[start : start + 100]) for start in range(0, 1_000, 100)]
        gate.set()
        for receipts in (first, *waiting):
            assert set(receipts.wait()) == {Outcome.INSERTED}
    assert spy.names().count("write") == 2
    assert store.contents() == expected_contents([event(), *events])


def test_a_transaction_of_duplicates_changes_nothing(sql: Subject) -> None:
    events = many_events(50, customers=3)
    sql.store.write(events)
    before = sql.store.changes.settled_until(), sql.tables.contents()
    assert sql.store.write(events) == [Outcome.DUPLICATE] * 50
    assert sql.store.void([event("unknown")], "x") == [Outcome.NOT_FOUND]
    assert (sql.store.changes.settled_until(), sql.tables.contents()) == before


def test_a_batch_may_be_new_stored_or_voided_in_part(sql: Subject) -> None:
    inserted, duplicate, voided = Outcome.INSERTED, Outcome.DUPLICATE, Outcome.VOIDED
    first, second, third, fourth = many_events(4)
    assert sql.store.write([first, second]) == [inserted, inserted]
    assert sql.store.void([second], "x") == [voided]
    for _ in range(2):
        assert sql.store.write([second, first]) == [voided, duplicate]
    # A write after a resend searches first.
    assert sql.store.write([third, first, second]) == [inserted, duplicate, voided]
    assert sql.store.write([first, second, fourth]) == [duplicate, voided, inserted]
    stored = [first, second, third, fourth]
    assert sql.tables.contents() == expected_contents(stored, voided=[second], reason="x")


def test_ids_and_instants_reach_the_database_as_they_are(sql: Subject) -> None:
    texts = [
        '"',
        "\\",
        "{}",
        "a,b",
        "NULL",
        "'",
        r"\n",
        "é\u2028",
        "\N{BAR CHART}",
        "a",
        "A",
        "%s",
        ":x",
    ]
    instants = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
    ]
    events = [Event(text, text + "t", "i" + text, at) for text in texts for at in instants]
    assert sql.store.write(events) == [Outcome.INSERTED] * len(events)
    assert sql.tables.contents() == expected_contents(events)
    assert sql.store.write([*events, event()]) == [Outcome.DUPLICATE] * len(events) + [
        Outcome.INSERTED
    ]


def test_a_change_is_listed_at_once_and_a_day_once(sql: Subject) -> None:
    start = changes(sql.store.changes, None, limit=10).next_cursor
    for number in range(3):
        sql.store.write([event(f"t-{number}")])
    page = changes(sql.store.changes, start, limit=10)
    assert [(change.customer_id, change.day) for change in page.changes] == [("acme", DAY_ZERO)]
    assert not page.has_more
    assert changes(sql.store.changes, page.next_cursor, limit=10).changes == ()
    sql.store.void([event("t-0")], "x")
    again = changes(sql.store.changes, page.next_cursor, limit=10)
    assert [change.day for change in again.changes] == [DAY_ZERO]


@pytest.mark.slow
def test_a_batch_of_20_000_events_fits(sql: Subject) -> None:
    assert isinstance(sql.store, SqlStore)
    assert sql.store.fits_transaction(20_000, 500)
    assert not sql.store.fits_transaction(20_001, 1)
    events = many_events(20_000, customers=30, hours=700, event_types=12)
    assert sql.store.write(events) == [Outcome.INSERTED] * 20_000
    assert sql.tables.contents() == expected_contents(events)
