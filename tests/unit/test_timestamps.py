"""What a timestamp may look like, and what each refusal says."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from events.domain.timestamps import (
    convert_to_iso_8601_utc,
    format_timestamp,
    parse_instant,
    parse_timestamp,
    zone_named,
)
from events.errors import InvalidEvent, InvalidInput, InvalidWindow

AT = datetime(2021, 3, 1, 0, 10, 5, 657_000, tzinfo=UTC)
TEN = datetime(2021, 3, 1, 10, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
LIKE = "write it like 2021-03-01T00:10:05.657Z"
NO_OFFSET = "has no offset: add Z or +00:00, or name the zone to assume"
OUTSIDE = "is outside the years 0001 to 9999"


def refusal(text: str, *, assume_zone: tzinfo | None = None, is_lenient: bool = False) -> str:
    with pytest.raises(InvalidEvent) as refused:
        parse_timestamp(text, assume_zone=assume_zone, is_lenient=is_lenient)
    assert refused.value.field == "timestamp"
    return refused.value.reason


def window_refusal(text: str) -> str:
    with pytest.raises(InvalidWindow) as refused:
        parse_instant(text, "start")
    assert refused.value.parameter == "start"
    assert str(refused.value) == f"start: {refused.value.reason}"
    return refused.value.reason


# Strict


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01 00:10:05.657+00",
        "2021-03-01T00:10:05.657+00",
        "2021-03-01T00:10:05.657Z",
        "2021-03-01 00:10:05.657Z",
        "2021-03-01T00:10:05.657+00:00",
        "2021-03-01T00:10:05.657-00:00",
        "2021-03-01T00:10:05.657+0000",
        "2021-02-28T16:10:05.657-08:00",
        "2021-02-28 16:10:05.657-0800",
        "2021-02-28 16:10:05.657-08",
        "2021-03-01T05:40:05.657+05:30",
        "2021-03-02T00:09:05.657+23:59",
        "2021-02-28T00:11:05.657-23:59",
        "2021-03-01T00:10:05.6570Z",
        "2021-03-01T00:10:05.65700000000000000000Z",
    ],
)
@pytest.mark.parametrize("is_lenient", [False, True])
@pytest.mark.parametrize("assume_zone", [None, BERLIN])
def test_one_instant_has_many_spellings(
    text: str, is_lenient: bool, assume_zone: tzinfo | None
) -> None:
    at = parse_timestamp(text, assume_zone=assume_zone, is_lenient=is_lenient)

    assert at == AT
    assert at.tzinfo is UTC


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [
        ("", 0),
        (".1", 100_000),
        (".000001", 1),
        (".999999", 999_999),
        (".9999999", 999_999),
        (".0000009", 0),
        (".12345678901234567890", 123_456),
    ],
)
def test_digits_beyond_microseconds_are_cut_not_rounded(fraction: str, microseconds: int) -> None:
    at = parse_timestamp(f"2021-03-01T10:00:00{fraction}Z")

    assert at == TEN.replace(microsecond=microseconds)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T01:00:00+01:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
        ("9999-12-31T15:59:59.999999-08", datetime.max.replace(tzinfo=UTC)),
        ("2020-02-29T00:00:00Z", datetime(2020, 2, 29, tzinfo=UTC)),
        ("2021-01-01T00:00:00+00:01", datetime(2020, 12, 31, 23, 59, tzinfo=UTC)),
    ],
)
def test_the_ends_of_the_calendar_and_of_years_are_read(text: str, at: datetime) -> None:
    assert parse_timestamp(text) == at


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("2021-03-01T00:10:05", NO_OFFSET),
        ("2021-03-01 00:10:05.657", NO_OFFSET),
        ("2021-03-01", f"'2021-03-01' has no time of day; {LIKE}"),
        (
            "2021-03-01T00:10:05.657 00:00",
            "'2021-03-01T00:10:05.657 00:00' has a space where the sign of the offset should be; "
            "write + as it is",
        ),
        (
            "2016-12-31T23:59:60Z",
            "'2016-12-31T23:59:60Z' is a leap second, which UTC datetimes cannot hold: "
            "send second 59",
        ),
        ("0000-01-01T00:00:00Z", OUTSIDE),
        ("0001-01-01T00:00:00+00:01", f"{OUTSIDE} in UTC"),
        ("9999-12-31T23:59:59.999999-00:01", f"{OUTSIDE} in UTC"),
        ("0" * 128, f"'{'0' * 128}' is not a date and time; {LIKE}"),
        ("0" * 129, f"has 129 characters; {LIKE}"),
        ("x" * 1_000_000, f"has 1,000,000 characters; {LIKE}"),
    ],
)
def test_a_refusal_names_the_rule(text: str, reason: str) -> None:
    assert refusal(text) == reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2021-02-29T00:00:00Z", "day is out of range for month"),
        ("2021-13-01T00:00:00Z", "month must be in 1..12"),
        ("2021-00-01T00:00:00Z", "month must be in 1..12"),
        ("2021-03-00T00:00:00Z", "day is out of range for month"),
        ("2021-03-01T24:00:00Z", "hour must be in 0..23"),
        ("2021-03-01T00:60:00Z", "minute must be in 0..59"),
        ("2021-03-01T00:00:61Z", "second must be in 0..59"),
    ],
)
def test_what_no_calendar_or_clock_has_is_refused(text: str, why: str) -> None:
    assert refusal(text).startswith(f"{text!r} is not a valid date and time: {why}")


@pytest.mark.parametrize("offset", ["+24:00", "-24", "-99", "+9900", "-30:59"])
def test_an_offset_of_a_day_or_more_is_refused_by_that_name(offset: str) -> None:
    event, window = f"2021-03-01T00:00:00{offset}", f"2021-03-01T00:00{offset}"

    assert refusal(event) == f"{event!r} has an offset of 24 hours or more"
    assert refusal(event, is_lenient=True) == refusal(event)
    assert window_refusal(event) == refusal(event)
    assert window_refusal(window) == f"{window!r} has an offset of 24 hours or more"


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01  00:10:05Z",
        "2021-03-01t00:10:05Z",
        "2021-03-01T00:10:05z",
        "2021-03-01_00:10:05Z",
        "2021-03-01T00:10:05 Z",
        "2021-03-01T00:10:05 +00:00",
        " 2021-03-01T00:10:05Z",
        "2021-03-01T00:10:05Z ",
        "2021-03-01T00:10Z",
        "2021-03-01T00:10:05.Z",
        "2021-03-01T00:10:05,657Z",
        "2021-03-01T00:10:05+0",
        "2021-03-01T00:10:05+00:60",
        "2021-03-01T00:10:05+00:00:00",
        "2021-03-01T00:10:05+00:0",
        "2021-3-1T00:10:05Z",
        "21-03-01T00:10:05Z",
        "12021-03-01T00:10:05Z",
        "-2021-03-01T00:10:05Z",
        "+2021-03-01T00:10:05Z",
        "20210301T001005Z",
        "2021-W09-1T00:10:05Z",
        "2021-060T00:10:05Z",
        "2021-03-01T00:10:05 GMT+3",
        "2021-03-01T00:10:05 UTC",
        "2021-03-01T00:10:05ZZ",
        "10",
        "GMT+3",
        "1614557405",
        "March 1 2021 10:00 UTC",
        "timestamp",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    assert refusal(text) == f"{text!r} is not a date and time; {LIKE}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2021-03-01T00:10:05Z\0", r"'2021-03-01T00:10:05Z\x00'"),
        ("2021-03-01T00:10:05Z\0and more", r"'2021-03-01T00:10:05Z\x00and more'"),
        ("2021-03-01\x0000:10:05Z", r"'2021-03-01\x0000:10:05Z'"),
        ("2021-03-01T00:10:05Z\n", r"'2021-03-01T00:10:05Z\n'"),
        ("2021-03-01\t00:10:05Z", r"'2021-03-01\t00:10:05Z'"),
        ("2021-03-01\xa000:10:05Z", r"'2021-03-01\xa000:10:05Z'"),
        ("2021-03-01🕙00:10:05Z", r"'2021-03-01\U0001f55900:10:05Z'"),
        ("٢021-03-01T00:10:05Z", r"'\u0662021-03-01T00:10:05Z'"),
        ("2021-03-01T00:10:0５Z", r"'2021-03-01T00:10:0\uff15Z'"),
        ("2021-03-01T00:10:05−08:00", r"'2021-03-01T00:10:05\u221208:00'"),
        ("2021-03-01T00:10:05\udcffZ", r"'2021-03-01T00:10:05\udcffZ'"),
    ],
    ids=ascii,
)
def test_characters_that_no_timestamp_has_are_shown_escaped(text: str, shown: str) -> None:
    assert refusal(text) == f"{shown} has invalid characters; {LIKE}"


@pytest.mark.parametrize(
    "text",
    [
        "2021-02-30T00:00:00." + "0" * 60_000 + "Z",
        "2021-03-01T00:00:60." + "0" * 60_000 + "Z",
        "2021-03-01T" + "0" * 60_000 + " 00",
        "x" * 60_000,
    ],
    ids=["no such day", "leap second", "space for plus", "no timestamp"],
)
def test_a_reason_stays_short_however_long_the_text(text: str) -> None:
    assert len(refusal(text)) < 400
    assert len(refusal(text, is_lenient=True)) < 400
    assert len(window_refusal(text)) < 400


# An assumed zone


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("2021-03-01 11:00:00", BERLIN, TEN),
        ("2021-07-01T12:00:00.5", BERLIN, datetime(2021, 7, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2021-03-01T10:00:00", UTC, TEN),
        ("2021-03-01T15:30:00", KOLKATA, TEN),
        # The clocks go back from 3:00 to 2:00 at 1:00 UTC: 2:30 comes first at 0:30 UTC.
        ("2021-10-31T02:30:00", BERLIN, datetime(2021, 10, 31, 0, 30, tzinfo=UTC)),
        ("2021-10-31T02:00:00", BERLIN, datetime(2021, 10, 31, 0, 0, tzinfo=UTC)),
        ("2021-10-31T03:00:00", BERLIN, datetime(2021, 10, 31, 2, 0, tzinfo=UTC)),
        ("2021-11-07T01:30:00", NEW_YORK, datetime(2021, 11, 7, 5, 30, tzinfo=UTC)),
        # They go forward from 2:00 to 3:00 at 1:00 UTC.
        ("2021-03-28T01:59:59.999999", BERLIN, datetime(2021, 3, 28, 0, 59, 59, 999_999, UTC)),
        ("2021-03-28T03:00:00", BERLIN, datetime(2021, 3, 28, 1, 0, tzinfo=UTC)),
    ],
)
def test_a_text_without_offset_is_read_in_the_zone_assumed(
    text: str, zone: tzinfo, at: datetime
) -> None:
    parsed = parse_timestamp(text, assume_zone=zone)

    assert parsed == at
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        (
            "2021-03-28T02:00:00",
            BERLIN,
            "2021-03-28 02:00:00 does not exist in Europe/Berlin: the clocks were set forward",
        ),
        (
            "2021-03-28 02:59:59.9999999",
            BERLIN,
            "2021-03-28 02:59:59.999999 does not exist in Europe/Berlin: "
            "the clocks were set forward",
        ),
        # A whole day that never was: Samoa crossed the date line.
        (
            "2011-12-30T12:00:00",
            ZoneInfo("Pacific/Apia"),
            "2011-12-30 12:00:00 does not exist in Pacific/Apia: the clocks were set forward",
        ),
        ("0001-01-01T00:00:00", KOLKATA, f"{OUTSIDE} in UTC"),
        ("9999-12-31T23:00:00", NEW_YORK, f"{OUTSIDE} in UTC"),
        ("2021-03-01", BERLIN, f"'2021-03-01' has no time of day; {LIKE}"),
    ],
)
def test_a_local_time_that_never_was_is_refused(text: str, zone: tzinfo, reason: str) -> None:
    assert refusal(text, assume_zone=zone) == reason


# Lenient


@pytest.mark.parametrize(
    "text",
    [
        "March 1 2021 10:00 UTC",
        "1 Mar 2021 10:00:00 GMT",
        "Mon, 01 Mar 2021 10:00:00 +0000",
        "2021-03-01t10:00:00z",
        "2021-03-01  10:00Z",
        "20210301T100000Z",
        "2021-03-01 2 am -0800",
        "2021/03/01 15:30 +05:30",
        "٢٠٢١-٠٣-٠١ 10:00 UTC",
        "March 1 2021 10:00 UTC".rjust(128),
    ],
)
def test_lenient_reads_what_dateutil_reads(text: str) -> None:
    at = parse_timestamp(text, is_lenient=True)

    assert at == TEN
    assert at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["March 1 2021 11:00", "2021-03-01 11:00", "2021-03-01 10:00Z"])
def test_lenient_with_an_assumed_zone_prefers_the_offset_in_the_text(text: str) -> None:
    assert parse_timestamp(text, assume_zone=BERLIN, is_lenient=True) == TEN


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "10:00 UTC",
        "Tuesday 10:00 UTC",
        "March 10:00 UTC",
        "2021 10:00 UTC",
        "March 1 10:00 UTC",
        "March 2021 10:00 UTC",
        # Both start dates lead to the same Tuesday, and still the text names no day.
        "Tue March 2021 10:00 UTC",
        "Sunday Feb 2021 10:00 UTC",
    ],
)
def test_lenient_refuses_a_text_that_does_not_name_the_whole_date(text: str) -> None:
    assert refusal(text, is_lenient=True) == f"{text!r} does not contain a whole date"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("March 1 2021 10:00", NO_OFFSET),
        ("2021-03-01T10:00:00", NO_OFFSET),
        ("2021-02-30T10:00:00Z", "'2021-02-30T10:00:00Z' is not a valid date and time: "),
        ("2021-03-01T10:00:60Z", "'2021-03-01T10:00:60Z' is a leap second, "),
        ("1 Mar 2021 10:00:60 UTC", "'1 Mar 2021 10:00:60 UTC' is not a date and time: second "),
        ("0001-01-01 00:00 +05", f"{OUTSIDE} in UTC"),
        ("9999-12-31 23:00 -05", f"{OUTSIDE} in UTC"),
        ("GMT+3", "'GMT+3' has an offset after GMT or UTC, whose sign is ambiguous"),
        (
            "2021-03-01 07:00 UTC -3",
            "'2021-03-01 07:00 UTC -3' has an offset after GMT or UTC, whose sign is ambiguous",
        ),
        ("01/02/21 10:00 UTC", "'01/02/21 10:00 UTC' has a year of two digits: write all four"),
        ("2021-W09-1", "'2021-W09-1' is not a date and time: "),
        (
            "2021-03-01 10:00 EST",
            "'2021-03-01 10:00 EST' has the unknown time zone 'EST': write its offset, such as ",
        ),
        ("2021-03-01 10:00Z\0x", r"'2021-03-01 10:00Z\x00x' has invalid characters; "),
        ("March 1 2021 " + " " * 128, f"has 141 characters; {LIKE}"),
    ],
    ids=ascii,
)
def test_lenient_still_refuses_what_is_no_instant(text: str, reason: str) -> None:
    assert refusal(text, is_lenient=True).startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" * 30,  # OverflowError
        "99999999999-01-01 10:00 UTC",  # OverflowError
        "2021-03-01 " + "1" * 30 + "h",  # decimal.InvalidOperation
        "2021-03-01 10:" + "1" * 30 + ".5 UTC",  # decimal.InvalidOperation
        "2021-03-01 10:00 +9999",  # ValueError, from the use of the offset only
        "2021-03-01 10:00 +24:00",
        "20210301T1010-99",
        "²",
        "NaN",
        "\udcff",
    ],
    ids=ascii,
)
def test_lenient_lets_no_other_error_through(text: str) -> None:
    assert refusal(text, is_lenient=True)
    assert refusal(text, is_lenient=True, assume_zone=BERLIN)


# Writing


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2021-03-01T00:10:05.657000Z"),
        (TEN, "2021-03-01T10:00:00.000000Z"),
        (AT.astimezone(NEW_YORK), "2021-03-01T00:10:05.657000Z"),
        (
            datetime(1000, 1, 1, 4, tzinfo=timezone(timedelta(hours=5))),
            "0999-12-31T23:00:00.000000Z",
        ),
        (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_an_instant_is_written_as_27_characters(at: datetime, text: str) -> None:
    assert format_timestamp(at) == text
    assert len(text) == 27


def test_conversion_gives_iso_8601_in_utc() -> None:
    assert convert_to_iso_8601_utc("2021-03-01 00:10:05.657+00") == "2021-03-01T00:10:05.657000Z"


def test_conversion_refuses_what_is_no_timestamp() -> None:
    with pytest.raises(InvalidEvent) as refused:
        convert_to_iso_8601_utc("yesterday")

    assert str(refused.value) == f"timestamp: 'yesterday' is not a date and time; {LIKE}"


# The ends of a window


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01T10:00:00Z",
        "2021-03-01T10:00:00.000000Z",
        "2021-03-01 10:00:00+00",
        "2021-03-01T02:00:00-08:00",
        "2021-03-01T15:30:00+0530",
        "2021-03-01T15:30+05:30",
        "2021-03-01T10:00:00",
        "2021-03-01 10:00",
        "2021-03-01T10:00:00.0000009Z",
    ],
)
def test_a_window_may_be_named_with_any_offset_and_none_means_utc(text: str) -> None:
    at = parse_instant(text, "start")

    assert at == TEN
    assert at.tzinfo is UTC


def test_a_date_alone_is_its_midnight_in_utc() -> None:
    assert parse_instant("2021-03-01", "end") == datetime(2021, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (
            "2021-03-01T00:00:00 01:00",
            "'2021-03-01T00:00:00 01:00' has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z",
        ),
        (
            "2021-03-01T00:00 01",
            "'2021-03-01T00:00 01' has a space where the + of the offset should be: "
            "in a URL write + as %2B, or use Z",
        ),
        (
            "2021-03-01T23:59:60Z",
            "'2021-03-01T23:59:60Z' is a leap second, which UTC datetimes cannot hold: "
            "send second 59",
        ),
        ("0000-01-01", OUTSIDE),
        ("0001-01-01T00:00:00+01:00", f"{OUTSIDE} in UTC"),
        ("9999-12-31T23:59:59-01:00", f"{OUTSIDE} in UTC"),
    ],
)
def test_a_refused_window_names_the_rule(text: str, reason: str) -> None:
    assert window_refusal(text) == reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2021-02-29", "day is out of range for month"),
        ("2021-03-01T24:00", "hour must be in 0..23"),
    ],
)
def test_a_window_end_that_no_calendar_has_is_refused(text: str, why: str) -> None:
    assert window_refusal(text).startswith(f"{text!r} is not a valid date and time: {why}")


@pytest.mark.parametrize(
    "text",
    [
        "2021-03-01Z",
        "2021-03-01T10",
        "2021-03-01T10:00:00z",
        "2021-03",
        "2021-W09-1",
        "20210301",
        "10",
        "now",
        "1614592800",
        "2021-03-01\0",
        "2021-03-01T10:00:00Z\n",
        "٢٠٢١-03-01",
        " 2021-03-01",
        "x" * 128,
    ],
    ids=ascii,
)
def test_other_ends_of_a_window_are_refused_and_shown_escaped(text: str) -> None:
    like = "is not an ISO 8601 date and time like 2021-03-01T00:00:00Z"

    assert window_refusal(text) == f"{text!a} {like}"


# Zones


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_a_zone_has_an_iana_name(name: str) -> None:
    assert zone_named(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Nowhere",
        "Europe",
        "Europe/",
        "GMT+3",
        "+01:00",
        "/etc/passwd",
        "../UTC",
        "a\0b",
        "\udcff",
    ],
    ids=ascii,
)
def test_a_zone_that_is_none_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        zone_named(name)

    assert str(refused.value) == (
        f"unknown time zone {name!r}: use an IANA name such as Europe/Berlin or UTC"
    )
