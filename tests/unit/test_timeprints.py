"""Timestamps as databases and languages print them: read where they have one meaning only."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from events.domain.timestamps import parse_timestamp
from events.domain.zones import NO_ZONE, LocalTimes
from events.errors import InvalidEvent

AT = datetime(2021, 3, 1, 0, 10, 5, 657_000, tzinfo=UTC)
BERLIN = LocalTimes(ZoneInfo("Europe/Berlin"))
LIKE = "write it like 2021-03-01T00:10:05.657Z"


def refusal(text: str, local: LocalTimes = NO_ZONE) -> str:
    with pytest.raises(InvalidEvent) as refused:
        parse_timestamp(text, local)
    assert refused.value.field == "timestamp"
    return refused.value.with_option.removeprefix("timestamp: ")


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01t00:10:05.657z",  # RFC 3339 allows lower case
        "2021-03-01 00:10:05.657 UTC",  # BigQuery, Athena, Trino, Ruby
        "2021-03-01 00:10:05.657 +0000",  # Snowflake
        "2021-02-28 16:10:05.657 -0800 PST",  # Go
        "2021-03-01 08:10:05.657 +0800 PST",  # the Philippines
        "2021-03-01 05:40:05.657 +0530 +0530",
        "2021-03-01 02:10:05.657 +0200 XYZ",
        "2021-03-01 00:10:05.657 Z",
        "2021-03-01 00:10:05.657 GMT",
        "2021-03-01 01:10:05.657 +01:00",  # SQL Server
        "2021-03-01 00:10:05.6570000 +00:00",
        "2021-03-01 00:10:05.657+00",  # PostgreSQL
        "2021-03-01 00:10:05.657000+00:00",  # Python, pandas
        "2021-03-01 00:10:05.657 Etc/UTC",
        "2021-03-01 01:10:05.657 Europe/Berlin",  # Trino
        "2021-02-28 19:10:05.657 America/New_York",
        "2021-02-28 21:10:05.657 America/Argentina/Buenos_Aires",
        "2021-03-01T01:10:05.657+01:00[Europe/Berlin]",  # Java's ZonedDateTime
        "2021-03-01T05:40:05.657+05:30[Asia/Kolkata]",
        "2021-03-01T01:10:05.657[Europe/Berlin]",
        "2021-03-01T00:10:05.657Z[UTC]",
        "2021-03-01T02:10:05.657+02:00[GMT+02:00]",
        "2021-03-01 00:10:05.657 +0000 UTC",  # Go
        "2021-03-01 01:10:05.657 +0100 CET m=+0.000012345",
        "2021-02-28 21:10:05.657 -0300 -03",
        "Mon, 01 Mar 2021 00:10:05.657 GMT",  # HTTP
        "Mon, 1 Mar 2021 01:10:05.657 +0100",  # mail
        "1 Mar 2021 00:10:05.657 Z",
        "01-MAR-2021 00:10:05.657 +00:00",  # Oracle
        "01/Mar/2021:00:10:05.657 +0000",  # access logs
        "Mon Mar  1 00:10:05.657 UTC 2021",  # `date`
        "Mon Mar 01 01:10:05.657 +0100 2021",  # Ruby
        "Mon Mar 01 00:10:05.657 2021 UTC",  # PostgreSQL's own style
        "Mon 01 Mar 00:10:05.657 2021 UTC",
        "Mon  1 Mar 00:10:05.657 UTC 2021",  # `date` in the United Kingdom
        "Mon Mar 01 2021 01:10:05.657 GMT+0100 (Central European Standard Time)",  # JavaScript
        "Sun Feb 28 2021 19:10:05.657 GMT-0500",
        "Mon Mar 01 2021 01:10:05.657 GMT+0100 (Mitteleuropäische Normalzeit)",
        "Mon, 1 Mar 2021 01:10:05.657 +0100 (CET)",  # RFC 5322
        "MON, 01 MAR 2021 00:10:05.657 GMT",
        "2021-03-01 00:10:05.657 GMT+00:00",
        "2021-03-01 00:10:05.657 UTC+0",
        "March 1, 2021 00:10:05.657 UTC",
        "Monday, March 1, 2021, 00:10:05.657 UTC",
    ],
)
def test_prints_with_one_meaning_are_read(text: str) -> None:
    for local in (NO_ZONE, BERLIN):
        at = parse_timestamp(text, local)
        assert at == AT
        assert at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01 01:10:05.657",
        "Mon Mar  1 01:10:05.657 2021",  # C's ctime
        "Mon Mar 01 01:10:05.657 CET 2021",  # Java's Date, in the assumed zone
        "Mon 01 Mar 01:10:05.657 2021 CET",
        "2021-03-01 01:10:05.657 CET",
    ],
)
def test_a_local_print_is_read_in_the_assumed_zone(text: str) -> None:
    assert parse_timestamp(text, BERLIN) == AT
    assert refusal(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "01.03.2021 10:15",
            f"is 1 March 2021 (day first) or 3 January 2021 (month first); {LIKE}, or choose "
            "with --timestamp-format '%d.%m.%Y %H:%M' or '%m.%d.%Y %H:%M'",
        ),
        (
            "3/4/2021 1:15:07 PM",
            f"is 3 April 2021 (day first) or 4 March 2021 (month first); {LIKE}, or choose "
            "with --timestamp-format '%d/%m/%Y %I:%M:%S %p' or '%m/%d/%Y %I:%M:%S %p'",
        ),
        (
            "31/03/2021, 10:15:07.5",
            f"has day and month as numbers; {LIKE}, or name their order with --timestamp-format "
            "'%d/%m/%Y, %H:%M:%S.%f'",
        ),
        (
            "03-31-2021 10:15:07 +01:00",
            f"has day and month as numbers; {LIKE}, or name their order with --timestamp-format "
            "'%m-%d-%Y %H:%M:%S %z'",
        ),
        (
            "31.03.2021 10:15Z",
            f"has day and month as numbers; {LIKE}, or name their order with --timestamp-format "
            "'%d.%m.%Y %H:%M%z'",
        ),
        (
            "03/31/2021 1:15 PM UTC",
            f"has day and month as numbers; {LIKE}, or name their order with --timestamp-format "
            "'%m/%d/%Y %I:%M %p UTC'",
        ),
        ("2021-03-01T10:00:00+02:00[GMT+01:00]", "has the offset +02:00, which +01:00 did not "),
        (
            "1433221332",
            f"is a number, perhaps seconds since 1970; {LIKE}, or read the file with "
            "--timestamp-format epoch-s",
        ),
        (
            "1433221332117",
            f"is a number, perhaps milliseconds since 1970; {LIKE}, or read the file with "
            "--timestamp-format epoch-ms",
        ),
        ("2021-03-01 10:00:00 GMT+3", "has an offset after GMT or UTC, which may mean ahead "),
        ("2021-03-01T10:00:00 UTC-03:00", "has an offset after GMT or UTC, which may mean ahead "),
        ("01/02/21 10:00", f"has a year of two digits; {LIKE}, or name the pattern with "),
        ("01-MAR-21 12.10.05 AM", f"has a year of two digits; {LIKE}, or name the pattern with "),
        (
            "Mon, 01 Mar 21 10:00:00 GMT",
            f"has a year of two digits; {LIKE}, or name the pattern with ",
        ),
        (
            "2021-03-01 10:00:00 CET",
            "has the time zone abbreviation 'CET', which several zones use: write the offset, ",
        ),
        ("2021-03-01 10:00:00 Mars/Base", "has the unknown time zone 'Mars/Base'"),
        (
            "2021-07-01T10:00:00+01:00[Europe/Berlin]",
            "has the offset +01:00, which Europe/Berlin did not have then",
        ),
        ("2021-03-01T10:00:00Z[Asia/Tokyo]", "has the offset +00, which Asia/Tokyo did not "),
        ("2021-03-01 10:00:00 +0100 UTC", "has the offset +0100, which UTC did not have then"),
        ("Tue, 01 Mar 2021 10:00:00 GMT", "was not a Tue: the weekday and the date contradict"),
        ("1 Mai 2021 10:00:00 UTC", "has the unknown month 'Mai'"),
        ("30 Feb 2021 10:00:00 UTC", "is not a valid date and time: day is out of range"),
        ("31 Dec 2016 23:59:60 UTC", "is a leap second, which UTC datetimes cannot hold"),
        ("2021-03-01 10:00:00 +9900", "has an offset of 24 hours or more"),
        (
            "2021-03-01T10:00Z",
            f"is not a date and time; {LIKE}, or name its format with --timestamp-format: a "
            "pattern, or auto for a whole file",
        ),
        ("2021-03-01T10:00:05,657Z", f"is not a date and time; {LIKE}, or name its format with "),
        ("March 1 2021 10:00 UTC", f"is not a date and time; {LIKE}"),
        ("10:15 P", f"is not a date and time; {LIKE}"),
        ("-1433221332", f"is a number; {LIKE}, or name its unit with --timestamp-format, such as "),
        ("637501614056570000", f"is a number; {LIKE}, or name its unit with "),  # .NET
        ("1.61456E+12", f"is a number; {LIKE}, or name its unit with "),
        (
            "20210301001005",
            f"is a number; {LIKE}, or name its pattern with --timestamp-format, such as %Y%m%d%H",
        ),
        ("44256.5", "is a number, perhaps days as spreadsheets count them: export the cell as a "),
        ("2021. 3. 1. 0:10:05", f"is not a date and time; {LIKE}, or name its pattern with "),
        ("2021-03-01T00:10:05 (Zürich)", f"has invalid characters; {LIKE}"),
        ("2021-03-01 00:00:00+00 BC", f"is not a date and time; {LIKE}"),
        ("2021-03-01 10:15:00 PM", f"is not a date and time; {LIKE}, or name its format with "),
        ("2021-03-01 10:15:00+00 PM", f"is not a date and time; {LIKE}"),
        ("2021-03-01 10:15:00 +0000 AM", f"is not a date and time; {LIKE}"),
        ("2021-03-01 10:00:00 -0800 CET", "has the offset -0800, which CET did not have then"),
        ("2021-03-01 10:00:00 +0300 IST", "has the offset +0300, which IST did not have then"),
        ("2021-03-01 10:00:00 +0100 +0300", "has the offset +0100, which +0300 did not have then"),
        ("2021-03-01", f"has no time of day; {LIKE}, or mean midnight with --timestamp-format "),
    ],
)
def test_a_print_that_is_not_read_says_why(text: str, reason: str) -> None:
    assert refusal(text).startswith(f"{text!a} {reason}")


@pytest.mark.parametrize(
    ("text", "zone", "first", "second"),
    [
        ("2024-10-27 02:10:00", "Europe/Berlin", "2024-10-27T00:10:00Z", "2024-10-27T01:10:00Z"),
        ("2024-10-27 02:59:59", "Europe/Berlin", "2024-10-27T00:59:59Z", "2024-10-27T01:59:59Z"),
        ("2024-10-27 02:00:00", "Europe/Berlin", "2024-10-27T00:00:00Z", "2024-10-27T01:00:00Z"),
        ("2024-10-27 01:59:59", "Europe/Berlin", "2024-10-26T23:59:59Z", None),
        ("2024-10-27 03:00:00", "Europe/Berlin", "2024-10-27T02:00:00Z", None),
        ("2021-11-07 01:30:00", "America/New_York", "2021-11-07T05:30:00Z", "2021-11-07T06:30:00Z"),
        ("2024-04-07 01:45:00", "Australia/Lord_Howe", "2024-04-06T14:45:00Z",
         "2024-04-06T15:15:00Z"),
        ("2024-10-27 01:30:00", "Europe/London", "2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"),
        ("2021-03-01 15:30:00", "Asia/Kolkata", "2021-03-01T10:00:00Z", None),
        ("2021-03-01 10:00:00", "UTC", "2021-03-01T10:00:00Z", None),
        ("2021-07-01 12:00:00.5", "Europe/Berlin", "2021-07-01T10:00:00.5Z", None),
    ],
)  # fmt: skip
def test_the_repeated_hour_is_read_as_the_option_says(
    text: str, zone: str, first: str, second: str | None
) -> None:
    local = LocalTimes(ZoneInfo(zone))
    earlier = parse_timestamp(text, local._replace(ambiguous_hour="first"))
    later = parse_timestamp(text, local._replace(ambiguous_hour="second"))

    assert earlier == parse_timestamp(first)
    assert later == parse_timestamp(second or first)
    if second:
        assert refusal(text, local) == (
            f"{text} occurs twice in {zone}, at {first[11:16]} and {second[11:16]} UTC, because "
            "the clocks were set back: add the offset, or choose with --ambiguous-hour "
            "first or second"
        )
        # The abbreviation decides, and so does an offset before the zone's name.
        if zone == "Europe/Berlin":
            assert parse_timestamp(f"{text} CEST", local) == earlier
            assert parse_timestamp(f"{text} CET", local) == later
            assert parse_timestamp(f"{text}+01:00[Europe/Berlin]") == later
    else:
        assert parse_timestamp(text, local) == earlier


@pytest.mark.parametrize("choice", [None, "first", "second"])
@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2024-03-31 02:30:00", "Europe/Berlin"),
        ("2021-03-28 02:59:59.999999", "Europe/Berlin"),
        ("2024-03-10 02:00:00", "America/New_York"),
        # A whole day that never was: Samoa crossed the date line.
        ("2011-12-30 12:00:00", "Pacific/Apia"),
    ],
)
def test_a_local_time_that_does_not_exist_is_rejected(text: str, zone: str, choice: None) -> None:
    reason = f"{text} does not exist in {zone}: the clocks were set forward"

    assert refusal(text, LocalTimes(ZoneInfo(zone), choice)) == reason
    assert refusal(f"{text} {zone}", NO_ZONE) == reason


def test_local_times_beyond_the_calendar_are_rejected() -> None:
    for text, zone in (
        ("0001-01-01T00:00:00", "Asia/Kolkata"),
        ("9999-12-31T23:00:00", "America/New_York"),
    ):
        local = LocalTimes(ZoneInfo(zone))
        assert refusal(text, local) == "is outside the years 0001 to 9999 in UTC"
