"""Slots of time: which one a change is listed in, when it can be read, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.dynamodb.slots import Slots
from tests.support.factories import HOUR_ZERO

SECOND = timedelta(seconds=1)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
GRACE = 30 * SECOND


def slots(at: timedelta) -> Slots:
    """Minutes, of which 35 days are kept, at a time after HOUR_ZERO."""
    return Slots(lambda: HOUR_ZERO + at, length=MINUTE, grace=GRACE, kept=35 * DAY)


@pytest.mark.parametrize(
    ("at", "start"), [(0 * SECOND, 0), (59.9 * SECOND, 0), (MINUTE, 1), (-SECOND, -1)]
)
def test_a_slot_holds_all_from_its_start_to_the_next(at: timedelta, start: int) -> None:
    assert slots(at).holding(HOUR_ZERO + at) == HOUR_ZERO + start * MINUTE


@pytest.mark.parametrize(("at", "end"), [(89.9 * SECOND, 0), (90 * SECOND, 1), (2 * MINUTE, 1)])
def test_a_slot_can_be_read_once_it_is_over_by_the_grace(at: timedelta, end: int) -> None:
    assert slots(at).settled_until() == HOUR_ZERO + end * MINUTE


@pytest.mark.parametrize(("at", "start"), [(29.9 * SECOND, -1), (30 * SECOND, 0), (MINUTE, 0)])
def test_what_is_made_now_may_have_been_listed_as_long_ago_as_the_grace(
    at: timedelta, start: int
) -> None:
    assert slots(at).first_for(HOUR_ZERO + at) == HOUR_ZERO + start * MINUTE


def test_nothing_is_told_to_be_known_that_may_be_forgotten() -> None:
    for seconds in (0, 1, 59):
        now = HOUR_ZERO + seconds * SECOND
        known = slots(seconds * SECOND)
        assert known.oldest() == HOUR_ZERO + MINUTE - 35 * DAY
        assert known.expiry_of(known.oldest()) > now + MINUTE
        # The one before it goes away while this minute lasts, or just after it.
        assert known.expiry_of(known.oldest() - MINUTE) == HOUR_ZERO + MINUTE
