"""Which minute logs a change, when it may be read, and what a wrong clock does."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from events.dynamodb.changelog import Minutes
from events.dynamodb.requests import MAX_REQUEST_SECONDS
from events.errors import ClockSkew
from tests.support.factories import HOUR_ZERO, MICROSECOND

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)

#: Seconds that a writer's clock is ahead; slow ones passed the check by an answer that took 20 s.
WRITERS = [-50, -30, 0, 30]


def minutes(at: timedelta) -> Minutes:
    """The minutes as they are at a time after HOUR_ZERO."""
    return Minutes(lambda: HOUR_ZERO + at)


def answer(date: datetime) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(date, usegmt=True)}}}


@pytest.mark.parametrize(
    ("at", "start"), [(0 * SECOND, 0), (59.9 * SECOND, 0), (MINUTE, 1), (-SECOND, -1)]
)
def test_a_minute_lasts_until_the_next_one_starts(at: timedelta, start: int) -> None:
    assert minutes(at).current() == HOUR_ZERO + start * MINUTE


@pytest.mark.parametrize(("at", "end"), [(159.9 * SECOND, 0), (160 * SECOND, 1), (3 * MINUTE, 1)])
def test_a_minute_is_settled_100_seconds_after_its_end(at: timedelta, end: int) -> None:
    assert minutes(at).settled_until() == HOUR_ZERO + end * MINUTE


@pytest.mark.parametrize("writer_skew", WRITERS)
@pytest.mark.parametrize("reader_skew", [-30, 0, 30])
def test_no_reader_is_earlier_than_a_writer_s_last_request(
    writer_skew: int, reader_skew: int
) -> None:
    """A request sent at the very end of a minute, with clocks as far off as they may be."""
    sent_at = MINUTE - MICROSECOND - writer_skew * SECOND
    done_at = sent_at + MAX_REQUEST_SECONDS * SECOND
    assert minutes(done_at + reader_skew * SECOND).settled_until() <= HOUR_ZERO


@pytest.mark.parametrize("writer_skew", WRITERS)
@pytest.mark.parametrize("reader_skew", [-30, 0, 30])
def test_what_is_done_in_time_no_reader_misses(writer_skew: int, reader_skew: int) -> None:
    for seconds in range(60, 200):
        done_at = seconds * SECOND
        if minutes(done_at + writer_skew * SECOND).is_in_time(HOUR_ZERO):
            assert minutes(done_at + reader_skew * SECOND).settled_until() <= HOUR_ZERO


@pytest.mark.parametrize(
    ("at", "start"), [(99.9 * SECOND, -1), (100 * SECOND, 0), (159 * SECOND, 0)]
)
def test_a_change_may_be_logged_as_long_before_as_the_grace(at: timedelta, start: int) -> None:
    assert minutes(at).first_for(HOUR_ZERO + at) == HOUR_ZERO + start * MINUTE


def test_no_minute_counts_as_known_whose_changes_expire() -> None:
    for seconds in (0, 1, 59):
        now = HOUR_ZERO + seconds * SECOND
        known = minutes(seconds * SECOND)
        assert known.oldest() == HOUR_ZERO + MINUTE - 35 * DAY
        assert known.expiry_of(known.oldest()) > now + MINUTE
        # The minute before expires during this minute, or just after it.
        assert known.expiry_of(known.oldest() - MINUTE) == HOUR_ZERO + MINUTE


@pytest.mark.parametrize("seconds", [-30, -1, 0, 30])
def test_a_clock_may_be_30_seconds_off(seconds: int) -> None:
    minutes(0 * SECOND).check_clock(answer(HOUR_ZERO + seconds * SECOND))


@pytest.mark.parametrize("seconds", [-86_400, -31, 31, 86_400])
def test_a_clock_that_is_more_than_30_seconds_off_is_refused(seconds: int) -> None:
    with pytest.raises(ClockSkew, match="synchronize it with NTP"):
        minutes(0 * SECOND).check_clock(answer(HOUR_ZERO + seconds * SECOND))


def test_an_answer_without_a_date_is_accepted() -> None:
    minutes(0 * SECOND).check_clock({"ResponseMetadata": {"HTTPHeaders": {}}})
    minutes(0 * SECOND).check_clock({"ResponseMetadata": {}})
