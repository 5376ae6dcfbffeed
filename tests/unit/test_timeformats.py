"""`--timestamp-format`: numbers since 1970, patterns, and the format found from a whole file."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from events.domain.timeformats import Survey, TimestampParser, timestamp_parser
from events.domain.timestamps import parse_timestamp
from events.domain.zones import NO_ZONE, LocalTimes
from events.errors import InvalidEvent, InvalidInput

BERLIN = LocalTimes(ZoneInfo("Europe/Berlin"))


def refusal(parse: TimestampParser, text: str) -> str:
    with pytest.raises(InvalidEvent) as refused:
        parse(text)
    assert refused.value.field == "timestamp"
    return refused.value.with_option.removeprefix("timestamp: ")


@pytest.mark.parametrize(
    ("name", "text", "instant"),
    [
        ("epoch-s", "0", "1970-01-01T00:00:00Z"),
        ("epoch-s", "1433221332", "2015-06-02T05:02:12Z"),
        ("epoch-s", "1433221332.117", "2015-06-02T05:02:12.117Z"),
        ("epoch-s", "1433221332.1234569", "2015-06-02T05:02:12.123456Z"),
        ("epoch-s", "-1.5", "1969-12-31T23:59:58.5Z"),
        # Digits are cut as in a text: 23:59:58.8765433 is .876543.
        ("epoch-s", "-1.1234567", "1969-12-31T23:59:58.876543Z"),
        ("epoch-s", "-62135596800", "0001-01-01T00:00:00Z"),
        ("epoch-ms", "1433221332117", "2015-06-02T05:02:12.117Z"),
        ("epoch-ms", "1433221332117.0", "2015-06-02T05:02:12.117Z"),
        ("epoch-ms", "1433221332117.5", "2015-06-02T05:02:12.1175Z"),
        ("epoch-ms", "-1", "1969-12-31T23:59:59.999Z"),
        ("epoch-us", "1433221332117001", "2015-06-02T05:02:12.117001Z"),
        ("epoch-us", "-1", "1969-12-31T23:59:59.999999Z"),
        ("epoch-ns", "1433221332117001999", "2015-06-02T05:02:12.117001Z"),
        ("epoch-ns", "999", "1970-01-01T00:00:00Z"),
        ("epoch-ns", "-1", "1969-12-31T23:59:59.999999Z"),
        ("epoch-ns", "-1000", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_a_number_since_1970_is_read_exactly(name: str, text: str, instant: str) -> None:
    assert timestamp_parser(name, NO_ZONE)(text) == parse_timestamp(instant)


@pytest.mark.parametrize(
    "text",
    ["x", "1e9x", "1,433", "0x10", "1_000", "+5", " 5", "5.", ".5", "٣", "NaN",
     "2021-03-01T00:00:00Z", "1" * 41],
)  # fmt: skip
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    assert refusal(timestamp_parser("epoch-ms", NO_ZONE), text) == (
        f"{text!a} is not a number of milliseconds since 1970, such as 1614557405000"
    )
    for lost in ("1e9", "1.43E+12"):  # as spreadsheets shorten numbers
        reason = f"{lost!r} may have lost its last digits: write it without an exponent"
        assert refusal(timestamp_parser("epoch-s", NO_ZONE), lost) == reason
    assert refusal(timestamp_parser("epoch-s", NO_ZONE), "") == "is empty"
    assert refusal(timestamp_parser("epoch-s", NO_ZONE), "1433221332117") == (
        "'1433221332117' is outside the years 0001 to 9999 in UTC, or read the file with "
        "--timestamp-format epoch-ms: these may be milliseconds"
    )


@pytest.mark.parametrize(
    ("pattern", "text", "instant"),
    [
        ("%d.%m.%Y %H:%M", "01.03.2021 10:15", "2021-03-01T09:15:00Z"),
        ("%m/%d/%Y %I:%M:%S %p", "03/01/2021 11:15:07 PM", "2021-03-01T22:15:07Z"),
        ("%m/%d/%y %H:%M", "3/1/21 9:05", "2021-03-01T08:05:00Z"),
        ("%Y%m%d%H%M%S", "20210301101507", "2021-03-01T09:15:07Z"),
        ("%Y-%m-%d", "2021-03-01", "2021-02-28T23:00:00Z"),
        ("%Y%m%dT%H%M%S%f", "20210301T101507657", "2021-03-01T09:15:07.657Z"),
        ("%A, %d.%m.%y %H%M", "Monday, 1.3.21 1015", "2021-03-01T09:15:00Z"),
        ("%Y-%jT%H:%M:%S.%f", "2021-060T10:00:00.25", "2021-03-01T09:00:00.25Z"),
        ("%b %d, %Y @ %H:%M:%S.%f", "Mar 1, 2021 @ 10:15:07.657", "2021-03-01T09:15:07.657Z"),
        ("%Y年%m月%d日 %H:%M", "2021年03月01日 10:15", "2021-03-01T09:15:00Z"),
        ("%d.%m.%Y %H:%M %z", "01.03.2021 10:15 -0330", "2021-03-01T13:45:00Z"),
        ("%Y%m%dT%H%M%SZ", "20210301T101507Z", "2021-03-01T10:15:07Z"),
        ("%d.%m.%Y %H:%M UTC", "01.03.2021 10:15 UTC", "2021-03-01T10:15:00Z"),
        ("%d.%m.%Y %H:%M MEZ", "01.03.2021 10:15 MEZ", "2021-03-01T09:15:00Z"),
        ("%m/%d/%Y, %I:%M:%S %p", "3/1/2021, 10:15:07\u202fAM", "2021-03-01T09:15:07Z"),
        ("%d-%b-%y %I.%M.%S.%f %p", "01-MAR-21 10.15.07.657000999 AM", "2021-03-01T09:15:07.657Z"),
        ("%d.%m.%Y %H:%MZ%z", "01.03.2021 10:15ZZ", "2021-03-01T10:15:00Z"),
        ("100%% %d.%m.%Y %H h", "100% 01.03.2021 10 h", "2021-03-01T09:00:00Z"),
    ],
)
def test_a_pattern_is_read_in_the_assumed_zone(pattern: str, text: str, instant: str) -> None:
    assert timestamp_parser(pattern, BERLIN)(text) == parse_timestamp(instant)


@pytest.mark.parametrize(
    ("pattern", "text", "reason"),
    [
        ("%d.%m.%Y", "13.13.2021", "'13.13.2021' does not match '%d.%m.%Y': "),
        ("%d.%m.%Y", "2021-03-01", "'2021-03-01' does not match '%d.%m.%Y': "),
        ("%d.%m.%Y", "01.03.2021 x", "'01.03.2021 x' does not match '%d.%m.%Y': "),
        ("%d.%m.%Y", "٠١.03.2021", r"'\u0660\u0661.03.2021' has invalid characters"),
        ("%d.%m.%Y", "01.03.2021\0", r"'01.03.2021\x00' has invalid characters"),
        ("%d.%m.%Y", "", "is empty"),
        ("%Y%m%d", "2021111", "'2021111' does not match '%Y%m%d': write each number with all its"),
        ("%d%m%Y %H%M", "01032021 115", "'01032021 115' does not match '%d%m%Y %H%M': write each"),
        ("%d.%m.%Y %S%f", "1.3.2021 7123", "'1.3.2021 7123' does not match '%d.%m.%Y %S%f': write"),
        (
            "%a, %d %b %Y",
            "Tue, 01 Mar 2021",
            "'Tue, 01 Mar 2021' does not match '%a, %d %b %Y': that day was a Monday",
        ),
        ("%d.%m.%Y %H:%M", "31.03.2024 02:30", "2024-03-31 02:30:00 does not exist in "),
        ("%d.%m.%Y %H:%M", "27.10.2024 02:30", "2024-10-27 02:30:00 occurs twice in "),
        ("%d.%m.%Y %z", "01.01.0001 +0100", "is outside the years 0001 to 9999 in UTC"),
    ],
)
def test_a_text_that_the_pattern_does_not_fit_is_refused(
    pattern: str, text: str, reason: str
) -> None:
    assert refusal(timestamp_parser(pattern, BERLIN), text).startswith(reason)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rfc3339", "is unknown: use iso, epoch-s, epoch-ms, epoch-us, epoch-ns, auto, or a "),
        ("%d.%m. %H:%M", "lacks a part of the date: name year, month and day"),
        ("%H:%M", "lacks a part of the date: name year, month and day"),
        ("%d.%m.%%Y", "lacks a part of the date: name year, month and day"),
        ("%d.%m.%Y %I:%M", "needs %I and %p together"),
        ("%d.%m.%Y %H:%M %p", "needs %I and %p together"),
        ("%d.%m.%Y %H:%M %Z", "has %Z, which is not the same everywhere: use %z, or "),
        ("%c", "has %c, which is not the same everywhere"),
        ("%x %X", "has %x, which is not the same everywhere"),
        ("%Y-%m-%d %H:%M:%S+00", "ends with an offset: write %z for it"),
        ("%Y-%m-%dT%H:%M:%S-03:30", "ends with an offset: write %z for it"),
        ("%d.%m.%Y %Q", ": 'Q' is a bad directive in format '%d.%m.%Y %Q'"),
        ("%d.%m.%Y %", ": stray %"),
        ("%d.%m.%Y %d", ": redefinition of group name 'd'"),
    ],
)
def test_an_incomplete_format_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        timestamp_parser(name, NO_ZONE)
    space = "" if problem.startswith(":") else " "
    assert str(refused.value).startswith(f"{name!r}{space}{problem}")


# --- auto -----------------------------------------------------------------------------------------


def surveyed(texts: list[str], local: LocalTimes = BERLIN) -> TimestampParser:
    survey = Survey()
    for text in texts:
        try:
            survey(text)
        except InvalidEvent:
            continue
    return survey.decide(local)


@pytest.mark.parametrize(
    ("texts", "instants"),
    [
        # One date that only the day first can read decides for all.
        (["01.03.2021 10:15", "13.03.2021 10:15"], ["2021-03-01T09:15Z", "2021-03-13T09:15Z"]),
        (["03/01/2021 1:15 PM", "3/13/2021 12:15 AM"], ["2021-03-01T12:15Z", "2021-03-12T23:15Z"]),
        (["1-3-2021 10:15:07Z", "31-3-2021 10:15Z"], ["2021-03-01T10:15:07Z", "2021-03-31T10:15Z"]),
        # Each separator has its own order.
        (
            ["01.03.2021 10:15", "03/01/2021 10:15", "31.03.2021 10:15", "03/31/2021 10:15"],
            ["2021-03-01T09:15Z"] * 2 + ["2021-03-31T08:15Z"] * 2,
        ),
        (["1433221332", "1433224214.5"], ["2015-06-02T05:02:12Z", "2015-06-02T05:50:14.5Z"]),
        (["1433221332117", "946684800000"], ["2015-06-02T05:02:12.117Z", "2000-01-01T00:00Z"]),
        (["1433221332117001"], ["2015-06-02T05:02:12.117001Z"]),
        (["1433221332117001999"], ["2015-06-02T05:02:12.117001Z"]),
        (["2021-03-01T10:15Z", "2021-03-01 11:15:07,5"],
         ["2021-03-01T10:15Z", "2021-03-01T10:15:07.5Z"]),
        (["05/05/2021 10:15"], ["2021-05-05T08:15Z"]),
        (["3/13/2021, 1:15:07\u202fPM"], ["2021-03-13T12:15:07Z"]),
        (["1 Mar 2021, 10:15:07", "2021-03-01, 1:15:07 p.m."],
         ["2021-03-01T09:15:07Z", "2021-03-01T12:15:07Z"]),
        (["Mar  1 2021 10:15AM", "Mar 11 2021 12:15AM"],
         ["2021-03-01T09:15Z", "2021-03-10T23:15Z"]),
        (["March 1 2021 10:00 UTC", "1 Mar 2021 9:05 p.m. Z"],
         ["2021-03-01T10:00Z", "2021-03-01T21:05Z"]),
        (["2021/03/01 10:15", "20210301T101507Z"], ["2021-03-01T09:15Z", "2021-03-01T10:15:07Z"]),
        (["1433221332", "2021-03-01T10:15:00Z"], ["2015-06-02T05:02:12Z", "2021-03-01T10:15Z"]),
    ],
)  # fmt: skip
def test_auto_reads_what_the_whole_file_decides(texts: list[str], instants: list[str]) -> None:
    parse = surveyed(texts)

    assert [parse(text) for text in texts] == [
        datetime.fromisoformat(instant).astimezone(UTC) for instant in instants
    ]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (
            ["03/04/2021 10:15"],
            "the timestamp '03/04/2021 10:15' is 3 April 2021 (day first) or 4 March 2021 (month "
            "first); write it like 2021-03-01T00:10:05.657Z, or choose with --timestamp-format "
            "'%d/%m/%Y %H:%M' or '%m/%d/%Y %H:%M'",
        ),
        (["13.03.2021 10:15", "03/04/2021 10:15"], "the timestamp '03/04/2021 10:15' is "),
        # A date that does not exist decides nothing.
        (["03/04/2021 10:15", "31/02/2021 10:15"], "the timestamp '03/04/2021 10:15' is "),
        (
            ["13/03/2021 10:15", "03/13/2021 10:15"],
            "the timestamps have the day first (13/03/2021 10:15) and the month first "
            "(03/13/2021 10:15): split the file",
        ),
        (
            ["1433221332", "1433221332117"],
            "the timestamps are numbers of different units, such as 1433221332 (seconds) and "
            "1433221332117 (milliseconds): split the file",
        ),
    ],
)
def test_auto_refuses_a_file_that_can_be_read_in_two_ways(texts: list[str], problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        surveyed(texts)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("31.03.2021", "'31.03.2021' has no time of day: add it, or mean midnight with "),
        ("2021-03-01", "'2021-03-01' has no time of day; "),
        ("32.03.2021 10:15", "'32.03.2021 10:15' is not a valid date and time: "),
        ("13.13.2021 10:15", "'13.13.2021 10:15' is not a valid date and time: "),
        ("01.03.2021 13:15 PM", "'01.03.2021 13:15 PM' has the hour 13 with PM: "),
        ("01.03.2021 0:15 AM", "'01.03.2021 0:15 AM' has the hour 0 with AM: "),
        ("01.03.2021 10:15 P", "'01.03.2021 10:15 P' is not a date and time; "),
        ("01.03.21 10:15", "'01.03.21 10:15' has a year of two digits; "),
        ("-1433221332", "'-1433221332' is a number; "),
        ("20210301", "'20210301' is a number; "),
        ("637501614056570000", "'637501614056570000' is a number; "),  # .NET's, not of 1990
        ("10", "'10' is a number; "),
        ("", "is empty"),
        ("01.03.2021 10:15\0", r"'01.03.2021 10:15\x00' has invalid characters; "),
        ("10:00 01.03.2021", "'10:00 01.03.2021' is not a date and time; "),
        ("March 2021 10:00 UTC", "'March 2021 10:00 UTC' is not a date and time; "),
        ("2021-03-01 10:00 EST", "'2021-03-01 10:00 EST' has the time zone abbreviation "),
    ],
)
def test_auto_rejects_a_row_without_one_meaning(text: str, reason: str) -> None:
    assert refusal(surveyed([text, "31.03.2021 10:15"]), text).startswith(reason)
