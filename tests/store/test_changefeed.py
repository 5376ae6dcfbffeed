"""The change log's reading side: pages, what is known, and what an erasure leaves."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from events.domain.retries import RetryPolicy
from events.dynamodb.changefeed import ChangeFeed
from events.dynamodb.changelog import CHANGE_SHARDS, Minutes
from events.dynamodb.requests import Requests
from events.errors import ChangesForgotten, InvalidWindow
from events.models import ChangeCursor
from events.queries.changes import changes
from tests.support.changescene import ChangeScene, scene
from tests.support.factories import DAY, DAY_ZERO, days_of, event, many_events
from tests.support.faketime import START

__all__ = ["scene"]
MINUTE = timedelta(minutes=1)


# --- pages ----------------------------------------------------------------------------------------


def test_a_change_is_read_once_its_minute_is_settled(scene: ChangeScene) -> None:
    scene.store.write([event()])
    for seconds in (0, 60, 99):
        scene.time.advance(seconds)
        page = changes(scene.store.changes, None, limit=10)
        assert (page.changes, page.has_more) == ((), False)
    scene.time.advance(1)
    page = changes(scene.store.changes, page.next_cursor, limit=10)
    assert [tuple(change) for change in page.changes] == [(START, "acme", DAY_ZERO)]
    assert page.next_cursor == ChangeCursor(START + MINUTE)


@pytest.mark.parametrize(
    "limit",
    [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(7, marks=pytest.mark.slow), 1_000],
)
def test_pages_of_any_size_give_each_change_once(scene: ChangeScene, limit: int) -> None:
    events = many_events(60, customers=12, hours=72)
    for number, day in enumerate(days_of(events)):
        scene.time.advance(20 * (number % 3))
        scene.store.write(day)
    whole = scene.all_changes()
    assert scene.all_changes(limit=limit) == whole
    assert len(set(whole)) == len(whole)
    assert {(change.customer_id, change.day) for change in whole} == {
        (item.customer_id, f"{item.timestamp:%Y-%m-%d}") for item in events
    }
    assert [change.minute for change in whole] == sorted(change.minute for change in whole)


@pytest.mark.parametrize(
    "cursor",
    [
        ChangeCursor(START + timedelta(microseconds=1)),
        ChangeCursor(START, CHANGE_SHARDS),
        ChangeCursor(START, 0, "x" * 1025),
        ChangeCursor(START, 0, "\0"),
    ],
)
def test_an_invalid_cursor_is_refused(scene: ChangeScene, cursor: ChangeCursor) -> None:
    with pytest.raises(InvalidWindow, match="invalid cursor"):
        scene.store.changes.read(cursor, START + DAY, limit=1)


@pytest.mark.slow
def test_a_long_silence_is_read_in_several_pages(scene: ChangeScene) -> None:
    scene.time.advance(5 * 3600)
    until = scene.store.changes.settled_until()
    page, cursor = scene.store.changes.read(ChangeCursor(START), until, limit=1_000)
    assert (page, cursor) == ([], ChangeCursor(START + 240 * MINUTE))


@pytest.mark.slow
def test_a_full_page_looks_no_further(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.sent.clear()
    page, cursor = scene.store.changes.read(ChangeCursor(START), START + DAY, limit=1)
    assert [change.customer_id for change in page] == ["acme"]
    assert scene.sent.count("Query") < 100
    assert scene.store.changes.read(cursor, START + DAY, limit=1)[0] == []


# --- what is known --------------------------------------------------------------------------------


def test_nothing_is_known_from_before_the_table_was_created(scene: ChangeScene) -> None:
    known_from = scene.store.changes.known_from()
    assert known_from.minute == START - MINUTE
    with pytest.raises(ChangesForgotten):
        changes(scene.store.changes, known_from.minute - MINUTE, limit=1)


def test_nothing_is_known_from_before_what_is_kept(scene: ChangeScene) -> None:
    scene.time.advance(40 * 86_400)
    assert scene.store.changes.known_from() == ChangeCursor(START + 5 * DAY + MINUTE)


def test_a_writer_whose_clock_is_slow_is_read_from_a_new_table(scene: ChangeScene) -> None:
    slow = scene.make_store(now=lambda: scene.time.now() - timedelta(seconds=29))
    slow.write([event()])
    assert scene.logged() == [(START - MINUTE, "acme")]
    assert scene.changed_days() == {("acme", DAY_ZERO)}


@pytest.mark.parametrize("seconds", [0, 29, 39, 40, 59])
def test_a_cursor_of_an_earlier_table_is_refused(scene: ChangeScene, seconds: int) -> None:
    """Even if the new table is created as soon as can be."""
    scene.time.advance(3_600 + seconds)
    cursor = ChangeCursor(scene.store.changes.settled_until())
    scene.client.delete_table(TableName=scene.tables.changes)
    scene.store.create_tables()
    with pytest.raises(ChangesForgotten):
        changes(scene.store.changes, cursor, limit=1)
    first = changes(scene.store.changes, None, limit=1).next_cursor
    changes(scene.store.changes, first, limit=1)  # not refused


def test_after_a_gap_readers_must_start_again(scene: ChangeScene) -> None:
    scene.store.write([event()])
    scene.time.advance(160)
    before = ChangeCursor(scene.store.changes.settled_until())
    scene.store._changes.note_gap()
    # What was logged in the minute of the gap would not be all of it.
    assert scene.store.changes.known_from().minute > scene.time.now()
    with pytest.raises(ChangesForgotten) as refusal:
        changes(scene.store.changes, before, limit=10)
    assert scene.all_changes() == []
    scene.store.write([event("t-1")])
    (change,) = scene.all_changes()
    assert (change.customer_id, change.day) == ("acme", DAY_ZERO)
    assert change.minute >= refusal.value.known_from


# --- erasing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "customer_id", ["a#2021-03-01", "日" * 682, "l" * 2048, "m" * 1013, "n" * 1014, "é %", "😀"]
)
def test_any_id_is_logged_and_can_be_erased(scene: ChangeScene, customer_id: str) -> None:
    other = f"{customer_id[:300]}#2021-03-01"
    for name in (customer_id, other):
        scene.store.write([event(customer_id=name)])
    assert {change.customer_id for change in scene.all_changes(limit=1)} == {customer_id, other}
    scene.erase(customer_id)
    assert {change.customer_id for change in scene.all_changes()} == {other}


def test_an_erasure_leaves_no_change_behind(scene: ChangeScene) -> None:
    for name in ("acme", "acme2", "globex"):
        scene.store.write([event(customer_id=name), event("t-1", customer_id=name)])
    scene.time.advance(60)
    scene.store.void([event("t-1")], "a test")
    scene.erase("acme")
    assert scene.logged() == [(START, "acme2"), (START, "globex")]


@pytest.mark.slow
def test_an_erasure_clears_a_long_log_in_steps(scene: ChangeScene) -> None:
    scene.time.advance(500 * 60)
    scene.store.write([event()])
    feed = scene.store.changes
    scene.sent.clear()
    reached = feed.forget_customer("acme", None, max_minutes=300)
    assert scene.sent.count("Query") == 300
    assert reached == START + 299 * MINUTE
    assert feed.forget_customer("acme", reached, max_minutes=1_000) is None
    assert scene.logged() == []


class WatchedExecutor(ThreadPoolExecutor):
    """Notes the largest number of unfinished tasks."""

    def __init__(self) -> None:
        super().__init__(2)
        self.futures: list[Future[Any]] = []
        self.most_open = 0

    def submit(self, *args: Any, **options: Any) -> Future[Any]:
        self.futures = [future for future in self.futures if not future.done()]
        self.most_open = max(self.most_open, len(self.futures) + 1)
        self.futures.append(super().submit(*args, **options))
        return self.futures[-1]


def test_an_erasure_leaves_room_for_other_readers(scene: ChangeScene) -> None:
    requests = Requests(
        scene.client,
        scene.tables.definitions(),
        RetryPolicy(5),
        on_tables_made=lambda: None,
        may_make_tables=False,
    )
    with WatchedExecutor() as readers:
        feed = ChangeFeed(requests, scene.tables.changes, readers, Minutes(scene.time.now))
        start = START - 300 * MINUTE
        reached = feed.forget_customer("acme", start, max_minutes=200)
        assert reached == start + 200 * MINUTE
    assert readers.most_open <= 64
