"""Days, weeks and months of a time zone, as ranges of UTC; pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from events.domain.windows import EARLIEST, LATEST
from events.models import Calendar, Unit, Window

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_EARLY, _LATE = EARLIEST + 2 * _DAY, LATEST - 3 * _DAY


def period_at(calendar: Calendar, at: datetime) -> Window:
    """
    The day, week or month that holds an instant.

    A day begins at the first instant that has its local date, and ends where a later one begins.
    So a midnight that does not exist, or exists twice, leaves neither a gap nor an overlap; a date
    that a zone left out is no day, and one that clocks set back lead to again is not begun again.

    Args:
        at: An aware datetime in UTC.

    Returns:
        `period.start <= at < period.end`. The first and the last ones of time are cut off there.
    """
    first: date | None = _first_date(calendar.unit, _local_date(calendar, at))
    start = end = EARLIEST
    # More than once where the next date was left out, or clocks set back led to the one before.
    while end <= at and end < LATEST:
        assert first is not None  # noqa: S101 - `end` is the end of time then
        start, first = _begin(calendar, first), _next_date(calendar.unit, first)
        end = LATEST if first is None else _begin(calendar, first)
    return Window(start, end)


def periods(calendar: Calendar, window: Window) -> Iterator[Window]:
    """The periods that a window touches, ascending; they adjoin."""
    at = window.start
    while at < window.end:
        period = period_at(calendar, at)
        yield period
        at = period.end


def local_text(calendar: Calendar, at: datetime) -> str:
    """
    `at` by the clocks of the zone, with their offset: `2021-03-01T00:00:00.000000+05:30`.

    Offsets of long ago have seconds too. Where the local year would be 0 or 10000, it is in UTC.
    """
    try:
        local = at.astimezone(calendar.zone)
    except OverflowError:
        local = at
    return local.isoformat(timespec="microseconds")


def _local_date(calendar: Calendar, at: datetime) -> date:
    try:
        return at.astimezone(calendar.zone).date()
    except OverflowError:
        return at.date()


def _first_date(unit: Unit, day: date) -> date:
    if unit is Unit.MONTH:
        return day.replace(day=1)
    # Monday, the 1st of January of the year 1, is ordinal 1.
    return day - timedelta(days=day.weekday()) if unit is Unit.WEEK else day


def _next_date(unit: Unit, first: date) -> date | None:
    """The first date of the next period; None past the last year."""
    days = {Unit.DAY: 1, Unit.WEEK: 7, Unit.MONTH: 31}[unit]
    if date.max - first < timedelta(days=days):
        return None
    following = first + timedelta(days=days)
    return following.replace(day=1) if unit is Unit.MONTH else following


def _begin(calendar: Calendar, day: date) -> datetime:
    """The first instant whose local date is `day` or later."""
    midnight = datetime.combine(day, time(), UTC)  # of the local clock, as if it were UTC
    # At the ends of time the local time itself may be none; no zone changes its offset there.
    if midnight < _EARLY:
        is_first = day == date.min
        return EARLIEST if is_first else max(EARLIEST, midnight - _offset(calendar, _EARLY))
    if midnight > _LATE:
        return midnight - _offset(calendar, _LATE)
    # No zone is a day ahead or behind, and none has two changes within two days.
    low, high = midnight - _DAY, midnight + _DAY
    before, after = _offset(calendar, low), _offset(calendar, high)
    if before == after:
        return midnight - before
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(calendar, middle) == before:
            low = middle
        else:
            high = middle
    change = high
    return midnight - before if midnight - before < change else max(change, midnight - after)


def _offset(calendar: Calendar, at: datetime) -> timedelta:
    offset = at.astimezone(calendar.zone).utcoffset()
    return timedelta() if offset is None else offset
