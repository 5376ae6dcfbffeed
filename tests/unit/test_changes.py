"""Pages of the change log, on a log in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from events.errors import ChangesForgotten, InvalidWindow
from events.models import Change, ChangeCursor, ChangePage
from events.queries.changes import changes

START = datetime(2021, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class MemoryChanges:
    """
    A change log in memory, with minutes, that can be read at once.

    Args:
        known_from: Start of the first minute.
        settled_until: See `changes.Log`.
    """

    def __init__(self, known_from: datetime, settled_until: datetime) -> None:
        self._known_from = known_from
        self._settled_until = settled_until
        self.listed: set[Change] = set()

    def add(self, customer_id: str, day: str, at: datetime) -> None:
        self.listed.add(Change(self.minute_of(at), customer_id, day))

    def known_from(self) -> ChangeCursor:
        return ChangeCursor(self._known_from)

    def now(self) -> datetime:
        return self._settled_until

    def settled_until(self) -> datetime:
        return self._settled_until

    def minute_of(self, at: datetime) -> datetime:
        return at.replace(second=0, microsecond=0)

    def first_minute_for(self, at: datetime) -> datetime:
        return self.minute_of(at - timedelta(seconds=30))

    def read(
        self, cursor: ChangeCursor, until: datetime, *, limit: int
    ) -> tuple[list[Change], ChangeCursor]:
        after = (cursor.minute, cursor.after_key or "")
        changes = sorted(
            change
            for change in self.listed
            if after < (change.minute, f"{change.customer_id}#{change.day}")
            and change.minute < until
        )
        if len(changes) <= limit:
            return changes, ChangeCursor(until)
        last = changes[limit - 1]
        return changes[:limit], ChangeCursor(last.minute, 0, f"{last.customer_id}#{last.day}")


@pytest.fixture
def log() -> MemoryChanges:
    """Six changes in three minutes; the third minute is not settled yet."""
    log = MemoryChanges(known_from=START, settled_until=START + 2 * MINUTE)
    for minute in range(3):
        for customer_id in ("acme", "globex"):
            log.add(customer_id, "2021-03-01", START + minute * MINUTE)
    return log


def change(minute: int, customer_id: str) -> Change:
    return Change(START + minute * MINUTE, customer_id, "2021-03-01")


SETTLED = tuple(change(minute, name) for minute in range(2) for name in ("acme", "globex"))


def test_the_default_start_is_the_oldest_known_change(log: MemoryChanges) -> None:
    assert changes(log, None, limit=10) == ChangePage(
        SETTLED, ChangeCursor(START + 2 * MINUTE), has_more=False
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_of_any_size_give_each_change_once_in_order(log: MemoryChanges, limit: int) -> None:
    result: list[Change] = []
    page = changes(log, None, limit=limit)
    while True:
        result += page.changes
        if not page.has_more:
            break
        page = changes(log, page.next_cursor, limit=limit)
    assert tuple(result) == SETTLED


def test_a_time_starts_with_its_whole_minute(log: MemoryChanges) -> None:
    page = changes(log, START + MINUTE + timedelta(seconds=59), limit=10)
    assert page.changes == SETTLED[2:]


def test_a_time_starts_with_the_minute_that_may_log_its_change(
    log: MemoryChanges,
) -> None:
    page = changes(log, START + MINUTE + timedelta(seconds=20), limit=10)
    assert page.changes == SETTLED


def test_the_time_that_a_refusal_names_is_accepted(log: MemoryChanges) -> None:
    page = changes(log, START, limit=10)
    assert page == ChangePage(SETTLED, ChangeCursor(START + 2 * MINUTE), has_more=False)


def test_a_cursor_from_the_start_of_the_log_is_not_refused_later() -> None:
    start = START + 2 * MINUTE
    log = MemoryChanges(known_from=start, settled_until=START + MINUTE)
    page = changes(log, start, limit=10)
    assert page == ChangePage((), ChangeCursor(start), has_more=False)
    assert changes(log, page.next_cursor, limit=10) == page


def test_a_cursor_at_the_end_goes_on_when_more_is_settled(
    log: MemoryChanges,
) -> None:
    end = changes(log, None, limit=10).next_cursor
    assert changes(log, end, limit=10) == ChangePage((), end, has_more=False)
    later = MemoryChanges(known_from=START, settled_until=START + 3 * MINUTE)
    later.listed = log.listed
    assert changes(later, end, limit=10).changes == (change(2, "acme"), change(2, "globex"))


@pytest.mark.parametrize(
    "since",
    [START - MINUTE, START - timedelta(days=400), ChangeCursor(START - MINUTE, 1, "acme#2021")],
)
def test_a_start_before_the_known_changes_is_refused(
    log: MemoryChanges, since: datetime | ChangeCursor
) -> None:
    with pytest.raises(ChangesForgotten, match="since 2021-06-01T00:00:00Z") as refusal:
        changes(log, since, limit=10)
    assert refusal.value.known_from == START


def test_a_start_far_in_the_future_is_refused(
    log: MemoryChanges,
) -> None:
    ahead = START + 2 * MINUTE
    assert changes(log, ahead + 10 * MINUTE, limit=10).changes == ()
    with pytest.raises(InvalidWindow, match="future"):
        changes(log, ahead + 11 * MINUTE, limit=10)
