"""Hours and days in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from events.errors import InvalidWindow
from events.models import Window

HOUR = timedelta(hours=1)
#: The latest end of a window. A window that ends here includes events at this instant.
LATEST = datetime.max.replace(tzinfo=UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)
ALL_TIME = Window(EARLIEST, LATEST)
#: An empty range: a question about it costs nothing.
NO_TIME = Window(EARLIEST, EARLIEST)


@dataclass(frozen=True, slots=True)
class Split:
    """A window split into whole hours, which counters answer, and parts of hours."""

    #: The range of whole hours; `start == end` if there are none.
    whole: Window
    #: At most two parts of hours, ascending; they are counted from raw events.
    clipped: tuple[Window, ...]


def floor_hour(at: datetime) -> datetime:
    """
    Start of the hourly bucket that holds `at`.

    Args:
        at: An aware datetime; any offset, converted to UTC.

    Returns:
        An aware UTC datetime on the hour; `floor_hour(at) <= at < floor_hour(at) + HOUR`.

    Raises:
        InvalidWindow: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise InvalidWindow(f"{at} has no time zone")
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def end_of_hour(hour: datetime) -> datetime:
    """End of the hour that starts at `hour`; the last hour of time ends at `LATEST`."""
    return LATEST if LATEST - hour < HOUR else hour + HOUR


def window_between(
    start: datetime, end: datetime, *, names: tuple[str, str] = ("start", "end")
) -> Window:
    """
    The window `[start, end)` in UTC.

    Raises `InvalidWindow` if `start` is after `end`; `names` is what the caller calls them.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise InvalidWindow("start and end need a time zone")
    if start > end:
        raise InvalidWindow(f"{start} is after {names[1]}, {end}: swap them", names[0])
    return Window(start.astimezone(UTC), end.astimezone(UTC))


def split(window: Window) -> Split:
    first, last = floor_hour(window.start), floor_hour(window.end)
    if window.start == first:
        whole = Window(first, last)
    elif first == last:
        # Both ends lie in the same hour.
        return Split(Window(last, last), (window,) if window.start < window.end else ())
    else:
        whole = Window(first + HOUR, last)
    pieces = Window(window.start, whole.start), Window(whole.end, window.end)
    return Split(whole, tuple(piece for piece in pieces if piece.start < piece.end))


def hours(window: Window) -> Iterator[datetime]:
    """Starts of the hours that overlap a window, ascending."""
    if window.start == window.end:
        return
    hour = floor_hour(window.start)
    while hour < window.end:
        yield hour
        hour = end_of_hour(hour)


def count_hours(window: Window) -> int:
    """How many hours overlap a window."""
    if window.start == window.end:
        return 0
    return -((floor_hour(window.start) - window.end) // HOUR)


def slices(window: Window, parts: int) -> tuple[Window, ...]:
    """
    Cut a window into at most `parts` adjoining windows of about equal length, none of them empty.
    """
    length = window.end - window.start
    bounds = [window.start + length * part / parts for part in range(parts)] + [window.end]
    return tuple(Window(start, end) for start, end in pairwise(bounds) if start < end)


def hour_of_day(day: str, hour: int) -> datetime:
    """Start of the hour 0–23 of the UTC day `YYYY-MM-DD`."""
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)
