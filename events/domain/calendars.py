"""Hours, days, weeks and months of a time zone, as ranges of UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from events.domain.timestamps import parse_instant
from events.domain.windows import EARLIEST, HOUR, LATEST
from events.models import Calendar, Unit, Window

_DATE = re.compile("[0-9-]+")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_EARLY, _LATE = EARLIEST + 2 * _DAY, LATEST - 3 * _DAY


def period_at(calendar: Calendar, at: datetime) -> Window:
    """
    The hour, day, week or month that holds an instant.

    An hour starts at a full local hour and ends at the next one, or where clocks change. So an hour
    that clocks repeat is two periods, and a change by half an hour makes periods of half an hour.

    A day starts at the first instant with its local date and ends where the next day starts. So a
    midnight that does not exist, or occurs twice, causes neither a gap nor an overlap. A date that
    the zone skipped has no day, and a date that recurs after clocks go back does not start again.
    `period.start <= at < period.end`, cut off at the ends of the supported range of time.
    """
    if calendar.unit is Unit.HOUR:
        return _hour_at(calendar, at)
    first: date | None = _first_date(calendar.unit, _local(calendar, at).date())
    start = end = EARLIEST
    # Loops more than once if the zone skipped a date or clocks went back to the previous date.
    while end <= at and end < LATEST:
        assert first is not None  # noqa: S101 - `end` is the end of time then
        start, first = _begin(calendar, first), _next_date(calendar.unit, first)
        end = LATEST if first is None else _begin(calendar, first)
    return Window(start, end)


def _hour_at(calendar: Calendar, at: datetime) -> Window:
    offset = _offset(calendar, at)
    since = (at - EARLIEST + offset) % HOUR
    start = at - since if at - EARLIEST > since else EARLIEST
    end = at + (HOUR - since) if LATEST - at > HOUR - since else LATEST
    # Clocks change on whole seconds, and at most once within two hours.
    second = max(start, at.replace(microsecond=0))
    if _offset(calendar, start) != offset:
        start = _change(calendar, start, second)
    if _offset(calendar, end - _MICROSECOND) != offset:
        end = _change(calendar, second, end)
    return Window(start, end)


def parse_bound(text: str, parameter: str, zone: tzinfo | None) -> datetime:
    """Like `parse_instant`, but a date alone is the start of that day in `zone`, if given."""
    at = parse_instant(text, parameter)
    if zone is None or not _DATE.fullmatch(text):
        return at
    return _begin(Calendar(Unit.DAY, zone), at.date())


def periods(calendar: Calendar, window: Window) -> Iterator[Window]:
    """The adjoining periods that overlap a window, ascending."""
    at = window.start
    while at < window.end:
        period = period_at(calendar, at)
        yield period
        at = period.end


def local_text(calendar: Calendar, at: datetime) -> str:
    """
    `at` in the calendar's zone, with its offset: `2021-03-01T00:00:00.000000+05:30`.

    In UTC instead if the local year would be 0 or 10000.
    """
    return _local(calendar, at).isoformat(timespec="microseconds")


def _local(calendar: Calendar, at: datetime) -> datetime:
    try:
        return at.astimezone(calendar.zone)
    except OverflowError:
        return at


def _first_date(unit: Unit, day: date) -> date:
    if unit is Unit.MONTH:
        return day.replace(day=1)
    # 1 January of the year 1 is a Monday, so no week starts before time does.
    return day - timedelta(days=day.weekday()) if unit is Unit.WEEK else day


def _next_date(unit: Unit, first: date) -> date | None:
    """First date of the next period; None after the year 9999."""
    days = {Unit.DAY: 1, Unit.WEEK: 7, Unit.MONTH: 31}[unit]
    if date.max - first < timedelta(days=days):
        return None
    following = first + timedelta(days=days)
    return following.replace(day=1) if unit is Unit.MONTH else following


def _begin(calendar: Calendar, day: date) -> datetime:
    """The first instant whose local date is `day` or later."""
    midnight = datetime.combine(day, time(), UTC)  # local midnight, written as if it were UTC
    if day == date.min:
        return EARLIEST
    if not _EARLY <= midnight <= _LATE:  # see `_offset`
        return max(EARLIEST, midnight - _offset(calendar, midnight))
    # No zone's offset reaches a day, and none changes its offset twice within two days.
    low, high = midnight - _DAY, midnight + _DAY
    before, after = _offset(calendar, low), _offset(calendar, high)
    if before == after:
        return midnight - before
    change = _change(calendar, low, high)
    return midnight - before if midnight - before < change else max(change, midnight - after)


def _change(calendar: Calendar, low: datetime, high: datetime) -> datetime:
    """The second at which clocks change, after `low` and not after `high`."""
    before = _offset(calendar, low)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(calendar, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(calendar: Calendar, at: datetime) -> timedelta:
    # At the ends of time local times cannot be represented; no zone changes its offset there.
    at = min(max(at, _EARLY), _LATE)
    offset = at.astimezone(calendar.zone).utcoffset()
    return timedelta() if offset is None else offset
