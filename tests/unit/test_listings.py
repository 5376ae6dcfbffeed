"""What is known to be listed, by two clocks of which either may stand still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from events.dynamodb.listings import Listing, Listings

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = ("acme", "2021-03-01")


@pytest.mark.parametrize(
    ("now", "clock", "is_listed"),
    [(-1, -1, True), (0, -1, False), (-1, 0, False), (9, 9, False), (-3600, 9, False)],
)
@pytest.mark.parametrize("grace", [0, 15])
def test_a_day_is_listed_until_either_clock_says_that_it_is_not(
    now: int, clock: int, grace: int, is_listed: bool
) -> None:
    """A clock that was set back does not hide what the other one saw."""
    listings = Listings(lambda: NOON + timedelta(seconds=now + grace), lambda: clock + grace)
    assert not listings.has(DAY)
    listings.add(DAY, Listing(NOON, 0))
    assert listings.has(DAY, grace=timedelta(seconds=grace)) is is_listed


def test_what_is_forgotten_is_not_listed() -> None:
    listings = Listings(lambda: NOON, lambda: 0)
    minute = Listing(NOON + timedelta(minutes=1), 60)
    listings.add(DAY, minute)
    listings.forget(DAY)
    assert not listings.has(DAY)
    listings.add(DAY, minute)
    listings.forget_all()
    assert not listings.has(DAY)
