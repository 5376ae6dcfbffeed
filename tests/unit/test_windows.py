"""Hours, and windows cut at them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from events.domain.timestamps import day_of
from events.domain.windows import (
    EARLIEST,
    HOUR,
    LATEST,
    Split,
    count_hours,
    floor_hour,
    hour_of_day,
    hours,
    slices,
    split,
    window_between,
)
from events.errors import InvalidWindow
from events.models import Window

HOUR_ZERO = datetime(2021, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LAST_HOUR = datetime(9999, 12, 31, 23, tzinfo=UTC)
KOLKATA = timezone(timedelta(hours=5, minutes=30))


def at(minutes: float) -> datetime:
    return HOUR_ZERO + timedelta(minutes=minutes)


def window(start: float, end: float) -> Window:
    """From and to so many minutes after HOUR_ZERO."""
    return Window(at(start), at(end))


# Hours


@pytest.mark.parametrize(
    ("instant", "hour"),
    [
        (at(0), at(0)),
        (at(59), at(0)),
        (at(60) - MICROSECOND, at(0)),
        (at(60), at(60)),
        (at(0) - MICROSECOND, at(-60)),
        # 15:45 in India is 10:15 UTC: the hour is UTC's, not the local one.
        (datetime(2021, 3, 1, 15, 45, tzinfo=KOLKATA), at(600)),
        (EARLIEST, EARLIEST),
        (LATEST, LAST_HOUR),
    ],
)
def test_an_instant_is_floored_to_its_utc_hour(instant: datetime, hour: datetime) -> None:
    floor = floor_hour(instant)

    assert floor == hour
    assert floor.tzinfo is UTC


def test_an_instant_without_a_zone_is_rejected() -> None:
    with pytest.raises(InvalidWindow) as refused:
        floor_hour(HOUR_ZERO.replace(tzinfo=None))

    assert str(refused.value) == "2021-03-01 00:00:00 has no time zone"


@pytest.mark.parametrize(
    ("asked", "starts"),
    [
        (window(0, 0), []),
        (window(30, 30), []),
        (window(0, 1), [0]),
        (window(0, 60), [0]),
        (window(30, 60), [0]),
        (window(30, 61), [0, 60]),
        (window(-1, 121), [-60, 0, 60, 120]),
        (Window(at(60) - MICROSECOND, at(60) + MICROSECOND), [0, 60]),
    ],
)
def test_hours_of_a_window(asked: Window, starts: list[float]) -> None:
    assert list(hours(asked)) == [at(minutes) for minutes in starts]
    assert count_hours(asked) == len(starts)


def test_hours_end_with_the_last_hour_of_time() -> None:
    last = Window(LAST_HOUR - HOUR, LATEST)

    assert list(hours(last)) == [LAST_HOUR - HOUR, LAST_HOUR]
    assert count_hours(last) == 2


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        (EARLIEST, LATEST, 3_652_059 * 24),
        (EARLIEST, HOUR_ZERO, 737_849 * 24),
        (EARLIEST, HOUR_ZERO + MICROSECOND, 737_849 * 24 + 1),
        (EARLIEST + HOUR - MICROSECOND, HOUR_ZERO + MICROSECOND, 737_849 * 24 + 1),
        (EARLIEST + HOUR, HOUR_ZERO - MICROSECOND, 737_849 * 24 - 1),
        (HOUR_ZERO, LAST_HOUR + MICROSECOND, 2_914_210 * 24),
    ],
)
def test_hours_of_long_windows_are_counted_exactly(
    start: datetime, end: datetime, count: int
) -> None:
    assert count_hours(Window(start, end)) == count


# Windows


def test_a_window_is_converted_to_utc() -> None:
    made = window_between(at(0).astimezone(KOLKATA), at(90).astimezone(KOLKATA))

    assert made == window(0, 90)
    assert (made.start.tzinfo, made.end.tzinfo) == (UTC, UTC)


def test_a_window_may_be_empty() -> None:
    assert window_between(at(5), at(5)) == window(5, 5)


def test_a_window_that_ends_before_its_start_is_rejected() -> None:
    with pytest.raises(InvalidWindow) as refused:
        window_between(at(1), at(0))

    assert refused.value.parameter == "start"
    assert str(refused.value) == (
        "start: 2021-03-01 00:01:00+00:00 is after end, 2021-03-01 00:00:00+00:00: swap them"
    )


@pytest.mark.parametrize(
    ("start", "end"), [(at(0).replace(tzinfo=None), at(1)), (at(0), at(1).replace(tzinfo=None))]
)
def test_a_window_without_a_zone_is_rejected(start: datetime, end: datetime) -> None:
    with pytest.raises(InvalidWindow, match=r"^start and end need a time zone$"):
        window_between(start, end)


@pytest.mark.parametrize(
    ("asked", "whole", "clipped"),
    [
        pytest.param(window(0, 60), window(0, 60), (), id="one whole hour"),
        pytest.param(window(0, 1440), window(0, 1440), (), id="one whole day"),
        pytest.param(window(0, 0), window(0, 0), (), id="empty on the hour"),
        pytest.param(window(10, 10), window(0, 0), (), id="empty inside an hour"),
        pytest.param(window(10, 50), window(0, 0), (window(10, 50),), id="inside an hour"),
        pytest.param(window(0, 50), window(0, 0), (window(0, 50),), id="start of an hour"),
        pytest.param(window(10, 60), window(60, 60), (window(10, 60),), id="end of an hour"),
        pytest.param(
            window(50, 70), window(60, 60), (window(50, 60), window(60, 70)), id="two cut hours"
        ),
        pytest.param(
            window(50, 190),
            window(60, 180),
            (window(50, 60), window(180, 190)),
            id="whole hours between two cut ones",
        ),
        pytest.param(window(50, 180), window(60, 180), (window(50, 60),), id="cut at the start"),
        pytest.param(window(60, 190), window(60, 180), (window(180, 190),), id="cut at the end"),
        pytest.param(
            Window(at(0) + MICROSECOND, at(120) - MICROSECOND),
            window(60, 60),
            (Window(at(0) + MICROSECOND, at(60)), Window(at(60), at(120) - MICROSECOND)),
            id="cut by a microsecond",
        ),
        pytest.param(
            Window(EARLIEST, LATEST),
            Window(EARLIEST, LAST_HOUR),
            (Window(LAST_HOUR, LATEST),),
            id="all time",
        ),
        pytest.param(
            Window(LAST_HOUR + MICROSECOND, LATEST),
            Window(LAST_HOUR, LAST_HOUR),
            (Window(LAST_HOUR + MICROSECOND, LATEST),),
            id="inside the last hour",
        ),
    ],
)
def test_a_window_has_whole_hours_and_at_most_two_parts(
    asked: Window, whole: Window, clipped: tuple[Window, ...]
) -> None:
    assert split(asked) == Split(whole, clipped)


@pytest.mark.parametrize(
    ("asked", "parts", "cut"),
    [
        (window(0, 60), 1, (window(0, 60),)),
        (window(0, 60), 4, (window(0, 15), window(15, 30), window(30, 45), window(45, 60))),
        (window(10, 10), 4, ()),
        (Window(at(0), at(0) + MICROSECOND), 16, (Window(at(0), at(0) + MICROSECOND),)),
    ],
)
def test_slices_adjoin_and_are_not_empty(
    asked: Window, parts: int, cut: tuple[Window, ...]
) -> None:
    assert slices(asked, parts) == cut


# Days


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (HOUR_ZERO, "2021-03-01"),
        (HOUR_ZERO - MICROSECOND, "2021-02-28"),
        (datetime(2021, 3, 1, 5, 29, tzinfo=KOLKATA), "2021-02-28"),
        (EARLIEST, "0001-01-01"),
        (datetime(999, 12, 31, 23, 59, tzinfo=UTC), "0999-12-31"),
        (datetime(1000, 1, 1, tzinfo=UTC), "1000-01-01"),
        (LATEST, "9999-12-31"),
        (datetime(1000, 1, 1, 5, tzinfo=KOLKATA), "0999-12-31"),
        (datetime(999, 1, 1, 5, tzinfo=KOLKATA), "0998-12-31"),
    ],
)
def test_a_day_is_in_utc_with_a_year_of_four_digits(instant: datetime, day: str) -> None:
    assert day_of(instant) == day


@pytest.mark.parametrize("day", ["0001-01-01", "2020-02-29", "9999-12-31"])
@pytest.mark.parametrize("hour", [0, 23])
def test_the_start_of_an_hour_is_in_its_day(day: str, hour: int) -> None:
    start = hour_of_day(day, hour)

    assert (day_of(start), start.hour, start) == (day, hour, floor_hour(start))
    assert start.tzinfo is UTC
