"""Counts as a table with bars: each line and its width."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from events.cli.buckets import chart
from events.domain.calendars import period_at
from events.models import BucketCount, Calendar, Unit
from tests.support.factories import DAY, HOUR, HOUR_ZERO

BERLIN = ZoneInfo("Europe/Berlin")
HOURS = [
    BucketCount(HOUR_ZERO, 1_600, is_partial=True),
    BucketCount(HOUR_ZERO + HOUR, 100),
    BucketCount(HOUR_ZERO + 2 * HOUR, 0),
    BucketCount(HOUR_ZERO + 3 * HOUR, 1),
]


def test_each_hour_has_a_line_with_a_bar_and_a_partial_mark() -> None:
    assert chart(HOURS, None, columns=43) == (
        "2021-03-01 00:00Z~  1,600  ████████████████\n"
        "2021-03-01 01:00Z     100  █\n"
        "2021-03-01 02:00Z       0\n"
        "2021-03-01 03:00Z       1  ▏\n"
        "total               1,701  in 4 hours, UTC\n"
        "~ partial: the range begins or ends inside this hour\n"
    )


@pytest.mark.parametrize("columns", [20, 60, 80, 200])
def test_no_bar_is_wider_than_the_terminal(columns: int) -> None:
    lines = chart(HOURS, None, columns=columns).splitlines()[:4]
    widest = max(map(len, lines))
    # Without room for a bar only the numbers are printed.
    assert widest == (columns if columns >= 60 else len("2021-03-01 00:00Z~  1,600"))


def test_bars_are_ascii_if_the_encoding_lacks_blocks() -> None:
    text = chart(HOURS, None, columns=43, can_draw=False)
    assert text.isascii()
    assert "1,600  ################\n" in text


def test_each_type_has_a_line_with_invisible_characters_escaped() -> None:
    bucket = BucketCount(HOUR_ZERO, 3, counts={"a\u202eb": 1, "call": 2})
    assert chart([bucket], None, columns=10) == (
        "2021-03-01 00:00Z  a\\u202eb  1\n"
        "                   call      2\n"
        "total                        3  in 1 hour, UTC\n"
    )


def test_columns_are_aligned_in_every_script() -> None:
    # A combining accent is zero columns wide, an ideograph two.
    bucket = BucketCount(HOUR_ZERO, 6, counts={"e\u0301": 1, "日本語": 2, "call": 3})
    assert chart([bucket], None, columns=40) == (
        "2021-03-01 00:00Z  e\u0301       1  ███▎\n"
        "                   日本語  2  ██████▋\n"
        "                   call    3  ██████████\n"
        "total                      6  in 1 hour, UTC\n"
    )


@pytest.mark.parametrize(
    ("unit", "label", "noun"),
    [
        (Unit.HOUR, "2021-03-01 01:00+01:00", "1 hour"),
        (Unit.DAY, "2021-03-01", "1 day"),
        (Unit.WEEK, "2021-03-01", "1 week"),
        (Unit.MONTH, "2021-03", "1 month"),
    ],
)
def test_a_period_is_named_by_its_first_date_in_the_zone(unit: Unit, label: str, noun: str) -> None:
    calendar = Calendar(unit, BERLIN)
    count = BucketCount(period_at(calendar, HOUR_ZERO + timedelta(minutes=1)).start, 7)
    width = max(len("total"), len(label))
    assert chart([count], calendar, columns=10) == (
        f"{label:<{width}}  7\n{'total':<{width}}  7  in {noun}, Europe/Berlin\n"
    )


def test_no_counts_are_a_total_of_zero() -> None:
    assert chart([], None, columns=80) == "total  0  in 0 hours, UTC\n"
    assert chart([], Calendar(Unit.DAY, BERLIN), columns=DAY.days) == (
        "total  0  in 0 days, Europe/Berlin\n"
    )
