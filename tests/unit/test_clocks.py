"""A clock that follows the store's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from events.dynamodb.clocks import StoreClock

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def date(at: datetime) -> str:
    """A `Date` as HTTP has it: whole seconds."""
    return format_datetime(at, usegmt=True)


@pytest.mark.parametrize("hours", [-36, -1, 1, 36])
def test_a_clock_that_is_off_follows_the_store(hours: int) -> None:
    clock = StoreClock(lambda: NOON)
    there = NOON + hours * timedelta(hours=1)
    assert not clock.learn(date(there), asked_at=NOON, answered_at=NOON + SECOND)
    assert abs(clock.now() - there) <= 2 * SECOND
    assert clock.local() == NOON
    assert clock.learn(date(there), asked_at=NOON, answered_at=NOON + SECOND)


@pytest.mark.parametrize("seconds", [-2, 0, 2])
def test_a_clock_that_is_about_right_stays_as_it_is(seconds: int) -> None:
    clock = StoreClock(lambda: NOON)
    assert clock.learn(date(NOON + seconds * SECOND), asked_at=NOON, answered_at=NOON)
    assert clock.now() == NOON


def test_an_answer_that_took_long_does_not_set_the_clock_back() -> None:
    clock = StoreClock(lambda: NOON)
    for at in (NOON, NOON + 10 * SECOND):
        assert clock.learn(date(at), asked_at=NOON, answered_at=NOON + 10 * SECOND)
    assert clock.now() == NOON


def test_an_answer_to_a_question_of_unknown_time_only_sets_the_clock_forward() -> None:
    clock = StoreClock(lambda: NOON)
    assert clock.learn(date(NOON - 60 * SECOND), answered_at=NOON)
    assert clock.now() == NOON
    assert not clock.learn(date(NOON + 60 * SECOND), answered_at=NOON)
    assert abs(clock.now() - NOON - 60 * SECOND) <= SECOND


@pytest.mark.parametrize("text", [None, "", "soon", "Wed, 25 Nov 2026 12:00:00 -0000"])
def test_what_is_no_date_teaches_nothing(text: str | None) -> None:
    clock = StoreClock(lambda: NOON - timedelta(days=1))
    assert clock.learn(text, asked_at=NOON, answered_at=NOON)
    assert clock.now() == NOON - timedelta(days=1)
