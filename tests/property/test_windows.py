"""Windows: their pieces cover them, and no instant twice."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from events.domain.timestamps import day_of, format_timestamp
from events.domain.windows import (
    EARLIEST,
    HOUR,
    LATEST,
    count_hours,
    floor_hour,
    hour_of_day,
    hours,
    slices,
    split,
)
from events.models import Window
from tests.property.strategies import HOUR_ZERO, instants, short_windows, windows

MICROSECOND = timedelta(microseconds=1)


def is_on_the_hour(at: datetime) -> bool:
    return (at.minute, at.second, at.microsecond) == (0, 0, 0)


def covers(pieces: list[Window], window: Window) -> bool:
    """Whether pieces that are not empty adjoin, in order, from the window's start to its end."""
    if not pieces:
        return window.start == window.end
    return (
        all(piece.start < piece.end for piece in pieces)
        and all(one.end == next_one.start for one, next_one in pairwise(pieces))
        and (pieces[0].start, pieces[-1].end) == (window.start, window.end)
    )


@given(windows | short_windows)
def test_whole_and_partial_hours_cover_a_window_once(window: Window) -> None:
    parts = split(window)
    whole = [parts.whole] if parts.whole.start != parts.whole.end else []

    assert covers(sorted([*parts.clipped, *whole], key=lambda piece: piece.start), window)
    assert is_on_the_hour(parts.whole.start)
    assert is_on_the_hour(parts.whole.end)


@given(windows | short_windows)
def test_a_partial_hour_is_shorter_than_its_hour(window: Window) -> None:
    clipped = split(window).clipped

    assert len(clipped) <= 2
    assert list(clipped) == sorted(clipped, key=lambda piece: piece.start)
    for piece in clipped:
        assert floor_hour(piece.start) == floor_hour(piece.end - MICROSECOND)
        assert piece.end - piece.start < HOUR


@given(short_windows)
@example(Window(HOUR_ZERO + MICROSECOND, HOUR_ZERO + MICROSECOND))
def test_hours_are_all_that_overlap_a_window(window: Window) -> None:
    near = [floor_hour(window.start) + number * HOUR for number in range(102)]

    touched = [hour for hour in near if max(hour, window.start) < min(hour + HOUR, window.end)]

    assert list(hours(window)) == touched
    assert count_hours(window) == len(touched)


@given(windows)
@example(Window(EARLIEST, HOUR_ZERO + MICROSECOND))
@example(Window(EARLIEST, LATEST))
def test_hours_are_counted_exactly_in_any_window(window: Window) -> None:
    if window.start == window.end:
        assert count_hours(window) == 0
    else:
        last_instant = window.end - MICROSECOND
        apart = floor_hour(last_instant) - floor_hour(window.start)
        assert count_hours(window) == apart // HOUR + 1


@given(windows | short_windows, st.integers(1, 64))
def test_slices_are_of_about_equal_length_and_cover_a_window(window: Window, parts: int) -> None:
    cut = list(slices(window, parts))

    assert covers(cut, window)
    assert len(cut) <= parts
    lengths = [piece.end - piece.start for piece in cut]
    assert not cut or max(lengths) - min(lengths) <= 2 * MICROSECOND


@given(instants)
def test_an_instant_is_in_its_hour(at: datetime) -> None:
    hour = floor_hour(at)

    assert is_on_the_hour(hour)
    assert timedelta(0) <= at - hour < HOUR
    assert hour_of_day(day_of(at), at.hour) == hour
    assert day_of(at) == format_timestamp(at)[:10]
