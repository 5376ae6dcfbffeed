"""Periods of a calendar: they cover time, no instant twice, as the clock on the wall says."""

from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from events.domain.calendars import period_at, periods
from events.domain.windows import EARLIEST, LATEST
from events.models import Calendar, Unit, Window
from tests.property.strategies import HOUR_ZERO, instants

MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

zones = st.sampled_from(
    [
        "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu",
        "Australia/Lord_Howe", "America/Sao_Paulo", "America/Havana", "America/St_Johns",
        "Pacific/Apia", "Pacific/Kwajalein", "America/Juneau", "Asia/Manila", "Africa/Monrovia",
        "Pacific/Chatham", "Africa/Casablanca", "Asia/Tehran", "Europe/Dublin",
    ]
).map(ZoneInfo)  # fmt: skip
calendars = st.builds(Calendar, st.sampled_from(Unit), zones)
dated = st.builds(Calendar, st.sampled_from([Unit.DAY, Unit.WEEK, Unit.MONTH]), zones)
#: Times in which clocks were set: not far in the past or the future, and near the odd days.
lively = st.datetimes(datetime(1840, 1, 2), datetime(2040, 1, 1)).map(  # noqa: DTZ001 - given UTC next
    lambda at: at.replace(tzinfo=HOUR_ZERO.tzinfo)
)
#: Clocks were set on these days.
odd_days = st.sampled_from(
    ["1867-10-18", "1884-06-01", "1844-12-30", "1993-08-20", "2006-10-29", "2011-12-30",
     "2018-11-04", "2019-02-17", "2021-03-14", "2021-03-28", "2021-10-31", "2021-11-07"]
).map(lambda text: datetime.fromisoformat(text).replace(tzinfo=HOUR_ZERO.tzinfo))  # fmt: skip
moments = lively | st.builds(
    lambda day, seconds: day + timedelta(seconds=seconds), odd_days, st.integers(-90_000, 180_000)
)


def date_reached(zone: ZoneInfo, at: datetime) -> date:
    """The latest date that the clock has shown, by looking at it each minute of a day and more."""
    return max((at - minute * MINUTE).astimezone(zone).date() for minute in range(25 * 60))


def label(unit: Unit, day: date) -> tuple[int, ...]:
    """What two dates of one period have in common."""
    if unit is Unit.DAY:
        return (day.toordinal(),)
    return day.isocalendar()[:2] if unit is Unit.WEEK else (day.year, day.month)


@given(calendars, instants)
def test_a_period_holds_its_instant_and_adjoins_its_neighbours(
    calendar: Calendar, at: datetime
) -> None:
    period = period_at(calendar, at)
    assert period.start <= at < period.end or (at == LATEST and period.end == LATEST)
    assert period_at(calendar, period.start) == period
    assert period_at(calendar, period.end - MICROSECOND) == period
    if period.start > EARLIEST:
        assert period_at(calendar, period.start - MICROSECOND).end == period.start
    if period.end < LATEST:
        assert period_at(calendar, period.end).start == period.end


@given(zones, moments)
def test_an_hour_has_one_offset_and_ends_at_a_full_hour_or_a_clock_change(
    zone: ZoneInfo, at: datetime
) -> None:
    hour = period_at(Calendar(Unit.HOUR, zone), at)
    first, last = (item.astimezone(zone) for item in (hour.start, hour.end - MICROSECOND))
    after = hour.end.astimezone(zone)
    assert first.utcoffset() == last.utcoffset()
    assert (first.date(), first.hour) == (last.date(), last.hour)
    assert (after.minute, after.second) == (0, 0) or after.utcoffset() != last.utcoffset()


@given(dated, moments, st.integers(0, 40 * 86_400))
@example(Calendar(Unit.DAY, ZoneInfo("America/St_Johns")), HOUR_ZERO, 86_400)
def test_instants_with_the_same_local_date_share_a_period(
    calendar: Calendar, at: datetime, seconds: int
) -> None:
    zone = calendar.zone
    assert isinstance(zone, ZoneInfo)
    later = at + timedelta(seconds=seconds)
    one, other = (label(calendar.unit, date_reached(zone, item)) for item in (at, later))
    assert (period_at(calendar, at) == period_at(calendar, later)) == (one == other)


@given(dated, moments)
def test_a_period_starts_with_its_first_local_date(calendar: Calendar, at: datetime) -> None:
    zone = calendar.zone
    assert isinstance(zone, ZoneInfo)
    start = period_at(calendar, at).start
    before = label(calendar.unit, date_reached(zone, start - MICROSECOND))
    assert before < label(calendar.unit, date_reached(zone, start))


@given(dated, instants, st.integers(0, 400))
def test_the_periods_of_a_window_cover_it(calendar: Calendar, at: datetime, days: int) -> None:
    window = Window(at, at + days * DAY if LATEST - at > days * DAY else LATEST)
    found = list(islice(periods(calendar, window), 500))
    if window.start == window.end:
        assert found == []
        return
    assert found[0].start <= window.start
    assert found[-1].start < window.end <= found[-1].end
    assert all(one.end == following.start for one, following in pairwise(found))
