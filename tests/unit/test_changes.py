"""The list of changes as its readers meet it, on one in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from events.errors import ChangesForgotten, InvalidWindow
from events.models import Change, ChangeCursor, ChangePage
from events.queries.changes import changes
from tests.support.fakes import FIRST_INGESTED_AT as START
from tests.support.fakes import MemoryChanges

MINUTE = timedelta(minutes=1)


@pytest.fixture
def log() -> MemoryChanges:
    """Six changes in the first three minutes, of which the third is not settled yet."""
    log = MemoryChanges(known_from=START, settled_until=START + 2 * MINUTE)
    for minute in range(3):
        for customer_id in ("acme", "globex"):
            log.add(customer_id, "2021-03-01", START + minute * MINUTE)
    return log


def change(minute: int, customer_id: str) -> Change:
    return Change(START + minute * MINUTE, customer_id, "2021-03-01")


SETTLED = tuple(change(minute, name) for minute in range(2) for name in ("acme", "globex"))


def test_without_a_point_it_begins_with_the_first_that_is_known(log: MemoryChanges) -> None:
    assert changes(log, None, limit=10) == ChangePage(
        SETTLED, ChangeCursor(START + 2 * MINUTE), has_more=False
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_of_any_size_give_each_change_once_in_order(log: MemoryChanges, limit: int) -> None:
    found: list[Change] = []
    page = changes(log, None, limit=limit)
    while True:
        found += page.changes
        if not page.has_more:
            break
        page = changes(log, page.next_cursor, limit=limit)
    assert tuple(found) == SETTLED


def test_an_instant_begins_with_the_whole_of_its_slot(log: MemoryChanges) -> None:
    page = changes(log, START + MINUTE + timedelta(seconds=59), limit=10)
    assert page.changes == SETTLED[2:]


def test_an_instant_begins_with_the_slot_in_which_a_change_made_then_may_have_been_sent(
    log: MemoryChanges,
) -> None:
    page = changes(log, START + MINUTE + timedelta(seconds=20), limit=10)
    assert page.changes == SETTLED


def test_an_instant_from_which_on_all_is_known_begins_there(log: MemoryChanges) -> None:
    """The one that a refusal tells."""
    page = changes(log, START, limit=10)
    assert page == ChangePage(SETTLED, ChangeCursor(START + 2 * MINUTE), has_more=False)


def test_an_instant_at_which_the_list_began_gives_a_place_that_is_not_refused_afterwards() -> None:
    began = START + 2 * MINUTE
    log = MemoryChanges(known_from=began, settled_until=START + MINUTE)
    page = changes(log, began, limit=10)
    assert page == ChangePage((), ChangeCursor(began), has_more=False)
    assert changes(log, page.next_cursor, limit=10) == page


def test_where_all_is_read_a_page_is_empty_and_its_cursor_goes_on_later(
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
def test_a_point_before_all_that_is_known_is_refused_with_where_to_go_on(
    log: MemoryChanges, since: datetime | ChangeCursor
) -> None:
    with pytest.raises(ChangesForgotten, match="since 2021-06-01T00:00:00Z") as refusal:
        changes(log, since, limit=10)
    assert refusal.value.known_from == START


def test_a_point_that_lies_ahead_is_refused_unless_it_is_nearly_reached(
    log: MemoryChanges,
) -> None:
    ahead = START + 2 * MINUTE
    assert changes(log, ahead + 10 * MINUTE, limit=10).changes == ()
    with pytest.raises(InvalidWindow, match="future"):
        changes(log, ahead + 11 * MINUTE, limit=10)
