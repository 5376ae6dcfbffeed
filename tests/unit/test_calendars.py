"""Hours, days, weeks and months by the clocks of a zone, where clocks are odd."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from events.domain.calendars import local_text, parse_bound, period_at, periods
from events.domain.windows import ALL_TIME, EARLIEST, LATEST
from events.models import Calendar, Unit, Window


def texts(unit: Unit, zone: str, start: str, end: str) -> list[str]:
    """Where the periods between two UTC dates begin, and where the last one ends."""
    calendar = Calendar(unit, ZoneInfo(zone))
    window = Window(*(datetime.fromisoformat(item).replace(tzinfo=UTC) for item in (start, end)))
    found = list(periods(calendar, window))
    bounds = [item.start for item in found] + [item.end for item in found[-1:]]
    return [local_text(calendar, item).replace(".000000", "") for item in bounds]


@pytest.mark.parametrize(
    ("unit", "zone", "start", "end", "expected"),
    [
        pytest.param(
            Unit.DAY, "Europe/Berlin", "2021-03-27T23:00", "2021-03-29",
            ["2021-03-28T00:00:00+01:00", "2021-03-29T00:00:00+02:00", "2021-03-30T00:00:00+02:00"],
            id="a day of 23 hours",
        ),
        pytest.param(
            Unit.DAY, "Europe/Berlin", "2021-10-30T22:00", "2021-10-31T23:00",
            ["2021-10-31T00:00:00+02:00", "2021-11-01T00:00:00+01:00"],
            id="a day of 25 hours",
        ),
        pytest.param(
            Unit.DAY, "America/Sao_Paulo", "2018-11-04T03:00", "2018-11-05T02:00",
            ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"],
            id="a midnight that does not exist",
        ),
        pytest.param(
            Unit.DAY, "America/Havana", "2021-11-07T04:00", "2021-11-08T05:00",
            ["2021-11-07T00:00:00-04:00", "2021-11-08T00:00:00-05:00"],
            id="a midnight that exists twice",
        ),
        pytest.param(
            Unit.DAY, "America/Sao_Paulo", "2019-02-16T02:00", "2019-02-17T03:01",
            ["2019-02-16T00:00:00-02:00", "2019-02-17T00:00:00-03:00", "2019-02-18T00:00:00-03:00"],
            id="clocks set back at midnight itself, into the day before",
        ),
        pytest.param(
            Unit.DAY, "America/St_Johns", "2006-10-29T02:30", "2006-10-30T03:30",
            ["2006-10-29T00:00:00-02:30", "2006-10-30T00:00:00-03:30"],
            id="clocks set back over midnight a minute after it",
        ),
        pytest.param(
            Unit.DAY, "Pacific/Apia", "2011-12-29T10:00", "2011-12-31T10:00",
            ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"],
            id="a date that was left out",
        ),
        pytest.param(
            Unit.DAY, "America/Juneau", "1867-10-17T08:57:41", "1867-10-20T08:00",
            ["1867-10-18T00:00:00+15:02:19", "1867-10-19T00:00:00+15:02:19",
             "1867-10-20T00:00:00-08:57:41"],
            id="a date that was had twice, and offsets with seconds",
        ),
        pytest.param(
            Unit.DAY, "Asia/Kathmandu", "2021-03-01", "2021-03-02",
            ["2021-03-01T00:00:00+05:45", "2021-03-02T00:00:00+05:45", "2021-03-03T00:00:00+05:45"],
            id="an offset of three quarters of an hour",
        ),
        pytest.param(
            Unit.WEEK, "Asia/Kolkata", "2021-03-01", "2021-03-07T18:31",
            ["2021-03-01T00:00:00+05:30", "2021-03-08T00:00:00+05:30", "2021-03-15T00:00:00+05:30"],
            id="weeks from Monday",
        ),
        pytest.param(
            Unit.MONTH, "Europe/Berlin", "2021-12-31T22:59", "2022-02-28T23:01",
            ["2021-12-01T00:00:00+01:00", "2022-01-01T00:00:00+01:00", "2022-02-01T00:00:00+01:00",
             "2022-03-01T00:00:00+01:00", "2022-04-01T00:00:00+02:00"],
            id="months",
        ),
        pytest.param(Unit.DAY, "UTC", "2021-03-01", "2021-03-01", [], id="an empty window"),
        pytest.param(
            Unit.HOUR, "Asia/Kolkata", "2021-03-01T00:29:59", "2021-03-01T00:30:01",
            ["2021-03-01T05:00:00+05:30", "2021-03-01T06:00:00+05:30", "2021-03-01T07:00:00+05:30"],
            id="hours that begin at half past a UTC hour",
        ),
        pytest.param(
            Unit.HOUR, "Asia/Kathmandu", "2021-03-01T00:15", "2021-03-01T00:16",
            ["2021-03-01T06:00:00+05:45", "2021-03-01T07:00:00+05:45"],
            id="hours that begin at a quarter past a UTC hour",
        ),
        pytest.param(
            Unit.HOUR, "Europe/Berlin", "2021-10-31T00:00", "2021-10-31T02:00",
            ["2021-10-31T02:00:00+02:00", "2021-10-31T02:00:00+01:00", "2021-10-31T03:00:00+01:00"],
            id="an hour that clocks repeat",
        ),
        pytest.param(
            Unit.HOUR, "Europe/Berlin", "2021-03-28T00:59", "2021-03-28T01:01",
            ["2021-03-28T01:00:00+01:00", "2021-03-28T03:00:00+02:00", "2021-03-28T04:00:00+02:00"],
            id="an hour that clocks skip",
        ),
        pytest.param(
            Unit.HOUR, "Australia/Lord_Howe", "2021-10-02T14:30", "2021-10-02T16:01",
            ["2021-10-03T01:00:00+10:30", "2021-10-03T02:30:00+11:00", "2021-10-03T03:00:00+11:00",
             "2021-10-03T04:00:00+11:00"],
            id="clocks set forward by half an hour",
        ),
        pytest.param(
            Unit.HOUR, "Australia/Lord_Howe", "2021-04-03T14:00", "2021-04-03T15:31",
            ["2021-04-04T01:00:00+11:00", "2021-04-04T01:30:00+10:30", "2021-04-04T02:00:00+10:30",
             "2021-04-04T03:00:00+10:30"],
            id="clocks set back by half an hour",
        ),
        pytest.param(
            Unit.HOUR, "Africa/Monrovia", "1960-01-01T00:00", "1960-01-01T00:45",
            ["1959-12-31T23:00:00-00:44:30", "1960-01-01T00:00:00-00:44:30",
             "1960-01-01T01:00:00-00:44:30"],
            id="an old offset with seconds",
        ),
    ],
)  # fmt: skip
def test_periods_start_with_their_local_date(
    unit: Unit, zone: str, start: str, end: str, expected: list[str]
) -> None:
    assert texts(unit, zone, start, end) == expected


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2021-03-01", None, "2021-03-01T00:00:00+00:00"),
        ("2021-03-01", "UTC", "2021-03-01T00:00:00+00:00"),
        ("2021-03-01", "Europe/Berlin", "2021-02-28T23:00:00+00:00"),
        ("2021-07-01", "Europe/Berlin", "2021-06-30T22:00:00+00:00"),
        ("2021-03-01", "Asia/Kolkata", "2021-02-28T18:30:00+00:00"),
        ("2021-03-01", "America/New_York", "2021-03-01T05:00:00+00:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00+00:00"),  # 00:00 was skipped
        ("2021-11-07", "America/Havana", "2021-11-07T04:00:00+00:00"),  # 00:00 occurs twice
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),  # the date was skipped
        ("0001-01-01", "Asia/Kolkata", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31", "America/New_York", "9999-12-31T05:00:00+00:00"),
        ("2021-03-01T00:00", "Europe/Berlin", "2021-03-01T00:00:00+00:00"),
        ("2021-03-01T00:00+01:00", "Asia/Kolkata", "2021-02-28T23:00:00+00:00"),
    ],
)
def test_a_date_alone_is_the_start_of_that_day_in_the_zone(
    text: str, zone: str | None, expected: str
) -> None:
    bound = parse_bound(text, "start", None if zone is None else ZoneInfo(zone))
    assert bound.isoformat() == expected


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
def test_the_first_and_last_period_of_time(unit: Unit, zone: str) -> None:
    calendar = Calendar(unit, ZoneInfo(zone))
    assert period_at(calendar, EARLIEST).start == EARLIEST
    assert period_at(calendar, LATEST).end == LATEST
    assert next(periods(calendar, ALL_TIME)).start == EARLIEST


def test_a_local_time_outside_the_years_is_given_in_utc() -> None:
    new_york = Calendar(Unit.DAY, ZoneInfo("America/New_York"))
    kolkata = Calendar(Unit.DAY, ZoneInfo("Asia/Kolkata"))
    assert local_text(new_york, EARLIEST) == "0001-01-01T00:00:00.000000+00:00"
    assert local_text(kolkata, LATEST) == "9999-12-31T23:59:59.999999+00:00"
